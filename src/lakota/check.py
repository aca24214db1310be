"""Looking at every byte that a read could ever need.

`inspect` walks all revisions of a collection, decodes every page and segment below them and
recomputes their names. Nothing is changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from .changelog import ATTEMPTS, LAST, Changelog, Edge, root_of
from .digest import Digest
from .errors import LakotaError
from .manifest import EMPTY
from .objects import Objects, digest_of, segment_name
from .progress import Progress, counted

__all__ = ["Problem", "Report", "inspect", "strays"]

_CHILD = r"[0-9a-f]{16}-[0-9a-f]{32}"
_KNOWN = re.compile(
    r"lakota\.json|changelog\.txt|changelog/[0-9a-f]{32}/"
    rf"(trimmed\.[0-9a-f]{{16}}|packed\.[0-9a-f]{{32}}\.[0-9a-f]{{8}}|guide\.[0-9a-f]{{32}}|(?P<parent>{_CHILD})\.(?P<child>{_CHILD}))"
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as it should be."""

    name: str
    """The object."""
    what: str

    def __str__(self) -> str:
        return f"{self.name}: {self.what}"


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a check. True if nothing is damaged."""

    revisions: int = 0
    pages: int = 0
    segments: int = 0
    damaged: tuple[Problem, ...] = ()
    """Objects that are missing or are not what their names say: rows may be lost."""
    strays: tuple[str, ...] = ()
    """Files that are none of ours; harmless."""
    repaired: tuple[Problem, ...] = ()
    """What was damaged and is restored now, and from where."""
    given_up: tuple[Problem, ...] = ()
    """Revisions that are here no more, and what they had written."""

    def __bool__(self) -> bool:
        return not self.damaged


def inspect(
    objects: Objects, changelogs: list[Changelog], progress: Progress | None = None
) -> Report:
    """Check everything that `changelogs` refer to. What is missing because history is trimmed and
    collected meanwhile is no damage: then all is looked at again."""
    for _ in range(ATTEMPTS):
        listed: dict[Changelog, frozenset[Edge]] = {}
        report = _inspect(objects, changelogs, listed, progress)
        if report or not any(_forgot(changelog, edges) for changelog, edges in listed.items()):
            break
    return report


def _inspect(
    objects: Objects,
    changelogs: list[Changelog],
    listed: dict[Changelog, frozenset[Edge]],
    progress: Progress | None,
) -> Report:
    """One look at everything. `listed` is told which revisions there were."""
    problems: list[Problem] = []
    pages: set[Digest] = set()
    segments: dict[Digest, int] = {}
    revisions = 0
    objects.forget()
    for changelog in changelogs:
        changelog.refresh()
        try:
            edges = sorted(changelog.history().edges)
        except (LakotaError, OSError) as error:  # an archive of revisions is damaged
            problems.append(Problem(changelog.folder, str(error)))
            continue
        listed[changelog] = frozenset(edges)
        archives = changelog.archives()
        for name, archive in archives.items():
            problems.extend(_attempt(name, archive.check))
        for edge in counted(edges, progress, len(edges), "revisions"):
            revisions += 1
            if not any(edge in archive.edges for archive in archives.values()):
                name = f"{changelog.folder}/{edge[0]}.{edge[1]}"
                problems.extend(_attempt(name, partial(changelog.read, edge)))
            problems.extend(_walk(objects, root_of(edge[1]), pages, segments))
    for digest in counted(segments, progress, len(segments), "segments"):
        name = segment_name(digest)
        problems.extend(_attempt(name, partial(_check_segment, objects, digest)))
    return Report(revisions, len(pages), len(segments), tuple(problems))


def _forgot(changelog: Changelog, edges: frozenset[Edge]) -> bool:
    """Whether some of these revisions are not there any more."""
    changelog.refresh()
    try:
        return not changelog.history().edges >= edges
    except (LakotaError, OSError):
        return False


def _walk(
    objects: Objects, name: Digest, seen: set[Digest], segments: dict[Digest, int]
) -> Iterator[Problem]:
    if name in seen or name == EMPTY.name:
        return
    seen.add(name)
    try:
        page = objects.page(name)
    except (LakotaError, OSError) as error:
        yield Problem(objects.page_name(name), str(error))
        return
    if page.level:
        for entry in page.entries:
            yield from _walk(objects, entry.name, seen, segments)
    else:
        segments.update((segment, 0) for segment in page.segments())


def _check_segment(objects: Objects, digest: Digest) -> None:
    objects.fresh_segment(digest).check()


def _attempt(name: str, act: Callable[[], object]) -> Iterator[Problem]:
    try:
        act()
    except (LakotaError, OSError) as error:
        yield Problem(name, str(error))


def strays(objects: Objects) -> Iterator[str]:
    """Files in the store that are not of the format."""
    for info in objects.store.list(""):
        if not _is_ours(info.name):
            yield info.name


def _is_ours(name: str) -> bool:
    if digest_of(name) is not None:
        return name.startswith(("segments/", "pages/"))
    match = _KNOWN.fullmatch(name)
    # A revision whose parent is not older than its child is none.
    return match is not None and (
        match["parent"] is None or match["parent"] < match["child"] < LAST
    )
