"""The data of the works: the same for every library, made anew in every process."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

START = 946_684_800_000_000
"""2000-01-01 in microseconds since 1970."""
MINUTE = 60_000_000


class Columns(NamedTuple):
    """Rows as plain arrays: what every library's frames are made from and compared with."""

    timestamp: NDArray[np.int64]
    """Microseconds since 1970 (UTC)."""
    value: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.timestamp)

    def part(self, start: int, stop: int) -> Columns:
        """The rows from `start` to before `stop`."""
        return Columns(self.timestamp[start:stop], self.value[start:stop])

    def same(self, other: Columns) -> bool:
        """Whether every bit is the same."""
        bits = self.value.view(np.int64), other.value.view(np.int64)
        return np.array_equal(self.timestamp, other.timestamp) and np.array_equal(*bits)


def series(rows: int, variant: str = "walk", seed: int = 0, first: int = 0) -> Columns:
    """One-minute timestamps from 2000-01-01 on, `first` minutes later, and values: `walk` is a
    random walk of 5 cents a minute, rounded to 2 decimals, `noise` is standard normal."""
    rng = np.random.default_rng(seed)
    timestamp = START + MINUTE * np.arange(first, first + rows, dtype=np.int64)
    if variant == "walk":
        return Columns(timestamp, np.round(100 + rng.normal(0, 0.05, rows).cumsum(), 2))
    return Columns(timestamp, rng.normal(0, 1, rows))


def label(number: int) -> str:
    """The label of the n-th of many series."""
    return f"station-{number:07d}"
