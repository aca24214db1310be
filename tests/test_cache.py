"""Caches before a store: quicker, never wrong, and gone at any time."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from bucket_kit import Bucket
from fault_kit import SCHEMA, content, intact, numbers, rows, together
from store_suite import StoreSuite

from lakota import DamagedError, InputError, Repo, StoreError
from lakota.store import (
    Cache,
    CachedStore,
    CountingStore,
    FolderCache,
    LocalStore,
    MemoryCache,
    MemoryStore,
    Store,
    parse_uri,
)

MEGABYTE = 1 << 20


class TestCachedStoreInMemory(StoreSuite):
    @pytest.fixture
    def store(self) -> Store:
        return CachedStore([MemoryCache()], MemoryStore())


class TestCachedStoreInFolder(StoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        caches = [MemoryCache(limit=2_000), FolderCache(tmp_path / "cache")]
        return CachedStore(caches, LocalStore(tmp_path / "repo", durability="os"))


class TestCachedStoreOfABucket(StoreSuite):
    many = 100
    tick = 1.05

    @pytest.fixture
    def store(self, tmp_path: Path, bucket: Bucket) -> Store:
        inner = parse_uri(bucket.uri, storage_options=bucket.options)
        return CachedStore([FolderCache(tmp_path)], inner)


# What is kept

SEGMENT = "segments/ab/" + "c" * 30 + ".arrow"
PAGE = "pages/ab/" + "c" * 30 + ".page"
STATES = "0" * 16 + "-" + "0" * 32 + "." + "1" * 16 + "-" + "1" * 32
REVISION = "changelog/" + "0" * 32 + "/" + STATES


@pytest.fixture(params=["memory", "folder"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Cache:
    return MemoryCache() if request.param == "memory" else FolderCache(tmp_path / "cache")


@pytest.fixture
def counted() -> CountingStore:
    return CountingStore(MemoryStore(), remote=True)


def asked(store: CountingStore) -> list[tuple[str, str]]:
    found = [(r.method, r.name) for r in store.requests]
    store.clear()
    return found


@pytest.mark.parametrize("name", [SEGMENT, PAGE, REVISION])
def test_what_never_changes_is_fetched_once(
    cache: Cache, counted: CountingStore, name: str
) -> None:
    counted.inner.put(name, b"x")
    store = CachedStore([cache], counted)
    for _ in range(3):
        assert store.get(name).to_pybytes() == b"x"
        assert store.get_all([name])[name].to_pybytes() == b"x"
        assert store.tail(name, 10).data.to_pybytes() == b"x"
    assert asked(counted) == [("get", name)]


@pytest.mark.parametrize("name", ["lakota.json", "changelog/" + "0" * 32 + "/trimmed.0"])
def test_what_may_change_is_fetched_every_time(
    cache: Cache, counted: CountingStore, name: str
) -> None:
    store = CachedStore([cache], counted)
    for data in (b"1", b"2"):
        counted.inner.put(name, data)
        assert store.get(name).to_pybytes() == data


def test_what_is_written_is_kept_once_the_store_has_it(
    cache: Cache, counted: CountingStore
) -> None:
    store = CachedStore([cache], counted)
    store.put_all({SEGMENT: b"x", PAGE: b"y"})
    store.put(REVISION, b"z")
    counted.clear()
    assert [store.get(n).to_pybytes() for n in (SEGMENT, PAGE, REVISION)] == [b"x", b"y", b"z"]
    assert asked(counted) == []

    class Full(MemoryStore):
        def put(self, name: str, data: pa.Buffer | bytes) -> None:
            raise StoreError("full")

    full = CachedStore([cache], Full())
    other = SEGMENT.replace("c", "d")
    with pytest.raises(StoreError):
        full.put(other, b"x")
    with pytest.raises(StoreError):
        full.get(other)


def test_revisions_of_two_stores_are_two_things(cache: Cache) -> None:
    first, second = (CachedStore([cache], MemoryStore()) for _ in "ab")
    first.put(REVISION, b"1")
    second.put(REVISION, b"2")
    assert first.get(REVISION).to_pybytes() == b"1"


def test_a_nearer_cache_is_filled_from_a_farther_one(counted: CountingStore) -> None:
    near, far = MemoryCache(), MemoryCache()
    far.put(SEGMENT, pa.py_buffer(b"x"))
    CachedStore([near, far], counted).get(SEGMENT)
    assert near.get(SEGMENT) is not None
    assert asked(counted) == []


# Limits


@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_what_was_used_least_recently_goes(kind: str, tmp_path: Path) -> None:
    limit = 100_000
    folder = FolderCache(tmp_path, limit)
    cache = MemoryCache(limit) if kind == "memory" else folder
    data = pa.py_buffer(b"x" * 10_000)
    for n in range(8):
        cache.put(str(n), data)
        if kind == "folder":
            os.utime(folder._path(str(n)), (n, n))
    assert cache.get("0") is not None
    for n in range(8, 14):
        cache.put(str(n), data)
    assert cache.get("0") is not None
    assert cache.get("1") is None
    assert cache.get("13") is not None


def test_a_folder_stays_within_its_limit(tmp_path: Path) -> None:
    cache = FolderCache(tmp_path, 200_000)
    for n in range(200):
        cache.put(str(n), pa.py_buffer(os.urandom(5_000)))
    held = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert 100_000 < held <= 225_000


def test_what_is_larger_than_the_limit_is_not_kept_and_drives_nothing_out(tmp_path: Path) -> None:
    for cache in (MemoryCache(100), FolderCache(tmp_path, 100)):
        cache.put("small", pa.py_buffer(b"x" * 50))
        cache.put("a", pa.py_buffer(b"x" * 10))
        cache.put("a", pa.py_buffer(b"x" * 1_000))
        assert cache.get("a") is None
        assert cache.get("small") is not None


@pytest.mark.parametrize("limit", [-1, 1.5, "1", True, None])
def test_a_limit_that_cannot_be_is_refused(tmp_path: Path, limit: Any) -> None:
    for make in (MemoryCache, lambda limit: FolderCache(tmp_path, limit)):
        with pytest.raises(InputError, match="expected a number of bytes"):
            make(limit)


# Whatever happens to a folder


def damage(folder: Path, how: str) -> None:
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        if how == "torn":
            path.write_bytes(path.read_bytes()[:-20])
        elif how == "flipped":
            data = bytearray(path.read_bytes())
            data[len(data) // 3] ^= 1
            path.write_bytes(bytes(data))
        elif how == "empty":
            path.write_bytes(b"")
        else:
            path.unlink()


@pytest.mark.parametrize("how", ["torn", "flipped", "empty", "deleted"])
def test_damage_of_a_cache_is_not_seen(tmp_path: Path, how: str) -> None:
    inner = CountingStore(MemoryStore(), remote=True)
    series = Repo([tmp_path / "cache", inner]).create_collection(SCHEMA, "c") / "s"
    series.write(numbers(0, 50))
    damage(tmp_path / "cache", how)
    for _ in range(2):
        assert len(rows(Repo([tmp_path / "cache", inner]) / "c" / "s")) == 50
    inner.clear()
    assert len(rows(Repo([tmp_path / "cache", inner]) / "c" / "s")) == 50
    assert {r.method for r in inner.requests} <= {"list", "get"}
    assert all(r.name == "lakota.json" for r in inner.requests if r.method == "get")


def test_damage_that_a_cache_got_from_the_store_goes_when_the_store_is_mended(
    tmp_path: Path,
) -> None:
    inner = CountingStore(MemoryStore(), remote=True)
    series = Repo(inner).create_collection(SCHEMA, "c") / "s"
    series.write(numbers(0, 50))
    objects = [info.name for info in inner.list("") if info.name[:2] in ("se", "pa")]
    right = {name: inner.get(name) for name in objects}
    seen = 0
    for name in objects:
        data = bytearray(right[name].to_pybytes())
        data[len(data) // 2] ^= 255
        inner.put(name, bytes(data))
        try:
            rows(Repo([tmp_path / "cache", inner]) / "c" / "s")
        except DamagedError:
            seen += 1
        inner.put(name, right[name])
        assert len(rows(Repo([tmp_path / "cache", inner]) / "c" / "s")) == 50
        shutil.rmtree(tmp_path / "cache")
    assert seen >= 3


@pytest.mark.parametrize("kind", ["segments", "pages", "changelog"])
def test_a_check_looks_at_the_store_not_at_the_cache(tmp_path: Path, kind: str) -> None:
    inner = CountingStore(MemoryStore(), remote=True)
    repo = Repo([tmp_path / "cache", inner])
    (repo.create_collection(SCHEMA, "c") / "s").write(numbers(0, 50))
    assert repo.check()
    names = [info.name for info in inner.list(kind)]
    for name in names:
        inner.put(name, b"junk")
    assert len(rows(repo / "c" / "s")) == 50
    assert {problem.name for problem in repo.check().damaged} == {*names}
    report = repo.check(repair=FolderCache(tmp_path / "cache"))
    assert report and {problem.name for problem in report.repaired} == {*names}
    assert intact(Repo(inner))


def test_a_document_that_was_damaged_when_it_was_kept_is_read_again(tmp_path: Path) -> None:
    inner = MemoryStore()
    clct = Repo(inner).create_collection(SCHEMA, "c")
    (clct / "s").write(numbers(0, 50), message="first")
    (name,) = (info.name for info in inner.list(clct.changelog.folder))
    right = inner.get(name)
    inner.put(name, b"junk")
    with pytest.raises(DamagedError):
        (Repo([tmp_path / "cache", inner]) / "c").revisions()
    inner.put(name, right)
    mended = Repo([tmp_path / "cache", inner]) / "c"
    assert mended.revisions()["message"].to_list() == ["first"]


def test_what_a_cache_has_packed_is_packed_in_the_store_as_well(tmp_path: Path) -> None:
    """Repos may share a cache: what one of them has small the other has not."""
    plain, packed = LocalStore(tmp_path / "plain"), LocalStore(tmp_path / "packed")
    clct = Repo(plain).create_collection(SCHEMA, "c")
    with clct.multi():
        for n in range(100):
            (clct / f"s{n}").write(numbers(0, 5))
    Repo(packed).pull(Repo(plain))
    cache = MemoryCache()
    Repo([cache, packed]).pack()
    Repo([cache, plain]).pack()
    sizes = [{i.name: i.size for i in store.list("pages")} for store in (plain, packed)]
    together = sizes[0].keys() & sizes[1].keys()
    assert together and all(sizes[0][name] == sizes[1][name] for name in together)


def test_a_folder_may_be_deleted_while_it_is_used(tmp_path: Path) -> None:
    inner = CountingStore(MemoryStore(), remote=True)
    series = Repo([tmp_path / "cache", inner]).create_collection(SCHEMA, "c") / "s"
    done = threading.Event()

    def wipe() -> None:
        while not done.is_set():
            shutil.rmtree(tmp_path / "cache", ignore_errors=True)

    thread = threading.Thread(target=wipe)
    thread.start()
    try:
        for n in range(30):
            series.write(numbers(n, n + 1))
            assert len(rows(Repo([tmp_path / "cache", inner]) / "c" / "s")) == n + 1
    finally:
        done.set()
        thread.join()
    assert intact(Repo(inner))


def test_a_folder_that_cannot_be_written_fails_nothing(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    repo = Repo([FolderCache(tmp_path / "cache"), MemoryStore()])
    (repo.create_collection(SCHEMA, "c") / "s").write(numbers(0, 5))
    assert len(rows(repo / "c" / "s")) == 5


def test_a_cache_deletes_only_its_own_files(tmp_path: Path) -> None:
    thesis = tmp_path / "thesis" / "ab"
    thesis.mkdir(parents=True)
    kept = [thesis / "ch1.txt", tmp_path / ("0" * 30), tmp_path / "ab.txt"]
    for path in kept:
        path.write_bytes(b"x" * 5_000)
    cache = FolderCache(tmp_path, 1_000)
    for n in range(20):
        cache.put(str(n), pa.py_buffer(b"y" * 900))
    assert all(path.exists() for path in kept)
    assert sum(path.is_file() for path in tmp_path.rglob("*")) < len(kept) + 3


def _use(cache: str, repo: str, number: int) -> None:
    store = LocalStore(repo, durability="os")
    for turn in range(8):
        opened = Repo([FolderCache(cache, 40_000), store])
        label = f"s{number}"
        (opened / "c" / label).write(numbers(turn * 100, turn * 100 + 100))
        # The others write at the same time: the newest head may be one of theirs.
        assert len((opened / "c" / label).df(merged=True)) == turn * 100 + 100


def test_processes_share_a_folder(tmp_path: Path) -> None:
    Repo(tmp_path / "repo").create_collection(SCHEMA, "c")
    args = (str(tmp_path / "cache"), str(tmp_path / "repo"))
    together(*((_use, (*args, n)) for n in range(3)))
    repo = Repo(tmp_path / "repo")
    repo.merge()
    assert {label: len(found) for label, found in content(repo)["c"].items()} == {
        f"s{n}": 800 for n in range(3)
    }


# Stale, yet right


def test_what_was_packed_or_collected_in_the_store_is_still_right(tmp_path: Path) -> None:
    inner = CountingStore(MemoryStore(), remote=True)
    other = Repo(inner, codec="plain")
    series = other.create_collection(SCHEMA, "c") / "s"
    table = pa.table({"n": np.arange(300_000), "x": np.random.default_rng(3).random(300_000)})
    series.write(table)
    near = Repo([tmp_path / "cache", inner]) / "c" / "s"
    assert near.frame(1_000, 1_010).num_rows == 10
    other.pack()
    again = Repo([tmp_path / "cache", inner]) / "c" / "s"
    assert again.frame(1_000, 1_010).equals(table.slice(1_000, 10))
    assert again.frame(200_000, 200_010).equals(table.slice(200_000, 10))
    assert again.frame().equals(table)
    series.delete()
    (other / "c").trim(grace=0)
    other.gc(grace=0)
    assert again.frame().num_rows == 0
    assert intact(Repo([tmp_path / "cache", inner]))


def test_ranges_of_a_large_segment_are_fetched_once(tmp_path: Path, bucket: Bucket) -> None:
    inner = CountingStore(parse_uri(bucket.uri, storage_options=bucket.options))
    table = pa.table({"n": np.arange(400_000), "x": np.random.default_rng(3).random(400_000)})
    (Repo(inner).create_collection(SCHEMA, "c") / "s").write(table)
    for turn in range(2):
        inner.clear()
        series = Repo([tmp_path / "cache", inner]) / "c" / "s"
        assert series.frame(1_000, 1_010).equals(table.slice(1_000, 10))
        methods = {r.method for r in inner.requests if r.name.startswith(("segments", "pages"))}
        assert methods == (set() if turn else {"get", "tail", "range"})


# How they are named


def test_caches_are_named_by_folder_or_memory(tmp_path: Path) -> None:
    found = Repo(["memory://", tmp_path / "cache", tmp_path / "repo"]).store
    assert isinstance(found, CachedStore)
    assert [type(cache) for cache in found.caches] == [MemoryCache, FolderCache]
    assert isinstance(found.store, LocalStore)
    assert isinstance(Repo([tmp_path / "repo"]).store, LocalStore)


@pytest.mark.parametrize("cache", [MemoryStore(), "memory://name", "s3://bucket", None, 3])
def test_what_is_no_cache_is_refused(cache: Any) -> None:
    with pytest.raises(InputError):
        Repo([cache, MemoryStore()])


def test_a_repo_is_no_cache(tmp_path: Path) -> None:
    Repo(tmp_path).create_collection(SCHEMA, "c")
    with pytest.raises(InputError, match="is a repo"):
        Repo([tmp_path, "memory://x"])
    with pytest.raises(InputError, match="at last a store"):
        Repo([])


@pytest.mark.skipif(not hasattr(os, "fork") or os.geteuid() != 0, reason="takes two users")
def test_a_folder_of_another_user_is_read() -> None:
    """Who may not write there cannot note when it was last used: that is no reason to fetch."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        FolderCache(folder).put("key", pa.py_buffer(b"bytes"))
        child = os.fork()
        if child == 0:
            os.setuid(65534)
            os._exit(0 if FolderCache(folder).get("key") is not None else 1)
        assert os.waitpid(child, 0)[1] == 0
