"""Turns: of many who are about to commit to one collection, few do at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from fault_kit import SCHEMA, numbers, rows
from server_kit import serving

from lakota import FrameError, NotFoundError, Repo
from lakota.server import turns
from lakota.server.turns import FEW, Turns
from lakota.store import CountingStore, FolderCache, MemoryStore
from lakota.store import cache as caches
from lakota.store.count import rounds

# Of a server


def play(act: Callable[[], Awaitable[None]]) -> None:
    async def playing() -> None:
        await act()

    asyncio.run(playing())


async def asked(queue: Turns, count: int, key: str = "k") -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(queue.take(key, f"writer {n}")) for n in range(count)]
    await asyncio.sleep(0.02)
    return tasks


def test_few_have_a_turn_and_each_commit_gives_it_to_who_waited_longest() -> None:
    async def act() -> None:
        queue = Turns(100, 30)
        tasks = await asked(queue, FEW + 3)
        assert [task.done() for task in tasks] == [True] * FEW + [False] * 3
        for n in range(3):
            for _ in range(2):  # a commit on several heads has a file for each
                queue.give("k", f"child {n}")
            await asyncio.sleep(0.02)
            assert [task.done() for task in tasks[FEW:]] == [m <= n for m in range(3)]
        queue.give("k", "nobody waits")
        queue.give("another", "nobody ever did")
        assert all(task.done() for task in await asked(queue, FEW, "another"))

    play(act)


def test_a_turn_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "LEASE", 0.2)
    monkeypatch.setattr(turns, "TICK", 0.02)

    async def act() -> None:
        tasks = await asked(Turns(100, 30), 2 * FEW)
        assert not tasks[-1].done()
        await asyncio.wait_for(asyncio.gather(*tasks), 5)

    play(act)


def test_who_has_waited_long_or_finds_many_waiting_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TICK", 0.02)

    async def act() -> None:
        queue = Turns(2, 0.2)
        tasks = await asked(queue, FEW + 5)
        assert sum(task.done() for task in tasks) == FEW + 3
        await asyncio.wait_for(asyncio.gather(*tasks), 5)

    play(act)


def test_who_goes_away_takes_nobodys_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    async def act() -> None:
        queue = Turns(100, 30)
        tasks = await asked(queue, FEW + 2)
        tasks[FEW].cancel()
        await asyncio.sleep(0.02)
        queue.give("k", "child")
        await asyncio.wait_for(tasks[FEW + 1], 1)

    play(act)


def test_who_did_not_use_a_turn_keeps_it() -> None:
    async def act() -> None:
        queue = Turns(100, 30)
        for _ in range(3 * FEW):  # writes that had nothing to commit after all
            await asyncio.wait_for(queue.take("k", "one"), 1)
        others = await asked(queue, FEW)
        assert [task.done() for task in others] == [True] * (FEW - 1) + [False]
        await asyncio.wait_for(queue.take("k", "one"), 1)  # past those who wait
        queue.give("k", "child")
        await asyncio.wait_for(others[-1], 1)

    play(act)


def test_who_waits_says_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TICK", 0.02)

    async def act() -> None:
        queue = Turns(100, 30)
        await asked(queue, FEW)
        await asyncio.wait_for(queue.take("k", "hurried", 0.1), 2)

    play(act)


def test_ends_of_turns_at_many_folders_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "LEASE", 0.0)

    async def act() -> None:
        queue = Turns(100, 30)
        for n in range(2_000):
            await queue.take(f"folder {n}", "one")
        assert len(queue._queues) < 300

    play(act)


def test_writers_that_never_commit_keep_others_only_for_a_while(tmp_path: Path) -> None:
    (tmp_path / "repos").mkdir()
    with serving(tmp_path / "repos", tmp_path) as server:
        clct = Repo(server.store("r", "write")).create_collection(SCHEMA, "c")
        others = [server.store("r", "write") for _ in range(FEW)]
        for store in others:
            store.turn(clct.changelog.folder)
        (clct / "s").write(numbers(0, 3))
        begun = time.monotonic()
        server.store("r", "read").turn(clct.changelog.folder)  # one who may not write waits not
        assert time.monotonic() - begun < turns.LEASE
        assert rows(clct / "s") == [(0, 0.0), (1, 1.0), (2, 2.0)]


# Of a cache that several share


def test_few_of_those_who_share_a_folder_have_a_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caches, "_PATIENCE", 0.3)
    shared = [FolderCache(tmp_path / "cache") for _ in range(5)]

    def seconds(cache: FolderCache, key: str = "k") -> float:
        begun = time.monotonic()
        ends.append(cache.turn(key))
        return time.monotonic() - begun

    ends: list[Callable[[], object]] = []
    assert all(seconds(cache) < 0.2 for cache in shared[:4])
    assert seconds(shared[4], "another") < 0.2
    assert seconds(shared[4]) >= 0.3  # and goes on all the same
    ends[0]()
    ends[0]()
    assert seconds(shared[4]) < 0.2
    for end in ends:
        end()


def test_a_cache_that_can_lock_nothing_lets_nobody_wait(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "turns").write_text("in the way")
    ends = [FolderCache(tmp_path / "cache").turn("k") for _ in range(9)]
    for end in ends:
        end()


def test_a_write_through_a_cache_gives_its_turn_back_however_it_ends(tmp_path: Path) -> None:
    store = CountingStore(MemoryStore(), remote=True)
    Repo(store).create_collection(SCHEMA, "c")
    clct = Repo([tmp_path / "cache", store]) / "c"
    for n in range(6):  # more than have a turn at a time
        (clct / "s").write(numbers(n, n + 1))
        with pytest.raises(FrameError):
            (clct / "s").write({"n": [1], "x": [1.0], "z": [1.0]})
    assert len(rows(clct / "s")) == 6


# Blocks


def test_in_a_block_a_far_collection_is_looked_at_once() -> None:
    store = CountingStore(MemoryStore(), latency=0.05)
    repo = Repo(store)
    clct = repo.create_collection(SCHEMA, "c")
    (clct / "s").write(numbers(0, 1))
    with clct.multi():
        store.clear()
        for n in range(20):
            (clct / f"s{n}").write(numbers(n, n + 1))
        assert [r.method for r in store.requests] == ["list"]
        clct.add_column("y", "float")  # by this process: then it is looked at again
        (clct / "s").write({"n": [5], "x": [0.5], "y": [1.5]})
        store.clear()
    assert rounds(r for r in store.requests if r.method == "list") == 1
    assert (clct / "s").frame()["y"].to_pylist() == [None, 1.5]
    repo.delete("c")
    with pytest.raises(NotFoundError), clct.multi():
        (clct / "s").write(numbers(0, 1))
