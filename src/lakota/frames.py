"""The way out to Polars: tables as frames, not copied where Polars can read them as they are."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.types as pat

from .errors import SchemaError
from .schema import Schema
from .types import in_polars, type_name

__all__ = ["check_polars", "readable", "to_polars"]


def check_polars(schema: Schema, names: Iterable[str]) -> None:
    """That Polars has the types of these columns. Raises `SchemaError`."""
    missing = [name for name in names if not in_polars(schema[name].type)]
    if missing:
        found = ", ".join(f"{name!r} ({type_name(schema[name].type)})" for name in missing)
        raise SchemaError(
            f"Polars has no type for column {found}: use frame() or arrow(), which return a "
            "pyarrow.Table, or select other columns"
        )


def to_polars(table: pa.Table) -> pl.DataFrame:
    """The frame of a table, chunk by chunk.

    >>> to_polars(pa.table({"x": [1, 2]})).rows()
    [(1,), (2,)]
    """
    return pl.DataFrame(_Stream(readable(table)))


class _Stream:
    """A table as nothing but an Arrow C stream, which Polars takes several times as fast as a
    table of pyarrow's, and without waiting for its threads."""

    __slots__ = ("_table",)

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


def readable(table: pa.Table) -> pa.Table:
    """The same rows, as Polars 2.1 reads them right.

    It takes decimals of 32 and 64 bits for ones of 128, past the end of their buffers, and fails
    at lists of fixed size that are null in the middle of a buffer. These columns are copied.
    """
    for i, field in enumerate(table.schema):
        column = table.column(i)
        dtype = _widened(field.type)
        if pat.is_fixed_size_list(dtype) and any(chunk.offset for chunk in column.chunks):
            chunks = [chunk.take(pa.array(np.arange(len(chunk)))) for chunk in column.chunks]
            column = pa.chunked_array(chunks, field.type)
        if dtype != field.type:
            column = column.cast(dtype)
        if column is not table.column(i):
            table = table.set_column(i, field.with_type(dtype), column)
    return table


def _widened(dtype: pa.DataType) -> pa.DataType:
    """The type with decimals of 128 bits for narrower ones, also inside."""
    if pat.is_decimal32(dtype) or pat.is_decimal64(dtype):
        return pa.decimal128(dtype.precision, dtype.scale)
    if pat.is_struct(dtype):
        return pa.struct([field.with_type(_widened(field.type)) for field in dtype])
    if pat.is_map(dtype):
        return pa.map_(_widened(dtype.key_type), _widened(dtype.item_type))
    if pat.is_fixed_size_list(dtype):
        return pa.list_(_widened(dtype.value_type), dtype.list_size)
    if pat.is_large_list(dtype):
        return pa.large_list(_widened(dtype.value_type))
    return pa.list_(_widened(dtype.value_type)) if pat.is_list(dtype) else dtype
