"""The simulator: several machines and processes, their disks, clocks and the order in which they
run, all from one seed.

A *place* is a folder on a simulated disk, a *process* has one repo open there. Each runs in a
thread, but only one thread runs at a time: at every call to the system the seed says who goes on.
There a process may also die, the power of its place may fail, or the call may fail. The code under
test is the real one, down to the calls of the system.

What is known for certain: which revision was made on which, and what each wrote; the content of a
state is then the fold of its writes, by the oracle of `model.py`. Demanded of every run:

- a read gives the fold of what one listing of the changelog said, nothing less and nothing mixed;
- every listing after a write or a pull returned leads to that write, also after a crash or a loss
  of power;
- at the end every repo is whole, and after a round of pulls and merges all have one head;
- the same seed gives the same run, call by call.
"""

from __future__ import annotations

import errno
import os
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import xxhash
from model import KINDS, LABELS, SIZES, START, Oracle, Write, Writes, rows_of, sizes

import lakota.gc
from lakota import (
    Clock,
    Collection,
    Repo,
    StoreError,
    archive,
    changelog,
    maintain,
    sync,
    transaction,
)
from lakota.changelog import PHI, Changelog, History, root_of
from lakota.manifest import Manifest
from lakota.objects import Objects
from lakota.store import Store, local, parallel

from .disk import ROOT, Crash, Disk, Inline
from .programme import Tally

KIND = KINDS["int"]
GRACE = 1000.0
"""Seconds, longer than anything takes here."""


class Violation(AssertionError):
    """A guarantee was broken."""


@dataclass(eq=False)
class Process:
    """One process: a thread that runs while it holds the baton."""

    world: World
    number: int
    place: str
    skew: float
    baton: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    dead: bool = False
    """Whether it has died, and every call that it still makes must fail."""
    failed: bool = False
    """Whether a call of the present operation was made to fail."""
    uses: list[str] = field(default_factory=list)
    """The places that the present operation works on: all die with the power of one."""
    listings: list[History] = field(default_factory=list)
    """What the changelog of its place said during the present operation."""
    repo: Repo = field(init=False)

    def start(self) -> None:
        self.dead = False
        now = partial(self.world.wall, self.skew)
        # Pages may be small in this run: caches of an earlier process are gone with it.
        self.repo = Repo(self.place, clock=Clock(now=now))

    def clct(self) -> Collection:
        return self.repo.create_collection(KIND.schema, "c", raise_if_exists=False)


class World:
    """Everything of one run."""

    def __init__(self, seed: int, tally: Tally) -> None:
        self.seed, self.tally = seed, tally
        self.rng = rng = random.Random(seed)
        self.now = 0.0
        self.calm = True
        """Whether nothing dies or fails."""
        self.current: Process | None = None
        self.trace = xxhash.xxh3_64()
        self.disk = Disk(rng, lambda: self.now, self.step)
        self.disk.after = self.afterwards
        self.oracle = Oracle(KIND)
        self.documents: dict[tuple[str, str], dict[str, Any]] = {}
        """Every edge that anybody meant to write."""
        self.parents: dict[str, set[str]] = {PHI: set()}
        self.orders: dict[str, list[Write]] = {}
        """What was written under each message."""
        self.bounds: dict[Callable[..., bool], tuple[Any, Any]] = {}
        """The first and the last key of each region."""
        self.contained: dict[str, frozenset[str]] = {PHI: frozenset()}
        self.acknowledged: dict[str, set[str]] = {}
        """By place, the messages of writes that returned there, or that a pull brought."""
        places = [f"{ROOT}/{n}" for n in range(rng.randint(1, 3))]
        self.places = places
        self.acknowledged = {place: set() for place in places}
        count = rng.randint(max(2, len(places)), 4)
        skews = [0.0, 0.0, 0.5, -0.5, 3600.0, -3600.0]
        self.processes = [
            Process(self, n, places[n % len(places)], rng.choice(skews)) for n in range(count)
        ]
        self.dangers = SimpleNamespace(
            crash=rng.choice([0.0, 0.002, 0.01, 0.03]),
            power=rng.choice([0.0, 0.0, 0.002, 0.01]),
            fail=rng.choice([0.0, 0.0, 0.005, 0.03]),
        )
        self.switching = rng.choice([0.05, 0.3, 1.0])
        self.active: list[Process] = []
        self.left = rng.randint(5, 25)
        self.numbers = 0
        self.busy = 0
        """Processes inside an operation."""
        self.pausing = False
        self.errors: list[BaseException] = []
        self.done = threading.Semaphore(0)

    def wall(self, skew: float) -> int:
        return START + int((self.now + skew + 10_000) * 1e9)

    # ---- Who runs, and what goes wrong

    def step(self, call: str, path: str) -> None:
        """Before each call of a process to the system."""
        me = self.current
        if me is None:
            return
        if me.dead:
            raise Crash
        self.now += self.rng.choice((0.0, 0.0001, 0.001, 0.02))
        self.turn(me)
        if me.dead:
            raise Crash
        self.trace.update(f"{me.number} {call} {path}\n".encode())
        self.tally.counts["calls"] += 1
        if self.calm:
            return
        self.perhaps_die(me)
        if self.rng.random() < self.dangers.fail:
            me.failed = True
            self.tally.counts["failed calls"] += 1
            number = errno.ENOSPC if call in ("create", "write", "mkdir") else errno.EIO
            raise OSError(number, os.strerror(number), path)

    def afterwards(self) -> None:
        """After a call that changed something."""
        if self.current is not None and not self.calm:
            self.perhaps_die(self.current)

    def perhaps_die(self, me: Process) -> None:
        chance = self.rng.random()
        if chance < self.dangers.power:
            self.tally.counts["power losses"] += 1
            place = self.rng.choice(me.uses)
            for other in self.processes:
                other.dead = other.dead or place in other.uses
            self.disk.lose_power(place)
            raise Crash
        if chance < self.dangers.power + self.dangers.crash:
            self.tally.counts["crashes"] += 1
            me.dead = True
            raise Crash

    def turn(self, me: Process) -> None:
        """Let another process go on, or none."""
        if len(self.active) > 1 and self.rng.random() < self.switching:
            self.hand_to(me, self.rng.choice(self.active))

    def hand_to(self, me: Process, other: Process) -> None:
        if other is not me:
            self.current = other
            other.baton.release()
            me.baton.acquire()

    # ---- What is known

    def meant(self, edge: tuple[str, str], document: dict[str, Any], store: Store) -> None:
        """Somebody is about to write an edge."""
        if edge in self.documents:
            return
        self.documents[edge] = document
        known = self.parents.setdefault(edge[1], set())
        if known and edge[0] not in known:
            self.contained.clear()
        known.add(edge[0])
        message = document.get("message", "")
        if message in self.orders:
            first = document["first"]
            tie = self.tie_of(edge[1], first, store)
            nth: Counter[str] = Counter()
            stamped = []
            for write in self.orders[message]:
                stamped.append(replace(write, stamp=first + nth[write.label], tie=tie))
                nth[write.label] += 1
            self.orders[message] = stamped

    def tie_of(self, child: str, first: int, store: Store) -> int:
        """What orders the writes of a commit among others with the same stamps: a digest, the one
        thing that is taken from the manifest."""
        with self.aside():
            extents = Manifest(root_of(child), Objects(store).page).extents()
            return min((e.tie for e in extents if e.stamp >= first), default=0)

    def messages(self, child: str) -> frozenset[str]:
        """The writes that a state contains."""
        found = self.contained.get(child)
        if found is None:
            own = {
                document["message"]
                for parent in self.parents[child]
                if (document := self.documents[parent, child])["message"] in self.orders
            }
            found = frozenset(own).union(*map(self.messages, self.parents[child]))
            self.contained[child] = found
        return found

    def among(self, heads: tuple[str, ...]) -> frozenset[str]:
        return frozenset().union(*map(self.messages, heads))

    def content(self, messages: frozenset[str]) -> dict[str, list[Any]]:
        """The fold of writes."""
        writes: Writes = frozenset(w for message in messages for w in self.orders[message])
        return self.oracle.content(writes)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Look at something without taking part."""
        current, self.current = self.current, None
        try:
            yield
        finally:
            self.current = current

    # ---- Operations

    def run(self) -> str:
        """The whole run. Returns what tells it from others."""
        with self.simulated():
            self.active = list(self.processes)
            threads = [
                threading.Thread(target=self.live, args=[p], daemon=True) for p in self.processes
            ]
            for thread in threads:
                thread.start()
            self.calm = False
            self.current = self.rng.choice(self.active)
            self.current.baton.release()
            self.done.acquire()
            for thread in threads:
                thread.join()
            self.current = None
            if self.errors:
                raise self.errors[0]
            self.calm = True
            self.settle()
        return self.trace.hexdigest()

    def live(self, me: Process) -> None:
        """One process, from its first operation to the last."""
        me.baton.acquire()
        try:
            while self.left > 0 and not self.errors:
                self.left -= 1
                self.rest(me)
                self.busy += 1
                try:
                    self.operate(me)
                finally:
                    self.busy -= 1
        except BaseException as error:
            self.errors.append(error)
        self.active.remove(me)
        if self.active:
            self.current = self.rng.choice(self.active)
            self.current.baton.release()
        else:
            self.done.release()

    def rest(self, me: Process) -> None:
        """Between operations: at times all wait until none is under way, and hours pass, so that
        what is unused grows old."""
        self.pausing = self.pausing or self.rng.random() < 0.2
        while self.pausing and self.busy:
            others = [p for p in self.active if p is not me]
            if not others:
                break
            self.hand_to(me, self.rng.choice(others))
        if self.pausing:
            self.now += 2 * GRACE
            self.pausing = False

    def operate(self, me: Process) -> None:
        """One operation: it is done, fails by name, or its process dies."""
        me.listings, me.failed, me.uses = [], False, [me.place]
        known = set(self.acknowledged[me.place])
        try:
            if me.dead or not hasattr(me, "repo"):
                me.start()
            name, act = self.rng.choice(OPERATIONS)
            self.trace.update(name.encode())
            self.tally.counts[name] += 1
            act(self, me)
        except Crash:
            me.dead = True
        except StoreError:
            if not me.failed:
                raise
        for history in me.listings:
            if lost := known - self.among(history.heads):
                raise Violation(f"seed {self.seed}: lost {sorted(lost)} at {me.place}")

    def write(self, me: Process) -> None:
        message, orders = self.order(random.Random(self.rng.random()))
        clct = me.clct()
        self.orders[message] = orders
        if len(orders) == 1:
            revisions = self.send(clct, orders[0], message=message)
        else:
            with clct.multi(message=message, author="") as batch:
                for order in orders:
                    self.send(clct, order)
            revisions = batch.revisions
        if not revisions:
            raise Violation(f"seed {self.seed}: {message} wrote nothing")
        self.acknowledged[me.place].add(message)

    def order(self, rng: random.Random) -> tuple[str, list[Write]]:
        """Something to write, under a message of its own."""
        self.numbers += 1
        made = []
        for _ in range(1 if rng.random() < 0.7 else rng.randint(2, 3)):
            kind = rng.choice(["replace", "replace", "replace", "upsert", "cells", "erase"])
            seeds = sorted(rng.sample(range(10), rng.randint(1, 4)), key=KIND.key)
            rows = sorted((self.oracle.row(seed) for seed in seeds), key=self.oracle.key)
            first, last = rows[0][0], rows[-1][0]
            if kind == "replace" and rng.random() < 0.2:
                rows = []  # a deletion
            columns = ("v",) if kind == "cells" else None
            region = partial(_between, first, last)
            self.bounds[region] = first, last
            way = "upsert" if kind == "cells" else kind
            made.append(Write(rng.choice(LABELS), region, tuple(rows), way, columns))
        return f"write {self.numbers}", made

    def send(self, clct: Collection, write: Write, message: str = "") -> list[Any]:
        series = clct / write.label
        options: dict[str, Any] = {"author": "", "message": message}
        columns = dict(zip(KIND.columns, map(list, zip(*write.rows, strict=True)), strict=False))
        if write.kind == "erase":
            return series.delete_keys({"k": columns["k"]}, **options)
        if write.kind == "upsert":
            carried = ("k", *(write.columns or KIND.cells))
            chosen = {name: columns[name] for name in carried}
            return series.upsert(chosen, **options)
        first, last = self.bounds[write.region]
        if not write.rows:
            return series.delete(first, last, **options)
        return series.write(columns, **options)

    def read(self, me: Process) -> None:
        """Every series, of the newest head or of all, or of a revision of the past."""
        clct = me.clct()
        label = self.rng.choice(LABELS)
        how = self.rng.choice(["newest", "merged", "past"])
        options: dict[str, Any] = {"merged": how == "merged"}
        children = sorted(clct.changelog.history().children)
        if how == "past":
            if not children:
                return
            options = {"as_of": self.rng.choice(children)}
        me.listings.clear()
        try:
            found = rows_of((clct / label).frame(**options))
        except lakota.NotFoundError:
            if how == "past":  # trimmed meanwhile
                return
            raise
        possible = {h.heads if how == "merged" else h.heads[-1:] for h in me.listings}
        if "as_of" in options:
            possible = {(options["as_of"],)}
        if not any(found == self.content(self.among(h)).get(label, []) for h in possible):
            raise Violation(f"seed {self.seed}: read {found} of {label} at {me.place}, {options}")

    def exchange(self, me: Process) -> None:
        """Pull from another place, or push to it."""
        others = [place for place in self.places if place != me.place]
        if not others:
            return
        other = self.rng.choice(others)
        me.uses = [me.place, other]
        there = Repo(other, clock=me.repo.clock)
        known = set(self.acknowledged[other])
        if "c" not in there:
            return
        shallow = self.rng.random() < 0.1
        if self.rng.random() < 0.5:
            me.repo.pull(there, shallow=shallow)
            self.acknowledged[me.place] |= known
        else:
            mine = set(self.acknowledged[me.place])
            me.repo.push(there, shallow=shallow)
            self.acknowledged[other] |= mine

    def settle(self) -> None:
        """Nothing fails any more: all is there, everywhere, after pulls and merges."""
        self.now += 2 * GRACE
        clock = Clock(now=partial(self.wall, 0))
        repos = {place: Repo(place, clock=clock) for place in self.places}
        everything: frozenset[str] = frozenset()
        for place, repo in repos.items():
            clct = repo.create_collection(KIND.schema, "c", raise_if_exists=False)
            heads = clct.changelog.heads()
            self.same(self.acknowledged[place] <= self.among(heads), f"writes lost at {place}")
            everything |= self.among(heads)
            self.whole(repo, place)
            for child in sorted(clct.changelog.history().children)[-2:]:
                self.shows(clct, self.messages(child), as_of=child)
        first, *others = repos.values()
        for other in others:
            first.pull(other)
        for other in others:
            other.pull(first)
        last = set()
        for place, repo in repos.items():
            repo.merge()
            clct = repo / "c"
            last.update(clct.changelog.heads())
            clct.trim(grace=GRACE)
            repo.gc(grace=0)
            self.whole(repo, place)
            self.shows(clct, everything)
        self.same(len(last) <= 1, f"heads differ: {last}")

    def whole(self, repo: Repo, place: str) -> None:
        report = repo.check()
        self.same(bool(report), f"{place} is damaged: {report.damaged}")
        self.same(not report.strays, f"{place} has strays: {report.strays}")

    def shows(self, clct: Collection, messages: frozenset[str], **options: Any) -> None:
        expected = self.content(messages)
        for label in LABELS:
            found = rows_of((clct / label).frame(**options))
            self.same(found == expected.get(label, []), f"{label} reads {found} {options}")

    def same(self, holds: bool, what: str) -> None:
        if not holds:
            raise Violation(f"seed {self.seed}: {what}")

    # ---- The world around the code

    @contextmanager
    def simulated(self) -> Iterator[None]:
        """The store, the clock and the threads of the package are those of this world."""
        clock = SimpleNamespace(
            time=lambda: self.now,
            monotonic=lambda: self.now,
            time_ns=lambda: int(self.now * 1e9),
        )
        history = Changelog.history

        def listing(log: Changelog) -> History:
            found = history(log)
            me = self.current
            if me is not None and _is_data(log) and log.store.place == me.place:
                me.listings.append(found)
            return found

        def telling(act: Any) -> Any:
            def told(log: Changelog, documents: Any) -> None:
                if _is_data(log):
                    for edge, document in documents.items():
                        self.meant(edge, dict(document), log.store)
                act(log, documents)

            return told

        commit = Changelog.commit

        def committing(
            log: Changelog, parents: Any, child: Any, document: Any
        ) -> list[changelog.Revision]:
            # All parents of a state are meant at once, though they are written one after another.
            if _is_data(log):
                for parent in parents:
                    self.meant((parent, child), dict(document), log.store)
            return commit(log, parents, child, document)

        with ExitStack() as stack:
            put = stack.enter_context
            put(sizes(**self.rng.choice(SIZES)))
            for module in (changelog, maintain, lakota.gc):
                put(patch.object(module, "time", clock))
            for module in (sync, maintain, transaction):
                put(patch.object(module, "ThreadPoolExecutor", Inline))
            put(patch.object(parallel, "_pool", Inline()))
            put(patch.object(local, "os", self.disk))
            put(patch.object(local, "open", self.disk.open_file, create=True))
            put(patch.object(local, "_BATCH", self.rng.choice([2, 4, 64])))
            put(patch.object(local, "can_sync", lambda _: True))
            put(patch.object(local, "sync", self.disk.sync))
            put(patch.object(Changelog, "history", listing))
            put(patch.object(Changelog, "commit", committing))
            put(patch.object(Changelog, "write", telling(Changelog.write)))
            put(patch.object(Changelog, "archive", telling(Changelog.archive)))
            put(patch.object(archive, "os", self.disk))
            put(patch.object(changelog, "TIER", self.rng.choice([1, 2, 4])))
            put(patch.object(changelog, "ARCHIVES", self.rng.choice([1, 2, 24])))
            # Each process has one thread, and no lock in common with another.
            put(patch.object(Changelog, "writing", lambda log: nullcontext()))
            yield


def _between(first: Any, last: Any, key: tuple[Any, ...]) -> bool:
    return bool(first <= key[0] <= last)


def _is_data(log: Changelog) -> bool:
    return not log.folder.endswith("0" * 32)


def _merge(world: World, me: Process) -> None:
    me.repo.merge()


def _defrag(world: World, me: Process) -> None:
    me.clct().defrag(world.rng.randint(1, 3))


def _pack(world: World, me: Process) -> None:
    me.repo.pack()


def _trim(world: World, me: Process) -> None:
    me.clct().trim(grace=GRACE)


def _collect(world: World, me: Process) -> None:
    me.repo.gc(grace=GRACE)


def _tidy(world: World, me: Process) -> None:
    """What a commit does once there are many revisions."""
    log = me.clct().changelog if world.rng.random() < 0.7 else me.repo._registry.site.changelog
    log.tidy(world.rng.randint(0, 6), world.rng.randint(0, 3))


OPERATIONS: list[tuple[str, Callable[[World, Process], None]]] = [
    *[("writes", World.write)] * 8,
    *[("reads", World.read)] * 5,
    *[("exchanges", World.exchange)] * 4,
    *[("merges", _merge)] * 2,
    ("defrags", _defrag),
    ("packs", _pack),
    ("trims", _trim),
    ("gcs", _collect),
    *[("tidies", _tidy)] * 2,
]


def trial(seed: int, tally: Tally) -> None:
    """One run; one in fifty is run again and must be the same."""
    first = World(seed, tally).run()
    if seed % 50 == 0:
        tally.counts["replays"] += 1
        again = World(seed, Tally()).run()
        if first != again:
            raise Violation(f"seed {seed}: the second run was another one")
