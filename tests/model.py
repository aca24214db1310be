"""The oracle of the property tests: a dictionary that replays writes in the order of their stamps.

It knows keys as Python tuples and intervals as comparisons of tuples, and nothing of cuts,
extents or pages. `Replica` puts a repo beside it: every action is done to the repo and told to
the oracle, every read is compared with what the oracle expects.

The oracle knows which writes each revision contains. What a read sees is the fold of these: of
the newest head by default, of all revisions known by then as of a time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import count, product
from math import inf
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest
from hypothesis import settings

from lakota import (
    AlreadyExistsError,
    Clock,
    Collection,
    FrameError,
    NotFoundError,
    RangeError,
    Repo,
    Revision,
    Schema,
    Series,
    compact,
    digest,
    encoding,
    footer,
    layout,
    page,
    region,
    segment,
    sync,
)
from lakota.changelog import PHI

Key = tuple[Any, ...]
Row = tuple[Any, ...]
Content = dict[str, list[Row]]

LABELS = ("a", "b", "ü")
CLOSED = ("both", "left", "right", "none", "B", "l", "Right", "N")
START = 1_577_836_800_000_000_000
"""2020-01-01 in nanoseconds."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EXAMPLES = int(os.environ.get("LAKOTA_EXAMPLES", max(300, settings().max_examples)))
"""Of 50 steps each; at least so many, more in the long profile."""


# ---- Keys, and intervals as comparisons


NARROW = {"v": "int", "note": "str"}
WIDE = {
    **NARROW,
    "f": "float",
    "b": "bool",
    "d": "date",
    "t": "timestamp",
    "m": "decimal128(9, 2)",
    "y": "binary",
    "l": "list<int>",
    "z": "timestamp[ms, UTC]",
}


@dataclass(frozen=True)
class Kind:
    """An index: its columns, a few keys, and values that bounds are made of; value columns."""

    index: dict[str, str]
    values: tuple[tuple[Any, ...], ...]
    """For each column, the values that keys and bounds have; first those of keys."""
    keyed: int
    """How many of the values keys have; the others are for bounds only."""
    cells: Mapping[str, str] = field(default_factory=lambda: NARROW)
    """The value columns."""

    @property
    def schema(self) -> Schema:
        columns = {name: f"{type_}*" for name, type_ in self.index.items()}
        return Schema({**columns, **self.cells})

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.index, *self.cells)

    def how(self, how: str) -> tuple[str, tuple[str, ...] | None]:
        """A way to write: its kind, and the value columns that it carries, None for all."""
        kind, carried = HOWS[how]
        return kind, carried and tuple(self.cells)[carried]

    def key(self, seed: int) -> Key:
        """A key for any number."""
        keys = list(product(*(values[: self.keyed] for values in self.values)))
        return keys[seed % len(keys)]

    def bound(self, seed: int) -> Any:
        """A bound for any number: None, a value of the first column, or a tuple of the first
        few columns."""
        if seed < 0:
            return None
        width = seed % (len(self.index) + 1)
        seed //= len(self.index) + 1
        if width == 0:
            return self.values[0][seed % len(self.values[0])]
        found = []
        for values in self.values[:width]:
            found.append(values[seed % len(values)])
            seed //= len(values)
        return tuple(found)


def cell(type_: str, n: int) -> Any:
    """A value for any number."""
    match type_:
        case "int":
            return n
        case "str":
            return f"n{n % 5}" if n % 3 else None
    return None if n % 4 == 3 else _OTHERS[type_](n)


_OTHERS: dict[str, Callable[[int], Any]] = {
    "float": lambda n: n / 8,
    "bool": lambda n: n % 2 == 0,
    "date": lambda n: day(37 * n),
    "timestamp": lambda n: micro(10**9 * n + n),
    "decimal128(9, 2)": lambda n: Decimal(n) / 4,
    "binary": lambda n: bytes([n % 256]) * (n % 3),
    "list<int>": lambda n: [n] * (n % 3),
    "timestamp[ms, UTC]": lambda n: EPOCH + timedelta(milliseconds=n),
}


def day(n: int) -> date:
    return date(1970, 1, 1) + timedelta(days=n)


def micro(n: int) -> datetime:
    return datetime(1970, 1, 1) + timedelta(microseconds=n)


KINDS = {
    "int": Kind({"k": "int"}, (tuple(range(-3, 7)),), 10),
    "str": Kind({"k": "str"}, (("", "a", "a\0", "ab", "b", "\0", "a\0b", "é", "~"),), 8),
    "float": Kind({"k": "float"}, ((0.0, -0.0, 1.5, -1.5, inf, -inf, 5e-324, -1.0, 2.0),), 7),
    "timestamp": Kind(
        {"k": "timestamp"}, (tuple(map(micro, (0, 1, -1, 10**15, -(10**15), 2, 3, 7, -5))),), 7
    ),
    "date": Kind({"k": "date"}, (tuple(map(day, (0, 1, -1, 18262, -700, 2, 3, -2, 5))),), 7),
    "int, str": Kind({"k": "int", "l": "str"}, ((0, 1, -1, 2), ("", "a", "a\0", "b")), 3),
    "str, float": Kind(
        {"k": "str", "l": "float"}, (("a", "", "a\0", "b"), (0.0, 1.5, -inf, 1.0)), 3
    ),
    "bool, date, int": Kind(
        {"k": "bool", "l": "date", "m": "int"}, ((False, True), (day(0), day(1)), (0, -1)), 2
    ),
    "wide": Kind({"k": "int"}, (tuple(range(-3, 7)),), 10, WIDE),
}


class Span(NamedTuple):
    """What lies between two bounds, as a user gives them."""

    start: Any = None
    stop: Any = None
    closed: str = "both"

    def holds(self, key: Key) -> bool:
        """Whether the key is inside: bounds are compared with as many of its values as they
        have."""
        start, stop, side = _tuple(self.start), _tuple(self.stop), self.closed[0].lower()
        head, tail = key[: len(start)], key[: len(stop)]
        above = head > start or (side in "bl" and head == start)
        below = tail < stop or (side in "br" and tail == stop)
        return (self.start is None or above) and (self.stop is None or below)

    @property
    def empty(self) -> bool:
        """Whether there is no place between the bounds, not even between two keys."""
        if self.start is None or self.stop is None:
            return False
        start, stop, side = _tuple(self.start), _tuple(self.stop), self.closed[0].lower()
        shared = min(len(start), len(stop))
        if start[:shared] != stop[:shared]:
            return start[:shared] > stop[:shared]
        # One bound begins with the other: the shorter is before or after all that begins so.
        return not (
            (side in "bl" or len(start) > len(stop)) and (side in "br" or len(stop) > len(start))
        )


EVERYWHERE = Span()


def _tuple(bound: Any) -> Key:
    if bound is None:
        return ()
    return bound if isinstance(bound, tuple) else (bound,)


# ---- Writes and their fold


@dataclass(frozen=True, eq=False)
class Write:
    """What is said of a region by rows: of a replace, they are all that there is; an upsert has
    rows or, with `columns`, cells for their keys; an erase says that these keys are gone."""

    label: str
    region: Callable[[Key], bool]
    rows: tuple[Row, ...]
    kind: str = "replace"
    columns: tuple[str, ...] | None = None
    stamp: int = 0
    tie: int = 0

    @property
    def order(self) -> tuple[int, int]:
        return (self.stamp, self.tie)


Writes = frozenset[Write]


class Oracle:
    """Every write ever made, and which of them each revision contains."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.width = len(kind.index)
        self.seen: dict[str, Writes] = {PHI: frozenset()}
        self.folded = False
        """Whether upserts were ever folded: their rows are then those of another write."""
        self._numbers = count()
        self._folded: dict[Writes, Content] = {}

    def row(self, seed: int) -> Row:
        """A row with a key for that number, which no other row equals."""
        n = next(self._numbers)
        return (*self.kind.key(seed), *(cell(type_, n) for type_ in self.kind.cells.values()))

    def key(self, row: Row) -> Key:
        return row[: self.width]

    def content(self, writes: Writes) -> Content:
        """The fold of the writes: what each series holds."""
        if writes not in self._folded:
            found: Content = {}
            for write in sorted(writes, key=lambda w: w.order):
                rows = self._after(found.get(write.label, []), write)
                found[write.label] = sorted(rows, key=self.key)
            self._folded[writes] = {label: rows for label, rows in sorted(found.items()) if rows}
        return self._folded[writes]

    def _after(self, older: list[Row], write: Write) -> list[Row]:
        """The rows that a write leaves of older ones, and its own."""
        if write.kind == "replace":
            return [r for r in older if not write.region(self.key(r))] + list(write.rows)
        named = {self.key(row): row for row in write.rows}
        if write.columns is not None:
            present = {self.key(row) for row in older}
            nothing = (None,) * len(self.kind.cells)
            missing = [(*key, *nothing) for key in named if key not in present]
            return [self._with_cells(row, named, write.columns) for row in [*older, *missing]]
        kept = [row for row in older if self.key(row) not in named]
        return kept if write.kind == "erase" else [*kept, *write.rows]

    def _with_cells(self, row: Row, cells: dict[Key, Row], columns: tuple[str, ...]) -> Row:
        source = cells.get(self.key(row), row)
        both = zip(self.kind.cells, row[self.width :], source[self.width :], strict=True)
        return (*self.key(row), *(new if name in columns else old for name, old, new in both))

    def visible(self, writes: Writes, write: Write) -> Callable[[Key], bool]:
        """Where a write is not hidden by a newer replace."""
        newer = [
            w
            for w in writes
            if (w.label, w.kind) == (write.label, "replace") and w.order > write.order
        ]
        return lambda key: write.region(key) and not any(w.region(key) for w in newer)

    def learn(self, child: str, writes: Writes) -> None:
        """A revision contains these writes."""
        self.seen[child] = self.seen.get(child, frozenset()) | writes

    def union(self, children: Sequence[str] | set[str]) -> Writes:
        return frozenset().union(*(self.seen[child] for child in children))


# ---- A repo beside the oracle


@dataclass
class Order:
    """One write as a test asks for it."""

    label: str
    rows: list[Row] = field(default_factory=list)
    span: Span = EVERYWHERE
    kind: str = "replace"
    columns: tuple[str, ...] | None = None


class Replica:
    """A repo with one collection, and what the oracle knows of it."""

    def __init__(self, oracle: Oracle, store: Any, now: Callable[[], int], codec: str) -> None:
        self.oracle = oracle
        self.store, self.now, self.codec = store, now, codec
        self.known: set[tuple[str, str]] = set()
        """Every edge that ever was here."""
        self.gone: set[tuple[str, str]] = set()
        """Those that were trimmed here."""
        self.trimmed = 0
        """Reads as of this stamp or later see what they always saw."""
        self.whole = True
        """Whether its history was never trimmed nor pulled without its past."""
        self.swept = False
        """Whether objects were deleted here."""
        self.repo: Repo
        self.reopen()
        self.repo.create_collection(oracle.kind.schema, "c", raise_if_exists=False)

    def reopen(self) -> None:
        """Start anew on the same store."""
        clock = Clock(now=self.now)
        self.repo = Repo(self.store, codec=self.codec, durability="os", clock=clock)

    @property
    def clct(self) -> Collection:
        return self.repo / "c"

    def series(self, label: str) -> Series:
        return self.clct / label

    # What there is

    def edges(self) -> set[tuple[str, str]]:
        found = {(r.parent, r.child) for r in self.clct.changelog.log()}
        assert found <= self.known | found
        self.known |= found
        return found

    def heads(self) -> list[str]:
        """The children that are nobody's parent, the newest last."""
        edges = self.edges()
        return sorted({child for _, child in edges} - {parent for parent, _ in edges})

    def children(self) -> list[str]:
        return sorted({child for _, child in self.edges()})

    def newest(self) -> Writes:
        return self.oracle.union(self.heads()[-1:])

    def joined(self) -> Writes:
        return self.oracle.union(self.heads())

    def until(self, stamp: int) -> Writes:
        """All that was known as of a time."""
        return self.oracle.union({c for _, c in self.known if int(c[:16], 16) <= stamp})

    # Writes

    def write(self, order: Order) -> None:
        before = self.children()
        problem = self._problem(order)
        if problem:
            with pytest.raises(problem):
                self._send(order)
            assert self.children() == before
            return
        heads, old = self.heads(), self.joined()
        self._commit(heads, old, self._send(order), [order])

    def multi(self, orders: Sequence[Order]) -> None:
        """Several writes in one commit; those that are refused are left out."""
        taken = [order for order in orders if not self._problem(order)]
        heads, old = self.heads(), self.joined()
        with self.clct.multi(author="me", message="many") as batch:
            for order in taken:
                assert self._send(order) == []
        self._commit(heads, old, batch.revisions, taken)

    def bulk(self, rows: Sequence[tuple[str, Row]]) -> None:
        """One table, many series."""
        heads, old = self.heads(), self.joined()
        frame = self._frame([row for _, row in rows])
        revisions = self.clct.write({**frame, "label": [label for label, _ in rows]}, "label")
        orders = [Order(label, [r for at, r in rows if at == label]) for label in LABELS]
        self._commit(heads, old, revisions, [order for order in orders if order.rows])

    def delete(self, label: str) -> None:
        if label not in self.oracle.content(self.newest()):
            with pytest.raises(NotFoundError):
                self.clct.delete(label)
            return
        heads, old = self.heads(), self.joined()
        self._commit(heads, old, self.clct.delete(label), [Order(label)], everything=True)

    def rename(self, label: str, other: str) -> None:
        now = self.oracle.content(self.newest())
        if self.oracle.folded and label in now and other not in now:
            return  # what is renamed are pieces of writes, of which the oracle does not know
        if label not in now or other in now:
            with pytest.raises((NotFoundError, AlreadyExistsError)):
                self.clct.rename(label, other)
            return
        heads, old = self.heads(), self.joined()
        # Each write of which anything is left is given the next stamp.
        manifest = self.clct._site.joined(heads).manifest
        left = sorted({e.write for e in manifest.select(label) if e.length})
        writes = [(0, Write(name, lambda key: True, ())) for name in (label, other)]
        for write in old:
            if write.label == label and write.order in left:
                region = self.oracle.visible(old, write)
                rows = tuple(row for row in write.rows if region(self.oracle.key(row)))
                given = replace(write, label=other, region=region, rows=rows)
                writes.append((1 + left.index(write.order), given))
        self._learn(heads, old, self.clct.rename(label, other), writes)

    def _problem(self, order: Order) -> type[Exception] | None:
        """The error that a write must meet."""
        if order.kind != "replace":
            keys = [self.oracle.key(row) for row in order.rows]
            return FrameError if len(set(keys)) < len(keys) else None
        start, stop, _ = order.span
        if not order.rows:
            return RangeError if (start is None) != (stop is None) else None
        inside = all(order.span.holds(self.oracle.key(row)) for row in order.rows)
        return None if inside else RangeError

    def _send(self, order: Order) -> list[Revision]:
        start, stop, closed = order.span
        frame = self._frame(order.rows)
        series = self.series(order.label)
        if order.kind != "replace":
            wanted = self.oracle.kind.cells if order.columns is None else order.columns
            wanted = () if order.kind == "erase" else wanted
            chosen = {n: c for n, c in frame.items() if n in self.oracle.kind.index or n in wanted}
            if order.kind == "erase":
                return series.delete_keys(chosen)
            return series.upsert(chosen)
        if not order.rows and start is not None and stop is not None:
            return series.delete(start, stop, closed=closed)
        return series.write(frame, start, stop, closed=closed)

    def _frame(self, rows: Sequence[Row]) -> dict[str, list[Any]]:
        columns = zip(*rows, strict=True) if rows else ((),) * len(self.oracle.kind.columns)
        return dict(zip(self.oracle.kind.columns, map(list, columns), strict=True))

    def _commit(
        self,
        heads: list[str],
        old: Writes,
        revisions: list[Revision],
        orders: Sequence[Order],
        everything: bool = False,
    ) -> None:
        """Tell the oracle of a commit. The n-th write to a series of a commit is n stamps later
        than the first."""
        writes: list[tuple[int, Write]] = []
        for order in orders:
            nothing = order.span.empty or order.span[:2] == (None, None)
            nothing = nothing or order.kind != "replace"
            if not order.rows and nothing and not everything:
                continue
            nth = sum(write.label == order.label for _, write in writes)
            rows = tuple(sorted(order.rows, key=self.oracle.key))
            region = self._region(order.span, rows)
            write = Write(order.label, region, rows, order.kind, order.columns)
            writes.append((nth, write))
        self._learn(heads, old, revisions, writes)

    def _region(self, span: Span, rows: Sequence[Row]) -> Callable[[Key], bool]:
        """What a write replaces: without a bound, from the first or to the last of its keys."""
        if not rows:
            return span.holds
        first, last = self.oracle.key(rows[0]), self.oracle.key(rows[-1])

        def region(key: Key) -> bool:
            above = span.start is not None or key >= first
            below = span.stop is not None or key <= last
            return above and below and span.holds(key)

        return region

    def _learn(
        self,
        heads: list[str],
        old: Writes,
        revisions: list[Revision],
        writes: Sequence[tuple[int, Write]],
    ) -> None:
        if not writes:
            assert revisions == [] and self.heads() == heads
            return
        (child,) = {r.child for r in revisions}
        assert sorted(r.parent for r in revisions) == (heads or [PHI])
        assert all(child > head for head in heads)
        first = self.clct.changelog.document(revisions[0])["first"]
        assert int(child[:16], 16) == first + max(nth for nth, _ in writes)
        tie = self._tie(child, first)
        made = {replace(write, stamp=first + nth, tie=tie) for nth, write in writes}
        self.oracle.learn(child, old | made)
        assert self.heads() == [child]

    def _tie(self, child: str, first: int) -> int:
        """What orders the writes of this commit among others with the same stamp: a digest, the
        one thing that the oracle takes from the manifest."""
        manifest = self.clct._site.manifest(child)
        (tie,) = {e.tie for e in manifest.extents() if first <= e.stamp <= int(child[:16], 16)}
        return tie

    # Replicas

    def pull(self, other: Replica, way: str = "pull") -> None:
        mine, theirs = self.edges(), other.edges()
        match way:
            case "pull":
                self.clct.pull(other.clct)
            case "push":
                other.clct.push(self.clct)
            case "repo":
                self.repo.pull(other.repo)
            case "label":
                other.repo.push(self.repo, "c")
            case _:
                self.clct.pull(other.clct, shallow=True)
        found = self.edges()
        assert mine <= found <= mine | theirs
        assert other.edges() == theirs
        # Where revisions came without their parents, the past of these is not known.
        known = {child for _, child in found} | {PHI}
        self.trimmed = max(
            self.trimmed, *(int(c[:16], 16) for p, c in found - mine if p not in known), 0
        )
        if way == "shallow":
            heads = {child for _, child in theirs} - {parent for parent, _ in theirs}
            assert heads <= {child for _, child in found}
            self.whole = False
        elif self.gone:
            assert not self.gone & (found - mine) & self._past(mine, theirs)
        else:
            assert found == mine | theirs
            self.whole = self.whole and other.whole

    @staticmethod
    def _past(mine: set[tuple[str, str]], theirs: set[tuple[str, str]]) -> set[tuple[str, str]]:
        """The edges that led to what is here, as far as both sides know."""
        past: set[tuple[str, str]] = set()
        at = {child for edge in mine for child in edge}
        while more := {edge for edge in mine | theirs if edge[1] in at} - past:
            past |= more
            at = {parent for parent, _ in more}
        return past

    def merge(self, heads: Sequence[str] = ()) -> None:
        """Join all heads, or those given."""
        chosen = sorted(heads) or self.heads()
        writes = self.oracle.union(chosen)
        revisions = self.clct.merge(*heads)
        if len(chosen) < 2:
            assert revisions == []
            return
        (child,) = {r.child for r in revisions}
        assert sorted(r.parent for r in revisions) == chosen
        assert int(child[:16], 16) == int(chosen[-1][:16], 16) + 1
        self.oracle.learn(child, writes)
        assert heads or self.heads() == [child]
        assert self.clct.merge(child) == [] and (heads or self.clct.merge() == [])

    # Upkeep

    def defrag(self, max_chunk: int) -> None:
        self._relocated(lambda: self.clct.defrag(max_chunk))

    def pack(self) -> None:
        self._relocated(self.repo.pack)

    def fold(self, settled: int) -> None:
        """Fold the upserts up to the stamp `settled`."""
        self.oracle.folded = True
        self._relocated(lambda: self.clct.fold(settled + 1))

    def _relocated(self, act: Callable[[], object]) -> None:
        heads, joined = self.heads(), self.joined()
        act()
        now = self.heads()
        if now != heads:
            (child,) = now
            self.oracle.learn(child, joined)

    def gc(self) -> None:
        self.swept = True
        self.repo.gc(grace=0)
        assert self.repo.gc(grace=0, dry_run=True).objects == 0

    def trim(self, before: Revision | int) -> None:
        edges, heads = self.edges(), self.heads()
        stamp = before if isinstance(before, int) else before.stamp
        deleted = self.clct.trim(before, grace=0)
        gone = edges - self.edges()
        assert len(gone) == deleted and self.heads() == heads
        assert all(int(child[:16], 16) < stamp for _, child in gone)
        if gone:
            self.gone |= gone
            self.trimmed = max(self.trimmed, stamp)
            self.whole = False

    # Reads

    def rows(self, label: str, **options: Any) -> list[Row]:
        return rows_of(self.series(label).frame(**options))

    def check_now(self, *labels: str) -> None:
        """There is what the newest head says: every series, or those given."""
        assert self.clct.ls() == list(self.oracle.content(self.newest()))
        self.check_series(*(labels or LABELS))

    def check_series(self, *labels: str) -> None:
        """These series are what the newest head says."""
        expected = self.oracle.content(self.newest())
        for label in labels:
            assert self.rows(label) == expected.get(label, []), label

    def check_past(self, moments: int) -> None:
        """Revisions, and the time of each, are what they always were: so many, spread over the
        history."""
        children = self.children()
        for child in children[:: max(len(children) // moments, 1)]:
            stamp = int(child[:16], 16)
            self._check_then(self.oracle.seen[child], as_of=child)
            if stamp >= self.trimmed:
                self._check_then(self.until(stamp), as_of=stamp)

    def check_store(self) -> None:
        """Nothing is damaged, nothing is left over."""
        report = self.repo.check()
        assert report.damaged == () and report.strays == ()

    def _check_then(self, writes: Writes, **when: Any) -> None:
        expected = self.oracle.content(writes)
        found = {label: self.rows(label, **when) for label in LABELS}
        assert {label: rows for label, rows in found.items() if rows} == expected, when
        assert self.clct.ls(**when) == list(expected)

    def moment(self, seed: int) -> tuple[dict[str, Any], Writes]:
        """Options of a read at some moment, for any number, and the writes that it sees."""
        revisions = sorted(self.clct.changelog.log(), key=lambda r: r.child)
        if seed < 0 or not revisions:
            return {}, self.newest()
        revision = revisions[seed % len(revisions)]
        stamp = revision.stamp
        match seed // 3 % 8:
            case 0:
                return {"as_of": revision}, self.oracle.seen[revision.child]
            case 1:
                return {"as_of": revision.path}, self.oracle.seen[revision.child]
            case 2 if stamp - 1 >= self.trimmed:
                return {"before": revision}, self.until(stamp - 1)
            case 3 if stamp - 1 >= self.trimmed:
                return {"before": stamp}, self.until(stamp - 1)
            case 4 if stamp >= self.trimmed:  # a datetime is a whole microsecond
                time = EPOCH + timedelta(microseconds=stamp // 1000)
                return {"as_of": time}, self.until(stamp // 1000 * 1000 + 999)
            case 5 if stamp - 1 >= self.trimmed:
                return {"as_of": stamp - 1}, self.until(stamp - 1)
            case 6 | 7 if stamp >= self.trimmed:
                return {"as_of": stamp}, self.until(stamp)
        return {"as_of": revision.child}, self.oracle.seen[revision.child]

    def check_read(
        self,
        label: str,
        span: Span,
        limit: int | None,
        offset: int | None,
        step: int,
        when: int,
        select: Sequence[str] | str | None,
    ) -> None:
        """Every way to read a span gives what the oracle has there."""
        series = self.series(label)
        moment, writes = self.moment(when)
        kept = self.oracle.content(writes).get(label, [])
        inside = [row for row in kept if span.holds(self.oracle.key(row))]
        bounds = {"start": span.start, "stop": span.stop, "closed": span.closed, **moment}
        window = {"limit": limit, "offset": offset}
        first = offset or 0
        last = None if limit is None else first + limit
        names = self.oracle.kind.columns
        chosen = names if select is None else (select,) if isinstance(select, str) else select
        at = [names.index(name) for name in chosen]

        def seen(rows: Sequence[Row]) -> list[Row]:
            return [tuple(row[i] for i in at) for row in rows]

        assert series.count(**bounds) == len(inside)
        found = series.frame(**bounds, **window, select=select)
        assert found.column_names == list(chosen)
        assert rows_of(found) == seen(inside[first:last])
        tail = inside[max(len(inside) - step, 0) :]
        assert rows_of(series.tail(step, **bounds, **window, select=select)) == seen(
            tail[first:last]
        )
        pages = list(series.paginate(step, **bounds, **window, select=select)) if step else []
        if step:
            assert [row for page in pages for row in rows_of(page)] == seen(inside[first:last])
            assert all(p.num_rows == step for p in pages[:-1])
            assert all(0 < p.num_rows <= step for p in pages)
        if not moment and span.closed[0].lower() == "l":
            assert series[span.start : span.stop].rows() == inside
        if not moment:
            assert len(series) == len(kept) and bool(series) == bool(kept)
            assert (label in self.clct) == bool(kept)


def rows_of(table: Any) -> list[Row]:
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def machine(examples: int) -> settings:
    """The settings of a machine: so many examples of 50 steps."""
    return settings(max_examples=examples, stateful_step_count=50, report_multiple_bugs=False)


# ---- Small sizes, so that few rows go all ways


SIZES = (
    {},
    {"fanout": 2},
    {"fanout": 3, "segment": 3, "factor": 2},
    {"fanout": 2, "segment": 1, "factor": 3, "join": 6, "block": 2, "sparse": 0},
    {"fanout": 4, "factor": 2, "join": 5, "block": 4, "sparse": 1},
)


@contextmanager
def sizes(
    fanout: int = page.FANOUT,
    segment: int = layout.SEGMENT_ROWS,
    factor: int = compact.FACTOR,
    join: int = compact.JOIN_ROWS,
    block: int = digest.BLOCK,
    sparse: int = region.LARGE_ROWS,
) -> Iterator[None]:
    """Pages of `fanout` rows, segments of `segment`, runs joined by `factor` up to `join` rows,
    packed batches of `block`, regions of more than `sparse` rows joined where they are touched."""
    with ExitStack() as stack:
        for module, name, value in (
            (page, "FANOUT", fanout),
            (layout, "SEGMENT_ROWS", segment),
            (compact, "FACTOR", factor),
            (compact, "JOIN_ROWS", join),
            (digest, "BLOCK", block),
            (region, "LARGE_ROWS", sparse),
            (region, "SPARSE", 0 if sparse < 2 else region.SPARSE),
            *((each, "BLOCK", block) for each in _BLOCKS),
            (encoding, "_PACKED_BATCH_ROWS", block),
            (sync, "REVISIONS_AT_ONCE", 3 if fanout == 2 else sync.REVISIONS_AT_ONCE),
        ):
            stack.enter_context(patch.object(module, name, value))
        yield


_BLOCKS = (footer, segment, encoding)


HOWS: dict[str, tuple[str, slice | None]] = {
    "write": ("replace", None),
    "upsert": ("upsert", None),
    "upsert even": ("upsert", slice(0, None, 2)),
    "upsert odd": ("upsert", slice(1, None, 2)),
    "upsert first": ("upsert", slice(1)),
    "upsert keys": ("upsert", slice(0)),
    "erase": ("erase", None),
}
"""Ways to write, by kind and value columns."""
