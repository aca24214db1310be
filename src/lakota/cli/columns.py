"""Verbs for what collections are: create, schema, copy, and changes of columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

import lakota

from ..errors import AlreadyExistsError, InputError
from . import labels
from .options import CollectionName, Format
from .shell import Shell, pairs
from .trial import tried

if TYPE_CHECKING:
    from ..schema import Schema

__all__ = ["columns", "copy", "create", "schema"]


def create(
    shell: Shell,
    label: CollectionName,
    columns: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="COLUMN",
            help="Name and type, a star for the index: 'timestamp timestamp*' 'value float'.",
            show_default=False,
        ),
    ] = None,
    kv: Annotated[bool, typer.Option("--kv", help="Every write is an upsert.")] = False,
    like: Annotated[
        str | None,
        typer.Option("--like", metavar="FILE", help="The columns of a file.", show_default=False),
    ] = None,
    index: Annotated[
        list[str] | None,
        typer.Option("--index", help="With --like: the index columns.", show_default=False),
    ] = None,
    format: Format = None,
    exist_ok: Annotated[
        bool, typer.Option("--if-not-exists", help="Open one that exists.")
    ] = False,
) -> None:
    """Make a collection.

    lakota create temperature "timestamp timestamp*" "value float"
    """
    from ..schema import Schema
    from .formats import Reading

    if like is not None:
        if columns:
            raise InputError("columns and --like: expected one of them")
        frame = Reading(format=format).read(like)
        made = Schema.from_frame(frame, index or [], kind="kv" if kv else "series")
    else:
        text = dict(_column(column) for column in columns or ())
        made = Schema.kv(text) if kv else Schema(text)
    try:
        shell.place.create_collection(made, label, raise_if_exists=not exist_ok)
    except AlreadyExistsError:
        raise AlreadyExistsError(
            f"collection {label!r} exists: choose another label; --if-not-exists takes it as it is"
        ) from None
    shell.done(f"created {label}", collection=label)


def _column(text: str) -> tuple[str, str]:
    name, _, definition = text.strip().partition(" ")
    return name, definition


def schema(shell: Shell, label: CollectionName) -> None:
    """Show the columns of a collection."""
    found = labels.collection(shell, label).schema
    if shell.json:
        print(found.dumps())
    else:
        print(found)


def copy(
    shell: Shell,
    old: CollectionName,
    new: Annotated[str, typer.Argument(help="The new collection.")],
    columns: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="COLUMN",
            help="Its columns, as in `create`; by default the same.",
            show_default=False,
        ),
    ] = None,
    renamed: Annotated[
        list[str] | None, typer.Option("--rename", metavar="OLD=NEW", show_default=False)
    ] = None,
    defaults: Annotated[
        list[str] | None,
        typer.Option(
            "--default", metavar="COLUMN=VALUE", help="Of a new column.", show_default=False
        ),
    ] = None,
) -> None:
    """Copy the content of a collection, not its history, into a new one of other columns.

    lakota copy temperature celsius "timestamp timestamp*" "celsius float" --rename value=celsius
    """
    from ..collection import reshaped
    from ..schema import Schema

    source = labels.collection(shell, old, exact=True)
    text = dict(_column(column) for column in columns or ())
    kind = Schema.kv if source.schema.kind == "kv" else Schema
    names = pairs(renamed or ())
    schema = kind(text) if text else _with_names(source.schema, names)
    values = {
        name: _default(name, schema[name].definition, value)
        for name, value in pairs(defaults or ()).items()
    }
    # What is made and then deleted stays deleted, on every replica: so first it is tried.
    trial = lakota.Repo().create_collection(schema, new)
    for series, rows in reshaped(source, schema, names, values):
        with tried(trial):
            (trial / series).write(rows)
    target = shell.repo.create_collection(schema, new)
    made = source.clone(target, rename=names, defaults=values)
    children = sorted({revision.child for revision in made})
    shell.done(f"copied {old} to {new}", old=old, new=new, revisions=children)


def _with_names(schema: Schema, names: Mapping[str, str]) -> Schema:
    """The same columns, some of another name."""
    if not names:
        return schema
    text = {names.get(column.name, column.name): column.definition for column in schema.columns}
    if len(text) < len(schema):
        raise InputError("--rename: expected different names for all columns")
    return type(schema).kv(text) if schema.kind == "kv" else type(schema)(text)


# ---- Columns

columns = typer.Typer(help="Add, rename, drop and widen columns.", no_args_is_help=True)


def add_column(
    shell: Shell,
    label: CollectionName,
    name: str,
    definition: Annotated[str, typer.Argument(help="As in `create`: float, 'str | zstd'.")],
    default: Annotated[
        str | None, typer.Option("--default", help="Of rows written before.", show_default=False)
    ] = None,
) -> None:
    """Add a value column."""
    clct = labels.collection(shell, label, exact=True)
    clct.add_column(name, definition, _default(name, definition, default))
    shell.done(f"added column {name}", column=name)


def _default(name: str, definition: str, text: str | None) -> Any:
    """A default from text, as a value of the column."""
    import polars as pl

    from ..schema import Schema
    from .text import from_text

    if text is None:
        return None
    made = Schema({name: definition, f"key of {name}": "int*"})
    return from_text(pl.DataFrame({name: [text]}), made)[name][0]


def rename_column(shell: Shell, label: CollectionName, old: str, new: str) -> None:
    """Rename a column, in the past as well."""
    labels.collection(shell, label, exact=True).rename_column(old, new)
    shell.done(f"renamed column {old} to {new}", old=old, new=new)


def drop_column(shell: Shell, label: CollectionName, name: str) -> None:
    """Drop a value column, on every replica that pulls."""
    labels.collection(shell, label, exact=True).drop_column(name)
    shell.done(f"dropped column {name}", column=name)


def widen_column(shell: Shell, label: CollectionName, name: str, definition: str) -> None:
    """Give a column a type that holds all of its values."""
    labels.collection(shell, label, exact=True).widen_column(name, definition)
    shell.done(f"widened column {name}", column=name)
