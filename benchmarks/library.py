"""What a library must do to take part. A module each: `ours.py`, `peers/*.py`.

A method that a library has no way for raises NotImplementedError, with the reason if that is more
than that; the report says so in place of the figure.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from data import Columns

SERIES = "series"
"""The label where a work needs only one series."""


class Place(NamedTuple):
    """Where a library is found."""

    environment: str
    """Of which interpreter: see `run.py`."""
    module: str
    package: str
    """The distribution whose version is reported."""
    works: tuple[str, ...] | None = None
    """Those that are measured; None for all."""


FLUSHING = ("W1", "W4", "W5", "W5m", "W6", "W7", "W8", "W10")
"""Works of which flushes take a good part."""
KNOWN = {
    "ours": Place("ours", "ours", "lakota-arrow"),
    "unflushed": Place("ours", "unflushed", "lakota-arrow", FLUSHING),
    "lakota 0.7.1": Place("old", "peers.lakota071", "lakota"),
    "arcticdb": Place("peers", "peers.arctic", "arcticdb"),
    "delta": Place("peers", "peers.delta", "deltalake"),
    "lance": Place("peers", "peers.lances", "pylance"),
    "icechunk": Place("peers", "peers.icechunks", "icechunk"),
    "duckdb": Place("peers", "peers.duck", "duckdb"),
    "parquet": Place("peers", "peers.parquet", "polars"),
    "ipc": Place("peers", "peers.ipc", "polars"),
}
UNFLUSHED = "unflushed"
"""Ours, with `durability="os"`: what flushes cost. Lance, Delta Lake, Icechunk and Lakota 0.7.1
make none."""
VERSIONED = ("lakota 0.7.1", "arcticdb", "delta", "lance", "icechunk")
"""The peers that targets refer to; the others stand beside to show what versions cost."""


class Library(ABC):
    """One library, with all it stores in one folder, at its default durability."""

    name: ClassVar[str]
    imports: ClassVar[str]
    """The statement that brings it in."""
    names: ClassVar[str] = ""
    """Where that does little yet: the statement that does the rest."""
    versioned: ClassVar[bool] = True
    """Whether states of the past can be read."""
    replicates: ClassVar[bool] = False
    """Whether it copies itself; otherwise its files are copied."""
    merges: ClassVar[bool] = False
    """Whether copies that were changed apart can be joined."""

    def __init__(self, folder: str, endpoint: str | None = None) -> None:
        self.folder = folder
        self.endpoint = endpoint
        """Of a bucket in place of the folder, if any: see `remote.py`."""

    # ---- Handles

    @abstractmethod
    def create(self) -> None:
        """Make an empty place for series, and open it."""

    @abstractmethod
    def open(self) -> None:
        """Open what is in the folder anew: a handle that knows nothing yet."""

    def close(self) -> None:
        """Let go of whatever is open, so that the files can be copied."""
        return

    # ---- Frames

    @abstractmethod
    def frame(self, columns: Columns, label: str = SERIES) -> Any:
        """Rows of a series in the form in which this library likes its input best. Not timed."""

    @abstractmethod
    def columns(self, found: Any) -> Columns:
        """What a read gave, to compare. Not timed."""

    @abstractmethod
    def total(self, found: Any) -> float:
        """The sum of every value that a read gave. Timed."""

    # ---- Writes: durable on return, each a version

    @abstractmethod
    def write(self, label: str, frame: Any) -> None:
        """The first rows of a series."""

    @abstractmethod
    def append(self, label: str, frame: Any) -> None:
        """Later rows."""

    def overwrite(self, label: str, frame: Any) -> None:
        """Other rows for the same keys."""
        raise NotImplementedError

    def table(self, labels: Sequence[str], columns: Columns) -> Any:
        """A frame for `bulk`: as many rows for each label. Not timed."""
        raise NotImplementedError

    def bulk(self, table: Any) -> None:
        """Many series from one frame, in one version."""
        raise NotImplementedError

    def multi(self, frames: Iterable[tuple[str, Any]]) -> None:
        """Many series from many frames, in as few versions as can be."""
        raise NotImplementedError

    # ---- Reads

    @abstractmethod
    def read(self, label: str) -> Any:
        """All rows of a series."""

    @abstractmethod
    def read_range(self, label: str, start: int, stop: int) -> Any:
        """The rows from `start` to before `stop`, in microseconds since 1970."""

    def version(self, label: str) -> Any:
        """What `read_version` needs to come back to the present state."""
        raise NotImplementedError

    def read_version(self, label: str, version: Any) -> Any:
        """All rows of a series in a past state."""
        raise NotImplementedError

    def labels(self) -> Sequence[str]:
        """The labels of all series."""
        raise NotImplementedError

    # ---- Upkeep

    def pack(self) -> None:
        """Make what is stored small, with all versions kept."""
        raise NotImplementedError("is as small as it gets when it is written")

    # ---- Replicas

    def pull(self, source: Library) -> None:
        """Take over whatever the source has and this lacks, with all versions."""
        raise NotImplementedError

    def merge(self) -> None:
        """Join what was changed apart; later writes win."""
        raise NotImplementedError

    # ---- Publications: whole tables, one after the other (W10)

    def publication(self, table: Any) -> Any:
        """A table of `real.py` in the form in which this library likes its input best. Not
        timed."""
        raise NotImplementedError("not measured" if self.versioned else "keeps no versions")

    def open_published(self) -> None:
        """As `open`, after publications only."""
        self.open()

    def publish(self, publication: Any, only_changes: bool) -> Any:
        """Commit a publication as all that there is; returns what `published` needs."""
        raise NotImplementedError

    def published(self, version: Any) -> Any:
        """A past publication."""
        raise NotImplementedError

    def published_table(self, found: Any) -> Any:
        """It as a table again, to compare. Not timed."""
        raise NotImplementedError


def find(name: str, folder: str, endpoint: str | None = None) -> Library:
    """The library of that name. Raises ImportError where it is not installed."""
    library: Library = importlib.import_module(KNOWN[name].module).Library(folder, endpoint)
    return library


def sum_wrapping(*arrays: Any) -> float:
    """The sum of arrays of 8-byte values; integers wrap, in every library alike."""
    return float(sum(float(np.sum(array)) for array in arrays))
