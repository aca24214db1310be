"""From extents to rows: which rows of which segments, in key order, without copying any.

Pure: segments come in through a function. `plan` turns visible extents into slices of
segments; `rows` cuts them out. Where an extent's ends were never cut its rows are taken as they
lie; only cut ends are searched for, by their key, in the one batch that holds them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from .arrays import integers, numbers
from .digest import Digest
from .errors import DamagedError
from .evolution import default_of, widens
from .extent import TRIM_HI, TRIM_LO, Extent
from .interval import Cut, Interval, before, parse_cut
from .physical import physical_values
from .segment import Segment, read

__all__ = [
    "ORIGIN",
    "Opener",
    "Slice",
    "batch_of",
    "count",
    "first_cut",
    "locate",
    "plan",
    "rows",
    "visible",
]

Opener = Callable[[Digest], Segment]
AT_ONCE = 64
"""Slices that are read at once, and so share threads and memory."""
ORIGIN = "lakota:origin"
"""A column that no segment has: the origin of each row's slice, int64."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Rows `start` to `stop` of a segment."""

    segment: Digest
    start: int
    stop: int
    origin: int = 0
    """The number of the write that they come from, for readers who number writes."""

    def __len__(self) -> int:
        return self.stop - self.start


def plan(
    extents: Iterable[Extent],
    interval: Interval,
    index: Sequence[pa.Field],
    open_segment: Opener,
    origins: Mapping[tuple[int, int], int] | None = None,
) -> list[Slice]:
    """The slices that make up `interval`, in key order; neighbours of one origin are joined.
    `origins`: the numbers of the writes, if the reader wants to tell them apart."""
    found: list[Slice] = []
    for extent in extents:
        start, stop = visible(extent, interval, index, open_segment)
        if start >= stop:
            continue
        segment = Digest(extent.segment.hex())
        origin = 0 if origins is None else origins[extent.write]
        last = found[-1] if found else None
        if last and (last.segment, last.stop, last.origin) == (segment, start, origin):
            found[-1] = Slice(segment, last.start, stop, origin)
        else:
            found.append(Slice(segment, start, stop, origin))
    return found


def visible(
    extent: Extent,
    interval: Interval,
    index: Sequence[pa.Field],
    open_segment: Opener,
) -> tuple[int, int]:
    """The rows of the extent's segment that lie inside the extent and `interval`."""
    start, stop = extent.offset, extent.offset + extent.length
    if start == stop:
        return start, start
    lo, hi = max(extent.lo, interval.lo), min(extent.hi, interval.hi)
    keys: dict[int, pa.RecordBatch] = {}
    if lo > extent.lo or extent.trim & TRIM_LO:
        start = locate(open_segment, extent, index, lo, start, stop, keys)
    if hi < extent.hi or extent.trim & TRIM_HI:
        stop = locate(open_segment, extent, index, hi, start, stop, keys)
    return start, stop


def rows(slices: Iterable[Slice], schema: pa.Schema, open_segment: Opener) -> pa.Table:
    """The table of the slices, with the columns of `schema`; where nothing is to be
    inflated, one chunk per batch touched."""
    if ORIGIN in schema.names:
        return _with_origin(list(slices), schema, open_segment)
    batches: list[pa.RecordBatch] = []
    waiting = iter(slices)
    while some := list(islice(waiting, AT_ONCE)):
        batches.extend(read(_wanted(part, schema, open_segment) for part in some))
    bare = pa.schema([pa.field(field.name, field.type) for field in schema])
    return pa.Table.from_batches([_conform(batch, schema, bare) for batch in batches], bare)


def _wanted(
    part: Slice, schema: pa.Schema, open_segment: Opener
) -> tuple[Segment, int, int, Sequence[str]]:
    segment = open_segment(part.segment)
    there = [name for name in schema.names if name in segment.schema.names]
    # Without any of the columns, some other one tells how many rows there are.
    return segment, part.start, part.stop, there or segment.schema.names[:1]


def _with_origin(parts: Sequence[Slice], schema: pa.Schema, open_segment: Opener) -> pa.Table:
    at = schema.get_field_index(ORIGIN)
    table = rows(parts, schema.remove(at), open_segment)
    origins = np.repeat(
        np.array([part.origin for part in parts], np.int64), [len(part) for part in parts]
    )
    if not table.num_columns:
        return pa.table([integers(origins)], schema=schema)
    return table.add_column(at, schema.field(at), integers(origins))


def _conform(batch: pa.RecordBatch, schema: pa.Schema, bare: pa.Schema) -> pa.RecordBatch:
    """The columns of the schema, of which those may be missing that were added later, and those
    be narrower that were widened later."""
    if batch.schema.equals(bare):
        return batch
    if batch.schema.types == bare.types and batch.schema.names == bare.names:
        return pa.RecordBatch.from_arrays(batch.columns, schema=bare)
    columns = []
    for field in schema:
        if field.name not in batch.schema.names:
            columns.append(default_of(field, batch.num_rows))
            continue
        column = batch.column(field.name)
        if column.type != field.type:
            if not widens(column.type, field.type):
                raise DamagedError(
                    f"a segment has {field.name!r} as {column.type} where the schema of its "
                    f"collection has {field.type}; see check()"
                )
            column = column.cast(field.type)
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=bare)


def locate(
    open_segment: Opener,
    extent: Extent,
    index: Sequence[pa.Field],
    cut: Cut,
    start: int,
    stop: int,
    decoded: dict[int, pa.RecordBatch],
) -> int:
    """The first row from `start` on, at most `stop`, whose key lies after `cut`. The keys of the
    batches that were `decoded` are kept, for both ends of an extent are mostly in one."""
    if start == stop:  # may be the end of the segment, where no batch is
        return stop
    segment = open_segment(Digest(extent.segment.hex()))
    types = [field.type for field in index]
    values, is_after = parse_cut(types, cut)
    first = _batch_of(segment, values, is_after, start, stop)
    begin = first * segment.batch_rows
    if first not in decoded:
        decoded[first] = segment.batch(first, [field.name for field in index])
    batch = decoded[first]
    lo, hi = max(start - begin, 0), min(stop - begin, batch.num_rows)
    return begin + _search_key(batch.columns, lo, hi, values, is_after)


def batch_of(
    segment: Segment, cut: Cut, start: int, stop: int, types: Sequence[pa.DataType]
) -> int:
    """The batch that has the first row after `cut`, of sorted rows `start` to `stop`, or else the
    last one before it."""
    return _batch_of(segment, *parse_cut(types, cut), start, stop)


def _batch_of(
    segment: Segment, values: Sequence[Any], is_after: bool, start: int, stop: int
) -> int:
    first, last = start // segment.batch_rows, (stop - 1) // segment.batch_rows
    if first == last:
        return first
    keys = segment.first_keys
    if keys is None or keys.num_columns < len(values):
        raise DamagedError(
            f"segment {segment.name} has several batches and not their first keys: no range of it "
            "can be found; check(repair=...) restores it from a replica"
        )
    # Batches after the first begin inside the rows: their first keys are in order.
    return _search_key(keys.columns, first + 1, last + 1, values, is_after) - 1


def first_cut(keys: pa.RecordBatch, row: int, types: Sequence[pa.DataType]) -> Cut:
    """The cut before the first key of a batch."""
    return before(
        types, [physical_values(keys.column(c).slice(row, 1))[0] for c in range(len(types))]
    )


def _search_key(
    columns: Sequence[pa.Array], lo: int, hi: int, values: Sequence[Any], is_after: bool
) -> int:
    """The first row in [lo, hi) that is after the cut, column by column."""
    for depth, (column, value) in enumerate(zip(columns, values, strict=False), 1):
        if depth == len(values):
            return _search(column, lo, hi, value, right=is_after)
        lo, hi = (
            _search(column, lo, hi, value, right=False),
            _search(column, lo, hi, value, right=True),
        )
    return hi if is_after else lo


def _search(column: pa.Array, lo: int, hi: int, value: Any, *, right: bool) -> int:
    """Where `value` goes among the sorted rows [lo, hi) of a column without nulls."""
    found = numbers(column)
    if found is not None:
        side: Literal["left", "right"] = "right" if right else "left"
        if found.dtype.kind in "iu":
            least, most = _limits(found.dtype)
            if not least <= value <= most:  # of a column that was widened since
                return lo if value < 0 else hi
            probe = found.dtype.type(value)
        else:
            with np.errstate(over="ignore"):
                probe = found.dtype.type(value)
            if probe.item() != value:  # of a column of floats that was: between two of its values
                side = "left" if probe.item() > value else "right"
        return lo + int(found[lo:hi].searchsorted(probe, side))
    while lo < hi:
        middle = (lo + hi) // 2
        probe = physical_values(column.slice(middle, 1))[0]
        if probe < value or (right and probe == value):
            lo = middle + 1
        else:
            hi = middle
    return lo


@cache
def _limits(dtype: np.dtype[Any]) -> tuple[int, int]:
    found = np.iinfo(dtype)
    return found.min, found.max


def count(
    extents: Iterable[Extent], interval: Interval, index: Sequence[pa.Field], opener: Opener
) -> int:
    """How many rows there are in `interval`."""
    return sum(len(part) for part in plan(extents, interval, index, opener))
