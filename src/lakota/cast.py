"""The door: whatever a user passes becomes a table that fits its schema, or is refused.

Last step of the door (types < schema, order < cast). Promises:

- every value of the result equals the value that came in: a cast without loss or a
  `FrameError` that names the column, what was found and what was expected;
- columns in schema order, of exactly the schema's types, sorted by the index (stable);
- nothing is copied where the types match and the rows are in order, the user's frame is
  never changed, and no row is visited in Python (lists of Python objects are walked by C
  code, to see which types they mix).

NaN is a value and None is null; in pandas' own numpy columns NaN is the missing value, as
everywhere in pandas, and becomes null. Keys are never null nor NaN; -0.0 and 0.0 are one key.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import chain
from operator import attrgetter, methodcaller
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from .arrays import as_array, flags, integers, texts
from .errors import FrameError, SchemaError
from .order import check_keys, in_order
from .schema import Schema
from .types import family, large, type_name

__all__ = ["to_table"]

_TWO_GIB = 2**31 - 1
_ANY_BITS = ("int", "float", "bool", "timestamp", "duration", "interval", "null")
_CLOCK_UNITS = (("s", 1), ("ms", 1), ("us", 1), ("ns", 1))
_NUMPY_UNITS = {"M": (*_CLOCK_UNITS, ("D", 1)), "m": _CLOCK_UNITS}


def to_table(
    frame: Any,
    schema: Schema,
    *,
    sort: bool = True,
    partial: bool = False,
    keep: bool = False,
) -> pa.Table:
    """`frame` as a table of exactly `schema`, without loss, sorted by the index.

    Takes anything with `__arrow_c_stream__` or `__arrow_c_array__` (Polars, pyarrow,
    pandas, DuckDB), a Polars LazyFrame, a record-batch reader, or a dict of columns: lists,
    numpy arrays, ranges, Series. With `partial`, columns outside of the index may be
    missing. With `sort=False` the rows keep their order. With `keep` the table stays what it
    is when arrays of the caller change. Raises `FrameError`.

    >>> schema = Schema(timestamp="timestamp*", value="float")
    >>> table = to_table({"timestamp": ["2020-01-02", "2020-01-01T00:00"], "value": [1, 2]}, schema)
    >>> table["value"].to_pylist()
    [2.0, 1.0]
    """
    if isinstance(frame, pl.LazyFrame):
        frame = frame.collect()
    trusted = isinstance(frame, pl.DataFrame)
    if trusted:
        frame = _from_polars(frame)
    fits = isinstance(frame, pa.Table) and frame.schema.equals(schema.arrow, check_metadata=True)
    if fits and (trusted or not any(map(_may_be_invalid, schema.arrow.types))):
        _check_lengths(schema.names, frame.columns)
        table = frame
    else:
        table = _fitted(_open(frame, schema), schema, trusted, partial, keep)
    check_keys(table, schema.index)
    return in_order(table, schema.index) if sort else table


def _fitted(
    columns: Mapping[Any, Any], schema: Schema, trusted: bool, partial: bool, keep: bool
) -> pa.Table:
    """A table of columns. `trusted`: whether they are known to be valid."""
    wanted = _check_names(columns, schema, partial)
    arrow = schema.arrow
    if len(wanted) != len(arrow):
        arrow = pa.schema([arrow.field(name) for name in wanted])
    if keep:
        columns = {name: _kept(columns[name]) for name in wanted}
    arrays = [_fit(name, columns[name], arrow.field(name).type, trusted) for name in wanted]
    _check_lengths(wanted, arrays)
    return pa.Table.from_arrays(arrays, schema=arrow)


# --- names and lengths -----------------------------------------------------------------


def _check_names(columns: Mapping[Any, Any], schema: Schema, partial: bool) -> Sequence[str]:
    """The columns to take, in schema order."""
    names = schema.names
    if len(columns) == len(names) and all(name in columns for name in names):
        return names
    unknown = [name for name in columns if name not in schema]
    required = schema.index if partial else names
    missing = [name for name in required if name not in columns]
    if unknown or missing:
        raise FrameError(_misfit(unknown, missing, names))
    return [name for name in names if name in columns]


def _misfit(unknown: Sequence[Any], missing: Sequence[str], names: Sequence[str]) -> str:
    parts = []
    if unknown:
        parts.append(f"unknown column {', '.join(map(repr, unknown))}")
        candidates = missing or names
        close = [difflib.get_close_matches(str(name), candidates, 1) for name in unknown]
        if any(close):
            parts[0] += f" (did you mean {', '.join(repr(c[0]) for c in close if c)}?)"
    if missing:
        parts.append(f"missing column {', '.join(map(repr, missing))}")
    return f"{'; '.join(parts)}: expected the columns {', '.join(map(repr, names))}"


def _check_lengths(names: Sequence[str], arrays: Sequence[Any]) -> None:
    lengths = {len(array) for array in arrays}
    if len(lengths) > 1:
        found = ", ".join(f"{n!r} has {len(a)}" for n, a in zip(names, arrays, strict=True))
        raise FrameError(f"columns of unequal lengths: {found}; expected as many rows in each")


def _unique(names: Iterable[Any], columns: Iterable[Any]) -> dict[Any, Any]:
    names = list(names)
    found = dict(zip(names, columns, strict=True))
    if len(found) != len(names):
        twice = sorted({repr(name) for name in names if names.count(name) > 1})
        raise FrameError(f"two columns are called {', '.join(twice)}")
    return found


# --- opening frames --------------------------------------------------------------------


def _open(frame: Any, schema: Schema) -> Mapping[Any, Any]:
    """The columns of a frame by name."""
    if isinstance(frame, Mapping):
        return frame
    if _is_pandas(frame, "DataFrame"):
        return _from_pandas(frame, schema)
    table = _from_arrow(frame)
    return _unique(table.schema.names, table.columns)


def _from_polars(frame: pl.DataFrame) -> pa.Table:
    for name in frame.columns:
        if "\0" in name:  # at which Polars would end the process
            raise FrameError(f"column {name!r}: the name has a NUL; rename it")
    try:
        return _streamed(frame)
    except pa.ArrowInvalid:
        for name, kind in frame.schema.items():
            try:
                _streamed(frame.select(name))
            except pa.ArrowInvalid as error:
                raise FrameError(
                    f"column {name!r}: found {kind}, which Arrow has not; cast it first"
                ) from error
        raise


def _streamed(frame: pl.DataFrame) -> pa.Table:
    return pa.RecordBatchReader.from_stream(frame).read_all()  # `pa.table` looks for pandas


def _is_pandas(value: Any, name: str) -> bool:
    return any(
        t.__name__ == name and t.__module__.partition(".")[0] == "pandas"
        for t in type(value).__mro__
    )


def _from_arrow(frame: Any) -> pa.Table:
    try:
        if isinstance(frame, pa.Table):
            return frame
        if isinstance(frame, pa.RecordBatch):
            return pa.Table.from_batches([frame])
        if isinstance(frame, pa.RecordBatchReader):
            return frame.read_all()
        if hasattr(frame, "__arrow_c_stream__"):
            return pa.RecordBatchReader.from_stream(frame).read_all()
        if hasattr(frame, "__arrow_c_array__"):
            return pa.Table.from_batches([pa.record_batch(frame)])
    except (pa.ArrowException, TypeError, ValueError) as err:
        raise FrameError(
            f"cannot read {type(frame).__name__} as a table: {_line(err)}; expected a frame or a "
            "dict of columns"
        ) from err
    hint = "; pass a dict of lists instead of a list of rows" if isinstance(frame, list) else ""
    raise FrameError(
        f"expected a frame (Polars, Arrow, pandas, DuckDB) or a dict of columns, "
        f"found {type(frame).__name__}{hint}"
    )


def _from_pandas(frame: Any, schema: Schema) -> dict[Any, Any]:
    """Columns and named index levels; an unnamed index is only a numbering of rows."""
    levels = [name for name in frame.index.names if name is not None]
    numbering = type(frame.index).__name__ == "RangeIndex"
    levels = [name for name in levels if name in schema or not numbering]
    index = [frame.index.get_level_values(name).to_series() for name in levels]
    columns = [frame.iloc[:, i] for i in range(frame.shape[1])]
    return _unique([*levels, *frame.columns], [*index, *columns])


def _kept(values: Any) -> Any:
    """Values that the caller cannot change any more. Nobody may change what Arrow and Polars have,
    and what is in lists is copied anyway."""
    if isinstance(values, np.ndarray) or _is_pandas(values, "Series"):
        return values.copy()
    arrow = hasattr(values, "__arrow_c_stream__") or hasattr(values, "__arrow_c_array__")
    if not arrow and (hasattr(values, "__array__") or hasattr(values, "typecode")):
        return np.array(values)
    return values


# --- one column ------------------------------------------------------------------------


def _fit(name: str, values: Any, target: pa.DataType, trusted: bool) -> Any:
    """One column as an Arrow array of type `target`."""
    try:
        known = isinstance(values, pa.Array | pa.ChunkedArray)
        array = values if known else _to_array(values, target)
        if not trusted and _may_be_invalid(array.type):
            array.validate(full=True)
        return array if array.type == target else _convert(array, target)
    except (FrameError, SchemaError) as err:
        raise FrameError(f"column {name!r}: {err}") from err
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as err:
        expected = type_name(target)
        raise FrameError(f"column {name!r}: expected {expected}, found {_line(err)}") from err


def _line(err: Exception) -> str:
    return str(err).partition("\n")[0] or type(err).__name__


def _may_be_invalid(dtype: pa.DataType) -> bool:
    """Whether not all bits make values: text, offsets, dates in milliseconds, decimals, ..."""
    if isinstance(dtype, pa.BaseExtensionType):
        return False
    return dtype != pa.date32() and family(dtype) not in _ANY_BITS


def _to_array(values: Any, target: pa.DataType) -> Any:
    if isinstance(values, np.ndarray):
        return _from_numpy(values, target)
    if isinstance(values, list | tuple):
        return _from_list(values, target)
    if isinstance(values, range):
        return _from_range(values)
    if isinstance(values, pl.Series):
        return pa.chunked_array(values)
    if _is_pandas(values, "Series") or _is_pandas(values, "Index"):
        if values.dtype == object:
            objects = np.array(values, dtype=object)
            objects[np.asarray(values.isna())] = None
            return _from_list(objects.tolist(), target)
        return pa.array(values, from_pandas=True)
    if hasattr(values, "__arrow_c_stream__"):
        return pa.chunked_array(values)
    if hasattr(values, "__arrow_c_array__"):
        return pa.array(values)
    if isinstance(values, str | bytes | bytearray | Mapping) or not isinstance(values, Iterable):
        raise FrameError(
            f"expected a list, an array or a Series of {type_name(target)}, "
            f"found {type(values).__name__}"
        )
    if hasattr(values, "__array__") or hasattr(values, "typecode"):
        return _from_numpy(np.asarray(values), target)
    if isinstance(values, Sequence):
        return _from_list(list(values), target)
    raise FrameError(f"expected a list, an array or a Series, found {type(values).__name__}")


def _from_range(values: range) -> pa.Array:
    if (
        len(values)
        and not -(2**63) <= min(values[0], values[-1]) <= max(values[0], values[-1]) < 2**63
    ):
        raise FrameError(f"{values!r} is outside of the range of int64")
    return integers(np.arange(values.start, values.stop, values.step, dtype=np.int64))


def _from_numpy(values: Any, target: pa.DataType) -> Any:
    if values.ndim != 1:
        raise FrameError(f"expected one dimension, found an array of shape {values.shape}")
    kind = values.dtype.kind
    if kind == "O":
        return _from_list(values.tolist(), target)
    if kind in "mM" and np.datetime_data(values.dtype) not in _NUMPY_UNITS[kind]:
        values = _to_unit(values)
    if not values.dtype.isnative:
        values = values.astype(values.dtype.newbyteorder("="))
    if values.dtype == "M8[D]" and type(values) is np.ndarray:
        return _from_days(values)
    if kind == "U":
        # numpy drops trailing NULs and lets lone surrogates through; Polars checks them.
        return _from_list(values.tolist(), target)
    plain = kind in "iuf" or (kind in "mM" and not np.isnat(values).any())
    return as_array(values) if plain and type(values) is np.ndarray else pa.array(values)


def _to_unit(values: Any) -> Any:
    """Times in minutes, hours, weeks, months ... as seconds."""
    seconds = values.astype(f"{values.dtype.kind}8[s]")
    back = seconds.astype(values.dtype)
    if not np.array_equal(values.view(np.int64), back.view(np.int64)):
        raise FrameError(f"found {values.dtype}, which has no exact value in an Arrow unit")
    return seconds


def _from_days(values: Any) -> pa.Array:
    """Days, of which numpy's have 64 bits and Arrow's 32."""
    missing = np.isnat(values)
    days = integers(np.where(missing, 0, values.view(np.int64))).cast(pa.int32())
    if missing.any():
        days = pc.if_else(flags(missing), pa.nulls(1, pa.int32())[0], days)
    return days.view(pa.date32())


# --- lists of Python objects -----------------------------------------------------------

# What a list may mix. pyarrow infers a list's type from its first values and would then turn
# True into 1, cut a datetime to a date and take a naive time for UTC.
_ALIKE: tuple[tuple[str, tuple[type, ...]], ...] = (
    ("bool", (bool, np.bool_)),
    ("number", (int, float, np.integer, np.floating)),
    ("Decimal", (Decimal,)),
    ("str", (str,)),
    ("bytes", (bytes, bytearray, memoryview)),
    ("datetime", (datetime,)),
    ("date", (date,)),
    ("time", (time,)),
    ("timedelta", (timedelta,)),
    ("datetime64", (np.datetime64,)),
    ("timedelta64", (np.timedelta64,)),
    ("list", (list, tuple, np.ndarray)),
    ("dict", (dict,)),
)


def _alike(kind: type) -> str:
    return next((name for name, types in _ALIKE if issubclass(kind, types)), kind.__name__)


def _from_list(values: Sequence[Any], target: pa.DataType) -> Any:
    if family(target) == "map" and set(map(type, values)) - {type(None)}:
        raise FrameError("found a list of Python objects, expected a pyarrow.MapArray")
    names = _mixture(values)
    if names == {"Decimal", "number"} and family(target) == "decimal":
        return pa.array(values, pa.decimal256(target.precision, target.scale))
    if len(names) > 1:
        raise FrameError(f"found a mixture of {' and '.join(sorted(names))}, expected one type")
    if names == {"datetime"} or names == {"timedelta"}:
        return _from_times(values, names == {"datetime"})
    kinds = set(map(type, values))
    if target == pa.uint64() and {int, type(None)} >= kinds:
        return pa.array(values, target)
    if str in kinds and {str, type(None)} >= kinds:
        return texts(values)
    if kinds == {int} and -(2**63) <= min(values) <= max(values) < 2**63:
        return integers(values)
    return as_array(np.array(values)) if kinds == {float} else pa.array(values)


def _mixture(values: Iterable[Any]) -> set[str]:
    """The names of the kinds of values in a list; refuses mixtures inside of nested ones."""
    kinds = set(map(type, values)) - {type(None)}
    names = {_alike(kind) for kind in kinds}
    if names == {"list"} and np.ndarray not in kinds:
        _refuse_mixture(list(chain.from_iterable(filter(None, values))), "lists")
    elif names == {"dict"}:
        rows = list(filter(None, values))
        for key in set(chain.from_iterable(rows)):
            _refuse_mixture(list(map(methodcaller("get", key), rows)), f"field {key!r}")
    elif names <= {"datetime", "time"} and names:
        zones = set(map(attrgetter("tzinfo"), filter(lambda v: v is not None, values)))
        if len({zone is None for zone in zones}) > 1:
            raise FrameError("found naive times and times with a zone in one list")
        if "time" in names and zones != {None}:
            raise FrameError("found times of day with a zone, expected naive ones")
    return names


def _refuse_mixture(values: list[Any], where: str) -> None:
    names = _mixture(values)
    if len(names) > 1:
        raise FrameError(f"found a mixture of {' and '.join(sorted(names))} in {where}")


def _from_times(values: Sequence[Any], instants: bool) -> Any:
    """Datetimes or timedeltas, with the nanoseconds that pandas' ones have."""
    array = pa.array(values)
    if set(map(type, values)) <= {datetime, timedelta, type(None)}:
        return array
    fine = pa.timestamp("ns", array.type.tz) if instants else pa.duration("ns")
    return pa.array(values, fine)


# --- casts without loss ----------------------------------------------------------------


def _convert(array: Any, target: pa.DataType) -> Any:
    """`array` with type `target`, every value the same, or an error."""
    source = array.type
    if source == target:
        return array
    if pa.types.is_null(source):
        return array.cast(target)
    if isinstance(source, pa.BaseExtensionType):
        raise FrameError(
            f"found the extension type {source}, expected {type_name(target)}; "
            "cast it to its storage type first"
        )
    kinds = family(source), family(target)
    if kinds[0] == "dictionary":
        return _convert(_decode(array), target)
    if kinds[1] == "dictionary":
        return _convert(array, target.value_type).dictionary_encode().cast(target)
    rule = _RULES.get(kinds)
    if rule is None:
        hint = _HINTS.get(kinds, "")
        raise FrameError(f"found {_spelled(source)}, expected {type_name(target)}{hint}")
    try:
        return rule(array, target)
    except pa.ArrowException as err:
        raise FrameError(
            f"found {_spelled(source)} that does not fit {type_name(target)} without loss: "
            f"{_line(err)}"
        ) from err


def _spelled(dtype: pa.DataType) -> str:
    try:
        return type_name(dtype)
    except SchemaError:
        return str(dtype)


def _decode(array: Any) -> Any:
    value = array.type.value_type
    if value == pa.string_view() or value == pa.binary_view():
        return array.cast(pa.dictionary(array.type.index_type, large(value))).cast(large(value))
    return array.cast(value)


def _safe(array: Any, target: pa.DataType) -> Any:
    """Casts that pyarrow checks itself."""
    return array.cast(target)


def _checked(array: Any, target: pa.DataType) -> Any:
    """Casts that are proven by casting back."""
    result = array.cast(target, safe=False)
    back = result.cast(array.type, safe=False)
    same = pc.equal(back, array)
    if family(array.type) == "float":
        same = pc.or_(same, pc.is_nan(array))
    if pc.all(same).as_py() is False:
        row = pc.index(same, pa.scalar(False)).as_py()
        raise FrameError(
            f"found {array[row].as_py()} (row {row}), which has no exact value in "
            f"{type_name(target)}"
        )
    return result


def _to_float(array: Any, target: pa.DataType) -> Any:
    source = array.type
    if family(source) == "int":
        if target == pa.float16():
            return _checked(array.cast(pa.float32()), target)
        return _safe(array, target)
    if source.bit_width < target.bit_width:
        return _safe(array, target)
    if source == pa.float64() and target == pa.float16():
        return _checked(_checked(array, pa.float32()), target)
    return _checked(array, target)


def _to_decimal(array: Any, target: pa.DataType) -> Any:
    """First to the precision in a wide type, then to the width: pyarrow checks the first step
    and would let the second one wrap."""
    if family(array.type) == "int":
        array = array.cast(pa.decimal128(20, 0))
    return array.cast(pa.decimal256(target.precision, target.scale)).cast(target)


def _decimal_to_int(array: Any, target: pa.DataType) -> Any:
    """By way of 20 digits without a fraction, which hold every integer type."""
    whole = array.cast(pa.decimal256(76, array.type.scale)).cast(pa.decimal256(76, 0))
    return _checked(whole, target)


def _timestamps(array: Any, target: pa.DataType) -> Any:
    source = array.type
    if (source.tz is None) != (target.tz is None):
        found = "without a time zone" if source.tz is None else f"in the zone {source.tz}"
        wanted = "no time zone" if target.tz is None else f"the zone {target.tz}"
        do = "set its zone" if source.tz is None else "drop its zone"
        raise FrameError(f"found timestamps {found}, expected {wanted}; {do} before writing")
    return array.cast(target)


def _timestamp_to_date(array: Any, target: pa.DataType) -> Any:
    if array.type.tz is not None:
        zone = array.type.tz
        raise FrameError(
            f"found timestamps in the zone {zone}, expected dates; drop its zone first"
        )
    return _checked(array, target)


def _date_to_timestamp(array: Any, target: pa.DataType) -> Any:
    if target.tz is not None:
        raise FrameError(f"found dates, expected {type_name(target)}; a date has no time zone")
    return array.cast(target)


def _parse(array: Any, target: pa.DataType) -> Any:
    """ISO 8601 text into times; text with an offset where, and only where, the type has a
    zone. pyarrow's parser refuses digits beyond the unit."""
    text = array.cast(pa.large_string())
    if pa.types.is_date(target):
        return text.cast(pa.date32()).cast(target)
    if pa.types.is_time(target):
        moments = pc.binary_join_element_wise(
            pa.scalar("1970-01-01T", pa.large_string()), text, pa.scalar("", pa.large_string())
        )
        return moments.cast(pa.timestamp(target.unit)).cast(target)
    return text.cast(target)


def _texts(array: Any, target: pa.DataType) -> Any:
    """Between the layouts of text, or of bytes. Small offsets end at 2 GiB a chunk."""
    if target not in (pa.string(), pa.binary()) or array.nbytes <= _TWO_GIB:
        return array.cast(target)
    chunks = array.cast(large(target))
    chunks = chunks.chunks if isinstance(chunks, pa.ChunkedArray) else [chunks]
    pieces = list(chain.from_iterable(map(_split, chunks)))
    return pa.chunked_array([piece.cast(target) for piece in pieces], target)


def _split(array: pa.Array) -> list[pa.Array]:
    size = pc.sum(pc.binary_length(array)).as_py() or 0
    if size <= _TWO_GIB or len(array) < 2:
        return [array]
    half = len(array) // 2
    return [*_split(array.slice(0, half)), *_split(array.slice(half))]


def _by_chunk(convert: Callable[[pa.Array, pa.DataType], pa.Array]) -> Callable[..., Any]:
    def rule(array: Any, target: pa.DataType) -> Any:
        if isinstance(array, pa.ChunkedArray):
            return pa.chunked_array([convert(chunk, target) for chunk in array.chunks], target)
        return convert(array, target)

    return rule


def _lists(array: pa.Array, target: pa.DataType) -> pa.Array:
    """Lists, by converting their values once: only what is not null is looked at."""
    wide = pa.types.is_large_list(target)
    offsets = _offsets(array, pa.int64() if wide else pa.int32())
    values = _convert(array.flatten(), target.value_type)
    make = pa.LargeListArray if wide else pa.ListArray
    kind = pa.large_list(target.value_type) if wide else pa.list_(target.value_type)
    mask = array.is_null() if array.null_count else None
    lists = make.from_arrays(offsets, values, type=kind, mask=mask)
    return lists if lists.type == target else lists.cast(target)


def _offsets(array: pa.Array, dtype: pa.DataType) -> pa.Array:
    lengths = pc.fill_null(pc.list_value_length(array), 0).cast(pa.int64())
    ends = np.zeros(len(array) + 1, np.int64)
    np.cumsum(lengths.to_numpy(zero_copy_only=False), out=ends[1:])
    return pa.array(ends).cast(dtype)


def _maps(array: pa.Array, target: pa.DataType) -> pa.Array:
    entries = array.cast(pa.list_(pa.struct([array.type.key_field, array.type.item_field])))
    offsets, flat = _offsets(entries, pa.int32()), entries.flatten()
    keys = _convert(flat.field(0), target.key_type)
    items = _convert(flat.field(1), target.item_type)
    mask = array.is_null() if array.null_count else None
    return pa.MapArray.from_arrays(offsets, keys, items, type=target, mask=mask)


def _structs(array: pa.Array, target: pa.DataType) -> pa.Array:
    found = [field.name for field in array.type]
    wanted = [field.name for field in target]
    if len(set(found)) != len(found) or set(found) != set(wanted):
        raise FrameError(f"found a struct of {found}, expected the fields {wanted}")
    children = dict(zip(found, array.flatten(), strict=True))
    fitted = []
    for field in target:
        try:
            fitted.append(_convert(children[field.name], field.type))
        except FrameError as err:
            raise FrameError(f"field {field.name!r}: {err}") from err
    mask = array.is_null() if array.null_count else None
    return pa.StructArray.from_arrays(fitted, fields=list(target), mask=mask)


_RULES: dict[tuple[str, str], Callable[[Any, pa.DataType], Any]] = {
    ("int", "int"): _safe,
    ("int", "float"): _to_float,
    ("int", "decimal"): _to_decimal,
    ("float", "int"): _safe,
    ("float", "float"): _to_float,
    ("decimal", "decimal"): _to_decimal,
    ("decimal", "int"): _decimal_to_int,
    ("string", "string"): _texts,
    ("string", "timestamp"): _parse,
    ("string", "date"): _parse,
    ("string", "time"): _parse,
    ("binary", "binary"): _texts,
    ("timestamp", "timestamp"): _timestamps,
    ("timestamp", "date"): _timestamp_to_date,
    ("date", "timestamp"): _date_to_timestamp,
    ("date", "date"): _safe,
    ("time", "time"): _safe,
    ("duration", "duration"): _safe,
    ("list", "list"): _by_chunk(_lists),
    ("map", "map"): _by_chunk(_maps),
    ("struct", "struct"): _by_chunk(_structs),
}
_HINTS = {
    ("int", "timestamp"): "; a number has no unit, cast it to a time first",
    ("int", "date"): "; a number has no unit, cast it to a date first",
    ("int", "bool"): "; compare it first, as in x != 0",
    ("bool", "int"): "; cast it first if 0 and 1 are meant",
    ("bool", "float"): "; cast it first if 0.0 and 1.0 are meant",
    ("string", "int"): "; parse the text first",
    ("string", "float"): "; parse the text first",
    ("binary", "string"): "; decode the bytes first",
    ("string", "binary"): "; encode the text first",
    ("float", "decimal"): "; a binary fraction has no exact decimal, round it first",
    ("decimal", "float"): "; a decimal fraction has no exact float, cast it first",
}
