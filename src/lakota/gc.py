"""Collecting objects that no revision refers to.

What may go is listed first and what is in use is looked for afterwards, in every changelog that
the store has, whether the registry knows it or not; so a commit, which stores its objects before
its revision, is seen one way or the other. Only objects older than the grace period go, and both
looks are taken again right before anything is deleted, since a transfer may have renewed an
object meanwhile because it relies on it. The store looks once more, object by object.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import NamedTuple

from .changelog import Changelog
from .digest import Digest
from .maintain import GRACE, reachable
from .objects import Objects, digest_of, segment_name
from .progress import Progress
from .store.base import Info

__all__ = ["Collected", "collect", "collection_ids"]

STEPS = 4


class Collected(NamedTuple):
    """What a collection of garbage took away."""

    objects: int
    bytes: int


def collection_ids(objects: Objects) -> set[str]:
    """Every collection that has a revision in the store."""
    return {info.name.split("/")[1] for info in objects.store.list("changelog")}


def collect(
    objects: Objects,
    deleted: Iterable[str] = (),
    *,
    grace: float = GRACE,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Collected:
    """Delete what no revision refers to and what was not touched for `grace` seconds.

    `deleted`: ids of collections whose revisions count no more and go as well.
    """
    tell = progress or (lambda done, total, what: None)
    limit = time.time() - grace
    gone = set(deleted)
    tell(0, STEPS, "what may go")
    old = _old_objects(objects, limit)
    seen: set[Digest] = set()
    tell(1, STEPS, "what is in use")
    used = _used(objects, gone, seen)
    if dry_run:
        return _summary(info for name, info in old.items() if name not in used)
    tell(2, STEPS, "what is in use now")
    stale = _stale_revisions(objects, gone, limit)
    again = _old_objects(objects, limit)
    used |= _used(objects, gone, seen)
    victims = [old[name] for name in old.keys() & again.keys() if name not in used]
    pages = [info for info in victims if info.name.startswith("pages/")]
    segments = [info for info in victims if info.name.startswith("segments/")]
    tell(3, STEPS, "deleting")
    # Durably one after the other: whatever is left refers only to what is there.
    for group in (stale, pages, segments):
        objects.store.expire([info.name for info in group], limit)
    objects.store.sweep(limit)
    objects.forget()
    tell(STEPS, STEPS, "deleting")
    return _summary([*stale, *victims])


def _old_objects(objects: Objects, limit: float) -> dict[str, Info]:
    return {
        info.name: info
        for folder in ("segments", "pages")
        for info in objects.store.list(folder)
        if info.modified < limit and digest_of(info.name)
    }


def _used(objects: Objects, deleted: set[str], seen: set[Digest]) -> set[str]:
    """The names of the objects that revisions refer to, but for those below pages `seen`."""
    ids = sorted(collection_ids(objects) - deleted)
    found, segments = reachable(objects, [Changelog(objects.store, i) for i in ids], seen)
    return {objects.page_name(name) for name in found} | {segment_name(s) for s in segments}


def _stale_revisions(objects: Objects, deleted: set[str], limit: float) -> list[Info]:
    return [
        info
        for i in sorted(deleted)
        for info in objects.store.list(f"changelog/{i}")
        if info.modified < limit
    ]


def _summary(infos: Iterable[Info]) -> Collected:
    sizes = [info.size for info in infos]
    return Collected(len(sizes), sum(sizes))
