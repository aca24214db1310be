"""Cuts and intervals: positions between keys. Below the facade there is no `closed`.

A *cut* is `(key, before)` or `(key, after)`, where the key may be a prefix of the index
columns, written as bytes whose order is the order of the cuts. So cuts of any type compare,
sort and hash as plain bytes, in Python, in Arrow and on disk:

```
cut       = component* end           end: 0x01 before, 0x03 after
component = 0x02 body
body      = integers, dates, times   8 bytes, big endian, of value + 2**63 (uint64: of value)
            decimals                 16 bytes (decimal256: 32), big endian, unscaled + 2**(8n-1)
            floats                   8 bytes of the float64; sign bit flipped if it was 0, else
                                     all bits flipped; -0.0 is written as 0.0
            bool                     1 byte, 0 or 1
            strings, binaries        the bytes, 0x00 written as 0x00 0xFF, then 0x00
            fixed_size_binary        the bytes
```

A shorter prefix is before or after everything that it begins, because 0x01 < 0x02 < 0x03. The
cuts of the empty prefix, `LOW` and `HIGH`, are the unbounded ends.

A component's value is *physical*: int for integers, temporal types (in the column's unit) and
decimals (unscaled), else float, str, bytes or bool.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple, NewType

import numpy as np
import pyarrow as pa
import pyarrow.types as pat

from .errors import RangeError

__all__ = [
    "EVERYTHING",
    "HIGH",
    "LOW",
    "Closed",
    "Cut",
    "Interval",
    "after",
    "before",
    "between",
    "encode_rows",
    "parse_closed",
    "parse_cut",
]

Cut = NewType("Cut", bytes)
Closed = Literal["both", "left", "right", "none"]
Codec = tuple[Callable[[Any], bytes], Callable[[bytes, int], tuple[Any, int]]]

LOW = Cut(b"\x01")
HIGH = Cut(b"\x03")
_BEFORE, _VALUE, _AFTER = b"\x01", b"\x02", b"\x03"
_BIAS = 1 << 63
_U64 = struct.Struct(">Q")
_F64 = struct.Struct(">d")
_FEW = 16
"""Values that are encoded one by one: numpy is quicker with more."""


class Interval(NamedTuple):
    """The keys between two cuts; empty if `lo >= hi`."""

    lo: Cut
    hi: Cut

    def __bool__(self) -> bool:
        return self.lo < self.hi

    def meet(self, other: Interval) -> Interval:
        """The keys in both."""
        return Interval(max(self.lo, other.lo), min(self.hi, other.hi))


EVERYTHING = Interval(LOW, HIGH)


def before(types: Sequence[pa.DataType], key: Sequence[Any]) -> Cut:
    """The cut just before `key`, a tuple of physical values, maybe a prefix.

    >>> before([pa.int64()], (3,)) < after([pa.int64()], (3,)) < before([pa.int64()], (4,))
    True
    """
    return Cut(_components(types, key) + _BEFORE)


def after(types: Sequence[pa.DataType], key: Sequence[Any]) -> Cut:
    """The cut just after `key` and everything that begins with it."""
    return Cut(_components(types, key) + _AFTER)


def between(
    types: Sequence[pa.DataType],
    start: Sequence[Any] | None,
    stop: Sequence[Any] | None,
    closed: Closed,
) -> Interval:
    """The interval from `start` to `stop` (physical keys; None is unbounded)."""
    with_start, with_stop = closed in ("both", "left"), closed in ("both", "right")
    lo = LOW if start is None else (before if with_start else after)(types, start)
    hi = HIGH if stop is None else (after if with_stop else before)(types, stop)
    return Interval(lo, hi)


_CLOSED: dict[str, Closed] = {
    **{name: "both" for name in ("both", "b")},
    **{name: "left" for name in ("left", "l")},
    **{name: "right" for name in ("right", "r")},
    **{name: "none" for name in ("none", "n")},
}


def parse_closed(closed: str) -> Closed:
    """One of both, left, right, none from that word or its first letter, in any case.

    >>> parse_closed("B"), parse_closed("Left")
    ('both', 'left')
    """
    found = _CLOSED.get(closed.lower()) if isinstance(closed, str) else None
    if found is None:
        raise RangeError(
            f"closed={closed!r}: expected 'both', 'left', 'right' or 'none' (or b, l, r, n)"
        )
    return found


def encode_rows(types: Sequence[pa.DataType], columns: Sequence[Sequence[Any]]) -> list[bytes]:
    """The components of many keys at once, without their ends: append b"\\x01" or b"\\x03".
    `columns` holds the physical values of each key column."""
    encoded = [_encode_all(*pair) for pair in zip(types, columns, strict=True)]
    if len(encoded) == 1:
        return encoded[0]
    return [b"".join(parts) for parts in zip(*encoded, strict=True)]


def _encode_all(dtype: pa.DataType, values: Sequence[Any]) -> list[bytes]:
    if len(values) > _FEW and (pat.is_signed_integer(dtype) or pat.is_temporal(dtype)):
        biased = np.array(values, np.int64).view(np.uint64) ^ np.uint64(_BIAS)
        text = biased.astype(">u8").tobytes()
        return [_VALUE + text[at : at + 8] for at in range(0, len(text), 8)]
    encode, _ = _codec(dtype)
    return [_VALUE + encode(value) for value in values]


def parse_cut(types: Sequence[pa.DataType], cut: Cut) -> tuple[tuple[Any, ...], bool]:
    """The physical key of a cut and whether the cut lies after it.

    >>> parse_cut([pa.string()], after([pa.string()], ("a",)))
    (('a',), True)
    """
    values = []
    at, types_left = 0, iter(types)
    while cut[at] == _VALUE[0]:
        _, decode = _codec(next(types_left))
        value, at = decode(cut, at + 1)
        values.append(value)
    return tuple(values), cut[at:] == _AFTER


def _components(types: Sequence[pa.DataType], key: Iterable[Any]) -> bytes:
    return b"".join(
        _VALUE + _codec(dtype)[0](value) for dtype, value in zip(types, key, strict=False)
    )


def _make_codec(dtype: pa.DataType) -> Codec:
    if pat.is_uint64(dtype):
        return _U64.pack, lambda cut, at: (_U64.unpack_from(cut, at)[0], at + 8)
    if pat.is_integer(dtype) or pat.is_temporal(dtype):
        return (
            lambda value: _U64.pack(value + _BIAS),
            lambda cut, at: (_U64.unpack_from(cut, at)[0] - _BIAS, at + 8),
        )
    if pat.is_decimal(dtype):
        return _decimal_codec(32 if pat.is_decimal256(dtype) else 16)
    if pat.is_floating(dtype):
        return _encode_float, lambda cut, at: (_decode_float(cut[at : at + 8]), at + 8)
    if pat.is_boolean(dtype):
        return lambda value: bytes([value]), lambda cut, at: (bool(cut[at]), at + 1)
    if pat.is_fixed_size_binary(dtype):
        width = dtype.byte_width
        return bytes, lambda cut, at: (bytes(cut[at : at + width]), at + width)
    if pat.is_string(dtype) or pat.is_large_string(dtype) or pat.is_string_view(dtype):
        return lambda value: _escape(value.encode()), _decode_string
    return _escape, _unescape


_CODECS: dict[int, Codec] = {}
"""By the ids of types, which unlike types are found at once."""


def _codec(dtype: pa.DataType) -> Codec:
    found = _CODECS.get(dtype.id)
    if found is None:
        found = _make_codec(dtype)
        if not pat.is_fixed_size_binary(dtype):  # only these differ otherwise than by their id
            _CODECS[dtype.id] = found
    return found


def _decimal_codec(width: int) -> Codec:
    bias = 1 << (8 * width - 1)
    return (
        lambda value: (value + bias).to_bytes(width, "big"),
        lambda cut, at: (int.from_bytes(cut[at : at + width], "big") - bias, at + width),
    )


def _encode_float(value: float) -> bytes:
    (bits,) = _U64.unpack(_F64.pack(value + 0.0))
    return _U64.pack(bits ^ (_BIAS if bits < _BIAS else (1 << 64) - 1))


def _decode_float(body: bytes) -> float:
    (bits,) = _U64.unpack(body)
    value: float = _F64.unpack(_U64.pack(bits ^ (_BIAS if bits >= _BIAS else (1 << 64) - 1)))[0]
    return value


def _escape(value: bytes) -> bytes:
    return value.replace(b"\x00", b"\x00\xff") + b"\x00"


def _unescape(cut: bytes, at: int) -> tuple[bytes, int]:
    end = cut.index(b"\x00", at)
    while cut[end + 1 : end + 2] == b"\xff":
        end = cut.index(b"\x00", end + 2)
    return cut[at:end].replace(b"\x00\xff", b"\x00"), end + 1


def _decode_string(cut: bytes, at: int) -> tuple[str, int]:
    value, at = _unescape(cut, at)
    return value.decode(), at
