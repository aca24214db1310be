"""Writes that are only tried: checked as any other, and not kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..collection import Collection

__all__ = ["tried"]


class Abandoned(Exception):
    """The end of what was only tried."""


@contextmanager
def tried(clct: Collection) -> Iterator[None]:
    """A block whose writes to a collection leave nothing behind."""
    with suppress(Abandoned), clct.multi():
        yield
        raise Abandoned
