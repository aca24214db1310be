"""Reading from stores that are far away: what is fetched, and in how many rounds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from fault_kit import SCHEMA, numbers, rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lakota import Clock, DamagedError, NotFoundError, Repo, Series, changelog
from lakota.digest import Digest
from lakota.encoding import encode, recode
from lakota.objects import MissingObjectError, segment_name
from lakota.ranged import open_ranged
from lakota.segment import open_segment
from lakota.store import CountingStore, MemoryStore, Store
from lakota.store.count import Request, rounds
from lakota.store.parallel import REQUESTS

MEGABYTE = 1 << 20


def far(store: Store | None = None) -> CountingStore:
    """A store whose bytes travel."""
    return CountingStore(store or MemoryStore(), remote=True)


def noise(count: int) -> pa.Table:
    """Rows that no codec makes small."""
    values = np.random.default_rng(7).standard_normal(count)
    return pa.table({"n": np.arange(count), "x": values})


def fetched(store: CountingStore) -> int:
    return sum(request.bytes for request in store.requests)


@pytest.fixture(params=["plain", "zstd", "packed"])
def stored(request: pytest.FixtureRequest) -> tuple[CountingStore, str, Digest, pa.Table]:
    """A large segment in a store, its name and its rows."""
    table = noise(500_000)
    encoded = encode(table, request.param, keys=["n"])
    store = far()
    name = segment_name(encoded.name)
    store.inner.put(name, encoded.data)
    assert encoded.data.size > 3 * MEGABYTE
    return store, name, encoded.name, table


# Segments


def test_of_a_large_segment_only_the_batches_that_are_read_are_fetched(
    stored: tuple[CountingStore, str, Digest, pa.Table],
) -> None:
    store, name, digest, table = stored
    segment = open_ranged(store, name, digest)
    assert [r.method for r in store.requests] == ["tail"]
    found = pa.Table.from_batches(segment.slice(100_000, 100_010))
    assert found.equals(table.slice(100_000, 10))
    assert [r.method for r in store.requests] == ["tail", "range"]
    assert fetched(store) < 1.7 * MEGABYTE + 16 * 65_536
    assert pa.Table.from_batches(segment.slice(100_000, 100_010)).equals(found)
    assert len(store.requests) == 2


def test_all_of_a_large_segment_is_fetched_in_parallel_ranges(
    stored: tuple[CountingStore, str, Digest, pa.Table],
) -> None:
    store, name, digest, table = stored
    assert open_ranged(store, name, digest).table().equals(table)
    size = store.inner.get(name).size
    assert fetched(store) <= size + 2 * 131_072
    assert all(r.bytes <= 8 * MEGABYTE for r in store.requests)


@pytest.mark.parametrize("other", ["plain", "zstd", "packed"])
def test_a_segment_that_is_replaced_while_it_is_read_gives_the_same_rows(
    stored: tuple[CountingStore, str, Digest, pa.Table], other: str
) -> None:
    store, name, digest, table = stored
    segment = open_ranged(store, name, digest)
    early = segment.slice(0, 5)
    store.inner.put(name, recode(store.inner.get(name), other).data)
    assert pa.Table.from_batches(early).equals(table.slice(0, 5))
    assert pa.Table.from_batches(segment.slice(70_000, 140_000)).equals(table.slice(70_000, 70_000))
    assert segment.batch(3).num_rows == segment.batch_rows
    at = 3 * segment.batch_rows
    assert pa.Table.from_batches([segment.batch(3, ["x"])]).equals(
        table.select(["x"]).slice(at, segment.batch_rows)
    )
    assert segment.table(["x", "n"]).equals(table.select(["x", "n"]))


def test_a_segment_that_is_deleted_while_it_is_read_is_missing(
    stored: tuple[CountingStore, str, Digest, pa.Table],
) -> None:
    store, name, digest, _ = stored
    segment = open_ranged(store, name, digest)
    store.inner.delete([name])
    with pytest.raises(MissingObjectError, match=name):
        segment.slice(0, 5)
    with pytest.raises(MissingObjectError, match=name):
        open_ranged(store, name, digest)


@pytest.mark.parametrize("spot", [0.2, 0.5])
def test_damage_is_found_when_it_is_fetched(
    stored: tuple[CountingStore, str, Digest, pa.Table], spot: float
) -> None:
    store, name, digest, table = stored
    data = bytearray(store.inner.get(name).to_pybytes())
    data[int(len(data) * spot) : int(len(data) * spot) + 64] = b"\xff" * 64
    store.inner.put(name, bytes(data))
    segment = open_ranged(store, name, digest)
    with pytest.raises(DamagedError):
        segment.table()
    assert segment.slice(499_990, 500_000) == pa.table(table.slice(499_990)).to_batches()


def test_what_came_damaged_is_fetched_again_by_the_next_read(
    stored: tuple[CountingStore, str, Digest, pa.Table],
) -> None:
    store, name, digest, table = stored
    right = store.inner.get(name)
    for data in (right, encode(table.slice(0, 9_000), "packed").data):
        digest = open_segment(data).name
        name = segment_name(digest)
        wrong = bytearray(data.to_pybytes())
        wrong[len(wrong) // 3] ^= 1
        store.inner.put(name, bytes(wrong))
        segment = open_ranged(store, name, digest)
        with pytest.raises(DamagedError):
            segment.table()
        store.inner.put(name, data)
        assert segment.table().equals(open_segment(data).table())


def test_a_segment_under_a_wrong_name_or_of_no_form_is_damaged(
    stored: tuple[CountingStore, str, Digest, pa.Table],
) -> None:
    store, name, digest, _ = stored
    with pytest.raises(DamagedError):
        open_ranged(store, name, Digest("0" * 32))
    for data in (b"", b"x", b"x" * 9, b"\xff" * 50, b"\xff" * 3_000_000):
        store.inner.put(name, data)
        with pytest.raises(DamagedError):
            open_ranged(store, name, digest)


def test_dictionaries_are_fetched_with_the_footer() -> None:
    names = pa.array([f"name {n % 90_000}" for n in range(200_000)]).dictionary_encode()
    table = pa.table({"n": np.arange(200_000), "x": np.random.default_rng(1).random(200_000)})
    table = table.append_column("name", names)
    encoded = encode(table, "plain", keys=["n"])
    assert encoded.data.size > 2 * MEGABYTE
    store = far()
    store.inner.put(segment_name(encoded.name), encoded.data)
    segment = open_ranged(store, segment_name(encoded.name), encoded.name)
    found = pa.Table.from_batches(segment.slice(5, 10))
    assert found["name"].to_pylist() == table["name"].slice(5, 5).to_pylist()


# Series


def written(count: int, *, store: CountingStore) -> Series:
    series = Repo(store).create_collection(SCHEMA, "c") / "s"
    assert isinstance(series, Series)
    series.write(noise(count))
    return series


def test_a_range_of_a_series_is_read_by_ranges() -> None:
    store = far()
    written(1_000_000, store=store)
    series = Repo(store) / "c" / "s"
    assert len(series) == 1_000_000
    store.clear()
    found = series.frame(500_000, 500_100)
    assert found["n"].to_pylist() == list(range(500_000, 500_100))
    assert fetched(store) < 2 * MEGABYTE
    requests = [r for r in store.requests if r.method in ("tail", "range")]
    assert [r.method for r in requests] == ["tail", "range"]


def test_what_lies_in_many_segments_is_fetched_at_once() -> None:
    store = CountingStore(MemoryStore(), latency=0.05)
    clct = Repo(store.inner).create_collection(SCHEMA, "c")
    for n in range(7):
        (clct / "s").write(noise(150_000).slice(n * 20_000, 20_000))
    series = Repo(store) / "c" / "s"
    series.count()
    store.clear()
    assert series.frame().num_rows == 140_000
    assert rounds(r for r in store.requests if r.name.startswith("segments/")) <= 2


def test_pages_that_follow_one_another_are_fetched_together() -> None:
    store = CountingStore(MemoryStore(), latency=0.02)
    clct = Repo(store.inner).create_collection(SCHEMA, "c")
    labels = [f"series {n:05}" for n in range(5_000)]
    table = pa.table({"label": labels, "n": np.zeros(5_000, "int64"), "x": np.zeros(5_000)})
    clct.write(table, "label")
    reader = Repo(store) / "c"
    store.clear()
    assert reader.ls() == labels
    # Where pages are cut is chance: there are 104 on average.
    assert sum(r.name.startswith("pages/") for r in store.requests) > 60
    assert store.rounds() < 40


def test_one_label_fetches_no_more_pages_than_the_tree_is_deep() -> None:
    store = far()
    clct = Repo(store).create_collection(SCHEMA, "c")
    labels = [f"series {n:05}" for n in range(5_000)]
    table = pa.table({"label": labels, "n": np.zeros(5_000, "int64"), "x": np.zeros(5_000)})
    clct.write(table, "label")
    series = Repo(store) / "c" / "series 02500"
    store.clear()
    assert rows(series) == [(0, 0.0)]
    assert sum(r.name.startswith("pages/") for r in store.requests) <= 5


# Looks

LATENCY = 0.2


class Elsewhere(CountingStore):
    """A store as another process has it: no lock is shared with it."""

    @property
    def place(self) -> Hashable:
        return id(self)


def slow(store: Store, latency: float = LATENCY) -> CountingStore:
    return CountingStore(store, latency=latency)


def test_a_read_of_what_was_read_before_takes_one_round_of_listings() -> None:
    store = slow(MemoryStore())
    clct = Repo(store.inner).create_collection(SCHEMA, "c")
    (clct / "s").write(numbers(0, 10))
    series = Repo(store) / "c" / "s"
    reads: list[Callable[[], object]] = [
        series.frame,
        series.df,
        lambda: series.frame(2, 5),
        series.count,
        series.tail,
    ]
    for read in reads:
        read()
        store.clear()
        read()
        assert {r.method for r in store.requests} == {"list"}
        assert len(store.requests) == 2
        assert store.rounds() == 1


SIZES = [1_000, 10_000, pytest.param(100_000, marks=pytest.mark.long)]


@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize("way", ["written there", "pushed"])
def test_a_cold_read_is_a_listing_two_rounds_for_pages_and_one_for_rows(
    count: int, way: str
) -> None:
    inside = MemoryStore()
    store = slow(inside)
    clock = Clock(now=lambda: 1_577_836_800_000_000_000)  # stamps decide where pages end
    origin = Repo(far(inside) if way == "written there" else MemoryStore(), clock=clock)
    clct = origin.create_collection(SCHEMA, "c")
    labels = np.repeat([f"series {n:06}" for n in range(count)], 5)
    keys = np.tile(np.arange(5), count)
    clct.write(pa.table({"label": labels, "n": keys, "x": keys / 4}), "label")
    if way == "pushed":
        Repo(far(inside)).pull(origin)
    assert clct._ledger.state().page().level == 2
    repo = Repo(store)
    time.sleep(5 * LATENCY)  # so that what was begun when it was opened is done
    store.clear()
    assert len(rows(repo / "c" / f"series {count // 2:06}")) == 5
    assert store.rounds() <= 4


def test_a_cold_read_through_a_warm_cache_is_only_listings(tmp_path: Path) -> None:
    store = slow(MemoryStore())
    (Repo(store.inner).create_collection(SCHEMA, "c") / "s").write(numbers(0, 100))
    for turn in range(2):
        repo = Repo([tmp_path, store])
        time.sleep(5 * LATENCY)
        store.clear()
        assert len(rows(repo / "c" / "s")) == 100
        if turn:
            assert {r.method for r in store.requests} == {"list"}
            assert store.rounds() <= 2


def test_what_is_renamed_or_deleted_is_found_under_its_label_only() -> None:
    store = far()
    repo = Repo(store)
    for label in ("a", "b"):
        (repo.create_collection(SCHEMA, label) / "s").write(numbers(0, ord(label)))
    repo.rename("a", "c")
    repo.rename("b", "a")
    again = Repo(store)
    assert len(rows(again / "a" / "s")) == ord("b")
    assert len(rows(again / "c" / "s")) == ord("a")
    for wrong in ("b", "d"):
        with pytest.raises(NotFoundError, match="no collection"):
            again.collection(wrong)
    again.delete("a")
    with pytest.raises(NotFoundError, match="no collection"):
        repo.collection("a")
    fresh = Repo(store).create_collection(SCHEMA, "a") / "s"
    assert rows(fresh) == []


def test_threads_that_want_one_object_fetch_it_once() -> None:
    store = slow(MemoryStore())
    (Repo(store.inner).create_collection(SCHEMA, "c") / "s").write(numbers(0, 100))
    clct = Repo(store) / "c"
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(len(rows(clct / "s")))) for _ in range(8)
    ]
    store.clear()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [100] * 8
    names = [r.name for r in store.requests if r.method != "list"]
    assert len(names) == len(set(names))


def test_more_threads_read_than_requests_are_made_at_once() -> None:
    inside = MemoryStore()
    clct = Repo(inside).create_collection(SCHEMA, "c")
    (clct / "s").write(numbers(0, 100))
    repo = Repo(far(inside))
    assert (repo / "c" / "s").frame().num_rows == 100
    found: list[int] = []
    start = threading.Barrier(3 * REQUESTS)

    def read() -> None:
        start.wait()
        found.extend((repo / "c" / "s").frame().num_rows for _ in range(5))

    threads = [threading.Thread(target=read, daemon=True) for _ in range(3 * REQUESTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [100] * (5 * 3 * REQUESTS)


def test_the_pages_of_many_heads_are_fetched_level_by_level() -> None:
    inside = MemoryStore()
    base = Repo(inside)
    labels = [f"series {n:03}" for n in range(300)]
    zeros = np.zeros(300, "int64")
    base.create_collection(SCHEMA, "c").write(
        pa.table({"label": labels, "n": zeros, "x": zeros}), "label"
    )
    copies = [Repo() for _ in range(12)]
    for nth, copy in enumerate(copies):
        copy.pull(base)
        (copy / "c" / labels[20 * nth]).write(numbers(5, 6))
    for copy in copies:
        base.pull(copy)
    # Dozens of threads are to begin within one latency, on a machine that does other things also.
    store = slow(inside, latency=2 * LATENCY)
    series = Repo(store) / "c" / "series 299"
    time.sleep(10 * LATENCY)
    store.clear()
    series.write(numbers(7, 8))
    pages = [r for r in store.requests if r.method == "get" and r.name.startswith("pages/")]
    assert len(pages) > 20
    assert rounds(pages) <= 5
    assert len((Repo(inside) / "c").changelog.heads()) == 5


def test_what_a_commit_joins_is_fetched_at_once() -> None:
    store = slow(MemoryStore())
    series = Repo(store).create_collection(SCHEMA, "c") / "s"
    other = Repo(store.inner) / "c" / "s"
    joined = 0
    for n in range(18):
        store.clear()
        (series if n % 8 == 7 else other).write(numbers(10 * n, 10 * n + 10))
        fetched = [
            r for r in store.requests if r.name.startswith("segments/") and r.method != "put"
        ]
        joined += len(fetched) > 4
        assert rounds(fetched) <= 1
        assert store.rounds() <= 5
    assert joined


def test_of_what_it_wrote_itself_a_commit_fetches_nothing() -> None:
    store = slow(MemoryStore(), 0.05)
    series = Repo(store).create_collection(SCHEMA, "c") / "s"
    segments = set()
    for n in range(18):
        store.clear()
        series.write(numbers(10 * n, 10 * n + 10))
        assert {r.method for r in store.requests} == {"list", "put"}
        assert store.rounds() <= 4
        segments = {e.segment for e in series._ledger.state().select("s")}
    assert len(segments) < 8
    store.clear()
    assert len(rows(series)) == 180
    assert {r.method for r in store.requests} == {"list"}
    assert store.rounds() == 1


def test_what_a_defrag_joins_is_fetched_at_once() -> None:
    inside = MemoryStore()
    clct = Repo(far(inside)).create_collection(SCHEMA, "c")
    for n in range(12):  # not at the end, so none of them joins the ones before
        (clct / "s").write(numbers(-10 * n, 10 - 10 * n))
    expected = (clct / "s").frame()
    store = slow(inside)
    again = Repo(store) / "c"
    store.clear()
    assert again.defrag(max_chunk=1)
    fetched = [r for r in store.requests if r.name.startswith("segments/") and r.method != "put"]
    assert len(fetched) > 8
    assert rounds(fetched) <= 2  # one segment of the registry comes before
    assert (again / "s").frame().equals(expected)


def test_a_commit_is_a_look_and_two_rounds() -> None:
    store = slow(MemoryStore())
    clct = Repo(store).create_collection(SCHEMA, "c")
    series = clct / "s"
    series.write(numbers(0, 10))
    store.clear()
    series.write(numbers(10, 20))
    puts = [r for r in store.requests if r.method == "put"]
    assert rounds(puts) == 2
    assert len(puts) == 3
    assert puts[-1].name.startswith("changelog/")
    assert store.rounds() == 3
    assert {r.method for r in store.requests} == {"list", "put"}
    store.clear()
    with clct.multi():
        series.write(numbers(20, 30))
        series.write(numbers(30, 40))
        store.clear()
    assert store.rounds() == 3


def test_a_guide_costs_a_commit_no_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changelog, "RECENT", 60.0)
    store = slow(MemoryStore())
    clock = Clock(now=lambda: 1_577_836_800_000_000_000)  # stamps decide where pages end
    clct = Repo(store, clock=clock).create_collection(SCHEMA, "c")
    labels = [f"series {n:05}" for n in range(6_000)]
    zeros = np.zeros(6_000, "int64")
    for turn in range(2):
        store.clear()
        clct.write(pa.table({"label": labels, "n": zeros, "x": zeros + turn}), "label")
        assert sum("/guide." in r.name and r.method == "put" for r in store.requests) == 1
        assert sum("/guide." in r.name and r.method == "delete" for r in store.requests) == turn
        listed = [r for r in store.requests if r.name.startswith("changelog/")]
        assert rounds(listed) == 3  # the look, the guide, the revision


def test_a_commit_that_looked_long_ago_looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changelog, "RECENT", 0.0)
    store = slow(MemoryStore())
    series = Repo(store).create_collection(SCHEMA, "c") / "s"
    series.write(numbers(0, 10))
    store.clear()
    series.write(numbers(10, 20))
    assert store.rounds() == 4


def test_a_write_is_made_on_what_was_committed_before_it_began() -> None:
    inside = MemoryStore()
    Repo(inside).create_collection(SCHEMA, "c")
    ours, theirs = (Repo(Elsewhere(inside, remote=True)) / "c" for _ in range(2))
    for n in range(20):
        (ours, theirs)[n % 2].series("s").write(numbers(n, n + 1))
        assert len(ours.changelog.heads()) == 1
    assert len(rows(theirs / "s")) == 20


WRITES = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 40), st.integers(1, 9), st.booleans()),
    min_size=1,
    max_size=24,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(WRITES)
def test_what_a_handle_has_at_hand_changes_no_digest(
    writes: list[tuple[str, int, int, bool]],
) -> None:
    """A handle that goes on, with what it saw and stored itself, commits what a new one does for
    each write, which lists and fetches, and what one does that has all in a folder."""

    def played(remote: bool, anew: bool) -> list[str]:
        store = Elsewhere(MemoryStore(), remote=remote)
        clock = Clock(now=lambda: 1_577_836_800_000_000_000)
        clct = Repo(store, clock=clock, codec="packed").create_collection(SCHEMA, "c")
        found = []
        for label, start, length, block in writes:
            if anew:
                clct = Repo(store, clock=clock, codec="packed") / "c"
            with clct.multi() if block else nullcontext():
                (clct / label).write(numbers(start, start + length))
            found.extend(clct.changelog.heads())
        return found

    far_away = played(remote=True, anew=False)
    assert len(far_away) == len(writes)
    assert far_away == played(remote=True, anew=True)
    assert far_away == played(remote=False, anew=False)


def test_threads_that_write_far_away_at_once_take_turns() -> None:
    store = slow(MemoryStore(), 0.02)
    clct = Repo(store).create_collection(SCHEMA, "c")
    handles = [clct, Repo(store) / "c"]
    begun = threading.Barrier(8)

    def write(number: int) -> None:
        begun.wait()
        for turn in range(5):
            key = 5 * number + turn
            (handles[number % 2] / "s").write(numbers(key, key + 1))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(clct.changelog.heads()) == 1
    assert len(clct.changelog.log()) == 40
    assert len(rows(clct / "s")) == 40


def test_what_is_written_while_the_frame_is_made_is_not_hidden() -> None:
    store = far()
    clct = Repo(store).create_collection(SCHEMA, "c")
    table = pa.table(numbers(10, 20))

    class Made:
        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            (clct / "s").write(numbers(0, 10))
            return table.__arrow_c_stream__(requested_schema)

    (clct / "s").write(Made())
    assert len(clct.changelog.heads()) == 1
    assert len(rows(clct / "s")) == 20


def test_old_revisions_are_read_at_once_when_they_move() -> None:
    inside = MemoryStore()
    series = Repo(inside).create_collection(SCHEMA, "c") / "s"
    for n in range(40):
        series.write(numbers(n, n + 1))
    store = slow(inside)
    log = (Repo(store) / "c").changelog
    before = set((Repo(inside) / "c").changelog.history().edges)
    time.sleep(3 * LATENCY)
    store.clear()
    assert log.tidy(loose=8, keep=4) == 36
    assert store.rounds() <= 10
    again = (Repo(inside) / "c").changelog
    assert again.history().edges == before
    assert {again.document(r)["kind"] for r in again.log()} == {"write"}


def test_revisions_that_are_pulled_are_read_at_once() -> None:
    inside = MemoryStore()
    series = Repo(inside).create_collection(SCHEMA, "c") / "s"
    for n in range(40):
        series.write(numbers(n, n + 1))
    store = slow(inside)
    here = Repo()
    here.pull(Repo(store))
    assert (here / "c").changelog.history().edges == (Repo(inside) / "c").changelog.history().edges
    read = [r for r in store.requests if r.method == "get" and r.name.startswith("changelog/")]
    assert len(read) == 41
    assert rounds(read) <= 6


def test_a_handle_that_was_just_opened_reads_in_four_rounds() -> None:
    store = slow(MemoryStore())
    (Repo(store.inner).create_collection(SCHEMA, "c") / "s").write(numbers(0, 100))
    assert (Repo(store) / "c" / "s").frame(10, 20).num_rows == 10
    assert store.rounds() <= 4
    assert sum(r.name == "lakota.json" for r in store.requests) == 1


def test_a_read_sees_what_was_committed_elsewhere_before_it_began() -> None:
    store = far()
    mine = Repo(store).create_collection(SCHEMA, "c") / "s"
    for n in range(20):
        other = Repo(store.inner) / "c"
        (other / "s").write(numbers(n, n + 1))
        assert mine.count() == n + 1
        assert len(rows(mine)) == n + 1
    (Repo(store.inner) / "c").add_column("y", "float", default=1.5)
    assert mine.frame().column_names == ["n", "x", "y"]
    Repo(store.inner).delete("c")
    with pytest.raises(NotFoundError, match="deleted"):
        mine.frame()


def test_a_read_of_what_is_trimmed_and_collected_meanwhile_gives_what_is_there_then() -> None:
    store = far()
    mine = Repo(store).create_collection(SCHEMA, "c") / "s"
    mine.write(numbers(0, 10))
    assert len(rows(mine)) == 10
    for turn in range(3):
        other = Repo(store.inner)
        (other / "c" / "s").write(numbers(0, 20, turn))
        (other / "c").trim(grace=0)
        other.gc(grace=0)
        mine._ledger.site.objects.forget()
        assert len(rows(mine)) == 20


def test_errors_of_a_read_are_those_of_what_is_there_now() -> None:
    store = far()
    mine = Repo(store).create_collection(SCHEMA, "c") / "s"
    mine.write(numbers(0, 10))
    assert mine.frame(select=["x"]).num_rows == 10
    with pytest.raises(NotFoundError):
        mine.frame(select=["y"])
    (Repo(store.inner) / "c").add_column("y", "float")
    assert mine.frame(select=["y"]).num_rows == 10


# Counting


def test_rounds_are_what_waits_for_one_another() -> None:
    def asked(*spans: tuple[float, float]) -> int:
        return rounds(Request("get", "a", 0, begun, ended) for begun, ended in spans)

    assert asked() == 0
    assert asked((0, 1), (0, 1), (0.5, 1.5)) == 1
    assert asked((0, 1), (0, 9), (1, 2), (2, 3)) == 3
    assert asked((0, 5), (5, 6), (1, 9)) == 2


def test_a_label_that_none_can_have_is_of_no_collection() -> None:
    """Far as near: its id is asked for before the registry is there."""
    for store in (MemoryStore(), CountingStore(MemoryStore(), remote=True)):
        with pytest.raises(NotFoundError, match="there is: none"):
            Repo(store).collection("\ud800")
