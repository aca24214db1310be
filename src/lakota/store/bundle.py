"""A bundle: a repo, or what was new in it, as one file, for machines that never meet.

It is a zip file, uncompressed, whose members are the objects of the repo under their names, and
`bundle.json`:

```
{"format": 1, "needs": {"<collection id>": ["<child>", ...]}}
```

`needs` are the states that the revisions of the bundle stand on and that it does not hold: who
pulls must have them. A bundle is read only.
"""

from __future__ import annotations

import json
import os
import threading
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

import pyarrow as pa

from ..errors import DamagedError, FormatError, InputError, ObjectMissingError, StoreError
from .base import Info, Store, check_folder, check_name

__all__ = ["ABOUT", "FORMAT", "BundleStore", "is_bundle"]

ABOUT = "bundle.json"
FORMAT = 1


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
            about = json.loads(self._zip.read(ABOUT))
            found, self._needs = about["format"], about["needs"]
        except OSError as error:
            raise InputError(f"{self.path} cannot be read: {error.strerror or error}") from error
        except (
            zipfile.BadZipFile,
            NotImplementedError,
            ValueError,
            KeyError,
            TypeError,
            RecursionError,
        ) as error:
            raise InputError(
                f"{self.path} is a file, but no bundle: {error}; expected a folder, or a file that "
                "repo.bundle(path) wrote"
            ) from error
        if found != FORMAT:
            raise FormatError(
                f"{self.path} is a bundle of format {found}; this release reads {FORMAT}: install "
                "a later one"
            )
        self._members = {info.filename: info for info in self._zip.infolist()}

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
        member = self._members.get(check_name(name))
        if member is None:
            raise ObjectMissingError(f"there is no object {name} in {self.path}")
        try:
            with self._lock:
                return pa.py_buffer(self._zip.read(member))
        except (OSError, zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
            raise DamagedError(f"{name} in {self.path} is damaged: {error}") from error

    def exists(self, name: str) -> bool:
        return check_name(name) in self._members

    def list(self, prefix: str) -> Iterator[Info]:
        start = f"{check_folder(prefix)}/" if prefix else ""
        for name, member in self._members.items():
            if name.startswith(start):
                yield Info(name, member.file_size, datetime(*member.date_time).timestamp())

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
