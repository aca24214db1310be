"""A store behind a URL: a server of this package, or any web server over the folder of a repo.

Which of them it is, the first answer says: `lakota serve` puts the header `Lakota-Server` on all
that it sends. Its objects are at `<url>/objects/<name>` and can be written; those of a plain web
folder are at `<url>/<name>`, can be read, and are listed as `web` says.

Connections are kept and shared by threads. Every request may be made twice without harm, so one
that fails on the way, or is refused because the server is busy, is made again, a few times.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from struct import Struct
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

import pyarrow as pa

from .. import errors
from ..errors import (
    InputError,
    LakotaError,
    MissingExtraError,
    ObjectMissingError,
    StoreError,
    UnavailableError,
)
from . import web
from .base import (
    Content,
    Info,
    ReplacedError,
    Store,
    Tail,
    Turn,
    check_folder,
    check_name,
    in_one,
    size_of,
)
from .parallel import REQUESTS, at_once

if TYPE_CHECKING:
    import urllib3

__all__ = [
    "ACCEPT_HEADER",
    "PAGES_AT_ONCE",
    "PAGE_HEAD",
    "SERVER_HEADER",
    "TURN_HEADER",
    "HttpStore",
]

SERVER_HEADER = "Lakota-Server"
ACCEPT_HEADER = "Lakota-Accept"
"""With the value `packed`: whole segments may be sent in the small encoding, however they are
stored."""
TURN_HEADER = "Lakota-Turn"
"""Said by who lists a collection's revisions in order to add one: who he is and how many seconds he
waits at most. He may be let wait for others."""
TOKEN = "LAKOTA_TOKEN"
HEADER = "lakota.json"

_RETRIES = 9
_FIRST_RETRIES = 4
"""Of a server that has not answered yet: it may not be one."""
_BUSY = (429, 502, 503, 504)
_DELETE_AT_ONCE = 2_000
_FEW_PAGES = 3
"""Fewer are asked for one by one."""
PAGES = "pages/"
PAGES_AT_ONCE = 256
PAGE_HEAD = Struct("<II")
"""Before each page in an answer: which of those asked for it is, and its bytes."""
OBJECTS_AT_ONCE = 256
OBJECT_HEAD = Struct("<II")
"""Before each object that is sent with others: the bytes of its name, and its own."""
_SMALL = 256 << 10
_TOGETHER = 4 << 20
"""Bytes of an object that is sent with others, and of all of them, at most."""


class HttpStore(Store):
    """The repo at `url`, `http://host/name` or `https://host/name`.

    `token` is sent as `Authorization: Bearer`; by default it is what the environment variable
    `LAKOTA_TOKEN` holds. A user and a password in the URL are sent as `Basic` instead. `timeout`:
    seconds without a byte before a request is given up and made again. `ca_file`: certificates
    (PEM) to check the server's by; by default those of the system.

    Raises `InputError` for what is no such URL, and `MissingExtraError` without urllib3.

    >>> HttpStore("https://example.org/weather/")
    HttpStore('https://example.org/weather')
    """

    remote = True
    tidied = True

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout: float = 60,
        ca_file: str | None = None,
    ) -> None:
        self.url, basic = _parse(url)
        self._given: dict[str, Any] = {
            "url": url,
            "token": token,
            "timeout": timeout,
            "ca_file": ca_file,
        }
        self._ca_file = ca_file
        self._timeout = timeout
        secret = os.environ.get(TOKEN, "") if token is None else token
        authorization = basic or (f"Bearer {secret}" if secret else None)
        if authorization and not authorization.isascii():
            raise InputError("a token is letters, digits, '-' and '_': this one has others")
        self._headers = {"User-Agent": "lakota"}
        if authorization:
            self._headers["Authorization"] = authorization
        self._lock = threading.Lock()
        self._pools: dict[int, urllib3.PoolManager] = {}
        self._served: bool | None = None
        self._takes_many = True
        self._who = os.urandom(8).hex()
        self._listings: dict[str, tuple[str, tuple[str, ...]]] = {}
        _urllib3()

    def __repr__(self) -> str:
        return f"HttpStore({self.url!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(HttpStore, **self._given), ()

    @property
    def place(self) -> Hashable:
        return self.url

    # ---- Objects

    def get(self, name: str) -> pa.Buffer:
        check_name(name)
        if self._served is None and name == HEADER:
            return self._probe()
        return pa.py_buffer(self._read(self._get(name, {ACCEPT_HEADER: "packed"})))

    def _get(self, name: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        answer = self._request("GET", self._object(check_name(name)), headers=headers)
        if answer.status == 404:
            raise ObjectMissingError(f"there is no object {name} at {self.url}")
        return answer

    def put(self, name: str, data: Content) -> None:
        check_name(name)
        self._write("PUT", f"objects/{name}", body=memoryview(in_one(data)).cast("B"))

    def put_all(self, objects: Mapping[str, Content]) -> None:
        for name in objects:
            check_name(name)
        small = {name: data for name, data in objects.items() if size_of(data) <= _SMALL}
        if len(small) < 2 or not self._takes_many or not self._is_served():
            at_once(lambda item: self.put(*item), objects.items())
            return
        groups = [*_groups(small), *([name] for name in objects if name not in small)]
        left = at_once(lambda some: self._put_some(objects, some), groups)
        at_once(lambda name: self.put(name, objects[name]), [n for some in left for n in some])

    def _put_some(self, objects: Mapping[str, Content], names: Sequence[str]) -> Sequence[str]:
        """Store some by one request. Those that are to be stored one by one: all, where the server
        is of an earlier release, or takes no bodies of that size."""
        if len(names) == 1:
            self.put(names[0], objects[names[0]])
            return ()
        pieces: list[pa.Buffer | bytes] = []
        for name in names:
            data = in_one(objects[name])
            pieces += OBJECT_HEAD.pack(len(name), memoryview(data).nbytes), name.encode(), data
        kind = {"Content-Type": "application/octet-stream"}
        answer = self._request("POST", "objects", body=b"".join(pieces), headers=kind)
        if answer.status in (404, 405):
            self._takes_many = False
        if answer.status in (404, 405, 413):
            return names
        self._read(answer)
        return ()

    def get_all(self, names: Iterable[str]) -> Mapping[str, pa.Buffer]:
        wanted = [check_name(name) for name in names]
        found = self._get_pages([name for name in wanted if name.startswith(PAGES)])
        rest = [name for name in wanted if name not in found]
        alone = zip(rest, at_once(self._get_if_there, rest), strict=True)
        found.update((name, data) for name, data in alone if data is not None)
        return found

    def _get_pages(self, names: Sequence[str]) -> dict[str, pa.Buffer]:
        """Many pages, which are small, by few requests. Not all: what is not there, and what would
        have made an answer too large."""
        if len(names) < _FEW_PAGES or not self._is_served():
            return {}
        parts = [names[at : at + PAGES_AT_ONCE] for at in range(0, len(names), PAGES_AT_ONCE)]
        found: dict[str, pa.Buffer] = {}
        for part, data in zip(parts, at_once(self._ask_pages, parts), strict=True):
            found.update((part[which], page) for which, page in _pages_in(data, len(part)))
        return found

    def _ask_pages(self, names: Sequence[str]) -> pa.Buffer:
        body = json.dumps({"names": names}).encode()
        answer = self._request(
            "POST", "pages", body=body, headers={"Content-Type": "application/json"}
        )
        if answer.status in (404, 405):  # there is no repo, or an earlier release serves it
            return pa.py_buffer(b"")
        return pa.py_buffer(self._read(answer))

    def _get_if_there(self, name: str) -> pa.Buffer | None:
        try:
            return self.get(name)
        except ObjectMissingError:
            return None

    def tail(self, name: str, length: int) -> Tail:
        answer = self._get(name, {"Range": f"bytes=-{length}"} if length else {})
        if answer.status == 416:  # of an object without bytes there is no last one
            answer = self._get(name, {})
        data = pa.py_buffer(self._read(answer))
        size = _total(answer)
        return Tail(data.slice(max(data.size - max(length, 0), 0)), size, _version(answer))

    def ranges(
        self, name: str, spans: Sequence[tuple[int, int]], version: Hashable
    ) -> Sequence[pa.Buffer]:
        check_name(name)

        def part(span: tuple[int, int]) -> pa.Buffer:
            start, stop = span
            if start >= stop:
                return pa.py_buffer(b"")
            answer = self._get(name, {"Range": f"bytes={start}-{stop - 1}"})
            data = pa.py_buffer(self._read(answer)) if answer.status != 416 else None
            if data is None or _version(answer) != version:
                raise ReplacedError(f"{name} was replaced while it was being read: read it again")
            return data if answer.status == 206 else data.slice(start, stop - start)

        return at_once(part, spans)

    def exists(self, name: str) -> bool:
        answer = self._request("HEAD", self._object(check_name(name)))
        if answer.status != 404:
            self._read(answer)
        return answer.status != 404

    def touch(self, name: str) -> bool:
        answer = self._write("POST", f"objects/{check_name(name)}", missing=True)
        return answer.status != 404

    def delete(self, names: Iterable[str]) -> None:
        self._delete(names, {})

    def expire(self, names: Iterable[str], older_than: float) -> None:
        self._delete(names, {"older_than": older_than})

    def _delete(self, names: Iterable[str], options: Mapping[str, float]) -> None:
        wanted = [check_name(name) for name in names]
        for at in range(0, len(wanted), _DELETE_AT_ONCE):
            some = {"names": wanted[at : at + _DELETE_AT_ONCE], **options}
            self._write("POST", "delete", body=json.dumps(some).encode(), kind="application/json")

    # ---- Listings

    def list(self, prefix: str) -> Iterator[Info]:
        check_folder(prefix)
        if not self._is_served():
            return web.infos(self._fetch, prefix)
        answer = self._request("GET", f"list?folder={quote(prefix)}")
        lines = bytes(self._read(answer)).splitlines()
        return (Info(*json.loads(line)) for line in lines)

    def names(self, prefix: str) -> Sequence[str]:
        return self._names(prefix, {})

    def turn(self, prefix: str) -> Turn:
        asked = {TURN_HEADER: f"{self._who};{self._timeout / 2:g}"}
        return Turn(self._names(prefix, asked))  # it ends with the commit

    def _names(self, prefix: str, asked: Mapping[str, str]) -> Sequence[str]:
        check_folder(prefix)
        if not self._is_served():
            return web.names(self._fetch, prefix)
        etag, known = self._listings.get(prefix, ("", ()))
        headers = {**asked, "If-None-Match": etag} if etag else asked
        answer = self._request("GET", f"names?folder={quote(prefix)}", headers=headers)
        if answer.status == 304:
            return known
        found = tuple(json.loads(self._read(answer)))
        if "ETag" in answer.headers:
            self._listings[prefix] = answer.headers["ETag"], found
        return found

    def sweep(self, older_than: float) -> int:
        body = json.dumps({"older_than": older_than}).encode()
        answer = self._write("POST", "sweep", body=body, kind="application/json")
        return int(json.loads(answer.data)["removed"])

    # ---- Requests

    def _is_served(self) -> bool:
        """Whether a server of this package answers."""
        if self._served is None:
            try:
                self._probe()
            except ObjectMissingError:
                return True
        return bool(self._served)

    def _probe(self) -> pa.Buffer:
        """The header of the repo; and who answers."""
        answer = self._request("GET", HEADER)
        served = SERVER_HEADER in answer.headers
        if served or answer.status == 200:
            self._served = served
        if answer.status != 404:
            return pa.py_buffer(self._read(answer))
        if served:
            raise ObjectMissingError(f"there is no repo at {self.url} yet")
        raise StoreError(
            f"there is no repo at {self.url}: neither a server of lakota nor a folder with {HEADER}"
        )

    def _object(self, name: str) -> str:
        return f"objects/{name}" if self._is_served() else name

    def _fetch(self, path: str) -> tuple[int, str, bytes]:
        """Status, type and bytes of what is at `path`; for listings of a plain web folder."""
        answer = self._request("GET", path)
        if answer.status in (403, 404):
            return answer.status, "", b""
        return answer.status, answer.headers.get("Content-Type", ""), bytes(self._read(answer))

    def _write(
        self,
        method: str,
        path: str,
        *,
        body: Any = b"",
        kind: str = "application/octet-stream",
        missing: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        if not self._is_served():
            raise StoreError(
                f"{self.url} is a plain web folder and can only be read: expected a server of "
                "lakota (lakota serve), or write to the folder itself"
            )
        answer = self._request(method, path, body=body, headers={"Content-Type": kind})
        if not (missing and answer.status == 404):
            self._read(answer)
        return answer

    def _request(
        self, method: str, path: str, *, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> urllib3.BaseHTTPResponse:
        """The answer, whatever its status. That of somebody else in the place of the server, as of
        a proxy that does not find it, says neither that something was done nor that it is not
        there: raises `UnavailableError`."""
        lib = _urllib3()
        try:
            answer = self._connections().request(
                method,
                f"{self.url}/{path}",
                body=body,
                headers={**self._headers, **(headers or {})},
                redirect=method in ("GET", "HEAD"),
                retries=self._patience(),
            )
        except lib.exceptions.HTTPError as error:
            reason = getattr(error, "reason", None) or error
            size = "" if not body else f" of {len(body):,} bytes"
            raise UnavailableError(
                f"{method} {self.url}/{path}{size} failed: {reason}; nothing is half written: look "
                "after the network and the server, then try again"
            ) from error
        says_so = answer.status < 300 or answer.status in (304, 404)
        if self._served and says_so and SERVER_HEADER not in answer.headers:
            raise UnavailableError(
                f"{method} {self.url}/{path} was answered with status {answer.status} by something "
                "else than the server of lakota that was there before: look after the server, and "
                "after what is between, then try again"
            )
        return answer

    def _read(self, answer: urllib3.BaseHTTPResponse) -> bytes:
        """The body of an answer; raises what the server says is wrong."""
        if answer.status < 300:
            return answer.data
        if answer.status == 401:
            raise StoreError(f"{self.url} {self._unknown()}")
        raise _said(answer, self.url)

    def _unknown(self) -> str:
        """What is wrong with the token or the password that was sent, or was not."""
        given = self._headers.get("Authorization", "")
        if given.startswith("Basic "):
            return "does not know the user and the password of the URL"
        wrong = "does not know this token" if given else "wants a token"
        return f"{wrong}: set {TOKEN}, or open the repo with storage_options={{'token': ...}}"

    def _connections(self) -> urllib3.PoolManager:
        """Connections of this process: a forked child has none of its parent's."""
        found = self._pools.get(os.getpid())
        if found is None:
            with self._lock:
                found = self._pools.setdefault(os.getpid(), self._connect())
        return found

    def _patience(self) -> urllib3.Retry:
        """How often a request is made again, and when: for about 15 seconds, as long as it takes
        to start a server again."""
        retries: urllib3.Retry = _urllib3().Retry(
            total=_FIRST_RETRIES if self._served is None else _RETRIES,
            redirect=4,
            backoff_factor=0.05,
            backoff_max=4,
            backoff_jitter=0.1,
            status_forcelist=_BUSY,
            allowed_methods=None,
            raise_on_status=False,
        )
        return retries

    def _connect(self) -> urllib3.PoolManager:
        lib = _urllib3()
        made: urllib3.PoolManager = lib.PoolManager(
            maxsize=REQUESTS,
            timeout=lib.Timeout(connect=min(10.0, self._timeout), read=self._timeout),
            ca_certs=self._ca_file,
        )
        return made


def _groups(objects: Mapping[str, Content]) -> Iterator[list[str]]:
    """Names of small objects, as many together as one request takes."""
    some: list[str] = []
    room = _TOGETHER
    for name, data in objects.items():
        size = size_of(data)
        if some and (size > room or len(some) == OBJECTS_AT_ONCE):
            yield some
            some, room = [], _TOGETHER
        some.append(name)
        room -= size
    if some:
        yield some


def _pages_in(data: pa.Buffer, asked: int) -> Iterator[tuple[int, pa.Buffer]]:
    """The pages in an answer, and which of those that were asked for each is."""
    at = 0
    while at < data.size:
        start = at + PAGE_HEAD.size
        which, size = PAGE_HEAD.unpack_from(data, at) if start <= data.size else (asked, 0)
        at = start + size
        if which >= asked or at > data.size:
            raise StoreError("the server sent something else than the pages that it was asked for")
        yield which, data.slice(start, size)


def _version(answer: urllib3.BaseHTTPResponse) -> Hashable:
    """What tells the bytes of an object from others, as far as the server says it."""
    etag = answer.headers.get("ETag")
    return etag or (answer.headers.get("Last-Modified"), _total(answer))


def _total(answer: urllib3.BaseHTTPResponse) -> int:
    """The bytes of the whole object that an answer is of."""
    if answer.status != 206:
        return len(answer.data)
    total = answer.headers.get("Content-Range", "").rpartition("/")[2]
    if not total.isdecimal():
        raise StoreError(f"a part of an object of unknown size: Content-Range ends in {total!r}")
    return int(total)


def _urllib3() -> Any:
    try:
        import urllib3
    except ImportError as error:
        raise MissingExtraError(
            "repos behind a URL need urllib3: pip install 'lakota-arrow[http]'"
        ) from error
    return urllib3


def _parse(url: str) -> tuple[str, str | None]:
    """The URL without a slash at its end, and what it says of authorization."""
    expected = "expected http://host/path or https://host/path, without '?' and '#'"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InputError(f"{url!r} is no URL of a repo ({error}): {expected}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise InputError(f"{url!r} is no URL of a repo: {expected}")
    basic = None
    if parts.username is not None:
        user, password = unquote(parts.username), unquote(parts.password or "")
        basic = str(_urllib3().make_headers(basic_auth=f"{user}:{password}")["authorization"])
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    path = quote(unquote(parts.path), safe="/~-._").rstrip("/")
    return f"{parts.scheme}://{host}{'' if port is None else f':{port}'}{path}", basic


def _said(answer: urllib3.BaseHTTPResponse, url: str) -> LakotaError:
    """What a server of this package says is wrong, as the error that it names."""
    try:
        said = json.loads(answer.data)
        kind, message = getattr(errors, said["error"], StoreError), str(said["message"])
    except (ValueError, KeyError, TypeError):
        kind, message = StoreError, f"status {answer.status} {answer.reason or ''}".strip()
    if answer.status in _BUSY:
        kind = UnavailableError
    if not (isinstance(kind, type) and issubclass(kind, LakotaError)):
        kind = StoreError
    found: LakotaError = kind(f"{url}: {message}")
    return found
