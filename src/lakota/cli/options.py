"""Options and arguments that several verbs take, as typer reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from .shell import Shell

__all__ = [
    "AsOf",
    "Author",
    "Before",
    "Closed",
    "CollectionName",
    "CollectionNames",
    "DryRun",
    "Format",
    "Grace",
    "Message",
    "Output",
    "RevisionName",
    "SeriesName",
    "Start",
    "Stop",
]


def _complete(find: Callable[[Shell, str], list[str]]) -> Callable[[Any, str], list[str]]:
    """A completion by what is in the repo; nothing where there is none."""

    def complete(context: typer.Context, incomplete: str) -> list[str]:
        try:
            given = context.params.get("repo") or ()
            return [name for name in find(Shell(tuple(given)), incomplete) if name.isprintable()]
        except Exception:  # a broken repo must not break the user's shell
            return []

    return complete


def _collections(shell: Shell, start: str) -> list[str]:
    return [label for label in shell.repo.ls() if label.startswith(start)]


def _labels(shell: Shell, start: str) -> list[str]:
    for clct in shell.repo:
        if start.startswith(f"{clct.label}/"):
            return [name for s in clct.ls() if (name := f"{clct.label}/{s}").startswith(start)]
    return _collections(shell, start) + [f"{label}/" for label in _collections(shell, start)]


def _remotes(shell: Shell, start: str) -> list[str]:
    from .remotes import known

    return [name for name in known(shell) if name.startswith(start)]


complete_collection = _complete(_collections)
complete_label = _complete(_labels)
complete_remote = _complete(_remotes)

CollectionName = Annotated[
    str,
    typer.Argument(metavar="COLLECTION", autocompletion=complete_collection, show_default=False),
]
CollectionNames = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="COLLECTION",
        help="All if none is named.",
        autocompletion=complete_collection,
        show_default=False,
    ),
]
SeriesName = Annotated[
    str,
    typer.Argument(metavar="COLLECTION/SERIES", autocompletion=complete_label, show_default=False),
]
LabelName = Annotated[
    str,
    typer.Argument(
        metavar="COLLECTION[/SERIES]", autocompletion=complete_label, show_default=False
    ),
]
RemoteName = Annotated[
    str | None,
    typer.Argument(
        metavar="REMOTE",
        help="A name that `lakota remote` knows, a folder or a URI.",
        autocompletion=complete_remote,
        show_default=False,
    ),
]
RevisionName = Annotated[
    str,
    typer.Argument(
        metavar="REVISION",
        help="A revision or its beginning, a tag, HEAD or HEAD~2.",
        show_default=False,
    ),
]
AsOf = Annotated[
    str | None,
    typer.Option("--as-of", help="As it was at a time, revision or tag.", show_default=False),
]
Before = Annotated[
    str | None,
    typer.Option("--before", "-B", help="As it was just before.", show_default=False),
]
Merged = Annotated[bool, typer.Option("--merged", help="All heads, not the newest only.")]
Start = Annotated[
    list[str] | None,
    typer.Option(
        "--start",
        "--gt",
        "--greater-than",
        help="First key; repeat it for an index of several columns.",
        show_default=False,
    ),
]
Stop = Annotated[
    list[str] | None,
    typer.Option("--stop", "--lt", "--less-than", help="Last key.", show_default=False),
]


def _closed(text: str) -> str:
    """Checked even where there are no bounds that it would say something about."""
    from ..interval import parse_closed

    return parse_closed(text)


Closed = Annotated[
    str,
    typer.Option(
        "--closed", "-c", help="Which ends are in: left, right, both, none.", callback=_closed
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        "-f",
        help="csv, tsv, ndjson, json, parquet, arrow, arrows, xlsx, table.",
        show_default=False,
    ),
]
Output = Annotated[
    str | None,
    typer.Option("--output", "-O", metavar="FILE", help="Default: stdout.", show_default=False),
]
Author = Annotated[str | None, typer.Option("--author", show_default=False)]
Message = Annotated[str, typer.Option("--message", "-m", show_default=False)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")]
Grace = Annotated[
    float, typer.Option("--grace", help="Seconds for which nothing in use is taken away.")
]
