"""A load of many series from one table is what as many writes are: the same revision."""

from __future__ import annotations

import random
from itertools import accumulate, groupby, pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from lakota import Clock, Collection, FrameError, LabelError, Repo, Schema
from lakota.bulk import _numbered
from lakota.digest import column_bytes
from lakota.extent import Extent, Extents
from lakota.interval import Cut
from lakota.manifest import EMPTY, Manifest, apply, apply_all
from lakota.page import LEAF, make_page

SCHEMAS = {
    "replace": Schema(n="int*", x="float"),
    "days": Schema(n="date*", x="float"),
    "two": Schema(n="int*", name="str*", x="float"),
    "upsert": Schema.kv(n="int*", x="float"),
}
LABELS = ("a", "a\0", "b", "é", "\U0001f600", "z" * 30)
Row = tuple[str, int]


def collection(kind: str) -> Collection:
    """One whose writes are stamped alike on each run."""
    repo = Repo(clock=Clock(now=lambda: 1_577_836_800_000_000_000))
    return repo.create_collection(SCHEMAS[kind], "c")


def frame(kind: str, rows: list[Row]) -> dict[str, Any]:
    found: dict[str, Any] = {"n": [n for _, n in rows], "x": [n / 2 for _, n in rows]}
    if kind == "days":
        found["n"] = pa.array(found["n"], pa.int32()).view(pa.date32())
    if kind == "two":
        found["name"] = [f"{n % 3}\0" for _, n in rows]
    return found


def one_by_one(clct: Collection, kind: str, rows: list[Row]) -> list[str]:
    with clct.multi(author="") as batch:
        for label, group in groupby(sorted(rows, key=lambda row: row[0]), key=lambda row: row[0]):
            clct.series(label).write(frame(kind, list(group)))
    return [revision.path for revision in batch.revisions]


def at_once(clct: Collection, kind: str, rows: list[Row], *, text: pa.DataType) -> list[str]:
    labels = pa.array([label for label, _ in rows], pa.string())
    chunks = [labels[: len(rows) // 2].cast(text), labels[len(rows) // 2 :].cast(text)]
    column = pa.chunked_array(chunks)
    written = clct.write({"label": column, **frame(kind, rows)}, author="")
    return [revision.path for revision in written]


@given(
    st.lists(st.tuples(st.sampled_from(LABELS), st.integers(1, 12)), max_size=12),
    st.lists(st.integers(0, 60), max_size=3),
)
def test_labels_are_numbered_in_order_however_they_lie_together(
    stretches: list[tuple[str, int]], cuts: list[int]
) -> None:
    labels = [label for label, rows in stretches for _ in range(rows)]
    ends = [0, *sorted(min(cut, len(labels)) for cut in cuts), len(labels)]
    chunks = [pa.array(labels[a:b], pa.string()) for a, b in pairwise(ends)]
    column = pa.chunked_array([pa.array(["x", *labels], pa.string())[1:], *chunks])
    table, names = _numbered(pa.table({"label": column}), "label")
    assert names == sorted(set(labels))
    assert [names[n] for n in table["label"].to_pylist()] == column.to_pylist()


loads = st.lists(
    st.lists(
        st.tuples(st.sampled_from(LABELS), st.integers(-3, 40)),
        unique=True,
        min_size=1,
        max_size=60,
    ),
    min_size=1,
    max_size=3,
)
texts = st.sampled_from([pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])


@given(st.sampled_from(sorted(SCHEMAS)), loads, texts)
@example("replace", [[("b", 1), ("a", 2), ("b", 0)], [("c", 1)]], pa.string())
def test_a_load_is_the_same_revision_as_its_series_written_one_by_one(
    kind: str, many: list[list[Row]], text: pa.DataType
) -> None:
    first, second = collection(kind), collection(kind)
    for rows in many:
        assert at_once(first, kind, rows, text=text) == one_by_one(second, kind, rows)
    assert first.scan().collect().equals(second.scan().collect())


def test_a_load_of_thousands_of_series_in_any_order_of_rows_reads_back() -> None:
    rows = [(f"s{i % 3000:05}", i // 3000) for i in range(9000)]
    random.Random(1).shuffle(rows)
    clct = collection("replace")
    at_once(clct, "replace", rows, text=pa.string())
    assert clct.scan().collect().rows() == [(name, n, n / 2) for name, n in sorted(rows)]
    assert clct.ls() == sorted({name for name, _ in rows})
    assert (clct / "s01234").df().rows() == [(0, 0.0), (1, 0.5), (2, 1.0)]


@given(st.lists(st.tuples(st.sampled_from(LABELS), st.integers(1, 300)), unique=True, max_size=90))
def test_columns_of_extents_make_the_pages_that_their_rows_make(found: list[Row]) -> None:
    def extent(label: str, at: int) -> Extent:
        cut = Cut(at.to_bytes(2, "big"))
        return Extent(label, cut, Cut(cut + b"\1"), 9, 1, 0, None, 0, b"s" * 16, at, 1, 9)

    extents = [extent(*row) for row in found]
    for some in (extents, list({e.label: e for e in extents}.values())):
        edit = apply_all(Manifest(EMPTY.name, {}.__getitem__), Extents.of(some))
        slow = apply(Manifest(EMPTY.name, {}.__getitem__), some)
        assert (edit.root, set(edit.pages)) == (slow.root, set(slow.pages))
        made = Manifest(edit.root, edit.pages.__getitem__)
        assert list(made.extents()) == sorted(some, key=lambda e: e.key)
        ends = [ends_by_its_hash(e) for leaf in made.leaves() for e in leaf.extents]
        sizes = [leaf.num_rows for leaf in made.leaves()]
        cuts = set(accumulate(sizes))
        assert all(is_end == (at in cuts) for at, is_end in enumerate(ends[:-1], 1))


def ends_by_its_hash(e: Extent) -> bool:
    """As `docs/format.md` says it."""
    text = b"%b\0%b" % (e.label.encode(), e.lo)
    text += e.stamp.to_bytes(8, "little") + e.tie.to_bytes(8, "little")
    return xxh3_64_intdigest(text, 0) % 48 == 0


@pytest.mark.parametrize("columns", [[], [None], [None] * 9, [None, ()], [("x",), None, ("", "y")]])
def test_a_page_holds_the_canonical_columns(columns: list[tuple[str, ...] | None]) -> None:
    rows = [
        Extent("a", Cut(b"\1"), Cut(b"\3"), i, 0, 1, names, 0, b"s" * 16, 0, 1, i)
        for i, names in enumerate(columns)
    ]
    page = make_page(Extents.of(rows), 0)
    wanted = pa.table(list(zip(*rows, strict=True)) or [[]] * len(LEAF), schema=LEAF)
    assert b"".join(page._columns) == b"".join(
        column_bytes(column.combine_chunks()) for column in wanted.columns
    )


@pytest.mark.parametrize("label", ["", " \t", "x" * 5000])
def test_a_label_that_cannot_be_one_is_refused_and_nothing_is_written(label: str) -> None:
    clct = collection("replace")
    with pytest.raises(LabelError, match="expected 1 to 4096 bytes"):
        at_once(clct, "replace", [("a", 1), (label, 1)], text=pa.string())
    assert clct.ls() == []


def test_a_table_without_rows_writes_nothing() -> None:
    for text in (pa.string(), pa.dictionary(pa.int32(), pa.string())):
        assert at_once(collection("replace"), "replace", [], text=text) == []


def test_a_load_of_two_rows_of_one_key_is_refused_in_a_collection_of_upserts() -> None:
    with pytest.raises(FrameError, match="two rows have the same label and key"):
        at_once(collection("upsert"), "upsert", [("a", 1), ("b", 1), ("a", 1)], text=pa.string())
