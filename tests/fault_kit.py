"""What the tests of faults share: a schema, rows that can be told apart, killed processes."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from lakota import Repo, Schema, Series

SCHEMA = Schema(n="int*", x="float")

PROCESSES = multiprocessing.get_context("forkserver")
"""Processes that have imported the package already and share no thread with the tests."""
PROCESSES.set_forkserver_preload(["lakota", "polars", "fault_kit"])


def numbers(start: int, stop: int, shift: float = 0.0) -> dict[str, Any]:
    """Rows with the keys `start` to `stop`, and values that say which write they are of."""
    keys = np.arange(start, stop)
    return {"n": keys, "x": keys + shift}


def rows(series: Series, **options: Any) -> list[tuple[Any, ...]]:
    """All rows of a series."""
    return list(zip(*series.frame(**options).to_pydict().values(), strict=True))


def content(repo: Repo) -> dict[str, dict[str, list[tuple[Any, ...]]]]:
    """All rows of a repo."""
    return {c.label: {s.label: rows(s) for s in c} for c in repo}


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a folder and what is in it."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def intact(repo: Repo) -> bool:
    """Whether a check finds nothing damaged; shows what it finds."""
    report = repo.check()
    assert report.damaged == ()
    return bool(report)


def _run(act: Callable[..., None], pipe: Connection, args: tuple[Any, ...]) -> None:
    pipe.send("ready")
    pipe.recv()
    act(pipe.send, *args)
    pipe.send("done")


def killed(
    act: Callable[..., None], *args: Any, after: float, said: int = 0, patience: float = 60
) -> tuple[list[Any], bool]:
    """Run `act(say, *args)` in a process and kill it (SIGKILL) `after` seconds from its start,
    or from when it has said something `said` times. Returns what it said, and whether it was
    done before."""
    here, there = PROCESSES.Pipe()
    process = PROCESSES.Process(target=_run, args=(act, there, args))
    process.start()
    there.close()
    heard: list[Any] = []
    try:
        assert here.poll(patience) and here.recv() == "ready"
        here.send("go")
        while len(heard) < said and here.poll(patience):
            heard.append(here.recv())
        time.sleep(after)
    finally:
        process.kill()
        process.join()
    try:
        while True:
            heard.append(here.recv())
    except (EOFError, ConnectionResetError):
        here.close()
    done = heard[-1:] == ["done"]
    return heard[:-1] if done else heard, done


def together(*calls: tuple[Callable[..., None], tuple[Any, ...]], patience: float = 120) -> None:
    """Run functions in processes of their own, at once; all must end well."""
    processes = [PROCESSES.Process(target=act, args=args) for act, args in calls]
    for process in processes:
        process.start()
    for process in processes:
        process.join(patience)
        process.kill()
        process.join()
    assert [process.exitcode for process in processes] == [0] * len(processes)
