"""Logical time: a hybrid logical clock of nanoseconds.

A stamp is the wall clock's nanoseconds since 1970 (UTC) as long as that runs ahead of every
stamp the clock has given out or seen; otherwise it is the last one plus one. So stamps are
strictly increasing in a process, a write is always later than every write that its writer
knew of, whatever the wall clocks say, and in ordinary life a stamp is the time.

Source: Kulkarni, Demirbas et al., "Logical Physical Clocks" (OPODIS 2014), with the logical
part folded into the low digits of the nanoseconds.
"""

from __future__ import annotations

import operator
import threading
import time
from collections.abc import Callable
from typing import Any, NewType

from .errors import InputError

__all__ = ["CLOCK", "Clock", "Stamp"]

Stamp = NewType("Stamp", int)
"""Nanoseconds since 1970 (UTC), made unique; 0 is before everything."""
LAST = (1 << 63) - 1


class Clock:
    """A source of stamps. `now` gives the wall clock in nanoseconds; inject it to replay a
    history under its own times or to test skewed clocks.

    >>> clock = Clock(now=lambda: 100)
    >>> clock.tick(), clock.tick()
    (100, 101)
    >>> clock.observe(500)
    >>> clock.tick()
    501
    >>> Clock(now=lambda: 100).tick(3)  # 98, 99, 100: nothing is stamped later than now
    98
    """

    def __init__(self, now: Callable[[], int] = time.time_ns) -> None:
        if not callable(now):
            raise InputError(f"Clock(now={now!r}): expected a function, such as time.time_ns")
        self._now = now
        self._last = 0
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """In another process: a clock that has seen nothing yet."""
        return Clock, (self._now,)

    def tick(self, count: int = 1) -> Stamp:
        """The first of `count` consecutive stamps that nobody else in this process gets.

        The last of them is now, so that what was written is seen by a read as of now. Raises
        `InputError` if `now` gives no whole number, as `time.time` does.
        """
        if _whole("count", count) < 1:
            raise InputError(f"tick({count!r}): expected 1 stamp or more")
        with self._lock:
            now = _whole("now()", self._now())
            first = max(now - count + 1, self._last + 1)
            self._last = first + count - 1
        return Stamp(first)

    def observe(self, stamp: int) -> None:
        """Remember that `stamp` was seen: whatever comes next is later."""
        stamp = _whole("stamp", stamp)
        with self._lock:
            self._last = max(self._last, stamp)


def _whole(what: str, value: Any) -> int:
    """A number of nanoseconds or of stamps, as an int. Raises `InputError`."""
    try:
        found = operator.index(value)
    except TypeError:
        found = LAST + 1
    if found > LAST:
        raise InputError(
            f"{what} is {value!r}: expected a whole number of nanoseconds since 1970, as "
            "time.time_ns() gives, before the year 2262"
        )
    return found


CLOCK = Clock()
"""The process's clock: shared by all repos, so that two writes in one process never tie."""
