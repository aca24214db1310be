"""The application: which endpoints there are, and who may use them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Asgi

from .. import __version__
from ..errors import InputError
from ..store.base import Store
from .calls import Call, Endpoint, Memory, Param, Refused, Service
from .gate import OPERATION, Gate
from .limits import Limits
from .metrics import Metrics
from .objects import (
    delete_objects,
    get_header,
    get_object,
    get_pages,
    list_objects,
    names_of_folder,
    put_object,
    put_objects,
    sweep,
    touch_object,
)
from .openapi import BYTES, EMPTY, LINES, TABLE, TEXT, document, json_answer
from .places import Place, Places
from .queries import DIFF, LOG, ROWS, SERIES, collections, diff, log, rows, series
from .tokens import Grant, Scope, TokenFile
from .turns import Turns

__all__ = ["ENDPOINTS", "make_app"]

_FOLDER = Param("folder", "A folder of objects; by default all of the repo.")


async def health(call: Call) -> Response:
    """That the server is there."""
    return JSONResponse({"status": "ok"})


async def metrics(call: Call) -> Response:
    """Counters, in the text format of Prometheus."""
    return Response(call.service.metrics.text(), media_type="text/plain; version=0.0.4")


async def repos(call: Call) -> Response:
    """The names of the repos that the caller may read."""
    service, grant = call.service, call.grant
    names = await call.run(service.places.names)
    seen = [
        name
        for name in names
        if service.public_read or (grant is not None and grant.allows(name, Scope.READ))
    ]
    return JSONResponse({"repos": seen})


async def openapi(call: Call) -> Response:
    """This document."""
    single = call.service.places.single
    return JSONResponse(document(ENDPOINTS, single=single, version=__version__))


def _object(**properties: Any) -> dict[str, Any]:
    return json_answer({"type": "object", "properties": properties, "required": list(properties)})


_TEXTS = {"type": "array", "items": {"type": "string"}}
_OBJECTS = {"type": "array", "items": {"type": "object"}}
_FLAG = {"type": "boolean"}
_NAMES = {
    "application/json": {
        "schema": {
            "type": "object",
            "properties": {"names": _TEXTS, "older_than": {"type": "number"}},
            "required": ["names"],
        }
    }
}
_PAGES = {
    "application/json": {
        "schema": {"type": "object", "properties": {"names": _TEXTS}, "required": ["names"]}
    }
}
_OLDER = {
    "application/json": {
        "schema": {
            "type": "object",
            "properties": {"older_than": {"type": "number"}},
            "required": ["older_than"],
        }
    }
}
_OBJECT = "/objects/{name:path}"

ENDPOINTS = (
    Endpoint(
        "GET",
        "/health",
        health,
        "Whether the server is up.",
        None,
        of_repo=False,
        answers=_object(status={"type": "string"}),
    ),
    Endpoint(
        "GET",
        "/openapi.json",
        openapi,
        "What the server understands.",
        None,
        of_repo=False,
        answers=json_answer({"type": "object"}),
    ),
    Endpoint("GET", "/metrics", metrics, "Metrics.", of_repo=False, answers=TEXT),
    Endpoint("GET", "/repos", repos, "List repos.", of_repo=False, answers=_object(repos=_TEXTS)),
    Endpoint(
        "GET",
        "/collections",
        collections,
        "List collections.",
        answers=_object(collections=_OBJECTS),
    ),
    Endpoint(
        "GET",
        "/series",
        series,
        "List series.",
        params=SERIES,
        answers=_object(series=_TEXTS, more=_FLAG),
    ),
    Endpoint("GET", "/rows", rows, "Read rows.", params=ROWS, answers=TABLE),
    Endpoint(
        "GET",
        "/log",
        log,
        "List revisions.",
        params=LOG,
        answers=_object(revisions=_OBJECTS, more=_FLAG),
    ),
    Endpoint("GET", "/diff", diff, "Compare moments.", params=DIFF, answers=TABLE),
    Endpoint(
        "GET",
        "/lakota.json",
        get_header,
        "The header of the repo.",
        answers=BYTES,
    ),
    Endpoint("GET", _OBJECT, get_object, "Read an object.", answers=BYTES),
    Endpoint(
        "PUT",
        _OBJECT,
        put_object,
        "Store an object.",
        Scope.WRITE,
        body={"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        answers=EMPTY,
    ),
    Endpoint(
        "POST", _OBJECT, touch_object, "Renew the age of an object.", Scope.WRITE, answers=EMPTY
    ),
    Endpoint(
        "POST",
        "/objects",
        put_objects,
        "Store several objects.",
        Scope.WRITE,
        body={"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        answers=EMPTY,
    ),
    Endpoint("POST", "/pages", get_pages, "Read pages.", body=_PAGES, answers=BYTES),
    Endpoint(
        "GET",
        "/names",
        names_of_folder,
        "List a folder.",
        params=(_FOLDER,),
        answers=json_answer(_TEXTS),
    ),
    Endpoint("GET", "/list", list_objects, "List objects.", params=(_FOLDER,), answers=LINES),
    Endpoint(
        "POST",
        "/delete",
        delete_objects,
        "Delete objects.",
        Scope.ADMIN,
        body=_NAMES,
        answers=EMPTY,
    ),
    Endpoint(
        "POST",
        "/sweep",
        sweep,
        "Remove leftovers.",
        Scope.ADMIN,
        body=_OLDER,
        answers=_object(removed={"type": "integer"}),
    ),
)


def make_app(
    root: str | os.PathLike[str] | Store,
    *,
    tokens: str | os.PathLike[str] | None = None,
    public_read: bool = False,
    limits: Limits | None = None,
) -> ASGIApp:
    """The ASGI application that serves `root`: a repo, a folder of repos, or a store.

    `tokens`: the file of tokens, see `add_token`. `public_read`: reading takes no token. Raises
    `InputError` if neither is given, for then nothing could be served.

    >>> from lakota.store import MemoryStore
    >>> app = make_app(MemoryStore(), public_read=True)
    """
    if tokens is None and not public_read:
        raise InputError(
            "without a file of tokens nothing would be served: pass tokens=... (--tokens), or "
            "public_read=True (--public-read) to let everybody read"
        )
    limits = limits or Limits()
    threads = ThreadPoolExecutor(limits.threads, thread_name_prefix="lakota-serve")
    questions = ThreadPoolExecutor(limits.questions, thread_name_prefix="lakota-ask")
    service = Service(
        Places(root),
        None if tokens is None else TokenFile(tokens),
        public_read,
        limits,
        Metrics(),
        threads,
        questions,
        Memory(limits.memory),
        Turns(limits.requests // 2, limits.seconds / 2),
    )

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        yield
        threads.shutdown(wait=True)
        questions.shutdown(wait=True, cancel_futures=True)

    router = Router(
        [*_routes(service)],
        redirect_slashes=False,
        default=partial(
            _not_found, "" if service.places.single else ": each repo here is at /<name>"
        ),
        lifespan=lifespan,
    )
    return Gate(router, limits, service.metrics, service.told)


async def _not_found(hint: str, scope: Asgi, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        raise Refused(404, f"there is nothing at {scope['path']}{hint}", kind="NotFoundError")


def _routes(service: Service) -> list[Route]:
    """A route for each path, which knows the endpoints of each method."""
    paths: dict[str, list[Endpoint]] = {}
    for endpoint in ENDPOINTS:
        base = "/{repo}" if endpoint.of_repo and not service.places.single else ""
        paths.setdefault(base + endpoint.path, []).append(endpoint)
    return [Route(path, _Dispatch(service, found)) for path, found in paths.items()]


class _Dispatch:
    """The endpoints of one path, as an ASGI application of its own."""

    def __init__(self, service: Service, endpoints: list[Endpoint]) -> None:
        self._service = service
        self._by_method = {endpoint.method: endpoint for endpoint in endpoints}
        if "GET" in self._by_method:
            self._by_method["HEAD"] = self._by_method["GET"]

    async def __call__(self, scope: Asgi, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        endpoint = self._by_method.get(request.method)
        if endpoint is None:
            allowed = ", ".join(sorted(self._by_method))
            raise Refused(405, f"{request.method} is not for this: {allowed}", Allow=allowed)
        scope[OPERATION] = endpoint.name
        call = self._enter(endpoint, request)
        response = await endpoint.handler(call)
        await response(scope, receive, send)

    def _enter(self, endpoint: Endpoint, request: Request) -> Call:
        """Let a request in, or refuse it. What there is, only those learn who may know."""
        service = self._service
        grant = _grant(service, request)
        name = request.path_params.get("repo", "")
        if endpoint.scope is not None:
            _authorise(service, grant, name if endpoint.of_repo else None, endpoint.scope)
        place: Place | None = None
        if endpoint.of_repo:
            place = service.places.find(name)
            if place is None:
                raise Refused(
                    404,
                    f"{name!r} cannot be a repo: expected a folder here, or a name of letters, "
                    "digits, '_', '-' and '.'",
                    kind="NotFoundError",
                )
        return Call(service, request, place, grant, _values(endpoint, request))


def _grant(service: Service, request: Request) -> Grant | None:
    """What the token of a request allows; None without one."""
    given = request.headers.get("authorization")
    if given is None:
        return None
    kind, _, token = given.partition(" ")
    found = None
    if service.tokens is not None and kind.lower() == "bearer":
        found = service.tokens.grant(token.strip())
    if found is None:
        raise _unknown("this token is not known here")
    return found


def _authorise(service: Service, grant: Grant | None, repo: str | None, scope: Scope) -> None:
    if service.public_read and scope is Scope.READ:
        return
    if grant is None:
        raise _unknown("this takes a token: Authorization: Bearer ...")
    if repo is not None and not grant.allows(repo, scope):
        wanted = scope.name.lower()
        raise Refused(403, f"this token has not the scope {wanted} for the repo {repo!r}")


def _unknown(message: str) -> Refused:
    return Refused(401, message, WWW_Authenticate='Bearer realm="lakota"')


def _values(endpoint: Endpoint, request: Request) -> dict[str, Any]:
    """The parameters of the query. Raises `InputError`."""
    known = {param.name: param for param in endpoint.params}
    values: dict[str, Any] = {}
    for name, text in request.query_params.multi_items():
        if name not in known:
            expected = ", ".join(known) or "none"
            raise InputError(f"unknown parameter {name!r}: expected {expected}")
        value = known[name].read(text)
        if known[name].many:
            values.setdefault(name, []).append(value)
        elif name in values:
            raise InputError(f"{name} is given twice")
        else:
            values[name] = value
    missing = [p.name for p in endpoint.params if p.required and p.name not in values]
    if missing:
        raise InputError(f"expected the parameter {', '.join(missing)}")
    return values
