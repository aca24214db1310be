"""A segment gives back the rows that it was made of, or says what is wrong with it."""

from __future__ import annotations

from struct import pack
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_digest import NULLS, TYPES, make

from lakota import encoding as module
from lakota.codecs import decode_column, encode_column, resolve
from lakota.digest import BLOCK, Digest, digest_table
from lakota.encoding import encode, recode
from lakota.errors import (
    DamagedError,
    FormatError,
    FrameError,
    InputError,
    NotFoundError,
    RangeError,
    SchemaError,
)
from lakota.segment import Segment, open_segment, read

CODECS = ["plain", "lz4", "zstd", "packed"]
CHOICES: list[Any] = [*CODECS, {"x": "plain", "y": "zstd"}, {"x": "lz4", "y": "pco"}]
WRONG = (DamagedError, FormatError)


def walk(rows: int) -> pa.Table:
    """Minutes and a walk of two decimals, with a name and a value that is missing at times."""
    rng = np.random.default_rng(1)
    minutes = np.arange(rows, dtype=np.int64) * 60_000_000
    return pa.table(
        {
            "time": pa.array(minutes, pa.timestamp("us")),
            "value": np.round(np.cumsum(rng.normal(size=rows) * 0.05), 2),
            "name": pa.array([f"n{i % 7}" for i in range(rows)]),
            "gaps": pa.array(np.arange(rows) * 0.5, mask=np.arange(rows) % 5 == 0),
        }
    )


def words(array: pa.Array) -> Any:
    """Floats as integers: only so does a NaN equal itself."""
    as_int = {"halffloat": pa.int16(), "float": pa.int32(), "double": pa.int64()}
    return array.view(as_int[str(array.type)]) if str(array.type) in as_int else array


def equal(found: pa.Table, expected: pa.Table) -> bool:
    """Same types, same nulls, same bits."""
    columns = zip(found.columns, expected.columns, strict=True)
    return bool(found.schema.equals(expected.schema, check_metadata=True)) and all(
        words(a.combine_chunks()).equals(words(b.combine_chunks())) for a, b in columns
    )


def positions_of(data: pa.Buffer) -> range:
    return range(data.address, data.address + data.size)


@pytest.mark.parametrize("nulls", NULLS)
@pytest.mark.parametrize("kind", TYPES)
def test_every_type_comes_back_from_every_codec_under_one_name(kind: str, nulls: str) -> None:
    for size in (0, 1, 7, 1001):
        array = make(kind, size, NULLS[nulls])
        if kind.startswith("dictionary"):
            array = pa.concat_arrays([array])  # one dictionary, as it comes back
        table = pa.table({"x": array, "y": np.arange(size)})
        name = digest_table(table)
        for codecs in CHOICES:
            encoded = encode(table, codecs)
            segment = open_segment(encoded.data, encoded.name)
            assert encoded.name == segment.name == name
            assert encoded.rows == segment.num_rows == size
            assert equal(segment.table(), table)
            segment.check()


@pytest.mark.parametrize("codecs", [*CODECS, {"time": "pco", "value": "plain", "gaps": "lz4"}])
@pytest.mark.parametrize("batch_rows", [BLOCK, 4 * BLOCK])
def test_rows_come_back_from_several_batches(codecs: Any, batch_rows: int) -> None:
    table = LONG
    pieces = pa.concat_tables([table.slice(0, 7), table.slice(7, 70_000), table.slice(70_007)])
    whole, cut = (encode(t, codecs, keys=["time"], batch_rows=batch_rows) for t in (table, pieces))
    assert whole.name == cut.name == digest_table(table)
    segment = open_segment(cut.data, cut.name)
    assert equal(segment.table(), table)
    assert equal(segment.table(["gaps", "time"]), table.select(["gaps", "time"]))
    assert segment.offsets.tolist() == [*range(0, table.num_rows, batch_rows), table.num_rows]
    firsts = segment.first_keys
    assert firsts is not None
    assert firsts["time"].equals(table["time"].take(segment.offsets[:-1]).combine_chunks())
    for i in range(segment.num_batches):
        start, stop = segment.offsets[i], segment.offsets[i + 1]
        expected = table.slice(start, stop - start)
        assert equal(pa.Table.from_batches([segment.batch(i)]), expected)
    segment.check()


LONG = walk(100_003)
_SEGMENTS = {codec: open_segment(encode(LONG, codec).data) for codec in CODECS}


def test_plain_columns_are_stored_from_where_they_lie() -> None:
    """Every byte of a column without nulls is taken from the frame itself, in whatever chunks it
    comes; and the file is the one that Arrow writes in one piece."""
    table = LONG.select(["time", "value"]).slice(10, 99_000)
    table = pa.concat_tables([table.slice(0, 65_536), table.slice(65_536)])
    places = [
        positions_of(chunk.buffers()[1]) for column in table.columns for chunk in column.chunks
    ]
    encoded = encode(table, "plain", keys=["time"])
    views = [p for p in encoded.pieces if any(p.address in place for place in places)]
    assert (
        sum(p.size for p in views)
        == table.nbytes
        == encoded.data.size - sum(p.size for p in encoded.pieces if p not in views)
    )
    assert sum(p.size for p in encoded.pieces if p not in views) < 10_000
    segment = open_segment(encoded.data, encoded.name)
    sink = pa.BufferOutputStream()
    reader = pa.ipc.open_file(encoded.data)
    with pa.ipc.new_file(sink, reader.schema, metadata=reader.metadata) as file:
        for i in range(segment.num_batches):
            file.write_batch(segment.batch(i))
    assert sink.getvalue().equals(encoded.data)


def test_small_segments_are_one_piece() -> None:
    for codec in CODECS:
        assert len(encode(LONG.slice(0, 9), codec, keys=["time"]).pieces) == 1


@given(st.integers(0, 100_003), st.integers(0, 100_003), st.sampled_from(CODECS))
def test_a_slice_is_that_of_the_table(a: int, b: int, codec: str) -> None:
    start, stop = sorted((a, b))
    batches = _SEGMENTS[codec].slice(start, stop, ["name", "value"])
    found = pa.Table.from_batches(batches, LONG.select(["name", "value"]).schema)
    assert equal(found, LONG.select(["name", "value"]).slice(start, stop - start))
    assert all(batch.num_rows for batch in batches)


def numbers(rows: int) -> pa.Table:
    """Columns that are all `pco` when packed: of one limb and of several, with nulls in some
    batches, in none and in all."""
    at = np.arange(rows)
    money = pa.array(at * 7 - 5).cast(pa.decimal128(25, 2))
    return pa.table(
        {
            "n": at,
            "some": pa.array(at * 0.5, mask=(at > 20_000) & (at < 30_000) & (at % 3 == 0)),
            "none": pa.nulls(rows, pa.int32()),
            "money": money,
            "gaps": pa.array(np.where(at % 5 == 0, None, money)).cast(pa.decimal128(25, 2)),
        }
    )


NUMBERS = numbers(70_001)
PACKED = [
    open_segment(encode(table, codec).data)
    for table in (NUMBERS, NUMBERS.slice(0, 40_000), NUMBERS.slice(20_000), NUMBERS.slice(0, 9))
    for codec in ("packed", {"n": "pco", "gaps": "zstd"})
]


@given(st.data())
def test_slices_of_several_segments_are_read_at_once(data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(NUMBERS.column_names), min_size=1, unique=True))
    segments = data.draw(st.lists(st.sampled_from(PACKED), max_size=4))
    parts, expected = [], [NUMBERS.select(names).slice(0, 0)]
    for segment in segments:
        start, stop = sorted(data.draw(st.tuples(*[st.integers(0, segment.num_rows)] * 2)))
        parts.append((segment, start, stop, names))
        rows = pa.table(open_segment(segment.data).table()).select(names)
        expected.append(rows.slice(start, stop - start))
    found = pa.Table.from_batches(read(parts), expected[0].schema)
    found.validate(full=True)
    assert equal(found, pa.concat_tables(expected))


def test_what_is_inflated_is_one_batch() -> None:
    parts = [(PACKED[at], 5, 39_000, ["some", "n"]) for at in (0, 2)]
    first, second = read(parts)
    assert len(first) == len(second) == 38_995
    # and in one piece of memory
    assert second["n"].buffers()[1].address - first["n"].buffers()[1].address == 3 * BLOCK * 8


def test_damage_in_one_of_many_batches_is_found_whoever_decodes_it() -> None:
    noise = pa.table({"x": np.random.default_rng(1).normal(size=100_000)})
    whole = encode(noise, "packed").data
    for batch in range(6):
        data = bytearray(whole)
        at = int(len(data) * (batch + 0.4) * BLOCK / 100_000)
        data[at] ^= 1
        segment = open_segment(pa.py_buffer(bytes(data)))
        with pytest.raises(DamagedError, match=f"batch {batch} of segment"):
            segment.table()


def test_a_slice_decodes_no_other_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    decode = Segment._decode

    def spy(self: Segment, i: int, positions: list[int], *, full: bool) -> pa.RecordBatch:
        seen.append(i)
        return decode(self, i, positions, full=full)

    monkeypatch.setattr(Segment, "_decode", spy)
    _SEGMENTS["packed"].slice(BLOCK, 2 * BLOCK)
    assert seen == [1]


@pytest.mark.parametrize("codecs", ["plain", {"time": "pco"}])
def test_plain_columns_are_views_of_the_file(codecs: Any) -> None:
    encoded = encode(LONG, codecs)
    segment = open_segment(encoded.data, encoded.name)
    for batch in segment.slice(0, LONG.num_rows, ["value", "name", "gaps"]):
        for column in batch.columns:
            buffers = [buffer for buffer in column.buffers() if buffer is not None]
            assert all(buffer.address in positions_of(encoded.data) for buffer in buffers)


@pytest.mark.parametrize("codec", CODECS)
def test_chunks_may_have_different_dictionaries(codec: str) -> None:
    chunks = [pa.array(words, pa.dictionary(pa.int8(), pa.string())) for words in (["a"], ["b"])]
    encoded = encode(pa.table({"x": pa.chunked_array(chunks)}), codec)
    assert open_segment(encoded.data).table()["x"].to_pylist() == ["a", "b"]


def test_columns_may_be_asked_for_twice() -> None:
    segment = open_segment(encode(pa.table({"a": [1], "b": [2]}), "packed").data)
    assert segment.table(["b", "b"]).columns == [pa.chunked_array([[2]])] * 2


def test_recoding_keeps_rows_name_and_keys() -> None:
    data, name = (lambda e: (e.data, e.name))(encode(LONG.slice(0, 30_000), "plain", keys=["time"]))
    for codecs in ("packed", "lz4", {"value": "zstd"}, "plain"):
        encoded = recode(data, codecs)
        segment = open_segment(encoded.data, name)
        assert segment.keys == ("time",)
        assert equal(segment.table(), LONG.slice(0, 30_000))
        data = encoded.data
    assert len(recode(data, "packed").data) < len(data) / 3


@pytest.mark.parametrize("codec", ["plain", "lz4", "zstd"])
def test_other_tools_read_flat_segments(codec: str, tmp_path: Any) -> None:
    encoded = encode(LONG, codec)
    (tmp_path / "x.arrow").write_bytes(encoded.data)
    frame = pl.read_ipc(tmp_path / "x.arrow")
    assert frame.equals(pl.DataFrame(LONG))
    file = pa.ipc.open_file(encoded.data)
    assert file.read_all().equals(LONG)
    assert {f.metadata[b"lakota:codec"].decode() for f in file.schema} == {codec}


def test_metadata_are_no_part_of_a_segment() -> None:
    field = pa.field("a", pa.int64(), nullable=False, metadata={"unit": "m"})
    table = pa.table({"a": [1]}, schema=pa.schema([field], metadata={"x": "y"}))
    found = open_segment(encode(table, "packed").data).table().schema
    assert found.equals(pa.schema([field.remove_metadata()]), check_metadata=True)


def test_packed_means_pco_for_numbers_and_zstd_for_the_rest() -> None:
    schema = pa.schema([(kind, make(kind, 0, 0.0).type) for kind in TYPES])
    chosen = dict(zip(TYPES, resolve("packed", schema), strict=True))
    zstd = {kind for kind, codec in chosen.items() if codec == "zstd"}
    assert {kind for kind in TYPES if kind not in zstd} == {
        *(f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64)),
        *("halffloat", "float", "double", "duration[ms]"),
        *("decimal32(9, 2)", "decimal64(18, 2)", "decimal128(38, 2)", "decimal256(76, 2)"),
        *("date32[day]", "date64[ms]", "time32[s]", "time32[ms]", "time64[us]", "time64[ns]"),
        *("timestamp[s]", "timestamp[us]", "timestamp[ns, tz=UTC]"),
    }


def test_arguments_that_cannot_be_used_are_named() -> None:
    table = pa.table({"a": [1], "s": ["x"]})
    with pytest.raises(FormatError, match=r"'pickle'.*plain, lz4, zstd, pco or packed"):
        encode(table, {"a": "pickle"})
    with pytest.raises(FormatError, match="'gzip'"):
        encode(table, "gzip")
    with pytest.raises(SchemaError, match=r"'s' is string.*use zstd"):
        encode(table, "pco")
    with pytest.raises(SchemaError, match=r"\['b'\].*\['a', 's'\]"):
        encode(table, {"b": "plain"})
    with pytest.raises(NotFoundError, match=r"'b'.*\['a', 's'\]"):
        encode(table, "plain", keys=["b"])
    with pytest.raises(InputError, match="multiple of 16384"):
        encode(table, "plain", batch_rows=1000)
    with pytest.raises(SchemaError, match="distinct names"):
        encode(pa.table([[1], [2]], names=["a", "a"]), "plain")
    with pytest.raises(SchemaError, match="cannot be stored"):
        encode(pa.table({"a": pa.array([[1]], pa.list_view(pa.int8()))}), "plain")
    invalid = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(pack("<ii", 0, 1)), pa.py_buffer(b"\xff")]
    )
    with pytest.raises(FrameError, match=r"'a'.*UTF8"):
        encode(pa.table({"a": invalid}), "plain")
    segment = open_segment(encode(table, "plain").data)
    with pytest.raises(NotFoundError, match=r"'b'.*\['a', 's'\]"):
        segment.table(["b"])
    for ask in (lambda: segment.batch(1), lambda: segment.batch(-1), lambda: segment.slice(0, 2)):
        with pytest.raises(RangeError):
            ask()


def flips(data: pa.Buffer) -> Any:
    """The bytes with each byte changed in turn, in one bit or in all."""
    for change in (0x01, 0xFF):
        for i in range(len(data)):
            changed = bytearray(data)
            changed[i] ^= change
            yield i, pa.py_buffer(bytes(changed))


@pytest.mark.parametrize("codecs", [*CODECS, {"time": "pco", "value": "plain", "name": "lz4"}])
def test_any_changed_byte_is_found_or_harmless(codecs: Any) -> None:
    table = walk(20).select(["time", "name", "gaps"])
    codecs = {k: v for k, v in codecs.items() if k != "value"} if codecs not in CODECS else codecs
    encoded = encode(table, codecs, keys=["time"])
    found = 0
    for i, data in flips(encoded.data):
        try:
            segment = open_segment(data, encoded.name)
            rows = segment.table()
            segment.check()
        except WRONG:
            found += 1
        else:
            assert equal(rows, table), f"byte {i} changes a row unseen"
    assert found > len(encoded.data)


@pytest.mark.parametrize("codec", ["lz4", "zstd", "packed"])
def test_what_is_decoded_is_verified_without_asking(codec: str) -> None:
    table = walk(20).select(["time", "name", "gaps"])
    encoded = encode(table, codec)
    for i, data in flips(encoded.data):
        try:
            rows = open_segment(data, encoded.name).table(["gaps", "name"])
        except WRONG:
            continue
        assert equal(rows, table.select(["gaps", "name"])), f"byte {i} changes a row unseen"


@pytest.mark.parametrize("codec", CODECS)
def test_random_damage_and_truncation_raise_nothing_else(codec: str) -> None:
    rng = np.random.default_rng(5)
    kinds = [
        "string",
        "list<item: int16>",
        "bool",
        "dictionary<values=string, indices=int8, ordered=0>",
    ]
    table = pa.table({kind: make(kind, 50, 0.2) for kind in kinds})
    encoded = encode(table, codec)
    for _ in range(1000):
        changed = bytearray(encoded.data)
        for i in rng.integers(len(changed), size=rng.integers(1, 5)):
            changed[i] = rng.integers(256)
        if rng.random() < 0.2:
            changed = changed[: rng.integers(len(changed))]
        try:
            segment = open_segment(pa.py_buffer(bytes(changed)))
            segment.table().to_pylist()
            segment.check()
        except WRONG:
            pass


def test_a_segment_under_a_wrong_name_is_refused() -> None:
    one, other = encode(pa.table({"a": [1]}), "plain"), encode(pa.table({"a": [2]}), "plain")
    with pytest.raises(DamagedError, match=one.name):
        open_segment(other.data, one.name)
    assert open_segment(other.data, one.name, verify=False).table()["a"].to_pylist() == [2]


def test_check_names_block_and_column() -> None:
    table = pa.table({"a": np.arange(2 * BLOCK), "b": np.arange(2 * BLOCK) + 10**12})
    encoded = encode(table, "plain")
    data = bytearray(encoded.data)
    data[data.index(pack("<q", 10**12 + BLOCK + 3))] ^= 1
    segment = open_segment(pa.py_buffer(bytes(data)), encoded.name)
    with pytest.raises(DamagedError, match=f"{encoded.name}: block 1 of column 'b'"):
        segment.check()


def test_what_is_no_segment_is_refused() -> None:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, pa.schema([("a", pa.int64())])):
        pass
    for data in (pa.py_buffer(b""), pa.py_buffer(b"ARROW1" * 9), sink.getvalue()):
        with pytest.raises(DamagedError):
            open_segment(data, Digest("0" * 32))


@pytest.mark.parametrize("codec", ["lz4", "zstd", {"a": "zstd", "b": "pco"}])
def test_a_buffer_that_declares_too_much_is_refused_before_it_is_decoded(codec: Any) -> None:
    before = pa.total_allocated_bytes()
    encoded = encode(pa.table({"a": np.zeros(1000, np.int64), "b": np.arange(1000)}), codec)
    data = bytearray(encoded.data)
    prefix = pack("<q", 8000)
    assert prefix in data
    segment = open_segment(pa.py_buffer(bytes(data.replace(prefix, pack("<q", 1 << 40)))))
    with pytest.raises(DamagedError, match=r"declares"):
        segment.table()
    assert pa.total_allocated_bytes() - before < 1 << 20


@pytest.mark.parametrize("codec", ["lz4", "zstd", "pco"])
def test_a_value_with_more_rows_than_told_is_refused(codec: str) -> None:
    stored = encode_column(pa.array(np.zeros(60_000)), codec)
    for rows in (10, 59_999, 60_001):
        with pytest.raises((DamagedError, pa.ArrowInvalid, RuntimeError)):
            decode_column(stored, pa.float64(), codec, rows, 10**6)


def test_long_values_make_short_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH_BYTES", 1 << 20)
    monkeypatch.setattr(module, "MAX_BATCH_BYTES", 4 << 20)
    table = pa.table({"s": ["x" * 100] * 70_000})
    assert open_segment(encode(table, "zstd").data).batch_rows == BLOCK
    monkeypatch.setattr(module, "MAX_BATCH_BYTES", 1 << 20)
    with pytest.raises(InputError, match="write fewer than 16384 rows"):
        encode(table, "zstd")
