"""SQL over series and collections, as Polars understands it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import polars as pl

from ..errors import InputError, NotFoundError

__all__ = ["execute", "names_in", "one_line", "refine"]

WINDOW = re.compile(r"(?:\d+(?:ns|us|ms|s|m|h|d|w|mo|q|y|i))+")
_QUOTED = re.compile(r'"((?:[^"]|"")+)"')


def refine(
    frame: pl.LazyFrame,
    index: str,
    columns: Sequence[str] = (),
    where: Sequence[str] = (),
    group_by: Sequence[str] = (),
    order_by: Sequence[str] = (),
) -> pl.LazyFrame:
    """The rows of `frame` that the conditions `where` hold of; of these the `columns`, which are
    names or SQL expressions; grouped. An item of `group_by` is a name, an expression, or a window
    of time such as `1mo`, by which `index` is cut. Raises `InputError`.

    >>> frame = pl.LazyFrame({"n": [1, 2, 3], "x": [1.0, 5.0, 3.0]})
    >>> refine(frame, "n", ["max(x) as most"], group_by=["2i"], where=["x > 1"]).collect().rows()
    [(2, 5.0)]
    """
    names = frame.collect_schema().names()
    if where:
        conditions = " and ".join(f"({text})" for text in where)
        frame = _select(frame, f"select * from self where {conditions}")
    windows = [item for item in group_by if WINDOW.fullmatch(item) and item not in names]
    if len(windows) > 1:
        raise InputError(f"--group-by: found {len(windows)} windows, expected at most one")
    for every in windows:
        frame = frame.with_columns(_cut(frame, index, every))
    groups = [_quoted(index if item in windows else item, names) for item in group_by]
    wanted = [_quoted(item, names) for item in columns]
    if not wanted and groups:
        raise InputError("--group-by: expected columns to compute, such as 'max(value)'")
    if not wanted and not order_by:
        return frame
    query = f"select {', '.join([*groups, *wanted] or ['*'])} from self"
    if groups:
        query += f" group by {', '.join(groups)}"
    if groups or order_by:
        query += f" order by {', '.join(order_by or groups)}"
    return _select(frame, query)


def _cut(frame: pl.LazyFrame, index: str, every: str) -> pl.Expr:
    kind = frame.collect_schema()[index]
    column = pl.col(index)
    if kind.is_integer() and re.fullmatch(r"[1-9]\d*i", every):
        return column // int(every[:-1]) * int(every[:-1])
    if not kind.is_temporal() or every.endswith("i"):
        raise InputError(f"--group-by {every}: column {index!r} is {kind}, which it does not cut")
    return column.dt.truncate(every)


def _quoted(item: str, names: Sequence[str]) -> str:
    return '"' + item.replace('"', '""') + '"' if item in names else item


def _select(frame: pl.LazyFrame, query: str) -> pl.LazyFrame:
    with one_line():
        return pl.SQLContext(frames={"self": frame}).execute(query, eager=False)


def execute(query: str, table: Callable[[str], pl.LazyFrame], known: Sequence[str]) -> pl.DataFrame:
    """Run a query. `table` makes the frame of a name; `known` are the names of the collections,
    and any name in double quotes may be that of a series. Raises `InputError`, `NotFoundError`."""
    frames = {name: table(name) for name in known if name in query}
    for name in names_in(query):
        if name not in frames and "/" in name:
            frames[name] = table(name)
    with one_line():
        return pl.SQLContext(frames=frames).execute(query, eager=False).collect()


def names_in(query: str) -> Iterator[str]:
    """What stands between double quotes.

    >>> list(names_in('select "a b" from "c/d"'))
    ['a b', 'c/d']
    """
    return (found.replace('""', '"') for found in _QUOTED.findall(query))


@contextmanager
def one_line() -> Iterator[None]:
    """Errors of Polars as ours, without its plans."""
    try:
        yield
    except pl.exceptions.ColumnNotFoundError as error:
        raise NotFoundError(_first_line(error)) from error
    except pl.exceptions.PolarsError as error:
        raise InputError(_first_line(error)) from error


def _first_line(error: Exception) -> str:
    return f"in the query: {str(error).strip().splitlines()[0]}"
