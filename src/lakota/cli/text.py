"""Frames as text and back, without loss: what CSV and JSON have in common.

```
timestamp  2020-01-31T12:30:00.5, with the zone's offset if the column has a zone
time       12:30:00.5
duration   an integer: how many of the column's unit
binary     hexadecimal
decimal    its digits
float      shortest digits; NaN, inf and -inf by name
nested     in JSON only
```

No row is visited in Python. What a column's type cannot hold is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import polars as pl

from ..errors import FrameError, InputError
from ..frames import to_polars
from ..schema import Schema
from ..types import in_polars, type_name

__all__ = ["from_text", "inferred", "json_lines", "to_text"]

DATES = ("%Y-%m-%d", "%Y/%m/%d", "%Y%m%d")
TIMES = ("%H:%M:%S%.f", "%H:%M")
STAMPS = tuple(f"{date}{sep}{time}" for date in DATES[:2] for sep in "T " for time in TIMES)
TRUE, FALSE = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")


def to_text(frame: pl.DataFrame, *, nested: bool) -> pl.DataFrame:
    """`frame` with the columns that CSV and JSON do not know as text or integers. Raises
    `InputError` for nested columns unless `nested`."""
    return frame.select(_shown(frame[name], nested) for name in frame.columns)


def _shown(column: pl.Series, nested: bool) -> pl.Series:
    kind = column.dtype
    if kind.is_nested():
        if not nested or not _plain(column):
            other = "ndjson, parquet or arrow" if not nested else "parquet or arrow"
            raise InputError(
                f"column {column.name!r} is {kind}, which this format cannot hold: use {other}"
            )
        return column
    if isinstance(kind, pl.Datetime):
        return column.dt.strftime("%Y-%m-%dT%H:%M:%S%.f" + ("%:z" if kind.time_zone else ""))
    if isinstance(kind, pl.Time):
        return column.dt.strftime("%H:%M:%S%.f")
    if isinstance(kind, pl.Duration):
        return column.to_physical()
    if isinstance(kind, pl.Binary):
        return column.bin.encode("hex")
    if isinstance(kind, pl.Decimal | pl.Categorical | pl.Enum):
        return column.cast(pl.String)
    return column


def _plain(column: pl.Series) -> bool:
    """Whether a nested column has only what JSON knows: no NaN, no times."""
    kind = column.dtype
    if isinstance(kind, pl.List | pl.Array):
        return _plain(column.explode())
    if isinstance(kind, pl.Struct):
        return all(map(_plain, column.struct.unnest().iter_columns()))
    if kind.is_float():
        return not _odd(column)
    return kind.is_integer() or isinstance(kind, pl.String | pl.Boolean | pl.Null)


def _odd(column: pl.Series) -> bool:
    """Whether it has NaN or infinity, which JSON does not know."""
    return column.dtype.is_float() and not bool(column.is_finite().all())


def json_lines(frame: pl.DataFrame) -> str:
    """A JSON object for each row, a line each. NaN and infinities are text."""
    shown = to_text(frame, nested=True)
    if not any(map(_odd, shown.iter_columns())):
        return shown.write_ndjson()
    cells = [_cell(column) for column in shown.iter_columns()]
    lines = shown.select(pl.concat_str([pl.lit("{"), _joined(cells), pl.lit("}\n")]))
    return "".join(lines.to_series())


def _cell(column: pl.Series) -> pl.Expr:
    """`"name":value` of each row."""
    own = pl.struct(pl.col(column.name)).struct.json_encode().str.strip_prefix("{")
    cell = own.str.strip_suffix("}")
    if not column.dtype.is_float():
        return cell
    value = pl.col(column.name)
    title = pl.select(pl.struct(pl.lit(0).alias(column.name)).struct.json_encode()).item()[1:-2]
    named = pl.concat_str([pl.lit(title + '"'), value.cast(pl.String), pl.lit('"')])
    return pl.when(value.is_finite() | value.is_null()).then(cell).otherwise(named)


def _joined(cells: Sequence[pl.Expr]) -> pl.Expr:
    return pl.concat_str(cells, separator=",")


# ---- From text


def from_text(frame: pl.DataFrame, schema: Schema, formats: Sequence[str] = ()) -> pl.DataFrame:
    """The columns of text of `frame` as the types that they have in `schema`; others stay as they
    are. `formats`: how dates and times are written, as strftime knows it, beside the usual ways.
    Raises `FrameError`."""
    known = [f for f in schema.arrow if f.name in frame.columns and in_polars(f.type)]
    kinds = to_polars(schema.arrow.empty_table().select([f.name for f in known])).schema
    columns = []
    for column in frame.iter_columns():
        kind = kinds.get(column.name)
        if kind is not None and column.dtype == pl.String:
            column = _parsed(column, kind, type_name(schema[column.name].type), formats)
        columns.append(column)
    return pl.DataFrame(columns)


def inferred(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame`, with columns of text that are all dates or all times as such.

    >>> inferred(pl.DataFrame({"day": ["2014-7-1", "2014-7-12"]}))["day"].dtype
    Date
    """
    return frame.with_columns(map(_dated, frame.select(pl.selectors.string()).iter_columns()))


def _dated(column: pl.Series) -> pl.Series:
    for kind in (pl.Date(), pl.Datetime("us")):
        found = _values(column, kind, ())
        if column.is_not_null().any() and found.is_null().equals(column.is_null()):
            return found
    return column


def _parsed(
    column: pl.Series, kind: pl.DataType, expected: str, formats: Sequence[str]
) -> pl.Series:
    if isinstance(kind, pl.String | pl.Categorical | pl.Enum):
        return column
    text = column.str.strip_chars()
    if not isinstance(kind, pl.Binary):
        text = text.set(text == "", None)
    try:
        found = _values(text, kind, formats)
    except pl.exceptions.PolarsError as error:
        said = str(error).split("\n")[0]
        raise FrameError(f"column {column.name!r}: expected {expected}: {said}") from error
    lost = (found.is_null() & text.is_not_null()).arg_true()
    if len(lost):
        raise FrameError(
            f"column {column.name!r}: found {text[int(lost[0])]!r} in row {lost[0]}, expected "
            + expected
            + (" (--date-format says how it is written)" if kind.is_temporal() else "")
        )
    return found


def _values(text: pl.Series, kind: pl.DataType, formats: Sequence[str]) -> pl.Series:
    """The values; null where a text is none."""
    if isinstance(kind, pl.Date):
        return _first(text.str.to_date(form, strict=False) for form in (*formats, *DATES))
    if isinstance(kind, pl.Datetime):
        return _stamps(text, kind, formats)
    if isinstance(kind, pl.Time):
        return _first(text.str.to_time(form, strict=False) for form in (*formats, *TIMES))
    if isinstance(kind, pl.Duration):
        return text.cast(pl.Int64, strict=False).cast(kind)
    if isinstance(kind, pl.Binary):
        return text.str.decode("hex", strict=False)
    if isinstance(kind, pl.Boolean):
        low = text.str.to_lowercase()
        return _first(
            [low.is_in(TRUE).replace(False, None), ~low.is_in(FALSE).replace(False, None)]
        )
    if isinstance(kind, pl.Decimal):
        digits = text.str.extract(r"\.(\d*)$").str.len_bytes().max()
        return text.str.to_decimal(scale=max(int(str(digits or 0)), kind.scale))
    return text.cast(kind, strict=False)


def _stamps(text: pl.Series, kind: pl.Datetime, formats: Sequence[str]) -> pl.Series:
    # As fine as the text: what the column cannot hold is refused later, not cut off here.
    unit: Literal["us", "ns"] = "ns" if text.str.contains(r"\.\d{7}").any() else "us"
    zone = kind.time_zone
    if zone is not None:
        offset = [f"{form}%#z" for form in STAMPS]
        found = _first(
            text.str.to_datetime(form, time_unit=unit, time_zone="UTC", strict=False)
            for form in (*formats, *offset)
        )
        return found.dt.convert_time_zone(zone)
    days = (text.str.to_date(form, strict=False).cast(pl.Datetime(unit)) for form in DATES)
    times = (
        text.str.to_datetime(form, time_unit=unit, strict=False) for form in (*formats, *STAMPS)
    )
    return _first([*times, *days])


def _first(tries: Iterable[pl.Series]) -> pl.Series:
    """Of each row the first that is not null; stops trying once all are found."""
    found: pl.Series | None = None
    for attempt in tries:
        found = attempt if found is None else found.zip_with(found.is_not_null(), attempt)
        if not found.has_nulls():
            break
    if found is None:
        raise FrameError("no format to read dates by")
    return found
