"""Where the rows of a commit go: into which segments, at which offset. Pure.

A commit hands in *pieces*: an extent that has no place yet, and the rows it shall have. Small
pieces share segments, in label order; a piece larger than a segment is cut between keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import sub
from typing import Any, NamedTuple

import pyarrow as pa

from .extent import Extent, Extents
from .interval import Cut, before
from .physical import physical_values

__all__ = ["SEGMENT_ROWS", "Draft", "Piece", "Pieces", "drafts", "key_ends", "place"]

SEGMENT_ROWS = 1 << 20
"""About how many rows a segment has at most; more only for so many equal keys."""


class Piece(NamedTuple):
    """Rows `start` to `stop` of `table`, wanted by `extent`."""

    extent: Extent
    table: pa.Table
    start: int
    stop: int

    @property
    def rows(self) -> int:
        return self.stop - self.start


class Pieces(NamedTuple):
    """Many pieces, column by column."""

    extents: Extents
    tables: Sequence[pa.Table]
    starts: Sequence[int]
    stops: Sequence[int]

    @classmethod
    def of(cls, pieces: Iterable[Piece]) -> Pieces:
        extents, *others = zip(*pieces, strict=True)
        return cls(Extents.of(extents), *others)

    def each(self) -> Iterator[Piece]:
        return map(Piece, self.extents.each(), self.tables, self.starts, self.stops)

    def take(self, positions: Sequence[int]) -> Pieces:
        if len(positions) == len(self.starts):
            return self
        columns = ([column[i] for i in positions] for column in self[1:])
        return Pieces(self.extents.take(positions), *columns)

    def part(self, start: int, stop: int) -> Pieces:
        return Pieces(self.extents.part(start, stop), *(c[start:stop] for c in self[1:]))

    @property
    def rows(self) -> list[int]:
        """How many rows each has."""
        return list(map(sub, self.stops, self.starts))


@dataclass(frozen=True, slots=True)
class Draft:
    """The pieces of one segment, in order."""

    pieces: Pieces

    def table(self) -> pa.Table:
        """The rows of the segment; pieces that lie side by side are taken in one."""
        spans: list[tuple[pa.Table, int, int]] = []
        _, tables, starts, stops = self.pieces
        last, first, end = tables[0], starts[0], starts[0]
        for table, start, stop in zip(tables, starts, stops, strict=True):
            if table is not last or start != end:
                spans.append((last, first, end))
                last, first = table, start
            end = stop
        spans.append((last, first, end))
        found = [
            table if stop - start == table.num_rows else table.slice(start, stop - start)
            for table, start, stop in spans
        ]
        return found[0] if len(found) == 1 else pa.concat_tables(found).combine_chunks()


def drafts(pieces: Pieces, index: Sequence[str]) -> Iterator[Draft]:
    """Share out the pieces, which have rows, among segments, whose rows have the same columns."""
    if max(pieces.rows, default=0) > SEGMENT_ROWS:
        pieces = Pieces.of(part for piece in pieces.each() for part in _split(piece, index))
    by_columns: dict[tuple[str, ...], list[int]] = {}
    alike: list[int] = []
    last: pa.Table | None = None
    for at, table in enumerate(pieces.tables):
        if table is not last:  # the writes of a bulk load share one table
            last = table
            alike = by_columns.setdefault(tuple(table.column_names), [])
        alike.append(at)
    for positions in by_columns.values():
        yield from _filled(pieces.take(positions))


def _filled(pieces: Pieces) -> Iterator[Draft]:
    """Drafts of no more than SEGMENT_ROWS rows, where there is more than one piece."""
    start = total = 0
    for at, rows in enumerate(pieces.rows):
        total += rows
        if total > SEGMENT_ROWS and at > start:
            yield Draft(pieces.part(start, at))
            start, total = at, rows
    yield Draft(pieces.part(start, len(pieces.starts)) if start else pieces)


def place(draft: Draft, segment: bytes) -> Extents:
    """The extents of a draft, once its segment has a name."""
    rows = draft.pieces.rows
    offsets = list(accumulate(rows, initial=0))[:-1]
    return draft.pieces.extents._replace(segment=[segment] * len(rows), offset=offsets, length=rows)


def _split(piece: Piece, index: Sequence[str]) -> Iterator[Piece]:
    """Cut a piece between keys so that each part fits a segment."""
    while piece.rows > SEGMENT_ROWS:
        row = key_ends(piece.table, index, piece.start + SEGMENT_ROWS, piece.stop)
        if row == piece.stop:
            break
        cut = _cut_before(piece.table, index, row)
        extent = piece.extent
        yield piece._replace(extent=extent._replace(hi=cut), stop=row)
        piece = piece._replace(extent=extent._replace(lo=cut), start=row)
    yield piece


def key_ends(table: pa.Table, index: Sequence[str], row: int, stop: int) -> int:
    """The first row from `row` on, at most `stop`, whose key differs from the one before."""
    last = _key(table, index, row - 1)
    lo, hi = row, stop
    while lo < hi:  # rows are sorted: equal keys lie side by side
        middle = (lo + hi) // 2
        if _key(table, index, middle) == last:
            lo = middle + 1
        else:
            hi = middle
    return lo


def _key(table: pa.Table, index: Sequence[str], row: int) -> list[Any]:
    return [physical_values(table.column(name).slice(row, 1).combine_chunks())[0] for name in index]


def _cut_before(table: pa.Table, index: Sequence[str], row: int) -> Cut:
    types = [table.schema.field(name).type for name in index]
    return before(types, _key(table, index, row))
