"""A series: one table of a collection, sorted by its index. Reads and writes of its rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from .cast import has_duplicates, to_table
from .changelog import Changelog, Revision
from .errors import FrameError, LabelError, RangeError
from .extent import ERASE, UPSERT
from .interval import EVERYTHING, Cut, Interval, between, encode_rows, parse_closed
from .ledger import Ledger
from .manifest import Manifest
from .schema import Schema
from .transaction import Write
from .types import physical_values
from .view import View

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

    def upsert(self, frame: Any, *, author: str | None = None, message: str = "") -> list[Revision]:
        """Insert rows, or replace those that have the same keys; nothing between them changes.

        A frame without some of the value columns changes cells: the columns that it carries, of
        the keys that it names; a key that is new gets null in the others. Concurrent upserts of
        different columns of one row both survive a merge; of one cell the last wins. Keys must
        differ: raises `FrameError` if two rows have the same.

        >>> from lakota import Repo, Schema
        >>> series = Repo().create_collection(Schema(n="int*", x="float", y="float"), "c") / "s"
        >>> revisions = series.write({"n": [1, 2], "x": [0.0, 0.0], "y": [1.0, 1.0]})
        >>> revisions = series.upsert({"n": [2, 3], "y": [5.0, 6.0]})
        >>> series.df().rows()
        [(1, 0.0, 1.0), (2, 0.0, 5.0), (3, None, 6.0)]
        """
        return self._ledger.write(self._upserts(frame), author, message)

    def update(self, frame: Any, *, author: str | None = None, message: str = "") -> list[Revision]:
        """The original's name of `upsert`. There, keys that the series has not were an error and
        gaps were filled with zeros; here they are inserted, with nulls."""
        return self.upsert(frame, author=author, message=message)

    def delete_keys(
        self, keys: Any, *, author: str | None = None, message: str = ""
    ) -> list[Revision]:
        """Delete the rows of these keys: a frame of the index columns, or a list of values of the
        only one. Keys that there are not are passed over, here and on every replica.

        >>> from lakota import Repo, Schema
        >>> series = Repo().create_collection(Schema(n="int*", x="float"), "c") / "s"
        >>> revisions = series.write({"n": [1, 2, 3], "x": [0.0, 0.5, 1.0]})
        >>> revisions = series.delete_keys([1, 3])
        >>> series.df().rows()
        [(2, 0.5)]
        """
        index = self.schema.index
        if isinstance(keys, (list, tuple, np.ndarray, pa.Array, pl.Series)):
            if len(index) > 1:
                raise FrameError(
                    f"delete_keys of a list, but keys have the columns {', '.join(index)}: "
                    "expected a frame with these"
                )
            keys = {index[0]: keys}
        table = to_table(keys, self.schema, partial=True).select(list(index))
        return self._ledger.write(self._layer(table, ERASE, None), author, message)

    def _upserts(self, frame: Any) -> list[Write]:
        table = to_table(frame, self.schema, partial=True)
        carried = tuple(name for name in self.schema.values if name in table.column_names)
        complete = len(carried) == len(self.schema.values)
        return self._layer(table, UPSERT, None if complete else carried)

    def _layer(self, table: pa.Table, kind: int, columns: tuple[str, ...] | None) -> list[Write]:
        if table.num_rows == 0:
            return []
        if has_duplicates(table, self.schema.index):
            raise FrameError(
                f"two rows have the same key ({', '.join(self.schema.index)}): expected different "
                "keys in an upsert; write() takes equal keys"
            )
        (lo,), (hi,) = key_cuts(table, self.schema, [0], [table.num_rows - 1])
        write = Write(self.label, Interval(lo, hi), table, 0, table.num_rows, kind, columns)
        return [write]

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

    def explain(
        self,
        start: Any = None,
        stop: Any = None,
        *,
        closed: str = "left",
        select: str | Sequence[str] | None = None,
        as_of: Any = None,
        before: Any = None,
    ) -> str:
        """How `frame` reads: which rows of which segments, and what is laid over them."""
        interval = interval_of(self.schema, start, stop, closed)
        names = self.schema.check_select(select)
        return self._ledger.read(
            as_of, before, lambda manifest: self.view(manifest, interval).explain(names)
        )

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
            return self.view(manifest, interval).table(names, first, last)

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
            return self.view(manifest, interval).tail(names, length, first, last)

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

        def act(manifest: Manifest) -> Iterator[pa.Table]:
            return self.view(manifest, interval).pages(names, step, first, last)

        return self._ledger.read(as_of, before, act)

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
            as_of, before, lambda manifest: self.view(manifest, interval).count()
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

    def view(self, manifest: Manifest, interval: Interval = EVERYTHING) -> View:
        """The series in a state."""
        return View(self._ledger.site, manifest, self.label, interval)


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
