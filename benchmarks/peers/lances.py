"""Lance: one data set, the label a column where there are several, a version a commit."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import lance
import library
import numpy as np
import pyarrow as pa
from data import Columns


class Library(library.Library):
    name = "lance"

    def create(self) -> None:
        self.place = os.path.join(self.folder, "set.lance")
        self.set = None

    def open(self) -> None:
        self.place = os.path.join(self.folder, "set.lance")
        self.set = lance.dataset(self.place)

    def frame(self, columns: Columns, label: str = library.SERIES) -> pa.Table:
        if label != library.SERIES:
            return self.table([label], columns)
        times = pa.array(columns.timestamp).view(pa.timestamp("us"))
        return pa.table({"timestamp": times, "value": columns.value})

    def columns(self, found: Any) -> Columns:
        frame = found.sort_by("timestamp")
        times = frame["timestamp"].combine_chunks().view(pa.int64()).to_numpy()
        return Columns(times, frame["value"].to_numpy())

    def total(self, found: Any) -> float:
        times = (chunk.view(pa.int64()).to_numpy() for chunk in found["timestamp"].chunks)
        values = (chunk.to_numpy() for chunk in found["value"].chunks)
        return library.sum_wrapping(*times, *values)

    def write(self, label: str, frame: Any) -> None:
        self.bulk(frame)

    append = write

    def table(self, labels: Sequence[str], columns: Columns) -> pa.Table:
        each = len(columns) // len(labels)
        column = pa.array(labels).take(pa.array(np.repeat(np.arange(len(labels)), each)))
        return self.frame(columns).add_column(0, "label", column)

    def bulk(self, table: Any) -> None:
        if self.set is None:
            self.set = lance.write_dataset(table, self.place)
        else:
            self.set.insert(table)

    def multi(self, frames: Iterable[tuple[str, Any]]) -> None:
        raise NotImplementedError

    def read(self, label: str) -> Any:
        return self.set.to_table(columns=["timestamp", "value"], filter=_only(label))

    def read_range(self, label: str, start: int, stop: int) -> Any:
        first, last = np.array([start, stop], "datetime64[us]")
        return self.set.to_table(
            columns=["timestamp", "value"],
            filter=f"timestamp >= timestamp '{first}' AND timestamp < timestamp '{last}'",
        )

    def version(self, label: str) -> Any:
        return self.set.version

    def read_version(self, label: str, version: Any) -> Any:
        past = lance.dataset(self.place, version=version)
        return past.to_table(columns=["timestamp", "value"], filter=_only(label))

    def labels(self) -> Sequence[str]:
        return self.set.to_table(columns=["label"])["label"].unique().to_pylist()


def _only(label: str) -> str | None:
    """A single series is a data set of its own, without labels."""
    return None if label == library.SERIES else f"label = '{label}'"
