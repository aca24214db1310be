"""Replay a public data set as it was published: every publication a revision, under its own time.

    python examples/replay_publications.py DATA_FOLDER [--repo FOLDER] [--only-country X]
                                           [--limit N] [--durability os|fsync]

`countries_revisions.parquet` holds 399 publications of a table of cases by country and day, each
one complete; `worldwide_revisions.parquet` those of the world's total. All are written, then each
is read as of its time and compared with what was published, row by row, and so again after `pack`.

A publication is the whole table: what it no longer names is gone. `clct.write` replaces, for each
label, what is between its first and its last key. So series that vanish, and those that begin
later or end earlier than before, are deleted first, in the same commit.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import polars as pl

from lakota import Clock, Collection, Repo, Revision, Schema

SCHEMA = Schema(Date="date*", Confirmed="int", Recovered="int", Deaths="int")
LABEL = "Country"
WORLD = "World"
"""The label of the one series of the world's total."""
AT_ONCE = 40
"""Publications that are read from the file together: what is in memory at a time."""
NOTHING = pl.DataFrame(schema={LABEL: pl.String, "first": pl.Date, "last": pl.Date})
"""The spans of no table."""


Durability = Literal["fsync", "os"]


class Calendar:
    """A clock that shows the time of what is being replayed."""

    def __init__(self) -> None:
        self.today = datetime(2020, 1, 1)
        self.clock = Clock(now=lambda: nanoseconds(self.today))


def nanoseconds(moment: datetime) -> int:
    """Nanoseconds since 1970 of a time in UTC."""
    return (
        (moment.replace(tzinfo=UTC) - datetime.fromtimestamp(0, UTC))
        // timedelta(microseconds=1)
        * 1000
    )


def times(path: Path) -> list[datetime]:
    """When there were publications, in order."""
    moments = pl.scan_parquet(path).select(pl.col("revised_at").unique().sort())
    return moments.collect()["revised_at"].to_list()


def publications(
    path: Path, moments: Iterable[datetime], country: str | None = None
) -> Iterator[tuple[datetime, pl.DataFrame]]:
    """Each publication: when it came out, and its table, sorted by country and day."""
    wanted = list(moments)
    for at in range(0, len(wanted), AT_ONCE):
        some = wanted[at : at + AT_ONCE]
        lazy = pl.scan_parquet(path).filter(pl.col("revised_at").is_in(some))
        if LABEL not in lazy.collect_schema():
            lazy = lazy.with_columns(pl.lit(WORLD).alias(LABEL))
        elif country is not None:
            lazy = lazy.filter(pl.col(LABEL) == country)
        frame = lazy.select("revised_at", LABEL, *SCHEMA.names).collect(engine="streaming")
        frame = frame.sort("revised_at", LABEL, "Date")
        found = frame.partition_by("revised_at", as_dict=True, include_key=False)
        yield from ((moment, found.get((moment,), frame[:0, 1:])) for moment in some)


def publish(
    clct: Collection, table: pl.DataFrame, before: pl.DataFrame, message: str = ""
) -> pl.DataFrame:
    """Commit `table` as all that there is. `before` and the result: first and last day of each
    label."""
    now = spans(table)
    both = before.join(now, on=LABEL, how="left", suffix="_now")
    kept = (pl.col("first_now") <= pl.col("first")) & (pl.col("last_now") >= pl.col("last"))
    with clct.multi(message=message):
        for label in both.filter(~kept.fill_null(False))[LABEL]:
            clct.series(label).delete()
        clct.write(table, label=LABEL)
    return now


def spans(table: pl.DataFrame) -> pl.DataFrame:
    """First and last day of each label."""
    day = pl.col("Date")
    return table.group_by(LABEL).agg(day.min().alias("first"), day.max().alias("last"))


def read(clct: Collection, as_of: datetime | Revision) -> pl.DataFrame:
    """The whole collection as it was, in the form in which it was published."""
    return clct.scan(label=LABEL, as_of=as_of).collect()


def main() -> None:
    options = arguments()
    folder = options.data
    with ExitStack() as stack:
        place = options.repo or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name in ("countries", "worldwide"):
            path = folder / f"{name}_revisions.parquet"
            country = options.only_country if name == "countries" else None
            run(path, place / name, times(path)[: options.limit], country, options.durability)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak *= 1 if sys.platform == "darwin" else 1024
    print(f"peak memory of the process  {peak / 1e6:,.0f} MB")


def run(
    path: Path, place: Path, moments: list[datetime], country: str | None, durability: Durability
) -> None:
    """Replay one file, read all of it back, pack, read all of it back."""
    calendar = Calendar()
    repo = Repo(place, durability=durability, clock=calendar.clock)
    clct = repo.create_collection(SCHEMA, path.stem)
    rows = 0
    watch = Watch()
    known = NOTHING
    for moment, table in publications(path, moments, country):
        calendar.today = moment
        with watch:
            known = publish(clct, table, known, message=f"as published {moment}")
        rows += table.height
    print(f"{path.name}: {len(moments)} publications, {rows:,} rows, {len(clct.ls())} series")
    print(f"  input, one Parquet file   {path.stat().st_size / 1e6:10.1f} MB")
    print(f"  write                     {watch.seconds:10.2f} s   {size_of(place)}")
    print(f"  read every publication    {read_all(clct, path, moments, country):10.2f} s   equal")
    watch = Watch()
    with watch:
        repo.pack()
    print(f"  pack                      {watch.seconds:10.2f} s   {size_of(place)}")
    again = Repo(place) / path.stem
    print(f"  read every publication    {read_all(again, path, moments, country):10.2f} s   equal")


def read_all(clct: Collection, path: Path, moments: list[datetime], country: str | None) -> float:
    """Read every publication as of its time. Returns the seconds of the reads alone."""
    watch = Watch()
    for moment, expected in publications(path, moments, country):
        with watch:
            found = read(clct, moment)
        if not found.equals(expected):
            raise SystemExit(f"as of {moment} the repo has not what was published")
    return watch.seconds


class Watch:
    """Adds up the seconds of the blocks that it is around."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._started


def size_of(folder: Path) -> str:
    """Bytes and files below a folder."""
    files = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return f"{sum(files) / 1e6:,.1f} MB in {len(files):,} files"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    parser.add_argument(
        "data",
        nargs="?",
        type=Path,
        default=Path(os.environ.get("LAKOTA_DATA", beside)),
        help="the folder of the Parquet files (default: $LAKOTA_DATA)",
    )
    parser.add_argument("--repo", type=Path, help="where to keep the repos (default: nowhere)")
    parser.add_argument("--only-country", help="leave out all others")
    parser.add_argument("--limit", type=int, help="only the first so many publications")
    parser.add_argument("--durability", choices=("fsync", "os"), default="fsync")
    options = parser.parse_args()
    if not options.data.is_dir():
        parser.error(f"there is no folder {options.data}: name the one that holds the files")
    if options.repo is not None and options.repo.exists():
        parser.error(f"{options.repo} exists: name a folder that does not")
    return options


if __name__ == "__main__":
    main()
