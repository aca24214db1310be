"""A store in a folder of this machine or of a shared disk.

An object is a file. It is written to a file `.tmp-<16 hex digits>` beside its place, flushed to
the disk, renamed to its name, and the folder is flushed: so a name always stands for a whole
object, and on return it is there for good, whatever happens to the process or to the power.
`durability="os"` leaves out the flushes: still whole for every process, but for the operating
system to bring to the disk, and a power loss may take or tear what was written last.

Of many objects at once, all are written, then one flush of the whole file system (`syncfs`) brings
them to the disk, then all are renamed, and another flush brings their names there: the same order,
with two flushes instead of one for each file. Where that is not known to be as sure, and where the
system refuses it, each file is flushed.

A collector first renames what it deletes to `.gone-<name>`, and looks at its age there: if a writer
has put it anew meanwhile, it goes back. Until then, reads find it under that name.

Reads never see a file change: a replacement is another file, and whoever has mapped the old one
keeps it. Only plain files are objects; the root may be a symbolic link, folders below it not.
"""

from __future__ import annotations

import errno
import mmap
import os
import re
import stat
import sys
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from io import FileIO
from itertools import accumulate, chain
from typing import Any, Literal

import pyarrow as pa

from ..errors import InputError, ObjectMissingError, StoreError
from .base import (
    MOST_PARTS,
    Content,
    Info,
    ReplacedError,
    Store,
    Tail,
    check_folder,
    check_name,
    is_part,
)
from .parallel import at_once
from .syncfs import can_sync, sync

__all__ = ["READ_AT_MOST", "Durability", "LocalStore"]

Durability = Literal["fsync", "os"]

# Up to here, a read costs less than a mapping and its page faults, and takes no slot of the
# limited number of mappings that a process may have.
READ_AT_MOST = 256 * 1024

_BATCH = 64
"""Objects for which one flush of all takes less than a flush of each."""
_REFUSED_SYNC = {errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.ENOTSUP}

# As many as any system takes: macOS refuses 2 GiB.
_PIECES_AT_ONCE = 1024
_BYTES_AT_ONCE = 1 << 30

_TEMPORARY = re.compile(r"\.tmp-[0-9a-f]{16}")
_GONE = ".gone-"

# What the system says where no file has that name: nothing there, or a folder, or a file above.
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class LocalStore(Store):
    """Objects in the folder `root`, which the first put creates.

    `durability` is `"fsync"` (what `put`, `touch` and `delete` return from survives a power
    loss) or `"os"` (it survives the end of the process). Raises `InputError` for another one,
    and for a root that is not a folder.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = LocalStore(folder)
    ...     store.put("notes/a", b"one")
    ...     store.get("notes/a").to_pybytes(), store.names("notes")
    (b'one', ['a'])
    """

    def __init__(self, root: str | os.PathLike[str], *, durability: Durability = "fsync") -> None:
        if durability not in ("fsync", "os"):
            raise InputError(f"durability is {durability!r}; expected 'fsync' or 'os'")
        # Absolute, so that the store stays where it is when the process changes its folder.
        self.root = os.path.abspath(os.fspath(root))
        self.durability = durability
        self._anchored: set[str] = set()
        self._marked: dict[str, str] = {}
        if os.path.lexists(self.root) and not os.path.isdir(self.root):
            raise InputError(f"{self.root} is not a folder; expected one, or a path to create")

    def __repr__(self) -> str:
        return f"LocalStore({self.root!r}, durability={self.durability!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(LocalStore, self.root, durability=self.durability), ()

    @property
    def place(self) -> str:
        return os.path.realpath(self.root)

    def get(self, name: str) -> pa.Buffer:
        path = self._path(name)
        try:
            with _open(path) as file:
                return _read(file)
        except OSError as error:
            raise self._unread(name, error) from error

    def tail(self, name: str, length: int) -> Tail:
        with self._opened(name) as file:
            status = os.fstat(file.fileno())
            start = max(status.st_size - length, 0)
            data = _read_span(file, start, status.st_size)
            return Tail(data, status.st_size, _version(status))

    def ranges(
        self, name: str, spans: Sequence[tuple[int, int]], version: Hashable
    ) -> Sequence[pa.Buffer]:
        with self._opened(name) as file:
            if _version(os.fstat(file.fileno())) != version:
                raise ReplacedError(f"{name} was replaced while it was being read: read it again")
            return [_read_span(file, start, stop) for start, stop in spans]

    def put(self, name: str, data: Content) -> None:
        self._put_each({name: data})

    def put_all(self, objects: Mapping[str, Content]) -> None:
        # Windows opens no folders.
        many = len(objects) >= _BATCH and self.durability == "fsync" and sys.platform != "win32"
        if not (many and self._put_together(objects)):
            self._put_each(objects)

    def _put_each(self, objects: Mapping[str, Content]) -> None:
        """Write objects with a flush of each, and of each folder that has a new name. Flushes that
        run at once share a commit of the file system's journal."""
        folders: dict[str, str] = {}
        loose: dict[str, None] = {}
        for name in objects:
            folder = os.path.dirname(self._path(name))
            if folder not in folders:
                loose.update(dict.fromkeys(self._make_folder(folder, name)))
                folders[folder] = name
        if self.durability == "os":
            for name, data in objects.items():
                self._place(name, data)
            return
        above: dict[str, list[str]] = {}
        for folder in loose:
            above.setdefault(os.path.dirname(folder), []).append(folder)
        steps: list[Callable[[], Sequence[str]]] = [
            partial(self._place, name, data) for name, data in objects.items()
        ]
        name = next(iter(objects), "")
        steps += [partial(self._flush_names, name, *each) for each in above.items()]
        # One of them counts only when all above it are flushed, too.
        self._anchored.update(chain.from_iterable(at_once(lambda step: step(), steps)))
        at_once(lambda item: self._settle(item[1], item[0]), folders.items())

    def _place(self, name: str, data: Content) -> Sequence[str]:
        """Write an object, flushed but for its name in the folder."""
        path = self._path(name)
        try:
            temporary = _temporary(os.path.dirname(path))
            try:
                with open(temporary, "xb", buffering=0) as file:
                    _write(file.fileno(), data)
                    if self.durability == "fsync":
                        _flush(file.fileno())
                os.replace(temporary, path)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary)
                raise
        except OSError as error:
            raise self._failed("write", name, error) from error
        return ()

    def _settle(self, name: str, folder: str) -> None:
        try:
            _flush_folder(folder)
        except OSError as error:
            raise self._failed("write", name, error) from error

    def _put_together(self, objects: Mapping[str, Content]) -> bool:
        """Write many objects with two flushes of the file system. False, and then nothing is
        promised of them yet, where such a flush is not to be relied upon."""
        paths = {name: self._path(name) for name in objects}
        folders = set(map(os.path.dirname, paths.values()))
        written: dict[str, str] = {}
        name = next(iter(paths))
        try:
            self._anchor(name, self._make_folder(self.root, name))
            for folder in folders:
                os.makedirs(folder, exist_ok=True)
            with _file_systems(folders) as systems:
                if not all(map(can_sync, systems)):
                    return False
                for name, path in paths.items():
                    written[name] = _temporary(os.path.dirname(path))
                    with open(written[name], "xb", buffering=0) as file:
                        _write(file.fileno(), objects[name])
                for system in systems:
                    sync(system)
                for name, path in paths.items():
                    os.replace(written[name], path)
                    del written[name]
                for system in systems:
                    sync(system)
        except OSError as error:
            if error.errno in _REFUSED_SYNC:
                return False
            raise self._failed("write", name, error) from error
        finally:
            for temporary in written.values():
                with suppress(OSError):
                    os.unlink(temporary)
        self._anchored.update(folders)
        return True

    def exists(self, name: str) -> bool:
        path = self._path(name)
        try:
            for place in (path, _aside(path)):
                with suppress(*_ABSENT):
                    return stat.S_ISREG(os.stat(place).st_mode)
            return False
        except OSError as error:
            raise self._failed("look for", name, error) from error

    def list(self, prefix: str) -> Iterator[Info]:
        for folder, entry in self._walk(check_folder(prefix)):
            if not is_part(entry.name):
                continue
            name = f"{folder}/{entry.name}" if folder else entry.name
            try:
                status = entry.stat(follow_symlinks=False)
            except _ABSENT:
                continue
            except OSError as error:
                raise self._failed("list", name, error) from error
            yield Info(name, status.st_size, status.st_mtime)

    def names(self, prefix: str) -> Sequence[str]:
        try:
            return [name for name in os.listdir(self._folder_path(prefix)) if name[0] != "."]
        except _ABSENT:
            return []
        except OSError as error:
            raise self._failed("list", prefix or "what is", error) from error

    def delete(self, names: Iterable[str]) -> None:
        self._take_away(names, os.unlink)

    def expire(self, names: Iterable[str], older_than: float) -> None:
        self._take_away(names, partial(_unlink_old, older_than=older_than))

    def _take_away(self, names: Iterable[str], act: Callable[[str], None]) -> None:
        folders: dict[str, None] = {}
        for name in names:
            path = self._path(name)
            try:
                act(path)
            except _ABSENT:
                continue
            except OSError as error:
                raise self._failed("delete", name, error) from error
            folders[os.path.dirname(path)] = None
        for folder in folders if self.durability == "fsync" else ():
            try:
                _flush_folder(folder)
            except OSError as error:
                raise self._failed("delete from", folder, error) from error

    def touch(self, name: str) -> bool:
        path = self._path(name)
        try:
            with open(path, "rb", buffering=0) as file:
                if self.durability == "fsync":
                    # Its writer may have died between any two steps of `put`, or flushed nothing.
                    _flush(file.fileno())
                    self._anchor(name, self._loose(os.path.dirname(path), self.root))
                    _flush_folder(os.path.dirname(path))
            os.utime(path)
        except _ABSENT:
            return False
        except OSError as error:
            raise self._failed("touch", name, error) from error
        return True

    def mark(self, prefix: str) -> Hashable:
        path = self._marked.get(prefix)  # it is asked for again and again
        if path is None:
            path = self._marked[prefix] = self._folder_path(prefix)
        try:
            status = os.stat(path)
        except _ABSENT:
            return ("absent",)
        except OSError as error:
            raise self._failed("look at", prefix, error) from error
        return (status.st_mtime_ns, status.st_ino)

    def sweep(self, older_than: float) -> int:
        removed = 0
        for folder, entry in self._walk(""):
            try:
                if entry.name.startswith(_GONE):  # a collector died, or is about to delete it
                    _put_back(entry.path)
                elif not _TEMPORARY.fullmatch(entry.name):
                    continue
                elif entry.stat(follow_symlinks=False).st_mtime < older_than:
                    os.unlink(entry.path)
                    removed += 1
            except _ABSENT:
                continue
            except OSError as error:
                raise self._failed("sweep", f"{folder}/{entry.name}", error) from error
        return removed

    def _path(self, name: str) -> str:
        return os.path.join(self.root, *check_name(name).split("/"))

    def _folder_path(self, prefix: str) -> str:
        return self._path(prefix) if prefix else self.root

    def _scan(self, prefix: str) -> tuple[Sequence[os.DirEntry[str]], Sequence[str]]:
        try:
            return _scan(self._folder_path(prefix))
        except _ABSENT:
            return [], []
        except OSError as error:
            raise self._failed("list", prefix or "what is", error) from error

    def _walk(self, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """Every plain file below a folder, with the folder that it is in."""
        waiting = [prefix]
        while waiting:
            folder = waiting.pop()
            files, folders = self._scan(folder)
            yield from ((folder, entry) for entry in files)
            start = f"{folder}/" if folder else ""
            if start.count("/") < MOST_PARTS - 1:
                waiting += [start + below for below in folders if is_part(below)]

    def _make_folder(self, folder: str, name: str) -> Sequence[str]:
        """Make a folder for an object. Returns those, of it and the folders above, that are not
        known to be flushed."""
        top = self.root
        if not os.path.isdir(folder):
            missing = [folder]
            while not os.path.isdir(above := os.path.dirname(missing[-1])):
                missing.append(above)
            try:
                os.makedirs(folder, exist_ok=True)
            except OSError as error:
                raise self._failed("write", name, error) from error
            self._anchored.difference_update(missing)
            top = min(top, missing[-1], key=len)
        return self._loose(folder, top)

    def _loose(self, folder: str, top: str) -> Sequence[str]:
        """Which of a folder and those above it, up to `top`, this store has not flushed the names
        of. They may be there for long: who made them may have died before flushing them. Of what is
        anchored, all above is."""
        found = []
        while folder not in self._anchored:
            found.append(folder)
            if folder == top:
                break
            folder = os.path.dirname(folder)
        return found

    def _anchor(self, name: str, folders: Iterable[str]) -> None:
        """Flush the names of `folders`: what `_loose` has found."""
        each = [self._flush_names(name, os.path.dirname(folder), [folder]) for folder in folders]
        self._anchored.update(chain.from_iterable(each))

    def _flush_names(self, name: str, parent: str, folders: Sequence[str]) -> Sequence[str]:
        """Flush the names of folders in `parent`. Returns those that were flushed: with them are
        all others that are there."""
        try:
            known = {*folders, *(_folders(parent) if len(parent) >= len(self.root) else ())}
            # What is above the root need not be ours to open.
            with suppress(PermissionError) if len(parent) < len(self.root) else nullcontext():
                _flush_folder(parent)
        except OSError as error:
            raise self._failed("write", name, error) from error
        return [*known]

    @contextmanager
    def _opened(self, name: str) -> Iterator[FileIO]:
        path = self._path(name)
        try:
            with _open(path) as file:
                yield file
        except StoreError:
            raise
        except OSError as error:
            raise self._unread(name, error) from error

    def _unread(self, name: str, error: OSError) -> StoreError:
        return (
            self._missing(name) if isinstance(error, _ABSENT) else self._failed("read", name, error)
        )

    def _missing(self, name: str) -> ObjectMissingError:
        failure = ObjectMissingError(f"there is no object {name} in {self.root}")
        failure.errno = errno.ENOENT
        return failure

    def _failed(self, action: str, name: str, error: OSError) -> StoreError:
        reason = error.strerror or str(error)
        advice = _ADVICE.get(error.errno or 0, "look after the disk or its mount, then try again")
        failure = StoreError(f"cannot {action} {name} in {self.root}: {reason}; {advice}")
        failure.errno = error.errno
        return failure


_FULL = "nothing is half written: free some space, then try again"
_REFUSED = "give this user the right to read and write there, or use another folder"
_ADVICE = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EACCES: _REFUSED,
    errno.EPERM: _REFUSED,
    errno.EROFS: "mount it for writing, or use another folder",
    errno.EEXIST: "something else is in its place: move that away",
    errno.ENOTDIR: "something else is in its place: move that away",
    errno.EISDIR: "something else is in its place: move that away",
    errno.EMFILE: "too many files are open in this process: close some, or raise its limit",
}


def _scan(folder: str) -> tuple[list[os.DirEntry[str]], list[str]]:
    """The plain files directly in a folder, and the names of the folders."""
    files, folders = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                files.append(entry)
            elif entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
    return files, folders


def _folders(folder: str) -> list[str]:
    """The folders directly in a folder."""
    with os.scandir(folder) as entries:
        return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]


def _open(path: str) -> FileIO:
    try:
        return open(path, "rb", buffering=0)
    except _ABSENT:  # a collector that has just taken it aside may put it back
        with suppress(*_ABSENT):
            return open(_aside(path), "rb", buffering=0)
    return open(path, "rb", buffering=0)


def _read(file: FileIO) -> pa.Buffer:
    size = os.fstat(file.fileno()).st_size
    if size > READ_AT_MOST:
        with suppress(OSError):  # no mapping left, or a file system without any
            return pa.py_buffer(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ))
    return pa.py_buffer(file.readall())


def _aside(path: str) -> str:
    folder, name = os.path.split(path)
    return os.path.join(folder, _GONE + name)


def _unlink_old(path: str, older_than: float) -> None:
    """Delete a file unless it is as new as that. Between a look at a file and its deletion,
    another may be put in its place; what was renamed stays what it is."""
    aside = _aside(path)
    os.replace(path, aside)
    if os.stat(aside).st_mtime < older_than:
        os.unlink(aside)
    else:
        os.replace(aside, path)


def _put_back(aside: str) -> None:
    """Undo the work of a collector that died: the next one will decide anew."""
    folder, name = os.path.split(aside)
    path = os.path.join(folder, name.removeprefix(_GONE))
    if os.path.lexists(path):
        os.unlink(aside)
    else:
        os.utime(aside)  # whoever puts it at this very moment must find it new
        os.replace(aside, path)


def _version(status: os.stat_result) -> Hashable:
    """Of a file that is never written again once it has its name."""
    return status.st_ino, status.st_ctime_ns, status.st_size


def _read_span(file: FileIO, start: int, stop: int) -> pa.Buffer:
    file.seek(start)
    pieces = []
    while start < stop and (piece := file.read(stop - start)):
        pieces.append(piece)
        start += len(piece)
    return pa.py_buffer(pieces[0] if len(pieces) == 1 else b"".join(pieces))


def _temporary(folder: str) -> str:
    """A file of no other writer."""
    return os.path.join(folder, f".tmp-{os.urandom(8).hex()}")


@contextmanager
def _file_systems(folders: Iterable[str]) -> Iterator[list[int]]:
    """The file systems that folders are on, opened: what fails from then on is told."""
    found = {os.stat(folder).st_dev: folder for folder in folders}
    opened: list[int] = []
    try:
        for folder in found.values():
            opened.append(os.open(folder, os.O_RDONLY))
        yield opened
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _write(descriptor: int, data: Content) -> None:
    """Write all: the system may take less at once than it is given. Pieces are given together, for
    what comes at once is kept in large pages, which cost less to fill, and to map later."""
    pieces = data if isinstance(data, tuple) else (data,)
    left = [memoryview(piece).cast("B") for piece in pieces]
    while left:
        taken = _write_some(descriptor, left[:_PIECES_AT_ONCE])
        while left and taken >= len(left[0]):
            taken -= len(left.pop(0))
        if left:
            left[0] = left[0][taken:]


def _write_some(descriptor: int, pieces: Sequence[memoryview]) -> int:
    ends = accumulate(map(len, pieces))
    few = [piece for piece, end in zip(pieces, ends, strict=True) if end <= _BYTES_AT_ONCE]
    if len(few) > 1 and sys.platform != "win32":
        return os.writev(descriptor, few)
    return os.write(descriptor, pieces[0])


def _flush(descriptor: int) -> None:
    """Bring what was written to the disk itself."""
    if sys.platform == "darwin":
        import fcntl

        # There, fsync leaves data in the cache of the drive. Some file systems know no other.
        with suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
    os.fsync(descriptor)


def _flush_folder(folder: str) -> None:
    """Bring the names in `folder` to the disk, where the system has a way to ask for it."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _flush(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
