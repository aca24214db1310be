"""Questions about the past of real publications, answered as the publications themselves do.

Where the files are looked for: see `test_real_data`.
"""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from lakota import Clock, Collection, Repo, Schema

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("LAKOTA_DATA", ROOT.parent / "shared" / "data"))
FILE = DATA / "countries_revisions.parquet"
VALUES = ["Confirmed", "Recovered", "Deaths"]
COUNTRIES = ["Belgium", "Chad", "Western Sahara"]

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(
        not FILE.is_file(), reason=f"no real data in {DATA}: name its folder in LAKOTA_DATA"
    ),
]


def published() -> pl.DataFrame:
    chosen = pl.scan_parquet(FILE).filter(pl.col("Country").is_in(COUNTRIES))
    return chosen.sort("revised_at", "Country", "Date").collect()


def nanoseconds(moment: datetime) -> int:
    since = moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(microseconds=1) * 1000


def replayed(every: pl.DataFrame) -> tuple[Collection, list[datetime]]:
    """Each publication by what it changes, under its own time."""
    now = [0]
    repo = Repo(clock=Clock(now=lambda: now[0]))
    schema = Schema(Date="date*", Confirmed="int", Recovered="int", Deaths="int")
    clct = repo.create_collection(schema, "countries")
    moments = []
    for (moment,), table in every.group_by(["revised_at"], maintain_order=True):
        assert isinstance(moment, datetime)
        moments.append(moment)
        now[0] = nanoseconds(moment)
        with clct.multi():
            for country in COUNTRIES:
                rows = table.filter(Country=country).select("Date", *VALUES)
                # Whatever was there before the first and after the last day is gone.
                clct.series(country).write(rows, "0001-01-01", "9999-12-31", only_changes=True)
    return clct, moments


def test_real_publications_by_their_changes_and_all_their_vintages() -> None:
    every = published()
    clct, moments = replayed(every)
    texts = [moment.isoformat() for moment in moments]
    for country in COUNTRIES:
        known = every.filter(Country=country)
        series = clct.series(country)
        long = series.vintages(texts, long=True)
        assert long.drop("as_of").equals(known.select("Date", *VALUES))
        assert long["as_of"].dt.epoch("ns").to_list() == [
            nanoseconds(moment) for moment in known["revised_at"]
        ]
        wide = series.vintages(texts, select="Deaths")
        pivot = known.with_columns(pl.col("revised_at").dt.strftime("%Y-%m-%dT%H:%M:%S"))
        pivot = pivot.pivot("revised_at", index="Date", values="Deaths").sort("Date")
        named = [name for name in wide.columns if name in pivot.columns]
        assert wide.select(named).equals(pivot.select(named))
        # A moment at which a country was not named has a column, without values.
        assert all(wide[n].is_null().all() for n in wide.columns if n not in pivot.columns)


def test_the_history_of_a_real_day_is_what_its_publications_said() -> None:
    every = published()
    clct, moments = replayed(every)
    for country, day in (("Belgium", date(2020, 3, 20)), ("Chad", date(2020, 9, 3))):
        said = pl.DataFrame({"revised_at": moments}).join(
            every.filter(Country=country, Date=day), on="revised_at", how="left"
        )
        values = [row if row[0] is not None else None for row in said.select(VALUES).rows()]
        wanted = []
        last = None
        for moment, row in zip(moments, values, strict=True):
            if row != last:
                wanted.append((nanoseconds(moment), row is None, *(row or (None, None, None))))
            last = row
        found = clct.series(country).history(day).drop("author")
        assert found.with_columns(pl.col("stamp").dt.epoch("ns")).rows() == wanted


def test_a_diff_of_real_neighbours_is_what_they_do_not_share() -> None:
    every = published()
    clct, moments = replayed(every)
    names = ["Country", "Date", *VALUES]
    for before, after in zip(moments[::40], moments[1::40], strict=False):
        old, new = (every.filter(revised_at=moment).select(names) for moment in (before, after))
        found = clct.diff(before, after, label="Country")
        gone = old.join(new, on=names, how="anti", nulls_equal=True)
        come = new.join(old, on=names, how="anti", nulls_equal=True)
        ends = {side: [f"{name}_{side}" for name in VALUES] for side in ("before", "after")}
        was = found.filter(pl.col("change") != "added").select("Country", "Date", *ends["before"])
        now = found.filter(pl.col("change") != "removed").select("Country", "Date", *ends["after"])
        assert was.rows() == gone.sort("Country", "Date").rows()
        assert now.rows() == come.sort("Country", "Date").rows()
