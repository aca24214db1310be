"""Tables as the body of an answer: Arrow, Parquet, CSV or JSON, piece by piece.

A body is made of tables that come one after the other, so an answer may be larger than memory.
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pat

from ..errors import SchemaError
from ..frames import readable, to_polars
from ..types import in_polars, type_name

__all__ = ["FORMATS", "MEDIA", "body_of"]

MEDIA = {
    "json": "application/json",
    "csv": "text/csv",
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
}
FORMATS = tuple(MEDIA)


def body_of(schema: pa.Schema, tables: Iterable[pa.Table], form: str) -> Iterator[bytes]:
    """The bytes of tables of that schema, in order. Raises `SchemaError` at once for columns that
    the form has no way to write."""
    writer = _WRITERS[form](readable(schema.empty_table()).schema)
    return _pieces(writer, tables)


def _pieces(writer: _Writer, tables: Iterable[pa.Table]) -> Iterator[bytes]:
    yield from filter(None, [writer.begin()])
    for table in tables:
        yield from filter(None, [writer.add(readable(table))])
    yield from filter(None, [writer.end()])


class _Writer(ABC):
    """Turns tables into bytes."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema

    @abstractmethod
    def begin(self) -> bytes: ...

    @abstractmethod
    def add(self, table: pa.Table) -> bytes: ...

    @abstractmethod
    def end(self) -> bytes: ...


class _Drain(io.RawIOBase):
    """A file that gives away what was written to it."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        return len(part)

    def taken(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


class _Arrow(_Writer):
    def begin(self) -> bytes:
        self._sink = _Drain()
        self._file = pa.ipc.new_stream(self._sink, self.schema)
        return self._sink.taken()

    def add(self, table: pa.Table) -> bytes:
        self._file.write_table(table)
        return self._sink.taken()

    def end(self) -> bytes:
        self._file.close()
        return self._sink.taken()


class _Parquet(_Arrow):
    def begin(self) -> bytes:
        self._sink = _Drain()
        try:
            self._file = pq.ParquetWriter(self._sink, self.schema, compression="zstd")
        except pa.ArrowException as error:
            raise SchemaError(f"Parquet cannot hold these columns: {error}") from error
        return self._sink.taken()


class _Csv(_Writer):
    def __init__(self, schema: pa.Schema) -> None:
        super().__init__(schema)
        _refuse(schema, "CSV", lambda t: pat.is_nested(t) or pat.is_duration(t) or _is_binary(t))

    def begin(self) -> bytes:
        return to_polars(self.schema.empty_table()).write_csv().encode()

    def add(self, table: pa.Table) -> bytes:
        return to_polars(table).write_csv(include_header=False).encode()

    def end(self) -> bytes:
        return b""


class _Json(_Writer):
    """An array of objects. Times are in ISO 8601; NaN and infinities, which JSON has not, null."""

    def __init__(self, schema: pa.Schema) -> None:
        super().__init__(schema)
        _refuse(schema, "JSON", lambda t: _is_binary(t) or pat.is_map(t))
        self._first = True

    def begin(self) -> bytes:
        return b"["

    def add(self, table: pa.Table) -> bytes:
        if not table.num_rows:
            return b""
        frame = to_polars(table)
        times = [name for name, dtype in frame.schema.items() if dtype == pl.Datetime]
        frame = frame.with_columns(pl.col(name).dt.to_string("iso:strict") for name in times)
        rows = frame.write_json().encode()[1:-1]
        comma, self._first = b"" if self._first else b",", False
        return comma + rows

    def end(self) -> bytes:
        return b"]\n"


def _refuse(schema: pa.Schema, form: str, is_foreign: Callable[[pa.DataType], bool]) -> None:
    foreign = [f for f in schema if not in_polars(f.type) or any(map(is_foreign, _leaves(f.type)))]
    if foreign:
        found = ", ".join(f"{field.name!r} ({type_name(field.type)})" for field in foreign)
        raise SchemaError(f"{form} cannot hold column {found}: ask for arrow, or select others")


def _leaves(dtype: pa.DataType) -> Iterator[pa.DataType]:
    """A type and all inside it."""
    yield dtype
    for i in range(dtype.num_fields):
        yield from _leaves(dtype.field(i).type)


def _is_binary(dtype: pa.DataType) -> bool:
    kinds = pat.is_binary, pat.is_large_binary, pat.is_fixed_size_binary, pat.is_binary_view
    return any(is_so(dtype) for is_so in kinds)


_WRITERS: dict[str, type[_Writer]] = {
    "json": _Json,
    "csv": _Csv,
    "arrow": _Arrow,
    "parquet": _Parquet,
}
