"""Plain Arrow IPC files, mapped."""

from __future__ import annotations

import os

import polars as pl

from peers.files import Files


class Library(Files):
    name = "ipc"
    ending = "arrow"

    def _store(self, frame: pl.DataFrame, path: str) -> None:
        frame.write_ipc(path)

    def _scan(self) -> pl.LazyFrame:
        return pl.scan_ipc(os.path.join(self.place, "*.arrow"))

    def _load(self) -> pl.DataFrame:
        names = sorted(os.listdir(self.place))
        paths = (os.path.join(self.place, name) for name in names)
        frames = [pl.read_ipc(path) for path in paths]
        return pl.concat(frames, rechunk=False)
