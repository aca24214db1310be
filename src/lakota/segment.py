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

In both, the IPC file's footer metadata hold ours: see `footer`.

So opening a segment proves its name by the digests alone, and each part that is decoded is
proved by its digests, whichever columns and batches these are. `plain` columns are views of the
file's bytes and are not read to be verified, only so far that following their offsets is safe;
`Segment.check` verifies everything.

Nothing in a file is trusted: whatever is wrong with it raises `DamagedError`, or `FormatError`
where it may come from a later version, and no size is allocated because a file says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .codecs import (
    MAX_BATCH_BYTES,
    Block,
    PcoFiles,
    decode_column,
    file_blocks,
    file_message,
    inflated_size,
    room,
    size_limit,
)
from .digest import (
    BLOCK,
    DIGEST_BYTES,
    Digest,
    block_digests,
    column_digests,
    rows_digest,
    values_digests,
)
from .errors import (
    DamagedError,
    FormatError,
    LakotaError,
    RangeError,
    SchemaError,
)
from .footer import Footer, Plan
from .workers import share

__all__ = ["Run", "Segment", "open_segment", "read"]

_FEW: Final = 4
"""Fewer batches are better taken one by one."""

_ALONE: Final = pa.ipc.IpcReadOptions(use_threads=False)


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
    _plan: Plan = field(repr=False)
    _reader: pa.ipc.RecordBatchFileReader = field(repr=False)
    _data: pa.Buffer = field(repr=False)
    _digests: bytes = field(repr=False)
    _firsts: bytes = field(repr=False)
    _most: int = field(default=MAX_BATCH_BYTES, repr=False)
    _latest: dict[str, tuple[int, pa.RecordBatch]] = field(default_factory=dict, repr=False)
    """The plain batch that was looked at last: a range looks for both of its ends, then reads."""

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
        return [self._plan.position(column) for column in columns]

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
        latest = self._latest.get("plain")
        if latest is not None and latest[0] == i:
            return latest[1]
        rows = min(self.batch_rows, self.num_rows - i * self.batch_rows)
        rows = 1 if self._plan.packed else rows
        limit = self._limit(self.schema.types, rows) if self._plan.compression else 0
        _refuse_bomb(file_message(memoryview(self._data), self._blocks[i]), limit)
        stored = self._reader.get_batch(i)
        if stored.num_rows != rows:
            raise DamagedError(f"expected {rows} rows, found {stored.num_rows}")
        if not (self._plan.packed or self._plan.compression):  # views, which take no memory
            self._latest["plain"] = i, stored
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
            start = (block * width + j) * DIGEST_BYTES
            if found != self._digests[start : start + DIGEST_BYTES]:
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
        share(lambda step: step[0].segment._decode_into(*step), _steps(shared), count)
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

    >>> from lakota.encoding import encode
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
    plan, size, rows, places, firsts, digests = Footer.unseal(reader.metadata)
    if reader.num_record_batches != -(-rows // size):
        raise DamagedError(f"{reader.num_record_batches} batches for {rows} rows")
    if not reader.schema.equals(plan.ipc_schema):
        raise DamagedError("a schema that is not that of the footer")
    found = name if name and not verify else rows_digest(plan.schema, rows, [digests])
    keys = tuple(plan.schema.names[i] for i in places)
    return Segment(found, rows, size, keys, verify, plan, reader, data, digests, firsts, most)


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
