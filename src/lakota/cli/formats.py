"""Frames from files and stdin, and to files and stdout, in every format.

| format | ends in | |
| --- | --- | --- |
| csv, tsv | .csv, .tsv, also with .gz | see `text` for how values are written |
| ndjson | .ndjson, .jsonl | an object for each row |
| json | .json | a list of these, written only |
| parquet | .parquet, .pq | |
| arrow | .arrow, .feather, .ipc | the Arrow file format |
| arrows | .arrows | the Arrow stream |
| xlsx | .xlsx | with fastexcel and xlsxwriter installed |
| table | | as Polars prints it |

What is written comes table by table, so that what is larger than memory can be. A file appears
whole or not at all.
"""

from __future__ import annotations

import gzip
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import get_terminal_size
from typing import IO, Any, cast

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import FrameError, InputError, LakotaError, MissingExtraError, NotFoundError
from ..frames import to_polars
from ..schema import Schema
from .shell import Form, safe
from .text import from_text, inferred, json_lines, to_text

__all__ = ["Reading", "format_of", "known", "known_schema", "put", "show", "write"]

ENDINGS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".arrows": "arrows",
    ".xlsx": "xlsx",
}
FORMATS = (*dict.fromkeys(ENDINGS.values()), "table")
BINARY = {"parquet", "arrow", "arrows", "xlsx"}
SHOWN_ROWS = 40
"""Of a table on a terminal: the first and the last."""


def format_of(path: str) -> str | None:
    """The format that the name of a file says.

    >>> format_of("a/b.csv.gz"), format_of("b.pq"), format_of("b")
    ('csv', 'parquet', None)
    """
    return ENDINGS.get(Path(path.lower().removesuffix(".gz")).suffix)


def known(format: str) -> str:
    """The format, if it is one. Raises `InputError`."""
    if format not in FORMATS:
        raise InputError(f"format {format!r}: expected one of {', '.join(FORMATS)}")
    return format


# ---- In


@dataclass(frozen=True)
class Reading:
    """How files are read."""

    schema: Schema | None = None
    """What the columns are; None to find out from the values."""
    format: str | None = None
    header: bool = True
    null: Sequence[str] = ()
    dates: Sequence[str] = ()

    def read(self, path: str) -> Any:
        """The rows of a file, or of stdin for `-`: a frame, or a reader of record batches. Raises
        `NotFoundError` and `FrameError`, which name the file."""
        try:
            return self._read(path)
        except FileNotFoundError:
            raise NotFoundError(f"{path}: no such file") from None
        except (pl.exceptions.PolarsError, pa.ArrowException) as error:
            said = str(error).split("\n")[0]
            where = "stdin" if path == "-" else path
            raise FrameError(f"{where}: {said}; --format says what it is") from error
        except LakotaError as error:
            raise type(error)(f"{'stdin' if path == '-' else path}: {error}") from error

    def _read(self, path: str) -> Any:
        source: Any = path
        format = known(self.format) if self.format else format_of(path)
        if path == "-":
            stream = sys.stdin.buffer
            if sys.stdin.isatty():
                print("lakota: reading rows from the terminal; Ctrl-D ends them", file=sys.stderr)
            start = stream.peek(8) if hasattr(stream, "peek") else b""
            format = format or _sniffed(start)
            if format == "arrows":
                return pa.ipc.open_stream(stream)
            source = io.BytesIO(stream.read())
        elif not os.path.exists(path):
            raise FileNotFoundError(path)
        return self._of(source, format or "csv")

    def _of(self, source: Any, format: str) -> Any:
        if format == "parquet":
            file = pq.ParquetFile(source)
            return pa.RecordBatchReader.from_batches(file.schema_arrow, file.iter_batches())
        if format == "arrow":
            return pa.ipc.open_file(source).read_all()
        if format == "arrows":
            return pa.ipc.open_stream(pa.OSFile(source) if isinstance(source, str) else source)
        if format == "xlsx":
            return self._typed(_from_excel(source))
        if format in ("ndjson", "json"):
            return self._typed(self._json(source, format))
        if format in ("csv", "tsv"):
            return self._typed(self._csv(source, "\t" if format == "tsv" else ","))
        raise InputError(f"format {format!r} cannot be read")

    def _csv(self, source: Any, separator: str) -> pl.DataFrame:
        try:
            frame = pl.read_csv(
                source,
                separator=separator,
                has_header=self.header,
                infer_schema=self.schema is None,
                infer_schema_length=None,
                try_parse_dates=self.schema is None,
                null_values=list(self.null) or None,
            )
        except pl.exceptions.NoDataError:
            raise FrameError("found nothing, expected a line with the names of columns") from None
        if self.header or self.schema is None:
            return frame
        if frame.width != len(self.schema):
            raise FrameError(
                f"found {frame.width} columns, expected {', '.join(self.schema.names)}"
            )
        return frame.rename(dict(zip(frame.columns, self.schema.names, strict=True)))

    def _json(self, source: Any, format: str) -> pl.DataFrame:
        lines = format == "ndjson"
        frame = (
            pl.read_ndjson(source, infer_schema_length=None)
            if lines
            else pl.read_json(source, infer_schema_length=None)
        )
        if self.schema is None:
            return frame
        # Once more, numbers as text: whatever they become, they come from their digits.
        plain = {n: k if k.is_nested() else pl.String() for n, k in frame.schema.items()}
        if isinstance(source, io.BytesIO):
            source.seek(0)
        return pl.read_ndjson(source, schema=plain) if lines else pl.read_json(source, schema=plain)

    def _typed(self, frame: pl.DataFrame) -> pl.DataFrame:
        for name in frame.columns:
            if "\0" in name:
                raise FrameError(f"column {name!r}: a name with a NUL: is this text?")
        return frame if self.schema is None else from_text(frame, self.schema, self.dates)


def known_schema(frames: Iterable[Any], index: Sequence[str], left_out: Sequence[str]) -> Schema:
    """The columns that all `frames` have, each of a type that holds them all. Raises
    `FrameError` if they have different columns."""
    empty: list[pl.DataFrame] = []
    for found in frames:
        rows = inferred(found) if isinstance(found, pl.DataFrame) else found.schema.empty_table()
        frame = rows if isinstance(rows, pl.DataFrame) else to_polars(rows)
        own = frame.clear().drop(left_out, strict=False)
        if empty and set(own.columns) == set(empty[0].columns):
            own = own.select(empty[0].columns)
        empty.append(own)
    try:
        return Schema.from_frame(pl.concat(empty, how="vertical_relaxed"), list(index))
    except pl.exceptions.PolarsError as error:
        said = str(error).split("\n")[0]
        raise FrameError(f"the files have different columns: {said}") from error


def _sniffed(start: bytes) -> str:
    """The format that the first bytes say."""
    if start.startswith(b"PAR1"):
        return "parquet"
    if start.startswith(b"ARROW1"):
        return "arrow"
    if start.startswith(b"\xff\xff\xff\xff"):
        return "arrows"
    if start.startswith(b"PK\x03\x04"):
        return "xlsx"
    return "ndjson" if start.lstrip().startswith(b"{") else "csv"


def _from_excel(source: Any) -> pl.DataFrame:
    with _needing("fastexcel"):
        try:
            return pl.read_excel(source)
        except ImportError:
            raise
        except Exception as error:  # of what the reader of such files is written in
            raise FrameError(f"cannot be read as xlsx: {error}") from error


@contextmanager
def _needing(package: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(
            f"Excel files need {package}, not installed here: pip install 'lakota-arrow[excel]'"
        ) from error


# ---- Out

Out = Callable[[pa.Table], None]


def write(tables: Iterable[pa.Table], schema: pa.Schema, format: str, path: str | None) -> None:
    """Write tables of one schema, one after the other, to a file, or to stdout for None."""
    format = known(format)
    if path is None or path == "-":
        if format in BINARY and sys.stdout.isatty():
            raise InputError(f"{format} is not for a terminal: name a file with -O, or pipe it")
        sys.stdout.flush()
        _pour(tables, schema, format, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    if Path(path).exists() and not (Path(path).is_file() or Path(path).is_dir()):
        with open(path, "wb") as file:  # a device or a pipe, whose place no file may take
            _pour(tables, schema, format, file)
        return
    beside = f"{path}.part-{os.getpid()}"
    try:
        with _packed(beside) if path.lower().endswith(".gz") else open(beside, "wb") as file:
            _pour(tables, schema, format, file)
        os.replace(beside, path)
    except OSError as error:
        # What the user typed is named, not the file beside it.
        if error.filename == beside:
            raise OSError(error.errno, error.strerror, path or "''") from error
        raise
    finally:
        if os.path.exists(beside):
            os.remove(beside)


def _packed(path: str) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "wb", compresslevel=6))


def _pour(tables: Iterable[pa.Table], schema: pa.Schema, format: str, file: IO[bytes]) -> None:
    with _opened(format, schema, file) as out:
        for table in tables:
            out(table)


def _opened(format: str, schema: pa.Schema, file: IO[bytes]) -> AbstractContextManager[Out]:
    if format in ("csv", "tsv"):
        return _csv(schema, file, "\t" if format == "tsv" else ",")
    if format in ("json", "ndjson"):
        return _json(file, format)
    if format in ("table", "xlsx"):
        return _whole(schema, file, _table if format == "table" else _excel)
    return _arrow(format, schema, file)


@contextmanager
def _arrow(format: str, schema: pa.Schema, file: IO[bytes]) -> Iterator[Out]:
    if format == "parquet":
        # Integers of nanoseconds and the like come back as they were.
        sink = pq.ParquetWriter(file, schema, compression="zstd")
    else:
        new = pa.ipc.new_file if format == "arrow" else pa.ipc.new_stream
        sink = new(file, schema)
    with closing(sink):
        yield lambda table: sink.write_table(table.cast(schema))


@contextmanager
def _csv(schema: pa.Schema, file: IO[bytes], separator: str) -> Iterator[Out]:
    def out(table: pa.Table, header: bool = False) -> None:
        frame = to_text(to_polars(table), nested=False)
        file.write(frame.write_csv(separator=separator, include_header=header).encode())

    out(schema.empty_table(), header=True)
    yield out


@contextmanager
def _json(file: IO[bytes], format: str) -> Iterator[Out]:
    begun = False

    def out(table: pa.Table) -> None:
        nonlocal begun
        lines = json_lines(to_polars(table))
        if format == "json" and lines:
            lines = (",\n" if begun else "\n") + lines.rstrip("\n").replace("\n", ",\n")
        begun = begun or bool(lines)
        file.write(lines.encode())

    if format == "json":
        file.write(b"[")
    yield out
    if format == "json":
        file.write(b"\n]\n" if begun else b"]\n")


@contextmanager
def _whole(
    schema: pa.Schema, file: IO[bytes], act: Callable[[pl.DataFrame, IO[bytes]], None]
) -> Iterator[Out]:
    tables = [schema.empty_table()]
    yield tables.append
    act(to_polars(pa.concat_tables(tables)), file)


def _excel(frame: pl.DataFrame, file: IO[bytes]) -> None:
    with _needing("xlsxwriter"):
        shown = to_text(frame, nested=False) if _odd_for_excel(frame) else frame
        made = io.BytesIO()
        shown.write_excel(made)
        file.write(made.getvalue())


def _odd_for_excel(frame: pl.DataFrame) -> bool:
    return any(not (kind.is_numeric() or kind.is_temporal()) for kind in frame.dtypes)


def _table(frame: pl.DataFrame, file: IO[bytes]) -> None:
    text = pl.selectors.string()
    frame = frame.with_columns(text.str.replace_all(r"[\x00-\x1f\x7f-\x9f]", "\ufffd"))
    frame = frame.rename({name: safe(name) for name in frame.columns})
    width = get_terminal_size((100, 24)).columns
    rows = SHOWN_ROWS if sys.stdout.isatty() else -1
    with pl.Config(tbl_rows=rows, tbl_cols=-1, tbl_width_chars=width):
        file.write(f"{frame}\n".encode())


def show(frame: pl.DataFrame, form: Form) -> None:
    """Print a frame."""
    put(frame, "csv" if form == "plain" else form, None)


def put(frame: pl.DataFrame, format: str, path: str | None) -> None:
    """Write a frame to a file, or to stdout for None. In what people read, lists of names are text
    with spaces between."""
    if format in ("csv", "tsv", "table"):
        names = pl.selectors.by_dtype(pl.List(pl.String))
        frame = frame.with_columns(names.list.join(" "))
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    write([table], table.schema, format, path)
