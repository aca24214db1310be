"""What a pushed object must be before it is stored, by its name. Knows nothing of HTTP.

    lakota.json            a header of this format; one that is there stays
    segments/ab/cd….arrow  decodes, and its rows have that digest
    pages/ab/cd….page      decodes, has that digest, and its rows are in order
    changelog/<id>/<edge>  its checksum and its name agree; its stamp is not from the future; all
                           below its root is there: pages that are what their parents say, and
                           segments with all the rows that extents refer to, in columns that the
                           collection has. Of the registry, it only adds, as `columns` says. One
                           that is there and intact stays
    anything else          for administrators only, and not looked at

So what a reader can see is whole, and nobody with the scope `write` takes anything away. Sizes
that bytes declare are bounded before anything is allocated.
"""

from __future__ import annotations

import enum
import json
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from itertools import pairwise

import pyarrow as pa

from ..changelog import (
    PHI,
    Changelog,
    Child,
    root_of,
    stamp_of,
)
from ..digest import Digest, block_digests
from ..document import decode_document
from ..errors import DamagedError, FormatError, LakotaError, ObjectMissingError
from ..extent import ERASE, NOWHERE, Extent
from ..header import FORMATS, HEADER
from ..manifest import EMPTY, Manifest, news
from ..objects import Objects, digest_of, segment_name
from ..page import Entry, Page
from ..registry import REGISTRY_ID
from ..schema import Schema
from ..segment import Segment, open_segment
from ..store.base import Store
from .columns import Columns, check_segment
from .limits import Limits

__all__ = ["Admission", "Kind", "kind_of"]

_EDGE = re.compile(
    r"changelog/([0-9a-f]{32})/([0-9a-f]{16}-[0-9a-f]{32})\.([0-9a-f]{16}-[0-9a-f]{32})"
)
_PAGE_BYTES = 16 << 20
_TEXT_BYTES = 1 << 20
_PROVED = 1_000
_PROVED_FOR = 10.0
"""So many states, and for so many seconds, are remembered to be whole: less than any collector
of garbage waits."""
_BATCHES = 16
"""Of the largest size that an object may decompress to, one after the other."""


class Kind(enum.Enum):
    """What a name stands for."""

    HEADER = "header"
    SEGMENT = "segment"
    PAGE = "page"
    REVISION = "revision"
    OTHER = "other"


def kind_of(name: str) -> Kind:
    """What a name stands for; `OTHER` for what is none of the format's.

    >>> kind_of("lakota.json"), kind_of("segments/ab/notes.txt")
    (<Kind.HEADER: 'header'>, <Kind.OTHER: 'other'>)
    """
    if name == HEADER:
        return Kind.HEADER
    folder = name.split("/")[0]
    if digest_of(name) and folder in ("segments", "pages"):
        return Kind.SEGMENT if folder == "segments" else Kind.PAGE
    edge = _EDGE.fullmatch(name)
    return Kind.REVISION if edge and edge[2] < edge[3] else Kind.OTHER


class Admission:
    """The door of one store. Threads may share it."""

    def __init__(
        self, store: Store, columns: Columns, changelog: Callable[[str], Changelog]
    ) -> None:
        self._store = store
        self._columns = columns
        self._changelog = changelog
        self._objects = Objects(store)
        self._lock = threading.Lock()
        self._proved: OrderedDict[tuple[str, Child], tuple[float, Future[None]]] = OrderedDict()

    @contextmanager
    def turn(self, name: str) -> Iterator[None]:
        """To be held while what is to be stored under `name` is admitted and stored."""
        match = _EDGE.fullmatch(name)
        with self._columns.turn(match[1]) if match else nullcontext():
            yield

    def admit(self, name: str, data: pa.Buffer, limits: Limits, *, deletes: bool) -> bool:
        """Check what is to be stored under `name`; False if what is there is to stay. `deletes`:
        whether a revision may delete collections. Raises `DamagedError` or `FormatError` for what
        must not be stored, and `DeletionError`."""
        kind = kind_of(name)
        if kind is Kind.SEGMENT:
            _check_segment(data, Digest(str(digest_of(name))), limits)
        elif kind is Kind.PAGE:
            _check_page(data, Digest(str(digest_of(name))), limits)
        elif kind is Kind.HEADER:
            return _check_header(self._store, data)
        elif kind is Kind.REVISION:
            return self._check_revision(name, data, limits, deletes=deletes)
        return True

    def _check_revision(self, name: str, data: pa.Buffer, limits: Limits, *, deletes: bool) -> bool:
        match = _EDGE.fullmatch(name)
        if match is None:  # kind_of has seen to it
            raise DamagedError(f"{name} is no revision")
        collection, parent, child = match[1], Child(match[2]), Child(match[3])
        _json(data)
        decode_document(parent, child, data.to_pybytes())
        ahead = stamp_of(child) / 1e9 - time.time()
        if ahead > limits.ahead:
            raise DamagedError(
                f"revision {child} is {ahead:,.0f} seconds ahead of the clock of this server, "
                f"which takes {limits.ahead:,.0f}: set the clock of the machine that wrote it"
            )
        if _is_intact(self._store, name, parent, child):
            return False
        self._prove(collection, parent, child)
        if collection == REGISTRY_ID:
            self._columns.check_registry(parent, child, deletes=deletes)
        return True

    def _prove(self, collection: str, parent: Child, child: Child) -> None:
        """That all below a state is there. A commit on many heads has many revisions with one
        child, which come at once: one is looked at, the others wait for it."""
        now, key = time.monotonic(), (collection, child)
        with self._lock:
            at, proof = self._proved.get(key, (0.0, None))
            mine = proof is None or now - at > _PROVED_FOR
            if mine:
                proof = Future()
                self._proved[key] = now, proof
                self._proved.move_to_end(key)
                while len(self._proved) > _PROVED:
                    self._proved.popitem(last=False)
        if proof is None or not mine:
            return proof.result() if proof else None
        try:
            known = self._changelog(collection).history().children
            if child not in known:
                schema = self._columns.of(collection)
                _check_below(self._objects, schema, _base(known, parent, child), child)
            proof.set_result(None)
        except BaseException as error:
            with self._lock:
                self._proved.pop(key, None)
            proof.set_exception(error)
            raise


def _check_header(store: Store, data: pa.Buffer) -> bool:
    header = _json(data)
    if not isinstance(header, dict) or header.get("digest") != "xxh3_128":
        raise DamagedError(f"{HEADER}: no header of a repo")
    if header.get("format") not in FORMATS:
        raise FormatError(
            f"{HEADER}: a repo of format {header.get('format')!r}; this server takes {FORMATS}"
        )
    return not store.exists(HEADER)


def _json(data: pa.Buffer) -> object:
    if data.size > _TEXT_BYTES:
        raise DamagedError(f"{data.size} bytes of text: expected at most {_TEXT_BYTES}")
    try:
        return json.loads(data.to_pybytes())
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"no JSON: {error}") from error


# ---- Segments


def _check_segment(data: pa.Buffer, name: Digest, limits: Limits) -> None:
    segment = open_segment(data, name, most=limits.inflated)
    total = 0
    for i in range(segment.num_batches):
        total += _check_batch(segment, i, limits.inflated)
        if total > limits.inflated * _BATCHES:
            raise DamagedError(f"segment {name} takes more than {total:,} bytes decompressed")


def _check_batch(segment: Segment, i: int, most: int) -> int:
    """Verify one batch, no more of it in memory at once than need be. Returns its bytes."""
    names = segment.schema.names
    codecs = set(segment.codecs.values())
    flat = len(codecs) == 1 and "pco" not in codecs  # decompressed as one
    size = 0
    for some in [names] if flat else [[name] for name in names]:
        size += segment.batch(i, some, prove=True).nbytes
        if size > most:
            raise DamagedError(
                f"batch {i} of segment {segment.name} takes more than {most:,} bytes "
                "decompressed, the limit of this server: write fewer rows at once"
            )
    firsts = segment.first_keys
    if firsts is not None:
        first = segment.batch(i, list(segment.keys)).slice(0, 1)
        if block_digests(first) != block_digests(firsts.slice(i, 1)):
            raise DamagedError(f"the first key of batch {i} is not that of its first row")
    return size


# ---- Pages


def _check_page(data: pa.Buffer, name: Digest, limits: Limits) -> None:
    if data.size > _PAGE_BYTES:
        raise DamagedError(f"a page of {data.size:,} bytes: expected at most {_PAGE_BYTES:,}")
    _check_rows(Page.decode(name, data, most=min(limits.inflated, 4 * _PAGE_BYTES)))


def _check_rows(page: Page) -> None:
    try:
        keys = page.keys
        right = bool(keys) and all(a <= b for a, b in pairwise(keys))
        if page.level:
            right = right and all(_is_entry(entry, page.level) for entry in page.entries)
        else:
            right = right and all(map(_is_extent, page.extents))
    except (TypeError, ValueError, AttributeError) as error:
        raise DamagedError(f"page {page.name} holds what is no extent: {error}") from error
    if not right:
        raise DamagedError(f"page {page.name} holds rows that are out of order or no extents")


def _is_entry(entry: Entry, level: int) -> bool:
    return entry.level == level - 1 and entry.last >= entry.label and len(entry.page) == 16


def _is_extent(e: Extent) -> bool:
    placed = e.length == 0 or e.segment != NOWHERE
    counts = min(e.stamp, e.offset, e.length, e.kind) >= 0 and e.kind <= ERASE
    return e.lo < e.hi and placed and counts and bool(e.label.strip())


# ---- Revisions


def _is_intact(store: Store, name: str, parent: Child, child: Child) -> bool:
    try:
        decode_document(parent, child, store.get(name).to_pybytes())
    except (ObjectMissingError, DamagedError):
        return False
    return True


def _base(known: Iterable[Child], parent: Child, child: Child) -> Child:
    """A revision that is there, so that all below it is, and is not later: likest to `child`."""
    if parent in (there := set(known)):
        return parent
    return max((c for c in there if c <= child), default=PHI)


def _check_below(objects: Objects, schema: Schema, base: Child, child: Child) -> None:
    """That all of `child` that `base` has not is there, and is as it should be."""
    old = EMPTY.name if base == PHI else root_of(base)
    try:
        fresh, extents = news(Manifest(old, objects.page), Manifest(root_of(child), objects.page))
    except RecursionError as error:
        raise DamagedError(f"revision {child} has pages below pages without end") from error
    seen = {page.name: page for page in fresh}
    for page in fresh:
        name = objects.page_name(page.name)
        if not objects.store.exists(name):
            raise DamagedError(f"revision {child} needs {name}, which is not there")
        for entry in page.entries if page.level else ():
            below = seen.get(entry.name) or objects.page(entry.name)
            if below.entry() != entry:
                raise DamagedError(f"page {page.name} tells wrongly of page {entry.name}")
    _check_extents(objects, schema, extents, child)


def _check_extents(
    objects: Objects, schema: Schema, extents: Iterable[Extent], child: Child
) -> None:
    needed: dict[bytes, int] = {}
    limit = stamp_of(child)
    for e in extents:
        if max(e.stamp, e.placed) > limit:
            raise DamagedError(f"revision {child} has a write that is later than itself")
        if e.segment != NOWHERE:
            needed[e.segment] = max(needed.get(e.segment, 0), e.offset + e.length)
    for segment, rows in needed.items():
        name = Digest(segment.hex())
        try:
            found = open_segment(objects.store.get(segment_name(name)), name)
        except LakotaError as error:
            raise DamagedError(
                f"revision {child} needs {segment_name(name)}, which is not there or damaged"
            ) from error
        check_segment(found, schema, segment_name(name))
        if found.num_rows < rows:
            raise DamagedError(
                f"revision {child} refers to row {rows - 1:,} of {segment_name(name)}, which has "
                f"{found.num_rows:,}"
            )
