"""Faults of replicas: merges, skewed clocks, pulls of what was deleted, renamed or differs."""

from __future__ import annotations

import itertools
import os
import random
import re
import time
import warnings
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from fault_kit import SCHEMA, content, intact, numbers, rows, tree

from lakota import (
    Clock,
    ClockError,
    ClockWarning,
    RangeError,
    Repo,
    Schema,
    SchemaError,
    sync,
)

HOUR = 3_600_000_000_000


class Wall:
    """A wall clock that a test moves."""

    def __init__(self, now: int = 10**18) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


def repo_at(wall: Wall, store: Any = None) -> Repo:
    return Repo(store, clock=Clock(now=wall))


# --- merge (row 6) -----------------------------------------------------------------------

Write = tuple[int, int, int, str, dict[int, float]]
"""Stamp, from, to, closed, rows."""


def fold(writes: list[Write]) -> dict[int, float]:
    """What a dictionary says: the writes in the order of their stamps."""
    found: dict[int, float] = {}
    for _, lo, hi, closed, new in sorted(writes, key=lambda w: w[0]):
        low = lo if closed in ("both", "left") else lo + 1
        high = hi if closed in ("both", "right") else hi - 1
        found = {n: x for n, x in found.items() if not low <= n <= high}
        found.update(new)
    return found


def random_write(rng: random.Random, series: Any, stamp: int) -> Write:
    lo, hi = sorted(rng.choices(range(-6, 7), k=2))
    closed = rng.choice(["both", "left", "right", "none"])
    low = lo if closed in ("both", "left") else lo + 1
    high = hi if closed in ("both", "right") else hi - 1
    inside = range(low, high + 1)
    keys = sorted(rng.sample(inside, rng.randint(0, len(inside)))) if rng.random() < 0.7 else []
    new = {n: stamp + n / 100 for n in keys}
    frame = {"n": pa.array(new.keys(), pa.int64()), "x": pa.array(new.values(), pa.float64())}
    series.write(frame, lo, hi, closed=closed)
    return (stamp, lo, hi, closed, new) if low <= high else (stamp, 0, -1, "none", {})


@pytest.mark.parametrize("seed", range(40))
def test_replicas_that_merge_in_any_order_hold_the_last_write_at_every_key(seed: int) -> None:
    rng = random.Random(seed)
    wall = Wall()
    repos = [repo_at(wall) for _ in range(3)]
    repos[0].create_collection(SCHEMA, "c")
    for repo in repos[1:]:
        repo.pull(repos[0])
    everything: list[Write] = []
    for stamp in range(15):
        wall.now += 1000
        repo = rng.choice(repos)
        everything.append(random_write(rng, repo / "c" / "s", stamp))
        if rng.random() < 0.3:
            a, b = rng.sample(repos, 2)
            a.pull(b)
        if rng.random() < 0.2:
            rng.choice(repos).merge()
    for _ in range(2):
        for a, b in itertools.permutations(repos, 2):
            a.pull(b)
    for repo in repos:
        repo.merge()
    expected = sorted(fold(everything).items())
    for repo in repos:
        assert rows(repo / "c" / "s") == expected
        assert (repo / "c").merge() == []
    heads = {(repo / "c").changelog.heads() for repo in repos}
    assert len(heads) == 1 and len(heads.pop()) == 1


def test_a_write_after_a_merge_is_there_and_deletions_do_not_come_back() -> None:
    wall = Wall()
    one, two = repo_at(wall), repo_at(wall)
    series = one.create_collection(SCHEMA, "c") / "s"
    series.write(numbers(0, 10))
    two.pull(one)
    other = two / "c" / "s"
    wall.now += 1
    other.write(numbers(3, 5, 0.5), 3, 5, closed="left")
    wall.now += 1
    series.delete(4, 8, closed="none")
    one.pull(two)
    (one / "c").merge()
    merged = [*((n, float(n)) for n in range(3)), (3, 3.5), (4, 4.5), (8, 8.0), (9, 9.0)]
    assert rows(series) == merged
    wall.now += 1
    series.write(numbers(20, 21))
    assert rows(series) == [*merged, (20, 20.0)]
    two.pull(one)
    assert rows(other) == rows(series)


def test_an_extent_of_which_two_cuts_leave_no_row_is_empty() -> None:
    """The smallest case that the random histories found: nothing is left of a write, and its
    rows were the last of their segment."""
    series = Repo().create_collection(SCHEMA, "c") / "s"
    series.write({"n": [0, 1], "x": [0.0, 1.0]}, -5, 5)
    series.write({"n": [1], "x": [1.5]}, -5, 1)
    assert rows(series) == [(1, 1.5)]
    assert rows(series, start=0, stop=9) == [(1, 1.5)]
    assert rows(series, start=2, stop=9) == []


# --- canonical manifests (row 31) --------------------------------------------------------


def test_the_same_write_has_the_same_name_however_it_was_cut_and_stored(tmp_path: Path) -> None:
    whole = pa.table(numbers(0, 1000))
    frames = [
        whole,
        pa.concat_tables([whole.slice(at, 7) for at in range(0, 1000, 7)]),
        numbers(0, 1000),
        whole.take(pa.array(range(999, -1, -1))),
    ]
    stores = [(None, "plain"), (None, "packed"), (tmp_path, "zstd")]
    paths = set()
    for frame, (store, codec) in itertools.product(frames, stores):
        repo = Repo(store, codec=codec, clock=Clock(now=Wall()))
        clct = repo.create_collection(SCHEMA, "c", raise_if_exists=False)
        if store is None or not clct.changelog.log():
            paths.update(revision.path for revision in (clct / "s").write(frame))
    assert len(paths) == 1


def test_the_same_writes_give_the_same_root_in_whatever_order_they_arrive() -> None:
    wall = Wall()
    base = repo_at(wall)
    base.create_collection(SCHEMA, "c")
    branches = []
    for turn in range(4):
        wall.now += HOUR
        branch = repo_at(wall)
        branch.pull(base)
        (branch / "c" / "s").write(numbers(3 * turn, 3 * turn + 7, 0.5))
        branches.append(branch)
    roots = set()
    for order in itertools.permutations(branches):
        repo = repo_at(wall)
        for number, branch in enumerate(order):
            repo.pull(branch)
            if number % 2:
                repo.merge()
        repo.merge()
        roots.add((repo / "c").changelog.leaf().root)
    assert len(roots) == 1


def test_merging_twice_or_elsewhere_makes_nothing_new(tmp_path: Path) -> None:
    one, two = Repo(tmp_path / "one"), Repo(tmp_path / "two")
    series = one.create_collection(SCHEMA, "c") / "s"
    two.pull(one)
    series.write(numbers(0, 5))
    (two / "c" / "s").write(numbers(3, 8, 0.5))
    one.pull(two)
    two.pull(one)
    assert [r.path for r in one.merge()] == [r.path for r in two.merge()]
    assert one.merge() == two.merge() == []
    before = tree(tmp_path)
    one.pull(two)
    two.pull(one)
    one.push(two)
    assert tree(tmp_path) == before
    changelogs = [
        {name: data for name, data in tree(tmp_path / side).items() if "changelog" in name}
        for side in ("one", "two")
    ]
    assert changelogs[0] == changelogs[1]


# --- clocks (row 7) ----------------------------------------------------------------------


def test_a_clock_that_is_ahead_does_not_win_over_later_writes() -> None:
    ahead, right = Wall(10**18 + HOUR), Wall()
    one, two = repo_at(ahead), repo_at(right)
    series = one.create_collection(SCHEMA, "c") / "s"
    series.write(numbers(0, 3, 0.1))
    two.pull(one)
    for turn in range(5):
        (two / "c" / "s").write(numbers(0, 3, 0.2 + turn))
        assert rows(two / "c" / "s") == [(n, n + 0.2 + turn) for n in range(3)]
    one.pull(two)
    one.merge()
    assert rows(series) == [(n, n + 4.2) for n in range(3)]


def far_ahead(days: float) -> tuple[Repo, Repo, Wall]:
    """A repo whose clock is so many days ahead, one whose clock is right, and that clock."""
    right = Wall(time.time_ns())
    ahead = repo_at(Wall(right.now + int(days * 24) * HOUR))
    (ahead.create_collection(SCHEMA, "c") / "s").write(numbers(0, 3))
    return ahead, repo_at(right), right


def test_a_revision_of_more_than_a_day_ahead_is_taken_with_a_warning() -> None:
    ahead, repo, _ = far_ahead(2)
    with pytest.warns(ClockWarning, match="ahead of the clock"):
        repo.pull(ahead)
    with pytest.warns(ClockWarning):
        (repo / "c" / "s").write(numbers(0, 3, 0.5))
    assert rows(repo / "c" / "s") == [(n, n + 0.5) for n in range(3)]
    ahead, repo, _ = far_ahead(0.9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        repo.pull(ahead)
        (repo / "c" / "s").write(numbers(0, 3, 0.5))


@pytest.mark.parametrize("label", [(), ("c",)])
def test_a_revision_of_more_than_max_ahead_is_refused_and_nothing_changes(
    tmp_path: Path, label: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead, _, wall = far_ahead(0.5)
    wary = Repo(tmp_path, clock=Clock(now=wall), max_ahead=3600)
    (wary.create_collection(SCHEMA, "own") / "s").write(numbers(0, 3))
    before = tree(tmp_path)
    for act in (lambda: wary.pull(ahead, *label), lambda: ahead.push(wary, *label)):
        with pytest.raises(ClockError, match="max_ahead is 3,600"):
            act()
        assert tree(tmp_path) == before
    bold = Repo(tmp_path, clock=Clock(now=wall))
    bold.pull(ahead, *label)
    before = tree(tmp_path)
    for act in (
        lambda: (wary / "c" / "s").write(numbers(0, 3)),
        lambda: (wary / "c").rename("s", "t"),
        lambda: (wary / "c").pull(ahead / "c") or (wary / "c" / "s").delete(),
    ):
        with pytest.raises(ClockError):
            act()
        assert tree(tmp_path) == before
    now = time.time_ns() + 12 * HOUR
    monkeypatch.setattr(time, "time_ns", lambda: now)
    (wary / "c" / "s").write(numbers(0, 3, 0.5))  # the time has come


@pytest.mark.parametrize("odd", [-1, "1", True, float("nan")])
def test_max_ahead_is_a_number_of_seconds(odd: Any) -> None:
    with pytest.raises(RangeError, match="max_ahead"):
        Repo(max_ahead=odd)


def test_on_one_store_the_later_of_two_machines_wins_however_their_clocks_differ() -> None:
    store = Repo().store
    handles = [repo_at(Wall(10**18 + ahead), store) for ahead in (HOUR, 0, -HOUR)]
    handles[1].create_collection(SCHEMA, "c")
    for turn in range(12):
        (handles[turn % 3] / "c" / "s").write(numbers(0, 3, turn))
        for repo in handles:
            assert rows(repo / "c" / "s") == [(n, n + float(turn)) for n in range(3)]
    assert len((handles[0] / "c").changelog.heads()) == 1


def test_a_clock_that_goes_back_or_stands_still_keeps_the_order_of_writes() -> None:
    wall = Wall()
    repo = repo_at(wall)
    series = repo.create_collection(SCHEMA, "c") / "s"
    for turn in range(300):
        wall.now -= random.choice([0, 0, 10**6, HOUR])
        series.write(numbers(0, 2, turn))
        assert rows(series) == [(0, float(turn)), (1, turn + 1.0)]
    stamps = [revision.stamp for revision in series.changelog.log()]
    assert stamps == sorted(set(stamps))


def test_two_replicas_in_one_process_never_tie() -> None:
    for _ in range(50):
        one, two = Repo(), Repo()
        series = one.create_collection(SCHEMA, "c") / "s"
        two.pull(one)
        series.write(numbers(0, 3, 0.1))
        (two / "c" / "s").write(numbers(0, 3, 0.2))
        one.pull(two)
        one.merge()
        assert rows(series) == [(n, n + 0.2) for n in range(3)]


def test_equal_stamps_of_two_machines_give_one_content_everywhere() -> None:
    walls = [Wall(), Wall()]
    one, two = map(repo_at, walls)
    one.create_collection(SCHEMA, "c")
    two.pull(one)
    edges = [
        (repo / "c" / "s").write(numbers(0, 3, shift)) for repo, shift in ((one, 0.25), (two, 0.5))
    ]
    assert len({edge.stamp for (edge,) in edges}) == 1
    one.pull(two)
    two.pull(one)
    one.merge()
    two.merge()
    assert rows(one / "c" / "s") == rows(two / "c" / "s")
    assert {x - n for n, x in rows(one / "c" / "s")} in ({0.25}, {0.5})  # of one of the two


# --- pull (rows 14 to 18) ----------------------------------------------------------------


def test_a_pull_from_a_repo_that_was_trimmed_and_collected_works(tmp_path: Path) -> None:
    source = Repo(tmp_path / "source")
    clct = source.create_collection(SCHEMA, "c")
    early = Repo(tmp_path / "early")
    for turn in range(6):
        (clct / "s").write(numbers(0, 1000, turn))
        if turn == 3:
            early.pull(source)
    clct.trim(grace=0)
    assert source.gc(grace=0).objects > 0
    late = Repo(tmp_path / "late")
    for target in (early, late):
        target.pull(source)
        target.merge()
        assert rows(target / "c" / "s") == [(n, n + 5.0) for n in range(1000)]
        assert intact(target)


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_pull_while_one_side_forgets_and_collects_loses_nothing(
    side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = Repo(), Repo()
    series = source.create_collection(SCHEMA, "c") / "s"
    series.write(numbers(0, 1000))
    target.pull(source)
    (target / "c" / "s").write(numbers(0, 1000, 0.5))  # what came from the source can be forgotten
    (source / "c" / "t").write(numbers(0, 3))
    series.write(numbers(2000, 2003))
    forgetful = Repo({"source": source, "target": target}[side].store)
    copy = sync._copy_objects
    times = 0

    def forgets(*args: Any) -> int:
        nonlocal times
        times += 1
        copied = copy(*args)
        if times == 1:
            assert (forgetful / "c").trim(grace=0.2) > 0
            assert forgetful.gc(grace=0.2).objects > 0
        return copied

    time.sleep(0.3)  # all is older than the grace now
    monkeypatch.setattr(sync, "_copy_objects", forgets)
    (target / "c").pull(source / "c")
    assert times >= 2
    assert intact(Repo(target.store))
    (target / "c").merge()
    assert rows(target / "c" / "t") == [(n, float(n)) for n in range(3)]
    assert len(rows(target / "c" / "s")) == 1003


def test_history_that_was_trimmed_does_not_come_back_with_a_pull() -> None:
    source, target = Repo(), Repo()
    clct = source.create_collection(SCHEMA, "c")
    for turn in range(6):
        (clct / "s").write(numbers(0, 5, turn))
    target.pull(source)
    assert (target / "c").trim(grace=0) == 5
    (clct / "s").write(numbers(0, 5, 7))
    target.pull(source)
    assert rows(target / "c" / "s") == [(n, n + 7.0) for n in range(5)]
    assert len((target / "c").changelog.heads()) == 1
    assert len((target / "c").changelog.log()) == 2


def test_both_sides_that_made_a_collection_of_one_name_keep_their_rows() -> None:
    one, two = Repo(), Repo()
    for repo, shift in ((one, 0.1), (two, 0.2)):
        (repo.create_collection(SCHEMA, f"own{shift}") / "s").write(numbers(0, 2))
        clct = repo.create_collection(SCHEMA, "both")
        (clct / f"s{shift}").write(numbers(0, 2))
        (clct / "s").write(numbers(0, 4, shift) if repo is one else numbers(2, 6, shift))
    one.pull(two)
    one.merge()
    two.pull(one)
    assert content(one) == content(two)
    assert one.ls() == ["both", "own0.1", "own0.2"]
    assert one.collection("both").ls() == ["s", "s0.1", "s0.2"]
    found = dict(rows(one / "both" / "s"))
    assert found == {n: n + (0.1 if n < 2 else 0.2) for n in range(6)}


@pytest.mark.parametrize("deleter", ["source", "target"])
def test_a_deleted_collection_stays_deleted_after_a_pull(deleter: str) -> None:
    source, target = Repo(), Repo()
    (source.create_collection(SCHEMA, "c") / "s").write(numbers(0, 3))
    (source.create_collection(SCHEMA, "d") / "s").write(numbers(0, 3))
    target.pull(source)
    if deleter == "target":
        target.delete("c")
    else:
        source.delete("c")
        (target / "c" / "s").write(numbers(3, 6))
    for _ in range(3):
        target.pull(source)
        target.merge()
        assert target.ls() == ["d"]
    source.pull(target)
    source.merge()
    assert source.ls() == ["d"]


def test_a_collection_made_again_after_its_deletion_starts_empty_everywhere() -> None:
    source, target = Repo(), Repo()
    (source.create_collection(SCHEMA, "c") / "s").write(numbers(0, 3))
    target.pull(source)
    source.delete("c")
    (source.create_collection(SCHEMA, "c") / "t").write(numbers(5, 6))
    target.pull(source)
    target.merge()
    assert content(target) == content(source) == {"c": {"t": [(5, 5.0)]}}


def test_a_pull_into_another_schema_is_refused_by_name_and_changes_nothing(tmp_path: Path) -> None:
    wider = Schema(n="int*", x="float", y="float")
    source, target = Repo(tmp_path / "source"), Repo(tmp_path / "target")
    (source.create_collection(SCHEMA, "a") / "s").write(numbers(0, 3))
    (source.create_collection(wider, "c") / "s").write({"n": [1], "x": [1], "y": [2]})
    (target.create_collection(SCHEMA, "c") / "s").write(numbers(0, 3))
    before = tree(tmp_path)
    for act in (
        lambda: target.pull(source),
        lambda: target.pull(source, "c"),
        lambda: source.push(target),
        lambda: target.push(source),
        lambda: (target / "c").pull(source / "c"),
        lambda: (source / "c").push(target / "c"),
    ):
        with pytest.raises(SchemaError, match="'c'") as caught:
            act()
        assert "y" in str(caught.value)
        assert tree(tmp_path) == before
    target.pull(source, "a")
    assert target.ls() == ["a", "c"]


def test_equal_rows_under_different_codecs_are_readable_from_both(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "repo")
    for codec in ("plain", "zstd", "lz4", "pco"):
        clct = repo.create_collection(Schema(n=f"int* | {codec}", x=f"float | {codec}"), codec)
        (clct / "s").write(numbers(0, 1000))
    expected = [(n, float(n)) for n in range(1000)]
    copy = Repo(tmp_path / "copy", codec="packed")
    for found in (repo, Repo(tmp_path / "repo"), copy):
        if found is copy:
            copy.pull(repo)
        assert [rows(clct / "s") for clct in found] == [expected] * 4
    repo.pack()
    assert [rows(clct / "s") for clct in Repo(tmp_path / "repo")] == [expected] * 4
    assert intact(repo) and intact(copy)


def test_a_pull_of_a_segment_that_the_other_side_encodes_anew_meanwhile_works() -> None:
    source, target = Repo(), Repo(codec="packed")
    series = source.create_collection(SCHEMA, "c") / "s"
    series.write(numbers(0, 10_000))
    seen = rows(series)
    source.pack()
    target.pull(source)
    assert rows(series) == rows(target / "c" / "s") == seen


# --- the past with two heads (row 23) ----------------------------------------------------


def test_before_a_moment_all_is_seen_that_was_written_until_then_on_every_head() -> None:
    wall = Wall()
    one, two = repo_at(wall), repo_at(wall)
    series = one.create_collection(SCHEMA, "c") / "s"
    two.pull(one)
    moments = []
    for turn in range(4):
        wall.now += HOUR
        side = (one, two)[turn % 2] / "c" / "s"
        (revision,) = side.write(numbers(turn, turn + 1))
        moments.append(revision.stamp)
    one.pull(two)
    assert len(series.changelog.heads()) == 2
    for turn, moment in enumerate(moments):
        assert len(rows(series, before=moment)) == turn
        assert len(rows(series, as_of=moment)) == turn + 1
    assert rows(series) == [(1, 1.0), (3, 3.0)]  # the newest head, until they are merged
    (one / "c").merge()
    assert len(rows(series)) == 4
    assert len(rows(series, before=moments[-1])) == 3


# --- strays (row 26) ---------------------------------------------------------------------

STRAYS = [
    "changelog/{id}/.DS_Store",
    "changelog/{id}/README.md",
    "changelog/{id}/conflicted copy of x",
    "changelog/{id}/0000000000000000-" + "0" * 32,
    "changelog/{id}/" + "f" * 16 + "-" + "0" * 32 + "." + "0" * 16 + "-" + "0" * 32,
    "changelog/{id}/" + "g" * 99,
    "changelog/not-an-id/README.md",
    "changelog/README.md",
    "segments/README.md",
    "segments/ab/x.arrow",
    "stray/ab/" + "0" * 30 + ".arrow",
    "pages/ab/cdef.arrow",
    "pages/.tmp-x",
    "README.md",
]


@pytest.mark.parametrize("stray", STRAYS)
def test_a_stray_file_is_ignored_by_all_and_reported_by_check(tmp_path: Path, stray: str) -> None:
    repo = Repo(tmp_path)
    clct = repo.create_collection(SCHEMA, "c")
    (clct / "s").write(numbers(0, 3))
    path = tmp_path / stray.format(id=clct.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"stray")
    for found in (repo, Repo(tmp_path)):
        series = found / "c" / "s"
        assert len(series) in (3, 4)
        copy = Repo()
        copy.pull(found)
        (copy / "c" / "s").write(numbers(3, 4))
        found.pull(copy)
        found.merge()
        series.write(numbers(0, 3))
        found.pack()
        (found / "c").trim(grace=0)
        found.gc(grace=0)
        assert [n for n, _ in rows(series)] == [0, 1, 2, 3]
    assert path.read_bytes() == b"stray"
    assert intact(repo)
    name = re.sub(r"\{id\}", clct.id, stray)
    listed = all(re.match(r"[A-Za-z0-9_]", part) for part in name.split("/"))
    if listed and " " not in name:
        assert name in repo.check().strays


@pytest.mark.parametrize("count", [5_000, pytest.param(1_000_000, marks=pytest.mark.long)])
def test_very_many_stray_files_stop_nobody(tmp_path: Path, count: int) -> None:
    repo = Repo(tmp_path, durability="os")
    clct = repo.create_collection(SCHEMA, "c")
    (clct / "s").write(numbers(0, 3))
    segment = min((tmp_path / "segments").glob("*/*"))
    names = [f"changelog/{clct.id}/junk.{n}" for n in range(count)]
    names += [f"segments/{segment.parent.name}/{n:028x}.arrow.old" for n in range(count)]
    for name in names:
        os.close(os.open(tmp_path / name, os.O_CREAT | os.O_WRONLY))
    series = Repo(tmp_path) / "c" / "s"
    series.write(numbers(3, 4))
    copy = Repo()
    copy.pull(tmp_path)
    repo.pack()
    repo.gc(grace=0)
    report = repo.check()
    assert report
    assert {*report.strays} == {*names}
    assert [n for n, _ in rows(series)] == [n for n, _ in rows(copy / "c" / "s")] == [0, 1, 2, 3]
