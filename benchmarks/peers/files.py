"""Plain files by way of Polars: a folder of them, one for each write, not flushed, no versions."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import library
import numpy as np
import polars as pl
from data import Columns


class Files(library.Library):
    imports = "import polars"
    versioned = False
    ending: ClassVar[str]

    def create(self) -> None:
        self.open()
        os.makedirs(self.place)

    def open(self) -> None:
        if self.endpoint is not None:
            raise NotImplementedError("files are measured on a disk only")
        self.place = os.path.join(self.folder, "files")

    # What differs between the formats

    def _store(self, frame: pl.DataFrame, path: str) -> None:
        raise NotImplementedError

    def _scan(self) -> pl.LazyFrame:
        raise NotImplementedError

    def _load(self) -> pl.DataFrame:
        return self._scan().collect()

    # ----

    def frame(self, columns: Columns, label: str = library.SERIES) -> pl.DataFrame:
        if label != library.SERIES:
            return self.table([label], columns)
        times = pl.Series("timestamp", columns.timestamp).cast(pl.Datetime("us"))
        return pl.DataFrame([times, pl.Series("value", columns.value)])

    def columns(self, found: Any) -> Columns:
        times = found["timestamp"].to_physical().to_numpy()
        return Columns(times, found["value"].to_numpy())

    def total(self, found: Any) -> float:
        return library.sum_wrapping(
            *(chunk.to_physical().to_numpy() for chunk in found["timestamp"].get_chunks()),
            *(chunk.to_numpy() for chunk in found["value"].get_chunks()),
        )

    def write(self, label: str, frame: Any) -> None:
        name = f"{len(os.listdir(self.place)):06d}.{self.ending}"
        self._store(frame, os.path.join(self.place, name))

    append = write

    def overwrite(self, label: str, frame: Any) -> None:
        """Read all, put the new rows in, write all."""
        old = self._load()
        first, last = frame["timestamp"][0], frame["timestamp"][-1]
        before, after = old["timestamp"].search_sorted(pl.Series([first, last]))
        whole = pl.concat([old[:before], frame, old[after + 1 :]])
        path = os.path.join(self.place, f"000000.{self.ending}")
        self._store(whole, f"{path}.tmp")
        os.replace(f"{path}.tmp", path)

    def table(self, labels: Sequence[str], columns: Columns) -> pl.DataFrame:
        each = len(columns) // len(labels)
        column = pl.Series("label", labels).gather(np.repeat(np.arange(len(labels)), each))
        return self.frame(columns).insert_column(0, column)

    def bulk(self, table: Any) -> None:
        self.write(library.SERIES, table)

    def multi(self, frames: Iterable[tuple[str, Any]]) -> None:
        for label, frame in frames:
            self.write(label, frame)

    def read(self, label: str) -> Any:
        if label == library.SERIES:
            return self._load()
        return self._scan().filter(pl.col("label") == label).select("timestamp", "value").collect()

    def read_range(self, label: str, start: int, stop: int) -> Any:
        low, high = np.array([start, stop], "datetime64[us]").tolist()
        inside = pl.col("timestamp").is_between(low, high, closed="left")
        return self._scan().filter(inside).collect()

    def labels(self) -> Sequence[str]:
        found = self._scan().select(pl.col("label").unique().sort()).collect()
        return found["label"].to_list()
