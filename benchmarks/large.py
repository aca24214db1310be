"""W1, W2, W3, W6, W9: one large series."""

from __future__ import annotations

import statistics
from typing import Any

from data import series
from kit import Sizes, compare, joined, range_times, warm
from library import SERIES, Library
from measure import Metrics, Peak, flushes_of, median_of, memory, stored, timed


def write(library: Library, sizes: Sizes) -> Metrics:
    data = series(sizes.rows, sizes.variant)
    frame = library.frame(data)
    warm(library)
    library.create()
    with flushes_of("W1 flushes"), Peak() as peak:
        seconds, _ = timed(lambda: library.write(SERIES, frame))
    size, files = stored(library.folder)
    library.open()
    compare(library, library.read(SERIES), data, "W1")
    return {
        "W1 write": seconds,
        "W1 peak memory over the input, bytes": peak.bytes,
        "W9 as written, bytes": size,
        "W1 files": files,
    }


def read_fresh(library: Library, sizes: Sizes) -> Metrics:
    return _read(library, sizes, "W2")


def read_packed(library: Library, sizes: Sizes) -> Metrics:
    return _read(library, sizes, "W2p")


def pack(library: Library, sizes: Sizes) -> Metrics:
    library.open()
    seconds, _ = timed(library.pack)
    size, files = stored(library.folder)
    return {"W9 pack": seconds, "W9 packed, bytes": size, "W9 packed, files": files}


def _read(library: Library, sizes: Sizes, work: str) -> Metrics:
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
        f"{work} memory of the result, bytes": max(grown, 0),
    }


def ranges_fresh(library: Library, sizes: Sizes) -> Metrics:
    return _ranges(library, sizes, "W3")


def ranges_packed(library: Library, sizes: Sizes) -> Metrics:
    return _ranges(library, sizes, "W3p")


def _ranges(library: Library, sizes: Sizes, work: str) -> Metrics:
    data = series(sizes.rows, sizes.variant)
    library.open()
    opened = list(range_times(library, data, sizes, new=False))
    new = list(range_times(library, data, sizes, new=True))
    return {
        f"{work} range, open handle": statistics.median(opened[3:]),
        f"{work} range, new handle": statistics.median(new[3:]),
    }


def overwrite(library: Library, sizes: Sizes) -> Metrics:
    data = series(sizes.rows, sizes.variant)
    lo, hi = int(sizes.rows * 0.45), int(sizes.rows * 0.55)
    other = series(hi - lo, sizes.variant, 99, lo)
    frame = library.frame(other)
    library.open()
    version = library.version(SERIES) if library.versioned else None
    with flushes_of("W6 flushes"):
        seconds, _ = timed(lambda: library.overwrite(SERIES, frame))
    now = joined(data.part(0, lo), other, data.part(hi, len(data)))
    compare(library, library.read(SERIES), now, "W6 after")
    after = median_of(sizes.reads, lambda: library.total(library.read(SERIES)))
    found = {"W6 overwrite": seconds, "W6 read after": after}
    if not library.versioned:
        return found
    compare(library, library.read_version(SERIES, version), data, "W6 before")
    found["W6 read the version before"] = median_of(
        sizes.reads, lambda: library.total(library.read_version(SERIES, version))
    )
    return found
