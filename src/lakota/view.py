"""One series in one state, being read: from the plan of a read to a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import pyarrow as pa

from .interval import EVERYTHING, Interval
from .manifest import Manifest
from .overlay import ORIGIN, Slice, rows
from .region import Part, Region, explain, parts, settle
from .site import Site

__all__ = ["View", "gather"]

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

    def parts(self) -> list[Part]:
        """The plan: slices of segments and regions with upserts, in key order."""
        if not self.interval:
            return []
        extents = self.manifest.select(self.label, self.interval)
        opener = self.site.objects.segment
        return parts(extents, self.interval, self.site.index, opener, self.origins)

    def count(self) -> int:
        """The number of rows."""
        return sum(map(len, self._settled(self.site.schema.index)))

    def table(self, names: Sequence[str], first: int = 0, last: int | None = None) -> pa.Table:
        """Rows `first` to `last`, with the columns `names`."""
        stored = _stored(self.site, names)
        return self._table(_window(self._settled(stored), first, last), names)

    def tail(self, names: Sequence[str], length: int, first: int, last: int | None) -> pa.Table:
        """Of the last `length` rows those from `first` to `last`."""
        found = self._settled(_stored(self.site, names))
        skip = max(sum(map(len, found)) - length, 0)
        return self._table(_window(_window(found, skip, None), first, last), names)

    def pages(
        self, names: Sequence[str], step: int, first: int, last: int | None
    ) -> Iterator[pa.Table]:
        """Rows `first` to `last` as tables of `step` rows."""
        found = _window(self._settled(self.site.stored(names)), first, last)
        starts = range(0, sum(map(len, found)), step)
        return (self._table(_window(found, at, at + step), names) for at in starts)

    def explain(self, names: Sequence[str]) -> str:
        """The plan in words."""
        site, stored = self.site, self.site.stored(names)
        lines = []
        for part in self.parts():
            if isinstance(part, Region):
                lines.append(
                    f"join {sum(map(len, part.base)):,} rows with {len(part.layers)} layers of "
                    f"{sum(len(s) for over in part.layers for s in over.slices):,} rows:"
                )
                text = explain(
                    part, stored, site.schema.arrow, site.schema.index, site.objects.segment
                )
                lines.extend(f"    {line}" for line in text.splitlines())
            else:
                lines.append(f"take rows {part.start:,} to {part.stop:,} of {part.segment}")
        return "\n".join(lines) or "no rows"

    def _settled(self, names: Sequence[str]) -> list[Settled]:
        return _settled(self.site, self.parts(), names)

    def _table(self, found: Sequence[Settled], names: Sequence[str]) -> pa.Table:
        return _table(self.site, found, names)


def gather(site: Site, found: Iterable[Part], names: Sequence[str]) -> pa.Table:
    """The rows of plans, one after the other, with the columns `names`."""
    return _table(site, _settled(site, found, _stored(site, names)), names)


def _stored(site: Site, names: Sequence[str]) -> list[str]:
    return [name if name == ORIGIN else site.shown[name].source for name in names]


def _schema(site: Site, stored: Sequence[str]) -> pa.Schema:
    """The columns of the site, and what these names need besides."""
    schema = site.schema.arrow
    return schema.append(pa.field(ORIGIN, pa.int64())) if ORIGIN in stored else schema


def _settled(site: Site, found: Iterable[Part], names: Sequence[str]) -> list[Settled]:
    schema, index, opener = _schema(site, names), site.schema.index, site.objects.segment
    return [
        settle(part, names, schema, index, opener) if isinstance(part, Region) else part
        for part in found
    ]


def _table(site: Site, found: Sequence[Settled], names: Sequence[str]) -> pa.Table:
    stored = _stored(site, names)
    every = _schema(site, stored)
    schema = pa.schema([every.field(name) for name in stored])
    if not any(isinstance(part, pa.Table) for part in found):
        slices = [part for part in found if isinstance(part, Slice)]
        table = rows(slices, schema, site.objects.segment)
    else:
        table = pa.concat_tables(
            part if isinstance(part, pa.Table) else rows([part], schema, site.objects.segment)
            for part in found
        )
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
