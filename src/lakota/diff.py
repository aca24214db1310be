"""What differs between two states: rows that were added, removed or changed.

Extents that both states have are not looked at, nor the pages that hold them. The rows of what is
left, of all series together, are two tables with the number of their stretch beside them, and one
join finds which differ. Rows that were written anew with equal values do not: null equals null,
NaN equals NaN, other values where their bits are equal. Of rows with equal keys the first are
compared with the first, the second with the second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from .answer import as_frame, free_names, take
from .arrays import texts
from .compare import key_column, value_column
from .errors import RangeError
from .extent import Extent, clusters
from .interval import Interval
from .manifest import Manifest, changes
from .overlay import ORIGIN, visible
from .region import Part, parts
from .site import Site
from .view import gather

__all__ = [
    "Stretch",
    "Together",
    "compared",
    "differences",
    "fresh",
    "refuse_more",
    "shown",
    "stack",
    "touched",
]

CHANGE = pl.Enum(["added", "removed", "changed"])
JOB, NTH, LEFT, RIGHT, SAME = "job", "nth", "left", "right", "same"


class Stretch(NamedTuple):
    """A part of a series."""

    label: str
    interval: Interval


class Together(NamedTuple):
    """Rows of two states, matched."""

    before: pa.Table
    after: pa.Table
    pairs: pl.DataFrame
    """`job`: the number of the stretch, `left` and `right`: the rows of `before` and `after`, null
    where there is none, `same`: whether the values are equal. By stretch, then by key."""
    repeated: frozenset[int]
    """The stretches with equal keys."""

    def keys(self, index: Sequence[str]) -> pa.Table:
        """The keys of both sides, those after below those before."""
        return pa.concat_tables([self.before.select(index), self.after.select(index)])

    def either(self) -> pl.Expr:
        """Of a pair, the row of `keys` that has its key."""
        return pl.col(LEFT).fill_null(pl.col(RIGHT) + self.before.num_rows)


def touched(
    old: Manifest, new: Manifest, wanted: Callable[[str], bool] = lambda label: True
) -> Iterator[Stretch]:
    """The stretches in which two states may differ."""
    gone, come = changes(old, new)
    # A compaction changes places only.
    same = {_said(e) for e in gone} & {_said(e) for e in come}
    extents = [e for e in (*gone, *come) if _said(e) not in same and wanted(e.label)]
    by_label = sorted(extents, key=lambda e: e.label)
    for label, group in groupby(by_label, key=lambda e: e.label):
        for cluster in clusters(group):
            yield Stretch(label, Interval(cluster[0].lo, max(e.hi for e in cluster)))


def _said(e: Extent) -> tuple[object, ...]:
    return (e.label, e.lo, e.hi, e.write, e.kind, e.columns)


def fresh(base: Manifest, side: Manifest) -> list[Extent]:
    """The extents of writes that `side`, which has seen all that `base` has, has seen besides."""
    gone, come = changes(base, side)
    # What is left of a write where others hid a part of it is another extent, but no other write.
    known = {(e.label, e.write) for e in gone}
    return [e for e in come if (e.label, e.write) not in known]


def stack(
    site: Site, jobs: Sequence[tuple[Sequence[Extent], Interval]], names: Sequence[str]
) -> pa.Table:
    """The rows of all stretches, given by the extents of a series and an interval, one after the
    other; `ORIGIN` is the number of the stretch."""
    found: list[Part] = []
    index, opener = site.index, site.objects.segment
    for number, (extents, interval) in enumerate(jobs):
        numbers = dict.fromkeys((e.write for e in extents), number)
        found.extend(parts(extents, interval, index, opener, numbers))
    return gather(site, found, (*names, ORIGIN))


def compared(
    before: pa.Table, after: pa.Table, index: Sequence[str], values: Sequence[str]
) -> Together:
    """Match the rows of two stacks by stretch and key."""
    left, right = shown(before, index, values, LEFT), shown(after, index, values, RIGHT)
    keys = [JOB, *(f"k{i}" for i in range(len(index)))]
    repeated = {*_repeated(left, keys), *_repeated(right, keys)}
    if repeated:
        nth = pl.int_range(pl.len()).over(keys).alias(NTH)
        left, right = left.with_columns(nth), right.with_columns(nth)
        keys.append(NTH)
    joined = left.join(right, on=keys, how="full", coalesce=True, suffix="'").sort(keys)
    same = [pl.col(f"v{i}").eq_missing(pl.col(f"v{i}'")) for i in range(len(values))]
    both = pl.col(LEFT).is_not_null() & pl.col(RIGHT).is_not_null()
    pairs = joined.select(JOB, LEFT, RIGHT, pl.all_horizontal(both, *same).alias(SAME))
    return Together(before, after, pairs, frozenset(repeated))


def shown(table: pa.Table, index: Sequence[str], values: Sequence[str], row: str) -> pl.DataFrame:
    """What is compared of a stack: the stretch, the columns, and the number of the row."""
    columns = {JOB: value_column(table.column(ORIGIN))}
    columns.update((f"k{i}", key_column(table.column(n))) for i, n in enumerate(index))
    columns.update((f"v{i}", value_column(table.column(n))) for i, n in enumerate(values))
    columns[row] = pl.Series(np.arange(table.num_rows))
    return pl.DataFrame(columns)


def _repeated(rows: pl.DataFrame, keys: Sequence[str]) -> list[int]:
    """The stretches in which a row has the key of the one before it."""
    again = pl.all_horizontal(pl.col(key) == pl.col(key).shift(1) for key in keys)
    return rows.filter(again)[JOB].unique().to_list()


def refuse_more(
    site: Site, states: Iterable[Manifest], stretches: Sequence[Stretch], most: int
) -> None:
    """Raise `RangeError` if the stretches have more rows than `most`, before any are read."""
    count = 0
    for state in states:
        for label, interval in stretches:
            for e in state.select(label, interval):
                start, stop = visible(e, interval, site.index, site.objects.segment)
                count += max(stop - start, 0)
                if count > most:
                    raise RangeError(
                        f"more than {most:,} rows would have to be compared: ask for fewer series, "
                        "or for moments with less between them"
                    )


def differences(
    site: Site, old: Manifest, new: Manifest, stretches: Sequence[Stretch], label: str
) -> pl.DataFrame:
    """The rows of `stretches` that differ, as `Collection.diff` shows them."""
    schema = site.shown
    before, after = (
        stack(
            site,
            [(state.select(*stretch), stretch.interval) for stretch in stretches],
            schema.names,
        )
        for state in (old, new)
    )
    found = compared(before, after, schema.index, schema.values)
    pairs = found.pairs.filter(~pl.col(SAME))
    left, right = pairs[LEFT], pairs[RIGHT]
    labels = pa.chunked_array([texts(stretch.label for stretch in stretches)])
    columns = {label: take(labels, pairs[JOB])}
    keys, either = found.keys(schema.index), pairs.select(found.either()).to_series()
    columns.update((name, take(keys.column(name), either)) for name in schema.index)
    ends = [f"{name}_{side}" for name in schema.values for side in ("before", "after")]
    change, *names = free_names(["change", *ends], columns)
    frame = pairs.select(
        pl.when(pl.col(LEFT).is_null())
        .then(pl.lit("added"))
        .when(pl.col(RIGHT).is_null())
        .then(pl.lit("removed"))
        .otherwise(pl.lit("changed"))
    )
    columns[change] = frame.to_series().to_arrow()
    sides = ((found.before, left), (found.after, right))
    taken = [take(side.column(n), rows) for n in schema.values for side, rows in sides]
    return as_frame({**columns, **dict(zip(names, taken, strict=True))}).with_columns(
        pl.col(change).cast(CHANGE)
    )
