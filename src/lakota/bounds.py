"""What users pass as labels, bounds and numbers of rows, checked and turned into cuts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from .arrays import integers, numbers
from .errors import LabelError, RangeError
from .interval import Cut, Interval, between, encode_rows, parse_closed
from .physical import physical_values
from .schema import Schema

__all__ = [
    "check_count",
    "check_grace",
    "check_label",
    "check_labels",
    "check_window",
    "interval_of",
    "key_cuts",
]

LABEL_BYTES = 4096
LONG = 1e18
"""Seconds, longer than anything lasts."""
_FEW = 16


def check_label(label: object) -> str:
    """A label is any string that is not blank, at most 4,096 bytes of UTF-8. It is kept exactly."""
    if not isinstance(label, str):
        raise LabelError(f"label {label!r}: expected a str, found {type(label).__name__}")
    try:
        size = len(label.encode())
    except UnicodeEncodeError:
        raise LabelError(f"label {label!r} is not valid Unicode: it has lone surrogates") from None
    if not label.strip() or size > LABEL_BYTES:
        raise LabelError(
            f"label {label[:40]!r} of {size} bytes: expected 1 to {LABEL_BYTES} bytes, not blank"
        )
    return label


def check_labels(labels: list[str]) -> list[str]:
    """The same of many, that Arrow knows to be valid Unicode."""
    if not all(map(str.strip, labels)) or 4 * max(map(len, labels), default=0) > LABEL_BYTES:
        for label in labels:
            check_label(label)
    return labels


def interval_of(schema: Schema, start: Any, stop: Any, closed: str) -> Interval:
    """The cuts for bounds as a user gives them. Raises `RangeError`."""
    types = [schema[name].type for name in schema.index]
    return between(
        types,
        None if start is None else schema.key(start, what="start"),
        None if stop is None else schema.key(stop, what="stop"),
        parse_closed(closed),
    )


def key_cuts(
    table: pa.Table, schema: Schema, firsts: Sequence[int], lasts: Sequence[int]
) -> tuple[list[Cut], list[Cut]]:
    """The cuts before the keys of rows `firsts` and after those of rows `lasts`."""
    types = [schema[name].type for name in schema.index]

    wanted = [*firsts, *lasts]
    keys = [_values_at(table.column(name), wanted) for name in schema.index]
    components = encode_rows(types, keys)
    los = [Cut(key + b"\x01") for key in components[: len(firsts)]]
    return los, [Cut(key + b"\x03") for key in components[len(firsts) :]]


def _values_at(column: pa.ChunkedArray, rows: list[int]) -> list[Any]:
    """The physical values of a key column in some rows."""
    found = numbers(column.chunk(0)) if column.num_chunks == 1 else None
    if found is None:
        return physical_values(_takeable(column).take(integers(rows)))
    # Of few it is quicker to take one by one. -0.0 becomes 0.0.
    values = [found[row].item() for row in rows] if len(rows) <= _FEW else found[rows].tolist()
    return [value + 0.0 for value in values] if found.dtype.kind == "f" else values


def _takeable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Views, of which pyarrow takes none by number, as what they are views of."""
    if pa.types.is_string_view(column.type):
        return column.cast(pa.large_string())
    return column.cast(pa.large_binary()) if pa.types.is_binary_view(column.type) else column


def check_count(what: str, value: object, *, least: int = 0, of: str = "rows") -> int:
    """A number of something, at least so many. Raises `RangeError`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise RangeError(f"{what}={value!r}: expected a number of {of}, {least} or more")
    return int(value)


def check_grace(grace: Any, name: str = "grace") -> float:
    """A length of time in seconds, 0 or more. Raises `RangeError`."""
    number = isinstance(grace, (int, float, np.integer, np.floating))
    seconds = grace if number and not isinstance(grace, bool) else -1
    if not seconds >= 0:  # of NaN not true either
        raise RangeError(f"{name}={grace!r}: expected a number of seconds, 0 or more")
    return float(seconds) if seconds < LONG else LONG


def check_window(limit: int | None, offset: int | None) -> tuple[int, int | None]:
    """First row, and the row after the last one."""
    first = 0 if offset is None else check_count("offset", offset)
    return first, None if limit is None else first + check_count("limit", limit)
