"""What a collection's columns are: names, types, the index, codecs.

Second step of the door (types < schema < cast). A schema is a value: immutable, hashable,
equal when its columns and kind are. Index columns come first, in key order, which is the
order of their declaration. The text that reaches disk is `dumps()`: canonical JSON over a
closed list of keys, types and codecs, so a schema from a remote can never run code.

```
{"columns":[{"codec":null,"index":true,"name":"timestamp","type":"timestamp"},...],"kind":"series"}
```
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import polars as pl
import pyarrow as pa

from .errors import NotFoundError, RangeError, SchemaError
from .physical import physical_value
from .types import family, parse_type, type_name

__all__ = ["CODECS", "Column", "Schema"]

CODECS = ("plain", "lz4", "zstd", "pco")
_RESERVED = "lakota:"
DEFAULT = "lakota:default"
"""The metadata of a field that holds a default."""
_KINDS = ("series", "kv")
_PCO = ("int", "float", "timestamp", "date", "time", "duration", "decimal")
_KEYS = (*_PCO, "bool", "string", "binary")


@dataclass(frozen=True)
class Column:
    """One column: `codec` is None where the store decides.

    Raises `SchemaError` for a name, type or codec that no column can have.

    >>> Column("value", pa.float64()).definition
    'float'
    """

    name: str
    type: pa.DataType
    index: bool = False
    codec: str | None = None
    source: str = ""
    """The name under which it is stored: its first one. Renaming changes `name` alone."""
    default: str = ""
    """What rows have that were written before the column was added: base64 of an Arrow stream of
    one value; "" for null."""

    def __post_init__(self) -> None:
        _check_name(self.name)
        if not self.source:
            object.__setattr__(self, "source", self.name)
        where = f"column {self.name!r}"
        try:
            # Normalises nested fields, which are always nullable and carry no metadata.
            object.__setattr__(self, "type", parse_type(type_name(self.type)))
        except SchemaError as err:
            raise SchemaError(f"{where}: {err}") from err
        kind = family(self.type)
        if self.index and kind not in _KEYS:
            hint = "; use the type of its values" if kind == "dictionary" else ""
            raise SchemaError(
                f"{where}: {type_name(self.type)} cannot be an index, which needs an order: "
                f"expected one of {', '.join(_KEYS)}{hint}"
            )
        if self.codec is not None and self.codec not in CODECS:
            raise SchemaError(
                f"{where}: unknown codec {self.codec!r}, expected one of {', '.join(CODECS)}"
            )
        if self.codec == "pco" and kind not in _PCO:
            raise SchemaError(
                f"{where}: codec 'pco' is for numbers and times, not "
                f"{type_name(self.type)}; use 'zstd'"
            )

    @property
    def definition(self) -> str:
        """The text that defines the column: type, star and codec."""
        codec = f" | {self.codec}" if self.codec else ""
        return f"{type_name(self.type)}{'*' if self.index else ''}{codec}"


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name.strip():
        raise SchemaError(f"a column needs a name, found {name!r}")
    if name.startswith(_RESERVED):
        raise SchemaError(f"column {name!r}: names that start with {_RESERVED!r} are reserved")
    if "\0" in name or any("\ud800" <= char <= "\udfff" for char in name):
        raise SchemaError(f"column {name!r}: the name has a NUL or a lone surrogate")


def _define(name: str, definition: object) -> Column:
    """A column from `type`, `type*`, `type | codec`, `type* | codec` or `type | codec *`."""
    if not isinstance(definition, str) or not definition.strip():
        raise SchemaError(
            f"column {name!r}: expected a definition such as 'float' or 'timestamp*', "
            f"found {definition!r}"
        )
    text, bar, codec = (part.strip() for part in definition.partition("|"))
    stars = text.endswith("*") + codec.endswith("*")
    if stars > 1 or (bar and not codec.rstrip("* ")):
        raise SchemaError(f"column {name!r}: cannot read the definition {definition!r}")
    try:
        dtype = parse_type(text.removesuffix("*"))
    except SchemaError as err:
        raise SchemaError(f"column {name!r}: {err}") from err
    return Column(name, dtype, stars == 1, codec.removesuffix("*").strip() or None)


def _definitions(text: str | Mapping[str, str] | None, columns: Mapping[str, str]) -> list[Column]:
    if text is None:
        return [_define(name, definition) for name, definition in columns.items()]
    if columns:
        raise SchemaError("define the columns as text or as keywords, not both")
    if isinstance(text, Mapping):
        return [_define(name, definition) for name, definition in text.items()]
    if not isinstance(text, str):
        raise SchemaError(f"expected text, a mapping or keywords, found {type(text).__name__}")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    return [_define(line[0], line[1] if len(line) > 1 else "") for line in lines]


@dataclass(frozen=True, init=False, repr=False)
class Schema:
    """The columns of a collection, index first.

    Columns are keywords, or text with one column a line, or a mapping; a star marks the
    index, `|` a codec (plain, lz4, zstd, pco) that the column insists on. `Schema.kv` makes
    collections whose writes change only the keys that they name. Raises `SchemaError`.

    >>> schema = Schema(timestamp="timestamp*", value="float | plain")
    >>> schema.index, schema["value"].codec
    (('timestamp',), 'plain')
    >>> schema == Schema('''
    ... timestamp timestamp*
    ... value float | plain
    ... ''')
    True
    """

    columns: tuple[Column, ...]
    kind: str

    def __init__(self, text: str | Mapping[str, str] | None = None, /, **columns: str) -> None:
        self._set(_definitions(text, columns), "series")

    @classmethod
    def kv(cls, text: str | Mapping[str, str] | None = None, /, **columns: str) -> Schema:
        """A schema of kind `kv`, in the same forms.

        >>> Schema.kv(name="str*", value="int").kind
        'kv'
        """
        return cls._of(_definitions(text, columns), "kv")

    @classmethod
    def from_arrow(
        cls, schema: pa.Schema, index: Sequence[str] | str, *, kind: str = "series"
    ) -> Schema:
        """From an Arrow schema and the names of the index columns, in key order.

        >>> Schema.from_arrow(pa.schema({"x": pa.float64(), "t": pa.date32()}), index=["t"])
        Schema(t='date*', x='float')
        """
        names = _names(index, "index")
        if not isinstance(schema, pa.Schema):
            raise SchemaError(
                f"from_arrow({schema!r}): expected a pyarrow.Schema; from_frame takes frames"
            )
        _refuse_duplicates([*schema.names], "two columns are called")
        _refuse_duplicates(names, "the index names twice")
        for name in names:
            if name not in schema.names:
                raise SchemaError(f"index {name!r} is not a column: {_listing(schema.names)}")
        keys = [Column(name, schema.field(name).type, True) for name in names]
        return cls._of(keys + [Column(f.name, f.type) for f in schema if f.name not in names], kind)

    @classmethod
    def from_frame(cls, frame: Any, index: Sequence[str] | str, *, kind: str = "series") -> Schema:
        """From the columns of a frame: anything with `__arrow_c_schema__` or
        `__arrow_c_stream__`, a Polars frame, lazy or not, or a dict of columns.

        Text is `str`, lists are `list` and categories are their values, however the frame
        lays them out.

        >>> Schema.from_frame({"t": [1, 2], "x": [0.5, 1.5]}, index="t")
        Schema(t='int*', x='float')
        """
        fields = [
            pa.field(field.name, _everyday(field.type))
            for field in _arrow_schema(frame)
            if not field.name.startswith("__index_level_")
        ]
        return cls.from_arrow(pa.schema(fields), index, kind=kind)

    @classmethod
    def loads(cls, text: str) -> Schema:
        """Read what `dumps` wrote; raises `SchemaError` for anything else.

        >>> Schema.loads(Schema(x="int*").dumps())
        Schema(x='int*')
        """
        try:
            data = json.loads(text)
        except (ValueError, TypeError, RecursionError) as err:
            raise SchemaError(f"a schema is JSON text: {err}") from err
        document = _closed(data, {"columns": list, "kind": str}, "a schema")
        shape = {"name": str, "type": str, "index": bool, "codec": str | None}
        columns = []
        for item in document["columns"]:
            item = _closed(item, shape, "a column")
            dtype = parse_type(item["type"])
            columns.append(Column(item["name"], dtype, item["index"], item["codec"]))
        return cls._of(columns, document["kind"])

    def dumps(self) -> str:
        """The schema as canonical JSON: equal schemas, equal text.

        >>> Schema(x="int*").dumps()
        '{"columns":[{"codec":null,"index":true,"name":"x","type":"int"}],"kind":"series"}'
        """
        columns = [
            {"codec": c.codec, "index": c.index, "name": c.name, "type": type_name(c.type)}
            for c in self.columns
        ]
        document = {"columns": columns, "kind": self.kind}
        return json.dumps(document, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def _of(cls, columns: Sequence[Column], kind: str) -> Schema:
        schema = cls.__new__(cls)
        schema._set(columns, kind)
        return schema

    def _set(self, columns: Sequence[Column], kind: str) -> None:
        if not isinstance(kind, str) or kind not in _KINDS:
            raise SchemaError(f"unknown kind {kind!r}, expected one of {', '.join(_KINDS)}")
        _refuse_duplicates([column.name for column in columns], "two columns are called")
        if not any(column.index for column in columns):
            raise SchemaError("no index: mark at least one column with a star, as in 'timestamp*'")
        object.__setattr__(self, "columns", tuple(sorted(columns, key=lambda c: not c.index)))
        object.__setattr__(self, "kind", kind)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of all columns, index first."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def index(self) -> tuple[str, ...]:
        """The names of the index columns, in key order."""
        return tuple(column.name for column in self.columns if column.index)

    @cached_property
    def values(self) -> tuple[str, ...]:
        """The names of the columns that are not index."""
        return tuple(column.name for column in self.columns if not column.index)

    def described(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """Kind, names and definitions: what a user says of a schema."""
        return self.kind, tuple((column.name, column.definition) for column in self.columns)

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """The names under which the columns are stored, in the order of `names`."""
        return tuple(column.source for column in self.columns)

    @cached_property
    def stored(self) -> Schema:
        """The same columns under the names that they are stored by."""
        return Schema._of([replace(c, name=c.source) for c in self.columns], self.kind)

    def with_columns(self, columns: Sequence[Column]) -> Schema:
        """A schema of the same kind with other columns."""
        return Schema._of(columns, self.kind)

    @cached_property
    def arrow(self) -> pa.Schema:
        """The Arrow schema of the columns: all nullable; a column that was added with a default
        has it in its metadata."""
        return pa.schema(
            pa.field(c.name, c.type, metadata={DEFAULT: c.default} if c.default else None)
            for c in self.columns
        )

    @cached_property
    def _by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}

    def __getitem__(self, name: str) -> Column:
        if name not in self:
            raise NotFoundError(_unknown([name], self.names))
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._by_name

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.columns)

    def __str__(self) -> str:
        return "\n".join(f"{column.name} {column.definition}" for column in self.columns)

    def __repr__(self) -> str:
        call = "Schema.kv" if self.kind == "kv" else "Schema"
        if all(name.isidentifier() for name in self.names):
            return f"{call}({', '.join(f'{c.name}={c.definition!r}' for c in self.columns)})"
        return f"{call}({ {c.name: c.definition for c in self.columns} })"

    def check_select(self, select: str | Sequence[str] | None) -> tuple[str, ...]:
        """The names of the columns that a reader asked for, in the order asked; None means
        all. Raises `NotFoundError` for a name that is not a column.

        >>> Schema(t="timestamp*", x="float").check_select("x")
        ('x',)
        """
        if select is None:
            return self.names
        names = _names(select, "select")
        unknown = [name for name in names if name not in self._by_name]
        if unknown:
            raise NotFoundError(_unknown(unknown, self.names))
        if len(set(names)) != len(names):
            raise SchemaError(f"select names a column twice: {list(names)}")
        return names

    def key(self, values: Any, *, what: str = "start") -> tuple[Any, ...]:
        """A bound in physical values: a scalar, or a tuple or list of the first index columns.

        Times are datetimes, dates, numpy or pandas times or ISO 8601 text, with an offset
        exactly where the column has a zone. 0, "" and False are bounds. Raises `RangeError`
        for what has no exact value in the column: a bound is never rounded.

        >>> Schema(t="timestamp[s]*", station="str*").key(("1970-01-02", "KNYC"))
        (86400, 'KNYC')
        """
        given = tuple(values) if isinstance(values, tuple | list) else (values,)
        if not 1 <= len(given) <= len(self.index):
            wanted = "1 value" if len(self.index) == 1 else f"1 to {len(self.index)} values"
            raise RangeError(
                f"{what}={values!r}: expected {wanted} for the index "
                f"({', '.join(self.index)}), found {len(given)}"
            )
        return tuple(
            _bound(column, value, what) for column, value in zip(self.columns, given, strict=False)
        )


def _bound(column: Column, value: Any, what: str) -> Any:
    try:
        return physical_value(column.type, value)
    except RangeError as err:
        raise RangeError(
            f"{what}={value!r} cannot bound column {column.name!r} "
            f"({type_name(column.type)}): {err}"
        ) from err


def _names(given: object, what: str) -> tuple[str, ...]:
    """Names of columns: one, or several."""
    if isinstance(given, str):
        return (given,)
    if not isinstance(given, Iterable) or isinstance(given, bytes):
        raise SchemaError(f"{what}={given!r}: expected the name of a column, or a list of names")
    names = tuple(given)
    for name in names:
        if not isinstance(name, str):
            raise SchemaError(f"{what}: found {name!r}, expected the name of a column")
    return names


def _refuse_duplicates(names: Sequence[str], said: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SchemaError(f"{said} {', '.join(map(repr, twice))}")


def _listing(names: Sequence[str]) -> str:
    return f"the columns are {', '.join(map(repr, names))}"


def _unknown(names: Sequence[Any], known: Sequence[str]) -> str:
    close = difflib.get_close_matches(str(names[0]), known, 1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return f"no column {', '.join(map(repr, names))}{hint}: {_listing(known)}"


def _closed(data: Any, shape: Mapping[str, Any], what: str) -> dict[str, Any]:
    """`data` if it is an object with exactly these keys and types."""
    if not isinstance(data, dict) or set(data) != set(shape):
        keys = sorted(data) if isinstance(data, dict) else type(data).__name__
        raise SchemaError(f"{what} has exactly the keys {sorted(shape)}, found {keys}")
    for key, expected in shape.items():
        if not isinstance(data[key], expected):
            raise SchemaError(f"{what} has an unusable {key}: {data[key]!r}")
    return data


def _arrow_schema(frame: Any) -> pa.Schema:
    if isinstance(frame, pl.LazyFrame):
        frame = frame.collect_schema().to_frame()
    elif isinstance(frame, Mapping):
        frame = _inferred(frame)
    if isinstance(frame, pa.Schema):
        return frame
    if isinstance(frame, pl.DataFrame):
        for name in frame.columns:
            if "\0" in name:  # at which Polars would end the process
                raise SchemaError(f"column {name!r}: the name has a NUL")
    if hasattr(frame, "__arrow_c_schema__"):
        return pa.schema(frame)
    if hasattr(frame, "__arrow_c_stream__"):
        return pa.RecordBatchReader.from_stream(frame).schema
    raise SchemaError(
        f"cannot see columns in {type(frame).__name__}: expected a frame with __arrow_c_stream__, "
        "a Polars LazyFrame or a dict of columns"
    )


def _inferred(columns: Mapping[str, Any]) -> pl.DataFrame:
    try:
        return pl.DataFrame(dict(columns))
    except (pl.exceptions.PolarsError, TypeError, ValueError) as err:
        raise SchemaError(f"cannot infer the types of the columns: {err}") from err


def _everyday(dtype: pa.DataType) -> pa.DataType:
    """The type that means the same as `dtype`, whatever the layout of the frame."""
    kind = family(dtype) if not isinstance(dtype, pa.BaseExtensionType) else ""
    if kind == "string":
        return pa.string()
    if kind == "binary" and not pa.types.is_fixed_size_binary(dtype):
        return pa.binary()
    if kind == "dictionary":
        return _everyday(dtype.value_type)
    if kind == "list" and pa.types.is_fixed_size_list(dtype):
        return pa.list_(_everyday(dtype.value_type), dtype.list_size)
    if kind == "list":
        return pa.list_(_everyday(dtype.value_type))
    if kind == "struct":
        return pa.struct([(field.name, _everyday(field.type)) for field in dtype])
    if kind == "map":
        return pa.map_(_everyday(dtype.key_type), _everyday(dtype.item_type))
    return dtype
