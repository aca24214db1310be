"""Small plots in a terminal: each column of numbers over the first column that has an order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from shutil import get_terminal_size
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from ..errors import InputError

__all__ = ["draw"]

HEIGHT = 12
"""Lines of a plot; each has four dots."""
DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
"""The bits of the dots of a Braille character."""
BLANK = 0x2800

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


def draw(frame: pl.DataFrame, width: int | None = None) -> str:
    """A plot of each column of numbers, under its name.

    >>> print(draw(pl.DataFrame({"n": [0, 9], "x": [0.5, 2.5]}), width=14).splitlines()[-1])
         0        9
    """
    width = width or min(get_terminal_size((80, 24)).columns, 100)
    axis, values = _columns(frame)
    if frame.height == 0:
        return "no rows to plot"
    x = _numbers(axis)
    return "\n".join(line for column in values for line in _one(axis, x, column, width))


def _columns(frame: pl.DataFrame) -> tuple[pl.Series, list[pl.Series]]:
    ordered = [c for c in frame.iter_columns() if c.dtype.is_temporal() or c.dtype.is_numeric()]
    values = [c for c in ordered[1:] if c.dtype.is_numeric()]
    if not values:
        raise InputError("--plot: expected a time or a number, and beside it numbers to draw")
    return ordered[0], values


def _numbers(column: pl.Series) -> Floats:
    return column.to_physical().cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _one(axis: pl.Series, x: Floats, column: pl.Series, width: int) -> Iterator[str]:
    y = _numbers(column)
    drawn = np.isfinite(x) & np.isfinite(y)
    yield column.name
    if not drawn.any():
        yield "  no numbers"
        return
    lo, hi = float(y[drawn].min()), float(y[drawn].max())
    names = [_short(value) for value in (hi, (lo + hi) / 2, lo)]
    margin = max(map(len, names))
    columns = max(width - margin - 2, 10)
    order = np.argsort(x[drawn], kind="stable")
    dots = _dots(x[drawn][order], y[drawn][order], columns * 2, HEIGHT * 4)
    lines = _braille(*dots, columns)
    marks = {0: names[0], HEIGHT // 2: names[1], HEIGHT - 1: names[2]}
    for i, line in enumerate(lines):
        yield f"{marks.get(i, ''):>{margin}} {'┤' if i in marks else '│'}{line}".rstrip(
            f"{chr(BLANK)} "
        )
    first, last = (_moment(v) for v in _ends(axis, drawn))
    yield f"{'':{margin}} └{'─' * columns}"
    gap = max(columns - len(first) - len(last), 1)
    yield f"{'':{margin}}  {first}{' ' * gap}{last}".rstrip()


def _dots(x: Floats, y: Floats, width: int, height: int) -> tuple[Places, Places]:
    """The dots of all points and of the lines between them: a dot in each column."""
    across, up = _scaled(x, width), _scaled(y, height)
    between = np.arange(across[0], across[-1] + 1)
    line = np.asarray(np.rint(np.interp(between, across, up)), np.int64)
    return np.concatenate((across, between)), np.concatenate((up, line))


def _scaled(values: Floats, size: int) -> Places:
    """Values as places from 0 to size - 1."""
    lo, hi = values.min(), values.max()
    if hi == lo:
        return np.full(len(values), size // 2)
    places = (values / 2 - lo / 2) / (hi / 2 - lo / 2) * (size - 1)
    return np.asarray(np.rint(places), np.int64)


def _braille(x: Places, y: Places, columns: int) -> list[str]:
    cells = np.zeros((HEIGHT, columns), np.int64)
    down = HEIGHT * 4 - 1 - y
    np.bitwise_or.at(cells, (down // 4, x // 2), DOTS[down % 4, x % 2])
    return ["".join(map(chr, line)) for line in (cells + BLANK).tolist()]


def _ends(axis: pl.Series, drawn: npt.NDArray[np.bool_]) -> Sequence[Any]:
    shown = axis.filter(pl.Series(drawn))
    return shown.min(), shown.max()


def _short(value: float) -> str:
    return f"{value:.4g}"


def _moment(value: Any) -> str:
    if isinstance(value, datetime):
        midnight = not (value.hour or value.minute or value.second or value.microsecond)
        return value.strftime("%Y-%m-%d" if midnight else "%Y-%m-%d %H:%M")
    if isinstance(value, date):
        return value.isoformat()
    return _short(value) if isinstance(value, float) else str(value)
