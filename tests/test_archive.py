"""Archives of revisions: a history reads the same wherever its revisions are, while they move, are
trimmed, and are pulled."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_hexdigest

from lakota import Repo, Schema, archive
from lakota.archive import Archive, Record, archive_digest, encode_archive
from lakota.changelog import Changelog
from lakota.digest import Digest
from lakota.document import bare, decode_document
from lakota.encoding import encode
from lakota.errors import DamagedError, ObjectMissingError
from lakota.history import PHI, Child, Edge, History, make_child
from lakota.store import CountingStore
from lakota.store.base import Content, Store
from lakota.store.local import LocalStore
from lakota.store.memory import MemoryStore
from lakota.transaction import publish

ID = "a" * 32
SCHEMA = Schema(n="int*", x="float")


def chain(count: int, start: int = 1) -> list[Edge]:
    """A history without branches."""
    children = [PHI, *(make_child(n, f"{n:032x}") for n in range(start, start + count))]
    return list(pairwise(children))


def document(edge: Edge) -> dict[str, object]:
    return {"author": "é", "message": edge[1][:16], "kind": "write", "rows": 1}


def filled(store: Store, edges: list[Edge]) -> Changelog:
    changelog = Changelog(store, ID)
    changelog.write({edge: document(edge) for edge in edges})
    return changelog


@pytest.fixture(params=["memory", "local"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return MemoryStore() if request.param == "memory" else LocalStore(tmp_path, durability="os")


def test_revisions_move_and_nothing_else_changes(store: Store) -> None:
    edges = chain(300)
    changelog = filled(store, edges)
    before = [changelog.read(edge) for edge in edges]
    log = [revision.path for revision in changelog.log()]
    assert changelog.tidy(100, 10) == 290
    names = store.names(changelog.folder)
    assert len(names) == 11
    assert sum(archive_digest(name) is not None for name in names) == 1
    for seen in (changelog, Changelog(store, ID)):
        assert [revision.path for revision in seen.log()] == log
        assert seen.heads() == (edges[-1][1],)
        assert [seen.read(edge) for edge in edges] == before
        assert seen.about(edges[0][1]) == before[0]
        assert set(seen.ages()) == set(edges)
        assert len(seen) == 300


def test_few_archives_whatever_the_length() -> None:
    store = MemoryStore()
    changelog = Changelog(store, ID)
    edges = chain(5_000)
    for at in range(0, 5_000, 20):
        changelog.write({edge: document(edge) for edge in edges[at : at + 20]})
        changelog.heads()  # a commit looks for these first
        changelog.tidy(50, 5)
    names = store.names(changelog.folder)
    assert sum(archive_digest(name) is not None for name in names) < 8
    assert len(names) < 80
    assert set(Changelog(store, ID).history().edges) == set(edges)


def test_below_the_limit_nothing_moves(store: Store) -> None:
    changelog = filled(store, chain(20))
    before = set(store.names(changelog.folder))
    assert changelog.tidy(20, 5) == 0
    assert set(store.names(changelog.folder)) == before


def test_heads_stay_where_they_are(store: Store) -> None:
    edges = chain(50)
    old = (edges[10][1], make_child(12, "f" * 32))  # an old branch that nobody merged
    changelog = filled(store, [*edges, old])
    changelog.tidy(0, 1)
    assert f"{old[0]}.{old[1]}" in store.names(changelog.folder)
    assert Changelog(store, ID).heads() == (old[1], edges[-1][1])


def test_what_was_trimmed_does_not_come_back(store: Store) -> None:
    edges = chain(100)
    changelog = filled(store, edges)
    changelog.tidy(0, 10)
    assert changelog.trim(edges[:40], 40) == 40
    for seen in (changelog, Changelog(store, ID)):
        assert set(seen.history().edges) == set(edges[40:])
        assert seen.read(edges[50])["rows"] == 1
        assert seen.trimmed() == 40
    with pytest.raises(ObjectMissingError):
        changelog.read(edges[3])
    changelog.trim(edges[40:95], 95)
    assert set(Changelog(store, ID).history().edges) == set(edges[95:])


class Meddling(MemoryStore):
    """A store in which somebody else does something right after an archive was stored."""

    def __init__(self) -> None:
        super().__init__()
        self.meddle: list[object] = []

    def put(self, name: str, data: pa.Buffer | bytes) -> None:
        super().put(name, data)
        if "/packed." in name and self.meddle:
            act = self.meddle.pop()
            assert callable(act)
            act()


def test_trimming_beside_moving() -> None:
    """The mover finds that they are gone, and takes its archive away."""
    store, edges = Meddling(), chain(100)
    changelog = filled(store, edges)
    store.meddle = [lambda: Changelog(store, ID).trim(edges[:30], 30)]
    assert changelog.tidy(0, 10) == 0
    assert set(Changelog(store, ID).history().edges) == set(edges[30:])
    assert changelog.tidy(0, 10) == 60


def test_two_who_move_the_same() -> None:
    """One is faster; nothing is lost, though the other takes its archive away."""
    store, edges = Meddling(), chain(100)
    changelog = filled(store, edges)
    store.meddle = [lambda: Changelog(store, ID).tidy(0, 10)]
    changelog.tidy(0, 10)
    assert set(Changelog(store, ID).history().edges) == set(edges)
    assert {Changelog(store, ID).read(edge)["rows"] for edge in edges} == {1}


class Torn(MemoryStore):
    """Its first listing of a changelog misses what moves while it is made."""

    def __init__(self) -> None:
        super().__init__()
        self.during: list[object] = []

    def names(self, prefix: str) -> list[str]:
        found = list(super().names(prefix))
        if self.during:
            act = self.during.pop()
            assert callable(act)
            act()
            left = set(super().names(prefix))
            return [name for name in found if name in left]  # neither old names nor the archive
        return found


def test_a_listing_made_while_they_move_is_made_again() -> None:
    store, edges = Torn(), chain(100)
    filled(store, edges)
    reader = Changelog(store, ID)
    store.during = [lambda: Changelog(store, ID).tidy(0, 10)]
    assert set(reader.history().edges) == set(edges)
    more = chain(60, 101)
    more[0] = (edges[-1][1], more[0][1])
    Changelog(store, ID).write({edge: document(edge) for edge in more})
    store.during = [lambda: Changelog(store, ID).tidy(0, 10)]
    assert set(reader.history().edges) == {*edges, *more}


def test_writers_readers_and_movers_at_once(tmp_path: Path) -> None:
    """Nobody ever sees a history with a gap."""
    store = LocalStore(tmp_path, durability="os")
    edges = chain(400)
    done = threading.Event()
    failures: list[object] = []

    def read() -> None:
        while not done.is_set():
            for seen in (kept, Changelog(store, ID)):
                history = seen.history()
                if len(history.heads) > 1 or history.orphans(history.edges):
                    failures.append(history.heads)

    def move() -> None:
        mover = Changelog(store, ID)
        while not done.is_set():
            mover.tidy(10, 5)

    kept = Changelog(store, ID)
    threads = [threading.Thread(target=act) for act in (read, move, move)]
    for thread in threads:
        thread.start()
    writer = Changelog(store, ID)
    for edge in edges:
        writer.write({edge: document(edge)})
    done.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert set(Changelog(store, ID).history().edges) == set(edges)


def test_a_damaged_archive_is_named(store: Store) -> None:
    changelog = filled(store, chain(100))
    changelog.tidy(0, 10)
    name = next(n for n in store.names(changelog.folder) if archive_digest(n))
    data = bytearray(store.get(f"{changelog.folder}/{name}").to_pybytes())
    named = 0
    for at in random.Random(0).sample(range(len(data)), 60):
        data[at] ^= 1
        store.put(f"{changelog.folder}/{name}", bytes(data))
        data[at] ^= 1
        try:
            seen = Changelog(store, ID)
            found = [seen.read(edge) for edge in chain(100)]
        except DamagedError as error:
            assert str(archive_digest(name)) in str(error)
            named += 1
        else:
            assert [doc["message"] for doc in found] == [e[1][:16] for e in chain(100)]
    assert named > 40


@pytest.mark.parametrize("column", ["parent", "child", "document", "arrived"])
def test_an_archive_that_leaves_something_unsaid_is_damaged(store: Store, column: str) -> None:
    """Its digest is right, so only what it says can tell."""
    edges = chain(2)
    rows = [{"parent": p, "child": c, "document": "{}", "arrived": 1} for p, c in edges]
    rows[1][column] = None
    made = encode(pa.Table.from_pylist(rows, schema=archive._SCHEMA), "plain")
    changelog = Changelog(store, ID)
    store.put(f"{changelog.folder}/packed.{made.name}.00000000", made.data)
    with pytest.raises(DamagedError, match=made.name):
        changelog.history()
        changelog.read(edges[1])
        changelog.ages()
    with pytest.raises(DamagedError, match=made.name):
        Archive(made.name, made.data).check()


def test_a_document_that_nobody_could_copy_is_damaged(store: Store) -> None:
    """In an archive as in a file of its own: else a pull would stop at it with what Python says."""
    (edge,) = chain(1)
    records = {edge: Record({"author": "\U0001f600"}, 1)}
    assert Archive(*_archive(records)).document(edge) == {"author": "\U0001f600"}
    for said in ({"author": "\ud800"}, {"rows": -1}, {"kind": None}):
        text = json.dumps(said)
        made = encode(
            pa.table([[edge[0]], [edge[1]], [text], [1]], schema=archive._SCHEMA), "plain"
        )
        with pytest.raises(DamagedError, match=made.name):
            Archive(made.name, made.data).document(edge)
        body = {**said, "format": 1, "parent": edge[0], "child": edge[1]}
        body["checksum"] = xxh3_64_hexdigest(json.dumps(body, sort_keys=True).encode())
        with pytest.raises(DamagedError, match=edge[1]):
            decode_document(*edge, json.dumps(body).encode())


def _archive(records: dict[Edge, Record]) -> tuple[Digest, pa.Buffer]:
    name, data = encode_archive(records)
    digest = archive_digest(name)
    assert digest is not None
    return digest, data


def test_a_damaged_revision_stays_where_it_is_and_stops_nobody(tmp_path: Path) -> None:
    repo = Repo(tmp_path, durability="os")
    clct = repo.create_collection(SCHEMA, "c")
    first = (clct / "s").write({"n": [0], "x": [0.0]})[0]
    path = tmp_path / clct.changelog.folder / first.path
    path.write_bytes(path.read_bytes()[:-9])
    for n in range(1, 600):
        (clct / "s").write({"n": [n], "x": [0.0]})
    names = [file.name for file in path.parent.iterdir()]
    assert first.path in names
    assert len(names) < 300
    assert len((clct / "s").df()) == 600
    assert [problem.name.split("/")[-1] for problem in repo.check().damaged] == [first.path]


def test_a_stamp_that_is_none_is_a_stray(tmp_path: Path) -> None:
    """Otherwise nothing could be written after it."""
    repo = Repo(tmp_path)
    clct = repo.create_collection(SCHEMA, "c")
    (clct / "s").write({"n": [0], "x": [0.0]})
    stray = f"{clct.changelog.heads()[0]}.8{'0' * 15}-{'0' * 32}"
    (tmp_path / clct.changelog.folder / stray).write_text("{}")
    (clct / "s").write({"n": [1], "x": [0.0]})
    assert len((Repo(tmp_path) / "c" / "s").df()) == 2
    assert [name.split("/")[-1] for name in repo.check().strays] == [stray]


@pytest.fixture
def long(tmp_path: Path) -> Iterator[Repo]:
    repo = Repo(tmp_path / "long", durability="os")
    clct = repo.create_collection(SCHEMA, "c")
    for n in range(700):
        (clct / "s").write({"n": [n], "x": [n / 2]}, message=f"write {n}")
    yield repo


def test_commits_keep_the_listing_short_and_the_past_is_all_there(
    long: Repo, tmp_path: Path
) -> None:
    clct = long / "c"
    files = len(long.store.names(clct.changelog.folder))
    assert files < 600
    log = clct.changelog.log()
    assert len(log) == 700
    assert clct.changelog.document(log[3])["message"] == "write 3"
    assert len((clct / "s").df(as_of=log[99])) == 100
    assert long.check()

    other = Repo(tmp_path / "other")
    other.pull(long)
    assert [r.path for r in (other / "c").changelog.log()] == [r.path for r in log]
    assert len(other.store.names((other / "c").changelog.folder)) < 200
    assert len((other / "c" / "s").df(as_of=log[99])) == 100
    assert other.check()
    (other / "c" / "s").write({"n": [0], "x": [9]})
    long.pull(other)
    assert (long / "c" / "s").df(0, 1)["x"].to_list() == [9]

    long.pack()
    assert len(long.store.names(clct.changelog.folder)) < 70
    assert clct.trim(before=log[600], grace=0) > 0
    long.gc(grace=0)
    assert long.check()
    assert len((clct / "s").df()) == 700


states = st.builds(make_child, st.integers(1, 200), st.sampled_from(["0" * 32, "f" * 32]))


@given(st.sets(st.tuples(states, states)), st.lists(st.integers(1, 50), max_size=10))
def test_a_history_is_the_same_however_it_was_learnt(
    pairs: set[tuple[Child, Child]], steps: list[int]
) -> None:
    edges = sorted(pair for pair in pairs if pair[0] < pair[1])
    history, at = History(), 0
    for step in [*steps, len(edges)]:
        history, at = history.add(edges[at : at + step]), at + step
    at_once = History.of(edges)
    assert history.edges == at_once.edges == frozenset(edges)
    assert history.heads == at_once.heads
    assert history.heads == tuple(sorted({c for _, c in edges} - {p for p, _ in edges}))
    assert len(history) == len(edges)
    assert all(edge in history and history.has(edge[1]) for edge in edges)


@given(st.dictionaries(st.tuples(states, states), st.text(max_size=5), min_size=1))
def test_an_archive_gives_back_what_went_in(texts: dict[tuple[Child, Child], str]) -> None:
    records = {
        edge: Record({"message": text}, n)
        for n, (edge, text) in enumerate(texts.items())
        if edge[0] < edge[1]
    }
    if not records:
        return
    name, data = encode_archive(records)
    digest = archive_digest(name)
    assert digest is not None
    archive = Archive(digest, data)
    archive.check()
    assert archive.edges == set(records)
    assert archive.records() == records
    assert all(archive.document(edge) == records[edge].document for edge in records)


def test_of_writers_at_once_some_move_revisions_and_not_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moves: list[Changelog] = []
    monkeypatch.setattr(Changelog, "tidy", lambda self: moves.append(self))
    site = Repo().create_collection(SCHEMA, "c")._ledger.site
    rng = random.Random(1)
    for count, fewest, most in ((1, 200, 200), (10, 5, 50)):
        moves.clear()
        for turn in range(200):
            heads = [make_child(1 + n, f"{n:032x}") for n in range(count)]
            publish(site, heads, 100 + turn, Digest(rng.randbytes(16).hex()), {})
        assert fewest <= len(moves) <= most


def test_of_many_revisions_with_one_child_one_is_read(tmp_path: Path) -> None:
    parents = [make_child(n, f"{n:032x}") for n in range(1, 101)]
    edges = [(parent, make_child(200, f"{200:032x}")) for parent in parents]
    edges += [(edges[0][1], make_child(300, f"{300:032x}"))]
    store = CountingStore(LocalStore(tmp_path, durability="os"))
    changelog = filled(store, edges)
    documents = [document(edge) for edge in edges]
    (tmp_path / changelog.folder / "{}.{}".format(*edges[0])).write_bytes(b"damaged")
    store.clear()
    assert changelog.tidy(50, 0) == 100
    assert sum(request.method == "get" for request in store.requests) <= 3
    assert [bare(changelog.read(edge)) for edge in edges] == documents


def test_at_no_moment_of_commits_are_there_more_heads_than_writers() -> None:
    """All of them are halted after each revision that they write."""
    writers = 4
    seen: list[int] = []
    halt = threading.Barrier(writers, lambda: seen.append(len(Changelog(store, ID).heads())))

    class Halting(MemoryStore):
        def put(self, name: str, data: Content) -> None:
            super().put(name, data)
            halt.wait(30)

    store = Halting()
    changelogs = [Changelog(store, ID) for _ in range(writers)]
    for turn in range(3):
        heads = Changelog(store, ID).heads() or (PHI,)
        children = [make_child(10 * turn + n, f"{n:032x}") for n in range(1, 1 + writers)]
        with ThreadPoolExecutor(writers) as pool:
            several = [heads] * writers, children, [{}] * writers
            list(pool.map(Changelog.commit, changelogs, *several))
    assert seen == [4] * (1 + writers + writers)
