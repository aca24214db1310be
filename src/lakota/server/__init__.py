"""Repos over HTTP: `serve` and `running` run a server, `make_app` gives the ASGI application.

On top of everything else; needs the extra `server`. `docs/server.md` says how to use it.
"""

from __future__ import annotations

from ..errors import MissingExtraError
from .limits import Limits
from .tokens import Grant, Scope, add_token, list_tokens, remove_token

try:
    from .app import make_app
    from .run import running, serve
except ImportError as error:
    if (error.name or "").split(".")[0] not in ("starlette", "uvicorn", "h11"):
        raise
    raise MissingExtraError(
        "a server needs starlette and uvicorn: pip install 'lakota-arrow[server]'"
    ) from error

__all__ = [
    "Grant",
    "Limits",
    "Scope",
    "add_token",
    "list_tokens",
    "make_app",
    "remove_token",
    "running",
    "serve",
]
