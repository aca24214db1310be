"""What all works share: sizes, the comparison of what was read, random ranges."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from data import MINUTE, START, Columns, series
from library import SERIES, Library
from measure import Metrics, timed


@dataclass(frozen=True)
class Sizes:
    """How much there is to do."""

    rows: int = 10_000_000
    commits: int = 1_000
    commit_rows: int = 1_000
    series: int = 10_000
    series_rows: int = 100
    range_rows: int = 1_440
    merged: int = 200
    """Commits of each replica of W8."""
    publications: int = 399
    reads: int = 5
    """Of a whole series, in a process."""
    ranges: int = 30
    variant: str = "walk"


Stage = Callable[[Library, Sizes], Metrics]


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
        other.close()


def prepare_large(library: Library, sizes: Sizes) -> Metrics:
    library.create()
    library.write(SERIES, library.frame(series(sizes.rows, sizes.variant)))
    return {}


def range_times(library: Library, data: Columns, sizes: Sizes, *, new: bool) -> Iterator[float]:
    """The seconds of random ranges; `new`: each from a handle of its own."""
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


def joined(*parts: Columns) -> Columns:
    """One after the other."""
    times, values = zip(*((part.timestamp, part.value) for part in parts), strict=True)
    return Columns(np.concatenate(times), np.concatenate(values))
