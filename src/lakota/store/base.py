"""What a store of objects is. Small on purpose: every method is paid for by every backend.

Names are relative paths with `/`. An object appears whole or not at all, and is only ever
replaced by one with the same rows, so no store needs a lock, a rename, an append or a
conditional write. What has a default here is right everywhere; a store overrides it to be quicker.

A folder is the part of names before a `/`; it is there while a name below it is. Stores may be
used by many threads and many processes at once.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from typing import NamedTuple, TypeAlias, TypeVar

import pyarrow as pa
from xxhash import xxh3_128_digest

from ..errors import DamagedError, ObjectMissingError, StoreError

__all__ = [
    "MOST_PARTS",
    "TAIL",
    "Content",
    "Info",
    "ReplacedError",
    "Store",
    "Tail",
    "Turn",
    "check_folder",
    "check_name",
    "decoded",
    "in_one",
    "is_part",
    "size_of",
]

T = TypeVar("T")

MOST_PARTS = 8

TAIL = 1 << 20
"""Bytes of the end of a large object that are read first: they cost about as much as the wait for
a request does."""

Content: TypeAlias = pa.Buffer | bytes | tuple[pa.Buffer, ...]
"""The bytes of an object, in one piece or in several: so what lies here and there in memory can be
written from where it is."""

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,199}")


class Info(NamedTuple):
    """One object in a listing."""

    name: str
    size: int
    """Bytes."""
    modified: float
    """Seconds since the epoch, by the store's clock."""


class Tail(NamedTuple):
    """The end of an object."""

    data: pa.Buffer
    size: int
    """Bytes of the whole object."""
    version: Hashable
    """Of the object's bytes: another one after a replacement by other bytes."""


class Turn(NamedTuple):
    """The turn of one who is about to commit to a collection."""

    names: Sequence[str]
    """What is in its folder now."""
    end: Callable[[], object] = tuple
    """To be called when he has, or will not."""


class ReplacedError(StoreError):
    """The object has other bytes now than its reader began with: to be read from the start."""


def in_one(content: Content) -> pa.Buffer | bytes:
    """Content in one piece, for a store that cannot write it in several: these are copied.

    >>> in_one((pa.py_buffer(b"one "), pa.py_buffer(b"two")))
    b'one two'
    """
    if not isinstance(content, tuple):
        return content
    return content[0] if len(content) == 1 else b"".join(content)


def size_of(content: Content) -> int:
    """Bytes of content."""
    pieces = content if isinstance(content, tuple) else (content,)
    return sum(memoryview(piece).nbytes for piece in pieces)


def is_part(text: str) -> bool:
    """Whether `text` can stand between the `/` of a name."""
    return _PART.fullmatch(text) is not None


def check_name(name: str) -> str:
    """The one guard of names: returns `name`, or raises `StoreError`.

    A name is 1 to 8 parts joined by `/`. A part starts with a letter, a digit or `_` and
    goes on with these, `.` and `-`: no `..`, nothing hidden, nothing absolute, no backslash.

    >>> check_name("segments/ab/cdef.arrow")
    'segments/ab/cdef.arrow'
    """
    parts = name.split("/") if isinstance(name, str) else []
    if not 1 <= len(parts) <= MOST_PARTS or not all(map(is_part, parts)):
        raise StoreError(
            f"{name!r} cannot name an object: expected 1 to {MOST_PARTS} parts joined by '/', each "
            "of letters, digits, '_', '.' and '-', none starting with '.' or '-'"
        )
    return name


def check_folder(prefix: str) -> str:
    """The guard of folders: as for names, and `""` is the whole store.

    >>> check_folder("segments/ab"), check_folder("")
    ('segments/ab', '')
    """
    return prefix if prefix == "" else check_name(prefix)


def decoded(store: Store, name: str, decode: Callable[[pa.Buffer], T]) -> T:
    """What `decode` makes of an object. What is damaged in a cache is kept no longer, and read from
    the store itself."""
    try:
        return decode(store.get(name))
    except DamagedError:
        if not store.forget(name):
            raise
        return decode(store.origin.get(name))


class Store(ABC):
    """Objects under names. Every method raises `StoreError` for what cannot name an object or
    a folder, and where the store fails."""

    remote: bool = False
    """Whether bytes travel: decides the default codec (`plain` if not, `packed` if so)."""
    tidied: bool = False
    """Whether somebody else, a server, moves old revisions into archives."""

    @property
    def place(self) -> Hashable:
        """Equal for stores of this process that hold the same objects, where that is known."""
        return id(self)

    @property
    def origin(self) -> Store:
        """The store that has the objects, where this one keeps copies; else this one."""
        return self

    def forget(
        self, name: str, version: Hashable = None, spans: Iterable[tuple[int, int]] = ()
    ) -> bool:
        """Keep no copy of `name`, nor of these ranges of that version: they are damaged. Whether
        there may have been any: then it is worth reading again."""
        return False

    @abstractmethod
    def get(self, name: str) -> pa.Buffer:
        """The bytes of `name`, which stay as they are whatever happens to the object later;
        raises `ObjectMissingError`."""

    @abstractmethod
    def put(self, name: str, data: Content) -> None:
        """Write `name`: atomic, idempotent, durable on return. Always writes, also over an
        object that is there: this repairs a damaged one and renews its age. A put that fails
        leaves what was there before. `in_one` makes one piece of content in several."""

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Whether `name` is there."""

    @abstractmethod
    def list(self, prefix: str) -> Iterator[Info]:
        """Every object below the folder `prefix` (recursive, in no order, `""` for all).
        A folder that is not there is empty. Strays whose names fail the guard are left out."""

    @abstractmethod
    def delete(self, names: Iterable[str]) -> None:
        """Delete, in the order given; those that are not there are passed over. Durable on
        return, but within one call a power loss may undo some and not others: where the order
        must survive it, make several calls."""

    def expire(self, names: Iterable[str], older_than: float) -> None:
        """Delete as `delete` does, but leave those that were put or touched since `older_than`
        (seconds since the epoch): somebody relies on them. A store that can looks at the age in
        the very moment; by default moments lie between, in which a put may be undone."""
        for folder, some in groupby(sorted(names), lambda name: name.rpartition("/")[0]):
            old = {info.name for info in self.list(folder) if info.modified < older_than}
            self.delete([name for name in some if name in old])

    @abstractmethod
    def touch(self, name: str) -> bool:
        """Renew the age of `name`, so that a collector leaves it; False if it is not there.
        On return the object is as durable as if put: its writer may have died before it was.
        """

    def tail(self, name: str, length: int) -> Tail:
        """The last `length` bytes of `name`, or more of them; raises `ObjectMissingError`."""
        data = self.get(name)
        return Tail(data, data.size, xxh3_128_digest(data))

    def ranges(
        self, name: str, spans: Sequence[tuple[int, int]], version: Hashable
    ) -> Sequence[pa.Buffer]:
        """The bytes from `start` up to, not including, `stop` of each span of `name`. They are
        of the `version` that `tail` told; raises `ReplacedError` if there is another one now,
        and `ObjectMissingError`."""
        data = self.get(name)
        if xxh3_128_digest(data) != version:
            raise ReplacedError(f"{name} was replaced while it was being read: read it again")
        return [data.slice(start, stop - start) for start, stop in spans]

    def get_all(self, names: Iterable[str]) -> Mapping[str, pa.Buffer]:
        """The bytes of several objects, perhaps got at once; those not there are left out."""
        found = {}
        for name in names:
            with suppress(ObjectMissingError):
                found[name] = self.get(name)
        return found

    def names(self, prefix: str) -> Sequence[str]:
        """What is directly in folder `prefix`, by name without the folder, in no order. Quick:
        strays and folders may be among them."""
        start = len(check_folder(prefix)) + 1 if prefix else 0
        below = (info.name[start:] for info in self.list(prefix))
        return [name for name in below if "/" not in name]

    def turn(self, prefix: str) -> Turn:
        """What `names` says, for one who is about to add to the folder. Where many are at once, a
        store may let some wait, so that few do at a time. Nothing relies on it."""
        return Turn(self.names(prefix))

    def put_all(self, objects: Mapping[str, Content]) -> None:
        """Write several, in any order, perhaps at once; durable on return."""
        for name, data in objects.items():
            self.put(name, data)

    def mark(self, prefix: str) -> Hashable | None:
        """A value that differs after any change to the names directly in folder `prefix`;
        None where the store has no cheap one, which means: list again. Take it before the
        listing that it stands for. A store's clock may tick slowly, so a mark taken within
        moments of a change may miss one that follows at once."""
        return None

    def sweep(self, older_than: float) -> int:
        """Remove leftovers of writers that died, last touched before `older_than` (seconds
        since the epoch). Returns how many."""
        return 0
