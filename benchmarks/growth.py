"""How cost grows: commits of W4 up to 100,000, series of W5 up to 1,000,000. This library alone.

Everything is left to the system to flush (`durability="os"`), because 100,000 flushes would only
measure the disk for minutes. Series are added in commits of at most 100,000, so that the input
fits in memory.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from data import MINUTE, START, Columns, label, series
from measure import Metrics, Peak, median_of, memory, stored, timed

from lakota import Repo, Schema

SCHEMA = Schema(timestamp="timestamp*", value="float")
ROWS, EACH = 1000, 100
"""Rows of a commit, and of a series."""
AT_ONCE = 100_000
"""Series of a commit."""
WINDOW = 100
"""Commits whose mean is what a commit costs."""


def curves(parent: str, most: int) -> dict[str, list[Metrics]]:
    """Commits up to `most`, series up to ten times as many. A process for each."""
    found: dict[str, list[Metrics]] = {"commits": [], "series": []}
    found["commits"] = _run(parent, "commits", most)
    for count in decades(10 * most):
        found["series"] += _run(parent, "series", count)
    return found


def decades(most: int) -> list[int]:
    """1,000, 10,000, ... and `most`."""
    return [n for n in (10**k for k in range(3, 9)) if n < most] + [most]


def _run(parent: str, what: str, count: int) -> list[Metrics]:
    print(f"growth: {count:,} {what} ...", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        out = os.path.join(folder, "out.json")
        command = [sys.executable, str(Path(__file__).resolve()), what, str(count), folder, out]
        subprocess.run(command, check=True)
        found: list[Metrics] = json.loads(Path(out).read_text())
        return found


def frame(columns: Columns) -> pa.Table:
    times = pa.array(columns.timestamp).view(pa.timestamp("us"))
    return pa.table({"timestamp": times, "value": columns.value})


# ---- Commits


def commits(folder: str, most: int) -> list[Metrics]:
    stops = sorted({*decades(most), *(3 * n for n in decades(most) if 3 * n < most)})
    repo = Repo(f"{folder}/repo", durability="os")
    written = repo.create_collection(SCHEMA, "c") / "s"
    found: list[Metrics] = []
    window: list[float] = []
    used: list[float] = []
    first = first_used = last = 0.0
    for i in range(most):
        rows = frame(series(ROWS, "walk", i, i * ROWS))
        before = time.process_time()
        window.append(timed(partial(written.write, rows))[0])
        used.append(time.process_time() - before)
        last += window[-1]
        if i == WINDOW - 1:
            first, first_used = sum(window), sum(used)
        if i + 1 in stops:
            state = {"commits": i + 1, "total": last, "first commits": first / WINDOW}
            state["commit"] = sum(window[-WINDOW:]) / WINDOW
            state["first commits, processor"] = first_used / WINDOW
            state["commit, processor"] = sum(used[-WINDOW:]) / WINDOW
            state["resident, bytes"] = memory("RssAnon")
            found.append({**state, **_after_commits(folder, i + 1)})
    return found


def _after_commits(folder: str, count: int) -> Metrics:
    size, files = stored(folder)
    rng = np.random.default_rng(5)

    def opened() -> Any:
        return Repo(f"{folder}/repo", durability="os") / "c" / "s"

    def day(of: Any, at: int) -> Any:
        start, stop = np.array([at, at + 1440]) * MINUTE + START
        return of.frame(*(np.datetime64(int(x), "us") for x in (start, stop)))

    places = rng.integers(0, count * ROWS - 1440, 20).tolist()
    one = opened()
    ranges = [timed(partial(day, one, at))[0] for at in places]
    anew = [timed(lambda at=at: day(opened(), at))[0] for at in places[:5]]
    seconds, table = timed(lambda: opened().frame())
    if table.num_rows != count * ROWS:
        raise SystemExit(f"{table.num_rows} rows after {count} commits of {ROWS}")
    return {
        "stored, bytes per commit": size / count,
        "files": files,
        "range, open handle": statistics.median(ranges[3:]),
        "range, new handle": statistics.median(anew),
        "full read, new handle": seconds,
        "full read, seconds per million rows": seconds / table.num_rows * 1e6,
    }


# ---- Series


def many(folder: str, count: int) -> list[Metrics]:
    repo = Repo(f"{folder}/repo", durability="os")
    clct = repo.create_collection(SCHEMA, "c")
    total, peaks, inputs = 0.0, [], []
    for at in range(0, count, AT_ONCE):
        table = _table(at, min(AT_ONCE, count - at))
        inputs.append(table.nbytes)
        with Peak() as peak:
            total += timed(partial(clct.write, table))[0]
        peaks.append(peak.bytes)
    size, files = stored(folder)
    return [
        {
            "series": count,
            "write": total,
            "write, seconds per 1,000 series": 1000 * total / count,
            "peak memory over the input, bytes": max(peaks),
            "input of a commit, bytes": max(inputs),
            "stored, bytes per series": size / count,
            "files": files,
            **_after_series(folder, count),
        }
    ]


def _after_series(folder: str, count: int) -> Metrics:
    def opened() -> Any:
        return Repo(f"{folder}/repo", durability="os") / "c"

    some = np.random.default_rng(3).permutation(count)[:33].tolist()
    listing = median_of(3, lambda: opened().ls())
    clct = opened()
    reads = []
    for i in some:
        seconds, table = timed(lambda i=i: clct.series(label(i)).frame())
        if not np.array_equal(table["value"].to_numpy(), _values(i // AT_ONCE, i % AT_ONCE)):
            raise SystemExit(f"series {i} is not what was written")
        reads.append(seconds)
    before, _ = stored(folder)
    appends = []
    for i in some[:13]:
        rows = frame(series(10, "walk", i, EACH))
        appends.append(timed(lambda i=i, rows=rows: clct.series(label(i)).write(rows))[0])
    after, _ = stored(folder)
    one = label(some[0])
    return {
        "open and list labels": listing,
        "list, seconds per 1,000 labels": 1000 * listing / count,
        "read one series": statistics.median(reads[3:]),
        "read one series, new handle": median_of(5, lambda: opened().series(one).frame()),
        "small append": statistics.median(appends[3:]),
        "small append adds, bytes": max(after - before, 0) / 13,
    }


def _values(commit: int, i: int) -> Any:
    return series(AT_ONCE * EACH, "walk", commit).value[i * EACH : (i + 1) * EACH]


def _table(first: int, count: int) -> pa.Table:
    times = np.tile(START + MINUTE * np.arange(EACH, dtype=np.int64), count)
    values = series(AT_ONCE * EACH, "walk", first // AT_ONCE).value[: count * EACH]
    names = pl.Series([label(first + i) for i in range(count)])
    column = names.gather(np.repeat(np.arange(count), EACH)).to_arrow().cast(pa.string())
    return frame(Columns(times, values)).add_column(0, "label", column)


if __name__ == "__main__":
    what, count, folder, out = sys.argv[1:]
    found = {"commits": commits, "series": many}[what](folder, int(count))
    Path(out).write_text(json.dumps(found))
