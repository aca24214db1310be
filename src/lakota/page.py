"""Pages: the immutable pieces of a manifest, and how rows are cut into them.

A *leaf* page (level 0) holds extents; a page of level n holds entries, one for each page of
level n - 1. Rows are sorted by their key `(label, lo, stamp, tie)` and a row ends its page if
the hash of its key says so, whatever comes before or after it: so the same rows always make
the same pages, and a change touches only the pages around it.

A page is stored as a segment file of one batch; its name is the digest of its rows. The
columns are in `LEAF` and `INNER`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from .digest import Digest
from .errors import DamagedError
from .extent import ERASE, NOWHERE, Extent, ExtentKey
from .interval import Cut
from .segment import encode, open_segment

__all__ = [
    "INNER",
    "LEAF",
    "Entry",
    "Loader",
    "Page",
    "PageKey",
    "cut_pages",
    "ends_page",
    "make_page",
]

FANOUT = 48
"""Rows of a page, on average."""

LEAF = pa.schema(
    [
        ("label", pa.string()),
        ("lo", pa.binary()),
        ("hi", pa.binary()),
        ("stamp", pa.int64()),
        ("tie", pa.uint64()),
        ("kind", pa.int8()),
        ("columns", pa.list_(pa.string())),
        ("trim", pa.int8()),
        ("segment", pa.binary(16)),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("placed", pa.int64()),
    ]
)
INNER = pa.schema(
    [
        ("label", pa.string()),
        ("lo", pa.binary()),
        ("stamp", pa.int64()),
        ("tie", pa.uint64()),
        ("last", pa.string()),
        ("hi", pa.binary()),
        ("level", pa.int8()),
        ("page", pa.binary(16)),
    ]
)

PageKey = ExtentKey


class Entry(NamedTuple):
    """One page, as its parent sees it."""

    label: str
    lo: Cut
    stamp: int
    tie: int
    last: str
    """The last label of the page."""
    hi: Cut
    """The greatest `hi` of the extents of that last label."""
    level: int
    """Of the page itself; 0 for leaves."""
    page: bytes

    @property
    def key(self) -> PageKey:
        """The key of the first extent below."""
        return (self.label, self.lo, self.stamp, self.tie)

    @property
    def name(self) -> Digest:
        return Digest(self.page.hex())


class Page:
    """Rows of a manifest under one name. Decoded lazily, never changed."""

    def __init__(self, name: Digest, table: pa.RecordBatch, data: pa.Buffer | None = None) -> None:
        self.name = name
        self.table = table
        self._data = data  # of a page just made, until it is stored
        self.level: int = 0
        if table.schema.names[-1] == "page":
            self.level = table.column("level")[0].as_py() + 1

    @classmethod
    def decode(cls, name: Digest, data: pa.Buffer) -> Page:
        """Open and verify; raises `DamagedError`."""
        segment = open_segment(data, name)
        if segment.schema.names not in (LEAF.names, INNER.names) or len(segment.offsets) > 2:
            raise DamagedError(f"page {name} has columns {segment.schema.names}: not a page")
        if segment.num_rows == 0:
            return cls(name, pa.RecordBatch.from_pylist([], schema=LEAF))
        return cls(name, segment.batch(0, prove=True))

    def encode(self, codec: str = "plain") -> pa.Buffer:
        """The bytes to store."""
        if codec == "plain" and self._data is not None:
            return self._data
        return encode(pa.Table.from_batches([self.table]), codec).data

    def stored(self) -> Page:
        """The same page without its bytes, to be kept in a cache."""
        page = Page(self.name, self.table)
        page.__dict__.update(
            (name, value)
            for name, value in self.__dict__.items()
            if name in ("extents", "entries", "keys")
        )
        return page

    @cached_property
    def extents(self) -> list[Extent]:
        """The rows of a leaf."""
        columns = [column.to_pylist() for column in self.table.columns]
        columns[6] = [None if names is None else tuple(names) for names in columns[6]]
        return list(map(Extent, *columns))

    @cached_property
    def entries(self) -> list[Entry]:
        """The rows of an inner page."""
        return list(map(Entry, *(column.to_pylist() for column in self.table.columns)))

    @property
    def rows(self) -> Sequence[Extent] | Sequence[Entry]:
        return self.entries if self.level else self.extents

    @cached_property
    def keys(self) -> list[PageKey]:
        """The keys of the rows, to search in."""
        return [row.key for row in self.rows]

    def labels(self) -> tuple[set[str], set[str]]:
        """The labels of a leaf with rows that are there unless keys were deleted, and the labels
        for which one has to look: ends were cut, or keys deleted."""
        with_rows = self.table.filter(pc.greater(self.table.column("length"), 0))
        whole = pc.equal(with_rows.column("trim"), 0)
        doubtful = pc.or_(pc.invert(whole), pc.equal(with_rows.column("kind"), ERASE))
        labels = with_rows.column("label")
        sure, unsure = labels.filter(pc.invert(doubtful)), labels.filter(doubtful)
        return set(sure.unique().to_pylist()), set(unsure.unique().to_pylist())

    def erased(self) -> set[str]:
        """The labels of a leaf of which keys were deleted."""
        erased = self.table.filter(pc.equal(self.table.column("kind"), ERASE))
        return set(erased.column("label").unique().to_pylist())

    def segments(self) -> set[Digest]:
        """The segments that a leaf's extents refer to."""
        found = set(self.table.column("segment").to_pylist()) - {NOWHERE}
        return {Digest(segment.hex()) for segment in found}

    def entry(self) -> Entry:
        """This page as its parent sees it. Not for the empty page."""
        first, final = self.rows[0], self.rows[-1]
        if isinstance(final, Extent):
            last = final.label
            his = [e.hi for e in self.extents if e.label == last]
        else:
            last = final.last
            his = [e.hi for e in self.entries if e.last == last]
        page = bytes.fromhex(self.name)
        return Entry(
            first.label, first.lo, first.stamp, first.tie, last, max(his), self.level, page
        )


Loader = Callable[[Digest], Page]


def make_page(rows: Sequence[Any], level: int) -> Page:
    """A page of extents (level 0) or of entries of pages of level - 1."""
    schema = INNER if level else LEAF
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    table = pa.RecordBatch.from_arrays(
        [pa.array(list(c), f.type) for c, f in zip(columns, schema, strict=True)], schema=schema
    )
    made = encode(pa.Table.from_batches([table]), "plain")
    page = Page(made.name, table, made.data)
    page.__dict__["entries" if level else "extents"] = list(rows)
    return page


def cut_pages(rows: Iterable[Any], level: int) -> Iterator[list[Any]]:
    """Cut sorted rows of a level into the rows of its pages."""
    page: list[Any] = []
    for row in rows:
        page.append(row)
        if ends_page(row.key, level):
            yield page
            page = []
    if page:
        yield page


def ends_page(key: PageKey, level: int) -> bool:
    """Whether the row of that key is the last of its page: its hash modulo FANOUT is 0.

    Hashed is `label 0x00 lo` and, little endian, the stamp and the tie (8 bytes each), by
    xxh3_64 with the level as seed.
    """
    label, lo, stamp, tie = key
    text = b"%b\0%b%b%b" % (
        label.encode(),
        lo,
        stamp.to_bytes(8, "little"),
        tie.to_bytes(8, "little"),
    )
    return xxhash.xxh3_64_intdigest(text, level) % FANOUT == 0
