"""What every endpoint is made of: its declaration, from which routes and the OpenAPI document
follow, and one call of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from ..errors import InputError
from .limits import Limits
from .metrics import Metrics
from .places import Place, Places
from .tokens import Grant, Scope, TokenFile
from .turns import Turns

__all__ = ["Call", "Endpoint", "Handler", "Param", "Refused", "Service"]

T = TypeVar("T")


class Refused(Exception):
    """A request that is answered with a status and an error instead of what it asked for."""

    def __init__(
        self, status: int, message: str, *, kind: str = "StoreError", **headers: str
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def saying(self, message: str) -> Refused:
        """The same in other words."""
        return Refused(self.status, message, kind=self.kind, **self.headers)


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of the query; given once at most, unless `many`."""

    name: str
    about: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    required: bool = False
    many: bool = False

    def read(self, text: str) -> Any:
        """The value that a text stands for. Raises `InputError`."""
        kind = self.schema["type"]
        if kind == "integer":
            return self._integer(text)
        if kind == "boolean":
            if text not in ("true", "false"):
                raise InputError(f"{self.name}={text!r}: expected true or false")
            return text == "true"
        known = self.schema.get("enum")
        if known and text not in known:
            raise InputError(f"{self.name}={text!r}: expected one of {', '.join(known)}")
        if len(text) < self.schema.get("minLength", 0):
            raise InputError(f"{self.name} is empty: expected some text")
        return text

    def _integer(self, text: str) -> int:
        least, most = self.schema.get("minimum", 0), self.schema["maximum"]
        if not re.fullmatch(r"-?[0-9]{1,18}", text) or not least <= int(text) <= most:
            raise InputError(f"{self.name}={text!r}: expected a number from {least} to {most:,}")
        return int(text)


@dataclass(frozen=True)
class Service:
    """What all calls share."""

    places: Places
    tokens: TokenFile | None
    public_read: bool
    limits: Limits
    metrics: Metrics
    threads: ThreadPoolExecutor
    questions: ThreadPoolExecutor
    """Threads for what may take long, and goes on when nobody waits for it any more."""
    memory: Memory
    turns: Turns

    def told(self, error: Exception) -> str:
        """What may be said of an error: not where on this machine things are."""
        text = self.places.told(error)
        return text if self.tokens is None else text.replace(self.tokens.path, "of this server")


class Memory:
    """Bytes that may be in memory at once; who asks for more waits."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._most = most
        self._changed = asyncio.Condition()

    async def take(self, size: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._left >= min(size, self._most))
            self._left -= min(size, self._most)

    async def give(self, size: int) -> None:
        async with self._changed:
            self._left += min(size, self._most)
            self._changed.notify_all()


@dataclass(frozen=True)
class Call:
    """One request that was let in."""

    service: Service
    request: Request
    place: Place | None
    grant: Grant | None
    values: Mapping[str, Any]
    """The parameters of the query."""

    @property
    def at(self) -> Place:
        """The repo that is asked."""
        if self.place is None:
            raise Refused(404, "there is no such repo", kind="NotFoundError")
        return self.place

    @property
    def scope(self) -> Scope:
        """What the caller may do with that repo."""
        name = self.place.name if self.place else ""
        scopes = [s for s in Scope if self.grant is not None and self.grant.allows(name, s)]
        return max(scopes, default=Scope.READ)

    async def run(self, act: Callable[..., T], *args: Any) -> T:
        """Do what takes time or waits for a disk in a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.service.threads, act, *args)

    async def ask(self, act: Callable[..., T], *args: Any) -> T:
        """The same for a question."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.service.questions, act, *args)


Handler = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True)
class Endpoint:
    """One operation of the server."""

    method: str
    path: str
    """Below the repo if `of_repo`, else below the root."""
    handler: Handler
    about: str
    scope: Scope | None = Scope.READ
    """What it takes; None: anybody may ask."""
    params: tuple[Param, ...] = ()
    of_repo: bool = True
    body: Mapping[str, Any] | None = None
    """The content of the request, as in OpenAPI."""
    answers: Mapping[str, Any] = field(default_factory=dict)
    """The answers besides errors, as in OpenAPI."""

    @property
    def name(self) -> str:
        """For metrics and as operationId."""
        return getattr(self.handler, "__name__", "endpoint")
