"""Pulls: what is copied, in which order, and what the target relies on meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lakota import Repo, Schema, sync
from lakota.changelog import PHI, Changelog, Child, Edge, History, make_child, stamp_of
from lakota.clock import Clock
from lakota.digest import Digest
from lakota.errors import ClockError, DamagedError
from lakota.objects import MissingObjectError, digest_of, page_name, segment_name
from lakota.segment import open_segment
from lakota.site import Site
from lakota.store import CountingStore, MemoryStore, Store
from lakota.sync import pull

SCHEMA = Schema(n="int*", x="int")


def made(store: Store | None = None) -> Repo:
    repo = Repo(store or MemoryStore())
    repo.create_collection(SCHEMA, "c")
    return repo


def write(repo: Repo, *keys: int, label: str = "s", value: int = 0) -> Edge:
    """One revision."""
    (revision,) = (repo / "c" / label).write({"n": list(keys), "x": [value + k for k in keys]})
    return revision.parent, revision.child


def written(count: int, store: Store | None = None) -> Repo:
    """A repo of so many revisions, each with a segment of its own."""
    repo = made(store)
    for n in range(count):
        write(repo, n, value=n)
    return repo


def site_of(repo: Repo) -> Site:
    return (repo / "c")._site


def copy(source: Repo, target: Repo, **options: Any) -> list[Edge]:
    return pull(site_of(target), site_of(source), **options)


def told(repo: Repo) -> dict[str, Any]:
    """Every state that a repo has."""
    clct = repo / "c"
    return {
        r.path: {label: (clct / label).frame(as_of=r).to_pydict() for label in clct.ls(as_of=r)}
        for r in clct.changelog.log()
    }


class Hooked(MemoryStore):
    """Calls `before` with the name of what is read or stored."""

    def __init__(self) -> None:
        super().__init__()
        self.before: Callable[[str, str], None] | None = None

    def _tell(self, what: str, name: str) -> None:
        act = self.before
        if act is not None:
            self.before = None
            try:
                act(what, name)
            finally:
                self.before = self.before or act

    def get(self, name: str) -> pa.Buffer:
        self._tell("get", name)
        return super().get(name)

    def put(self, name: str, data: pa.Buffer | bytes) -> None:
        self._tell("put", name)
        super().put(name, data)

    def put_all(self, objects: Mapping[str, pa.Buffer | bytes]) -> None:
        self._tell("put_all", " ".join(objects))
        super().put_all(objects)


def once(act: Callable[[], object], when: Callable[[str, str], bool]) -> Callable[[str, str], None]:
    """Does something the first time that it is `when`."""
    done: list[bool] = []

    def before(what: str, name: str) -> None:
        if not done and when(what, name):
            done.append(True)
            act()

    return before


# ---- What is copied


def test_a_pull_brings_every_revision_oldest_first_and_once() -> None:
    source, target = written(5), made()
    write(source, 7, label="other")
    assert copy(source, target) == [(r.parent, r.child) for r in (source / "c").changelog.log()]
    assert told(target) == told(source)
    assert target.check()
    assert copy(source, target) == []


def test_edges_are_told_in_the_order_of_their_states() -> None:
    source, left = written(1), made()
    copy(source, left)
    first = write(left, 3)
    second = write(left, 4)
    others = [made() for _ in range(6)]
    for nth, repo in enumerate(others):
        copy(source, repo)
        write(repo, 10 + nth)  # later than the second of the left, and made on what is older
    for repo in (left, *others):
        copy(repo, source)
    merged = [(r.parent, r.child) for r in (source / "c").merge()]
    last = write(source, 5)
    target = made()
    found = copy(source, target)
    assert found == sorted(found, key=lambda e: (e[1], e[0])) != sorted(found)
    assert found[1:3] == [first, second] and found[-8:] == [*sorted(merged), last]
    assert told(target) == told(source) and target.check()


def test_of_a_large_state_only_what_changed_is_read() -> None:
    source, target = made(), made()
    with (source / "c").multi():
        for n in range(600):
            (source / "c" / f"s{n}").write({"n": [n], "x": [n]})
    copy(source, target)
    write(source, 9, label="s9", value=5)
    site = site_of(Repo(CountingStore(source.store)))
    store = site.objects.store
    assert isinstance(store, CountingStore)
    store.requests.clear()
    assert len(pull(site_of(target), site)) == 1
    read = [r.name.split("/")[0] for r in store.requests if r.method in ("get", "range", "tail")]
    assert read.count("segments") == 1
    assert 1 <= read.count("pages") <= 3 < len(list(site.objects.store.list("pages"))) / 4
    assert told(target) == told(source)


def test_what_lies_at_the_target_already_is_kept_fresh_and_not_read() -> None:
    source, target = written(3), made()
    states = [r.child for r in (source / "c").changelog.log()]
    segments = {segment_name(name) for state in states for name in used(source, state)}
    for name in segments:
        target.store.put(name, source.store.get(name))
    stored = {i.name: i.modified for i in target.store.list("segments")}
    store = CountingStore(source.store)
    site = site_of(Repo(store))
    store.requests.clear()
    pull(site_of(target), site)
    assert not any(r.name.startswith("segments") for r in store.requests)
    fresh = {i.name: i.modified for i in target.store.list("segments")}
    assert all(fresh[name] > stored[name] for name in segments)
    assert told(target) == told(source)


def test_each_segment_is_read_once_though_many_revisions_have_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = written(1)
    for n in range(4):
        write(source, n + 1, label="other", value=n)
    for size in (64, 1):
        monkeypatch.setattr(sync, "REVISIONS_AT_ONCE", size)
        store, target = CountingStore(source.store), made()
        site = site_of(Repo(store))
        store.requests.clear()
        pull(site_of(target), site)
        names = [r.name for r in store.requests if r.name.startswith("segments")]
        states = [r.child for r in (source / "c").changelog.log()]
        wanted = set().union(*(used(source, state) for state in states))
        assert sorted(names) == sorted(map(segment_name, wanted))
        assert told(target) == told(source)


def test_a_shallow_pull_brings_the_heads_alone() -> None:
    source, other = written(2), made()
    copy(source, other)
    write(other, 8)
    head = write(source, 5)
    apart = copy(other, source)
    target = made()
    assert copy(source, target, shallow=True) == sorted([head, *apart], key=lambda e: e[1])
    assert (target / "c").changelog.heads() == (source / "c").changelog.heads()
    assert (target / "c" / "s").frame() == (source / "c" / "s").frame()
    assert target.check()
    assert copy(source, target, shallow=True) == []
    # Later the rest.
    assert len(copy(source, target)) == 2 and told(target) == told(source)


# ---- In which order


def test_segments_come_before_pages_and_pages_before_revisions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sync, "REVISIONS_AT_ONCE", 2)
    source, store = written(5), Hooked()
    target = made(store)
    found: list[tuple[str, int]] = []

    def before(what: str, names: str) -> None:
        if what == "put_all" and names:
            kinds = {name.split("/")[0] for name in names.split()}
            assert len(kinds) == 1
            found.append((kinds.pop(), len(names.split())))

    store.before = before
    copy(source, target)
    kinds = ["segments", "pages", "changelog"]
    assert [kind for kind, _ in found] == kinds * 3
    assert [count for kind, count in found if kind == "changelog"] == [2, 2, 1]


def test_a_segment_of_many_series_counts_with_all_its_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sync, "ROWS_AT_ONCE", 6)
    source, store = made(), Hooked()
    with (source / "c").multi():
        for n in range(6):
            (source / "c" / f"s{n}").write({"n": [n], "x": [n]})
    write(source, 1)
    target, found = made(store), []
    store.before = lambda what, names: (
        found.append(len(names.split()))
        if what == "put_all" and names.startswith("segments")
        else None
    )
    copy(source, target)
    assert found == [1, 1]
    assert told(target) == told(source)


class BrokenError(Exception):
    pass


def test_a_pull_that_is_cut_off_anywhere_goes_on_where_it_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sync, "REVISIONS_AT_ONCE", 2)
    source = written(5)
    expected = told(source)
    for broken in range(20):
        store = Hooked()
        target = made(store)
        left = [broken]

        def before(what: str, name: str, left: list[int] = left) -> None:
            if what == "put":
                left[0] -= 1
                if left[0] < 0:
                    raise BrokenError

        store.before = before
        try:
            copy(source, target)
        except BrokenError:
            store.before = None
            seen = told(target)
            assert seen.items() <= expected.items()
            assert target.check()
            assert len(copy(source, target)) == len(expected) - len(seen)
        assert told(target) == expected and target.check()
        if left[0] >= 0:
            return
    raise AssertionError("never whole")


def test_segments_are_stored_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    source = made()
    for n in range(7):
        write(source, *range(10 * n, 10 * n + 3), label=f"s{n}")
    for limit, size, groups in (("SEGMENTS_AT_ONCE", 3, [3, 3, 1]), ("ROWS_AT_ONCE", 6, [2] * 3)):
        store = Hooked()
        target = made(store)
        found: list[int] = []
        store.before = lambda what, names, found=found: (  # type: ignore[misc]
            found.append(len(names.split()))
            if what == "put_all" and names.startswith("segments")
            else None
        )
        with monkeypatch.context() as patch:
            patch.setattr(sync, limit, size)
            copy(source, target)
        assert found == [*groups, *([1] if limit == "ROWS_AT_ONCE" else [])]
        assert told(target) == told(source)


class Far(MemoryStore):
    """A store whose bytes travel: counts how many segments are on their way at once."""

    remote = True

    def __init__(self, remote: bool, together: int) -> None:
        super().__init__()
        self.remote = remote
        self.barrier = threading.Barrier(together)

    def get(self, name: str) -> pa.Buffer:
        if name in self.awaited:
            self.barrier.wait(10)
        return super().get(name)

    awaited: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("source_far", "target_far", "count", "together"),
    [(True, False, 2, 2), (False, True, 2, 2), (True, True, 8, 4), (False, False, 3, 1)],
)
def test_segments_that_travel_are_fetched_at_once_by_a_few_threads(
    source_far: bool, target_far: bool, count: int, together: int
) -> None:
    store, other = Far(source_far, together), Far(target_far, 1)
    source, target = made(store), made(other)
    for n in range(count):
        write(source, n, label=f"s{n}")
    site, newest = site_of(source), (source / "c").changelog.heads()[0]
    store.awaited = frozenset(map(segment_name, used(source, newest)))
    assert len(store.awaited) == count
    threads: set[int] = set()
    plain = store.get

    def get(name: str) -> pa.Buffer:
        if name in store.awaited:
            threads.add(threading.get_ident())
        return plain(name)

    store.get = get
    pull(site_of(target), site)
    store.awaited = frozenset()
    assert len(threads) == together
    assert (threading.get_ident() in threads) == (together == 1)
    assert told(target) == told(source) and target.check()


def test_progress_tells_of_segments_and_revisions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync, "REVISIONS_AT_ONCE", 2)
    source, target = written(3), made()
    said: list[tuple[Any, ...]] = []
    copy(source, target, progress=lambda *args: said.append(args))
    assert said == [
        (0, 2, "segments"),
        (1, 2, "segments"),
        (2, 2, "segments"),
        (2, 3, "revisions"),
        (0, 1, "segments"),
        (1, 1, "segments"),
        (3, 3, "revisions"),
    ]


# ---- Many revisions


@pytest.mark.parametrize(
    ("count", "archived", "tidied"),
    [(5, [], False), (6, [4], True), (9, [4], True), (10, [4, 4], True), (11, [4, 4], True)],
)
def test_of_many_revisions_all_but_the_latest_come_in_archives(
    monkeypatch: pytest.MonkeyPatch, count: int, archived: list[int], tidied: bool
) -> None:
    monkeypatch.setattr(sync, "LOOSE", 4)
    monkeypatch.setattr(sync, "KEEP", 2)
    source, target = written(count), made()
    tidies: list[Changelog] = []
    monkeypatch.setattr(Changelog, "tidy", lambda changelog: tidies.append(changelog))
    assert len(copy(source, target)) == count
    changelog = (target / "c").changelog
    assert changelog.history().edges == (source / "c").changelog.history().edges
    assert sorted(len(a) for a in changelog.archives().values()) == archived
    assert len(changelog.store.names(changelog.folder)) == count - sum(archived) + len(archived)
    assert bool(tidies) == tidied
    assert told(target) == told(source)


class Served(MemoryStore):
    """A store whose server moves old revisions into archives."""

    tidied = True


def test_where_a_server_tidies_a_pull_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync, "LOOSE", 2)
    monkeypatch.setattr(sync, "KEEP", 1)
    source, target = written(6), made(Served())
    copy(source, target)
    assert (target / "c").changelog.archives() == {}
    assert told(target) == told(source)


# ---- Trims


def child(stamp: int, digit: str = "1") -> Child:
    return make_child(stamp, Digest(digit * 32))


def missing(
    have: Iterable[Edge], offered: Iterable[Edge], trimmed: int = 0, shallow: bool = False
) -> list[int]:
    """The stamps of what is to be copied."""
    found = sync._missing(History.of(have), History.of(offered), trimmed, shallow)
    return sorted(stamp_of(made) for _, made in found)


def test_what_was_trimmed_does_not_come_back() -> None:
    line = [(PHI, child(1)), *((child(n), child(n + 1)) for n in range(1, 9))]
    branch = (child(3), child(20, "2"))
    assert missing([], line) == list(range(1, 10))
    assert missing(line[:4], line) == [5, 6, 7, 8, 9]
    assert missing(line[4:7], line) == [1, 2, 3, 4, 8, 9]
    assert missing(line[4:7], line, trimmed=4) == [8, 9]
    # Not later than the trim: what is missing for another reason comes.
    assert missing(line[4:7], line, trimmed=3) == [4, 8, 9]
    # A branch of which nothing was there, though what it was made on was trimmed.
    assert missing(line[4:7], [*line, branch], trimmed=4) == [8, 9, 20]
    # The source has only what was trimmed.
    assert missing(line[4:7], line[:4], trimmed=4) == []
    assert missing(line[4:7], [*line[:4], branch], trimmed=4) == [20]
    # Nothing at all is there, so nothing is known to be old.
    assert missing([], line[:3], trimmed=9) == [1, 2, 3]
    assert missing([], [*line, branch], shallow=True) == [9, 20]
    assert missing(line[:9], [*line, branch], shallow=True) == [20]
    assert missing(line[4:7], [*line, branch], trimmed=30, shallow=True) == [9, 20]


def test_a_replica_that_trimmed_pulls_what_is_new_alone() -> None:
    source, target = made(), made()
    for n in range(4):
        write(source, 1, 2, value=n)
    copy(source, target)
    assert (target / "c").trim(grace=0) == 3
    target.gc(grace=0)
    last = write(source, 3)
    assert copy(source, target) == [last]
    assert len((target / "c").changelog.log()) == 2 and target.check()
    assert (target / "c" / "s").frame() == (source / "c" / "s").frame()


def test_if_the_source_forgets_meanwhile_the_rest_is_pulled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for attempts in (1, 5):
        monkeypatch.setattr(sync, "ATTEMPTS", attempts)
        store = Hooked()
        source, target = made(store), made()
        for n in range(4):
            write(source, 1, 2, value=n)
        reader = site_of(Repo(store))
        reader.changelog.history()

        def forget(source: Repo = source) -> None:
            (source / "c").trim(grace=0)
            source.gc(grace=0)

        store.before = once(forget, lambda what, name: name.startswith("pages"))
        found = pull(site_of(target), reader)
        assert found == [(r.parent, r.child) for r in (source / "c").changelog.log()]
        assert len(found) == 1
        assert told(target) == told(source) and target.check()


@pytest.mark.parametrize("attempts", [0, 1, 5])
def test_a_later_attempt_is_as_the_first(monkeypatch: pytest.MonkeyPatch, attempts: int) -> None:
    monkeypatch.setattr(sync, "ATTEMPTS", attempts)
    store = Hooked()
    source, target = made(store), made()
    old = [write(source, 1, 2, value=n) for n in range(2)]
    reader, said = site_of(Repo(store)), []

    def forget() -> None:
        for n in (5, 6):
            write(source, 1, 2, value=n)
        (source / "c").changelog.trim(old, stamp_of(old[-1][1]))
        source.gc(grace=0)

    store.before = once(forget, lambda what, name: name.startswith("pages"))
    if not attempts:
        store.before = None
        forget()
    found = pull(site_of(target), reader, shallow=True, progress=lambda *args: said.append(args))
    newest = (source / "c").changelog.log()[-1]
    assert found == [(newest.parent, newest.child)]
    assert said[-1] == (1, 1, "revisions")
    assert target.check()


@pytest.mark.parametrize("folder", ["segments", "pages", "changelog"])
def test_what_is_lost_at_the_source_is_named_at_once(folder: str) -> None:
    source, target = written(3, Hooked()), made()
    before = told(target)
    clct = site_of(source).changelog
    clct.history()
    names = [i.name for i in source.store.list(folder) if clct.folder in i.name or folder[0] != "c"]
    name = sorted(names)[0]
    pages = {page_name(r.root) for r in clct.log()}
    if folder == "pages":
        name = sorted(pages)[0]
    elif folder == "segments":
        wanted = {segment_name(s) for r in clct.log() for s in used(source, r.child)}
        name = sorted(wanted)[0]
    data = source.store.get(name)
    fresh = Repo(source.store)
    seen = site_of(fresh)
    if folder == "changelog":
        source.store.put(name, b"rubbish")
        with pytest.raises(DamagedError):
            pull(site_of(target), seen)
    else:
        source.store.delete([name])
        asked: list[str] = []
        source.store.before = lambda what, found: asked.append(found)
        with pytest.raises(MissingObjectError, match=name):
            pull(site_of(target), seen)
        source.store.before = None
        assert asked.count(name) == 1  # not again and again
    assert told(target) == before and target.check()
    source.store.put(name, data)
    assert len(copy(Repo(source.store), target)) == 3


def used(repo: Repo, state: Child) -> set[Digest]:
    site = site_of(repo)
    return {Digest(e.segment.hex()) for e in site.manifest(state).extents()}


def test_what_the_target_forgets_meanwhile_is_copied_again() -> None:
    """A revision relies on what its parent has, which is trimmed and collected before the
    revision is there."""
    source, store = made(), Hooked()
    target = made(store)
    write(source, 1, 2, label="kept")
    write(source, 1, 2)
    copy(source, target)
    write(source, 3)
    # At the target nothing of it is needed any more.
    (target / "c" / "s").delete()
    (target / "c" / "kept").delete()
    site, other = site_of(target), Repo(store)
    site.changelog.history()

    def forget() -> None:
        assert (other / "c").trim(grace=0) > 0
        other.gc(grace=0)

    store.before = once(forget, lambda what, name: what == "put_all" and "changelog/" in name)
    assert len(pull(site, site_of(source))) == 1
    fresh = Repo(store)
    assert fresh.check()
    newest = (source / "c").changelog.heads()[-1]
    for label in ("s", "kept"):
        found = (fresh / "c" / label).frame(as_of=newest)
        assert found == (source / "c" / label).frame()


# ---- What is verified, and in which form it is kept


def test_damage_is_named_and_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync, "REVISIONS_AT_ONCE", 1)
    source, target = written(3), made()
    states = [r.child for r in (source / "c").changelog.log()]
    (new,) = used(source, states[1]) - used(source, states[0])
    name = segment_name(new)
    data = source.store.get(name)
    values = open_segment(data, new).batch(0)["x"].buffers()[1]
    at = values.address - data.address
    flipped = bytearray(data.to_pybytes())
    flipped[at] ^= 1  # in a plain column, which reads do not verify
    source.store.put(name, bytes(flipped))
    with pytest.raises(DamagedError, match=new):
        copy(Repo(source.store), target)
    assert [r.child for r in (target / "c").changelog.log()] == states[:1]
    assert target.check() and not target.store.exists(name)


def test_a_column_that_the_collection_never_had_is_refused() -> None:
    source = Repo()
    source.create_collection(Schema(n="int*", y="int"), "c")
    (source / "c" / "s").write({"n": [1], "y": [1]})
    target = made()
    with pytest.raises(DamagedError, match=r"^segments/.*has a column 'y'"):
        copy(source, target)
    assert told(target) == {}


def test_segments_are_stored_as_the_target_likes_them() -> None:
    source = made()
    keys = np.arange(5000)
    (source / "c" / "s").write({"n": keys, "x": keys * 3})
    names = {segment_name(d) for d in used(source, (source / "c").changelog.heads()[0])}
    (name,) = names
    digest = digest_of(name)
    for codec, codecs in (
        ("plain", {"n": "plain", "x": "plain"}),
        ("zstd", {"n": "zstd", "x": "zstd"}),
        ("packed", {"n": "pco", "x": "pco"}),
    ):
        target = Repo(MemoryStore(), codec=codec)
        target.create_collection(SCHEMA, "c")
        copy(source, target)
        data = target.store.get(name)
        assert open_segment(data, digest).codecs == codecs
        assert (data == source.store.get(name)) == (codec == "plain")
        assert told(target) == told(source)


def test_what_is_pulled_is_earlier_than_what_is_written_next() -> None:
    late = made()
    _, first = write(late, 1)
    ahead = make_child(stamp_of(first) + 10**12, Digest(first[17:]))  # by a quarter of an hour
    (late / "c").changelog.commit([first], ahead, {"author": "", "message": "", "kind": "write"})
    # Clocks of their own: that of the process is not to be ahead from here on.
    target = Repo(MemoryStore(), clock=Clock())
    target.create_collection(SCHEMA, "c")
    copy(late, target)
    _, then = write(target, 2)
    assert stamp_of(then) > stamp_of(ahead)
    strict = Repo(MemoryStore(), clock=Clock(), max_ahead=1.0)
    strict.create_collection(SCHEMA, "c")
    with pytest.raises(ClockError):
        copy(late, strict)
    assert told(strict) == {}


def test_pages_that_only_the_target_has_are_read_there() -> None:
    """As from a bundle, which has no pages of the states that it needs."""
    source, target = written(3), made()
    copy(source, target)
    write(source, 9)
    newest = (source / "c").changelog.heads()[-1]
    site = site_of(source)
    page = site.manifest(newest).page()
    name = page_name(page.name)
    source.store.delete([name])
    with pytest.raises(MissingObjectError, match=name):
        copy(Repo(source.store), Repo(target.store))
    site_of(target).objects.put({}, {page.name: page})
    assert len(copy(Repo(source.store), target)) == 1
    assert target.check()
    assert (target / "c" / "s").frame()["n"].to_pylist() == [0, 1, 2, 9]
