"""Mending what a check has found: from another copy, and where there is none, by giving up the
revisions that are not whole.

Objects are named by what is in them, so any store that has an object of a name has the right one: a
replica, a backup, a cache. What is fetched is verified before it is stored. A revision whose
objects are lost can be given up: the state that it was made on counts again, and
`give_up_broken` says what was written by those that went.

Nothing is deleted before what replaces it is stored. Lost is what was read and is not what its name
says, or what the store says it has not; a store that fails to answer ends the repair, for it may
have everything. An archive of which nobody can tell what was in it is kept, under another name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

import pyarrow as pa

from .archive import Archive, archive_digest
from .changelog import PHI, Changelog, Child, Edge, History, edges_in, root_of, stamp_of, trimmed_in
from .check import Problem
from .digest import Digest
from .errors import DamagedError, FormatError, LakotaError, ObjectMissingError, StoreError
from .maintain import bridges
from .manifest import EMPTY
from .objects import Objects, digest_of, segment_name
from .segment import open_segment
from .store.base import decoded

__all__ = ["Source", "give_up_broken", "mend"]

UNKNOWN = {"author": "", "kind": "unknown", "message": ""}
"""The document of a revision whose own is lost: its name says all that reads need."""

_ERRORS = (LakotaError, OSError)
"""Whatever a source may fail with: then the next one is asked."""
_LOST = (DamagedError, FormatError, ObjectMissingError)
"""What says that an object is lost. Any other error says nothing of it."""

Source = Objects
"""A store from which objects and revisions may be taken."""

Document = Mapping[str, object]


def mend(
    objects: Objects, problems: Iterable[Problem], sources: Sequence[Source]
) -> Iterator[Problem]:
    """Replace what `problems` name by what `sources` have. Yields what was mended."""
    for problem in problems:
        name = problem.name
        digest = digest_of(name)
        if digest is None:
            yield from _mend_revisions(objects, name, sources)
        elif name.startswith("segments/"):
            yield from _first(name, sources, partial(_copy_segment, objects, digest))
        else:
            yield from _first(name, sources, partial(_copy_page, objects, digest))


def _first(
    name: str, sources: Iterable[Source], act: Callable[[Source], object]
) -> Iterator[Problem]:
    """Do it with the first source that can."""
    for source in sources:
        with suppress(*_ERRORS):
            act(source)
            yield Problem(name, f"restored from {source.store!r}")
            return


def _copy_segment(objects: Objects, digest: Digest, source: Source) -> None:
    def checked(data: pa.Buffer) -> pa.Buffer:
        open_segment(data, digest).check()
        return data

    name = segment_name(digest)
    objects.store.put(name, decoded(source.store, name, checked))


def _copy_page(objects: Objects, digest: Digest, source: Source) -> None:
    objects.put({}, {digest: source.page(digest)})


# ---- Revisions


def _mend_revisions(objects: Objects, name: str, sources: Sequence[Source]) -> Iterator[Problem]:
    """`name` is a revision, an archive of them, or the folder of a changelog."""
    parts = name.split("/")
    changelog = Changelog(objects.store, parts[1])
    if len(parts) == 3 and archive_digest(parts[2]) is None:
        parent, child = map(Child, parts[2].split("."))
        yield from _first(name, sources, partial(_copy_revision, changelog, (parent, child)))
        return
    for file, archive in _found(changelog).damaged.items():
        whole = list(_first(file.path, sources, partial(_copy_archive, changelog, file)))
        if whole:
            yield from whole
        elif archive is not None:
            yield from _restore_documents(changelog, file, archive, sources)
        else:
            yield from _restore_history(objects, changelog, file, sources)


def _copy_revision(changelog: Changelog, edge: Edge, source: Source) -> None:
    changelog.write({edge: _log(changelog, source).read(edge)})


def _copy_archive(changelog: Changelog, file: _File, source: Source) -> None:
    """Of a copy of the files, or a cache; a replica has archives of its own."""

    def checked(data: pa.Buffer) -> pa.Buffer:
        Archive(file.digest, data).check()
        return data

    changelog.store.put(file.path, decoded(source.store, file.path, checked))


def _restore_documents(
    changelog: Changelog, file: _File, archive: Archive, sources: Sequence[Source]
) -> Iterator[Problem]:
    """Of an archive whose revisions can be told, but not all that they say."""
    logs = [_log(changelog, source) for source in sources]
    documents: dict[Edge, Document] = {}
    given: dict[str, None] = {}
    for edge in sorted(archive.edges):
        document = _document(archive, edge)
        for log in logs if document is None else ():
            with suppress(*_ERRORS):
                document = log.read(edge)
                given[repr(log.store)] = None
                break
        if document is None:
            return
        documents[edge] = document
    _replace(changelog, file, documents)
    yield Problem(file.path, f"its revisions restored from {', '.join(given) or 'itself'}")


def _restore_history(
    objects: Objects, changelog: Changelog, file: _File, sources: Sequence[Source]
) -> Iterator[Problem]:
    """Of an archive whose revisions nobody can tell: what lies between those that can be told."""
    for source in sources:
        documents: Mapping[Edge, Document] | None = None
        with suppress(*_ERRORS):
            documents = _between(objects, changelog, source)
        if documents is not None:
            kept = _set_aside(changelog, file, documents)
            what = f"its revisions restored from {source.store!r}"
            yield Problem(
                file.path, f"{what}; kept as {kept}, as nobody can tell all that was in it"
            )
            return


def _between(objects: Objects, changelog: Changelog, source: Source) -> dict[Edge, Document] | None:
    """The revisions of `source` that led to what can be told here, and others that have all their
    objects here. None if some would still be lacking. Objects that lack are copied."""
    found, log = _found(changelog), _log(changelog, source)
    here, offered = History.of(found.edges), log.history()
    both = History.of(here.edges | offered.edges)
    state = _State(objects)
    wanted = _wanted(here, both, found.trimmed, state)
    then = here.add(wanted)
    trimmed = log.trimmed()
    for lacking in then.orphans(then.edges):
        told = offered.has(lacking) or stamp_of(lacking) <= trimmed
        if stamp_of(lacking) > found.trimmed or not told:
            return None
    if not here.edges or not offered.edges:  # nothing says what there was
        return None
    for _, child in sorted(wanted):
        state.complete(root_of(child), source)
    gone = [edge for edge in both.edges if not then.has(edge[1])]
    joins = [edge for edge in bridges(both, gone) if edge not in then]
    documents: dict[Edge, Document] = {edge: log.read(edge) for edge in sorted(wanted)}
    documents.update((e, log.about(e[1]) if offered.has(e[1]) else UNKNOWN) for e in joins)
    return documents


def _wanted(here: History, both: History, trimmed: int, state: _State) -> set[Edge]:
    """Of `both`, what `here` lacks: what led to it and was not trimmed, and what is whole."""
    old = both.ancestors(here.orphans(here.edges))
    known = {PHI, *here.children}
    wanted: set[Edge] = set()
    for parent, child in sorted(both.edges - here.edges, key=lambda edge: edge[1]):
        follows = parent in known or stamp_of(parent) <= trimmed
        lost = child in old and stamp_of(child) > trimmed
        if lost or (follows and not state.reason(root_of(child))):
            wanted.add((parent, child))
            known.add(child)
    return wanted


class _File(NamedTuple):
    """The file of an archive."""

    path: str
    digest: Digest
    """The one in its name."""


@dataclass(frozen=True, slots=True)
class _Found:
    """The folder of a changelog, as far as it can be read."""

    own: frozenset[Edge]
    """The revisions that have files of their own."""
    edges: frozenset[Edge]
    """Those, and the revisions of archives that can be told."""
    damaged: Mapping[_File, Archive | None]
    """Archives by their files; None for those whose revisions nobody can tell."""
    trimmed: int


def _found(changelog: Changelog) -> _Found:
    names = changelog.store.names(changelog.folder)
    own = frozenset(edges_in(names))
    edges = set(own)
    damaged: dict[_File, Archive | None] = {}
    for name in names:
        digest = archive_digest(name)
        if digest is not None:
            file = _File(f"{changelog.folder}/{name}", digest)
            archive, whole = _open(changelog, file)
            edges.update(archive.edges if archive is not None else ())
            if not whole:
                damaged[file] = archive
    return _Found(own, frozenset(edges), damaged, trimmed_in(names))


def _open(changelog: Changelog, file: _File) -> tuple[Archive | None, bool]:
    """An archive, if its revisions can be told, and whether it is whole."""
    archive = None
    try:
        archive = Archive(file.digest, changelog.store.get(file.path))
        archive.check()
    except _LOST:
        return archive, False
    return archive, True


def _replace(changelog: Changelog, file: _File, documents: Mapping[Edge, Document]) -> None:
    """Write the revisions of a damaged archive, and delete it."""
    _confirm(changelog, file)
    if documents:
        changelog.archive(documents)
    _confirm(changelog, file)
    changelog.store.delete([file.path])


def _set_aside(changelog: Changelog, file: _File, documents: Mapping[Edge, Document]) -> str:
    """Write revisions in place of a damaged archive, which gets a name that is none of ours."""
    kept = file.path.replace("/packed.", "/damaged.")
    _confirm(changelog, file)
    with suppress(ObjectMissingError):
        changelog.store.put(kept, changelog.store.get(file.path))
    _replace(changelog, file, documents)
    return kept


def _confirm(changelog: Changelog, file: _File) -> None:
    if _open(changelog, file)[1]:
        raise _fickle(file.path)


def _fickle(name: str) -> StoreError:
    return StoreError(
        f"{name} was damaged or missing when it was first read, and is whole now: the store cannot "
        "be relied upon; it was left as it is: check again"
    )


def _log(changelog: Changelog, source: Source) -> Changelog:
    return Changelog(source.store, changelog.folder.rpartition("/")[2])


def _document(archive: Archive, edge: Edge) -> dict[str, object] | None:
    with suppress(*_LOST):
        return archive.document(edge)
    return None


# ---- Giving up


def give_up_broken(objects: Objects, changelogs: Iterable[Changelog]) -> Iterator[Problem]:
    """Delete the revisions that need an object which is missing or damaged, so that the whole ones
    count. Yields each, and what it had written. A revision of which only the document is lost
    stays, with an empty document.

    Everything is read before anything is changed, and what is to go is read again right before.
    Raises what the store raises, if it fails to say whether it has something.
    """
    logs = list(changelogs)
    state = _State(objects)
    for changelog in logs:
        found = _found(changelog)
        for edge in sorted(found.own):
            with suppress(*_LOST):
                changelog.read(edge)
        for _, child in sorted(found.edges):
            state.reason(root_of(child))
    for changelog in logs:
        with changelog.writing():
            changelog.refresh()
            yield from _give_up_archives(changelog)
            yield from _empty_documents(changelog)
            yield from _give_up_states(changelog, state)
    # Else a pull would take them for what their names say.
    state.confirm()
    objects.store.delete(sorted(state.lost))


class _State:
    """What is known to be lost of a store."""

    def __init__(self, objects: Objects) -> None:
        self.lost: dict[str, Digest] = {}
        """Pages and segments by their names."""
        self._objects = objects
        self._reasons: dict[Digest, str] = {EMPTY.name: ""}

    def reason(self, name: Digest) -> str:
        """What is lost of a page and all below it; empty if nothing."""
        if name not in self._reasons:
            self._reasons[name] = self._of_page(name)
        return self._reasons[name]

    def _of_page(self, name: Digest) -> str:
        try:
            page = self._objects.page(name)
        except _LOST:
            return self._is_lost(self._objects.page_name(name), name)
        if page.level:
            return next(filter(None, (self.reason(entry.name) for entry in page.entries)), "")
        return next(filter(None, map(self._of_segment, sorted(page.segments()))), "")

    def _of_segment(self, name: Digest) -> str:
        if name not in self._reasons:
            self._reasons[name] = ""
            try:
                self._objects.fresh_segment(name).check()
            except _LOST:
                self._reasons[name] = self._is_lost(segment_name(name), name)
        return self._reasons[name]

    def complete(self, name: Digest, source: Source) -> None:
        """Have a page and all below it, from `source` what is lost; what is below comes first."""
        if not self.reason(name):
            return
        try:
            page = self._objects.page(name)
        except _LOST:
            page = source.page(name)
        for entry in page.entries if page.level else ():
            self.complete(entry.name, source)
        for segment in () if page.level else sorted(page.segments()):
            if self._of_segment(segment):
                _copy_segment(self._objects, segment, source)
                self._reasons[segment] = ""
        self._objects.put({}, {name: page})
        self._reasons[name] = ""

    def confirm(self) -> None:
        """Raises `StoreError` if anything that is lost can be read after all."""
        again = _State(self._objects)
        for name, digest in sorted(self.lost.items()):
            (again._of_segment if name.startswith("segments/") else again._of_page)(digest)
            if name not in again.lost:
                raise _fickle(name)

    def _is_lost(self, name: str, digest: Digest) -> str:
        self.lost[name] = digest
        return f"{name} is lost"


def _give_up_archives(changelog: Changelog) -> Iterator[Problem]:
    for file, archive in _found(changelog).damaged.items():
        if archive is None:
            kept = _set_aside(changelog, file, {})
            what = "given up: all revisions in it, which nobody can tell any more"
            yield Problem(file.path, f"{what}; kept as {kept}")
            continue
        documents = {edge: _document(archive, edge) for edge in sorted(archive.edges)}
        told = {edge: UNKNOWN if d is None else d for edge, d in documents.items()}
        _replace(changelog, file, told)
        for edge in (e for e, document in documents.items() if document is None):
            yield Problem(_name(changelog, edge), "given up: its author and message; its rows stay")
    changelog.refresh()


def _empty_documents(changelog: Changelog) -> Iterator[Problem]:
    for edge in sorted(changelog.history().edges):
        try:
            changelog.read(edge)
        except _LOST:
            changelog.write({edge: UNKNOWN})
            yield Problem(_name(changelog, edge), "given up: its author and message; its rows stay")


def _give_up_states(changelog: Changelog, state: _State) -> Iterator[Problem]:
    history = changelog.history()
    reasons = {child: state.reason(root_of(child)) for child in sorted(history.children)}
    gone = sorted((e for e in history.edges if reasons[e[1]]), key=lambda e: (e[1], e[0]))
    if gone:
        told = [
            Problem(_name(changelog, e), f"given up: {_written(changelog, e)}; {reasons[e[1]]}")
            for e in gone
        ]
        state.confirm()
        changelog.write({edge: changelog.about(edge[1]) for edge in bridges(history, gone)})
        changelog.trim(gone, 0)
        yield from told


def _written(changelog: Changelog, edge: Edge) -> str:
    """What a revision says of itself."""
    document = changelog.read(edge)
    at = datetime.fromtimestamp(stamp_of(edge[1]) // 1_000_000_000, UTC).isoformat()
    rows = f"{document['rows']} rows" if "rows" in document else "rows of its parents"
    series = f" of {document['series']} series" if "series" in document else ""
    message = f" {document['message']!r}" if document.get("message") else ""
    who = f" by {document['author']!r}" if document.get("author") else ""
    return f"{document.get('kind', 'revision')}{message}{who} at {at}: {rows}{series}"


def _name(changelog: Changelog, edge: Edge) -> str:
    return f"{changelog.folder}/{edge[0]}.{edge[1]}"
