"""The stores of this package against the suite, and what holds for folders only."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from store_suite import StoreSuite, contents

from lakota.errors import InputError, LakotaError, ObjectMissingError, StoreError
from lakota.store import (
    CountingStore,
    Info,
    LocalStore,
    MemoryStore,
    Store,
    local,
    parse_uri,
    syncfs,
)


class TestMemoryStore(StoreSuite):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()


class TestLocalStore(StoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return LocalStore(tmp_path / "repo")


class TestLocalStoreThatTrustsTheSystem(StoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return LocalStore(tmp_path / "repo", durability="os")


class TestLocalStoreBehindALink(StoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
        return LocalStore(tmp_path / "link")


class Minimal(Store):
    """Only what a store must have, so that the defaults of the rest are tested."""

    def __init__(self) -> None:
        self.inner = MemoryStore()

    def get(self, name: str) -> pa.Buffer:
        return self.inner.get(name)

    def put(self, name: str, data: pa.Buffer | bytes) -> None:
        self.inner.put(name, data)

    def exists(self, name: str) -> bool:
        return self.inner.exists(name)

    def list(self, prefix: str) -> Iterator[Info]:
        return self.inner.list(prefix)

    def delete(self, names: Iterable[str]) -> None:
        self.inner.delete(names)

    def touch(self, name: str) -> bool:
        return self.inner.touch(name)


class TestDefaultsOfStore(StoreSuite):
    @pytest.fixture
    def store(self) -> Store:
        return Minimal()


class TestCountingStore(StoreSuite):
    many = 2_100

    @pytest.fixture
    def store(self) -> Store:
        return CountingStore(MemoryStore(), latency=0.0001)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# Flushing


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is flushed and renamed, in order; a temporary file is called `temporary`."""
    seen: list[tuple[str, str]] = []
    fsync, replace = os.fsync, os.replace

    def flush(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        seen.append(("flush", "temporary" if ".tmp-" in path else path))
        fsync(descriptor)

    def rename(source: str, target: str) -> None:
        seen.append(("rename", target))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(os, "replace", rename)
    return seen


needs_proc = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="needs /proc to see what is flushed"
)


@needs_proc
def test_a_put_flushes_every_new_folder_and_its_file_then_the_folder_of_the_name(
    tmp_path: Path, calls: list[tuple[str, str]]
) -> None:
    root = tmp_path / "x" / "repo"
    LocalStore(root).put("a/b/c", b"x")
    above = {("flush", str(folder)) for folder in (root / "a", root, tmp_path / "x", tmp_path)}
    own = [("flush", "temporary"), ("rename", str(root / "a/b/c")), ("flush", str(root / "a/b"))]
    assert [call for call in calls if call not in above] == own
    assert calls[-1] == own[-1]
    assert above <= set(calls) and len(calls) == len(above) + len(own)


@needs_proc
def test_a_new_handle_flushes_what_is_above_once_for_all_folders_beside_one_another(
    tmp_path: Path, calls: list[tuple[str, str]]
) -> None:
    LocalStore(tmp_path).put_all({f"a/{n}/x": b"x" for n in range(5)})
    store = LocalStore(tmp_path)  # who made the folders may have died before flushing them
    calls.clear()
    store.put("a/1/y", b"y")
    above = {("flush", str(folder)) for folder in (tmp_path / "a", tmp_path, tmp_path.parent)}
    assert above <= set(calls) and len(calls) == len(above) + 3
    calls.clear()
    store.put_all({f"a/{n}/z": b"z" for n in range(5)})
    assert not above & set(calls) and len(calls) == 3 * 5
    store.put("a/new/z", b"z")
    assert ("flush", str(tmp_path / "a")) in calls


@needs_proc
def test_a_folder_whose_flush_failed_is_flushed_by_the_next_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[tuple[str, str]]
) -> None:
    store, flush = LocalStore(tmp_path), local._flush_folder
    store.put("lakota.json", b"x")

    def failing(folder: str) -> None:
        if folder == str(tmp_path):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        flush(folder)

    monkeypatch.setattr(local, "_flush_folder", failing)
    with pytest.raises(StoreError):
        store.put("a/b/c", b"x")
    monkeypatch.setattr(local, "_flush_folder", flush)
    calls.clear()
    store.put("a/b/c", b"x")
    assert {("flush", str(tmp_path)), ("flush", str(tmp_path / "a"))} <= set(calls)


@needs_proc
def test_a_put_relies_on_no_flush_that_another_has_not_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, flush = LocalStore(tmp_path), local._flush_folder
    store.put("lakota.json", b"x")
    begun, below, go_on = threading.Event(), threading.Event(), threading.Event()
    seen: list[str] = []

    def slow(folder: str) -> None:
        seen.append(folder)
        if folder == str(tmp_path) and not begun.is_set():
            begun.set()
            assert go_on.wait(10)
        flush(folder)
        if folder == str(tmp_path / "a"):
            below.set()

    monkeypatch.setattr(local, "_flush_folder", slow)
    first = threading.Thread(target=store.put, args=("a/b/one", b"x"))
    first.start()
    assert begun.wait(10) and below.wait(10)
    time.sleep(0.05)  # so that the first has gone on as far as it can
    store.put("a/b/two", b"x")
    assert seen.count(str(tmp_path)) == 2
    go_on.set()
    first.join()


@needs_proc
def test_a_later_put_flushes_file_and_folder_only(
    tmp_path: Path, calls: list[tuple[str, str]]
) -> None:
    store = LocalStore(tmp_path)
    store.put("a/b", b"x")
    calls.clear()
    store.put("a/c", b"x")
    assert calls == [
        ("flush", "temporary"),
        ("rename", str(tmp_path / "a/c")),
        ("flush", str(tmp_path / "a")),
    ]


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch, calls: list[tuple[str, str]]) -> list[list[int]]:
    """What a flush of the file system shall fail with, in turn; 0 for one that does not."""
    failures: list[list[int]] = [[]]

    def flush(descriptor: int) -> None:
        calls.append(("flush", "everything"))
        if failures[0] and (number := failures[0].pop(0)):
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(local, "can_sync", lambda _: True)
    monkeypatch.setattr(local, "sync", flush)
    return failures


MANY = {f"a/{i % 7}/{i}": b"%d" % i for i in range(64)}


@needs_proc
def test_many_objects_at_once_are_flushed_then_renamed_then_flushed(
    tmp_path: Path, calls: list[tuple[str, str]], together: list[list[int]]
) -> None:
    store = LocalStore(tmp_path)
    store.put("b", b"")
    calls.clear()
    store.put_all(MANY)
    everything = ("flush", "everything")
    assert calls[0] == calls[-1] == everything
    assert set(calls[1:-1]) == {("rename", str(tmp_path / name)) for name in MANY}
    assert {name: store.get(name).to_pybytes() for name in MANY} == MANY
    calls.clear()
    store.put("a/0/x", b"")  # the folders are there for good
    assert [action for action, _ in calls] == ["flush", "rename", "flush"]


@needs_proc
@pytest.mark.parametrize("at", [0, 1])
def test_a_failed_flush_of_everything_is_never_acknowledged(
    tmp_path: Path, together: list[list[int]], at: int
) -> None:
    store = LocalStore(tmp_path)
    together[0] = [0] * at + [errno.EIO]
    with pytest.raises(StoreError, match="cannot write") as caught:
        store.put_all(MANY)
    assert caught.value.errno == errno.EIO
    assert not [name for name in files(tmp_path) if ".tmp-" in name]
    assert len(files(tmp_path)) == at * len(MANY)
    store.put_all(MANY)
    assert len(files(tmp_path)) == len(MANY)


@needs_proc
@pytest.mark.parametrize("at", [0, 1])
def test_where_the_system_refuses_to_flush_everything_each_file_is_flushed(
    tmp_path: Path, calls: list[tuple[str, str]], together: list[list[int]], at: int
) -> None:
    store = LocalStore(tmp_path)
    together[0] = [0] * at + [errno.EPERM]
    store.put_all(MANY)
    assert calls.count(("flush", "temporary")) == len(MANY)
    assert {("flush", str(tmp_path / f"a/{i}")) for i in range(7)} <= set(calls)
    assert files(tmp_path) == sorted(MANY)


@needs_proc
def test_on_a_file_system_that_is_not_known_each_file_is_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[tuple[str, str]]
) -> None:
    monkeypatch.setattr(local, "can_sync", lambda _: False)
    LocalStore(tmp_path).put_all(MANY)
    assert calls.count(("flush", "temporary")) == len(MANY)


@needs_proc
def test_a_flush_of_everything_is_known_to_work_on_local_disks_only(tmp_path: Path) -> None:
    for folder, known in ((tmp_path, True), (Path("/proc"), False)):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            if known:
                syncfs.sync(descriptor)
            assert syncfs.can_sync(descriptor) in ({True, False} if known else {False})
        finally:
            os.close(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        syncfs.sync(-1)


@needs_proc
def test_folders_of_a_writer_that_died_are_flushed_by_the_next(
    tmp_path: Path, calls: list[tuple[str, str]]
) -> None:
    (tmp_path / "repo/a/b").mkdir(parents=True)
    LocalStore(tmp_path / "repo").put("a/b/c", b"x")
    flushed = {path for action, path in calls if action == "flush"}
    assert {str(tmp_path / part) for part in ("", "repo", "repo/a", "repo/a/b")} <= flushed


@needs_proc
def test_folders_that_were_removed_are_flushed_again(
    tmp_path: Path, calls: list[tuple[str, str]]
) -> None:
    store = LocalStore(tmp_path / "repo")
    store.put("a/b", b"x")
    os.unlink(tmp_path / "repo/a/b")
    os.rmdir(tmp_path / "repo/a")
    calls.clear()
    store.put("a/b", b"x")
    assert ("flush", str(tmp_path / "repo")) in calls


@needs_proc
def test_touch_makes_durable_what_a_writer_left_behind(
    tmp_path: Path, calls: list[tuple[str, str]]
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b").write_bytes(b"x")
    assert LocalStore(tmp_path).touch("a/b")
    flushed = {path for action, path in calls if action == "flush"}
    assert {str(tmp_path / "a/b"), str(tmp_path / "a"), str(tmp_path)} <= flushed


@needs_proc
def test_delete_flushes_each_folder_once(tmp_path: Path, calls: list[tuple[str, str]]) -> None:
    store = LocalStore(tmp_path)
    store.put_all(dict.fromkeys(["a/1", "a/2", "b/1"], b"x"))
    calls.clear()
    store.delete(["a/1", "a/2", "b/1", "c/1"])
    assert Counter(calls) == {("flush", str(tmp_path / part)): 1 for part in ("a", "b")}
    assert (tmp_path / "a").is_dir()


@needs_proc
def test_nothing_is_flushed_if_the_system_is_trusted(
    tmp_path: Path, calls: list[tuple[str, str]]
) -> None:
    store = LocalStore(tmp_path / "repo", durability="os")
    store.put("a/b", b"x")
    store.put_all({"a/c": b"x", "a/d": b"x"})
    store.touch("a/b")
    store.delete(["a/b"])
    assert [action for action, _ in calls] == ["rename"] * 3


def test_a_root_in_a_folder_that_may_not_be_read_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def refusing(path: str, *args: int) -> int:
        if str(path) == str(tmp_path):
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, *args)

    (tmp_path / "repo").mkdir()
    monkeypatch.setattr(os, "open", refusing)
    LocalStore(tmp_path / "repo").put("a", b"x")
    assert files(tmp_path) == ["repo/a"]


# Failures


@pytest.mark.parametrize("step", ["fsync", "write", "replace"])
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()]
)
def test_a_put_that_fails_leaves_what_was_there_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    store = LocalStore(tmp_path)
    store.put("a/b", b"before")

    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(os, step, fail)
        with pytest.raises((StoreError, KeyboardInterrupt)) as caught:
            store.put("a/b", b"after")
    assert files(tmp_path) == ["a/b"]
    assert store.get("a/b").to_pybytes() == b"before"
    if isinstance(error, OSError):
        assert isinstance(caught.value, LakotaError)
        assert caught.value.errno == errno.ENOSPC
        for part in ("cannot write a/b", str(tmp_path), "No space left", "free some space"):
            assert part in str(caught.value)
    store.put("a/b", b"after")
    assert store.get("a/b").to_pybytes() == b"after"


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:1_000]))
    writev = os.writev

    def some(descriptor: int, pieces: Sequence[memoryview]) -> int:
        return writev(descriptor, [*pieces[:1], pieces[1][:700]])

    monkeypatch.setattr(os, "writev", some)
    store = LocalStore(tmp_path)
    store.put("a", b"0123456789" * 999)
    assert store.get("a").to_pybytes() == b"0123456789" * 999
    pieces = tuple(pa.py_buffer(bytes([n % 256]) * (n % 1_900)) for n in range(3_000))
    store.put("a", pieces)
    assert store.get("a").to_pybytes() == b"".join(pieces)


def test_no_more_is_given_at_once_than_every_system_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most, taken = 1_000, []

    def writev(descriptor: int, pieces: Sequence[memoryview]) -> int:
        taken.append(sum(map(len, pieces)))
        return os.write(descriptor, b"".join(pieces))

    monkeypatch.setattr(local, "_BYTES_AT_ONCE", most)
    monkeypatch.setattr(os, "writev", writev)
    store = LocalStore(tmp_path)
    pieces = tuple(pa.py_buffer(bytes([n]) * size) for n, size in enumerate([400] * 9 + [1_500, 9]))
    store.put("a", pieces)
    assert store.get("a").to_pybytes() == b"".join(pieces)
    assert max(taken) <= most < sum(taken)


def test_many_objects_at_once_are_written_where_no_folder_can_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Windows:
        name = "nt"

        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

        def open(self, path: str, flags: int) -> int:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(local, "os", Windows())
    monkeypatch.setattr(local, "sys", SimpleNamespace(platform="win32"))
    LocalStore(tmp_path).put_all(MANY)
    assert files(tmp_path) == sorted(MANY)


def test_put_all_raises_what_failed_and_waits_for_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path)
    place = LocalStore._place

    def failing(self: LocalStore, name: str, data: bytes) -> str:
        if name == "o/1":
            raise StoreError("no")
        time.sleep(0.01)
        return place(self, name, data)

    monkeypatch.setattr(LocalStore, "_place", failing)
    with pytest.raises(StoreError, match="no"):
        store.put_all({f"o/{n}": b"x" for n in range(20)})
    assert len(store.names("o")) == 19


def test_a_full_disk_is_reported_and_a_retry_succeeds(tmp_path: Path) -> None:
    mounted = tmp_path / "small"
    mounted.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(mounted)]
    try:
        allowed = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        allowed = False
    if not allowed:
        pytest.skip("may not mount a tmpfs here")
    try:
        store = LocalStore(mounted / "repo")
        store.put("a/1", b"x" * 100_000)
        with pytest.raises(StoreError, match="free some space") as caught:
            store.put("a/2", b"x" * 1_000_000)
        assert caught.value.errno == errno.ENOSPC
        assert files(mounted) == ["repo/a/1"]
        store.delete(["a/1"])
        store.put("a/2", b"x" * 100_000)
        assert store.get("a/2").size == 100_000
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


def test_a_file_in_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is not a folder"):
        LocalStore(tmp_path / "file")
    with pytest.raises(StoreError, match="something else is in its place"):
        LocalStore(tmp_path).put("file/a", b"x")
    with pytest.raises(StoreError, match="something else is in its place"):
        LocalStore(tmp_path / "file" / "repo").put("a", b"x")
    store = LocalStore(tmp_path / "repo")
    store.put("a/b", b"x")
    with pytest.raises(StoreError, match="something else is in its place"):
        store.put("a", b"x")
    store.delete(["a"])
    assert files(tmp_path) == ["file", "repo/a/b"]


@pytest.mark.parametrize("denied", ["stat", "listdir", "scandir", "unlink", "utime"])
def test_what_the_system_refuses_is_a_store_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, denied: str
) -> None:
    store = LocalStore(tmp_path)
    store.put("a/b", b"x")
    calls: dict[str, list[Callable[[], object]]] = {
        "stat": [lambda: store.exists("a/b"), lambda: store.mark("a")],
        "listdir": [lambda: store.names("a")],
        "scandir": [lambda: list(store.list("")), lambda: store.sweep(0)],
        "unlink": [lambda: store.delete(["a/b"])],
        "utime": [lambda: store.touch("a/b")],
    }

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, denied, refuse)
    for call in calls[denied]:
        with pytest.raises(StoreError, match="Permission denied; give this user") as caught:
            call()
        assert caught.value.errno == errno.EACCES


KILLED = """
import itertools, sys
from lakota.store import LocalStore
store = LocalStore(sys.argv[1])
for n in itertools.count():
    data = bytes([n % 256]) * 200_000
    store.put("same/a", data)
    store.put_all({f"many/{n % 5}/{i}": data for i in range(3)})
    print(n, flush=True)
"""


def test_a_killed_process_leaves_every_object_absent_or_whole(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "repo")
    acknowledged = 0
    for turn in range(200):
        if turn >= 20 and len(contents(store)) == 16:  # a busy machine takes longer
            break
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path / "repo")], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.003 * turn)
            process.send_signal(signal.SIGKILL)
            acknowledged += 1 + len(process.stdout.readlines())
        for name in contents(store):
            data = store.get(name).to_pybytes()
            assert len(data) == 200_000
            assert len(set(data)) == 1
    assert acknowledged >= 20
    assert len(contents(store)) == 16
    store.sweep(time.time() + 1_000)
    assert [name for name in files(tmp_path) if ".tmp-" in name] == []


# Reading


def test_reading_a_repo_that_is_not_there_creates_nothing(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "repo")
    assert not store.exists("a")
    assert not store.touch("a/b")
    assert contents(store) == set()
    assert store.names("log") == []
    assert store.mark("log") == ("absent",)
    assert store.sweep(0) == 0
    store.delete(["a/b"])
    with pytest.raises(ObjectMissingError, match="no object a in") as caught:
        store.get("a")
    assert caught.value.errno == errno.ENOENT
    assert list(tmp_path.iterdir()) == []


def test_a_large_object_is_mapped_and_a_small_one_read(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("small", b"x" * 1_000)
    store.put("large", b"x" * 1_000_000)
    mapped = Path("/proc/self/maps")
    if not mapped.exists():
        pytest.skip("needs /proc to see what is mapped")
    held = [store.get("small"), store.get("large")]
    names = mapped.read_text()
    assert str(tmp_path / "large") in names
    assert str(tmp_path / "small") not in names
    assert not any(buffer.is_mutable for buffer in held)


def test_what_cannot_be_mapped_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    store = LocalStore(tmp_path)
    store.put("large", b"x" * 1_000_000)
    monkeypatch.setattr("mmap.mmap", refuse)
    assert store.get("large").to_pybytes() == b"x" * 1_000_000


def test_strays_are_not_objects_and_stay(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("a/b", b"x")
    strays = ["a/.tmp-0123456789abcdef", "a/.DS_Store", "a/b c", "a/b~", ".git/config", "a b/c"]
    for name in strays:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"stray")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a/link").symlink_to(tmp_path / "a/b")
    deep = tmp_path / "1/2/3/4/5/6/7/8"
    deep.mkdir(parents=True)
    (deep / "9").write_bytes(b"stray")
    assert contents(store) == {"a/b"}
    assert "b" in store.names("a")
    assert all((tmp_path / name).exists() for name in strays)


def test_a_file_that_vanishes_while_it_is_listed_is_left_out(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put_all({"a/1": b"x", "a/2": b"x", "b/1": b"x"})
    listing = store.list("")
    first: Info = next(listing)
    store.delete(["a/1", "a/2", "b/1"])
    os.rmdir(tmp_path / "a")
    os.rmdir(tmp_path / "b")
    assert first.name in {"a/1", "a/2", "b/1"}
    assert list(listing) == []


def test_sweep_takes_old_temporary_files_only(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("a/b", b"x")
    old, new = tmp_path / "a/.tmp-0123456789abcdef", tmp_path / ".tmp-fedcba9876543210"
    foreign = tmp_path / "a/.tmp-notours"
    for path in (old, new, foreign):
        path.write_bytes(b"")
    for path in (old, foreign, tmp_path / "a/b"):
        os.utime(path, (0, 0))
    assert store.sweep(time.time() - 60) == 1
    assert files(tmp_path) == [".tmp-fedcba9876543210", "a/.tmp-notours", "a/b"]


def test_a_put_while_a_collector_deletes_the_old_object_of_that_name_is_not_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, writer = LocalStore(tmp_path), LocalStore(tmp_path)
    store.put("a/b", b"old")
    os.utime(tmp_path / "a" / "b", (0, 0))
    replace, stat = os.replace, os.stat
    seen = []

    def put_first(source: str, target: str) -> None:
        monkeypatch.setattr(os, "replace", replace)
        writer.put("a/b", b"new")
        monkeypatch.setattr(os, "stat", read_first)
        replace(source, target)

    def read_first(path: Any, **options: Any) -> os.stat_result:
        monkeypatch.setattr(os, "stat", stat)
        seen.append(writer.get("a/b").to_pybytes())
        assert writer.exists("a/b")
        return stat(path, **options)

    monkeypatch.setattr(os, "replace", put_first)
    store.expire(["a/b"], time.time() - 1000)
    assert seen == [b"new"]
    assert writer.get("a/b").to_pybytes() == b"new"


@pytest.mark.parametrize("put_again", [False, True])
def test_what_a_collector_was_about_to_delete_when_it_died_is_still_there(
    tmp_path: Path, put_again: bool
) -> None:
    store = LocalStore(tmp_path)
    store.put("a/b", b"x")
    (tmp_path / "a" / "b").rename(tmp_path / "a" / ".gone-b")
    assert store.get("a/b").to_pybytes() == b"x"
    assert contents(store, "") == set()
    if put_again:
        store.put("a/b", b"y")
    assert store.sweep(0) == 0
    assert store.get("a/b").to_pybytes() == (b"y" if put_again else b"x")
    assert os.listdir(tmp_path / "a") == ["b"]


def test_the_store_stays_where_it_is_when_the_process_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    store = LocalStore("repo")
    monkeypatch.chdir(tmp_path / "elsewhere")
    store.put("a", b"x")
    assert files(tmp_path) == ["repo/a"]


# Processes


def _put_many(root: str, start: int) -> None:
    store = LocalStore(root)
    for turn in range(10):
        store.put_all({f"o/{start + turn}/{n}": b"x" * 1_000 for n in range(4)})
        store.put("o/same", bytes([start]) * 1_000)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_processes_write_at_once_also_after_a_fork(tmp_path: Path, method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    _put_many(str(tmp_path), 0)  # starts the threads that a fork does not take along
    context = multiprocessing.get_context(method)
    processes = [
        context.Process(target=_put_many, args=(str(tmp_path), start)) for start in (100, 200)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
        process.kill()
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(contents(LocalStore(tmp_path))) == 3 * 10 * 4 + 1


def test_put_all_works_while_the_interpreter_ends(tmp_path: Path) -> None:
    code = (
        "import atexit, sys\n"
        "from lakota.store import LocalStore\n"
        "store = LocalStore(sys.argv[1])\n"
        "atexit.register(store.put_all, {'a': b'1', 'b': b'2', 'c': b'3'})\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=60)
    assert files(tmp_path) == ["a", "b", "c"]


# URIs


def test_memory_uris_are_shared_by_name_only() -> None:
    assert parse_uri(None) is not parse_uri(None)
    assert parse_uri("memory://") is not parse_uri("memory://")
    assert parse_uri("memory://x") is parse_uri("MEMORY://x")
    assert parse_uri("memory://x") is not parse_uri("memory://y")


def test_paths_and_file_uris_mean_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    expected: list[tuple[str | Path, str]] = [
        ("repo", "repo"),
        ("./some/repo", "some/repo"),
        (".", "."),
        (str(tmp_path / "repo"), "repo"),
        (tmp_path / "repo", "repo"),
        (Path("a:b"), "a:b"),
        ("~/repo", "home/repo"),
        (Path("~/repo"), "home/repo"),
        (f"file://{tmp_path}/repo", "repo"),
        (f"file://localhost{tmp_path}/repo", "repo"),
        (f"file://{tmp_path}/a%20b", "a b"),
        ("file://some/repo", "some/repo"),
        ("file://~/repo", "home/repo"),
    ]
    for uri, folder in expected:
        store = parse_uri(uri)
        assert isinstance(store, LocalStore)
        assert store.root == os.path.normpath(tmp_path / folder), uri
    trusting = parse_uri("repo", durability="os")
    assert isinstance(trusting, LocalStore)
    assert trusting.durability == "os"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("", "names no store"),
        (b"repo", "names no store"),
        (3, "names no store"),
        ("a\0b", "names no store"),
        ("file://", "names no folder"),
        ("file:///a%00b", "names no folder"),
        ("s3://", "names no place in a bucket"),
        ("s3:///", "names no place in a bucket"),
        ("gs://bucket/../other", "names no place in a bucket"),
        ("https://", "is no URL of a repo"),
        ("ssh://host/repo", "unknown scheme ssh://"),
        ("s3:/bucket", "expected 's3://...'"),
        ("file:/repo", "expected 'file://...'"),
    ],
)
def test_other_uris_are_refused_by_name(uri: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_uri(uri)


def test_an_unknown_durability_is_refused(tmp_path: Path) -> None:
    unknown: Any = "none"
    with pytest.raises(InputError, match="expected 'fsync' or 'os'"):
        LocalStore(tmp_path, durability=unknown)
