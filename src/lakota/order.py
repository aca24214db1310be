"""The order of rows: by the index, in which keys are never null nor NaN. Pure.

Rows that are in order, as most are, are not copied, and looked at where they lie, block by block,
so that nothing of their size is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .arrays import as_flags, as_numpy, integers, numbers
from .errors import FrameError
from .types import family, large

__all__ = ["check_keys", "has_duplicates", "in_order", "is_sorted"]

_BLOCK = 65_536


def check_keys(table: pa.Table, index: Sequence[str]) -> None:
    """Refuse nulls and NaN in the index. Raises `FrameError`."""
    for name in index:
        column = table.column(name)
        nulls = column.null_count
        if nulls:
            row = pc.index(column.is_null(), pa.scalar(True)).as_py()
            raise FrameError(
                f"column {name!r}: found {nulls} null keys (first in row {row}), "
                "expected a value in each row of the index"
            )
        if family(column.type) == "float" and any(map(_has_nan, column.chunks)):
            raise FrameError(f"column {name!r}: found NaN in a key, expected numbers")


def _has_nan(chunk: pa.Array) -> bool:
    values = as_numpy(chunk)
    return any(
        bool(np.isnan(values[at : at + _BLOCK]).any()) for at in range(0, len(values), _BLOCK)
    )


def is_sorted(table: pa.Table, index: Sequence[str]) -> bool:
    """Whether the rows are in key order; equal keys may follow each other.

    >>> is_sorted(pa.table({"t": [1, 1, 2]}), ["t"])
    True
    """
    if len(index) == 1 and 0 < table.num_rows <= _BLOCK:  # of many small frames each
        column = table.column(index[0])
        values = numbers(column.chunk(0)) if column.num_chunks == 1 else None
        if values is not None:
            return bool((values[:-1] <= values[1:]).all())
    return all(_in_order(keys) for keys in _runs(table, index))


def in_order(table: pa.Table, index: Sequence[str]) -> pa.Table:
    """The rows in key order: as they are, if they are in it.

    >>> in_order(pa.table({"t": [2, 1]}), ["t"])["t"].to_pylist()
    [1, 2]
    """
    return table if is_sorted(table, index) else _sort(table, index)


def has_duplicates(table: pa.Table, index: Sequence[str]) -> bool:
    """Whether two rows of a table that is sorted by `index` have one key.

    >>> has_duplicates(pa.table({"t": [1, 1, 2]}), ["t"])
    True
    """
    return any(_any_equal(keys) for keys in _runs(table, index))


def _runs(table: pa.Table, index: Sequence[str]) -> Iterable[list[Any]]:
    """Comparable keys of each run of rows that lie together, and of each seam."""
    columns = [table.column(name) for name in index]
    if all(column.num_chunks == 1 for column in columns):
        yield [_comparable(column.chunk(0)) for column in columns]
        return
    keys = pa.Table.from_arrays(columns, list(index))
    if keys.num_rows < 1024 * max(column.num_chunks for column in columns):
        keys = keys.combine_chunks()
    last: list[Any] | None = None
    for batch in keys.to_batches():
        if not batch.num_rows:
            continue
        first = [array.slice(0, 1) for array in batch.columns]
        if last is not None:
            yield [_comparable(pa.concat_arrays([a, b])) for a, b in zip(last, first, strict=True)]
        yield [_comparable(array) for array in batch.columns]
        last = [array.slice(batch.num_rows - 1) for array in batch.columns]


def _comparable(array: pa.Array) -> Any:
    """A key column as a numpy array where that is free, else as one that pyarrow compares."""
    kind = family(array.type)
    if kind == "bool":
        return as_flags(array)
    values = numbers(array)
    return array if values is None else values


def _blocks(keys: list[Any]) -> Iterable[list[Any]]:
    """Blocks of rows, each overlapping the next one by a row."""
    size = len(keys[0])
    for at in range(0, size - 1, _BLOCK):
        yield [_part(key, at, min(at + _BLOCK + 1, size)) for key in keys]


def _part(key: Any, start: int, stop: int) -> Any:
    return key[start:stop] if isinstance(key, np.ndarray) else key.slice(start, stop - start)


def _in_order(keys: list[Any]) -> bool:
    for block in _blocks(keys):
        ordered = _adjacent(block[-1], np.less_equal, pc.less_equal)
        for key in reversed(block[:-1]):
            ordered &= _adjacent(key, np.equal, pc.equal)
            ordered |= _adjacent(key, np.less, pc.less)
        if not ordered.all():
            return False
    return True


def _any_equal(keys: list[Any]) -> bool:
    for block in _blocks(keys):
        equal = _adjacent(block[0], np.equal, pc.equal)
        for key in block[1:]:
            equal &= _adjacent(key, np.equal, pc.equal)
        if equal.any():
            return True
    return False


def _adjacent(key: Any, ufunc: Any, kernel: Any) -> Any:
    """Compares each row with the next one."""
    if isinstance(key, np.ndarray):
        return ufunc(key[:-1], key[1:])
    rows = len(key) - 1
    return as_flags(kernel(key.slice(0, rows), key.slice(1)))


def _sort(table: pa.Table, index: Sequence[str]) -> pa.Table:
    """Sorted by the index; rows of equal keys keep their order."""
    columns = [table.column(name) for name in index]
    if len(columns) == 1 and _numeric(columns[0].type):
        whole = columns[0].combine_chunks()
        chunk = whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole
        order = integers(np.argsort(_comparable(chunk), kind="stable"))
    else:
        keys = pa.Table.from_arrays(
            [_sortable(c) for c in columns], list(map(str, range(len(columns))))
        )
        order = pc.sort_indices(keys, [(name, "ascending") for name in keys.column_names])
    views = {f.name for f in table.schema if f.type in (pa.string_view(), pa.binary_view())}
    arrays = [
        column.cast(large(column.type)).take(order).cast(column.type)
        if name in views
        else column.take(order)
        for name, column in zip(table.column_names, table.columns, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=table.schema)


def _numeric(dtype: pa.DataType) -> bool:
    return family(dtype) in ("int", "float", "timestamp", "date", "time", "duration")


def _sortable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The types that pyarrow cannot sort, as ones that sort alike."""
    dtype = column.type
    if dtype in (pa.string_view(), pa.binary_view()):
        return column.cast(large(dtype))
    if dtype == pa.float16():
        return column.cast(pa.float32())
    if pa.types.is_decimal32(dtype) or pa.types.is_decimal64(dtype):
        return column.cast(pa.decimal128(dtype.precision, dtype.scale))
    return column
