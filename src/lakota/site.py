"""A collection in a store: the value that every operation on a collection works on."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pyarrow as pa

from .changelog import Changelog, Child, root_of
from .clock import Clock
from .digest import Digest
from .errors import ClockError, ClockWarning, LakotaError
from .guide import encode_guide, guided, is_due
from .manifest import EMPTY, Manifest, join
from .objects import Objects
from .page import Page
from .schema import Schema

__all__ = ["Guide", "Joined", "Site"]

AHEAD = 86_400.0
"""Seconds that a stamp may be ahead of the clock without a warning."""


@dataclass(frozen=True, slots=True)
class Joined:
    """What several heads hold together, and the pages of it that are in no store yet."""

    manifest: Manifest
    pages: Mapping[Digest, Page]


@dataclass(frozen=True, slots=True)
class Guide:
    """A guide that is to be stored, and those in whose place it comes."""

    name: str
    data: bytes
    old: Sequence[str]


@dataclass(frozen=True, slots=True)
class Site:
    """One collection in one store."""

    objects: Objects
    changelog: Changelog
    schema: Schema
    """The columns under the names that they are stored by."""
    clock: Clock
    codec: str
    """The store's taste: the codec of columns whose schema does not insist on one."""
    shown: Schema
    """The columns as users see them: `schema` under today's names. Below the facades only the
    stored names exist."""
    ever: Schema
    """The columns that segments may hold: `schema` and those that were dropped."""

    max_ahead: float | None = None
    """Seconds that a stamp may be ahead of the clock; None only warns."""

    def observe(self, stamp: int) -> None:
        """Let the clock know of a stamp that is built upon or taken over. Warns of one that is
        more than a day ahead; raises `ClockError` if it is more than `max_ahead`."""
        self.check_ahead(stamp)
        self.clock.observe(stamp)

    def check_ahead(self, stamp: int) -> None:
        """The same, but the clock is not told."""
        # The machine's clock: one that stamps an imported history is not asked.
        ahead = (stamp - time.time_ns()) / 1e9
        if ahead <= (AHEAD if self.max_ahead is None else min(AHEAD, self.max_ahead)):
            return
        at = datetime.fromtimestamp(stamp // 1_000_000_000, UTC).isoformat()
        said = f"a revision is stamped {at}, ahead of the clock of this machine"
        if self.max_ahead is not None and ahead > self.max_ahead:
            raise ClockError(
                f"{said} by {ahead:,.0f} seconds, and max_ahead is {self.max_ahead:,.0f}: set the "
                "clock that is wrong, and see changelog.log() for the revision; nothing was changed"
            )
        warnings.warn(
            f"{said}: whatever is written now is stamped later than that, and reads as of a "
            "time before do not see it; Repo(..., max_ahead=seconds) refuses such revisions",
            ClockWarning,
            stacklevel=2,
        )

    @property
    def index(self) -> list[pa.Field]:
        """The index columns."""
        return [self.schema.arrow.field(name) for name in self.schema.index]

    @property
    def archives(self) -> bool:
        """Whether old revisions may move into archives, by us."""
        return self.objects.header.format > 1 and not self.objects.store.tidied

    @property
    def bare(self) -> Site:
        """The same, with the columns shown under the names that they are stored by."""
        return replace(self, shown=self.schema)

    def codecs(self, names: Iterable[str]) -> dict[str, str]:
        """The codec of each of these columns, as it is written here."""
        return {name: self._insists(name) or self.codec for name in names}

    def small_codecs(self, names: Iterable[str]) -> dict[str, str]:
        """The codec of each of these columns, packed."""
        return {name: self._insists(name) or "packed" for name in names}

    def _insists(self, name: str) -> str | None:
        return self.ever[name].codec if name in self.ever else None

    def stored(self, names: Iterable[str]) -> list[str]:
        """The names under which columns are stored."""
        return [self.shown[name].source for name in names]

    def manifest(self, child: Child) -> Manifest:
        """The manifest of a state."""
        if self.objects.store.remote:
            self.objects.lead(self.changelog.guides())
        return self.manifest_of(root_of(child))

    def guide(self, manifest: Manifest, made: int) -> Guide | None:
        """Where readers are far: the guide to a state, if it is due after `made` pages above the
        leaves. Raises nothing: readers find their way without."""
        if not (self.archives and self.objects.store.remote):
            return None
        objects, old = self.objects, self.changelog.guides()
        with suppress(LakotaError):
            if not old or is_due(manifest.page(), made):
                files = [(page.name, objects.encode_page(page)) for page in guided(manifest)]
                name = f"{self.changelog.folder}/guide.{manifest.root}"
                if files:
                    return Guide(name, encode_guide(files), [n for n in old if n != name])
        return None

    def leave_guide(self, root: Digest, made: int) -> None:
        """Store the guide to a state that is there, if it is due. Raises nothing."""
        guide, store = self.guide(self.manifest_of(root), made), self.objects.store
        if guide is not None:
            with suppress(LakotaError):
                store.put(guide.name, guide.data)
                store.delete(guide.old)

    def manifest_of(self, root: Digest) -> Manifest:
        """The manifest of a root page."""
        return Manifest(root, self.objects.page)

    def joined(self, heads: Sequence[Child]) -> Joined:
        """The manifest of several states together, without committing a merge."""
        if not heads:
            return Joined(self.manifest_of(EMPTY.name), {})
        # The newest most often has what the others have.
        newest, *others = map(self.manifest, sorted(heads, reverse=True))
        edit = join(newest, *others, expect=self.objects.expect_pages)
        fresh = edit.pages
        seen: dict[Digest, Page] = {}  # a commit asks for the same few for each of its labels

        def load(name: Digest) -> Page:
            page = seen.get(name)
            if page is None:
                page = seen[name] = fresh.get(name) or self.objects.page(name)
            return page

        return Joined(Manifest(edit.root, load), fresh)
