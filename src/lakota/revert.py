"""Undoing the writes of one revision.

By law the content is the fold of all writes, so without those of the revision it is the fold of the
others: what is known beside the revision, and what was written since. Where the revision's writes
can still be seen, a new commit makes the content so. It is a write like any other; the revision
stays in the history, and what was written over it stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby

import numpy as np

from .changelog import PHI, Child, History, Revision
from .diff import fresh, stack
from .errors import NotFoundError
from .extent import Extent, clusters, resolve
from .interval import Interval
from .manifest import Manifest
from .narrow import narrowed
from .overlay import ORIGIN
from .site import Site
from .transaction import check_about, commit
from .writes import Write

__all__ = ["revert"]


def revert(site: Site, child: Child, author: str | None, message: str) -> list[Revision]:
    """Undo the writes of `child`. Returns the new revisions; none if nothing can be seen of them,
    as of those of a merge. Raises `NotFoundError` if what was before them was trimmed."""
    check_about(author, message)
    with site.changelog.writing():
        history = site.changelog.history()
        parents = [parent for parent in history.parents_of[child] if parent != PHI]
        gone = [parent for parent in parents if parent not in history.children]
        if gone:
            raise NotFoundError(
                f"what was before revision {child}, revision {gone[0]}, was trimmed: it cannot be "
                "restored"
            )
        own = fresh(site.joined(parents).manifest, site.manifest(child))
        beside = site.joined(_beside(history, child)).manifest
        now = site.joined(history.heads).manifest
        return commit(
            site,
            list(_undone(site, own, beside, now)),
            author=author,
            message=message or f"revert {child}",
            narrow=partial(narrowed, site),
        )


def _beside(history: History, child: Child) -> list[Child]:
    """The latest states that have not seen `child`."""
    seen = {child}
    for later in sorted(history.children):  # a child sorts after its parents
        if not seen.isdisjoint(history.parents_of[later]):
            seen.add(later)
    rest = history.children - seen
    parents = {parent for other in rest for parent in history.parents_of[other]}
    return sorted(rest - parents)


def _undone(site: Site, own: Sequence[Extent], beside: Manifest, now: Manifest) -> Iterator[Write]:
    """What there would be without the writes `own`, where these can be seen."""
    jobs: list[tuple[str, list[Extent], Interval]] = []
    for label, group in groupby(sorted(own, key=lambda e: e.label), key=lambda e: e.label):
        writes = {e.write for e in group}
        current = now.select(label)
        others = resolve([*beside.select(label), *(e for e in current if e.write not in writes)])
        for cluster in clusters(e for e in current if e.write in writes):
            hull = Interval(cluster[0].lo, max(e.hi for e in cluster))
            jobs.append((label, [e for e in others if e.interval.meet(hull)], hull))
    stretches = [(extents, hull) for _, extents, hull in jobs]
    table = stack(site.bare, stretches, site.schema.names)
    numbers, rows = table.column(ORIGIN).to_numpy(), table.drop_columns([ORIGIN])
    for number, (label, _, hull) in enumerate(jobs):
        start, stop = np.searchsorted(numbers, [number, number + 1]).tolist()
        yield Write(label, hull, rows, start, stop, only_changes=True)
