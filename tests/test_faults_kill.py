"""Faults of a machine: a process that is killed, a power that fails, a disk that fills up."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_kit import SCHEMA, content, intact, killed, numbers, rows

from lakota import Repo, StoreError
from lakota.store import local
from lakota.store.syncfs import sync

KILLS = [6, pytest.param(100, marks=pytest.mark.long)]


# --- kill -9 (rows 2 and 3) --------------------------------------------------------------


def write_on(say: Callable[[Any], None], folder: str, first: int) -> None:
    """Append, replace and delete without end, telling what is done."""
    clct = Repo(folder) / "c"
    for turn in range(first, 10_000):
        clct.series("appended").write(numbers(turn, turn + 1))
        clct.series("replaced").write(numbers(0, 50, turn))
        with clct.multi():
            clct.series("a").write(numbers(0, 3, turn))
            clct.series("b").write(numbers(0, 3, turn))
        clct.series("deleted").write(numbers(turn, turn + 2))
        clct.series("deleted").delete(turn, turn)
        say(turn)


@pytest.mark.parametrize("kills", KILLS)
def test_a_killed_writer_loses_nothing_that_returned_and_tears_nothing(
    tmp_path: Path, kills: int
) -> None:
    Repo(tmp_path).create_collection(SCHEMA, "c")
    acknowledged = -1
    for kill in range(kills):
        said, _ = killed(
            write_on, str(tmp_path), acknowledged + 1, said=kill % 3, after=random.random() * 0.08
        )
        acknowledged = max([acknowledged, *said])
        clct = Repo(tmp_path) / "c"
        appended = [n for n, _ in rows(clct / "appended")]
        assert appended == list(range(len(appended)))
        assert acknowledged + 1 <= len(appended) <= acknowledged + 2
        shifts = {x - n for n, x in rows(clct / "replaced")}
        assert len(shifts) <= 1 and shifts <= {acknowledged, acknowledged + 1}
        assert rows(clct / "a") == rows(clct / "b")  # of one commit: both or none
        left = {n for n, _ in rows(clct / "deleted")}
        assert left <= {acknowledged + 1, acknowledged + 2}
        assert left or acknowledged < 0
        assert len(clct.changelog.heads()) <= 1
    assert acknowledged > kills / 4
    assert intact(Repo(tmp_path))


def retry(say: Callable[[Any], None], folder: str) -> None:
    """What an application does that was killed: the same again, from the start."""
    repo = Repo(folder)
    clct = repo.create_collection(SCHEMA, "c", raise_if_exists=False)
    for label in ("a", "b"):
        clct.series(label).write(numbers(0, 100_000))
        say(label)


@pytest.mark.parametrize("kills", KILLS)
def test_a_write_that_is_tried_again_after_a_kill_succeeds(tmp_path: Path, kills: int) -> None:
    whole = rows_of_retry(tmp_path / "whole")
    for kill in range(kills):
        folder = tmp_path / str(kill)
        said, _ = killed(retry, str(folder), after=0.1 * kill / kills)
        clct_rows = content(Repo(folder)).get("c", {})
        assert set(said) <= set(clct_rows)
        assert all(len(found) == 100_000 for found in clct_rows.values())
        retry(lambda _: None, str(folder))
        assert content(Repo(folder)) == whole
        assert intact(Repo(folder))
        shutil.rmtree(folder)


def rows_of_retry(folder: Path) -> Any:
    retry(lambda _: None, str(folder))
    return content(Repo(folder))


def history(folder: Path) -> Repo:
    """A repo with enough to do for each of the chores below."""
    repo = Repo(folder, durability="os")
    for label in ("c", "d"):
        clct = repo.create_collection(SCHEMA, label)
        for turn in range(6):
            with clct.multi():
                for n in range(3):
                    clct.series(f"s{n}").write(numbers(100 * turn, 100 * turn + 120, turn))
    return repo


def do_pull(say: Callable[[Any], None], folder: str, source: str) -> None:
    Repo(folder).pull(source)


def do_defrag(say: Callable[[Any], None], folder: str, source: str) -> None:
    for clct in Repo(folder):
        clct.defrag(1)


def do_pack(say: Callable[[Any], None], folder: str, source: str) -> None:
    Repo(folder).pack()


def do_trim_and_gc(say: Callable[[Any], None], folder: str, source: str) -> None:
    repo = Repo(folder)
    for clct in repo:
        clct.squash(max_chunk=1, grace=0)
    repo.gc(grace=0)


def quiet(_: Any) -> None:
    """Says nothing."""


@pytest.mark.parametrize("kills", KILLS)
@pytest.mark.parametrize("chore", [do_pull, do_defrag, do_pack, do_trim_and_gc])
def test_a_chore_that_is_killed_and_run_again_leaves_all_rows(
    tmp_path: Path, chore: Callable[..., None], kills: int
) -> None:
    source = tmp_path / "source"
    expected = content(history(source))
    start = tmp_path / "start"
    if chore is do_pull:
        start.mkdir()
    else:
        shutil.copytree(source, start)
    trial = tmp_path / "trial"
    shutil.copytree(start, trial)
    begun = time.perf_counter()
    chore(quiet, str(trial), str(source))
    takes = time.perf_counter() - begun
    finished = 0
    for kill in range(kills):
        folder = tmp_path / "work"
        shutil.copytree(start, folder)
        _, done = killed(chore, str(folder), str(source), after=takes * (kill + 0.5) / kills)
        finished += done
        if chore is not do_pull:
            assert content(Repo(folder)) == expected
        else:
            assert intact(Repo(folder))
        chore(quiet, str(folder), str(source))
        assert content(Repo(folder)) == expected
        assert intact(Repo(folder))
        shutil.rmtree(folder)
    assert finished < kills  # some were cut short


# --- power (row 5) -----------------------------------------------------------------------


class Disk:
    """What a power loss would leave of a folder: only what was flushed is there for certain."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = str(root)
        self.data: dict[str, bytes] = {}  # flushed content by path, also of temporary files
        self.named: dict[str, bytes] = {}  # names that were flushed with their folder
        self.renamed: dict[str, bytes] = {}  # names that were not yet
        self.folders: set[str] = set()
        self.losses: list[dict[str, bytes]] = []
        self._fsync, self._replace = os.fsync, os.replace
        monkeypatch.setattr(os, "fsync", self.fsync)
        monkeypatch.setattr(os, "replace", self.replace)
        monkeypatch.setattr(local, "sync", self.sync)

    def sync(self, descriptor: int) -> None:
        sync(descriptor)
        self.named.update(self.renamed)
        self.renamed.clear()
        for folder, folders, files in os.walk(self.root):
            self.folders.update(os.path.join(folder, name) for name in folders)
            for path in (os.path.join(folder, name) for name in files):
                self.data[path] = Path(path).read_bytes()
        self.losses.append(self.after_a_loss())

    def fsync(self, descriptor: int) -> None:
        self._fsync(descriptor)
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if os.path.isdir(path):
            for name in [n for n in self.renamed if os.path.dirname(n) == path]:
                self.named[name] = self.renamed.pop(name)
            self.folders.update(os.path.join(path, f) for f in os.listdir(path))
        else:
            self.data[path] = Path(path).read_bytes()
        self.losses.append(self.after_a_loss())

    def replace(self, source: str, target: str) -> None:
        # Of a file that was not flushed, the name may come to the disk without the content.
        self.renamed[target] = self.data.pop(source, b"")
        self._replace(source, target)
        self.losses.append(self.after_a_loss())

    def after_a_loss(self) -> dict[str, bytes]:
        """Flushed names, and of the others some, as the system pleases."""
        lucky = {n: d for n, d in self.renamed.items() if random.random() < 0.5}
        return {
            os.path.relpath(name, self.root): data
            for name, data in {**self.named, **lucky}.items()
            if self.reached(os.path.dirname(name))
        }

    def reached(self, folder: str) -> bool:
        """Whether every folder from the root down to this one was flushed into the one above."""
        while folder != self.root:
            if folder not in self.folders:
                return False
            folder = os.path.dirname(folder)
        return True


def restore(files: dict[str, bytes], folder: Path) -> Repo:
    shutil.rmtree(folder, ignore_errors=True)
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return Repo(folder)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc to see what is flushed")
@pytest.mark.parametrize("together", [2, 64])
def test_a_power_loss_at_any_moment_leaves_every_write_that_returned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(local, "_BATCH", together)
        disk = Disk(tmp_path / "repo", patched)
        repo = Repo(tmp_path / "repo")
        clct = repo.create_collection(SCHEMA, "c")
        returned: list[tuple[int, int]] = []  # losses so far, rows written by then
        for turn in range(12):
            clct.series("s").write(numbers(10 * turn, 10 * turn + 10))
            returned.append((len(disk.losses), 10 * turn + 10))
        clct.defrag(1)
        repo.pack()
        losses = disk.losses
    assert len(losses) > 80
    for at, left in enumerate(losses):
        found = restore(left, tmp_path / "left")
        known = max((count for seen, count in returned if seen <= at), default=0)
        kept = content(found).get("c", {}).get("s", [])
        assert kept == [(n, float(n)) for n in range(len(kept))]
        assert known <= len(kept) <= known + 10
        assert intact(found)


# --- a full disk (row 4) -----------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        allowed = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        allowed = False
    if not allowed:
        pytest.skip("may not mount a small disk here; see the test with a simulated one")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told_and_all_goes_on_once_there_is_space(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    repo = Repo(small_disk / "repo")
    clct = repo.create_collection(SCHEMA, "c")
    expected: list[tuple[int, float]] = []
    for turn in range(20):
        ballast.write_bytes(b"x" * (600_000 - 4096 * (turn % 8)))
        before = rows(clct / "s")
        assert before == expected
        with pytest.raises(StoreError, match="free some space") as caught:
            for part in range(40):
                clct.series(f"filler{part}").write(numbers(0, 2_000, turn))
            clct.series("s").write(numbers(0, 40_000))
        assert caught.value.errno == errno.ENOSPC
        assert rows(clct / "s") == rows(Repo(small_disk / "repo") / "c" / "s") == expected
        ballast.unlink()
        clct.delete(*(label for label in clct.ls() if label != "s"))
        clct.trim(grace=0)
        repo.gc(grace=0)
        (clct / "s").write(numbers(turn * 100, turn * 100 + 100))
        expected += [(n, float(n)) for n in range(turn * 100, turn * 100 + 100)]
    assert intact(Repo(small_disk / "repo"))


def test_a_disk_that_fills_at_any_step_of_a_write_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same with a simulated disk, at each of the system's calls in turn."""
    repo = Repo(tmp_path / "repo")
    series = repo.create_collection(SCHEMA, "c") / "s"
    write = os.write
    room = 0

    def filling(descriptor: int, data: memoryview) -> int:
        nonlocal room
        if room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        room -= 1
        return write(descriptor, data)

    failures = 0
    for turn in range(12):
        room = turn % 6
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", filling)
            try:
                series.write(numbers(turn, turn + 1))
            except StoreError as error:
                failures += 1
                assert error.errno == errno.ENOSPC
                assert "free some space" in str(error)
        assert intact(Repo(tmp_path / "repo"))
        assert not list(tmp_path.rglob(".tmp-*"))
        series.write(numbers(turn, turn + 1))
        assert rows(Repo(tmp_path / "repo") / "c" / "s") == [(n, n) for n in range(turn + 1)]
    assert failures >= 6
