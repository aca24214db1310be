"""What a store of objects is. Small on purpose: every method is paid for by every backend.

Names are relative paths with `/`. An object appears whole or not at all, and is only ever
replaced by one with the same rows, so no store needs a lock, a rename, an append or a
conditional write. `mark` and `put_all` have defaults that are right everywhere.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import NamedTuple

import pyarrow as pa

from ..errors import StoreError

__all__ = ["Info", "Store", "check_name"]

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,199}")


class Info(NamedTuple):
    """One object in a listing."""

    name: str
    size: int
    """Bytes."""
    modified: float
    """Seconds since the epoch, by the store's clock."""


def check_name(name: str) -> str:
    """The one guard of names: returns `name`, or raises `StoreError`.

    A name is 1 to 8 parts joined by `/`. A part starts with a letter, a digit or `_` and
    goes on with these, `.` and `-`: no `..`, nothing hidden, nothing absolute, no backslash.

    >>> check_name("segments/ab/cdef.arrow")
    'segments/ab/cdef.arrow'
    """
    parts = name.split("/") if isinstance(name, str) else []
    if not 1 <= len(parts) <= 8 or not all(_PART.fullmatch(part) for part in parts):
        raise StoreError(
            f"{name!r} cannot name an object: expected 1 to 8 parts joined by '/', each of "
            "letters, digits, '_', '.' and '-', none starting with '.' or '-'"
        )
    return name


class Store(ABC):
    """Objects under names."""

    remote: bool = False
    """Whether bytes travel: decides the default codec (`plain` if not, `packed` if so)."""

    @abstractmethod
    def get(self, name: str) -> pa.Buffer:
        """The bytes of `name`; raises `ObjectMissingError`."""

    @abstractmethod
    def put(self, name: str, data: pa.Buffer | bytes) -> None:
        """Write `name`: atomic, idempotent, durable on return. Always writes, also over an
        object that is there: this repairs a damaged one and renews its age."""

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Whether `name` is there."""

    @abstractmethod
    def list(self, prefix: str) -> Iterator[Info]:
        """Every object below the folder `prefix` (recursive, in no order, `""` for all).
        A folder that is not there is empty. Strays whose names fail the guard are left out."""

    @abstractmethod
    def delete(self, names: Iterable[str]) -> None:
        """Delete, in the order given; those that are not there are passed over."""

    @abstractmethod
    def touch(self, name: str) -> bool:
        """Renew the age of `name`, so that a collector leaves it; False if it is not there."""

    def put_all(self, objects: Mapping[str, pa.Buffer | bytes]) -> None:
        """Write several, in any order, perhaps at once; durable on return."""
        for name, data in objects.items():
            self.put(name, data)

    def mark(self, prefix: str) -> Hashable | None:
        """A value that differs after any change to the names directly in folder `prefix`;
        None where the store has no cheap one, which means: list again."""
        return None

    def sweep(self, older_than: float) -> int:
        """Remove leftovers of writers that died, last touched before `older_than` (seconds
        since the epoch). Returns how many."""
        return 0
