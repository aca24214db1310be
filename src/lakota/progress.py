"""How long operations tell how far they are: `progress(done, total, what)`.

`done` of `total` things, or of a number that is not known yet, are finished; `what` says which:
revisions, segments, pages. It is called from the thread that called the operation, which an error
raised in it ends as any other would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from .errors import InputError

__all__ = ["Progress", "check_progress", "counted", "labelled"]

Progress = Callable[[int, int | None, str], None]
Item = TypeVar("Item")


def counted(
    items: Iterable[Item], progress: Progress | None, total: int | None, what: str
) -> Iterator[Item]:
    """`items` as they are, told of one by one once they are done with.

    >>> list(counted("ab", lambda *said: print(*said), 2, "letters"))
    0 2 letters
    1 2 letters
    2 2 letters
    ['a', 'b']
    """
    if progress is None:
        yield from items
        return
    progress(0, total, what)
    for done, item in enumerate(items, 1):
        yield item
        progress(done, total, what)


def check_progress(progress: object) -> None:
    """Raises `InputError` for what cannot be called."""
    if progress is not None and not callable(progress):
        raise InputError(
            f"progress={progress!r}: expected a function of how many are done, how many there are "
            "and of what"
        )


def labelled(progress: Progress | None, label: str) -> Progress | None:
    """`progress` that is told of which collection things are."""
    if progress is None:
        return None
    return lambda done, total, what: progress(done, total, f"{label}, {what}")
