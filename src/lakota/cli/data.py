"""Verbs for rows: ls, len, write, read, sql, delete, rename."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

import lakota

from ..errors import InputError, NotFoundError
from . import labels
from .options import (
    AsOf,
    Author,
    Before,
    Closed,
    DryRun,
    Format,
    LabelName,
    Merged,
    Message,
    Output,
    Start,
    Stop,
    complete_collection,
    complete_label,
)
from .progress import bar
from .shell import Shell, many

if TYPE_CHECKING:
    import polars as pl

    from ..changelog import Revision
    from ..collection import Collection
    from ..series import KVSeries, Series

__all__ = ["delete", "length", "ls", "read", "rename", "sql", "write"]


def ls(
    shell: Shell,
    label: Annotated[
        str | None,
        typer.Argument(
            metavar="COLLECTION", autocompletion=complete_collection, show_default=False
        ),
    ] = None,
    long: Annotated[bool, typer.Option("--long", "-l", help="With sizes.")] = False,
    as_of: AsOf = None,
    before: Before = None,
    merged: Merged = False,
) -> None:
    """List collections, or the series of one."""
    if label is None:
        _list(shell, shell.repo.ls(), "collection", long and _collections(shell))
        return
    clct = labels.collection(shell, label)
    state = {"as_of": labels.moment(clct, as_of), "before": labels.moment(clct, before)}
    found = clct.ls(**state, merged=merged)
    _list(shell, found, "series", long and _series(clct, found, {**state, "merged": merged}))


COLLECTION_FACTS = ("collection", "series", "revisions", "heads", "kind")
SERIES_FACTS = ("series", "rows", "first", "last")


def _list(shell: Shell, found: Sequence[str], what: str, long: list[dict[str, Any]] | bool) -> None:
    import polars as pl

    if not isinstance(long, bool):
        columns = COLLECTION_FACTS if what == "collection" else SERIES_FACTS
        shell.frame(pl.DataFrame(long, schema=list(columns), infer_schema_length=None))
    elif shell.pretty and not shell.json:
        shell.frame(pl.DataFrame({what: found}, schema={what: pl.String}))
    else:
        shell.names(found)


def _collections(shell: Shell) -> list[dict[str, Any]]:
    return [
        {
            "collection": clct.label,
            "series": len(clct.ls()),
            "revisions": len(clct.changelog),
            "heads": len(clct.changelog.heads()),
            "kind": clct.schema.kind,
        }
        for clct in shell.repo
    ]


def _series(clct: Collection, found: Sequence[str], state: Any) -> list[dict[str, Any]]:
    rows = []
    name = clct.schema.index[0]
    for label in found:
        series = clct / label
        first, last = series.frame(limit=1, **state), series.tail(1, **state)
        keys = [t.column(name)[0].as_py() if t.num_rows else None for t in (first, last)]
        rows.append(
            {"series": label, "rows": series.count(**state), "first": keys[0], "last": keys[1]}
        )
    return rows


def length(
    shell: Shell,
    label: LabelName,
    start: Start = None,
    stop: Stop = None,
    closed: Closed = "left",
    as_of: AsOf = None,
    before: Before = None,
    merged: Merged = False,
) -> None:
    """Count the rows of a series or a collection."""
    clct, name = labels.split(shell, label)
    series = [labels.series(shell, label)] if name is not None else list(clct)
    count = sum(
        one.count(
            labels.bound(clct.schema, start, what="--start"),
            labels.bound(clct.schema, stop, what="--stop"),
            closed=closed,
            as_of=labels.moment(clct, as_of),
            before=labels.moment(clct, before),
            merged=merged,
        )
        for one in series
    )
    print(count)


# ---- Write


def write(
    shell: Shell,
    label: LabelName,
    file: Annotated[str, typer.Argument(metavar="FILE", help="- is stdin.")] = "-",
    format: Format = None,
    column: Annotated[
        str | None,
        typer.Option(
            "--label", help="The column that says to which series a row goes.", show_default=False
        ),
    ] = None,
    upsert: Annotated[
        bool, typer.Option("--upsert", help="Change only the keys and columns that there are.")
    ] = False,
    only_changes: Annotated[
        bool, typer.Option("--only-changes", help="Store only what differs.")
    ] = False,
    start: Start = None,
    stop: Stop = None,
    closed: Closed = "both",
    header: Annotated[
        bool, typer.Option("--header/--no-header", help="Whether CSV names its columns.")
    ] = True,
    null: Annotated[
        list[str] | None, typer.Option("--null", help="Text that is no value, as NA.")
    ] = None,
    dates: Annotated[
        list[str] | None,
        typer.Option("--date-format", help="How dates are written, as %d/%m/%Y."),
    ] = None,
    author: Author = None,
    message: Message = "",
) -> None:
    """Write rows: what is between their first and their last key is replaced.

    cat new.csv | lakota write temperature/Brussels

    lakota write temperature stations.parquet --label station
    """
    from .formats import Reading

    said: dict[str, Any] = {"author": author, "message": message}
    clct, name = labels.split(shell, label)
    if (name is None) != (column is not None):
        wanted = "a collection with --label, collection/series without"
        raise InputError(f"{label!r}: expected {wanted}")
    kv = clct.schema.kind == "kv"
    if (start or stop) and (upsert or kv or column is not None):
        raise InputError("--start and --stop: only what replaces rows of one series has bounds")
    begin, end = _bounds(clct, start, stop)
    with bar(shell, "write"):
        frame = Reading(clct.schema, format, header, null or (), dates or ()).read(file)
        if name is None:
            if upsert:
                raise InputError("--upsert: expected collection/series, not --label")
            made = clct.write(frame, column or "", only_changes=only_changes, **said)
        elif upsert or kv:
            made = _upsert(clct / name, frame, only_changes, said)
        else:
            how: dict[str, Any] = {"closed": closed, "only_changes": only_changes, **said}
            made = _plain(clct / name).write(frame, begin, end, **how)
    children = sorted({revision.child for revision in made})
    text = f"wrote {label}: {children[0][:16]}" if children else f"nothing to write to {label}"
    shell.done(text, revisions=children)


def _upsert(series: Series | KVSeries, frame: Any, only_changes: bool, said: Any) -> list[Revision]:
    if not only_changes:
        return series.upsert(frame, **said)
    if isinstance(series, lakota.Series):
        raise InputError("--upsert and --only-changes: expected one of them")
    return series.write(frame, only_changes=True, **said)


def _plain(series: Series | KVSeries) -> Series:
    """A series that is written by intervals."""
    if isinstance(series, lakota.Series):
        return series
    raise InputError(f"{series.label!r} is in a kv collection, whose rows are named by key")


# ---- Read


def read(
    shell: Shell,
    label: LabelName,
    columns: Annotated[
        list[str] | None,
        typer.Argument(metavar="COLUMN", help="Columns, or SQL: 'max(value) as high'."),
    ] = None,
    start: Start = None,
    stop: Stop = None,
    closed: Closed = "left",
    limit: Annotated[int | None, typer.Option("--limit", "-l", min=0, show_default=False)] = None,
    offset: Annotated[int | None, typer.Option("--offset", "-o", min=0, show_default=False)] = None,
    tail: Annotated[
        int | None, typer.Option("--tail", "-t", min=0, help="The last rows.", show_default=False)
    ] = None,
    paginate: Annotated[
        int | None,
        typer.Option(
            "--paginate", "-p", min=1, help="Print so many rows at a time.", show_default=False
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", "--mask", "-m", help="SQL: 'value > 3'.", show_default=False),
    ] = None,
    select: Annotated[
        list[str] | None, typer.Option("--select", help="As COLUMN.", show_default=False)
    ] = None,
    group_by: Annotated[
        list[str] | None,
        typer.Option("--group-by", help="A column, SQL, or a window: 1mo.", show_default=False),
    ] = None,
    order_by: Annotated[
        list[str] | None, typer.Option("--order-by", help="SQL.", show_default=False)
    ] = None,
    series: Annotated[
        str | None,
        typer.Option("--series", help="Of a collection: a pattern of labels.", show_default=False),
    ] = None,
    as_of: AsOf = None,
    before: Before = None,
    merged: Merged = False,
    provenance: Annotated[
        bool, typer.Option("--provenance", help="With when and by whom a row was written.")
    ] = False,
    plot: Annotated[bool, typer.Option("--plot", help="Draw the values.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Show how it is read.")] = False,
    format: Format = None,
    output: Output = None,
) -> None:
    """Read a series, or all series of a collection.

    lakota read temperature/Brussels --start 2024-01-01 --where 'value > 3'

    lakota read temperature/Brussels 'max(value)' --group-by 1mo
    """
    from . import reading

    clct, name = labels.split(shell, label)
    if name is None:
        target: Any = clct
    else:
        target = labels.series(shell, label)
    wanted = reading.Wanted(
        start=labels.bound(clct.schema, start, what="--start"),
        stop=labels.bound(clct.schema, stop, what="--stop"),
        closed=closed,
        limit=limit,
        offset=offset,
        tail=tail,
        page=paginate,
        columns=(*(columns or ()), *(select or ())),
        where=tuple(where or ()),
        group_by=tuple(item for text in group_by or () for item in reading.items(text)),
        order_by=tuple(order_by or ()),
        series=series,
        as_of=labels.moment(clct, as_of),
        before=labels.moment(clct, before),
        merged=merged,
        provenance=provenance,
    )
    if explain:
        plan = reading.explain(target, wanted)
        print(json.dumps(plan) if shell.json else plan)
    elif plot:
        reading.plot(target, wanted, shell)
    else:
        reading.show(target, wanted, shell, format, output)


def sql(
    shell: Shell,
    query: Annotated[
        str, typer.Argument(help='A collection is a table, and so is "collection/series".')
    ],
    as_of: AsOf = None,
    before: Before = None,
    merged: Merged = False,
    format: Format = None,
    output: Output = None,
) -> None:
    """Query with SQL, as Polars understands it.

    lakota sql 'select label, max(value) from temperature group by label'
    """
    from .query import execute
    from .reading import emit

    def table(name: str) -> pl.LazyFrame:
        clct, series = labels.split(shell, name)
        state = {"as_of": labels.moment(clct, as_of), "before": labels.moment(clct, before)}
        if series is None:
            return clct.scan(**state, merged=merged)
        return labels.series(shell, name).scan(**state, merged=merged)

    emit(execute(query, table, shell.repo.ls()), shell, format, output)


# ---- Delete and rename


def delete(
    shell: Shell,
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="COLLECTION[/SERIES]", autocompletion=complete_label, show_default=False
        ),
    ],
    start: Start = None,
    stop: Stop = None,
    closed: Closed = "both",
    keys: Annotated[
        list[str] | None, typer.Option("--key", help="Delete a row by key.", show_default=False)
    ] = None,
    dry_run: DryRun = False,
    author: Author = None,
    message: Message = "",
) -> None:
    """Delete collections, series, or rows of a series. Labels are given in full.

    Past revisions keep series and rows; a collection goes for good.

    lakota delete temperature/Brussels --start 2024-01-01 --stop 2024-01-31
    """
    said: dict[str, Any] = {"author": author, "message": message}
    if keys and (start or stop):
        raise InputError("--key and --start or --stop: expected one of them")
    found = [labels.split(shell, name, exact=True) for name in names]
    rows = bool(start or stop or keys)
    _check_there(found, rows)
    _check_apart(found)

    def act(clct: Collection, name: str | None) -> dict[str, Any]:
        what = clct.label if name is None else f"{clct.label}/{name}"
        if dry_run:
            count = _count(clct, name, start, stop, closed, keys)
            text = f"would delete {what}: {many(count, 'row')}"
            return {"text": text, "label": what, "rows": count}
        if name is None:
            shell.repo.delete(clct.label)
        elif keys:
            (clct / name).delete_keys(_keys(clct, keys), **said)
        elif rows:
            begin, end = _bounds(clct, start, stop)
            _plain(clct / name).delete(begin, end, closed=closed, **said)
        else:
            clct.delete(name, **said)
        return {"text": f"deleted {'rows of ' if rows else ''}{what}", "label": what}

    shell.done_all(act(clct, name) for clct, name in found)


def _check_there(found: Sequence[tuple[Collection, str | None]], rows: bool) -> None:
    for clct, name in found:
        if name is None and rows:
            raise InputError(f"{clct.label!r} is a collection: rows are deleted of a series")
        if name is not None and name not in clct:
            raise NotFoundError(f"no series {name!r} in collection {clct.label!r}")


def _check_apart(found: Sequence[tuple[Collection, str | None]]) -> None:
    """Nothing is deleted twice, not even as a part of what is."""
    whole = {clct.id for clct, name in found if name is None}
    named = Counter((clct.id, name) for clct, name in found)
    for clct, name in found:
        what = clct.label if name is None else f"{clct.label}/{name}"
        if named[clct.id, name] > 1 or (name is not None and clct.id in whole):
            raise InputError(f"{what!r} is named twice, or its collection as well")


def _bounds(
    clct: Collection, start: Sequence[str] | None, stop: Sequence[str] | None
) -> tuple[Any, Any]:
    return (
        labels.bound(clct.schema, start, what="--start"),
        labels.bound(clct.schema, stop, what="--stop"),
    )


def _keys(clct: Collection, keys: Sequence[str]) -> dict[str, list[Any]]:
    """A frame of keys; those of several columns are separated by commas."""
    index = clct.schema.index
    rows = []
    for key in keys:
        parts = key.split(",", len(index) - 1)
        if len(parts) != len(index):
            raise InputError(f"--key {key!r}: expected values of {', '.join(index)}, with commas")
        value = labels.bound(clct.schema, parts, what="--key")
        rows.append(value if isinstance(value, tuple) else (value,))
    return {name: [row[i] for row in rows] for i, name in enumerate(index)}


def _count(
    clct: Collection,
    name: str | None,
    start: Sequence[str] | None,
    stop: Sequence[str] | None,
    closed: str,
    keys: Sequence[str] | None,
) -> int:
    if name is None:
        return sum(len(series) for series in clct)
    if keys:
        frame = _keys(clct, keys)
        rows = zip(*frame.values(), strict=True)
        return sum((clct / name).count(row, row, closed="both") for row in rows)
    begin, end = _bounds(clct, start, stop)
    return (clct / name).count(begin, end, closed=closed)


def rename(
    shell: Shell,
    old: LabelName,
    new: Annotated[str, typer.Argument(help="The new label; of a series without its collection.")],
    author: Author = None,
    message: Message = "",
) -> None:
    """Rename a collection or a series. No row is copied.

    lakota rename temperature/Bruxelles temperature/Brussels
    """
    clct, name = labels.split(shell, old, exact=True)
    if name is None:
        shell.repo.rename(clct.label, new)
    else:
        new = new.removeprefix(f"{clct.label}/")
        clct.rename(name, new, author=author, message=message)
    shell.done(f"renamed {old} to {new}", old=old, new=new)
