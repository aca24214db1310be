"""Delta Lake: one table, the label a column where there are several, a version a commit."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import deltalake
import library
import numpy as np
import polars as pl
import pyarrow as pa
import remote
from data import Columns

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Library(library.Library):
    name = "delta"
    imports = "import deltalake"

    def create(self) -> None:
        self._locate()
        self.delta = None

    def open(self) -> None:
        self._locate()
        self.delta = self._table()

    def _locate(self) -> None:
        self.place = os.path.join(self.folder, "delta")
        self.options = None
        if self.endpoint is not None:
            self.place = f"s3://{remote.BUCKET}/delta"
            self.options = remote.options(self.endpoint)

    def _table(self, version: Any = None) -> Any:
        return deltalake.DeltaTable(self.place, version=version, storage_options=self.options)

    def frame(self, columns: Columns, label: str = library.SERIES) -> pa.Table:
        if label != library.SERIES:
            return self.table([label], columns)
        times = pa.array(columns.timestamp).view(pa.timestamp("us", "UTC"))
        return pa.table({"timestamp": times, "value": columns.value})

    def columns(self, found: Any) -> Columns:
        frame = found.sort("timestamp")
        return Columns(frame["timestamp"].dt.timestamp("us").to_numpy(), frame["value"].to_numpy())

    def total(self, found: Any) -> float:
        return library.sum_wrapping(
            found["timestamp"].to_physical().to_numpy(), found["value"].to_numpy()
        )

    def write(self, label: str, frame: Any) -> None:
        self.bulk(frame)

    append = write

    def overwrite(self, label: str, frame: Any) -> None:
        first, last = (frame["timestamp"][i].as_py() for i in (0, -1))
        predicate = (
            f"timestamp >= '{first:%Y-%m-%dT%H:%M:%S}Z' "
            f"AND timestamp <= '{last:%Y-%m-%dT%H:%M:%S}Z'"
        )
        self._write(frame, mode="overwrite", predicate=predicate)

    def table(self, labels: Sequence[str], columns: Columns) -> pa.Table:
        each = len(columns) // len(labels)
        column = pa.array(labels).take(pa.array(np.repeat(np.arange(len(labels)), each)))
        return self.frame(columns).add_column(0, "label", column)

    def bulk(self, table: Any) -> None:
        self._write(table, mode="append")

    def _write(self, table: Any, **how: Any) -> None:
        options = None if self.delta else self.options
        target = self.delta or self.place
        deltalake.write_deltalake(target, table, storage_options=options, **how)
        if self.delta is None:
            self.delta = self._table()

    def multi(self, frames: Iterable[tuple[str, Any]]) -> None:
        raise NotImplementedError

    def read(self, label: str) -> Any:
        self.delta.update_incremental()
        return self._scan(label).collect()

    def _scan(self, label: str) -> Any:
        return self._only(pl.scan_delta(self.delta), label)

    def _only(self, lazy: Any, label: str) -> Any:
        """A single series is a table of its own, without labels."""
        if label != library.SERIES:
            lazy = lazy.filter(pl.col("label") == label)
        return lazy.select("timestamp", "value")

    def read_range(self, label: str, start: int, stop: int) -> Any:
        span = (EPOCH + timedelta(microseconds=at) for at in (start, stop))
        inside = pl.col("timestamp").is_between(*span, closed="left")
        return self._scan(label).filter(inside).collect()

    def version(self, label: str) -> Any:
        self.delta.update_incremental()
        return self.delta.version()

    def read_version(self, label: str, version: Any) -> Any:
        return self._only(pl.scan_delta(self._table(version)), label).collect()

    def labels(self) -> Sequence[str]:
        labels = pl.scan_delta(self.delta).select(pl.col("label").unique().sort()).collect()
        return labels["label"].to_list()

    # ---- Publications

    def publication(self, table: Any) -> Any:
        return table

    def publish(self, publication: Any, only_changes: bool) -> Any:
        if only_changes:
            raise NotImplementedError
        self.place = os.path.join(self.folder, "publications")
        if not hasattr(self, "publishing"):
            self.delta, self.publishing = None, True
        self._write(publication, mode="overwrite")
        self.delta.update_incremental()
        return self.delta.version()

    def open_published(self) -> None:
        self._locate()

    def published(self, version: Any) -> Any:
        self.place = os.path.join(self.folder, "publications")
        return pl.scan_delta(self._table(version)).collect()

    def published_table(self, found: Any) -> Any:
        return found.to_arrow()
