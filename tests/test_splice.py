"""Few rows among many: a region of which little is touched is read as if it were joined whole, and
what is not touched is not copied."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakota import Repo, Schema, region
from lakota.splice import find, places, put, spliced, taken

cells = st.lists(st.none() | st.integers(0, 9), max_size=6)
columns = st.lists(cells, max_size=5)
KINDS = {
    "int64": lambda v: v,
    "string": lambda v: f"x{v}" * v,
    "bool": lambda v: v > 4,
    "list<int>": lambda v: [v] * (v % 3),
    "decimal128(9, 2)": lambda v: v,
    "dictionary": lambda v: "ab"[v % 2],
}
TYPES = {
    "int64": pa.int64(),
    "string": pa.string(),
    "bool": pa.bool_(),
    "list<int>": pa.list_(pa.int64()),
    "decimal128(9, 2)": pa.decimal128(9, 2),
    "dictionary": pa.dictionary(pa.int8(), pa.string()),
}


def column(kind: str, chunks: list[list[int | None]]) -> pa.ChunkedArray:
    made = [[None if v is None else KINDS[kind](v) for v in chunk] for chunk in chunks]
    return pa.chunked_array([pa.array(chunk, TYPES[kind]) for chunk in made], TYPES[kind])


@settings(max_examples=200)
@given(columns, cells, st.sampled_from(sorted(KINDS)), st.data())
def test_rows_are_taken_put_and_spliced_as_in_a_list(
    chunks: list[list[int | None]], more: list[int | None], kind: str, data: st.DataObject
) -> None:
    whole, new = column(kind, chunks), column(kind, [more])
    old, values = whole.to_pylist(), new.to_pylist()
    at = sorted(data.draw(st.sets(st.integers(0, max(len(old) - 1, 0))))) if old else []
    rows = np.array(at, np.int64)
    assert taken(pa.table({"v": whole}), rows)["v"].to_pylist() == [old[i] for i in at]
    some = column(kind, [(more * 40)[: len(at)]]) if more else whole.take(pa.array(rows))
    changed = list(old)
    for i, value in zip(at, some.to_pylist(), strict=True):
        changed[i] = value
    assert put(whole, rows, some).to_pylist() == changed
    before = sorted(data.draw(st.integers(0, len(old))) for _ in values)
    expected: list[Any] = []
    for i in range(len(old) + 1):
        expected += [value for value, place in zip(values, before, strict=True) if place == i]
        expected += [old[i]] if i < len(old) and i not in at else []
    assert spliced(whole, rows, np.array(before, np.int64), new).to_pylist() == expected


@settings(max_examples=100)
@given(st.lists(st.integers(0, 9)), st.lists(st.integers(-1, 10)), st.booleans())
def test_rows_are_found_by_key(keys: list[int], wanted: list[int], two: bool) -> None:
    def table(values: list[int]) -> pa.Table:
        one = pa.table({"a": pa.array(values, pa.int64())})
        return (
            one.append_column("b", pa.array([str(v) for v in values], pa.string())) if two else one
        )

    keys.sort()
    expected = [i for i, key in enumerate(keys) if key in wanted]
    assert find(table(keys), table(wanted)).tolist() == expected
    found = places(table(keys), table(wanted))
    if two or not keys or not wanted:
        assert found is None
    else:
        assert found is not None
        assert found.tolist() == [sum(key < value for key in keys) for value in wanted]


steps = st.lists(
    st.tuples(
        st.sampled_from(["write", "upsert", "x", "y", "erase"]),
        st.sets(st.integers(-2, 14), min_size=1, max_size=4),
    ),
    max_size=6,
)


@settings(max_examples=50)
@given(steps, st.sampled_from(["int", "float", "str", "int, str"]))
def test_a_sparse_region_is_what_a_join_of_all_of_it_is(
    found: list[tuple[str, set[int]]], key: str
) -> None:
    index = {"n": f"{key.split(', ')[0]}*", **({"m": "str*"} if "," in key else {})}
    series: Any = Repo().create_collection(Schema({**index, "x": "int", "y": "str"}), "c") / "s"

    def frame(keys: list[int], *names: str) -> dict[str, list[Any]]:
        shown = [f"{k + 5:02}" for k in keys] if key == "str" else list(keys)
        pair = {"m": [str(k % 3) for k in keys]} if "," in key else {}
        values = {"x": [k % 5 or None for k in keys], "y": [f"y{k}" for k in keys]}
        return {"n": shown, **pair, **{name: values[name] for name in names}}

    series.write(frame([0, 2, 2, 3, 5, 7, 9, 11, 11], "x", "y"))
    for kind, keys in found:
        if kind == "write":
            series.write(frame(sorted(keys)[:2], "x", "y"))
        elif kind == "erase":
            series.delete_keys(frame(sorted(keys)))
        else:
            series.upsert(frame(sorted(keys), *("xy" if kind == "upsert" else kind)))
    joined = [series.frame(), series.frame(select="y"), series.frame(provenance=True)]
    count = series.count()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(region, "LARGE_ROWS", 0)
        patch.setattr(region, "SPARSE", 0)
        assert series.frame().equals(joined[0]) and series.count() == count
        assert series.frame(select="y").equals(joined[1])
        assert series.frame(provenance=True).equals(joined[2])
        assert series.scan().collect().equals(pl.DataFrame(joined[0]))


def test_what_is_not_touched_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 4 * 65_536
    clct = Repo().create_collection(Schema(n="int*", x="float", y="float"), "c")
    series: Any = clct / "s"
    series.write({"n": np.arange(rows), "x": np.zeros(rows), "y": np.zeros(rows)})
    before = series.frame()
    series.upsert({"n": [10, 200_000], "x": [1.0, 1.0]})
    monkeypatch.setattr(region, "_settle", None)
    assert "join those of 199,991 rows that 1 layers of 2 rows touch" in series.explain()
    after = series.frame()
    assert after["x"].to_numpy().nonzero()[0].tolist() == [10, 200_000]

    def where(table: pa.Table, name: str) -> set[int]:
        return {chunk.buffers()[1].address for chunk in table[name].chunks}

    assert where(after, "n") == where(before, "n") and where(after, "y") == where(before, "y")
    assert len(where(after, "x") - where(before, "x")) == 2
