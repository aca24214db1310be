"""What every request passes: limits of number, size and time; errors as JSON; metrics.

Around the application, as ASGI. Nothing that happens inside gets out as anything but an answer.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import (
    DamagedError,
    FormatError,
    InputError,
    LakotaError,
    NotFoundError,
    ObjectMissingError,
    StoreError,
    UnavailableError,
)
from ..store.http import SERVER_HEADER
from .calls import Refused
from .limits import Limits
from .metrics import Metrics

__all__ = ["OPERATION", "Gate"]

OPERATION = "lakota.operation"
"""Where in the scope the operation's name is, for the metrics."""

log = logging.getLogger("lakota.server")

_ALWAYS = (
    (SERVER_HEADER.encode(), b"1"),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Content-Security-Policy", b"default-src 'none'"),
)
_HEALTH = "/health"
"""Is answered however many requests there are."""
_DRAIN = 8 << 20
"""Bytes of a refused body that are read all the same, so that the sender hears why."""

_STATUS: tuple[tuple[type[LakotaError], int], ...] = (
    (NotFoundError, 404),
    (ObjectMissingError, 404),
    (InputError, 400),
    (FormatError, 500),
    (DamagedError, 500),
    (UnavailableError, 503),
    (StoreError, 500),
)


class Gate:
    """`app` behind limits."""

    def __init__(
        self, app: ASGIApp, limits: Limits, metrics: Metrics, told: Callable[[Exception], str]
    ) -> None:
        """`told`: what may be said of an error to those who ask."""
        self._app = app
        self._told = told
        self._limits = limits
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        begun = time.perf_counter()
        passage = _Passage(scope, receive, send, self._limits)
        try:
            refused = await self._pass(scope, passage)
            if refused is not None:  # it runs no more, and takes nobody's place
                await passage.refuse(refused)
        finally:
            name = str(scope.get(OPERATION, "none"))
            seconds = time.perf_counter() - begun
            self._metrics.done(name, passage.status, seconds, passage.received, passage.sent)

    async def _pass(self, scope: Scope, passage: _Passage) -> Refused | None:
        """Answer, or say why not."""
        try:
            if _is_ambiguous(scope["headers"]):
                raise Refused(400, "both Content-Length and Transfer-Encoding")
            counts = scope["path"] != _HEALTH
            if counts and self._metrics.running >= self._limits.requests:
                raise Refused(503, "too many requests at once: try again", Retry_After="1")
            self._metrics.running += counts
            try:
                async with asyncio.timeout(self._limits.seconds) as clock:
                    passage.clock = clock
                    await self._app(scope, passage.receive, passage.send)
            finally:
                self._metrics.running -= counts
        except TimeoutError:
            return passage.late()
        except ClientDisconnect:  # nobody is there to be told
            log.info("%s %s: the client went away", scope["method"], scope["path"])
        except Refused as refused:
            return refused.saying(self._told(refused))
        except LakotaError as error:
            status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
            if status >= 500:
                log.error("%s %s: %s", scope["method"], scope["path"], error)
            return Refused(status, self._told(error), kind=_named(error))
        except Exception:
            log.exception("%s %s", scope["method"], scope["path"])
            return Refused(500, "an error of the server: see its log")
        return None


def _named(error: LakotaError) -> str:
    """The public name of an error."""
    return next(
        kind.__name__ for kind in type(error).__mro__ if kind.__module__.endswith("lakota.errors")
    )


class _Passage:
    """The bytes of one request and its answer, on their way."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: Limits) -> None:
        self._receive = receive
        self._send = send
        self._limits = limits
        self._begun = time.monotonic()
        self._waiting = False
        self._more = _has_body(scope["headers"])
        self._head = scope["method"] == "HEAD"
        self.clock: asyncio.Timeout | None = None
        self.status = 0
        self.received = self.sent = 0

    async def receive(self) -> Message:
        """The next part of the body. One that is late ends the request."""
        fair = self._begun + self._limits.idle + self.received / self._limits.rate
        left = min(self._limits.idle, fair - time.monotonic())
        self._waiting = True
        self._reschedule(max(left, 0.0))
        message = await self._receive()
        self._waiting = False
        self._reschedule(self._limits.seconds)
        self.received += len(message.get("body", b""))
        self._more = bool(message.get("more_body", False))
        return message

    async def send(self, message: Message) -> None:
        """A part of the answer. A reader that takes none ends the request."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), *_ALWAYS]
            if self._more:  # what is left of the body must not be taken for a request
                headers.append((b"Connection", b"close"))
            message = {**message, "headers": headers}
        self.sent += len(message.get("body", b""))
        self._reschedule(self._limits.idle)
        await self._send(message)
        self._reschedule(self._limits.seconds)

    def late(self) -> Refused:
        """What to say when time is up."""
        if self._waiting:
            return Refused(408, "the body came too slowly")
        return Refused(503, "this takes longer than the server allows", Retry_After="5")

    async def refuse(self, refused: Refused) -> None:
        """Answer with an error; if an answer has begun, nothing can be said any more."""
        if self.status:
            return
        if refused.status != 503:  # for these there is no time
            await self._drain()
        kind = refused.kind
        body = json.dumps({"error": kind, "message": str(refused)}).encode() + b"\n"
        headers: Iterable[tuple[str, str]] = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            **refused.headers,
        }.items()
        raw = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers]
        start = {"type": "http.response.start", "status": refused.status, "headers": raw}
        try:
            async with asyncio.timeout(self._limits.idle):
                self.clock = None
                await self.send(start)
                await self.send({"type": "http.response.body", "body": b"" if self._head else body})
        except TimeoutError:
            return

    async def _drain(self) -> None:
        """Read on, within reason: many clients do not listen before they have sent all."""
        self.clock = None
        try:
            async with asyncio.timeout(min(self._limits.idle, 5.0)):
                while self._more and self.received < _DRAIN:
                    await self.receive()
        except TimeoutError:
            return

    def _reschedule(self, seconds: float) -> None:
        if self.clock is not None and not self.clock.expired():
            self.clock.reschedule(asyncio.get_running_loop().time() + seconds)


def _is_ambiguous(headers: Any) -> bool:
    """Whether a proxy may see another end of the body than we do."""
    return {b"content-length", b"transfer-encoding"} <= {name for name, _ in headers}


def _has_body(headers: Any) -> bool:
    found = {name: value for name, value in headers}
    return b"transfer-encoding" in found or found.get(b"content-length", b"0") != b"0"
