"""Two sides change cells of different columns, and are merged: how long it takes, and in how much
memory.

    python benchmarks/cells.py [--rows 10000000] [--folder FOLDER] [--near]

A table of one-minute timestamps and ten columns of numbers is copied to a second repo. Each side
then changes 1 % of all cells: five columns each, in 2 % of the rows, chosen at random, or with
`--near` side by side. After a pull, this is measured:

    merge     clct.merge()
    read      the whole series, all columns; every value is compared outside the clock
    again     the same, once more
    day       1,440 rows of it

with the most memory that each took over what was there before, pages of mapped files included, and
how many segments were opened. Budget: merge and read in 2 s, in 1 GB beyond the table itself, which
is as large as the result.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from measure import Peak, timed

from lakota import Collection, Repo, Schema
from lakota.objects import Objects

COLUMNS = [f"c{i}" for i in range(10)]
SIDES = (COLUMNS[:5], COLUMNS[5:])
START, MINUTE = np.datetime64("2005-01-01T00:00", "us"), np.timedelta64(60_000_000, "us")
SHARE = 0.02


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        here, there, expected = prepare(Path(folder), options.rows, options.near)
        series = here.series("s")
        middle = int(options.rows) // 2
        times = START + MINUTE * np.arange(middle, middle + 1441)
        report("merge", lambda: here.merge())
        compare(report("read", series.frame), expected)
        report("again", series.frame)
        report("day", lambda: series.frame(times[0], times[-1]))
        del there


def prepare(folder: Path, rows: int, near: bool) -> tuple[Collection, Collection, pl.DataFrame]:
    """Two collections whose heads differ, the first of which has both; what a merge must give."""
    rng = np.random.default_rng(0)
    table = pl.DataFrame({"t": START + MINUTE * np.arange(rows)}).with_columns(
        pl.Series(name, np.cumsum(rng.integers(-5, 6, rows)) / 100) for name in COLUMNS
    )
    schema = Schema({"t": "timestamp*", **dict.fromkeys(COLUMNS, "float")})
    repos = [Repo(folder / name, durability="os") for name in ("here", "there")]
    repos[0].create_collection(schema, "c").series("s").write(table)
    repos[1].pull(repos[0])
    for repo, columns in zip(repos, SIDES, strict=True):
        count = int(rows * SHARE)
        first = int(rng.integers(0, rows - count))
        at = np.arange(first, first + count) if near else np.sort(rng.permutation(rows)[:count])
        cells = {name: rng.normal(size=count).round(2) for name in columns}
        repo.collection("c").series("s").upsert({"t": START + MINUTE * at, **cells})
        for name, values in cells.items():
            changed = table[name].to_numpy().copy()
            changed[at] = values
            table = table.with_columns(pl.Series(name, changed))
    repos[0].pull(repos[1])
    return repos[0] / "c", repos[1] / "c", table


def report(name: str, act: Callable[[], Any]) -> Any:
    opened: set[str] = set()
    segment = Objects.segment

    def watched(self: Objects, name: Any) -> Any:
        opened.add(str(name))
        return segment(self, name)

    Objects.segment = watched
    used = time.process_time()
    with Peak() as peak:
        seconds, found = timed(act)
    used = time.process_time() - used
    Objects.segment = segment
    size = found.nbytes if hasattr(found, "nbytes") else 0
    print(
        f"{name:8} {1e3 * seconds:8.1f} ms ({1e3 * used:.1f} of processors)   "
        f"{peak.bytes / 1e6:8.0f} MB more memory, "
        f"of which {size / 1e6:.0f} MB are the result   {len(opened)} segments opened"
    )
    return found


def compare(found: Any, expected: pl.DataFrame) -> None:
    if not pl.DataFrame(found).equals(expected):
        raise SystemExit("the merged table is not what the two sides made of it")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=10_000_000)
    parser.add_argument("--folder", help="where to work", default=os.environ.get("TMPDIR"))
    parser.add_argument("--near", action="store_true", help="change rows side by side")
    return parser.parse_args()


if __name__ == "__main__":
    main()
