"""Manifests as pure values: what is visible, whatever the order of arrival; and the tree of pages,
which depends on the extents alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from itertools import groupby, islice, pairwise, permutations
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakota import page as page_module
from lakota.digest import Digest
from lakota.extent import (
    ERASE,
    NOWHERE,
    REPLACE,
    TRIM_HI,
    TRIM_LO,
    UPSERT,
    Extent,
    Extents,
    clusters,
    laid,
    resolve,
)
from lakota.interval import HIGH, LOW, Cut, Interval, after, before
from lakota.manifest import (
    EMPTY,
    FEW,
    Edit,
    Manifest,
    apply,
    apply_all,
    changes,
    join,
    news,
    pages,
    rewrite,
    unseen,
)
from lakota.page import Page

INT = [pa.int64()]
CUTS = [LOW, *(cut for n in range(6) for cut in (before(INT, (n,)), after(INT, (n,)))), HIGH]
LABELS = ("a", "a\0", "b", "é")


# ---- Extents as replicas could hold them: whole, cut, and moved to other places

spans = st.tuples(st.integers(0, len(CUTS) - 2), st.integers(1, 5)).map(
    lambda pair: (CUTS[pair[0]], CUTS[min(sum(pair), len(CUTS) - 1)])
)


@st.composite
def writes(draw: st.DrawFn, label: str = "a") -> list[Extent]:
    """Pieces of one write, at its first place or at a later one."""
    stamp, tie = draw(st.integers(1, 5)), draw(st.integers(0, 1))
    # What a write is follows from its name, and so do its places.
    rng = random.Random(f"{label} {stamp} {tie}")
    lo, hi = _span(rng)
    kind, columns = rng.choice(
        [(REPLACE, None)] * 3 + [(UPSERT, None), (UPSERT, ("x",)), (ERASE, None)]
    )
    length = rng.choice([0, 4]) if kind == REPLACE else 4
    segment = rng.choice([b"s", b"t"]) * 16 if length else NOWHERE
    home = Extent(
        label, lo, hi, stamp, tie, kind, columns, 0, segment, 7 if length else 0, length, stamp
    )
    places = [home]
    if length:
        inside = [cut for cut in CUTS if lo <= cut <= hi]
        for nth, placed in enumerate((stamp + 1, stamp + 2, stamp + 2)):
            at = rng.randrange(len(inside) - 1)
            end = rng.randrange(at + 1, len(inside))
            places.append(
                home._replace(
                    lo=inside[at],
                    hi=inside[end],
                    placed=placed,
                    segment=rng.choice([b"s", b"u"]) * 16,
                    offset=nth * 3,
                )
            )
    found = []
    for nth, (start, stop) in draw(
        st.lists(st.tuples(st.integers(0, 3), spans), min_size=1, max_size=3)
    ):
        place = places[nth % len(places)]
        piece = _cut(place, max(start, place.lo), min(stop, place.hi))
        found.append(piece if piece.lo < piece.hi else place)
    return found


def _span(rng: random.Random) -> tuple[Cut, Cut]:
    at = rng.randrange(len(CUTS) - 1)
    return CUTS[at], CUTS[rng.randrange(at + 1, len(CUTS))]


def _cut(place: Extent, lo: Cut, hi: Cut) -> Extent:
    """A piece of what lies at a place."""
    trim = TRIM_LO * (lo > place.lo) | TRIM_HI * (hi < place.hi)
    return place._replace(lo=lo, hi=hi, trim=trim if place.length else 0)


one_label = st.lists(writes(), max_size=8).map(lambda found: [e for es in found for e in es])
many_labels = st.lists(st.sampled_from(("a", *LABELS)).flatmap(writes), max_size=16).map(
    lambda found: [e for es in found for e in es]
)


# ---- What is visible: the law, point by point


def seen_at(extents: Iterable[Extent], lo: Cut, hi: Cut) -> set[tuple[Any, ...]]:
    """What is visible between two neighbouring cuts."""
    here = [e for e in extents if e.lo <= lo and hi <= e.hi]
    base = max((e for e in here if e.kind == REPLACE), key=rank, default=None)
    newer = [
        e for e in here if e.kind != REPLACE and (base is None or rank(e)[:2] > rank(base)[:2])
    ]
    of_writes = [[e for e in newer if e.write == write] for write in {e.write for e in newer}]
    tops = [max(places, key=rank) for places in of_writes]
    return {value(e) for e in [*([base] if base else []), *tops]}


def value(e: Extent) -> tuple[Any, ...]:
    return (e.kind, e.columns, *rank(e))


def rank(e: Extent) -> tuple[Any, ...]:
    """The later write wins; of its places the later one, then whatever is the same for all."""
    return (e.stamp, e.tie, e.placed, e.segment, e.offset, e.length)


@given(one_label)
def test_the_newest_replace_is_visible_everywhere_and_upserts_newer_than_it(
    extents: list[Extent],
) -> None:
    found = resolve(extents)
    for lo, hi in pairwise(CUTS):
        at = [value(e) for e in found if e.lo <= lo and hi <= e.hi]
        assert len(at) == len(set(at))
        assert set(at) == seen_at(extents, lo, hi)


@given(one_label)
def test_pieces_are_maximal_sorted_and_know_whether_their_ends_were_cut(
    extents: list[Extent],
) -> None:
    found = resolve(extents)
    keys = [e.key for e in found]
    assert keys == sorted(set(keys))
    for a, b in pairwise(sorted(found, key=lambda e: (repr(value(e)), e.lo))):
        assert value(a) != value(b) or a.hi < b.lo
    # An end of a piece is whole exactly where a source ends there, whole.
    for e in found:
        same = [s for s in extents if value(s) == value(e)]
        whole_lo = any(s.lo == e.lo and not s.trim & TRIM_LO for s in same)
        whole_hi = any(s.hi == e.hi and not s.trim & TRIM_HI for s in same)
        trim = TRIM_LO * (not whole_lo) | TRIM_HI * (not whole_hi)
        assert e.trim == (trim if e.length else 0)


@given(one_label, st.randoms(use_true_random=False))
def test_what_is_visible_depends_on_the_set_of_extents_alone(
    extents: list[Extent], rng: random.Random
) -> None:
    expected = resolve(extents)
    assert resolve(expected) == expected
    shuffled = rng.sample(extents, len(extents))
    assert resolve([*shuffled, *shuffled]) == expected
    at = rng.randint(0, len(extents))
    assert resolve([*resolve(shuffled[:at]), *resolve(shuffled[at:])]) == expected
    so_far: list[Extent] = []
    for e in shuffled:
        so_far = resolve([*so_far, e])
    assert so_far == expected


@given(one_label)
def test_clusters_are_the_groups_that_do_not_touch(extents: list[Extent]) -> None:
    found = list(clusters(extents))
    assert sorted(e for group in found for e in group) == sorted(extents)
    hulls = [(min(e.lo for e in group), max(e.hi for e in group)) for group in found]
    assert all(a[1] < b[0] for a, b in pairwise(hulls))
    for group, (lo, hi) in zip(found, hulls, strict=True):
        reached = lo
        for e in sorted(group, key=lambda e: e.lo):
            assert e.lo <= reached
            reached = max(reached, e.hi)
        assert reached == hi


@given(many_labels, st.integers(0, 9), st.integers(0, 9))
def test_extents_by_columns_are_the_same_extents(extents: list[Extent], a: int, b: int) -> None:
    whole = Extents.of(extents)
    assert list(whole.each()) == extents and len(whole) == len(Extent._fields)
    assert list(whole.part(a, b).each()) == extents[a:b]
    for parts in ([whole], [whole.part(0, a), whole.part(a, len(extents))], [whole] * 3):
        expected = [e for part in parts for e in part.each()]
        assert list(Extents.joined(parts).each()) == expected
    picked = list(range(len(extents)))[::-2]
    assert list(whole.take(picked).each()) == [extents[i] for i in picked]
    labels = [e.label for e in extents]
    assert whole.alone == (labels == sorted(set(labels)))


# ---- The tree


class Forest:
    """Pages in a dictionary."""

    def __init__(self) -> None:
        self.pages: dict[Digest, Page] = {}

    def at(self, root: Digest) -> Manifest:
        return Manifest(root, self.pages.__getitem__)

    def grown(self, edit: Edit) -> Manifest:
        self.pages.update(edit.pages)
        return self.at(edit.root)

    def of(self, extents: Iterable[Extent]) -> Manifest:
        return self.grown(apply(self.at(EMPTY.name), extents))


def resolved(extents: Iterable[Extent]) -> list[Extent]:
    """What is visible of all labels."""
    ordered = sorted(extents, key=lambda e: e.label)
    groups = groupby(ordered, key=lambda e: e.label)
    return [e for _, group in groups for e in resolve(list(group))]


def names(manifest: Manifest) -> set[Digest]:
    return {page.name for page in pages(manifest, set())}


fanouts = st.sampled_from([2, 3, 48])


def with_fanout(fanout: int) -> Any:
    return patch.object(page_module, "FANOUT", fanout)


@given(many_labels, fanouts, st.randoms(use_true_random=False))
def test_a_manifest_depends_on_the_set_of_its_writes_alone(
    extents: list[Extent], fanout: int, rng: random.Random
) -> None:
    with with_fanout(fanout):
        forest = Forest()
        expected = forest.of(extents)
        assert list(expected.extents()) == resolved(extents)
        shuffled = rng.sample(extents, len(extents))
        manifest = forest.at(EMPTY.name)
        while shuffled:
            at = rng.randint(1, len(shuffled))
            edit = apply(manifest, shuffled[:at])
            assert not names(manifest) & edit.pages.keys()
            manifest = forest.grown(edit)
            assert names(manifest) >= edit.pages.keys()
            shuffled = shuffled[at:]
        assert manifest.root == expected.root
        assert apply(manifest, extents) == Edit(manifest.root)
        # The root is the one that the extents make without a history.
        assert Forest().of(expected.extents()).root == expected.root


def resolved_onto(manifest: Manifest, new: Iterable[Extent]) -> Edit:
    """What `apply` says, by the law alone: everything of each label anew."""
    old, every = set(manifest.extents()), set(resolved([*manifest.extents(), *new]))
    return rewrite(manifest, old - every, every - old)


beside = st.lists(
    st.tuples(st.sampled_from(LABELS), spans, st.integers(0, 9), st.booleans()), max_size=8
)


def replaces(found: Iterable[tuple[str, tuple[Cut, Cut], int, bool]], later: int) -> list[Extent]:
    """Writes and deletions with stamps from `later` on, mostly newer than others."""
    return [
        point(label, 0, later + stamp)._replace(
            lo=lo, hi=hi, length=4 * full, segment=b"n" * 16 if full else NOWHERE, offset=nth
        )
        for nth, (label, (lo, hi), stamp, full) in enumerate(found)
    ]


@given(many_labels, beside, beside, st.sampled_from([0, 6]), fanouts)
def test_newer_replaces_are_laid_in_as_the_law_says(
    extents: list[Extent], first: Any, second: Any, later: int, fanout: int
) -> None:
    with with_fanout(fanout):
        forest = Forest()
        manifest = forest.of(extents)
        for found, stamp in ((first, later), (second, 2 * later)):
            new = replaces(found, stamp)
            expected, edit = resolved_onto(manifest, new), apply(manifest, new)
            assert edit.root == expected.root and edit.pages.keys() == expected.pages.keys()
            assert apply_all(manifest, Extents.of(new)).root == edit.root
            manifest = forest.grown(edit)


@given(one_label, beside.filter(bool))
def test_what_newer_replaces_leave_is_what_the_law_leaves(extents: list[Extent], new: Any) -> None:
    fresh = [e._replace(label="a") for e in replaces(new, 6)]
    old = resolve(extents)
    found = laid(fresh, old)
    los = sorted(e.lo for e in fresh), sorted(e.hi for e in fresh)
    if found is not None:
        gone, come = found
        assert sorted([*(e for e in old if e not in gone), *come], key=lambda e: e.key) == resolve(
            [*old, *fresh]
        )
    elif len({e.stamp for e in fresh}) == len(fresh):
        assert any(hi > lo for lo, hi in zip(los[0][1:], los[1], strict=False))


@given(many_labels, st.lists(st.sampled_from([*LABELS, "", "aa", "z"]), unique=True), fanouts)
def test_what_is_gathered_of_labels_is_all_of_them(
    extents: list[Extent], labels: list[str], fanout: int
) -> None:
    with with_fanout(fanout):
        manifest = Forest().of(extents)
        found = manifest.gather(labels)
        assert list(found) == labels
        for label, known in found.items():
            assert known is None or known == manifest.select(label)
            assert known is not None or len(manifest.select(label)) > FEW


@given(st.sets(st.sampled_from(LABELS)), many_labels, fanouts)
def test_many_extents_at_once_make_what_they_make_one_by_one(
    labels: set[str], more: list[Extent], fanout: int
) -> None:
    with with_fanout(fanout):
        alone = [point(label, nth, nth + 1) for nth, label in enumerate(sorted(labels))]
        for found in (alone, alone[::-1], [*alone, *more]):
            forest = Forest()
            for manifest in (forest.at(EMPTY.name), forest.of(more)):
                edits = apply_all(manifest, Extents.of(found)), apply(manifest, found)
                assert edits[0].root == edits[1].root
                assert edits[0].pages.keys() == edits[1].pages.keys()


@given(many_labels, many_labels, many_labels, fanouts)
def test_joins_commute_associate_and_change_nothing_twice(
    a: list[Extent], b: list[Extent], c: list[Extent], fanout: int
) -> None:
    with with_fanout(fanout):
        forest = Forest()
        sides = [forest.of(extents) for extents in (a, b, c)]
        joined = {
            forest.grown(join(forest.grown(join(x, y)), z)).root for x, y, z in permutations(sides)
        }
        x, y, z = sides
        joined.add(forest.grown(join(x, forest.grown(join(y, z)))).root)
        for first, *others in permutations([x, y, z]):
            joined.add(forest.grown(join(first, *others)).root)  # at once
            joined.add(forest.grown(join(first, *others, *others, first)).root)
        assert join(x) == join(x, x) == Edit(x.root)
        assert joined == {forest.of([*a, *b, *c]).root}
        (root,) = joined
        for side in sides:
            assert join(forest.at(root), side) == Edit(root)
            assert forest.grown(join(side, forest.at(root))).root == root


@given(many_labels, many_labels, many_labels, fanouts)
def test_changes_and_news_are_the_differences(
    both: list[Extent], a: list[Extent], b: list[Extent], fanout: int
) -> None:
    with with_fanout(fanout):
        forest = Forest()
        first, second = forest.of([*both, *a]), forest.of([*both, *b])
        lefts, rights = set(first.extents()), set(second.extents())
        gone, come = changes(first, second)
        assert gone == sorted(lefts - rights, key=lambda e: e.key)
        assert come == sorted(rights - lefts, key=lambda e: e.key)
        fresh, extents = news(first, second)
        assert sorted(extents, key=lambda e: e.key) == come
        have = {name: forest.pages[name] for name in names(first)}
        sent = {page.name: page for page in fresh}
        assert not have.keys() & sent.keys()
        assert list(Manifest(second.root, {**have, **sent}.__getitem__).extents()) == sorted(
            rights, key=lambda e: e.key
        )


@given(many_labels, st.sampled_from([*LABELS, "", "aa", "z"]), spans, fanouts)
def test_looking_near_an_interval_finds_what_touches_it(
    extents: list[Extent], label: str, span: tuple[Cut, Cut], fanout: int
) -> None:
    with with_fanout(fanout):
        manifest = Forest().of(extents)
        own = [e for e in manifest.extents() if e.label == label]
        lo, hi = interval = Interval(*span)
        assert manifest.select(label, interval) == [e for e in own if e.lo < hi and e.hi > lo]
        assert list(manifest.near(label, interval)) == [e for e in own if e.lo <= hi and e.hi >= lo]
        assert list(manifest.before(label, lo)) == [e for e in own if e.lo < lo][::-1]
        assert manifest.select(label) == own


PREFIXES = ("", *LABELS, "a\0b", "aa", "z")


@given(many_labels, st.sampled_from(PREFIXES), spans, fanouts)
def test_looking_across_labels_finds_all_that_may_be_inside(
    extents: list[Extent], prefix: str, span: tuple[Cut, Cut], fanout: int
) -> None:
    with with_fanout(fanout):
        manifest = Forest().of(extents)
        own = [e for e in manifest.extents() if e.label.startswith(prefix)]
        lo, hi = interval = Interval(*span)
        found = list(manifest.across(interval, prefix))
        assert [e for e in found if e.lo < hi and e.hi > lo] == [
            e for e in own if e.lo < hi and e.hi > lo
        ]
        assert [e for e in own if e in set(found)] == found
        assert list(manifest.across(prefix=prefix)) == own


@given(many_labels, many_labels, st.sampled_from([*LABELS, "", "aa", "z"]), spans, fanouts)
def test_of_two_states_what_was_not_seen_is_found_once(
    both: list[Extent], more: list[Extent], label: str, span: tuple[Cut, Cut], fanout: int
) -> None:
    with with_fanout(fanout):
        forest, interval = Forest(), Interval(*span)
        first, second = forest.of(both), forest.of([*both, *more])
        loaded: list[Digest] = []

        def load(name: Digest) -> Page:
            loaded.append(name)
            return forest.pages[name]

        seen: set[Digest] = set()
        found = list(unseen(Manifest(first.root, load), label, interval, seen))
        assert found == first.select(label, interval)
        again = list(unseen(Manifest(second.root, load), label, interval, seen))
        assert {*found, *again} == {*found, *second.select(label, interval)}
        assert len(loaded) == len(set(loaded)) and set(loaded) == seen
        assert list(unseen(Manifest(second.root, load), label, interval, seen)) == []


def test_pages_that_only_touch_an_interval_are_not_read() -> None:
    with with_fanout(3):
        forest = Forest()
        manifest = forest.of(point("a", n, n + 1) for n in range(40))
        loaded: set[Digest] = set()

        def load(name: Digest) -> Page:
            loaded.add(name)
            return forest.pages[name]

        looked = Manifest(manifest.root, load)
        for leaf in list(manifest.leaves()):
            entry = leaf.entry()
            for interval in (Interval(LOW, entry.lo), Interval(entry.hi, HIGH)):
                loaded.clear()
                for _ in looked.across(interval):
                    pass
                assert leaf.name not in loaded
            loaded.clear()
            assert set(looked.across(Interval(entry.lo, entry.hi))) >= set(leaf.extents)


def test_what_is_left_in_one_page_is_a_manifest_of_that_page() -> None:
    with with_fanout(3):
        forest = Forest()
        manifest = forest.of(points(40))
        for leaf in list(manifest.leaves()):
            others = set(manifest.extents()) - set(leaf.extents)
            assert rewrite(manifest, others, []) == Edit(leaf.name)


def test_each_page_is_told_of_once() -> None:
    with with_fanout(3):
        forest = Forest()
        first = forest.of(points(40))
        second = forest.of([*points(40), point("a", 50, 99)])
        seen: set[Digest] = set()
        found = [page.name for page in pages(first, seen)]
        assert found[0] == first.root and set(found) == seen == names(first)
        more = [page.name for page in pages(second, seen)]
        assert not {*more} & {*found} and {*more, *found} == names(first) | names(second) == seen
        assert list(pages(second, seen)) == [] == list(pages(forest.at(EMPTY.name), set()))


def test_every_interval_of_a_small_manifest_is_found() -> None:
    spans = [(1, 3), (3, 4), (4, 4), (6, 8), (6, 9)]
    for fanout in (2, 3, 48):
        with with_fanout(fanout):
            manifest = Forest().of(
                wide(label, lo, hi, 10 * nth)
                for label in ("a", "b", "c")
                for nth, (lo, hi) in enumerate(spans)
            )
            for label in ("a", "b", "c", "bb"):
                own = [e for e in manifest.extents() if e.label == label]
                for lo in CUTS:
                    assert list(manifest.before(label, lo)) == [e for e in own if e.lo < lo][::-1]
                    for hi in CUTS:
                        where = Interval(lo, hi)
                        inside = [e for e in own if e.lo < hi and e.hi > lo]
                        near = [e for e in own if e.lo <= hi and e.hi >= lo]
                        assert manifest.select(label, where) == inside
                        assert list(manifest.near(label, where)) == near
                        assert list(unseen(manifest, label, where, set())) == inside


def wide(label: str, lo: int, hi: int, stamp: int) -> Extent:
    """An upsert from one cut to another, which hides nothing."""
    return point(label, 0, stamp)._replace(lo=CUTS[lo], hi=CUTS[hi + 1], kind=UPSERT)


def test_changes_are_sorted_by_key_though_intervals_are_not() -> None:
    forest = Forest()
    extents = [wide("a", 1, 9, 1), wide("a", 1, 5, 2), wide("a", 1, 3, 3)]
    empty, full = forest.of([]), forest.of(extents)
    assert changes(empty, full) == ([], extents)
    assert changes(full, empty) == (extents, [])


def test_extents_that_begin_at_one_cut_lie_in_the_order_of_their_stamps() -> None:
    with with_fanout(2):
        forest = Forest()
        extents = [wide("a", 1, 2 + 7 * n % 9, n) for n in range(1, 40)]
        manifest = forest.of(extents[::2])
        for new in (extents[1::4], extents[3::4]):
            manifest = forest.grown(apply(manifest, new))
        assert list(manifest.extents()) == extents
        assert manifest.root == Forest().of(extents).root


@given(
    st.lists(st.tuples(st.integers(0, 59), st.integers(0, 40)), max_size=6),
    fanouts,
)
def test_wide_writes_leave_the_pages_of_what_is_left(
    wide: list[tuple[int, int]], fanout: int
) -> None:
    with with_fanout(fanout):
        forest = Forest()
        manifest = forest.of(points(60))
        for stamp, (n, width) in enumerate(wide, 1000):
            replace = point("ab"[stamp % 2], n, stamp)._replace(hi=after(INT, (n + width,)))
            edit = apply(manifest, [replace])
            assert not names(manifest) & edit.pages.keys()
            manifest = forest.grown(edit)
        extents = list(manifest.extents())
        assert Forest().of(extents).root == manifest.root
        assert names(manifest) == names(Forest().of(extents))


@given(many_labels, fanouts)
def test_pages_are_read_back_as_they_were_made(extents: list[Extent], fanout: int) -> None:
    with with_fanout(fanout):
        forest = Forest()
        manifest = forest.of(extents)
        stored = {name: forest.pages[name].encode() for name in names(manifest)}

        def load(name: Digest) -> Page:
            return Page.decode(name, stored[name])

        assert list(Manifest(manifest.root, load).extents()) == list(manifest.extents())


# ---- Its size


def point(label: str, n: int, stamp: int) -> Extent:
    segment = stamp.to_bytes(16, "big")
    lo, hi = before(INT, (n,)), after(INT, (n,))
    return Extent(label, lo, hi, stamp, stamp % 97, REPLACE, None, 0, segment, 0, 1, stamp)


def points(count: int) -> list[Extent]:
    """So many writes of one row, of two series."""
    return [point("ab"[n % 2], n, n + 1) for n in range(count)]


def depth(manifest: Manifest) -> int:
    return manifest.page().level + 1


@pytest.mark.parametrize("where", ["anywhere", "at the end", "a new series"])
def test_a_commit_rewrites_a_path_of_pages_whatever_the_size(where: str) -> None:
    forest, rng = Forest(), random.Random(where)
    manifest = forest.of(points(5000))
    total = len(names(manifest))
    rewritten = []
    for stamp in range(10_000, 10_200):
        label, n = {
            "anywhere": ("ab"[stamp % 2], rng.randrange(5000)),
            "at the end": ("b", stamp),
            "a new series": (f"series {rng.random()}", 0),
        }[where]
        loaded: list[Digest] = []

        def load(name: Digest, loaded: list[Digest] = loaded) -> Page:
            loaded.append(name)
            return forest.pages[name]

        edit = apply(Manifest(manifest.root, load), [point(label, n, stamp)])
        rewritten.append(len(edit.pages))
        assert len(set(loaded)) <= 4 * depth(manifest)
        manifest = forest.grown(edit)
    # A path, and now and then a page that is cut in two or flows into its neighbour.
    assert sum(rewritten) / len(rewritten) <= depth(manifest) + 0.5
    assert max(rewritten) <= 3 * depth(manifest) < total / 4


def test_comparing_large_manifests_reads_only_where_they_differ() -> None:
    forest = Forest()
    extents = points(5000)
    first = forest.of(extents)
    second = forest.of([*extents, point("a", 2500, 9999)])
    loaded: list[Digest] = []

    def load(name: Digest) -> Page:
        loaded.append(name)
        return forest.pages[name]

    gone, come = changes(Manifest(first.root, load), Manifest(second.root, load))
    assert (len(gone), len(come)) == (1, 1)
    assert len(set(loaded)) <= 4 * depth(first)


def test_a_join_says_which_pages_it_will_open_level_by_level() -> None:
    forest = Forest()
    extents = points(5000)
    first = forest.of(extents)
    others = [forest.of([*extents, point("a", n, 9999)]) for n in (50, 60, 2500, 4900)]
    said: list[set[Digest]] = []
    loaded: set[Digest] = set()

    def load(name: Digest) -> Page:
        assert any(name in names for names in said)
        loaded.add(name)
        return forest.pages[name]

    def expect(names: Iterable[Digest]) -> None:
        found = set(names)
        assert EMPTY.name not in found
        said.append(found)

    looked = [Manifest(each.root, load) for each in (*others, Manifest(EMPTY.name, load))]
    edit = join(Manifest(first.root, forest.pages.__getitem__), *looked, expect=expect)
    assert forest.grown(edit).root == join(first, *others).root
    assert len(said) == depth(first) + 1
    assert loaded == set().union(*said) - {first.root} - names(first)


def test_what_is_not_asked_for_is_not_read() -> None:
    forest = Forest()
    manifest = forest.of(points(5000))
    loaded: list[Digest] = []

    def load(name: Digest) -> Page:
        loaded.append(name)
        return forest.pages[name]

    looked = Manifest(manifest.root, load)
    cut, here = before(INT, (2500,)), Interval(before(INT, (2500,)), after(INT, (2500,)))
    path = depth(manifest)
    searches: list[tuple[Callable[[], Iterable[Extent]], int, int]] = [
        (lambda: looked.select("a", here), 1, path + 1),
        (lambda: looked.select("a", Interval(LOW, before(INT, (1,)))), 1, path),
        (lambda: looked.select("a", Interval(before(INT, (4998,)), HIGH)), 1, path + 1),
        (lambda: looked.select("aa"), 0, path + 1),
        (lambda: looked.select("0"), 0, path),
        (lambda: looked.select("c"), 0, path),
        (lambda: islice(looked.before("a", cut), 1), 1, path),
        (lambda: islice(looked.near("b", Interval(LOW, HIGH)), 1), 1, path + 1),
        (lambda: looked.before("0", cut), 0, path),
        (lambda: looked.before("aa", cut), 0, path),
        (lambda: looked.across(prefix="aa"), 0, path + 1),
        (lambda: looked.across(prefix="0"), 0, path),
        (lambda: looked.across(prefix="c"), 0, path),
        (lambda: unseen(looked, "a", here, set()), 1, path + 1),
        (lambda: unseen(looked, "aa", here, set()), 0, path + 1),
        (lambda: unseen(looked, "0", here, set()), 0, path),
    ]
    for number, (search, count, most) in enumerate(searches):
        loaded.clear()
        assert (number, len(list(search()))) == (number, count)
        assert len(loaded) <= most, number
    # Of two labels, all pages that have both or may overlap.
    loaded.clear()
    found = list(looked.across(here))
    assert point("a", 2500, 2501) in found
    assert len(loaded) <= 3 * path
