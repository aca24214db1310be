"""Verbs for serving repos: serve, index, token."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from .shell import Shell, many

__all__ = ["index", "serve", "token"]

token = typer.Typer(help="Who may use a server.", no_args_is_help=True)

File = Annotated[Path, typer.Option("--tokens", help="The file of tokens.")]
TOKENS = Path("tokens.json")


def _limit(what: str, default: str) -> Any:
    """An option of `lakota.server.Limits`, which is not imported before it is needed."""
    return typer.Option(help=f"{what}; {default}.", show_default=False, rich_help_panel="Limits")


def serve(
    shell: Shell,
    root: Annotated[
        str | None,
        typer.Argument(help="A repo, or a folder of repos; by default -r.", show_default=False),
    ] = None,
    host: str = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 8000,
    tokens: Annotated[
        str | None, typer.Option(help="The file of tokens.", show_default=False)
    ] = None,
    public_read: Annotated[
        bool, typer.Option("--public-read", help="Reading takes no token.")
    ] = False,
    cert: Annotated[
        str | None, typer.Option(help="A TLS certificate, PEM.", show_default=False)
    ] = None,
    key: Annotated[str | None, typer.Option(help="Its key, PEM.", show_default=False)] = None,
    access_log: Annotated[bool, typer.Option("--access-log", help="Log each request.")] = False,
    limit_body: Annotated[int | None, _limit("Bytes of one request", "268435456")] = None,
    limit_memory: Annotated[int | None, _limit("Bytes of all bodies at once", "1073741824")] = None,
    limit_inflated: Annotated[
        int | None, _limit("Bytes that a batch of pushed rows decompresses to", "268435456")
    ] = None,
    limit_requests: Annotated[int | None, _limit("Requests at once", "64")] = None,
    limit_connections: Annotated[int | None, _limit("Connections at once", "1000")] = None,
    limit_threads: Annotated[
        int | None, _limit("Requests for objects that are worked on at once", "16")
    ] = None,
    limit_questions: Annotated[
        int | None, _limit("Questions that are worked on at once", "4")
    ] = None,
    limit_diff_rows: Annotated[
        int | None, _limit("Rows that are compared for one answer", "5000000")
    ] = None,
    limit_seconds: Annotated[
        float | None, _limit("Until headers are there, and until an answer begins", "60")
    ] = None,
    limit_idle: Annotated[float | None, _limit("Seconds without a byte", "20")] = None,
    limit_rate: Annotated[
        int | None, _limit("Bytes a second with which a body must arrive", "10000")
    ] = None,
    limit_ahead: Annotated[
        float | None, _limit("Seconds that a revision may be ahead of the clock", "86400")
    ] = None,
) -> None:
    """Serve a repo, or a folder of repos, over HTTP until interrupted.

    lakota serve /data/repos --tokens tokens.json
    """
    from ..server import Limits, serve

    limits = {
        "body": limit_body,
        "memory": limit_memory,
        "inflated": limit_inflated,
        "requests": limit_requests,
        "connections": limit_connections,
        "threads": limit_threads,
        "questions": limit_questions,
        "diff_rows": limit_diff_rows,
        "seconds": limit_seconds,
        "idle": limit_idle,
        "rate": limit_rate,
        "ahead": limit_ahead,
    }
    given: dict[str, Any] = {name: value for name, value in limits.items() if value is not None}
    # Ctrl-C is how it ends.
    with suppress(KeyboardInterrupt):
        serve(
            root if root is not None else shell.repo.store,
            host=host,
            port=port,
            tokens=tokens,
            public_read=public_read,
            cert=cert,
            key=key,
            access_log=access_log,
            limits=Limits(**given),
            started=lambda url: shell.say(f"serving {url}"),
        )


def index(shell: Shell) -> None:
    """Write a listing, for web servers that make no index pages of a folder."""
    from ..store import write_listing

    lines = write_listing(shell.repo.store)
    shell.done(f"listed {many(lines, 'file')} of the changelog", files=lines)


def add_token(
    shell: Shell,
    name: Annotated[str, typer.Argument(help="To tell tokens apart.")],
    scope: Annotated[str, typer.Option(help="read, write or admin.")] = "read",
    served: Annotated[
        list[str] | None, typer.Option("--on", help="Names or patterns of repos; by default all.")
    ] = None,
    file: File = TOKENS,
) -> None:
    """Make a token and print it: it is shown nowhere else."""
    from ..server import add_token

    made = add_token(file, name, scope=scope, repos=served or ["*"])
    print(json.dumps({"token": made}) if shell.json else made)


def list_tokens(shell: Shell, file: File = TOKENS) -> None:
    """List what each token allows."""
    from ..server import list_tokens

    grants = [
        {"name": g.name, "scope": g.scope.name.lower(), "repos": list(g.repos)}
        for g in list_tokens(file)
    ]
    if shell.json:
        print(json.dumps(grants, ensure_ascii=False))
    else:
        for grant in grants:
            print(f"{grant['name']}\t{grant['scope']}\t{' '.join(grant['repos'])}")


def remove_token(shell: Shell, name: str, file: File = TOKENS) -> None:
    """Take a token away."""
    from ..server import remove_token

    remove_token(file, name)
    shell.done(f"removed {name}", token=name)
