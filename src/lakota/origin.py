"""Where rows come from: the revision that brought a write, its stamp and its author.

An extent knows its write, not its revision. A revision's document says which stamps it gave out,
`first` to the child's own, and the author; so a write keeps its author through merges and
compactions, and loses it only when its revision is trimmed. Two replicas may have given out the
same stamps: then the manifests say which of them the write belongs to.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import pyarrow as pa

from .answer import free_names, times
from .changelog import Child, stamp_of
from .extent import Extent
from .overlay import ORIGIN
from .site import Site
from .view import View

__all__ = ["Origin", "numbered", "origins", "show_origins"]

SPREAD = 1 << 20
"""How many stamps a revision may have given out: the writes of one label in one commit."""


class Origin(NamedTuple):
    """Where a write comes from."""

    stamp: int
    """Of the revision that brought it, from which on it was known; if that was trimmed, its own."""
    author: str | None
    """None if its revision was trimmed."""


def origins(site: Site, extents: Iterable[Extent]) -> dict[tuple[int, int], Origin]:
    """The origin of each write of `extents`, which are all of one label."""
    history = site.changelog.history()
    children = sorted(history.children)
    return {e.write: _origin(site, children, e) for e in {e.write: e for e in extents}.values()}


def _origin(site: Site, children: Sequence[Child], extent: Extent) -> Origin:
    found = list(_candidates(site, children, extent.stamp))
    if len(found) > 1:
        found = [child for child in found if _holds(site, child, extent)]
    if not found:
        return Origin(extent.stamp, None)
    return Origin(stamp_of(found[0]), site.changelog.about(found[0]).get("author"))


def _candidates(site: Site, children: Sequence[Child], stamp: int) -> Iterator[Child]:
    """The revisions that gave out a stamp."""
    at = bisect_left(children, f"{stamp:016x}-")
    for child in children[at:]:
        if stamp_of(child) > stamp + SPREAD:
            return
        first = site.changelog.about(child).get("first")
        if first is not None and first <= stamp:
            yield child


def _holds(site: Site, child: Child, extent: Extent) -> bool:
    found = site.manifest(child).select(extent.label, extent.interval)
    return any(e.write == extent.write for e in found)


def numbered(view: View) -> View:
    """The view, with its writes numbered in the order in which they win."""
    extents = view.manifest.select(view.label, view.interval) if view.interval else []
    writes = sorted({e.write for e in extents})
    return replace(view, origins={write: n for n, write in enumerate(writes)})


def show_origins(view: View, table: pa.Table) -> pa.Table:
    """A table of a numbered view with the columns `stamp` and `author` in place of `ORIGIN`."""
    known = origins(view.site, view.manifest.select(view.label, view.interval))
    ordered = [known[write] for write in view.origins or ()]
    at = table.column_names.index(ORIGIN)
    numbers, table = table.column(at), table.remove_column(at)
    stamp, author = free_names(["stamp", "author"], table.column_names)
    stamps = times(origin.stamp for origin in ordered)
    authors = pa.array([origin.author for origin in ordered], pa.string())
    table = table.append_column(stamp, stamps.take(numbers))
    return table.append_column(author, authors.take(numbers))
