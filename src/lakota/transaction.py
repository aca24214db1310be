"""Commits: from writes to a revision. The middle of every write.

Order: rows are stored, then pages, then the revision, which makes the commit visible. A process
that dies before that leaves unreferenced objects and nothing else. A commit is made on all heads
that it sees, so it never leaves another write hidden; two commits at once make two heads, and
nothing is lost.
"""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import islice, takewhile
from typing import Any

import pyarrow as pa
import xxhash

from . import compact
from .changelog import PHI, Child, Revision, make_child, stamp_of
from .digest import Digest
from .errors import DamagedError, InputError, StoreError
from .extent import NOWHERE, REPLACE, TRIM_HI, Extent
from .interval import EVERYTHING, HIGH, Cut, Interval
from .layout import Draft, Piece, drafts, place
from .manifest import EMPTY, Manifest, apply
from .overlay import plan, rows
from .region import schema_of
from .segment import Encoded, encode
from .site import Joined, Site
from .store.base import Content

__all__ = [
    "Narrow",
    "Stored",
    "Write",
    "check_about",
    "commit",
    "publish",
    "relocate",
    "rename",
    "restore",
]


LAYERS_SEEN = 512
"""Extents among which an upsert looks for small ones to be stored with."""
WORKERS = 2
"""Segments of a large commit that are encoded and stored at once."""


@dataclass(frozen=True, slots=True)
class Stored:
    """All rows of a segment that is in the store, which lie in `interval`."""

    interval: Interval
    segment: Digest
    rows: int


@dataclass(frozen=True, slots=True)
class Write:
    """What is said of `interval` of `label` by rows `start` to `stop` of `table`, all inside it.

    REPLACE: nothing older remains, the rows are the content. UPSERT: the rows, or with `columns`
    those cells of them, go to their keys. ERASE: the keys are deleted.
    """

    label: str
    interval: Interval
    table: pa.Table
    start: int
    stop: int
    kind: int = REPLACE
    columns: tuple[str, ...] | None = None
    only_changes: bool = False
    """Whether `Narrow` may reduce it to what differs from what is there."""
    stored: tuple[Stored, ...] = ()
    """Where the rows are already, if they are not in `table`: side by side, in key order."""


Narrow = Callable[[Manifest, Sequence[Write]], Sequence[Write]]
"""What remains of writes that are made on a manifest."""


def commit(
    site: Site,
    writes: Sequence[Write],
    *,
    author: str | None = None,
    message: str = "",
    narrow: Narrow | None = None,
    heads: Sequence[Child] | None = None,
) -> list[Revision]:
    """Store `writes`, in their order, as one revision on all heads, or on those given. Returns its
    edges; none if there is nothing to write, or `narrow` leaves nothing."""
    if not writes:
        return []
    check_about(author, message)
    author = default_author() if author is None else author
    with site.changelog.writing():
        on = site.changelog.heads() if heads is None else heads
        return _commit(site, writes, author, message, narrow, on)


def _commit(
    site: Site,
    writes: Sequence[Write],
    author: str,
    message: str,
    narrow: Narrow | None,
    heads: Sequence[Child],
) -> list[Revision]:
    _freshen(site, writes)
    if heads:
        site.observe(stamp_of(max(heads)))
    joined = site.joined(heads)
    if narrow is not None:
        writes = narrow(joined.manifest, writes)
        if not writes:
            return []
    ordered = list(_in_order(writes))
    last = max(nth for nth, _ in ordered)
    first = site.clock.tick(last + 1)
    stamp = first + last
    pieces = [piece for nth, write in ordered for piece in _pieces(write, first + nth)]
    moved = _tails(site, joined.manifest, pieces, stamp)
    document = {
        "author": author,
        "message": message,
        "kind": "write",
        "first": first,
        "rows": sum(len(piece) or piece.extent.length for piece in pieces),
        "series": len({piece.extent.label for piece in pieces}),
    }
    return _store(site, heads, joined, pieces, moved, stamp, document)


def relocate(site: Site, extents: Iterable[Extent], kind: str) -> list[Revision]:
    """Store the rows of `extents` anew, side by side; a child of all heads, one stamp later."""
    return restore(site, lambda manifest, stamp: _move(site, extents, stamp), kind)


def restore(
    site: Site, pieces: Callable[[Manifest, int], Iterable[Piece]], kind: str
) -> list[Revision]:
    """Store rows that the heads have already at another place: `pieces` gives them for what the
    heads hold together, placed at a stamp. A child of all heads, one stamp later."""
    with site.changelog.writing():
        heads = site.changelog.heads()
        if not heads:
            return []
        joined, stamp = site.joined(heads), stamp_of(heads[-1]) + 1
        moved = list(pieces(joined.manifest, stamp))
        if not moved:
            return []
        document = {"author": "", "message": "", "kind": kind, "rows": sum(map(len, moved))}
        return _store(site, heads, joined, [], moved, stamp, document)


def rename(
    site: Site, old: str, new: str, *, author: str | None = None, message: str = ""
) -> list[Revision]:
    """Give the rows of `old` to `new`, where they lie; whatever either had before is deleted."""
    check_about(author, message)
    author = default_author() if author is None else author
    message = message or f"rename {old!r} to {new!r}"
    document = {
        "author": author,
        "message": message,
        "kind": "rename",
        "series": 2,
    }
    with site.changelog.writing():
        heads = site.changelog.heads()
        site.observe(stamp_of(heads[-1]))
        joined = site.joined(heads)
        found = [e for e in joined.manifest.select(old) if e.length]
        # The given writes keep their order: upserts lie over what was there before them.
        nth = {write: n for n, write in enumerate(sorted({e.write for e in found}), 1)}
        first = site.clock.tick(1 + len(nth))
        last = first + len(nth)
        wiped = [_draft_extent(label, EVERYTHING, first) for label in (old, new)]
        given = [e._replace(label=new, stamp=first + nth[e.write]) for e in found]
        extents = _tie([*wiped, *given], set(range(first, last + 1)))
        document = {**document, "first": first}
        return _seal(site, heads, joined, extents, {}, last, document)


def publish(
    site: Site,
    parents: Sequence[Child],
    stamp: int,
    root: Digest,
    document: Mapping[str, Any],
) -> list[Revision]:
    """Make a state visible whose pages are stored."""
    # Writers at once, of whom there are about as many as heads, would all tidy up the same, and
    # all but one in vain: so one of them does, and the digest is the lot.
    if site.archives and int(root[:8], 16) % max(len(parents), 1) == 0:
        with suppress(StoreError, DamagedError):  # what is not tidied now will be by a later commit
            site.changelog.tidy()
    return site.changelog.commit(parents or [PHI], make_child(stamp, root), document)


def default_author() -> str:
    """`LAKOTA_AUTHOR`, or the name that the system has for the user."""
    name = os.environ.get("LAKOTA_AUTHOR")
    return _user() if name is None else name


@cache
def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""


def check_about(author: object, message: object) -> None:
    """Refuse an author or a message that a revision's document cannot hold, before anything is
    stored. An author of None is the default one."""
    for name, text in (("author", author), ("message", message)):
        if name == "author" and text is None:
            continue
        if not isinstance(text, str):
            raise InputError(f"{name}={text!r} is a {type(text).__name__}: expected a str")
        if any("\ud800" <= char <= "\udfff" for char in text):
            raise InputError(f"{name}={text!r} is not valid Unicode: it has lone surrogates")


def _in_order(writes: Sequence[Write]) -> Iterator[tuple[int, Write]]:
    """Writes by label, each with how many writes of its label came before it: their stamps must
    tell them apart."""
    label, nth = None, 0
    for write in sorted(writes, key=lambda w: w.label):
        nth = nth + 1 if write.label == label else 0
        label = write.label
        yield nth, write


def _pieces(write: Write, stamp: int) -> Iterator[Piece]:
    extent = _draft_extent(write.label, write.interval, stamp, write.kind, write.columns)
    if not write.stored:
        yield Piece(extent, write.table, write.start, write.stop)
    for part in write.stored:
        lo, hi = part.interval
        place = bytes.fromhex(part.segment)
        placed = extent._replace(lo=lo, hi=hi, segment=place, length=part.rows)
        yield Piece(placed, write.table, 0, 0)


def _freshen(site: Site, writes: Iterable[Write]) -> None:
    """Renew the age of segments stored earlier, so that a collector leaves them."""
    for part in (part for write in writes for part in write.stored):
        if not site.objects.freshen(part.segment):
            raise StoreError(
                f"segment {part.segment} was collected before it was committed: gc ran with a "
                "grace shorter than this write took; nothing was changed, write again"
            )


def _draft_extent(
    label: str,
    interval: Interval,
    stamp: int,
    kind: int = REPLACE,
    columns: tuple[str, ...] | None = None,
) -> Extent:
    """An extent without a place yet."""
    return Extent(label, *interval, stamp, 0, kind, columns, 0, NOWHERE, 0, 0, stamp)


def _tails(site: Site, manifest: Manifest, pieces: Sequence[Piece], stamp: int) -> list[Piece]:
    """What the size-tiered rule wants stored together with the new rows."""
    moved: list[Piece] = []
    if manifest.root == EMPTY.name:
        return moved
    for label, interval, count in _appended(pieces):
        beyond = manifest.near(label, Interval(interval.hi, HIGH))
        if any(e.length and e.hi > interval.hi for e in beyond):
            continue  # not at the end of the series
        before = takewhile(lambda e: e.kind == REPLACE, manifest.before(label, interval.lo))
        old = (_clip(e, interval.lo) for e in before)
        moved.extend(_move(site, reversed(compact.tail(old, count)), stamp))
    for extent, count in _layered(pieces):
        near = islice(manifest.before(extent.label, extent.hi), LAYERS_SEEN)
        alike = [e for e in near if (e.kind, e.columns) == (extent.kind, extent.columns)]
        alike.sort(key=lambda e: (e.write, e.lo), reverse=True)
        moved.extend(_move(site, reversed(compact.tail(alike, count)), stamp))
    return moved


def _layered(pieces: Sequence[Piece]) -> Iterator[tuple[Extent, int]]:
    """One upsert of each label, kind and columns, with the number of the new rows."""
    counts: dict[tuple[object, ...], tuple[Extent, int]] = {}
    for piece in pieces:
        e = piece.extent
        if len(piece) and e.kind != REPLACE:
            key = (e.label, e.kind, e.columns)
            counts[key] = e, counts.get(key, (e, 0))[1] + len(piece)
    yield from counts.values()


def _appended(pieces: Sequence[Piece]) -> Iterator[tuple[str, Interval, int]]:
    """Each label with the hull and the number of its new rows."""
    hulls: dict[str, tuple[Interval, int]] = {}
    for piece in pieces:
        if not len(piece) or piece.extent.kind != REPLACE:
            continue
        label, found = piece.extent.label, piece.extent.interval
        hull, count = hulls.get(label, (found, 0))
        hull = Interval(min(hull.lo, found.lo), max(hull.hi, found.hi))
        hulls[label] = hull, count + len(piece)
    for label, (hull, count) in hulls.items():
        yield label, hull, count


def _clip(extent: Extent, cut: Cut) -> Extent:
    if extent.hi <= cut:
        return extent
    return extent._replace(hi=cut, trim=extent.trim | TRIM_HI)


def _move(site: Site, extents: Iterable[Extent], stamp: int) -> Iterator[Piece]:
    """The visible rows of extents, wanted at a new place."""
    index, opener = site.index, site.objects.segment
    for extent in extents:
        found = plan([extent], extent.interval, index, opener)
        if found:
            schema = schema_of(extent, site.schema.arrow, site.schema.index)
            table = rows(found, schema, opener)
            yield Piece(extent._replace(trim=0, placed=stamp), table, 0, table.num_rows)


def _store(
    site: Site,
    heads: Sequence[Child],
    joined: Joined,
    pieces: Sequence[Piece],
    moved: Sequence[Piece],
    stamp: int,
    document: Mapping[str, Any],
) -> list[Revision]:
    """Rows, pages, revision."""
    laid_out = sorted([*moved, *pieces], key=lambda p: p.extent.label)
    with_rows = [piece for piece in laid_out if len(piece)]
    made = list(drafts(with_rows, site.schema.index))
    names, waiting = _store_rows(site, made)
    extents = [
        e for d, name in zip(made, names, strict=True) for e in place(d, bytes.fromhex(name))
    ]
    extents.extend(piece.extent for piece in laid_out if not len(piece))
    tied = _tie(extents, {piece.extent.stamp for piece in pieces})
    return _seal(site, heads, joined, tied, waiting, stamp, document)


def _seal(
    site: Site,
    heads: Sequence[Child],
    joined: Joined,
    extents: Iterable[Extent],
    segments: Mapping[Digest, Content],
    stamp: int,
    document: Mapping[str, Any],
) -> list[Revision]:
    """What is still to be stored, then the revision."""
    edit = apply(joined.manifest, extents)
    site.objects.put(segments, {**joined.pages, **edit.pages})
    return publish(site, heads, stamp, edit.root, document)


def _store_rows(site: Site, made: Sequence[Draft]) -> tuple[list[Digest], dict[Digest, Content]]:
    """The names of the segments, and those not stored yet: a single one goes with the pages,
    in one round; of many, no more than WORKERS are held in memory."""

    def encoded(draft: Draft) -> Encoded:
        table = draft.table()
        return encode(table, site.codecs(table.column_names), keys=site.schema.index)

    def store(draft: Draft) -> Digest:
        segment = encoded(draft)
        site.objects.put({segment.name: segment.pieces}, {})
        return segment.name

    if len(made) == 1:
        segment = encoded(made[0])
        return [segment.name], {segment.name: segment.pieces}
    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(store, made)), {}


def _tie(extents: Sequence[Extent], new: set[int]) -> list[Extent]:
    """Give the new writes the digest of their content, to break ties between equal stamps."""
    digest = xxhash.xxh3_64()
    for e in sorted(e for e in extents if e.stamp in new):
        digest.update(b"%b\0%b%b%b" % (e.label.encode(), e.lo, e.hi, e.segment))
        columns = "null" if e.columns is None else json.dumps(e.columns)
        digest.update(f"[{e.kind}, {columns}, {e.offset}, {e.length}]".encode())
    tie = digest.intdigest()
    return [_with_tie(e, tie) if e.stamp in new else e for e in extents]


def _with_tie(e: Extent, tie: int) -> Extent:
    # `_replace` takes several times as long, and there may be very many.
    label, lo, hi, stamp, _, kind, columns, trim, segment, offset, length, placed = e
    return Extent(label, lo, hi, stamp, tie, kind, columns, trim, segment, offset, length, placed)
