"""Lazy scans: the same rows as an eager read, from as little of the store as holds them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from lakota import Repo, Schema, page, region
from lakota.errors import DamagedError, LabelError, SchemaError
from lakota.interval import EVERYTHING
from lakota.manifest import Manifest
from lakota.predicate import reach
from lakota.scan import Scan
from lakota.segment import Segment

t, n, v, label = pl.col("t"), pl.col("n"), pl.col("v"), pl.col("label")
ENGINES: tuple[Literal["streaming", "in-memory"], ...] = ("streaming", "in-memory")


class Decoded:
    """Which batches of which columns are decoded, and how many bytes their buffers hold."""

    def __init__(self) -> None:
        self.batches: set[tuple[str, int]] = set()
        self.columns: set[str] = set()
        self.sizes: list[int] = []  # filled by several threads

    @property
    def bytes(self) -> int:
        return sum(self.sizes)

    def clear(self) -> None:
        self.batches, self.columns, self.sizes = set(), set(), []


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Decoded:
    found = Decoded()
    column = Segment._column

    def watched(self: Segment, stored: Any, i: int, j: int, *rest: Any) -> Any:
        found.batches.add((self.name, i))
        found.columns.add(self.schema.names[j])
        array = column(self, stored, i, j, *rest)
        found.sizes.append(array.nbytes)
        return array

    inflate = Segment._inflate

    def inflated(self: Segment, files: Any, i: int, nth: int, j: int, out: Any) -> Any:
        found.batches.add((self.name, i))
        found.columns.add(self.schema.names[j])
        found.sizes.append(out.nbytes)
        return inflate(self, files, i, nth, j, out)

    monkeypatch.setattr(Segment, "_column", watched)
    monkeypatch.setattr(Segment, "_inflate", inflated)
    return found


# ---- What is read


@pytest.mark.parametrize("codec", ["plain", "packed"])
def test_one_day_of_ten_million_rows_touches_one_or_two_batches(
    tmp_path: Path, decoded: Decoded, codec: str
) -> None:
    rows = 10_000_000 if codec == "plain" else 1_000_000
    repo = Repo(str(tmp_path / "repo"), durability="os", codec=codec)
    series = repo.create_collection(Schema(t="timestamp*", v="float"), "c") / "s"
    times = np.datetime64("2000-01-01", "us") + np.arange(rows) * np.timedelta64(60, "s")
    series.write({"t": times, "v": np.arange(rows, dtype="f8")})
    day = t.is_between(datetime(2001, 5, 1), datetime(2001, 5, 2), closed="left")
    expected = series.df("2001-05-01", "2001-05-02")
    assert expected.height == 1440
    for engine in ENGINES:
        decoded.clear()
        assert_frame_equal(series.scan().filter(day).collect(engine=engine), expected)
        assert 1 <= len(decoded.batches) <= 2
        # The batches at both ends are searched by key, then read: 16 bytes a row at most twice.
        assert decoded.bytes <= 4 * 65_536 * 16


@pytest.mark.parametrize("codec", ["plain", "packed", "zstd"])
def test_one_column_of_fifty_touches_that_columns_buffers_only(
    decoded: Decoded, codec: str
) -> None:
    names = [f"x{i:02d}" for i in range(50)]
    repo = Repo(None, codec=codec)
    clct = repo.create_collection(Schema({"t": "int*", **dict.fromkeys(names, "float")}), "c")
    rows = 100_000
    clct.series("s").write(
        {"t": np.arange(rows), **{name: np.full(rows, float(i)) for i, name in enumerate(names)}}
    )
    for scan in (clct.series("s").scan(), clct.scan()):
        decoded.clear()
        assert scan.select(pl.col("x07").sum()).collect().item() == 7.0 * rows
        assert decoded.columns == {"x07"}
        assert decoded.bytes == rows * 8


def test_the_first_rows_need_the_first_batch_alone(decoded: Decoded) -> None:
    series = _numbers(300_000)
    for engine in ENGINES:
        decoded.clear()
        assert series.scan().head(3).collect(engine=engine)["t"].to_list() == [0, 1, 2]
        assert len(decoded.batches) == 1
    decoded.clear()
    found = series.scan().filter(t >= 200_000).head(2).collect(engine="streaming")
    assert found["t"].to_list() == [200_000, 200_001]
    assert len(decoded.batches) <= 2


def test_counting_by_label_decodes_nothing(decoded: Decoded) -> None:
    scan = _stations().scan()
    assert scan.select(pl.len()).collect().item() == 400
    decoded.clear()
    counts = scan.group_by("label").len().collect()
    assert dict(counts.iter_rows()) == {f"{ab}{i}": 10 for ab in "ab" for i in range(20)}
    assert decoded.columns == set()


def test_other_series_are_not_read(decoded: Decoded) -> None:
    clct = Repo().create_collection(Schema(t="int*", v="float"), "c")
    rows = 20_000
    for ab in "ab":
        for i in range(3):
            values = np.full(rows, ord(ab) + 10 * i)  # equal rows would be one segment
            clct.series(f"{ab}{i}").write({"t": np.arange(rows), "v": values})
    cases = [
        (clct.scan("a*"), 3),
        (clct.scan("?1"), 2),
        (clct.scan(["b2", "a0", "none", "a0"]), 2),
        (clct.scan().filter(label == "b1"), 1),
        (clct.scan().filter(label.is_in(["a1", "b2", None])), 2),
        (clct.scan().filter(label.str.starts_with("b")), 3),
        (clct.scan("a*").filter((label == "b1") | (label == "a2")), 1),
        (clct.scan("a*").filter(label == "b1"), 0),
        (clct.scan().filter((label == "a1") & (t == 5)), 1),
        (clct.scan().filter(label.is_in([])), 0),
    ]
    for scan, expected in cases:
        decoded.clear()
        scan.collect()
        assert len({segment for segment, _ in decoded.batches}) == expected


def test_ten_thousand_series_are_found_by_pattern_without_their_neighbours_pages() -> None:
    clct = Repo().create_collection(Schema(t="int*", v="float"), "c")
    labels = [f"{chr(97 + i % 20)}{i:05d}" for i in range(10_000)]
    clct.write({"at": labels, "t": [0] * 10_000, "v": np.arange(10_000.0)}, "at")
    site = clct._ledger.site
    opened: list[str] = []
    manifest = clct._ledger.state()

    def load(name: Any) -> Any:
        opened.append(name)
        return site.objects.page(name)

    every = list(Manifest(manifest.root, load).across(EVERYTHING))
    assert len(every) == 10_000
    whole = len(opened)
    opened.clear()
    found = list(Manifest(manifest.root, load).across(EVERYTHING, "c"))
    assert [e.label for e in found] == sorted(name for name in labels if name[0] == "c")
    assert len(opened) < whole / 8
    assert clct.scan("c*").collect().height == 500


# ---- What comes out


def _numbers(rows: int) -> Any:
    series = Repo().create_collection(Schema(t="int*", v="float"), "c") / "s"
    series.write({"t": np.arange(rows), "v": np.arange(rows, dtype="f8")})
    return series


def _stations() -> Any:
    clct = Repo().create_collection(Schema(t="int*", v="float"), "c")
    labels = [f"{ab}{i}" for i in range(20) for ab in "ba"]
    clct.write(
        {"at": np.repeat(labels, 10), "t": np.tile(np.arange(10), 40), "v": np.zeros(400)}, "at"
    )
    return clct


OPERATORS: list[Callable[[Any, Any], Any]] = [
    operator.eq,
    operator.ne,
    operator.lt,
    operator.le,
    operator.gt,
    operator.ge,
]


def _predicates(column: pl.Expr, values: st.SearchStrategy[Any]) -> st.SearchStrategy[pl.Expr]:
    ends = st.sampled_from(["both", "left", "right", "none"])
    simple = st.one_of(
        st.builds(lambda op, value: op(column, value), st.sampled_from(OPERATORS), values),
        st.builds(lambda op, value: op(pl.lit(value), column), st.sampled_from(OPERATORS), values),
        st.builds(
            lambda a, b, c: column.is_between(pl.lit(a), pl.lit(b), closed=c), values, values, ends
        ),
        st.builds(lambda some: column.is_in(some), st.lists(values, min_size=1, max_size=4)),
        st.builds(lambda x: pl.col("v") > x, st.integers(-5, 5)),
    )
    return st.recursive(
        simple,
        lambda inner: st.one_of(
            st.builds(operator.and_, inner, inner),
            st.builds(operator.or_, inner, inner),
            st.builds(operator.invert, inner),
        ),
        max_leaves=5,
    )


NOON = datetime(2020, 1, 1, 12)
KEYS: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(-40, 40),
    "uint64": st.integers(0, 40),
    "int8": st.integers(-40, 40),
    "float": st.sampled_from([-0.0, 0.0, 0.5, -1.5, float("inf"), float("-inf"), 3.0]),
    "float32": st.sampled_from([0.0, 0.5, -1.5, 3.0]),
    "str": st.text("ab\0z", max_size=3),
    "binary": st.binary(max_size=2),
    "bool": st.booleans(),
    "date": st.dates(date(2019, 12, 1), date(2020, 2, 1)),
    "date64": st.integers(-40, 40).map(lambda d: datetime(2020, 1, 1) + timedelta(days=d)),
    "timestamp": st.datetimes(NOON, NOON + timedelta(seconds=5)),
    "timestamp[s]": st.integers(0, 50).map(lambda s: NOON + timedelta(seconds=s)),
    "timestamp[ns]": st.datetimes(NOON, NOON + timedelta(seconds=5)),
    "duration[ms]": st.integers(0, 50).map(lambda s: timedelta(seconds=s)),
    "time32[s]": st.integers(0, 50).map(lambda s: (NOON + timedelta(seconds=s)).time()),
}


@pytest.mark.parametrize("kind", KEYS)
@settings(max_examples=25)
@given(data=st.data())
def test_a_filtered_scan_is_the_filtered_read(kind: str, data: st.DataObject) -> None:
    values = KEYS[kind]
    series = Repo().create_collection(Schema(k=f"{kind}*", v="int"), "c") / "s"
    for _ in range(data.draw(st.integers(1, 3), "writes")):
        keys = data.draw(st.lists(values, min_size=1, max_size=8), "keys")
        series.write({"k": sorted(keys), "v": range(len(keys))})
        keys = data.draw(st.lists(values, min_size=1, max_size=3, unique=True), "upserted")
        series.upsert({"k": keys, "v": [9] * len(keys)})
    predicate = data.draw(_predicates(pl.col("k"), values), "predicate")
    everything = series.df()
    for engine in ENGINES:
        found = series.scan().filter(predicate).collect(engine=engine)
        assert_frame_equal(found, everything.filter(predicate))


writes = st.lists(
    st.tuples(
        st.sampled_from(["a", "ab", "b", "bb", "c"]),
        st.sampled_from(["write", "write", "write", "delete", "upsert", "bulk"]),
        st.integers(0, 12),
        st.integers(1, 9),
    ),
    max_size=12,
)


@settings(max_examples=60)
@given(
    writes,
    st.sampled_from([2, 3, 48]),
    st.sampled_from([None, "a*", "b*", "[bc]", "ab"]),
    st.sampled_from([1, 5, 131_072]),
    st.integers(0, 20),
)
def test_a_scan_of_all_labels_is_what_each_has(
    done: list[tuple[str, str, int, int]],
    fanout: int,
    pattern: str | None,
    size: int,
    first: int,
) -> None:
    with patch.object(page, "FANOUT", fanout), patch("lakota.scan.BATCH_ROWS", size):
        clct = Repo().create_collection(Schema(k="int*", v="int"), "c")
        for nth, (name, verb, start, rows) in enumerate(done):
            keys = range(start, start + rows)
            if verb == "delete":
                clct.series(name).delete(start, start + rows)
            elif verb == "bulk":
                labels = [each for each in ("a", "b", "bb") for _ in keys]
                clct.write({"label": labels, "k": [*keys] * 3, "v": [nth] * 3 * rows})
            else:
                getattr(clct.series(name), verb)({"k": keys, "v": [nth] * rows})
        named = [name for name in clct.ls() if fnmatchcase(name, pattern or "*")]
        each = [
            clct.series(name).df().select(pl.lit(name).alias("label"), pl.all()) for name in named
        ]
        found = clct.scan(pattern)
        expected = pl.concat([found.head(0).collect(), *each])
        assert_frame_equal(found.collect(), expected)
        assert_frame_equal(found.head(first).collect(), expected.head(first))
        few = found.filter(pl.col("v") > 1).select("v", "label")
        assert_frame_equal(few.collect(), expected.filter(v > 1).select("v", "label"))
        sizes = expected.group_by("label", maintain_order=True).len()
        assert_frame_equal(found.group_by("label", maintain_order=True).len().collect(), sizes)


@pytest.mark.parametrize(
    ("predicate", "kind", "held"),
    [
        (t > 3, "int", (4, 5, 6)),
        (t > 3.5, "int", (4, 5, 6)),
        (t.is_in([2, 2**40]), "int8", (2,)),
        ((t == 2) | (t > 5), "int", (2, 6)),
        ((t > 2) & (v < 9) & (t < 5), "int", (3, 4)),
        (t.is_between(2, 4, closed="none"), "uint16", (3,)),
        (t == 2.5, "int", ()),
        (t < date(1970, 1, 4), "date", (1, 2)),
        (t < datetime(1970, 1, 4, 5), "date", (1, 2, 3)),
        (t >= pl.lit("1970-01-05").str.to_date(), "date", (4, 5, 6)),
        (t > datetime(1970, 1, 1, 0, 0, 4), "timestamp[s]", (5, 6)),
    ],
)
def test_what_is_understood_bounds_the_read(
    predicate: pl.Expr, kind: str, held: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    series = Repo().create_collection(Schema(t=f"{kind}*", v="int"), "c") / "s"
    dtype = series.schema["t"].type
    keys = pa.array(range(1, 7), pa.int32() if dtype == pa.date32() else pa.int64()).cast(dtype)
    series.write({"t": keys, "v": range(6)})
    bounds = []

    def watched(*args: Any) -> Any:
        bounds.append(reach(*args))
        return bounds[-1]

    monkeypatch.setattr("lakota.scan.reach", watched)
    found = series.scan().filter(predicate).collect()
    physical = found["t"].to_physical().to_list()
    ratio = 1000 if kind == "timestamp[s]" else 1
    assert [value // ratio for value in physical] == list(held)
    assert EVERYTHING not in bounds[0].intervals


def test_what_is_not_understood_is_applied_all_the_same() -> None:
    series = _numbers(100)
    assert series.scan().filter(t % 7 == 0).collect().height == 15
    assert series.scan().filter(t > t.mean()).collect().height == 50
    assert series.scan().filter(t.cast(pl.String).str.starts_with("1")).collect().height == 11


def test_names_columns_and_order_are_as_asked() -> None:
    clct = _stations()
    assert clct.scan(label="station").collect().columns == ["station", "t", "v"]
    assert clct.scan().select("v", "label").collect().columns == ["v", "label"]
    frame = clct.scan().collect()
    assert frame["label"].is_sorted()
    assert_frame_equal(frame, frame.sort("label", "t", maintain_order=True))
    assert_frame_equal(
        clct.scan(["b3"]).drop("label").collect(), clct.series("b3").df(), check_row_order=True
    )


def test_slices_and_tails_are_those_of_the_frame() -> None:
    series = _numbers(200_000)
    frame, scan = series.df(), series.scan()
    for engine in ENGINES:
        assert_frame_equal(scan.slice(70_000, 5).collect(engine=engine), frame.slice(70_000, 5))
        assert_frame_equal(scan.tail(3).collect(engine=engine), frame.tail(3))
        assert scan.select(pl.len()).collect(engine=engine).item() == 200_000
        assert scan.filter(t < 0).collect(engine=engine).is_empty()
    assert_frame_equal(scan.head(0).collect(), frame.head(0))


def test_frames_are_of_the_size_asked_for_and_in_order() -> None:
    series = _numbers(300_000)
    scan = Scan(series._ledger.site, series._ledger.state(), ["s"])
    for size in (1000, 65_536, 100_000):
        frames = list(scan.frames(None, None, None, size))
        assert max(frame.height for frame in frames) <= size
        assert all(frame["t"].flags["SORTED_ASC"] for frame in frames)
        assert pl.concat(frames)["t"].to_list() == list(range(300_000))
    # Whatever Polars asks for: of the first rows those that the predicate is true of.
    assert [f.height for f in scan.frames(["v"], t > 5, 10, None)] == [4]
    assert [f.columns for f in scan.frames(["v"], t > 5, 10, None)] == [["v"]]


def test_polars_knows_the_order() -> None:
    assert "sorted('t'" in _numbers(3).scan().explain()
    assert "sorted('label'" in _stations().scan().explain()


def test_a_series_that_is_not_there_has_no_rows() -> None:
    clct = Repo().create_collection(Schema(t="int*", v="float"), "c")
    for scan in (clct.scan(), clct.scan(["x"]), clct.series("x").scan().with_columns(label=t)):
        assert scan.collect().is_empty()
        assert set(scan.collect_schema()) == {"label", "t", "v"}


# ---- When


def test_a_scan_shows_the_state_in_which_it_was_made() -> None:
    series = _numbers(5)
    first = series.changelog.leaf()
    scan = series.scan()
    series.write({"t": [7], "v": [7.0]})
    assert scan.collect().height == 5
    assert series.scan().collect().height == 6
    assert series.scan(as_of=first).collect().height == 5
    assert series.scan(before=series.changelog.leaf()).collect().height == 5


def test_rows_that_were_collected_meanwhile_are_an_error_with_a_name() -> None:
    repo = Repo()
    clct = repo.create_collection(Schema(t="int*", v="float"), "c")
    series = clct / "s"
    series.write({"t": [1], "v": [1.0]})
    scan = series.scan()
    series.write({"t": [1], "v": [2.0]})
    clct.trim(grace=0)
    repo.gc(grace=0)
    repo._objects.forget()
    for engine in ENGINES:
        with pytest.raises(DamagedError, match="missing"):
            scan.collect(engine=engine)
    assert series.scan().collect()["v"].to_list() == [2.0]


def test_columns_are_todays() -> None:
    clct = Repo().create_collection(Schema(t="int32*", v="float"), "c")
    clct.series("s").write({"t": [1, 2], "v": [1.0, 2.0]})
    clct.rename_column("t", "time")
    clct.add_column("unit", "str", "kWh")
    clct.widen_column("time", "int64")
    scan = clct.scan().filter(pl.col("time") >= 2)
    assert scan.collect().rows() == [("s", 2, 2.0, "kWh")]
    assert scan.select("unit").collect().rows() == [("kWh",)]


# ---- Upserts


@pytest.mark.parametrize("layers", [1, 3])
def test_upserts_lie_over_a_scan(layers: int) -> None:
    series = _numbers(200_000)
    for i in range(layers):
        series.upsert({"t": [5, 150_000 + i, 200_000 + i], "v": [-1.0, -2.0, -3.0]})
    series.delete_keys([6, 199_999])
    frame = series.df()
    for engine in ENGINES:
        assert_frame_equal(series.scan().collect(engine=engine), frame)
        found = series.scan().filter(t.is_between(149_990, 150_010)).collect(engine=engine)
        assert_frame_equal(found, frame.filter(t.is_between(149_990, 150_010)))
    assert series.scan().select(pl.len()).collect().item() == frame.height


@pytest.mark.parametrize("codec", ["plain", "packed"])
@pytest.mark.parametrize("equal", [1, 3, 100_000])
def test_upserts_all_over_a_series_are_laid_over_it_piece_by_piece(
    codec: str, equal: int, decoded: Decoded
) -> None:
    clct = Repo(codec=codec).create_collection(Schema(t="int*", v="float", w="int"), "c")
    series: Any = clct / "s"
    rows = 300_000
    keys = np.arange(rows) // equal
    series.write({"t": keys, "v": np.arange(rows, dtype="f8"), "w": np.arange(rows)})
    some = np.unique(keys)[::97]
    series.upsert({"t": some, "v": np.full(len(some), -1.0)})
    series.upsert({"t": [-5, keys[-1] + 5], "v": [0.0, 0.0], "w": [1, 2]})
    series.delete_keys([int(some[len(some) // 2])])
    frame = series.df()
    scan = Scan(series._ledger.site, series._ledger.state(), ["s"])
    frames = list(scan.frames(None, None, None, 20_000))
    assert_frame_equal(pl.concat(frames), frame)
    assert max(map(len, frames)) <= 20_000
    for engine in ENGINES:
        assert_frame_equal(series.scan().collect(engine=engine), frame)
        middle = t.is_between(keys[rows // 3], keys[rows // 2])
        assert_frame_equal(
            series.scan().filter(middle).collect(engine=engine), frame.filter(middle)
        )
    if equal < 10:
        decoded.clear()
        assert_frame_equal(pl.concat(scan.frames(None, None, 3, 16_384)), frame.head(3))
        assert len(decoded.batches) <= 4


def test_a_large_collection_by_key_is_scanned_piece_by_piece() -> None:
    clct = Repo().create_collection(Schema.kv(t="int*", v="int"), "c")
    for i in range(3):
        clct.series("s").write({"t": np.arange(i, 300_000, 2), "v": np.full(150_000 - i // 2, i)})
    frame = clct.series("s").df()
    assert_frame_equal(clct.scan().drop("label").collect(), frame)
    assert frame.height == 300_000
    found = Scan(clct._ledger.site, clct._ledger.state(), ["s"]).frames(None, None, None, None)
    assert next(found).height < 150_000


def test_a_collection_by_key_is_scanned() -> None:
    clct = Repo().create_collection(Schema.kv(name="str*", city="str"), "c")
    for x in "ab":
        clct.series(x).write({"name": ["n", "m"], "city": ["x", "y"]})
        clct.series(x).write({"name": ["n"], "city": [x]})
    clct.series("b").delete("m")
    assert clct.scan().collect().rows() == [("a", "m", "y"), ("a", "n", "a"), ("b", "n", "b")]
    assert clct.scan().select("label").collect()["label"].to_list() == ["a", "a", "b"]


# ---- What is refused


def test_types_that_polars_has_not_are_refused_by_name() -> None:
    for kind in ("decimal256(50, 2)", "month_day_nano_interval", "list<decimal256(50, 2)>"):
        clct = Repo().create_collection(Schema(t="int*", v=kind), "c")
        series = clct / "s"
        for act in (series.scan, clct.scan, series.df):
            with pytest.raises(SchemaError, match=r"'v' .*use frame\(\)"):
                act()
        assert series.df(select="t").is_empty()


def test_labels_that_cannot_be_are_refused() -> None:
    clct = _stations()
    with pytest.raises(LabelError):
        clct.scan([3])
    with pytest.raises(LabelError):
        clct.scan(3)
    with pytest.raises(SchemaError, match="label='v'"):
        clct.scan(label="v")


def test_errors_of_a_scan_come_out_as_they_are() -> None:
    series = _numbers(10)
    scan = series.scan()
    store = series._ledger.site.objects.store
    names = [info.name for info in store.list("segments")]
    series._ledger.site.objects.forget()
    store.delete(names)
    for engine in ENGINES:
        with pytest.raises(DamagedError):
            scan.collect(engine=engine)


def _batches(frames: Iterator[pl.DataFrame]) -> int:
    return sum(1 for _ in frames)


def test_a_scan_streams_into_a_file(tmp_path: Path) -> None:
    series = _numbers(300_000)
    series.scan().with_columns(w=v * 2).sink_parquet(tmp_path / "out.parquet")
    assert pl.scan_parquet(tmp_path / "out.parquet").select(pl.col("w").sum()).collect().item() == (
        2.0 * sum(range(300_000))
    )
    assert _batches(iter(series.scan().collect_batches(chunk_size=50_000))) >= 5


def test_regions_of_many_series_are_joined_together(monkeypatch: pytest.MonkeyPatch) -> None:
    joins: list[int] = []
    settle = region._settle

    def watched(regions: Any, *args: Any) -> Any:
        joins.append(len(regions))
        return settle(regions, *args)

    monkeypatch.setattr(region, "_settle", watched)
    clct = Repo().create_collection(Schema(t="int*", v="int", w="int"), "c")
    names = [f"s{i:03}" for i in range(100)]
    with clct.multi():
        for at, name in enumerate(names):
            (clct / name).write({"t": [1, 2, 3], "v": [at] * 3, "w": [0] * 3})
    with clct.multi():
        for at, name in enumerate(names):
            if at % 3:
                (clct / name).upsert({"t": [2, 4], "v": [-at, at]})
            (clct / name).delete_keys([3] if at % 2 else [1, 2, 3])
    expected = []
    for at, name in enumerate(names):
        rows = {1: (at, 0), 2: (at, 0), 3: (at, 0)}
        if at % 3:
            rows |= {2: (-at, 0), 4: (at, None)}
        for key in [3] if at % 2 else [1, 2, 3]:
            rows.pop(key, None)
        expected += [(name, key, *row) for key, row in sorted(rows.items())]
    assert clct.scan().collect().rows() == expected
    assert joins == [100]
    labels = clct.scan().select("label").collect()["label"].to_list()
    assert labels == [name for name, *_ in expected]
    assert clct.ls() == sorted({name for name, *_ in expected})
    assert joins == [100] * 3
    monkeypatch.setattr(region, "NEAR_ROWS", 50)
    assert clct.scan().collect().rows() == expected
    assert len(joins) > 5


def test_a_key_deleted_and_set_again_keeps_nothing_in_a_plan_of_many_layers() -> None:
    series = Repo().create_collection(Schema(t="int*", v="int", w="int"), "c") / "s"
    series.write({"t": [1, 2], "v": [1, 2], "w": [1, 2]})
    for step in range(20):
        series.upsert({"t": [1], "v": [step]})
        series.delete_keys([2])
        series.upsert({"t": [2], "w": [step]})
        series.upsert({"t": [3], "v": [step], "w": [step]})
    assert series.df().rows() == [(1, 19, 1), (2, None, 19), (3, 19, 19)]
