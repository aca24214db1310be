"""Where rows come from: the revision that brought a write, its stamp and its author.

An extent knows its write, not its revision. A revision's document says which stamps it gave out,
`first` to the child's own, and the author; so a write keeps its author through merges and
compactions, and loses it only when its revision is trimmed. Two replicas may have given out the
same stamps: then the manifests say which of them the write belongs to.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

import pyarrow as pa

from .answer import free_names, times
from .changelog import Child, stamp_of
from .errors import NotFoundError, ObjectMissingError
from .extent import Extent
from .overlay import ORIGIN
from .site import Site
from .view import View

__all__ = ["Origin", "Origins", "origin_names", "origins"]

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
    return Origin(stamp_of(found[0]), _about(site, found[0]).get("author"))


def _candidates(site: Site, children: Sequence[Child], stamp: int) -> Iterator[Child]:
    """The revisions that gave out a stamp."""
    at = bisect_left(children, f"{stamp:016x}-")
    for child in children[at:]:
        if stamp_of(child) > stamp + SPREAD:
            return
        first = _about(site, child).get("first")
        if first is not None and first <= stamp:
            yield child


def _about(site: Site, child: Child) -> Mapping[str, Any]:
    """What a revision says of itself; nothing if it was trimmed meanwhile."""
    with suppress(NotFoundError, ObjectMissingError):
        return site.changelog.about(child)
    return {}


def _holds(site: Site, child: Child, extent: Extent) -> bool:
    found = site.manifest(child).select(extent.label, extent.interval)
    return any(e.write == extent.write for e in found)


class Origins:
    """Writes, numbered as they are met, and where each of them comes from."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._numbers: dict[tuple[int, int], int] = {}
        self._known: list[Origin] = []

    def numbers(self, extents: Iterable[Extent]) -> Mapping[tuple[int, int], int]:
        """The numbers of the writes of `extents`, which are all of one label."""
        new = [e for e in extents if e.write not in self._numbers]
        for write, origin in origins(self._site, new).items():
            self._numbers[write] = len(self._known)
            self._known.append(origin)
        return self._numbers

    def numbered(self, view: View) -> View:
        """The view, which then has the column `ORIGIN`: the numbers of its writes."""
        return replace(view, origins=self.numbers(view.extents()))

    def show(self, table: pa.Table, names: Sequence[str] | None = None) -> pa.Table:
        """A table with the columns `stamp` and `author`, or `names`, in place of `ORIGIN`."""
        at = table.column_names.index(ORIGIN)
        numbers, table = table.column(at), table.remove_column(at)
        stamps = times(origin.stamp for origin in self._known)
        authors = pa.array([origin.author for origin in self._known], pa.string())
        names = names or origin_names(table.column_names)
        for name, values in zip(names, (stamps, authors), strict=True):
            table = table.append_column(name, values.take(numbers))
        return table


def origin_names(taken: Iterable[str]) -> list[str]:
    """The names of the columns of stamps and authors, beside others."""
    return free_names(["stamp", "author"], taken)
