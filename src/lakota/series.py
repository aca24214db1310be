"""A series: one table of a collection, sorted by its index. Writes; reads are in `reading`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from .bounds import interval_of, key_cuts
from .cast import to_table
from .changelog import Revision
from .errors import FrameError, RangeError
from .extent import ERASE, UPSERT
from .interval import Cut, Interval
from .look import one_look_first
from .order import has_duplicates
from .reading import Readable
from .schema import Schema
from .sink import Sink, frames_of
from .writes import Write

__all__ = ["KVSeries", "Series"]


class _Writable(Readable):
    """Writes by key."""

    @one_look_first
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

    @one_look_first
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
        table = to_table(keys, self.schema, partial=True, keep=self._ledger.waits)
        table = table.select(list(index))
        return self._ledger.write(self._layer(table, ERASE, None), author, message)

    def _upserts(self, frame: Any) -> list[Write]:
        table = to_table(frame, self.schema, partial=True, keep=self._ledger.waits)
        carried = tuple(name for name in self.schema.values if name in table.column_names)
        complete = len(carried) == len(self.schema.values)
        return self._layer(table, UPSERT, None if complete else carried)

    def _layer(self, table: pa.Table, kind: int, columns: tuple[str, ...] | None) -> list[Write]:
        if table.num_rows == 0:
            return []
        if has_duplicates(table, self.schema.index):
            raise self._twins()
        (lo,), (hi,) = key_cuts(table, self.schema, [0], [table.num_rows - 1])
        write = Write(self.label, Interval(lo, hi), table, 0, table.num_rows, kind, columns)
        return [write]

    def _twins(self) -> FrameError:
        return FrameError(
            f"two rows have the same key ({', '.join(self.schema.index)}): expected different keys "
            "in an upsert; equal keys are for Series.write"
        )


class Series(_Writable):
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

    @one_look_first
    def write(
        self,
        frame: Any,
        start: Any = None,
        stop: Any = None,
        *,
        closed: str = "both",
        only_changes: bool = False,
        author: str | None = None,
        message: str = "",
    ) -> list[Revision]:
        """Replace what is between `start` and `stop` by the rows of `frame`.

        `frame`: anything with `__arrow_c_stream__` (Polars, pyarrow, pandas, DuckDB), a LazyFrame,
        a record batch reader, or a dict of columns. It is cast to the schema without loss, and
        sorted if it is not. Equal keys are allowed and keep their order. A reader is stored as it
        is read (see `sink`); but if it is not in key order, or with `only_changes`, it is taken
        into memory.

        `start`, `stop`: by default the first and the last key of the frame, both included. A
        frame without rows needs both and deletes what is between them; without them it does
        nothing.

        `only_changes`: write only the rows that differ from what is there, and delete those that
        are no longer there; if none differ, there is no revision. Reads see the same as after a
        plain write. Rows that are not written do not win over writes of others that this repo
        does not know yet. But a series that grows and lies in many pieces takes rows of the frame
        along that do not differ, now and then: this protects no corrections made elsewhere.

        Returns the new revisions (several if heads had diverged); inside `multi()` none, they
        come with the block. Raises `FrameError` or `RangeError` and changes nothing.
        """
        if isinstance(frame, pa.RecordBatchReader) and not only_changes:
            return self._pour(frame, start, stop, closed, author, message, in_order=False)
        schema = self.schema
        table = to_table(frame, schema, keep=self._ledger.waits)
        interval = interval_of(schema, start, stop, closed)
        if table.num_rows == 0:
            if start is None and stop is None:
                return []
            if start is None or stop is None:
                raise RangeError(
                    f"a frame without rows and only one bound ({start!r}, {stop!r}): expected "
                    "both start and stop, to delete what is between them"
                )
        else:
            interval = _fit(schema, table, interval, start is None, stop is None)
        if not interval:
            return []
        write = Write(self.label, interval, table, 0, table.num_rows, only_changes=only_changes)
        return self._ledger.write([write], author, message)

    def sink(
        self,
        source: Any,
        start: Any = None,
        stop: Any = None,
        *,
        closed: str = "both",
        author: str | None = None,
        message: str = "",
    ) -> list[Revision]:
        """As `write`, from a source that may be larger than memory: one commit, at the end.

        `source`: a LazyFrame, a record batch reader, a dataset, or an iterable of frames, such as
        a generator. Its frames come in key order, each cast and sorted as by `write`. Raises
        `FrameError`, naming the row, where one begins before the end of the one before; then, and
        if the source itself raises, nothing was changed. `gc` with a grace shorter than the write
        takes makes it fail.

        >>> from lakota import Repo, Schema
        >>> series = Repo().create_collection(Schema(n="int*", x="float"), "c") / "s"
        >>> days = ({"n": [2 * i, 2 * i + 1], "x": [0.0, 1.0]} for i in range(1000))
        >>> revisions = series.sink(days)
        >>> len(revisions), len(series)
        (1, 2000)
        """
        return self._pour(frames_of(source), start, stop, closed, author, message, in_order=True)

    def _pour(
        self,
        source: Iterable[Any],
        start: Any,
        stop: Any,
        closed: str,
        author: str | None,
        message: str,
        *,
        in_order: bool,
    ) -> list[Revision]:
        """Write frame after frame. If they are not in order, refuse them or write all at once."""
        frames = (to_table(frame, self.schema, keep=True) for frame in source)
        wanted = interval_of(self.schema, start, stop, closed)
        interval: Interval | None = None
        with Sink(self._ledger.site, self.label) as sink:
            for table in frames:
                if table.num_rows == 0:
                    continue
                if not (in_order or sink.follows(table)):
                    whole = pa.concat_tables([*sink.tables(), table, *frames])
                    return self.write(
                        whole, start, stop, closed=closed, author=author, message=message
                    )
                fit = _fit(self.schema, table, wanted, start is None, stop is None)
                sink.add(table)
                interval = Interval(fit.lo if interval is None else interval.lo, fit.hi)
            if interval is not None:
                return self._ledger.write([sink.write(interval)], author, message)
        nothing = pa.Table.from_batches([], self.schema.arrow)
        return self.write(nothing, start, stop, closed=closed, author=author, message=message)

    @one_look_first
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
        nothing = pa.Table.from_batches([], self.schema.arrow)
        return self._ledger.write([Write(self.label, interval, nothing, 0, 0)], author, message)


class KVSeries(_Writable):
    """A series of a `Schema.kv` collection: a table by key, where a write changes only the keys
    that it names. Reads are as in `Series`.

    >>> from lakota import Repo, Schema
    >>> clct = Repo().create_collection(Schema.kv(name="str*", city="str"), "sensors")
    >>> sensors = clct / "all"
    >>> revisions = sensors.write({"name": ["a", "b"], "city": ["Brussels", "Liège"]})
    >>> revisions = sensors.write({"name": ["b"], "city": ["Ghent"]})
    >>> revisions = sensors.delete("a")
    >>> sensors.df().rows()
    [('b', 'Ghent')]
    """

    @one_look_first
    def write(
        self,
        frame: Any,
        *,
        only_changes: bool = False,
        author: str | None = None,
        message: str = "",
    ) -> list[Revision]:
        """The same as `upsert`; with `only_changes` of those rows only that differ from what is
        there."""
        writes = [w._replace(only_changes=only_changes) for w in self._upserts(frame)]
        return self._ledger.write(writes, author, message)

    def sink(self, source: Any, *, author: str | None = None, message: str = "") -> list[Revision]:
        """As `write`, from a source that may be larger than memory: one commit, at the end.

        `source`: as in `Series.sink`; its frames have all columns and come in key order. Raises
        `FrameError` where one begins before the end of the one before, or at the same key.

        >>> from lakota import Repo, Schema
        >>> kv = Repo().create_collection(Schema.kv(n="int*", x="float"), "c") / "s"
        >>> revisions = kv.write({"n": [1, 5], "x": [9.0, 9.0]})
        >>> revisions = kv.sink({"n": [2 * i, 2 * i + 1], "x": [0.0, 1.0]} for i in range(2))
        >>> kv.df().rows()
        [(0, 0.0), (1, 1.0), (2, 0.0), (3, 1.0), (5, 9.0)]
        """
        hull: Interval | None = None
        with Sink(self._ledger.site, self.label) as sink:
            frames = frames_of(source)
            for table in (to_table(frame, self.schema, keep=True) for frame in frames):
                if table.num_rows == 0:
                    continue
                (lo,), (hi,) = key_cuts(table, self.schema, [0], [table.num_rows - 1])
                sink.add(table)
                if has_duplicates(table, self.schema.index) or (hull is not None and lo < hull.hi):
                    raise self._twins()
                hull = Interval(lo if hull is None else hull.lo, hi)
            if hull is None:
                return self._ledger.write([], author, message)
            write = sink.write(hull)._replace(kind=UPSERT)
            return self._ledger.write([write], author, message)

    @one_look_first
    def delete(self, *keys: Any, author: str | None = None, message: str = "") -> list[Revision]:
        """Delete the rows of these keys: values, or tuples if the index has several columns."""
        index = self.schema.index
        for key in keys:
            if len(self.schema.key(key, what="key")) != len(index):
                raise RangeError(
                    f"delete({key!r}): expected a value for each of {', '.join(index)}"
                )
        rows = [tuple(key) if isinstance(key, (tuple, list)) else (key,) for key in keys]
        rows = list(dict.fromkeys(rows))
        frame = {name: [row[i] for row in rows] for i, name in enumerate(index)}
        return self.delete_keys(frame, author=author, message=message)


def _fit(
    schema: Schema, table: pa.Table, wanted: Interval, no_start: bool, no_stop: bool
) -> Interval:
    """The interval of a write whose rows must be inside it."""
    los, his = key_cuts(table, schema, [0], [table.num_rows - 1])
    last = Cut(his[0][:-1] + b"\x01")  # just before the last key
    lo, hi = wanted
    outside = None
    if not no_start and los[0] < lo:
        outside = "before start"
    if not no_stop and last >= hi:
        outside = "after stop"
    if outside:
        first_key, last_key = (
            {n: table.column(n)[i].as_py() for n in schema.index} for i in (0, table.num_rows - 1)
        )
        raise RangeError(
            f"the frame has rows {outside}: its keys go from {first_key} to {last_key}; "
            "expected all of them between start and stop (see closed=)"
        )
    return Interval(los[0] if no_start else lo, his[0] if no_stop else hi)
