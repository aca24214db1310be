"""Handles that go to other processes."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import pytest
from server_kit import serving

from lakota import Clock, Collection, InputError, NotFoundError, Repo, Schema, Series
from lakota.clock import CLOCK
from lakota.store import CachedStore, FolderCache, LocalStore, MemoryCache

T = TypeVar("T")

SCHEMA = Schema(n="int*", x="float")


def sent(handle: T) -> T:
    found = pickle.loads(pickle.dumps(handle))
    assert type(found) is type(handle)
    return found


def new_year() -> int:
    return 1_577_836_800_000_000_000


def write(series: Series, n: int) -> int:
    series.write({"n": [n], "x": [n / 4]})
    return len(series)


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    repo = Repo(tmp_path / "repo", durability="os", codec="zstd", verify=False, max_ahead=60)
    (repo.create_collection(SCHEMA, "c") / "s").write({"n": [1, 2], "x": [0.5, 1.0]})
    (repo.create_collection(Schema.kv(k="str*", x="float"), "kv") / "s").write(
        {"k": ["a"], "x": [1]}
    )
    return repo


def test_they_write_in_processes_of_their_own(repo: Repo) -> None:
    series = repo / "c" / "s"
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        counts = [*pool.map(write, [series] * 6, range(10, 16))]
    assert max(counts) <= 8
    repo.merge()
    assert series.df()["n"].to_list() == [1, 2, *range(10, 16)]


def test_a_repo_is_what_it_was_told_to_be(repo: Repo) -> None:
    again = sent(repo)
    assert again.codec == "zstd"
    assert again._max_ahead == 60
    assert not again._objects.verify
    assert again.clock is CLOCK
    assert isinstance(again.store, LocalStore)
    assert again.store.durability == "os"
    assert again.ls() == ["c", "kv"]
    other = sent(Repo(repo.store, clock=Clock(now=new_year)))
    assert other.clock is not CLOCK
    assert other.clock.tick() == new_year()


def test_collections_and_series_are_found_by_id(repo: Repo) -> None:
    clct, series, pairs = repo / "c", repo / "c" / "s", repo / "kv" / "s"
    assert sent(series).df().equals(series.df())
    assert sent(pairs).df().equals(pairs.df())
    data = pickle.dumps((clct, series))
    repo.rename("c", "d")
    found: tuple[Collection, Series] = pickle.loads(data)
    assert found[0].label == "d"
    assert found[0].ls() == ["s"]
    assert len(found[1]) == 2
    repo.delete("d")
    with pytest.raises(NotFoundError, match="deleted"):
        pickle.loads(data)


def test_caches_go_along(repo: Repo, tmp_path: Path) -> None:
    again = sent(Repo([MemoryCache(1 << 20), tmp_path / "cache", repo.store]))
    assert isinstance(again.store, CachedStore)
    near, folder = again.store.caches
    assert isinstance(near, MemoryCache)
    assert near.limit == 1 << 20
    assert isinstance(folder, FolderCache)
    assert folder.folder == str(tmp_path / "cache")
    assert (again / "c" / "s").df().height == 2


def test_those_of_a_server_too(repo: Repo, tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    with serving(tmp_path, tmp_path / "server") as server:
        near = Repo(server.store("repo", "read"))
        assert sent(near / "c" / "s").df().height == 2


def test_memory_stays_where_it_is() -> None:
    repo = Repo()
    series = repo.create_collection(SCHEMA, "c") / "s"
    for handle in (repo, repo / "c", series, Repo("memory://shared")):
        with pytest.raises(InputError, match="another process"):
            pickle.dumps(handle)
