"""What a collection's facades share: states of the past, reads that survive a collector, and
writes that go into the open `multi()` block, if there is one, or else become a revision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from .changelog import Child, Revision
from .errors import NotFoundError, RangeError
from .look import Find, Look, Looker
from .manifest import Manifest
from .moment import child_of, is_name, nanoseconds, through
from .narrow import narrowed
from .objects import MissingObjectError
from .site import Site
from .transaction import check_about, commit
from .writes import Load, Write

__all__ = ["Batch", "Ledger"]

T = TypeVar("T")

ATTEMPTS = 5


class Batch:
    """The writes of a `multi()` block. `revisions` is filled when the block ends."""

    def __init__(self) -> None:
        self.writes: list[Write] = []
        self.revisions: list[Revision] = []

    @property
    def revs(self) -> list[Revision]:
        """The original's name of `revisions`."""
        return self.revisions


_OPEN: ContextVar[dict[int, Batch]] = ContextVar("lakota_open_batches")


class Ledger:
    """States and writes of one collection.

    `find` gives the site as it is now, with today's schema; it raises `NotFoundError` once the
    collection was deleted. `tags` gives the revisions that have names. `last` is what was seen of
    it before, if anything.
    """

    def __init__(
        self,
        find: Find,
        tags: Callable[[], Mapping[str, str]],
        last: Look | None = None,
    ) -> None:
        self.looker = Looker(find, last)
        self._tags = tags

    @property
    def site(self) -> Site:
        return self.looker.site

    # ---- States

    def named(self, moment: Any, what: str = "as_of") -> Any:
        """The revision that a tag names; any other moment as it is."""
        if not is_name(moment):
            return moment
        tags = self._tags()
        if moment not in tags:
            raise NotFoundError(
                f"{what}={moment!r} is neither a time in ISO 8601, nor a revision, nor a tag; "
                f"the tags are: {', '.join(map(repr, tags)) or 'none'}"
            )
        return tags[moment]

    def state(self, as_of: Any = None, before: Any = None, merged: bool = False) -> Manifest:
        """The manifest to read from.

        By default the newest head, or with `merged` all heads. As of a time, or before one: all
        that was written by then, whatever heads there were. As of a revision: what it holds.
        """
        site = self.site
        history = self.looker.history
        if as_of is None and before is None:
            return site.joined(history.heads if merged else history.heads[-1:]).manifest
        as_of, before = self.named(as_of), self.named(before, "before")
        if as_of is not None and before is not None:
            raise RangeError(
                f"as_of={as_of!r} and before={before!r}: expected one of them, as_of= to include "
                "that moment, before= to stop short of it"
            )
        child = child_of(as_of if before is None else before)
        if child is not None and child not in history.children:
            raise NotFoundError(
                f"revision {child} is not in this repo: it was never pulled, or trimmed; see "
                "changelog.log() for those that are"
            )
        if child is not None and before is None:
            if merged:
                raise RangeError(
                    f"merged=True and as_of={as_of!r}: a revision is one state; expected a time, "
                    "as of which all heads are read, or no as_of"
                )
            return site.manifest(Child(child))
        if before is None:
            limit = through(as_of)
        elif child is None:
            limit = nanoseconds(before, what="before") - 1
        else:
            limit = int(child[:16], 16) - 1
        if max(limit, 0) < history.known_from:  # no stamp is before 1970
            raise NotFoundError(
                f"what was known as of {as_of if before is None else before!r} is not here any "
                f"more: revisions up to {history.known_from:016x} were trimmed, or never pulled"
            )
        return site.joined(history.heads_until(limit)).manifest

    def read(
        self, as_of: Any, before: Any, act: Callable[[Manifest], T], merged: bool = False
    ) -> T:
        """Run `act` on a state. If an object has gone meanwhile, because the history was trimmed
        and collected, again on the state that there is then."""
        manifest = self.state(as_of, before, merged)
        for _ in range(ATTEMPTS):
            try:
                return act(manifest)
            except MissingObjectError:
                self.site.changelog.refresh()
                self.looker.again()
                found = self.state(as_of, before, merged)
                if found.root == manifest.root:
                    raise
                manifest = found
        return act(manifest)

    # ---- Writes

    def write(
        self, writes: Sequence[Write] | Load, author: str | None = None, message: str = ""
    ) -> list[Revision]:
        """Commit, or add to the open block of this thread."""
        check_about(author, message)
        site = self.site
        stored = _stored(site, writes)
        batch = _OPEN.get({}).get(id(site.changelog))
        if batch is None:
            return self._commit(stored, author, message)
        batch.writes.extend(stored.each() if isinstance(stored, Load) else stored)
        return []

    def open_batch(self) -> Batch | None:
        """The innermost `multi()` block of this thread and this collection."""
        return _OPEN.get({}).get(id(self.looker.recent.changelog))

    @property
    def waits(self) -> bool:
        """Whether what is written waits for the end of a block."""
        return self.open_batch() is not None

    @contextmanager
    def multi(self, author: str | None = None, message: str = "") -> Iterator[Batch]:
        """Gather the writes of this thread and commit them as one when the block ends well. A
        block inside a block belongs to it."""
        check_about(author, message)
        outer = self.open_batch()
        if outer is not None:
            kept = len(outer.writes)
            try:
                yield outer
            except BaseException:
                del outer.writes[kept:]
                raise
            return
        batch = Batch()
        token = _OPEN.set({**_OPEN.get({}), id(self.looker.recent.changelog): batch})
        try:
            with self.looker.block():
                yield batch
        finally:
            _OPEN.reset(token)
        batch.revisions = self.looker.write(
            lambda: self._commit(batch.writes, author, message), ends=True
        )

    def _commit(
        self, writes: Sequence[Write] | Load, author: str | None, message: str
    ) -> list[Revision]:
        site, seen = self.site, self.looker.listing
        asked = not isinstance(writes, Load) and any(w.only_changes for w in writes)
        narrow = partial(narrowed, site) if asked else None
        return commit(site, writes, author=author, message=message, narrow=narrow, seen=seen)


def _stored(site: Site, writes: Sequence[Write] | Load) -> Sequence[Write] | Load:
    """The writes, with the names under which columns are stored."""
    if site.shown.names == site.shown.sources:
        return writes
    if isinstance(writes, Load):
        stored = site.stored(writes.table.column_names)
        return replace(writes, table=writes.table.rename_columns(stored))
    renamed: dict[int, Any] = {}  # the writes of a bulk load share one table
    found = []
    for write in writes:
        table = renamed.get(id(write.table))
        if table is None:
            table = write.table.rename_columns(site.stored(write.table.column_names))
            renamed[id(write.table)] = table
        columns = None if write.columns is None else tuple(site.stored(write.columns))
        found.append(write._replace(table=table, columns=columns))
    return found
