"""Running the server: uvicorn, with its connections kept to the limits."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..errors import InputError
from ..store.base import Store
from .app import make_app
from .limits import Limits

__all__ = ["running", "serve"]

_KEPT = 75
"""Seconds that a connection without requests is kept."""
_GRACE = 30
"""Seconds for running requests once the server is told to stop."""
_HEADER_BYTES = 32 << 10


def serve(
    root: str | os.PathLike[str] | Store,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    tokens: str | os.PathLike[str] | None = None,
    public_read: bool = False,
    cert: str | os.PathLike[str] | None = None,
    key: str | os.PathLike[str] | None = None,
    limits: Limits | None = None,
    access_log: bool = False,
    started: Callable[[str], None] | None = None,
) -> None:
    """Serve a repo, or a folder of repos, until SIGINT or SIGTERM; requests that run then are
    finished first.

    Parameters
    ----------
    root
        A folder with a repo, which is then at `/`; any other folder, in which each repo is at
        `/<name>` and a push makes new ones; a URI or a store, served as one repo.
    host, port
        Where to listen. Port 0 takes a free one, see `started`.
    tokens
        The file of tokens, see `add_token`. It is read again when it changes.
    public_read
        Whether everybody may read without a token.
    cert, key
        Files of a TLS certificate and its key, in PEM; without them, HTTP in the clear.
    limits
        See `Limits`.
    access_log
        Whether to log each request.
    started
        Called with the URL once the server listens.

    Raises `InputError` for what cannot be served or listened on.
    """
    options = {"tokens": tokens, "public_read": public_read, "limits": limits}
    server = _server(root, cert=cert, key=key, access_log=access_log, **options)
    with _listen(host, port) as listener:
        if started is not None:
            started(_url(server, host, listener))
        server.run(sockets=[listener])


@contextmanager
def running(
    root: str | os.PathLike[str] | Store,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    tokens: str | os.PathLike[str] | None = None,
    public_read: bool = False,
    cert: str | os.PathLike[str] | None = None,
    key: str | os.PathLike[str] | None = None,
    limits: Limits | None = None,
) -> Iterator[str]:
    """A server in a thread of this process, for notebooks and tests. Gives its URL; stops it at
    the end of the block. Options are those of `serve`, but by default the port is a free one.

    >>> from lakota import Repo, Schema
    >>> from lakota.store import MemoryStore
    >>> store = MemoryStore()
    >>> _ = Repo(store).create_collection(Schema(n="int*", x="float"), "c")
    >>> with running(store, public_read=True) as url:
    ...     Repo(url).ls()
    ['c']
    """
    options = {"tokens": tokens, "public_read": public_read, "limits": limits}
    server = _server(root, cert=cert, key=key, access_log=None, **options)
    with _listen(host, port) as listener:
        url = _url(server, host, listener)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield url
        finally:
            while not server.started and thread.is_alive():
                time.sleep(0.01)
            server.should_exit = True
            thread.join()


def _server(
    root: str | os.PathLike[str] | Store,
    *,
    cert: str | os.PathLike[str] | None,
    key: str | os.PathLike[str] | None,
    access_log: bool | None,
    **options: Any,
) -> uvicorn.Server:
    """`access_log`: None leaves the logging of this process as it is."""
    if (cert is None) != (key is None):
        raise InputError("expected both cert and key, or neither")
    limits = options["limits"] = options["limits"] or Limits()
    config = uvicorn.Config(
        make_app(root, **options),
        http=_protocol(limits),
        ws="none",
        lifespan="on",
        log_level="info" if access_log else "warning",
        access_log=bool(access_log),
        log_config=None if access_log is None else uvicorn.config.LOGGING_CONFIG,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=limits.connections,
        timeout_keep_alive=_KEPT,
        timeout_graceful_shutdown=_GRACE,
        ssl_certfile=cert,
        ssl_keyfile=key,
        h11_max_incomplete_event_size=_HEADER_BYTES,
    )
    try:
        config.load()
    except OSError as error:  # of a certificate
        raise InputError(f"cert={cert!r}, key={key!r} cannot be used: {error}") from error
    return uvicorn.Server(config)


def _url(server: uvicorn.Server, host: str, listener: socket.socket) -> str:
    shown = f"[{host}]" if ":" in host else host
    scheme = "https" if server.config.is_ssl else "http"
    return f"{scheme}://{shown}:{listener.getsockname()[1]}"


def _listen(host: str, port: int) -> socket.socket:
    if not isinstance(host, str):
        raise InputError(f"host={host!r}: expected a name or an address of this machine")
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port < 65536:
        raise InputError(f"port={port!r}: expected a number from 0 to 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # asyncio sends small parts at once only where it sees that the protocol is TCP.
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(2048)
        except OSError:
            listener.close()
            raise
    except (OSError, UnicodeError) as error:  # the latter of a name that cannot be one
        raise InputError(f"cannot listen on {host}:{port}: {error}") from error
    return listener


def _protocol(limits: Limits) -> type[asyncio.Protocol]:
    """uvicorn's protocol, which waits for the headers of a request for ever: this does not."""

    class Protocol(H11Protocol):
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(cast(asyncio.Transport, transport))
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._unwatch()
            super().connection_lost(exc)

        def _watch(self) -> None:
            if self.cycle is not None and not self.cycle.response_complete:
                self._unwatch()
            elif self._timer is None:
                self._timer = self.loop.call_later(limits.seconds, self._give_up)

        def _unwatch(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _give_up(self) -> None:
            self._timer = None
            if self.cycle is None or self.cycle.response_complete:
                self.transport.close()

    return Protocol
