"""Two to four repos against a dictionary: whoever has seen the same writes holds the same content,
whatever was pulled, merged, packed, trimmed and collected on the way, and whatever the clocks say.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from itertools import cycle, permutations
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
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
    sizes,
)

from lakota import Clock, Collection, Repo, Schema
from lakota.store.memory import MemoryStore

HOUR = 3_600_000_000_000

places = st.integers(0, 3)
labels = st.sampled_from(LABELS)
seeds = st.integers(0, 63)
bounds = st.integers(-1, 63)
closed = st.sampled_from(CLOSED)
keys = st.lists(seeds, max_size=4)
hows = st.sampled_from(["write", *HOWS])
orders = st.tuples(labels, keys, bounds, bounds, closed, hows)
OrderSpec = tuple[str, list[int], int, int, str, str]


class Replicas(RuleBasedStateMachine):
    """Random steps on replicas of one collection. Their clocks stand still between steps, unless
    time passes, so that stamps tie; some are an hour off."""

    @initialize(
        kind=st.sampled_from(sorted(KINDS)),
        small=st.sampled_from(SIZES),
        skews=st.lists(st.sampled_from([0, HOUR, -HOUR]), min_size=2, max_size=4),
        codecs=st.tuples(*[st.sampled_from(["plain", "packed"])] * 4),
        local=st.integers(0, 19).map(lambda n: n == 19),
        upserts=st.integers(0, 2).map(lambda n: n == 2),
    )
    def start(
        self,
        kind: str,
        small: dict[str, int],
        skews: list[int],
        codecs: Any,
        local: bool,
        upserts: bool,
    ) -> None:
        self.stack = ExitStack()
        self.stack.enter_context(sizes(**small))
        self.now, self.frozen = START, 0
        self.upserts = upserts
        self.turns = cycle(LABELS)
        self.oracle = Oracle(KINDS[kind])
        self.replicas = []
        for skew, codec in zip(skews, codecs, strict=False):
            store: Any = MemoryStore()
            if local:
                store = self.stack.enter_context(tempfile.TemporaryDirectory())
            self.replicas.append(Replica(self.oracle, store, self.clock(skew), codec))

    def clock(self, skew: int) -> Callable[[], int]:
        return lambda: self.frozen or self.now + skew

    def at(self, place: int) -> Replica:
        return self.replicas[place % len(self.replicas)]

    def order(self, spec: OrderSpec) -> Order:
        """A write whose rows fit its bounds."""
        label, keys, start, stop, closed, how = spec
        rows = [self.oracle.row(seed) for seed in keys]
        if how != "write" and self.upserts:
            distinct = {self.oracle.key(row): row for row in rows}
            return Order(label, list(distinct.values()), EVERYWHERE, *HOWS[how])
        bound = self.oracle.kind.bound
        span = Span(bound(start), bound(stop), closed)
        return Order(label, [row for row in rows if span.holds(self.oracle.key(row))], span)

    @rule(nanoseconds=st.sampled_from([1, 2, 5, HOUR // 3600, HOUR, 2 * HOUR]))
    def time_passes(self, nanoseconds: int) -> None:
        self.now += nanoseconds

    @rule(at=places, spec=orders)
    def write(self, at: int, spec: OrderSpec) -> None:
        order = self.order(spec)
        self.at(at).write(order)
        self.at(at).check_now(order.label)

    @rule(at=places, other=places, spec=orders, other_spec=orders | st.none())
    def write_at_once(
        self, at: int, other: int, spec: OrderSpec, other_spec: OrderSpec | None
    ) -> None:
        """Two replicas write at the very same time: different things, or the same."""
        order = self.order(spec)
        other_order = order if other_spec is None else self.order(other_spec)
        stamps = [int(child[:16], 16) for child in self.oracle.seen]
        self.frozen = max([self.now, *stamps]) + 1
        self.at(at).write(order)
        self.at(other).write(other_order)
        self.frozen = 0
        self.at(at).check_now(next(self.turns))
        self.at(other).check_now(next(self.turns))

    @rule(at=places, specs=st.lists(orders, max_size=4))
    def multi(self, at: int, specs: list[OrderSpec]) -> None:
        self.at(at).multi([self.order(spec) for spec in specs])
        self.at(at).check_now(next(self.turns))

    @rule(at=places, label=labels, start=bounds, stop=bounds, closed=closed)
    def delete(self, at: int, label: str, start: int, stop: int, closed: str) -> None:
        self.at(at).write(self.order((label, [], max(start, 0), max(stop, 0), closed, "write")))
        self.at(at).check_now(label)

    @rule(at=places, label=labels)
    def delete_series(self, at: int, label: str) -> None:
        self.at(at).delete(label)
        self.at(at).check_now(label)

    @rule(at=places, label=labels, other=labels)
    def rename(self, at: int, label: str, other: str) -> None:
        self.at(at).rename(label, other)
        self.at(at).check_now(label, other)

    @rule(
        at=places,
        source=places,
        way=st.sampled_from(["pull", "push", "pull", "push", "repo", "label", "shallow"]),
    )
    def pull(self, at: int, source: int, way: str) -> None:
        if self.at(at) is not self.at(source):
            self.at(at).pull(self.at(source), way)
            self.at(at).check_now(next(self.turns))

    @rule(at=places)
    def merge(self, at: int) -> None:
        self.at(at).merge()
        self.at(at).check_now(next(self.turns))

    @rule(at=places, which=st.sets(places, min_size=2))
    def merge_some(self, at: int, which: set[int]) -> None:
        heads = self.at(at).heads()
        chosen = [head for nth, head in enumerate(heads) if nth in which]
        if chosen:
            self.at(at).merge(chosen)
            self.at(at).check_now(next(self.turns))

    @rule(at=places, max_chunk=st.integers(1, 3))
    def defrag(self, at: int, max_chunk: int) -> None:
        self.at(at).defrag(max_chunk)
        self.at(at).check_now(next(self.turns))

    @rule(at=places)
    def pack(self, at: int) -> None:
        self.at(at).pack()
        self.at(at).check_now(next(self.turns))

    @rule(at=places)
    def gc(self, at: int) -> None:
        self.at(at).gc()
        self.at(at).check_now(next(self.turns))

    @rule(at=places, nth=st.integers(0, 60))
    def trim(self, at: int, nth: int) -> None:
        revisions = sorted(self.at(at).clct.changelog.log(), key=lambda r: r.child)
        if revisions:
            self.at(at).trim(revisions[nth % len(revisions)])
            self.at(at).check_now(next(self.turns))

    @rule(at=places)
    def reopen(self, at: int) -> None:
        self.at(at).reopen()

    @rule(at=places, label=labels, start=bounds, stop=bounds, when=st.integers(-20, 100))
    def read(self, at: int, label: str, start: int, stop: int, when: int) -> None:
        bound = self.oracle.kind.bound
        span = Span(bound(start), bound(stop), "left")
        self.at(at).check_read(label, span, None, None, 2, when, None)

    @rule()
    def all_converge(self) -> None:
        self.exchange()
        if all(replica.whole for replica in self.replicas):
            assert len({tuple(replica.heads()) for replica in self.replicas}) == 1
        for replica in self.replicas:
            replica.merge()
        if not all(replica.whole for replica in self.replicas):
            # Where history was trimmed, a head may not be known for an ancestor of another.
            self.exchange()
            for replica in self.replicas:
                replica.merge()
        self.check_same()

    @rule(nth=st.integers(0, 23))
    def all_converge_merging_as_they_go(self, nth: int) -> None:
        orders = list(permutations(self.replicas))
        for replica in orders[nth % len(orders)]:
            replica.merge()
            for other in orders[nth // 2 % len(orders)]:
                if other is not replica:
                    replica.pull(other)
                    replica.merge()
        # The first has not seen all yet: what the others merged on the way may be compacted.
        self.exchange()
        for replica in self.replicas:
            replica.merge()
        assert len({replica.heads()[-1][17:] for replica in self.replicas if replica.heads()}) <= 1
        self.exchange()
        for replica in self.replicas:
            replica.merge()
        self.check_same()

    def exchange(self) -> None:
        """Everyone pulls from everyone."""
        for replica in self.replicas:
            for other in self.replicas:
                if other is not replica:
                    replica.pull(other)

    def check_same(self) -> None:
        """One and the same final revision; what it holds is the fold of all writes."""
        heads = [replica.heads() for replica in self.replicas]
        assert all(len(found) <= 1 and found == heads[0] for found in heads)
        writes = frozenset().union(*self.oracle.seen.values())
        for replica in self.replicas:
            replica.merge()
            replica.check_now(next(self.turns))
        assert self.oracle.content(self.replicas[0].newest()) == self.oracle.content(writes)
        self.replicas[0].check_now()

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None and hasattr(self, "replicas"):
                for replica in self.replicas:
                    replica.check_past(2)
                self.all_converge()
                self.replicas[0].check_past(2)
                for replica in self.replicas:
                    replica.check_store()
        finally:
            if hasattr(self, "stack"):
                self.stack.close()


TestReplicas = Replicas.TestCase
TestReplicas.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=50, report_multiple_bugs=False
)


# ---- The smallest examples of what the machine found

SCHEMA = Schema(k="int*", v="int")


def at_noon() -> int:
    return START


def pair() -> tuple[Collection, Collection]:
    """Two replicas whose clocks tie."""
    first, second = (
        Repo(clock=Clock(now=at_noon)).create_collection(SCHEMA, "c") for _ in range(2)
    )
    return first, second


def test_a_pull_does_not_bring_back_what_was_trimmed_before_own_writes() -> None:
    mine, theirs = pair()
    for n in range(3):
        (theirs / "s").write({"k": [n], "v": [n]})
    mine.pull(theirs)
    revisions = (mine / "s").write({"k": [9], "v": [9]})
    assert mine.trim(revisions[0].stamp + 1, grace=0) == 3
    assert mine.pull(theirs) == []
    assert len(mine.changelog) == 1


def test_after_a_trim_reads_as_of_later_times_are_what_they_were() -> None:
    times = iter([0, 0, 1000, 2000, 9000])  # the first two are of the registries
    mine, theirs = (
        Repo(clock=Clock(now=lambda: next(times))).create_collection(SCHEMA, "c") for _ in range(2)
    )
    (mine / "s").write({"k": [1], "v": [1]})
    theirs.pull(mine)
    (mine / "s").write({"k": [2], "v": [2]})
    (theirs / "s").write({"k": [3], "v": [3]})  # later, on what was there at first
    mine.pull(theirs)
    before = (mine / "s").df(as_of=5000)
    mine.trim(3000, grace=0)
    assert (mine / "s").df(as_of=5000).equals(before)


def test_a_renamed_series_keeps_its_upserts_in_order() -> None:
    clct, _ = pair()
    (clct / "s").write({"k": [1, 2], "v": [1, 2]})
    (clct / "s").upsert({"k": [2], "v": [3]})
    (clct / "s").upsert({"k": [2, 3], "v": [4, 4]})
    (clct / "s").delete_keys([3])
    (clct / "s").upsert({"k": [3], "v": [5]})
    clct.rename("s", "t")
    assert (clct / "t").df().rows() == [(1, 1), (2, 4), (3, 5)]
    assert clct.ls() == ["t"]


def test_a_replace_and_an_upsert_of_the_same_rows_at_the_same_time_are_two_writes() -> None:
    mine, theirs = pair()
    (mine / "s").write({"k": [1], "v": [1]})
    theirs.pull(mine)
    rows = {"k": [1, 3], "v": [2, 2]}
    (mine / "s").write(rows)
    (theirs / "s").upsert(rows)
    ties = {c._site.manifest(c.changelog.heads()[-1]).select("s")[-1].tie for c in (mine, theirs)}
    assert len(ties) == 2


def test_commits_that_share_out_the_same_rows_differently_are_two_writes() -> None:
    mine, theirs = pair()
    for clct, ends in ((mine, (0, 1, 5, 6)), (theirs, (0, 2, 4, 6))):
        with clct.multi():
            for label, start, stop in zip("abc", ends, ends[1:], strict=False):
                keys = list(range(start, stop))
                (clct / label).write({"k": keys, "v": keys}, -9, 9)
    written = [{label: (clct / label).df().rows() for label in "abc"} for clct in (mine, theirs)]
    mine.pull(theirs)
    mine.merge()
    assert {label: (mine / label).df().rows() for label in "abc"} in written
