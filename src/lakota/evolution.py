"""Schema evolution: columns added, renamed, dropped and widened, as facts that merge.

A column is stored under its first name for good, so nothing that is stored ever changes. What
happened to the columns of a collection is a set of facts in the registry; the schema is what they
say together, on every replica the same: names are last-writer-wins, a dropped column stays
dropped, of several types the widest counts. Rows that were written before a column was added have
its default; rows of narrower types are widened as they are read; reads of the past show it in
today's columns.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import pyarrow as pa
import pyarrow.types as pat

from .cast import to_table
from .errors import DamagedError, SchemaError
from .schema import DEFAULT, Column, Schema
from .types import parse_type, type_name

__all__ = [
    "Fact",
    "What",
    "added",
    "check_stored",
    "default_of",
    "dropped",
    "evolve",
    "join_facts",
    "renamed",
    "value_of",
    "widened",
    "widens",
]

What = Literal["added", "name", "dropped", "type"]


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that happened to a column."""

    what: What
    source: str
    """The name under which the column is stored."""
    value: str
    """The definition of an added column, a new name, a wider type."""
    default: str = ""
    """Of an added column, as `_pack` gives it."""
    stamp: int = 0

    @property
    def key(self) -> tuple[str, ...]:
        """Of facts with equal keys the latest counts."""
        return (self.what, self.source, *([self.value] if self.what == "type" else []))


def evolve(base: Schema, facts: Iterable[Fact], *, stored: bool = False) -> Schema:
    """The schema that `facts` make of `base`; with `stored`, every column that there was or is,
    under its stored name: what segments may hold. Raises `SchemaError` if facts contradict."""
    ordered = sorted(facts, key=lambda fact: (fact.stamp, fact.key))
    if not ordered:
        return base
    columns = {column.source: column for column in base.columns}
    for fact in ordered:
        if fact.what == "added":
            columns.setdefault(fact.source, _column(fact))
    for fact in ordered:
        column = columns.get(fact.source)
        if column is None:
            continue
        if fact.what == "name":
            columns[fact.source] = replace(column, name=fact.value)
        elif fact.what == "type":
            columns[fact.source] = _wider(column, parse_type(fact.value))
    if stored:
        return base.with_columns([replace(c, name=source) for source, c in columns.items()])
    gone = {fact.source for fact in ordered if fact.what == "dropped"}
    return base.with_columns([c for source, c in columns.items() if source not in gone])


def join_facts(ours: Iterable[Fact], theirs: Iterable[Fact]) -> list[Fact]:
    """The facts of two replicas together. Raises `SchemaError` if both added a column of one name
    in different ways."""
    found: dict[tuple[str, ...], Fact] = {fact.key: fact for fact in ours}
    for fact in theirs:
        own = found.get(fact.key)
        if own is not None and fact.what == "added":
            if (own.value, own.default) != (fact.value, fact.default):
                raise SchemaError(
                    f"column {fact.source!r} was added on both sides, as {_said(own)} and as "
                    f"{_said(fact)}, or with different defaults"
                )
        elif own is None or own.stamp < fact.stamp:
            found[fact.key] = fact
    return list(found.values())


def added(schema: Schema, taken: Iterable[str], name: str, definition: str, default: Any) -> Fact:
    """Add a column. `taken`: names under which columns are or were stored."""
    if not isinstance(name, str):
        raise SchemaError(f"column {name!r}: expected a name")
    column = _define(name, definition)
    if column.index:
        raise SchemaError(f"column {name!r}: a key column cannot be added to rows that have none")
    if name in schema:
        raise SchemaError(f"column {name!r} exists: choose another name")
    source, nth = name, 2
    while source in set(taken):
        source, nth = f"{name}~{nth}", nth + 1
    return Fact("added", source, f"{name}\0{column.definition}", _pack(default, column))


def renamed(schema: Schema, old: str, new: str) -> Fact:
    """Give a column another name."""
    column = schema[old]
    if new in schema:
        raise SchemaError(f"column {new!r} exists: choose another name")
    replace(column, name=new)  # raises for a name that no column can have
    return Fact("name", column.source, new)


def dropped(schema: Schema, name: str) -> Fact:
    """Drop a column."""
    column = schema[name]
    if column.index:
        raise SchemaError(f"column {name!r} is a key: it cannot be dropped")
    return Fact("dropped", column.source, "")


def widened(schema: Schema, name: str, wider: str) -> Fact:
    """Give a column a wider type."""
    column, dtype = schema[name], parse_type(wider)
    if not widens(column.type, dtype, index=column.index):
        raise SchemaError(
            f"column {name!r} is {type_name(column.type)}, which {type_name(dtype)} does not hold "
            f"without loss{' in the same order of keys' if column.index else ''}"
        )
    return Fact("type", column.source, type_name(dtype))


_SIGNED = (pa.int8(), pa.int16(), pa.int32(), pa.int64())
_UNSIGNED = (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())
_FLOATS = (pa.float16(), pa.float32(), pa.float64())
_MANTISSA = {pa.float16(): 11, pa.float32(): 24, pa.float64(): 53}


def widens(narrow: pa.DataType, wide: pa.DataType, *, index: bool = False) -> bool:
    """Whether every value of one type is one of the other, too; for keys also whether their cuts
    are the same bytes.

    >>> widens(pa.int32(), pa.float64()), widens(pa.int64(), pa.float64())
    (True, False)
    """
    for family in (_SIGNED, _UNSIGNED[:3] if index else _UNSIGNED, _FLOATS):
        if narrow in family and wide in family:
            return family.index(narrow) < family.index(wide)
    if narrow in _UNSIGNED and wide in _SIGNED:
        return bool(narrow.bit_width < wide.bit_width)
    if index:
        return False
    if pat.is_integer(narrow) and wide in _FLOATS:
        sign = 1 if narrow in _SIGNED else 0
        return bool(narrow.bit_width - sign <= _MANTISSA[wide])
    if pat.is_decimal128(narrow) and pat.is_decimal128(wide):
        return bool(narrow.scale == wide.scale and narrow.precision < wide.precision)
    return False


def check_stored(found: pa.Schema, ever: Schema, what: str) -> None:
    """Refuse a segment, called `what`, with columns that are none of `ever`. Raises
    `DamagedError`."""
    for field in found:
        wide = ever[field.name].type if field.name in ever else None
        if wide is None or not (field.type == wide or widens(field.type, wide)):
            raise DamagedError(
                f"{what} has a column {field.name!r} of type {field.type}, which the schema of its "
                f"collection has not: {ever!r}"
            )


def _wider(column: Column, dtype: pa.DataType) -> Column:
    if column.type == dtype or widens(dtype, column.type, index=column.index):
        return column
    if not widens(column.type, dtype, index=column.index):
        raise SchemaError(
            f"column {column.name!r} became {type_name(column.type)} on one side and "
            f"{type_name(dtype)} on the other, and neither holds the other"
        )
    return replace(column, type=dtype)


def _column(fact: Fact) -> Column:
    name, definition = fact.value.split("\0")
    return replace(_define(name, definition), source=fact.source, default=fact.default)


def _said(fact: Fact) -> str:
    return repr(fact.value.split("\0")[-1])


def _define(name: str, definition: str) -> Column:
    return Schema({f"{name} ": "int*", name: definition})[name]


def _pack(default: Any, column: Column) -> str:
    """A default as base64 of an Arrow stream of one value; "" for null."""
    if default is None:
        return ""
    sink = pa.BufferOutputStream()
    one = _one(default, column)
    with pa.ipc.new_stream(sink, one.schema) as writer:
        writer.write_table(one)
    return base64.b64encode(sink.getvalue()).decode()


def value_of(default: Any, column: Column) -> pa.Scalar:
    """A value as one of a column, null included, also if it is a key. Raises `FrameError` for one
    that cannot be cast without loss."""
    found: pa.Scalar = _one(default, replace(column, index=False)).column(0)[0]
    return found


def _one(value: Any, column: Column) -> pa.Table:
    """A row of one column."""
    schema = Schema({f"{column.name} ": "int*", column.name: column.definition})
    table = to_table({f"{column.name} ": [0], column.name: [value]}, schema)
    return table.select([column.name])


def default_of(field: pa.Field, count: int) -> pa.Array:
    """`count` times the default of a column, as its field in `Schema.arrow` has it."""
    text = (field.metadata or {}).get(DEFAULT.encode())
    if not text:
        return pa.nulls(count, field.type)
    stream = pa.ipc.open_stream(base64.b64decode(text))
    return pa.repeat(stream.read_all().column(0)[0], count).cast(field.type)
