"""Turns: of many who are about to commit to one collection, FEW do at a time; the others wait.

Commits that know nothing of each other make a head each, and the next ones join them all. So what
dozens do at once costs each of them dozens of manifests, and is done sooner one after the other.

Nothing relies on it. A turn ends with the next revision that comes, whoever sends it, or with its
time; who has waited long, or finds too many waiting, gets one all the same.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from dataclasses import dataclass, field

__all__ = ["FEW", "Turns"]

FEW = 4
LEASE = 5.0
"""Seconds of a turn, at most."""
TICK = 0.25
"""Seconds after which who waits looks whether a turn has ended by its time."""
_REMEMBERED = 256


@dataclass
class _Queue:
    """Of one collection."""

    ends: OrderedDict[str, float] = field(default_factory=OrderedDict)
    """Who has a turn, and when it ends; oldest first."""
    waiting: OrderedDict[asyncio.Future[None], str] = field(default_factory=OrderedDict)
    """And who waits."""


class Turns:
    """The turns of one server, in its event loop. At most `most` wait, for `patience` seconds."""

    def __init__(self, most: int, patience: float) -> None:
        self._most = most
        self._patience = patience
        self._waiting = 0
        self._queues: dict[str, _Queue] = {}
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()

    async def take(self, key: str, who: str, patience: float = math.inf) -> None:
        """Wait for a turn at what `key` names. Who has one that he did not use, for he had nothing
        to commit after all, keeps it."""
        loop = asyncio.get_running_loop()
        if self._waiting >= self._most:
            return
        if len(self._queues) >= _REMEMBERED:
            for each in [*self._queues]:
                self._hand_on(each)
        queue = self._queues.setdefault(key, _Queue())
        mine = loop.create_future()
        queue.waiting[mine] = who
        if who in queue.ends:
            queue.waiting.move_to_end(mine, last=False)
        self._waiting += 1
        try:
            end = loop.time() + min(patience, self._patience)
            self._hand_on(key)
            while not mine.done() and loop.time() < end:
                await asyncio.wait([mine], timeout=TICK)
                self._hand_on(key)
        finally:
            self._waiting -= 1
            queue.waiting.pop(mine, None)
            self._hand_on(key)

    def give(self, key: str, child: str) -> None:
        """A revision that makes `child` has come, perhaps one of several."""
        if (key, child) in self._seen:
            return
        self._seen[key, child] = None
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        if key in self._queues:
            if self._queues[key].ends:
                self._queues[key].ends.popitem(last=False)
            self._hand_on(key)

    def _hand_on(self, key: str) -> None:
        """Give those who wait the turns that are free."""
        now, queue = asyncio.get_running_loop().time(), self._queues.get(key)
        if queue is None:
            return
        while queue.ends and next(iter(queue.ends.values())) <= now:
            queue.ends.popitem(last=False)
        while queue.waiting:
            first, who = next(iter(queue.waiting.items()))
            if who not in queue.ends and len(queue.ends) >= FEW:
                break
            del queue.waiting[first]
            queue.ends[who] = now + LEASE
            queue.ends.move_to_end(who)
            if not first.done():
                first.set_result(None)
        if not (queue.ends or queue.waiting):
            del self._queues[key]
