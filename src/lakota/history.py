"""The DAG of a collection's states, as values: states, edges, and what a listing says. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from functools import cached_property
from typing import NewType

from .clock import Stamp
from .digest import Digest

__all__ = ["PHI", "Child", "Edge", "History", "make_child", "root_of", "stamp_of"]

Child = NewType("Child", str)
"""`stamp-digest`: the name of a state of a collection."""

Edge = tuple[Child, Child]
"""Parent and child."""

PHI = Child("0" * 16 + "-" + "0" * 32)

RECENT = 512
"""Edges that are kept apart at most, see `History`."""


def make_child(stamp: int, root: Digest) -> Child:
    """The name of the state with that stamp and root page."""
    return Child(f"{stamp:016x}-{root}")


def stamp_of(child: str) -> Stamp:
    """The stamp in a child's name."""
    return Stamp(int(child[:16], 16))


def root_of(child: str) -> Digest:
    """The root page in a child's name."""
    return Digest(child[17:])


class _Edges:
    """Some edges, with what is asked of them most."""

    __slots__ = ("children", "edges", "parents")

    def __init__(self, edges: frozenset[Edge] = frozenset()) -> None:
        self.edges = edges
        self.parents = frozenset([parent for parent, _ in edges])
        self.children = frozenset([child for _, child in edges])

    def __or__(self, other: _Edges) -> _Edges:
        both = _Edges()
        both.edges = self.edges | other.edges
        both.parents = self.parents | other.parents
        both.children = self.children | other.children
        return both


class History:
    """What one listing says: an immutable value.

    A few recent edges are kept apart from the many old ones, which successive histories share: so
    adding an edge costs the same however long the history is.
    """

    def __init__(
        self,
        old: _Edges | None = None,
        new: _Edges | None = None,
        heads: tuple[Child, ...] = (),
    ) -> None:
        self._old = old or _Edges()
        self._new = new or _Edges()
        self.heads = heads
        """Sorted by stamp, then digest: the last is the newest."""

    @classmethod
    def of(cls, edges: Iterable[Edge]) -> History:
        return cls().add(edges)

    def add(self, edges: Iterable[Edge]) -> History:
        """This history and these edges."""
        fresh = _Edges(frozenset([edge for edge in edges if edge not in self]))
        if not fresh.edges:
            return self
        old, new = self._old, self._new | fresh
        if len(new.edges) > RECENT:
            old, new = old | new, _Edges()
        candidates = {*self.heads, *fresh.children}
        heads = [c for c in candidates if c not in old.parents and c not in new.parents]
        return History(old, new, tuple(sorted(heads)))

    def __contains__(self, edge: Edge) -> bool:
        return edge in self._new.edges or edge in self._old.edges

    def __len__(self) -> int:
        return len(self._old.edges) + len(self._new.edges)

    def has(self, child: Child) -> bool:
        """Whether there is a revision of that state."""
        return child in self._new.children or child in self._old.children

    @cached_property
    def edges(self) -> frozenset[Edge]:
        return self._old.edges | self._new.edges

    @property
    def parents(self) -> frozenset[Child]:
        return self._old.parents | self._new.parents

    @cached_property
    def children(self) -> frozenset[Child]:
        """Every state that there is a revision of."""
        return self._old.children | self._new.children

    def orphans(self, edges: Iterable[Edge]) -> set[Child]:
        """The parents in `edges` that there is no revision of."""
        return {parent for parent, _ in edges if parent != PHI and not self.has(parent)}

    def ancestors(self, children: Iterable[Child]) -> set[Child]:
        """Those of `children` and all that led to them."""
        found: set[Child] = set()
        queue = list(children)
        while queue:
            child = queue.pop()
            if child not in found:
                found.add(child)
                queue.extend(self.parents_of.get(child, ()))
        return found

    def until(self, stamp: int) -> History:
        """The history as it was when nothing later than `stamp` was there."""
        limit = f"{stamp:016x}~"  # sorts after every child of that stamp
        return History.of(edge for edge in self.edges if edge[1] < limit)

    def heads_until(self, stamp: int) -> tuple[Child, ...]:
        """`until(stamp).heads`, by a look into `_past`: reads as of a time need no more."""
        at = bisect_left(self._past[0], f"{stamp:016x}~")
        return self._past[1][at - 1] if at else ()

    @cached_property
    def parents_of(self) -> dict[Child, tuple[Child, ...]]:
        """Each state that there is a revision of, with what it was made on, sorted."""
        found: dict[Child, list[Child]] = {}
        for parent, child in sorted(self.edges):
            found.setdefault(child, []).append(parent)
        return {child: tuple(parents) for child, parents in found.items()}

    @cached_property
    def known_from(self) -> int:
        """The stamp from which on all is known: before it, what the heads were may have been
        forgotten, for there are revisions whose parents are not there."""
        return max(
            (
                int(child[:16], 16)
                for child, parents in self.parents_of.items()
                if any(p != PHI and p not in self.parents_of for p in parents)
            ),
            default=0,
        )

    @cached_property
    def _past(self) -> tuple[list[Child], list[tuple[Child, ...]]]:
        """The children, sorted, and what the heads were once each of them was there. A child sorts
        after its parents."""
        parents = self.parents_of
        children = sorted(parents)
        heads: set[Child] = set()
        found = []
        for child in children:
            heads = {*heads.difference(parents[child]), child}
            found.append(tuple(sorted(heads)))
        return children, found
