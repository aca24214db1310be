"""Writes of sources that may be larger than memory: whole or not at all, in bounded memory."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lakota.layout
import lakota.sink
from lakota import Repo, Schema
from lakota.errors import FrameError, RangeError, StoreError
from lakota.store.memory import MemoryStore

SCHEMA = Schema(t="int*", v="float")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> int:
    """Segments of 1,000 rows, that a test needs few rows to fill many."""
    for module in (lakota.layout, lakota.sink):
        monkeypatch.setattr(module, "SEGMENT_ROWS", 1000)
    return 1000


def _collection(repo: Repo | None = None) -> Any:
    return (repo or Repo()).create_collection(SCHEMA, "c")


def _series() -> Any:
    return _collection() / "s"


def _frames(count: int, rows: int, step: int = 1) -> Iterator[pl.DataFrame]:
    for i in range(count):
        keys = np.arange(i * rows, (i + 1) * rows) // step
        yield pl.DataFrame({"t": keys, "v": np.arange(rows, dtype="f8")})


def _whole(count: int, rows: int, step: int = 1) -> pl.DataFrame:
    return pl.concat(_frames(count, rows, step))


def _stream(frame: pl.DataFrame, rows: int = 700) -> pa.RecordBatchReader:
    table = frame.to_arrow()
    return pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=rows))


SOURCES: dict[str, Callable[[pl.DataFrame], Any]] = {
    "generator": lambda frame: frame.iter_slices(700),
    "list": lambda frame: list(frame.iter_slices(700)),
    "dicts": lambda frame: (f.to_dict(as_series=False) for f in frame.iter_slices(700)),
    "pandas frames": lambda frame: (
        pd.DataFrame(f.to_dict(as_series=False)) for f in frame.iter_slices(700)
    ),
    "reader": _stream,
    "dataset": lambda frame: pyarrow.dataset.dataset(frame.to_arrow()),
    "lazy": lambda frame: frame.lazy(),
    "frame": lambda frame: frame,
    "table": lambda frame: frame.to_arrow(),
    "dict": lambda frame: frame.to_dict(as_series=False),
    "pandas": lambda frame: pd.DataFrame(frame.to_dict(as_series=False)),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_writes_the_rows_that_it_has(kind: str, small: int) -> None:
    frame = _whole(5, 900)
    series = _series()
    (revision,) = series.sink(SOURCES[kind](frame), author="a", message="m")
    assert series.df().equals(frame)
    assert series.changelog.log() == [revision]
    document = series.changelog.document(revision)
    assert (document["author"], document["message"], document["rows"]) == ("a", "m", 4500)


def test_a_source_may_be_larger_than_memory(tmp_path: Path) -> None:
    series = _collection(Repo(str(tmp_path / "repo"), durability="os")) / "s"
    given: list[weakref.ref[Any]] = []
    most = 0

    class Owner(np.ndarray):
        """An array that can be watched."""

    def source() -> Iterator[dict[str, Any]]:
        nonlocal most
        for i in range(20):
            values = np.arange(500_000, dtype="f8").view(Owner)
            given.append(weakref.ref(values))
            most = max(most, sum(ref() is not None for ref in given))
            yield {"t": np.arange(i * 500_000, (i + 1) * 500_000), "v": values}
            del values

    before = pa.total_allocated_bytes()
    series.sink(source())
    assert len(series) == 10_000_000
    # Two segments being stored, one being filled, each of 2.1 frames, whose ends are shared.
    assert most <= 10
    assert pa.total_allocated_bytes() - before < 20_000_000


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 2500), max_size=8),
    step=st.sampled_from([1, 3, 1500, 10_000]),
    bounded=st.booleans(),
)
def test_a_sink_is_a_write(sizes: list[int], step: int, bounded: bool) -> None:
    rows = sum(sizes)
    keys = np.arange(rows) // step
    frame = pl.DataFrame({"t": keys, "v": np.arange(rows, dtype="f8")})
    with pytest.MonkeyPatch.context() as patch:
        for module in (lakota.layout, lakota.sink):
            patch.setattr(module, "SEGMENT_ROWS", 1000)
        sunk, written = _series(), _series()
        bounds = (-3, rows + 3) if bounded else (None, None)
        offsets = np.cumsum([0, *sizes])
        for series in (sunk, written):
            series.write({"t": [-3, -2, 1, rows + 3, rows + 4], "v": [7.0] * 5})
        pieces = [frame.slice(int(at), n) for at, n in zip(offsets, sizes, strict=False)]
        sunk.sink(iter(pieces), *bounds)
        written.write(frame, *bounds)
    assert sunk.df().equals(written.df())
    assert sunk.df(2, 20).equals(written.df(2, 20))
    assert len(sunk) == len(written)


def test_equal_keys_stay_in_one_segment(small: int) -> None:
    series = _series()
    frame = _whole(6, 900, step=2500)
    series.sink(frame.iter_slices(900))
    assert series.df().equals(frame)
    assert series.df(1, 2).height == 2500


@pytest.mark.parametrize("place", [1, 3, 4])
def test_rows_out_of_order_are_refused_by_their_position(place: int, small: int) -> None:
    series = _series()
    series.write({"t": [5], "v": [0.0]})
    frames = list(_frames(5, 900))
    frames[place] = frames[0].with_columns(t=pl.lit(17))
    with pytest.raises(FrameError, match=rf"row {place * 900:,} of the source.*: 17}}"):
        series.sink(iter(frames))
    assert series.df().rows() == [(5, 0.0)]
    assert len(series.changelog.log()) == 1


def test_a_source_that_fails_writes_nothing(small: int) -> None:
    store = MemoryStore()
    repo = Repo(store)
    series = _collection(repo) / "s"

    class Broken(Exception):
        pass

    def source() -> Iterator[pl.DataFrame]:
        yield from _frames(4, 900)
        raise Broken

    with pytest.raises(Broken):
        series.sink(source())
    assert len(series) == 0 and series.changelog.log() == []
    with pytest.raises(FrameError, match="'w'"):
        series.sink([*_frames(4, 900), {"t": [9999], "w": [1.0]}])
    assert series.changelog.log() == []
    left = len([info.name for info in store.list("segments")])
    repo.gc(grace=0)
    assert len([info.name for info in store.list("segments")]) < left
    assert repo.check()


def test_columns_that_do_not_fit_are_refused_before_the_first_row() -> None:
    series = _series()

    def batches() -> Iterator[pa.RecordBatch]:
        raise AssertionError("read")
        yield

    reader = pa.RecordBatchReader.from_batches(pa.schema({"t": pa.int64()}), batches())
    with pytest.raises(FrameError, match="missing column 'v'"):
        series.sink(reader)
    lazy = pl.LazyFrame({"t": [1]}).map_batches(lambda _: pytest.fail("read"))
    with pytest.raises(FrameError, match="missing column 'v'"):
        series.sink(lazy)


def test_what_cannot_be_streamed_is_refused() -> None:
    for source in (3, "text", None):
        with pytest.raises(FrameError, match="cannot stream from"):
            _series().sink(source)


def test_bounds_are_those_of_a_write(small: int) -> None:
    series = _series()
    series.write({"t": [-5, 2, 50_000], "v": [0.0] * 3})
    with pytest.raises(RangeError, match="before start"):
        series.sink(_frames(3, 900), 5, 9999)
    with pytest.raises(RangeError, match="after stop"):
        series.sink(_frames(3, 900), 0, 2000)
    assert len(series) == 3
    series.sink(_frames(3, 900), -5, 50_000, closed="left")
    assert len(series) == 2701
    series.sink(iter([]), 0, 50_000)
    assert series.df().is_empty()
    assert series.sink(iter([])) == []
    with pytest.raises(RangeError, match="only one bound"):
        series.sink(iter([]), 0)


def test_a_sink_inside_multi_is_part_of_the_one_commit(small: int) -> None:
    clct = _collection()
    with clct.multi() as batch:
        clct.series("a").sink(_frames(3, 900))
        clct.series("b").write({"t": [1], "v": [1.0]})
        clct.series("a").sink(_frames(2, 900))
        assert clct.ls() == []
    assert len(batch.revisions) == 1
    assert clct.series("a").df().equals(_whole(3, 900).with_columns(clct.series("a").df()["v"]))
    assert clct.ls() == ["a", "b"]


def test_a_source_may_use_its_arrays_again_for_the_next_frame(small: int) -> None:
    keys, values = np.empty(400, np.int64), np.empty(400)

    def frames() -> Iterator[dict[str, Any]]:
        for i in range(7):
            keys[:], values[:] = np.arange(i * 400, (i + 1) * 400), i
            yield {"t": keys, "v": values}

    for schema in (SCHEMA, Schema.kv(t="int*", v="float")):
        series = Repo().create_collection(schema, "c") / "s"
        series.sink(frames())
        assert series.df().rows() == [(n, n // 400) for n in range(2800)]


@pytest.mark.parametrize("shuffled", [False, True])
def test_write_takes_a_reader_in_any_order(shuffled: bool, small: int) -> None:
    frame = _whole(5, 900)
    given = frame.sample(fraction=1, shuffle=True, seed=1) if shuffled else frame
    late = pl.concat([frame.slice(500), frame.head(500)])
    for rows in (given, late):
        series = _series()
        assert len(series.write(_stream(rows))) == 1
        assert series.df().equals(frame)


def test_only_the_changes_of_a_reader_are_written(small: int) -> None:
    series = _series()
    frame = _whole(5, 900)
    series.sink(_frames(5, 900))
    assert series.write(_stream(frame), only_changes=True) == []
    (revision,) = series.write(_stream(frame.with_columns(v=1.0 + pl.col("t") * 0)[:3]))
    assert series.changelog.document(revision)["rows"] == 3


def test_a_long_write_notices_that_it_was_collected(small: int) -> None:
    repo = Repo()
    series = _collection(repo) / "s"

    def source() -> Iterator[pl.DataFrame]:
        for i, frame in enumerate(_frames(9, 900)):
            if i == 8:
                repo.gc(grace=0)
            yield frame

    with pytest.raises(StoreError, match="write again"):
        series.sink(source())
    assert len(series) == 0
    assert repo.check()


@pytest.mark.parametrize("codec", ["plain", "packed"])
def test_what_was_sunk_is_packed_pulled_and_upserted_as_any_rows(codec: str, small: int) -> None:
    repo = Repo(codec=codec)
    clct = _collection(repo)
    series = clct / "s"
    series.sink(_frames(5, 900))
    series.upsert({"t": [1000, 9999], "v": [-1.0, -2.0]})
    expected = series.df()
    assert expected.height == 4501 and expected["v"][1000] == -1.0
    other = Repo()
    other.pull(repo)
    assert (other / "c" / "s").df().equals(expected)
    clct.defrag()
    repo.pack()
    assert series.df().equals(expected)
    assert repo.check()


def test_renamed_columns_are_sunk_under_their_names(small: int) -> None:
    clct = _collection()
    clct.rename_column("t", "time")
    series = clct / "s"
    series.sink(frame.rename({"t": "time"}) for frame in _frames(3, 900))
    assert series.df()["time"].to_list() == list(range(2700))
    late = pl.concat([_whole(3, 900).slice(2000), _whole(3, 900).head(2000)])
    series.write(_stream(late.rename({"t": "time"})))
    assert series.df()["time"].to_list() == list(range(2700))


def test_a_series_flows_into_another_through_a_lazy_frame(small: int) -> None:
    clct = _collection()
    clct.series("a").sink(_frames(5, 900))
    clct.series("b").sink(clct.series("a").scan().with_columns(v=pl.col("v") * 2))
    clct.series("a").sink(clct.series("a").scan().filter(pl.col("t") % 2 == 0), 0, 4500)
    assert clct.series("b").df()["v"].sum() == 2 * _whole(5, 900)["v"].sum()
    assert len(clct.series("a")) == 2250


def test_parquet_larger_than_a_segment_flows_in(tmp_path: Path, small: int) -> None:
    _whole(5, 900).write_parquet(tmp_path / "in.parquet")
    for source in (
        pl.scan_parquet(tmp_path / "in.parquet"),
        pa.parquet.ParquetFile(tmp_path / "in.parquet").iter_batches(700),
        pyarrow.dataset.dataset(tmp_path / "in.parquet"),
    ):
        series = _series()
        series.sink(source)
        assert series.df().equals(_whole(5, 900))


def test_a_kv_collection_takes_a_stream_of_whole_rows() -> None:
    keyed = Repo().create_collection(Schema.kv(k="int*", v="int"), "c") / "s"
    keyed.write({"k": [1, 10**6, 3 * 10**6], "v": [-1, -1, -1]})
    assert keyed.sink([]) == [] and keyed.sink({"k": [], "v": []}) == []
    steps = (range(at, at + 500_000) for at in range(0, 2_500_000, 500_000))
    revisions = keyed.sink(pa.table({"k": step, "v": step}) for step in steps)
    assert len(revisions) == 1
    assert keyed.changelog.document(revisions[0])["rows"] == 2_500_000
    found = keyed.frame()
    assert found["k"].to_pylist()[-2:] == [2_499_999, 3 * 10**6]
    assert found["v"].to_numpy()[:-1].tolist() == list(range(2_500_000))
    assert len(keyed) == 2_500_001


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ([{"k": [2], "v": [1]}, {"k": [1], "v": [1]}], "belongs before"),
        ([{"k": [2], "v": [1]}, {"k": [2], "v": [1]}], "same key"),
        ([{"k": [2, 2], "v": [1, 1]}], "same key"),
        ([{"k": [2]}], "missing column 'v'"),
    ],
)
def test_a_kv_stream_has_whole_rows_in_key_order_and_each_key_once(frames: Any, said: str) -> None:
    keyed = Repo().create_collection(Schema.kv(k="int*", v="int"), "c") / "s"
    keyed.write({"k": [1], "v": [1]})
    with pytest.raises(FrameError, match=said):
        keyed.sink(frames)
    assert keyed.df().rows() == [(1, 1)] and len(keyed.changelog) == 1
