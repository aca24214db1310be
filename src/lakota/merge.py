"""Merges: joining the heads of a changelog. It always succeeds.

A merge revision is a pure function of its parents: its stamp is the newest parent's plus one, its
digest that of the joined content, its document says nothing of who merged or when. So replicas
that merge the same heads write the same revision, and nothing ping-pongs.
"""

from __future__ import annotations

from collections.abc import Sequence

from .changelog import Child, Revision, stamp_of
from .site import Site
from .transaction import publish

__all__ = ["merge"]


def merge(site: Site, heads: Sequence[Child] | None = None) -> list[Revision]:
    """Join `heads` (all of them by default). Returns the new revisions, none if there was
    nothing to join."""
    with site.changelog.writing():
        found = sorted(set(site.changelog.heads() if heads is None else heads))
        if len(found) < 2:
            return []
        joined = site.joined(found)
        site.objects.put({}, joined.pages)
        document = {"author": "", "message": "", "kind": "merge"}
        return publish(site, found, stamp_of(found[-1]) + 1, joined.manifest.root, document)
