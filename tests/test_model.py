"""One repo against a dictionary: whatever is written, deleted, renamed, compacted, trimmed and
collected, in any order, every read gives what a replay of the writes gives.
"""

from __future__ import annotations

import sys
import tempfile
from array import array
from contextlib import ExitStack
from itertools import count
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from model import (
    CLOSED,
    EVERYWHERE,
    EXAMPLES,
    HOWS,
    KINDS,
    LABELS,
    SIZES,
    START,
    Oracle,
    Order,
    Replica,
    Span,
    machine,
    sizes,
)

from lakota import Repo, Schema
from lakota.store.memory import MemoryStore

labels = st.sampled_from(LABELS)
seeds = st.integers(0, 63)
bounds = st.just(-1) | st.integers(0, 63)
closed = st.sampled_from(CLOSED)
windows = st.none() | st.integers(0, 5)
keys = st.lists(seeds, max_size=6)
hows = st.sampled_from(["write", *HOWS])
orders = st.tuples(labels, keys, bounds, bounds, closed, hows)


class OneRepo(RuleBasedStateMachine):
    """Random steps on one repo."""

    upserts = False

    @initialize(
        kind=st.sampled_from(sorted(KINDS)),
        small=st.sampled_from(SIZES),
        codec=st.sampled_from(["plain", "packed"]),
        local=st.integers(0, 9).map(lambda n: n == 9),
    )
    def start(self, kind: str, small: dict[str, int], codec: str, local: bool) -> None:
        self.stack = ExitStack()
        self.stack.enter_context(sizes(**small))
        store: Any = MemoryStore()
        if local:
            store = self.stack.enter_context(tempfile.TemporaryDirectory())
        clock = count(START, 700)
        self.oracle = Oracle(KINDS[kind])
        self.replica = Replica(self.oracle, store, lambda: next(clock), codec)

    def order(self, spec: tuple[str, list[int], int, int, str, str]) -> Order:
        label, keys, start, stop, closed, how = spec
        how = how if self.upserts else "write"
        bound = self.oracle.kind.bound
        span = Span(bound(start), bound(stop), closed) if how == "write" else EVERYWHERE
        rows = [self.oracle.row(seed) for seed in keys]
        return Order(label, rows, span, *self.oracle.kind.how(how))

    @rule(label=labels, keys=keys)
    def write(self, label: str, keys: list[int]) -> None:
        self.replica.write(self.order((label, keys, -1, -1, "both", "write")))
        self.replica.check_series(label)

    @precondition(lambda self: self.upserts)
    @rule(label=labels, keys=keys, how=st.sampled_from(sorted({*HOWS} - {"write"})))
    def upsert(self, label: str, keys: list[int], how: str) -> None:
        self.replica.write(self.order((label, keys, -1, -1, "both", how)))
        self.replica.check_series(label)

    @rule(label=labels, keys=keys, start=bounds, stop=bounds, closed=closed, fit=st.booleans())
    def write_between(
        self, label: str, keys: list[int], start: int, stop: int, closed: str, fit: bool
    ) -> None:
        order = self.order((label, keys, start, stop, closed, "write"))
        if fit:  # most writes are refused otherwise
            if order.span.empty:
                order.span = Span(order.span.stop, order.span.start, closed)
            order.rows = [r for r in order.rows if order.span.holds(self.oracle.key(r))]
        self.replica.write(order)
        self.replica.check_series(label)

    @rule(label=labels, start=bounds, stop=bounds, closed=closed)
    def delete(self, label: str, start: int, stop: int, closed: str) -> None:
        self.replica.write(self.order((label, [], max(start, 0), max(stop, 0), closed, "write")))
        self.replica.check_series(label)

    @rule(specs=st.lists(orders, max_size=4))
    def multi(self, specs: list[tuple[str, list[int], int, int, str, str]]) -> None:
        self.replica.multi([self.order(spec) for spec in specs])
        self.replica.check_now()

    @rule(rows=st.lists(st.tuples(labels, seeds), max_size=8))
    def bulk(self, rows: list[tuple[str, int]]) -> None:
        self.replica.bulk([(label, self.oracle.row(seed)) for label, seed in rows])
        self.replica.check_now()

    @rule(label=labels, other=labels)
    def move_series(self, label: str, other: str) -> None:
        """Rename it or, to its own name, delete it."""
        if label == other:
            self.replica.delete(label)
        else:
            self.replica.rename(label, other)
        self.replica.check_now(label, other)

    @rule(
        what=st.sampled_from(["defrag", "fold", "pack", "gc", "trim", "merge", "reopen"]),
        nth=st.integers(0, 60),
        plus=st.sampled_from([None, 0, 1, 300]),
    )
    def upkeep(self, what: str, nth: int, plus: int | None) -> None:
        revisions = sorted(self.replica.clct.changelog.log(), key=lambda r: r.child)
        if what == "defrag":
            self.replica.defrag(1 + nth % 3)
        elif what == "fold":
            stamps = [revision.stamp for revision in revisions] or [0]
            self.replica.fold(stamps[nth % len(stamps)] - (nth % 2))
        elif what == "trim" and revisions:
            revision = revisions[nth % len(revisions)]
            self.replica.trim(revision if plus is None else revision.stamp + plus)
        elif what != "trim":
            getattr(self.replica, what)()
        self.replica.check_now()

    @rule(
        label=labels,
        start=bounds,
        stop=bounds,
        closed=closed,
        limit=windows,
        offset=windows,
        step=st.integers(0, 4),
        when=st.integers(-20, 100),
        select=st.sampled_from([None, "v", ["note", "k"], ["k"]]),
    )
    def read(
        self,
        label: str,
        start: int,
        stop: int,
        closed: str,
        limit: int | None,
        offset: int | None,
        step: int,
        when: int,
        select: Any,
    ) -> None:
        bound = self.oracle.kind.bound
        span = Span(bound(start), bound(stop), closed)
        self.replica.check_read(label, span, limit, offset, step, when, select)

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None and hasattr(self, "replica"):
                self.replica.check_now()
                self.replica.check_past(5)
                self.replica.check_store()
                assert len(self.replica.heads()) < 2
        finally:
            if hasattr(self, "stack"):
                self.stack.close()


class UpsertedRepo(OneRepo):
    """As well with upserts of rows and cells, and deletions by key. With `UpsertingReplicas`, which
    are two to four, these are `EXAMPLES` of mixed histories."""

    upserts = True


TestOneRepo = OneRepo.TestCase
TestOneRepo.settings = machine(EXAMPLES // 10)
TestUpsertedRepo = UpsertedRepo.TestCase
TestUpsertedRepo.settings = machine(EXAMPLES * 3 // 10)


# ---- The smallest examples of what the machine found


def test_a_multi_block_gathers_what_other_handles_of_the_collection_write() -> None:
    repo = Repo()
    clct = repo.create_collection(Schema(k="int*", v="int"), "c")
    with clct.multi() as batch:
        assert (repo / "c" / "s").write({"k": [1], "v": [2]}) == []
    assert len(batch.revisions) == len(clct.changelog) == 1


def test_arrays_that_were_written_in_a_multi_block_may_be_changed_before_it_ends() -> None:
    clct = Repo().create_collection(Schema(k="int*", v="float"), "c")
    (clct / "d").write({"k": [1, 2], "v": [1.0, 2.0]})
    k, v = np.array([1, 2]), np.array([1.0, 2.0])
    with clct.multi():
        (clct / "a").write({"k": k, "v": v})
        (clct / "b").upsert({"k": k, "v": pd.Series(v, copy=False)})
        clct.write({"label": ["c", "c"], "k": k, "v": memoryview(v)})
        (clct / "d").delete_keys(k)
        k += 100
        v[:] = 0.0
    assert [(clct / label).df().rows() for label in "abc"] == [[(1, 1.0), (2, 2.0)]] * 3
    assert len(clct / "d") == 0


def test_an_array_of_the_standard_library_may_be_changed_too() -> None:
    clct = Repo().create_collection(Schema(k="int*", v="float"), "c")
    k, v = array("q", [1, 2]), array("d", [1.0, 2.0])
    with clct.multi():
        (clct / "a").write({"k": k, "v": v})
        k[0] = v[1] = 0
    assert (clct / "a").df().rows() == [(1, 1.0), (2, 2.0)]
