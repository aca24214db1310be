"""kill -9: real processes that write, merge, pull, pack, defrag and collect are killed at a random
moment. What they had acknowledged is there, everything is whole, and the same again succeeds."""

from __future__ import annotations

import functools
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fault_kit import SCHEMA, content, killed, numbers, rows

from lakota import Clock, Repo

from .programme import Tally

Say = Callable[[Any], None]


def write(say: Say, folder: str, other: str) -> None:
    series = Repo(folder) / "c" / "new"
    for turn in range(12):
        series.write(numbers(turn, turn + 1))
        say(turn)


def multi(say: Say, folder: str, other: str) -> None:
    clct = Repo(folder) / "c"
    for turn in range(8):
        with clct.multi():
            (clct / "new").write(numbers(turn, turn + 1))
            (clct / "too").write(numbers(turn, turn + 1))
        say(turn)


def merge(say: Say, folder: str, other: str) -> None:
    Repo(folder).merge()


def pull(say: Say, folder: str, other: str) -> None:
    Repo(folder).pull(other)


def pack(say: Say, folder: str, other: str) -> None:
    Repo(folder).pack()


def defrag(say: Say, folder: str, other: str) -> None:
    (Repo(folder) / "c").defrag(1)


def collect(say: Say, folder: str, other: str) -> None:
    repo = Repo(folder)
    (repo / "c").squash(max_chunk=1, grace=0)
    repo.gc(grace=0)


WORKFLOWS = (write, multi, merge, pull, pack, defrag, collect)


@functools.cache
def prepared() -> tuple[Path, tempfile.TemporaryDirectory[str]]:
    """A repo with two heads, many small pieces and old revisions, and one with more of both."""
    keep = tempfile.TemporaryDirectory(prefix="lakota-kill-")
    root = Path(keep.name)
    one = Repo(root / "one", durability="os", clock=Clock())
    two = Repo(root / "two", durability="os", clock=Clock())
    clct = one.create_collection(SCHEMA, "c")
    for turn in range(12):
        (clct / f"s{turn % 3}").write(numbers(10 * turn, 10 * turn + 15, turn))
    two.pull(one)
    for turn in range(12):
        (two / "c" / f"t{turn % 4}").write(numbers(turn, turn + 300, turn))
        (clct / f"u{turn % 3}").write(numbers(turn, turn + 9))
    shutil.copytree(root / "one", root / "heads")
    Repo(root / "heads", durability="os").pull(two)
    return root, keep


@functools.cache
def length(which: int) -> float:
    """Seconds that a workflow takes in a new process, or somewhat longer."""
    with _work(which) as folder:
        begun = time.perf_counter()
        WORKFLOWS[which](lambda _: None, folder, str(prepared()[0] / "two"))
        return 3 * (time.perf_counter() - begun) + 0.05


def _work(which: int) -> Any:
    root, _ = prepared()
    start = root / ("one" if WORKFLOWS[which] is pull else "heads")
    folder = tempfile.TemporaryDirectory(prefix="lakota-kill-")
    shutil.copytree(start, folder.name, dirs_exist_ok=True)
    return folder


def trial(number: int, tally: Tally) -> None:
    rng = random.Random(number)
    which = number % len(WORKFLOWS)
    act = WORKFLOWS[which]
    other = str(prepared()[0] / "two")
    with _work(which) as folder:
        before = _merged(folder)
        said, done = killed(act, folder, other, after=rng.random() * length(which))
        tally.counts[f"{act.__name__}s" if act is not multi else "multis"] += 1
        tally.counts["killed in the middle"] += not done
        tally.counts["acknowledged"] += len(said)
        where = f"{act.__name__}, {'done' if done else 'killed'}, said {said}"
        _whole(folder, where)
        found = content(Repo(folder))["c"]
        if act in (write, multi):
            _acknowledged(found, said, act, where)
        elif act is not pull and (now := _merged(folder)) != before:
            raise AssertionError(f"{where}: the content changed: {_apart(before, now)}")
        act(lambda _: None, folder, other)
        _whole(folder, f"{where}, and again")
        after = _merged(folder)
        if act is pull:
            before = _merged(str(prepared()[0] / "heads"))
        if {label: after["c"].get(label) for label in before["c"]} != before["c"]:
            raise AssertionError(f"{where}, and again: the content changed")


def _merged(folder: str) -> Any:
    repo = Repo(folder)
    return {c.label: {s: rows(c / s, merged=True) for s in c.ls(merged=True)} for c in repo}


def _apart(one: Any, two: Any) -> str:
    labels = [s for s in {*one["c"], *two["c"]} if one["c"].get(s) != two["c"].get(s)]
    return ", ".join(f"{s}: {one['c'].get(s)} became {two['c'].get(s)}" for s in labels)


def _whole(folder: str, where: str) -> None:
    report = Repo(folder).check()
    if not report:
        raise AssertionError(f"{where}: {report.damaged}")


def _acknowledged(found: Any, said: list[int], act: Any, where: str) -> None:
    keys = [key for key, _ in found.get("new", [])]
    if keys != list(range(len(keys))) or len(keys) < len(said):
        raise AssertionError(f"{where}: {keys} are there")
    if act is multi and found.get("new") != found.get("too"):
        raise AssertionError(f"{where}: half a commit")
