"""Guides: the pages above the leaves of one state, in one object. Pure.

```
changelog/<collection id>/guide.<digest of the root page>
```

Who reads a store that is far asks for a page, waits, and only then knows which page to ask for
next. The pages above the leaves are few and change little from one state to the next, so a guide of
a recent state, fetched with the root, has nearly all that are on the way: the leaf remains.

A guide promises nothing. What it gives for a page is proved by the page's name, as whatever is
fetched is, and pages that it does not have are where they always are. It may be deleted any time.

It is, for each page in turn: 16 bytes, its digest; uint32, little endian, a length; and so many
bytes, those of the page's file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from struct import Struct
from typing import Final

import pyarrow as pa

from .digest import DIGEST_BYTES, Digest
from .manifest import Manifest
from .page import Page

__all__ = [
    "GUIDES_READ",
    "GUIDE_PAGES",
    "decode_guide",
    "encode_guide",
    "guided",
    "is_due",
    "is_guide",
]

GUIDE_PAGES: Final = 512
"""What a guide has at most: about a megabyte, which costs as much as the wait for a request."""
_RARELY: Final = 16
"""Of so many commits that each make one page above the leaves, one makes a guide, or fewer."""
GUIDES_READ: Final = 2
"""Of several, those of the latest states: where nobody may delete, there are more and more."""
_HEAD: Final = Struct(f"<{DIGEST_BYTES}sI")
_NAME: Final = re.compile(r"guide\.[0-9a-f]{32}")


def is_guide(name: str) -> bool:
    """Whether a file in the folder of a changelog is a guide, by its name."""
    return _NAME.fullmatch(name) is not None


def is_due(root: Page, made: int) -> bool:
    """Whether a commit that made so many pages above the leaves is to replace the guide: the root
    is the lot, and all of them are made about once between two guides."""
    return int(root.name[:8], 16) % max(root.num_rows, _RARELY) < made or made >= root.num_rows


def guided(manifest: Manifest) -> list[Page]:
    """The pages above the leaves, those of whole levels, from the root on. Where there is only a
    root above the leaves, none: one page after the other is as quick."""
    level = [manifest.page()]
    found: list[Page] = []
    if level[0].level < 2:
        return found
    while True:
        found.extend(level)
        below = [entry.name for page in level for entry in page.entries]
        if level[0].level == 1 or len(found) + len(below) > GUIDE_PAGES:
            return found
        level = [manifest.open(name) for name in below]


def encode_guide(pages: Iterable[tuple[Digest, pa.Buffer | bytes]]) -> bytes:
    """The bytes of a guide, from the names and the files of pages.

    >>> found = decode_guide(pa.py_buffer(encode_guide([(Digest("ab" * 16), b"a page")])))
    >>> {name: bytes(data) for name, data in found.items()}
    {'abababababababababababababababab': b'a page'}
    """
    return b"".join(
        piece
        for name, data in pages
        for piece in (_HEAD.pack(bytes.fromhex(name), len(data)), data)
    )


def decode_guide(data: pa.Buffer) -> dict[Digest, pa.Buffer]:
    """The files of pages, as far as they are whole: a guide that is damaged is a shorter one."""
    found: dict[Digest, pa.Buffer] = {}
    at = 0
    while at + _HEAD.size <= data.size:
        name, size = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        if at + size > data.size:
            break
        found[Digest(name.hex())] = data.slice(at, size)
        at += size
    return found
