"""Encoding: rows as a segment to be stored, whose format `segment` describes. Pure.

Columns that are stored plain are not copied: the bytes of a segment are pieces, and theirs are
where the rows of the frame are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import groupby
from typing import Final

import pyarrow as pa

from .codecs import MAX_BATCH_BYTES, encode_column, resolve
from .digest import BLOCK, Digest, block_digests, rows_digest
from .errors import DamagedError, FrameError, InputError, SchemaError
from .footer import MAX_BATCH_ROWS, Footer, Plan, plan_of
from .segment import open_segment
from .workers import each

__all__ = ["Encoded", "encode", "recode"]

_PACKED_BATCH_ROWS: Final = BLOCK
_BATCH_BYTES: Final = MAX_BATCH_BYTES >> 2
"""Where values are long, batches get fewer rows than usual to stay below this."""

_SMALL: Final = 4096
"""Bytes up to which copying is cheaper than a piece of its own."""


@dataclass(frozen=True)
class Encoded:
    """A segment to be stored: a file of `rows` rows whose digest is `name`."""

    name: Digest
    rows: int
    pieces: tuple[pa.Buffer, ...]
    """The bytes of the file, one after the other. Those of plain columns are where the rows of
    the frame are: they are not copied to be stored."""

    @cached_property
    def data(self) -> pa.Buffer:
        """The bytes of the file in one piece, for who cannot store several."""
        return self.pieces[0] if len(self.pieces) == 1 else pa.py_buffer(b"".join(self.pieces))


@lru_cache(maxsize=256)
def _plan_to_write(schema_bytes: bytes, codecs: str | tuple[tuple[str, str], ...]) -> Plan:
    """The plan for the schema of a frame, whose metadata are no part of a segment."""
    schema = pa.ipc.read_schema(pa.py_buffer(schema_bytes))
    schema = pa.schema([field.remove_metadata() for field in schema])
    if not schema.names or len(set(schema.names)) < len(schema.names):
        raise SchemaError(f"expected columns with distinct names, found {schema.names}")
    chosen = resolve(codecs if isinstance(codecs, str) else dict(codecs), schema)
    return plan_of(schema.serialize().to_pybytes(), chosen)


def encode(
    table: pa.Table,
    codecs: Mapping[str, str] | str,
    *,
    keys: Sequence[str] = (),
    batch_rows: int | None = None,
) -> Encoded:
    """The rows of `table` as a segment.

    `codecs`: one of `plain`, `lz4`, `zstd`, `pco`, or `packed` (`pco` where the type allows,
    else `zstd`) for all columns, or one per column by name, unnamed ones being `plain`.
    `keys`: the columns that rows are sorted by; the first key of each batch is kept at hand.
    `batch_rows`: rows per batch, a multiple of 16,384 up to 65,536. Metadata are not kept.

    Raises `FormatError` for an unknown codec; `SchemaError` for a type that cannot be stored, or
    not with its codec; `FrameError` for values that Arrow itself calls invalid; `InputError` for
    other arguments that cannot be used.

    >>> table = pa.table({"time": [1, 2, 3], "value": [0.5, 0.25, None]})
    >>> plain, packed = encode(table, "plain"), encode(table, "packed")
    >>> plain.name == packed.name, open_segment(packed.data).table() == table
    (True, True)
    """
    chosen = codecs if isinstance(codecs, str) else tuple(sorted(codecs.items()))
    plan = _plan_to_write(table.schema.serialize().to_pybytes(), chosen)
    positions = [plan.position(key) for key in keys]
    size = _batch_rows(table, plan, batch_rows)
    batches = _cut(table, plan, size)
    digests, stored = _store(batches, plan)
    blob = b"".join(digests)
    firsts = b"" if len(batches) < 2 or not keys else _first_keys(batches, positions)
    footer = Footer(plan, size, table.num_rows, positions, firsts, blob)
    name = rows_digest(plan.schema, table.num_rows, [blob])
    return Encoded(name, table.num_rows, _write(stored, footer))


def recode(data: pa.Buffer, codecs: Mapping[str, str] | str) -> Encoded:
    """The same rows, verified, in another encoding and under the same name.

    Raises `DamagedError` where the rows of `data` are not what its digests say, and as `encode`.

    >>> small = recode(encode(pa.table({"time": range(1000)}), "plain").data, "packed")
    >>> open_segment(small.data).codecs
    {'time': 'pco'}
    """
    segment = open_segment(data)
    encoded = encode(segment.table(), codecs, keys=segment.keys)
    if encoded.name != segment.name:
        segment.check()
        raise DamagedError(f"the rows of segment {segment.name} are those of {encoded.name}")
    return encoded


def _batch_rows(table: pa.Table, plan: Plan, wanted: int | None) -> int:
    if wanted is not None:
        if not 0 < wanted <= MAX_BATCH_ROWS or wanted % BLOCK:
            raise InputError(
                f"batch_rows is {wanted}: expected a multiple of {BLOCK} up to {MAX_BATCH_ROWS}"
            )
        return wanted
    size = _PACKED_BATCH_ROWS if plan.packed else MAX_BATCH_ROWS
    if plan.loose and table.num_rows > BLOCK:
        row = table.nbytes / table.num_rows
        while size > BLOCK and size * row > _BATCH_BYTES:
            size //= 2
    return size


def _cut(table: pa.Table, plan: Plan, size: int) -> list[pa.RecordBatch]:
    """Batches of `size` rows, copied only where the chunks of `table` lie across."""
    if plan.has_dictionaries:  # a file has one dictionary per column
        table = table.combine_chunks()
    if not table.num_rows:
        return []
    pieces = [table.slice(i, size) for i in range(0, table.num_rows, size)]
    return [_one_batch(piece, plan) for piece in pieces]


def _one_batch(piece: pa.Table, plan: Plan) -> pa.RecordBatch:
    if plan.loose and piece.nbytes > MAX_BATCH_BYTES:
        raise InputError(
            f"{piece.num_rows} rows take {piece.nbytes} bytes, more than the {MAX_BATCH_BYTES} "
            f"that a batch may have: write fewer than {BLOCK} rows at once"
        )
    batches = piece.to_batches()
    batch = batches[0] if len(batches) == 1 else piece.combine_chunks().to_batches()[0]
    for i in plan.loose:
        try:
            batch.column(i).validate(full=True)
        except pa.ArrowInvalid as error:
            column = plan.schema.names[i]
            raise FrameError(f"column {column!r} holds invalid values: {error}") from error
    return batch


def _store(batches: list[pa.RecordBatch], plan: Plan) -> tuple[list[bytes], list[pa.RecordBatch]]:
    """The block digests of all batches, and the batches as the IPC file is to hold them."""
    if not plan.packed:
        return [digest for batch in batches for digest in block_digests(batch)], batches

    def store(batch: pa.RecordBatch) -> tuple[list[bytes], pa.RecordBatch]:
        pairs = zip(batch.columns, plan.codecs, strict=True)
        columns = [encode_column(column, codec) for column, codec in pairs]
        stored = pa.RecordBatch.from_arrays(columns, schema=plan.ipc_schema)
        return block_digests(batch), stored

    done = each(store, batches)
    return [digest for digests, _ in done for digest in digests], [batch for _, batch in done]


def _first_keys(batches: list[pa.RecordBatch], positions: list[int]) -> bytes:
    rows = [batch.slice(0, 1).select(positions) for batch in batches]
    keys = pa.Table.from_batches(rows).combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, keys.schema.remove_metadata()) as writer:
        writer.write_table(keys)
    return bytes(sink.getvalue())


def _write(batches: list[pa.RecordBatch], footer: Footer) -> tuple[pa.Buffer, ...]:
    plan = footer.plan
    options = pa.ipc.IpcWriteOptions(compression=plan.compression)
    sink = _Pieces()
    with pa.ipc.new_file(
        pa.PythonFile(sink, "w"), plan.ipc_schema, options=options, metadata=footer.seal()
    ) as file:
        for batch in batches:
            file.write_batch(batch)
    return sink.pieces()


class _Pieces:
    """A file in memory that keeps buffers as they are, and not a copy of them."""

    closed = False

    def __init__(self) -> None:
        self._size = 0
        self._written: list[pa.Buffer | bytes] = []

    def write(self, data: pa.Buffer | bytes) -> int:
        self._written.append(data)
        self._size += len(data)
        return len(data)

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        """There is nowhere else to bring it."""

    def pieces(self) -> tuple[pa.Buffer, ...]:
        """What was written; what is small is joined."""
        if self._size <= _SMALL:
            return (pa.py_buffer(b"".join(self._written)),)
        pieces: list[pa.Buffer] = []
        for small, run in groupby(self._written, lambda data: len(data) <= _SMALL):
            found = [*run]
            pieces.extend(map(pa.py_buffer, [b"".join(found)] if small else found))
        return tuple(pieces)
