"""ArcticDB in a folder, by way of LMDB, as it comes: a version a write, per series."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import arcticdb
import library
import numpy as np
import pandas as pd
from data import Columns


class Library(library.Library):
    name = "arcticdb"
    imports = "import arcticdb"

    def create(self) -> None:
        if self.endpoint is None:
            os.makedirs(os.path.join(self.folder, "arctic"), exist_ok=True)
        self.arctic = arcticdb.Arctic(self._uri())
        self.library = self.arctic.create_library("c")

    def open(self) -> None:
        self.close()
        self.arctic = arcticdb.Arctic(self._uri())
        self.library = self.arctic["c"]

    def close(self) -> None:
        self.library = self.arctic = None

    def _uri(self) -> str:
        if self.endpoint is None:
            return f"lmdb://{os.path.join(self.folder, 'arctic')}?map_size=20GB"
        host, port = self.endpoint.removeprefix("http://").split(":")
        return f"s3://{host}:bench?access=key&secret=secret&port={port}&region=us-east-1"

    def frame(self, columns: Columns, label: str = library.SERIES) -> pd.DataFrame:
        index = pd.DatetimeIndex(columns.timestamp.view("datetime64[us]").astype("datetime64[ns]"))
        index.name = "timestamp"
        return pd.DataFrame({"value": columns.value}, index=index)

    def columns(self, found: Any) -> Columns:
        times = found.index.to_numpy().astype("datetime64[us]").view(np.int64)
        return Columns(times, found["value"].to_numpy())

    def total(self, found: Any) -> float:
        return library.sum_wrapping(
            found.index.to_numpy().view(np.int64), found["value"].to_numpy()
        )

    def write(self, label: str, frame: Any) -> None:
        self.library.write(label, frame)

    def append(self, label: str, frame: Any) -> None:
        self.library.append(label, frame)

    def overwrite(self, label: str, frame: Any) -> None:
        self.library.update(label, frame)

    def table(self, labels: Sequence[str], columns: Columns) -> Any:
        each = len(columns) // len(labels)
        return [
            (label, self.frame(columns.part(i * each, (i + 1) * each)))
            for i, label in enumerate(labels)
        ]

    def bulk(self, table: Any) -> None:
        self.multi(table)

    def multi(self, frames: Iterable[tuple[str, Any]]) -> None:
        payloads = [arcticdb.WritePayload(label, frame) for label, frame in frames]
        self.library.write_batch(payloads)

    def read(self, label: str) -> Any:
        return self.library.read(label).data

    def read_range(self, label: str, start: int, stop: int) -> Any:
        epoch = datetime(1970, 1, 1)
        span = (
            epoch + timedelta(microseconds=start),
            epoch + timedelta(microseconds=stop - 1),
        )
        return self.library.read(label, date_range=span).data

    def version(self, label: str) -> Any:
        return self.library.read_metadata(label).version

    def read_version(self, label: str, version: Any) -> Any:
        return self.library.read(label, as_of=version).data

    def labels(self) -> Sequence[str]:
        found: list[str] = self.library.list_symbols()
        return found

    # ---- Publications: one symbol, a version each

    def publication(self, table: Any) -> Any:
        frame = table.to_pandas()
        frame["Date"] = frame["Date"].astype("datetime64[ns]")
        return frame.set_index("Date").sort_index(kind="stable")

    def publish(self, publication: Any, only_changes: bool) -> Any:
        if only_changes:
            raise NotImplementedError
        return self.library.write("publications", publication).version

    def published(self, version: Any) -> Any:
        return self.library.read("publications", as_of=version).data

    def published_table(self, found: Any) -> Any:
        import pyarrow as pa

        return pa.Table.from_pandas(found.reset_index(), preserve_index=False)
