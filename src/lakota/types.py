"""The closed list of column types, and their names.

First step of the door (types < schema < cast). A type is written in a schema by name and
reaches disk by its canonical name, so `parse_type(type_name(t)) == t` for every type that
is accepted, and nothing outside the list is ever built from a text: no pickle, no
extension types, no unions. Fields inside nested types are always nullable and list
children are always called `item`: neither carries a value.

`float` means float64 here, as in Python and numpy; 32 bits are `float32`. Nested types
follow the same words: `list<float>` is a list of float64.
"""

from __future__ import annotations

import difflib
import json
import re
import zoneinfo
from collections.abc import Callable

import pyarrow as pa

from .errors import SchemaError

__all__ = ["family", "in_polars", "large", "parse_type", "type_name"]

_UNITS = ("s", "ms", "us", "ns")
_DEPTH = 16

_FRIENDLY = {
    "timestamp": pa.timestamp("us"),
    "float": pa.float64(),
    "int": pa.int64(),
    "str": pa.string(),
    "bool": pa.bool_(),
    "date": pa.date32(),
}
_PLAIN = {
    **{str(t): t for t in (pa.int8(), pa.int16(), pa.int32(), pa.int64())},
    **{str(t): t for t in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())},
    "float16": pa.float16(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "date32": pa.date32(),
    "date64": pa.date64(),
    "string": pa.string(),
    "large_string": pa.large_string(),
    "string_view": pa.string_view(),
    "binary": pa.binary(),
    "large_binary": pa.large_binary(),
    "binary_view": pa.binary_view(),
    "null": pa.null(),
    "month_day_nano_interval": pa.month_day_nano_interval(),
}
_SYNONYMS = {
    "half": pa.float16(),
    "halffloat": pa.float16(),
    "double": pa.float64(),
    "bool_": pa.bool_(),
    "boolean": pa.bool_(),
    "utf8": pa.string(),
    "large_utf8": pa.large_string(),
}
_WORDS = {**_PLAIN, **_SYNONYMS, **_FRIENDLY}
_NAMES = {dtype: name for name, dtype in {**_PLAIN, **_FRIENDLY}.items()}

# The spellings of numpy, which schemas of the original use, where they mean one thing.
_NUMPY = {
    **{f"i{n}": pa.type_for_alias(f"int{8 * n}") for n in (1, 2, 4, 8)},
    **{f"u{n}": pa.type_for_alias(f"uint{8 * n}") for n in (1, 2, 4, 8)},
    **{f"f{n}": pa.type_for_alias(f"float{8 * n}") for n in (2, 4, 8)},
    **{f"{m}[{u}]": pa.timestamp(u) for m in ("M8", "datetime64") for u in _UNITS},
    **{f"{m}[{u}]": pa.duration(u) for m in ("m8", "timedelta64") for u in _UNITS},
    **{f"{m}[D]": pa.date32() for m in ("M8", "datetime64")},
    "U": pa.string(),
    "b1": pa.bool_(),
    "?": pa.bool_(),
}
_INSTEAD = {
    "pickle": "values are never pickled; use a type that says what they are",
    "object": "use 'str' or another type that says what the values are",
    "O": "use 'str' or another type that says what the values are",
    "datetime": "use 'timestamp'",
    "datetime64": "use 'timestamp', or say the unit: 'timestamp[ns]'",
    "decimal": "say the width: 'decimal128(12, 2)'",
    "union": "use a struct with one nullable field for each case",
    "dense_union": "use a struct with one nullable field for each case",
    "sparse_union": "use a struct with one nullable field for each case",
    "run_end_encoded": "use the type of its values",
    "list_view": "use 'list<...>'",
    "large_list_view": "use 'large_list<...>'",
    "extension": "use its storage type",
}
_FAMILIES = {
    "int": "int8; int16; int32; int64; uint8; uint16; uint32; uint64",
    "float": "float16; float32; float64",
    "bool": "bool",
    "decimal": "decimal32(9, 2); decimal64(9, 2); decimal128(9, 2); decimal256(9, 2)",
    "timestamp": "timestamp",
    "date": "date32; date64",
    "time": "time32[s]; time64[us]",
    "duration": "duration[us]",
    "string": "string; large_string; string_view",
    "binary": "binary; large_binary; binary_view; fixed_size_binary[1]",
    "list": "list<int>; large_list<int>; fixed_size_list<int>[1]",
    "struct": "struct<a: int>",
    "map": "map<int, int>",
    "null": "null",
    "interval": "month_day_nano_interval",
}
_VIEWS = (pa.string_view(), pa.binary_view())


def parse_type(text: str) -> pa.DataType:
    """The Arrow type of a name: a friendly one, Arrow's own, or one of numpy.

    Raises `SchemaError` for whatever is not on the closed list, with what to use.

    >>> parse_type("timestamp"), parse_type("list<float>"), parse_type("M8[s]")
    (TimestampType(timestamp[us]), ListType(list<item: double>), TimestampType(timestamp[s]))
    """
    if not isinstance(text, str):
        raise SchemaError(f"a type is written as text such as 'float', found {text!r}")
    text = text.strip()
    spelled = _NUMPY.get(text.removeprefix("<"))
    return spelled if spelled is not None else _Reader(text).whole()


def type_name(dtype: pa.DataType) -> str:
    """The canonical name of a type; `parse_type` reads it back.

    Raises `SchemaError` for a type that no column can have.

    >>> type_name(pa.float64()), type_name(pa.timestamp("ns", "UTC"))
    ('float', 'timestamp[ns, tz=UTC]')
    """
    if isinstance(dtype, pa.BaseExtensionType):
        raise SchemaError(
            f"type {dtype} is an extension: use its storage type {dtype.storage_type}"
        )
    known = _NAMES.get(dtype)
    if known is not None:
        return known
    spell = _SPELLERS.get(family(dtype))
    return spell(dtype) if spell is not None else str(dtype)


def family(dtype: pa.DataType) -> str:
    """The kind of values of a type: int, float, bool, decimal, timestamp, date, time,
    duration, string, binary, list, struct, map, dictionary, null or interval.

    Raises `SchemaError` for a type that no column can have.

    >>> family(pa.uint8()), family(pa.large_string())
    ('int', 'string')
    """
    found = _FAMILY.get(dtype.id)
    if found is None:
        word = re.split(r"[<\[(]", str(dtype))[0]
        raise SchemaError(f"type {dtype} is not supported: {_instead(word)}")
    return found


def large(dtype: pa.DataType) -> pa.DataType:
    """The type with offsets of 64 bits for strings or binaries of a type."""
    return pa.large_string() if family(dtype) == "string" else pa.large_binary()


def in_polars(dtype: pa.DataType) -> bool:
    """Whether Polars has the type, under whatever name: it has no decimal256, no intervals and no
    dictionaries of decimals.

    >>> in_polars(pa.decimal128(12, 2)), in_polars(pa.list_(pa.decimal256(12, 2)))
    (True, False)
    """
    if pa.types.is_dictionary(dtype):
        return not pa.types.is_decimal(dtype.value_type)
    if dtype.num_fields:
        return all(in_polars(dtype.field(i).type) for i in range(dtype.num_fields))
    return not pa.types.is_decimal256(dtype) and not pa.types.is_interval(dtype)


def _instead(word: str) -> str:
    hint = _INSTEAD.get(word)
    if hint is not None:
        return hint
    close = difflib.get_close_matches(word, [*_WORDS, *_BUILDERS], 1)
    if close:
        return f"did you mean {close[0]!r}?"
    return "use timestamp, float, int, str, bool, date or an Arrow type such as 'decimal128(12, 2)'"


class _Reader:
    """Reads one type by recursive descent."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth = text, 0, 0

    def whole(self) -> pa.DataType:
        dtype = self.type()
        if self.at != len(self.text):
            raise self.error(f"did not expect {self.text[self.at :]!r}")
        return dtype

    def error(self, reason: str) -> SchemaError:
        return SchemaError(f"cannot read the type {self.text[:80]!r}: {reason}")

    def match(self, pattern: str) -> str | None:
        found = re.compile(rf"\s*({pattern})\s*").match(self.text, self.at)
        if found is None:
            return None
        self.at = found.end()
        return found[1]

    def need(self, pattern: str, what: str) -> str:
        found = self.match(pattern)
        if found is None:
            rest = self.text[self.at :]
            raise self.error(f"expected {what}, found {rest!r}" if rest else f"expected {what}")
        return found

    def type(self) -> pa.DataType:
        word = self.need(r"[A-Za-z_?][A-Za-z0-9_]*", "the name of a type")
        bracket = self.text[self.at : self.at + 1]
        if word in _BUILDERS and (bracket in ("<", "[", "(") or word not in _WORDS):
            return self.nested(word)
        dtype = _WORDS.get(word)
        if dtype is None:
            inside = "" if word == self.text else f" in {self.text[:80]!r}"
            raise SchemaError(f"unknown type {word!r}{inside}: {_instead(word)}")
        if word in ("date32", "date64"):
            self.match(r"\[day\]" if word == "date32" else r"\[ms\]")
        return dtype

    def nested(self, word: str) -> pa.DataType:
        self.depth += 1
        if self.depth > _DEPTH:
            raise self.error(f"nested more than {_DEPTH} deep")
        try:
            dtype = _BUILDERS[word](self)
        except (ValueError, pa.ArrowException, OverflowError) as err:
            raise err if isinstance(err, SchemaError) else self.error(str(err)) from err
        self.depth -= 1
        return dtype

    def inner(self) -> pa.DataType:
        """A type inside another one."""
        dtype = self.type()
        if dtype in _VIEWS:
            raise self.error(f"{dtype} cannot be nested; use {str(dtype).removesuffix('_view')}")
        if self.match("not null"):
            raise self.error("nested fields are always nullable; leave out 'not null'")
        return dtype

    def unit(self, units: str) -> str:
        return self.need(units, f"a unit ({units.replace('|', ', ')})")

    def size(self) -> int:
        self.need(r"\[", "'['")
        size = int(self.need(r"[0-9]{1,9}", "a size"))
        self.need(r"\]", "']'")
        if size < 1:
            raise self.error("a size is at least 1")
        return size


def _timestamp(read: _Reader) -> pa.DataType:
    read.need(r"\[", "'['")
    unit = read.unit("ns|us|ms|s")
    zone = None
    if read.match(","):
        read.match("tz=")
        zone = read.need(r"[A-Za-z0-9_+\-/:]+", "a time zone")
        _check_zone(zone)
    read.need(r"\]", "']'")
    return pa.timestamp(unit, zone)


def _check_zone(zone: str) -> None:
    if re.fullmatch(r"[+-]([01]\d|2[0-3]):[0-5]\d", zone) or zone == "UTC":
        return
    try:
        zoneinfo.ZoneInfo(zone)
    except (ValueError, OSError, KeyError) as err:
        raise SchemaError(
            f"unknown time zone {zone!r}: use 'UTC', a name such as 'Europe/Brussels' "
            "or an offset such as '+02:00'"
        ) from err


def _with_unit(make: Callable[[str], pa.DataType], units: str) -> Callable[[_Reader], pa.DataType]:
    def build(read: _Reader) -> pa.DataType:
        read.need(r"\[", "'['")
        unit = read.unit(units)
        read.need(r"\]", "']'")
        return make(unit)

    return build


def _decimal(make: Callable[[int, int], pa.DataType]) -> Callable[[_Reader], pa.DataType]:
    def build(read: _Reader) -> pa.DataType:
        read.need(r"\(", "'(precision, scale)'")
        precision = int(read.need(r"[0-9]{1,2}", "a precision"))
        scale = int(read.need(r"[0-9]{1,2}", "a scale")) if read.match(",") else 0
        read.need(r"\)", "')'")
        if scale > precision:
            raise read.error(f"the scale {scale} exceeds the precision {precision}")
        return make(precision, scale)

    return build


def _listed(make: Callable[[pa.DataType], pa.DataType]) -> Callable[[_Reader], pa.DataType]:
    def build(read: _Reader) -> pa.DataType:
        return make(_child(read))

    return build


def _child(read: _Reader) -> pa.DataType:
    read.need("<", "'<'")
    read.match(r"[A-Za-z_]\w*\s*:")
    child = read.inner()
    read.need(">", "'>'")
    return child


def _fixed_list(read: _Reader) -> pa.DataType:
    child = _child(read)
    return pa.list_(child, read.size())


def _struct(read: _Reader) -> pa.DataType:
    read.need("<", "'<'")
    fields: dict[str, pa.DataType] = {}
    while True:
        name = _field_name(read)
        read.need(":", "':'")
        if name in fields:
            raise read.error(f"two fields are called {name!r}")
        fields[name] = read.inner()
        if read.match(",") is None:
            break
    read.need(">", "'>'")
    return pa.struct(list(fields.items()))


def _field_name(read: _Reader) -> str:
    if not read.text.startswith('"', read.at):
        return read.need(r'[^:<>,"\s](?:[^:<>,"]*[^:<>,"\s])?', "the name of a field")
    name, read.at = json.JSONDecoder().raw_decode(read.text, read.at)
    return str(name)


def _map(read: _Reader) -> pa.DataType:
    read.need("<", "'<'")
    key = read.inner()
    read.need(",", "','")
    item = read.inner()
    read.need(">", "'>'")
    return pa.map_(key, item)


def _dictionary(read: _Reader) -> pa.DataType:
    read.need("<", "'<'")
    read.need("values=", "'values='")
    values = read.inner()
    read.need(",", "','")
    read.need("indices=", "'indices='")
    indices = read.inner()
    ordered = read.match(",") is not None and read.need("ordered=[01]", "'ordered='")[-1] == "1"
    read.need(">", "'>'")
    if _FAMILY[indices.id] != "int" or _FAMILY[values.id] in _NESTED:
        raise read.error("a dictionary has integer indices and plain values")
    return pa.dictionary(indices, values, ordered)


_NESTED = ("list", "struct", "map", "dictionary", "null", "interval")
_BUILDERS: dict[str, Callable[[_Reader], pa.DataType]] = {
    "timestamp": _timestamp,
    "time32": _with_unit(pa.time32, "ms|s"),
    "time64": _with_unit(pa.time64, "us|ns"),
    "duration": _with_unit(pa.duration, "ns|us|ms|s"),
    "decimal32": _decimal(pa.decimal32),
    "decimal64": _decimal(pa.decimal64),
    "decimal128": _decimal(pa.decimal128),
    "decimal256": _decimal(pa.decimal256),
    "fixed_size_binary": lambda read: pa.binary(read.size()),
    "list": _listed(pa.list_),
    "large_list": _listed(pa.large_list),
    "fixed_size_list": _fixed_list,
    "struct": _struct,
    "map": _map,
    "dictionary": _dictionary,
}
_FAMILY = {
    parse_type(text).id: name for name, texts in _FAMILIES.items() for text in texts.split("; ")
}
_FAMILY[pa.dictionary(pa.int32(), pa.string()).id] = "dictionary"


def _list_name(dtype: pa.DataType) -> str:
    child = type_name(dtype.value_type)
    if pa.types.is_fixed_size_list(dtype):
        return f"fixed_size_list<{child}>[{dtype.list_size}]"
    return f"{'large_list' if pa.types.is_large_list(dtype) else 'list'}<{child}>"


def _struct_name(dtype: pa.DataType) -> str:
    fields = [dtype.field(i) for i in range(dtype.num_fields)]
    return f"struct<{', '.join(f'{_quoted(f.name)}: {type_name(f.type)}' for f in fields)}>"


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[\w.\-]+", name) else json.dumps(name)


def _dictionary_name(dtype: pa.DataType) -> str:
    ordered = ", ordered=1" if dtype.ordered else ""
    values, indices = type_name(dtype.value_type), type_name(dtype.index_type)
    return f"dictionary<values={values}, indices={indices}{ordered}>"


_SPELLERS: dict[str, Callable[[pa.DataType], str]] = {
    "list": _list_name,
    "struct": _struct_name,
    "map": lambda dtype: f"map<{type_name(dtype.key_type)}, {type_name(dtype.item_type)}>",
    "dictionary": _dictionary_name,
}
