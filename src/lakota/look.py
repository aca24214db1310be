"""Looks at a remote store: what a collection is, and its revisions, asked for once an operation.

Of a store in a folder a look is a stat or two, and an operation takes one of the registry.
Elsewhere each look is a round of listings, so an operation takes one: the registry and the
revisions at once. A read does not even wait for it: it begins with what was there at the last look.
If the look then shows that nothing has changed, the result is that of now; otherwise it is thrown
away, as is an error, and the read is made again. A write begins when it has looked, and is made on
the revisions that it saw then, if it comes to that at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from .changelog import Listing
from .history import History
from .site import Site
from .store.parallel import aside

__all__ = ["Find", "Look", "Looker", "one_look", "one_look_first"]

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen. Without a history: only what the collection is. One who writes, and may look
    at what he wrote, has the `listing` that he began with."""

    site: Site
    history: History | None = None
    listing: Listing | None = None

    def same(self, other: Look) -> bool:
        """Whether nothing has changed between the two."""
        return self.site is other.site and self.history is other.history


class Find(Protocol):
    """Finds a collection as it is now, or `lately`: as it was a moment ago, if somebody looked."""

    def __call__(self, *, lately: bool = False) -> Site: ...


class _Block:
    def __init__(self) -> None:
        self.looked = False


_OPEN: ContextVar[Mapping[int, Look]] = ContextVar("lakota_open_looks")
_NONE: Mapping[int, Look] = {}
_BLOCKS: ContextVar[dict[int, _Block]] = ContextVar("lakota_open_blocks")


class Looker:
    """Takes looks at one collection, which `find` finds."""

    def __init__(self, find: Find, last: Look | None = None) -> None:
        self._find = find
        self._last = last
        self._seen: Site | None = None if last is None else last.site

    @property
    def site(self) -> Site:
        """The collection as the open look shows it, or as it is now."""
        found = self._open
        return self._find() if found is None else found.site

    @property
    def recent(self) -> Site:
        """The collection as it was at some time: for what never changes."""
        if self._seen is None:
            self._seen = self.site
        return self._seen

    @property
    def history(self) -> History:
        """Its revisions as the open look shows them, or as they are now."""
        found = self._open
        if found is None or found.history is None:
            return self.site.changelog.history()
        return found.history

    @property
    def listing(self) -> Listing | None:
        """What the writer whose look is open has seen of its revisions, if he has."""
        found = self._open
        return None if found is None else found.listing

    def again(self) -> None:
        """Look again, if a look is open: what it showed has gone meanwhile."""
        if self._open is not None:
            _OPEN.set({**_OPEN.get(_NONE), id(self): self._fresh()})

    def read(self, act: Callable[[], T]) -> T:
        """The result of `act`, which changes nothing, on one look."""
        if self._open is not None:
            return act()
        last = self._last
        if last is not None and not last.site.objects.store.remote:
            return self._on(Look(self._find()), act)
        if last is None or last.history is None:
            fresh = self._fresh()
        else:
            coming = self._coming(last)
            guess = _attempt(lambda: self._on(last, act))
            fresh = coming()
            if guess.exception() is None and last.same(fresh):
                return guess.result()
        return self._on(fresh, act)

    def write(self, act: Callable[[], T], *, ends: bool = False) -> T:
        """The result of `act` on one look at what the collection is, and far away on one at its
        revisions at the same time: unless it is in a block, of which it is not the end."""
        last = self._last
        if self._open is not None:
            return act()
        if last is None or not last.site.objects.store.remote:
            return self._on(Look(self._find()), act)
        block = _BLOCKS.get({}).get(id(last.site.changelog))
        if block is not None and not ends:
            site = self._find(lately=block.looked)
            block.looked = True
            return self._on(Look(site), act)
        found = aside(self._find)
        listing = last.site.changelog.look()  # here, for it may wait for a turn
        try:
            site = found.result()
            result = self._on(Look(site, None, listing), act)
        finally:
            listing.end()
        self._last = Look(site, site.changelog.last)
        return result

    @contextmanager
    def block(self) -> Iterator[None]:
        """Writes of this thread that will be committed together. Far away, one who has looked at
        what the collection is need not look again for a while."""
        if self._last is None:
            yield
            return
        key = id(self._last.site.changelog)
        token = _BLOCKS.set({**_BLOCKS.get({}), key: _Block()})
        try:
            yield
        finally:
            _BLOCKS.reset(token)

    @property
    def _open(self) -> Look | None:
        return _OPEN.get(_NONE).get(id(self))

    def _on(self, look: Look, act: Callable[[], T]) -> T:
        token = _OPEN.set({**_OPEN.get(_NONE), id(self): look})
        try:
            return act()
        finally:
            _OPEN.reset(token)

    def _fresh(self) -> Look:
        last = self._last
        if last is None:
            site = self._find()
            if not site.objects.store.remote:
                self._last = Look(site)
                return self._last
            self._last = Look(site, site.changelog.history())
            return self._last
        return self._coming(last)()

    def _coming(self, last: Look) -> Callable[[], Look]:
        """Begin to look. Gives what waits for it: nothing that goes on aside waits for another one
        that does, or all might."""
        seen, found = aside(last.site.changelog.history), aside(self._find)

        def fresh() -> Look:
            history = seen.result()
            self._last = Look(found.result(), history)
            return self._last

        return fresh


class _Looking(Protocol):
    @property
    def _looker(self) -> Looker: ...


S = TypeVar("S", bound=_Looking)


def one_look(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """A method that reads, on one look."""

    @wraps(method)
    def looking(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._looker.read(lambda: method(self, *args, **kwargs))

    return looking


def one_look_first(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """A method that writes, after one look."""

    @wraps(method)
    def looking(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._looker.write(lambda: method(self, *args, **kwargs))

    return looking


def _attempt(act: Callable[[], T]) -> Future[T]:
    """What `act` gives or raises."""
    found: Future[T] = Future()
    try:
        found.set_result(act())
    except Exception as error:
        found.set_exception(error)
    return found
