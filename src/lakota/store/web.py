"""Listings of a plain web folder, which has no protocol for them.

Two ways, tried in this order, see docs/decisions:

    changelog.txt   a file beside `lakota.json` with a line `<collection id>/<file>` for each file
                    of the changelog; `write_listing` makes it. It counts as it stands.
    an index page   what a web server shows of a folder, if it is told to: HTML with a link to
                    each file. Links that are no names of this folder are passed over.

Only the changelog is ever listed: nothing else of a repo need be to read or to pull it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from html import unescape
from urllib.parse import unquote

from ..errors import StoreError
from .base import Info, Store, is_part

__all__ = ["LISTING", "infos", "names", "write_listing"]

LISTING = "changelog.txt"

Fetch = Callable[[str], tuple[int, str, bytes]]
"""From a path to status, type and bytes; of what is not there or forbidden, no bytes."""

_FOLDER = "changelog"
_LINK = re.compile(rb"""<a\s[^<>]{0,300}?href\s*=\s*(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE)


def names(fetch: Fetch, prefix: str) -> Sequence[str]:
    """What is directly in folder `prefix`, files and folders. Raises `StoreError`."""
    if prefix.split("/")[0] != _FOLDER:
        raise StoreError(
            f"a plain web folder has no listing of {prefix or 'all'!r}, only of its changelog: "
            "pull it, and work on the copy"
        )
    status, _, text = fetch(LISTING)
    if status == 200:
        inside = f"{prefix}/"
        lines = (f"{_FOLDER}/{line}" for line in text.decode("ascii", "replace").split())
        below = (line.removeprefix(inside) for line in lines if line.startswith(inside))
        return sorted({name.split("/")[0] for name in below})
    found = _index(fetch, prefix)
    if found is None and prefix != _FOLDER:
        # Where index pages are made, that of the folder above says whether this one is there.
        folder, _, name = prefix.rpartition("/")
        if name not in (_index(fetch, folder) or (name,)):
            return []
    if not found:
        raise StoreError(
            f"the web server shows no index of {prefix}/ and there is no {LISTING}: let it make "
            "index pages, or run `lakota index` on the repo"
        )
    return found


def _index(fetch: Fetch, folder: str) -> list[str] | None:
    """The links of an index page; None if there is none."""
    status, kind, text = fetch(f"{folder}/")
    return _linked(text) if status == 200 and "html" in kind else None


def infos(fetch: Fetch, prefix: str) -> Iterator[Info]:
    """Every file below folder `prefix`, with what is not known of it as 0."""
    folders = [prefix]
    while folders:
        folder = folders.pop()
        for name in names(fetch, folder):
            if folder == _FOLDER:
                folders.append(f"{folder}/{name}")
            else:
                yield Info(f"{folder}/{name}", 0, 0.0)


def _linked(page: bytes) -> list[str]:
    """The names that an index page links to."""
    links = (one or two for one, two in _LINK.findall(page))
    texts = (unquote(unescape(link.decode("utf-8", "replace"))) for link in links)
    found = (text.removeprefix("./").removesuffix("/") for text in texts)
    return sorted({text for text in found if is_part(text)})


def write_listing(store: Store) -> int:
    """Write `changelog.txt`, for web servers that make no index pages; returns its lines. Run it
    after each change of the repo: readers see the revisions that it names, and no others."""
    start = len(_FOLDER) + 1
    lines = sorted(info.name[start:] for info in store.list(_FOLDER))
    store.put(LISTING, "".join(f"{line}\n" for line in lines).encode())
    return len(lines)
