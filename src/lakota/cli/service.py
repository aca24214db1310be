"""Verbs for serving repos: serve, index, token."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from .shell import Shell, many

__all__ = ["index", "serve", "token"]

token = typer.Typer(help="Who may use a server.", no_args_is_help=True)

File = Annotated[Path, typer.Option("--tokens", help="The file of tokens.")]
TOKENS = Path("tokens.json")


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
) -> None:
    """Serve a repo, or a folder of repos, over HTTP until interrupted.

    lakota serve /data/repos --tokens tokens.json
    """
    from ..server import serve

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
