"""Archives: many revisions in one file, so that long histories are cheap to list and to keep.

An archive is a segment file (see `segment`) with a row for each revision, sorted by child and
parent:

```
parent, child   string   as in the name of a revision's own file
document        string   its document, without what the other columns and `encode_document` say
arrived         int64    when it came into this store, nanoseconds since 1970
```

It is stored as `changelog/<collection id>/packed.<digest>.<8 random hex digits>`. The random part
makes it its writer's own: who finds that his archive came too late may take it away again.
"""

from __future__ import annotations

import json
import os
import re
from bisect import bisect_left
from collections.abc import Mapping
from functools import cached_property
from operator import lt
from typing import Any, NamedTuple

import pyarrow as pa

from .arrays import integers, texts
from .digest import Digest
from .document import check_document
from .encoding import encode
from .errors import DamagedError
from .history import Edge
from .segment import Segment, open_segment

__all__ = ["Archive", "Record", "archive_digest", "encode_archive"]

_SCHEMA = pa.schema(
    [
        ("parent", pa.string()),
        ("child", pa.string()),
        ("document", pa.string()),
        ("arrived", pa.int64()),
    ]
)
_NAME = re.compile(r"packed\.([0-9a-f]{32})\.[0-9a-f]{8}")
_CHILD = re.compile(r"[0-9a-f]{16}-[0-9a-f]{32}")
_CHILDREN = re.compile(r"(?:[0-9a-f]{16}-[0-9a-f]{32}\n)*")


class Record(NamedTuple):
    """A revision in an archive."""

    document: Mapping[str, Any]
    arrived: int
    """Nanoseconds since 1970, by the store's clock."""


def archive_digest(name: str) -> Digest | None:
    """The digest in the name of an archive's file; None for other names."""
    match = _NAME.fullmatch(name)
    return Digest(match[1]) if match else None


def encode_archive(records: Mapping[Edge, Record]) -> tuple[str, pa.Buffer]:
    """The name and the bytes of an archive."""
    edges = sorted(records, key=lambda edge: (edge[1], edge[0]))
    documents = [
        json.dumps(dict(records[edge].document), sort_keys=True, ensure_ascii=False)
        for edge in edges
    ]
    arrays = [
        texts(parent for parent, _ in edges),
        texts(child for _, child in edges),
        texts(documents),
        integers([records[edge].arrived for edge in edges]),
    ]
    made = encode(pa.table(arrays, schema=_SCHEMA), "zstd", batch_rows=16_384)
    return f"packed.{made.name}.{os.urandom(4).hex()}", made.data


class Archive:
    """The revisions in an archive. Opening it proves its edges; documents are read on demand.

    Raises `DamagedError`, `FormatError`.
    """

    def __init__(self, digest: Digest, data: pa.Buffer) -> None:
        self._segment: Segment = open_segment(data, digest)
        if self._segment.schema != _SCHEMA:
            raise DamagedError(f"archive {digest} has the columns {self._segment.schema.names}")
        self._order: list[Edge] = _sorted_edges(digest, self._segment)
        self.edges = frozenset(self._order)
        self._held: tuple[int, list[str]] | None = None  # a batch of documents

    def __len__(self) -> int:
        return len(self._order)

    def document(self, edge: Edge) -> dict[str, Any]:
        """The document of one of its revisions."""
        at = bisect_left(self._order, (edge[1], edge[0]), key=lambda e: (e[1], e[0]))
        number, within = divmod(at, self._segment.batch_rows)
        held = self._held
        if held is None or held[0] != number:  # mostly, neighbours are asked for in turn
            held = self._held = number, self._batch(number)
        return self._parsed(held[1][within])

    def _parsed(self, text: str) -> dict[str, Any]:
        try:
            document = dict(json.loads(text))
            check_document(document)
            return document
        except (ValueError, TypeError, RecursionError) as error:
            raise DamagedError(
                f"archive {self._segment.name} has a document that is none: {error}"
            ) from error

    def _batch(self, number: int) -> list[str]:
        try:
            return list(self._segment.batch(number, ["document"]).column(0).to_pylist())
        except DamagedError as error:
            raise DamagedError(f"archive {self._segment.name} is damaged: {error}") from error

    @cached_property
    def arrived(self) -> dict[Edge, int]:
        """When each revision came into this store. Raises `DamagedError`."""
        moments = self._column("arrived", 0, len(self))
        if None in moments:
            raise DamagedError(
                f"archive {self._segment.name} does not say when each of its revisions came"
            )
        return dict(zip(self._order, moments, strict=True))

    def records(self) -> dict[Edge, Record]:
        """All of it."""
        documents = self._column("document", 0, len(self))
        return {
            edge: Record(self._parsed(document), self.arrived[edge])
            for edge, document in zip(self._order, documents, strict=True)
        }

    def check(self) -> None:
        """Verify every byte; raises `DamagedError`."""
        self._segment.check()
        self.records()

    def _column(self, name: str, start: int, stop: int) -> list[Any]:
        batches = self._segment.slice(start, stop, [name])
        return [value for batch in batches for value in batch.column(0).to_pylist()]


def _sorted_edges(digest: Digest, segment: Segment) -> list[Edge]:
    columns = segment.table(["parent", "child"]).columns
    if any(column.null_count for column in columns):
        raise DamagedError(f"archive {digest} has a revision of no name")
    parents, children = (column.to_pylist() for column in columns)
    for names in (parents, children):
        # One look at all of them; where something is wrong, one at each.
        text = "\n".join((*names, ""))
        if text.count("\n") != len(names) or not _CHILDREN.fullmatch(text):
            name = next((n for n in names if not _CHILD.fullmatch(n)), None)
            raise DamagedError(f"archive {digest} names {name!r}: not a state")
    keys = list(zip(children, parents, strict=True))
    ordered = all(map(lt, keys, keys[1:]))  # strictly, so each is there once
    if not ordered or not all(map(lt, parents, children)):
        raise DamagedError(f"archive {digest} is not in the order of its revisions")
    return list(zip(parents, children, strict=True))
