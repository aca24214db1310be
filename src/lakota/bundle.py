"""Writing bundles: what one repo has and another lacks, as one file (see `store.bundle`).

The other repo is not there; what it has is told by a listing of an earlier moment. As in a pull,
each revision is compared with its parent, so the file holds little more than what is new.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import chain

from .changelog import PHI, Changelog, Child, Edge, root_of
from .digest import Digest
from .document import encode_document
from .errors import StoreError
from .extent import NOWHERE
from .header import HEADER
from .manifest import EMPTY, Manifest, news
from .objects import segment_name
from .site import Site
from .store.bundle import ABOUT, FORMAT, names_digest

__all__ = ["Known", "known_at", "known_of", "write_bundle"]

Known = Callable[[str, Changelog], set[Child]]
"""The states of a collection, given by its id, that who gets the bundle has already."""


def write_bundle(path: str, sites: Mapping[str, Site], registry: Site, known: Known) -> int:
    """Write what of `sites`, by id, is not `known`, and all of the registry. Returns how many
    revisions of the collections are in it. A file that is there is replaced, as a whole."""
    folder, name = os.path.split(os.path.abspath(path))
    temporary = os.path.join(folder, f".tmp-{name}-{os.urandom(4).hex()}")
    needs: dict[str, list[Child]] = {}
    count = 0
    try:
        with zipfile.ZipFile(temporary, "x", zipfile.ZIP_STORED) as file:
            done: set[str] = set()
            for collection_id, site in sites.items():
                had = known(collection_id, site.changelog)
                wanted = [edge for edge in site.changelog.history().edges if edge[1] not in had]
                needs[collection_id] = _add(file, site, had, wanted, done)
                count += len(wanted)
            _add(file, registry, set(), list(registry.changelog.history().edges), done)
            file.writestr(HEADER, registry.objects.store.get(HEADER).to_pybytes())
            names = names_digest(file.namelist())
            about = {"format": FORMAT, "names": names, "needs": needs}
            file.writestr(ABOUT, json.dumps(about))
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            os.unlink(temporary)
    return count


def known_at(changelog: Changelog, limit: float) -> set[Child]:
    """What had come into the store by `limit`, seconds since 1970 by its clock."""
    return {child for (_, child), at in changelog.ages().items() if at < limit}


def known_of(changelog: Changelog, *children: Iterable[str]) -> set[Child]:
    """Those of `children` that are here, and all that led to them."""
    history = changelog.history()
    found = map(Child, chain.from_iterable(children))
    return history.ancestors(child for child in found if history.has(child))


def _add(
    file: zipfile.ZipFile, site: Site, had: set[Child], wanted: list[Edge], done: set[str]
) -> list[Child]:
    """Add revisions, which stand on the states that the other has. Returns what it must have."""
    present = set(had)
    needs = {parent for parent, _ in wanted} & had
    for parent, child in sorted(wanted, key=lambda edge: (edge[1], edge[0])):
        name = f"{site.changelog.folder}/{parent}.{child}"
        file.writestr(name, encode_document(parent, child, site.changelog.read((parent, child))))
        if child in present:
            continue
        base = EMPTY.name if parent == PHI or parent not in present else root_of(parent)
        _add_objects(file, site, site.manifest_of(base), site.manifest(child), done)
        present.add(child)
    return sorted(needs)


def _add_objects(
    file: zipfile.ZipFile, site: Site, old: Manifest, new: Manifest, done: set[str]
) -> None:
    objects = site.objects
    pages, extents = news(old, new)
    for segment in sorted({Digest(e.segment.hex()) for e in extents if e.segment != NOWHERE}):
        name = segment_name(segment)
        if name not in done:
            done.add(name)
            file.writestr(name, objects.store.get(name).to_pybytes())
    for page in pages:
        name = objects.page_name(page.name)
        if name not in done:
            done.add(name)
            file.writestr(name, objects.encode_page(page, small=True).to_pybytes())
