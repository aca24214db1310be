"""What a Polars predicate says about keys and labels: which intervals can hold rows of it. Pure.

`reach` reads the tree of a predicate and returns bounds that no row of it lies outside of. They
may be wider than the predicate, which is applied afterwards in any case: an expression that is
not understood has no bounds. Understood are comparisons, `is_between` and `is_in` of the first
index column and of the label column with constants, `starts_with` of the label, and `&` and `|`
of such. The tree is Polars' own JSON, which other versions may write differently: what does not
look as expected is not understood.

Constants are evaluated by Polars itself. A bound on a column of whole numbers (integers, times,
decimals) is a fraction in units of the column, so what Polars shows in another unit than it is
stored in, or as a wider type, loses nothing.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.types as pat

from .interval import EVERYTHING, HIGH, LOW, Interval, after, before
from .types import family

__all__ = ["ALL", "Reach", "reach"]

MOST_INTERVALS = 64
"""Of more than these, their hull is read."""


@dataclass(frozen=True, slots=True)
class Reach:
    """The keys and labels that a predicate can be true of."""

    intervals: tuple[Interval, ...] = (EVERYTHING,)
    """Sorted, apart from each other."""
    labels: frozenset[str] | None = None
    """None for all."""
    prefix: str = ""
    """What labels begin with."""

    def __and__(self, other: Reach) -> Reach:
        met = [a.meet(b) for a in self.intervals for b in other.intervals]
        prefix = max(self.prefix, other.prefix, key=len)
        return Reach(_united(met), _common(self.labels, other.labels), prefix)

    def __or__(self, other: Reach) -> Reach:
        known = self.labels is not None and other.labels is not None
        labels = frozenset((*(self.labels or ()), *(other.labels or ()))) if known else None
        prefix = self.prefix if self.prefix == other.prefix else ""
        return Reach(_united((*self.intervals, *other.intervals)), labels, prefix)

    def takes(self, label: str) -> bool:
        """Whether there may be rows of a label."""
        return label.startswith(self.prefix) and (self.labels is None or label in self.labels)


ALL, NOTHING = Reach(), Reach(())


def _common(first: frozenset[str] | None, second: frozenset[str] | None) -> frozenset[str] | None:
    if first is None or second is None:
        return second if first is None else first
    return first & second


def _united(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    found: list[Interval] = []
    for interval in sorted(filter(None, intervals)):
        if found and interval.lo <= found[-1].hi:
            found[-1] = Interval(found[-1].lo, max(found[-1].hi, interval.hi))
        else:
            found.append(interval)
    if len(found) > MOST_INTERVALS:
        return (Interval(found[0].lo, found[-1].hi),)
    return tuple(found)


def reach(predicate: pl.Expr | None, key: pa.Field, label: str | None = None) -> Reach:
    """The bounds that `predicate` sets to the first index column `key` and to column `label`.

    >>> found = reach(pl.col("n").is_between(3, 5), pa.field("n", pa.int64()))
    >>> found.intervals == (Interval(before([pa.int64()], (3,)), after([pa.int64()], (5,))),)
    True
    """
    if predicate is None:
        return ALL
    try:
        tree = json.loads(predicate.meta.serialize(format="json"))
    except (pl.exceptions.PolarsError, ValueError):  # it calls Python, or is nested too deep
        return ALL
    return _Walk(key, label).walk(tree)


@dataclass(frozen=True, slots=True)
class _Walk:
    key: pa.Field
    label: str | None

    def walk(self, node: Any) -> Reach:
        match node:
            case {"Literal": {"Scalar": {"Boolean": False} | {"Null": _}}}:
                return NOTHING
            case {"BinaryExpr": {"left": left, "op": "And" | "LogicalAnd", "right": right}}:
                return self.walk(left) & self.walk(right)
            case {"BinaryExpr": {"left": left, "op": "Or" | "LogicalOr", "right": right}}:
                return self.walk(left) | self.walk(right)
            case {"BinaryExpr": {"left": left, "op": str(op), "right": right}}:
                if op not in _MIRRORED:
                    return ALL
                if _constant(left):
                    return self.compare(right, _MIRRORED[op], left)
                return self.compare(left, op.removesuffix("Validity"), right)
            case {"Function": {"input": [column, *others], "function": {"Boolean": what}}}:
                return self.call(column, what, others)
            case {
                "Function": {
                    "input": [{"Column": name}, prefix],
                    "function": {"StringExpr": "StartsWith"},
                }
            }:
                text = _values(prefix)
                if name == self.label and text is not None and _texts(text):
                    return Reach(prefix=text[0])
        return ALL

    def call(self, column: Any, what: Any, others: Sequence[Any]) -> Reach:
        match what, others:
            case {"IsBetween": {"closed": closed}}, [low, high] if closed in _ENDS:
                over, under = _ENDS[closed]
                return self.compare(column, over, low) & self.compare(column, under, high)
            case {"IsIn": _}, [values]:
                return self.compare(column, "Eq", values)
        return ALL

    def compare(self, column: Any, op: str, constant: Any) -> Reach:
        """`column op constant`, of several constants any."""
        name, cast = _column(column)
        values = _values(constant) if name in (self.key.name, self.label) else None
        if values is None:
            return ALL
        if not len(values):
            return NOTHING
        if name == self.label:
            known = op == "Eq" and cast is None and _texts(values)
            return Reach(labels=frozenset(values)) if known else ALL
        bounds = _bounds(self.key.type, cast, op, values)
        return ALL if bounds is None else Reach(_united(bounds))


_MIRRORED = {"Eq": "Eq", "EqValidity": "Eq", "Lt": "Gt", "LtEq": "GtEq", "Gt": "Lt", "GtEq": "LtEq"}
_ENDS = {
    "Both": ("GtEq", "LtEq"),
    "Left": ("GtEq", "Lt"),
    "Right": ("Gt", "LtEq"),
    "None": ("Gt", "Lt"),
}


def _column(node: Any) -> tuple[str | None, Any]:
    """The column that is compared, and as what it is cast before."""
    match node:
        case {"Column": str(name)}:
            return name, None
        case {"Cast": {"expr": {"Column": str(name)}, "dtype": {"Literal": cast}}}:
            return name, cast
    return None, None


# ---- Constants


def _constant(node: Any) -> bool:
    """Whether a tree is made of literals alone, by functions that give the same at any time."""
    match node:
        case {"Literal": _}:
            return True
        case {"Cast": {"expr": inner}}:
            return _constant(inner)
        case {"Function": {"input": inputs, "function": {"StringExpr": _}}}:
            return all(map(_constant, inputs))
        case {"BinaryExpr": {"left": left, "right": right}}:
            return _constant(left) and _constant(right)
    return False


def _values(node: Any) -> pl.Series | None:
    """The values of a constant but for nulls, of which no comparison is true of keys and labels;
    None if it is no constant."""
    if not _constant(node):
        return None
    try:
        found = pl.select(pl.Expr.deserialize(io.StringIO(json.dumps(node)), format="json"))
    except (pl.exceptions.PolarsError, ValueError):
        return None
    values = found.to_series()
    if isinstance(values.dtype, pl.List):
        values = values.explode()
    return values.drop_nulls()


def _texts(values: pl.Series) -> bool:
    return values.dtype == pl.String and len(values) > 0


# ---- Bounds on keys


def _bounds(dtype: pa.DataType, cast: Any, op: str, values: pl.Series) -> list[Interval] | None:
    """The intervals of the keys of a column of `dtype`; None if they are not known."""
    kind = family(dtype)
    if kind in ("int", "timestamp", "date", "time", "duration", "decimal"):
        fractions = _fractions(dtype, kind, cast, values)
        return None if fractions is None else [_whole(dtype, op, value) for value in fractions]
    same = {"string": pl.String, "binary": pl.Binary, "bool": pl.Boolean}.get(kind)
    if kind == "float":
        fits = values.dtype.is_float() and cast in (None, "Float64") and not values.is_nan().any()
    else:
        fits = values.dtype == same and cast is None
    if fits and pat.is_fixed_size_binary(dtype):
        fits = all(len(value) == dtype.byte_width for value in values)
    return [_span(dtype, op, value) for value in values] if fits else None


def _span(dtype: pa.DataType, op: str, value: Any) -> Interval:
    """The keys that compare so with one that the column can have."""
    lo, hi = before([dtype], (value,)), after([dtype], (value,))
    return {
        "Eq": Interval(lo, hi),
        "Lt": Interval(LOW, lo),
        "LtEq": Interval(LOW, hi),
        "Gt": Interval(hi, HIGH),
        "GtEq": Interval(lo, HIGH),
    }[op]


def _whole(dtype: pa.DataType, op: str, value: Fraction) -> Interval:
    """The whole numbers that compare so with `value`, which need not be one."""
    least, most = _limits(dtype)
    lo = {"Gt": math.floor(value) + 1, "GtEq": math.ceil(value), "Eq": math.ceil(value)}
    hi = {"Lt": math.ceil(value) - 1, "LtEq": math.floor(value), "Eq": math.floor(value)}
    start, stop = max(lo.get(op, least), least), min(hi.get(op, most), most)
    if start > stop:
        return Interval(HIGH, LOW)
    return Interval(before([dtype], (start,)), after([dtype], (stop,)))


def _limits(dtype: pa.DataType) -> tuple[int, int]:
    """The least and the greatest number that a cut can have."""
    if pat.is_uint64(dtype):
        return 0, (1 << 64) - 1
    bits = 256 if pat.is_decimal256(dtype) else 128 if pat.is_decimal(dtype) else 64
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def _fractions(
    dtype: pa.DataType, kind: str, cast: Any, values: pl.Series
) -> list[Fraction] | None:
    """Constants in units of a column of whole numbers."""
    found = values.dtype
    if kind == "int":
        exact = cast in (None, "Int64", "Int128") and found.is_integer()
        # A column as floats: compared below 2**53 only, where none is rounded.
        rounded = cast == "Float64" and found.is_float() and (values.abs() < 2**53).all()
        return [Fraction(value) for value in values] if exact or rounded else None
    if kind == "decimal":
        if not isinstance(found, pl.Decimal) or cast is not None:
            return None
        return [Fraction(value) * 10**dtype.scale for value in values]
    unit = _UNITS.get(getattr(dtype, "unit", "D" if pat.is_date32(dtype) else "ms"))
    shown = _nanoseconds(kind, found)
    # Dates compared with times are cast to times; in nanoseconds they may not fit.
    midnight = cast in ({"Datetime": ["Microseconds", None]}, {"Datetime": ["Milliseconds", None]})
    if unit is None or shown is None or not (cast is None or (kind == "date" and midnight)):
        return None
    return [Fraction(value * shown, unit) for value in values.to_physical()]


_UNITS = {"D": 86_400 * 10**9, "s": 10**9, "ms": 10**6, "us": 1000, "ns": 1}


def _nanoseconds(kind: str, found: pl.DataType) -> int | None:
    """The unit of a constant that a column of that kind is compared with."""
    if kind == "time":
        return 1 if found == pl.Time else None
    if kind == "duration":
        return _UNITS[found.time_unit] if isinstance(found, pl.Duration) else None
    if found == pl.Date:
        return _UNITS["D"] if kind == "date" else None
    return _UNITS[found.time_unit] if isinstance(found, pl.Datetime) else None
