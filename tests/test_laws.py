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

from lakota import Clock, Collection, Repo, Schema
from lakota.store.memory import MemoryStore

HOUR = 3_600_000_000_000

places = st.integers(0, 3)
labels = st.sampled_from(LABELS)
seeds = st.integers(0, 63)
bounds = st.just(-1) | st.integers(0, 63)
aheads = st.integers(0, 2)
closed = st.sampled_from(CLOSED)
keys = st.lists(seeds, max_size=4)
hows = st.sampled_from(["write", *HOWS])
orders = st.tuples(labels, keys, bounds, bounds, closed, hows)
OrderSpec = tuple[str, list[int], int, int, str, str]


class Replicas(RuleBasedStateMachine):
    """Random steps on replicas of one collection. Their clocks stand still between steps, unless
    time passes, so that stamps tie; some are an hour off."""

    upserts = False
    news = 0
    """Writes since they were all the same."""

    @initialize(
        kind=st.sampled_from(sorted(KINDS)),
        small=st.sampled_from(SIZES),
        skews=st.lists(st.sampled_from([0, HOUR, -HOUR]), min_size=2, max_size=4),
        codecs=st.tuples(*[st.sampled_from(["plain", "packed"])] * 4),
        local=st.integers(0, 19).map(lambda n: n == 19),
        forgets=st.booleans(),
    )
    def start(
        self,
        kind: str,
        small: dict[str, int],
        skews: list[int],
        codecs: Any,
        local: bool,
        forgets: bool,
    ) -> None:
        self.stack = ExitStack()
        self.stack.enter_context(sizes(**small))
        self.now, self.frozen = START, 0
        self.forgets = forgets
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

    def other(self, place: int, ahead: int) -> Replica:
        return self.at(place % len(self.replicas) + 1 + ahead % (len(self.replicas) - 1))

    def order(self, spec: OrderSpec) -> Order:
        """A write whose rows fit its bounds; without rows a deletion."""
        label, keys, start, stop, closed, how = spec
        rows = [self.oracle.row(seed) for seed in keys]
        if how != "write" and self.upserts:
            distinct = {self.oracle.key(row): row for row in rows}
            how_to = self.oracle.kind.how(how)
            return Order(label, list(distinct.values()), EVERYWHERE, *how_to)
        bound = self.oracle.kind.bound
        span = Span(bound(start), bound(stop), closed)
        if span.empty:
            span = Span(span.stop, span.start, closed)
        rows = [row for row in rows if span.holds(self.oracle.key(row))]
        if not rows:
            span = Span(bound(max(start, 0)), bound(max(stop, 0)), closed)
        return Order(label, rows, span)

    @rule(at=places, spec=orders, later=st.sampled_from([0, 0, 1, 2, HOUR // 2, 2 * HOUR]))
    def write(self, at: int, spec: OrderSpec, later: int) -> None:
        self.now += later
        self.news += 1
        order = self.order(spec)
        self.at(at).write(order)
        if self.news % 3 == 0:  # what is wrong now is so later, when all is compared
            self.at(at).check_series(order.label)

    @rule(at=places, ahead=aheads, spec=orders, other_spec=orders | st.none())
    def write_at_once(
        self, at: int, ahead: int, spec: OrderSpec, other_spec: OrderSpec | None
    ) -> None:
        """Two replicas write at the very same time: different things, or the same."""
        order = self.order(spec)
        other_order = order if other_spec is None else self.order(other_spec)
        stamps = [int(child[:16], 16) for child in self.oracle.seen]
        self.frozen = max([self.now, *stamps]) + 1
        self.news += 2
        self.at(at).write(order)
        self.other(at, ahead).write(other_order)
        self.frozen = 0
        self.other(at, ahead).check_series(other_order.label)

    @rule(at=places, specs=st.lists(orders, max_size=4))
    def write_many(self, at: int, specs: list[OrderSpec]) -> None:
        self.news += 1
        self.at(at).multi([self.order(spec) for spec in specs])
        self.at(at).check_series(next(self.turns))

    @precondition(lambda self: self.news)
    @rule(at=places, label=labels, other=labels)
    def move_series(self, at: int, label: str, other: str) -> None:
        """Rename it or, to its own name, delete it."""
        if label == other:
            self.at(at).delete(label)
        else:
            self.at(at).rename(label, other)
        self.at(at).check_now(label, other)

    @precondition(lambda self: self.news)
    @rule(at=places, ahead=aheads, way=st.sampled_from(["pull", "pull", "repo"]))
    def pull(self, at: int, ahead: int, way: str) -> None:
        self.at(at).pull(self.other(at, ahead), way)
        self.at(at).check_now(next(self.turns))

    @precondition(lambda self: self.news)
    @rule(
        at=places, ahead=aheads, way=st.sampled_from(["push", "push", "label", "push", "shallow"])
    )
    def push(self, at: int, ahead: int, way: str) -> None:
        way = way if way != "shallow" or self.forgets else "push"
        self.other(at, ahead).pull(self.at(at), way)
        self.other(at, ahead).check_now(next(self.turns))

    @precondition(lambda self: self.news)
    @rule(at=places, which=st.none() | st.sets(places, min_size=2))
    def merge(self, at: int, which: set[int] | None) -> None:
        heads = self.at(at).heads()
        chosen = [head for nth, head in enumerate(heads) if which and nth in which]
        self.at(at).merge(chosen)
        self.at(at).check_now(next(self.turns))

    @precondition(lambda self: self.news)
    @rule(
        at=places,
        what=st.sampled_from(["defrag", "pack", "gc", "trim", "reopen", "fold"]),
        nth=st.integers(0, 60),
    )
    def upkeep(self, at: int, what: str, nth: int) -> None:
        replica = self.at(at)
        revisions = sorted(replica.clct.changelog.log(), key=lambda r: r.child)
        if what == "defrag":
            replica.defrag(1 + nth % 3)
        elif what == "fold":
            replica.fold(self.settled(replica))
        elif what == "trim" and revisions and self.forgets:
            replica.trim(revisions[nth % len(revisions)])
        elif what != "trim":
            getattr(replica, what)()
        replica.check_now(next(self.turns))

    def settled(self, replica: Replica) -> int:
        """A stamp up to which `replica` knows all writes, of now and of times to come: of each
        replica the next one is later than all that it has seen."""
        known = replica.joined()
        unknown = [w.stamp - 1 for w in frozenset().union(*self.oracle.seen.values()) - known]
        newest = [int(head[:16], 16) for r in self.replicas for head in r.heads()[-1:] or ["0"]]
        return min(*unknown, *newest)

    @rule(at=places, label=labels, start=bounds, stop=bounds, when=st.integers(-20, 100))
    def read(self, at: int, label: str, start: int, stop: int, when: int) -> None:
        bound = self.oracle.kind.bound
        span = Span(bound(start), bound(stop), "left")
        self.at(at).check_read(label, span, None, None, 2, when, None)

    @precondition(lambda self: self.news >= 8)
    @rule(nth=st.none() | st.integers(0, 23))
    def converge(self, nth: int | None) -> None:
        """Everyone pulls from everyone and merges, at the end or, in some order, on the way."""
        self.exchange_and_merge() if nth is None else self.exchange_merging_on_the_way(nth)
        self.check_same()
        self.news = 0

    def exchange_and_merge(self) -> None:
        self.exchange()
        whole = all(replica.whole for replica in self.replicas)
        if whole:
            assert len({tuple(replica.heads()) for replica in self.replicas}) == 1
        self.merge_all()
        if not whole:
            # Where history was trimmed, a head may not be known for an ancestor of another.
            self.exchange()
            self.merge_all()

    def exchange_merging_on_the_way(self, nth: int) -> None:
        orders = list(permutations(self.replicas))
        for replica in orders[nth % len(orders)]:
            replica.merge()
            for other in orders[nth // 2 % len(orders)]:
                if other is not replica:
                    replica.pull(other)
                    replica.merge()
        self.exchange()
        self.merge_all()
        # All have seen the same: their content has one digest, by whatever merges they came to it.
        assert len({replica.heads()[-1][17:] for replica in self.replicas if replica.heads()}) <= 1
        self.exchange()
        self.merge_all()

    def merge_all(self) -> None:
        for replica in self.replicas:
            replica.merge()

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
                    replica.check_past(1)
                self.converge(None)
                self.replicas[0].check_past(2)
                for replica in self.replicas[:1] + [r for r in self.replicas[1:] if r.swept]:
                    replica.check_store()
        finally:
            if hasattr(self, "stack"):
                self.stack.close()


class UpsertingReplicas(Replicas):
    """As well with upserts of rows and cells, and deletions by key."""

    upserts = True


TestReplicas = Replicas.TestCase
TestReplicas.settings = machine(EXAMPLES // 5)
TestUpsertingReplicas = UpsertingReplicas.TestCase
TestUpsertingReplicas.settings = machine(EXAMPLES * 7 // 10)


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
