"""Progress of what takes longer than a second, on a terminal: `with bar(shell, "push") as tell`.

`tell(done, total, what)` may be called from any thread, as often as one likes; the total may be
None. A bar appears after a second, even if nothing was told by then, and is gone in the end. All of
it goes to stderr; without a terminal there is none of it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock, Timer
from typing import TYPE_CHECKING

from .shell import Shell

if TYPE_CHECKING:
    from ..collection import Collection

__all__ = ["Tell", "bar", "told"]

Tell = Callable[[int, int | None, str], None]
DELAY = 1.0
"""Seconds after which a bar appears."""


@contextmanager
def bar(shell: Shell, what: str) -> Iterator[Tell]:
    """A bar while the block runs; gives what to tell its progress to."""
    if shell.quiet or not sys.stderr.isatty():
        yield _silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    task = progress.add_task(what, total=None)
    lock = Lock()
    ended = False

    def begin() -> None:
        with lock:
            if not ended:
                progress.start()

    def tell(done: int, total: int | None, now: str) -> None:
        progress.update(task, completed=done, total=total, description=f"{what}: {now}")

    timer = Timer(DELAY, begin)
    timer.daemon = True
    timer.start()
    try:
        yield tell
    finally:
        timer.cancel()
        with lock:
            ended = True
            progress.stop()


def told(collections: Sequence[Collection], tell: Tell) -> Iterator[Collection]:
    """Collections, of which it is told how many are done."""
    for done, clct in enumerate(collections):
        tell(done, len(collections), clct.label)
        yield clct


def _silent(done: int, total: int | None, what: str) -> None:
    return None
