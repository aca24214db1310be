"""A store in the memory of this process: what it holds ends with it.

Objects are buffers that nobody changes, so `get` hands out the same one without a copy.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import count
from math import inf
from typing import NoReturn

import pyarrow as pa

from ..errors import InputError, ObjectMissingError
from .base import Content, Info, ReplacedError, Store, Tail, check_folder, check_name, in_one

__all__ = ["MemoryStore"]


class MemoryStore(Store):
    """Objects in a dictionary, for any number of threads.

    >>> store = MemoryStore()
    >>> store.put("notes/a", b"one")
    >>> store.get("notes/a").to_pybytes(), store.names("notes")
    (b'one', ['a'])
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: dict[str, tuple[pa.Buffer, float, int]] = {}
        self._puts = count()
        self._folders: defaultdict[str, set[str]] = defaultdict(set)
        self._changes: Counter[str] = Counter()  # by folder

    def __repr__(self) -> str:
        return "MemoryStore()"

    def __reduce__(self) -> NoReturn:
        raise InputError(
            "a repo in memory cannot go to another process: use a folder, or push it to one"
        )

    def get(self, name: str) -> pa.Buffer:
        return self._find(name)[0]

    def tail(self, name: str, length: int) -> Tail:
        data, _, version = self._find(name)
        return Tail(data.slice(max(data.size - length, 0)), data.size, version)

    def ranges(
        self, name: str, spans: Sequence[tuple[int, int]], version: Hashable
    ) -> Sequence[pa.Buffer]:
        data, _, found = self._find(name)
        if found != version:
            raise ReplacedError(f"{name} was replaced while it was being read: read it again")
        return [data.slice(start, stop - start) for start, stop in spans]

    def put(self, name: str, data: Content) -> None:
        check_name(name)
        data = in_one(data)
        # Bytes cannot change; any other buffer may belong to a caller who goes on using it.
        kept = pa.py_buffer(data if isinstance(data, bytes) else memoryview(data).tobytes())
        with self._lock:
            self._objects[name] = (kept, time.time(), next(self._puts))
            folder, _, part = name.rpartition("/")
            self._folders[folder].add(part)
            self._changes[folder] += 1

    def exists(self, name: str) -> bool:
        return check_name(name) in self._objects

    def list(self, prefix: str) -> Iterator[Info]:
        start = f"{check_folder(prefix)}/" if prefix else ""
        with self._lock:
            objects = [*self._objects.items()]
        for name, (data, modified, _) in objects:
            if name.startswith(start):
                yield Info(name, data.size, modified)

    def names(self, prefix: str) -> Sequence[str]:
        check_folder(prefix)
        with self._lock:
            return list(self._folders.get(prefix, ()))

    def delete(self, names: Iterable[str]) -> None:
        self.expire(names, inf)

    def expire(self, names: Iterable[str], older_than: float) -> None:
        for name in names:
            check_name(name)
            with self._lock:
                found = self._objects.get(name)
                if found is not None and found[1] < older_than:
                    del self._objects[name]
                    folder, _, part = name.rpartition("/")
                    self._folders[folder].discard(part)
                    self._changes[folder] += 1

    def touch(self, name: str) -> bool:
        check_name(name)
        with self._lock:
            found = self._objects.get(name)
            if found is not None:
                self._objects[name] = (found[0], time.time(), found[2])
        return found is not None

    def _find(self, name: str) -> tuple[pa.Buffer, float, int]:
        found = self._objects.get(check_name(name))
        if found is None:
            raise ObjectMissingError(f"there is no object {name} in this memory store")
        return found

    def mark(self, prefix: str) -> int:
        return self._changes[check_folder(prefix)]
