"""Which pages a reader of a remote store will probably want after one. Values only: no store.

Whoever reads several pages under one parent reads mostly all of them, in order. So the first is
fetched alone, then two at once, then four, and so on: of many pages few rounds are left, and never
more than about twice of what is needed is fetched. Pages of a level go on at the pace of the last.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from .digest import Digest
from .page import Page

__all__ = ["Readahead"]

KEPT = 1 << 16
"""Pages of which it is known which follow."""
FASTEST = 6
"""Pages at once: two to the power of this."""


@dataclass(slots=True)
class _Family:
    """The pages under one parent."""

    names: list[Digest]
    pace: int


class Readahead:
    """What was learned from pages that were read. Threads may share it."""

    def __init__(self) -> None:
        self._families: OrderedDict[Digest, tuple[_Family, int]] = OrderedDict()
        self._lock = threading.Lock()

    def learn(self, page: Page) -> None:
        """Note which pages are below one."""
        if not page.level:
            return
        with self._lock:
            own = self._families.get(page.name)
            family = _Family([e.name for e in page.entries], max(own[0].pace - 1, 0) if own else 0)
            self._families.update((name, (family, i)) for i, name in enumerate(family.names))
            while len(self._families) > KEPT:
                self._families.popitem(last=False)

    def wanted(self, name: Digest) -> list[Digest]:
        """The page that is asked for and those to fetch with it."""
        with self._lock:
            found = self._families.get(name)
            if found is None:
                return [name]
            family, at = found
            count = 1 << family.pace
            family.pace = min(family.pace + 1, FASTEST)
            return family.names[at : at + count]
