"""Lazy scans: a series or a collection as a Polars LazyFrame, over the read path.

Polars asks a scan for some columns, a predicate and a number of rows, and takes frame after frame
until it has enough. Only segments and record batches are touched in which rows of the predicate
can lie (`predicate`), of them only the columns asked for, and a frame is made when it is wanted:
so what is larger than memory can be scanned. The state is that of the moment at which the scan
was made. Rows come by label, then by key, and Polars is told so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import chain, groupby, pairwise, takewhile
from operator import itemgetter

import polars as pl
import pyarrow as pa
from polars.io.plugins import register_io_source

from .arrays import repeated
from .digest import Digest
from .extent import Extent
from .frames import check_polars, to_polars
from .interval import EVERYTHING, Interval
from .manifest import EMPTY, Manifest
from .origin import Origins, origin_names
from .overlay import ORIGIN, Slice
from .predicate import ALL, Reach, reach
from .region import Part, Region, cuts, parts
from .site import Site
from .view import Settled, settled, stored_names, table_of

__all__ = ["Scan"]

EVERY = "*"
"""The pattern of all labels."""
BATCH_ROWS = 131_072
"""Rows of a frame, about, where Polars does not say how many it wants."""


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """The rows of some series in one state."""

    site: Site
    manifest: Manifest
    labels: Sequence[str] | str
    """Labels, or a pattern of the shell (`*`, `?`, `[abc]`) for labels."""
    column: str | None = None
    """Of the labels; None to leave them out."""
    detail: str = ""
    """What `explain()` shows."""
    provenance: bool = False
    """Whether stamp and author of each row come after the other columns."""

    def lazy(self) -> pl.LazyFrame:
        """The scan as a LazyFrame. Raises `SchemaError`."""
        shown = self.site.shown
        check_polars(shown, shown.names)
        schema = dict(to_polars(pa.Table.from_batches([], shown.arrow)).schema)
        order = list(shown.index)
        if self.column is not None:
            schema = {self.column: pl.String(), **schema}
            order = [self.column, *order]
        if self.provenance:
            types = (pl.Datetime("ns", "UTC"), pl.String())
            schema.update(zip(self._extra(), types, strict=True))
        frame = register_io_source(
            self.frames,
            schema=schema,
            validate_schema=True,
            is_pure=True,
            explain_name="lakota",
            explain_detail=self.detail,
        )
        return frame.set_sorted(order)

    def frames(
        self,
        columns: Sequence[str] | None,
        predicate: pl.Expr | None,
        n_rows: int | None,
        batch_size: int | None,
    ) -> Iterator[pl.DataFrame]:
        """What Polars asks for: `columns` of the first `n_rows` rows, of which those that
        `predicate` is true of, `batch_size` at a time."""
        shown, left = self.site.shown, n_rows
        own = [] if self.column is None else [self.column]
        extra = self._extra()
        wanted = [*own, *shown.names, *extra] if columns is None else list(columns)
        named = {*wanted, *(predicate.meta.root_names() if predicate is not None else ())}
        names = [name for name in shown.names if name in named]
        origins = Origins(self.site) if named.intersection(extra) else None
        size = batch_size or BATCH_ROWS
        # The first rows are counted before the predicate, so then all are needed.
        bounds = ALL if n_rows is not None else reach(predicate, shown.arrow.field(0), self.column)
        step = size if n_rows is None else min(size, max(n_rows, 1))
        for chunk in self._chunks(bounds, step, origins):
            frame = self._frame(chunk, names, origins)
            if left is not None:
                frame = frame.head(left)
                left -= frame.height
            if predicate is not None:
                frame = frame.filter(predicate)
            if frame.columns != wanted:
                frame = frame.select(wanted)
            yield from frame.iter_slices(size)
            if left == 0:
                return

    def _frame(
        self, chunk: Sequence[tuple[str, Part]], shown: Sequence[str], origins: Origins | None
    ) -> pl.DataFrame:
        """The rows of a chunk, with their labels, and with their origins last."""
        index = self.site.shown.index
        names = [*shown, ORIGIN] if origins else shown
        found = settled(
            self.site, [part for _, part in chunk], stored_names(self.site, names or index)
        )
        counts = list(map(len, found))
        if names:
            table = table_of(self.site, list(_joined(found)), names)
            frame = to_polars(origins.show(table, self._extra()) if origins else table)
        else:
            frame = pl.DataFrame(height=sum(counts))
        if self.column is None:
            first = pl.col(index[0])
            return frame.with_columns(first.set_sorted()) if index[0] in names else frame
        column = repeated([label for label, _ in chunk], counts)
        return frame.insert_column(0, pl.Series(self.column, column).set_sorted())

    def _extra(self) -> list[str]:
        """The names of the columns of origins."""
        own = [] if self.column is None else [self.column]
        return origin_names([*own, *self.site.shown.names]) if self.provenance else []

    def _chunks(
        self, bounds: Reach, size: int, origins: Origins | None
    ) -> Iterator[list[tuple[str, Part]]]:
        """The plan, in pieces of about `size` rows."""
        waiting: list[tuple[str, Part]] = []
        rows = 0
        for label, part in self._parts(bounds, size, origins):
            count = part.rows if isinstance(part, Region) else len(part)
            if waiting and rows + count > size:
                yield waiting
                waiting, rows = [], 0
            waiting.append((label, part))
            rows += count
        if waiting:
            yield waiting

    def _parts(
        self, bounds: Reach, size: int, origins: Origins | None
    ) -> Iterator[tuple[str, Part]]:
        """The plan, label by label, in key order."""
        if (
            bounds.intervals == (EVERYTHING,)
            and bounds.labels is None
            and origins is None
            and isinstance(self.labels, str)
        ):
            found = self._whole(self.labels, bounds, size)
        else:
            found = self._within(self._extents(bounds), size, origins)
        for label, part in found:
            if isinstance(part, Slice) and len(part) > size:
                step = self.site.objects.segment(part.segment).batch_rows
                yield from ((label, piece) for piece in _cut(part, step, size))
            else:
                yield label, part

    def _whole(self, pattern: str, bounds: Reach, size: int) -> Iterator[tuple[str, Part]]:
        """The plan of whole labels. Nearly all leaves say it by three columns: of rows that lie as
        they were written, with nothing over them. Other leaves, and labels that go on in the next
        one, are planned extent by extent."""
        takes = _wanted(pattern, bounds)
        leaves = self.manifest.leaves_across(prefix=_prefix(pattern, bounds))
        waiting: list[Extent] = []  # of a label that goes on
        for leaf, following in pairwise(chain(leaves, [EMPTY])):
            going_on = next(iter(following.spans), None)
            plain = leaf.is_plain
            columns = map(leaf.column, ("segment", "offset", "length"))
            segments, offsets, lengths = columns if plain else ((), (), ())
            for label, (first, stop) in leaf.spans.items():
                if label == going_on or waiting or not plain:
                    waiting.extend(leaf.extents[first:stop])
                    if label != going_on:
                        extents, waiting = waiting, []
                        if takes(label):
                            yield from self._within([(label, EVERYTHING, extents)], size, None)
                elif takes(label):
                    for at in range(first, stop):
                        start, rows = offsets[at], lengths[at]
                        if rows:
                            yield label, Slice(Digest(segments[at].hex()), start, start + rows)

    def _within(
        self,
        found: Iterable[tuple[str, Interval, list[Extent]]],
        size: int,
        origins: Origins | None,
    ) -> Iterator[tuple[str, Part]]:
        """The plan of labels and intervals, extent by extent."""
        for label, interval, extents in found:
            numbers = origins.numbers(extents) if origins else None
            for part in self._cut(extents, interval, size, numbers):
                yield label, part

    def _cut(
        self,
        extents: Sequence[Extent],
        interval: Interval,
        size: int,
        origins: Mapping[tuple[int, int], int] | None,
    ) -> Iterator[Part]:
        """The plan of a label, with no region of much more than `size` rows."""
        index, opener = self.site.index, self.site.objects.segment
        found = parts(extents, interval, index, opener, origins)
        large = [part for part in found if isinstance(part, Region) and part.rows > 2 * size]
        ends = [cut for region in large for cut in cuts(region, size, index, opener)]
        if not ends:
            yield from found
            return
        for lo, hi in pairwise((interval.lo, *ends, interval.hi)):
            if lo >= hi:  # all keys before the cut are equal
                continue
            near = [e for e in extents if e.lo < hi and e.hi > lo]
            yield from parts(near, Interval(lo, hi), index, opener, origins)

    def _extents(self, bounds: Reach) -> Iterator[tuple[str, Interval, list[Extent]]]:
        """The extents of each label and interval within bounds."""
        if not bounds.intervals:
            return
        labels = self.labels
        if isinstance(labels, str) and bounds.labels is not None:
            labels = sorted(label for label in bounds.labels if fnmatchcase(label, labels))
        if not isinstance(labels, str):
            for label in filter(bounds.takes, labels):
                for interval in bounds.intervals:
                    yield label, interval, self.manifest.select(label, interval)
            return
        takes = _wanted(labels, bounds)
        hull = Interval(bounds.intervals[0].lo, bounds.intervals[-1].hi)
        found = self.manifest.across(hull, _prefix(labels, bounds))
        for label, group in groupby(found, key=itemgetter(0)):
            if not takes(label):
                continue
            extents = list(group)
            for interval in bounds.intervals:
                near = [e for e in extents if e.lo < interval.hi and e.hi > interval.lo]
                yield label, interval, near


def _wanted(pattern: str, bounds: Reach) -> Callable[[str], bool]:
    """Which labels are asked for."""
    if pattern == EVERY:
        return bounds.takes
    return lambda label: bounds.takes(label) and fnmatchcase(label, pattern)


def _prefix(pattern: str, bounds: Reach) -> str:
    """What all labels that are asked for begin with."""
    literal = "".join(takewhile(lambda char: char not in "*?[", pattern))
    return max(literal, bounds.prefix, key=len)


def _joined(found: Iterable[Settled]) -> Iterator[Settled]:
    """The parts of a chunk; slices that lie side by side as one."""
    last: Slice | None = None
    for part in found:
        if not isinstance(part, Slice):
            if last is not None:
                yield last
            last = None
            yield part
        elif last is not None and _follows(last, part):
            last = Slice(part.segment, last.start, part.stop, part.origin)
        else:
            if last is not None:
                yield last
            last = part
    if last is not None:
        yield last


def _follows(last: Slice, part: Slice) -> bool:
    return last.stop == part.start and (last.segment, last.origin) == (part.segment, part.origin)


def _cut(part: Slice, step: int, size: int) -> Iterator[Slice]:
    """Slices of at most `size` rows, cut where batches of `step` rows end; at least one batch."""
    start, each = part.start, max(size // step, 1)
    while start < part.stop:
        stop = min(part.stop, (start // step + each) * step)
        yield Slice(part.segment, start, stop, part.origin)
        start = stop
