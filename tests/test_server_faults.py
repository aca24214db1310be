"""Clients and servers that die in the middle, and many writers at once, through real HTTP."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fault_kit import PROCESSES, SCHEMA, content, intact, killed, numbers, rows, together
from server_kit import Server, serving

from lakota import Repo, UnavailableError
from lakota.store import HttpStore

KILLS = [3, pytest.param(100, marks=pytest.mark.long)]
WRITERS = [
    (6, 10),
    pytest.param((64, 100), marks=pytest.mark.long),
    pytest.param((8, 1_000), marks=pytest.mark.long),
]
LIMITS = {"requests": 1_000, "connections": 10_000}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "repos").mkdir()
    with serving(tmp_path / "repos", tmp_path, limits=LIMITS) as server:
        yield server


def history(folder: Path) -> Repo:
    """A repo that takes a while to copy."""
    repo = Repo(folder, durability="os")
    for label in ("c", "d"):
        clct = repo.create_collection(SCHEMA, label)
        (clct / "large").write(numbers(0, 30_000))
        for turn in range(8):
            with clct.multi():
                for n in range(4):
                    (clct / f"s{n}").write(numbers(100 * turn, 100 * turn + 120, turn))
    return repo


def push(say: Callable[[Any], None], folder: str, url: str, token: str) -> None:
    Repo(folder).push(Repo(HttpStore(url, token=token)))


def pull(say: Callable[[Any], None], folder: str, url: str, token: str) -> None:
    Repo(folder, durability="os").pull(Repo(HttpStore(url, token=token)))


def whole(repo: Repo, expected: Any) -> bool:
    """That what can be seen of a repo that is being copied is whole: a state that the other side
    had, of each collection that is there at all."""
    assert intact(repo)
    for label, series in content(repo).items():
        assert series.keys() <= expected[label].keys()
        for name, found in series.items():
            if name == "large":
                assert found == expected[label][name]
            assert len(found) <= len(expected[label][name])
    return True


@pytest.mark.parametrize("kills", KILLS)
@pytest.mark.parametrize("act", [push, pull])
def test_a_transfer_whose_client_was_killed_goes_on(
    tmp_path: Path,
    server: Server,
    act: Callable[..., None],
    kills: int,
    record_property: Callable[[str, object], None],
) -> None:
    source = history(tmp_path / "source")
    expected = content(source)
    token = server.tokens["write"]
    push(lambda _: None, str(tmp_path / "source"), f"{server.url}/first", token)
    begun = time.perf_counter()
    push(lambda _: None, str(tmp_path / "source"), f"{server.url}/second", token)
    takes = time.perf_counter() - begun
    cut_off = 0
    for kill in range(kills):
        name = f"k{kill}" if act is push else "first"
        here = tmp_path / (f"k{kill}" if act is pull else "source")
        there = server.root / name if act is push else here
        arguments = (str(here), f"{server.url}/{name}", token)
        _, done = killed(act, *arguments, after=takes * random.random())
        cut_off += not done
        takes /= 2 if done else 1
        assert whole(Repo(there), expected)
        act(lambda _: None, *arguments)
        assert content(Repo(there)) == expected
        assert intact(Repo(there))
    record_property("cut off", cut_off)
    assert cut_off


@pytest.mark.parametrize("kills", KILLS)
def test_a_transfer_whose_server_was_killed_goes_on(
    tmp_path: Path, server: Server, kills: int, record_property: Callable[[str, object], None]
) -> None:
    source = history(tmp_path / "source")
    expected = content(source)
    token = server.tokens["write"]
    begun = time.perf_counter()
    push(lambda _: None, str(tmp_path / "source"), f"{server.url}/first", token)
    takes = time.perf_counter() - begun
    noticed = 0
    for kill in range(kills):
        act = (push, pull)[kill % 2]
        name = f"k{kill}" if act is push else "first"
        here = tmp_path / (f"k{kill}" if act is pull else "source")
        there = server.root / name if act is push else here
        arguments = (lambda _: None, str(here), f"{server.url}/{name}", token)
        with ThreadPoolExecutor(1) as other:
            running = other.submit(act, *arguments)
            time.sleep(takes * random.random())
            noticed += not running.done()
            server.stop(signal.SIGKILL)
            assert whole(Repo(there), expected)
            server.start()
            try:
                running.result()
            except UnavailableError:  # more patience than a client has
                act(*arguments)
        assert content(Repo(there)) == expected
        assert intact(Repo(there))
    record_property("cut off", noticed)
    assert noticed


def test_a_client_rides_out_a_restart(server: Server) -> None:
    repo = Repo(server.store("r", "write"))
    series = repo.create_collection(SCHEMA, "c") / "s"
    server.stop()
    with ThreadPoolExecutor(1) as other:
        writing = other.submit(series.write, numbers(0, 3))
        server.start()
        writing.result()
    assert rows(series) == [(0, 0.0), (1, 1.0), (2, 2.0)]


def test_a_server_that_is_told_to_stop_finishes_what_it_does(server: Server) -> None:
    repo = Repo(server.store("r", "write"))
    series = repo.create_collection(SCHEMA, "c") / "s"
    with ThreadPoolExecutor(1) as other:
        writing = other.submit(series.write, numbers(0, 500_000))
        time.sleep(0.1)
        assert server.stop(signal.SIGTERM) in (0, -signal.SIGTERM)
        server.start()
        writing.result()
    assert len(Repo(server.root / "r") / "c" / "s") == 500_000
    assert "Traceback" not in server.log()


def test_a_server_that_never_was_is_named() -> None:
    with pytest.raises(UnavailableError, match=r"http://127\.0\.0\.1:1/r"):
        Repo("http://127.0.0.1:1/r")


# ---- Many at once


def write(url: str, token: str, writer: int, turns: int) -> None:
    """Rows of its own, in a series of its own and in one that all share, and rows of all."""
    clct = Repo(HttpStore(url, token=token)) / "c"
    for turn in range(turns):
        key = writer * turns + turn
        with clct.multi():
            (clct / f"own-{writer}").write(numbers(turn, turn + 1))
            (clct / "shared").write(numbers(key, key + 1))
            (clct / "same").write(numbers(0, 3, writer))


def read(pipe: Any, url: str, token: str) -> None:
    """Read until told to stop; says how often, and how many heads there were at most."""
    clct = Repo(HttpStore(url, token=token)) / "c"
    reads = heads = 0
    while not pipe.poll():
        for label in ("shared", "same"):
            (clct / label).frame()
            (clct / label).frame(merged=True)
        heads = max(heads, len(clct.changelog.heads()))
        reads += 1
    pipe.send((reads, heads))


@pytest.mark.parametrize("size", WRITERS)
def test_many_writers_lose_nothing_and_fail_no_reader(
    tmp_path: Path,
    server: Server,
    size: tuple[int, int],
    record_property: Callable[[str, object], None],
) -> None:
    writers, turns = size
    url, token = f"{server.url}/r", server.tokens["write"]
    repo = Repo(HttpStore(url, token=token))
    clct = repo.create_collection(SCHEMA, "c")
    here, there = PROCESSES.Pipe()
    reader = PROCESSES.Process(target=read, args=(there, url, server.tokens["read"]))
    reader.start()
    there.close()
    try:
        calls = [(write, (url, token, writer, turns)) for writer in range(writers)]
        together(*calls, patience=10_000)
        here.send("stop")
        assert here.poll(60), "the reader failed"
        reads, heads = here.recv()
        record_property("reader", {"looks": reads, "heads": heads})
    finally:
        reader.kill()
        reader.join()
        here.close()
    assert reads > 0
    assert heads <= writers
    clct.merge()
    assert len(clct.changelog.heads()) == 1
    assert rows(clct / "shared") == [(n, float(n)) for n in range(writers * turns)]
    for writer in range(writers):
        assert rows(clct / f"own-{writer}") == [(n, float(n)) for n in range(turns)]
    assert len({x - n for n, x in rows(clct / "same")}) == 1
    assert intact(Repo(server.root / "r"))
