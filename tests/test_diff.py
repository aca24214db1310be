"""What differs between two moments, and writes of which only that is stored."""

from __future__ import annotations

import math
import struct
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakota import Clock, Collection, NotFoundError, Repo, Revision, Schema, SchemaError
from lakota.digest import Digest
from lakota.objects import Objects
from lakota.segment import Segment

SCHEMA = Schema(n="int*", x="float", y="str")
NAN = float("nan")
ROWS = list[tuple[int, float | None, str | None]]

values = st.sampled_from([None, 0.0, -0.0, 1.5, NAN])
texts = st.sampled_from([None, "", "a"])
rows = st.lists(st.tuples(st.integers(0, 12), values, texts), max_size=14).map(
    lambda found: sorted(found, key=lambda row: row[0])
)
unique_rows = st.dictionaries(st.integers(0, 12), st.tuples(values, texts), max_size=12).map(
    lambda found: [(n, *row) for n, row in sorted(found.items())]
)


def frame(found: ROWS) -> pa.Table:
    columns = list(zip(*found, strict=True)) or [[], [], []]
    return pa.table(
        {name: pa.array(list(c), SCHEMA[name].type) for name, c in zip("nxy", columns, strict=True)}
    )


def exact(value: Any) -> Any:
    """Equal where the value is the same."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack("d", value)
    return value


def content(clct: Collection, label: str, **moment: Any) -> list[tuple[Any, ...]]:
    found = clct.series(label).frame(**moment).to_pylist()
    return [tuple(exact(value) for value in row.values()) for row in found]


def collection(clock: int = 100) -> Collection:
    return Repo(clock=Clock(now=lambda: clock)).create_collection(SCHEMA, "c")


# ---- only_changes


@settings(max_examples=120)
@given(st.lists(st.tuples(rows, st.sampled_from([None, (0, 12), (3, 8)])), max_size=4))
def test_what_is_read_after_a_write_of_changes_is_what_is_read_after_a_plain_one(
    steps: list[tuple[ROWS, tuple[int, int] | None]],
) -> None:
    plain, narrow = collection(), collection()
    for found, span in steps:
        options: dict[str, Any] = {}
        if span is not None:
            options = {"start": span[0], "stop": span[1]}
            found = [row for row in found if span[0] <= row[0] <= span[1]]
        elif not found:
            continue
        before = content(narrow, "s")
        plain.series("s").write(frame(found), **options)
        made = narrow.series("s").write(frame(found), only_changes=True, **options)
        assert content(narrow, "s") == content(plain, "s")
        assert bool(made) == (content(narrow, "s") != before)


@settings(max_examples=80)
@given(st.lists(st.dictionaries(st.sampled_from("abc"), rows, max_size=3), max_size=4))
def test_many_series_at_once_are_narrowed_as_each_alone(steps: list[dict[str, ROWS]]) -> None:
    plain, narrow = collection(), collection()
    for step in steps:
        tables = [
            frame(found).append_column("label", pa.array([label] * len(found), pa.string()))
            for label, found in step.items()
        ]
        if not tables:
            continue
        before = [content(narrow, label) for label in "abc"]
        plain.write(pa.concat_tables(tables), "label")
        made = narrow.write(pa.concat_tables(tables), "label", only_changes=True)
        after = [content(narrow, label) for label in "abc"]
        assert after == [content(plain, label) for label in "abc"]
        assert bool(made) == (before != after)


@settings(max_examples=50)
@given(st.lists(unique_rows.filter(bool), max_size=4))
def test_upserts_of_changes_are_as_plain_ones(steps: list[ROWS]) -> None:
    schema = Schema.kv(n="int*", x="float", y="str")
    plain, narrow = (Repo().create_collection(schema, "c") for _ in "ab")
    for found in steps:
        before = content(narrow, "s")
        plain.series("s").write(frame(found))
        made = narrow.series("s").write(frame(found), only_changes=True)
        assert content(narrow, "s") == content(plain, "s")
        assert bool(made) == (content(narrow, "s") != before)


def stored(clct: Collection, revision: Revision) -> int:
    found: int = clct.changelog.document(revision)["rows"]
    return found


def test_only_rows_that_differ_are_stored() -> None:
    clct = collection()
    series = clct.series("s")
    many: ROWS = [(n, float(n), "a") for n in range(1000)]
    series.write(frame(many), only_changes=True)
    assert series.write(frame(many), only_changes=True) == []
    (grown,) = series.write(frame([*many, (1000, 0.0, "b")]), only_changes=True)
    assert stored(clct, grown) == 1
    (run,) = series.write(frame([*many[:7], (7, 0.0, "b"), *many[8:]]), only_changes=True)
    assert stored(clct, run) == 1
    scattered = [(n, -1.0 if n % 10 == 0 else x, y) for n, x, y in many if n % 10 != 5]
    (spread,) = series.write(frame(scattered), 0, 999, only_changes=True)
    # 100 are changed and 100 gone; 7 is as it was again.
    assert stored(clct, spread) == 201
    assert len(series) == 901


def test_rows_that_are_not_written_do_not_win_over_those_of_others() -> None:
    a, b = Repo(), Repo()
    here = a.create_collection(SCHEMA, "c")
    here.series("s").write(frame([(1, 1.0, "a"), (2, 2.0, "a")]))
    b.pull(a)
    there = b / "c"
    there.series("s").write(frame([(1, 5.0, "b")]))
    here.series("s").write(frame([(1, 1.0, "a"), (2, 9.0, "a")]), only_changes=True)
    here.pull(there)
    here.merge()
    assert content(here, "s") == [(1, exact(5.0), "b"), (2, exact(9.0), "a")]


@pytest.mark.parametrize("pieces", [1, 3, 10, 40])
def test_changes_claim_no_row_that_their_frame_does_not_name(pieces: int) -> None:
    a, b = Repo(), Repo()
    here = a.create_collection(SCHEMA, "c").series("s")
    days = {n: (n, float(n), "a") for n in range(2 * pieces)}
    for n in range(1, pieces + 1):
        here.write(frame([days[day] for day in range(2 * n)]), only_changes=True)
    b.pull(a)
    corrected = {n: (n, -1.0, "b") for n in range(pieces)}
    (b / "c").series("s").upsert(frame([*corrected.values()]))
    for added in range(2 * pieces, 2 * pieces + 9):
        days[added] = (added, 7.0, "a")
        here.write(frame([*days.values()][pieces:]), only_changes=True)
    a.pull(b)
    a.merge()
    assert content(a / "c", "s") == [tuple(map(exact, r)) for r in (days | corrected).values()]


def test_of_a_series_in_few_pieces_exactly_what_differs_is_written() -> None:
    a, b = Repo(), Repo()
    here = a.create_collection(SCHEMA, "c").series("s")
    days: ROWS = [(n, float(n), "a") for n in range(9)]
    here.write(frame(days[:6]))
    b.pull(a)
    (b / "c").series("s").upsert(frame([(n, -1.0, "b") for n in (0, 3, 5)]))
    for n in (7, 8, 9):  # three pieces more
        here.write(frame(days[:n]), only_changes=True)
    a.pull(b)
    a.merge()
    assert [row[2] for row in content(a / "c", "s")] == list("baababaaa")


def test_changes_are_those_to_all_that_the_commit_builds_on() -> None:
    a, b = Repo(), Repo()
    here, there = (repo.create_collection(SCHEMA, "c") for repo in (a, b))
    here.series("s").write(frame([(1, 1.0, "a")]))
    there.series("s").write(frame([(2, 2.0, "a")]))
    here.pull(there)
    both = frame([(1, 1.0, "a"), (2, 2.0, "a")])
    assert here.series("s").write(both, only_changes=True) == []
    made = here.series("s").write(frame([(1, 1.0, "a"), (2, 3.0, "a")]), only_changes=True)
    assert len(made) == 2 and content(here, "s")[0][0] == 1


def test_in_a_block_a_series_that_is_written_twice_is_written_whole() -> None:
    clct = collection()
    series = clct.series("s")
    old = frame([(1, 1.0, "a"), (2, 2.0, "a")])
    series.write(old)
    with clct.multi() as batch:
        series.delete()
        series.write(old, only_changes=True)
        clct.series("t").write(old, only_changes=True)
    assert len(batch.revisions) == 1
    assert content(clct, "s") == content(clct, "t") == [(1, exact(1.0), "a"), (2, exact(2.0), "a")]
    with clct.multi() as batch:
        series.write(old, only_changes=True)
    assert batch.revisions == []


def test_a_column_that_was_renamed_is_compared_under_its_name() -> None:
    clct = collection()
    clct.series("s").write(frame([(1, 1.0, "a")]))
    clct.rename_column("x", "z")
    clct.add_column("w", "int", 7)
    same = {"n": [1], "z": [1.0], "y": ["a"], "w": [7]}
    assert clct.series("s").write(same, only_changes=True) == []
    assert clct.series("s").write({**same, "w": [8]}, only_changes=True)
    assert clct.series("s").frame()["w"].to_pylist() == [8]


# ---- diff


def expected(before: ROWS, after: ROWS, label: str) -> list[tuple[Any, ...]]:
    """The rows of a diff; rows of equal keys in their order."""
    found = []
    keyed: list[dict[tuple[int, int], tuple[Any, ...]]] = []
    for side in (before, after):
        seen: dict[tuple[int, int], tuple[Any, ...]] = {}
        for n, *row in side:
            nth = sum(1 for key in seen if key[0] == n)
            seen[n, nth] = tuple(map(exact, row))
        keyed.append(seen)
    old, new = keyed
    for key in sorted(old.keys() | new.keys()):
        a, b = old.get(key), new.get(key)
        if a != b:
            change = "added" if a is None else "removed" if b is None else "changed"
            ends = [
                end for pair in zip(a or (None,) * 2, b or (None,) * 2, strict=True) for end in pair
            ]
            found.append((label, key[0], change, *ends))
    return found


def shown(found: pl.DataFrame) -> list[tuple[Any, ...]]:
    return [tuple(exact(value) for value in row) for row in found.rows()]


@settings(max_examples=80)
@given(st.lists(st.tuples(st.sampled_from("ab"), rows, st.booleans()), min_size=1, max_size=6))
def test_a_diff_has_the_rows_that_differ(steps: list[tuple[str, ROWS, bool]]) -> None:
    clct = collection()
    contents: list[dict[str, Any]] = [{"a": [], "b": []}]
    moments: list[Any] = [0]
    for label, found, keyed in steps:
        series = clct.series(label)
        if keyed:  # upserts lie over what is there
            unique = list({row[0]: row for row in found}.values())
            made = series.upsert(frame(unique))
        else:
            made = series.write(frame(found), 0, 12)
        if made:
            moments.append(made[0])
            now = {
                name: [tuple(r.values()) for r in clct.series(name).frame().to_pylist()]
                for name in "ab"
            }
            contents.append(now)
    for i, a in enumerate(moments):
        for j, b in enumerate(moments):
            wanted = [
                row for name in "ab" for row in expected(contents[i][name], contents[j][name], name)
            ]
            assert shown(clct.diff(a, b)) == wanted
    assert shown(clct.diff(moments[0])) == shown(clct.diff(moments[0], moments[-1]))


def test_a_diff_of_some_series() -> None:
    clct = collection()
    for label in ("a", "ab", "b"):
        clct.series(label).write(frame([(1, 1.0, "a")]))
    assert clct.diff(0, labels="a*")["label"].to_list() == ["a", "ab"]
    assert clct.diff(0, labels=["b", "z"], label="at")["at"].to_list() == ["b"]
    assert clct.diff(0, labels=[]).height == 0
    empty = clct.diff(0, 0)
    assert empty.schema == clct.diff(0).schema and empty.height == 0
    assert empty.columns == ["label", "n", "change", "x_before", "x_after", "y_before", "y_after"]
    with pytest.raises(SchemaError, match="label='n'"):
        clct.diff(0, label="n")
    with pytest.raises(NotFoundError):
        clct.diff("unheard of")


def test_a_diff_of_columns_whose_names_are_its_own() -> None:
    schema = Schema(change="int*", x_before="int*", x="int")
    clct = Repo().create_collection(schema, "c")
    clct.series("s").write({"change": [1], "x_before": [2], "x": [3]})
    found = clct.diff(0)
    assert found.columns == ["label", "change", "x_before", "_change", "_x_before", "x_after"]
    assert found.rows() == [("s", 1, 2, "added", None, 3)]


def test_a_diff_reads_only_what_the_states_do_not_share(monkeypatch: pytest.MonkeyPatch) -> None:
    clct = collection()
    for label in "abcdef":
        clct.series(label).write(frame([(n, 1.0, "a") for n in range(100)]))
    then = clct.changelog.leaf()
    clct.series("c").write(frame([(50, 2.0, "b")]))
    clct.defrag(1)  # another place is no difference
    opened = set()
    whole = Objects.segment

    def segment(self: Objects, name: Digest) -> Segment:
        opened.add(name)
        return whole(self, name)

    monkeypatch.setattr(Objects, "segment", segment)
    assert clct.diff(then).rows() == [("c", 50, "changed", 1.0, 2.0, "a", "b")]
    assert len(opened) == 2


def test_a_diff_of_nested_and_wide_types() -> None:
    schema = Schema(k="decimal256(40, 2)*", x="list<float>", y="map<str, int>")
    clct = Repo().create_collection(Schema(k="decimal128(20, 2)*", x="list<float>"), "c")
    clct.series("s").write({"k": [1, 2], "x": [[0.0, None], None]})
    first = clct.changelog.leaf()
    clct.series("s").write({"k": [1, 2], "x": [[-0.0, None], None]})
    assert clct.diff(first)["k"].to_list() == [1]
    wide = Repo().create_collection(schema, "c")
    with pytest.raises(SchemaError, match="Polars has no type"):
        wide.diff(0)
    row = {"k": [1], "x": [[NAN]], "y": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64()))}
    wide.series("s").write(row)
    assert wide.series("s").write(row, only_changes=True) == []


def test_a_series_that_grows_by_changes_does_not_fall_to_pieces() -> None:
    clct = collection()
    rows_written = 0
    many: ROWS = []
    for n in range(300):
        many.append((n, float(n), "a"))
        if n % 7 == 0:
            many[n // 2] = (n // 2, -float(n), "b")
        (revision,) = clct.series("s").write(frame(many), only_changes=True)
        rows_written += stored(clct, revision)
        if n % 50 == 0:
            assert content(clct, "s") == [tuple(map(exact, row)) for row in many]
    state = clct._ledger.state()
    assert len(list(state.extents())) < 40
    assert rows_written < 300 * 40
