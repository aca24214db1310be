"""Pages: the immutable pieces of a manifest, and how rows are cut into them.

A *leaf* page (level 0) holds extents; a page of level n holds entries, one for each page of
level n - 1. Rows are sorted by their key `(label, lo, stamp, tie)` and a row ends its page if
the hash of its key says so, whatever comes before or after it: so the same rows always make
the same pages, and a change touches only the pages around it.

A page's name is the digest of its rows, as a segment's. Pages are many and small, so their file
is what is hashed and nothing else: the columns in their canonical encoding (see `digest`), one
after the other, compressed. Integers are little endian:

```
4 bytes  "LKPG"
uint8    version, 2
uint8    0 for a leaf, else 1
uint16   codec of the body: 0 plain, 2 zstd
uint32   rows
uint32   length of the body, plain
body     the encodings of the columns of `LEAF` (level 0) or `INNER`, in their order
```

In a repo of format 1 a page is a segment file of one batch.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, lru_cache
from itertools import accumulate, compress, pairwise, repeat
from struct import Struct, pack
from struct import error as struct_error
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import xxhash

from .codecs import MAX_BATCH_BYTES
from .digest import BLOCK, Digest, column_bytes, digest_table, header_bytes, name_of
from .encoding import encode
from .errors import DamagedError, FormatError
from .extent import ERASE, NOWHERE, Extent, ExtentKey
from .interval import Cut
from .segment import open_segment

__all__ = [
    "INNER",
    "LEAF",
    "Entry",
    "Loader",
    "Page",
    "PageKey",
    "ends_page",
    "make_page",
    "make_pages",
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

_MAGIC = b"LKPG"
_VERSION = 2
_HEAD = Struct("<4sBBHII")
_WRITE = Struct("<QQ")
_CODECS = {"plain": 0, "zstd": 2}
_LEVEL = 3
_LEVEL_PACKED = 12


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
    """Rows of a manifest under one name. Decoded lazily, never changed.

    `columns` are the canonical encodings of its columns.
    """

    def __init__(self, name: Digest, level: int, num_rows: int, columns: Sequence[bytes]) -> None:
        self.name = name
        self.level = level
        self.num_rows = num_rows
        self._columns = columns
        self._known: Sequence[Sequence[Any]] | None = None
        """The values of its columns, where they are at hand."""

    @classmethod
    def decode(cls, name: Digest, data: pa.Buffer, *, most: int = MAX_BATCH_BYTES) -> Page:
        """Open and verify; raises `DamagedError`, `FormatError`, and the first if it declares
        more than `most` bytes."""
        if data[:6].to_pybytes() == b"ARROW1":
            return _decode_arrow(name, data, most)
        schema, rows, columns = _open(name, data, most)
        return cls._verified(name, schema, rows, columns)

    @classmethod
    def _verified(
        cls, name: Digest, schema: pa.Schema, rows: int, columns: Sequence[bytes]
    ) -> Page:
        if _named(schema, rows, columns) != name:
            raise DamagedError(f"page {name} is damaged: its rows have another digest")
        if schema is LEAF:
            return cls(name, 0, rows, columns)
        page = cls(name, 1, rows, columns)
        levels = set(page.column("level"))
        if len(levels) != 1:
            raise DamagedError(f"page {name} is no page: its rows are of the levels {levels}")
        page.level = levels.pop() + 1
        return page

    def encode(self, *, small: bool = False) -> pa.Buffer:
        """The bytes to store; `small` takes more time for fewer."""
        body = b"".join(self._columns)
        packed = pa.Codec("zstd", _LEVEL_PACKED if small else _LEVEL).compress(body)
        codec = "zstd" if packed.size < len(body) else "plain"
        kind = min(self.level, 1)
        head = _HEAD.pack(_MAGIC, _VERSION, kind, _CODECS[codec], self.num_rows, len(body))
        return pa.py_buffer(head + (packed.to_pybytes() if codec == "zstd" else body))

    def encode_arrow(self, codec: str) -> pa.Buffer:
        """The bytes to store in a repo of format 1."""
        return encode(self.table, codec).data

    def column(self, name: str) -> list[Any]:
        """The values of one column."""
        at, kind = (_INNER if self.level else _LEAF)[name]
        if self._known is not None:
            return list(self._known[at])
        return _values(kind, self._columns[at], self.num_rows)

    @property
    def table(self) -> pa.Table:
        """The rows as a table, for those who look on."""
        schema = INNER if self.level else LEAF
        columns = [pa.array(self.column(field.name), field.type) for field in schema]
        return pa.table(columns, schema=schema)

    @cached_property
    def extents(self) -> list[Extent]:
        """The rows of a leaf."""
        return list(map(Extent, *(self.column(name) for name in LEAF.names)))

    @cached_property
    def spans(self) -> dict[str, tuple[int, int]]:
        """The first row of each label of a leaf, and the one after its last."""
        labels = self.column("label")
        stops = dict(zip(labels, range(1, len(labels) + 1), strict=True))  # the last one counts
        return dict(zip(stops, pairwise([0, *stops.values()]), strict=True))

    @property
    def is_plain(self) -> bool:
        """Whether all rows of a leaf are replaces, with all rows at their places visible."""
        return self._is_zero("kind") and self._is_zero("trim")

    def _is_zero(self, name: str) -> bool:
        """Whether a column of a leaf has nothing but 0: REPLACE, or ends that were never cut."""
        return not self._columns[_LEAF[name][0]].strip(b"\0")

    @cached_property
    def entries(self) -> list[Entry]:
        """The rows of an inner page."""
        return list(map(Entry, *(self.column(name) for name in INNER.names)))

    @property
    def rows(self) -> Sequence[Extent] | Sequence[Entry]:
        return self.entries if self.level else self.extents

    @cached_property
    def keys(self) -> list[PageKey]:
        """The keys of the rows, to search in."""
        return list(zip(*map(self.column, _KEY), strict=True))

    def labels(self) -> tuple[list[str], set[str]]:
        """The labels of a leaf with rows that are there unless keys were deleted, in order, and the
        labels for which one has to look: ends were cut, or keys deleted."""
        labels, lengths = map(self.column, ("label", "length"))
        if self.is_plain:
            return labels if all(lengths) else list(compress(labels, lengths)), set()
        trims, kinds = map(self.column, ("trim", "kind"))
        sure: list[str] = []
        unsure: set[str] = set()
        for label, length, trim, kind in zip(labels, lengths, trims, kinds, strict=True):
            if length and (trim or kind == ERASE):
                unsure.add(label)
            elif length:
                sure.append(label)
        return sure, unsure

    def erased(self) -> set[str]:
        """The labels of a leaf of which keys were deleted."""
        if self._is_zero("kind"):
            return set()
        kinds = self.column("kind")
        return {label for label, k in zip(self.column("label"), kinds, strict=True) if k == ERASE}

    def segments(self) -> set[Digest]:
        """The segments that a leaf's extents refer to."""
        return {Digest(segment.hex()) for segment in set(self.column("segment")) - {NOWHERE}}

    def entry(self) -> Entry:
        """This page as its parent sees it. Not for the empty page."""
        lasts = self.column("last" if self.level else "label")
        hi = max(self.column("hi")[bisect_left(lasts, lasts[-1]) :])
        label, lo, stamp, tie = (self.column(name)[0] for name in _KEY)
        page = bytes.fromhex(self.name)
        return Entry(label, lo, stamp, tie, lasts[-1], hi, self.level, page)


Loader = Callable[[Digest], Page]


def make_page(values: Sequence[Sequence[Any]], level: int) -> Page:
    """A page of extents (level 0) or of entries of pages of level - 1, given column by column."""
    kinds = (_INNER if level else _LEAF).values()
    columns = [_column(kind, column) for (_, kind), column in zip(kinds, values, strict=True)]
    rows = len(values[0])
    page = Page(_named(INNER if level else LEAF, rows, columns), level, rows, columns)
    page._known = values
    return page


def make_pages(values: Sequence[Sequence[Any]], level: int) -> Iterator[Page]:
    """Cut sorted rows of a level, given column by column, into pages."""
    if not values:
        return
    names = INNER.names if level else LEAF.names
    labels, los, stamps, ties = (values[names.index(name)] for name in _KEY)
    start = 0
    for stop in _ends(labels, los, stamps, ties, level):
        yield make_page([column[start:stop] for column in values], level)
        start = stop
    if start < len(values[0]):
        yield make_page([column[start:] for column in values], level)


_KEY = ("label", "lo", "stamp", "tie")


def ends_page(key: PageKey, level: int) -> bool:
    """Whether the row of that key is the last of its page: its hash modulo FANOUT is 0.

    Hashed is `label 0x00 lo` and, little endian, the stamp and the tie (8 bytes each), by
    xxh3_64 with the level as seed.
    """
    label, lo, stamp, tie = key
    return bool(_ends([label], [lo], [stamp], [tie], level))


def _ends(
    labels: Sequence[str],
    los: Sequence[bytes],
    stamps: Sequence[int],
    ties: Sequence[int],
    level: int,
) -> list[int]:
    """The positions after rows that end their page, of rows given by the columns of their keys."""
    writes = map(_WRITE.pack, stamps, ties)
    texts = map(b"%b\0%b%b".__mod__, zip(map(str.encode, labels), los, writes, strict=True))
    hashes = map(xxhash.xxh3_64_intdigest, texts, repeat(level))
    return [at for at, found in enumerate(hashes, 1) if found % FANOUT == 0]


def _named(schema: pa.Schema, rows: int, columns: Sequence[bytes]) -> Digest:
    """The name of rows, from their canonical columns."""
    if rows > BLOCK:  # columns are hashed block by block
        values = [_values(_kind(f.type), c, rows) for f, c in zip(schema, columns, strict=True)]
        arrays = [pa.array(v, f.type) for f, v in zip(schema, values, strict=True)]
        return digest_table(pa.table(arrays, schema=schema))
    head = _LEAF_HEADER if schema is LEAF else _INNER_HEADER
    digests = [xxhash.xxh3_128_digest(c) for c in columns] if rows else []  # no row, no block
    return name_of(head, rows, b"".join(digests))


_LEAF_HEADER, _INNER_HEADER = header_bytes(LEAF), header_bytes(INNER)


def _open(name: Digest, data: pa.Buffer, most: int) -> tuple[pa.Schema, int, list[bytes]]:
    """The schema, the number of rows and the columns that a file has."""
    try:
        magic, version, kind, codec, rows, size = _HEAD.unpack_from(data)
        if magic != _MAGIC or kind > 1 or codec not in _CODECS.values():
            raise DamagedError(f"page {name} is damaged: it does not begin as a page does")
        if version != _VERSION:
            raise FormatError(f"page {name} is of version {version}; this release reads {_VERSION}")
        packed = data[_HEAD.size :]
        if codec and size > most:
            raise DamagedError(f"page {name} is damaged: it declares {size} bytes")
        if codec:
            body = pa.Codec("zstd").decompress(packed, size, asbytes=True)
        else:
            body = packed.to_pybytes()
        schema = INNER if kind else LEAF
        return schema, rows, _split(body, schema, rows)
    except (ValueError, OSError, struct_error) as error:
        raise DamagedError(f"page {name} is damaged: {error}") from error


def _decode_arrow(name: Digest, data: pa.Buffer, most: int) -> Page:
    """A page of a repo of format 1."""
    segment = open_segment(data, name, most=most)
    schema = {tuple(s.names): s for s in (LEAF, INNER)}.get(tuple(segment.schema.names))
    if schema is None or segment.schema != schema or len(segment.offsets) > 2:
        raise DamagedError(f"page {name} has columns {segment.schema.names}: not a page")
    if segment.num_rows == 0:
        return Page(name, 0, 0, [column_bytes(pa.array([], f.type)) for f in schema])
    batch = segment.batch(0, prove=True)
    return Page._verified(name, schema, batch.num_rows, [column_bytes(c) for c in batch.columns])


# ---- Columns: Python values to canonical bytes and back, without the detour of Arrow, which costs
# more than everything else that is done with a page.

_NUMBERS = {pa.int8(): "b", pa.int64(): "q", pa.uint64(): "Q"}
_LISTS = pa.list_(pa.string())
_OTHERS = {pa.string(): "text", pa.binary(): "bytes", pa.binary(16): "id"}


def _kind(type_: pa.DataType) -> str:
    """How a column is taken apart: numbers by their letter in `struct`."""
    return _NUMBERS.get(type_) or _OTHERS.get(type_, "lists")


_LEAF = {f.name: (at, _kind(f.type)) for at, f in enumerate(LEAF)}
_INNER = {f.name: (at, _kind(f.type)) for at, f in enumerate(INNER)}


def _column(kind: str, values: Sequence[Any]) -> bytes:
    if len(kind) == 1:
        return pack(f"<B{len(values)}{kind}", 0, *values)
    if kind == "id":
        return b"".join((b"\0", *values))
    if kind == "lists":
        if not any(value is not None for value in values):  # nearly always
            return _no_lists(len(values))
        return column_bytes(pa.array(values, _LISTS))
    texts = [value.encode() for value in values] if kind == "text" else values
    ends = accumulate(map(len, texts), initial=0)
    return b"".join((pack(f"<B{len(texts) + 1}q", 0, *ends), *texts))


@lru_cache(maxsize=1024)
def _no_lists(rows: int) -> bytes:
    return column_bytes(pa.nulls(rows, _LISTS))


def _values(kind: str, column: bytes, rows: int) -> list[Any]:
    if len(kind) == 1:
        return _numbers(kind, column, 1, rows)
    if kind == "id":
        return [column[at : at + 16] for at in range(1, 1 + 16 * rows, 16)]
    if kind == "lists":
        return _lists(column, rows)
    ends = _numbers("q", column, 1, rows + 1)
    found = column[1 + 8 * (rows + 1) :]
    if kind == "bytes":
        return [found[lo:hi] for lo, hi in pairwise(ends)]
    if found.isascii():
        text = found.decode()
        return [text[lo:hi] for lo, hi in pairwise(ends)]
    return [found[lo:hi].decode() for lo, hi in pairwise(ends)]


def _numbers(kind: str, column: bytes, at: int, count: int) -> list[int]:
    """Numbers that begin at `at`. Raises `ValueError` if there are not so many."""
    found: list[int] = np.frombuffer(column, _DTYPES[kind], count, at).tolist()
    return found


_DTYPES = {kind: np.dtype(f"<{kind}") for kind in "bqQ"}


def _lists(column: bytes, rows: int) -> list[tuple[str, ...] | None]:
    """Lists of texts, of which most, and mostly all, are null."""
    validity, at = _validity(column, rows)
    if not any(validity):
        return [None] * rows
    ends = _numbers("q", column, at, rows + 1)
    texts = _values("text", column[at + 8 * (rows + 1) :], ends[-1])
    pairs = zip(validity, pairwise(ends), strict=True)
    return [tuple(texts[lo:hi]) if valid else None for valid, (lo, hi) in pairs]


def _validity(column: bytes, rows: int) -> tuple[list[bool], int]:
    """Which slots are valid, and where the rest begins."""
    if column[0] == 0:
        return [True] * rows, 1
    size = (rows + 7) // 8
    bits = int.from_bytes(column[1 : 1 + size], "little")
    return [bool(bits >> i & 1) for i in range(rows)] if bits else [False] * rows, 1 + size


def _split(body: bytes, schema: pa.Schema, rows: int) -> list[bytes]:
    """The columns of a body; raises `ValueError` or `struct.error`."""
    columns = []
    at = 0
    for _, kind in (_LEAF if schema is LEAF else _INNER).values():
        size = _length(kind, body, at, rows)
        columns.append(body[at : at + size])
        at += size
    if at != len(body):
        raise ValueError(f"its columns have {at} bytes, its body {len(body)}")
    return columns


def _length(kind: str, body: bytes, at: int, rows: int) -> int:
    """The bytes of the column that begins at `at`."""
    if len(kind) == 1:
        return 1 + rows * _DTYPES[kind].itemsize
    if kind == "id":
        return 1 + 16 * rows
    if kind == "lists" and body.startswith(_no_lists(rows), at):  # nearly always
        return len(_no_lists(rows))
    start = at + 1 + ((rows + 7) // 8 if body[at : at + 1] != b"\0" else 0)
    ends = _numbers("q", body, start, rows + 1)
    if ends[0] != 0 or ends[-1] > len(body) or ends != sorted(ends):
        raise ValueError("the ends of its texts are not in order")
    size = start - at + 8 * (rows + 1)
    if kind == "lists":
        return size + _length("text", body, at + size, ends[-1])
    return int(size + ends[-1])
