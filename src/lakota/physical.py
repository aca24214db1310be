"""The physical values of keys: what a column stores of them, and what cuts are made of.

`int` for integers, temporal types (in the column's unit) and decimals (scaled), `float` (never
-0.0), `str`, `bytes`, `bool`. They come from columns, as they are, and from what users pass as
bounds, exactly or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from .arrays import as_flags, as_numpy, texts
from .errors import RangeError
from .types import family, type_name

__all__ = ["physical_value", "physical_values"]

_UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_DAY = 86_400 * 10**9


def physical_values(array: pa.Array | pa.ChunkedArray) -> list[Any]:
    """The physical values of a key column without nulls.

    >>> physical_values(pa.array([1, 2], pa.timestamp("us")))
    [1, 2]
    """
    if isinstance(array, pa.ChunkedArray):
        return [value for chunk in array.chunks for value in physical_values(chunk)]
    kind = family(array.type)
    if kind in ("string", "binary"):
        return list(array.to_pylist())
    if kind == "decimal":
        return _scaled(array)
    values = as_flags(array) if kind == "bool" else as_numpy(array)
    return list((values + 0.0 if kind == "float" else values).tolist())


def _scaled(array: pa.Array) -> list[int]:
    """Decimals as scaled integers, from their little-endian words."""
    width = array.type.bit_width // 8
    data = array.buffers()[1]
    if data is None or not len(array):
        return []
    word = np.dtype("<u4" if width == 4 else "<u8")
    each = width // word.itemsize
    words = np.frombuffer(data, word, (array.offset + len(array)) * each)[array.offset * each :]
    words = words.reshape(len(array), -1)
    high = words[:, -1].view(word.str.replace("u", "i")).astype(object)
    for i in range(words.shape[1] - 2, -1, -1):
        high = high * 2**64 + words[:, i].astype(object)
    return [int(value) for value in high]


def physical_value(dtype: pa.DataType, value: Any) -> Any:
    """The physical value of what a user passes as a bound of a key column of type `dtype`.

    Exact, or `RangeError` saying why not: a bound is never rounded.

    >>> physical_value(pa.timestamp("us"), "1970-01-01T00:00:01")
    1000000
    """
    if value is None:
        raise RangeError("None is not a key")
    convert = _PHYSICAL.get(family(dtype))
    if convert is None:
        raise RangeError(f"{type_name(dtype)} columns have no order")
    return convert(dtype, value)


def _found(value: Any) -> str:
    return f"found {type(value).__name__}"


def _is_number(value: Any) -> bool:
    """Whether `value` is a real number; bools are none."""
    kinds = int | float | np.integer | np.float64 | np.float32 | np.float16
    return isinstance(value, kinds) and not isinstance(value, bool)


def _int(dtype: pa.DataType, value: Any) -> int:
    if not _is_number(value):
        raise RangeError(f"expected an int, {_found(value)}")
    if not isinstance(value, int | np.integer) and not float(value).is_integer():
        raise RangeError("it is not a whole number")
    signed = str(dtype).startswith("int")
    bits = dtype.bit_width - signed
    if not (-(2**bits) if signed else 0) <= value < 2**bits:
        raise RangeError(f"it is outside of the range of {dtype}")
    return int(value)


def _float(dtype: pa.DataType, value: Any) -> float:
    if not _is_number(value):
        raise RangeError(f"expected a float, {_found(value)}")
    if value != value:
        raise RangeError("NaN is not a key")
    number = int(value) if isinstance(value, np.integer) else value
    try:
        with np.errstate(over="ignore"):
            stored = float(dtype.to_pandas_dtype()(float(number)))
    except OverflowError:
        stored = float("nan")
    if stored != number:
        raise RangeError(f"it has no exact value in {type_name(dtype)}")
    return stored + 0.0


def _bool(dtype: pa.DataType, value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise RangeError(f"expected a bool, {_found(value)}")
    return bool(value)


def _decimal_value(dtype: pa.DataType, value: Any) -> int:
    if not _is_number(value) and not isinstance(value, Decimal):
        raise RangeError(f"expected a Decimal or an int, {_found(value)}")
    number = value if isinstance(value, Decimal) else _to_decimal(value)
    if not number.is_finite():
        raise RangeError("it is not a number")
    if number.adjusted() + dtype.scale > 100:
        raise RangeError(f"it does not fit {dtype}")
    sign, digits, exponent = number.as_tuple()
    scaled: int = int("".join(map(str, digits)))
    shift = int(exponent) + dtype.scale
    if shift < 0:
        scaled, rest = divmod(scaled, 10 ** min(-shift, len(digits) + 1))
        if rest:
            raise RangeError(f"it has no exact value in {dtype}")
    else:
        scaled = scaled * 10 ** min(shift, 200)
    if scaled >= 10**dtype.precision:
        raise RangeError(f"it does not fit {dtype}")
    return -scaled if sign else scaled


def _to_decimal(value: Any) -> Decimal:
    return Decimal(int(value)) if isinstance(value, int | np.integer) else Decimal(float(value))


def _string(dtype: pa.DataType, value: Any) -> str:
    if not isinstance(value, str):
        raise RangeError(f"expected a str, {_found(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as err:
        raise RangeError("it is not valid Unicode (a lone surrogate)") from err
    return str(value)


def _binary(dtype: pa.DataType, value: Any) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise RangeError(f"expected bytes, {_found(value)}")
    raw = bytes(value)
    if pa.types.is_fixed_size_binary(dtype) and len(raw) != dtype.byte_width:
        raise RangeError(f"expected {dtype.byte_width} bytes, found {len(raw)}")
    return raw


def _in_unit(nanos: int, unit: int, what: str, bits: int = 63) -> int:
    count, rest = divmod(nanos, unit)
    if rest:
        raise RangeError(f"it is finer than the column's {what}")
    if not -(2**bits) <= count < 2**bits:
        raise RangeError(f"it is outside of the range of the column's {what}")
    return count


def _timestamp_value(dtype: pa.DataType, value: Any) -> int:
    if isinstance(value, str):
        return _parsed(value, dtype)
    nanos, aware = _instant(value)
    if aware and dtype.tz is None:
        raise RangeError("the column has no time zone: pass a naive time")
    if not aware and dtype.tz is not None:
        raise RangeError(
            f"the column is in {dtype.tz} and this time is naive: pass a datetime with a tzinfo, "
            "or text with an offset such as '2020-01-01T00:00Z'"
        )
    return _in_unit(nanos, _UNITS[dtype.unit], f"unit ({dtype.unit})")


def _parsed(text: str, dtype: pa.DataType) -> int:
    try:
        return int(texts([text]).cast(dtype)[0].value)
    except (pa.ArrowException, UnicodeEncodeError) as err:
        zone = " with an offset or 'Z'" if dtype.tz is not None else " without an offset"
        raise RangeError(
            f"expected an ISO 8601 time{zone} that is exact in {dtype}, "
            f"such as '2020-01-01T00:00{'Z' if dtype.tz is not None else ''}'"
        ) from err


def _instant(value: Any) -> tuple[int, bool]:
    """Nanoseconds since the epoch, and whether they are in a known zone."""
    aware = isinstance(value, datetime) and value.tzinfo is not None
    if hasattr(value, "to_datetime64"):
        value = value.to_datetime64()
    if isinstance(value, np.datetime64):
        return _ticks(value, "datetime64"), aware
    if isinstance(value, datetime):
        if aware and value.utcoffset() is None:
            raise RangeError("its tzinfo has no offset")
        epoch = datetime(1970, 1, 1, tzinfo=UTC if aware else None)
        return (value - epoch) // timedelta(microseconds=1) * 1000, aware
    if isinstance(value, date):
        return (value.toordinal() - 719_163) * _DAY, False
    hint = "; a number has no unit" if isinstance(value, int | float | np.number) else ""
    raise RangeError(
        f"expected a datetime, a date, a numpy.datetime64 or ISO 8601 text, {_found(value)}{hint}"
    )


def _ticks(value: Any, what: str) -> int:
    """Nanoseconds of a numpy.datetime64 or timedelta64, in exact integers."""
    unit, count = np.datetime_data(value.dtype)
    if np.isnat(value):
        raise RangeError("NaT is not a key")
    if unit in ("Y", "M") and what == "datetime64":
        value, unit, count = value.astype("M8[D]"), "D", 1
    nanos = {**_UNITS, "m": 60 * 10**9, "h": 3600 * 10**9, "D": _DAY, "W": 7 * _DAY}.get(unit)
    if nanos is None:
        raise RangeError(f"a {what} in unit {unit!r} is not supported; use s, ms, us or ns")
    return int(value.astype(np.int64)) * count * nanos


def _date_value(dtype: pa.DataType, value: Any) -> int:
    if isinstance(value, str):
        nanos, aware = _parsed(value, pa.timestamp("us")) * 1000, False
    else:
        nanos, aware = _instant(value)
    if aware:
        raise RangeError("the column has no time zone: pass a date")
    days = _in_unit(nanos, _DAY, "unit (a day)", 31)
    return days if dtype == pa.date32() else days * 86_400_000


def _time_value(dtype: pa.DataType, value: Any) -> int:
    if isinstance(value, str) and re.match(r"\d\d:", value):
        nanos = _parsed(f"1970-01-01T{value}", pa.timestamp("ns"))
    elif isinstance(value, time) and value.tzinfo is None:
        seconds = (value.hour * 60 + value.minute) * 60 + value.second
        nanos = (seconds * 10**6 + value.microsecond) * 1000
    else:
        raise RangeError(f"expected a naive time or text such as '12:30', {_found(value)}")
    return _in_unit(nanos, _UNITS[dtype.unit], f"unit ({dtype.unit})")


def _duration_value(dtype: pa.DataType, value: Any) -> int:
    if hasattr(value, "to_timedelta64"):
        value = value.to_timedelta64()
    if isinstance(value, np.timedelta64):
        nanos = _ticks(value, "timedelta64")
    elif isinstance(value, timedelta):
        nanos = value // timedelta(microseconds=1) * 1000
    else:
        raise RangeError(f"expected a timedelta or a numpy.timedelta64, {_found(value)}")
    return _in_unit(nanos, _UNITS[dtype.unit], f"unit ({dtype.unit})")


_PHYSICAL: dict[str, Callable[[pa.DataType, Any], Any]] = {
    "int": _int,
    "float": _float,
    "bool": _bool,
    "decimal": _decimal_value,
    "string": _string,
    "binary": _binary,
    "timestamp": _timestamp_value,
    "date": _date_value,
    "time": _time_value,
    "duration": _duration_value,
}
