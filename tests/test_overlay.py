"""From extents to rows: which rows are inside, whichever batches and types they lie in."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakota.digest import Digest
from lakota.encoding import encode
from lakota.errors import DamagedError
from lakota.extent import NOWHERE, REPLACE, TRIM_HI, TRIM_LO, Extent
from lakota.interval import EVERYTHING, HIGH, LOW, Cut, Interval, after, before
from lakota.overlay import (
    ORIGIN,
    Opener,
    Slice,
    batch_of,
    count,
    first_cut,
    locate,
    numbers,
    plan,
    rows,
    visible,
)
from lakota.physical import physical_values
from lakota.segment import Segment, open_segment

BATCH = 16_384
ROWS = 3 * BATCH + 5
KEYS = ["day", "station"]


@cache
def large() -> Segment:
    """Batches of rows that are sorted by two keys, each pair of them three times, one day four
    thousand rows long."""
    nth = np.arange(ROWS) // 3
    table = pa.table({"day": nth // 1400, "station": (nth % 1400).astype("i4"), "n": range(ROWS)})
    return open_segment(encode(table, "plain", keys=KEYS, batch_rows=BATCH).data)


@cache
def found_keys() -> list[tuple[int, int]]:
    table = large().table(KEYS)
    return list(zip(*(table[name].to_pylist() for name in KEYS), strict=True))


def index_of(segment: Segment) -> list[pa.Field]:
    return [segment.schema.field(name) for name in segment.keys]


def types_of(segment: Segment) -> list[pa.DataType]:
    return [field.type for field in index_of(segment)]


def opener(*segments: Segment) -> Opener:
    by_name = {segment.name: segment for segment in segments}
    return by_name.__getitem__


def small(table: pa.Table, *keys: str) -> Segment:
    return open_segment(encode(table, "plain", keys=keys).data)


def extent(segment: Segment, **changed: Any) -> Extent:
    """The whole segment as an extent."""
    whole = Extent(
        "s", LOW, HIGH, 1, 7, REPLACE, None, 0, bytes.fromhex(segment.name), 0, segment.num_rows, 1
    )
    return whole._replace(**changed)


# Around the ends of batches, of days and of equal keys, and between keys.
ends = st.sampled_from([n + d for n in (0, BATCH, 2 * BATCH, 4200, ROWS) for d in range(-4, 5)])
somewhere = ends | st.integers(0, ROWS)
places = st.tuples(somewhere, somewhere).map(
    lambda pair: sorted(min(max(row, 0), ROWS) for row in pair)
)


@st.composite
def cuts(draw: st.DrawFn) -> Cut:
    row = min(max(draw(somewhere), 0), ROWS - 1)
    key = found_keys()[row][: draw(st.sampled_from([2, 2, 2, 1]))]
    shifted = (*key[:-1], key[-1] + draw(st.sampled_from([0, 0, -1, 1])))
    return draw(st.sampled_from([before, after]))(types_of(large()), shifted)


def first_row(cut: Cut, start: int, stop: int) -> int:
    """The first of the rows whose key lies after the cut, by halving."""
    keys, types = found_keys(), types_of(large())
    while start < stop:
        middle = (start + stop) // 2
        if before(types, keys[middle]) < cut:
            start = middle + 1
        else:
            stop = middle
    return start


@given(places, cuts())
def test_a_cut_is_found_among_rows_of_many_batches(place: list[int], cut: Cut) -> None:
    segment, (start, stop) = large(), place
    decoded: dict[int, pa.RecordBatch] = {}
    whole = extent(segment)
    found = locate(opener(segment), whole, index_of(segment), cut, start, stop, decoded)
    assert found == first_row(cut, start, stop)
    assert len(decoded) == (start < stop)
    for number, batch in decoded.items():
        assert batch.equals(segment.batch(number, KEYS))


@pytest.mark.parametrize("border", [BATCH, 2 * BATCH, 3 * BATCH])
def test_a_cut_is_found_at_the_border_of_two_batches(border: int) -> None:
    segment, types = large(), types_of(large())
    stops = [min(border + n, ROWS) for n in (-1, 0, 1, 2, 4)]
    for key in sorted({found_keys()[row] for row in range(border - 4, border + 4)}):
        for cut in (before(types, key), after(types, key), after(types, key[:1])):
            for start in (border - BATCH, border - 2, border - 1, border, border + 1):
                for stop in (*(s for s in stops if s >= start), ROWS):
                    found = locate(
                        opener(segment), extent(segment), index_of(segment), cut, start, stop, {}
                    )
                    assert found == first_row(cut, start, stop)


@given(places, cuts())
def test_only_the_batch_that_has_the_cut_is_looked_at(place: list[int], cut: Cut) -> None:
    segment, (start, stop) = large(), place
    if start == stop:
        return
    inside = range(start // BATCH, (stop - 1) // BATCH + 1)
    begin_before = [b for b in inside if before(types_of(segment), found_keys()[b * BATCH]) < cut]
    expected = max([inside[0], *begin_before])
    assert batch_of(segment, cut, start, stop, types_of(segment)) == expected


def test_a_batch_begins_after_the_cut_before_its_first_key() -> None:
    keys, types = large().first_keys, types_of(large())
    assert keys is not None and len(keys) == 4
    for nth in range(4):
        assert first_cut(keys, nth, types) == before(types, found_keys()[nth * BATCH])


def test_what_was_decoded_is_not_decoded_again() -> None:
    segment = large()
    cut = before(types_of(segment), found_keys()[10])
    part = segment.batch(0, KEYS).slice(0, 5)
    found = locate(opener(segment), extent(segment), index_of(segment), cut, 0, BATCH, {0: part})
    assert found == 5


@given(places, cuts(), cuts(), cuts(), cuts(), st.integers(0, 3))
def test_visible_are_the_rows_inside_the_extent_and_the_interval(
    place: list[int], a: Cut, b: Cut, c: Cut, d: Cut, trim: int
) -> None:
    (lo, hi), (left, right) = sorted([a, b]), sorted([c, d])
    segment, (start, stop) = large(), place
    # Where an end was not cut, the place has no rows beyond it.
    start = start if trim & TRIM_LO else first_row(lo, start, stop)
    stop = stop if trim & TRIM_HI else first_row(hi, start, stop)
    one = extent(segment, lo=lo, hi=hi, trim=trim, offset=start, length=stop - start)
    first, last = max(lo, left), min(hi, right)
    expected = first_row(first, start, stop), first_row(last, start, stop)
    found = visible(one, Interval(left, right), index_of(segment), opener(segment))
    if expected[0] < expected[1]:
        assert found == expected
    else:
        assert found[0] >= found[1]
    planned = plan([one], Interval(left, right), index_of(segment), opener(segment))
    assert planned == ([Slice(segment.name, *found)] if found[0] < found[1] else [])
    total = count([one], Interval(left, right), index_of(segment), opener(segment))
    assert total == max(expected[1] - expected[0], 0)


def test_rows_are_taken_as_they_lie_where_no_end_was_cut() -> None:
    one = Extent("s", LOW, HIGH, 1, 7, REPLACE, None, 0, b"s" * 16, 5, 8, 1)
    never: Any = None
    assert visible(one, EVERYTHING, [], never) == (5, 13)
    cut = before([pa.int64()], (3,))
    assert visible(one._replace(lo=cut, hi=cut), EVERYTHING, [], never) == (5, 13)
    nothing = one._replace(segment=NOWHERE, length=0)
    assert visible(nothing, Interval(cut, cut), [], never) == (5, 5)
    assert plan([nothing, one], EVERYTHING, [], never) == [Slice(Digest("73" * 16), 5, 13)]
    assert count([nothing, one], EVERYTHING, [], never) == 8


def test_neighbours_in_a_segment_become_one_slice() -> None:
    def at(segment: bytes, offset: int, length: int, stamp: int = 1) -> Extent:
        return Extent("s", LOW, HIGH, stamp, 7, REPLACE, None, 0, segment * 16, offset, length, 1)

    def planned(extents: Iterable[Extent], **origins: Any) -> list[tuple[Any, ...]]:
        never: Any = None
        found = plan(extents, EVERYTHING, [], never, **origins)
        return [(bytes.fromhex(s.segment)[:1], s.start, s.stop, s.origin) for s in found]

    assert planned([at(b"s", 0, 2), at(b"s", 2, 3), at(b"s", 5, 1)]) == [(b"s", 0, 6, 0)]
    assert planned([at(b"s", 0, 2), at(b"t", 2, 3)]) == [(b"s", 0, 2, 0), (b"t", 2, 5, 0)]
    assert planned([at(b"s", 0, 2), at(b"s", 3, 3)]) == [(b"s", 0, 2, 0), (b"s", 3, 6, 0)]
    assert planned([at(b"s", 3, 3), at(b"s", 0, 3)]) == [(b"s", 3, 6, 0), (b"s", 0, 3, 0)]
    # Nothing in between parts them.
    assert planned([at(b"s", 0, 2), at(b"t", 0, 0), at(b"s", 2, 2)]) == [(b"s", 0, 4, 0)]
    writes = [at(b"s", 0, 2, 1), at(b"s", 2, 2, 2), at(b"s", 4, 2, 2)]
    assert planned(writes, origins={(1, 7): 5, (2, 7): 9}) == [(b"s", 0, 2, 5), (b"s", 2, 6, 9)]


# ---- Keys of every type

SORTED: dict[str, tuple[pa.DataType, list[Any]]] = {
    "int8": (pa.int8(), [-128, -3, 0, 5, 5, 127]),
    "uint8": (pa.uint8(), [0, 3, 3, 200, 255]),
    "int": (pa.int64(), [-(1 << 63), -1, 0, (1 << 53) + 1, (1 << 63) - 1]),
    "uint64": (pa.uint64(), [0, 1, (1 << 63) + 1, (1 << 63) + 1, (1 << 64) - 1]),
    "half": (pa.float16(), [np.float16(v) for v in (-1.5, 0.0, 0.5, 0.5, 7.0)]),
    "float32": (pa.float32(), [-1.5, 0.0, 0.5, 0.5, 7.0]),
    "float": (pa.float64(), [float("-inf"), -1.5, 0.0, 0.1, 0.1, float("inf")]),
    "time": (pa.timestamp("us"), [-7, 0, 5, 5, 1 << 50]),
    "date": (pa.date32(), [-7, 0, 5, 5, 20_000]),
    "second": (pa.time32("s"), [0, 5, 5, 86_399]),
    "decimal": (pa.decimal128(9, 2), [-7, 0, 5, 5, 900]),
    "text": (pa.string(), ["", "a", "a\0", "b", "b", "é"]),
    "binary": (pa.binary(), [b"", b"a", b"b", b"b", b"\xff"]),
    "fixed": (pa.binary(1), [b"\0", b"b", b"b", b"\xff"]),
    "bool": (pa.bool_(), [False, False, True, True]),
}


@pytest.mark.parametrize("kind", SORTED)
def test_a_key_of_any_type_is_found_among_any_of_the_rows(kind: str) -> None:
    dtype, values = SORTED[kind]
    table = pa.table([pa.array(values, dtype)], ["k"])
    segment, types = small(table, "k"), [dtype]
    keys = physical_values(table["k"])
    for start in range(len(keys) + 1):
        for stop in range(start, len(keys) + 1):
            for key in sorted(set(keys)):
                for cut in (before(types, (key,)), after(types, (key,))):
                    inside = [before(types, (k,)) >= cut for k in keys[start:stop]]
                    found = locate(
                        opener(segment), extent(segment), index_of(segment), cut, start, stop, {}
                    )
                    assert found == start + (inside.index(True) if True in inside else len(inside))


@pytest.mark.parametrize(
    ("narrow", "wide", "values", "outside"),
    [
        (pa.uint8(), pa.int64(), [0, 3, 255], [-1, 256]),
        (pa.int8(), pa.int64(), [-128, 3, 127], [-129, 128]),
        (pa.float32(), pa.float64(), [-1.0, 2.0, 3.0], [-1e300, 1e300]),
        # None of these is a float32, and each is nearest to the one in the middle.
        (pa.float32(), pa.float64(), [-1.0, 2.0, 3.0], [2 - 1e-9, 2 + 1e-9]),
    ],
)
def test_a_bound_beyond_a_column_that_was_widened_since_is_beyond_its_rows(
    narrow: pa.DataType, wide: pa.DataType, values: list[Any], outside: list[Any]
) -> None:
    segment = small(pa.table([pa.array(values, narrow)], ["k"]), "k")
    index = [pa.field("k", wide)]
    warnings.simplefilter("error")  # until the test ends
    for cut in (before, after):
        for key, expected in zip(outside, (1, 2), strict=True):
            found = locate(opener(segment), extent(segment), index, cut([wide], (key,)), 1, 2, {})
            assert found == expected
    for cut, where in ((before, [0, 1, 2]), (after, [1, 2, 3])):
        for key, expected in zip(values, where, strict=False):
            bound = cut([wide], (key,))
            found = locate(opener(segment), extent(segment), index, bound, 0, len(values), {})
            assert found == expected


@pytest.mark.parametrize("key", [(), (1,), (1, "b"), (1, "b", 3), (1, "b", 4), (2, "a", 0)])
def test_a_prefix_is_found_column_by_column(key: tuple[Any, ...]) -> None:
    table = pa.table(
        {
            "a": [0, 1, 1, 1, 1, 1, 2, 2],
            "b": ["b", "a", "b", "b", "b", "c", "a", "b"],
            "c": [3, 9, 3, 3, 5, 0, 1, 3],
        }
    )
    segment = small(table, "a", "b", "c")
    types, one = types_of(segment), extent(segment)
    keys = list(zip(*(table[name].to_pylist() for name in "abc"), strict=True))
    for cut in (before(types, key), after(types, key)):
        expected = sum(before(types, k) < cut for k in keys)
        for start in range(len(keys)):
            for stop in range(start + 1, len(keys) + 1):
                found = locate(opener(segment), one, index_of(segment), cut, start, stop, {})
                assert found == min(max(expected, start), stop)


@pytest.mark.parametrize(("dtype", "values"), SORTED.values(), ids=SORTED)
def test_the_numbers_of_a_piece_of_a_column_are_its_own(
    dtype: pa.DataType, values: list[Any]
) -> None:
    column = pa.array(values, dtype)
    found = numbers(column.slice(1, 2))
    if pa.types.is_primitive(dtype) and dtype != pa.bool_():
        assert found is not None
        assert found.tolist() == physical_values(column)[1:3]
        assert found.dtype.itemsize * 8 == dtype.bit_width
        assert not found.flags.owndata
    else:
        assert found is None


# ---- Rows

DATA = {"k": [1, 2, 3, 4], "x": [0.5, None, 2.5, 3.5], "t": ["a", None, "c", "d"]}


def cut_out(slices: Sequence[Slice], schema: pa.Schema, *segments: Segment) -> pa.Table:
    return rows(slices, schema, opener(*segments))


def test_rows_come_slice_by_slice_with_the_columns_asked_for() -> None:
    segment, other = small(pa.table(DATA)), small(pa.table({**DATA, "k": [7, 8, 9, 10]}))
    parts = [Slice(segment.name, 1, 3), Slice(other.name, 0, 1), Slice(segment.name, 0, 1)]
    for names in (["k", "x", "t"], ["t", "k"], ["x"]):
        schema = pa.schema([segment.schema.field(name) for name in names])
        found = cut_out(parts, schema, segment, other)
        whole = {"k": [2, 3, 7, 1], "x": [None, 2.5, 0.5, 0.5], "t": [None, "c", "a", "a"]}
        assert found.to_pydict() == {name: whole[name] for name in names}
        assert found.schema == schema and found.column(0).num_chunks == 3
    assert cut_out([], segment.schema, segment).equals(segment.schema.empty_table())
    # Cut out, not copied.
    (chunk,) = cut_out(parts[:1], segment.schema, segment)["k"].chunks
    assert chunk.buffers()[1].address == segment.batch(0)["k"].buffers()[1].address


def test_rows_are_nullable_and_bear_no_metadata() -> None:
    segment = small(pa.table(DATA))
    schema = pa.schema([pa.field("k", pa.int64(), False, {"a": "b"})], {"c": "d"})
    for parts in ([Slice(segment.name, 0, 2)], []):
        found = cut_out(parts, schema, segment)
        assert found.schema.equals(pa.schema([("k", pa.int64())]), check_metadata=True)


def test_rows_of_a_segment_with_required_columns_are_as_all_others() -> None:
    strict = pa.schema([pa.field("k", pa.int64(), nullable=False)])
    segment = small(pa.table({"k": [1, 2]}, strict))
    assert not segment.schema.field("k").nullable
    found = cut_out([Slice(segment.name, 0, 2)], pa.schema([("k", pa.int64())]), segment)
    assert found.equals(pa.table({"k": [1, 2]})) and found.schema.field("k").nullable


def test_columns_that_were_added_later_are_null_there() -> None:
    segment, newer = small(pa.table(DATA)), small(pa.table({**DATA, "y": [5, 6, 7, 8]}))
    schema = pa.schema([("y", pa.int64()), ("k", pa.int64())])
    parts = [Slice(segment.name, 1, 3), Slice(newer.name, 3, 4)]
    found = cut_out(parts, schema, segment, newer)
    assert found.to_pydict() == {"y": [None, None, 8], "k": [2, 3, 4]}
    # Also if none of the columns is there.
    found = cut_out(parts[:1], pa.schema([("y", pa.int64()), ("z", pa.string())]), segment)
    assert found.to_pydict() == {"y": [None, None], "z": [None, None]}


def test_columns_that_were_widened_later_are_wide() -> None:
    segment = small(pa.table({"k": pa.array([1, None], pa.int8()), "t": ["a", "b"]}))
    schema = pa.schema([("t", pa.string()), ("k", pa.int64())])
    found = cut_out([Slice(segment.name, 0, 2)], schema, segment)
    assert found.schema == schema
    assert found.to_pydict() == {"t": ["a", "b"], "k": [1, None]}


def test_a_column_of_a_type_that_was_never_its_own_is_damage() -> None:
    segment = small(pa.table({"k": ["a"]}))
    with pytest.raises(DamagedError) as caught:
        cut_out([Slice(segment.name, 0, 1)], pa.schema([("k", pa.int64())]), segment)
    assert str(caught.value) == (
        "a segment has 'k' as string where the schema of its collection has int64; see check()"
    )


@pytest.mark.parametrize("names", [[ORIGIN], [ORIGIN, "k"], ["k", ORIGIN, "t"], ["k", ORIGIN]])
def test_each_row_knows_the_origin_of_its_slice(names: list[str]) -> None:
    segment = small(pa.table(DATA))
    parts = [Slice(segment.name, 0, 2, 5), Slice(segment.name, 3, 4, -1)]
    fields = {**{f.name: f for f in segment.schema}, ORIGIN: pa.field(ORIGIN, pa.int64(), False)}
    schema = pa.schema([fields[name] for name in names])
    found = cut_out(parts, schema, segment)
    whole: dict[str, list[Any]] = {"k": [1, 2, 4], "t": ["a", None, "d"], ORIGIN: [5, 5, -1]}
    assert found.schema == schema
    assert found.to_pydict() == {name: whole[name] for name in names}
    none = cut_out([], schema, segment)
    none.validate(full=True)
    assert none.to_pydict() == {name: [] for name in names} and none.schema == schema


def test_a_slice_is_as_long_as_its_rows() -> None:
    assert len(Slice(Digest("0" * 32), 3, 8)) == 5


@pytest.mark.parametrize("keys", [[], ["day"]])
def test_a_segment_that_does_not_say_where_its_batches_begin_is_refused(keys: list[str]) -> None:
    """A range of it would otherwise be looked for in its first batch."""
    bare = open_segment(encode(large().table(), "plain", keys=keys, batch_rows=BATCH).data)
    cut = before(types_of(large()), (20, 7))
    assert batch_of(large(), cut, 0, ROWS, types_of(large())) > 0
    with pytest.raises(DamagedError, match="not their first keys"):
        batch_of(bare, cut, 0, ROWS, types_of(large()))
