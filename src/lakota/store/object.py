"""A store in a bucket: S3 and what speaks like it, Google Cloud Storage, Azure, through obstore.

A put is one request, or a multipart upload where the object is large: either way the object
appears whole, and the answer means that it is durable. A copy of an object onto itself is
refused by S3, so `touch` copies it to `.tmp/<16 hex digits>` and back, inside the bucket.

Each method is tried once: `Retry` wraps this store. What may succeed if it is tried again raises
`UnavailableError`; everything else that the bucket says is final.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, TypeVar

import pyarrow as pa

from ..errors import (
    InputError,
    MissingExtraError,
    ObjectMissingError,
    StoreError,
    UnavailableError,
)
from .base import Content, Info, ReplacedError, Store, Tail, check_folder, check_name, in_one
from .parallel import at_once

__all__ = ["SCHEMES", "ObjectStore", "StorageOptions"]

T = TypeVar("T")
StorageOptions = Mapping[str, str | bool | int | float | None]

SCHEMES = ("s3", "gs", "az")

PART = 8 << 20
"""Bytes of a part of an upload, from which on an object is put in parts."""
LISTED = 1_000
"""Objects that one request lists or deletes."""

_TEMPORARY = ".tmp"
_DEFAULTS = {"timeout": "300s", "connect_timeout": "10s"}
_ENDPOINTS = {"s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")}
_TRUE = ("1", "true", "yes", "on")


class ObjectStore(Store):
    """Objects in `bucket` (of Azure: the container), below `prefix`.

    `scheme`: `s3`, `gs` or `az`. `options`: credentials, endpoint and the like in the spelling of
    Polars' `storage_options` or of obstore; what is not said comes from the environment
    (`AWS_ACCESS_KEY_ID`, ...). Nothing is sent. Raises `InputError` for options that cannot be,
    and `MissingExtraError` without obstore.

    >>> ObjectStore("s3", "bucket", "some/repo", {"aws_region": "eu-central-1"})
    ObjectStore('s3://bucket/some/repo')
    """

    remote = True

    def __init__(
        self, scheme: str, bucket: str, prefix: str = "", options: StorageOptions | None = None
    ) -> None:
        if scheme not in SCHEMES:
            raise InputError(f"scheme {scheme!r}: expected one of {', '.join(SCHEMES)}")
        parts = [part for part in prefix.split("/") if part]
        if not bucket or "/" in bucket or {".", ".."} & set(parts):
            raise InputError(
                f"'{scheme}://{bucket}/{prefix}' names no place in a bucket; expected "
                f"'{scheme}://bucket' or '{scheme}://bucket/some/prefix'"
            )
        self.scheme, self.bucket, self.prefix = scheme, bucket, "/".join(parts)
        self._start = f"{self.prefix}/" if parts else ""
        self._obstore = _import_obstore()
        self._options = {} if options is None else options
        config = _config(scheme, self._options)
        self._endpoint = _endpoint(scheme, config)
        self._store = self._connect(config)

    def __repr__(self) -> str:
        return (
            f"ObjectStore('{self.scheme}://{self.bucket}{'/' if self.prefix else ''}{self.prefix}')"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return ObjectStore, (self.scheme, self.bucket, self.prefix, self._options)

    @property
    def place(self) -> Hashable:
        return self.scheme, self._endpoint, self.bucket, self.prefix

    def get(self, name: str) -> pa.Buffer:
        path = self._path(name)

        def act() -> pa.Buffer:
            return pa.py_buffer(self._obstore.get(self._store, path).bytes())

        return self._do("read", name, act)

    def tail(self, name: str, length: int) -> Tail:
        path = self._path(name)

        def act() -> Tail | None:
            try:
                found = self._obstore.get(self._store, path, options={"range": {"suffix": length}})
                return Tail(pa.py_buffer(found.bytes()), found.meta["size"], _version(found.meta))
            except self._obstore.exceptions.NotSupportedError:
                return self._last(path, length)
            except self._obstore.exceptions.GenericError as error:
                if "UnexpectedRange" in str(error):  # a server that counts from the start
                    return self._last(path, length)
                if "NotPartial" not in str(error):
                    raise
                return None  # an empty object, or a server that knows no ranges

        found = self._do("read", name, act)
        return found if found is not None else super().tail(name, length)

    def ranges(
        self, name: str, spans: Sequence[tuple[int, int]], version: Hashable
    ) -> Sequence[pa.Buffer]:
        path = self._path(name)

        def act(span: tuple[int, int]) -> pa.Buffer:
            found = self._obstore.get(self._store, path, options={"range": span})
            if _version(found.meta) != version:
                raise ReplacedError(f"{name} was replaced while it was being read: read it again")
            return pa.py_buffer(found.bytes())

        return at_once(lambda span: self._do("read", name, lambda: act(span)), spans)

    def get_all(self, names: Iterable[str]) -> Mapping[str, pa.Buffer]:
        def found(name: str) -> pa.Buffer | None:
            try:
                return self.get(name)
            except ObjectMissingError:
                return None

        wanted = [*names]
        pairs = zip(wanted, at_once(found, wanted), strict=True)
        return {name: data for name, data in pairs if data is not None}

    def put(self, name: str, data: Content) -> None:
        path = self._path(name)
        view = memoryview(in_one(data)).cast("B")

        def act() -> None:
            self._obstore.put(
                self._store, path, view, use_multipart=len(view) > PART, chunk_size=PART
            )

        self._do("write", name, act)

    def put_all(self, objects: Mapping[str, Content]) -> None:
        for name in objects:
            check_name(name)
        at_once(lambda item: self.put(*item), objects.items())

    def exists(self, name: str) -> bool:
        path = self._path(name)
        try:
            self._do("look for", name, lambda: self._obstore.head(self._store, path))
        except ObjectMissingError:
            return False
        return True

    def list(self, prefix: str) -> Iterator[Info]:
        folder = self._folder(prefix)
        stream = self._obstore.list(self._store, folder, chunk_size=LISTED)
        while chunk := self._do("list", prefix, lambda: next(stream, None)):
            for found in chunk:
                name = found["path"][len(self._start) :]
                if _is_name(name):
                    yield Info(name, found["size"], found["last_modified"].timestamp())

    def names(self, prefix: str) -> Sequence[str]:
        folder = self._folder(prefix)
        found = self._do(
            "list", prefix, lambda: self._obstore.list_with_delimiter(self._store, folder)
        )
        start = len(folder) + 1 if folder else 0
        return [name for each in found["objects"] if (name := each["path"][start:])[:1] != "."]

    def delete(self, names: Iterable[str]) -> None:
        checked = [(name, self._path(name)) for name in names]
        for at in range(0, len(checked), LISTED):
            self._delete(checked[at : at + LISTED])

    def expire(self, names: Iterable[str], older_than: float) -> None:
        folders = groupby(sorted(names), lambda name: name.rpartition("/")[0])
        at_once(
            lambda some: Store.expire(self, some, older_than), [list(some) for _, some in folders]
        )

    def touch(self, name: str) -> bool:
        path, aside = self._path(name), f"{self._start}{_TEMPORARY}/{os.urandom(8).hex()}"
        try:
            self._do("touch", name, lambda: self._obstore.copy(self._store, path, aside))
        except ObjectMissingError:
            return False
        self._do("touch", name, lambda: self._obstore.copy(self._store, aside, path))
        self._delete([(name, aside)])
        return True

    def sweep(self, older_than: float) -> int:
        folder = f"{self._start}{_TEMPORARY}"
        stream = self._obstore.list(self._store, folder, chunk_size=LISTED)
        removed = 0
        while chunk := self._do("sweep", folder, lambda: next(stream, None)):
            old = [e for e in chunk if e["last_modified"].timestamp() < older_than]
            self._delete([(e["path"], e["path"]) for e in old])
            removed += len(old)
        return removed

    def _delete(self, objects: Sequence[tuple[str, str]]) -> None:
        """Delete names, paths."""
        if not objects:
            return
        paths = [path for _, path in objects]
        try:
            self._do("delete", objects[0][0], lambda: self._obstore.delete(self._store, paths))
        except ObjectMissingError:  # of some stores, of which each is then asked for by itself
            if len(objects) > 1:
                at_once(lambda one: self._delete([one]), objects)

    def _last(self, path: str, length: int) -> Tail:
        """The last bytes, of a store that must be told where they begin."""
        meta = self._obstore.head(self._store, path)
        size = meta["size"]
        if not size:
            return Tail(pa.py_buffer(b""), 0, _version(meta))
        span = max(size - length, 0), size
        found = self._obstore.get(self._store, path, options={"range": span})
        if found.meta["size"] != size:
            raise ReplacedError(f"{path} was replaced while it was being read: read it again")
        return Tail(pa.py_buffer(found.bytes()), size, _version(found.meta))

    def _connect(self, config: dict[str, str]) -> Any:
        stores = self._obstore.store
        kinds = {"s3": stores.S3Store, "gs": stores.GCSStore, "az": stores.AzureStore}
        try:
            return kinds[self.scheme](self.bucket, config=config, retry_config={"max_retries": 0})
        except self._obstore.exceptions.BaseError as error:
            raise InputError(f"storage_options of {self!r}: {_first_line(error)}") from error

    def _path(self, name: str) -> str:
        return self._start + check_name(name)

    def _folder(self, prefix: str) -> str | None:
        return (self._start + check_folder(prefix)).rstrip("/") or None

    def _do(self, action: str, name: str, act: Callable[[], T]) -> T:
        _refuse_fork()
        try:
            return act()
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error) or "ContainerNotFound" in str(error):
                raise self._failed(action, name, error) from error
            raise ObjectMissingError(f"there is no object {name} in {self!r}") from error
        except self._obstore.exceptions.BaseError as error:
            raise self._failed(action, name, error) from error

    def _failed(self, action: str, name: str, error: Exception) -> StoreError:
        text = str(error)
        what = f"cannot {action} {name or 'it'} in {self!r}: {_reason(text)}"
        if _passes(text):
            return UnavailableError(
                f"{what}; nothing is half written: look after the network and the endpoint "
                f"{self._endpoint or 'of the provider'}, then try again"
            )
        return StoreError(f"{what}; {_advice(text)}")


_began_in: int | None = None


def _refuse_fork() -> None:
    """The threads of obstore do not come along when a process forks: what waits for them would
    wait for ever."""
    global _began_in
    if _began_in is None:
        _began_in = os.getpid()
    elif _began_in != os.getpid():
        raise StoreError(
            "this process was forked from one that had used a bucket, which does not work: start "
            "processes by multiprocessing's 'spawn' or 'forkserver'"
        )


def _import_obstore() -> Any:
    try:
        import obstore
        import obstore.exceptions
        import obstore.store
    except ImportError as error:
        raise MissingExtraError(
            "buckets need obstore, which is not installed: pip install 'lakota-arrow[s3]'"
        ) from error
    return obstore


def _config(scheme: str, options: StorageOptions) -> dict[str, str]:
    """The options as obstore takes them: as text, with defaults."""
    if not isinstance(options, Mapping) or not all(isinstance(key, str) for key in options):
        raise InputError(
            f"storage_options={options!r}: expected a dict such as "
            "{'aws_region': 'eu-central-1', 'aws_endpoint_url': 'https://host'}"
        )
    found: dict[str, str] = {}
    for key, value in options.items():
        if isinstance(value, bool):
            found[key] = str(value).lower()
        elif isinstance(value, str | int | float):
            found[key] = str(value)
        elif value is not None:
            raise InputError(f"storage_options[{key!r}]={value!r}: expected a text or a number")
    bare = {key.lower().removeprefix("aws_") for key in found}
    found.update((key, value) for key, value in _DEFAULTS.items() if key not in bare)
    endpoint = _endpoint(scheme, found)
    if endpoint.startswith("http://") and not _allows_http(found):
        raise InputError(
            f"the endpoint {endpoint} is not encrypted: use https://, or allow it with "
            "storage_options={'aws_allow_http': 'true'} or AWS_ALLOW_HTTP=true"
        )
    return found


def _endpoint(scheme: str, config: Mapping[str, str]) -> str:
    """The endpoint that was asked for, in options or environment; "" for the provider's own."""
    for key, value in config.items():
        if re.fullmatch(r"(aws_|azure_|google_)?(storage_)?(endpoint|base_url)(_url)?(_s3)?", key):
            return value
    return next((os.environ[k] for k in _ENDPOINTS.get(scheme, ()) if os.environ.get(k)), "")


def _allows_http(config: Mapping[str, str]) -> bool:
    said = [value for key, value in config.items() if key.lower().endswith("allow_http")]
    return (said[0] if said else os.environ.get("AWS_ALLOW_HTTP", "")).lower() in _TRUE


def _version(meta: Mapping[str, Any]) -> Hashable:
    return meta["e_tag"] or (meta["last_modified"], meta["size"])


def _is_name(name: str) -> bool:
    try:
        check_name(name)
    except StoreError:
        return False
    return True


# What obstore's errors say, of which there are but texts.

_STATUS = re.compile(r"status code: (\d{3})")
_LATER = ("RequestTimeout", "SlowDown", "InternalError")


def _passes(text: str) -> bool:
    """Whether the same request may succeed later: no answer, or one that says so."""
    status = _STATUS.search(text)
    if status is None:
        return "HTTP error" in text or "HttpError" in text or "reqwest::Error" in text
    return (
        int(status[1]) in (408, 425, 429)
        or int(status[1]) >= 500
        or any(f"<Code>{code}" in text for code in _LATER)
    )


def _reason(text: str) -> str:
    said = re.search(r"<Code>(\w+)</Code>\s*<Message>([^<]*)", text)
    if said is not None:
        return f"{said[1]}: {said[2].rstrip('.')}"
    kind = re.search(r"kind: (Connect|Timeout|Request|Body|Decode|Interrupted)", text)
    line = text.split("\n", 1)[0]
    return f"{line} ({kind[1].lower()})" if kind is not None else line


def _advice(text: str) -> str:
    if "NoSuchBucket" in text or "ContainerNotFound" in text:
        return "make the bucket first, or correct its name"
    if "169.254." in text or "metadata.google" in text:
        return (
            "no credentials were found: pass storage_options={'aws_access_key_id': ..., "
            "'aws_secret_access_key': ...} or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    status = _STATUS.search(text)
    if status is not None and status[1] in ("401", "403"):
        return "check the credentials, and that they may list, read, write and delete there"
    if status is not None and status[1] in ("301", "307"):
        return "the bucket is in another region: pass storage_options={'aws_region': ...}"
    return "see what the provider says about it"


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0]
