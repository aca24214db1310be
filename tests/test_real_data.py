"""Real data goes in and comes out: revision histories of public data sets, weather, a transformer.

The files are no part of the repository. They are looked for in `LAKOTA_DATA`, or in `shared/data`
beside the repository's folder; where they are absent, the tests are skipped.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest

from lakota import Collection, Repo, Schema

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("LAKOTA_DATA", ROOT.parent / "shared" / "data"))
COUNTRIES, WORLDWIDE = "countries_revisions.parquet", "worldwide_revisions.parquet"

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(
        not (DATA / COUNTRIES).is_file(),
        reason=f"no real data in {DATA}: name its folder in LAKOTA_DATA",
    ),
]


def _example() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "replay_publications", ROOT / "examples" / "replay_publications.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


example = _example()


# ---- Publications: a revision each, under its own time


def replayed(folder: Path, file: str, moments: Iterable[datetime]) -> tuple[Repo, Collection]:
    calendar = example.Calendar()
    repo = Repo(folder, clock=calendar.clock, durability="os")
    clct = repo.create_collection(example.SCHEMA, file.split(".")[0])
    known = example.NOTHING
    for moment, table in example.publications(DATA / file, moments):
        calendar.today = moment
        known = example.publish(clct, table, known)
    return repo, clct


def assert_published(clct: Collection, file: str, moments: Iterable[datetime]) -> None:
    last = None
    for moment, expected in example.publications(DATA / file, moments):
        assert example.read(clct, moment).equals(expected), moment
        label = expected[example.LABEL][0]
        one = expected.filter(pl.col(example.LABEL) == label).drop(example.LABEL)
        assert (clct / label).df(as_of=moment).equals(one), moment
        if last is not None:  # until the next one comes out, the last one stands
            just_before = moment - timedelta(microseconds=1)
            assert clct.ls(as_of=just_before) == last[example.LABEL].unique().sort().to_list()
        last = expected
    assert last is not None
    assert example.read(clct, clct.changelog.leaf()).equals(last)


def assert_survives_upkeep_and_travel(
    repo: Repo, clct: Collection, file: str, moments: Sequence[datetime], folder: Path
) -> None:
    assert_published(clct, file, moments)
    before, after = repo.pack()
    assert after < before
    assert_published(clct, file, moments)
    remote = Repo(folder, durability="os")
    repo.push(remote)
    assert_published(remote / clct.label, file, moments)
    assert repo.check() and remote.check()
    roots = [r.root for r in clct.changelog.log()]
    assert [r.root for r in (remote / clct.label).changelog.log()] == roots


def turning_points(moments: Sequence[datetime]) -> list[datetime]:
    """When the past was rewritten: days and months were no longer mixed up, so that every country
    ended earlier than before; and a country was no longer named. Each with the one before."""
    wanted = ("2020-09-04T01:26:44", "2020-12-09T06:07:42")
    found = [moments.index(datetime.fromisoformat(text)) for text in wanted]
    return [moments[i] for at in found for i in (at - 1, at)]


def test_a_sample_of_publications_is_read_as_of_its_time(tmp_path: Path) -> None:
    every = example.times(DATA / COUNTRIES)
    spread = every[:: len(every) // 8]
    moments = sorted({*spread, *turning_points(every)})
    repo, clct = replayed(tmp_path / "a", COUNTRIES, moments)
    assert len(clct.changelog.log()) == len(moments) >= 12
    assert "Western Sahara" not in clct and "Western Sahara" in clct.ls(as_of=every[1])
    assert_survives_upkeep_and_travel(repo, clct, COUNTRIES, moments, tmp_path / "b")


@pytest.mark.long
def test_every_publication_is_read_as_of_its_time(tmp_path: Path) -> None:
    moments = example.times(DATA / COUNTRIES)
    repo, clct = replayed(tmp_path / "a", COUNTRIES, moments)
    assert len(clct.changelog.log()) == len(moments) == 399
    assert_survives_upkeep_and_travel(repo, clct, COUNTRIES, moments, tmp_path / "b")


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.long)])
def test_totals_of_the_world_are_read_as_of_their_times(tmp_path: Path, step: int) -> None:
    moments = example.times(DATA / WORLDWIDE)[::step]
    repo, clct = replayed(tmp_path / "a", WORLDWIDE, moments)
    assert len(clct.changelog.log()) == len(moments) == -(-581 // step)
    assert_survives_upkeep_and_travel(repo, clct, WORLDWIDE, moments, tmp_path / "b")


def test_replicas_that_share_out_the_publications_merge_to_the_same(tmp_path: Path) -> None:
    """Each writes every other publication; merged, the past is that of one that wrote them all."""
    moments = example.times(DATA / WORLDWIDE)[::20]
    calendars = [example.Calendar(), example.Calendar()]
    clcts: list[Collection] = []
    for name, calendar in zip("ab", calendars, strict=True):
        repo = Repo(tmp_path / name, durability="os", clock=calendar.clock)
        clcts.append(repo.create_collection(example.SCHEMA, "world"))
    for i, (moment, table) in enumerate(example.publications(DATA / WORLDWIDE, moments)):
        calendars[i % 2].today = moment
        example.publish(clcts[i % 2], table, example.NOTHING)
    clcts[0].pull(clcts[1])
    clcts[1].pull(clcts[0])
    first, second = (clct.merge() for clct in clcts)
    assert [r.path for r in first] == [r.path for r in second] and len(first) == 2
    for clct in clcts:
        assert_published(clct, WORLDWIDE, moments)


# ---- Weather: one file, one series


def stations() -> dict[str, pl.DataFrame]:
    day = pl.col("date").str.to_date("%Y-%m-%d")
    files = sorted((DATA / "us-weather").glob("*.csv"))
    return {file.stem: pl.read_csv(file).with_columns(day) for file in files}


def weather_schema() -> Schema:
    one = next(iter(stations().values()))
    types = {"Int64": "int", "Float64": "float"}
    columns = {name: types[str(dtype)] for name, dtype in one.drop("date").schema.items()}
    return Schema({"date": "date*", **columns})


def test_ten_weather_stations_share_a_collection(tmp_path: Path) -> None:
    files = stations()
    repo = Repo(tmp_path / "a", durability="os")
    clct = repo.create_collection(weather_schema(), "weather")
    every = pl.concat([frame.with_columns(station=pl.lit(name)) for name, frame in files.items()])
    (loaded,) = clct.write(every, label="station")
    # A correction of one day, of one station: the others and the past stay as they were.
    wrong = files["KSEA"].filter(pl.col("date") == datetime(2014, 12, 24))
    right = wrong.with_columns(actual_mean_temp=pl.lit(99))
    (clct / "KSEA").write(right)
    repo.pack()
    remote = Repo(tmp_path / "b", durability="os")
    repo.push(remote)
    for found in (clct, remote / "weather"):
        assert found.ls() == list(files) and len(files) == 10
        for name, frame in files.items():
            assert (found / name).df(as_of=loaded).equals(frame)
            now = (found / name).df()
            assert now.equals(frame) == (name != "KSEA")
        assert (found / "KSEA").df("2014-12-24", "2014-12-25").equals(right)
        assert len(found / "KSEA") == 365


def test_stations_written_one_by_one_and_shuffled_are_the_same_rows() -> None:
    clct = Repo().create_collection(weather_schema(), "weather")
    for name, frame in stations().items():
        (clct / name).write(frame.sample(fraction=1.0, shuffle=True, seed=1))
    for name, frame in stations().items():
        assert (clct / name).df().equals(frame)


# ---- A transformer: two years of hours


def test_a_transformer_is_written_month_by_month_and_read_whole(tmp_path: Path) -> None:
    frame = pl.read_csv(DATA / "ETTh1.csv").with_columns(pl.col("date").str.to_datetime())
    columns = dict.fromkeys(frame.drop("date").columns, "float")
    repo = Repo(tmp_path / "a", durability="os")
    clct = repo.create_collection(Schema({"date": "timestamp*", **columns}), "load")
    series = clct / "ETTh1"
    revisions = []
    for _, month in frame.group_by(pl.col("date").dt.truncate("1mo"), maintain_order=True):
        revisions += series.write(month)
    repo.pack()
    remote = Repo(tmp_path / "b", durability="os")
    repo.push(remote)
    for found in (series, remote / "load" / "ETTh1"):
        assert found.df().equals(frame)
        some = frame.filter(
            pl.col("date").is_between(datetime(2017, 1, 1), datetime(2017, 2, 1), closed="left")
        )
        assert found["2017-01-01":"2017-02-01"].equals(some)
        for revision in revisions[::5]:
            past = found.df(as_of=revision)
            assert past.equals(frame[: past.height]) and 0 < past.height <= frame.height
        assert (
            found.df(as_of=revisions[0]).height
            == frame["date"].dt.truncate("1mo").eq(datetime(2016, 7, 1)).sum()
        )
