"""What the frames have in common that answer questions about the past. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl
import pyarrow as pa

from .frames import to_polars

__all__ = ["MOMENT", "as_frame", "free_names", "take", "times"]

MOMENT = pa.timestamp("ns", "UTC")
"""The type of stamps in frames: exact, and a time."""


def times(stamps: Iterable[int | None]) -> pa.Array:
    """Stamps as a column."""
    return pa.array(list(stamps), pa.int64()).cast(MOMENT)


def free_names(wanted: Sequence[str], taken: Iterable[str]) -> list[str]:
    """Names for columns beside others: with as many underscores before them as it takes.

    >>> free_names(["stamp", "author"], ["n", "author"])
    ['stamp', '_author']
    """
    used = set(taken)
    found = []
    for name in wanted:
        while name in used:
            name = f"_{name}"
        used.add(name)
        found.append(name)
    return found


def take(column: pa.ChunkedArray, rows: pl.Series) -> pa.ChunkedArray:
    """The values of rows, null where the row is null."""
    return column.take(rows.cast(pl.Int64).to_arrow())


def as_frame(columns: Mapping[str, Any]) -> pl.DataFrame:
    """Arrow columns as a frame; `{}` has none."""
    return to_polars(pa.table(dict(columns)))
