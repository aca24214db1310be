"""What a read will need of a remote store, fetched before it is asked for: all segments at once,
then all batches at once. In a local store everything is at hand, and nothing here does anything.

How much waits for the other is the same for one segment or a hundred: two rounds, or one where
segments are small.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa

from .digest import Digest
from .extent import TRIM_HI, TRIM_LO, Extent
from .interval import Cut, Interval
from .objects import Objects
from .overlay import Slice, batch_of
from .region import Part, Region
from .segment import Segment

__all__ = ["expect_parts", "expect_rows"]

Rows = tuple[int, int]


def expect_rows(
    objects: Objects,
    extents: Iterable[Extent],
    interval: Interval,
    index: Sequence[pa.Field],
    *,
    whole: bool,
) -> None:
    """Fetch what planning a read of `interval` needs: the batches in which ends are to be looked
    for; with `whole`, all that lies between them, too."""
    if not objects.store.remote:
        return
    types = [field.type for field in index]
    wanted = [e for e in extents if e.length and (whole or any(_cuts(e, interval)))]
    opened = objects.open_all(Digest(e.segment.hex()) for e in wanted)
    rows: dict[Digest, list[Rows]] = {}
    for e in wanted:
        segment = opened.get(Digest(e.segment.hex()))
        if segment is not None:
            found = rows.setdefault(segment.name, [])
            found.extend(_rows(segment, e, interval, types, whole))
    objects.expect(rows)


def expect_parts(objects: Objects, parts: Iterable[Part]) -> None:
    """Fetch the rows of a plan."""
    if not objects.store.remote:
        return
    rows: dict[Digest, list[Rows]] = {}
    for part in parts:
        for each in _slices(part):
            rows.setdefault(each.segment, []).append((each.start, each.stop))
    objects.expect(rows)


def _slices(part: Part) -> Iterator[Slice]:
    if isinstance(part, Region):
        yield from part.base
        yield from (piece for over in part.layers for piece in over.slices)
    else:
        yield part


def _cuts(extent: Extent, interval: Interval) -> tuple[Cut | None, Cut | None]:
    """The cuts at which the rows of an extent begin and end; None where its own rows do."""
    inside = extent.interval.meet(interval)
    lo = inside.lo if inside.lo > extent.lo or extent.trim & TRIM_LO else None
    hi = inside.hi if inside.hi < extent.hi or extent.trim & TRIM_HI else None
    return lo, hi


def _rows(
    segment: Segment,
    extent: Extent,
    interval: Interval,
    types: Sequence[pa.DataType],
    whole: bool,
) -> Iterator[Rows]:
    """The rows of batches that are needed, as nearly as the first keys of batches tell."""
    start, stop = extent.offset, extent.offset + extent.length
    batches = [
        None if cut is None else batch_of(segment, cut, start, stop, types)
        for cut in _cuts(extent, interval)
    ]
    first, last = batches
    if whole:
        begin = start if first is None else int(segment.offsets[first])
        end = stop if last is None else int(segment.offsets[last + 1])
        yield begin, end
    else:
        for batch in batches:
            if batch is not None:
                yield int(segment.offsets[batch]), int(segment.offsets[batch + 1])
