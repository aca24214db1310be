"""Few rows among many: finding them by key, taking them out, and putting others in their place.

Where upserts touch a small part of a large region, only the rows that they touch are joined with
them (see `region`); the others stay where they are, and so do whole chunks of which no row is
touched: these are not copied. Pure; a row is known by its number.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from .arrays import flags, integers, numbers
from .compare import key_column

__all__ = ["find", "places", "put", "spliced", "taken"]

Rows: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"


def find(keys: pa.Table, wanted: pa.Table) -> Rows:
    """The rows of `keys`, which are sorted, whose key is one of `wanted`, in their order.

    >>> table = pa.table({"n": [1, 2, 2, 5]})
    >>> find(table, pa.table({"n": [7, 2, 1, 2]})).tolist()
    [0, 1, 2]
    """
    sorted_keys, sought = _numbers(keys), _numbers(wanted)
    if sorted_keys is None or sought is None:
        left, right = (
            pl.DataFrame(
                [key_column(column).alias(f"{i}") for i, column in enumerate(table.columns)]
            )
            for table in (keys, wanted)
        )
        found = left.with_row_index("row").join(right, on=left.columns, how="semi").sort("row")
        return found["row"].to_numpy().astype(np.int64)
    sought = np.sort(sought, kind="stable")  # of few sorted runs, mostly
    sought = sought[np.append(True, sought[1:] != sought[:-1])]
    first = np.searchsorted(sorted_keys, sought, "left")
    counts = np.searchsorted(sorted_keys, sought, "right") - first
    starts = np.repeat(first - np.cumsum(counts) + counts, counts)
    return starts + np.arange(len(starts))


def places(keys: pa.Table, rows: pa.Table) -> Rows | None:
    """For each of `rows` the first row of `keys` whose key is not before its own; None for keys of
    which only Polars knows the order."""
    sorted_keys, own = _numbers(keys), _numbers(rows)
    if sorted_keys is None or own is None:
        return None
    return np.searchsorted(sorted_keys, own, "left")


def _numbers(keys: pa.Table) -> np.ndarray[Any, Any] | None:
    """A key of one column of numbers or times, as numpy."""
    if keys.num_columns != 1 or not keys.num_rows:
        return None
    found = [numbers(chunk) for chunk in keys.column(0).chunks]
    chunks = [chunk for chunk in found if chunk is not None]
    return np.concatenate(chunks) if len(chunks) == len(found) else None


def taken(table: pa.Table, at: Rows) -> pa.Table:
    """The rows `at`, which are sorted, of a table; each chunk by itself."""
    columns = [
        pa.chunked_array([chunk.take(integers(own)) for chunk, own, *_ in _shares(column, at)], t)
        for column, t in zip(table.columns, table.schema.types, strict=True)
    ]
    return pa.table(columns, schema=table.schema)


def put(column: pa.ChunkedArray, at: Rows, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column with `values` in the rows `at`, which are sorted.

    >>> put(pa.chunked_array([[1, 2], [3]]), np.array([1]), pa.chunked_array([[7]])).to_pylist()
    [1, 7, 3]
    """
    whole = _whole(values)
    return pa.chunked_array(
        [
            _put(chunk, own, whole.slice(first, len(own))) if len(own) else chunk
            for chunk, own, first, _ in _shares(column, at)
        ],
        column.type,
    )


def spliced(
    column: pa.ChunkedArray, gone: Rows, places_: Rows, values: pa.ChunkedArray
) -> pa.ChunkedArray:
    """The column without the rows `gone`, and with `values` before the rows `places_`; both are
    sorted.

    >>> column, more = pa.chunked_array([[1, 2], [4]]), pa.chunked_array([[3, 5]])
    >>> spliced(column, np.array([0]), np.array([2, 3]), more).to_pylist()
    [2, 3, 4, 5]
    """
    whole = _whole(values)
    chunks = []
    # What comes after the last row comes into the last chunk.
    inside = np.minimum(places_, max(len(column) - 1, 0))
    for (chunk, lost, *_), (_, own, first, offset) in zip(
        _shares(column, gone), _shares(column, inside), strict=True
    ):
        if not len(lost) and not len(own):
            chunks.append(chunk)
            continue
        size = len(chunk)
        before = places_[first : first + len(own)] - offset
        kept = np.delete(np.arange(size), lost)
        order = np.insert(kept, np.searchsorted(kept, before, "left"), size + np.arange(len(own)))
        both = pa.concat_arrays([chunk, whole.slice(first, len(own))])
        chunks.append(both.take(integers(order)))
    return pa.chunked_array(chunks if len(column) else [whole], column.type)


def _shares(column: pa.ChunkedArray, at: Rows) -> Iterator[tuple[pa.Array, Rows, int, int]]:
    """Each chunk, which of the rows `at` lie in it, as numbers of its own, how many of them came
    before, and how many rows."""
    offsets = np.cumsum([0, *map(len, column.chunks)])
    cuts = np.searchsorted(at, offsets, "left").tolist()
    for nth, (chunk, offset) in enumerate(zip(column.chunks, offsets.tolist(), strict=False)):
        yield chunk, at[cuts[nth] : cuts[nth + 1]] - offset, cuts[nth], offset


def _whole(values: pa.ChunkedArray) -> pa.Array:
    found = values.combine_chunks()
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def _put(chunk: pa.Array, at: Rows, values: pa.Array) -> pa.Array:
    dtype = chunk.type
    old, new = (None, None) if pat.is_interval(dtype) else (numbers(chunk), numbers(values))
    if old is not None and new is not None and not chunk.null_count and not values.null_count:
        data = old.copy()
        data[at] = new
        return pa.Array.from_buffers(dtype, len(chunk), [None, pa.py_buffer(data)])
    if any(is_kind(dtype) for is_kind in _MASKED):
        mask = np.zeros(len(chunk), bool)
        mask[at] = True
        return pc.replace_with_mask(chunk, flags(mask), values)
    order = np.arange(len(chunk))
    order[at] = len(chunk) + np.arange(len(at))
    return pa.concat_arrays([chunk, values]).take(integers(order))


_MASKED = (
    *(pat.is_boolean, pat.is_integer, pat.is_floating, pat.is_timestamp, pat.is_date),
    *(pat.is_string, pat.is_large_string, pat.is_binary, pat.is_large_binary),
)
"""Types of which pyarrow replaces values by a mask, in one pass."""
