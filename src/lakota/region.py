"""Regions: stretches of a series where upserts lie over rows.

`parts` is the plan of a read: slices where nothing lies over the base, taken as they are, and
regions where something does. Only a region is joined, and only with the layers that touch it.
Regions with little between them are taken as one, since a join has a price of its own.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.types as pat

from .arrays import integers
from .compare import from_ordered, to_ordered
from .evolution import default_of
from .extent import ERASE, REPLACE, Extent, clusters
from .interval import Cut, Interval
from .overlay import ORIGIN, Opener, Slice, first_cut, plan, rows
from .patch import NTH, Layer, lay_over
from .splice import find, places, put, spliced, taken

__all__ = ["Over", "Part", "Region", "cuts", "explain", "is_sparse", "parts", "schema_of", "settle"]

NEAR_ROWS = 65_536
"""Regions with fewer rows than these between them are one; so many rows of different regions are
joined together."""
LARGE_ROWS, SPARSE = 65_536, 4
"""Of more rows than these, those that layers do not touch are left out of the join, if there are
so many times as many as the layers have."""
_PART = "lakota:part"


@dataclass(frozen=True, slots=True)
class Over:
    """A layer as it lies in segments."""

    slices: tuple[Slice, ...]
    carried: tuple[str, ...]
    """Value columns."""
    kind: int
    whole: bool
    """Whether it replaces rows, not only cells."""


@dataclass(frozen=True, slots=True)
class Region:
    """Base rows and the layers over them, oldest first."""

    base: tuple[Slice, ...]
    layers: tuple[Over, ...]

    @property
    def rows(self) -> int:
        """How many rows it is made of, of which some may replace others."""
        return sum(map(len, (*self.base, *(part for over in self.layers for part in over.slices))))


Part = Slice | Region


def parts(
    extents: Sequence[Extent],
    interval: Interval,
    index: Sequence[pa.Field],
    opener: Opener,
    origins: Mapping[tuple[int, int], int] | None = None,
) -> list[Part]:
    """The plan to read `interval`, in key order. `origins`: as in `plan`."""
    over = [e for e in extents if e.kind != REPLACE]
    base = [e for e in extents if e.kind == REPLACE]
    if not over:
        return list(plan(base, interval, index, opener, origins))
    his = [e.hi for e in base]
    los = [e.lo for e in base]

    def cut(lo: Cut, hi: Cut) -> list[Slice]:
        near = base[bisect_right(his, lo) : bisect_left(los, hi)]
        wanted = Interval(max(interval.lo, lo), min(interval.hi, hi))
        return plan(near, wanted, index, opener, origins) if wanted else []

    found: list[Part] = []
    at = interval.lo
    for hull, layers in _grouped(over, cut):
        found.extend(cut(at, hull.lo))
        found.append(Region(tuple(cut(*hull)), _overs(layers, interval, index, opener, origins)))
        at = max(at, hull.hi)
    return [*found, *cut(at, interval.hi)]


def _grouped(
    over: Sequence[Extent], cut: Callable[[Cut, Cut], Sequence[Slice]]
) -> Iterator[tuple[Interval, list[Extent]]]:
    """The layers by region, with the hull of each."""
    hull: Interval | None = None
    layers: list[Extent] = []
    for group in clusters(over):
        found = Interval(group[0].lo, max(e.hi for e in group))
        if hull is not None and sum(map(len, cut(hull.hi, found.lo))) > NEAR_ROWS:
            yield hull, layers
            hull, layers = None, []
        hull = found if hull is None else Interval(hull.lo, found.hi)
        layers.extend(group)
    if hull is not None:
        yield hull, layers


def _overs(
    layers: Iterable[Extent],
    interval: Interval,
    index: Sequence[pa.Field],
    opener: Opener,
    origins: Mapping[tuple[int, int], int] | None,
) -> tuple[Over, ...]:
    """The layers by stamp; the pieces of one write lie side by side, so they make one."""
    found: list[Over] = []
    by_stamp = sorted(layers, key=lambda e: (e.write, e.lo))
    for _, pieces in groupby(by_stamp, key=lambda e: e.write):
        extents = list(pieces)
        kind, columns = extents[0].kind, extents[0].columns
        slices = tuple(plan(extents, interval, index, opener, origins))
        if slices:
            carried = _carried(columns, slices[0], index, opener)
            found.append(Over(slices, carried, kind, columns is None))
    return tuple(found)


def _carried(
    columns: tuple[str, ...] | None, part: Slice, index: Sequence[pa.Field], opener: Opener
) -> tuple[str, ...]:
    if columns is not None:
        return columns
    # All columns that its writer knew: one that was added elsewhere is not its business.
    keys = {field.name for field in index}
    return tuple(name for name in opener(part.segment).schema.names if name not in keys)


def cuts(region: Region, step: int, index: Sequence[pa.Field], opener: Opener) -> list[Cut]:
    """Where to cut a region so that its pieces have about `step` rows each, and batches of its
    segments lie whole in one of them."""
    types = [field.type for field in index]
    starts: list[tuple[Cut, int]] = []
    for part in (*region.base, *(part for over in region.layers for part in over.slices)):
        segment = opener(part.segment)
        keys, offsets = segment.first_keys, segment.offsets
        if keys is not None:
            inside = range(*np.searchsorted(offsets, (part.start + 1, part.stop)).tolist())
            starts.extend((first_cut(keys, b, types), segment.batch_rows) for b in inside)
    found: list[Cut] = []
    rows = 0
    for cut, count in sorted(starts):
        rows += count
        if rows >= step and (not found or cut > found[-1]):
            found.append(cut)
            rows = 0
    return found


def schema_of(extent: Extent, schema: pa.Schema, index: Sequence[str]) -> pa.Schema:
    """The columns that the rows of an extent have."""
    if extent.kind == ERASE:
        return _only(schema, index)
    if extent.columns is None:
        return schema
    return _only(schema, [*index, *extent.columns])


def _only(schema: pa.Schema, names: Iterable[str]) -> pa.Schema:
    return pa.schema([schema.field(name) for name in names])


def settle(
    regions: Sequence[Region],
    columns: Sequence[str],
    schema: pa.Schema,
    index: Sequence[str],
    opener: Opener,
) -> list[pa.Table]:
    """The rows of each region, with `columns` of `schema`, in their order. A join has a price of
    its own, so small regions are joined together."""
    found: list[pa.Table] = []
    together: list[Region] = []
    count = 0
    for region in regions:
        sparse = is_sparse(region, schema)
        if together and (sparse or count + region.rows > NEAR_ROWS):
            found.extend(_settle(together, columns, schema, index, opener))
            together, count = [], 0
        if sparse:
            found.append(_spliced(region, columns, schema, index, opener))
        else:
            together.append(region)
            count += region.rows
    return found + (_settle(together, columns, schema, index, opener) if together else [])


def is_sparse(region: Region, schema: pa.Schema) -> bool:
    """Whether upserts lie over a small part of many rows, so that only these are joined."""
    rows = sum(map(len, region.base))
    if rows <= LARGE_ROWS or (region.rows - rows) * SPARSE >= rows:
        return False
    # pyarrow takes no rows of views.
    return not any(pat.is_string_view(t) or pat.is_binary_view(t) for t in schema.types)


def _spliced(
    region: Region, columns: Sequence[str], schema: pa.Schema, index: Sequence[str], opener: Opener
) -> pa.Table:
    """The rows of a sparse region: those that are touched are joined with the layers, the others
    stay as they are."""
    values = [name for name in columns if name not in index]
    base = rows(region.base, _only(schema, [*index, *values]), opener)
    keys = base.select(index)
    layers = [part for over in region.layers for part in over.slices]
    touched = find(keys, rows(layers, _only(schema, index), opener))
    source = _Source([], schema, index, opener)
    own = source.frame(taken(base, touched), 0, 0)
    plan = _plan([region], own, values, index, source)
    joined = source.table(plan.collect(), [*index, *values])
    if joined.select(index).equals(taken(keys, touched)):
        changed = {*values} if any(over.kind == ERASE for over in region.layers) else {ORIGIN}
        changed.update(*(over.carried for over in region.layers))
        found = {
            name: put(column, touched, joined[name]) if name in changed - {*index} else column
            for name, column in zip(base.column_names, base.columns, strict=True)
        }
    else:
        before = places(keys, joined.select(index))
        if before is None:
            return _settle([region], columns, schema, index, opener)[0]
        found = {
            name: spliced(column, touched, before, joined[name])
            for name, column in zip(base.column_names, base.columns, strict=True)
        }
    return pa.table([found[name] for name in columns], schema=_only(schema, columns))


def _settle(
    regions: Sequence[Region],
    columns: Sequence[str],
    schema: pa.Schema,
    index: Sequence[str],
    opener: Opener,
) -> list[pa.Table]:
    source = _Source([], schema, index, opener)
    frame = lazy_plan(regions, columns, index, source).collect()
    table = source.table(frame, columns)
    ends = frame[_PART].search_sorted(pl.int_range(1, len(regions), eager=True)).to_list()
    return [table.slice(a, b - a) for a, b in pairwise((0, *ends, table.num_rows))]


def explain(
    region: Region, columns: Sequence[str], schema: pa.Schema, index: Sequence[str], opener: Opener
) -> str:
    """The optimised Polars plan of a region."""
    return lazy_plan([region], columns, index, _Source([], schema, index, opener)).explain()


def lazy_plan(
    regions: Sequence[Region], columns: Sequence[str], index: Sequence[str], source: _Source
) -> pl.LazyFrame:
    """The layers of regions laid over their bases. `_PART` numbers the regions."""
    values = [name for name in columns if name not in index]
    bases = [(part, nth, 0) for nth, region in enumerate(regions) for part in region.base]
    return _plan(regions, source.lazy(bases, [*index, *values]), values, index, source)


def _plan(
    regions: Sequence[Region],
    base: pl.LazyFrame,
    values: Sequence[str],
    index: Sequence[str],
    source: _Source,
) -> pl.LazyFrame:
    """The layers of regions laid over `base`."""
    forms: dict[tuple[tuple[str, ...], bool, bool], list[tuple[Slice, int, int]]] = {}
    for number, region in enumerate(regions):
        for nth, over in enumerate(region.layers):
            carried = tuple(name for name in values if name in over.carried)
            if ORIGIN in values and over.kind != ERASE:
                carried = (*carried, ORIGIN)
            form = forms.setdefault((carried, over.whole, over.kind == ERASE), [])
            form.extend((part, number, nth) for part in over.slices)
    layers = [
        Layer(source.lazy(slices, [*index, *carried]), frozenset(carried), whole, gone)
        for (carried, whole, gone), slices in forms.items()
    ]
    return lay_over(base, layers, [_PART, *index], values, source.defaults(values))


@dataclass(frozen=True, slots=True)
class _Source:
    """Columns for Polars, and back. Types that Polars has not, or not exactly, go as others that
    it has; nested ones as row numbers, by which they are taken afterwards."""

    tables: list[pa.Table]
    schema: pa.Schema
    index: Sequence[str]
    opener: Opener

    def lazy(self, parts: Sequence[tuple[Slice, int, int]], names: Sequence[str]) -> pl.LazyFrame:
        """The rows of slices, each with the number of its region and of its layer."""
        slices = [part for part, _, _ in parts]
        table = rows(slices, pa.schema([self.schema.field(n) for n in names]), self.opener)
        marks = np.array([(region, layer) for _, region, layer in parts], np.int64).reshape(-1, 2)
        return self.frame(table, *np.repeat(marks, list(map(len, slices)), axis=0).T)

    def frame(self, table: pa.Table, region: Any, layer: Any) -> pl.LazyFrame:
        """Rows with the numbers of their regions and layers."""
        first = sum(t.num_rows for t in self.tables)
        self.tables.append(table)
        numbers = integers(np.arange(first, first + table.num_rows))
        shown = []
        for name, column in zip(table.column_names, table.columns, strict=True):
            proxy = _proxy(column.type)
            if self._is_wide_key(name, column.type):
                shown.append(to_ordered(column))
            else:
                shown.append(numbers if proxy is None else column.cast(proxy))
        marks = np.empty((2, table.num_rows), np.int64)
        marks[0], marks[1] = region, layer
        shown.extend(map(integers, marks))
        return pl.LazyFrame(pa.table(shown, names=[*table.column_names, _PART, NTH]))

    def _is_wide_key(self, name: str, dtype: pa.DataType) -> bool:
        return name in self.index and pat.is_decimal256(dtype)

    def defaults(self, names: Sequence[str]) -> dict[str, Any]:
        """The defaults of columns that have one, as Polars sees them."""
        found: dict[str, Any] = {}
        for field in (self.schema.field(name) for name in names):
            if not field.metadata:
                continue
            value, proxy = default_of(field, 1), _proxy(field.type)
            if proxy is None:
                found[field.name] = sum(t.num_rows for t in self.tables)
                self.tables.append(pa.table([value], names=[field.name]))
            else:
                found[field.name] = value.cast(proxy)[0].as_py()
        return found

    def table(self, found: pl.DataFrame, names: Sequence[str]) -> pa.Table:
        arrow = found.select(names).to_arrow()
        schema = pa.schema([self.schema.field(name) for name in names])
        columns = []
        for field, column in zip(schema, arrow.columns, strict=True):
            proxy = _proxy(field.type)
            if self._is_wide_key(field.name, field.type):
                columns.append(from_ordered(column, field.type))
            elif proxy is None:
                columns.append(self._pool(field).take(column.cast(pa.int64())))
            else:
                columns.append(column.cast(proxy).cast(field.type))
        return pa.table(columns, schema=schema)

    def _pool(self, field: pa.Field) -> pa.ChunkedArray:
        """All values of a column, in the order of the row numbers."""
        chunks: list[pa.Array] = []
        for table in self.tables:
            if field.name in table.column_names:
                chunks.extend(table.column(field.name).chunks)
            else:
                chunks.append(pa.nulls(table.num_rows, field.type))
        return pa.chunked_array(chunks, field.type)


def _proxy(dtype: pa.DataType) -> pa.DataType | None:
    """The type as which Polars sees a column; None for row numbers."""
    if pat.is_temporal(dtype) and not pat.is_interval(dtype):
        return pa.int32() if dtype.bit_width == 32 else pa.int64()
    if pat.is_float16(dtype):
        return pa.float32()
    if pat.is_boolean(dtype) or pat.is_integer(dtype) or pat.is_floating(dtype):
        return dtype
    if pat.is_string(dtype) or pat.is_large_string(dtype) or pat.is_string_view(dtype):
        return pa.large_string()
    if pat.is_binary(dtype) or pat.is_large_binary(dtype) or pat.is_binary_view(dtype):
        return pa.large_binary()
    if pat.is_fixed_size_binary(dtype) and not pat.is_decimal(dtype):
        return pa.large_binary()
    if pat.is_decimal(dtype) and not pat.is_decimal256(dtype):
        return pa.decimal128(dtype.precision, dtype.scale)
    return None
