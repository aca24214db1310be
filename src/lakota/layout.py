"""Where the rows of a commit go: into which segments, at which offset. Pure.

A commit hands in *pieces*: an extent that has no place yet, and the rows it shall have. Small
pieces share segments, in label order; a piece larger than a segment is cut between keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import pyarrow as pa

from .extent import Extent
from .interval import Cut, before
from .types import physical_values

__all__ = ["SEGMENT_ROWS", "Draft", "Piece", "drafts", "key_ends", "place"]

SEGMENT_ROWS = 1 << 20
"""About how many rows a segment has at most; more only for so many equal keys."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows `start` to `stop` of `table`, wanted by `extent`."""

    extent: Extent
    table: pa.Table
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Draft:
    """The pieces of one segment, in order."""

    pieces: tuple[Piece, ...]

    def table(self) -> pa.Table:
        """The rows of the segment; pieces that lie side by side are taken in one."""
        spans: list[tuple[pa.Table, int, int]] = []
        for piece in self.pieces:
            if spans and spans[-1][0] is piece.table and spans[-1][2] == piece.start:
                spans[-1] = (piece.table, spans[-1][1], piece.stop)
            else:
                spans.append((piece.table, piece.start, piece.stop))
        tables = [table.slice(start, stop - start) for table, start, stop in spans]
        if len(tables) == 1:
            return tables[0]
        return pa.concat_tables(tables).combine_chunks()


def drafts(pieces: Iterable[Piece], index: Sequence[str]) -> Iterator[Draft]:
    """Share out the pieces that have rows among segments, whose rows have the same columns."""
    by_columns: dict[tuple[str, ...], list[Piece]] = {}
    names: dict[int, tuple[str, ...]] = {}  # the writes of a bulk load share one table
    for piece in pieces:
        table = piece.table
        columns = names.get(id(table)) or names.setdefault(id(table), tuple(table.column_names))
        by_columns.setdefault(columns, []).append(piece)
    for alike in by_columns.values():
        room: list[Piece] = []
        rows = 0
        for part in chain.from_iterable(_split(piece, index) for piece in alike):
            if room and rows + len(part) > SEGMENT_ROWS:
                yield Draft(tuple(room))
                room, rows = [], 0
            room.append(part)
            rows += len(part)
        yield Draft(tuple(room))


def place(draft: Draft, segment: bytes) -> Iterator[Extent]:
    """The extents of a draft, once its segment has a name."""
    offset = 0
    for piece in draft.pieces:
        extent, rows = piece.extent, piece.stop - piece.start
        # `_replace` takes several times as long, and there may be very many.
        yield Extent(*extent[:8], segment, offset, rows, extent.placed)
        offset += rows


def _split(piece: Piece, index: Sequence[str]) -> Iterator[Piece]:
    """Cut a piece between keys so that each part fits a segment."""
    while len(piece) > SEGMENT_ROWS:
        row = key_ends(piece.table, index, piece.start + SEGMENT_ROWS, piece.stop)
        if row == piece.stop:
            break
        cut = _cut_before(piece.table, index, row)
        extent = piece.extent
        yield replace(piece, extent=extent._replace(hi=cut), stop=row)
        piece = replace(piece, extent=extent._replace(lo=cut), start=row)
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
