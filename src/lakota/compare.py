"""Columns as Polars compares them exactly, whatever their types. Pure.

`key_column` keeps the order of keys and takes -0.0 for 0.0, as cuts do; `value_column` is equal
where the bits of the values are, but NaN equals NaN whatever its bits. Neither is for reading: rows
are found by these and then taken, as they are, from the Arrow columns that they stand for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from .arrays import as_array

__all__ = ["from_ordered", "key_column", "to_ordered", "value_column"]

SMALL = 4096
"""Chunks with fewer rows than these, on average, are joined first."""
_WIDE = 32
"""Bytes of a decimal256."""


def key_column(column: pa.ChunkedArray) -> pl.Series:
    """A key column, without nulls, as one that Polars orders, groups and joins.

    >>> key_column(pa.chunked_array([[-0.0, 1.5]])).to_list()
    [0.0, 1.5]
    """
    dtype = column.type
    if pat.is_decimal256(dtype):
        return _series(to_ordered(column))
    if pat.is_floating(dtype):
        return _series(pc.add(column.cast(pa.float64()), 0.0))
    return value_column(column)


def value_column(column: pa.ChunkedArray) -> pl.Series:
    """A column of which Polars says with `eq_missing` whether two values are the same.

    >>> a, b = (value_column(pa.chunked_array([[x]])) for x in (0.0, -0.0))
    >>> a.eq_missing(b).to_list(), a.eq_missing(a).to_list()
    ([False], [True])
    """
    if column.num_chunks != 1 and len(column) < SMALL * column.num_chunks:
        column = pa.chunked_array([column.combine_chunks()])
    chunks = [_exact(chunk) for chunk in column.chunks]
    return _series(pa.chunked_array(chunks or [_exact(pa.nulls(0, column.type))]))


def to_ordered(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Decimals of 256 bits as binaries in the same order: big endian, the sign's bit flipped."""
    chunks = [_flip(c.view(pa.binary(_WIDE)), pa.binary(_WIDE)) for c in column.chunks]
    return pa.chunked_array(chunks, pa.binary(_WIDE)).cast(pa.large_binary())


def from_ordered(column: pa.ChunkedArray, dtype: pa.DataType) -> pa.ChunkedArray:
    """The decimals again."""
    chunks = [_flip(c, dtype) for c in column.cast(pa.binary(_WIDE)).chunks]
    return pa.chunked_array(chunks, dtype)


def _flip(array: pa.Array, dtype: pa.DataType) -> pa.Array:
    """Values of 32 bytes, of which none is null, reversed; the sign is where the most is."""
    data = np.frombuffer(array.buffers()[1] or b"", np.uint8)[array.offset * _WIDE :]
    values = data[: len(array) * _WIDE].reshape(-1, _WIDE)
    little = not pat.is_fixed_size_binary(dtype) or pat.is_decimal(dtype)
    flipped = values[:, ::-1].copy()
    flipped[:, -1 if little else 0] ^= 0x80
    return pa.Array.from_buffers(dtype, len(array), [None, pa.py_buffer(flipped)])


def _series(column: Any) -> pl.Series:
    found = pl.from_arrow(column)
    return found if isinstance(found, pl.Series) else found.to_series()


_NAN = as_array(np.array([np.nan]))[0]


def _exact(array: pa.Array) -> pa.Array:
    """Values of types that Polars has, equal where these are the same."""
    dtype = array.type
    if pat.is_dictionary(dtype):
        return _exact(array.dictionary_decode())
    if pat.is_null(dtype):
        return pa.nulls(len(array), pa.bool_())
    if pat.is_floating(dtype):
        same = pc.if_else(pc.is_nan(array), _NAN.cast(dtype), array)
        return same.view(f"int{dtype.bit_width}")
    if pat.is_interval(dtype):
        return array.view(pa.binary(16)).cast(pa.large_binary())
    if pat.is_decimal256(dtype):
        return array.view(pa.binary(_WIDE)).cast(pa.large_binary())
    if pat.is_decimal(dtype):
        return array.cast(pa.decimal128(dtype.precision, dtype.scale))
    if pat.is_temporal(dtype):
        return array.view(f"int{dtype.bit_width}")
    if pat.is_string(dtype) or pat.is_string_view(dtype):
        return array.cast(pa.large_string())
    if pat.is_fixed_size_binary(dtype) or pat.is_binary(dtype) or pat.is_binary_view(dtype):
        return array.cast(pa.large_binary())
    if pat.is_map(dtype):
        pair = pa.struct([("key", dtype.key_type), ("value", dtype.item_type)])
        return _exact(array.cast(pa.list_(pair)))
    if pat.is_struct(dtype):
        children = [_exact(child) for child in array.flatten()]
        return pa.StructArray.from_arrays(
            children, [f"{i}" for i in range(len(children))], mask=array.is_null()
        )
    if pat.is_list(dtype) or pat.is_large_list(dtype) or pat.is_fixed_size_list(dtype):
        return _exact_list(array)
    return array


def _exact_list(array: pa.Array) -> pa.Array:
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    return pa.LargeListArray.from_arrays(
        pa.array(offsets, pa.int64()), _exact(array.flatten()), mask=array.is_null()
    )
