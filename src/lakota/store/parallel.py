"""Requests at once: what takes long in a remote store is waiting, not work."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["REQUESTS", "aside", "at_once", "beside", "is_busy"]

T = TypeVar("T")
R = TypeVar("R")

REQUESTS = 16
"""Requests that one process has under way at once."""


def at_once(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """`function` of each item, by several threads. Nothing of it goes on after the return; of
    several failures the first is raised. Inside of `function`, `at_once` goes one by one.

    >>> at_once(abs, [-1, -2, -3])
    [1, 2, 3]
    """
    everything = [*items]
    if len(everything) < 2 or is_busy():
        return [function(item) for item in everything]
    *others, last = everything
    running: list[Future[R]] = []
    try:
        for item in others:
            try:
                running.append(_pool.submit(_busily, function, item))
            except RuntimeError:  # the interpreter is ending and starts no more threads
                done: Future[R] = Future()
                done.set_result(function(item))
                running.append(done)
        final = function(last)
    except BaseException:
        for future in running:
            future.cancel()
        for future in running:
            if not future.cancelled():
                future.exception()
        raise
    failures = [future.exception() for future in running]
    for failure in failures:
        if failure is not None:
            raise failure
    return [*(future.result() for future in running), final]


def is_busy() -> bool:
    """Whether this thread is one of those that others may be waiting for."""
    return getattr(_here, "busy", False)


def aside(function: Callable[[], R]) -> Future[R]:
    """`function` by a thread of its own, while the caller does something else.

    >>> aside(list).result()
    []
    """
    try:
        return _asides.submit(function)
    except RuntimeError:
        done: Future[R] = Future()
        try:
            done.set_result(function())
        except Exception as error:
            done.set_exception(error)
        return done


@contextmanager
def beside(function: Callable[[], object]) -> Iterator[Future[object]]:
    """`function` while the block runs, which ends when both have. Nothing that it raises is raised:
    that is for who looks at what is given.

    >>> with beside(list) as done:
    ...     pass
    >>> done.result()
    []
    """
    running = aside(function)
    try:
        yield running
    finally:
        running.exception()


def _busily(function: Callable[[T], R], item: T) -> R:
    # If the threads of the pool waited for others of the pool, all might wait.
    _here.busy = True
    try:
        return function(item)
    finally:
        _here.busy = False


_here = threading.local()


def _new_pool() -> None:
    global _pool, _asides
    _pool = ThreadPoolExecutor(REQUESTS, thread_name_prefix="lakota-request")
    _asides = ThreadPoolExecutor(REQUESTS, thread_name_prefix="lakota-aside")


_pool: ThreadPoolExecutor
_asides: ThreadPoolExecutor
_new_pool()
if hasattr(os, "register_at_fork"):
    # A forked process has the pool but not its threads.
    os.register_at_fork(after_in_child=_new_pool)
