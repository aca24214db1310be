"""The changelog of a collection: a DAG of revisions, one small file per edge.

```
changelog/<collection id>/<parent>.<child>
child = <16 hex digits of the stamp>-<32 hex digits of the root page's digest>
```

The name says all that is needed to read: the parent, the child, its stamp and its root. So one
listing yields the whole DAG, and files whose names are not of this form are not revisions. `phi`
(all zeros) is the parent of a first revision. A merge, and a write made while several heads
exist, is one file per parent, all with one child. The content is a JSON document for people and
statistics: author, message, counts, checksum.

A revision is the last thing that a commit writes: it makes the write visible. A revision that
exists has everything below it.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from bisect import bisect_left
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple, NewType

import xxhash

from .clock import Stamp
from .digest import Digest
from .errors import DamagedError, FormatError, NotFoundError
from .moment import child_of, nanoseconds
from .store.base import Store

__all__ = [
    "PHI",
    "Changelog",
    "Child",
    "Edge",
    "History",
    "RevDigest",
    "Revision",
    "make_child",
    "root_of",
    "stamp_of",
]

Child = NewType("Child", str)
"""`stamp-digest`: the name of a state of a collection."""

PHI = Child("0" * 16 + "-" + "0" * 32)
FORMAT = 1
_NAME = re.compile(r"([0-9a-f]{16}-[0-9a-f]{32})\.([0-9a-f]{16}-[0-9a-f]{32})")
_TRIMMED = re.compile(r"trimmed\.([0-9a-f]{16})")

# A file system's clock may tick as rarely as every 10 ms: two changes within a tick leave the
# same mark. A listing is only trusted if it was made this long after its mark was first seen.
SETTLE = 0.05


def make_child(stamp: int, root: Digest) -> Child:
    """The name of the state with that stamp and root page."""
    return Child(f"{stamp:016x}-{root}")


def stamp_of(child: str) -> Stamp:
    """The stamp in a child's name."""
    return Stamp(int(child[:16], 16))


def root_of(child: str) -> Digest:
    """The root page in a child's name."""
    return Digest(child[17:])


class RevDigest(NamedTuple):
    """The two root digests of an edge."""

    parent: str
    child: str


@dataclass(frozen=True)
class Revision:
    """An edge of the changelog."""

    parent: Child
    child: Child
    is_leaf: bool
    """Whether its child is a head: nobody's parent."""

    @property
    def path(self) -> str:
        """Its file name, `parent.child`."""
        return f"{self.parent}.{self.child}"

    @property
    def stamp(self) -> Stamp:
        """Logical time, nanoseconds since 1970."""
        return stamp_of(self.child)

    @property
    def epoch(self) -> str:
        """The stamp as in the child's name: 16 hexadecimal digits, which sort as the stamps."""
        return self.child[:16]

    @property
    def time(self) -> datetime:
        """The stamp as a time in UTC, cut to microseconds."""
        seconds, nanos = divmod(self.stamp, 1_000_000_000)
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanos // 1000)

    @property
    def root(self) -> Digest:
        """The digest of the manifest's root page."""
        return root_of(self.child)

    @property
    def digests(self) -> RevDigest:
        """The root digests of parent and child."""
        return RevDigest(self.parent[17:], self.child[17:])

    def __repr__(self) -> str:
        return f"<Revision {self.path} {'*' if self.is_leaf else ''}>"


Edge = tuple[Child, Child]
"""Parent and child."""


@dataclass(frozen=True)
class History:
    """What one listing says: an immutable value."""

    edges: frozenset[Edge] = frozenset()
    parents: frozenset[Child] = frozenset()
    heads: tuple[Child, ...] = ()
    """Sorted by stamp, then digest: the last is the newest."""

    @classmethod
    def of(cls, edges: Iterable[Edge]) -> History:
        return cls().add(edges)

    def add(self, edges: Iterable[Edge]) -> History:
        """This history and these edges."""
        new = frozenset(edges)
        parents = self.parents.union(parent for parent, _ in new)
        heads = {*self.heads, *(child for _, child in new)} - parents
        return History(self.edges | new, parents, tuple(sorted(heads)))

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
    def children(self) -> frozenset[Child]:
        """Every state that there is a revision of."""
        return frozenset(child for _, child in self.edges)

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


_WRITING: dict[Hashable, threading.RLock] = {}
_GUARD = threading.Lock()


def _forget_locks() -> None:
    # A lock that another thread held while this process was forked would never be released.
    global _GUARD
    _GUARD = threading.Lock()
    _WRITING.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_locks)


class Changelog:
    """The revisions of one collection in one store. Threads may share it."""

    def __init__(self, store: Store, collection_id: str) -> None:
        self.store = store
        self.folder = f"changelog/{collection_id}"
        self._lock = threading.Lock()
        self._history = History()
        self._names: set[str] = set()
        self._documents: dict[Child, Mapping[str, Any]] = {}
        self._mark: Hashable | None = None
        self._mark_seen = self._listed = 0.0

    def writing(self) -> threading.RLock:
        """Held by a commit: the threads of one process take turns, whatever handles they use, so
        that they see each other's writes and do not diverge. Correctness does not need it."""
        with _GUARD:
            return _WRITING.setdefault((self.store.place, self.folder), threading.RLock())

    def history(self) -> History:
        """All revisions that are there now: a stat if nothing changed, otherwise a listing."""
        with self._lock:
            mark = self.store.mark(self.folder)
            if mark is None or mark != self._mark:
                self._mark, self._mark_seen = mark, time.monotonic()
            elif self._listed - self._mark_seen > SETTLE:
                return self._history
            self._listed = time.monotonic()
            names = set(self.store.names(self.folder))
            if self._names <= names:
                self._history = self._history.add(_edges(names - self._names))
            else:
                self._history = History.of(_edges(names))
            self._names = names
            return self._history

    def heads(self) -> tuple[Child, ...]:
        """The children that are nobody's parent, newest last."""
        return self.history().heads

    def refresh(self) -> None:
        """List again at the next use, whatever the store says."""
        with self._lock:
            self._mark = None

    def log(self, before: Any = None) -> list[Revision]:
        """Every revision, depth first, the oldest branch first. `before`: only those before a time
        or a revision."""
        history = self.history()
        if before is not None:
            child = child_of(before)
            limit = stamp_of(child) if child else nanoseconds(before, what="before")
            history = history.until(limit - 1)
        return list(_depth_first(history))

    def leaf(self, before: Any = None) -> Revision | None:
        """The newest head's revision; None if there is none."""
        leaves = self.leafs(before)
        return max(leaves, key=lambda r: r.child) if leaves else None

    def leafs(self, before: Any = None) -> list[Revision]:
        """The revisions whose child is a head. A merge has one for each of its parents."""
        return [revision for revision in self.log(before) if revision.is_leaf]

    def __iter__(self) -> Any:
        return iter(self.log())

    def __len__(self) -> int:
        return len(self.history().edges)

    # ---- Documents

    def commit(
        self, parents: Sequence[Child], child: Child, document: Mapping[str, Any]
    ) -> list[Revision]:
        """Write the revisions from each of `parents` to `child`: what makes a commit visible."""
        self.write({(parent, child): document for parent in parents})
        return [Revision(parent, child, True) for parent in parents]

    def write(self, documents: Mapping[Edge, Mapping[str, Any]]) -> None:
        """Write documents, at once."""
        self.store.put_all(
            {self._name(edge): encode_document(*edge, doc) for edge, doc in documents.items()}
        )

    def read(self, edge: Edge) -> dict[str, Any]:
        """The document of an edge; raises `DamagedError`, `ObjectMissingError`."""
        return decode_document(*edge, self.store.get(self._name(edge)).to_pybytes())

    def document(self, revision: Revision | str) -> dict[str, Any]:
        """The document of a revision, or of its path or child: author, message, kind, counts.
        Raises `NotFoundError`."""
        child = Child(child_of(revision) or "")
        parents = self.history().parents_of.get(child)
        if not parents:
            raise NotFoundError(f"{revision!r} is no revision of this collection: see log()")
        return self.read((getattr(revision, "parent", parents[0]), child))

    def about(self, child: Child) -> Mapping[str, Any]:
        """The document of the revisions that made a state, which all say the same. Kept."""
        found = self._documents.get(child)
        if found is None:
            parent = self.history().parents_of[child][0]
            found = self._documents[child] = self.read((parent, child))
        return found

    # ---- Trimming

    def trimmed(self) -> int:
        """The stamp up to which history was trimmed here; 0 if it never was."""
        self.history()
        marks = [match[1] for name in self._names if (match := _TRIMMED.fullmatch(name))]
        return int(max(marks), 16) if marks else 0

    def trim(self, edges: Iterable[Edge], stamp: int) -> int:
        """Delete revisions, oldest first, and remember that all up to `stamp` were, so that no
        pull brings them back. Returns how many."""
        names = [self._name(edge) for edge in sorted(edges, key=lambda e: e[1])]
        if names and stamp > self.trimmed():
            marker = f"{self.folder}/trimmed.{stamp:016x}"
            self.store.put(marker, b"")
            older = [n for n in self._names if _TRIMMED.fullmatch(n)]
            self.store.delete([f"{self.folder}/{n}" for n in older])
        self.store.delete(names)
        self.refresh()
        return len(names)

    def ages(self) -> dict[Edge, float]:
        """When each revision came into this store: seconds since the epoch, by its clock."""
        found = {info.name: info.modified for info in self.store.list(self.folder)}
        start = len(self.folder) + 1
        return {edge: at for name, at in found.items() for edge in _edges([name[start:]])}

    def _name(self, edge: Edge) -> str:
        return f"{self.folder}/{edge[0]}.{edge[1]}"


def encode_document(parent: Child, child: Child, document: Mapping[str, Any]) -> bytes:
    """The bytes of a revision: JSON with sorted keys; `checksum` is the xxh3_64 of the same JSON
    without it. Parent and child are inside, so that a document under a wrong name is noticed."""
    body = {**document, "format": FORMAT, "parent": parent, "child": child}
    body.pop("checksum", None)
    body["checksum"] = _checksum(body)
    return (json.dumps(body, sort_keys=True, ensure_ascii=False) + "\n").encode()


def decode_document(parent: Child, child: Child, data: bytes) -> dict[str, Any]:
    """The document, checked; raises `DamagedError`, `FormatError`."""
    try:
        body = json.loads(data)
        checksum = body.pop("checksum")
        intact = checksum == _checksum(body)
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise DamagedError(f"revision {parent}.{child} is not a document: {error}") from error
    if not intact or (body["parent"], body["child"]) != (parent, child):
        raise DamagedError(f"revision {parent}.{child} does not match its checksum and name")
    if body["format"] != FORMAT:
        raise FormatError(
            f"revision {parent}.{child} is of format {body['format']}, this release reads {FORMAT}"
        )
    return dict(body)


def _checksum(body: Mapping[str, Any]) -> str:
    return xxhash.xxh3_64_hexdigest(json.dumps(body, sort_keys=True).encode())


def _edges(names: Iterable[str]) -> Iterable[Edge]:
    for name in names:
        match = _NAME.fullmatch(name)
        if match and match[1] < match[2]:
            yield Child(match[1]), Child(match[2])


def _depth_first(history: History) -> Iterable[Revision]:
    children: dict[Child, list[Child]] = {}
    for parent, child in sorted(history.edges):
        children.setdefault(parent, []).append(child)
    made = {child for _, child in history.edges}
    heads = set(history.heads)
    roots = sorted(parent for parent in children if parent not in made)
    queue = [(root, child) for root in roots for child in children[root]][::-1]
    entered: set[Child] = set()
    while queue:
        parent, child = queue.pop()
        yield Revision(parent, child, child in heads)
        if child not in entered:
            entered.add(child)
            queue.extend((child, grandchild) for grandchild in reversed(children.get(child, ())))
