"""Plain Parquet files, compressed as Polars does."""

from __future__ import annotations

import os

import polars as pl

from peers.files import Files


class Library(Files):
    name = "parquet"
    ending = "parquet"

    def _store(self, frame: pl.DataFrame, path: str) -> None:
        frame.write_parquet(path)

    def _scan(self) -> pl.LazyFrame:
        return pl.scan_parquet(os.path.join(self.place, "*.parquet"))
