"""The table of verbs, and the way in: `run(words)` returns the exit code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from .. import __version__
from . import columns, data, past, replicas, service, transfer, upkeep
from .shell import (
    Json,
    Pretty,
    Quiet,
    Repos,
    Shell,
    Verbose,
    exit_code,
    fail,
    pairs,
    report,
    verb,
)

__all__ = ["app", "run"]

app = typer.Typer(
    name="lakota",
    help="Version control for time series and other indexed tables.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def options(
    context: typer.Context,
    repo: Repos = None,
    json: Json = False,
    pretty: Pretty = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    timing: Annotated[bool, typer.Option("--timing", "-t", help="Say how long it took.")] = False,
    codec: Annotated[
        str | None,
        typer.Option(help="How rows are stored: plain, lz4, zstd, packed.", show_default=False),
    ] = None,
    durability: Annotated[
        str | None,
        typer.Option(help="fsync, or os: leave it to the system.", show_default=False),
    ] = None,
    max_ahead: Annotated[
        float | None,
        typer.Option(
            help="Refuse revisions stamped so many seconds ahead of the clock.",
            show_default=False,
        ),
    ] = None,
    storage: Annotated[
        list[str] | None,
        typer.Option(
            "--storage-option",
            metavar="KEY=VALUE",
            help="Of a bucket or a server; by default from the environment.",
            show_default=False,
        ),
    ] = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Options that may stand before the verb as well as after it."""
    if version:
        print(__version__)
        raise typer.Exit
    how: dict[str, Any] = {
        "codec": codec,
        "durability": durability,
        "storage_options": pairs(storage or ()),
    }
    how = {name: value for name, value in how.items() if value}
    how |= {} if max_ahead is None else {"max_ahead": max_ahead}
    context.obj = Shell(tuple(repo or ()), json, pretty, quiet, verbose, timing, how)


def version(shell: Shell) -> None:
    """Print the version."""
    shell.names([__version__]) if shell.json else print(__version__)


def help(
    context: typer.Context,
    words: Annotated[list[str] | None, typer.Argument(metavar="VERB", show_default=False)] = None,
) -> None:
    """Show what a verb does."""
    raise typer.Exit(run([*(words or ()), "--help"]))


VERBS: Sequence[tuple[str, Sequence[tuple[str, Callable[..., Any]]]]] = (
    (
        "Rows",
        (
            ("create", columns.create),
            ("write", data.write),
            ("read", data.read),
            ("sql", data.sql),
            ("ls", data.ls),
            ("len", data.length),
            ("schema", columns.schema),
            ("delete", data.delete),
            ("rename", data.rename),
            ("copy", columns.copy),
            ("import", transfer.import_),
            ("export", transfer.export),
        ),
    ),
    (
        "The past",
        (
            ("log", past.log),
            ("rev", past.rev),
            ("show", past.show),
            ("diff", past.diff),
            ("history", past.history),
            ("vintages", past.vintages),
            ("tag", past.tag),
            ("revert", past.revert),
        ),
    ),
    (
        "Copies",
        (
            ("init", replicas.init),
            ("clone", replicas.clone),
            ("fetch", replicas.fetch),
            ("pull", replicas.pull),
            ("push", replicas.push),
            ("status", replicas.status),
            ("merge", past.merge),
            ("conflicts", past.conflicts),
            ("bundle", replicas.bundle),
            ("serve", service.serve),
            ("index", service.index),
        ),
    ),
    (
        "Upkeep",
        (
            ("check", upkeep.check),
            ("pack", upkeep.pack),
            ("defrag", upkeep.defrag),
            ("fold", upkeep.fold),
            ("trim", upkeep.trim),
            ("squash", upkeep.squash),
            ("gc", upkeep.gc),
        ),
    ),
)
HIDDEN = (("length", data.length), ("del", data.delete))
"""Other names, from the original."""
GROUPS = (
    (
        columns.columns,
        "column",
        "Rows",
        (
            ("add", columns.add_column),
            ("rename", columns.rename_column),
            ("drop", columns.drop_column),
            ("widen", columns.widen_column),
        ),
    ),
    (
        replicas.remote,
        "remote",
        "Copies",
        (
            ("add", replicas.add_remote),
            ("list", replicas.list_remotes),
            ("remove", replicas.remove_remote),
        ),
    ),
    (
        service.token,
        "token",
        "Copies",
        (
            ("add", service.add_token),
            ("list", service.list_tokens),
            ("remove", service.remove_token),
        ),
    ),
)

for panel, verbs in VERBS:
    for name, act in verbs:
        app.command(name, rich_help_panel=panel)(verb(act))
for name, act in HIDDEN:
    app.command(name, hidden=True)(verb(act))
for group, title, panel, verbs in GROUPS:
    for name, act in verbs:
        group.command(name)(verb(act))
    app.add_typer(group, name=title, rich_help_panel=panel)
app.command("version", rich_help_panel="Others")(verb(version))
app.command("help", rich_help_panel="Others")(help)


def run(words: Sequence[str]) -> int:
    """Run a command line; returns its exit code."""
    try:
        code = app(args=list(words), prog_name="lakota", standalone_mode=False)
    except Exception as error:
        if not hasattr(error, "format_message"):
            return report(error, verbose=False)
        message = error.format_message()
        if message:
            fail(f"{message} (see lakota --help)")
        return exit_code(error)
    return code if isinstance(code, int) else 0
