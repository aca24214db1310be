"""The DAG of revisions as lines of text, newest first, as `git log --graph` draws it.

A lane is a column in which the line of one state goes down until that state is reached.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

__all__ = ["Line", "graph"]


class Line(NamedTuple):
    """A line of a graph."""

    drawing: str
    node: str | None
    """The state that the star stands for; None between states."""


def graph(nodes: Sequence[str], parents: Mapping[str, Sequence[str]]) -> Iterator[Line]:
    """The lines for `nodes`, of which every one stands before its parents.

    >>> for line in graph("dcba", {"d": "bc", "c": "a", "b": "a"}):
    ...     print(line.drawing, line.node or "-")
    * d
    ├─╮ -
    │ * c
    * │ b
    ├─╯ -
    * a
    """
    known = set(nodes)
    lanes: list[str | None] = []
    ended: int | None = None
    for node in nodes:
        if node not in lanes:
            _put(lanes, node, ended)
        at = lanes.index(node)
        marks = ["*" if i == at else "│" if lane else " " for i, lane in enumerate(lanes)]
        yield Line(" ".join(marks).rstrip(), node)
        own = [parent for parent in parents.get(node, ()) if parent in known]
        for drawing in _down(lanes, at, own):
            yield Line(drawing, None)
        ended = None if own else at


def _down(lanes: list[str | None], at: int, parents: Sequence[str]) -> Iterator[str]:
    """Lead lane `at` to the parents of its state; gives the lines between them."""
    # One that has no lane yet goes straight down; if all have one, the lane ends at the first.
    straight = next((parent for parent in parents if parent not in lanes), None)
    first = straight or next(iter(parents), None)
    if straight is not None:
        lanes[at] = straight
    for parent in parents:
        if parent == first:
            continue
        new = parent not in lanes
        other = _put(lanes, parent) if new else lanes.index(parent)
        if at < other:
            yield _link(lanes, (at, "├"), (other, "╮" if new else "┤"))
        else:
            yield _link(lanes, (other, "╭" if new else "├"), (at, "┤"))
    if straight is None:
        lanes[at] = None
        if first is not None:
            left, right = sorted((at, lanes.index(first)))
            lanes[left], lanes[right] = first, None
            yield _link(lanes, (left, "├"), (right, "╯"))
    while lanes and lanes[-1] is None:
        lanes.pop()


def _put(lanes: list[str | None], node: str, ended: int | None = None) -> int:
    """Give a state a lane of its own, but not the one that ended in the line before: it would look
    as if it went on."""
    free = (i for i, lane in enumerate(lanes) if lane is None and i != ended)
    at = next(free, max(len(lanes), -1 if ended is None else ended + 1))
    lanes.extend([None] * (at + 1 - len(lanes)))
    lanes[at] = node
    return at


def _link(lanes: Sequence[str | None], left: tuple[int, str], right: tuple[int, str]) -> str:
    """A line between two lanes."""
    marks = ["│" if lane else " " for lane in lanes]
    for i in range(left[0] + 1, right[0]):
        marks[i] = "┼" if lanes[i] else "─"
    marks[left[0]], marks[right[0]] = left[1], right[1]
    text = marks[0]
    for i, mark in enumerate(marks[1:], 1):
        text += ("─" if left[0] < i <= right[0] else " ") + mark
    return text.rstrip()
