"""Extents, and which of them are visible: the law of DESIGN for one label.

An *extent* is one visible piece of one write. `resolve` is the fold of a set of writes,
independent of their order: at each position the newest replace wins and hides all that is
older; upserts newer than it stay. It is a pointwise maximum in a total order, hence
commutative, associative and idempotent, and its pieces are maximal, hence canonical.

Where rows are stored is no part of that order but breaks its ties: of two places that hold
the same write, the later placed wins, then the greater digest, offset and length.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice, pairwise
from operator import itemgetter, lt
from typing import NamedTuple

from .interval import Cut, Interval

__all__ = [
    "ERASE",
    "NOWHERE",
    "REPLACE",
    "TRIM_HI",
    "TRIM_LO",
    "UPSERT",
    "Extent",
    "ExtentKey",
    "Extents",
    "clusters",
    "laid",
    "resolve",
]

REPLACE, UPSERT, ERASE = 0, 1, 2
"""Kinds: inside the interval nothing older remains; rows or cells by key; keys to delete."""
NOWHERE = bytes(16)
"""The segment of an extent without rows."""
TRIM_LO, TRIM_HI = 1, 2

ExtentKey = tuple[str, bytes, int, int]
Value = tuple[object, ...]


class Extent(NamedTuple):
    """One visible piece of one write."""

    label: str
    lo: Cut
    hi: Cut
    stamp: int
    tie: int
    """Digest of the commit's writes: breaks ties between equal stamps."""
    kind: int
    columns: tuple[str, ...] | None
    """The value columns that an upsert carries; None for all."""
    trim: int
    """TRIM_LO / TRIM_HI: the place may hold rows beyond that end of the interval."""
    segment: bytes
    offset: int
    length: int
    """Rows at the place, of which those inside the interval are visible."""
    placed: int
    """The stamp of the commit that put the rows there: the write's own, or a compaction's."""

    @property
    def key(self) -> ExtentKey:
        """Extents are sorted by this; no two of a manifest share it."""
        return (self.label, self.lo, self.stamp, self.tie)

    @property
    def interval(self) -> Interval:
        return Interval(self.lo, self.hi)

    @property
    def write(self) -> tuple[int, int]:
        """What tells writes of a label apart, in the order in which they win."""
        return (self.stamp, self.tie)

    @property
    def rank(self) -> tuple[int, int, int, bytes, int, int]:
        """The total order of what can be seen at one position."""
        return (self.stamp, self.tie, self.placed, self.segment, self.offset, self.length)


class Extents(NamedTuple):
    """Many extents, column by column: a load of a million series makes a dozen lists, where tuples
    would keep the garbage collector busy for longer than all else takes."""

    label: Sequence[str]
    lo: Sequence[Cut]
    hi: Sequence[Cut]
    stamp: Sequence[int]
    tie: Sequence[int]
    kind: Sequence[int]
    columns: Sequence[tuple[str, ...] | None]
    trim: Sequence[int]
    segment: Sequence[bytes]
    offset: Sequence[int]
    length: Sequence[int]
    placed: Sequence[int]

    @classmethod
    def of(cls, extents: Iterable[Extent]) -> Extents:
        columns = list(zip(*extents, strict=True))
        return cls._make(columns or ((),) * len(cls._fields))

    @classmethod
    def joined(cls, parts: Sequence[Extents]) -> Extents:
        """One after the other."""
        if len(parts) == 1:
            return parts[0]
        return cls._make([*chain.from_iterable(column)] for column in zip(*parts, strict=True))

    def each(self) -> Iterator[Extent]:
        return map(Extent, *self)

    def take(self, positions: Sequence[int]) -> Extents:
        return Extents._make([column[i] for i in positions] for column in self)

    def part(self, start: int, stop: int) -> Extents:
        return Extents._make(column[start:stop] for column in self)

    @property
    def alone(self) -> bool:
        """Whether they are sorted and each has a label of its own."""
        return all(map(lt, self.label, islice(self.label, 1, None)))


_LO: Callable[[Extent], Cut] = itemgetter(1)
_STAMP: Callable[[Extent], int] = itemgetter(3)


def resolve(extents: Iterable[Extent]) -> list[Extent]:
    """What is visible of `extents`, all of one label, as maximal pieces sorted by key."""
    ranked = sorted(set(extents), key=lambda e: e.rank)
    if len(ranked) < 2 or _hides_all(ranked):
        return ranked[-1:]
    cuts = sorted({cut for e in ranked for cut in (e.lo, e.hi)})
    arriving = sorted(range(len(ranked)), key=lambda r: ranked[r].lo, reverse=True)
    replaces: list[int] = []  # a heap of negated positions in `ranked`: newest first
    upserts: set[int] = set()
    open_pieces: dict[Value, Extent] = {}
    done: list[Extent] = []
    for lo, hi in pairwise(cuts):
        while arriving and ranked[arriving[-1]].lo == lo:
            r = arriving.pop()
            if ranked[r].kind == REPLACE:
                heapq.heappush(replaces, -r)
            else:
                upserts.add(r)
        while replaces and ranked[-replaces[0]].hi <= lo:
            heapq.heappop(replaces)
        upserts = {r for r in upserts if ranked[r].hi > lo}
        base = -replaces[0] if replaces else None
        visible = _visible(ranked, base, upserts)
        open_pieces, ended = _extend(open_pieces, visible, Cut(lo), Cut(hi))
        done.extend(ended)
    done.extend(open_pieces.values())
    return sorted(_flag(done, ranked), key=lambda e: e.key)


def _hides_all(ranked: Sequence[Extent]) -> bool:
    """Whether nothing but the newest can be seen: it replaces all that is older."""
    *older, newest = ranked
    if newest.kind != REPLACE or (newest.trim and not newest.length):
        return False
    lo, hi, rank = newest.lo, newest.hi, newest.rank
    return all(lo <= e.lo and e.hi <= hi for e in older) and older[-1].rank != rank


def laid(
    fresh: Sequence[Extent], old: Iterable[Extent]
) -> tuple[list[Extent], list[Extent]] | None:
    """What becomes of `old`, all that is visible of a label, under `fresh`: the extents that go,
    and those that come. So it is with nearly every write: replaces beside each other, newer than
    all that they meet, of which nothing shines through. None where it is not so, and `resolve` has
    to say."""
    ordered = fresh if len(fresh) == 1 else sorted(fresh, key=_LO)
    known = list(old)
    reach = b""
    for e in ordered:
        if e.kind != REPLACE or (e.trim and not e.length) or not reach <= e.lo < e.hi:
            return None
        reach = e.hi
    stamps = {e.stamp for e in ordered}  # pieces of one write may be one
    if len(stamps) < len(ordered) or (known and max(map(_STAMP, known)) >= min(stamps)):
        return None
    los, his = [e.lo for e in ordered], [e.hi for e in ordered]
    gone: list[Extent] = []
    come = list(ordered)
    for e in known:
        met = ordered[bisect_right(his, e.lo) : bisect_left(los, e.hi)]
        if met:
            gone.append(e)
            come.extend(_left(e, met))
    return gone, come


def _left(old: Extent, over: Sequence[Extent]) -> list[Extent]:
    """The pieces of an extent that others, in key order, leave of it; each of them overlaps it."""
    pieces: list[Extent] = []
    at = old.lo
    for new in over:
        if at < new.lo:
            pieces.append(_piece(old, at, new.lo))
        at = new.hi
    if at < old.hi:
        pieces.append(_piece(old, at, old.hi))
    return pieces


def _piece(e: Extent, lo: Cut, hi: Cut) -> Extent:
    trim = (TRIM_LO if lo > e.lo else e.trim & TRIM_LO) | (
        TRIM_HI if hi < e.hi else e.trim & TRIM_HI
    )
    return e._replace(lo=lo, hi=hi, trim=trim if e.length else 0)


def _visible(ranked: Sequence[Extent], base: int | None, upserts: set[int]) -> list[Extent]:
    """What can be seen where the newest replace is `base`."""
    found = [] if base is None else [ranked[base]]
    if upserts:
        floor = (-1, -1) if base is None else ranked[base].write
        best: dict[tuple[object, ...], int] = {}
        for r in sorted(upserts):  # ascending rank: the best place of a write comes last
            if ranked[r].write > floor:
                best[(*ranked[r].write, ranked[r].columns)] = r
        found.extend(ranked[r] for r in best.values())
    return found


def _extend(
    open_pieces: dict[Value, Extent],
    visible: Sequence[Extent],
    lo: Cut,
    hi: Cut,
) -> tuple[dict[Value, Extent], list[Extent]]:
    """Grow the open pieces by [lo, hi) where they go on, open new ones, end the others."""
    going: dict[Value, Extent] = {}
    for e in visible:
        value = (e.kind, e.columns, *e.rank)
        if value in open_pieces:
            going[value] = open_pieces[value]._replace(hi=hi)
        else:
            going[value] = e._replace(lo=lo, hi=hi)
    return going, [piece for value, piece in open_pieces.items() if value not in going]


def _flag(pieces: Iterable[Extent], sources: Iterable[Extent]) -> Iterable[Extent]:
    """Set `trim`: an end of a piece is whole only where a source has that very end whole."""
    whole_lo = {(e.rank, e.lo) for e in sources if not e.trim & TRIM_LO}
    whole_hi = {(e.rank, e.hi) for e in sources if not e.trim & TRIM_HI}
    for e in pieces:
        trim = 0 if (e.rank, e.lo) in whole_lo else TRIM_LO
        trim |= 0 if (e.rank, e.hi) in whole_hi else TRIM_HI
        # Without rows there is nothing beyond the ends.
        yield e._replace(trim=trim if e.length else 0)


def clusters(extents: Iterable[Extent]) -> Iterable[list[Extent]]:
    """Groups of extents of one label that touch or overlap, in key order."""
    group: list[Extent] = []
    reach = b""
    for e in sorted(extents, key=lambda e: e.lo):
        if group and e.lo > reach:
            yield group
            group = []
            reach = b""
        group.append(e)
        reach = max(reach, e.hi)
    if group:
        yield group
