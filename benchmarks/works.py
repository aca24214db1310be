"""The works: what every library is asked to do, what is measured, what must come out.

A work is a few stages; each runs in a process of its own, one after the other, in one folder. A
stage gives metrics: seconds unless the name says otherwise. Whatever is read is compared bit for
bit with the data, outside the clock; `Wrong` is raised where it differs.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from data import MINUTE, START, Columns, label, series
from library import SERIES, Library
from measure import Metrics, Peak, flushes, median_of, memory, stored, timed

__all__ = ["WORKS", "Sizes", "Wrong"]


@dataclass(frozen=True)
class Sizes:
    """How much there is to do."""

    rows: int = 10_000_000
    commits: int = 1_000
    commit_rows: int = 1_000
    series: int = 10_000
    series_rows: int = 100
    range_rows: int = 1_440
    reads: int = 5
    """Of a whole series, in a process."""
    ranges: int = 30
    variant: str = "walk"


class Wrong(Exception):
    """A read did not give what was written."""


def compare(library: Library, found: Any, expected: Columns, what: str) -> None:
    if not library.columns(found).same(expected):
        raise Wrong(f"{library.name}: {what} is not what was written")


def warm(library: Library) -> None:
    """A small write elsewhere: imports, threads and allocators are not what is measured."""
    with tempfile.TemporaryDirectory(dir=os.path.dirname(library.folder)) as folder:
        other = type(library)(folder)
        other.create()
        other.write(SERIES, other.frame(series(1000)))
        other.open()
        other.total(other.read(SERIES))


# ---- W1: one large commit


def write_large(library: Library, sizes: Sizes) -> Metrics:
    data = series(sizes.rows, sizes.variant)
    frame = library.frame(data)
    warm(library)
    library.create()
    with flushes() as count, Peak() as peak:
        seconds, _ = timed(lambda: library.write(SERIES, frame))
    size, files = stored(library.folder)
    library.open()
    compare(library, library.read(SERIES), data, "W1")
    return {
        "W1 write": seconds,
        "W1 peak memory over the input, bytes": peak.bytes,
        "W1 stored, bytes": size,
        "W1 files": files,
        "W1 flushes": count[0],
    }


def prepare_large(library: Library, sizes: Sizes) -> Metrics:
    library.create()
    library.write(SERIES, library.frame(series(sizes.rows, sizes.variant)))
    return {}


# ---- W2: a full read


def read_large(library: Library, sizes: Sizes) -> Metrics:
    return _read_large(library, sizes, "W2")


def read_packed(library: Library, sizes: Sizes) -> Metrics:
    return _read_large(library, sizes, "W2p")


def pack(library: Library, sizes: Sizes) -> Metrics:
    library.open()
    seconds, _ = timed(library.pack)
    size, files = stored(library.folder)
    return {"pack": seconds, "W9 packed, bytes": size, "W9 packed, files": files}


def _read_large(library: Library, sizes: Sizes, work: str) -> Metrics:
    data = series(sizes.rows, sizes.variant)

    def act() -> Any:
        library.open()
        found = library.read(SERIES)
        library.total(found)
        return found

    act()  # the page cache, imports and threads are warm from here on
    before = memory("RssAnon")
    found = act()
    grown = memory("RssAnon") - before
    compare(library, found, data, work)
    del found
    fresh = median_of(sizes.reads, act)
    library.open()
    again = median_of(sizes.reads, lambda: library.total(library.read(SERIES)))
    return {
        f"{work} read, new handle": fresh,
        f"{work} read, open handle": again,
        f"{work} memory of the result, bytes": grown,
    }


# ---- W3: a day of it


def ranges_fresh(library: Library, sizes: Sizes) -> Metrics:
    return _ranges(library, sizes, "W3")


def ranges_packed(library: Library, sizes: Sizes) -> Metrics:
    return _ranges(library, sizes, "W3p")


def _ranges(library: Library, sizes: Sizes, work: str) -> Metrics:
    data = series(sizes.rows, sizes.variant)
    library.open()
    opened = list(_range_times(library, data, sizes, new=False))
    new = list(_range_times(library, data, sizes, new=True))
    return {
        f"{work} range, open handle": statistics.median(opened[3:]),
        f"{work} range, new handle": statistics.median(new[3:]),
    }


def _range_times(library: Library, data: Columns, sizes: Sizes, *, new: bool) -> Iterator[float]:
    rng = np.random.default_rng(7)
    for first in rng.integers(0, len(data) - sizes.range_rows, sizes.ranges + 3).tolist():
        start, stop = (int(START + MINUTE * at) for at in (first, first + sizes.range_rows))

        def act(start: int = start, stop: int = stop) -> Any:
            if new:
                library.open()
            found = library.read_range(SERIES, start, stop)
            library.total(found)
            return found

        seconds, found = timed(act)
        compare(library, found, data.part(first, first + sizes.range_rows), "a range")
        yield seconds


# ---- W4: many small commits


def commit_often(library: Library, sizes: Sizes) -> Metrics:
    size = sizes.commit_rows
    data = series(sizes.commits * size, sizes.variant)
    frames = [library.frame(data.part(i * size, (i + 1) * size)) for i in range(sizes.commits)]
    warm(library)
    library.create()
    with flushes() as count, Peak() as peak:
        seconds = [timed(partial(library.write, SERIES, frames[0]))[0]]
        seconds += [timed(partial(library.append, SERIES, frame))[0] for frame in frames[1:]]
    taken, files = stored(library.folder)
    some = max(sizes.commits // 10, 1)
    library.open()
    compare(library, library.read(SERIES), data, "W4")
    return {
        "W4 commits": sum(seconds),
        "W4 last tenth over first tenth, ratio": sum(seconds[-some:]) / sum(seconds[:some]),
        "W4 slowest commit": max(seconds),
        "W4 peak memory over the input, bytes": peak.bytes,
        "W4 stored, bytes": taken,
        "W4 files": files,
        "W4 flushes": count[0],
    }


def after_commits(library: Library, sizes: Sizes) -> Metrics:
    size = sizes.commit_rows
    rows = sizes.commits * size
    data = series(rows, sizes.variant)

    def read_anew() -> Any:
        library.open()
        found = library.read(SERIES)
        library.total(found)
        return found

    compare(library, read_anew(), data, "W4")
    full = median_of(sizes.reads, read_anew)
    library.open()
    times = list(_range_times(library, data, sizes, new=False))
    appends = []
    added = [series(size, sizes.variant, 1 + i, rows + i * size) for i in range(5)]
    for more in added:
        frame = library.frame(more)

        def append(frame: Any = frame) -> None:
            library.open()
            library.append(SERIES, frame)

        appends.append(timed(append)[0])
    everything = Columns(*map(np.concatenate, zip(data, *added, strict=True)))
    compare(library, read_anew(), everything, "W4 with appends")
    return {
        "W4 then full read, new handle": full,
        "W4 then range, open handle": statistics.median(times[3:]),
        "W4 then append, new handle": statistics.median(appends),
    }


# ---- W5: many series


def _many(sizes: Sizes) -> tuple[list[str], Columns, list[Columns]]:
    each = sizes.series_rows
    values = series(sizes.series * each, sizes.variant)
    times = np.tile(START + MINUTE * np.arange(each, dtype=np.int64), sizes.series)
    data = Columns(times, values.value)
    parts = [data.part(i * each, (i + 1) * each) for i in range(sizes.series)]
    return [label(i) for i in range(sizes.series)], data, parts


def bulk(library: Library, sizes: Sizes) -> Metrics:
    labels, data, parts = _many(sizes)
    table = library.table(labels, data)
    warm(library)
    library.create()
    with flushes() as count, Peak() as peak:
        seconds, _ = timed(lambda: library.bulk(table))
    size, files = stored(library.folder)
    _compare_some(library, labels, parts)
    return {
        "W5 bulk": seconds,
        "W5 peak memory over the input, bytes": peak.bytes,
        "W5 stored, bytes": size,
        "W5 files": files,
        "W5 flushes": count[0],
    }


def multi(library: Library, sizes: Sizes) -> Metrics:
    labels, _, parts = _many(sizes)
    frames = [(name, library.frame(part, name)) for name, part in zip(labels, parts, strict=True)]
    warm(library)
    library.create()
    with Peak() as peak:
        seconds, _ = timed(lambda: library.multi(frames))
    _compare_some(library, labels, parts)
    return {
        "W5 multi, as many writes": seconds,
        "W5 multi peak memory over the input, bytes": peak.bytes,
    }


def _compare_some(library: Library, labels: list[str], parts: list[Columns]) -> None:
    library.open()
    for i in range(0, len(labels), max(len(labels) // 50, 1)):
        compare(library, library.read(labels[i]), parts[i], f"W5 {labels[i]}")


def after_bulk(library: Library, sizes: Sizes) -> Metrics:
    labels, _, parts = _many(sizes)

    def listed() -> Any:
        library.open()
        return library.labels()

    if sorted(listed()) != labels:
        raise Wrong(f"{library.name}: the labels are not those that were written")
    listing = median_of(sizes.reads, listed)
    library.open()
    some = np.random.default_rng(3).permutation(len(labels))[: sizes.ranges + 3].tolist()
    reads, appends = [], []
    for i in some:
        seconds, found = timed(partial(library.read, labels[i]))
        compare(library, found, parts[i], "W5 one series")
        reads.append(seconds)
    before, _ = stored(library.folder)
    appended = some[:13]
    for i in appended:
        frame = library.frame(series(10, sizes.variant, i, sizes.series_rows), labels[i])
        appends.append(timed(partial(library.append, labels[i], frame))[0])
    after, _ = stored(library.folder)
    for i in appended:
        more = series(10, sizes.variant, i, sizes.series_rows)
        both = Columns(*map(np.concatenate, zip(parts[i], more, strict=True)))
        compare(library, library.read(labels[i]), both, "W5 with appends")
    return {
        "W5 open and list labels": listing,
        "W5 read one series": statistics.median(reads[3:]),
        "W5 small append": statistics.median(appends[3:]),
        "W5 small append adds, bytes": (after - before) / len(appended),
    }


# ---- W6: overwrite the middle


def overwrite(library: Library, sizes: Sizes) -> Metrics:
    data = series(sizes.rows, sizes.variant)
    lo, hi = int(sizes.rows * 0.45), int(sizes.rows * 0.55)
    other = series(hi - lo, sizes.variant, 99, lo)
    frame = library.frame(other)
    library.open()
    version = library.version(SERIES)
    seconds, _ = timed(lambda: library.overwrite(SERIES, frame))
    now = Columns(*(np.concatenate((a[:lo], b, a[hi:])) for a, b in zip(data, other, strict=True)))
    compare(library, library.read(SERIES), now, "W6 after")
    compare(library, library.read_version(SERIES, version), data, "W6 before")
    after = median_of(sizes.reads, lambda: library.total(library.read(SERIES)))
    before = median_of(sizes.reads, lambda: library.total(library.read_version(SERIES, version)))
    return {
        "W6 overwrite": seconds,
        "W6 read after": after,
        "W6 read the version before": before,
    }


Stage = Callable[[Library, Sizes], Metrics]

WORKS: dict[str, tuple[Stage, ...]] = {
    "W1": (write_large,),
    "W2": (prepare_large, read_large, pack, read_packed),
    "W3": (prepare_large, ranges_fresh, pack, ranges_packed),
    "W4": (commit_often, after_commits),
    "W5": (bulk, after_bulk),
    "W5m": (multi,),
    "W6": (prepare_large, overwrite),
}
"""The stages of each work. One that a library has no way for ends the work for it."""
