"""Keeping a collection small and quick: trim, defrag, pack. All may run beside writers.

`trim` forgets past revisions, `defrag` stores fragmented series anew, `pack` re-encodes objects
in place. None changes what a read of a kept revision gives.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from .changelog import ATTEMPTS, Changelog, Child, Edge, History, Revision, root_of, stamp_of
from .codecs import resolve
from .compact import fragmented
from .digest import Digest
from .encoding import recode
from .errors import NotFoundError, ObjectMissingError
from .extent import Extent
from .manifest import Manifest, pages
from .objects import Objects, segment_name
from .progress import Progress, counted
from .site import Site
from .transaction import relocate

__all__ = ["GRACE", "bridges", "defrag", "pack", "reachable", "trim"]

GRACE = 3600.0
"""Seconds for which nothing is taken away that somebody may be using: longer than any commit,
read or transfer takes."""
WORKERS = 2
DEFRAG_ROWS = 1 << 23


def trim(
    site: Site,
    before: int,
    *,
    grace: float = GRACE,
    kept: Iterable[str] = (),
    dry_run: bool = False,
) -> int:
    """Forget the revisions that are needed for no read as of `before` (a stamp) or later.

    Kept are the heads, what the heads were at `before`, what later revisions were made on, the
    states `kept`, and everything that was superseded less than `grace` seconds ago, for a writer
    may be building on it. Returns how many were deleted, or with `dry_run` would be.
    """
    changelog = site.changelog
    deleted = 0
    for attempt in range(1, ATTEMPTS + 1):
        history = changelog.history()
        gone = _unneeded(changelog, history, before, grace, kept)
        if dry_run:
            return len(gone)
        try:
            made = {edge: changelog.about(edge[1]) for edge in bridges(history, gone)}
        except (NotFoundError, ObjectMissingError):  # another one trims
            if attempt == ATTEMPTS:
                raise
            changelog.refresh()
            continue
        changelog.write(made)
        deleted += changelog.trim(gone, max((stamp_of(child) for _, child in gone), default=0))
        left = changelog.history().edges
        there = {edge[1] for edge in history.edges & left}
        lost = {child for _, child in gone}
        stray = [e for e in left if e[1] in lost or (e in made and e[1] not in there)]
        if not stray:
            break
        # Another one has trimmed where ours lead to, or leads to what we have trimmed: that would
        # be a head again. Back to before them, and look for the next that stays.
        changelog.trim(stray, 0)
    return deleted


def _unneeded(
    changelog: Changelog, history: History, before: int, grace: float, kept: Iterable[str]
) -> list[Edge]:
    """The revisions that `trim` is to forget."""
    ages = changelog.ages()
    superseded: dict[str, float] = {}
    for edge in history.edges:
        at = ages.get(edge, time.time())
        superseded[edge[0]] = min(at, superseded.get(edge[0], at))
    needed = {*kept, *history.heads, *history.heads_until(before - 1)}
    # Of a revision whose parents are gone, the past is not known; later ones than `before` keep it.
    needed.update(parent for parent, child in history.edges if stamp_of(child) >= before)
    limit = time.time() - grace
    return [
        (parent, child)
        for parent, child in history.edges
        if stamp_of(child) < before
        and child not in needed
        and superseded.get(child, limit) <= limit
    ]


def bridges(history: History, gone: Iterable[Edge]) -> Iterator[Edge]:
    """An edge from each state that stays, but none of those made on it, to the next one that
    stays: without it, it would be a head again."""
    lost = {child for _, child in gone}
    after: dict[Child, list[Child]] = {}
    for parent, child in sorted(history.edges):
        after.setdefault(parent, []).append(child)
    for child in sorted(history.children - lost):
        following = after.get(child, [])
        if not following or not lost.issuperset(following):
            continue
        while following and lost.issuperset(following):
            following = sorted({later for c in following for later in after.get(c, ())})
        if following:
            yield child, min(c for c in following if c not in lost)


def defrag(site: Site, *, max_chunk: int = 4) -> list[Revision]:
    """Store each series that lies in more than `max_chunk` pieces anew, in one; a commit for
    every DEFRAG_ROWS rows or so, so that memory is bounded."""
    manifest = site.joined(site.changelog.heads()).manifest
    revisions: list[Revision] = []
    waiting: list[Extent] = []
    rows = 0
    for series in fragmented(manifest, max_chunk):
        waiting.extend(series)
        rows += sum(extent.length for extent in series)
        if rows > DEFRAG_ROWS:
            revisions.extend(relocate(site, waiting, "defrag"))
            waiting, rows = [], 0
    return [*revisions, *(relocate(site, waiting, "defrag") if waiting else ())]


def pack(site: Site, done: set[Digest], progress: Progress | None = None) -> tuple[int, int]:
    """Re-encode every page and segment of every kept revision in the small form, in place.

    `done` holds what other collections packed already, and grows. Returns the bytes before and
    after.
    """
    if site.archives:
        site.changelog.tidy(0)
    found_pages, found_segments = reachable(site.objects, [site.changelog], set())
    segments = found_segments - done
    with ThreadPoolExecutor(WORKERS) as pool:
        packed = pool.map(lambda name: _pack_segment(site, name), segments)
        sizes = list(counted(packed, progress, len(segments), "segments"))
        packed = pool.map(lambda name: _pack_page(site, name), found_pages)
        sizes += counted(packed, progress, len(found_pages), "pages")
    done.update(segments)
    return sum(before for before, _ in sizes), sum(after for _, after in sizes)


def reachable(
    objects: Objects, changelogs: Iterable[Changelog], seen: set[Digest]
) -> tuple[list[Digest], set[Digest]]:
    """The pages, but for those `seen`, of every revision of `changelogs`, and the segments that
    they refer to. Names only: all pages of a long history are more than memory holds."""
    found: list[Digest] = []
    segments: set[Digest] = set()
    for changelog in changelogs:
        for root in {root_of(child) for _, child in changelog.history().edges}:
            for page in pages(Manifest(root, objects.page), seen):
                found.append(page.name)
                if not page.level:
                    segments.update(page.segments())
    return found, segments


def _pack_segment(site: Site, name: Digest) -> tuple[int, int]:
    store = site.objects.store
    segment = site.objects.fresh_segment(name)
    codecs = site.small_codecs(segment.schema.names)
    wanted = dict(zip(segment.schema.names, resolve(codecs, segment.schema), strict=True))
    if segment.codecs == wanted:
        return segment.data.size, segment.data.size
    segment.check()
    packed = recode(segment.data, wanted).data
    if packed.size < segment.data.size:
        store.put(segment_name(name), packed)
    return segment.data.size, min(packed.size, segment.data.size)


def _pack_page(site: Site, digest: Digest) -> tuple[int, int]:
    store = site.objects.store
    name = site.objects.page_name(digest)
    before = store.origin.get(name).size  # a cache may have it smaller
    packed = site.objects.encode_page(site.objects.page(digest), small=True)
    if packed.size < before:
        store.put(name, packed)
    return before, min(packed.size, before)
