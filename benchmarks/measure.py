"""What is measured beside time: memory, bytes, files, flushes."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

Metrics = dict[str, float]

MARK = "/benchmark/"
"""Begins the path of a file that does not exist: how `flushes_of` speaks to a tracer."""


def timed(act: Callable[[], T]) -> tuple[float, T]:
    """Seconds, and what came of it."""
    started = time.perf_counter()
    found = act()
    return time.perf_counter() - started, found


def median_of(times: int, act: Callable[[], Any]) -> float:
    """The median seconds of some runs."""
    return statistics.median(timed(act)[0] for _ in range(times))


def memory(what: str) -> int:
    """Bytes that the process has, as the kernel says: VmRSS, VmHWM, RssAnon. 0 where unknown."""
    try:
        with open("/proc/self/status") as status:
            for line in status:
                if line.startswith(f"{what}:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


class Peak:
    """The most memory that a block took over what was there before, in bytes."""

    bytes: int = 0

    def __enter__(self) -> Peak:
        try:
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")  # start the high-water mark anew
        except OSError:
            pass
        self._before = memory("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        self.bytes = max(memory("VmHWM") - self._before, 0)


@contextmanager
def flushes_of(metric: str, times: int = 1) -> Iterator[None]:
    """A block whose flushes to disk count as `metric`, divided by `times`.

    Whoever traces this process sees two harmless calls around the block; without a tracer nothing
    is counted: see `tracer.py`.
    """
    os.access(f"{MARK}begin/{metric}/{times}", os.F_OK)
    try:
        yield
    finally:
        os.access(f"{MARK}end/", os.F_OK)


def stored(folder: str) -> tuple[int, int]:
    """Bytes and number of the files below a folder, as the disk has them: a sparse file counts
    with what it really takes, if that is less."""
    sizes = []
    for parent, _, names in os.walk(folder):
        for name in names:
            status = os.lstat(os.path.join(parent, name))
            taken = getattr(status, "st_blocks", 1 << 60) * 512
            sizes.append(min(status.st_size, taken))
    return sum(sizes), len(sizes)
