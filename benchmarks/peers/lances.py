"""Lance: one data set, the label a column where there are several, a version a commit."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import lance
import library
import numpy as np
import pyarrow as pa
import remote
from data import Columns


class Library(library.Library):
    name = "lance"
    imports = "import lance"

    def create(self) -> None:
        self._locate()
        self.set = None

    def open(self) -> None:
        self._locate()
        self.set = self._open()

    def _locate(self) -> None:
        self.place = os.path.join(self.folder, "set.lance")
        self.options = None
        if self.endpoint is not None:
            self.place = f"s3://{remote.BUCKET}/set.lance"
            self.options = remote.options(self.endpoint)

    def _open(self, version: Any = None) -> Any:
        return lance.dataset(self.place, version=version, storage_options=self.options)

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

    def overwrite(self, label: str, frame: Any) -> None:
        """By keys: a deletion and an insertion would be two versions."""
        merge = self.set.merge_insert("timestamp")
        merge.when_matched_update_all().when_not_matched_insert_all().execute(frame)
        self.set = self._open()

    def table(self, labels: Sequence[str], columns: Columns) -> pa.Table:
        each = len(columns) // len(labels)
        column = pa.array(labels).take(pa.array(np.repeat(np.arange(len(labels)), each)))
        return self.frame(columns).add_column(0, "label", column)

    def bulk(self, table: Any) -> None:
        if self.set is None:
            self.set = lance.write_dataset(table, self.place, storage_options=self.options)
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
        past = self._open(version)
        return past.to_table(columns=["timestamp", "value"], filter=_only(label))

    def labels(self) -> Sequence[str]:
        return self.set.to_table(columns=["label"])["label"].unique().to_pylist()

    # ---- Publications

    def publication(self, table: Any) -> Any:
        return table

    def publish(self, publication: Any, only_changes: bool) -> Any:
        if only_changes:
            raise NotImplementedError
        self.set = lance.write_dataset(
            publication, os.path.join(self.folder, "publications.lance"), mode="overwrite"
        )
        return self.set.version

    def open_published(self) -> None:
        self._locate()

    def published(self, version: Any) -> Any:
        place = os.path.join(self.folder, "publications.lance")
        return lance.dataset(place, version=version).to_table()

    def published_table(self, found: Any) -> Any:
        return found


def _only(label: str) -> str | None:
    """A single series is a data set of its own, without labels."""
    return None if label == library.SERIES else f"label = '{label}'"
