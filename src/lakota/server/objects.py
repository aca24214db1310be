"""The protocol of stores: objects by name, and their listings. The client is `store.http`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa
import xxhash
from starlette.responses import JSONResponse, Response, StreamingResponse

from ..digest import Digest
from ..encoding import recode
from ..errors import DamagedError, FormatError, InputError, LakotaError, StoreError
from ..header import HEADER
from ..objects import digest_of
from ..registry import REGISTRY_ID
from ..segment import open_segment
from ..store.base import ReplacedError, Store, Tail, check_folder, check_name
from ..store.http import (
    ACCEPT_HEADER,
    OBJECT_HEAD,
    OBJECTS_AT_ONCE,
    PAGE_HEAD,
    PAGES_AT_ONCE,
    TURN_HEADER,
)
from .admission import Kind, kind_of
from .calls import Call, Refused
from .columns import DeletionError
from .places import Place
from .tokens import Scope

__all__ = [
    "delete_objects",
    "get_header",
    "get_object",
    "get_pages",
    "list_objects",
    "names_of_folder",
    "put_object",
    "put_objects",
    "sweep",
    "touch_object",
]

_PIECE = 1 << 20
_SMALL = 64 << 10
_AT_ONCE = 4 << 20
"""Bytes that are read into memory as they are; more are mapped, where that can be."""
_EVERYTHING = 1 << 40
_ATTEMPTS = 5
_LAST_SECOND = 1e12
_TEXT_BYTES = 4 << 20
_READABLE = ("segments", "pages", "changelog")
_FOREVER = "private, max-age=31536000, immutable"
_ANEW = "private, no-cache"
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


async def get_header(call: Call) -> Response:
    """The header of the repo, `lakota.json`, as it is in a plain web folder."""
    return await _object(call, "lakota.json")


async def get_object(call: Call) -> Response:
    """The bytes of an object, or a range of them."""
    return await _object(call, _name(call, Scope.READ))


async def get_pages(call: Call) -> Response:
    """Many pages in one answer. Those that are not there are left out, and the last ones where the
    answer would be too large."""
    wanted = _names(await _document(call))
    if len(wanted) > PAGES_AT_ONCE or not all(kind_of(name) is Kind.PAGE for name in wanted):
        raise InputError(f"expected the names of up to {PAGES_AT_ONCE} pages")
    if call.scope is not Scope.ADMIN and not await call.run(call.at.exists):
        raise Refused(404, "there is no repo here", kind="ObjectMissingError")
    data = await call.run(_together, call.at.store, wanted)
    return Response(data, media_type="application/octet-stream")


async def put_object(call: Call) -> Response:
    """Store an object: all of it or nothing. What it holds is verified first."""
    name = _name(call, Scope.WRITE)
    place, limits, memory = call.at, call.service.limits, call.service.memory
    size = _size(call, limits.body)
    await memory.take(size)
    try:
        data = pa.py_buffer(await _body(call, size))
        await call.run(_put, call, place, name, data)
    finally:
        await memory.give(size)
    _committed(call, name)
    return Response(status_code=204)


async def put_objects(call: Call) -> Response:
    """Store several objects, each as if it came alone: before each are two numbers of four bytes,
    little endian, the bytes of its name and its own; then its name. If one is refused, others may
    be stored."""
    place, memory = call.at, call.service.memory
    size = _size(call, call.service.limits.body)
    await memory.take(size)
    try:
        objects = _objects_in(pa.py_buffer(await _body(call, size)))
        for name in objects:
            _reached(call, name, Scope.WRITE)
        await call.run(_put_all, call, place, objects)
    finally:
        await memory.give(size)
    for name in objects:
        _committed(call, name)
    return Response(status_code=204)


def _objects_in(data: pa.Buffer) -> dict[str, pa.Buffer]:
    """The objects in a body, by name. Raises `InputError`, `Refused`."""
    found: dict[str, pa.Buffer] = {}
    at = 0
    while at < data.size:
        if len(found) == OBJECTS_AT_ONCE or at + OBJECT_HEAD.size > data.size:
            raise InputError(f"expected up to {OBJECTS_AT_ONCE} objects, each behind its sizes")
        named, size = OBJECT_HEAD.unpack_from(data, at)
        start = at + OBJECT_HEAD.size + named
        at = start + size
        if at > data.size:
            raise InputError("the body ends in the middle of an object")
        text = data.slice(start - named, named).to_pybytes().decode(errors="replace")
        found[_checked(text)] = data.slice(start, size)
    return found


async def touch_object(call: Call) -> Response:
    """Renew the age of an object, so that a collector of garbage leaves it."""
    name = _name(call, Scope.WRITE)
    if not await call.run(call.at.store.touch, name):
        raise Refused(404, f"there is no object {name}", kind="ObjectMissingError")
    return Response(status_code=204)


async def delete_objects(call: Call) -> Response:
    """Delete objects, in the order given; those that are not there are passed over. With
    `older_than`, those that were put or touched since are left."""
    asked = await _document(call)
    wanted = _names(asked)
    if "older_than" in asked:
        await call.run(call.at.store.expire, wanted, _moment(asked))
    else:
        await call.run(call.at.store.delete, wanted)
    return Response(status_code=204)


async def names_of_folder(call: Call) -> Response:
    """What is directly in a folder, by name; in no order. Who is about to commit to a collection
    says so by a header `Lakota-Turn`, with who he is and how many seconds he waits at most: where
    many are, he waits for his turn."""
    folder = _folder(call)
    if TURN_HEADER in call.request.headers and call.scope is not Scope.READ:
        who, _, patience = call.request.headers[TURN_HEADER].partition(";")
        await call.service.turns.take(call.at.key(folder), who, _seconds(patience))
    if not await call.run(_is_shown, call):
        return JSONResponse([])
    known = call.request.headers.get("if-none-match", "").removeprefix("W/")
    etag, names = await call.run(call.at.names, folder, known)
    headers = {"ETag": etag, "Cache-Control": _ANEW}
    if names is None:
        return Response(status_code=304, headers=headers)
    if call.scope is not Scope.ADMIN:
        start = f"{folder}/" if folder else ""
        names = [name for name in names if _is_readable(start + name)]
    return JSONResponse(names, headers=headers)


async def list_objects(call: Call) -> Response:
    """Every object below a folder: lines of JSON, `[name, bytes, seconds since 1970]`."""
    folder = _folder(call)
    shown = await call.run(_is_shown, call)
    infos = await call.run(call.at.store.list, folder) if shown else iter(())
    every = call.scope is Scope.ADMIN

    def some() -> bytes:
        lines: list[str] = []
        for info in infos:
            if every or _is_readable(info.name):
                lines.append(json.dumps(info) + "\n")
            if len(lines) == 5_000:
                break
        return "".join(lines).encode()

    async def pieces() -> AsyncIterator[bytes]:
        while piece := await call.run(some):
            yield piece

    return StreamingResponse(pieces(), media_type="application/x-ndjson")


async def sweep(call: Call) -> Response:
    """Remove leftovers of writers that died."""
    older_than = _moment(await _document(call))
    removed = await call.run(call.at.store.sweep, older_than)
    return JSONResponse({"removed": removed})


# ---- Names


def _names(asked: dict[str, Any]) -> list[str]:
    """The names in a document. Raises `InputError`, `Refused`."""
    names = asked.get("names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError('expected {"names": [...]}, a list of names')
    return [_checked(name) for name in names]


def _name(call: Call, scope: Scope) -> str:
    """The name in the path, which the caller's scope must reach."""
    return _reached(call, _checked(str(call.request.path_params["name"])), scope)


def _reached(call: Call, name: str, scope: Scope) -> str:
    """The same name, if the caller's scope reaches it."""
    within = _is_readable(name) if scope is Scope.READ else kind_of(name) is not Kind.OTHER
    if not within and call.scope is not Scope.ADMIN:
        raise Refused(
            403, f"{name} is no object of a repo: that takes the scope admin", kind="StoreError"
        )
    return name


def _folder(call: Call) -> str:
    folder = call.values.get("folder", "")
    try:
        return check_folder(folder)
    except StoreError as error:
        raise InputError(str(error)) from error


def _is_shown(call: Call) -> bool:
    """Whether the caller may see what is in a folder: if it is none of a repo, only admins."""
    return call.scope is Scope.ADMIN or call.at.exists()


def _checked(name: str) -> str:
    try:
        return check_name(name)
    except StoreError as error:
        raise Refused(400, str(error)) from error


def _is_readable(name: str) -> bool:
    return name.split("/")[0] in _READABLE or kind_of(name) is Kind.HEADER


# ---- Bodies


def _size(call: Call, most: int) -> int:
    length = call.request.headers.get("content-length", "")
    if not length.isdecimal() or len(length) > 18:
        raise Refused(411, "expected a Content-Length")
    if int(length) > most:
        raise Refused(413, f"a body of {int(length):,} bytes: this server takes {most:,}")
    return int(length)


async def _body(call: Call, size: int) -> bytes:
    parts = [part async for part in call.request.stream()]
    body = b"".join(parts)
    if len(body) != size:
        raise Refused(400, f"a body of {len(body):,} bytes instead of {size:,}")
    return body


async def _document(call: Call) -> dict[str, Any]:
    """A body of JSON."""
    if call.request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
        raise Refused(415, "expected a body of application/json")
    size = _size(call, _TEXT_BYTES)
    try:
        found = json.loads(await _body(call, size))
    except (ValueError, RecursionError) as error:
        raise InputError(f"the body is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise InputError("the body is no object of JSON")
    return found


def _moment(asked: dict[str, Any]) -> float:
    """The time in a document. Raises `InputError`."""
    given = asked.get("older_than")
    number = given if isinstance(given, int | float) and not isinstance(given, bool) else math.nan
    if not abs(number) < _LAST_SECOND:
        raise InputError('expected {"older_than": seconds since 1970}')
    return float(number)


def _seconds(text: str) -> float:
    """What somebody is ready to wait; what makes no sense says nothing."""
    with suppress(ValueError):
        found = float(text)
        return found if found >= 0 else math.inf
    return math.inf


def _committed(call: Call, name: str) -> None:
    """Whoever has stored a revision gives the turn to another."""
    if kind_of(name) is Kind.REVISION:
        folder, _, edge = name.rpartition("/")
        call.service.turns.give(call.at.key(folder), edge.partition(".")[2])


def _put_all(call: Call, place: Place, objects: Mapping[str, pa.Buffer]) -> None:
    """Those that others rely on first; of one sort together, which flushes them at once."""
    kinds = {name: kind_of(name) for name in objects}
    if HEADER in objects:
        _put(call, place, HEADER, objects[HEADER])
    for some in ((Kind.SEGMENT, Kind.PAGE), (Kind.REVISION,)):
        group = {n: data for n, data in objects.items() if kinds[n] in some and not _alone(n)}
        admitted = {n: data for n, data in group.items() if _admitted(call, place, n, data)}
        place.store.put_all(admitted)
        for folder in {n.split("/")[1] for n in admitted if kinds[n] is Kind.REVISION}:
            place.tidy(folder)
    for name, data in objects.items():
        if kinds[name] is Kind.OTHER or _alone(name):
            _put(call, place, name, data)


def _alone(name: str) -> bool:
    """Whether what is stored before decides whether it may be."""
    return name.split("/")[1:2] == [REGISTRY_ID]


def _put(call: Call, place: Place, name: str, data: pa.Buffer) -> None:
    with place.admission.turn(name):
        wanted = _admitted(call, place, name, data)
        if wanted:
            place.store.put(name, data)
    if wanted and kind_of(name) is Kind.REVISION:
        place.tidy(name.split("/")[1])


def _admitted(call: Call, place: Place, name: str, data: pa.Buffer) -> bool:
    """Whether an object is to be stored. Raises `Refused`."""
    if kind_of(name) not in (Kind.HEADER, Kind.OTHER) and not place.exists():
        raise Refused(409, "there is no repo yet: put lakota.json first")
    deletes = call.scope is Scope.ADMIN
    try:
        return place.admission.admit(name, data, call.service.limits, deletes=deletes)
    except DeletionError as error:
        raise Refused(403, str(error)) from error
    except (DamagedError, FormatError) as error:
        kinds = "FormatError" if isinstance(error, FormatError) else "DamagedError"
        raise Refused(422, f"{name} is refused: {error}", kind=kinds) from error


# ---- Objects


async def _object(call: Call, name: str) -> Response:
    place = call.at
    forever = kind_of(name) in (Kind.SEGMENT, Kind.PAGE)
    if call.scope is not Scope.ADMIN and not await call.run(place.exists):
        raise Refused(404, f"there is no object {name}", kind="ObjectMissingError")
    for _ in range(_ATTEMPTS):
        try:
            return await _answer(call, place.store, name, forever)
        except ReplacedError:
            continue
    raise Refused(503, f"{name} is being replaced: try again", Retry_After="1")


async def _answer(call: Call, store: Store, name: str, forever: bool) -> Response:
    """The object, or what is asked of it. Raises `ReplacedError`."""
    asked, is_head = call.request.headers, call.request.method == "HEAD"
    wants_all = "range" not in asked and not is_head
    packed = forever and wants_all and asked.get(ACCEPT_HEADER) == "packed"
    found = await call.run(store.tail, name, _needed(asked.get("range", ""), wants_all, store))
    etag = await call.run(_etag, found, packed)
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": _FOREVER if forever else _ANEW,
        "Vary": ACCEPT_HEADER,
    }
    if etag in _etags(asked.get("if-none-match", "")):
        return Response(status_code=304, headers=headers)
    if "if-match" in asked and not {etag, "*"} & {*_etags(asked["if-match"])}:
        raise Refused(412, f"{name} is another one by now")
    size = found.size
    start, stop, status = 0, size, 200
    if asked.get("if-range", etag) == etag:
        start, stop, status = _range(asked.get("range", ""), size)
    if status == 416:
        raise Refused(416, f"{name} has {size:,} bytes", Content_Range=f"bytes */{size}")
    if status == 206:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    headers["Content-Length"] = str(stop - start)
    kind = "application/octet-stream"
    if is_head:
        return Response(status_code=status, headers=headers, media_type=kind)
    data = await call.run(_bytes, store, name, found, start, stop)
    if packed:
        data = await call.run(_packed, data, Digest(str(digest_of(name))))
        headers["Content-Length"] = str(data.size)
    view = memoryview(data)
    if len(view) <= _PIECE:
        return Response(bytes(view), status, headers, kind)
    return StreamingResponse(_pieces(call, view), status, headers, kind)


def _together(store: Store, names: Sequence[str]) -> bytes:
    """Objects one after the other, each behind its number and its size."""
    found = store.get_all(names)
    pieces: list[bytes | memoryview] = []
    size = 0
    for nth, name in enumerate(names):
        if name in found:
            size += found[name].size
            if size > _AT_ONCE:
                break
            pieces += PAGE_HEAD.pack(nth, found[name].size), memoryview(found[name])
    return b"".join(pieces)


def _needed(text: str, wants_all: bool, store: Store) -> int:
    """How many bytes of the end to read at the first look, which also tells the version: what
    each look at a remote store costs is a request."""
    match = _RANGE.fullmatch(text.strip())
    if match is not None and match[1] == "" and match[2]:
        return max(1, min(int(match[2]), _AT_ONCE))
    return _EVERYTHING if wants_all and store.remote else 1


def _etag(found: Tail, packed: bool) -> str:
    version = _digest(found.data if found.version is None else repr(found.version).encode())
    return f'"{version}-packed"' if packed else f'"{version}"'


def _bytes(store: Store, name: str, found: Tail, start: int, stop: int) -> pa.Buffer:
    """Part of the object whose end was found. Raises `ReplacedError`."""
    first = found.size - found.data.size
    if start >= first:
        return found.data.slice(start - first, stop - start)
    if stop - start <= _AT_ONCE:
        return store.ranges(name, [(start, stop)], found.version)[0]
    data = store.get(name)  # of a folder: a file that is mapped, not read
    if store.tail(name, 1).version != found.version:
        raise ReplacedError(f"{name} was replaced while it was being read: read it again")
    return data.slice(start, stop - start)


def _packed(data: pa.Buffer, name: Digest) -> pa.Buffer:
    """A segment as it should travel: what is plain in a folder is a tenth of it packed."""
    if data.size < _SMALL:
        return data
    try:
        segment = open_segment(data, name)
        packed = recode(data, "packed").data if set(segment.codecs.values()) == {"plain"} else data
    except LakotaError:  # a page, or damaged: whoever gets it will see
        return data
    return packed if packed.size < data.size else data


def _digest(data: pa.Buffer | bytes) -> str:
    return xxhash.xxh3_128_hexdigest(memoryview(data))


async def _pieces(call: Call, view: memoryview) -> AsyncIterator[bytes]:
    for at in range(0, len(view), _PIECE):
        yield await call.run(bytes, view[at : at + _PIECE])  # a mapped file is read by this


def _etags(text: str) -> Iterator[str]:
    return (part.strip().removeprefix("W/") for part in text.split(","))


def _range(text: str, size: int) -> tuple[int, int, int]:
    """First byte, the one after the last, and the status. What is no single range is none."""
    match = _RANGE.fullmatch(text.strip())
    if match is None or match[0] == "bytes=-":
        return 0, size, 200
    if match[1] == "":
        start, stop = max(size - int(match[2]), 0), size
    else:
        start = int(match[1])
        stop = min(int(match[2]) + 1, size) if match[2] else size
        if match[2] and int(match[2]) < start:
            return 0, size, 200
    return (start, stop, 206) if start < stop else (0, size, 416)
