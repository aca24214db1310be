"""The document of a revision: what it says of itself, for people and statistics. Pure.

JSON in one line with sorted keys: `parent` and `child`, so that one under a wrong name is noticed;
author, message, kind and counts; a checksum. Nothing that is read of series depends on it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import xxhash

from .errors import DamagedError, FormatError
from .history import Child

__all__ = ["bare", "check_document", "decode_document", "encode_document", "whole"]

FORMAT = 1

_TEXTS = frozenset({"author", "kind", "message"})
_NUMBERS = frozenset({"first", "rows", "series"})
_ADDED = frozenset({"format", "parent", "child", "checksum"})


def encode_document(parent: Child, child: Child, document: Mapping[str, Any]) -> bytes:
    """The bytes of a revision: JSON with sorted keys; `checksum` is the xxh3_64 of the same JSON
    without it. Parent and child are inside, so that a document under a wrong name is noticed."""
    body = whole(parent, child, document)
    body.pop("checksum", None)
    body["checksum"] = _checksum(body)
    return (json.dumps(body, sort_keys=True, ensure_ascii=False) + "\n").encode()


def decode_document(parent: Child, child: Child, data: bytes) -> dict[str, Any]:
    """The document, checked; raises `DamagedError`, `FormatError`."""
    try:
        body = json.loads(data)
        checksum = body.pop("checksum")
        intact = checksum == _checksum(body)
        check_document(body)
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise DamagedError(f"revision {parent}.{child} is not a document: {error}") from error
    if not intact or (body.get("parent"), body.get("child")) != (parent, child):
        raise DamagedError(f"revision {parent}.{child} does not match its checksum and name")
    if body.get("format") != FORMAT:
        raise FormatError(
            f"revision {parent}.{child} is of format {body.get('format')}, "
            f"this release reads {FORMAT}"
        )
    return dict(body)


def bare(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document without what `whole` adds."""
    return {key: value for key, value in document.items() if key not in _ADDED}


def whole(parent: Child, child: Child, document: Mapping[str, Any]) -> dict[str, Any]:
    """A document with its place: what `read` gives."""
    return {**document, "format": FORMAT, "parent": parent, "child": child}


def _checksum(body: Mapping[str, Any]) -> str:
    return xxhash.xxh3_64_hexdigest(json.dumps(body, sort_keys=True).encode())


def check_document(document: Mapping[str, Any]) -> None:
    """Refuse what no commit says of itself, so that whoever reads or copies a document need not:
    counts that are none, and text that is no valid Unicode. Raises `ValueError`."""
    for name in _TEXTS & document.keys():
        if not isinstance(document[name], str):
            raise ValueError(f"its {name} is {document[name]!r}: expected text")
    for name in _NUMBERS & document.keys():
        number = document[name]
        if type(number) is not int or not 0 <= number < 1 << 63:
            raise ValueError(f"its {name} is {number!r}: expected a number")
    text = json.dumps(document)
    if "\\ud" in text:  # where text has surrogates, in pairs or not
        json.dumps(document, ensure_ascii=False).encode()
