"""From the text that a user writes to the store that it means. The only place that knows schemes.

```
None, memory://               a new store in memory
memory://name                 the store of that name in the memory of this process
a/folder, ~/a/folder, a Path  a folder; if it is a file, the bundle in it
file:///a/folder              a folder, `%20` and the like decoded; file://a/folder is relative
s3://bucket/some/prefix       a bucket, also gs:// and az://; s3:///bucket/some/prefix is the same
http://host/path, https://    what a server of this package, or any web server, has there
```
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from ..errors import InputError
from .base import Store
from .bundle import BundleStore, is_bundle
from .http import HttpStore
from .local import Durability, LocalStore
from .memory import MemoryStore
from .object import SCHEMES, ObjectStore, StorageOptions
from .retry import RetryingStore

__all__ = ["parse_uri"]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://")
_SLIP = re.compile(r"(memory|file|s3|gs|az|https?):", re.IGNORECASE)
_KNOWN = (
    "a folder, 'file:///a/folder', 's3://bucket/prefix', 'http://host/path', 'memory://' or "
    "'memory://name'"
)

_shared: dict[str, MemoryStore] = {}
_shared_lock = threading.Lock()


def parse_uri(
    uri: str | os.PathLike[str] | None,
    *,
    durability: Durability = "fsync",
    storage_options: StorageOptions | None = None,
) -> Store:
    """The store that `uri` means. Nothing is read or created. `durability` is for folders, see
    `LocalStore`; `storage_options` for buckets, see `ObjectStore`, and servers, see `HttpStore`.

    Raises `InputError` if it means none, or one that this release does not include.

    >>> parse_uri(None)
    MemoryStore()
    >>> parse_uri("memory://a") is parse_uri("memory://a")
    True
    >>> parse_uri("file:///tmp/a%20b")
    LocalStore('/tmp/a b', durability='fsync')
    """
    if not isinstance(storage_options, Mapping | None):
        raise InputError(f"storage_options={storage_options!r}: expected a dict")
    if uri is None:
        _refuse_options(uri, storage_options)
        return MemoryStore()
    text = os.fspath(uri) if isinstance(uri, str | os.PathLike) else uri
    if not isinstance(text, str) or not text or "\0" in text:
        raise InputError(f"{uri!r} names no store; expected {_KNOWN}")
    scheme = _SCHEME.match(text)
    if isinstance(uri, str) and scheme is not None:
        name, rest = scheme[1].lower(), text[scheme.end() :]
        if name in SCHEMES:
            return _bucket(name, rest, storage_options)
        if name in ("http", "https"):
            return HttpStore(text, **_http_options(uri, storage_options))
        _refuse_options(uri, storage_options)
        return _of_scheme(name, rest, text, durability)
    if isinstance(uri, str) and (slip := _SLIP.match(text)):
        raise InputError(
            f"{text!r} is neither a URI nor a clear path; expected '{slip[0]}//...', "
            f"or './{text}' for a folder of that name"
        )
    _refuse_options(uri, storage_options)
    return _at(os.path.expanduser(text), durability)


def _at(path: str, durability: Durability) -> Store:
    return BundleStore(path) if is_bundle(path) else LocalStore(path, durability=durability)


def _refuse_options(uri: object, storage_options: StorageOptions | None) -> None:
    if storage_options:
        raise InputError(
            f"{uri!r} is no bucket: storage_options={{...}} are for s3://, gs://, az:// and http://"
        )


def _http_options(uri: str, options: StorageOptions | None) -> dict[str, Any]:
    known: dict[str, type | tuple[type, ...]] = {
        "token": str,
        "timeout": (int, float),
        "ca_file": str,
    }
    for name, value in (options or {}).items():
        if not isinstance(value, known.get(name, ())):
            raise InputError(
                f"{uri!r}: storage_options of {name}={type(value).__name__}; expected 'token' "
                "(text), 'timeout' (seconds), 'ca_file' (a path)"
            )
    return dict(options or {})


def _bucket(scheme: str, rest: str, options: StorageOptions | None) -> Store:
    bucket, _, prefix = rest.removeprefix("/").partition("/")
    return RetryingStore(ObjectStore(scheme, bucket, prefix, options))


def _of_scheme(scheme: str, rest: str, uri: str, durability: Durability) -> Store:
    if scheme == "memory":
        return _named(rest) if rest else MemoryStore()
    if scheme == "file":
        path = unquote(rest.removeprefix("localhost") if rest.startswith("localhost/") else rest)
        if not path or "\0" in path:
            raise InputError(f"{uri!r} names no folder; expected 'file:///a/folder'")
        return _at(os.path.expanduser(path), durability)
    raise InputError(f"{uri!r} has the unknown scheme {scheme}://; expected {_KNOWN}")


def _named(name: str) -> MemoryStore:
    with _shared_lock:
        return _shared.setdefault(name, MemoryStore())
