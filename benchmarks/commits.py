"""W4: many small commits."""

from __future__ import annotations

import statistics
from functools import partial
from typing import Any

from data import series
from kit import Sizes, compare, joined, range_times, warm
from library import SERIES, Library
from measure import Metrics, Peak, flushes_of, median_of, stored, timed

APPENDS = 7


def commit(library: Library, sizes: Sizes) -> Metrics:
    size = sizes.commit_rows
    data = series(sizes.commits * size, sizes.variant)
    frames = [library.frame(data.part(i * size, (i + 1) * size)) for i in range(sizes.commits)]
    warm(library)
    library.create()
    with flushes_of("W4 flushes per commit", sizes.commits), Peak() as peak:
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
    }


def after(library: Library, sizes: Sizes) -> Metrics:
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
    times = list(range_times(library, data, sizes, new=False))
    appends = []
    added = [series(size, sizes.variant, 1 + i, rows + i * size) for i in range(APPENDS)]
    for more in added:
        frame = library.frame(more)

        def append(frame: Any = frame) -> None:
            library.open()
            library.append(SERIES, frame)

        appends.append(timed(append)[0])
    compare(library, read_anew(), joined(data, *added), "W4 with appends")
    return {
        "W4 then full read, new handle": full,
        "W4 then range, open handle": statistics.median(times[3:]),
        "W4 then append, new handle": statistics.median(appends),
    }


def pack(library: Library, sizes: Sizes) -> Metrics:
    """All versions are kept."""
    library.open()
    library.pack()
    return {"W4 packed, bytes": stored(library.folder)[0]}
