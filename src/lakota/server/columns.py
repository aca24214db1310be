"""What a pushed revision may do to collections: hold the columns that the registry of the repo
says, and, if it is one of the registry, add to what that says. Knows nothing of HTTP.

The registry comes first, so that a collection is known when its rows arrive. What it says of a
collection only ever grows: its schema stays, columns come and widen. So rows that fitted once fit
for good, and nobody who may write can make a repo unreadable for others.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from ..bounds import check_label
from ..changelog import Child
from ..errors import DamagedError, LakotaError
from ..evolution import check_stored, default_of, evolve, widens
from ..registry import REGISTRY_ID, SCHEMA, Contents, Entry, Registry
from ..schema import Schema
from ..segment import Segment
from ..tags import Row, rows_of

__all__ = ["Columns", "DeletionError", "check_segment"]

_ID = re.compile(r"[0-9a-f]{32}")


class DeletionError(Exception):
    """A revision of the registry that deletes a collection, by one who may only add."""


class Columns:
    """What the registry of one repo says. Threads may share it."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._said: tuple[tuple[Child, ...], Contents, frozenset[Row]] | None = None

    @contextmanager
    def turn(self, collection_id: str) -> Iterator[None]:
        """Until a revision of the registry is stored, no other one is looked at: each alone may
        be right and both together not."""
        if collection_id != REGISTRY_ID:
            yield
            return
        with self._turn:
            yield

    def of(self, collection_id: str) -> Schema:
        """All that segments of a collection may hold. Raises `DamagedError` for one that the
        registry has not."""
        if collection_id == REGISTRY_ID:
            return SCHEMA
        with self._lock:
            entry = self._registry.known().get(collection_id)
            facts = self._registry.facts(collection_id)
        if entry is None:
            raise DamagedError(
                f"the registry has no collection of id {collection_id}: its registry comes first"
            )
        return evolve(Schema.loads(entry.schema), facts, stored=True)

    def check_registry(self, parent: Child, child: Child, *, deletes: bool) -> None:
        """Refuse a revision of the registry, all of which is stored, that takes away or changes
        what is there, or that says what cannot be: what the heads say is compared with what they
        would say with it, for it hides its parent. Raises `DamagedError`, and `DeletionError` if
        it deletes and may not."""
        with self._lock:
            history = self._registry.site.changelog.history()
            before, tags = self._contents(history.heads)
            try:
                after, later = self._contents(history.add([(parent, child)]).heads)
            except (LakotaError, ValueError, TypeError, LookupError) as error:
                raise DamagedError(f"revision {child} of the registry: {error}") from error
        if wrong := [row for row in later - tags if row.tag is None]:
            raise DamagedError(f"revision {child} has a tag that is none: {wrong[0]}")
        if before == after:
            return
        gone = sorted(after.deleted.keys() - before.deleted.keys())
        if gone and not deletes:
            labels = ", ".join(repr(after.deleted[id_].label) for id_ in gone)
            raise DeletionError(
                f"this deletes collections ({labels}), which takes the scope admin: have an "
                "administrator do it, or push only the collections that you name"
            )
        _check_kept(before, after, child)
        for id_, entry in {**after.known, **after.deleted}.items():
            old = before.known.get(id_)
            if (entry, after.facts.get(id_)) != (old, before.facts.get(id_)):
                _check_entry(entry, child)
                _check_columns(before, after, id_, child)

    def _contents(self, heads: tuple[Child, ...]) -> tuple[Contents, frozenset[Row]]:
        """What these states say together, of collections and of tags. The last are remembered: if
        a revision is taken, they are what the next one is compared with."""
        if self._said is None or self._said[0] != heads:
            site = self._registry.site
            manifest = site.joined(heads).manifest
            tags = frozenset(rows_of(site, manifest))
            self._said = heads, self._registry.contents(manifest), tags
        return self._said[1:]


def check_segment(segment: Segment, schema: Schema, what: str) -> None:
    """Refuse a segment with columns that a collection has not. Raises `DamagedError`."""
    check_stored(segment.schema, schema, what)
    if segment.num_batches > 1 and tuple(segment.keys) != tuple(schema.index):
        raise DamagedError(
            f"{what} has several batches and the first keys of {list(segment.keys)}, not of the "
            f"index {list(schema.index)}"
        )
    absent = [name for name in schema.index if name not in segment.schema.names]
    if absent:
        raise DamagedError(f"{what} has no key column {absent[0]!r}: expected {schema!r}")


def _check_kept(before: Contents, after: Contents, child: Child) -> None:
    alone = after.facts.keys() - after.known.keys() - before.facts.keys()
    if alone:
        raise DamagedError(f"revision {child} tells of columns of {min(alone)}, no collection")
    lost = (before.known.keys() - after.known.keys()) | (
        before.deleted.keys() - after.deleted.keys()
    )
    if lost:
        raise DamagedError(f"revision {child} takes what it says of collection {min(lost)} away")
    for id_, old in before.known.items():
        if after.known[id_].schema != old.schema:
            raise DamagedError(
                f"revision {child} gives collection {old.label!r} another schema: "
                f"{after.known[id_].schema!r} instead of {old.schema!r}"
            )


def _check_entry(entry: Entry, child: Child) -> None:
    """Refuse a row that no `create_collection` writes."""
    where = f"revision {child} has a row of collection {entry.label!r}"
    if not _ID.fullmatch(entry.id) or entry.id == REGISTRY_ID:
        raise DamagedError(f"{where} with the id {entry.id!r}: expected 32 hex digits")
    try:
        check_label(entry.label)
        Schema.loads(entry.schema)
        settings = json.loads(entry.settings)
    except (LakotaError, ValueError, TypeError, RecursionError) as error:
        raise DamagedError(f"{where} that says nothing: {error}") from error
    if not isinstance(settings, dict):
        raise DamagedError(f"{where} with settings {entry.settings!r}: expected an object of JSON")


def _check_columns(before: Contents, after: Contents, id_: str, child: Child) -> None:
    """Refuse facts that contradict, and those that leave no place for what is stored."""
    base = Schema.loads((after.known.get(id_) or after.deleted[id_]).schema)
    where = f"revision {child} changes columns of {base!r}"
    try:
        evolve(base, after.facts.get(id_, ()))
        ever = evolve(base, after.facts.get(id_, ()), stored=True)
        for field in ever.arrow:
            default_of(field, 1)
    except (LakotaError, ValueError, TypeError, LookupError, OSError, pa.ArrowException) as error:
        raise DamagedError(f"{where}: {error}") from error
    for column in evolve(base, before.facts.get(id_, ()), stored=True).columns:
        wide = ever[column.name].type if column.name in ever else None
        if wide is None or not (column.type == wide or widens(column.type, wide)):
            raise DamagedError(f"{where}: {column.name!r} can hold less than before")
