"""What users write, on its way to a commit: single writes, or a load of many series at once. Pure.

A commit hands it on as `Pieces`: columns, not objects for each series. A load is made of columns
from the start.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise, repeat
from operator import itemgetter
from typing import NamedTuple

import pyarrow as pa

from .digest import Digest
from .extent import NOWHERE, REPLACE, Extents
from .interval import Cut, Interval
from .layout import Piece, Pieces

__all__ = ["Load", "Stored", "Write", "in_pieces"]


@dataclass(frozen=True, slots=True)
class Stored:
    """All rows of a segment that is in the store, which lie in `interval`."""

    interval: Interval
    segment: Digest
    rows: int


class Write(NamedTuple):
    """What is said of `interval` of `label` by rows `start` to `stop` of `table`, all inside it.

    REPLACE: nothing older remains, the rows are the content. UPSERT: the rows, or with `columns`
    those cells of them, go to their keys. ERASE: the keys are deleted.
    """

    label: str
    interval: Interval
    table: pa.Table
    start: int
    stop: int
    kind: int = REPLACE
    columns: tuple[str, ...] | None = None
    only_changes: bool = False
    """Whether `Narrow` may reduce it to what differs from what is there."""
    stored: tuple[Stored, ...] = ()
    """Where the rows are already, if they are not in `table`: side by side, in key order."""


@dataclass(frozen=True, slots=True)
class Load:
    """A write for each of many labels, which are sorted: rows `starts` to `stops` of `table`."""

    labels: Sequence[str]
    los: Sequence[Cut]
    his: Sequence[Cut]
    table: pa.Table
    starts: Sequence[int]
    stops: Sequence[int]
    kind: int = REPLACE

    def __len__(self) -> int:
        return len(self.labels)

    def each(self) -> list[Write]:
        intervals = map(Interval, self.los, self.his)
        return list(
            map(
                Write,
                self.labels,
                intervals,
                repeat(self.table),
                self.starts,
                self.stops,
                repeat(self.kind),
            )
        )


def in_pieces(writes: Sequence[Write] | Load) -> tuple[Pieces, list[int]]:
    """What writes want stored, by label, and of each piece how many writes of its label came
    before: the stamps, which are not given yet, must tell them apart."""
    if isinstance(writes, Load):
        size = len(writes)
        found = _drafted(writes.labels, writes.los, writes.his, [writes.kind] * size, [None] * size)
        return Pieces(found, [writes.table] * size, writes.starts, writes.stops), [0] * size
    ordered = sorted(writes, key=itemgetter(0))
    nth = [0]
    for write, following in pairwise(ordered):
        nth.append(nth[-1] + 1 if write.label == following.label else 0)
    labels, intervals, tables, starts, stops, kinds, columns, _, stored = zip(*ordered, strict=True)
    los, his = zip(*intervals, strict=True)
    pieces = Pieces(_drafted(labels, los, his, kinds, columns), tables, starts, stops)
    if not any(stored):
        return pieces, nth
    parts = [list(_at(p, parts)) for p, parts in zip(pieces.each(), stored, strict=True)]
    counts = map(repeat, nth, map(len, parts))
    return Pieces.of(chain.from_iterable(parts)), list(chain.from_iterable(counts))


def _drafted(
    labels: Sequence[str],
    los: Sequence[Cut],
    his: Sequence[Cut],
    kinds: Sequence[int],
    columns: Sequence[tuple[str, ...] | None],
) -> Extents:
    """Extents without a stamp and a place yet."""
    zero, nowhere = [0] * len(labels), [NOWHERE] * len(labels)
    return Extents(labels, los, his, zero, zero, kinds, columns, zero, nowhere, zero, zero, zero)


def _at(piece: Piece, stored: Sequence[Stored]) -> Iterator[Piece]:
    """A piece, or the parts of it that are stored already."""
    if not stored:
        yield piece
    for part in stored:
        lo, hi = part.interval
        place = bytes.fromhex(part.segment)
        placed = piece.extent._replace(lo=lo, hi=hi, segment=place, length=part.rows)
        yield Piece(placed, piece.table, 0, 0)
