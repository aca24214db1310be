"""Between Arrow, numpy and Python, by the buffers.

`pyarrow.array` and `Array.to_numpy` import pandas, where it is installed, to see whether one of its
objects is meant: a third of a second for the first write of a process.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.types as pat

__all__ = ["as_array", "as_flags", "as_numpy", "flags", "integers", "numbers", "repeated", "texts"]


def integers(values: Sequence[int] | np.ndarray[Any, Any]) -> pa.Array:
    """Whole numbers, as int64.

    >>> integers([1, 2]).to_pylist(), integers([]).type
    ([1, 2], DataType(int64))
    """
    return as_array(np.ascontiguousarray(values, np.int64))


def as_array(values: np.ndarray[Any, Any]) -> pa.Array:
    """One dimension of numbers of 8 to 64 bits, or of times without NaT, without a copy if they
    lie side by side. Not of days, of which Arrow's have half the bits.

    >>> as_array(np.array([1.5, 2.0])).type
    DataType(double)
    """
    dtype = pa.from_numpy_dtype(values.dtype)
    if dtype.bit_width != 8 * values.itemsize:
        raise TypeError(f"values of {values.dtype} do not have the bits of {dtype}")
    data = pa.py_buffer(np.ascontiguousarray(values).view(np.uint8))
    return pa.Array.from_buffers(dtype, len(values), [None, data])


def flags(values: np.ndarray[Any, Any]) -> pa.Array:
    """Booleans.

    >>> flags(np.array([True, False])).to_pylist()
    [True, False]
    """
    data = np.packbits(np.ascontiguousarray(values, np.bool_), bitorder="little")
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(data)])


def texts(values: Iterable[str | None]) -> pa.Array:
    """Texts and nulls.

    >>> texts(["a", None]).to_pylist()
    ['a', None]
    """
    builder = pa.lib.StringBuilder()
    builder.append_values(list(values))
    return builder.finish()


def repeated(values: Sequence[str], counts: Sequence[int]) -> pa.Array:
    """Texts, each so many times, as views: however often, a text is there once.

    >>> repeated(["a", "b"], [2, 1]).to_pylist()
    ['a', 'a', 'b']
    """
    found = texts(values).cast(pa.string_view())
    _, views, *data = found.buffers()
    every = np.frombuffer(views or b"", "V16", len(found)).repeat(counts)
    views = pa.py_buffer(every.view(np.uint8))
    return pa.Array.from_buffers(pa.string_view(), len(every), [None, views, *data])


def as_numpy(column: pa.Array) -> np.ndarray[Any, Any]:
    """A column of numbers or times without nulls as numpy, without a copy; times as whole numbers.

    >>> as_numpy(pa.array([1, 2, 3], pa.date32())[1:])
    array([2, 3], dtype=int32)
    """
    found = numbers(column)
    if found is None:
        raise TypeError(f"a column of {column.type} has no numbers")
    return found


def numbers(column: pa.Array) -> np.ndarray[Any, Any] | None:
    """As `as_numpy`, whatever the slots of nulls hold; None for other types."""
    dtype = column.type
    kind = _KINDS.get(dtype.id, "")
    if kind == "":
        kind = _KINDS[dtype.id] = _kind(dtype)
    if kind is None:
        return None
    data = column.buffers()[1]
    rows, offset = len(column), column.offset
    if data is None or not rows:
        return np.empty(0, kind)
    # A buffer may be longer than what it is for, by any number of bytes.
    found = np.frombuffer(data, kind, offset + rows)
    return found[offset:] if offset else found


_KINDS: dict[int, str | None] = {}
"""What numpy calls the numbers of a type, by its id, which unlike a type is found at once."""


def _kind(dtype: pa.DataType) -> str | None:
    if pat.is_floating(dtype):
        return f"f{dtype.bit_width // 8}"
    if pat.is_unsigned_integer(dtype):
        return f"u{dtype.bit_width // 8}"
    if pat.is_integer(dtype) or pat.is_temporal(dtype):
        return f"i{dtype.bit_width // 8}"
    return None


def as_flags(column: pa.BooleanArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Booleans without nulls as numpy.

    >>> as_flags(pa.array([True, False, True])[1:])
    array([False,  True])
    """
    stop = column.offset + len(column)
    bits = np.frombuffer(column.buffers()[1] or b"", np.uint8)
    return np.unpackbits(bits, count=stop, bitorder="little")[column.offset :].view(np.bool_)
