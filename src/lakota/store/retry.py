"""A store that asks again when another one does not answer.

Everything that a store does may be done twice: a put writes the same bytes, a delete passes over
what is gone. So it does not matter whether a request was lost on its way or its answer was, and
every call that ends in `UnavailableError` is made again: no connection, a broken one, a timeout,
"slow down" (429, 503), a failure of the server (5xx). What the store says for good is passed on at
once: an object that is not there, rights that are refused, a bucket that does not exist.

Waits grow from `first` seconds, doubling up to `longest`, each by chance between none and all of
it, so that writers who were turned away together do not come back together. After `patience`
seconds without success the last error is raised.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import TypeVar

import pyarrow as pa

from ..errors import InputError, ObjectMissingError, UnavailableError
from .base import Content, Info, Store, Tail, Turn
from .parallel import at_once

__all__ = ["RetryingStore"]

T = TypeVar("T")

_LISTED = 1_000


class RetryingStore(Store):
    """The objects of `inner`. `patience`, `first`, `longest`: seconds, see above.

    Raises `InputError` for waits that are negative.

    >>> from lakota.store import MemoryStore
    >>> store = RetryingStore(MemoryStore(), patience=60)
    >>> store.put("a", b"one")
    >>> store.get("a").to_pybytes()
    b'one'
    """

    def __init__(
        self,
        inner: Store,
        *,
        patience: float = 30.0,
        first: float = 0.1,
        longest: float = 5.0,
    ) -> None:
        if not (patience >= 0 and first >= 0 and longest >= 0):
            raise InputError(
                f"patience={patience!r}, first={first!r}, longest={longest!r}: expected seconds, 0 "
                "or more"
            )
        self.inner = inner
        self.patience, self.first, self.longest = patience, first, longest
        self.remote, self.tidied = inner.remote, inner.tidied

    def __repr__(self) -> str:
        return f"RetryingStore({self.inner!r})"

    @property
    def place(self) -> Hashable:
        return self.inner.place

    def get(self, name: str) -> pa.Buffer:
        return self._try(lambda: self.inner.get(name))

    def tail(self, name: str, length: int) -> Tail:
        return self._try(lambda: self.inner.tail(name, length))

    def ranges(
        self, name: str, spans: Sequence[tuple[int, int]], version: Hashable
    ) -> Sequence[pa.Buffer]:
        # One by one, so that of many only those are asked for again that failed.
        def act(span: tuple[int, int]) -> pa.Buffer:
            (found,) = self._try(lambda: self.inner.ranges(name, [span], version))
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
        self._try(lambda: self.inner.put(name, data))

    def put_all(self, objects: Mapping[str, Content]) -> None:
        at_once(lambda item: self.put(*item), objects.items())

    def exists(self, name: str) -> bool:
        return self._try(lambda: self.inner.exists(name))

    def list(self, prefix: str) -> Iterator[Info]:
        seen: set[str] = set()
        listing = self.inner.list(prefix)

        def more() -> list[Info]:
            nonlocal listing
            try:
                return list(islice(listing, _LISTED))
            except UnavailableError:
                listing = self.inner.list(prefix)  # from the start; what was told is not told again
                raise

        while some := self._try(more):
            new = [info for info in some if info.name not in seen]
            seen.update(info.name for info in new)
            yield from new

    def names(self, prefix: str) -> Sequence[str]:
        return self._try(lambda: self.inner.names(prefix))

    def turn(self, prefix: str) -> Turn:
        return self._try(lambda: self.inner.turn(prefix))

    def delete(self, names: Iterable[str]) -> None:
        everything = [*names]
        self._try(lambda: self.inner.delete(everything))

    def expire(self, names: Iterable[str], older_than: float) -> None:
        everything = [*names]
        self._try(lambda: self.inner.expire(everything, older_than))

    def touch(self, name: str) -> bool:
        return self._try(lambda: self.inner.touch(name))

    def mark(self, prefix: str) -> Hashable | None:
        return self._try(lambda: self.inner.mark(prefix))

    def sweep(self, older_than: float) -> int:
        return self._try(lambda: self.inner.sweep(older_than))

    def _try(self, act: Callable[[], T]) -> T:
        begun, longest = time.monotonic(), self.first
        while True:
            try:
                return act()
            except UnavailableError:
                wait = random.uniform(0, min(longest, self.longest))
                if time.monotonic() + wait - begun >= self.patience:
                    raise
                time.sleep(wait)
                longest *= 2
