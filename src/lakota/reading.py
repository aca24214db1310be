"""Reading a series: everything that `Series` and `KVSeries` have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypedDict, Unpack

import polars as pl
import pyarrow as pa

from .bounds import check_count, check_label, check_window, interval_of
from .changelog import Changelog
from .errors import RangeError
from .frames import check_polars, readable, to_polars
from .interval import EVERYTHING, Interval
from .ledger import Ledger
from .look import Looker, one_look
from .manifest import Manifest
from .moment import child_of, nanoseconds
from .origin import Origins
from .overlay import ORIGIN
from .past import Vintage, history, vintages
from .scan import Scan
from .schema import Schema
from .view import View

__all__ = ["PAGE_ROWS", "Readable"]

PAGE_ROWS = 65_536
"""Rows of a frame of `paginate`, unless said otherwise."""


class ReadOptions(TypedDict, total=False):
    """The options of `frame`, which `df` and `arrow` have, too."""

    closed: str
    limit: int | None
    offset: int | None
    select: str | Sequence[str] | None
    as_of: Any
    before: Any
    merged: bool
    provenance: bool


class Readable:
    """The rows under one label of a collection."""

    def __init__(self, label: str, ledger: Ledger) -> None:
        self.label = check_label(label)
        self._ledger = ledger

    @property
    def _looker(self) -> Looker:
        return self._ledger.looker

    @property
    def schema(self) -> Schema:
        """The schema of the collection."""
        return self._ledger.site.shown

    @property
    def changelog(self) -> Changelog:
        """The changelog of the collection."""
        return self._ledger.site.changelog

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.label!r}>"

    @one_look
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
        merged: bool = False,
        provenance: bool = False,
    ) -> pa.Table:
        """The rows between `start` and `stop` as a `pyarrow.Table`, without copying plain data.

        `limit`, `offset`: at most so many rows, after so many. `select`: only these columns.
        `as_of`: as it was known at a time, or in a revision; `before`: before it. Times without a
        zone are UTC. While heads have diverged, reads see the newest head; with `merged` all of
        them, as `merge()` would join them; and with `as_of` or `before` a time all that was
        written until then.

        `provenance`: two more columns, `stamp` and `author`: when and by whom the last write that
        touched the row was committed; null for an author whose revision was trimmed. If the schema
        has such a column, theirs begins with an underscore.

        >>> from lakota import Repo, Schema
        >>> series = Repo().create_collection(Schema(n="int*", x="float"), "c") / "s"
        >>> first = series.write({"n": [1, 2, 3], "x": [0.5, None, 1.5]})
        >>> second = series.delete(2)
        >>> series.frame(as_of=first[0])["x"].to_pylist()
        [0.5, None, 1.5]
        """
        schema = self.schema
        interval = interval_of(schema, start, stop, closed)
        names = schema.check_select(select)
        first, last = check_window(limit, offset)

        def act(manifest: Manifest) -> pa.Table:
            view = self.view(manifest, interval)
            if not provenance:
                return view.table(names, first, last)
            origins = Origins(view.site)
            return origins.show(origins.numbered(view).table((*names, ORIGIN), first, last))

        return self._ledger.read(as_of, before, act, merged)

    def arrow(
        self, start: Any = None, stop: Any = None, **options: Unpack[ReadOptions]
    ) -> pa.Table:
        """The same as `frame`."""
        return self.frame(start, stop, **options)

    @one_look
    def df(
        self, start: Any = None, stop: Any = None, **options: Unpack[ReadOptions]
    ) -> pl.DataFrame:
        """As `frame`, as a `polars.DataFrame`. Raises `SchemaError` for columns of types that
        Polars has not."""
        schema = self.schema
        check_polars(schema, schema.check_select(options.get("select")))
        table = self.frame(start, stop, **options)
        return to_polars(table)

    @one_look
    def scan(
        self,
        *,
        as_of: Any = None,
        before: Any = None,
        merged: bool = False,
        provenance: bool = False,
    ) -> pl.LazyFrame:
        """The rows as a `polars.LazyFrame`, of which only what a query needs is read.

        Columns, the first rows and what a predicate says of the first index column are sought in
        the segments: no record batch without rows of it is decoded. The state is that of now, or
        as of a moment, however often the frame is collected; once it was trimmed and collected by
        `gc`, `DamagedError` is raised. Raises `SchemaError` for types that Polars has not.

        >>> import polars as pl
        >>> from lakota import Repo, Schema
        >>> series = Repo().create_collection(Schema(n="int*", x="float"), "c") / "s"
        >>> revisions = series.write({"n": [1, 2, 3], "x": [0.5, None, 1.5]})
        >>> series.scan().filter(pl.col("n") > 1).select("x").collect()["x"].to_list()
        [None, 1.5]
        """
        manifest = self._ledger.state(as_of, before, merged)
        return Scan(
            self._ledger.site, manifest, [self.label], detail=self.label, provenance=provenance
        ).lazy()

    @one_look
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
        merged: bool = False,
        provenance: bool = False,
    ) -> pa.Table:
        """The last `length` rows between `start` and `stop`; of these, `limit` and `offset`."""
        schema = self.schema
        interval = interval_of(schema, start, stop, closed)
        names = schema.check_select(select)
        first, last = check_window(limit, offset)
        length = check_count("length", length)

        def act(manifest: Manifest) -> pa.Table:
            view = self.view(manifest, interval)
            if not provenance:
                return view.tail(names, length, first, last)
            origins = Origins(view.site)
            return origins.show(origins.numbered(view).tail((*names, ORIGIN), length, first, last))

        return self._ledger.read(as_of, before, act, merged)

    @one_look
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
        merged: bool = False,
        provenance: bool = False,
    ) -> Iterator[pa.Table]:
        """The rows of `frame`, at most `step` at a time, all of one state of the series."""
        schema = self.schema
        interval = interval_of(schema, start, stop, closed)
        names = schema.check_select(select)
        first, last = check_window(limit, offset)
        step = check_count("step", step)
        if step == 0:
            raise RangeError("step=0: expected at least 1 row")

        def act(manifest: Manifest) -> Iterator[pa.Table]:
            view = self.view(manifest, interval)
            if not provenance:
                return view.pages(names, step, first, last)
            origins = Origins(view.site)
            pages = origins.numbered(view).pages((*names, ORIGIN), step, first, last)
            return map(origins.show, pages)

        return self._ledger.read(as_of, before, act, merged)

    @one_look
    def count(
        self,
        start: Any = None,
        stop: Any = None,
        *,
        closed: str = "left",
        as_of: Any = None,
        before: Any = None,
        merged: bool = False,
    ) -> int:
        """How many rows there are between `start` and `stop`."""
        interval = interval_of(self.schema, start, stop, closed)
        return self._ledger.read(
            as_of, before, lambda manifest: self.view(manifest, interval).count(), merged
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
        """The rows as an Arrow C stream: `pl.DataFrame(series)`, `pa.table(series)`, DuckDB.
        Decimals of 32 and 64 bits come as ones of 128, which all of these read."""
        return readable(self.frame()).__arrow_c_stream__(requested_schema)

    # ---- The past

    @one_look
    def history(self, key: Any) -> pl.DataFrame:
        """Every value that a key ever had, oldest first: a row for each revision that changed it.

        Columns: `stamp`, when the value became known, `author`, `deleted`, whether the key was
        there no more, and the value columns. As of each stamp, a read gives that row; writes that
        other replicas made and that were pulled later stand under their own stamps. What was only
        in revisions that were trimmed is not known any more. Of a key that several rows have, each
        stamp shows all. If a name is taken, it begins with an underscore.

        `key`: a value, or a tuple of all index values. Raises `RangeError`.

        >>> from lakota import Repo, Schema
        >>> series = Repo().create_collection(Schema(n="int*", x="float"), "c") / "s"
        >>> for x in (0.5, 0.5, 1.5):
        ...     _ = series.write({"n": [1], "x": [x]}, author="ada")
        >>> _ = series.delete(author="bob")
        >>> series.history(1).drop("stamp").rows()
        [('ada', False, 0.5), ('ada', False, 1.5), ('bob', True, None)]
        """
        index = self.schema.index
        if len(self.schema.key(key, what="key")) != len(index):
            raise RangeError(f"history({key!r}): expected a value for each of {', '.join(index)}")
        check_polars(self.schema, self.schema.values)
        interval = interval_of(self.schema, key, key, "both")
        return history(self._ledger.site, self.label, interval)

    @one_look
    def vintages(
        self,
        times: Iterable[Any],
        start: Any = None,
        stop: Any = None,
        *,
        closed: str = "left",
        select: str | Sequence[str] | None = None,
        long: bool = False,
    ) -> pl.DataFrame:
        """The rows between `start` and `stop` as they were known at each of several moments.

        Wide: the index columns, then for each value column one column per moment, null where the
        key was not known: `x@2020-01-01`, or with one value column just `2020-01-01`, as the moment
        was written. Equal keys stand in rows of their own, first beside first. Long: `as_of`, the
        moment's time, before the other columns, by moment, then by key.

        `times`: times, revisions, tags. `select`: these value columns. Raises as `frame` does.

        >>> from lakota import Repo, Schema
        >>> series = Repo().create_collection(Schema(n="int*", x="float"), "c") / "s"
        >>> first = series.write({"n": [1], "x": [0.5]})
        >>> last = series.write({"n": [1, 2], "x": [0.7, 0.9]})
        >>> series.vintages([*first, "2100-01-01"]).rows()
        [(1, 0.5, 0.7), (2, None, 0.9)]
        """
        interval = interval_of(self.schema, start, stop, closed)
        names = self.schema.check_select(select)
        check_polars(self.schema, {*self.schema.index, *names})
        if not isinstance(times, Iterable) or isinstance(times, str | bytes):
            raise RangeError(f"times={times!r}: expected a list of times, revisions or tags")
        moments = [self._vintage(moment) for moment in times]
        return vintages(self._ledger.site, self.label, interval, names, moments, long=long)

    def _vintage(self, moment: Any) -> Vintage:
        named = self._ledger.named(moment)
        child = child_of(named)
        stamp = int(child[:16], 16) if child else nanoseconds(named)
        text = moment if isinstance(moment, str) else child or str(moment)
        return Vintage(text, stamp, self._ledger.state(named))

    # ---- Inside

    def view(self, manifest: Manifest, interval: Interval = EVERYTHING) -> View:
        """The series in a state."""
        return View(self._ledger.site, manifest, self.label, interval)

    @one_look
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
        schema = self.schema
        interval = interval_of(schema, start, stop, closed)
        names = schema.check_select(select)
        return self._ledger.read(
            as_of, before, lambda manifest: self.view(manifest, interval).explain(names)
        )
