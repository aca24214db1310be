"""Icechunk with Zarr: an array for the times, one for the values, a version a commit."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import icechunk
import library
import numpy as np
import zarr
from data import Columns

icechunk.set_logs_filter("error")
CHUNK = 65_536
"""Elements of a chunk: half a megabyte. Smaller ones make small appends cheaper and all reads
slower."""


class Library(library.Library):
    name = "icechunk"
    imports = "import icechunk, zarr"
    group: Any = None

    def create(self) -> None:
        self.store = icechunk.Repository.create(self._storage())

    def open(self) -> None:
        self.store = icechunk.Repository.open(self._storage())
        self.group = None

    def _storage(self) -> Any:
        if self.endpoint is None:
            return icechunk.local_filesystem_storage(os.path.join(self.folder, "ice"))
        return icechunk.s3_storage(
            bucket="bench",
            prefix="icechunk",
            region="us-east-1",
            endpoint_url=self.endpoint,
            access_key_id="key",
            secret_access_key="secret",
            allow_http=True,
            force_path_style=True,
        )

    def frame(self, columns: Columns, label: str = library.SERIES) -> Columns:
        return columns

    def columns(self, found: Any) -> Columns:
        return found

    def total(self, found: Any) -> float:
        return library.sum_wrapping(*found)

    def write(self, label: str, frame: Any) -> None:
        self._commit([(label, frame)])

    def multi(self, frames: Iterable[tuple[str, Any]]) -> None:
        self._commit(frames)

    def _commit(self, frames: Iterable[tuple[str, Any]]) -> None:
        session = self.store.writable_session("main")
        root = zarr.open_group(session.store)
        for label, columns in frames:
            group = root.create_group(label)
            for name, data in zip(Columns._fields, columns, strict=True):
                chunk = min(CHUNK, len(data)) if label != library.SERIES else CHUNK
                group.create_array(name, data=data, chunks=(chunk,))
        session.commit("write")

    def append(self, label: str, frame: Any) -> None:
        session = self.store.writable_session("main")
        group = zarr.open_group(session.store)[label]
        for name, data in zip(Columns._fields, frame, strict=True):
            group[name].append(data)
        session.commit("append")

    def overwrite(self, label: str, frame: Any) -> None:
        session = self.store.writable_session("main")
        group = zarr.open_group(session.store)[label]
        times = group["timestamp"][:]
        first, last = np.searchsorted(times, frame.timestamp[[0, -1]])
        for name, data in zip(Columns._fields, frame, strict=True):
            group[name][first : last + 1] = data
        session.commit("overwrite")

    def table(self, labels: Sequence[str], columns: Columns) -> Any:
        each = len(columns) // len(labels)
        return [(x, columns.part(i * each, (i + 1) * each)) for i, x in enumerate(labels)]

    def bulk(self, table: Any) -> None:
        self.multi(table)

    def _read(self, **version: Any) -> Any:
        session = self.store.readonly_session(**version)
        return zarr.open_group(session.store, mode="r")

    def read(self, label: str) -> Columns:
        group = self._read(branch="main")[label]
        return Columns(group["timestamp"][:], group["value"][:])

    def read_range(self, label: str, start: int, stop: int) -> Columns:
        """Zarr has no index: the times are read once per handle, as Xarray would."""
        if self.group is None:
            self.group = self._read(branch="main")[label]
            self.times = self.group["timestamp"][:]
        first, last = np.searchsorted(self.times, [start, stop])
        return Columns(self.times[first:last], self.group["value"][first:last])

    def version(self, label: str) -> Any:
        return self.store.lookup_branch("main")

    def read_version(self, label: str, version: Any) -> Columns:
        group = self._read(snapshot_id=version)[label]
        return Columns(group["timestamp"][:], group["value"][:])

    def labels(self) -> Sequence[str]:
        return sorted(name for name, _ in self._read(branch="main").groups())
