"""A bundle: a repo, or what was new in it, as one file, for machines that never meet.

It is a zip file, uncompressed, whose members are the objects of the repo under their names, and
`bundle.json`:

```
{"format": 1, "names": "<digest>", "needs": {"<collection id>": ["<child>", ...]}}
```

`needs` are the states that the revisions of the bundle stand on and that it does not hold: who
pulls must have them. `names` is `names_digest` of the names of the objects: a zip file's directory
has no checksum of its own, and an object whose name is damaged would not be missed. A bundle is
read only.
"""

from __future__ import annotations

import json
import os
import threading
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pyarrow as pa
from xxhash import xxh3_64_hexdigest

from ..errors import DamagedError, FormatError, InputError, ObjectMissingError, StoreError
from .base import Info, Store, check_folder, check_name

__all__ = ["ABOUT", "FORMAT", "BundleStore", "is_bundle", "names_digest"]

ABOUT = "bundle.json"
FORMAT = 1


_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError)
"""What the zip library raises where a file is not what it says: the last of a bit that says that a
member is encrypted, or packed in a way that there is not."""


def _are_needs(needs: object) -> bool:
    return isinstance(needs, dict) and all(
        isinstance(states, list) and all(isinstance(state, str) for state in states)
        for states in needs.values()
    )


def names_digest(names: Iterable[str]) -> str:
    """The xxh3_64 of the names of objects, sorted, each ended by a line feed.

    >>> names_digest(["b", "a"]) == names_digest(["a", "b"])
    True
    """
    return xxh3_64_hexdigest("".join(f"{name}\n" for name in sorted(names)).encode())


def is_bundle(path: str) -> bool:
    """Whether there is a plain file, which a bundle is and a folder is not."""
    return os.path.isfile(path)


class BundleStore(Store):
    """The objects of a bundle, for any number of threads.

    Raises `InputError` for a file that is none, `FormatError` for one of a later release.
    """

    remote = True
    tidied = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.path.abspath(os.fspath(path))
        self._lock = threading.Lock()
        try:
            self._zip = zipfile.ZipFile(self.path)
            self._members = {info.filename: info for info in self._zip.infolist()}
            about = json.loads(self._read(ABOUT))
            found, needs, names = about["format"], about["needs"], about["names"]
        except OSError as error:
            raise InputError(f"{self.path} cannot be read: {error.strerror or error}") from error
        except KeyError as error:
            raise self._no_bundle(f"it has no {error.args[0]}") from error
        except (*_BROKEN, LookupError, TypeError, RecursionError) as error:
            raise self._no_bundle(error) from error
        if found != FORMAT:
            raise FormatError(
                f"{self.path} is a bundle of format {found}; this release reads {FORMAT}: install "
                "a later one"
            )
        if not _are_needs(needs):
            raise self._no_bundle(f"{ABOUT} does not say what it needs")
        if names != names_digest(self._members.keys() - {ABOUT}):
            raise self._no_bundle("its directory is damaged, or members were added or taken away")
        self._needs: Mapping[str, Sequence[str]] = needs

    def _no_bundle(self, why: object) -> InputError:
        return InputError(
            f"{self.path} is a file, but no bundle: {why}; expected a folder, or a file that "
            "repo.bundle(path) wrote"
        )

    def _read(self, name: str) -> bytes:
        """A member, which takes no more memory than it has bytes."""
        member = self._members[name]
        plain = member.compress_type == zipfile.ZIP_STORED and not member.flag_bits & 1
        if not plain or member.file_size != member.compress_size:
            raise ValueError(f"{name} is compressed or encrypted: members of bundles are not")
        with self._lock:
            return self._zip.read(member)

    def __repr__(self) -> str:
        return f"BundleStore({self.path!r})"

    @property
    def needs(self) -> Mapping[str, Sequence[str]]:
        """The states that are not here, by collection, on which revisions stand."""
        return dict(self._needs)

    @property
    def place(self) -> str:
        return os.path.realpath(self.path)

    def get(self, name: str) -> pa.Buffer:
        if check_name(name) not in self._members:
            raise ObjectMissingError(f"there is no object {name} in {self.path}")
        try:
            return pa.py_buffer(self._read(name))
        except (OSError, *_BROKEN) as error:
            raise DamagedError(f"{name} in {self.path} is damaged: {error}") from error

    def exists(self, name: str) -> bool:
        return check_name(name) in self._members

    def list(self, prefix: str) -> Iterator[Info]:
        start = f"{check_folder(prefix)}/" if prefix else ""
        for name, member in self._members.items():
            if name.startswith(start):
                yield Info(name, member.file_size, os.path.getmtime(self.path))

    def names(self, prefix: str) -> Sequence[str]:
        start = f"{check_folder(prefix)}/" if prefix else ""
        below = (name[len(start) :] for name in self._members if name.startswith(start))
        return sorted({name.split("/")[0] for name in below})

    def put(self, name: str, data: pa.Buffer | bytes) -> None:
        raise self._refusal()

    def delete(self, names: Iterable[str]) -> None:
        raise self._refusal()

    def touch(self, name: str) -> bool:
        raise self._refusal()

    def mark(self, prefix: str) -> int:
        return 0  # nothing of it ever changes

    def _refusal(self) -> StoreError:
        return StoreError(
            f"{self.path} is a bundle, which is read only: pull it into a repo and write there"
        )
