"""Which repos a server has, and where they are. No path leaves the root.

A root with a `lakota.json` is a repo, at `/`. Any other folder is a folder of repos, each at
`/<name>`; a first push makes a new one. A root may also be a store: then it is one repo.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field

import xxhash

from ..changelog import Changelog
from ..clock import CLOCK
from ..errors import DamagedError, InputError, ObjectMissingError, StoreError
from ..header import HEADER, Header
from ..objects import Objects
from ..registry import REGISTRY_ID, Registry
from ..registry import SCHEMA as REGISTRY_SCHEMA
from ..repo import Repo
from ..site import Site
from ..store.base import Store, is_part
from ..store.local import LocalStore
from ..store.uri import parse_uri
from .admission import Admission
from .columns import Columns

__all__ = ["RESERVED", "Place", "Places"]

RESERVED = frozenset({"health", "metrics", "openapi.json", "repos"})
"""What is at the root besides repos."""

# As in `changelog`: two changes within a tick of a file system's clock leave the same mark.
_SETTLE = 0.05
_LISTINGS = 1024


@dataclass
class Place:
    """One repo: its name, its store, and what is kept of it between requests."""

    name: str
    store: Store
    _repo: Repo | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _tidying: threading.Lock = field(default_factory=threading.Lock)
    _listings: dict[str, _Listing] = field(default_factory=dict)
    _changelogs: dict[str, Changelog] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.registry = self.changelog(REGISTRY_ID)
        self._header = Header(self.store)
        objects = Objects(self.store, self._header)
        shown = REGISTRY_SCHEMA
        site = Site(objects, self.registry, shown.stored, CLOCK, "plain", shown, shown)
        self.admission = Admission(self.store, Columns(Registry(site)), self.changelog)

    def key(self, folder: str) -> str:
        """A folder of this repo, among those of all repos of the server."""
        return f"{self.name}/{folder}"

    def exists(self) -> bool:
        """Whether it was ever written to."""
        return self.store.exists(HEADER)

    @property
    def repo(self) -> Repo:
        """The repo, opened. Raises `FormatError`, `DamagedError`."""
        with self._lock:
            if self._repo is None:
                self._repo = Repo(self.store)
            return self._repo

    def tidy(self, collection: str) -> None:
        """Move old revisions of a collection into archives, as clients cannot do it here."""
        # Of requests at once, one does it for all.
        if self._header.format == 1 or not self._tidying.acquire(blocking=False):
            return
        try:
            # What is not tidied now will be after a later revision.
            with suppress(StoreError, DamagedError):
                self.changelog(collection).tidy()
        finally:
            self._tidying.release()

    def changelog(self, collection: str) -> Changelog:
        """The changelog of the collection of that id."""
        found = self._changelogs.get(collection)
        if found is None:
            if len(self._changelogs) >= _LISTINGS:
                self._changelogs.clear()
            found = self._changelogs.setdefault(collection, Changelog(self.store, collection))
        return found

    def names(self, folder: str, known: str | None) -> tuple[str, list[str] | None]:
        """What is directly in a folder, with an etag; None if it is what the etag `known` says."""
        mark, now = self.store.mark(folder), time.monotonic()
        kept = self._listings.get(folder)
        if kept is None or mark is None or kept.mark != mark:
            seen = now
        elif kept.listed - kept.seen > _SETTLE and known == kept.etag:
            return kept.etag, None
        else:
            seen = kept.seen
        found = sorted(self.store.names(folder))
        etag = f'"{xxhash.xxh3_128_hexdigest("/".join(found).encode())}"'
        if len(self._listings) >= _LISTINGS:
            self._listings.clear()
        self._listings[folder] = _Listing(mark, seen, now, etag)
        return etag, None if etag == known else found


@dataclass(frozen=True, slots=True)
class _Listing:
    """That a folder whose mark was first seen at `seen` was listed at `listed`."""

    mark: object
    seen: float
    listed: float
    etag: str


class Places:
    """The repos below a root. Raises `InputError` for one that cannot be served."""

    def __init__(self, root: str | os.PathLike[str] | Store) -> None:
        store = root if isinstance(root, Store) else parse_uri(root)
        self._lock = threading.Lock()
        self._found: dict[str, Place] = {}
        self._store = store.origin
        self.single = not isinstance(store, LocalStore) or store.exists(HEADER)
        if self.single:
            self._found[""] = Place("", store)
            return
        if not isinstance(store, LocalStore) or not os.path.isdir(store.root):
            raise InputError(f"{root!r} is not there: expected a repo, or a folder for repos")
        self._root = os.path.realpath(store.root)

    def find(self, name: str) -> Place | None:
        """The repo of that name, which need not have been written to; None for what cannot be
        one."""
        if self.single:
            return self._found[""] if name == "" else None
        if not is_part(name) or name in RESERVED:
            return None
        path = os.path.join(self._root, name)
        if os.path.islink(path) or (os.path.lexists(path) and not os.path.isdir(path)):
            return None
        with self._lock:
            found = self._found.get(name)
            if found is None:
                found = Place(name, LocalStore(path))
                if found.exists():
                    self._found[name] = found
            return found

    def told(self, error: Exception) -> str:
        """An error in words that do not tell where the repos are."""
        store, text = self._store, str(error)
        if not isinstance(store, LocalStore):
            if isinstance(error, ObjectMissingError):
                return text.partition(" in ")[0]
            if isinstance(error, StoreError):
                return "the store of this repo fails: the log of the server says how"
            return text.replace(repr(store), "this repo")
        for root in {store.root, os.path.realpath(store.root)} - {os.sep}:
            text = text.replace(root + os.sep, "").replace(root, "this repo")
        return text

    def names(self) -> list[str]:
        """The repos that there are, sorted."""
        if self.single:
            return [""]
        names = sorted(os.listdir(self._root))
        places = ((name, self.find(name)) for name in names)
        return [name for name, place in places if place is not None and place.exists()]
