"""Faults of a store: at each of its calls, in turn, an error, a full disk, a write that stops half
way, or the end of the process before or after it.

After each, what is there is what was before or what was wanted, and whole; the error has its name;
and the same again succeeds.
"""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
from fault_kit import SCHEMA, content, numbers

from lakota import LakotaError, Repo, StoreError
from lakota.store import Info, MemoryStore, Store

from .disk import Crash
from .programme import Tally

FAULTS = ("EIO", "ENOSPC", "short write", "crash before", "crash after")
Files = dict[str, bytes]


class FaultyStore(Store):
    """A store of which the call of one number fails in one way."""

    def __init__(self, files: Files, at: int = -1, fault: str = "") -> None:
        self.inner = MemoryStore()
        for name, data in files.items():
            self.inner.put(name, data)
        self.at, self.fault = at, fault
        self.calls = 0
        self.dead = False
        self.fired = False

    def files(self) -> Files:
        return {i.name: self.inner.get(i.name).to_pybytes() for i in self.inner.list("")}

    def _call(self, act: Callable[[], Any], half: Callable[[], Any] = lambda: None) -> Any:
        if self.dead:
            raise Crash
        self.calls += 1
        if self.calls - 1 != self.at:
            return act()
        self.fired = True
        if self.fault.startswith("crash"):
            self.dead = True
            if self.fault == "crash after":
                act()
            raise Crash
        if self.fault == "short write":
            half()
        number = errno.EIO if self.fault == "EIO" else errno.ENOSPC
        failure = StoreError(f"cannot do it: {os.strerror(number)}")
        failure.errno = number
        raise failure

    def get(self, name: str) -> pa.Buffer:
        found: pa.Buffer = self._call(lambda: self.inner.get(name))
        return found

    def put(self, name: str, data: pa.Buffer | bytes) -> None:
        self._call(lambda: self.inner.put(name, data))

    def put_all(self, objects: Mapping[str, pa.Buffer | bytes]) -> None:
        some = dict(list(objects.items())[: len(objects) // 2])
        self._call(lambda: self.inner.put_all(objects), lambda: self.inner.put_all(some))

    def exists(self, name: str) -> bool:
        return bool(self._call(lambda: self.inner.exists(name)))

    def list(self, prefix: str) -> Iterator[Info]:
        return iter(self._call(lambda: list(self.inner.list(prefix))))

    def names(self, prefix: str) -> Sequence[str]:
        found: Sequence[str] = self._call(lambda: self.inner.names(prefix))
        return found

    def delete(self, names: Iterable[str]) -> None:
        all_ = list(names)
        self._call(
            lambda: self.inner.delete(all_), lambda: self.inner.delete(all_[: len(all_) // 2])
        )

    def touch(self, name: str) -> bool:
        return bool(self._call(lambda: self.inner.touch(name)))


def _write(repo: Repo, other: Repo) -> None:
    clct = repo / "c"
    clct.series("s").write(numbers(2, 6, 0.5))


def _multi(repo: Repo, other: Repo) -> None:
    with (repo / "c").multi():
        (repo / "c" / "s").delete(0, 3)
        (repo / "c" / "t").upsert(numbers(1, 3, 0.5))


def _read(repo: Repo, other: Repo) -> None:
    content(repo)


def _push(repo: Repo, other: Repo) -> None:
    other.push(repo)


def _pull(repo: Repo, other: Repo) -> None:
    repo.pull(other)


def _merge(repo: Repo, other: Repo) -> None:
    repo.merge()


def _pack(repo: Repo, other: Repo) -> None:
    repo.pack()


def _trim(repo: Repo, other: Repo) -> None:
    (repo / "c").squash(max_chunk=1, grace=0)


def _gc(repo: Repo, other: Repo) -> None:
    repo.gc(grace=0)


def _tidy(repo: Repo, other: Repo) -> None:
    (repo / "c").changelog.tidy(0, 1)


WORKFLOWS: tuple[Callable[[Repo, Repo], None], ...] = (
    *(_write, _pull, _gc),
    *(_multi, _read, _push, _merge, _pack, _trim, _tidy),
)
"""Those of the short form first."""


@functools.cache
def history() -> tuple[Files, Files]:
    """A repo with two heads and some garbage, and another one with more."""
    one, two = Repo(), Repo()
    clct = one.create_collection(SCHEMA, "c")
    for turn in range(4):
        for label in ("s", "t"):
            (clct / label).write(numbers(3 * turn, 3 * turn + 4, turn))
    two.pull(one)
    (two / "c" / "s").write(numbers(1, 3, 9))
    (clct / "t").write(numbers(4, 6, 8))
    one.pull(two)
    two.create_collection(SCHEMA, "d")
    (two / "d" / "s").write(numbers(0, 3))
    (two / "c" / "t").write(numbers(20, 30, 7))
    one.store.put("pages/ab/" + "0" * 30 + ".page", b"garbage")
    return _files(one), _files(two)


def _files(repo: Repo) -> Files:
    return {i.name: repo.store.get(i.name).to_pybytes() for i in repo.store.list("")}


@functools.cache
def cases() -> list[tuple[int, int, str]]:
    """Every call of every workflow, with every fault."""
    found = []
    for number, workflow in enumerate(WORKFLOWS):
        store = FaultyStore(history()[0])
        workflow(Repo(store), _other())
        found += [(number, at, fault) for at in range(store.calls) for fault in FAULTS]
    return found


def _other() -> Repo:
    return Repo(FaultyStore(history()[1]))


def trial(number: int, tally: Tally) -> None:
    """The case of that number; past the last one, nothing."""
    if number >= len(cases()):
        return
    which, at, fault = cases()[number]
    workflow = WORKFLOWS[which]
    before, _ = history()
    old = content(Repo(FaultyStore(before)))
    good = FaultyStore(before)
    workflow(Repo(good), _other())
    new = content(Repo(good))
    store = FaultyStore(before, at, fault)
    where = f"{workflow.__name__.strip('_')}, call {at}, {fault}"
    try:
        workflow(Repo(store), _other())
        if store.fired:
            tally.counts["without effect"] += 1
    except Crash:
        tally.counts["crashes"] += 1
    except LakotaError as error:
        tally.counts["errors"] += 1
        if not isinstance(error, StoreError) or error.errno not in (errno.EIO, errno.ENOSPC):
            raise AssertionError(f"{where}: the error is {error!r}") from error
    left = FaultyStore(store.files())
    found = content(Repo(left))
    allowed = [old, new] if workflow not in (_pull, _push) else [old, new, {"c": new["c"]}]
    if found not in allowed and not _is_between(found, old, new):
        raise AssertionError(f"{where}: reads {found}")
    report = Repo(left).check()
    if not report:
        raise AssertionError(f"{where}: {report.damaged}")
    again = Repo(left)
    workflow(again, _other())
    if content(again) != new:
        raise AssertionError(f"{where}: tried again, it reads {content(again)}")
    tally.counts[f"{workflow.__name__.strip('_')} calls"] += 1


def _is_between(found: Any, old: Any, new: Any) -> bool:
    """Whether each series is old or new: a workflow of several commits may stop between them."""
    return found.keys() <= old.keys() | new.keys() and all(
        rows in (old.get(label, {}).get(name), new.get(label, {}).get(name))
        for label, series in found.items()
        for name, rows in series.items()
    )
