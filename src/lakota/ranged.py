"""Segments of a remote store, of which only what is read is fetched.

The last TAIL bytes come first: they hold the footer, which says where each batch is, and of a
small segment they are all of it. Batches follow by ranges, as they are decoded. The bytes lie in
anonymous memory of the size of the object, which takes room only where something was put; so
whatever reads a segment that is all there reads this one, too.

An object may be replaced meanwhile by another encoding of the same rows (`pack`). The store tells
so, and the new object is then read instead, as a whole: rows keep their numbers, whatever batches
they are in. All that is decoded is verified, plain columns also, since it came over a network.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields

import pyarrow as pa

from .codecs import file_blocks
from .digest import Digest
from .errors import DamagedError, ObjectMissingError
from .segment import Run, Segment, open_segment
from .store.base import TAIL, ReplacedError, Store, Tail

__all__ = ["MissingObjectError", "RangedSegment", "Span", "open_ranged"]

Span = tuple[int, int]

GAP = 1 << 17
"""Bytes that are fetched although nobody needs them, where it saves a request."""
MOST = 1 << 23
"""Bytes of one request; more are several at once."""
ATTEMPTS = 3


class MissingObjectError(DamagedError):
    """A revision refers to an object that is not there: it was trimmed and collected while it
    was being read, or it is lost."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} is missing: a revision refers to it. If its history was trimmed meanwhile, "
            "read again; otherwise pull from a replica that has it, and see check()"
        )


class Source:
    """The bytes of an object, as far as they are here. Threads may share it."""

    def __init__(self, store: Store, name: str, tail: Tail) -> None:
        self.store, self.name, self.version = store, name, tail.version
        start = tail.size - tail.data.size
        self.whole = start <= 0
        self._have: list[Span] = [(start, tail.size)]
        self._fetched: list[Span] = []
        self._lock = threading.Lock()
        if self.whole:
            self.data = tail.data
            return
        self._memory = mmap.mmap(-1, tail.size)
        self._memory[start:] = memoryview(tail.data).cast("B")
        self.data = pa.py_buffer(memoryview(self._memory).toreadonly())

    def missing(self, wanted: Iterable[Span]) -> list[Span]:
        """What of these spans is not here, in pieces that are each worth a request."""
        with self._lock:
            have = list(self._have)
        found: list[Span] = []
        for start, stop in _joined(part for span in wanted for part in _outside(span, have)):
            found.extend((at, min(at + MOST, stop)) for at in range(start, stop, MOST))
        return found

    def fetch(self, spans: Sequence[Span]) -> None:
        """Have these spans here. Raises `ReplacedError`."""
        if not spans:
            return
        try:
            pieces = self.store.ranges(self.name, spans, self.version)
        except ObjectMissingError as error:
            raise MissingObjectError(self.name) from error
        for (start, stop), piece in zip(spans, pieces, strict=True):
            self._memory[start:stop] = memoryview(piece).cast("B")
        with self._lock:
            self._have = _united([*self._have, *spans])
            self._fetched.extend(spans)

    def refuse(self) -> bool:
        """Whatever copies were kept of it are damaged. Whether there may have been any."""
        with self._lock:
            self._have = []
        return self.store.forget(self.name, self.version, list(self._fetched))


@dataclass(frozen=True, eq=False)
class RangedSegment(Segment):
    """A segment that fetches what it decodes."""

    _source: Source = field(repr=False, kw_only=True)
    _newer: list[Segment] = field(repr=False, kw_only=True)
    """The segment as it was found when it had been replaced; empty until then."""

    def missing(self, rows: Iterable[tuple[int, int]]) -> list[Span]:
        """The bytes that rows from `start` to `stop` need and that are not here."""
        if self._newer:
            return []
        size = self.batch_rows
        spans = (range(lo // size, (hi - 1) // size + 1) for lo, hi in rows if lo < hi)
        return self._missing({batch for span in spans for batch in span})

    def fetch(self, spans: Sequence[Span]) -> None:
        """Have these bytes here."""
        try:
            self._source.fetch(spans)
        except ReplacedError:
            self._renew()

    def _missing(self, batches: Iterable[int]) -> list[Span]:
        blocks = (self._blocks[i] for i in batches)
        return self._source.missing((at, at + head + body) for at, head, body in blocks)

    def _renew(self) -> None:
        if not self._newer:
            source = self._source
            whole = _whole(source.store, source.name)
            self._newer.append(_ranged(whole, self.name, verify=self.verify))

    def _run(self, start: int, stop: int, columns: Sequence[str] | None) -> Run:
        run = super()._run(start, stop, columns)
        if not self._at_hand(run.batches):
            run.shared = False
        return run

    def _views(self, batches: range, positions: list[int]) -> list[pa.RecordBatch]:
        return [self._decode(i, positions, full=False) for i in batches]

    def _prepare(self, run: Run) -> None:
        with self._refusing():
            super()._prepare(run)

    def _decode_into(self, run: Run, i: int, *, full: bool = False) -> None:
        with self._refusing():
            super()._decode_into(run, i, full=full or self.verify)

    def _decode(self, i: int, positions: list[int], *, full: bool) -> pa.RecordBatch:
        if self._at_hand([i]):
            with self._refusing():
                return super()._decode(i, positions, full=full or self.verify)
        names = [self.schema.names[j] for j in positions]
        start, stop = int(self.offsets[i]), int(self.offsets[i + 1])
        found = self._newer[0].slice(start, stop, names)
        return pa.Table.from_batches(found).combine_chunks().to_batches()[0]

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Whoever reads again what is damaged reads what is there then."""
        try:
            yield
        except DamagedError:
            self._source.refuse()
            self._latest.clear()
            raise

    def _at_hand(self, batches: Sequence[int]) -> bool:
        """Fetch what is missing of batches; False if it is not to be had any more."""
        missing = self._missing(batches)
        if missing and not self._newer:
            if self._source.whole:
                self._renew()
            else:
                self.fetch(missing)
            missing = self._missing(batches)
        return not missing


def open_ranged(store: Store, name: str, digest: Digest, *, verify: bool = True) -> Segment:
    """Open the segment `digest`, which is stored as `name`: a request, two if its footer is long.

    Raises as `open_segment`, and `MissingObjectError`.
    """
    for _ in range(ATTEMPTS):
        source = Source(store, name, _tail(store, name))
        try:
            return _ranged(source, digest, verify=verify)
        except ReplacedError:
            continue
        except DamagedError:
            if not source.refuse():
                raise
    return _ranged(_whole(store.origin, name), digest, verify=verify)


def _ranged(source: Source, digest: Digest, *, verify: bool) -> Segment:
    if source.missing([(0, source.data.size)]):
        source.fetch(source.missing(_dictionaries(source.data)))
    opened = open_segment(source.data, digest, verify=verify)
    parts = {part.name: getattr(opened, part.name) for part in fields(Segment)}
    return RangedSegment(**parts, _source=source, _newer=[])


def _tail(store: Store, name: str) -> Tail:
    """The end of a segment, footer and all."""
    try:
        tail = store.tail(name, TAIL)
        needed = _footer_bytes(tail.data)
        if tail.data.size < needed <= tail.size:
            tail = store.tail(name, needed)
    except ObjectMissingError as error:
        raise MissingObjectError(name) from error
    return tail


def _whole(store: Store, name: str) -> Source:
    try:
        data = store.get(name)
    except ObjectMissingError as error:
        raise MissingObjectError(name) from error
    return Source(store, name, Tail(data, data.size, None))


def _footer_bytes(data: pa.Buffer) -> int:
    """How long the footer of an Arrow file is, with what follows it."""
    return 10 + int.from_bytes(memoryview(data)[-10:-6].cast("B"), "little")


def _dictionaries(data: pa.Buffer) -> list[Span]:
    try:
        blocks, _ = file_blocks(memoryview(data).cast("B"))
    except Exception:
        return []  # no Arrow file; whoever opens it says so
    return [(at, at + head + body) for at, head, body in blocks]


def _outside(span: Span, have: Sequence[Span]) -> Iterable[Span]:
    """The parts of a span that none of the spans `have`, sorted and disjoint, covers."""
    at, end = span
    for start, stop in have:
        if stop <= at or start >= end:
            continue
        if at < start:
            yield at, start
        at = max(at, stop)
    if at < end:
        yield at, end


def _joined(spans: Iterable[Span]) -> list[Span]:
    """Sorted, and joined where little is between them."""
    found: list[Span] = []
    for start, stop in sorted(spans):
        if found and start - found[-1][1] <= GAP:
            found[-1] = (found[-1][0], max(stop, found[-1][1]))
        else:
            found.append((start, stop))
    return found


def _united(spans: Iterable[Span]) -> list[Span]:
    """Sorted and disjoint."""
    found: list[Span] = []
    for start, stop in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(stop, found[-1][1]))
        else:
            found.append((start, stop))
    return found
