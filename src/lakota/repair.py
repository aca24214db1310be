"""Mending what a check has found: from another copy, and where there is none, by giving up the
revisions that are not whole.

Objects are named by what is in them, so any store that has an object of a name has the right one: a
replica, a backup, a cache. What is fetched is verified before it is stored. A revision whose
objects are lost can be given up: the state that it was made on counts again, and
`give_up_broken` says what was written by those that went. Nothing is
deleted before what replaces it is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

from .archive import Archive, archive_digest
from .changelog import Changelog, Child, Edge, root_of, stamp_of
from .check import Problem
from .digest import Digest
from .errors import LakotaError
from .maintain import bridges
from .manifest import EMPTY
from .objects import Objects, digest_of, segment_name

__all__ = ["Source", "give_up_broken", "mend"]

UNKNOWN = {"author": "", "kind": "unknown", "message": ""}
"""The document of a revision whose own is lost: its name says all that reads need."""

_ERRORS = (LakotaError, OSError)

Source = Objects
"""A store from which objects and revisions may be taken."""


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
    segment = source.fresh_segment(digest)
    segment.check()
    objects.store.put(segment_name(digest), segment.data)


def _copy_page(objects: Objects, digest: Digest, source: Source) -> None:
    objects.put({}, {digest: source.page(digest)})


def _mend_revisions(objects: Objects, name: str, sources: Sequence[Source]) -> Iterator[Problem]:
    """`name` is a revision, an archive of them, or the folder of a changelog."""
    parts = name.split("/")
    logs = [(source, Changelog(source.store, parts[1])) for source in sources]
    changelog = Changelog(objects.store, parts[1])
    if len(parts) == 3 and archive_digest(parts[2]) is None:
        parent, child = map(Child, parts[2].split("."))
        for source, log in logs:
            with suppress(*_ERRORS):
                changelog.write({(parent, child): log.read((parent, child))})
                yield Problem(name, f"restored from {source.store!r}")
                return
        return
    for damaged in _damaged_archives(changelog):
        for source, log in logs:
            with suppress(*_ERRORS):
                wanted = log.history().edges
                # All that it may have held: what is there already is the same.
                changelog.write({edge: log.read(edge) for edge in sorted(wanted)})
                objects.store.delete([damaged])
                yield Problem(damaged, f"its revisions restored from {source.store!r}")
                break


def _damaged_archives(changelog: Changelog) -> Iterator[str]:
    for name in changelog.store.names(changelog.folder):
        digest = archive_digest(name)
        path = f"{changelog.folder}/{name}"
        if digest is not None:
            try:
                Archive(digest, changelog.store.get(path)).check()
            except _ERRORS:
                yield path


def give_up_broken(objects: Objects, changelogs: Iterable[Changelog]) -> Iterator[Problem]:
    """Delete the revisions that need an object which is missing or damaged, so that the whole ones
    count. Yields each, and what it had written. A revision of which only the document is lost
    stays, with an empty document.
    """
    state = _State(objects)
    for changelog in changelogs:
        with changelog.writing():
            changelog.refresh()
            yield from _give_up_archives(changelog)
            yield from _empty_documents(changelog)
            yield from _give_up_states(changelog, state)
    # Else a pull would take them for what their names say.
    objects.store.delete(sorted(state.lost))


class _State:
    """What is known to be lost of a store."""

    def __init__(self, objects: Objects) -> None:
        self.lost: set[str] = set()
        """Pages and segments."""
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
        except _ERRORS:
            return self._is_lost(self._objects.page_name(name))
        if page.level:
            return next(filter(None, (self.reason(entry.name) for entry in page.entries)), "")
        return next(filter(None, map(self._of_segment, sorted(page.segments()))), "")

    def _of_segment(self, name: Digest) -> str:
        if name not in self._reasons:
            self._reasons[name] = ""
            try:
                self._objects.fresh_segment(name).check()
            except _ERRORS:
                self._reasons[name] = self._is_lost(segment_name(name))
        return self._reasons[name]

    def _is_lost(self, name: str) -> str:
        self.lost.add(name)
        return f"{name} is lost"


def _give_up_archives(changelog: Changelog) -> Iterator[Problem]:
    for path in list(_damaged_archives(changelog)):
        digest = archive_digest(path.rpartition("/")[2])
        assert digest is not None
        edges: frozenset[Edge] = frozenset()
        archive: Archive | None = None
        with suppress(*_ERRORS):
            archive = Archive(digest, changelog.store.get(path))
            edges = archive.edges
        documents = {edge: _document(archive, edge) for edge in edges}
        if documents:
            changelog.archive(documents)
        changelog.store.delete([path])
        changelog.refresh()
        if not edges:
            yield Problem(path, "given up: all revisions in it, which nobody can tell any more")
        for edge in sorted(e for e, document in documents.items() if document == UNKNOWN):
            yield Problem(_name(changelog, edge), "given up: its author and message; its rows stay")


def _document(archive: Archive | None, edge: Edge) -> dict[str, object]:
    with suppress(*_ERRORS):
        if archive is not None:
            return archive.document(edge)
    return dict(UNKNOWN)


def _empty_documents(changelog: Changelog) -> Iterator[Problem]:
    for edge in sorted(changelog.history().edges):
        try:
            changelog.read(edge)
        except _ERRORS:
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
