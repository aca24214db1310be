"""What was fetched before, kept near: `Repo([cache, ..., store])`.

Kept are objects that never change: segments, pages, revisions and archives of them. What is there
now is always asked of the store itself: listings, marks, whether an object exists, its age. So a
cache can be old, small, shared or deleted at any time, and reads stay right: what it has under a
name has the rows that the name stands for, if perhaps in an older encoding.

Writes go to the store, and once it has them, into the caches. Nothing that a cache fails at fails
a read or a write.

Of large segments the ends and ranges are kept, under keys that tell of which version they are.
"""

from __future__ import annotations

import json
import os
import random
import re
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from io import FileIO
from typing import Any

import pyarrow as pa
from xxhash import xxh3_64_digest, xxh3_128_hexdigest

from ..errors import InputError
from .base import TAIL, Content, Info, ReplacedError, Store, Tail, Turn, check_name, in_one

if sys.platform != "win32":
    import fcntl

__all__ = ["Cache", "CachedStore", "FolderCache", "MemoryCache"]

GIGABYTE = 1 << 30
_OBJECT = re.compile(r"(?:segments|pages)/[0-9a-f]{2}/[0-9a-f]{30}\.[a-z]+")
_REVISION = re.compile(
    r"changelog/[0-9a-f]{32}/(?:[0-9a-f]{16}-[0-9a-f]{32}|packed|guide)\.[0-9a-f.\-]+"
)
_CHECKSUM = 8
_TURNS = "turns"
_FEW = 4
"""Processes that share a folder and are about to commit to one collection, at a time."""
_PATIENCE = 30.0
_TICK = 0.04
"""Seconds that one who waits for a turn waits at all, and before he looks again, at most."""
_FOLDER = re.compile(r"[0-9a-f]{2}")
_FILE = re.compile(r"[0-9a-f]{30}(\.[0-9a-f]{8})?")


class Cache(ABC):
    """Bytes under keys, of which any may be gone at any time. For threads and processes."""

    @abstractmethod
    def get(self, key: str) -> pa.Buffer | None:
        """What was put under `key`, or None."""

    @abstractmethod
    def put(self, key: str, data: pa.Buffer) -> None:
        """Keep, and let go of what was used least recently if there is too much."""

    @abstractmethod
    def drop(self, key: str) -> None:
        """Keep no longer."""

    def turn(self, key: str) -> Callable[[], object]:
        """Wait until few of those who share the cache are at what `key` names. Gives what ends the
        turn. Nothing relies on it: by default nobody waits."""
        return tuple


class MemoryCache(Cache):
    """At most `limit` bytes in the memory of this process.

    >>> MemoryCache(limit=1 << 20)
    MemoryCache(limit=1048576)
    """

    def __init__(self, limit: int = GIGABYTE) -> None:
        self.limit = _check_limit(limit)
        self._items: OrderedDict[str, pa.Buffer] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"MemoryCache(limit={self.limit})"

    def __reduce__(self) -> tuple[Any, ...]:
        return MemoryCache, (self.limit,)

    def get(self, key: str) -> pa.Buffer | None:
        with self._lock:
            if key not in self._items:
                return None
            self._items.move_to_end(key)
            return self._items[key]

    def put(self, key: str, data: pa.Buffer) -> None:
        if data.size > self.limit:  # all else would have to go, and then it as well
            return self.drop(key)
        kept = pa.py_buffer(memoryview(data).tobytes())  # the caller may go on using his
        with self._lock:
            self._drop(key)
            self._items[key] = kept
            self._size += kept.size
            while self._size > self.limit:
                self._drop(next(iter(self._items)))

    def drop(self, key: str) -> None:
        with self._lock:
            self._drop(key)

    def _drop(self, key: str) -> None:
        found = self._items.pop(key, None)
        self._size -= 0 if found is None else found.size


class FolderCache(Cache):
    """About `limit` bytes in a folder of this machine, which processes may share.

    An entry is a file `<2 hex digits>/<30 hex digits>`: the bytes and their xxh3_64, so that what
    a crash has torn is not read. When an entry was last used is the time of its file. A process
    that has put a tenth of the limit looks at the whole folder and deletes what was used least
    recently, until nine tenths are left; so there may be a tenth too much for each process.

    Anybody may delete any of it, or all, at any time. Raises `InputError` for a folder that is a
    repo.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cache = FolderCache(folder, limit=1 << 20)
    ...     cache.put("key", pa.py_buffer(b"bytes"))
    ...     cache.get("key").to_pybytes()
    b'bytes'
    """

    def __init__(self, folder: str | os.PathLike[str], limit: int = 10 * GIGABYTE) -> None:
        self.folder = os.path.abspath(os.path.expanduser(os.fspath(folder)))
        self.limit = _check_limit(limit)
        self._added = self.limit  # so that the first put looks
        if any(os.path.lexists(os.path.join(self.folder, n)) for n in ("lakota.json", "segments")):
            raise InputError(
                f"{self.folder} is a repo: a cache would delete of it; expected a folder of its own"
            )

    def __repr__(self) -> str:
        return f"FolderCache({self.folder!r}, limit={self.limit})"

    def get(self, key: str) -> pa.Buffer | None:
        path = self._path(key)
        with suppress(OSError):
            with open(path, "rb") as file:
                data = pa.py_buffer(file.read())
            size = data.size - _CHECKSUM
            if size >= 0 and xxh3_64_digest(data.slice(0, size)) == data.slice(size).to_pybytes():
                with suppress(OSError):  # of another user, or deleted at this moment
                    os.utime(path)
                return data.slice(0, size)
            os.unlink(path)
        return None

    def put(self, key: str, data: pa.Buffer) -> None:
        if data.size > self.limit:  # all else would have to go, and then it as well
            return self.drop(key)
        path = self._path(key)
        temporary = f"{path}.{os.urandom(4).hex()}"
        with suppress(OSError):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            try:
                with open(temporary, "xb") as file:
                    file.write(data)
                    file.write(xxh3_64_digest(data))
                os.replace(temporary, path)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary)
                raise
        self._added += data.size
        if self._added > self.limit // 10:
            self._added = 0
            self._shrink()

    def drop(self, key: str) -> None:
        with suppress(OSError):
            os.unlink(self._path(key))

    def turn(self, key: str) -> Callable[[], object]:
        if sys.platform == "win32":
            return tuple
        name = os.path.join(self.folder, _TURNS, xxh3_128_hexdigest(key.encode())[:16])
        end = time.monotonic() + _PATIENCE
        with suppress(OSError):  # a folder that one may only read, or on a disk without locks
            os.makedirs(os.path.dirname(name), exist_ok=True)
            while time.monotonic() < end:
                for n in random.sample(range(_FEW), _FEW):
                    file = FileIO(f"{name}.{n}", "ab")
                    if not file.tell():
                        file.write(b"\n")
                    try:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        return file.close
                    except BlockingIOError:
                        file.close()
                time.sleep(random.uniform(0.2, 1.0) * _TICK)
        return tuple

    def _path(self, key: str) -> str:
        name = xxh3_128_hexdigest(key.encode())
        return os.path.join(self.folder, name[:2], name[2:])

    def _shrink(self) -> None:
        """Delete what was used least recently."""
        entries = sorted(self._entries())
        total = sum(size for _, size, _ in entries)
        if total <= self.limit:
            return
        for _, size, path in entries:
            if total <= self.limit * 9 // 10:
                return
            with suppress(OSError):
                os.unlink(path)
            total -= size

    def _entries(self) -> Iterator[tuple[float, int, str]]:
        """The files of this cache; what else is in its folder is somebody else's."""
        for folder, folders, names in os.walk(self.folder):
            top = folder == self.folder
            folders[:] = [name for name in folders if top and _FOLDER.fullmatch(name)]
            for name in () if top else names:
                if not _FILE.fullmatch(name):
                    continue
                path = os.path.join(folder, name)
                with suppress(OSError):
                    status = os.stat(path)
                    yield status.st_mtime, status.st_size, path


class CachedStore(Store):
    """The objects of `store`, of which `caches`, nearest first, keep some.

    >>> from lakota.store import MemoryStore
    >>> CachedStore([MemoryCache(limit=1000)], MemoryStore())
    CachedStore([MemoryCache(limit=1000)], MemoryStore())
    """

    def __init__(self, caches: Sequence[Cache], store: Store) -> None:
        self.caches, self.store = list(caches), store
        self.remote, self.tidied = store.remote, store.tidied
        # Names of segments and pages are those of their content, in whatever repo they are.
        self._own = f"{store.place}\n"

    def __repr__(self) -> str:
        return f"CachedStore({self.caches!r}, {self.store!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return CachedStore, (self.caches, self.store)

    @property
    def place(self) -> Hashable:
        return self.store.place

    @property
    def origin(self) -> Store:
        return self.store.origin

    def forget(
        self, name: str, version: Hashable = None, spans: Iterable[tuple[int, int]] = ()
    ) -> bool:
        key = self._key(name)
        if key is not None:
            ranges = [f"{key}\n{version} {start} {stop}" for start, stop in spans]
            for cache in self.caches:
                for each in (key, f"{key}\ntail {TAIL}", *ranges):
                    cache.drop(each)
        return key is not None

    def get(self, name: str) -> pa.Buffer:
        key = self._key(name)
        found = self._find(key)
        if found is None:
            found = self.store.get(name)
            self._keep(key, found)
        return found

    def get_all(self, names: Iterable[str]) -> Mapping[str, pa.Buffer]:
        wanted = list(dict.fromkeys(names))
        found = {name: self._find(self._key(name)) for name in wanted}
        missing = [name for name, data in found.items() if data is None]
        fetched = self.store.get_all(missing) if missing else {}
        for name, data in fetched.items():
            self._keep(self._key(name), data)
        near = {name: data for name, data in found.items() if data is not None}
        return {**near, **fetched}

    def tail(self, name: str, length: int) -> Tail:
        key = self._key(name)
        whole = self._find(key)
        if whole is not None:
            return Tail(whole, whole.size, None)
        end = self._find(key and f"{key}\ntail {length}")
        if end is not None:
            known = memoryview(end).tobytes().partition(b"\n")
            size, version = json.loads(known[0])
            return Tail(pa.py_buffer(known[2]), size, version)
        tail = self.store.tail(name, length)
        if tail.data.size == tail.size:
            self._keep(key, tail.data)
        elif isinstance(tail.version, str | int):
            head = json.dumps([tail.size, tail.version]).encode()
            text = b"\n".join([head, memoryview(tail.data).tobytes()])
            self._keep(key and f"{key}\ntail {length}", pa.py_buffer(text))
        return tail

    def ranges(
        self, name: str, spans: Sequence[tuple[int, int]], version: Hashable
    ) -> Sequence[pa.Buffer]:
        key = self._key(name)
        if version is None:  # of what a cache had as a whole
            whole = self._find(key)
            if whole is None:
                raise ReplacedError(f"{name} is in no cache any more: read it again")
            return [whole.slice(start, stop - start) for start, stop in spans]
        keys = [key and f"{key}\n{version} {start} {stop}" for start, stop in spans]
        found = [self._find(each) for each in keys]
        missing = [span for span, data in zip(spans, found, strict=True) if data is None]
        try:
            fetched = iter(self.store.ranges(name, missing, version) if missing else ())
        except ReplacedError:
            self.forget(name)
            raise
        result = []
        for each, data in zip(keys, found, strict=True):
            if data is None:
                data = next(fetched)
                self._keep(each, data)
            result.append(data)
        return result

    def put(self, name: str, data: Content) -> None:
        data = in_one(data)
        self.store.put(name, data)
        self._keep(self._key(name), pa.py_buffer(data))

    def put_all(self, objects: Mapping[str, Content]) -> None:
        objects = {name: in_one(data) for name, data in objects.items()}
        self.store.put_all(objects)
        for name, data in objects.items():
            self._keep(self._key(name), pa.py_buffer(data))

    def exists(self, name: str) -> bool:
        return self.store.exists(name)

    def list(self, prefix: str) -> Iterator[Info]:
        return self.store.list(prefix)

    def names(self, prefix: str) -> Sequence[str]:
        return self.store.names(prefix)

    def turn(self, prefix: str) -> Turn:
        ends = [cache.turn(f"{self._own}{prefix}") for cache in self.caches]
        try:
            names, end = self.store.turn(prefix)
        except BaseException:
            _end_all(ends)
            raise
        return Turn(names, lambda: _end_all([end, *ends]))

    def delete(self, names: Iterable[str]) -> None:
        self._remove(names, self.store.delete)

    def expire(self, names: Iterable[str], older_than: float) -> None:
        self._remove(names, lambda some: self.store.expire(some, older_than))

    def touch(self, name: str) -> bool:
        return self.store.touch(name)

    def mark(self, prefix: str) -> Hashable | None:
        return self.store.mark(prefix)

    def sweep(self, older_than: float) -> int:
        return self.store.sweep(older_than)

    def _remove(self, names: Iterable[str], act: Callable[[Sequence[str]], None]) -> None:
        everything = [*names]
        act(everything)
        for name in everything:
            self.forget(name)

    def _key(self, name: str) -> str | None:
        """Under what an object is kept; None for what may change."""
        if _OBJECT.fullmatch(check_name(name)):
            return name
        return f"{self._own}{name}" if _REVISION.fullmatch(name) else None

    def _find(self, key: str | None) -> pa.Buffer | None:
        if key is None:
            return None
        for i, cache in enumerate(self.caches):
            found = cache.get(key)
            if found is not None:
                for nearer in self.caches[:i]:
                    nearer.put(key, found)
                return found
        return None

    def _keep(self, key: str | None, data: pa.Buffer) -> None:
        if key is not None:
            for cache in self.caches:
                cache.put(key, data)


def _end_all(ends: Iterable[Callable[[], object]]) -> None:
    for end in ends:
        end()


def _check_limit(limit: int) -> int:
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise InputError(f"limit={limit!r}: expected a number of bytes")
    return limit
