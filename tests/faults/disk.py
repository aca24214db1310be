"""A simulated disk: the calls of the system that a store in a folder makes, each of which may be
delayed, fail, be torn, or be the last one before a crash.

It keeps two states. What processes see, and what a power loss leaves: the bytes of a file that was
flushed, and the names of a folder that was flushed. Of everything else a loss takes what it likes,
in any order: a name without its bytes, bytes in part, the later of two renames without the earlier.
A rename it takes as a whole.
"""

from __future__ import annotations

import errno
import os
import posixpath
import random
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

ROOT = "/simulated"
TICK = 0.01
"""Seconds: how often the clock of the disk moves."""


class Crash(BaseException):
    """The process is no more."""


@dataclass(eq=False)
class Node:
    """A file, or a folder (without data)."""

    number: int
    data: bytes | None
    flushed: bytes | None = b""
    """What a power loss leaves of the data for certain."""
    changed: float = 0.0
    names: dict[str, Node] = field(default_factory=dict)
    kept: dict[str, Node] = field(default_factory=dict)
    """What a power loss leaves of the names for certain."""
    pending: list[dict[str, Node | None]] = field(default_factory=list)
    """Changes of names since then, each of which a loss takes or leaves as a whole."""

    def rename(self, changes: dict[str, Node | None]) -> None:
        for name, node in changes.items():
            if node is None:
                del self.names[name]
            else:
                self.names[name] = node
        self.pending.append(changes)

    @property
    def is_folder(self) -> bool:
        return self.data is None


Step = Callable[[str, str], None]
"""Told of each call before it is done, and its path. May raise OSError or Crash."""


class Disk:
    """What `lakota.store.local` takes for the module `os` and for `open`."""

    name = "posix"
    O_RDONLY = os.O_RDONLY
    fspath = staticmethod(os.fspath)

    def __init__(self, rng: random.Random, now: Callable[[], float], step: Step) -> None:
        self.rng, self._now, self._step = rng, now, step
        self.after: Callable[[], None] = lambda: None
        """Called when a call that changes something was done."""
        self._numbers = 0
        self._files: dict[int, tuple[Node, str]] = {}
        self._descriptors = 0
        self.top = self._node(None)
        self.path = SimpleNamespace(
            join=posixpath.join,
            dirname=posixpath.dirname,
            basename=posixpath.basename,
            abspath=posixpath.abspath,
            realpath=posixpath.normpath,
            expanduser=lambda path: path,
            isdir=lambda path: (node := self._find(path)) is not None and node.is_folder,
            isfile=lambda path: (node := self._find(path)) is not None and not node.is_folder,
            exists=lambda path: self._find(path) is not None,
            lexists=lambda path: self._find(path) is not None,
            split=posixpath.split,
        )

    # ---- Calls of the system

    def open_file(self, path: str, mode: str, buffering: int = -1) -> File:
        self._step("create" if "x" in mode else "read", path)
        node = self._find(path)
        if "x" in mode:
            if node is not None:
                raise _error(errno.EEXIST, path)
            folder, name = self._above(path)
            node = self._node(b"")
            folder.rename({name: node})
            self._touch(folder)
            self.after()
        elif node is None:
            raise _error(errno.ENOENT, path)
        elif node.is_folder:
            raise _error(errno.EISDIR, path)
        return File(self, self._open(node, path))

    def open(self, path: str, flags: int) -> int:
        node = self._find(path)
        if node is None:
            raise _error(errno.ENOENT, path)
        return self._open(node, path)

    def close(self, descriptor: int) -> None:
        self._files.pop(descriptor, None)

    def write(self, descriptor: int, data: memoryview | bytes) -> int:
        node, path = self._files[descriptor]
        piece = bytes(data)
        if len(piece) > 1 and self.rng.random() < 0.1:  # less than it was given
            piece = piece[: self.rng.randrange(1, len(piece))]
        try:
            self._step("write", path)
        except (OSError, Crash):
            node.data = (node.data or b"") + piece[: self.rng.randint(0, len(piece))]
            raise
        node.data = (node.data or b"") + piece
        self._touch(node)
        self.after()
        return len(piece)

    def writev(self, descriptor: int, pieces: Sequence[memoryview]) -> int:
        return self.write(descriptor, b"".join(pieces))

    def fsync(self, descriptor: int) -> None:
        node, path = self._files[descriptor]
        self._step("flush", path)
        if node.is_folder:
            node.kept, node.pending = dict(node.names), []
        else:
            node.flushed = node.data
        self.after()

    def sync(self, descriptor: int) -> None:
        """`syncfs`: everything is flushed."""
        self._step("flush", self._files[descriptor][1])
        waiting = [self.top]
        while waiting:
            node = waiting.pop()
            node.flushed = node.data
            node.kept, node.pending = dict(node.names), []
            waiting.extend(node.names.values())
        self.after()

    def fstat(self, descriptor: int) -> Any:
        return self._status(self._files[descriptor][0])

    def replace(self, source: str, target: str) -> None:
        self._step("rename", target)
        above, name = self._above(source)
        if name not in above.names:
            raise _error(errno.ENOENT, source)
        folder, other = self._above(target)
        assert folder is above  # all that a store needs
        folder.rename({name: None, other: above.names[name]})
        self._touch(folder)
        self.after()

    rename = replace

    def unlink(self, path: str) -> None:
        self._step("unlink", path)
        folder, name = self._above(path)
        if name not in folder.names:
            raise _error(errno.ENOENT, path)
        folder.rename({name: None})
        self._touch(folder)
        self.after()

    remove = unlink

    def utime(self, path: str) -> None:
        self._step("touch", path)
        node = self._find(path)
        if node is None:
            raise _error(errno.ENOENT, path)
        self._touch(node)

    def stat(self, path: str) -> Any:
        self._step("look", path)
        node = self._find(path)
        if node is None:
            raise _error(errno.ENOENT, path)
        return self._status(node)

    def listdir(self, path: str) -> list[str]:
        self._step("list", path)
        return self._shuffled(self._folder(path))

    def scandir(self, path: str) -> Entries:
        self._step("list", path)
        folder = self._folder(path)
        return Entries([Entry(self, folder.names[n], path, n) for n in self._shuffled(folder)])

    def mkdir(self, path: str) -> None:
        self._step("mkdir", path)
        folder, name = self._above(path)
        if name in folder.names:
            raise _error(errno.EEXIST, path)
        folder.rename({name: self._node(None)})
        self._touch(folder)
        self.after()

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        if not self.path.isdir(parent := posixpath.dirname(path)):
            self.makedirs(parent, exist_ok=True)
        try:
            self.mkdir(path)
        except FileExistsError:
            if not exist_ok:
                raise

    def urandom(self, count: int) -> bytes:
        return self.rng.randbytes(count)

    # ---- What happens to it

    def lose_power(self, path: str) -> None:
        """Leave of the folder `path` what was flushed, and of the rest what chance leaves."""
        above, name = self._above(path)
        if name in above.names:
            above.names[name] = self._after_loss(above.names[name])

    def _after_loss(self, node: Node) -> Node:
        if not node.is_folder:
            data, flushed = node.data or b"", node.flushed or b""
            if data != flushed:  # in part, or blocks of zeros, or as it was
                cut = self.rng.randint(0, len(data))
                data = self.rng.choice([flushed, data[:cut], data[:cut] + bytes(len(data) - cut)])
            return Node(node.number, data, data, node.changed)
        found: dict[str, Node | None] = dict(node.kept)
        for changes in node.pending:
            if self.rng.random() < 0.5:
                found.update(changes)
        left = {name: self._after_loss(below) for name, below in found.items() if below}
        return Node(node.number, None, None, node.changed, left, dict(left))

    def files(self, path: str) -> dict[str, bytes]:
        """Every file below a folder that processes see."""
        found: dict[str, bytes] = {}
        waiting = [(path, node)] if (node := self._find(path)) else []
        while waiting:
            at, node = waiting.pop()
            if node.data is not None:
                found[at] = node.data
            waiting.extend((f"{at}/{name}", below) for name, below in node.names.items())
        return found

    # ---- Inside

    def _node(self, data: bytes | None) -> Node:
        self._numbers += 1
        node = Node(self._numbers, data)
        self._touch(node)
        return node

    def _touch(self, node: Node) -> None:
        node.changed = self._now() // TICK * TICK

    def _open(self, node: Node, path: str) -> int:
        self._descriptors += 1
        self._files[self._descriptors] = (node, path)
        return self._descriptors

    def _find(self, path: str) -> Node | None:
        node: Node | None = self.top
        for part in path.removeprefix(ROOT).split("/"):
            if part and node is not None:
                node = node.names.get(part)
        return node

    def _above(self, path: str) -> tuple[Node, str]:
        folder, name = posixpath.split(path)
        return self._folder(folder), name

    def _folder(self, path: str) -> Node:
        node = self._find(path)
        if node is None:
            raise _error(errno.ENOENT, path)
        if not node.is_folder:
            raise _error(errno.ENOTDIR, path)
        return node

    def _shuffled(self, folder: Node) -> list[str]:
        names = sorted(folder.names)
        self.rng.shuffle(names)
        return names

    def _status(self, node: Node) -> Any:
        kind = stat.S_IFDIR if node.is_folder else stat.S_IFREG
        return SimpleNamespace(
            st_mode=kind | 0o600,
            st_size=len(node.data or b""),
            st_mtime=node.changed,
            st_mtime_ns=int(node.changed * 1e9),
            st_ctime_ns=int(node.changed * 1e9),
            st_ino=node.number,
            st_dev=1,
        )


class File:
    """An open file."""

    def __init__(self, disk: Disk, descriptor: int) -> None:
        self._disk, self._descriptor, self._at = disk, descriptor, 0

    def __enter__(self) -> File:
        return self

    def __exit__(self, *_: object) -> None:
        self._disk.close(self._descriptor)

    def fileno(self) -> int:
        return self._descriptor

    def seek(self, at: int) -> None:
        self._at = at

    def read(self, size: int = -1) -> bytes:
        data = self._disk._files[self._descriptor][0].data or b""
        piece = data[self._at :] if size < 0 else data[self._at : self._at + size]
        self._at += len(piece)
        return piece

    readall = read


@dataclass(frozen=True)
class Entry:
    """One entry of a folder, as `os.scandir` gives it."""

    disk: Disk
    node: Node
    folder: str
    name: str

    @property
    def path(self) -> str:
        return f"{self.folder}/{self.name}"

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return not self.node.is_folder

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return self.node.is_folder

    def stat(self, *, follow_symlinks: bool = True) -> Any:
        return self.disk.stat(self.path)


class Entries(list[Entry]):
    """What `os.scandir` gives."""

    def __enter__(self) -> Entries:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Inline:
    """An executor that does at once what it is given, so that runs can be replayed."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __enter__(self) -> Inline:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def map(self, act: Callable[..., Any], *items: Sequence[Any]) -> Iterator[Any]:
        return iter([act(*args) for args in zip(*items, strict=False)])

    def submit(self, act: Callable[..., Any], *args: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(act(*args, **options))
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self, *_: Any, **__: Any) -> None:
        pass


def _error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)
