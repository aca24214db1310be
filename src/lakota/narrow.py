"""Writes of which only what differs becomes extents: `only_changes=True`.

Before a commit stores its writes, those that ask for it are compared with what the commit builds
on, all series in one join. What remains of a write is the least that gives the same content:

- nothing, where nothing differs;
- a replace for each run of rows that differ with none between them that does not, if there are at
  most `RUNS` of them: so a series that grows is read without a join;
- otherwise one upsert of the rows that are new or changed, and a deletion of the keys that are
  gone;
- the whole write, where the series would lie in more than `MANY` pieces, where keys are equal to
  each other, or another write of the same commit overlaps it.

Every piece of a series is a row of the manifest, and a commit that touches all series writes the
pages of all these rows anew. So a series that grows and lies in more than `FEW` pieces takes the
pieces before what is new along, unchanged, those that are small beside it first: of n rows each is
written O(log n) times, as in `compact`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from .arrays import integers
from .bounds import key_cuts
from .compact import FACTOR
from .diff import JOB, LEFT, RIGHT, SAME, Together, compared, stack
from .extent import ERASE, REPLACE, UPSERT, Extent
from .interval import Cut, Interval
from .manifest import Manifest
from .overlay import ORIGIN
from .site import Site
from .writes import Write

__all__ = ["narrowed"]

RUNS = 8
FEW, MANY = 4, 32
"""Pieces of a series."""
RUN = "run"


def narrowed(site: Site, manifest: Manifest, writes: Sequence[Write]) -> list[Write]:
    """What remains of `writes` that are made on `manifest`."""
    alone = _alone(writes)
    found = [w for w, is_alone in zip(writes, alone, strict=True) if not is_alone]
    chosen = [w for w, is_alone in zip(writes, alone, strict=True) if is_alone]
    chosen.sort(key=_form)
    for _, group in groupby(chosen, key=_form):
        found.extend(_differing(site, manifest, list(group)))
    return found


def _alone(writes: Sequence[Write]) -> list[bool]:
    """Whether each write asks for it, and no other write overlaps it."""
    asked = [w.only_changes and w.kind != ERASE and not w.stored for w in writes]
    last: int | None = None  # the one that reaches furthest
    for i in sorted(range(len(writes)), key=lambda i: (writes[i].label, writes[i].interval)):
        if last is not None and (writes[i].label, writes[i].interval.lo) < _reach(writes[last]):
            asked[i] = asked[last] = False
        if last is None or _reach(writes[i]) > _reach(writes[last]):
            last = i
    return asked


def _reach(write: Write) -> tuple[str, bytes]:
    return (write.label, write.interval.hi)


def _form(write: Write) -> tuple[object, ...]:
    return (write.kind, tuple(write.table.column_names))


def _differing(site: Site, manifest: Manifest, writes: Sequence[Write]) -> Iterator[Write]:
    """What remains of writes of one kind and with the same columns."""
    names = writes[0].table.column_names
    index = site.schema.index
    jobs = [(manifest.select(w.label, w.interval), w.interval) for w in writes]
    found = compared(
        stack(site.bare, jobs, names), _stacked(writes), index, [n for n in names if n not in index]
    )
    pairs = found.pairs
    if writes[0].kind == UPSERT:
        pairs = pairs.filter(pl.col(RIGHT).is_not_null())
    pairs = pairs.with_columns(pl.col(SAME).cast(pl.Int64).cum_sum().over(JOB).alias(RUN))
    changed = pairs.filter(~pl.col(SAME))
    scattered = pl.col(RUN).n_unique().over(JOB) > RUNS
    whole = pl.col(JOB).is_in(list(found.repeated))
    for job in changed.filter(whole)[JOB].unique(maintain_order=True):
        yield writes[job]
    changed = changed.filter(~whole)
    kind = writes[0].kind
    in_layers = scattered if kind == REPLACE else pl.lit(True)
    old = [extents for extents, _ in jobs]
    yield from _runs(site, writes, found, changed.filter(~in_layers), old)
    for (job,), rows in changed.filter(in_layers).group_by([JOB], maintain_order=True):
        yield from _layers(site, writes[int(str(job))], found, rows)


def _stacked(writes: Sequence[Write]) -> pa.Table:
    """The rows of all writes; `ORIGIN` is the number of the write."""
    spans: list[tuple[pa.Table, int, int]] = []
    for write in writes:  # those of a bulk load lie side by side
        if spans and spans[-1][0] is write.table and spans[-1][2] == write.start:
            spans[-1] = (write.table, spans[-1][1], write.stop)
        else:
            spans.append((write.table, write.start, write.stop))
    table = pa.concat_tables(table.slice(start, stop - start) for table, start, stop in spans)
    numbers = np.repeat(np.arange(len(writes)), [w.stop - w.start for w in writes])
    return table.append_column(ORIGIN, integers(numbers))


def _runs(
    site: Site,
    writes: Sequence[Write],
    found: Together,
    changed: pl.DataFrame,
    old: Sequence[Sequence[Extent]],
) -> Iterator[Write]:
    """A replace for each run of rows that differ. `old`: what there is, for each write."""
    if changed.is_empty():
        return
    runs = changed.group_by([JOB, RUN], maintain_order=True).agg(
        found.either().first().alias("first"),
        found.either().last().alias("last"),
        pl.col(RIGHT).min().fill_null(0).alias("start"),
        (pl.col(RIGHT).max() + 1).fill_null(0).alias("stop"),
    )
    los, his = key_cuts(
        found.keys(site.schema.index), site.schema, runs["first"].to_list(), runs["last"].to_list()
    )
    rows = found.after.drop_columns([ORIGIN])
    ends = np.cumsum([write.stop - write.start for write in writes]).tolist()
    made = map(_Run, runs[JOB], map(Interval, los, his), runs["start"], runs["stop"])
    for job, group in groupby(made, key=lambda run: run.job):
        own = list(group)
        first = ends[job] - (writes[job].stop - writes[job].start)
        if len(old[job]) + 2 * len(own) > MANY:
            yield writes[job]._replace(only_changes=False)
            continue
        for run in _rejoined(site, rows, own, old[job], writes[job].interval, first):
            yield Write(writes[job].label, run.interval, rows, run.start, run.stop)


class _Run(NamedTuple):
    """Rows of the new content to be written, and the interval that they replace."""

    job: int
    interval: Interval
    start: int
    stop: int


def _rejoined(
    site: Site,
    rows: pa.Table,
    runs: Sequence[_Run],
    old: Sequence[Extent],
    inside: Interval,
    first: int,
) -> Sequence[_Run]:
    """The runs; the last of a series that grows takes the small pieces before it along."""
    *before, last = runs
    lo, hi = last.interval
    if last.start == last.stop or len(old) < FEW or any(e.length and e.hi > hi for e in old):
        return runs
    size, pieces = last.stop - last.start, len(old) + 1
    for e in reversed(old):
        if e.lo >= lo:
            continue
        if e.lo < inside.lo or (pieces <= FEW and e.length >= FACTOR * size):
            break
        lo, size, pieces = e.lo, size + e.length, pieces - 1
    while before and before[-1].interval.hi > lo:
        lo = min(lo, before.pop().interval.lo)
    start = _row_after(site, rows, lo, range(first, last.start), size)
    return [*before, _Run(last.job, Interval(lo, hi), start, last.stop)]


def _row_after(site: Site, rows: pa.Table, cut: Cut, among: range, near: int) -> int:
    """The first row of `among` after `cut`, or the one that comes next; about `near` rows before
    the end."""
    while True:
        at = range(max(among.start, among.stop - near), among.stop)
        los, _ = key_cuts(rows, site.schema, at, at)
        found = bisect_left(los, cut)
        if found or at.start == among.start:
            return at.start + found
        near *= 2


def _layers(site: Site, write: Write, found: Together, changed: pl.DataFrame) -> Iterator[Write]:
    """An upsert of what is new or changed, a deletion of what is gone."""
    keys = found.keys(site.schema.index)
    gone = changed.filter(pl.col(RIGHT).is_null())[LEFT]
    come = changed[RIGHT].drop_nulls()
    erased = found.before.select(site.schema.index), gone, ERASE, None, 0
    upsert = found.after.drop_columns([ORIGIN]), come, UPSERT, write.columns, found.before.num_rows
    for source, rows, kind, columns, first in (erased, upsert):
        if len(rows):
            table = source.take(rows.to_arrow()).combine_chunks()
            (lo,), (hi,) = key_cuts(keys, site.schema, [first + rows[0]], [first + rows[-1]])
            yield Write(write.label, Interval(lo, hi), table, 0, len(rows), kind, columns)
