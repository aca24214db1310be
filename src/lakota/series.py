"""A series: one table of a collection, sorted by its index. Reads and writes of its rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from .cast import to_table
from .changelog import Changelog, Revision
from .errors import LabelError, RangeError
from .interval import EVERYTHING, Cut, Interval, between, encode_rows, parse_closed
from .ledger import Ledger
from .manifest import Manifest
from .overlay import Slice, plan, rows
from .schema import Schema
from .transaction import Write
from .types import physical_values

__all__ = ["PAGE_ROWS", "Series", "check_label", "interval_of", "key_cuts"]

PAGE_ROWS = 65_536
"""Rows of a frame of `paginate`, unless said otherwise."""
LABEL_BYTES = 4096


class Series:
    """Rows under one label of a collection. Made by `collection.series(label)` or
    `collection / label`; it need not exist yet.

    Reads are half-open by default: `start` is in, `stop` is not. A bound is a value of the first
    index column, or a tuple of values of the first few; None is no bound, 0 and "" are bounds.

    >>> from lakota import Repo, Schema
    >>> clct = Repo().create_collection(Schema(day="date*", value="int"), "readings")
    >>> series = clct / "Brussels"
    >>> revisions = series.write({"day": ["2020-01-01", "2020-01-02"], "value": [3, 4]})
    >>> series.df("2020-01-02")["value"].to_list()
    [4]
    """

    def __init__(self, label: str, ledger: Ledger) -> None:
        self.label = check_label(label)
        self._ledger = ledger

    @property
    def schema(self) -> Schema:
        """The schema of the collection."""
        return self._ledger.site.schema

    @property
    def changelog(self) -> Changelog:
        """The changelog of the collection."""
        return self._ledger.site.changelog

    def __repr__(self) -> str:
        return f"<Series {self.label!r}>"

    # ---- Writes

    def write(
        self,
        frame: Any,
        start: Any = None,
        stop: Any = None,
        *,
        closed: str = "both",
        author: str | None = None,
        message: str = "",
    ) -> list[Revision]:
        """Replace what is between `start` and `stop` by the rows of `frame`.

        `frame`: anything with `__arrow_c_stream__` (Polars, pyarrow, pandas, DuckDB), a LazyFrame,
        a record batch reader, or a dict of columns. It is cast to the schema without loss, and
        sorted if it is not. Equal keys are allowed and keep their order.

        `start`, `stop`: by default the first and the last key of the frame, both included. A
        frame without rows needs both and deletes what is between them; without them it does
        nothing.

        Returns the new revisions (several if heads had diverged); inside `multi()` none, they
        come with the block. Raises `FrameError` or `RangeError` and changes nothing.
        """
        table = to_table(frame, self.schema)
        interval = interval_of(self.schema, start, stop, closed)
        if table.num_rows == 0:
            if start is None and stop is None:
                return []
            if start is None or stop is None:
                raise RangeError(
                    f"a frame without rows and only one bound ({start!r}, {stop!r}): expected "
                    "both start and stop, to delete what is between them"
                )
        else:
            interval = self._fit(table, interval, start is None, stop is None)
        if not interval:
            return []
        write = Write(self.label, interval, table, 0, table.num_rows)
        return self._ledger.write([write], author, message)

    def delete(
        self,
        start: Any = None,
        stop: Any = None,
        *,
        closed: str = "both",
        author: str | None = None,
        message: str = "",
    ) -> list[Revision]:
        """Delete the rows between `start` and `stop`; by default all. Both ends are included
        unless `closed` says otherwise. Past revisions keep them."""
        interval = interval_of(self.schema, start, stop, closed)
        if not interval:
            return []
        nothing = self.schema.arrow.empty_table()
        return self._ledger.write([Write(self.label, interval, nothing, 0, 0)], author, message)

    def _fit(self, table: pa.Table, wanted: Interval, no_start: bool, no_stop: bool) -> Interval:
        """The interval of a write whose rows must be inside it."""
        los, his = key_cuts(table, self.schema, [0], [table.num_rows - 1])
        last = Cut(his[0][:-1] + b"\x01")  # just before the last key
        lo, hi = wanted
        outside = None
        if not no_start and los[0] < lo:
            outside = "before start"
        if not no_stop and last >= hi:
            outside = "after stop"
        if outside:
            first_key, last_key = (
                {n: table.column(n)[i].as_py() for n in self.schema.index}
                for i in (0, table.num_rows - 1)
            )
            raise RangeError(
                f"the frame has rows {outside}: its keys go from {first_key} to {last_key}; "
                "expected all of them between start and stop (see closed=)"
            )
        return Interval(los[0] if no_start else lo, his[0] if no_stop else hi)

    # ---- Reads

    def frame(
        self,
        start: Any = None,
        stop: Any = None,
        *,
        closed: str = "left",
        limit: int | None = None,
        offset: int | None = None,
        select: str | Sequence[str] | None = None,
        as_of: Any = None,
        before: Any = None,
    ) -> pa.Table:
        """The rows between `start` and `stop` as a `pyarrow.Table`, without copying plain data.

        `limit`, `offset`: at most so many rows, after so many. `select`: only these columns.
        `as_of`: as it was known at a time, or in a revision; `before`: before it. Times without a
        zone are UTC. While heads have diverged, reads see the newest head, and with `as_of` or
        `before` a time all that was written until then.

        >>> from lakota import Repo, Schema
        >>> series = Repo().create_collection(Schema(n="int*", x="float"), "c") / "s"
        >>> first = series.write({"n": [1, 2, 3], "x": [0.5, None, 1.5]})
        >>> second = series.delete(2)
        >>> series.frame(as_of=first[0])["x"].to_pylist()
        [0.5, None, 1.5]
        """
        interval = interval_of(self.schema, start, stop, closed)
        names = self.schema.check_select(select)
        first, last = _check_window(limit, offset)

        def act(manifest: Manifest) -> pa.Table:
            found = self._window(self._plan(manifest, interval), first, last)
            return self._rows(found, names)

        return self._ledger.read(as_of, before, act)

    def arrow(self, start: Any = None, stop: Any = None, **options: Any) -> pa.Table:
        """The same as `frame`."""
        return self.frame(start, stop, **options)

    def df(self, start: Any = None, stop: Any = None, **options: Any) -> pl.DataFrame:
        """As `frame`, as a `polars.DataFrame`."""
        table = self.frame(start, stop, **options)
        return pl.DataFrame(pl.from_arrow(table, rechunk=False))

    def tail(
        self,
        length: int = 10,
        start: Any = None,
        stop: Any = None,
        *,
        closed: str = "left",
        limit: int | None = None,
        offset: int | None = None,
        select: str | Sequence[str] | None = None,
        as_of: Any = None,
        before: Any = None,
    ) -> pa.Table:
        """The last `length` rows between `start` and `stop`; of these, `limit` and `offset`."""
        interval = interval_of(self.schema, start, stop, closed)
        names = self.schema.check_select(select)
        first, last = _check_window(limit, offset)
        length = _check_count("length", length)

        def act(manifest: Manifest) -> pa.Table:
            slices = self._plan(manifest, interval)
            skip = max(sum(map(len, slices)) - length, 0)
            slices = self._window(self._window(slices, skip, None), first, last)
            return self._rows(slices, names)

        return self._ledger.read(as_of, before, act)

    def paginate(
        self,
        step: int = PAGE_ROWS,
        start: Any = None,
        stop: Any = None,
        *,
        closed: str = "left",
        limit: int | None = None,
        offset: int | None = None,
        select: str | Sequence[str] | None = None,
        as_of: Any = None,
        before: Any = None,
    ) -> Iterator[pa.Table]:
        """The rows of `frame`, at most `step` at a time, all of one state of the series."""
        interval = interval_of(self.schema, start, stop, closed)
        names = self.schema.check_select(select)
        first, last = _check_window(limit, offset)
        step = _check_count("step", step)
        if step == 0:
            raise RangeError("step=0: expected at least 1 row")

        def act(manifest: Manifest) -> list[Slice]:
            return self._window(self._plan(manifest, interval), first, last)

        slices = self._ledger.read(as_of, before, act)
        return self._pages(slices, step, names)

    def _pages(
        self, slices: Sequence[Slice], step: int, names: Sequence[str]
    ) -> Iterator[pa.Table]:
        for at in range(0, sum(map(len, slices)), step):
            yield self._rows(self._window(slices, at, at + step), names)

    def count(
        self,
        start: Any = None,
        stop: Any = None,
        *,
        closed: str = "left",
        as_of: Any = None,
        before: Any = None,
    ) -> int:
        """How many rows there are between `start` and `stop`."""
        interval = interval_of(self.schema, start, stop, closed)
        return self._ledger.read(
            as_of, before, lambda manifest: sum(map(len, self._plan(manifest, interval)))
        )

    def __len__(self) -> int:
        return self.count()

    def __bool__(self) -> bool:
        """Whether it has rows."""
        return self.count() > 0

    def __getitem__(self, span: slice) -> pl.DataFrame:
        """`series["2020-01-01":"2020-02-01"]`: the rows from the one key to before the other."""
        if not isinstance(span, slice) or span.step is not None:
            raise RangeError(f"series[{span!r}]: expected a slice of keys, series[start:stop]")
        return self.df(span.start, span.stop)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The rows as an Arrow C stream: `pl.DataFrame(series)`, `pa.table(series)`, DuckDB."""
        return self.frame().__arrow_c_stream__(requested_schema)

    def slices(self, manifest: Manifest) -> list[Slice]:
        """Where the rows are in a state."""
        return self._plan(manifest, EVERYTHING)

    def _plan(self, manifest: Manifest, interval: Interval) -> list[Slice]:
        site = self._ledger.site
        if not interval:
            return []
        extents = manifest.select(self.label, interval)
        return plan(extents, interval, site.index, site.objects.segment)

    def _rows(self, slices: Sequence[Slice], names: Sequence[str]) -> pa.Table:
        site = self._ledger.site
        schema = pa.schema([site.schema.arrow.field(name) for name in names])
        return rows(slices, schema, site.objects.segment)

    @staticmethod
    def _window(slices: Sequence[Slice], first: int, last: int | None) -> list[Slice]:
        """Rows `first` to `last` of the slices."""
        found: list[Slice] = []
        at = 0
        for part in slices:
            start = max(part.start, part.start + first - at)
            stop = part.stop if last is None else min(part.stop, part.start + last - at)
            if start < stop:
                found.append(Slice(part.segment, start, stop))
            at += len(part)
        return found


def check_label(label: object) -> str:
    """A label is any string that is not blank, at most 4,096 bytes of UTF-8. It is kept exactly."""
    if not isinstance(label, str):
        raise LabelError(f"label {label!r} is a {type(label).__name__}: expected a str")
    try:
        size = len(label.encode())
    except UnicodeEncodeError:
        raise LabelError(f"label {label!r} is not valid Unicode: it has lone surrogates") from None
    if not label.strip() or size > LABEL_BYTES:
        raise LabelError(
            f"label {label[:40]!r} of {size} bytes: expected 1 to {LABEL_BYTES} bytes, not blank"
        )
    return label


def interval_of(schema: Schema, start: Any, stop: Any, closed: str) -> Interval:
    """The cuts for bounds as a user gives them. Raises `RangeError`."""
    types = [schema[name].type for name in schema.index]
    return between(
        types,
        None if start is None else schema.key(start, what="start"),
        None if stop is None else schema.key(stop, what="stop"),
        parse_closed(closed),
    )


def key_cuts(
    table: pa.Table, schema: Schema, firsts: Sequence[int], lasts: Sequence[int]
) -> tuple[list[Cut], list[Cut]]:
    """The cuts before the keys of rows `firsts` and after those of rows `lasts`."""
    types = [schema[name].type for name in schema.index]

    def components(wanted: Sequence[int]) -> list[bytes]:
        taken = pa.array(wanted, pa.int64())
        keys = [physical_values(table.column(name).take(taken)) for name in schema.index]
        return encode_rows(types, keys)

    los = [Cut(key + b"\x01") for key in components(firsts)]
    return los, [Cut(key + b"\x03") for key in components(lasts)]


def _check_count(what: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise RangeError(f"{what}={value!r}: expected a number of rows, 0 or more")
    return int(value)


def _check_window(limit: int | None, offset: int | None) -> tuple[int, int | None]:
    """First row, and the row after the last one."""
    first = 0 if offset is None else _check_count("offset", offset)
    return first, None if limit is None else first + _check_count("limit", limit)
