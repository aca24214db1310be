"""The changelog of a collection: names, documents and the DAG, on a store in memory."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
import xxhash

from lakota import changelog as module
from lakota import document
from lakota.archive import archive_digest
from lakota.changelog import (
    ATTEMPTS,
    ENDED,
    PHI,
    Changelog,
    Child,
    Edge,
    RevDigest,
    Revision,
    edges_in,
    make_child,
    trimmed_in,
)
from lakota.digest import Digest
from lakota.document import decode_document, encode_document
from lakota.errors import DamagedError, FormatError, NotFoundError, ObjectMissingError
from lakota.store import CountingStore, MemoryStore

ID = "a" * 32
FOLDER = f"changelog/{ID}"


def child(stamp: int, digit: str = "1") -> Child:
    return make_child(stamp, Digest(digit * 32))


def chain(count: int, start: int = 1) -> list[Edge]:
    """A history without branches."""
    return list(pairwise([PHI, *(child(n) for n in range(start, start + count))]))


def said(edge: Edge) -> dict[str, Any]:
    return {"author": "é", "message": str(int(edge[1][:16], 16)), "rows": 1}


def filled(edges: list[Edge], store: MemoryStore | None = None) -> Changelog:
    changelog = Changelog(store or MemoryStore(), ID)
    changelog.write({edge: said(edge) for edge in edges})
    return changelog


def names(changelog: Changelog) -> set[str]:
    return set(changelog.store.names(changelog.folder))


def own(edges: list[Edge]) -> set[str]:
    return {f"{parent}.{child}" for parent, child in edges}


def archives(changelog: Changelog) -> set[str]:
    return {name for name in names(changelog) if archive_digest(name)}


# ---- Names


def test_a_revision_says_what_its_name_says() -> None:
    parent, made = child(5, "a"), child(1_500_000_001_234_567_891, "b")
    revision = Revision(parent, made, True)
    assert revision.path == f"{'0' * 15}5-{'a' * 32}.14d1120dc4ac02d3-{'b' * 32}"
    assert revision.stamp == 1_500_000_001_234_567_891 == int(revision.epoch, 16)
    assert revision.time == datetime(2017, 7, 14, 2, 40, 1, 234_567, UTC)
    assert revision.root == "b" * 32
    assert revision.digests == RevDigest("a" * 32, "b" * 32)
    assert repr(revision) == f"<Revision {revision.path} *>"
    assert repr(Revision(parent, made, False)) == f"<Revision {revision.path} >"


def test_only_names_of_edges_are_revisions() -> None:
    a, b = child(1), child(2)
    others = [
        f"{b}.{a}",
        f"{a}.{a}",
        f"{a}.{child(1 << 63)}",
        f"{a}.{b}x",
        f"x{a}.{b}",
        f"{a}-{b}",
        f"{a}.{b.upper()}".replace("1", "A"),
        f"{a[:-1]}.{b}",
        "trimmed.0000000000000001",
        "",
    ]
    good = [f"{a}.{b}", f"{PHI}.{a}", f"{a}.{child((1 << 63) - 1)}"]
    assert list(edges_in([*others, *good])) == [tuple(name.split(".")) for name in good]


def test_the_latest_trim_counts() -> None:
    assert trimmed_in([]) == 0
    assert trimmed_in([f"{PHI}.{child(1)}", "trimmed.1", "xtrimmed.0000000000000005"]) == 0
    assert trimmed_in([f"trimmed.{n:016x}" for n in (17, 300, 4)]) == 300


# ---- Documents


def test_a_document_has_these_bytes() -> None:
    parent, made = child(1), child(2)
    data = encode_document(parent, made, {"message": "é", "author": "a", "checksum": "old"})
    rest = f'"child": "{made}", "format": 1, "message": "%s", "parent": "{parent}"}}'
    # The checksum is that of the same without it, in ASCII.
    plain = ('{"author": "a", ' + rest % "\\u00e9").encode()
    checksum = xxhash.xxh3_64_hexdigest(plain)
    assert data.decode() == f'{{"author": "a", "checksum": "{checksum}", ' + rest % "é" + "\n"
    assert decode_document(parent, made, data) == json.loads(plain)


def broken(parent: Child, made: Child) -> dict[str, tuple[bytes, type[Exception], str]]:
    whole = encode_document(parent, made, {"message": "m"})
    other = encode_document(child(1, "7"), made, {"message": "m"})
    later = json.loads(whole)
    later["format"] = 2
    del later["checksum"]
    later["checksum"] = document._checksum(later)
    name = f"revision {parent}.{made}"
    return {
        "empty": (b"", DamagedError, f"{name} is not a document: "),
        "a list": (b"[]", DamagedError, f"{name} is not a document: "),
        "no checksum": (b"{}", DamagedError, f"{name} is not a document: 'checksum'"),
        "deep": (b"[" * 100_000, DamagedError, f"{name} is not a document: "),
        "no text": (b"\xff", DamagedError, f"{name} is not a document: "),
        "changed": (
            whole.replace(b'"m"', b'"n"'),
            DamagedError,
            f"{name} does not match its checksum and name",
        ),
        "another's": (other, DamagedError, f"{name} does not match its checksum and name"),
        "later": (
            json.dumps(later).encode(),
            FormatError,
            f"{name} is of format 2, this release reads 1",
        ),
    }


@pytest.mark.parametrize("what", list(broken(child(1), child(2))))
def test_what_is_no_document_is_named(what: str) -> None:
    parent, made = child(1), child(2)
    data, kind, message = broken(parent, made)[what]
    with pytest.raises(kind) as caught:
        decode_document(parent, made, data)
    assert type(caught.value) is kind and str(caught.value).startswith(message)
    if not message.endswith(" "):
        assert str(caught.value) == message


def test_a_document_under_the_name_of_another_parent_or_child_is_noticed() -> None:
    data = encode_document(child(1), child(2), {})
    for edge in ((child(1), child(3)), (PHI, child(2))):
        with pytest.raises(DamagedError):
            decode_document(*edge, data)


def test_a_commit_is_one_file_for_each_parent() -> None:
    changelog = filled(chain(1))
    a, b = child(2, "a"), child(2, "b")
    changelog.commit([child(1)], a, {"message": "a"})
    changelog.commit([child(1)], b, {"message": "b"})
    made = changelog.commit([a, b], child(3), {"message": "both"})
    assert made == [Revision(a, child(3), True), Revision(b, child(3), True)]
    assert names(changelog) == own([*chain(1), (child(1), a), (child(1), b)]) | {
        r.path for r in made
    }
    for revision in made:
        document = changelog.document(revision)
        assert document == {
            "message": "both",
            "format": 1,
            "parent": revision.parent,
            "child": revision.child,
        }
    # By the child alone: of the first parent.
    assert changelog.document(child(3))["parent"] == a
    assert changelog.document(made[1].path)["child"] == child(3)
    assert changelog.heads() == (child(3),)


def test_there_is_no_document_of_what_is_no_revision() -> None:
    changelog = filled(chain(2))
    for what in (child(9), "v1", PHI):
        with pytest.raises(NotFoundError) as caught:
            changelog.document(what)
        assert str(caught.value) == f"{what!r} is no revision of this collection: see log()"


def test_what_a_state_says_is_read_once() -> None:
    store = CountingStore(MemoryStore())
    changelog = Changelog(store, ID)
    for edge in chain(3):
        changelog.write({edge: said(edge)})
    first = changelog.about(child(2))
    assert first["message"] == "2" and first["parent"] == child(1)
    store.requests.clear()
    assert changelog.about(child(2)) is first
    assert [r for r in store.requests if r.method != "mark"] == []
    assert changelog.about(child(3))["message"] == "3"


# ---- The DAG


def test_the_log_is_depth_first_the_oldest_branch_first() -> None:
    a, b, c, d = child(2, "a"), child(2, "b"), child(3), child(4)
    lost, orphan = child(5, "e"), child(6, "f")  # its parent was trimmed
    edges = [(PHI, child(1)), (child(1), a), (child(1), b), (a, c), (a, d), (b, d), (lost, orphan)]
    last = (d, child(7))
    changelog = filled([last, *reversed(edges)])
    expected = [
        (PHI, child(1), False),
        (child(1), a, False),
        (a, c, True),
        (a, d, False),
        (d, child(7), True),
        (child(1), b, False),
        (b, d, False),
        (lost, orphan, True),
    ]
    assert [(r.parent, r.child, r.is_leaf) for r in changelog.log()] == expected
    assert list(changelog) == changelog.log()
    assert len(changelog) == 8
    assert changelog.heads() == (c, orphan, child(7))
    assert [r.child for r in changelog.leafs()] == [c, child(7), orphan]
    newest = changelog.leaf()
    assert newest is not None and newest.child == child(7)


def test_before_leaves_out_what_came_at_that_time_or_later() -> None:
    changelog = filled(chain(4))
    revisions = changelog.log()
    day = datetime(1970, 1, 1, tzinfo=UTC)
    assert changelog.log(revisions[2]) == [
        Revision(PHI, child(1), False),
        Revision(child(1), child(2), True),
    ]
    for before in (revisions[2].path, revisions[2].child, 3):
        assert changelog.log(before) == changelog.log(revisions[2])
    assert changelog.log(day) == [] == changelog.log(0)
    assert len(changelog.log(5)) == 4
    leaf = changelog.leaf(3)
    assert leaf is not None and leaf.child == child(2)
    assert [r.child for r in changelog.leafs(4)] == [child(3)]
    assert changelog.leaf(1) is None and changelog.leafs(1) == []
    with pytest.raises(ValueError, match="before='soon'"):
        changelog.log("soon")


def test_a_changelog_without_revisions_is_empty() -> None:
    changelog = Changelog(MemoryStore(), ID)
    assert (changelog.log(), changelog.heads(), len(changelog)) == ([], (), 0)
    assert changelog.leaf() is None and changelog.archives() == {} == changelog.ages()
    assert changelog.tidy(0, 0) == 0 and changelog.trimmed() == 0


# ---- Listings


class Unmarked(MemoryStore):
    """A store that cannot tell cheaply whether something changed."""

    def mark(self, prefix: str) -> Any:
        return None


def listings(store: CountingStore) -> int:
    found = sum(r.method in ("names", "list") for r in store.requests)
    store.requests.clear()
    return found


def test_what_did_not_change_is_listed_until_its_mark_has_settled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(module, "SETTLE", 1.0)
    store = CountingStore(MemoryStore())
    changelog, writer = Changelog(store, ID), Changelog(store.inner, ID)

    def seen(at: float) -> tuple[int, int]:
        now[0] = 100 + at
        return len(changelog.history()), listings(store)

    assert seen(0) == (0, 1)
    assert seen(0.5) == (0, 1)
    assert seen(1) == (0, 1)  # not yet longer ago than a clock may take to tick
    assert seen(1.25) == (0, 1)
    assert seen(1.5) == seen(50) == (0, 0)
    writer.write({chain(1)[0]: {}})
    assert seen(60) == (1, 1)
    assert seen(61.5) == (1, 1)
    assert seen(61.5) == seen(70) == (1, 0)
    changelog.refresh()
    assert seen(80) == (1, 1)
    assert seen(82) == (1, 1)
    assert seen(82) == (1, 0)


def test_a_store_without_marks_is_always_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    store = CountingStore(Unmarked())
    changelog = Changelog(store, ID)
    for _ in range(4):
        now[0] += 10
        changelog.history()
        assert listings(store) == 1


class Restless(Unmarked):
    """A store whose listings of changelogs others meddle with, while they last."""

    def __init__(self, *acts: Any) -> None:
        super().__init__()
        self.acts = list(acts)
        self.listed = 0

    def names(self, prefix: str) -> list[str]:
        self.listed += 1
        found = list(super().names(prefix))
        if self.acts:
            self.acts.pop(0)()
        return found


def test_an_archive_that_goes_while_it_is_opened_is_looked_for_again() -> None:
    store = Restless()
    edges = chain(30)
    filled(edges, store).tidy(0, 5)
    (name,) = archives(Changelog(store, ID))

    def move() -> None:
        data = store.get(f"{FOLDER}/{name}")
        store.delete([f"{FOLDER}/{name}"])
        store.put(f"{FOLDER}/{name[:-8]}{'0' * 8}", data)

    store.acts = [move]
    reader = Changelog(store, ID)
    store.listed = 0
    assert reader.history().edges == set(edges)
    assert store.listed == 2


def test_a_reader_gives_up_after_some_attempts() -> None:
    """Then it sees what the last listing says."""
    store = Restless()
    filled(chain(1), store)
    steps = iter(range(2, 100))

    def grow() -> None:
        n = next(steps)
        # A child whose parent is not there: as if it had just moved.
        MemoryStore.put(store, f"{FOLDER}/{child(n, 'e')}.{child(n, 'f')}", b"")

    grow()
    store.acts = [grow] * 50
    assert len(Changelog(store, ID).history()) == 1 + ATTEMPTS
    assert store.listed == ATTEMPTS


def test_what_is_gone_is_listed_twice_and_then_believed() -> None:
    store = Restless()
    reader = filled(chain(5), store)
    assert len(reader) == 5
    store.delete([f"{FOLDER}/{chain(5)[4][0]}.{chain(5)[4][1]}"])
    store.listed = 0
    assert reader.history().edges == set(chain(4))
    assert store.listed == 2
    assert reader.heads() == (child(4),)


def test_what_moved_into_an_archive_is_not_gone() -> None:
    store = Restless()
    reader = filled(chain(50), store)
    assert len(reader) == 50
    Changelog(store, ID).tidy(0, 5)
    store.listed = 0
    assert len(reader) == 50 and store.listed == 1
    # Nor if archives are joined.
    more = chain(50, 51)
    more[0] = (child(50), child(51))
    writer = Changelog(store, ID)
    writer.write({edge: said(edge) for edge in more})
    assert len(reader) == 100
    assert writer.tidy(0, 5) == 50
    assert len(archives(writer)) == 1
    store.listed = 0
    assert len(reader) == 100 and store.listed == 1
    assert {reader.read(edge)["message"] for edge in [*chain(50), *more]} == {
        str(n) for n in range(1, 101)
    }


def test_an_archive_of_other_bytes_is_damage_and_named() -> None:
    changelog = filled(chain(20))
    changelog.tidy(0, 5)
    (name,) = archives(changelog)
    changelog.store.put(f"{FOLDER}/{name}", b"rubbish")
    with pytest.raises(DamagedError) as caught:
        Changelog(changelog.store, ID).history()
    assert str(caught.value).startswith(f"{FOLDER}/{name} is damaged: ")
    assert str(caught.value).endswith("; it holds revisions: restore it from a replica's copy")


def test_an_archive_under_the_name_of_another_is_damage() -> None:
    changelog, other = filled(chain(20)), filled(chain(30))
    for each in (changelog, other):
        each.tidy(0, 5)
    (name,), (found,) = archives(changelog), archives(other)
    changelog.store.put(f"{FOLDER}/{name}", other.store.get(f"{FOLDER}/{found}"))
    with pytest.raises(DamagedError, match=name):
        Changelog(changelog.store, ID).history()


def test_the_latest_that_stay_are_so_by_their_own_stamps() -> None:
    late = [(child(2), child(30)), (child(30), child(31))]
    changelog = filled([*chain(20), *late])
    assert changelog.tidy(0, 2) == 19
    assert names(changelog) - archives(changelog) == own([*late, chain(20)[19]])


def test_archives_are_told_by_the_names_of_their_files() -> None:
    changelog = filled(chain(20))
    changelog.tidy(0, 5)
    changelog.history()
    ((name, archive),) = changelog.archives().items()
    assert {name} == {f"{FOLDER}/{n}" for n in archives(changelog)}
    assert archive.edges == set(chain(15))


# ---- Reading while they move


class Moving(MemoryStore):
    """Somebody else moves revisions right before one is read."""

    def __init__(self) -> None:
        super().__init__()
        self.acts: list[Any] = []

    def get(self, name: str) -> pa.Buffer:
        if self.acts and "/packed." not in name:
            self.acts.pop(0)()
        return super().get(name)


def test_a_revision_that_moves_while_it_is_read_is_read_where_it_is_now() -> None:
    store = Moving()
    changelog = filled(chain(30), store)
    changelog.history()
    store.acts = [lambda: Changelog(store, ID).tidy(0, 5)]
    assert changelog.read(chain(30)[3])["message"] == "4"
    assert changelog.read(chain(30)[29])["message"] == "30"


def test_a_revision_that_is_not_there_is_missing() -> None:
    changelog = filled(chain(3))
    for edge in ((child(3), child(4)), (PHI, child(2))):
        with pytest.raises(ObjectMissingError):
            changelog.read(edge)


def test_a_revision_that_is_listed_and_never_found_is_missing() -> None:
    class Lying(MemoryStore):
        asked = 0

        def get(self, name: str) -> pa.Buffer:
            self.asked += 1
            raise ObjectMissingError(name)

    store = Lying()
    changelog = filled(chain(3), store)
    with pytest.raises(ObjectMissingError, match=str(child(2))):
        changelog.read(chain(3)[1])
    assert store.asked == ATTEMPTS + 1


# ---- Archives


def test_documents_are_archived_as_they_are_written() -> None:
    edges = chain(4)
    one, other = filled(edges), Changelog(MemoryStore(), ID)
    other.archive({edge: one.read(edge) for edge in edges})
    assert len(names(other)) == 1
    assert other.log() == one.log()
    assert [other.read(edge) for edge in edges] == [one.read(edge) for edge in edges]
    ((_, archive),) = other.archives().items()
    assert archive.document(edges[0]) == said(edges[0])
    newest = one.ages()[edges[3]]
    assert all(abs(age - newest) < 60 for age in other.ages().values())


def test_only_what_is_old_and_no_head_moves() -> None:
    edges = [*chain(20), (child(2), child(3, "f"))]
    for loose, keep, moved in ((21, 5, 0), (20, 5, 15), (0, 1, 19), (0, 30, 0), (20, 0, 19)):
        changelog = filled(edges)
        assert changelog.tidy(loose, keep) == moved
        assert changelog.tidy(loose, keep) == 0
        assert len(archives(changelog)) == (moved > 0)
        stay = sorted(edges, key=lambda e: e[1])[::-1][:keep] if moved else edges
        stay = [*stay, edges[19], edges[20]]
        assert names(changelog) - archives(changelog) == own(stay)
        assert (
            changelog.history().edges
            == set(edges)
            == Changelog(changelog.store, ID).history().edges
        )


def test_small_archives_are_joined_with_the_new_one_and_large_ones_are_left() -> None:
    def sizes(changelog: Changelog) -> list[int]:
        changelog.history()
        return sorted(len(a) for a in changelog.archives().values())

    edges = chain(400)
    changelog = Changelog(MemoryStore(), ID)

    def grow(start: int, stop: int) -> int:
        changelog.write({edge: said(edge) for edge in edges[start:stop]})
        return changelog.tidy(0, 0)

    assert grow(0, 201) == 200 and sizes(changelog) == [200]
    assert grow(201, 211) == 10 and sizes(changelog) == [10, 200]
    assert grow(211, 213) == 2 and sizes(changelog) == [2, 10, 200]
    assert grow(213, 216) == 3 and sizes(changelog) == [15, 200]  # 2 + 3, and 10 with them
    assert grow(216, 256) == 40 and sizes(changelog) == [255]
    assert grow(256, 257) == 1 and sizes(changelog) == [1, 255]
    assert grow(257, 321) == 64 and sizes(changelog) == [320]
    assert {changelog.read(edge)["message"] for edge in edges[:321]} == {
        str(n) for n in range(1, 322)
    }


def test_many_archives_are_joined_though_nothing_moves() -> None:
    edges = chain(60)
    changelog = Changelog(MemoryStore(), ID)
    for at in range(module.ARCHIVES):
        changelog.archive({edges[at]: said(edges[at])})
    assert changelog.tidy() == 0 and len(archives(changelog)) == module.ARCHIVES
    changelog.archive({edges[-1]: said(edges[-1])})
    changelog.heads()  # a commit looks for these first
    assert changelog.tidy() == 0
    assert len(archives(changelog)) == 1
    assert len(Changelog(changelog.store, ID)) == module.ARCHIVES + 1


def test_a_moved_revision_keeps_the_time_when_it_came() -> None:
    store = MemoryStore()
    changelog = filled(chain(30), store)
    store._objects = {
        name: (data, 1000.0 + nth, version)
        for nth, (name, (data, _, version)) in enumerate(store._objects.items())
    }
    before = changelog.ages()
    assert before == {edge: 1000.0 + nth for nth, edge in enumerate(chain(30))}
    changelog.tidy(0, 5)
    assert changelog.ages() == before == Changelog(store, ID).ages()
    changelog.tidy(0, 0)
    assert changelog.ages() == before


def test_a_damaged_revision_stays_in_its_own_file() -> None:
    changelog = filled(chain(20))
    bad, later = chain(20)[3], chain(20)[4]
    changelog.store.put(f"{FOLDER}/{bad[0]}.{bad[1]}", b"rubbish")
    data = json.loads(encode_document(*later, {})) | {"format": 2}
    del data["checksum"]
    data["checksum"] = document._checksum(data)
    changelog.store.put(f"{FOLDER}/{later[0]}.{later[1]}", json.dumps(data).encode())
    assert changelog.tidy(0, 5) == 13
    assert names(changelog) - archives(changelog) == own([*chain(20)[15:], bad, later])
    assert len(Changelog(changelog.store, ID)) == 20


class Meddled(MemoryStore):
    """Somebody else does something when an archive was just stored, or a revision is read."""

    def __init__(self) -> None:
        super().__init__()
        self.stored: list[Any] = []
        self.reading: list[Any] = []

    def put(self, name: str, data: pa.Buffer | bytes) -> None:
        super().put(name, data)
        if "/packed." in name and self.stored:
            self.stored.pop(0)()

    def get(self, name: str) -> pa.Buffer:
        if self.reading:
            self.reading.pop(0)()
        return super().get(name)


def test_who_was_slower_takes_his_archive_away() -> None:
    store, edges = Meddled(), chain(20)
    changelog = filled(edges, store)
    store.stored = [lambda: Changelog(store, ID).tidy(0, 5)]
    assert changelog.tidy(0, 5) == 0
    assert len(archives(changelog)) == 1 and len(names(changelog)) == 6
    store.delete([f"{FOLDER}/{name}" for name in names(changelog)])
    changelog = filled(edges, store)
    store.reading = [lambda: Changelog(store, ID).tidy(0, 5)]
    assert changelog.tidy(0, 5) == 0
    assert len(archives(changelog)) == 1 and len(names(changelog)) == 6
    assert Changelog(store, ID).history().edges == set(edges)


# ---- Trimming


def test_a_trim_is_remembered_by_its_latest_stamp() -> None:
    changelog = filled(chain(10))
    assert changelog.trim([], 7) == 0 and changelog.trimmed() == 0
    assert changelog.trim(chain(10)[:3], 3) == 3
    assert names(changelog) == own(chain(10)[3:]) | {f"trimmed.{3:016x}"}
    assert changelog.trimmed() == 3
    assert changelog.trim(chain(10)[3:4], 2) == 1  # an older one changes nothing of that
    assert names(changelog) == own(chain(10)[4:]) | {f"trimmed.{3:016x}"}
    assert changelog.trim(chain(10)[4:5], 3) == 1
    assert changelog.trimmed() == 3
    assert changelog.trim(chain(10)[4:6], 20) == 2
    assert changelog.store.get(f"{FOLDER}/trimmed.{20:016x}").size == 0
    assert names(changelog) == own(chain(10)[6:]) | {f"trimmed.{20:016x}"}
    assert changelog.trimmed() == Changelog(changelog.store, ID).trimmed() == 20
    assert changelog.history().edges == set(chain(10)[6:])


def test_the_oldest_go_first_so_that_no_gap_is_ever_left() -> None:
    class Dying(MemoryStore):
        def delete(self, names: Any) -> None:
            for nth, name in enumerate(names):
                if nth == 2:
                    raise OSError("died")
                super().delete([name])

    store = Dying()
    late = (PHI, child(9, "9"))  # made on the oldest, and the last to go
    changelog = filled([*chain(10), late], store)
    with pytest.raises(OSError, match="died"):
        changelog.trim([late, *reversed(chain(10)[:6])], 6)
    assert set(edges_in(store.names(FOLDER))) == {*chain(10)[2:], late}
    assert trimmed_in(store.names(FOLDER)) == 6


def test_what_was_trimmed_leaves_its_archive_too() -> None:
    edges = chain(40)
    changelog = filled(edges[:20])
    changelog.tidy(0, 0)
    changelog.write({edge: said(edge) for edge in edges[20:30]})
    changelog.archive({edge: said(edge) for edge in edges[30:]})
    changelog.history()
    untouched = {n for n, a in changelog.archives().items() if edges[35] in a.edges}
    assert changelog.trim(edges[:5], 5) == 5
    assert untouched <= changelog.archives().keys() and len(archives(changelog)) == 2
    assert changelog.history().edges == set(edges[5:])
    assert [changelog.read(edge)["message"] for edge in edges[5:]] == [str(n) for n in range(6, 41)]
    # An archive of which nothing is left is not written again.
    assert changelog.trim(edges[5:25], 25) == 20
    assert len(archives(changelog)) == 1
    assert Changelog(changelog.store, ID).history().edges == set(edges[25:])


def test_what_was_moved_while_it_was_trimmed_goes_all_the_same() -> None:
    class Moved(MemoryStore):
        """Some move into an archive right before they are trimmed."""

        moves = 0

        def delete(self, names: Any) -> None:
            if self.moves:
                self.moves -= 1
                Changelog(self, ID).tidy(0, 5)
            super().delete(names)

    store, edges = Moved(), chain(40)
    changelog = filled(edges, store)
    changelog.history()
    store.moves = 1
    assert changelog.trim(edges[:10], 10) == 10
    assert store.moves == 0 and len(archives(changelog)) == 1
    assert Changelog(store, ID).history().edges == set(edges[10:])


# ---- Locks


def test_writers_of_one_changelog_of_one_place_take_turns() -> None:
    store = MemoryStore()
    lock = Changelog(store, ID).writing()
    assert Changelog(store, ID).writing() is lock
    assert Changelog(store, "b" * 32).writing() is not lock
    assert Changelog(MemoryStore(), ID).writing() is not lock
    with lock, lock:  # by the thread that has it
        pass


def test_what_a_forked_process_forgets_are_the_locks() -> None:
    changelog = Changelog(MemoryStore(), ID)
    lock, guard = changelog.writing(), module._GUARD
    module._forget_locks()
    assert module._GUARD is not guard and changelog.writing() is not lock
    assert changelog.writing() is changelog.writing()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_process_that_was_forked_while_a_thread_wrote_can_write() -> None:
    changelog = Changelog(MemoryStore(), ID)
    holding, done = threading.Event(), threading.Event()

    def hold() -> None:
        with changelog.writing(), module._GUARD:
            holding.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    holding.wait()
    process = os.fork()
    if process == 0:
        guard = module._GUARD.acquire(timeout=1)
        if guard:
            module._GUARD.release()
        os._exit(0 if guard and changelog.writing().acquire(timeout=1) else 1)
    done.set()
    thread.join()
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_write_on_many_heads_ends_some_of_them() -> None:
    heads = [child(n) for n in range(1, 21)]
    changelog = filled([(PHI, head) for head in heads])
    assert changelog.ended(heads[:ENDED]) == heads[:ENDED]
    assert in_the_circle(changelog.ended(heads), heads)  # we made none of them
    changelog.commit([], heads[2], {})
    assert changelog.ended(heads)[0] == heads[2]
    assert sorted(changelog.ended(heads)) == sorted([*heads[:3], *heads[3 - ENDED :]])
    changelog.commit([], child(30), {})  # somebody else ended it
    assert in_the_circle(changelog.ended(heads), heads)


def in_the_circle(ended: Sequence[Child], heads: Sequence[Child]) -> bool:
    """Whether these are so many heads as a write ends, each of them before the last one."""
    at = heads.index(ended[0])
    return list(ended) == [heads[at - n] for n in range(ENDED)]


def test_many_writers_end_all_heads_together() -> None:
    heads = [child(n) for n in range(1, 65)]
    changelog = filled([(PHI, head) for head in heads])
    ended: Counter[Child] = Counter()
    for head in heads:
        changelog.commit([], head, {})
        ended.update(changelog.ended(heads))
    assert ended == dict.fromkeys(heads, ENDED)


def test_writers_that_write_once_and_at_once_leave_few_more_heads_than_they_are() -> None:
    """As commands of a shell do: none of them has a child among the heads."""
    changelog = filled([(PHI, child(n)) for n in range(1, 21)])
    for turn in range(1, 11):
        heads = changelog.heads()
        for writer in range(20):
            once = Changelog(changelog.store, changelog.collection_id)
            once.commit(once.ended(heads), child(100 * turn + writer), {})
        assert 20 <= len(changelog.heads()) < 40
