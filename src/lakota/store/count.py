"""A store that counts what is asked of another one, and may answer as late as a far one would."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import NamedTuple, TypeVar

import pyarrow as pa

from ..errors import ObjectMissingError
from .base import Content, Info, Store, Tail, Turn, size_of
from .parallel import at_once

__all__ = ["CountingStore", "Request", "rounds"]

T = TypeVar("T")

LISTED = 1_000


class Request(NamedTuple):
    """One request to a store."""

    method: str
    name: str
    bytes: int
    """Of content, sent or received."""
    begun: float
    """Seconds of `time.monotonic`."""
    ended: float


def rounds(requests: Iterable[Request]) -> int:
    """How many of the requests waited for one another: the length of the longest row of them of
    which each began after the one before had ended.

    >>> rounds([Request("get", "a", 1, 0, 2), Request("get", "b", 1, 1, 3)])
    1
    >>> rounds([Request("get", "a", 1, 0, 2), Request("get", "b", 1, 2, 3)])
    2
    """
    found, free = 0, float("-inf")
    for request in sorted(requests, key=lambda r: r.ended):
        if request.begun >= free:
            found, free = found + 1, request.ended
    return found


class CountingStore(Store):
    """The objects of `inner`, with the `requests` that were made for them, oldest first.

    `latency`: seconds by which every request is held up, to see what a network does. `remote`:
    False to pass for a store whose bytes do not travel; by default as `inner` or, with a latency,
    True. What `inner` does in several requests, as the listing of thousands, counts as so many.

    >>> from lakota.store import MemoryStore
    >>> store = CountingStore(MemoryStore())
    >>> store.put("a", b"one")
    >>> [(r.method, r.name, r.bytes) for r in store.requests]
    [('put', 'a', 3)]
    """

    def __init__(self, inner: Store, *, latency: float = 0.0, remote: bool | None = None) -> None:
        self.inner = inner
        self.latency = latency
        self.requests: list[Request] = []
        self.remote = inner.remote or latency > 0 if remote is None else remote
        self.tidied = inner.tidied
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"CountingStore({self.inner!r})"

    @property
    def place(self) -> Hashable:
        return self.inner.place

    def clear(self) -> None:
        """Forget what was counted."""
        with self._lock:
            self.requests = []

    def rounds(self) -> int:
        """How many of the requests waited for one another."""
        return rounds(self.requests)

    def get(self, name: str) -> pa.Buffer:
        return self._ask("get", name, lambda: self.inner.get(name), len)

    def tail(self, name: str, length: int) -> Tail:
        return self._ask("tail", name, lambda: self.inner.tail(name, length), lambda t: t.data.size)

    def ranges(
        self, name: str, spans: Sequence[tuple[int, int]], version: Hashable
    ) -> Sequence[pa.Buffer]:
        def act(span: tuple[int, int]) -> pa.Buffer:
            (found,) = self._ask(
                "range",
                name,
                lambda: self.inner.ranges(name, [span], version),
                lambda parts: sum(map(len, parts)),
            )
            return found

        return at_once(act, spans)

    def get_all(self, names: Iterable[str]) -> Mapping[str, pa.Buffer]:
        found: dict[str, pa.Buffer] = {}

        def act(name: str) -> None:
            with suppress(ObjectMissingError):
                found[name] = self.get(name)

        at_once(act, names)
        return found

    def put(self, name: str, data: Content) -> None:
        size = size_of(data)
        self._ask("put", name, lambda: self.inner.put(name, data), lambda _: size)

    def put_all(self, objects: Mapping[str, Content]) -> None:
        at_once(lambda item: self.put(*item), objects.items())

    def exists(self, name: str) -> bool:
        return self._ask("exists", name, lambda: self.inner.exists(name))

    def list(self, prefix: str) -> Iterator[Info]:
        listing = self.inner.list(prefix)
        while True:
            some = self._ask("list", prefix, lambda: list(islice(listing, LISTED)))
            yield from some
            if len(some) < LISTED:
                return

    def names(self, prefix: str) -> Sequence[str]:
        found = self._ask("list", prefix, lambda: self.inner.names(prefix))
        self._listed(prefix, found)
        return found

    def turn(self, prefix: str) -> Turn:
        found = self._ask("list", prefix, lambda: self.inner.turn(prefix))
        self._listed(prefix, found.names)
        return found

    def _listed(self, prefix: str, found: Sequence[str]) -> None:
        """What comes after a first page of names."""
        for _ in range((len(found) - 1) // LISTED):
            self._ask("list", prefix, lambda: None)

    def delete(self, names: Iterable[str]) -> None:
        everything = [*names]
        for at in range(0, len(everything), LISTED):
            some = everything[at : at + LISTED]
            self._ask("delete", some[0], partial(self.inner.delete, some))

    def expire(self, names: Iterable[str], older_than: float) -> None:
        everything = [*names]
        self._ask("expire", "", lambda: self.inner.expire(everything, older_than))

    def touch(self, name: str) -> bool:
        return self._ask("touch", name, lambda: self.inner.touch(name))

    def mark(self, prefix: str) -> Hashable | None:
        return None if self.remote else self.inner.mark(prefix)

    def sweep(self, older_than: float) -> int:
        return self._ask("sweep", "", lambda: self.inner.sweep(older_than))

    def _ask(
        self, method: str, name: str, act: Callable[[], T], size: Callable[[T], int] | None = None
    ) -> T:
        begun, count = time.monotonic(), 0
        try:
            if self.latency:
                time.sleep(self.latency)
            found = act()
            count = 0 if size is None else size(found)
            return found
        finally:
            with self._lock:
                self.requests.append(Request(method, name, count, begun, time.monotonic()))
