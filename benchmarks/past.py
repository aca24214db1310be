"""Questions about the past of real publications: how long they take, and what the past weighs.

    python benchmarks/past.py [DATA_FOLDER] [--repo FOLDER] [--only-changes] [--packed]

Replays the 399 publications of `countries_revisions.parquet` (198 countries, 32.7 million rows in
all) once, with `durability="os"`, into a temporary folder or into `--repo`, where a later run
finds them; with `--only-changes` only rows that differ are written. Then asks, warm:

    diff      two neighbouring publications, all countries          budget 100 ms
    vintages  all 399 publications, one country, one column        budget 200 ms
    history   one key of one country                                budget  50 ms

and prints the medians, the best, and the first one, which is cold.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import polars as pl

from lakota import Collection, Repo

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "examples"))

import replay_publications as example  # noqa: E402

FILE = "countries_revisions.parquet"
COUNTRY = "Belgium"
TIMES = 15


def main() -> None:
    options = arguments()
    with ExitStack() as stack:
        folder = options.repo or Path(stack.enter_context(tempfile.TemporaryDirectory())) / "repo"
        if not folder.exists():
            replay(options.data / FILE, folder, options.only_changes)
        repo = Repo(folder, durability="os")
        if options.packed:
            repo.pack()
        print(f"{size(folder) / 1e6:.1f} MB of {(options.data / FILE).stat().st_size / 1e6:.1f} MB")
        ask(repo / "countries")


def replay(path: Path, folder: Path, only_changes: bool) -> None:
    """Write every publication under its own time."""
    calendar = example.Calendar()
    repo = Repo(folder, durability="os", clock=calendar.clock)
    clct = repo.create_collection(example.SCHEMA, "countries")
    known = example.NOTHING
    started = time.perf_counter()
    for moment, table in example.publications(path, example.times(path)):
        calendar.today = moment
        if only_changes:
            known = publish_changes(clct, table, known)
        else:
            known = example.publish(clct, table, known)
    print(f"replayed in {time.perf_counter() - started:.1f} s")


def publish_changes(clct: Collection, table: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """As `example.publish`, but only what differs: where a series ends earlier or begins later
    than it did, what is beyond is deleted."""
    now = example.spans(table)
    both = before.join(now, on=example.LABEL, how="left", suffix="_now")
    with clct.multi():
        for label, first, last, first_now, last_now in both.iter_rows():
            series = clct.series(label)
            if first_now is None:
                series.delete()
                continue
            if first < first_now:
                series.delete(None, first_now, closed="left")
            if last > last_now:
                series.delete(last_now, None, closed="right")
        clct.write(table, label=example.LABEL, only_changes=True)
    return now


def ask(clct: Collection) -> None:
    children = clct.revisions()["child"].to_list()
    series = clct.series(COUNTRY)
    key = series.tail(100)["Date"][0].as_py()
    middle = len(children) // 2
    measure("diff", lambda: clct.diff(children[middle - 1], children[middle]))
    measure("vintages", lambda: series.vintages(children, select="Confirmed"))
    measure("history", lambda: series.history(key))


def measure(name: str, act: Callable[[], Any]) -> None:
    seconds = []
    for _ in range(TIMES + 1):
        started = time.perf_counter()
        found = act()
        seconds.append(time.perf_counter() - started)
    first, *warm = (1e3 * s for s in seconds)
    print(
        f"{name:10} median {statistics.median(warm):7.1f} ms   best {min(warm):7.1f}   "
        f"cold {first:7.1f}   {found.height:,} rows, {found.width} columns"
    )


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    beside = ROOT.parent / "shared" / "data"
    data = Path(os.environ.get("LAKOTA_DATA", beside))
    parser.add_argument("data", nargs="?", type=Path, default=data, help="of the Parquet file")
    parser.add_argument("--repo", type=Path, help="where the publications are, or are to be kept")
    parser.add_argument("--only-changes", action="store_true", help="write only what differs")
    parser.add_argument("--packed", action="store_true", help="pack the repo first")
    options = parser.parse_args()
    if not (options.data / FILE).is_file():
        parser.error(f"there is no {FILE} in {options.data}: name its folder")
    return options


if __name__ == "__main__":
    main()
