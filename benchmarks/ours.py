"""This library."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal

import library
import numpy as np
import polars as pl
import pyarrow as pa
import remote
from data import Columns

from lakota import Repo, Schema

SCHEMA = Schema(timestamp="timestamp*", value="float")
PUBLICATION = Schema(Date="date*", Confirmed="int", Recovered="int", Deaths="int")
LABEL, COLLECTION = "label", "c"


class Library(library.Library):
    name = "ours"
    durability: ClassVar[Literal["fsync", "os"]] = "fsync"
    imports = "import lakota"
    names = "from lakota import Repo, Schema"
    replicates = merges = True

    def create(self) -> None:
        self.repo = self._repo()
        self.clct = self.repo.create_collection(SCHEMA, COLLECTION)

    def open(self) -> None:
        self.repo = self._repo()
        self.clct = self.repo / COLLECTION

    def _repo(self) -> Repo:
        if self.endpoint is None:
            return Repo(os.path.join(self.folder, "repo"), durability=self.durability)
        options = remote.options(self.endpoint)
        return Repo(f"s3://{remote.BUCKET}/ours", storage_options=options)

    def frame(self, columns: Columns, label: str = library.SERIES) -> pa.Table:
        times = pa.array(columns.timestamp).view(pa.timestamp("us"))
        return pa.table({"timestamp": times, "value": columns.value})

    def columns(self, found: pa.Table) -> Columns:
        times = [chunk.view(pa.int64()).to_numpy() for chunk in found["timestamp"].chunks]
        values = [chunk.to_numpy() for chunk in found["value"].chunks]
        nothing: list[Any] = [np.empty(0)]
        return Columns(
            np.concatenate(times or nothing).astype(np.int64, copy=False),
            np.concatenate(values or nothing),
        )

    def total(self, found: pa.Table) -> float:
        times = (chunk.view(pa.int64()).to_numpy() for chunk in found["timestamp"].chunks)
        values = (chunk.to_numpy() for chunk in found["value"].chunks)
        return library.sum_wrapping(*times, *values)

    def write(self, label: str, frame: pa.Table) -> None:
        self.clct.series(label).write(frame)

    append = write
    overwrite = write

    def table(self, labels: Sequence[str], columns: Columns) -> pa.Table:
        each = len(columns) // len(labels)
        column = pa.array(labels).take(pa.array(np.repeat(np.arange(len(labels)), each)))
        return self.frame(columns).add_column(0, LABEL, column)

    def bulk(self, table: pa.Table) -> None:
        self.clct.write(table, label=LABEL)

    def multi(self, frames: Iterable[tuple[str, Any]]) -> None:
        with self.clct.multi():
            for label, frame in frames:
                self.clct.series(label).write(frame)

    def read(self, label: str) -> pa.Table:
        return self.clct.series(label).frame()

    def read_range(self, label: str, start: int, stop: int) -> pa.Table:
        bounds = np.array([start, stop], "datetime64[us]")
        return self.clct.series(label).frame(bounds[0], bounds[1])

    def version(self, label: str) -> Any:
        return self.clct.changelog.leaf()

    def read_version(self, label: str, version: Any) -> pa.Table:
        return self.clct.series(label).frame(as_of=version)

    def labels(self) -> list[str]:
        return self.clct.ls()

    def pack(self) -> None:
        self.repo.pack()

    def pull(self, source: library.Library) -> None:
        self._repo().pull(os.path.join(source.folder, "repo"))

    def merge(self) -> None:
        self.clct.merge()

    # ---- Publications

    def publication(self, table: pa.Table) -> pl.DataFrame:
        return pl.DataFrame(table)

    def publish(self, publication: pl.DataFrame, only_changes: bool) -> str:
        if not hasattr(self, "known"):
            self.known: dict[str, tuple[Any, Any]] = {}
            self.published_in = self.repo.create_collection(PUBLICATION, "publications")
        clct = self.published_in
        now = spans(publication)
        with clct.multi():
            for country, (first, last) in self.known.items():
                self._leave_out(clct.series(country), first, last, now.get(country))
            clct.write(publication, label="Country", only_changes=only_changes)
        self.known = now
        leaf = clct.changelog.leaf()
        assert leaf is not None
        return leaf.child

    @staticmethod
    def _leave_out(series: Any, first: Any, last: Any, now: tuple[Any, Any] | None) -> None:
        """What the publication before had beyond the ends of this one."""
        if now is None:
            series.delete()
            return
        if first < now[0]:
            series.delete(None, now[0], closed="left")
        if last > now[1]:
            series.delete(now[1], None, closed="right")

    def published(self, version: str) -> pl.DataFrame:
        clct = self.repo / "publications"
        return clct.scan(label="Country", as_of=version).collect()

    def published_table(self, found: pl.DataFrame) -> pa.Table:
        return found.to_arrow()


def spans(table: pl.DataFrame) -> dict[str, tuple[Any, Any]]:
    """First and last day of each country."""
    day = pl.col("Date")
    found = table.group_by("Country").agg(day.min().alias("first"), day.max().alias("last"))
    return {country: (first, last) for country, first, last in found.iter_rows()}
