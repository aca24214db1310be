"""One series in one state, being read: from the plan of a read to a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby, pairwise
from typing import TypeAlias

import pyarrow as pa

from .ahead import expect_parts, expect_rows
from .extent import Extent
from .interval import EVERYTHING, Interval
from .manifest import Manifest
from .overlay import ORIGIN, Slice, rows
from .region import Part, Region, explain, is_sparse, parts, settle
from .site import Site

__all__ = ["Settled", "View", "counts", "gather", "settled", "stored_names", "table_of"]

Settled: TypeAlias = "Slice | pa.Table"


@dataclass(frozen=True, slots=True)
class View:
    """The rows of `label` inside `interval`, as `manifest` has them."""

    site: Site
    manifest: Manifest
    label: str
    interval: Interval = EVERYTHING
    origins: Mapping[tuple[int, int], int] | None = None
    """The numbers of writes, which the column `ORIGIN` then shows."""

    def extents(self) -> list[Extent]:
        """What the manifest has of it."""
        return self.manifest.select(self.label, self.interval) if self.interval else []

    def parts(self, *, whole: bool = False) -> list[Part]:
        """The plan: slices of segments and regions with upserts, in key order. `whole`: whether
        all of it will be read."""
        if not self.interval:
            return []
        extents = self.extents()
        objects, index = self.site.objects, self.site.index
        expect_rows(objects, extents, self.interval, index, whole=whole)
        return parts(extents, self.interval, index, objects.segment, self.origins)

    def count(self) -> int:
        """The number of rows."""
        return sum(map(len, self._settled(self.site.schema.index)))

    def table(self, names: Sequence[str], first: int = 0, last: int | None = None) -> pa.Table:
        """Rows `first` to `last`, with the columns `names`."""
        stored = stored_names(self.site, names)
        whole = first == 0 and last is None
        return self._table(_window(self._settled(stored, whole=whole), first, last), names)

    def tail(self, names: Sequence[str], length: int, first: int, last: int | None) -> pa.Table:
        """Of the last `length` rows those from `first` to `last`."""
        found = self._settled(stored_names(self.site, names))
        skip = max(sum(map(len, found)) - length, 0)
        return self._table(_window(_window(found, skip, None), first, last), names)

    def pages(
        self, names: Sequence[str], step: int, first: int, last: int | None
    ) -> Iterator[pa.Table]:
        """Rows `first` to `last` as tables of `step` rows."""
        found = _window(self._settled(stored_names(self.site, names)), first, last)
        starts = range(0, sum(map(len, found)), step)
        return (self._table(_window(found, at, at + step), names) for at in starts)

    def explain(self, names: Sequence[str]) -> str:
        """The plan in words."""
        site, stored = self.site, self.site.stored(names)
        lines = []
        for part in self.parts():
            if isinstance(part, Region):
                below = sum(map(len, part.base))
                over = f"{len(part.layers)} layers of {part.rows - below:,} rows"
                if is_sparse(part, site.schema.arrow):
                    lines.append(f"join those of {below:,} rows that {over} touch:")
                else:
                    lines.append(f"join {below:,} rows with {over}:")
                text = explain(
                    part, stored, site.schema.arrow, site.schema.index, site.objects.segment
                )
                lines.extend(f"    {line}" for line in text.splitlines())
            else:
                lines.append(f"take rows {part.start:,} to {part.stop:,} of {part.segment}")
        return "\n".join(lines) or "no rows"

    def _settled(self, names: Sequence[str], *, whole: bool = False) -> list[Settled]:
        return settled(self.site, self.parts(whole=whole), names)

    def _table(self, found: Sequence[Settled], names: Sequence[str]) -> pa.Table:
        return table_of(self.site, found, names)


def counts(views: Sequence[View]) -> list[int]:
    """The number of rows of each; regions of all of them are joined together."""
    plans = [view.parts() for view in views]
    sizes: list[int] = []
    if views:
        site = views[0].site
        every = settled(site, [part for plan in plans for part in plan], site.schema.index)
        sizes = list(map(len, every))
    ends = list(accumulate(map(len, plans), initial=0))
    return [sum(sizes[a:b]) for a, b in pairwise(ends)]


def gather(site: Site, found: Iterable[Part], names: Sequence[str]) -> pa.Table:
    """The rows of plans, one after the other, with the columns `names`."""
    return table_of(site, settled(site, found, stored_names(site, names)), names)


def stored_names(site: Site, names: Sequence[str]) -> list[str]:
    """The names under which columns are stored."""
    return [name if name == ORIGIN else site.shown[name].source for name in names]


def _schema(site: Site, stored: Sequence[str]) -> pa.Schema:
    """The columns of the site, and what these names need besides."""
    schema = site.schema.arrow
    return schema.append(pa.field(ORIGIN, pa.int64())) if ORIGIN in stored else schema


def settled(site: Site, found: Iterable[Part], names: Sequence[str]) -> list[Settled]:
    """A plan of which each region is joined, with the columns of these stored names."""
    every = list(found)
    regions = [part for part in every if isinstance(part, Region)]
    schema, index, opener = _schema(site, names), site.schema.index, site.objects.segment
    expect_parts(site.objects, regions)
    tables = iter(settle(regions, names, schema, index, opener))
    return [next(tables) if isinstance(part, Region) else part for part in every]


def table_of(site: Site, found: Sequence[Settled], names: Sequence[str]) -> pa.Table:
    """The rows of a settled plan, with the columns `names`."""
    stored = stored_names(site, names)
    every = _schema(site, stored)
    schema = pa.schema([every.field(name) for name in stored])
    slices = [part for part in found if isinstance(part, Slice)]
    expect_parts(site.objects, slices)
    if len(slices) == len(found):  # the usual case
        table = rows(slices, schema, site.objects.segment)
    else:
        tables = [rows([], schema, site.objects.segment)]
        for is_slice, group in groupby(found, key=lambda part: isinstance(part, Slice)):
            parts = list(group)
            tables.extend([rows(parts, schema, site.objects.segment)] if is_slice else parts)
        table = pa.concat_tables(tables)
    return table if stored == list(names) else table.rename_columns(list(names))


def _window(found: Sequence[Settled], first: int, last: int | None) -> list[Settled]:
    """Rows `first` to `last`."""
    kept: list[Settled] = []
    at = 0
    for part in found:
        size = len(part)
        start = max(first - at, 0)
        stop = size if last is None else min(last - at, size)
        if start < stop:
            if isinstance(part, Slice):
                kept.append(replace(part, start=part.start + start, stop=part.start + stop))
            else:
                kept.append(part.slice(start, stop - start))
        at += size
    return kept
