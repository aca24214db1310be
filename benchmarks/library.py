"""What a library must do to take part. A module each: `ours.py`, `peers/*.py`.

A method that a library has no way for raises NotImplementedError; its figure stays empty.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
from data import Columns

SERIES = "series"
"""The label where a work needs only one series."""

KNOWN = {
    "ours": "ours",
    "arcticdb": "peers.arctic",
    "delta": "peers.delta",
    "lance": "peers.lances",
}


class Library(ABC):
    """One library, with all it stores in one folder, at its default durability."""

    name: ClassVar[str]
    versioned: ClassVar[bool] = True

    def __init__(self, folder: str) -> None:
        self.folder = folder

    # ---- Handles

    @abstractmethod
    def create(self) -> None:
        """Make an empty place for series, and open it."""

    @abstractmethod
    def open(self) -> None:
        """Open what is in the folder anew: a handle that knows nothing yet."""

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
        """Make what is stored small."""
        raise NotImplementedError


def find(name: str, folder: str) -> Library:
    """The library of that name. Raises ImportError where it is not installed."""
    library: Library = importlib.import_module(KNOWN[name]).Library(folder)
    return library


def sum_wrapping(*arrays: Any) -> float:
    """The sum of arrays of 8-byte values; integers wrap, in every library alike."""
    return float(sum(float(np.sum(array)) for array in arrays))
