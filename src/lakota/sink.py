"""Writing what is larger than memory: rows that come in key order, frame after frame.

Rows are gathered until a segment is full, which is then encoded and stored while the next is
gathered; so no more than a few segments are in memory. What is stored belongs to nothing until
the last frame was there and one commit makes all of it visible: a source that fails, or that is
out of order, has written nothing, and `gc` frees what it left behind.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import polars as pl
import pyarrow as pa

from .bounds import key_cuts
from .digest import BLOCK, Digest
from .encoding import encode
from .errors import FrameError
from .interval import Cut, Interval
from .layout import SEGMENT_ROWS, key_ends
from .site import Site
from .transaction import WORKERS
from .writes import Stored, Write

__all__ = ["Sink", "frames_of"]

CHUNK_ROWS = 131_072
"""Rows of the frames that a LazyFrame is asked for."""
SEGMENT_BYTES = 1 << 28
"""Where rows are long, a segment has fewer of them."""


def frames_of(source: Any) -> Iterator[Any]:
    """The frames of a source, one at a time: a LazyFrame, a record batch reader, a dataset,
    anything with `__arrow_c_stream__`, or an iterable of frames. Where the columns are known
    before the first rows, an empty frame of them comes first. Raises `FrameError`."""
    if isinstance(source, pl.LazyFrame):
        yield source.collect_schema().to_frame()
        yield from source.collect_batches(chunk_size=CHUNK_ROWS, maintain_order=True, lazy=True)
    elif isinstance(source, Mapping) or hasattr(source, "iloc"):  # columns, or a pandas frame
        yield source
    elif hasattr(source, "__arrow_c_stream__") or hasattr(source, "to_batches"):
        known = isinstance(source, pa.RecordBatchReader) or not hasattr(source, "to_batches")
        stream = known and not isinstance(source, pa.RecordBatchReader)
        reader = pa.RecordBatchReader.from_stream(source) if stream else source
        yield pa.Table.from_batches([], reader.schema)
        yield from reader if known else reader.to_batches()
    elif isinstance(source, Iterable) and not isinstance(source, str | bytes):
        yield from source
    else:
        raise FrameError(
            f"cannot stream from {type(source).__name__}: expected a LazyFrame, a record batch "
            "reader or an iterable of frames"
        )


class Sink:
    """A write of rows that come in key order. Use as a context; `write` at the end."""

    def __init__(self, site: Site, label: str) -> None:
        self._site = site
        self._label = label
        self._pool = ThreadPoolExecutor(WORKERS, "lakota-sink")
        self._storing: deque[Future[Digest]] = deque()
        self._done: list[tuple[Cut, Digest, int]] = []
        self._sizes: deque[tuple[Cut, int]] = deque()
        self._waiting: list[pa.Table] = []
        self._last: Cut | None = None
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def follows(self, table: pa.Table) -> bool:
        """Whether the first key of `table` is not before the last one that is here."""
        (first,), _ = key_cuts(table, self._site.shown, [0], [0])
        return self._last is None or first >= self._last

    def add(self, table: pa.Table) -> None:
        """Rows in key order, with the columns of the schema, that follow those that are here."""
        if not self.follows(table):
            names = self._site.shown.index
            raise FrameError(
                f"row {self.rows:,} of the source, with the key "
                f"{ {name: table.column(name)[0].as_py() for name in names} }, belongs before rows "
                f"that came earlier: expected rows in the order of {', '.join(names)}; sort the "
                "source first, as with lazyframe.sort, or pass it to write()"
            )
        (last,), _ = key_cuts(table, self._site.shown, [table.num_rows - 1], [0])
        self._last = last
        self.rows += table.num_rows
        self._waiting.append(table)
        self._store_full()

    def tables(self) -> Iterator[pa.Table]:
        """What came so far, from the store and from memory."""
        self._wait(0)
        for _, name, _ in self._done:
            table = self._site.objects.segment(name).table()
            yield table.rename_columns(list(self._site.shown.names))
        yield from self._waiting

    def write(self, interval: Interval) -> Write:
        """All of it as a write of `interval`, for one commit."""
        nothing = pa.Table.from_batches([], self._site.shown.arrow)
        table = pa.concat_tables(self._waiting) if self._waiting else nothing
        if not self._done and not self._storing:
            return Write(self._label, interval, table, 0, table.num_rows)
        if table.num_rows:
            self._store(table)
        self._wait(0)
        cuts = [interval.lo, *(lo for lo, _, _ in self._done[1:]), interval.hi]
        stored = tuple(
            Stored(Interval(lo, hi), name, rows)
            for (_, name, rows), lo, hi in zip(self._done, cuts, cuts[1:], strict=False)
        )
        return Write(self._label, interval, nothing, 0, 0, stored=stored)

    def _store_full(self) -> None:
        """Store segments as long as there are enough rows for one."""
        rows = sum(table.num_rows for table in self._waiting)
        size = sum(table.nbytes for table in self._waiting)
        full = min(SEGMENT_ROWS, max(rows * SEGMENT_BYTES // max(size, 1), BLOCK))
        while rows > full:
            table = pa.concat_tables(self._waiting)
            cut = key_ends(table, self._site.shown.index, full, rows)
            if cut == rows:  # as many equal keys: perhaps more of them follow
                return
            self._store(table.slice(0, cut))
            self._waiting = [table.slice(cut)]
            rows -= cut

    def _store(self, table: pa.Table) -> None:
        site = self._site
        (lo,), _ = key_cuts(table, site.shown, [0], [0])
        stored = table.rename_columns(site.stored(table.column_names))

        def store() -> Digest:
            segment = encode(stored, site.codecs(stored.column_names), keys=site.schema.index)
            site.objects.put({segment.name: segment.pieces}, {})
            return segment.name

        self._wait(WORKERS - 1)
        self._sizes.append((lo, table.num_rows))
        self._storing.append(self._pool.submit(store))

    def _wait(self, most: int) -> None:
        """Until no more than `most` segments are being stored."""
        while len(self._storing) > most:
            name = self._storing.popleft().result()
            lo, rows = self._sizes.popleft()
            self._done.append((lo, name, rows))
