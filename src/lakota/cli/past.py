"""Verbs for the past: log, rev, show, diff, tag, history, vintages, revert, merge, conflicts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError, NotFoundError
from . import labels
from .options import (
    Author,
    Closed,
    CollectionName,
    CollectionNames,
    Format,
    LabelName,
    Message,
    Output,
    RevisionName,
    SeriesName,
    Start,
    Stop,
)
from .progress import bar, told
from .shell import DIFFERENT, Shell, many, safe

if TYPE_CHECKING:
    import polars as pl

    from ..changelog import Child, History
    from ..collection import Collection

__all__ = [
    "conflicts",
    "diff",
    "history",
    "log",
    "merge",
    "rev",
    "revert",
    "show",
    "tag",
    "vintages",
]


def log(
    shell: Shell,
    names: CollectionNames = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", "-n", min=0, help="The newest only.", show_default=False),
    ] = None,
    draw: Annotated[bool, typer.Option("--graph/--no-graph", help="Draw the lines.")] = True,
) -> None:
    """Show the revisions of collections, newest first."""
    found = labels.chosen(shell, names)
    if shell.json:
        print(json.dumps([f for c in found for f in _facts(c, limit)], ensure_ascii=False))
        return
    console = shell.console()
    for clct in found:
        if len(found) > 1:
            console.print(f"[bold]{_escaped(clct.label)}[/bold]")
        for line in _log_lines(clct, limit, draw):
            console.print(line)


def _facts(clct: Collection, limit: int | None) -> Iterator[dict[str, Any]]:
    """The newest revisions, newest first."""
    from ..changelog import PHI, stamp_of

    def newest(history: History) -> list[Child]:
        return sorted(history.children, reverse=True)[:limit]

    history, documents = clct.changelog.told(newest)
    tags: dict[str, list[str]] = {}
    for name, child in clct.tags().items():
        tags.setdefault(child, []).append(name)
    for child, document in zip(newest(history), documents, strict=True):
        yield {
            "collection": clct.label,
            "revision": child,
            "parents": [p for p in history.parents_of[child] if p != PHI],
            "time": _time(stamp_of(child)).isoformat(),
            **{name: document.get(name) for name in ("author", "message", "kind")},
            **{name: document.get(name) for name in ("rows", "series")},
            "head": child in history.heads,
            "tags": tags.get(child, []),
        }


def _time(stamp: int) -> datetime:
    return datetime.fromtimestamp(stamp // 1000 / 1_000_000, UTC)


def _log_lines(clct: Collection, limit: int | None, draw: bool) -> Iterator[str]:
    from .graph import graph

    facts = {f["revision"]: f for f in _facts(clct, limit)}
    lines = graph(list(facts), {child: f["parents"] for child, f in facts.items()})
    for drawing, child in lines:
        if child is not None:
            yield (f"{drawing} " if draw else "") + _one_line(facts[child])
        elif draw:
            yield drawing


def _one_line(facts: Mapping[str, Any]) -> str:
    """A revision in a line, with rich's marks."""
    names = [*(["HEAD"] if facts["head"] else ()), *facts["tags"]]
    decorated = f" [green]({_escaped(', '.join(names))})[/green]" if names else ""
    said = facts["message"] or facts["kind"] or ""
    rows = f" [dim]{_counted(facts)}[/dim]" if facts["rows"] is not None else ""
    day = facts["time"][:19].replace("T", " ")
    who = _escaped(facts["author"] or "")
    return (
        f"[yellow]{facts['revision'][:16]}[/yellow] {day}"
        + (f" {who}" if who else "")
        + (f": {_escaped(said)}" if said else "")
        + rows
        + decorated
    )


def _counted(facts: Mapping[str, Any]) -> str:
    rows, series = facts["rows"], facts["series"]
    return many(rows, "row") + (f" of {series} series" if series is not None else "")


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(safe(text.replace("\n", " ")))


def rev(shell: Shell, names: CollectionNames = None) -> None:
    """List the revisions of collections as a table, oldest first."""
    import polars as pl

    found = labels.chosen(shell, names)
    tables = [c.revisions().select(pl.lit(c.label).alias("collection"), pl.all()) for c in found]
    if tables:
        shell.frame(pl.concat(tables))


def show(
    shell: Shell,
    name: CollectionName,
    revision: RevisionName = "HEAD",
    stat: Annotated[bool, typer.Option("--stat", help="Counts, not rows.")] = False,
) -> None:
    """Show a revision, and what it changed."""
    clct = labels.collection(shell, name)
    child = labels.revision(clct, revision)
    facts = next(f for f in _facts(clct, None) if f["revision"] == child)
    changes: pl.DataFrame | None
    try:
        changes = clct.diff(facts["parents"][-1] if facts["parents"] else 0, child)
    except NotFoundError:  # what it was made on was trimmed
        changes = None
    if stat and changes is not None:
        changes = _stat(changes)
    if shell.json:
        from .text import json_lines

        rows = [] if changes is None else [json.loads(r) for r in json_lines(changes).splitlines()]
        print(json.dumps({**facts, "changes": rows}, ensure_ascii=False))
        return
    shell.record({name: value for name, value in facts.items() if value not in (None, "", [])})
    if changes is None:
        shell.say("what it was made on is not kept any more")
    elif changes.height:
        print()
        shell.frame(changes)


def diff(
    shell: Shell,
    label: LabelName,
    a: Annotated[str, typer.Argument(help="A revision, tag or time.")] = "HEAD~1",
    b: Annotated[str | None, typer.Argument(help="By default now.", show_default=False)] = None,
    stat: Annotated[bool, typer.Option("--stat", help="Counts, not rows.")] = False,
    format: Format = None,
    output: Output = None,
) -> int:
    """Show the rows that differ between two states; exits with 1 if there are any.

    lakota diff temperature/Brussels 2024-01-01 published
    """
    from .reading import emit

    clct, name = labels.split(shell, label)
    chosen = None if name is None else [labels.series(shell, label).label]
    first = 0 if a == "HEAD~1" and len(clct.changelog.history().children) < 2 else None
    found = clct.diff(
        labels.moment(clct, a) if first is None else first, labels.moment(clct, b), chosen
    )
    emit(_stat(found) if stat else found, shell, format, output)
    return DIFFERENT if found.height else 0


def _stat(changes: pl.DataFrame) -> pl.DataFrame:
    """How many rows of each series changed, and how."""
    import polars as pl

    label, change = changes.columns[0], "change" if "change" in changes.columns else "_change"
    kinds = ("added", "removed", "changed")
    counts = [(pl.col(change).cast(pl.String) == kind).sum().alias(kind) for kind in kinds]
    return changes.group_by(label).agg(counts).sort(label)


def tag(
    shell: Shell,
    name: CollectionName,
    label: Annotated[str | None, typer.Argument(metavar="TAG", show_default=False)] = None,
    revision: RevisionName = "HEAD",
    delete: Annotated[bool, typer.Option("--delete", "-d", help="Take the name away.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Move a tag.")] = False,
) -> None:
    """Give a revision a name; without one, list the tags.

    lakota tag temperature published HEAD~1
    """
    clct = labels.collection(shell, name)
    if label is None:
        if shell.json:
            print(json.dumps(clct.tags(), ensure_ascii=False))
        else:
            for tag, child in clct.tags().items():
                print(f"{safe(tag)} {child}")
    elif delete:
        clct.untag(label)
        shell.done(f"deleted tag {label}", tag=label)
    else:
        if labels.is_head(label):
            raise InputError(f"tag {label!r}: HEAD and @ are the newest head: choose another name")
        child = labels.revision(clct, revision)
        clct.tag(label, child, force=force)
        shell.done(f"tagged {child[:16]} {label}", tag=label, revision=child)


def history(
    shell: Shell,
    label: SeriesName,
    key: Annotated[list[str], typer.Argument(help="A value for each index column.")],
    format: Format = None,
    output: Output = None,
) -> None:
    """Show every value that a key ever had.

    lakota history temperature/Brussels 2024-01-03
    """
    from .reading import emit

    series = labels.series(shell, label)
    found = series.history(labels.bound(series.schema, key, what="key"))
    emit(found, shell, format, output)


def vintages(
    shell: Shell,
    label: SeriesName,
    moments: Annotated[list[str], typer.Argument(metavar="MOMENT", help="Times, revisions, tags.")],
    start: Start = None,
    stop: Stop = None,
    closed: Closed = "left",
    select: Annotated[list[str] | None, typer.Option("--select", show_default=False)] = None,
    long: Annotated[bool, typer.Option("--long", help="Below each other.")] = False,
    format: Format = None,
    output: Output = None,
) -> None:
    """Show what was known at several times, side by side.

    lakota vintages temperature/Brussels 2024-02-01 2024-03-01
    """
    from .reading import emit

    clct, _ = labels.split(shell, label)
    series = labels.series(shell, label)
    known = {labels.moment(clct, text): text for text in moments}
    found = series.vintages(
        list(known),
        labels.bound(clct.schema, start, what="--start"),
        labels.bound(clct.schema, stop, what="--stop"),
        closed=closed,
        select=select or None,
        long=long,
    )
    if not long:  # moments as they were typed: HEAD, not the revision
        titles = {
            name: name.removesuffix(moment) + text
            for moment, text in known.items()
            for name in found.columns
            if moment != text and name.endswith(moment)
        }
        found = found.rename(titles)
    emit(found, shell, format, output)


def revert(
    shell: Shell,
    name: CollectionName,
    revision: RevisionName,
    author: Author = None,
    message: Message = "",
) -> None:
    """Undo what a revision wrote, with a new one."""
    clct = labels.collection(shell, name, exact=True)
    child = labels.revision(clct, revision)
    made = clct.revert(child, author=author, message=message or f"revert {child[:16]}")
    children = sorted({r.child for r in made})
    text = f"reverted {child[:16]}" if made else f"nothing can be seen of {child[:16]}"
    shell.done(text, revisions=children)


def merge(
    shell: Shell,
    names: CollectionNames = None,
    on_conflict: Annotated[
        str,
        typer.Option("--on-conflict", help="latest, ours, theirs, or raise: exits with 1."),
    ] = "latest",
    heads: Annotated[
        list[str] | None,
        typer.Option("--head", help="Of one collection: these heads only.", show_default=False),
    ] = None,
    author: Author = None,
    message: Message = "",
) -> None:
    """Join heads: at each key the last write wins."""
    if heads and len(names or ()) != 1:
        raise InputError("--head: expected one collection")
    made: list[str] = []
    with bar(shell, "merge") as tell:
        how: dict[str, Any] = {"on_conflict": on_conflict, "author": author, "message": message}
        if not names:
            made.extend(revision.child for revision in shell.repo.merge(**how))
        for clct in told(labels.chosen(shell, names) if names else [], tell):
            chosen = [labels.revision(clct, head) for head in heads or ()]
            made.extend(revision.child for revision in clct.merge(*chosen, **how))
    children = sorted(set(made))
    text = "merged: " + ", ".join(c[:16] for c in children) if children else "nothing to merge"
    shell.done(text, revisions=children)


def conflicts(
    shell: Shell,
    names: CollectionNames = None,
    revision: Annotated[
        str | None,
        typer.Option("--revision", help="Of a merge that was made.", show_default=False),
    ] = None,
    format: Format = None,
    output: Output = None,
) -> int:
    """Show what two sides changed in different ways; exits with 1 if there is any."""
    import polars as pl

    from .reading import emit

    found = labels.chosen(shell, names)
    if revision is not None and len(names or ()) != 1:
        raise InputError("--revision: expected one collection")
    tables = [
        clct.conflicts(labels.revision(clct, revision) if revision else None) for clct in found
    ]
    if len(found) != 1:
        names_of = [pl.lit(clct.label).alias("collection") for clct in found]
        tables = [t.select(name, pl.all()) for name, t in zip(names_of, tables, strict=True)]
        tables = [pl.concat(tables, how="diagonal_relaxed")] if tables else []
    for table in tables:
        emit(table, shell, format, output)
    return DIFFERENT if any(table.height for table in tables) else 0
