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
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from itertools import chain, compress, islice, takewhile
from operator import itemgetter
from typing import Any

import xxhash

from . import compact
from .ahead import expect_rows
from .changelog import PHI, Child, Listing, Revision, make_child, stamp_of
from .digest import Digest
from .encoding import Encoded, encode
from .errors import DamagedError, InputError, StoreError
from .extent import NOWHERE, REPLACE, TRIM_HI, Extent, Extents
from .interval import EVERYTHING, HIGH, Cut, Interval
from .layout import Draft, Piece, Pieces, drafts, place
from .manifest import EMPTY, Manifest, apply_all
from .overlay import plan, rows
from .region import schema_of
from .site import Joined, Site
from .store.base import Content
from .store.parallel import beside
from .writes import Load, Write, in_pieces

__all__ = [
    "Narrow",
    "check_about",
    "commit",
    "publish",
    "relocate",
    "rename",
    "restore",
]


LAYERS_SEEN = 512
"""Extents among which an upsert looks for small ones to be stored with."""
SAID_AT_ONCE = 1024
"""Extents of which the content is hashed in one."""
WORKERS = 2
"""Segments of a large commit that are encoded and stored at once."""


Narrow = Callable[[Manifest, Sequence[Write]], Sequence[Write]]
"""What remains of writes that are made on a manifest."""


def commit(
    site: Site,
    writes: Sequence[Write] | Load,
    *,
    author: str | None = None,
    message: str = "",
    narrow: Narrow | None = None,
    heads: Sequence[Child] | None = None,
    seen: Listing | None = None,
) -> list[Revision]:
    """Store `writes`, in their order, as one revision on all heads, or on those given. Returns its
    edges; none if there is nothing to write, or `narrow` leaves nothing. `seen`: what its writer
    saw of the revisions when it began.

    It holds what all of the heads hold. Of many it ends some, as `Changelog.ended` says."""
    if not writes:
        return []
    author = _author(author, message)
    with site.changelog.writing():
        on = _heads(site, seen) if heads is None else heads
        parents = site.changelog.ended(on) if heads is None else on
        return _commit(site, writes, author, message, narrow, on, parents)


def _heads(site: Site, seen: Listing | None) -> Sequence[Child]:
    """The heads that there are now, for one whose turn it is."""
    return seen.history.heads if seen and seen.is_recent else site.changelog.heads()


def _commit(
    site: Site,
    writes: Sequence[Write] | Load,
    author: str,
    message: str,
    narrow: Narrow | None,
    heads: Sequence[Child],
    parents: Sequence[Child],
) -> list[Revision]:
    if not isinstance(writes, Load):
        _freshen(site, writes)
    if heads:
        site.observe(stamp_of(max(heads)))
    joined = site.joined(heads)
    if narrow is not None and not isinstance(writes, Load):
        writes = narrow(joined.manifest, writes)
        if not writes:
            return []
    drafted, nth = in_pieces(writes)
    last = max(nth)
    first = site.clock.tick(last + 1)
    stamp = first + last
    stamps = [first + n for n in nth]
    extents = drafted.extents._replace(stamp=stamps, placed=stamps)
    pieces = drafted._replace(extents=extents)
    moved = _tails(site, joined.manifest, pieces, stamp)
    document = {
        "author": author,
        "message": message,
        "kind": "write",
        "first": first,
        "rows": sum(pieces.rows) + sum(extents.length),
        "series": len(set(extents.label)),
    }
    return _store(site, parents, joined, pieces, moved, stamp, document)


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
        document = {
            "author": "",
            "message": "",
            "kind": kind,
            "rows": sum(piece.rows for piece in moved),
        }
        return _store(site, heads, joined, None, moved, stamp, document)


def rename(
    site: Site, old: str, new: str, *, author: str | None = None, message: str = ""
) -> list[Revision]:
    """Give the rows of `old` to `new`, where they lie; whatever either had before is deleted."""
    author = _author(author, message)
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
        wiped = [_wiped(label, first) for label in (old, new)]
        given = [e._replace(label=new, stamp=first + nth[e.write]) for e in found]
        extents = _tied(Extents.of([*wiped, *given]), range(first, last + 1))
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
    # Writers at once, of whom there are as many as parents or more, would all tidy up the same, and
    # all but one in vain: so few of them do, and the digest is the lot.
    if site.archives and int(root[:8], 16) % max(len(parents), 1) == 0:
        with suppress(StoreError, DamagedError):  # what is not tidied now will be by a later commit
            site.changelog.tidy()
    return site.changelog.commit(parents or [PHI], make_child(stamp, root), document)


def _author(author: str | None, message: str) -> str:
    """Who writes: `author`, or else `LAKOTA_AUTHOR`, or the name that the system has for the user,
    which are bytes of any kind. Raises as `check_about`."""
    check_about(author, message)
    if author is not None:
        return author
    name = os.environ.get("LAKOTA_AUTHOR")
    if name is None:
        name = _user()
    _check_text(f"author {name!r}, by LAKOTA_AUTHOR or else by the system,", name)
    return name


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
            raise InputError(f"{name}={text!r}: expected a str, found {type(text).__name__}")
        _check_text(f"{name}={text!r}", text)


def _check_text(what: str, text: str) -> None:
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise InputError(f"{what} is not valid Unicode: it has lone surrogates")


def _freshen(site: Site, writes: Iterable[Write]) -> None:
    """Renew the age of segments stored earlier, so that a collector leaves them."""
    for part in (part for write in writes for part in write.stored):
        if not site.objects.freshen(part.segment):
            raise StoreError(
                f"segment {part.segment} was collected before it was committed: gc ran with a "
                "grace shorter than this write took; nothing was changed, write again"
            )


def _wiped(label: str, stamp: int) -> Extent:
    """All of a label, deleted."""
    return Extent(label, *EVERYTHING, stamp, 0, REPLACE, None, 0, NOWHERE, 0, 0, stamp)


def _tails(site: Site, manifest: Manifest, pieces: Pieces, stamp: int) -> list[Piece]:
    """What the size-tiered rule wants stored together with the new rows."""
    wanted: list[Extent] = []
    if manifest.root == EMPTY.name:
        return []
    appended = list(_appended(pieces))
    found = manifest.gather([label for label, _, _ in appended])
    for label, interval, count in appended:
        known = found[label]
        if known is not None and not any(_is_outside(e, interval) for e in known):
            continue
        beyond = manifest.near(label, Interval(interval.hi, HIGH))
        if any(e.length and e.hi > interval.hi for e in beyond):
            continue  # not at the end of the series
        before = takewhile(lambda e: e.kind == REPLACE, manifest.before(label, interval.lo))
        old = (_clip(e, interval.lo) for e in before)
        wanted.extend(reversed(compact.tail(old, count)))
    for extent, count in _layered(pieces):
        near = islice(manifest.before(extent.label, extent.hi), LAYERS_SEEN)
        alike = [e for e in near if (e.kind, e.columns) == (extent.kind, extent.columns)]
        alike.sort(key=lambda e: (e.write, e.lo), reverse=True)
        wanted.extend(reversed(compact.tail(alike, count)))
    return list(_move(site, wanted, stamp))


def _is_outside(extent: Extent, interval: Interval) -> bool:
    """Whether it may have rows before or after an interval."""
    return extent.length > 0 and (extent.lo < interval.lo or extent.hi > interval.hi)


def _layered(pieces: Pieces) -> Iterator[tuple[Extent, int]]:
    """One upsert of each label, kind and columns, with the number of the new rows."""
    counts: dict[tuple[object, ...], tuple[Extent, int]] = {}
    if set(pieces.extents.kind) == {REPLACE}:
        return
    for piece in pieces.each():
        e = piece.extent
        if piece.rows and e.kind != REPLACE:
            key = (e.label, e.kind, e.columns)
            counts[key] = e, counts.get(key, (e, 0))[1] + piece.rows
    yield from counts.values()


def _appended(pieces: Pieces) -> Iterator[tuple[str, Interval, int]]:
    """Each label with the hull and the number of its new rows."""
    hulls: dict[str, tuple[Interval, int]] = {}
    labels, los, his, _, _, kinds, *_ = pieces.extents
    for label, lo, hi, kind, count in zip(labels, los, his, kinds, pieces.rows, strict=True):
        if count and kind == REPLACE:
            hull, before = hulls.get(label, (Interval(lo, hi), 0))
            hulls[label] = Interval(min(hull.lo, lo), max(hull.hi, hi)), before + count
    for label, (hull, count) in hulls.items():
        yield label, hull, count


def _clip(extent: Extent, cut: Cut) -> Extent:
    if extent.hi <= cut:
        return extent
    return extent._replace(hi=cut, trim=extent.trim | TRIM_HI)


def _move(site: Site, extents: Iterable[Extent], stamp: int) -> Iterator[Piece]:
    """The visible rows of extents, wanted at a new place."""
    index, opener = site.index, site.objects.segment
    extents = list(extents)
    expect_rows(site.objects, extents, EVERYTHING, index, whole=True)
    for extent in extents:
        found = plan([extent], extent.interval, index, opener)
        if found:
            schema = schema_of(extent, site.schema.arrow, site.schema.index)
            table = rows(found, schema, opener)
            yield Piece(extent._replace(trim=0, placed=stamp), table, 0, table.num_rows)


def _store(
    site: Site,
    parents: Sequence[Child],
    joined: Joined,
    pieces: Pieces | None,
    moved: Sequence[Piece],
    stamp: int,
    document: Mapping[str, Any],
) -> list[Revision]:
    """Rows, pages, revision."""
    new = set(pieces.extents.stamp) if pieces else set()
    if moved or pieces is None:
        every = chain(moved, pieces.each() if pieces else ())
        pieces = Pieces.of(sorted(every, key=lambda piece: piece.extent.label))
    sizes = pieces.rows
    made = list(
        drafts(pieces.take([at for at, rows in enumerate(sizes) if rows]), site.schema.index)
    )
    names, waiting = _store_rows(site, made)
    placed = [place(d, bytes.fromhex(name)) for d, name in zip(made, names, strict=True)]
    if not all(sizes):
        placed.append(pieces.extents.take([at for at, rows in enumerate(sizes) if not rows]))
    tied = _tied(Extents.joined(placed), new)
    return _seal(site, parents, joined, tied, waiting, stamp, document)


def _seal(
    site: Site,
    parents: Sequence[Child],
    joined: Joined,
    extents: Extents,
    segments: Mapping[Digest, Content],
    stamp: int,
    document: Mapping[str, Any],
) -> list[Revision]:
    """What is still to be stored, then the revision. A guide promises nothing, so it comes beside
    the one, and those that it replaces go beside the other: nobody waits for them."""
    edit = apply_all(joined.manifest, extents)
    pages, load = {**joined.pages, **edit.pages}, joined.manifest.load
    made = Manifest(edit.root, lambda name: edit.pages.get(name) or load(name))
    guide = site.guide(made, sum(page.level > 0 for page in edit.pages.values()))
    store = site.objects.store
    if guide is None:
        site.objects.put(segments, pages)
        return publish(site, parents, stamp, edit.root, document)
    with beside(lambda: store.put(guide.name, guide.data)) as stored:
        site.objects.put(segments, pages)
    with beside(lambda: store.delete(guide.old if stored.exception() is None else [])):
        return publish(site, parents, stamp, edit.root, document)


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


def _tied(extents: Extents, new: Collection[int]) -> Extents:
    """Give the writes stamped `new` the digest of their content, to break ties between equal
    stamps."""
    if not extents.alone:
        extents = Extents.of(sorted(extents.each(), key=_IN_ORDER))
    names = {columns: json.dumps(columns).encode() for columns in set(extents.columns)}
    labels, los, his, stamps, ties, kinds, columns, _, segments, offsets, lengths, _ = extents
    forms = map(names.__getitem__, columns)
    about = zip(
        map(str.encode, labels), los, his, segments, kinds, forms, offsets, lengths, strict=True
    )
    are_new = list(map(new.__contains__, stamps))
    texts = map(b"%b\0%b%b%b[%d, %b, %d, %d]".__mod__, compress(about, are_new))
    digest = xxhash.xxh3_64()
    while some := list(islice(texts, SAID_AT_ONCE)):
        digest.update(b"".join(some))
    tie = digest.intdigest()
    pairs = zip(are_new, ties, strict=True)
    return extents._replace(tie=[tie if is_new else old for is_new, old in pairs])


_IN_ORDER = itemgetter(0, 1, 2, 3)
"""By label, interval and stamp."""
