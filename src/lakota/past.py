"""Questions about the past of a series: what one key was, and what was known at several times.

`history` replays the writes that lie over one key, whatever revisions they came with. `vintages`
reads each state that a series was in at some moments once, and puts the states side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from .answer import MOMENT, as_frame, free_names, times
from .compare import key_column, value_column
from .digest import Digest
from .errors import RangeError
from .extent import ERASE, REPLACE, Extent
from .interval import Interval
from .manifest import Manifest, unseen
from .origin import Origin, origins
from .overlay import ORIGIN, plan, rows
from .region import parts
from .site import Site
from .view import gather

__all__ = ["Vintage", "history", "vintages"]

Rows = list[list[int | None]]
"""The rows of one key: of each value column the number of the stored row that it comes from."""


def history(site: Site, label: str, key: Interval) -> pl.DataFrame:
    """What the key was, each time that it changed, as `Series.history` shows it."""
    extents = _writes(site, label, key)
    table = _stored_rows(site, extents, key)
    known = origins(site, extents)
    states = list(_states(site, extents, table, [known[e.write] for e in extents]))
    states = _changes(table.select(site.schema.values), states)
    return _history_frame(site, table, states)


class _State(NamedTuple):
    origin: Origin
    rows: Rows


def _writes(site: Site, label: str, key: Interval) -> list[Extent]:
    """Each write that lies over the key in some revision that is kept, in the order in which they
    win."""
    found: dict[tuple[int, int], Extent] = {}
    seen: set[Digest] = set()
    for child in sorted(site.changelog.history().children):
        for e in unseen(site.manifest(child), label, key, seen):
            known = found.get(e.write)
            if known is None or _originality(e) < _originality(known):
                found[e.write] = e
    return [found[write] for write in sorted(found)]


def _originality(e: Extent) -> tuple[bool, int]:
    # What was folded has the stamp of an upsert, and says what had been said before.
    return (e.kind == REPLACE, e.placed)


def _stored_rows(site: Site, extents: Sequence[Extent], key: Interval) -> pa.Table:
    """The rows of the key in each write, one after the other; `ORIGIN` numbers the writes."""
    numbers = {e.write: n for n, e in enumerate(extents)}
    opener = site.objects.segment
    slices = [part for e in extents for part in plan([e], key, site.index, opener, numbers)]
    schema = site.schema.arrow.append(pa.field(ORIGIN, pa.int64()))
    return rows(slices, schema, opener)


def _states(
    site: Site, extents: Sequence[Extent], table: pa.Table, known: Sequence[Origin]
) -> Iterator[_State]:
    """The rows of the key after each revision."""
    counts = np.bincount(table.column(ORIGIN).to_numpy(), minlength=len(extents))
    ends = np.concatenate(([0], np.cumsum(counts))).tolist()
    state: Rows = []
    for n, (e, (start, stop)) in enumerate(zip(extents, pairwise(ends), strict=True)):
        state = _replay(site, state, e, range(start, stop))
        if n + 1 == len(extents) or known[n + 1].stamp != known[n].stamp:
            yield _State(known[n], state)


def _replay(site: Site, state: Rows, e: Extent, own: range) -> Rows:
    """The rows of the key once `e`, whose rows of it are `own`, is laid over `state`."""
    values = site.schema.values
    if e.kind == REPLACE:
        return [[row] * len(values) for row in own]
    if not own:
        return state
    if e.kind == ERASE:
        return []
    carried = e.columns
    if carried is None:
        carried = tuple(site.objects.segment(Digest(e.segment.hex())).schema.names)
        state = state[:1]
    # A row that is new has defaults in the columns that the write has not: so were they read.
    old = state or [[own[0]] * len(values)]
    return [
        [own[0] if name in carried else kept for name, kept in zip(values, row, strict=True)]
        for row in old
    ]


def _changes(values: pa.Table, states: Sequence[_State]) -> list[_State]:
    """The states that differ from the one before; first none was there."""
    if not states:
        return []
    sizes = [len(state.rows) for state in states]
    starts = np.concatenate(([0], np.cumsum(sizes)))
    nth = np.arange(starts[-1]) - np.repeat(starts[:-1], sizes)
    before = np.repeat(np.concatenate(([0], starts[:-2])), sizes) + nth
    before = np.minimum(before, max(starts[-1] - 1, 0))  # where sizes differ, values do not matter
    differs = np.zeros(len(states), bool)
    for column, name in enumerate(values.column_names):
        picked = np.array([row[column] for state in states for row in state.rows], np.int64)
        shown = value_column(values.column(name)).gather(picked)
        other = shown.ne_missing(shown.gather(before)).to_numpy()
        differs[np.repeat(np.arange(len(states)), sizes)[other]] = True
    return [
        state
        for i, state in enumerate(states)
        if len(state.rows) != (sizes[i - 1] if i else 0) or (i and differs[i])
    ]


def _history_frame(site: Site, table: pa.Table, states: Sequence[_State]) -> pl.DataFrame:
    gone: Rows = [[None] * len(site.schema.values)]
    spread = [(state.origin, not state.rows, row) for state in states for row in state.rows or gone]
    stamp, author, deleted = free_names(["stamp", "author", "deleted"], site.shown.values)
    columns = {
        stamp: times(origin.stamp for origin, *_ in spread),
        author: pa.array([origin.author for origin, *_ in spread], pa.string()),
        deleted: pa.array([is_gone for _, is_gone, _ in spread], pa.bool_()),
    }
    for i, name in enumerate(site.stored(site.shown.values)):
        picked = pa.array([row[i] for *_, row in spread], pa.int64())
        columns[site.shown.values[i]] = table.column(name).combine_chunks().take(picked)
    return as_frame(columns)


# ---- Vintages


@dataclass(frozen=True, slots=True)
class Vintage:
    """A moment, and what was known then."""

    text: str
    stamp: int
    manifest: Manifest


def vintages(
    site: Site,
    label: str,
    interval: Interval,
    names: Sequence[str],
    moments: Sequence[Vintage],
    *,
    long: bool,
) -> pl.DataFrame:
    """What was known at each moment, as `Series.vintages` shows it."""
    index = site.shown.index
    values = [name for name in names if name not in index]
    states, table = _read_once(site, label, interval, (*index, *values), moments)
    counts = np.bincount(table.column(ORIGIN).to_numpy(), minlength=max(states, default=-1) + 1)
    table = table.drop_columns([ORIGIN]).combine_chunks()
    ends = np.concatenate(([0], np.cumsum(counts))).tolist()
    spans = [(ends[state], ends[state + 1]) for state in states]
    if long:
        return _long(table, spans, moments)
    return _wide(table, index, values, spans, [moment.text for moment in moments])


def _read_once(
    site: Site,
    label: str,
    interval: Interval,
    names: Sequence[str],
    moments: Sequence[Vintage],
) -> tuple[list[int], pa.Table]:
    """The number of the state of each moment, and the rows of all states; `ORIGIN` is the state."""
    numbers: dict[tuple[Extent, ...], int] = {}
    states = []
    found = []
    for moment in moments:
        extents = tuple(moment.manifest.select(label, interval)) if interval else ()
        if extents not in numbers:
            number = numbers[extents] = len(numbers)
            same = dict.fromkeys((e.write for e in extents), number)
            found.extend(parts(extents, interval, site.index, site.objects.segment, same))
        states.append(numbers[extents])
    return states, gather(site, found, (*names, ORIGIN))


def _long(
    table: pa.Table, spans: Sequence[tuple[int, int]], moments: Sequence[Vintage]
) -> pl.DataFrame:
    chosen = pa.concat_tables([table[:0], *(table.slice(a, b - a) for a, b in spans)])
    stamps = np.repeat([m.stamp for m in moments], [b - a for a, b in spans]).astype(np.int64)
    (name,) = free_names(["as_of"], table.column_names)
    columns = dict(zip(chosen.column_names, chosen.columns, strict=True))
    return as_frame({name: pa.array(stamps).cast(MOMENT), **columns})


def _wide(
    table: pa.Table,
    index: Sequence[str],
    values: Sequence[str],
    spans: Sequence[tuple[int, int]],
    texts: Sequence[str],
) -> pl.DataFrame:
    places, first = _places(table, index, sorted(set(spans)))
    columns = {name: table.column(name).take(pa.array(first)) for name in index}
    made: dict[tuple[int, int], list[pa.Array]] = {}
    for span in spans:
        if span not in made:
            picked = np.full(len(first), -1)
            picked[places[slice(*span)]] = np.arange(*span)
            chosen = pa.array(picked, mask=picked < 0)
            made[span] = [table.column(name).take(chosen) for name in values]
    for i, name in enumerate(values):
        for span, text in zip(spans, texts, strict=True):
            title = text if len(values) == 1 else f"{name}@{text}"
            if title in columns:
                raise RangeError(
                    f"vintages: two columns would be called {title!r}: expected different moments, "
                    "none of which has the name of an index column"
                )
            columns[title] = made[span][i]
    return as_frame(columns)


def _places(
    table: pa.Table, index: Sequence[str], spans: Iterable[tuple[int, int]]
) -> tuple[np.ndarray, np.ndarray]:
    """The place of each row's key among all different keys, sorted, and a row of each key. Equal
    keys of one state have places of their own."""
    keys = [f"k{i}" for i in range(len(index))]
    shown = pl.DataFrame(
        {key: key_column(table.column(name)) for key, name in zip(keys, index, strict=True)}
    )
    state = np.repeat(np.arange(len(list(spans))), [b - a for a, b in spans])
    shown = shown.with_columns(pl.Series("state", state), pl.int_range(pl.len()).alias("row"))
    again = pl.all_horizontal(pl.col(name) == pl.col(name).shift(1) for name in (*keys, "state"))
    if shown.select(again.any()).item():
        nth = pl.int_range(pl.len()).over("state", *keys).alias("nth")
        shown, keys = shown.with_columns(nth), [*keys, "nth"]
    different = shown.group_by(keys).agg(pl.col("row").first()).sort(keys)
    placed = different.select(*keys, pl.int_range(pl.len()).alias("place"))
    places = shown.join(placed, on=keys, how="left", maintain_order="left")["place"]
    return places.to_numpy(), different["row"].to_numpy()
