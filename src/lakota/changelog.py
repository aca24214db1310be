"""The changelog of a collection: a DAG of revisions, one small file per edge.

```
changelog/<collection id>/<parent>.<child>
child = <16 hex digits of the stamp>-<32 hex digits of the root page's digest>
```

The name says all that is needed to read: the parent, the child, its stamp and its root. So one
listing yields the whole DAG, and files whose names are not of this form are not revisions. `phi`
(all zeros) is the parent of a first revision. A merge, and a write made while several heads
exist, is one file per parent, all with one child; of many heads a write ends some, see `ended`.
The content is a JSON document for people and statistics: author, message, counts, checksum.

Old revisions move, many at a time, into an `archive`, and their own files go: so a listing stays
short. A revision is there if it has a file of its own, or a row in an archive, or both. Where
readers are far, a `guide` lies beside them.

A revision is the last thing that a commit writes: it makes the write visible. A revision that
exists has everything below it.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from .archive import Archive, Record, archive_digest, encode_archive
from .clock import Stamp
from .digest import Digest
from .document import bare, decode_document, encode_document, whole
from .errors import DamagedError, FormatError, NotFoundError, ObjectMissingError
from .guide import is_guide
from .history import PHI, Child, Edge, History, make_child, root_of, stamp_of
from .moment import child_of, nanoseconds
from .store.base import Store, decoded

__all__ = [
    "PHI",
    "Changelog",
    "Child",
    "Edge",
    "History",
    "Listing",
    "RevDigest",
    "Revision",
    "edges_in",
    "make_child",
    "root_of",
    "stamp_of",
    "trimmed_in",
]

LAST = "8"
"""Sorts after the names of all states: stamps are below 2^63."""
_NAME = re.compile(r"([0-9a-f]{16}-[0-9a-f]{32})\.([0-9a-f]{16}-[0-9a-f]{32})")
_TRIMMED = re.compile(r"trimmed\.([0-9a-f]{16})")

# A file system's clock may tick as rarely as every 10 ms: two changes within a tick leave the
# same mark. A listing is only trusted if it was made this long after its mark was first seen.
SETTLE = 0.05

RECENT = 1.0
"""Seconds for which a writer that has looked need not look again."""
ATTEMPTS = 5
"""Listings in a row that may be disturbed by others who move revisions."""
ENDED = 8
"""Heads that a write ends at most."""
LOOSE = 256
"""Revisions with files of their own, above which `tidy` moves some."""
KEEP = 64
"""The latest ones, which `tidy` leaves where they are."""
ARCHIVES = 24
"""Archives, above which `tidy` joins some."""
TIER = 4
"""An archive goes into a new one unless it is so many times as large."""


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


@dataclass(frozen=True, slots=True)
class Listing:
    """What a look has shown to one who is about to write."""

    history: History
    turn: int
    """How often this process had written when it began."""
    at: float
    """When it ended, by `time.monotonic`."""
    end: Callable[[], object]
    """Ends the turn that he has meanwhile."""
    _turns: _Turns

    @property
    def is_recent(self) -> bool:
        """Whether it was seen just now, and nobody in this process has written since."""
        return self.turn == self._turns.taken and time.monotonic() - self.at < RECENT


class _Turns:
    """Of the writers of one process to one collection."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.asking = threading.Lock()
        """Held by the one for whom a turn among all processes is asked."""
        self.taken = 0


_WRITING: dict[Hashable, _Turns] = {}
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
        self.collection_id = collection_id
        self.folder = f"changelog/{collection_id}"
        self._lock = threading.Lock()
        self._history = History()
        self._names: frozenset[str] = frozenset()
        self._archives: dict[str, Archive] = {}
        self._guides: Sequence[str] = ()
        self._documents: dict[Child, Mapping[str, Any]] = {}
        self._own: Child | None = None
        self._mark: Hashable | None = None
        self._mark_seen = self._listed = 0.0

    def __repr__(self) -> str:
        return f"<Changelog {self.folder.removeprefix('changelog/')}>"

    def writing(self) -> threading.RLock:
        """Held by a commit: the threads of one process take turns, whatever handles they use, so
        that they see each other's writes and do not diverge. Correctness does not need it."""
        return self._turns.lock

    @property
    def _turns(self) -> _Turns:
        with _GUARD:
            return _WRITING.setdefault((self.store.place, self.folder), _Turns())

    def _written(self) -> None:
        turns = self._turns
        with _GUARD:
            turns.taken += 1

    def history(self) -> History:
        """All revisions that are there now: a stat if nothing changed, otherwise a listing."""
        with self._lock:
            mark = self.store.mark(self.folder)
            if mark is None or mark != self._mark:
                self._mark, self._mark_seen = mark, time.monotonic()
            elif self._listed - self._mark_seen > SETTLE:
                return self._history
            self._listed = time.monotonic()
            self._list()
            return self._history

    def _list(self, seen: Iterable[str] | None = None) -> None:
        """Bring what is known up to date. A listing that is made while revisions move into an
        archive may show them in neither place: if some seem to be gone, it is made again."""
        for _ in range(ATTEMPTS):
            names = frozenset(self.store.names(self.folder) if seen is None else seen)
            seen = None
            added, removed = names - self._names, self._names - names
            archives = self._open_archives(added, removed)
            if archives is None:
                continue
            fresh = {*edges_in(added)}
            fresh.update(*(archives[n].edges for n in archives.keys() - self._archives.keys()))
            fresh = {edge for edge in fresh if edge not in self._history}
            gone = bool(removed) and self._gone(names, removed, archives)
            history = self._history.add(fresh)
            if gone:
                edges = {*edges_in(names)}.union(*(a.edges for a in archives.values()))
                history = History.of(edges)
            self._names, self._archives, self._history = names, archives, history
            self._guides = [f"{self.folder}/{name}" for name in _guides_in(names, history)]
            if not (gone or history.orphans(fresh)):
                return

    def _open_archives(
        self, added: Iterable[str], removed: Iterable[str]
    ) -> dict[str, Archive] | None:
        """The archives that are there now; None if one has gone meanwhile, because its revisions
        are in another one."""
        found = {name: held for name, held in self._archives.items() if name not in removed}
        for name in added:
            digest = archive_digest(name)
            if digest is None:
                continue
            try:
                found[name] = self._read_archive(name, digest)
            except ObjectMissingError:
                return None
        return found

    def _read_archive(self, name: str, digest: Digest) -> Archive:
        path = f"{self.folder}/{name}"
        try:
            return decoded(self.store, path, lambda data: Archive(digest, data))
        except DamagedError as error:
            raise DamagedError(
                f"{path} is damaged: {error}; it holds revisions: restore it from a replica's copy"
            ) from error

    def _gone(
        self, names: frozenset[str], removed: frozenset[str], archives: Mapping[str, Archive]
    ) -> bool:
        """Whether revisions that were known are in no file any more."""
        lost = set(edges_in(removed))
        lost.update(*(a.edges for name, a in self._archives.items() if name in removed))
        for archive in archives.values():
            lost -= archive.edges
        return any(f"{parent}.{child}" not in names for parent, child in lost)

    def glance(self) -> Listing:
        """What there is now, for one who may write and waits for nobody."""
        turns = self._turns
        taken = turns.taken
        return Listing(self.history(), taken, time.monotonic(), tuple, turns)

    def look(self) -> Listing:
        """What there is now, for one who will write, and whose turn it is then. Of the threads of
        this process, which take turns anyway, one waits for others."""
        turns = self._turns
        taken, asking = turns.taken, turns.asking
        if not asking.acquire(blocking=False):
            return self.glance()
        with ExitStack() as turn:
            turn.callback(asking.release)
            names, end = self.store.turn(self.folder)
            turn.callback(end)
            with self._lock:
                self._listed = time.monotonic()
                self._list(names)
                return Listing(self._history, taken, self._listed, turn.pop_all().close, turns)

    def heads(self) -> tuple[Child, ...]:
        """The children that are nobody's parent, newest last."""
        return self.history().heads

    @property
    def last(self) -> History:
        """What is known without another look: the last listing, and what was written since."""
        return self._history

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
        return len(self.history())

    # ---- Documents

    def ended(self, heads: Sequence[Child]) -> Sequence[Child]:
        """Of the heads that a write is made on, those that are none any more after it: all of
        them, or of many our own last child and those before it in a circle.

        Each costs a file. Writers that never pause make as many heads as they are, and if each of
        them ended all, one would be ended again and again. Others have other places in the circle,
        so together they end all. Who has no child among the heads, as a process that writes once,
        draws a place by lot."""
        if len(heads) <= ENDED:
            return heads
        at = heads.index(self._own) if self._own in heads else secrets.randbelow(len(heads))
        return [heads[at - n] for n in range(ENDED)]

    def commit(
        self, parents: Sequence[Child], child: Child, document: Mapping[str, Any]
    ) -> list[Revision]:
        """Write the revisions from each of `parents` to `child`: what makes a commit visible.

        The one from our own last child comes first, so it is no head any more by the time that
        any other says that `child` is one: at no moment are there more heads than writers. If it
        dies between the two, the others stay heads beside a child that has seen them: harmless."""
        own = [parent for parent in parents if parent == self._own]
        others = [parent for parent in parents if parent != self._own]
        for some in filter(None, (own, others)):
            self.write({(parent, child): document for parent in some})
        self._own = child
        # Who is listing will see it by himself, or next time.
        if self._lock.acquire(blocking=False):
            try:
                self._names = self._names.union(f"{parent}.{child}" for parent in parents)
                self._history = self._history.add((parent, child) for parent in parents)
            finally:
                self._lock.release()
        return [Revision(parent, child, True) for parent in parents]

    def write(self, documents: Mapping[Edge, Mapping[str, Any]]) -> None:
        """Write documents, at once."""
        self.store.put_all(
            {self._name(edge): encode_document(*edge, doc) for edge, doc in documents.items()}
        )
        self._written()

    def read(self, edge: Edge) -> dict[str, Any]:
        """The document of an edge; raises `DamagedError`, `ObjectMissingError`."""
        for _ in range(ATTEMPTS):
            for archive in list(self._archives.values()):
                if edge in archive.edges:
                    return whole(*edge, archive.document(edge))
            try:
                return self._read_own(edge)
            except ObjectMissingError:
                self.refresh()
                if edge not in self.history():
                    raise
        return self._read_own(edge)

    def _read_own(self, edge: Edge) -> dict[str, Any]:
        """The document of an edge that has a file of its own."""
        name = self._name(edge)
        return decoded(self.store, name, lambda data: decode_document(*edge, data.to_pybytes()))

    def guides(self) -> Sequence[str]:
        """The names of the guides that are there, the latest first, as of the last listing."""
        return self._guides

    def archives(self) -> dict[str, Archive]:
        """The archives by the names of their files, as of the last listing."""
        return {f"{self.folder}/{name}": archive for name, archive in self._archives.items()}

    def document(self, revision: Revision | str) -> dict[str, Any]:
        """The document of a revision, or of its path or child: author, message, kind, counts.
        Raises `NotFoundError`."""
        child = Child(child_of(revision) or "")
        parents = self.history().parents_of.get(child)
        if not parents:
            raise NotFoundError(f"{revision!r} is no revision of this collection: see log()")
        return self.read((getattr(revision, "parent", parents[0]), child))

    def about(self, child: Child) -> Mapping[str, Any]:
        """The document of the revisions that made a state, which all say the same. Kept. Raises
        `NotFoundError` if it was trimmed."""
        found = self._documents.get(child)
        if found is None:
            found = self._documents[child] = self.document(child)
        return found

    def told(
        self, choose: Callable[[History], Sequence[Child]]
    ) -> tuple[History, list[Mapping[str, Any]]]:
        """The history, and the documents of the states that `choose` takes of it; if some of them
        are trimmed meanwhile, of the history that there is then."""
        for _ in range(ATTEMPTS):
            history = self.history()
            with suppress(NotFoundError, ObjectMissingError):
                return history, [self.about(child) for child in choose(history)]
            self.refresh()
        history = self.history()
        return history, [self.about(child) for child in choose(history)]

    # ---- Archives

    def archive(self, documents: Mapping[Edge, Mapping[str, Any]]) -> None:
        """Write documents as `write` does, in one file."""
        now = time.time_ns()
        self._put_archive({edge: Record(bare(doc), now) for edge, doc in documents.items()})
        self._written()

    def tidy(self, loose: int = LOOSE, keep: int = KEEP) -> int:
        """If more than `loose` revisions have files of their own, or there are many archives, move
        all but the `keep` latest and the heads into an archive. Returns how many were moved.

        Archives that are not much larger go into the new one, so there are few, and a revision is
        moved O(log n) times. Any number of processes may do this at once, beside anything else.
        """
        # Whether there is anything to do need not be known exactly.
        if self._listed and self._is_tidy(loose):
            return 0
        history = self.history()
        with self._lock:
            names, archives = self._names, dict(self._archives)
        if self._is_tidy(loose):
            return 0
        own = sorted(edges_in(names), key=lambda edge: edge[1])
        spared = {*history.heads, *(child for _, child in own[max(len(own) - keep, 0) :])}
        moving = [edge for edge in own if edge[1] not in spared]
        taken: list[str] = []
        size = len(moving)
        for name in sorted(archives, key=lambda name: len(archives[name])):
            if size and len(archives[name]) > TIER * size:
                break
            taken.append(name)
            size += len(archives[name])
        if not moving and len(taken) < 2:
            return 0
        try:
            records = self._records(moving)
        except ObjectMissingError:  # they were moved or trimmed meanwhile
            return 0
        moving = list(records)
        for name in taken:
            records.update(archives[name].records())
        made = self._put_archive(records)
        sources = [*(f"{parent}.{child}" for parent, child in moving), *taken]
        if not set(self.store.names(self.folder)).issuperset(sources):
            # Somebody was faster, or has trimmed them: then they must not come back.
            self.store.delete([f"{self.folder}/{made}"])
            return 0
        self.store.delete([f"{self.folder}/{name}" for name in sources])
        self.refresh()
        return len(moving)

    def _is_tidy(self, loose: int) -> bool:
        archives = len(self._archives)
        return len(self._names) - archives <= loose and archives <= ARCHIVES

    def _records(self, edges: Sequence[Edge]) -> dict[Edge, Record]:
        """What revisions in files of their own say. Those with one child, of which writers at once
        make very many, all say the same: one that is whole is read. Where none is, they stay."""
        arrived = self._arrived()
        said: dict[Child, Mapping[str, Any]] = {}
        left = list(edges)
        while left:
            ask = list({edge[1]: edge for edge in reversed(left)}.values())
            found = self.store.get_all(map(self._name, ask))
            for edge in ask:
                name = self._name(edge)
                if name not in found:
                    raise ObjectMissingError(f"{name} was moved or trimmed meanwhile")
                with suppress(DamagedError, FormatError):
                    said[edge[1]] = bare(decode_document(*edge, found[name].to_pybytes()))
            asked = set(ask)
            left = [edge for edge in left if edge[1] not in said and edge not in asked]
        return {e: Record(said[e[1]], arrived.get(e, 0)) for e in edges if e[1] in said}

    def _put_archive(self, records: Mapping[Edge, Record]) -> str:
        name, data = encode_archive(records)
        self.store.put(f"{self.folder}/{name}", data)
        return name

    # ---- Trimming

    def trimmed(self) -> int:
        """The stamp up to which history was trimmed here; 0 if it never was."""
        self.history()
        return trimmed_in(self._names)

    def trim(self, edges: Iterable[Edge], stamp: int) -> int:
        """Delete revisions, oldest first, and remember that all up to `stamp` were, so that no
        pull brings them back. Returns how many."""
        gone = sorted(edges, key=lambda edge: edge[1])
        if gone and stamp > self.trimmed():
            marker = f"{self.folder}/trimmed.{stamp:016x}"
            self.store.put(marker, b"")
            older = [n for n in self._names if _TRIMMED.fullmatch(n)]
            self.store.delete([f"{self.folder}/{n}" for n in older])
        for _ in range(ATTEMPTS):
            self.store.delete([self._name(edge) for edge in gone])
            self._trim_archives(frozenset(gone))
            self.refresh()
            # Who was moving them into an archive either sees that they are gone, or is seen here.
            if not any(edge in self.history() for edge in gone):
                break
        return len(gone)

    def _trim_archives(self, gone: frozenset[Edge]) -> None:
        for name, archive in self._archives.items():
            if archive.edges.isdisjoint(gone):
                continue
            kept = {e: record for e, record in archive.records().items() if e not in gone}
            if kept:
                self._put_archive(kept)
            self.store.delete([f"{self.folder}/{name}"])

    def ages(self) -> dict[Edge, float]:
        """When each revision came into this store: seconds since the epoch, by its clock."""
        self.history()
        found = {e: at / 1e9 for a in self._archives.values() for e, at in a.arrived.items()}
        found.update((edge, at / 1e9) for edge, at in self._arrived().items())
        return found

    def _arrived(self) -> dict[Edge, int]:
        found = {info.name: info.modified for info in self.store.list(self.folder)}
        start = len(self.folder) + 1
        return {e: int(at * 1e9) for name, at in found.items() for e in edges_in([name[start:]])}

    def _name(self, edge: Edge) -> str:
        return f"{self.folder}/{edge[0]}.{edge[1]}"


def _guides_in(names: Iterable[str], history: History) -> list[str]:
    """The guides by their names in the folder of a changelog, that of the latest state first; those
    of states that are gone are the last."""
    found = [name for name in names if is_guide(name)]
    if len(found) > 1:
        latest: dict[str, str] = dict.fromkeys(found, "")
        for child in history.children:
            name = f"guide.{root_of(child)}"
            if name in latest:
                latest[name] = max(child, latest[name])
        found.sort(key=latest.__getitem__, reverse=True)
    return found


def edges_in(names: Iterable[str]) -> Iterable[Edge]:
    """The revisions that have files of their own, by the names in the folder of a changelog."""
    for name in names:
        match = _NAME.fullmatch(name)
        if match and match[1] < match[2] < LAST:
            # A state that many were made on or from is named by many.
            yield Child(sys.intern(match[1])), Child(sys.intern(match[2]))


def trimmed_in(names: Iterable[str]) -> int:
    """The stamp up to which history was trimmed, by the names in the folder of a changelog."""
    marks = [match[1] for name in names if (match := _TRIMMED.fullmatch(name))]
    return int(max(marks), 16) if marks else 0


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
