"""The footer of a segment: what is to be known of its rows before any is decoded.

In a segment of either layout, the metadata `lakota:codec` of a field names the column's codec, for
people and other tools. A reader goes by the footer: the IPC file's footer metadata maps `lakota` to
the base64 of the following, integers little endian:

    uint8  version, 1
    uint8  layout, 0 flat or 1 packed
    uint32 rows per batch
    uint64 rows
    uint16 number of columns   c
    uint16 number of key columns   k
    uint32 length of the schema
    uint32 length of the first keys, 0 if there is at most one batch
    uint8 [c]   codecs: 0 plain, 1 lz4, 2 zstd, 3 pco
    uint16[k]   key columns, by position
    schema      the schema of the rows, an IPC schema message, without metadata
    first keys  an IPC stream of one record batch: the key columns of the first row of each batch
    digests     16 bytes per column of each block, block by block
    checksum    8 bytes, the xxh3_64 of all before, big endian

A schema and codecs make a `Plan`: what follows from them. Few plans serve many segments.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from struct import Struct
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
from xxhash import xxh3_64_digest

from .codecs import CODECS, is_fixed, stored_type
from .digest import BLOCK, DIGEST_BYTES, type_text
from .errors import DamagedError, FormatError, NotFoundError

__all__ = ["MAX_BATCH_ROWS", "Footer", "Plan", "plan_of"]

MAX_BATCH_ROWS: Final = 65_536

_VERSION: Final = 1
_KEY: Final = "lakota"
_CODEC: Final = "lakota:codec"
_HEAD: Final = Struct("<BBIQHHII")


@dataclass(frozen=True)
class Plan:
    """What follows from schema and codecs."""

    schema: pa.Schema
    schema_bytes: bytes
    codecs: tuple[str, ...]

    @cached_property
    def packed(self) -> bool:
        return len(set(self.codecs)) > 1 or "pco" in self.codecs

    @cached_property
    def ipc_schema(self) -> pa.Schema:
        """The schema of the IPC file."""
        pairs = zip(self.schema, self.codecs, strict=True)
        return pa.schema(
            field.with_type(stored_type(field.type, codec) if self.packed else field.type)
            .with_nullable(self.packed or field.nullable)
            .with_metadata({_CODEC: codec})
            for field, codec in pairs
        )

    @cached_property
    def loose(self) -> tuple[int, ...]:
        """The columns whose values have no fixed width: these have offsets to get lost by."""
        return tuple(i for i, type_ in enumerate(self.schema.types) if not is_fixed(type_))

    @cached_property
    def has_dictionaries(self) -> bool:
        return any("dictionary<" in str(type_) for type_ in self.schema.types)

    @cached_property
    def compression(self) -> str | None:
        """The IPC compression of the file's buffers."""
        return None if self.packed or self.codecs[0] == "plain" else self.codecs[0]

    @cached_property
    def positions(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.schema.names)}

    def position(self, column: str) -> int:
        """Where a column stands; raises `NotFoundError`."""
        position = self.positions.get(column)
        if position is None:
            raise NotFoundError(f"no column {column!r}: the columns are {self.schema.names}")
        return position


@lru_cache(maxsize=256)
def plan_of(schema_bytes: bytes, codecs: tuple[str, ...]) -> Plan:
    """The plan for a schema, as an IPC message, and a codec for each column. Raises `SchemaError`
    for a type that is not on the closed list."""
    schema = pa.ipc.read_schema(pa.py_buffer(schema_bytes))
    for type_ in schema.types:
        type_text(type_)
    return Plan(schema, schema_bytes, codecs)


class Footer(NamedTuple):
    """What a footer says."""

    plan: Plan
    batch_rows: int
    rows: int
    keys: Sequence[int]
    """The positions of the key columns."""
    firsts: bytes
    """The first keys of each batch, an IPC stream; empty if there are none."""
    digests: bytes
    """Those of all columns of the first block, then of the second, and so on."""

    def seal(self) -> dict[str, bytes]:
        """The metadata that an IPC file keeps."""
        plan = self.plan
        head = _HEAD.pack(
            _VERSION,
            plan.packed,
            self.batch_rows,
            self.rows,
            len(plan.codecs),
            len(self.keys),
            len(plan.schema_bytes),
            len(self.firsts),
        )
        numbers = bytes(CODECS.index(codec) for codec in plan.codecs)
        places = np.array(self.keys, "<u2").tobytes()
        body = b"".join((head, numbers, places, plan.schema_bytes, self.firsts, self.digests))
        return {_KEY: b64encode(body + xxh3_64_digest(body))}

    @classmethod
    def unseal(cls, metadata: Mapping[bytes, bytes] | None) -> Footer:
        """The footer in the metadata of a file; raises `DamagedError`, and `FormatError` for what
        may come from a later version."""
        body = _body(metadata)
        version, packed, size, rows, width, num_keys, *lengths = _HEAD.unpack_from(body)
        if version != _VERSION or packed > 1:
            raise FormatError(
                f"a segment of format {version}, layout {packed}: this release reads format "
                f"{_VERSION}"
            )
        parts = _split(body, _HEAD.size, (width, 2 * num_keys, *lengths))
        numbers, places, schema, firsts, digests = parts
        if not numbers or max(numbers) >= len(CODECS):
            raise FormatError(f"a codec unknown to this release, which has {', '.join(CODECS)}")
        plan = plan_of(schema, tuple(CODECS[number] for number in numbers))
        if plan.packed != packed or not 0 < size <= MAX_BATCH_ROWS or size % BLOCK:
            raise DamagedError("a footer that contradicts itself")
        if len(digests) != -(-rows // BLOCK) * width * DIGEST_BYTES:
            raise DamagedError(f"{len(digests)} bytes of digests for {rows} rows")
        return cls(plan, size, rows, np.frombuffer(places, "<u2").tolist(), firsts, digests)


def _body(metadata: Mapping[bytes, bytes] | None) -> bytes:
    """The bytes of a footer, of which the checksum is right and cut off."""
    encoded = (metadata or {}).get(_KEY.encode())
    if encoded is None:
        raise DamagedError("an Arrow file, but without the footer of a segment")
    footer = b64decode(encoded, validate=True)
    body, checksum = footer[:-8], footer[-8:]
    if len(body) < _HEAD.size or xxh3_64_digest(body) != checksum:
        raise DamagedError("a footer that does not match its checksum")
    return body


def _split(data: bytes, start: int, sizes: Iterable[int]) -> list[bytes]:
    """Pieces of `data` of these sizes, and the rest."""
    pieces = []
    for size in sizes:
        pieces.append(data[start : start + size])
        start += size
    if start > len(data):
        raise DamagedError("a footer that is too short")
    return [*pieces, data[start:]]
