"""Work that is shared out among threads: what runs without the lock of the interpreter."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

__all__ = ["each", "share"]

_T = TypeVar("_T")
_R = TypeVar("_R")

_pools: dict[int, ThreadPoolExecutor] = {}


def each(function: Callable[[_T], _R], items: Sequence[_T]) -> list[_R]:
    """`function` of each item, by several threads."""
    found: dict[int, _R] = {}

    def act(at: int) -> None:
        found[at] = function(items[at])

    share(act, iter(range(len(items))), len(items))
    return [found[at] for at in range(len(items))]


def share(act: Callable[[_T], None], items: Iterator[_T], count: int) -> None:
    """`act` on each of `count` items; on four or more by several threads, of which this is one.
    The first error ends it, and is raised once nothing of it goes on any more."""
    lock, failed = threading.Lock(), threading.Event()

    def work() -> None:
        try:
            while not failed.is_set():
                with lock:
                    item = next(items, None)
                if item is None:
                    return
                act(item)
        except BaseException:
            failed.set()
            raise

    workers = min(os.cpu_count() or 1, count // 2)
    others = [_pool().submit(work) for _ in range(workers - 1)]
    try:
        work()
    finally:
        running = [other for other in others if not other.cancel()]
        wait(running)
    for other in running:
        other.result()


def _pool() -> ThreadPoolExecutor:
    pid = os.getpid()  # the threads of a parent do not exist in a forked child
    workers = os.cpu_count() or 1
    return _pools.get(pid) or _pools.setdefault(pid, ThreadPoolExecutor(workers, "lakota-codec"))
