"""This library."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import library
import numpy as np
import pyarrow as pa
from data import Columns

from lakota import Repo, Schema

SCHEMA = Schema(timestamp="timestamp*", value="float")
LABEL, COLLECTION = "label", "c"


class Library(library.Library):
    name = "ours"

    def create(self) -> None:
        self.repo = Repo(os.path.join(self.folder, "repo"))
        self.clct = self.repo.create_collection(SCHEMA, COLLECTION)

    def open(self) -> None:
        self.repo = Repo(os.path.join(self.folder, "repo"))
        self.clct = self.repo / COLLECTION

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
