"""The registry: the repo's own table of collections, a collection like any other.

Its series `collection` has a row `(id, label, schema, settings)` for each collection that was ever
made here, its series `deleted` a row for each that was deleted. Deletions are never taken back,
so whatever replicas do at once, a deleted collection stays deleted. All heads are read together:
no collection hides behind an unmerged revision.

The id of a new collection follows from its label: it is the first of the chain

    xxh3_128(label), xxh3_128(label 0x00 first id), xxh3_128(label 0x00 second id), ...

that the registry has no row for. So repos that make the same name independently mean the same
collection, and one that is made again after its deletion starts empty.
"""

from __future__ import annotations

import threading
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

import xxhash

from .bounds import interval_of
from .cast import to_table
from .changelog import Child, Listing
from .digest import Digest
from .errors import DamagedError, LakotaError, NotFoundError
from .evolution import Fact, What, evolve
from .extent import NOWHERE, UPSERT, Extent
from .manifest import Manifest
from .overlay import plan, rows
from .schema import Schema
from .site import Site
from .transaction import commit
from .writes import Write

__all__ = ["REGISTRY_ID", "SCHEMA", "Contents", "Entry", "Registry", "first_id"]

REGISTRY_ID = "0" * 32
SCHEMA = Schema.kv(id="str*", label="str", schema="str", settings="str")
COLLECTION, DELETED, COLUMN = "collection", "deleted", "column"
_REMEMBERED = 100_000
"""Extents whose rows are remembered."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A collection as the registry knows it."""

    id: str
    label: str
    schema: str
    """`Schema.dumps`."""
    settings: str
    """JSON; reserved."""
    stamp: int
    """When this row was written."""

    def row(self) -> dict[str, list[str]]:
        return {name: [getattr(self, name)] for name in SCHEMA.names}


@dataclass(frozen=True, slots=True)
class Contents:
    """All that a state of the registry says; each by the id of a collection."""

    known: Mapping[str, Entry]
    deleted: Mapping[str, Entry]
    facts: Mapping[str, list[Fact]]


class Registry:
    """Reads and writes the registry of one repo."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._loading = threading.Lock()
        self._seen: Listing | None = None
        self._heads: tuple[Child, ...] | None = None
        self._known: Mapping[str, Entry] = {}
        self._deleted: Mapping[str, Entry] = {}
        self._facts: Mapping[str, list[Fact]] = {}
        self._proved: set[Digest] = set()
        self._read: dict[Extent, list[Entry]] = {}
        self._schemas: dict[str, tuple[Schema, Schema]] = {}

    def live(self) -> dict[str, Entry]:
        """The collections that there are, by label, sorted.

        Where several claim one label, which takes a rename and a creation at once, the one that
        had it first keeps it, and the others are shown as `label~id` until they are renamed.
        """
        self._load()
        return _live(self._known, self._deleted)

    def known(self) -> dict[str, Entry]:
        """Every collection that ever was, by id."""
        self._load()
        return dict(self._known)

    def deleted(self) -> dict[str, Entry]:
        """The collections that were deleted, by id."""
        self._load()
        return dict(self._deleted)

    def facts(self, collection_id: str) -> list[Fact]:
        """What happened to the columns of a collection."""
        self._load()
        return self._facts.get(collection_id, [])

    def schemas(self, collection_id: str, *, fresh: bool = True) -> tuple[Schema, Schema]:
        """The columns of a collection as they are now, or without `fresh` as they were at the last
        look, and all that it ever had, under their stored names. Raises `NotFoundError` if it was
        deleted."""
        if fresh:
            self._load()
        # Another thread that finds new facts goes on with other schemas, so these stay right.
        schemas = self._schemas
        gone = self._deleted.get(collection_id)
        if gone is not None or collection_id not in self._known:
            name = f"of id {collection_id}" if gone is None else repr(gone.label)
            raise NotFoundError(f"the collection {name} is not here any more: it was deleted")
        found = schemas.get(collection_id)
        if found is None:
            base = Schema.loads(self._known[collection_id].schema)
            facts = self._facts.get(collection_id, [])
            found = evolve(base, facts), evolve(base, facts, stored=True)
            schemas[collection_id] = found
        return found

    def sources(self, collection_id: str) -> set[str]:
        """The names under which columns of a collection are or were stored."""
        base = Schema.loads(self._known[collection_id].schema)
        return {*base.names, *(fact.source for fact in self.facts(collection_id))}

    def record(self, collection_id: str, facts: Iterable[Fact], message: str) -> None:
        """Write facts about columns, in one commit."""
        rows = [
            Entry("\0".join((collection_id, *f.key)), f.source, f.value, f.default, 0)
            for f in facts
        ]
        self._write(COLUMN, rows, message)

    def look(self, labels: Iterable[str]) -> tuple[dict[str, Entry], dict[str, str]]:
        """The collections as `live` gives them, and the ids with which those of `labels` that are
        not among them are to be made. Both are of one look: if another process makes one at this
        moment, the two make the same."""
        self._load()
        known, deleted = self._known, self._deleted
        live = _live(known, deleted)
        taken = known.keys() | deleted.keys()
        return live, {label: _new_id(label, taken) for label in labels if label not in live}

    def put(self, entries: Iterable[Entry], message: str) -> None:
        """Write rows of collections, in one commit."""
        self._write(COLLECTION, entries, message)

    def delete(self, entries: Iterable[Entry], message: str) -> None:
        """Mark collections as deleted, in one commit."""
        self._write(DELETED, entries, message)

    def _write(self, kind: str, entries: Iterable[Entry], message: str) -> None:
        writes = []
        for entry in entries:
            table = to_table(entry.row(), SCHEMA)
            interval = interval_of(SCHEMA, entry.id, entry.id, "both")
            writes.append(Write(kind, interval, table, 0, 1, UPSERT))
        commit(self.site, writes, message=message)

    def _load(self) -> None:
        with self._loading:
            self._seen = self.site.changelog.glance()
            self._take(self._seen.history.heads)

    @property
    def is_recent(self) -> bool:
        """Whether it was looked at just now, and nobody in this process has written since."""
        return self._seen is not None and self._seen.is_recent

    def _take(self, heads: tuple[Child, ...]) -> None:
        if heads != self._heads:
            manifest = self.site.joined(heads).manifest
            self._prove(manifest)
            found = self.contents(manifest)
            self._known, self._deleted, self._facts = found.known, found.deleted, found.facts
            self._schemas = {}
            self._heads = heads

    def contents(self, manifest: Manifest) -> Contents:
        """What a state of the registry says."""
        facts: dict[str, list[Fact]] = {}
        for key, row in self._entries(manifest.select(COLUMN)).items():
            collection_id, what, *_ = key.split("\0")
            fact = Fact(cast(What, what), row.label, row.schema, row.settings, row.stamp)
            facts.setdefault(collection_id, []).append(fact)
        known = self._entries(manifest.select(COLLECTION))
        return Contents(known, self._entries(manifest.select(DELETED)), facts)

    def _prove(self, manifest: Manifest) -> None:
        """Verify every row, once: as pages, they decide what is visible. Raises `DamagedError`."""
        for digest in self._fetch(manifest):
            if digest not in self._proved:
                self.site.objects.segment(digest).check()
                self._proved.add(digest)

    def _fetch(self, manifest: Manifest) -> set[Digest]:
        """Have all segments at hand, from a remote store all at once."""
        objects = self.site.objects
        found = {Digest(e.segment.hex()) for e in manifest.extents() if e.segment != NOWHERE}
        if objects.store.remote:
            opened = objects.open_all(found)
            objects.expect({name: [(0, each.num_rows)] for name, each in opened.items()})
        return found

    def warm(self) -> None:
        """Have at hand what the first look will need. Raises nothing: the look itself will."""
        with suppress(LakotaError, OSError):
            self._fetch(self.site.joined(self.site.changelog.heads()).manifest)

    def _entries(self, extents: Sequence[Extent]) -> dict[str, Entry]:
        if len(self._read) > _REMEMBERED:
            self._read = {}
        read = self._read
        if new := [e for e in extents if e not in read]:
            self._read_rows(new, read)
        ordered = sorted(extents, key=lambda e: e.write)  # of one id the last row counts
        return {entry.id: entry for e in ordered for entry in read[e]}

    def _read_rows(self, extents: Sequence[Extent], read: dict[Extent, list[Entry]]) -> None:
        """The rows of extents, which stay what they are."""
        opener = self.site.objects.segment
        plans = [plan([e], e.interval, self.site.index, opener) for e in extents]
        table = rows((part for parts in plans for part in parts), SCHEMA.arrow, opener)
        if any(column.null_count for column in table.columns):
            raise DamagedError("the registry has a row of a collection that leaves something out")
        found = iter(table.to_pylist())
        for e, parts in zip(extents, plans, strict=True):
            count = sum(len(part) for part in parts)
            read[e] = [Entry(**next(found), stamp=e.stamp) for _ in range(count)]


def _live(known: Mapping[str, Entry], deleted: Container[str]) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    claims = [e for e in known.values() if e.id not in deleted]
    for entry in sorted(claims, key=lambda e: (e.stamp, e.id)):
        label = entry.label if entry.label not in found else f"{entry.label}~{entry.id[:8]}"
        found[label] = entry
    return dict(sorted(found.items()))


def first_id(label: str) -> str:
    """The id of the first collection that is made with a label."""
    # Whoever asks for a label that none can have is told that there is none of it.
    return xxhash.xxh3_128_hexdigest(label.encode(errors="surrogatepass"))


def _new_id(label: str, taken: Container[str]) -> str:
    found = first_id(label)
    while found in taken:
        found = xxhash.xxh3_128_hexdigest(f"{label}\0{found}".encode())
    return found
