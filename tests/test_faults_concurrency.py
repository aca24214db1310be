"""Many at once on one repo: processes, handles and threads that write, read, collect."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from fault_kit import PROCESSES, SCHEMA, content, intact, numbers, rows, together

from lakota import Repo
from lakota.changelog import Changelog, Edge
from lakota.store import MemoryStore


def in_threads(*acts: Callable[[], None]) -> None:
    """Run functions in threads, at once; the first error of any is raised."""
    failures: list[BaseException] = []
    start = threading.Barrier(len(acts))

    def run(act: Callable[[], None]) -> None:
        start.wait()
        try:
            act()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=[act]) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


# --- writers (rows 8, 9, 10, 11) ---------------------------------------------------------


def write_points(folder: str, keys: Sequence[int]) -> None:
    series = Repo(folder) / "c" / "s"
    for key in keys:
        series.write(numbers(key, key + 1, 0.5))


def test_processes_that_write_distinct_points_lose_none(tmp_path: Path) -> None:
    clct = Repo(tmp_path).create_collection(SCHEMA, "c")
    (clct / "s").write(numbers(0, 100))
    together(*((write_points, (str(tmp_path), range(n, 100, 4))) for n in range(4)))
    clct.merge()
    assert rows(clct / "s") == [(n, n + 0.5) for n in range(100)]
    assert len(clct.changelog.heads()) == 1
    assert clct.merge() == []
    assert intact(Repo(tmp_path))


def test_processes_that_create_the_same_and_other_collections_at_once_keep_all(
    tmp_path: Path,
) -> None:
    together(*((create, (str(tmp_path), n)) for n in range(4)))
    repo = Repo(tmp_path)
    repo.merge()
    expected = {f"own-{n}": {"s": [(n, float(n))]} for n in range(4)}
    shared = {f"s{n}": [(n, float(n))] for n in range(4)}
    assert content(Repo(tmp_path)) == {**expected, "shared": shared}


def create(folder: str, n: int) -> None:
    repo = Repo(folder)
    shared = repo.create_collection(SCHEMA, "shared", raise_if_exists=False)
    (shared / f"s{n}").write(numbers(n, n + 1))
    own = repo.create_collection(SCHEMA, f"own-{n}")
    (own / "s").write(numbers(n, n + 1))


def test_a_collection_that_two_create_at_one_moment_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one comes between the look whether it is there and the commit."""
    one, two = Repo(tmp_path), Repo(tmp_path)
    put, puts = one._registry.put, 0

    def meddled(entries: Any, message: str) -> None:
        nonlocal puts
        puts += 1
        (two.create_collection(SCHEMA, "c") / "s").write(numbers(0, 3))
        put(entries, message)

    monkeypatch.setattr(one._registry, "put", meddled)
    clct = one.create_collection(SCHEMA, "c", raise_if_exists=False)
    assert puts == 1
    assert clct.id == (two / "c").id
    one.merge()
    assert content(one) == {"c": {"s": [(n, float(n)) for n in range(3)]}}


def test_two_handles_that_alternate_see_each_others_writes_at_once(tmp_path: Path) -> None:
    Repo(tmp_path).create_collection(SCHEMA, "c")
    handles = [Repo(tmp_path) / "c" / "s" for _ in range(2)]
    for turn in range(41):
        handles[turn % 2].write(numbers(turn, turn + 1))
        for handle in handles:
            assert len(handle) == turn + 1
    assert len(handles[0].changelog.heads()) == 1
    assert rows(handles[0]) == rows(handles[1]) == [(n, float(n)) for n in range(41)]


def answer(pipe: Any, folder: str) -> None:
    """The other process of the next test: writes what it is told, says what it sees."""
    series = Repo(folder) / "c" / "s"
    while (turn := pipe.recv()) is not None:
        series.write(numbers(turn, turn + 1))
        pipe.send(len(series))


def test_two_processes_that_alternate_see_each_others_writes_at_once(tmp_path: Path) -> None:
    series = Repo(tmp_path).create_collection(SCHEMA, "c") / "s"
    here, there = PROCESSES.Pipe()
    process = PROCESSES.Process(target=answer, args=(there, str(tmp_path)))
    process.start()
    there.close()
    try:
        for turn in range(0, 40, 2):
            series.write(numbers(turn, turn + 1))
            here.send(turn + 1)
            assert here.recv() == len(series) == turn + 2
    finally:
        here.send(None)
        process.join(60)
        here.close()
    assert len(series.changelog.heads()) == 1


@pytest.mark.parametrize("place", ["memory", "disk"])
def test_threads_that_write_beside_multi_lose_nothing(place: str, tmp_path: Path) -> None:
    repo = Repo(tmp_path) if place == "disk" else Repo()
    clct = repo.create_collection(SCHEMA, "c")

    def plain(label: str) -> None:
        for turn in range(30):
            assert len((clct / label).write(numbers(turn, turn + 1))) >= 1  # not in any block

    def blocks(label: str) -> None:
        for turn in range(0, 30, 3):
            with clct.multi() as batch:
                for n in range(turn, turn + 3):
                    assert (clct / label).write(numbers(n, n + 1)) == []
            assert len(batch.revisions) >= 1

    in_threads(
        *(lambda n=n: plain(f"plain{n}") for n in range(3)),
        *(lambda n=n: blocks(f"multi{n}") for n in range(3)),
    )
    clct.merge()
    labels = [*(f"multi{n}" for n in range(3)), *(f"plain{n}" for n in range(3))]
    assert clct.ls() == labels
    for label in labels:
        assert rows(clct / label) == [(n, float(n)) for n in range(30)]


def test_a_block_that_raises_writes_nothing_and_the_next_write_is_there() -> None:
    clct = Repo().create_collection(SCHEMA, "c")
    (clct / "s").write(numbers(0, 3))
    before = clct.changelog.log()
    for error in (ValueError, KeyboardInterrupt, GeneratorExit):
        with pytest.raises(error), clct.multi():
            (clct / "s").write(numbers(0, 10, 0.5))
            (clct / "t").write(numbers(0, 10))
            (clct / "s").delete()
            raise error
    assert clct.changelog.log() == before
    assert rows(clct / "s") == [(0, 0.0), (1, 1.0), (2, 2.0)]
    for turn in range(10):
        (clct / "s").write(numbers(turn, turn + 1))
        assert len(clct.changelog.log()) == len(before) + turn + 1
    assert rows(clct / "s") == [(n, float(n)) for n in range(10)]


def test_a_refused_write_inside_a_block_that_goes_on_leaves_the_others() -> None:
    clct = Repo().create_collection(SCHEMA, "c")
    with clct.multi():
        (clct / "s").write(numbers(0, 2))
        with pytest.raises(ValueError):
            (clct / "s").write({"n": [1], "x": ["no number"]})
        (clct / "t").write(numbers(0, 1))
    assert content_of(clct) == {"s": [(0, 0.0), (1, 1.0)], "t": [(0, 0.0)]}


def content_of(clct: Any) -> dict[str, list[tuple[Any, ...]]]:
    return {series.label: rows(series) for series in clct}


# --- readers beside everything (row 12) --------------------------------------------------


SECONDS = [3.0, pytest.param(60.0, marks=pytest.mark.long)]
GRACE = 1.0  # longer than any commit or read of these


def append(folder: str, seconds: float, told: Any) -> None:
    """One block of ten rows after the other, in a third of the turns overwriting the last."""
    repo = Repo(folder, durability="os")
    series = repo / "c" / "s"
    ends = time.monotonic() + seconds
    turn = 0
    while time.monotonic() < ends:
        series.write(numbers(10 * turn, 10 * turn + 10))
        told.value = turn + 1
        if turn % 3 == 0:
            series.write(numbers(10 * turn, 10 * turn + 10))
        turn += 1


def tidy(folder: str, seconds: float, told: Any) -> None:
    repo = Repo(folder, durability="os")
    ends = time.monotonic() + seconds
    rounds = 0
    while time.monotonic() < ends:
        clct = repo / "c"
        clct.defrag(1)
        clct.trim(grace=GRACE)
        if rounds % 4 == 0:
            repo.pack()
        repo.gc(grace=GRACE)
        rounds += 1
        time.sleep(0.05)


def read(folder: str, seconds: float, told: Any) -> None:
    """Whatever has returned is seen, whole, from then on; by old handles and by new ones."""
    series = Repo(folder) / "c" / "s"
    ends = time.monotonic() + seconds
    reads = seen = 0
    while time.monotonic() < ends:
        least = max(told.value * 10, seen)
        fresh = series if reads % 2 else Repo(folder) / "c" / "s"
        keys = fresh.frame()["n"].to_numpy()
        seen = len(keys)
        assert seen >= least, (seen, least)
        assert keys.tolist() == list(range(seen)), keys
        assert seen % 10 == 0, seen
        middle = len(series.frame(5, 15))  # there may be more by now
        assert min(10, max(seen - 5, 0)) <= middle <= 10, (middle, seen)
        reads += 1
    assert reads > 0  # how many is for the machine to say


@pytest.mark.parametrize("seconds", SECONDS)
def test_readers_beside_writer_defrag_trim_pack_and_gc_miss_nothing(
    tmp_path: Path, seconds: float
) -> None:
    Repo(tmp_path).create_collection(SCHEMA, "c")
    told = PROCESSES.Value("q", 0)
    args = (str(tmp_path), seconds, told)
    together((append, args), (tidy, args), (read, args), (read, args))
    clct = Repo(tmp_path) / "c"
    clct.merge()
    assert told.value > 3
    assert rows(clct / "s") == [(n, float(n)) for n in range(told.value * 10)]
    assert intact(Repo(tmp_path))


def test_reader_threads_beside_writer_defrag_trim_and_gc_miss_nothing() -> None:
    repo = Repo()
    clct = repo.create_collection(SCHEMA, "c")
    done = threading.Event()
    written = 0

    def write() -> None:
        nonlocal written
        for turn in range(150):
            (clct / "s").write(numbers(turn, turn + 1))
            written = turn + 1
        done.set()

    def chores() -> None:
        while not done.is_set():
            clct.defrag(1)
            clct.trim(grace=GRACE)
            repo.gc(grace=GRACE)

    def look() -> None:
        while not done.is_set():
            least = written
            found = [n for n, _ in rows(clct / "s")]
            assert found == list(range(len(found)))
            assert len(found) >= least

    in_threads(write, chores, look, look)
    clct.merge()
    assert len(clct / "s") == 150


# --- collectors (row 13) -----------------------------------------------------------------


def create_and_write(folder: str, label: str) -> None:
    clct = Repo(folder).create_collection(SCHEMA, label)
    (clct / "s").write(numbers(0, 100))


def test_gc_between_creations_by_two_processes_takes_nothing_that_is_used(tmp_path: Path) -> None:
    here = Repo(tmp_path)
    create_and_write(str(tmp_path), "first")
    for turn in range(3):
        together((create_and_write, (str(tmp_path), f"theirs{turn}")))
        here.gc(grace=0)
        (here.create_collection(SCHEMA, f"ours{turn}") / "s").write(numbers(0, 100))
        here.gc(grace=0)
    expected = {"s": [(n, float(n)) for n in range(100)]}
    labels = {"first", *(f"{who}{turn}" for who in ("ours", "theirs") for turn in range(3))}
    assert content(Repo(tmp_path)) == dict.fromkeys(labels, expected)
    assert intact(here)


def test_gc_takes_nothing_of_a_collection_that_the_registry_does_not_know(tmp_path: Path) -> None:
    """A pull or a creation that is under way has revisions before it has a registry row."""
    source = Repo()
    clct = source.create_collection(SCHEMA, "c")
    (clct / "s").write(numbers(0, 100))
    repo = Repo(tmp_path)
    other = repo.create_collection(SCHEMA, "other")
    for info in list(source.store.list("")):
        if not info.name.startswith(f"changelog/{'0' * 32}"):  # the registry
            repo.store.put(info.name, source.store.get(info.name))
    repo.gc(grace=0)
    repo.pull(source)
    assert content(repo) == {"c": {"s": [(n, float(n)) for n in range(100)]}, other.label: {}}
    assert intact(repo)


def test_gc_takes_what_nobody_uses_and_only_after_the_grace(tmp_path: Path) -> None:
    repo = Repo(tmp_path)
    clct = repo.create_collection(SCHEMA, "c")
    for turn in range(5):
        (clct / "s").write(numbers(0, 1000, turn))
    clct.trim(grace=0)
    assert repo.gc(grace=3600).objects == 0
    foreseen = repo.gc(grace=0, dry_run=True)
    assert foreseen.objects >= 8
    assert repo.gc(grace=0) == foreseen
    assert repo.gc(grace=0).objects == 0
    assert rows(clct / "s") == [(n, n + 4.0) for n in range(1000)]


def test_a_writer_may_rely_on_an_object_that_a_collector_was_about_to_take(tmp_path: Path) -> None:
    repo, other = Repo(tmp_path), Repo(tmp_path)
    clct = repo.create_collection(SCHEMA, "c")
    (clct / "s").write(numbers(0, 1000))
    (clct / "s").write(numbers(0, 1000, 1))
    clct.trim(grace=0)
    time.sleep(0.3)
    (clct / "again").write(numbers(0, 1000))  # the rows of the trimmed write
    other.gc(grace=0.2)
    assert rows(Repo(tmp_path) / "c" / "again") == [(n, float(n)) for n in range(1000)]
    assert intact(other)


LOOKS: list[Callable[[Repo], object]] = [
    lambda repo: repo.check().damaged == (),
    lambda repo: (repo / "c").revisions()["rows"].to_list() == [1],
    lambda repo: (repo / "c" / "s").df(provenance=True)["author"].to_list() == [None] * 3 + ["ada"],
]


@pytest.mark.parametrize("look", LOOKS)
def test_who_looks_at_revisions_that_are_trimmed_meanwhile_finds_those_that_stay(
    monkeypatch: pytest.MonkeyPatch, look: Callable[[Repo], object]
) -> None:
    store = MemoryStore()
    other = Repo(store).create_collection(SCHEMA, "c")
    for n in range(4):
        (other / "s").write(numbers(n, n + 1), author="ada")
    times, read = 0, Changelog.read

    def slow(changelog: Changelog, edge: Edge) -> dict[str, Any]:
        nonlocal times
        times += changelog.collection_id == other.id
        if times == 1:
            monkeypatch.setattr(Changelog, "read", read)
            assert other.trim(grace=0) == 3
            Repo(store).gc(grace=0)
        return read(changelog, edge)

    repo = Repo(store)
    assert len((repo / "c").changelog.log()) == 4
    monkeypatch.setattr(Changelog, "read", slow)
    assert look(repo)
    assert times


@pytest.mark.parametrize("moment", ["before it looks", "before it writes", "and is the later one"])
def test_two_trims_at_once_leave_what_the_later_one_leaves(
    moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    clct = Repo(store).create_collection(SCHEMA, "c")
    made = [(clct / "s").write(numbers(n, n + 1))[0] for n in range(6)]
    clct.tag("first", made[0])
    other = Repo(store) / "c"
    step = "about" if moment == "before it looks" else "write"
    act = getattr(Changelog, step)
    earlier, later = lambda c: c.trim(made[3], grace=0), lambda c: c.trim(grace=0)
    first, second = (later, earlier) if "later" in moment else (earlier, later)
    waiting = [lambda: second(other)]

    def disturbed(self: Changelog, *arguments: Any) -> Any:
        if waiting:
            waiting.pop()()
        return act(self, *arguments)

    monkeypatch.setattr(Changelog, step, disturbed)
    first(clct)
    assert not waiting
    kept = {made[0].child, made[5].child}
    for found in (clct, other, Repo(store) / "c"):
        found.refresh()
        assert found.changelog.heads() == (made[5].child,)
        assert {revision.child for revision in found.changelog.log()} == kept
    assert (Repo(store) / "c" / "s").df(as_of="first").height == 1
