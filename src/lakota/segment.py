"""Segments: rows as one self-describing Arrow IPC file. Pure; stands on `digest` and `codecs`.

A segment's name is the digest of its rows (`digest`), so `recode` changes bytes, never names.
Rows are cut into batches of equal size, the last one shorter: a multiple of 16,384 rows, at most
65,536. A batch is the unit of decoding; a block of 16,384 rows of one column that of
verification.

Two layouts, which a reader tells apart by the footer:

    flat    all columns share `plain`, `lz4` or `zstd`: an IPC record batch is a batch, its
            buffers compressed or not; any Arrow tool reads the file
    packed  a column is `pco`, or codecs differ: an IPC record batch has one row, and each of
            its columns one value that holds a whole batch of the column (see `codecs`)

In both, the metadata `lakota:codec` of a field names the column's codec, for people and other
tools. This reader goes by the footer: the IPC file's footer metadata maps `lakota` to the base64
of the following, integers little endian:

    uint8  version, 1
    uint8  layout, 0 flat or 1 packed
    uint32 rows per batch
    uint64 rows
    uint16 number of columns   c
    uint16 number of key columns   k
    uint32 length of the schema
    uint32 length of the first keys, 0 if there is at most one batch
    uint8 [c]   codecs: 0 plain, 1 lz4, 2 zstd, 3 pco
    uint16[k]   key columns, by position
    schema      the schema of the rows, an IPC schema message, without metadata
    first keys  an IPC stream of one record batch: the key columns of the first row of each batch
    digests     16 bytes per column of each block, block by block
    checksum    8 bytes, the xxh3_64 of all before, big endian

So opening a segment proves its name by the digests alone, and each part that is decoded is
proved by its digests, whichever columns and batches these are. `plain` columns are views of the
file's bytes and are not read to be verified, only so far that following their offsets is safe;
`Segment.check` verifies everything.

Nothing in a file is trusted: whatever is wrong with it raises `DamagedError`, or `FormatError`
where it may come from a later version, and no size is allocated because a file says so.
"""

from __future__ import annotations

import os
import threading
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import groupby
from struct import Struct
from typing import Any, Final, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from xxhash import xxh3_64_digest

from .codecs import (
    CODECS,
    MAX_BATCH_BYTES,
    Block,
    PcoFiles,
    decode_column,
    encode_column,
    file_blocks,
    file_message,
    inflated_size,
    is_fixed,
    resolve,
    room,
    size_limit,
    stored_type,
)
from .digest import (
    BLOCK,
    Digest,
    block_digests,
    column_digests,
    rows_digest,
    type_text,
    values_digests,
)
from .errors import (
    DamagedError,
    FormatError,
    FrameError,
    InputError,
    LakotaError,
    NotFoundError,
    RangeError,
    SchemaError,
)

__all__ = [
    "MAX_BATCH_ROWS",
    "Encoded",
    "Run",
    "Segment",
    "encode",
    "open_segment",
    "read",
    "recode",
]

MAX_BATCH_ROWS: Final = 65_536
_PACKED_BATCH_ROWS: Final = BLOCK
_BATCH_BYTES: Final = MAX_BATCH_BYTES >> 2
"""Where values are long, batches get fewer rows than usual to stay below this."""

_SMALL: Final = 4096
"""Bytes up to which copying is cheaper than a piece of its own."""

_FEW: Final = 4
"""Fewer batches are better taken one by one."""

_VERSION: Final = 1
_FOOTER: Final = "lakota"
_CODEC: Final = "lakota:codec"
_HEAD: Final = Struct("<BBIQHHII")
_DIGEST: Final = 16

_ALONE: Final = pa.ipc.IpcReadOptions(use_threads=False)

_T = TypeVar("_T")
_R = TypeVar("_R")


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


@dataclass(frozen=True)
class _Plan:
    """What follows from schema and codecs. Cached, as few of them serve many segments."""

    schema: pa.Schema
    schema_bytes: bytes
    codecs: tuple[str, ...]

    @cached_property
    def packed(self) -> bool:
        return len(set(self.codecs)) > 1 or "pco" in self.codecs

    @cached_property
    def ipc_schema(self) -> pa.Schema:
        """The schema of the IPC file."""
        pairs = zip(self.schema, self.codecs, strict=True)
        return pa.schema(
            field.with_type(stored_type(field.type, codec) if self.packed else field.type)
            .with_nullable(self.packed or field.nullable)
            .with_metadata({_CODEC: codec})
            for field, codec in pairs
        )

    @cached_property
    def loose(self) -> tuple[int, ...]:
        """The columns whose values have no fixed width: these have offsets to get lost by."""
        return tuple(i for i, type_ in enumerate(self.schema.types) if not is_fixed(type_))

    @cached_property
    def has_dictionaries(self) -> bool:
        return any("dictionary<" in str(type_) for type_ in self.schema.types)

    @cached_property
    def compression(self) -> str | None:
        """The IPC compression of the file's buffers."""
        return None if self.packed or self.codecs[0] == "plain" else self.codecs[0]

    @cached_property
    def positions(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.schema.names)}


@lru_cache(maxsize=256)
def _plan(schema_bytes: bytes, codecs: tuple[str, ...]) -> _Plan:
    schema = pa.ipc.read_schema(pa.py_buffer(schema_bytes))
    for type_ in schema.types:
        type_text(type_)  # raises SchemaError for one that is not on the closed list
    return _Plan(schema, schema_bytes, codecs)


@lru_cache(maxsize=256)
def _plan_to_write(schema_bytes: bytes, codecs: str | tuple[tuple[str, str], ...]) -> _Plan:
    """The plan for the schema of a frame, whose metadata are no part of a segment."""
    schema = pa.ipc.read_schema(pa.py_buffer(schema_bytes))
    schema = pa.schema([field.remove_metadata() for field in schema])
    if not schema.names or len(set(schema.names)) < len(schema.names):
        raise SchemaError(f"expected columns with distinct names, found {schema.names}")
    chosen = resolve(codecs if isinstance(codecs, str) else dict(codecs), schema)
    return _plan(schema.serialize().to_pybytes(), chosen)


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
    positions = [_position(plan, key) for key in keys]
    size = _batch_rows(table, plan, batch_rows)
    batches = _cut(table, plan, size)
    digests, stored = _store(batches, plan)
    name = rows_digest(plan.schema, table.num_rows, digests)
    firsts = b"" if len(batches) < 2 or not keys else _first_keys(batches, positions)
    head = _HEAD.pack(
        _VERSION,
        plan.packed,
        size,
        table.num_rows,
        len(plan.codecs),
        len(positions),
        len(plan.schema_bytes),
        len(firsts),
    )
    numbers = bytes(CODECS.index(codec) for codec in plan.codecs)
    places = np.array(positions, "<u2").tobytes()
    footer = b"".join((head, numbers, places, plan.schema_bytes, firsts, *digests))
    return Encoded(name, table.num_rows, _write(stored, plan, footer + xxh3_64_digest(footer)))


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


def _position(plan: _Plan, column: str) -> int:
    position = plan.positions.get(column)
    if position is None:
        raise NotFoundError(f"no column {column!r}: the columns are {plan.schema.names}")
    return position


def _batch_rows(table: pa.Table, plan: _Plan, wanted: int | None) -> int:
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


def _cut(table: pa.Table, plan: _Plan, size: int) -> list[pa.RecordBatch]:
    """Batches of `size` rows, copied only where the chunks of `table` lie across."""
    if plan.has_dictionaries:  # a file has one dictionary per column
        table = table.combine_chunks()
    if not table.num_rows:
        return []
    pieces = [table.slice(i, size) for i in range(0, table.num_rows, size)]
    return [_one_batch(piece, plan) for piece in pieces]


def _one_batch(piece: pa.Table, plan: _Plan) -> pa.RecordBatch:
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


def _store(batches: list[pa.RecordBatch], plan: _Plan) -> tuple[list[bytes], list[pa.RecordBatch]]:
    """The block digests of all batches, and the batches as the IPC file is to hold them."""
    if not plan.packed:
        return [digest for batch in batches for digest in block_digests(batch)], batches

    def store(batch: pa.RecordBatch) -> tuple[list[bytes], pa.RecordBatch]:
        pairs = zip(batch.columns, plan.codecs, strict=True)
        columns = [encode_column(column, codec) for column, codec in pairs]
        stored = pa.RecordBatch.from_arrays(columns, schema=plan.ipc_schema)
        return block_digests(batch), stored

    done = _map(store, batches)
    return [digest for digests, _ in done for digest in digests], [batch for _, batch in done]


def _first_keys(batches: list[pa.RecordBatch], positions: list[int]) -> bytes:
    rows = [batch.slice(0, 1).select(positions) for batch in batches]
    keys = pa.Table.from_batches(rows).combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, keys.schema.remove_metadata()) as writer:
        writer.write_table(keys)
    return bytes(sink.getvalue())


def _write(batches: list[pa.RecordBatch], plan: _Plan, footer: bytes) -> tuple[pa.Buffer, ...]:
    metadata = {_FOOTER: b64encode(footer)}
    options = pa.ipc.IpcWriteOptions(compression=plan.compression)
    sink = _Pieces()
    with pa.ipc.new_file(
        pa.PythonFile(sink, "w"), plan.ipc_schema, options=options, metadata=metadata
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


@dataclass(frozen=True, eq=False)
class Segment:
    """An open segment. Immutable, and safe to be read by several threads.

    Methods raise `DamagedError` or `FormatError` for whatever is wrong with the file,
    `NotFoundError` for a column that it does not have, `RangeError` for rows that it does not.
    """

    name: Digest
    num_rows: int
    batch_rows: int
    keys: tuple[str, ...]
    """The columns that rows are sorted by, as given to `encode`."""
    verify: bool
    _plan: _Plan = field(repr=False)
    _reader: pa.ipc.RecordBatchFileReader = field(repr=False)
    _data: pa.Buffer = field(repr=False)
    _digests: bytes = field(repr=False)
    _firsts: bytes = field(repr=False)
    _most: int = field(default=MAX_BATCH_BYTES, repr=False)

    @property
    def schema(self) -> pa.Schema:
        """The schema of the rows, without metadata."""
        return self._plan.schema

    @property
    def codecs(self) -> dict[str, str]:
        """The codec of each column."""
        return dict(zip(self.schema.names, self._plan.codecs, strict=True))

    @property
    def data(self) -> pa.Buffer:
        """The bytes of the file."""
        return self._data

    @property
    def num_batches(self) -> int:
        return -(-self.num_rows // self.batch_rows)

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """The first row of each batch, and at last the number of rows: shape (batches + 1,)."""
        starts = np.arange(self.num_batches + 1, dtype=np.int64) * self.batch_rows
        return np.minimum(starts, self.num_rows)

    @cached_property
    def first_keys(self) -> pa.RecordBatch | None:
        """The keys of the first row of each batch; None without keys or with at most one batch."""
        if not self._firsts:
            return None
        with _naming("the first keys"):
            return self._read_first_keys()

    def batch(
        self, i: int, columns: Sequence[str] | None = None, *, prove: bool = False
    ) -> pa.RecordBatch:
        """The rows of batch `i`, or `columns` of them in the order given; with `prove`, plain
        columns are verified, too."""
        if not 0 <= i < self.num_batches:
            raise RangeError(f"no batch {i}: the segment has {self.num_batches}")
        return self._decode(i, self._positions(columns), full=prove)

    def slice(
        self, start: int, stop: int, columns: Sequence[str] | None = None
    ) -> list[pa.RecordBatch]:
        """The rows from `start` up to, not including, `stop`; no batch beyond is decoded."""
        return read([(self, start, stop, columns)])

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows, or `columns` of them in the order given."""
        batches = self.slice(0, self.num_rows, columns)
        return pa.Table.from_batches(batches, schema=self._schema_of(self._positions(columns)))

    def check(self) -> None:
        """Verify every value, of plain columns also, and the first keys.

        Raises `DamagedError` naming what is wrong, a block and its column where it is one.
        """
        positions = self._positions(None)
        firsts = self.first_keys
        for i in range(self.num_batches):
            batch = self._decode(i, positions, full=True)
            if firsts is None:
                continue
            first = batch.slice(0, 1).select(list(self.keys))
            if block_digests(first) != block_digests(firsts.slice(i, 1)):
                raise DamagedError(f"the first key of batch {i} is not that of its first row")

    def _positions(self, columns: Sequence[str] | None) -> list[int]:
        if columns is None:
            return list(range(len(self._plan.codecs)))
        return [_position(self._plan, column) for column in columns]

    def _schema_of(self, positions: list[int]) -> pa.Schema:
        if positions == list(range(len(self._plan.codecs))):
            return self.schema
        return pa.schema([self.schema.field(i) for i in positions])

    def _run(self, start: int, stop: int, columns: Sequence[str] | None) -> Run:
        """The work to read some rows, of which there are any."""
        size, positions = self.batch_rows, self._positions(columns)
        batches = range(start // size, (stop - 1) // size + 1)
        plan = self._plan
        # Where there is nothing to inflate, or what several threads must not load.
        alone = plan.has_dictionaries or all(plan.codecs[j] == "plain" for j in positions)
        return Run(self, batches, positions, shared=len(batches) > 1 and not alone)

    def _decode(self, i: int, positions: list[int], *, full: bool) -> pa.RecordBatch:
        """Batch `i`."""
        with _naming(f"batch {i} of segment {self.name}"):
            rows = min(self.batch_rows, self.num_rows - i * self.batch_rows)
            stored = self._stored(i)
            columns = [self._column(stored, i, j, rows, full) for j in positions]
            return pa.RecordBatch.from_arrays(columns, schema=self._schema_of(positions))

    def _views(self, batches: range, positions: list[int]) -> list[pa.RecordBatch]:
        """Batches of which nothing is to be shared out among threads."""
        plan = self._plan
        if len(batches) < _FEW or plan.packed or plan.compression or plan.loose:
            return [self._decode(i, positions, full=False) for i in batches]
        with _naming(f"segment {self.name}"):
            stored = pa.Table.from_batches([self._stored(i) for i in batches])
            stored.validate()
            columns = [stored.column(j) for j in positions]
            table = pa.Table.from_arrays(columns, schema=self._schema_of(positions))
            return [*table.to_batches()]

    def _prepare(self, run: Run) -> None:
        """What is common to the batches of a run."""
        count = len(run.batches)
        run.others = {j: [None] * count for j in run.positions if j not in run.rooms}
        run.bits = {j: [None] * count for j in run.rooms}
        if run.rooms:
            with _naming(f"segment {self.name}"):
                stored = [self._stored(i) for i in run.batches]
                for j in run.rooms:
                    values = pa.concat_arrays([batch.column(j) for batch in stored])
                    run.files[j] = PcoFiles(values, self.schema.types[j])

    def _decode_into(self, run: Run, i: int, *, full: bool = False) -> None:
        """Batch `i` of a run."""
        with _naming(f"batch {i} of segment {self.name}"):
            rows = min(self.batch_rows, self.num_rows - i * self.batch_rows)
            nth = i - run.batches.start
            stored = self._stored(i) if len(run.files) < len(run.positions) else None
            for j in run.positions:
                if j in run.files:
                    run.bits[j][nth] = self._inflate(
                        run.files[j], i, nth, j, run.part(j, nth, rows)
                    )
                else:
                    run.others[j][nth] = self._column(stored, i, j, rows, full)

    def _inflate(
        self, files: PcoFiles, i: int, nth: int, j: int, out: NDArray[Any]
    ) -> pa.Buffer | None:
        """Column `j` of batch `i`, the nth of the files, into its place; returns the validity."""
        bits = files.inflate(nth, out)
        if not self.verify:
            return bits
        if bits is None:
            self._compare(values_digests(out.view(np.uint8).data, out.itemsize), i, j)
        else:
            buffers = [bits, pa.py_buffer(out)]
            self._prove(pa.Array.from_buffers(self.schema.types[j], len(out), buffers), i, j)
        return bits

    @cached_property
    def _blocks(self) -> list[Block]:
        """Where the record batches are; the dictionaries have been proved."""
        data = memoryview(self._data)
        dictionaries, batches = file_blocks(data)
        for block in dictionaries:
            _refuse_bomb(file_message(data, block), self._most)
        return batches

    def _stored(self, i: int) -> pa.RecordBatch:
        """IPC record batch `i`, as it is in the file."""
        rows = min(self.batch_rows, self.num_rows - i * self.batch_rows)
        rows = 1 if self._plan.packed else rows
        limit = self._limit(self.schema.types, rows) if self._plan.compression else 0
        _refuse_bomb(file_message(memoryview(self._data), self._blocks[i]), limit)
        stored = self._reader.get_batch(i)
        if stored.num_rows != rows:
            raise DamagedError(f"expected {rows} rows, found {stored.num_rows}")
        return stored

    def _column(self, stored: pa.RecordBatch, i: int, j: int, rows: int, full: bool) -> pa.Array:
        codec, type_ = self._plan.codecs[j], self.schema.types[j]
        recent = _recent.get(j)
        if recent is not None and recent[0] is self and recent[1] == i and not full:
            return recent[2]
        array = stored.column(j)
        if self._plan.packed:
            array = decode_column(array, type_, codec, rows, self._limit([type_], rows))
        array.validate(full=j in self._plan.loose)
        if full or (self.verify and codec != "plain"):
            self._prove(array, i, j)
        if self._plan.packed:
            _recent[j] = (self, i, array)
        return array

    def _limit(self, types: Sequence[pa.DataType], rows: int) -> int:
        return min(size_limit(types, rows), self._most)

    def _prove(self, array: pa.Array, i: int, j: int) -> None:
        """Compare the blocks of column `j` in batch `i` with their digests."""
        if j not in self._plan.loose:
            _prove_null_count(array)
        self._compare(column_digests(array), i, j)

    def _compare(self, digests: Sequence[bytes], i: int, j: int) -> None:
        first, width = i * self.batch_rows // BLOCK, len(self._plan.codecs)
        for block, found in enumerate(digests, first):
            start = (block * width + j) * _DIGEST
            if found != self._digests[start : start + _DIGEST]:
                raise DamagedError(f"block {block} of column {self.schema.names[j]!r} is damaged")

    def _read_first_keys(self) -> pa.RecordBatch:
        for message in pa.ipc.MessageReader.open_stream(self._firsts):
            parts = memoryview(message.metadata), memoryview(message.body or b"")
            _refuse_bomb(parts, 0)
        keys = pa.ipc.open_stream(self._firsts).read_all().combine_chunks()
        expected = self._schema_of(self._positions(self.keys))
        if not keys.schema.equals(expected) or keys.num_rows != self.num_batches:
            raise DamagedError(f"expected {self.num_batches} of {expected.names}")
        keys.validate(full=True)
        return keys.to_batches()[0]


class Run:
    """Batches of a segment that are to be read one after the other.

    If `shared`, they are decoded each by some thread, and columns of `pco` into memory for all of
    them, so that they come back as one batch; as long as they all are `pco`.
    """

    def __init__(
        self, segment: Segment, batches: range, positions: list[int], *, shared: bool
    ) -> None:
        self.segment = segment
        self.batches = batches
        self.positions = positions
        self.shared = shared
        last = min(batches.stop * segment.batch_rows, segment.num_rows)
        self.rows = last - batches.start * segment.batch_rows
        self.files: dict[int, PcoFiles] = {}
        self.rooms: dict[int, NDArray[Any]] = {}
        self.bits: dict[int, list[pa.Buffer | None]] = {}
        self.others: dict[int, list[pa.Array]] = {}

    @property
    def packed(self) -> list[int]:
        """The columns for which memory is wanted."""
        codecs = self.segment._plan.codecs
        return [j for j in self.positions if codecs[j] == "pco"] if self.shared else []

    def part(self, j: int, nth: int, rows: int) -> NDArray[Any]:
        start = nth * self.segment.batch_rows
        return self.rooms[j][start : start + rows]

    def found(self, start: int, stop: int) -> list[pa.RecordBatch]:
        """The rows from `start` to `stop` of the segment."""
        segment, size = self.segment, self.segment.batch_rows
        batches = self._joined() if self.shared else segment._views(self.batches, self.positions)
        first = self.batches.start * size
        if stop < first + self.rows:
            batches[-1] = batches[-1].slice(0, batches[-1].num_rows - (first + self.rows - stop))
        if start > first:
            batches[0] = batches[0].slice(start - first)
        return batches

    def _joined(self) -> list[pa.RecordBatch]:
        schema, size = self.segment._schema_of(self.positions), self.segment.batch_rows
        whole = {j: self._array(j) for j in self.rooms}
        if not self.others:
            return [pa.RecordBatch.from_arrays([whole[j] for j in self.positions], schema=schema)]
        return [
            pa.RecordBatch.from_arrays(
                [
                    whole[j].slice(nth * size, size) if j in whole else self.others[j][nth]
                    for j in self.positions
                ],
                schema=schema,
            )
            for nth in range(len(self.batches))
        ]

    def _array(self, j: int) -> pa.Array:
        """A column."""
        found, size, validity = self.bits[j], self.segment.batch_rows, None
        if any(bits is not None for bits in found):
            flags = np.ones(self.rows, np.uint8)
            for at, bits in zip(range(0, self.rows, size), found, strict=True):
                if bits is not None:
                    part = flags[at : at + size]
                    packed = np.frombuffer(bits, np.uint8)
                    part[:] = np.unpackbits(packed, count=len(part), bitorder="little")
            validity = pa.py_buffer(np.packbits(flags, bitorder="little"))
        buffers = [validity, pa.py_buffer(self.rooms[j])]
        return pa.Array.from_buffers(self.segment.schema.types[j], self.rows, buffers)


Rows = tuple[Segment, int, int, Sequence[str] | None]


def read(parts: Iterable[Rows]) -> list[pa.RecordBatch]:
    """The rows of slices of segments, one slice after the other, each given as the segment, its
    first row, the one after its last, and columns, None for all. It is `Segment.slice` of each,
    but that what is to be inflated is so by several threads, into memory for all of it."""
    wanted = []
    for segment, start, stop, columns in parts:
        if not 0 <= start <= stop <= segment.num_rows:
            raise RangeError(f"no rows {start} to {stop}: the segment has {segment.num_rows}")
        if start < stop:
            wanted.append((segment._run(start, stop, columns), start, stop))
    shared = [run for run, _, _ in wanted if run.shared]
    if shared:
        _give_room(shared)
        count = sum(len(run.batches) for run in shared)
        _work(lambda step: step[0].segment._decode_into(*step), _steps(shared), count)
    return [batch for run, start, stop in wanted for batch in run.found(start, stop)]


def _give_room(runs: Sequence[Run]) -> None:
    """The runs' columns of one type, the nth of each, get their memory in one."""
    alike: dict[tuple[int, pa.DataType], list[tuple[Run, int]]] = {}
    for run in runs:
        for nth, j in enumerate(run.packed):
            alike.setdefault((nth, run.segment.schema.types[j]), []).append((run, j))
    for (_, type_), users in alike.items():
        memory, at = room(type_, sum(run.rows for run, _ in users)), 0
        for run, j in users:
            run.rooms[j] = memory[at : at + run.rows]
            at += run.rows


def _steps(runs: Iterable[Run]) -> Iterator[tuple[Run, int]]:
    for run in runs:
        run.segment._prepare(run)
        yield from ((run, i) for i in run.batches)


def open_segment(
    data: pa.Buffer,
    name: Digest | None = None,
    *,
    verify: bool = True,
    most: int = MAX_BATCH_BYTES,
) -> Segment:
    """Open a segment, decoding none of its rows.

    With `name`, the file must be the one of that name: this is proved by its digests, against
    which whatever is decoded is then proved. `verify=False` trusts both. `most`: bytes that a
    batch, or in a packed segment a column of one, may be decompressed to. Raises `DamagedError`
    for bytes that are no segment or not of this name, `FormatError` for a later version's.

    >>> encoded = encode(pa.table({"time": range(20_000)}), "packed", keys=["time"])
    >>> segment = open_segment(encoded.data, encoded.name)
    >>> segment.num_rows, segment.offsets.tolist(), segment.first_keys["time"].to_pylist()
    (20000, [0, 16384, 20000], [0, 16384])
    """
    with _naming(f"segment {name}" if name else "a segment"):
        segment = _open(data, name, verify, most)
    if name is not None and segment.name != name:
        raise DamagedError(f"segment {name} holds the rows of {segment.name}")
    return segment


def _open(data: pa.Buffer, name: Digest | None, verify: bool, most: int) -> Segment:
    # Without threads of its own: batches are decoded by ours, where there are many.
    reader = pa.ipc.open_file(data, options=_ALONE)
    footer = _footer(reader.metadata)
    version, packed, size, rows, width, num_keys, schema_len, firsts_len = _HEAD.unpack_from(footer)
    if version != _VERSION or packed > 1:
        raise FormatError(
            f"a segment of format {version}, layout {packed}: this release reads format {_VERSION}"
        )
    parts = _split(footer, _HEAD.size, (width, 2 * num_keys, schema_len, firsts_len))
    numbers, places, schema, firsts, digests = parts
    if not numbers or max(numbers) >= len(CODECS):
        raise FormatError(f"a codec unknown to this release, which has {', '.join(CODECS)}")
    plan = _plan(schema, tuple(CODECS[number] for number in numbers))
    if plan.packed != packed or not 0 < size <= MAX_BATCH_ROWS or size % BLOCK:
        raise DamagedError("a footer that contradicts itself")
    if len(digests) != -(-rows // BLOCK) * width * _DIGEST:
        raise DamagedError(f"{len(digests)} bytes of digests for {rows} rows")
    if reader.num_record_batches != -(-rows // size):
        raise DamagedError(f"{reader.num_record_batches} batches for {rows} rows")
    if not reader.schema.equals(plan.ipc_schema):
        raise DamagedError("a schema that is not that of the footer")
    found = name if name and not verify else rows_digest(plan.schema, rows, [digests])
    keys = tuple(plan.schema.names[i] for i in np.frombuffer(places, "<u2").tolist())
    return Segment(found, rows, size, keys, verify, plan, reader, data, digests, firsts, most)


def _footer(metadata: Mapping[bytes, bytes] | None) -> bytes:
    """The footer blob, of which the checksum is right and cut off."""
    encoded = (metadata or {}).get(_FOOTER.encode())
    if encoded is None:
        raise DamagedError("an Arrow file, but without the footer of a segment")
    footer = b64decode(encoded, validate=True)
    body, checksum = footer[:-8], footer[-8:]
    if len(body) < _HEAD.size or xxh3_64_digest(body) != checksum:
        raise DamagedError("a footer that does not match its checksum")
    return body


def _split(data: bytes, start: int, sizes: Iterable[int]) -> list[bytes]:
    """Pieces of `data` of these sizes, and the rest."""
    pieces = []
    for size in sizes:
        pieces.append(data[start : start + size])
        start += size
    if start > len(data):
        raise DamagedError("a footer that is too short")
    return [*pieces, data[start:]]


def _refuse_bomb(message: tuple[memoryview, memoryview], limit: int) -> None:
    size = inflated_size(*message)
    if size > limit:
        raise DamagedError(f"declares {size} bytes, but its rows need at most {limit}")


def _prove_null_count(array: pa.Array) -> None:
    """That a file's number of nulls is what its validity says: digests go by validity."""
    if array.null_count and array.type.id != _NULL:
        parts = array.type, len(array), array.buffers()
        if pa.Array.from_buffers(*parts, -1, array.offset).null_count != array.null_count:
            raise DamagedError("a wrong number of nulls")


_NULL = pa.null().id


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """Errors in reading a file say what of it was being read."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        raise _damaged(what, error) from error


def _damaged(what: str, error: Exception) -> LakotaError:
    """The error for what went wrong in reading a file."""
    if isinstance(error, DamagedError | FormatError):
        return type(error)(f"{what}: {error}")
    if isinstance(error, SchemaError):
        return FormatError(f"{what}: {error}")
    return DamagedError(f"{what}: {type(error).__name__}: {error}")


_recent: dict[int, tuple[Segment, int, pa.Array]] = {}
"""The column last decoded for each position: who has searched the keys of a batch reads it next."""

_pools: dict[int, ThreadPoolExecutor] = {}


def _map(function: Callable[[_T], _R], items: Sequence[_T]) -> list[_R]:
    """`function` of each item, by several threads."""
    found: dict[int, _R] = {}

    def act(at: int) -> None:
        found[at] = function(items[at])

    _work(act, iter(range(len(items))), len(items))
    return [found[at] for at in range(len(items))]


def _work(act: Callable[[_T], None], items: Iterator[_T], count: int) -> None:
    """`act` on each of `count` items; on four or more by several threads, of which this is one.
    The first error ends it, and is raised once nothing of it goes on any more."""
    lock, failed = threading.Lock(), threading.Event()

    def work() -> None:
        try:
            while not failed.is_set():
                with lock:
                    item = next(items, None)
                if item is None:
                    return
                act(item)
        except BaseException:
            failed.set()
            raise

    workers = min(os.cpu_count() or 1, count // 2)
    others = [_pool().submit(work) for _ in range(workers - 1)]
    try:
        work()
    finally:
        running = [other for other in others if not other.cancel()]
        wait(running)
    for other in running:
        other.result()


def _pool() -> ThreadPoolExecutor:
    pid = os.getpid()  # the threads of a parent do not exist in a forked child
    workers = os.cpu_count() or 1
    return _pools.get(pid) or _pools.setdefault(pid, ThreadPoolExecutor(workers, "lakota-codec"))
