"""Merges that do not leave conflicts to the law: refused, or decided for one side.

A decision is a write like any other: one commit on the heads that joins them and, with a new
stamp, gives the keys in conflict the content that they have on the chosen side. So the laws of
merging hold, and the decision wins over the writes that it decided about wherever it arrives. If
the law itself keeps that side everywhere, it is an ordinary merge.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby

import numpy as np
import polars as pl
import pyarrow as pa

from .bounds import key_cuts
from .changelog import Child, Revision
from .conflict import Conflict, conflicts
from .diff import LEFT, RIGHT, compared, shown, stack
from .errors import ConflictError, InputError
from .interval import Interval
from .manifest import Manifest
from .merge import merge
from .narrow import narrowed
from .overlay import ORIGIN
from .site import Site
from .transaction import check_about, commit
from .writes import Write

__all__ = ["CHOICES", "check_choice", "merge_by", "refuse_conflicts"]

CHOICES = ("latest", "ours", "theirs", "raise")
SHOWN = 5
"""Conflicts that an error lists."""


def merge_by(
    site: Site, choice: str, heads: Sequence[Child] | None, author: str | None, message: str
) -> list[Revision]:
    """Join `heads` (all of them by default), of which the first, or the newest by default, is
    ours."""
    check_about(author, message)
    check_choice(choice)
    if choice == "latest":
        return merge(site, heads)
    with site.changelog.writing():
        ordered = list(dict.fromkeys(heads or reversed(site.changelog.heads())))
        if len(ordered) < 2:
            return []
        found = conflicts(site, ordered)
        if choice == "raise":
            _refuse(found)
            return merge(site, ordered)
        ours, *theirs = ordered
        about_us = [conflict for conflict in found if ours in conflict.sides]
        chosen = site.joined([ours] if choice == "ours" else sorted(theirs)).manifest
        merged = site.joined(sorted(ordered)).manifest
        made = commit(
            site,
            list(_decisions(site, about_us, merged, chosen)),
            author=author,
            message=message or f"merge, {choice} where both sides changed",
            narrow=partial(narrowed, site),
            heads=sorted(ordered),
        )
        return made or merge(site, ordered)


def check_choice(choice: object) -> None:
    """Raises `InputError` for what is no choice."""
    if not isinstance(choice, str) or choice not in CHOICES:
        raise InputError(f"on_conflict={choice!r}: expected one of {', '.join(CHOICES)}")


def refuse_conflicts(site: Site) -> None:
    """Raises `ConflictError` if the heads are in conflict."""
    _refuse(conflicts(site, site.changelog.heads()))


def _refuse(found: Sequence[Conflict]) -> None:
    if not found:
        return
    listed = [
        f"{c.label!r} from {_said(c.keys[:1])} to {_said(c.keys[-1:])}" for c in found[:SHOWN]
    ]
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    raise ConflictError(
        f"both sides changed {'; '.join(listed)}{more}: see conflicts(), and merge with "
        "on_conflict='latest', 'ours' or 'theirs'"
    )


def _said(key: pa.Table) -> str:
    return ", ".join(f"{column[0]}" for column in key.columns)


def _decisions(
    site: Site, found: Sequence[Conflict], merged: Manifest, chosen: Manifest
) -> Iterator[Write]:
    """For each series the content from the first to the last key in conflict: as it is merged, but
    the keys in conflict as they are on the chosen side."""
    if not found:
        return
    hulls = {
        label: _hull(site, [conflict.keys for conflict in group])
        for label, group in groupby(found, key=lambda c: c.label)
    }
    content, theirs = (
        stack(site.bare, [(m.select(*job), job[1]) for job in hulls.items()], site.schema.names)
        for m in (merged, chosen)
    )
    numbers = {label: number for number, label in enumerate(hulls)}
    for columns, group in groupby(sorted(found, key=_columns), key=_columns):
        keys = pa.concat_tables(
            c.keys.append_column(ORIGIN, pa.repeat(numbers[c.label], len(c.keys))) for c in group
        )
        content = _choose(site, content, theirs, keys, columns or site.schema.values)
    jobs, rows = content.column(ORIGIN).to_numpy(), content.drop_columns([ORIGIN])
    for number, (label, hull) in enumerate(hulls.items()):
        start, stop = np.searchsorted(jobs, [number, number + 1]).tolist()
        yield Write(label, hull, rows, start, stop, only_changes=True)


def _hull(site: Site, keys: Sequence[pa.Table]) -> Interval:
    ends = pa.concat_tables(end for table in keys for end in (table[:1], table[-1:]))
    los, his = key_cuts(ends, site.schema, range(len(ends)), range(len(ends)))
    return Interval(min(los), max(his))


def _columns(conflict: Conflict) -> tuple[str, ...]:
    return conflict.columns or ()


def _choose(
    site: Site, content: pa.Table, theirs: pa.Table, keys: pa.Table, columns: Sequence[str]
) -> pa.Table:
    """`content`, where the rows of `keys` are those of `theirs`, or have those of its `columns`."""
    index = site.schema.index
    asked = shown(keys, index, (), "asked")
    on = [name for name in asked.columns if name != "asked"]
    here, there = (
        shown(table, index, (), "row").join(asked, on=on, how="semi")["row"].implode()
        for table in (content, theirs)
    )
    left, right = pl.col(LEFT), pl.col(RIGHT)
    decided = left.is_in(here).fill_null(False) | right.is_in(there).fill_null(False)
    pairs = compared(content, theirs, index, ()).pairs.with_columns(decided=decided)
    pairs = pairs.filter(pl.when("decided").then(right.is_not_null()).otherwise(left.is_not_null()))
    beyond = right + content.num_rows
    sources = {
        name: pl.when("decided").then(beyond).otherwise(left)
        if name in columns
        else pl.coalesce(left, beyond)
        for name in content.column_names
    }
    both = pa.concat_tables([content, theirs])
    taken = [
        both.column(n).take(pairs.select(e).to_series().to_arrow()) for n, e in sources.items()
    ]
    return pa.table(taken, schema=both.schema)
