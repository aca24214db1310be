"""Which rows to store anew, together. Pure decisions; `transaction` carries them out.

Compaction changes where rows are stored, never intervals or stamps: the same extents, with a
later place. So it can run anywhere, any time, beside anything.

A *run* is a stretch of a series whose rows lie side by side in one segment: what a read must
open a segment for. `tail` bounds the runs of a series that is appended to: once `FACTOR` runs of
one size class stand at its end, they are joined with what comes (a size-tiered merge, O(log n)
runs and each row written O(log n) times; see O'Neil et al., "The Log-Structured Merge-Tree",
1996, for the trade). `fragmented` finds the series that `defrag` rewrites.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby

from .extent import Extent
from .manifest import Manifest

__all__ = ["FACTOR", "JOIN_ROWS", "fragmented", "runs", "tail"]

FACTOR = 8
JOIN_ROWS = 1 << 18
"""No commit joins more rows than these."""


def runs(extents: Iterable[Extent]) -> Iterator[list[Extent]]:
    """Split extents in key order into runs. Those without rows join the run that they follow."""
    run: list[Extent] = []
    last: Extent | None = None
    for e in extents:
        if e.length and last is not None and not _side_by_side(last, e):
            yield run
            run = []
        run.append(e)
        last = e if e.length else last
    if run:
        yield run


def _side_by_side(a: Extent, b: Extent) -> bool:
    touching = a.offset + a.length == b.offset or b.offset + b.length == a.offset
    return a.segment == b.segment and (touching or a.offset == b.offset)


def _same_place(a: Extent, b: Extent) -> bool:
    return (a.segment, a.offset) == (b.segment, b.offset)


def tail(newest_first: Iterable[Extent], coming: int) -> list[Extent]:
    """The extents at the end of a series to store together with `coming` new rows.

    `newest_first` gives the series' extents from its end, lazily: no more of them are read than
    the decision needs.
    """
    joined: list[Extent] = []
    tier: list[list[Extent]] = []
    run: list[Extent] = []
    total, waiting, rows = coming, 0, 0  # joined and coming; in the tier; in the run
    for e in chain(newest_first, [None]):
        if e is None or (e.length and run and not _side_by_side(_with_rows(run), e)):
            tier.append(run)
            waiting, run, rows = waiting + rows, [], 0
            if len(tier) == FACTOR - 1:
                joined.extend(chain.from_iterable(tier))
                total, waiting, tier = total + waiting, 0, []
        if e is None:
            break
        rows += 0 if run and _same_place(_with_rows(run), e) else e.length
        run.append(e)
        if rows >= _class_limit(total) or total + waiting + rows > JOIN_ROWS:
            break
    return joined


def _with_rows(run: Sequence[Extent]) -> Extent:
    return next((e for e in reversed(run) if e.length), run[-1])


def _class_limit(rows: int) -> int:
    """The least power of FACTOR above `rows`: runs below it are of its size class or a lower."""
    limit = FACTOR
    while limit <= rows:
        limit *= FACTOR
    return limit


def fragmented(manifest: Manifest, max_chunk: int) -> Iterator[list[Extent]]:
    """The extents of each series that has more than `max_chunk` runs."""
    for _, group in groupby(manifest.extents(), key=lambda e: e.label):
        extents: Sequence[Extent] = list(group)
        if sum(1 for _ in runs(extents)) > max_chunk:
            yield list(extents)
