"""Questions about the past: provenance, the history of a key, vintages, revisions."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import count
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakota import Clock, Collection, NotFoundError, RangeError, Repo, Schema, SchemaError, Series

SCHEMA = Schema(n="int*", x="float", y="str")
KEYS = range(6)


def collection(schema: Schema = SCHEMA, *, start: int = 1000) -> Collection:
    """With a clock that shows another time at each look, far enough for several stamps."""
    ticks = count(start, 1000)
    return Repo(clock=Clock(now=lambda: next(ticks))).create_collection(schema, "c")


def frame(keys: list[int], value: int) -> dict[str, list[Any]]:
    return {"n": keys, "x": [value / 2] * len(keys), "y": [f"{value}"] * len(keys)}


kinds = st.sampled_from(["write", "delete", "upsert", "cells", "erase"])
steps = st.lists(
    st.lists(st.tuples(kinds, st.lists(st.sampled_from(KEYS), max_size=4)), min_size=1, max_size=3),
    max_size=6,
)


def apply(series: Any, kind: str, keys: list[int], value: int) -> None:
    unique = sorted(set(keys))
    if kind == "write":
        series.write(frame(sorted(keys), value))  # with equal keys
    elif kind == "delete":
        series.delete(*((min(keys), max(keys)) if keys else (None, None)))
    elif kind == "upsert":
        series.upsert(frame(unique, value))
    elif kind == "cells":
        series.upsert({"n": unique, "x": [value / 2] * len(unique)})
    else:
        series.delete_keys(pa.array(unique, pa.int64()))


def play(clct: Collection, blocks: list[list[tuple[str, list[int]]]], start: int = 0) -> None:
    """Each block a commit; some of its writes may be for the same keys."""
    values = count(start)
    for nth, block in enumerate(blocks):
        with clct.multi(author=f"author {start + nth % 3}"):
            for kind, keys in block:
                apply(clct.series("s"), kind, keys, next(values) // 2)


def as_rows(found: Any) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in found.to_pylist()]


def check_history(clct: Collection) -> None:
    """As of each stamp of a history a read gives its rows, and there are no other changes."""
    series = clct.series("s")
    stamps = sorted({revision.stamp for revision in clct.changelog.log()})
    for key in KEYS:
        wanted = []
        last: list[Any] = []
        for stamp in stamps:
            now = [row[1:] for row in as_rows(series.frame(key, key, closed="both", as_of=stamp))]
            if now != last:
                wanted.extend((stamp, False, *row) for row in now)
                wanted.extend([(stamp, True, None, None)] if not now else [])
            last = now
        found = series.history(key).with_columns(pl.col("stamp").dt.epoch("ns"))
        assert found.drop("author").rows() == wanted


@settings(max_examples=60)
@given(steps)
def test_a_history_is_what_reads_as_of_each_time_give(
    blocks: list[list[tuple[str, list[int]]]],
) -> None:
    clct = collection()
    play(clct, blocks)
    check_history(clct)
    clct.defrag(1)
    check_history(clct)


@settings(max_examples=25)
@given(steps, steps)
def test_a_history_has_what_all_replicas_wrote(
    ours: list[list[tuple[str, list[int]]]], theirs: list[list[tuple[str, list[int]]]]
) -> None:
    here, there = collection(), collection(start=1500)
    play(here, ours)
    play(there, theirs, 100)
    here.pull(there)
    check_history(here)
    merged = here.series("s").frame(merged=True)
    here.merge()
    assert here.series("s").frame() == merged
    check_history(here)


def test_a_history_after_a_trim_has_what_is_known() -> None:
    clct = collection()
    series = clct.series("s")
    for value in range(5):
        series.write(frame([1], value), author=f"{value}")
    series.upsert({"n": [1], "y": ["cell"]}, author="last")
    clct.trim(clct.changelog.log()[3].stamp + 1, grace=0)
    found = series.history(1)
    assert found["author"].to_list() == ["3", "4", "last"]
    assert found["y"].to_list() == ["3", "4", "cell"]


def test_a_history_needs_a_whole_key() -> None:
    clct = Repo().create_collection(Schema(a="int*", b="str*", author="str"), "c")
    series = clct.series("s")
    series.write({"a": [1, 1], "b": ["x", "y"], "author": ["p", "q"]}, author="ada")
    with pytest.raises(RangeError, match="a, b"):
        series.history(1)
    found = series.history((1, "y"))
    assert found.columns == ["stamp", "_author", "deleted", "author"]
    assert found.drop("stamp").rows() == [("ada", False, "q")]
    assert series.history((2, "x")).height == 0
    assert clct.series("t").history((1, "x")).schema == found.schema


def test_a_history_of_a_column_that_was_added_and_renamed() -> None:
    clct = collection()
    series = clct.series("s")
    series.write(frame([1], 1))
    clct.add_column("z", "int", 7)
    clct.rename_column("x", "w")
    series.upsert({"n": [1], "z": [8]})
    assert series.history(1).select("w", "y", "z").rows() == [(0.5, "1", 7), (0.5, "1", 8)]


# ---- Provenance


@settings(max_examples=40)
@given(steps)
def test_each_row_comes_from_the_last_write_that_touched_it(
    blocks: list[list[tuple[str, list[int]]]],
) -> None:
    clct = collection()
    touched: dict[int, tuple[int, str]] = {}
    values = count()
    for nth, block in enumerate(blocks):
        author = f"author {nth}"
        with clct.multi(author=author) as batch:
            for kind, keys in block:
                apply(clct.series("s"), kind, keys, next(values))
        if batch.revisions:
            for kind, keys in block:
                if kind == "delete" and not keys:
                    keys = list(KEYS)
                hull = range(min(keys, default=0), max(keys, default=-1) + 1)
                over = hull if kind in ("write", "delete") else keys
                touched.update((key, (batch.revisions[0].stamp, author)) for key in over)
    for options in ({}, {"select": ["y"]}, {"start": 1, "stop": 4}, {"offset": 1, "limit": 2}):
        series = clct.series("s")
        plain = series.frame(**options)
        found = series.frame(provenance=True, **options)
        assert found.drop_columns(["stamp", "author"]) == plain
        assert found.column_names[-2:] == ["stamp", "author"]
        if "n" in plain.column_names:
            origins = zip(
                found["stamp"].cast(pa.int64()).to_pylist(),
                found["author"].to_pylist(),
                strict=True,
            )
            assert list(origins) == [touched[n] for n in plain["n"].to_pylist()]
        tail = series.tail(2, provenance=True)
        whole = series.frame(provenance=True)
        assert tail == whole[-2:]
        pages = list(series.paginate(2, provenance=True))
        assert pa.concat_tables([whole[:0], *pages]) == whole
        assert series.scan(provenance=True).collect().equals(series.df(provenance=True))


def test_authors_outlive_merges_and_compactions_but_not_a_trim() -> None:
    a, b = collection(), collection(start=1500)
    for clct, author in ((a, "ada"), (b, "bob")):
        for n in range(3):
            clct.series("s").write(frame([n if author == "ada" else n + 3], n), author=author)
    a.pull(b)
    a.merge()
    a.defrag(1)
    wanted = ["ada"] * 3 + ["bob"] * 3
    assert a.series("s").df(provenance=True)["author"].to_list() == wanted
    a.trim("2100-01-01", grace=0)
    found = a.series("s").df(provenance=True)
    assert found["author"].null_count() == 6 and found["stamp"].n_unique() == 6


def test_replicas_that_gave_out_equal_stamps_keep_their_authors() -> None:
    a, b = (Repo(clock=Clock(now=lambda: 5)).create_collection(SCHEMA, "c") for _ in "ab")
    a.series("s").write(frame([1], 1), author="ada")
    b.series("s").write(frame([2], 2), author="bob")
    a.pull(b)
    a.merge()
    assert a.series("s").df(provenance=True)["author"].to_list() == ["ada", "bob"]
    assert a.series("s").history(2)["author"].to_list() == ["bob"]


def test_columns_of_provenance_give_way_to_those_of_the_schema() -> None:
    series = Repo().create_collection(Schema(stamp="int*", author="str"), "c") / "s"
    series.write({"stamp": [1], "author": ["me"]}, author="ada")
    found = series.df(provenance=True)
    assert found.columns == ["stamp", "author", "_stamp", "_author"]
    assert found.drop("_stamp").rows() == [(1, "me", "ada")]
    assert series.scan(provenance=True).collect().equals(found)
    assert (series.df(provenance=True)["_stamp"].dt.epoch("ns") == series.changelog.leaf().stamp)[0]


# ---- Vintages


@settings(max_examples=40)
@given(steps, st.integers(0, 5), st.integers(0, 6))
def test_vintages_are_the_reads_as_of_each_moment(
    blocks: list[list[tuple[str, list[int]]]], start: int, stop: int
) -> None:
    clct = collection()
    play(clct, blocks)
    series = clct.series("s")
    moments: list[Any] = [1, 2, *clct.changelog.log()]
    texts = [str(m) if isinstance(m, int) else m.child for m in moments]
    long = series.vintages(moments, start, stop, long=True)
    wide = series.vintages(moments, start, stop)
    assert wide.columns == ["n", *(f"{v}@{text}" for v in "xy" for text in texts)]
    stamps = [m if isinstance(m, int) else m.stamp for m in moments]
    keys: set[tuple[int, int]] = set()
    for text, stamp, moment in zip(texts, stamps, moments, strict=True):
        read = series.df(start, stop, as_of=moment)
        now = pl.lit(stamp).cast(pl.Datetime("ns", "UTC"))
        assert long.filter(pl.col("as_of") == now).drop("as_of").equals(read)
        nth = read.with_columns(nth=pl.int_range(pl.len()).over("n"))
        keys.update(nth.select("n", "nth").rows())
        shown = wide.with_columns(nth=pl.int_range(pl.len()).over("n"))
        joined = shown.join(nth, on=["n", "nth"], how="left", maintain_order="left")
        for value in "xy":
            assert joined[value].equals(joined[f"{value}@{text}"], null_equal=True)
    assert wide["n"].to_list() == [n for n, _ in sorted(keys)]


def test_with_one_column_a_vintage_is_called_by_its_moment() -> None:
    clct = collection()
    series = clct.series("s")
    series.write(frame([1], 1))
    clct.tag("first")
    series.write(frame([1, 2], 3))
    moments = ["first", "2020-01-01", datetime(2021, 1, 1, tzinfo=UTC), date(2022, 1, 1)]
    found = series.vintages(moments, select="x")
    assert found.columns == ["n", "first", "2020-01-01", "2021-01-01 00:00:00+00:00", "2022-01-01"]
    assert found.rows() == [(1, 0.5, 1.5, 1.5, 1.5), (2, None, 1.5, 1.5, 1.5)]
    with pytest.raises(RangeError, match="two columns"):
        series.vintages(["first", "first"])
    assert series.vintages(["first", "first"], long=True).height == 2
    with pytest.raises(NotFoundError, match="'first'"):
        series.vintages(["second"])
    assert series.vintages([]).columns == ["n"]
    with pytest.raises(RangeError):
        series.vintages([None])


def test_questions_about_columns_that_polars_has_not_are_refused() -> None:
    series = Repo().create_collection(Schema(n="int*", d="decimal256(40, 2)", x="int"), "c") / "s"
    for act in (lambda: series.history(1), lambda: series.vintages([1])):
        with pytest.raises(SchemaError, match="Polars has no type"):
            act()
    assert series.vintages([1], select="x").columns == ["n", "1"]


def test_keys_of_vintages_are_in_order_whatever_their_type() -> None:
    rows: dict[str, list[Any]] = {
        "float": [-1.5, -0.0, 2.0],
        "str": ["", "a", "é"],
        "decimal128(9, 2)": [-1, 0, 5],
        "bool": [False, True, True],
        "timestamp[ns, UTC]": [-5, 0, 7],
    }
    for kind, keys in rows.items():
        clct = collection(Schema(k=f"{kind}*", x="int"))
        series = clct.series("s")
        array = pa.array(keys, clct.schema["k"].type) if kind != "decimal128(9, 2)" else keys
        moments = []
        for i in (1, 0, 2):
            moments += series.write({"k": array[i : i + 1], "x": [i]})
        found = series.vintages(moments, select="x")
        expected = series.df()
        assert found["k"].equals(expected["k"]), kind
        assert found[moments[-1].child].to_list() == expected["x"].to_list(), kind


# ---- Revisions


def test_revisions_are_what_the_documents_say() -> None:
    clct = collection()
    assert clct.revisions().height == 0
    clct.series("s").write(frame([1, 2], 1), author="ada", message="first")
    clct.rename("s", "t", author="bob")
    other = collection(start=1500)
    other.pull(clct)
    for one, author in ((clct, "ada"), (other, "bob")):
        one.series("u").write(frame([1], 2), author=author)
    clct.pull(other)
    clct.merge()
    found = clct.revisions()
    assert found["author"].to_list() == ["ada", "bob", "bob", "ada", ""]
    assert found["kind"].to_list() == ["write", "rename", "write", "write", "merge"]
    assert found["message"].to_list() == ["first", "rename 's' to 't'", "", "", ""]
    assert found["rows"].to_list() == [2, None, 1, 1, None]
    assert found["parents"].list.len().to_list() == [0, 1, 1, 1, 2]
    assert found["head"].to_list() == [False] * 4 + [True]
    assert found["stamp"].is_sorted() and found.schema == collection().revisions().schema
    assert isinstance(clct.series("t"), Series)


def test_a_scan_of_many_series_says_where_each_row_comes_from() -> None:
    clct = collection()
    rows = {"n": [1, 2], "x": [0.5, 0.5], "y": ["a", "a"]}
    first = clct.write(
        {**{k: v * 2 for k, v in rows.items()}, "at": list("aabb")}, "at", author="ada"
    )
    second = (clct / "b").upsert({"n": [2, 3], "x": [1.5, 1.5]}, author="bob")
    found = clct.scan(label="author", provenance=True)
    assert found.collect_schema().names() == ["author", *SCHEMA.names, "stamp", "_author"]
    stamps = [revision.stamp for revision in (*first, *second)]
    said = found.select("author", "n", pl.col("stamp").dt.epoch("ns"), "_author").collect().rows()
    assert said == [
        ("a", 1, stamps[0], "ada"),
        ("a", 2, stamps[0], "ada"),
        ("b", 1, stamps[0], "ada"),
        ("b", 2, stamps[1], "bob"),
        ("b", 3, stamps[1], "bob"),
    ]
    assert found.filter(pl.col("_author") == "bob").select("n").collect()["n"].to_list() == [2, 3]
    assert found.select("_author").collect()["_author"].to_list() == ["ada"] * 3 + ["bob"] * 2
    assert found.head(1).collect().height == 1 and found.select(pl.len()).collect().item() == 5


@pytest.mark.parametrize("moment", ["1960-01-01", "0001-01-01", -1, datetime(1969, 12, 31)])
def test_before_1970_nothing_was_known(moment: Any) -> None:
    clct = Repo().create_collection(SCHEMA, "c")
    (clct / "s").write(frame([0], 1))
    every: list[dict[str, Any]] = [{"as_of": moment}, {"before": moment}, {"before": 0}]
    for asked in every:
        assert clct.ls(**asked) == [] and len((clct / "s").df(**asked)) == 0
    assert (clct / "s").vintages([moment]).is_empty()
    (clct / "s").write(frame([0], 2))
    assert clct.trim(grace=0) == 1
    with pytest.raises(NotFoundError, match="were trimmed"):
        clct.ls(as_of=moment)
