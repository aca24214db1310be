"""What `read` gives: rows as they are, page by page, or what SQL makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import polars as pl
import pyarrow as pa

from ..collection import Collection
from ..errors import InputError
from ..frames import check_polars, to_polars
from ..reading import PAGE_ROWS
from ..series import KVSeries, Series
from . import formats
from .plot import draw
from .progress import Tell, bar
from .query import one_line, refine
from .shell import Shell

__all__ = ["Wanted", "emit", "explain", "items", "plot", "show"]

AS_THEY_ARE = {"parquet", "arrow", "arrows"}
"""The formats that take every type of Arrow."""
MOST = (1 << 32) - 1
"""Rows that a frame of Polars can have."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the options of `read` ask for."""

    start: Any = None
    stop: Any = None
    closed: str = "left"
    limit: int | None = None
    offset: int | None = None
    tail: int | None = None
    page: int | None = None
    columns: Sequence[str] = ()
    """Names or SQL expressions."""
    where: Sequence[str] = ()
    group_by: Sequence[str] = ()
    order_by: Sequence[str] = ()
    series: str | None = None
    as_of: Any = None
    before: Any = None
    merged: bool = False
    provenance: bool = False

    @property
    def state(self) -> dict[str, Any]:
        """What chooses the state."""
        return {"as_of": self.as_of, "before": self.before, "merged": self.merged}

    @property
    def range(self) -> dict[str, Any]:
        """What chooses rows by key."""
        return {"start": self.start, "stop": self.stop, "closed": self.closed}

    def is_query(self, known: Sequence[str]) -> bool:
        """Whether it takes SQL."""
        names = all(name in known for name in self.columns)
        return bool(self.where or self.group_by or self.order_by) or not names


Target = Collection | Series | KVSeries


def show(
    target: Target, wanted: Wanted, shell: Shell, format: str | None, output: str | None
) -> None:
    """Print what is wanted, or write it to a file."""
    format = _format(shell, format, output)
    if format not in AS_THEY_ARE:
        check_polars(target.schema, target.schema.names)
    schema, tables = _tables(target, wanted)
    if format == "table" and wanted.page:
        for table in tables:
            formats.write([table], schema, format, output)
    elif output is None:
        formats.write(tables, schema, format, output)
    else:
        with bar(shell, "read") as tell:
            formats.write(_told(tables, tell), schema, format, output)


def _told(tables: Iterable[pa.Table], tell: Tell) -> Iterator[pa.Table]:
    """Tables, of which it is told how many rows are done."""
    rows = 0
    for table in tables:
        tell(rows, None, "rows")
        yield table
        rows += table.num_rows


def emit(frame: pl.DataFrame, shell: Shell, format: str | None, output: str | None) -> None:
    """Print a frame, or write it to a file."""
    formats.put(frame, _format(shell, format, output), output)


def _format(shell: Shell, format: str | None, output: str | None) -> str:
    found = format or (formats.format_of(output) if output else None)
    if found:
        return formats.known(found)
    return "csv" if shell.form == "plain" or (output and shell.form == "table") else shell.form


def _tables(target: Target, wanted: Wanted) -> tuple[pa.Schema, Iterator[pa.Table]]:
    """What is wanted, and its columns."""
    if wanted.series and not isinstance(target, Collection):
        raise InputError("--series chooses series of a collection; this is one already")
    if isinstance(target, Collection) or wanted.is_query(target.schema.names):
        table = _query(target, wanted).to_arrow(compat_level=pl.CompatLevel.oldest())
        step = min(wanted.page or MOST, max(table.num_rows, 1))
        return table.schema, (table.slice(at, step) for at in range(0, table.num_rows, step))
    names = list(wanted.columns) or None
    rest = {"select": names, "limit": wanted.limit, "offset": wanted.offset, **wanted.state}
    if wanted.tail is not None:
        table = target.tail(wanted.tail, **wanted.range, **rest, provenance=wanted.provenance)
    elif wanted.provenance:
        table = target.frame(**wanted.range, **rest, provenance=True)
    else:
        pages = target.paginate(wanted.page or PAGE_ROWS, **wanted.range, **rest)
        return _named(target, names), pages
    return table.schema, iter([table])


def _named(target: Series | KVSeries, names: Sequence[str] | None) -> pa.Schema:
    schema = target.schema.arrow.remove_metadata()
    fields = [schema.field(name) for name in target.schema.check_select(names)]
    return pa.schema(field.remove_metadata() for field in fields)


def _query(target: Target, wanted: Wanted) -> pl.DataFrame:
    """The rows in memory, after SQL."""
    frame = _rows(target, wanted)
    index = target.schema.index[0]
    options = {"where": wanted.where, "group_by": wanted.group_by, "order_by": wanted.order_by}
    frame = refine(frame, index, wanted.columns, **options)
    if wanted.tail is not None:
        frame = frame.tail(min(wanted.tail, MOST))
    limit = None if wanted.limit is None else min(wanted.limit, MOST)
    with one_line():
        return frame.slice(min(wanted.offset or 0, MOST), limit).collect()


def _rows(target: Target, wanted: Wanted) -> pl.LazyFrame:
    """The rows before SQL."""
    bounded = wanted.start is not None or wanted.stop is not None
    if isinstance(target, Collection):
        if bounded:
            return _one_by_one(target, wanted)
        state = {**wanted.state, "provenance": wanted.provenance}
        return target.scan(wanted.series, label=_label(target), **state)
    if bounded:
        return target.df(**wanted.range, **wanted.state, provenance=wanted.provenance).lazy()
    return target.scan(**wanted.state, provenance=wanted.provenance)


def _one_by_one(clct: Collection, wanted: Wanted) -> pl.LazyFrame:
    """The rows of many series between two keys."""
    from fnmatch import fnmatchcase

    found = []
    for name in clct.ls(**wanted.state):
        if wanted.series is None or fnmatchcase(name, wanted.series):
            series = clct / name
            rows = series.df(**wanted.range, **wanted.state, provenance=wanted.provenance)
            found.append(rows.select(pl.lit(name).alias(_label(clct)), pl.all()))
    if not found:
        return clct.scan([], label=_label(clct))
    return pl.concat(found).lazy()


def _label(clct: Collection) -> str:
    """The name of the column of labels."""
    names = ("label", "series", "_label")
    return next((name for name in names if name not in clct.schema), "__label")


def items(text: str) -> Iterator[str]:
    """What stands between the commas of a list in SQL, but for those in parentheses and quotes.

    >>> list(items("1mo, label, f(a, b), 'x,y'"))
    ['1mo', 'label', 'f(a, b)', "'x,y'"]
    """
    depth, quote, item = 0, "", ""
    for char in chain(text, ","):
        if char == "," and not depth and not quote:
            if item.strip():
                yield item.strip()
            item = ""
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        else:
            depth += (char == "(") - (char == ")")
        item += char
    if item.strip():
        yield item.strip().removesuffix(",")


def explain(target: Target, wanted: Wanted) -> str:
    """How it would be read."""
    if isinstance(target, Collection) or wanted.is_query(target.schema.names):
        index = target.schema.index[0]
        options = {"where": wanted.where, "group_by": wanted.group_by, "order_by": wanted.order_by}
        with one_line():
            return refine(_rows(target, wanted), index, wanted.columns, **options).explain()
    names = list(wanted.columns) or None
    past = {"as_of": wanted.as_of, "before": wanted.before}
    return target.explain(**wanted.range, select=names, **past)


def plot(target: Target, wanted: Wanted, shell: Shell) -> None:
    """Draw the numbers of what is wanted over its first column."""
    index, names = target.schema.index[0], target.schema.names
    if wanted.columns and not wanted.is_query(names) and index not in wanted.columns:
        wanted = replace(wanted, columns=(index, *wanted.columns))
    schema, tables = _tables(target, wanted)
    frame = to_polars(pa.concat_tables([schema.empty_table(), *tables]))
    if shell.json:
        emit(frame, shell, "json", None)
    else:
        print(draw(frame))
