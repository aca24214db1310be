"""Segments and pages of one store, by digest: where content addresses meet names.

Decoded pages and open segments are kept in two small caches. That is safe without any
invalidation: what a digest stands for never changes, only how it is encoded.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Generic, TypeVar

import pyarrow as pa

from .digest import Digest
from .errors import DamagedError, FormatError, ObjectMissingError
from .guide import GUIDES_READ, decode_guide
from .header import FORMAT, Header
from .page import Page
from .ranged import MissingObjectError, RangedSegment, Span, open_ranged
from .readahead import Readahead
from .segment import Segment, open_segment
from .store.base import Content, Store, in_one, size_of
from .store.local import READ_AT_MOST
from .store.parallel import at_once, is_busy

__all__ = ["MissingObjectError", "Objects", "digest_of", "page_name", "segment_name"]

T = TypeVar("T")

PAGES_KEPT = 4096
"""Of a remote store; 30 kB each where they are decoded."""
PAGES_KEPT_NEAR = 1024
"""Of a local one, where to read one again takes 50 us."""
SEGMENTS_KEPT = 1024
BYTES_KEPT = 1 << 29
"""Of a remote store, no more segments than have so many bytes."""
BYTES_KEPT_NEAR = 1 << 23
"""Of a local one. Large segments are mapped there and take no memory of their own; small ones are
read, and opened again in 50 us."""
GUIDES_KEPT = 8
"""Of a megabyte at most each."""
KEPT = 1 << 20
"""Bytes of a segment that its writer keeps at hand, at most."""
EXPECTED = 128
"""Segments that are opened at once, at most."""


def segment_name(digest: Digest) -> str:
    """Where a segment is stored.

    >>> segment_name(Digest("0123456789abcdef" * 2))
    'segments/01/23456789abcdef0123456789abcdef.arrow'
    """
    return f"segments/{digest[:2]}/{digest[2:]}.arrow"


def page_name(digest: Digest, format: int = FORMAT) -> str:
    """Where a page is stored in a repo of that format.

    >>> page_name(Digest("0123456789abcdef" * 2))
    'pages/01/23456789abcdef0123456789abcdef.page'
    """
    return f"pages/{digest[:2]}/{digest[2:]}.{'arrow' if format == 1 else 'page'}"


def digest_of(name: str) -> Digest | None:
    """The digest in the name of a segment or a page; None for any other name."""
    match = _NAME.fullmatch(name)
    return Digest("".join(part for part in match.groups() if part)) if match else None


_HEX = "([0-9a-f]{2})/([0-9a-f]{30})"
_NAME = re.compile(rf"segments/{_HEX}\.arrow|pages/{_HEX}\.(?:arrow|page)")


class Objects:
    """Typed access to the objects of a store.

    `verify=False` trusts what is read from segments; pages are always verified.
    """

    def __init__(self, store: Store, header: Header | None = None, *, verify: bool = True) -> None:
        self.store = store
        self.header = header or Header(store)
        self.verify = verify
        kept = PAGES_KEPT if store.remote else PAGES_KEPT_NEAR
        self._pages: _Cache[Page] = _Cache(kept, shared=store.remote)
        self._readahead = Readahead()
        # Never changed, but replaced: a thread may look at them while another one adds to them.
        self._guides: Mapping[str, Mapping[Digest, pa.Buffer]] = {}
        self._coming: dict[str, None] = {}
        weight, limit = (_fetched, BYTES_KEPT) if store.remote else (_read, BYTES_KEPT_NEAR)
        self._segments: _Cache[Segment] = _Cache(SEGMENTS_KEPT, weight, limit, shared=store.remote)

    def page(self, digest: Digest) -> Page:
        """The page of that name; raises `DamagedError` if it is missing or damaged."""
        return self._pages.get(digest, self._read_page)

    def segment(self, digest: Digest) -> Segment:
        """The segment of that name; raises `DamagedError` if it is missing or damaged."""
        return self._segments.get(digest, self._read_segment)

    def fresh_segment(self, digest: Digest) -> Segment:
        """As `segment`, from the store and past the cache, all of it."""
        name = segment_name(digest)
        try:
            return open_segment(self.store.origin.get(name), digest, verify=self.verify)
        except ObjectMissingError as error:
            raise MissingObjectError(name) from error

    def open_all(self, digests: Iterable[Digest]) -> dict[Digest, Segment]:
        """Segments, opened at once; of many the first EXPECTED."""
        wanted = list(dict.fromkeys(digests))[:EXPECTED]
        at_once(self.segment, [d for d in wanted if d not in self._segments])
        return {d: self.segment(d) for d in wanted}

    def expect(self, rows: Mapping[Digest, Sequence[tuple[int, int]]]) -> None:
        """Of a remote store, have these rows of segments at hand: whatever is missing is fetched
        at once. As much as the cache can hold."""
        missing: dict[tuple[RangedSegment, Span], None] = {}
        room = BYTES_KEPT // 2
        for digest, segment in self.open_all(rows).items():
            room -= segment.data.size
            if isinstance(segment, RangedSegment) and room > 0:
                missing.update(((segment, s), None) for s in segment.missing(rows[digest]))
        at_once(lambda each: each[0].fetch([each[1]]), missing)

    def lead(self, guides: Sequence[str]) -> None:
        """Of a remote store: fetch the first of these guides together with the next page that is
        fetched."""
        fresh = [name for name in guides[:GUIDES_READ] if name not in self._guides]
        self._coming.update(dict.fromkeys(fresh))

    def expect_pages(self, digests: Iterable[Digest]) -> None:
        """Of a remote store, have these pages at hand: those that are not are fetched at once."""
        if not self.store.remote:
            return
        missing = [d for d in digests if d not in self._pages and self._guided(d) is None]
        if missing:
            with suppress(MissingObjectError):  # whoever opens it will see
                self._fetch_pages(missing)

    def put(self, segments: Mapping[Digest, Content], pages: Mapping[Digest, Page]) -> None:
        """Store segments and pages; durable on return, in no particular order."""
        named: dict[str, Content] = {segment_name(d): data for d, data in segments.items()}
        named.update((self.page_name(d), self.encode_page(page)) for d, page in pages.items())
        self.store.put_all(named)
        for digest, page in pages.items():
            self._pages.set(digest, page)
        if self.store.remote:
            self._keep(segments)

    def _keep(self, segments: Mapping[Digest, Content]) -> None:
        """Small segments that were just stored are at hand: a later commit joins them."""
        for digest, data in segments.items():
            if size_of(data) <= KEPT:
                whole = pa.py_buffer(in_one(data))
                self._segments.set(digest, open_segment(whole, digest, verify=self.verify))

    def page_name(self, digest: Digest) -> str:
        """Where a page of that name is, or would be, stored."""
        return page_name(digest, self.header.format)

    def encode_page(self, page: Page, *, small: bool = False) -> pa.Buffer:
        """The bytes of a page, as they are stored here."""
        if self.header.format == 1:
            return page.encode_arrow("zstd" if small or self.store.remote else "plain")
        return page.encode(small=small)

    def freshen(self, segment: Digest) -> bool:
        """Renew the age of a segment; False if it is not there."""
        return self.store.touch(segment_name(segment))

    def forget(self) -> None:
        """Empty the caches."""
        self._pages.clear()
        self._guides = {}
        self._segments.clear()

    def _read_page(self, digest: Digest) -> Page:
        if not self.store.remote:
            name = self.page_name(digest)
            return self._decode_page(digest, name, self._read(name))
        found = self._guided(digest)
        if found is not None:
            return found
        return self._fetch_pages([digest, *self._readahead.wanted(digest)])[digest]

    def _guided(self, digest: Digest) -> Page | None:
        """A page that a guide has; what is damaged there is to be fetched."""
        for guide in self._guides.values():
            if digest in guide:
                with suppress(DamagedError, FormatError):
                    page = Page.decode(digest, guide[digest])
                    self._readahead.learn(page)
                    return page
        return None

    def _fetch_guides(self, data: Mapping[str, pa.Buffer], names: Iterable[str]) -> None:
        """Keep the guides that were fetched, by name; of those that are gone, that they are."""
        fresh = {name: decode_guide(data[name]) if name in data else {} for name in names}
        if fresh:
            kept = [*self._guides.items(), *fresh.items()][-GUIDES_KEPT:]
            self._guides = dict(kept)

    def _fetch_pages(self, digests: Iterable[Digest]) -> dict[Digest, Page]:
        """Have pages at hand, the first of which is needed: those that are not are fetched at
        once. Only the first has to be there."""
        wanted = list(dict.fromkeys(digests))
        missing = [d for d in wanted[1:] if d not in self._pages]
        names = {self.page_name(d): d for d in (*wanted[:1], *missing)}
        guides, self._coming = list(self._coming), {}  # to which other threads may still add
        found: dict[Digest, Page] = {}
        fetched = self.store.get_all([*names, *guides])
        self._fetch_guides(fetched, guides)
        for name, digest in names.items():
            if name not in fetched:
                continue
            page = self._decode_page(digest, name, fetched[name])
            found[page.name] = page
            self._pages.set(page.name, page)
            self._readahead.learn(page)
        if wanted and wanted[0] not in found:
            raise MissingObjectError(self.page_name(wanted[0]))
        return found

    def _decode_page(self, digest: Digest, name: str, data: pa.Buffer) -> Page:
        try:
            return Page.decode(digest, data)
        except DamagedError:
            if not self.store.forget(name):
                raise
            return Page.decode(digest, self.store.origin.get(name))

    def _read_segment(self, digest: Digest) -> Segment:
        if self.store.remote:
            name = segment_name(digest)
            return open_ranged(self.store, name, digest, verify=self.verify)
        return open_segment(self._read(segment_name(digest)), digest, verify=self.verify)

    def _read(self, name: str) -> pa.Buffer:
        try:
            return self.store.get(name)
        except ObjectMissingError as error:
            raise MissingObjectError(name) from error


def _fetched(segment: Segment) -> int:
    return int(segment.data.size)


def _read(segment: Segment) -> int:
    """What an open segment of a local store takes of memory: larger ones are mapped."""
    size = int(segment.data.size)
    return size if size <= READ_AT_MOST else 0


class _Cache(Generic[T]):
    """The `size` most recently used values, and at most `limit` of what `weight` gives them.

    `shared`: of several threads that want one value at once, one makes it and the others wait."""

    def __init__(
        self,
        size: int,
        weight: Callable[[T], int] | None = None,
        limit: int | None = None,
        *,
        shared: bool = False,
    ) -> None:
        self._shared = shared
        self._making: dict[Digest, Future[T]] = {}
        self._size = size
        self._weight = weight if limit is not None else None
        self._limit = limit or 0
        self._total = 0
        self._items: OrderedDict[Digest, T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Digest, make: Callable[[Digest], T]) -> T:
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
                return self._items[key]
            others = self._making.get(key)
            mine: Future[T] | None = None
            if others is None and self._shared:
                mine = self._making[key] = Future()
        if mine is not None:
            return self._make(key, make, mine)
        if others is not None and not is_busy():
            return others.result()
        value = make(key)
        self.set(key, value)
        return value

    def _make(self, key: Digest, make: Callable[[Digest], T], made: Future[T]) -> T:
        try:
            value = make(key)
            self.set(key, value)
            made.set_result(value)
            return value
        except BaseException as error:
            made.set_exception(error)
            raise
        finally:
            with self._lock:
                if self._making.get(key) is made:
                    del self._making[key]

    def set(self, key: Digest, value: T) -> None:
        with self._lock:
            self._drop(self._items.pop(key, None))
            self._items[key] = value
            self._total += self._weight(value) if self._weight else 0
            while len(self._items) > self._size or self._total > self._limit:
                self._drop(self._items.popitem(last=False)[1])

    def _drop(self, value: T | None) -> None:
        if value is not None and self._weight is not None:
            self._total -= self._weight(value)

    def __contains__(self, key: Digest) -> bool:
        return key in self._items

    def clear(self) -> None:
        with self._lock:
            self._items.clear()
            self._total = 0
