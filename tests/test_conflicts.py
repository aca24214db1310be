"""What two sides both changed, merges that decide about it, and writes that are undone."""

from __future__ import annotations

from itertools import count
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakota import Clock, Collection, ConflictError, InputError, NotFoundError, Repo, Schema

SCHEMA = Schema(n="int*", x="int", y="int")
KEYS = range(8)
LABELS = ("s", "t")

kinds = st.sampled_from(["write", "delete", "upsert", "cells", "erase"])
orders = st.tuples(
    st.sampled_from(LABELS),
    kinds,
    st.lists(st.sampled_from(KEYS), min_size=1, max_size=4, unique=True),
)
blocks = st.lists(st.lists(orders, min_size=1, max_size=2), max_size=4)
Block = list[tuple[str, str, list[int]]]
Rows = dict[int, tuple[int | None, int | None]]


def collection(start: int = 1000) -> Collection:
    ticks = count(start * 1000, 1_000_000)  # whole microseconds
    return Repo(clock=Clock(now=lambda: next(ticks))).create_collection(SCHEMA, "c")


def apply(clct: Collection, label: str, kind: str, keys: list[int], value: int) -> None:
    series: Any = clct.series(label)
    keys = sorted(keys)
    if kind == "write":
        series.write({"n": keys, "x": [value] * len(keys), "y": [value] * len(keys)})
    elif kind == "delete":
        series.delete(keys[0], keys[-1])
    elif kind == "upsert":
        series.upsert({"n": keys, "x": [value] * len(keys), "y": [value] * len(keys)})
    elif kind == "cells":
        series.upsert({"n": keys, "x": [value] * len(keys)})
    else:
        series.delete_keys(pa.array(keys, pa.int64()))


def play(clct: Collection, found: list[Block], first: int = 0) -> None:
    for nth, block in enumerate(found, first):
        with clct.multi():
            for label, kind, keys in block:
                apply(clct, label, kind, keys, nth % 3)


def content(clct: Collection, **options: Any) -> dict[str, Rows]:
    return {
        label: {
            row["n"]: (row["x"], row["y"])
            for row in clct.series(label).frame(**options).to_pylist()
        }
        for label in LABELS
    }


def touched(found: list[Block]) -> dict[tuple[str, int], set[str]]:
    """The columns of each key that some write is about."""
    about: dict[tuple[str, int], set[str]] = {}
    for block in found:
        for label, kind, keys in block:
            hull = range(min(keys), max(keys) + 1)
            for key in hull if kind in ("write", "delete") else keys:
                about.setdefault((label, key), set()).update("x" if kind == "cells" else "xy")
    return about


def clashes(
    ours: list[Block], theirs: list[Block], here: dict[str, Rows], there: dict[str, Rows]
) -> dict[tuple[str, int], set[str]]:
    """The keys that both sides changed in different ways, and which columns of them."""
    a, b = touched(ours), touched(theirs)
    found = {}
    for label, key in a.keys() & b.keys():
        shared = a[label, key] & b[label, key]
        one, two = here[label].get(key), there[label].get(key)
        differs = {name for i, name in enumerate("xy") if one and two and one[i] != two[i]}
        if (one is None) != (two is None) or differs & shared:
            found[label, key] = shared
    return found


class Apart:
    """Two replicas that have something in common and wrote apart since; and what each has."""

    def __init__(self, base: list[Block], ours: list[Block], theirs: list[Block]) -> None:
        self.here, self.there = collection(), collection(1500)
        play(self.here, base)
        self.there.pull(self.here)
        play(self.here, ours, 10)
        play(self.there, theirs, 20)
        self.head = self.here.changelog.leaf()
        self.ours, self.theirs = content(self.here), content(self.there)
        self.clashes = clashes(ours, theirs, self.ours, self.theirs)
        self.here.pull(self.there)
        self.other = self.there.changelog.leaf()

    def heads(self) -> list[Any]:
        """Ours first."""
        return [self.head, self.other]

    @property
    def diverged(self) -> bool:
        return len(self.here.changelog.heads()) > 1


@settings(max_examples=80)
@given(blocks, blocks, blocks)
def test_conflicts_are_the_keys_that_both_changed_in_different_ways(
    base: list[Block], ours: list[Block], theirs: list[Block]
) -> None:
    apart = Apart(base, ours, theirs)
    if not apart.diverged:
        assert apart.here.conflicts().height == 0
        return
    found = apart.here.conflicts()
    for row in found.iter_rows(named=True):
        assert (row["label"], row["n_first"]) in apart.clashes
        assert (row["label"], row["n_last"]) in apart.clashes
        assert row["wins"] == ("a" if row["a_stamp"] > row["b_stamp"] else "b")
        assert {row["a"], row["b"]} == {head.child for head in apart.heads()}
    for label, key in apart.clashes:
        rows = found.filter(label=label).iter_rows(named=True)
        assert any(row["n_first"] <= key <= row["n_last"] for row in rows)
    heads = apart.here.changelog.heads()
    merged = content(apart.here, merged=True)
    if apart.clashes:
        with pytest.raises(ConflictError, match="both sides changed"):
            apart.here.merge(on_conflict="raise")
        assert apart.here.changelog.heads() == heads
        revisions = apart.here.merge()
    else:
        revisions = apart.here.merge(on_conflict="raise")
    assert len(revisions) == 2 and content(apart.here) == merged
    assert apart.here.conflicts(revisions[0]).equals(found)
    assert apart.here.conflicts().height == 0


@settings(max_examples=80)
@given(blocks, blocks, blocks, st.sampled_from(["ours", "theirs"]))
def test_a_merge_decides_conflicts_and_nothing_else(
    base: list[Block], ours: list[Block], theirs: list[Block], choice: str
) -> None:
    apart = Apart(base, ours, theirs)
    if not apart.diverged:
        return
    wanted = content(apart.here, merged=True)
    side = apart.ours if choice == "ours" else apart.theirs
    for (label, key), shared in apart.clashes.items():
        chosen, merged = side[label].get(key), wanted[label].get(key)
        if chosen is None:
            wanted[label].pop(key, None)
        elif merged is None or shared == {"x", "y"}:
            wanted[label][key] = chosen
        else:
            wanted[label][key] = (chosen[0], merged[1])
    made = apart.here.merge(*apart.heads(), on_conflict=choice)
    assert len(made) == 2 and len(apart.here.changelog.heads()) == 1
    assert content(apart.here) == wanted
    # The decision wins wherever it arrives, also where the heads were merged meanwhile.
    apart.there.pull(apart.here)
    apart.there.merge(*apart.heads())
    apart.there.merge()
    assert content(apart.there) == wanted


def test_ours_is_the_newest_head_unless_told_otherwise() -> None:
    for choice, expected in (("ours", 2), ("theirs", 1)):
        apart = Apart([], [[("s", "write", [1])]], [])
        apply(apart.there, "s", "write", [1], 2)
        apart.here.pull(apart.there)
        (first, _) = apart.here.merge(on_conflict=choice, author="ada")
        assert content(apart.here)["s"] == {1: (expected, expected)}
        kind = "merge" if choice == "ours" else "write"  # the law keeps the newest anyway
        document = apart.here.changelog.document(first)
        assert document["kind"] == kind
        if kind == "write":
            assert document["author"] == "ada" and "theirs" in document["message"]


def test_a_choice_that_there_is_not_is_refused() -> None:
    with pytest.raises(InputError, match="on_conflict='mine'"):
        collection().merge(on_conflict="mine")


def test_an_error_lists_the_first_conflicts() -> None:
    apart = Apart([], [[("s", "write", [1, 4]), ("t", "write", [2])]], [])
    for label in LABELS:
        apply(apart.there, label, "write", [2, 4], 2)
    apart.here.pull(apart.there)
    with pytest.raises(ConflictError, match="'s' from 2 to 4; 't' from 2 to 2"):
        apart.here.merge(on_conflict="raise")


def test_rows_of_equal_keys_are_in_conflict_together() -> None:
    apart = Apart([], [], [])
    for clct, values in ((apart.here, [1, 2, 3]), (apart.there, [1, 5])):
        keys = [1] * len(values)
        clct.series("s").write({"n": keys, "x": values, "y": values})
    ours = apart.here.changelog.leaf()
    apart.here.pull(apart.there)
    theirs = apart.there.changelog.leaf()
    assert apart.here.conflicts()["rows"].to_list() == [2]
    apart.here.merge(ours, theirs, on_conflict="ours")
    assert apart.here.series("s").frame()["x"].to_pylist() == [1, 2, 3]


def test_conflicts_of_cells_name_their_columns_and_authors() -> None:
    apart = Apart([[("s", "write", [1, 2])]], [], [])
    for clct in (apart.here, apart.there):
        clct.rename_column("x", "z")
    apart.here.series("s").upsert({"n": [1, 2], "z": [7, 7]}, author="ada")
    apart.there.series("s").upsert({"n": [2], "z": [8], "y": [8]}, author="bob")
    apart.here.pull(apart.there)
    (row,) = apart.here.conflicts().iter_rows(named=True)
    assert (row["n_first"], row["n_last"], row["rows"], row["columns"]) == (2, 2, 1, ["z"])
    assert {row["a_author"], row["b_author"]} == {"ada", "bob"}


def test_conflicts_of_sides_whose_common_past_was_trimmed_cannot_be_told() -> None:
    apart = Apart([[("s", "write", [1])]], [[("s", "write", [1])]], [[("s", "write", [1])]])
    apart.here.trim("2100-01-01", grace=0)
    with pytest.raises(NotFoundError, match="was trimmed"):
        apart.here.conflicts()
    assert len(apart.here.merge()) == 2


def test_three_heads_are_compared_two_by_two() -> None:
    here, others = collection(), [collection(1300), collection(1600)]
    for value, clct in enumerate([here, *others]):
        apply(clct, "s", "write", [1, value + 2], value)
    first = here.changelog.leaf()
    for other in others:
        here.pull(other)
    assert here.conflicts().select("a", "b").n_unique() == 3
    heads = [first, *(other.changelog.leaf() for other in others)]
    here.merge(*heads, on_conflict="ours")
    assert content(here)["s"][1] == (0, 0) and len(here.changelog.heads()) == 1


# ---- revert


@settings(max_examples=80)
@given(blocks.filter(bool), st.integers(0, 3))
def test_a_reverted_revision_is_as_if_it_had_never_been(found: list[Block], which: int) -> None:
    which = min(which, len(found) - 1)
    clct, without = collection(), collection()
    for nth, block in enumerate(found):
        with clct.multi() as batch:
            for order in block:
                apply(clct, *order, nth % 3)
        if nth == which:
            reverted = batch.revisions[0]
            continue
        with without.multi():
            for order in block:
                apply(without, *order, nth % 3)
    before = content(clct)
    made = clct.revert(reverted, author="ada")
    assert content(clct) == content(without)
    assert bool(made) == (before != content(without))
    if made:
        document = clct.changelog.document(made[0])
        assert document["message"] == f"revert {reverted.child}" and document["author"] == "ada"
        clct.revert(made[0])
        assert content(clct) == before


@settings(max_examples=50)
@given(blocks, blocks.filter(bool), blocks.filter(bool))
def test_a_revert_after_a_merge_leaves_what_the_other_side_wrote(
    base: list[Block], ours: list[Block], theirs: list[Block]
) -> None:
    apart = Apart(base, ours[:1], theirs[:1])
    if not apart.diverged:
        return
    merge = apart.here.merge()
    assert apart.here.revert(merge[0]) == []
    apart.here.revert(apart.head)
    # As if only the other side had written.
    assert content(apart.here) == apart.theirs


def test_what_was_trimmed_cannot_be_restored() -> None:
    clct = collection()
    for value in range(3):
        apply(clct, "s", "write", [1], value)
    first, second, last = clct.changelog.log()
    clct.trim("2100-01-01", grace=0)
    with pytest.raises(NotFoundError, match="was trimmed"):
        clct.revert(last)
    with pytest.raises(NotFoundError, match="no revision of"):
        clct.revert(first)
    assert second.child not in clct.changelog.history().children


def test_a_rename_is_reverted() -> None:
    clct = collection()
    apply(clct, "s", "write", [1, 2], 1)
    (renamed,) = clct.rename("s", "t")
    clct.revert(renamed)
    assert content(clct) == {"s": {1: (1, 1), 2: (1, 1)}, "t": {}}


def two_repos() -> tuple[Repo, Repo]:
    """One collection in conflict, `a`, and one with two heads that are not, `z`."""
    here, there = Repo(), Repo()
    here.create_collection(SCHEMA, "a", "z")
    there.pull(here)
    for repo, value in ((here, 1), (there, 2)):
        (repo / "a" / "s").write({"n": [1], "x": [value], "y": [value]})
        (repo / "z" / "s").write({"n": [value], "x": [value], "y": [value]})
    here.pull(there)
    return here, there


def test_a_repo_is_merged_as_its_collections_are() -> None:
    for choice, value in (("latest", 2), ("theirs", 1), ("ours", 2)):
        here, _ = two_repos()
        made = here.merge(on_conflict=choice, author="ada", message="decided")
        assert len(made) == 4
        assert (here / "a" / "s").df()["x"].to_list() == [value]
        assert (here / "z" / "s").df()["x"].to_list() == [1, 2]
        authors = {(here / "a").changelog.document(r)["author"] for r in made[:2]}
        assert authors == {"ada" if choice == "theirs" else ""}


def test_a_repo_with_a_conflict_is_not_merged_at_all_where_that_raises() -> None:
    here, _ = two_repos()
    before = {info.name for info in here.store.list("")}
    with pytest.raises(ConflictError, match="'s' from 1 to 1"):
        here.merge(on_conflict="raise")
    with pytest.raises(InputError, match="on_conflict='mine'"):
        here.merge(on_conflict="mine")
    assert {info.name for info in here.store.list("")} == before
    (here / "a").merge()
    assert len(here.merge(on_conflict="raise")) == 2
