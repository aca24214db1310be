"""Copying what one store has of a collection and another lacks.

Listings differ -> missing revisions -> missing pages -> missing segments; copied in the opposite
order, a few revisions at a time, every object verified on arrival and re-encoded to the
receiver's taste. A revision that exists at the receiver has everything below it, so a transfer
that was cut off goes on where it stopped, and what the two sides share is not even looked at:
each missing revision is compared with its parent, page by page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from .changelog import KEEP, LOOSE, PHI, Child, Edge, History, root_of, stamp_of
from .codecs import resolve
from .digest import Digest
from .encoding import recode
from .errors import ObjectMissingError
from .evolution import check_stored
from .extent import NOWHERE
from .manifest import EMPTY, Manifest, news
from .objects import MissingObjectError, Objects, segment_name
from .page import Loader, Page
from .progress import Progress, counted
from .site import Site
from .store.base import Content
from .store.parallel import at_once

__all__ = ["pull"]

ATTEMPTS = 5
"""Times that a pull begins, if the source forgets revisions that it is about to copy."""
REVISIONS_AT_ONCE = 64
WORKERS = 4
SEGMENTS_AT_ONCE = 256
ROWS_AT_ONCE = 1 << 22
ROWS_OF_A_TURN = 1 << 20


def pull(
    target: Site, source: Site, *, shallow: bool = False, progress: Progress | None = None
) -> list[Edge]:
    """Copy the revisions that `source` has and `target` lacks, and all that they need.

    `shallow`: only the heads, without their history. Returns the new edges, oldest first.
    Raises `DamagedError`, naming the object, if the source is damaged; what was complete by then
    is there, nothing else is visible.
    """
    copied: list[Edge] = []
    for _ in range(ATTEMPTS):
        offered = source.changelog.history()
        try:
            _pull(target, source, offered, shallow, progress, copied)
            break
        except (MissingObjectError, ObjectMissingError):
            source.changelog.refresh()
            if offered.edges <= source.changelog.history().edges:
                raise  # nothing was trimmed meanwhile: it is lost
    else:
        _pull(target, source, source.changelog.history(), shallow, progress, copied)
    return sorted(copied, key=lambda edge: (edge[1], edge[0]))


def _pull(
    target: Site,
    source: Site,
    offered: History,
    shallow: bool,
    progress: Progress | None,
    copied: list[Edge],
) -> None:
    """One attempt; `copied` grows by the edges that are there then."""
    have = target.changelog.history()
    wanted = sorted(
        _missing(have, offered, target.changelog.trimmed(), shallow), key=lambda e: (e[1], e[0])
    )
    if wanted:
        target.observe(stamp_of(wanted[-1][1]))
    present = {child for _, child in have.edges}
    done: set[Digest] = set()
    # Of many revisions, all but the latest go into archives at once.
    many = len(wanted) - KEEP if target.archives else 0
    at = inner = 0
    while at < len(wanted):
        archived = many - at >= LOOSE
        edges = wanted[at : at + (LOOSE if archived else REVISIONS_AT_ONCE)]
        inner += _copy_objects(target, source, edges, present, done, progress)
        read = source.changelog.read
        found = at_once(read, edges) if source.objects.store.remote else map(read, edges)
        documents = dict(zip(edges, found, strict=True))
        (target.changelog.archive if archived else target.changelog.write)(documents)
        at += len(edges)
        copied.extend(edges)
        if progress is not None:
            progress(at, len(wanted), "revisions")
    there = target.changelog.history()
    trimmed = have.children - there.children
    again = [edge for edge in wanted if edge[0] in trimmed]
    if again:  # what they share with what was trimmed meanwhile may have been collected
        _copy_objects(target, source, again, set(), set(), None)
    if many >= LOOSE:
        target.changelog.tidy()
    if wanted and there.heads:  # none if all was trimmed meanwhile
        target.leave_guide(root_of(there.heads[-1]), inner)


def _missing(have: History, offered: History, trimmed: int, shallow: bool) -> set[Edge]:
    """The edges to copy. What `have` trimmed stays trimmed: ancestors of what is there, not
    later than the trim."""
    missing = set(offered.edges - have.edges)
    if shallow:
        return {edge for edge in missing if edge[1] in offered.heads}
    if trimmed:
        present = {child for _, child in have.edges}
        # The parents of what is there were trimmed if they are not; the source may know these
        # and not their children.
        old = offered.ancestors(present | have.parents) - present
        missing = {e for e in missing if e[1] not in old or stamp_of(e[1]) > trimmed}
    return missing


def _copy_objects(
    target: Site,
    source: Site,
    edges: Sequence[Edge],
    present: set[Child],
    done: set[Digest],
    progress: Progress | None,
) -> int:
    """Everything below the children of `edges`: segments, then pages. Returns how many pages above
    the leaves these were."""
    pages: dict[Digest, Page] = {}
    segments: dict[Digest, int] = {}  # and their rows, or some of them
    for parent, child in edges:
        if child in present:
            continue
        known = parent in present and parent != PHI
        old = Manifest(root_of(parent) if known else EMPTY.name, _among(pages, target.objects))
        fresh, extents = news(old, Manifest(root_of(child), _either(source, target)))
        pages.update((page.name, page) for page in fresh if page.name not in done)
        for e in sorted(extents, key=lambda e: e.segment):
            if e.segment != NOWHERE:
                name = Digest(e.segment.hex())
                segments[name] = segments.get(name, 0) + e.length
        present.add(child)
    missing = [name for name in segments if name not in done]
    copied = _copy_segments(target, source.objects, missing, segments)
    list(counted(copied, progress, len(missing), "segments"))
    target.objects.put({}, pages)
    done.update(missing, pages)
    return sum(page.level > 0 for page in pages.values())


def _among(fresh: Mapping[Digest, Page], objects: Objects) -> Loader:
    """A loader that looks among pages not stored yet first."""
    return lambda name: fresh[name] if name in fresh else objects.page(name)


def _either(source: Site, target: Site) -> Loader:
    """A loader that looks at the target for what the source has not: a bundle holds no pages of
    the states that it needs."""

    def load(name: Digest) -> Page:
        try:
            return source.objects.page(name)
        except MissingObjectError as error:
            try:
                return target.objects.page(name)
            except MissingObjectError:
                raise error from None

    return load


def _copy_segments(
    target: Site, source: Objects, missing: Sequence[Digest], rows: Mapping[Digest, int]
) -> Iterator[Digest]:
    """Copy segments, as many at once as fit into memory well, and so durable with few flushes."""
    at = 0
    while at < len(missing):
        group: list[Digest] = []
        size = 0
        while at < len(missing) and size < ROWS_AT_ONCE and len(group) < SEGMENTS_AT_ONCE:
            group.append(missing[at])
            size += rows[missing[at]]
            at += 1
        # Small ones that do not travel are quicker one by one: threads would wait for each other.
        travel = source.store.remote or target.objects.store.remote
        turns = len(group) if travel else min(WORKERS, size // ROWS_OF_A_TURN)
        found = _in_turns(lambda name: _wanted_segment(target, source, name), group, turns)
        data = {segment_name(n): d for n, d in zip(group, found, strict=True) if d is not None}
        target.objects.store.put_all(data)
        yield from group


def _in_turns(
    get: Callable[[Digest], Content | None], names: Sequence[Digest], turns: int
) -> list[Content | None]:
    """What `get` gives for each, by some threads if it is worth it."""
    if turns < 2:
        return [get(name) for name in names]
    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(get, names))


def _wanted_segment(target: Site, source: Objects, name: Digest) -> Content | None:
    """A segment, verified and as the target wants it; None if it is there already."""
    if target.objects.store.touch(segment_name(name)):
        return None
    segment = source.fresh_segment(name)
    check_stored(segment.schema, target.ever, segment_name(name))
    segment.check()
    names = segment.schema.names
    wanted = dict(zip(names, resolve(target.codecs(names), segment.schema), strict=True))
    return segment.data if segment.codecs == wanted else recode(segment.data, wanted).pieces
