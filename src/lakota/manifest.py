"""Manifests: the sorted, canonical set of extents of a collection, as a Merkle tree of pages.

A manifest is its root page. Its shape depends on its extents alone, so equal sets of extents
have equal roots, and whatever two manifests share is skipped when they are compared. All
functions here are pure: pages come in through a loader, new pages come out as values.

Invariants, kept by `apply` through `extent.resolve`: replace extents of a label are disjoint;
an extent never reaches into the interval of a newer replace; pieces are maximal. Deletions
stay, as extents without rows: they must win over older writes that arrive later.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby
from operator import itemgetter
from typing import Any

from .digest import Digest
from .extent import Extent, Extents, clusters, laid, resolve
from .interval import EVERYTHING, Cut, Interval
from .page import Entry, Loader, Page, PageKey, ends_page, make_page, make_pages

__all__ = [
    "EMPTY",
    "Edit",
    "Manifest",
    "apply",
    "apply_all",
    "changes",
    "join",
    "news",
    "pages",
    "unseen",
]

EMPTY: Page = make_page(Extents.of([]), 0)
"""The manifest without extents."""
FEW = 2
"""Pages below one page in which a label is looked for to have all of it."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The root of a tree of pages and where its pages come from."""

    root: Digest
    load: Loader

    def open(self, name: Digest) -> Page:
        """A page of this manifest. The empty one is never stored."""
        return EMPTY if name == EMPTY.name else self.load(name)

    def page(self) -> Page:
        """The root page."""
        return self.open(self.root)

    def select(self, label: str, interval: Interval = EVERYTHING) -> list[Extent]:
        """The extents of `label` that overlap `interval`, in key order."""
        found = self.near(label, interval)
        return [e for e in found if e.lo < interval.hi and e.hi > interval.lo]

    def near(self, label: str, interval: Interval) -> Iterator[Extent]:
        """The extents of `label` that overlap or touch `interval`, in key order, read lazily."""
        return _near(self.page(), self.load, label, interval)

    def extents(self) -> Iterator[Extent]:
        """All extents, in order."""
        return chain.from_iterable(leaf.extents for leaf in self.leaves())

    def across(self, interval: Interval = EVERYTHING, prefix: str = "") -> Iterator[Extent]:
        """The extents of all labels that begin with `prefix`, in order; of those outside of
        `interval` whole pages are left out."""
        found = self.leaves_across(interval, prefix)
        every = chain.from_iterable(leaf.extents for leaf in found)
        return (e for e in every if e.label.startswith(prefix)) if prefix else every

    def leaves_across(self, interval: Interval = EVERYTHING, prefix: str = "") -> Iterator[Page]:
        """The leaves in which `across` looks, in order."""
        return _across(self.page(), self.load, interval, prefix)

    def before(self, label: str, cut: Cut) -> Iterator[Extent]:
        """The extents of `label` that begin before `cut`, last first, read lazily."""
        return _before(self.page(), self.load, (label, cut, -1, 0), label)

    def gather(self, labels: Sequence[str]) -> dict[str, list[Extent] | None]:
        """The extents of each of `labels`; None of one that lies in many leaves,
        which are better read one by one. Each leaf is looked at once, for all of its labels."""
        found: dict[str, list[Extent] | None] = {label: [] for label in labels}
        _gather(self.page(), self.load, labels, found)
        return found

    def leaves(self) -> Iterator[Page]:
        """The leaf pages, in order."""
        return _leaves(self.page(), self.load)


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of a manifest as a value: the new root and the pages that it needs."""

    root: Digest
    pages: Mapping[Digest, Page] = field(default_factory=dict)
    """New pages, none of which the old manifest has."""


def unseen(
    manifest: Manifest, label: str, interval: Interval, seen: set[Digest]
) -> Iterator[Extent]:
    """The extents of `label` that overlap `interval`, but for those in pages `seen`, which
    grows."""
    if manifest.root not in seen and manifest.root != EMPTY.name:
        seen.add(manifest.root)
        yield from _unseen(manifest.page(), manifest.load, label, interval, seen)


def _unseen(
    page: Page, load: Loader, label: str, interval: Interval, seen: set[Digest]
) -> Iterator[Extent]:
    lo, hi = interval
    start = bisect_left(page.keys, (label, b"", 0, 0))
    stop = bisect_left(page.keys, (label, hi, 0, 0))
    if page.level == 0:
        yield from (e for e in page.extents[start:stop] if e.hi > lo)
        return
    for entry in page.entries[max(start - 1, 0) : stop]:
        inside = entry.last > label or (entry.last == label and entry.hi > lo)
        if inside and entry.name not in seen:
            seen.add(entry.name)
            yield from _unseen(load(entry.name), load, label, interval, seen)


def _near(page: Page, load: Loader, label: str, interval: Interval) -> Iterator[Extent]:
    lo, hi = interval
    # Rows with a key below (label, hi, infinity) begin before the interval ends.
    stop = bisect_right(page.keys, (label, hi, 1 << 64, 0))
    if page.level == 0:
        start = bisect_left(page.keys, (label, b"", 0, 0))
        yield from (e for e in page.extents[start:stop] if e.hi >= lo)
        return
    start = max(bisect_left(page.keys, (label, b"", 0, 0)) - 1, 0)
    for entry in page.entries[start:stop]:
        if entry.last > label or (entry.last == label and entry.hi >= lo):
            yield from _near(load(entry.name), load, label, interval)


def _across(page: Page, load: Loader, interval: Interval, prefix: str) -> Iterator[Page]:
    if page.level == 0:
        yield page
        return
    for entry in page.entries:
        if entry.last < prefix:
            continue
        if entry.label > prefix and not entry.label.startswith(prefix):
            return
        # Of pages of one label it is known which keys they may have.
        if entry.label < entry.last or (entry.lo < interval.hi and entry.hi > interval.lo):
            yield from _across(load(entry.name), load, interval, prefix)


def _before(page: Page, load: Loader, key: PageKey, label: str) -> Iterator[Extent]:
    stop = bisect_left(page.keys, key)
    if page.level == 0:
        for e in reversed(page.extents[:stop]):
            if e.label != label:
                return
            yield e
        return
    for entry in reversed(page.entries[:stop]):
        if entry.last < label:
            return
        yield from _before(load(entry.name), load, key, label)


def _gather(
    page: Page, load: Loader, labels: Iterable[str], found: dict[str, list[Extent] | None]
) -> None:
    if page.level == 0:
        extents, spans = page.extents, page.spans
        for label in labels:
            span, known = spans.get(label), found[label]
            if span is not None and known is not None:
                known.extend(extents[slice(*span)])
        return
    firsts, lasts, names = map(page.column, ("label", "last", "page"))
    asked: dict[int, list[str]] = {}
    for label in labels:
        start, stop = bisect_left(lasts, label), bisect_right(firsts, label)
        if stop - start > FEW:
            found[label] = None
        else:
            for at in range(start, stop):
                asked.setdefault(at, []).append(label)
    for at, wanted in sorted(asked.items()):
        _gather(load(Digest(names[at].hex())), load, wanted, found)


def _leaves(page: Page, load: Loader) -> Iterator[Page]:
    if page.level == 0:
        yield page
        return
    for entry in page.entries:
        yield from _leaves(load(entry.name), load)


def apply_all(manifest: Manifest, new: Extents) -> Edit:
    """As `apply`, of many extents at once: those of a first load need not be resolved."""
    if manifest.root != EMPTY.name or not new.alone:
        return apply(manifest, new.each())
    fresh: dict[Digest, Page] = {}
    top = _build(new, 0, fresh)
    return Edit(top.name, _reachable(top, fresh))


def apply(manifest: Manifest, new: Iterable[Extent]) -> Edit:
    """The manifest that also has seen the writes of `new`."""
    groups = [list(group) for _, group in groupby(sorted(new, key=_LABEL), key=_LABEL)]
    found = manifest.gather([fresh[0].label for fresh in groups])
    removed: list[Extent] = []
    added: list[Extent] = []
    for fresh, known in zip(groups, found.values(), strict=True):
        change = None if known is None else laid(fresh, known)
        if change is not None:
            removed.extend(change[0])
            added.extend(change[1])
            continue
        old = _touched(manifest, fresh)
        resolved = set(resolve([*old, *fresh]))
        removed.extend(old - resolved)
        added.extend(resolved - old)
    return rewrite(manifest, removed, added)


def _touched(manifest: Manifest, fresh: Iterable[Extent]) -> set[Extent]:
    """What the manifest has that new extents of one label overlap or touch."""
    old: set[Extent] = set()
    for cluster in clusters(fresh):
        hull = Interval(cluster[0].lo, max(e.hi for e in cluster))
        old.update(manifest.near(cluster[0].label, hull))
    return old


def join(
    first: Manifest, *others: Manifest, expect: Callable[[Iterable[Digest]], None] | None = None
) -> Edit:
    """The manifest that has seen the writes of all. What the others have besides is laid in at
    once: one after the other would make pages of every state between. `expect` is told which pages
    will be opened next."""
    left: dict[_Node, Manifest] = {}
    right: dict[_Node, Manifest] = {}
    found = _apart([(first, other) for other in others], expect)
    for other, (ours, theirs) in zip(others, found, strict=True):
        left.update(dict.fromkeys(ours, first))
        right.update(dict.fromkeys(theirs, other))
    return apply(first, _extents(right) - _extents(left))


def changes(first: Manifest, second: Manifest) -> tuple[list[Extent], list[Extent]]:
    """The extents only `first` has and those only `second` has; equal pages are not read."""
    ((left, right),) = _apart([(first, second)])
    lefts = _extents(dict.fromkeys(left, first))
    rights = _extents(dict.fromkeys(right, second))
    return sorted(lefts - rights, key=_EXTENT_KEY), sorted(rights - lefts, key=_EXTENT_KEY)


def _apart(
    pairs: Sequence[tuple[Manifest, Manifest]],
    expect: Callable[[Iterable[Digest]], None] | None = None,
) -> list[tuple[set[_Node], set[_Node]]]:
    """The leaves that only one of two has, of each pair; level by level, all pairs together."""

    def expected(names: Iterable[Digest]) -> None:
        if expect is not None:
            expect(name for name in names if name != EMPTY.name)

    expected(manifest.root for pair in pairs if pair[0].root != pair[1].root for manifest in pair)
    found: list[tuple[set[_Node], set[_Node]]] = [
        (set(), set()) if a.root == b.root else ({_node(a)}, {_node(b)}) for a, b in pairs
    ]
    for level in range(
        max((at for nodes in found for side in nodes for _, at in side), default=0), 0, -1
    ):
        expected(name for nodes in found for side in nodes for name, at in side if at == level)
        for n, ((a, b), (left, right)) in enumerate(zip(pairs, found, strict=True)):
            left, right = _descend(left, a, level), _descend(right, b, level)
            found[n] = left - right, right - left
    expected(name for nodes in found for side in nodes for name, _ in side)
    return found


def _extents(leaves: Mapping[_Node, Manifest]) -> set[Extent]:
    return {e for (name, _), manifest in leaves.items() for e in manifest.open(name).extents}


def news(old: Manifest, new: Manifest) -> tuple[list[Page], list[Extent]]:
    """The pages and the extents that `new` has and `old` has not; equal pages are not read."""
    if old.root == new.root:
        return [], []
    left, right = {_node(old)}, {_node(new)}
    pages: list[Page] = []
    for level in range(max(level for _, level in left | right), -1, -1):
        pages.extend(new.open(name) for name, at in right if at == level)
        if level:
            left, right = _descend(left, old, level), _descend(right, new, level)
            left, right = left - right, right - left
    lefts = {e for name, _ in left for e in old.open(name).extents}
    rights = [e for name, _ in right for e in new.open(name).extents if e not in lefts]
    return [page for page in pages if page is not EMPTY], rights


_Node = tuple[Digest, int]


def _node(manifest: Manifest) -> _Node:
    return manifest.root, manifest.open(manifest.root).level


def _descend(nodes: Iterable[_Node], manifest: Manifest, level: int) -> set[_Node]:
    """The children of the nodes of `level`; the others stay as they are."""
    found: set[_Node] = set()
    for name, at in nodes:
        if at == level:
            found.update((e.name, e.level) for e in manifest.open(name).entries)
        else:
            found.add((name, at))
    return found


def pages(manifest: Manifest, seen: set[Digest]) -> Iterator[Page]:
    """Every page of the manifest, parents first, but for those `seen`, which grows: what is below
    a page that was seen was, too."""
    if manifest.root != EMPTY.name:
        yield from _pages(manifest, manifest.root, seen)


def _pages(manifest: Manifest, name: Digest, seen: set[Digest]) -> Iterator[Page]:
    if name in seen:
        return
    seen.add(name)
    page = manifest.load(name)
    yield page
    if page.level:
        for entry in page.entries:
            yield from _pages(manifest, entry.name, seen)


_LABEL: Callable[[Extent], str] = itemgetter(0)


_EXTENT_KEY: Callable[[Extent], PageKey] = itemgetter(0, 1, 3, 4)
_ENTRY_KEY: Callable[[Entry], PageKey] = itemgetter(0, 1, 2, 3)


def _key_of(level: int) -> Callable[[Any], PageKey]:
    """What tells the key of a row of that level."""
    return _ENTRY_KEY if level else _EXTENT_KEY


# ---- The tree: replace rows, and rewrite only the pages around them.


def rewrite(manifest: Manifest, removed: Iterable[Extent], added: Iterable[Extent]) -> Edit:
    """The manifest without the extents `removed` and with `added`, whole pages kept."""
    gone: list[PageKey] = sorted(map(_EXTENT_KEY, removed))
    come: list[Any] = sorted(added, key=_EXTENT_KEY)
    if not gone and not come:
        return Edit(manifest.root)
    root = manifest.page()
    fresh: dict[Digest, Page] = {}
    for level in range(root.level):
        gone, come = _rewrite_level(root, manifest.load, level, gone, come, fresh)
    rows = _merge(root, set(gone), come)
    top = _build(list(zip(*rows, strict=True)), root.level, fresh)
    fresh.pop(root.name, None)  # where it is now one page of several
    top = _collapse(top, manifest.load, fresh)
    return Edit(top.name, _reachable(top, fresh))


def _rewrite_level(
    root: Page,
    load: Loader,
    level: int,
    gone: list[PageKey],
    come: list[Any],
    fresh: dict[Digest, Page],
) -> tuple[list[PageKey], list[Entry]]:
    """Replace rows of one level below the root's. Returns the same change one level up."""
    old_entries: list[Entry] = []
    new_entries: list[Entry] = []
    g = c = 0
    gone_set, key_of = set(gone), _key_of(level)
    while g < len(gone) or c < len(come):
        first = min([*gone[g : g + 1], *map(key_of, come[c : c + 1])])
        buffer: list[Any] = []
        parents = _entries(root, load, level + 1, first)
        entry = next(parents)
        while True:
            following = next(parents, None)
            limit = following.key if following else None
            g_end = len(gone) if limit is None else bisect_left(gone, limit, g)
            c_end = len(come) if limit is None else bisect_left(come, limit, c, key=key_of)
            page = load(entry.name)
            buffer.extend(_merge(page, gone_set, come[c:c_end]))
            old_entries.append(entry)
            g, c = g_end, c_end
            # Stop where the old cut still stands; otherwise the next page flows into this one.
            if following is None or not buffer or ends_page(key_of(buffer[-1]), level):
                break
            entry = following
        for made in make_pages(list(zip(*buffer, strict=True)), level):
            fresh[made.name] = made
            new_entries.append(made.entry())
    same = set(old_entries) & set(new_entries)
    for entry in same:
        fresh.pop(entry.name, None)
    up_gone = sorted(e.key for e in old_entries if e not in same)
    up_come = sorted((e for e in new_entries if e not in same), key=_ENTRY_KEY)
    return up_gone, up_come


def _entries(page: Page, load: Loader, level: int, key: PageKey) -> Iterator[Entry]:
    """The entries that stand in pages of `level`, from the one that covers `key` on."""
    start = max(bisect_right(page.keys, key) - 1, 0)
    if page.level == level:
        yield from page.entries[start:]
        return
    for entry in page.entries[start:]:
        yield from _entries(load(entry.name), load, level, key)


def _merge(page: Page, gone: set[PageKey], come: Sequence[Any]) -> list[Any]:
    rows, keys, key_of = page.rows, page.keys, _key_of(page.level)
    kept = [row for row, key in zip(rows, keys, strict=True) if key not in gone]
    return sorted([*kept, *come], key=key_of) if come else kept


def _build(values: Sequence[Sequence[Any]], level: int, fresh: dict[Digest, Page]) -> Page:
    """Pages of rows, given column by column, and pages of pages until one root remains."""
    while True:
        made = list(make_pages(values, level))
        fresh.update((page.name, page) for page in made)
        if len(made) < 2:
            return made[0] if made else EMPTY
        values, level = list(zip(*(page.entry() for page in made), strict=True)), level + 1


def _collapse(top: Page, load: Loader, fresh: Mapping[Digest, Page]) -> Page:
    """A root with a single child is no root: its child is."""
    while top.level and len(top.entries) == 1:
        name = top.entries[0].name
        top = fresh[name] if name in fresh else load(name)
    return top


def _reachable(top: Page, fresh: Mapping[Digest, Page]) -> dict[Digest, Page]:
    """Those of the fresh pages that the new manifest has, root last."""
    found: dict[Digest, Page] = {}
    below = {bytes.fromhex(name): page for name, page in fresh.items()}

    def visit(page: Page) -> None:
        if page.level:
            for name in page.column("page"):  # many, of which few are fresh
                child = below.get(name)
                if child is not None and child.name not in found:
                    visit(child)
        found[page.name] = page

    if top.name in fresh:
        visit(top)
    return found
