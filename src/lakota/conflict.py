"""Conflicts: what two states that were made apart both changed, in different ways.

By law the later write wins at each key, so a merge never fails and never asks. This looks at what
it decided, or will decide: pairs of writes of two sides, made since what the sides have in common,
that touch the same keys (of cells, also the same columns) and after which the sides differ there.
Rows of which both sides say the same are no conflict, nor are cells of different columns.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations, groupby
from typing import Any

import polars as pl
import pyarrow as pa

from .answer import as_frame, free_names, times
from .changelog import PHI, Child, History
from .diff import JOB, SAME, compared, fresh, shown, stack
from .errors import NotFoundError
from .extent import REPLACE, Extent
from .interval import Interval
from .manifest import Manifest
from .origin import Origin, origins
from .overlay import ORIGIN, plan, rows
from .site import Site

__all__ = ["Conflict", "conflicts", "show_conflicts"]

ROW = "row"


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two writes of two sides, and where the sides differ because of them."""

    sides: tuple[Child, Child]
    writes: tuple[Extent, Extent]
    columns: tuple[str, ...] | None
    """The value columns that both wrote; None for all."""
    keys: pa.Table
    """The keys, sorted."""

    @property
    def label(self) -> str:
        return self.writes[0].label

    @property
    def wins(self) -> int:
        """The side whose write a merge keeps."""
        return int(self.writes[1].write > self.writes[0].write)


def conflicts(site: Site, sides: Sequence[Child]) -> list[Conflict]:
    """The conflicts of each two of `sides`, by label. Raises `NotFoundError` if what they have in
    common was trimmed."""
    history = site.changelog.history()
    found: list[Conflict] = []
    for pair in combinations(sides, 2):
        base = site.joined(_common(history, pair)).manifest
        manifests = [site.manifest(side) for side in pair]
        news = [fresh(base, manifest) for manifest in manifests]
        meetings = list(_meetings(*news))
        by_columns = sorted(meetings, key=lambda m: (m[2] is not None, m[2] or ()))
        for columns, group in groupby(by_columns, key=lambda m: m[2]):
            found.extend(_differing(site, pair, manifests, columns, list(group)))
    return sorted(found, key=lambda c: (c.label, c.writes[0].lo, c.writes[1].lo, c.sides))


def _common(history: History, pair: Iterable[Child]) -> list[Child]:
    """The latest states that both have seen."""
    first, second = (history.ancestors([side]) - {PHI} for side in pair)
    common = first & second
    parents = {p for child in common for p in history.parents_of.get(child, ())}
    latest = sorted(common - parents)
    gone = [child for child in latest if child not in history.children]
    if gone:
        raise NotFoundError(
            f"what {' and '.join(pair)} have in common, revision {gone[0]}, was trimmed: their "
            "conflicts cannot be told any more"
        )
    return latest


Meeting = tuple[Extent, Extent, tuple[str, ...] | None]
"""Two writes that overlap, and the columns that both have."""


def _meetings(left: Sequence[Extent], right: Sequence[Extent]) -> Iterator[Meeting]:
    others: dict[str, list[Extent]] = {}
    for e in sorted(right, key=lambda e: e.lo):
        others.setdefault(e.label, []).append(e)
    los = {label: [e.lo for e in group] for label, group in others.items()}
    reach = {label: list(accumulate((e.hi for e in g), max)) for label, g in others.items()}
    for e in left:
        if e.label not in others:
            continue
        start = bisect_right(reach[e.label], e.lo)
        stop = bisect_left(los[e.label], e.hi)
        for other in others[e.label][start:stop]:
            columns = _shared(e, other)
            if other.hi > e.lo and other.write != e.write and columns != ():
                yield e, other, columns


def _shared(a: Extent, b: Extent) -> tuple[str, ...] | None:
    if a.columns is None or b.columns is None:
        return a.columns if b.columns is None else b.columns
    return tuple(name for name in a.columns if name in b.columns)


def _differing(
    site: Site,
    sides: tuple[Child, Child],
    states: Sequence[Manifest],
    columns: tuple[str, ...] | None,
    meetings: Sequence[Meeting],
) -> Iterator[Conflict]:
    """The conflicts among writes that have the same columns in common."""
    index, known = site.schema.index, site.schema.values
    values = [name for name in known if columns is None or name in columns]
    if known and not values:
        return  # of columns that were dropped
    spans = [a.interval.meet(b.interval) for a, b, _ in meetings]
    before, after = (
        stack(
            site.bare,
            [(state.select(e[0].label, s), s) for e, s in zip(meetings, spans, strict=True)],
            [*index, *values],
        )
        for state in states
    )
    found = compared(before, after, index, values)
    keys = found.keys(index)
    pairs = found.pairs.filter(~pl.col(SAME)).with_columns(found.either().alias(ROW))
    for extents in ([a for a, _, _ in meetings], [b for _, b, _ in meetings]):
        pairs = _named(site, pairs, keys, extents, spans)
    for (job,), differing in pairs.group_by([JOB], maintain_order=True):
        a, b, _ = meetings[int(str(job))]
        yield Conflict(sides, (a, b), columns, keys.take(differing[ROW].to_arrow()))


def _named(
    site: Site,
    pairs: pl.DataFrame,
    keys: pa.Table,
    extents: Sequence[Extent],
    spans: Sequence[Interval],
) -> pl.DataFrame:
    """Those of the pairs whose keys are named by the write of their stretch: a replace is about
    all keys of its interval, an upsert about those of its rows."""
    upserts = [n for n, e in enumerate(extents) if e.kind != REPLACE]
    if not upserts:
        return pairs
    opener = site.objects.segment
    slices = [
        part
        for n in upserts
        for part in plan([extents[n]], spans[n], site.index, opener, {extents[n].write: n})
    ]
    columns = [*site.index, pa.field(ORIGIN, pa.int64())]
    own = shown(rows(slices, pa.schema(columns), opener), site.schema.index, (), "own")
    asked = keys.take(pairs[ROW].to_arrow()).append_column(ORIGIN, pairs[JOB].to_arrow())
    theirs = shown(asked, site.schema.index, (), "at")
    named = theirs.join(own, on=[n for n in own.columns if n != "own"], how="semi")["at"]
    about_all = ~pl.col(JOB).is_in(upserts)
    return (
        pairs.with_row_index("at")
        .filter(about_all | pl.col("at").is_in(named.implode()))
        .drop("at")
    )


# ---- As a frame


def show_conflicts(site: Site, found: Sequence[Conflict]) -> pl.DataFrame:
    """A row for each conflict, as `Collection.conflicts` shows them."""
    index = site.shown.index
    stored = site.stored(index)
    names = {column.source: column.name for column in site.shown.columns}
    empty = pa.schema([site.schema.arrow.field(name) for name in stored]).empty_table()
    ends = {
        "first": pa.concat_tables([empty, *(c.keys[:1] for c in found)]),
        "last": pa.concat_tables([empty, *(c.keys[-1:] for c in found)]),
    }
    columns: dict[str, Any] = {"label": pa.array([c.label for c in found], pa.string())}
    for name, source in zip(index, stored, strict=True):
        for end, table in ends.items():
            (title,) = free_names([f"{name}_{end}"], columns)
            columns[title] = table.column(source)
    said = [
        None if c.columns is None else [names[n] for n in c.columns if n in names] for c in found
    ]
    columns["rows"] = pa.array([c.keys.num_rows for c in found], pa.int64())
    columns["columns"] = pa.array(said, pa.list_(pa.string()))
    known = _origins(site, found)
    for side, name in enumerate("ab"):
        of_side = [known[c.label, c.writes[side].write] for c in found]
        columns[name] = pa.array([c.sides[side] for c in found], pa.string())
        columns[f"{name}_stamp"] = times(origin.stamp for origin in of_side)
        columns[f"{name}_author"] = pa.array([origin.author for origin in of_side], pa.string())
    columns["wins"] = pa.array(["ab"[c.wins] for c in found], pa.string())
    return as_frame(columns)


def _origins(site: Site, found: Iterable[Conflict]) -> dict[tuple[str, tuple[int, int]], Origin]:
    writes: dict[str, list[Extent]] = {}
    for conflict in found:
        writes.setdefault(conflict.label, []).extend(conflict.writes)
    return {
        (label, write): origin
        for label, extents in writes.items()
        for write, origin in origins(site, extents).items()
    }
