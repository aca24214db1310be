"""W5: many series in one commit."""

from __future__ import annotations

import statistics
from functools import partial
from typing import Any

import numpy as np
from data import MINUTE, START, Columns, label, series
from kit import Sizes, Wrong, compare, joined, warm
from library import Library
from measure import Metrics, Peak, flushes_of, median_of, stored, timed


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
    with flushes_of("W5 flushes"), Peak() as peak:
        seconds, _ = timed(lambda: library.bulk(table))
    size, files = stored(library.folder)
    _compare_some(library, labels, parts)
    return {
        "W5 bulk": seconds,
        "W5 peak memory over the input, bytes": peak.bytes,
        "W5 stored, bytes": size,
        "W5 files": files,
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


def after(library: Library, sizes: Sizes) -> Metrics:
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
    more = {i: series(10, sizes.variant, i, sizes.series_rows) for i in appended}
    for i in appended:
        frame = library.frame(more[i], labels[i])
        appends.append(timed(partial(library.append, labels[i], frame))[0])
    grown, _ = stored(library.folder)
    for i in appended:
        both = joined(parts[i], more[i])
        compare(library, library.read(labels[i]), both, "W5 with appends")
    return {
        "W5 open and list labels": listing,
        "W5 read one series": statistics.median(reads[3:]),
        "W5 small append": statistics.median(appends[3:]),
        "W5 small append adds, bytes": max(grown - before, 0) / len(appended),
    }


def pack(library: Library, sizes: Sizes) -> Metrics:
    library.open()
    library.pack()
    return {"W5 packed, bytes": stored(library.folder)[0]}
