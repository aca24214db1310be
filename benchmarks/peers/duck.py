"""DuckDB: one table in one file. It keeps no versions; it shows what these cost."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import duckdb
import library
import numpy as np
import pyarrow as pa
from data import Columns


class Library(library.Library):
    name = "duckdb"
    imports = "import duckdb"
    versioned = False
    connection: Any = None
    labelled = False

    def create(self) -> None:
        self.open()

    def open(self) -> None:
        if self.endpoint is not None:
            raise NotImplementedError("no writes into a bucket")
        self.close()
        self.connection = duckdb.connect(os.path.join(self.folder, "x.duckdb"))

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def frame(self, columns: Columns, label: str = library.SERIES) -> pa.Table:
        if label != library.SERIES:
            return self.table([label], columns)
        times = pa.array(columns.timestamp).view(pa.timestamp("us"))
        return pa.table({"timestamp": times, "value": columns.value})

    def columns(self, found: Any) -> Columns:
        times = found["timestamp"].combine_chunks().view(pa.int64()).to_numpy()
        order = np.argsort(times, kind="stable")
        return Columns(times[order], found["value"].to_numpy()[order])

    def total(self, found: Any) -> float:
        times = (chunk.view(pa.int64()).to_numpy() for chunk in found["timestamp"].chunks)
        values = (chunk.to_numpy() for chunk in found["value"].chunks)
        return library.sum_wrapping(*times, *values)

    def write(self, label: str, frame: Any) -> None:
        self.connection.execute("CREATE TABLE c AS SELECT * FROM frame")

    def append(self, label: str, frame: Any) -> None:
        self.connection.execute("INSERT INTO c SELECT * FROM frame")

    def overwrite(self, label: str, frame: Any) -> None:
        span = frame["timestamp"][0].as_py(), frame["timestamp"][-1].as_py()
        self.connection.begin()
        self.connection.execute("DELETE FROM c WHERE timestamp BETWEEN ? AND ?", span)
        self.connection.execute("INSERT INTO c SELECT * FROM frame")
        self.connection.commit()

    def table(self, labels: Sequence[str], columns: Columns) -> pa.Table:
        each = len(columns) // len(labels)
        column = pa.array(labels).take(pa.array(np.repeat(np.arange(len(labels)), each)))
        return self.frame(columns).add_column(0, "label", column)

    def bulk(self, table: Any) -> None:
        self.write(library.SERIES, table)

    def multi(self, frames: Iterable[tuple[str, Any]]) -> None:
        self.connection.begin()
        for i, (_, frame) in enumerate(frames):
            (self.append if i else self.write)(library.SERIES, frame)
        self.connection.commit()

    def read(self, label: str) -> Any:
        return self._select(label, "TRUE", [])

    def read_range(self, label: str, start: int, stop: int) -> Any:
        span = np.array([start, stop], "datetime64[us]").tolist()
        return self._select(label, "timestamp >= ? AND timestamp < ?", span)

    def _select(self, label: str, condition: str, values: list[Any]) -> Any:
        if label != library.SERIES:
            condition, values = f"label = ? AND {condition}", [label, *values]
        query = f"SELECT timestamp, value FROM c WHERE {condition}"
        return self.connection.sql(query, params=values).to_arrow_table()

    def labels(self) -> Sequence[str]:
        query = "SELECT DISTINCT label FROM c ORDER BY label"
        return [label for (label,) in self.connection.execute(query).fetchall()]
