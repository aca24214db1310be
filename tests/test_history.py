"""What the heads were in the past, found by a search instead of a walk over all revisions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lakota.changelog import PHI, Child, Edge, History, make_child
from lakota.digest import Digest


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Branches, merges, equal stamps, and roots whose parents were trimmed."""
    children: list[Child] = [PHI]
    edges: set[Edge] = set()
    for number in range(draw(st.integers(0, 12))):
        stamp = draw(st.integers(1, 8))
        child = make_child(stamp, Digest(f"{number:032x}"))
        older = sorted(c for c in children if c < child)
        parents = draw(st.lists(st.sampled_from(older), min_size=1, max_size=3, unique=True))
        edges.update((parent, child) for parent in parents)
        children.append(child)
    trimmed = draw(st.sets(st.sampled_from(sorted(edges)))) if edges else set()
    return History.of(edges - trimmed)


@given(histories(), st.integers(0, 10))
def test_past_heads_are_those_of_the_past_history(history: History, stamp: int) -> None:
    assert history.heads_until(stamp) == history.until(stamp).heads


@given(histories())
def test_heads_as_of_now_are_the_heads(history: History) -> None:
    assert history.heads_until(1 << 62) == history.heads
