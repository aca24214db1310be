"""A reader of repos made from docs/format.md alone. `test_format_reader` tells what it proves.

It imports nothing of lakota: what it needs to know, the page has to say. It reads without any
cleverness: whole objects, every name computed from the rows, every row compared with the cuts of
its extent. It stops at whatever the page does not allow.
"""

from __future__ import annotations

import json
import re
import struct
from base64 import b64decode
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pcodec.standalone
import pyarrow as pa
from xxhash import xxh3_64, xxh3_128

# ---- Names of rows


def bits(flags: Iterable[bool]) -> bytes:
    return np.packbits(np.array(list(flags), bool), bitorder="little").tobytes()


def type_text(type_: pa.DataType) -> str:
    if pa.types.is_struct(type_):
        fields = [f"{len(f.name.encode())}:{f.name}:{type_text(f.type)}" for f in type_]
        return f"struct<{','.join(fields)}>"
    if pa.types.is_list(type_):
        return f"list<{type_text(type_.value_type)}>"
    return str(type_)


def column_bytes(array: pa.Array) -> bytes:
    """The encoding of the slots of a column."""
    type_, valid = array.type, array.is_valid().to_pylist()
    if pa.types.is_null(type_):
        return b""
    head = b"\x00" if all(valid) else b"\x01" + bits(valid)
    if pa.types.is_boolean(type_):
        return head + bits(v or False for v in array.to_pylist())
    if pa.types.is_struct(type_):
        kept = array.drop_null()
        return head + b"".join(map(column_bytes, kept.flatten()))
    if pa.types.is_list(type_):
        lengths = [len(v) if v is not None else 0 for v in array.to_pylist()]
        return head + offsets(lengths) + column_bytes(array.flatten())
    if pa.types.is_string(type_) or pa.types.is_binary(type_):
        values = [v or b"" for v in array.cast(pa.binary()).to_pylist()]
        return head + offsets(map(len, values)) + b"".join(values)
    width = type_.bit_width // 8
    data = array.buffers()[1].to_pybytes()[array.offset * width :]
    slots = [data[i * width : (i + 1) * width] for i in range(len(array))]
    return head + b"".join(s if v else bytes(width) for s, v in zip(slots, valid, strict=True))


def offsets(lengths: Iterable[int]) -> bytes:
    return np.concatenate(([0], np.cumsum(np.array(list(lengths), "<i8")))).astype("<i8").tobytes()


def name_of(schema: pa.Schema, rows: int, digests: bytes) -> str:
    texts = [text.encode() for f in schema for text in (f.name, type_text(f.type))]
    header = struct.pack("<BI", 1, len(schema))
    header += b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return xxh3_128(header + struct.pack("<Q", rows) + digests).hexdigest()


# ---- Segments


def read_rows(path: Path, name: str) -> pa.Table:
    """All rows of a segment or page, every block verified."""
    file = pa.ipc.open_file(path.read_bytes())
    blob = b64decode(file.metadata[b"lakota"])
    assert xxh3_64(blob[:-8]).digest() == blob[-8:]
    version, layout, size, rows, c, k, schema_len, firsts_len = struct.unpack_from(
        "<BBIQHHII", blob
    )
    assert version == 1
    assert layout in (0, 1)
    at = struct.calcsize("<BBIQHHII")
    codecs, at = blob[at : at + c], at + c + 2 * k
    schema, at = pa.ipc.read_schema(pa.py_buffer(blob[at : at + schema_len])), at + schema_len
    digests = blob[at + firsts_len : -8]
    assert name_of(schema, rows, digests) == name
    batches = []
    for i in range(file.num_record_batches):
        batch = file.get_batch(i)
        if layout == 1:
            n = min(size, rows - i * size)
            parts = zip(batch.columns, schema.types, codecs, strict=True)
            batch = pa.record_batch([decode(*part, n) for part in parts], schema=schema)
        batches.append(pa.record_batch(batch.columns, schema=schema))
    table = pa.Table.from_batches(batches, schema).combine_chunks()
    assert table.num_rows == rows
    found = b""
    for start in range(0, rows, 16_384):
        for column in table.slice(start, 16_384).columns:
            found += xxh3_128(column_bytes(pa.concat_arrays(column.chunks))).digest()
    assert found == digests
    return table


def decode(stored: pa.Array, type_: pa.DataType, codec: int, n: int) -> pa.Array:
    """One column of a batch of a packed segment."""
    if codec == 0:
        return stored.flatten()
    if codec in (1, 2):
        return pa.ipc.open_stream(stored[0].as_py()).read_all().column(0).combine_chunks()
    value = stored[0].as_py()
    valid = np.ones(n, bool)
    if value["validity"] is not None:
        packed = np.frombuffer(value["validity"], np.uint8)
        valid = np.unpackbits(packed, count=n, bitorder="little").astype(bool)
    files = [value[key] for key in value if key != "validity"]
    limbs = [pcodec.standalone.simple_decompress(f) for f in files]
    width = type_.bit_width // 8 // len(limbs)
    slots = np.zeros((n, len(limbs), width), np.uint8)
    for i, limb in enumerate(limbs):
        if limb is not None and len(limb):
            slots[valid, i] = np.ascontiguousarray(limb).view(np.uint8).reshape(-1, width)
    buffers = [pa.py_buffer(np.packbits(valid, bitorder="little")), pa.py_buffer(slots.tobytes())]
    return pa.Array.from_buffers(type_, n, buffers)


# ---- Pages

TEXT, BYTES, INT, UINT = pa.string(), pa.binary(), pa.int64(), pa.uint64()
TINY, TEXTS, ID = pa.int8(), pa.list_(pa.string()), pa.binary(16)
EXTENT = dict(label=TEXT, lo=BYTES, hi=BYTES, stamp=INT, tie=UINT, kind=TINY, columns=TEXTS)
EXTENT |= dict(trim=TINY, segment=ID, offset=INT, length=INT, placed=INT)
ENTRY = dict(label=TEXT, lo=BYTES, stamp=INT, tie=UINT, last=TEXT, hi=BYTES, level=TINY, page=ID)


def read_page(path: Path, name: str) -> pa.Table:
    """All rows of a page, verified."""
    data = path.read_bytes()
    magic, version, inner, codec, rows, size = struct.unpack_from("<4sBBHII", data)
    assert (magic, version) == (b"LKPG", 2)
    body = data[16:] if codec == 0 else pa.decompress(data[16:], size, "zstd").to_pybytes()
    assert codec in (0, 2)
    assert len(body) == size
    schema = pa.schema(ENTRY if inner else EXTENT)
    columns, digests, at = [], b"", 0
    for type_ in schema.types:
        start = at
        values, at = slots(type_, rows, body, at)
        columns.append(pa.array(values, type_))
        assert column_bytes(columns[-1]) == body[start:at]
        digests += xxh3_128(body[start:at]).digest()
    assert at == size
    assert name_of(schema, rows, digests) == name
    return pa.table(columns, schema=schema)


def slots(type_: pa.DataType, n: int, body: bytes, at: int) -> tuple[list[Any], int]:
    """The values of a column whose encoding begins at `at`, and where it ends."""
    valid = [True] * n
    at += 1
    if body[at - 1]:
        size = (n + 7) // 8
        packed = np.frombuffer(body[at : at + size], np.uint8)
        valid = np.unpackbits(packed, count=n, bitorder="little").astype(bool).tolist()
        at += size
    if type_ in (TEXT, BYTES, TEXTS):
        ends = struct.unpack_from(f"<{n + 1}q", body, at)
        at += 8 * (n + 1)
        if type_ == TEXTS:
            below, at = slots(TEXT, ends[-1], body, at)
        else:
            below, at = body[at : at + ends[-1]], at + ends[-1]
        found = [below[lo:hi] for lo, hi in pairwise(ends)]
        if type_ == TEXT:
            found = [text.decode() for text in found]
    else:
        width = type_.bit_width // 8
        found = [body[at + i * width : at + (i + 1) * width] for i in range(n)]
        at += n * width
        if type_ != ID:
            found = [int.from_bytes(v, "little", signed=type_ != UINT) for v in found]
    return [v if ok else None for v, ok in zip(found, valid, strict=True)], at


# ---- Keys and cuts


def body(type_: pa.DataType) -> Callable[[Any], bytes]:
    """What turns a value, as pyarrow gives it for the storage type, into a component's body."""
    if pa.types.is_uint64(type_):
        return lambda v: struct.pack(">Q", v)
    if pa.types.is_integer(type_) or pa.types.is_temporal(type_):
        return lambda v: struct.pack(">Q", v + 2**63)
    if pa.types.is_decimal(type_):
        return lambda v: (int(v.scaleb(type_.scale)) + 2**127).to_bytes(16, "big")
    if pa.types.is_floating(type_):
        return real
    if pa.types.is_boolean(type_):
        return lambda v: bytes([v])
    return lambda v: (v.encode() if isinstance(v, str) else v).replace(b"\0", b"\0\xff") + b"\0"


def real(value: float) -> bytes:
    data = struct.pack(">d", value or 0.0)
    if data[0] & 0x80:
        return bytes(255 - byte for byte in data)
    return bytes([data[0] ^ 0x80]) + data[1:]


def keys(table: pa.Table, index: list[str]) -> list[bytes]:
    """The components of each row's key."""
    columns = []
    for name in index:
        column = table.column(name)
        encode = body(column.type)
        if pa.types.is_temporal(column.type):
            column = column.cast(pa.int64() if column.type.bit_width == 64 else pa.int32())
        columns.append([b"\x02" + encode(value) for value in column.to_pylist()])
    return [b"".join(parts) for parts in zip(*columns, strict=True)]


# ---- Manifests


class Extent(NamedTuple):
    label: str
    lo: bytes
    hi: bytes
    stamp: int
    tie: int
    kind: int
    columns: Sequence[str] | None
    trim: int
    segment: bytes
    offset: int
    length: int
    placed: int

    @property
    def rank(self) -> tuple[Any, ...]:
        return (self.stamp, self.tie, self.placed, self.segment, self.offset, self.length)


class Columns(NamedTuple):
    """The columns of a collection."""

    index: list[str]
    """Stored names."""
    names: dict[str, str]
    """Today's names by stored names, of what was not dropped."""
    defaults: dict[str, Any]
    """Of value columns, by stored name."""


def evolve(schema: str, facts: list[tuple[Any, ...]]) -> Columns:
    """The columns that facts (stamp, id, what, stored name, value, default) make of a schema."""
    columns = json.loads(schema)["columns"]
    names = {c["name"]: c["name"] for c in columns}
    defaults = {c["name"]: None for c in columns if not c["index"]}
    for _, _, what, source, value, default in facts:
        if what == "added" and source not in names:
            names[source] = value.split("\0")[0]
            stream = default and pa.ipc.open_stream(b64decode(default)).read_all()
            defaults[source] = stream.column(0)[0].as_py() if default else None
    for _, _, what, source, value, _ in facts:
        if what == "name":
            names[source] = value
    for source in {source for _, _, what, source, _, _ in facts if what == "dropped"}:
        del names[source]
        del defaults[source]
    return Columns([c["name"] for c in columns if c["index"]], names, defaults)


EMPTY = "bb90caf68016ce8375df81a475effb24"


class Reader:
    """One repo in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: dict[str, pa.Table] = {}
        header = json.loads((folder / "lakota.json").read_text("utf-8"))
        assert header["format"] in (1, 2)
        assert header["digest"] == "xxh3_128"
        self.format = header["format"]

    def object(self, kind: str, name: str) -> pa.Table:
        if name not in self.seen:
            stem = self.folder / kind / name[:2] / name[2:]
            if kind == "pages" and self.format == 2:
                self.seen[name] = read_page(stem.with_suffix(".page"), name)
            else:
                self.seen[name] = read_rows(stem.with_suffix(".arrow"), name)
        return self.seen[name]

    def heads(self, collection: str, until: int = 2**63) -> list[str]:
        """The heads, oldest first, of the revisions with a stamp up to `until`."""
        child = r"[0-9a-f]{16}-[0-9a-f]{32}"
        edges = []
        for file in (self.folder / "changelog" / collection).glob("*"):
            if re.fullmatch(rf"{child}\.{child}", file.name):
                parent, child_ = file.name.split(".")
                self.verify(file, parent, child_)
                edges.append((parent, child_))
            elif match := re.fullmatch(r"packed\.([0-9a-f]{32})\.[0-9a-f]{8}", file.name):
                assert self.format == 2
                rows = read_rows(file, match[1]).to_pylist()
                assert all(isinstance(json.loads(row["document"]), dict) for row in rows)
                assert rows == sorted(rows, key=lambda row: (row["child"], row["parent"]))
                edges.extend((row["parent"], row["child"]) for row in rows)
        edges = [(p, c) for p, c in edges if p < c and int(c[:16], 16) <= until]
        return sorted({c for _, c in edges} - {p for p, _ in edges})

    @staticmethod
    def verify(file: Path, parent: str, child: str) -> None:
        document = json.loads(file.read_text("utf-8"))
        checksum = document.pop("checksum")
        assert xxh3_64(json.dumps(document, sort_keys=True).encode()).hexdigest() == checksum
        assert (document["format"], document["parent"], document["child"]) == (1, parent, child)

    def extents(self, root: str) -> list[Extent]:
        """All extents of a manifest, checked to be cut into pages as the format says."""
        if root == EMPTY:
            return []
        level, rows = self.descend(root)
        assert rows == sorted(rows, key=lambda row: row[0])
        assert level == 0 or len(rows) > 1
        return [extent for _, extent in rows]

    def descend(self, name: str) -> tuple[int, list[tuple[Any, Extent]]]:
        rows = self.object("pages", name).to_pylist()
        own = [(r["label"].encode(), r["lo"], r["stamp"], r["tie"]) for r in rows]
        level = rows[0]["level"] + 1 if "page" in rows[0] else 0
        assert not any(self.ends(key, level) for key in own[:-1])
        if level == 0:
            return 0, [(k, Extent(**row)) for k, row in zip(own, rows, strict=True)]
        found: list[tuple[Any, Extent]] = []
        for i, row in enumerate(rows):
            below, extents = self.descend(row["page"].hex())
            last = [e for _, e in extents if e.label == row["last"]]
            assert (below, extents[0][0]) == (row["level"], own[i])
            assert extents[-1][1].label == row["last"]
            assert max(e.hi for e in last) == row["hi"]
            found.extend(extents)
        return level, found

    @staticmethod
    def ends(key: tuple[bytes, bytes, int, int], level: int) -> bool:
        label, lo, stamp, tie = key
        text = label + b"\0" + lo + struct.pack("<qQ", stamp, tie)
        return bool(xxh3_64(text, seed=level).intdigest() % 48 == 0)

    def state(self, heads: list[str]) -> list[Extent]:
        """The extents of several heads, joined."""
        found = {e for head in heads for e in map(frozen, self.extents(head[17:]))}
        joined: list[Extent] = []
        for label in sorted({e.label for e in found}):
            joined.extend(resolve([e for e in found if e.label == label]))
        return joined

    def inside(self, e: Extent, index: list[str]) -> list[tuple[bytes, dict[str, Any]]]:
        """The rows of an extent, each with the components of its key."""
        if not e.length:
            return []
        table = self.object("segments", e.segment.hex()).slice(e.offset, e.length)
        found = list(zip(keys(table, index), table.to_pylist(), strict=True))
        kept = [(k, row) for k, row in found if e.lo <= k + b"\x01" and k + b"\x03" <= e.hi]
        assert e.trim & 1 or kept[0] == found[0]
        assert e.trim & 2 or kept[-1] == found[-1]
        return kept

    def rows(self, extents: list[Extent], label: str, schema: Columns) -> list[dict[str, Any]]:
        """The content of a series: replaces, and the other kinds laid over them."""
        index, blank = schema.index, schema.defaults
        own = [e for e in extents if e.label == label]
        found = [pair for e in own if e.kind == 0 for pair in self.inside(e, index)]
        assert [k for k, _ in found] == sorted(k for k, _ in found)
        by_key: dict[bytes, list[dict[str, Any]]] = {}
        for k, row in found:
            by_key.setdefault(k, []).append(blank | row)
        for e in sorted(own, key=lambda e: (e.stamp, e.tie)):
            assert e.kind in (0, 1, 2)
            for k, row in self.inside(e, index) if e.kind else ():
                if e.kind == 2:
                    by_key.pop(k, None)
                    continue
                assert e.columns is None or list(row) == [*index, *e.columns]
                olds = by_key.get(k, []) if blank.keys() - row.keys() else []
                by_key[k] = [old | row for old in olds] or [blank | row]
        found_rows = [row for k in sorted(by_key) for row in by_key[k]]
        return [{name: row[s] for s, name in schema.names.items()} for row in found_rows]

    def collections(self) -> dict[str, tuple[str, Columns]]:
        """Label -> id and columns."""
        registry = "0" * 32
        best: dict[tuple[str, str], tuple[Any, ...]] = {}
        for head in self.heads(registry):
            for e in self.extents(head[17:]):
                for _, row in self.inside(e, ["id"]):
                    claim = (e.stamp, e.tie, row["label"], row["schema"], row["settings"])
                    best[e.label, row["id"]] = max(claim, best.get((e.label, row["id"]), (0,)))
        facts = [
            (claim[0], *id_.split("\0")[:2], *claim[2:])
            for (series, id_), claim in best.items()
            if series == "column"
        ]
        found: dict[str, tuple[str, Columns]] = {}
        known = [(claim, id_) for (series, id_), claim in best.items() if series == "collection"]
        for (_, _, label, schema, _), id_ in sorted(known, key=lambda c: (c[0][0], c[1])):
            if ("deleted", id_) in best:
                continue
            name = label if label not in found else f"{label}~{id_[:8]}"
            found[name] = (id_, evolve(schema, sorted(f for f in facts if f[1] == id_)))
        return found

    def read(self, collection: str, until: int | None = None) -> dict[str, list[dict[str, Any]]]:
        """Every series: at the newest head, or all that was written until a stamp."""
        id_, columns = self.collections()[collection]
        heads = self.heads(id_)[-1:] if until is None else self.heads(id_, until)
        state = self.state(heads)
        labels = sorted({e.label for e in state})
        found = {label: self.rows(state, label, columns) for label in labels}
        return {label: rows for label, rows in found.items() if rows}


def frozen(e: Extent) -> Extent:
    """The same as a value that can be in a set."""
    return e._replace(columns=None if e.columns is None else tuple(e.columns))


def resolve(extents: list[Extent]) -> list[Extent]:
    """What is visible of the extents of one label."""
    cuts = sorted({cut for e in extents for cut in (e.lo, e.hi)})
    ended: list[Extent] = []
    growing: dict[Any, Extent] = {}
    for lo, hi in pairwise(cuts):
        seen = visible([e for e in extents if e.lo <= lo and hi <= e.hi])
        same = {(e.kind, e.columns, e.rank): e for e in seen}
        ended.extend(e for value, e in growing.items() if value not in same)
        growing = {
            value: growing[value]._replace(hi=hi) if value in growing else e._replace(lo=lo, hi=hi)
            for value, e in same.items()
        }
    ended.extend(growing.values())
    return sorted((with_trim(e, extents) for e in ended), key=lambda e: (e.lo, e.stamp, e.tie))


def visible(over: list[Extent]) -> list[Extent]:
    """What is visible at one position, of the extents that cover it."""
    base = max((e for e in over if e.kind == 0), key=lambda e: e.rank, default=None)
    layers = [e for e in over if e.kind and (base is None or e.rank[:2] > base.rank[:2])]
    best: dict[Any, Extent] = {}
    for e in sorted(layers, key=lambda e: e.rank):
        best[e.stamp, e.tie, e.columns] = e
    return [e for e in (base, *best.values()) if e is not None]


def with_trim(e: Extent, sources: list[Extent]) -> Extent:
    same = [s for s in sources if s.rank == e.rank]
    lo = any(s.lo == e.lo and not s.trim & 1 for s in same)
    hi = any(s.hi == e.hi and not s.trim & 2 for s in same)
    return e._replace(trim=0 if not e.length else (not lo) + 2 * (not hi))
