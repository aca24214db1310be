"""Repairs: what is damaged comes back from any copy that has it; without one, what was whole last
counts, and all that went is told."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest
from fault_kit import SCHEMA, content, intact, numbers, rows, tree

from lakota import InputError, LakotaError, Repo, StoreError, UnavailableError
from lakota.archive import Archive, archive_digest
from lakota.changelog import Changelog
from lakota.store import FolderCache, LocalStore


def history(folder: Path, codec: str = "plain") -> Repo:
    """Six revisions of two series, three of them in an archive."""
    repo = Repo(folder, codec=codec, durability="os")
    clct = repo.create_collection(SCHEMA, "c")
    for turn in range(3):
        for label, shift in (("a", 0.0), ("b", 0.5)):
            frame = numbers(10 * turn, 10 * turn + 5, shift)
            (clct / label).write(frame, author="me", message=f"{label} {turn}")
    Changelog(repo.store, clct.id).tidy(0, 3)
    return repo


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def flip_a_document(path: Path) -> None:
    """Damage an archive so that its revisions can still be told, but not what they say."""
    data = path.read_bytes()
    digest = archive_digest(path.name)
    assert digest is not None
    for at in range(len(data)):
        changed = bytes([*data[:at], data[at] ^ 4, *data[at + 1 :]])
        with suppress(LakotaError):
            archive = Archive(digest, pa.py_buffer(changed))
            try:
                archive.check()
            except LakotaError:
                path.write_bytes(changed)
                return
    raise AssertionError("no byte of a document")


DAMAGES: dict[str, Callable[[Path], None]] = {
    "flipped": flip,
    "empty": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-9]),
}


def is_removable(name: str) -> bool:
    """A revision's file that is missing says nothing: the one before it counts."""
    return not name.startswith("changelog/")


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("codec", ["plain", "packed"])
def test_any_damaged_file_is_restored_from_a_replica(
    tmp_path: Path, codec: str, damage: str
) -> None:
    repo = history(tmp_path / "repo", codec)
    Repo(tmp_path / "replica", durability="os").pull(repo)
    expected, log = content(repo), (repo / "c").changelog.log()
    tried = 0
    for name in tree(tmp_path / "repo"):
        if name == "lakota.json" or (damage == "missing" and not is_removable(name)):
            continue
        path = tmp_path / "repo" / name
        before = path.read_bytes()
        DAMAGES[damage](path)
        report = Repo(tmp_path / "repo").check(repair=tmp_path / "replica")
        if report.repaired:
            tried += 1
            assert name in {p.name for p in report.repaired}
            assert "replica" in report.repaired[0].what
        assert report and not report.given_up
        found = Repo(tmp_path / "repo")
        assert content(found) == expected
        assert (found / "c").changelog.log() == log
        if not path.exists():  # an archive, whose revisions are in files of their own now
            path.write_bytes(before)
    assert tried > 10


def test_several_copies_are_asked_in_turn_also_a_cache_without_a_changelog(tmp_path: Path) -> None:
    repo = history(tmp_path / "repo")
    expected = content(repo)
    shutil.copytree(tmp_path / "repo" / "segments", tmp_path / "cache" / "segments")
    Repo(tmp_path / "replica").pull(repo)
    shutil.rmtree(tmp_path / "replica" / "segments")
    for kind in ("segments", "pages"):
        for path in (tmp_path / "repo" / kind).rglob("*"):
            if path.is_file():
                path.write_bytes(b"")
    copies = [tmp_path / "cache", Repo(tmp_path / "replica")]
    report = repo.check(repair=copies)
    assert report and len(report.repaired) > 10
    assert {str(tmp_path / name) in str(report.repaired) for name in ("cache", "replica")} == {True}
    assert content(repo) == expected and intact(Repo(tmp_path / "repo"))


def test_a_copy_that_is_damaged_itself_restores_nothing(tmp_path: Path) -> None:
    repo = history(tmp_path / "repo")
    shutil.copytree(tmp_path / "repo", tmp_path / "replica")
    for folder in ("repo", "replica"):
        for path in (tmp_path / folder / "segments").rglob("*.arrow"):
            flip(path)
    before = tree(tmp_path)
    report = repo.check(repair=tmp_path / "replica")
    assert report.damaged and not report.repaired
    assert tree(tmp_path) == before


def test_without_a_copy_the_last_whole_revisions_count_and_all_that_went_is_told(
    tmp_path: Path,
) -> None:
    repo = history(tmp_path / "repo")
    shutil.copytree(tmp_path / "repo", tmp_path / "backup")
    clct = repo / "c"
    latest, before = sorted(clct.changelog.log(), key=lambda r: -r.stamp)[:2]
    kept = {label: rows(clct / label, as_of=before) for label in ("a", "b")}
    fresh = clct._site.manifest(latest.child).select("b")[-1].segment.hex()
    lost = tmp_path / "repo" / "segments" / fresh[:2] / f"{fresh[2:]}.arrow"
    lost.write_bytes(b"nothing")
    assert not repo.check()
    report = repo.check(give_up=True)
    assert report
    (gone,) = report.given_up
    assert gone.name.endswith(latest.path)
    for said in ("write 'b 2' by 'me'", "5 rows of 1 series", f"{fresh[2:]}.arrow is lost"):
        assert said in gone.what
    found = Repo(tmp_path / "repo")
    assert content(found) == {"c": kept}
    assert [r.child for r in (found / "c").changelog.leafs()] == [before.child]
    (found / "c" / "a").write(numbers(90, 91))
    # What was given up is not forgotten: a copy that has it brings it back.
    found.pull(tmp_path / "backup")
    found.merge()
    assert len(rows(found / "c" / "a")) == 16 and len(rows(found / "c" / "b")) == 15
    assert intact(Repo(tmp_path / "repo"))


def test_a_revision_of_the_past_that_is_not_whole_goes_without_those_made_on_it(
    tmp_path: Path,
) -> None:
    repo = Repo(tmp_path)
    series = repo.create_collection(SCHEMA, "c") / "s"
    revisions = [series.write(numbers(0, 5, turn))[0] for turn in range(4)]
    old = (repo / "c")._site.manifest(revisions[1].child).select("s")[0].segment.hex()
    (tmp_path / "segments" / old[:2] / f"{old[2:]}.arrow").unlink()
    report = repo.check(give_up=True)
    assert report and [p.name.endswith(revisions[1].path) for p in report.given_up] == [True]
    assert rows(series) == [(n, n + 3.0) for n in range(5)]
    assert rows(series, as_of=revisions[0]) == [(n, float(n)) for n in range(5)]
    assert [r.child for r in series.changelog.leafs()] == [revisions[3].child]


@pytest.mark.parametrize("archived", [False, True])
def test_a_document_that_is_lost_takes_no_rows_with_it(tmp_path: Path, archived: bool) -> None:
    repo = history(tmp_path)
    clct = repo / "c"
    expected, log = content(repo), clct.changelog.log()
    folder = tmp_path / clct.changelog.folder
    packed = next(path for path in folder.iterdir() if path.name.startswith("packed."))
    if archived:
        flip_a_document(packed)
    else:
        path = next(path for path in folder.iterdir() if path != packed)
        path.write_bytes(b"{")
    report = repo.check(give_up=True)
    assert report and report.given_up
    assert all("its rows stay" in problem.what for problem in report.given_up)
    assert content(Repo(tmp_path)) == expected
    assert (Repo(tmp_path) / "c").changelog.log() == log


def test_an_archive_of_which_nothing_can_be_read_is_told(tmp_path: Path) -> None:
    repo = history(tmp_path)
    expected = content(repo)
    folder = tmp_path / (repo / "c").changelog.folder
    packed = next(path for path in folder.iterdir() if path.name.startswith("packed."))
    packed.write_bytes(b"")
    assert not repo.check()
    report = repo.check(give_up=True)
    assert report
    assert [packed.name in problem.name for problem in report.given_up] == [True]
    assert content(Repo(tmp_path)) == expected  # the head has a file of its own


def test_a_repo_that_is_whole_is_left_alone(tmp_path: Path) -> None:
    repo = history(tmp_path / "repo")
    before = tree(tmp_path)
    Repo("memory://whole").init()
    report = repo.check(repair="memory://whole", give_up=True)
    assert report and not report.repaired and not report.given_up
    assert tree(tmp_path) == before


def packed(folder: Path) -> Path:
    """The archive of `history`."""
    return next(folder.glob("changelog/*/packed.*"))


def aside(folder: Path) -> list[Path]:
    return list(folder.glob("changelog/*/damaged.*"))


@pytest.mark.parametrize("copy", ["none", "other", "shallow", "older"])
@pytest.mark.parametrize("damage", [flip_a_document, DAMAGES["cut"]])
def test_an_archive_that_no_copy_covers_stays_where_it_is(
    tmp_path: Path, damage: Callable[[Path], None], copy: str
) -> None:
    repo = Repo(tmp_path / "repo", durability="os")
    series = repo.create_collection(SCHEMA, "c") / "s"
    series.write(numbers(0, 5))
    source = Repo()
    if copy == "older":
        source.pull(repo)
    for turn in range(1, 6):
        series.write(numbers(5 * turn, 5 * turn + 5))
    series.changelog.tidy(0, 3)
    if copy == "shallow":
        source.pull(repo, shallow=True)
    elif copy == "other":
        source.create_collection(SCHEMA, "other")
    else:
        source.init()
    damage(packed(tmp_path / "repo"))
    before = tree(tmp_path)
    report = Repo(tmp_path / "repo").check(repair=source)
    assert report.damaged and not report.repaired
    assert tree(tmp_path) == before


def test_a_document_in_an_archive_comes_from_a_replica(tmp_path: Path) -> None:
    repo = history(tmp_path / "repo")
    replica = Repo()
    replica.pull(repo)
    log = repo.collection("c").changelog
    said = {r.path: log.document(r)["message"] for r in log.log()}
    flip_a_document(packed(tmp_path / "repo"))
    found = Repo(tmp_path / "repo")
    report = found.check(repair=[replica])
    assert report and report.repaired and not report.given_up and not aside(tmp_path / "repo")
    log = (found / "c").changelog
    assert {r.path: log.document(r)["message"] for r in log.log()} == said


def test_an_archive_of_which_nothing_can_be_told_is_kept_under_another_name(
    tmp_path: Path,
) -> None:
    repo = history(tmp_path / "repo")
    expected, log = content(repo), (repo / "c").changelog.log()
    replica = Repo()
    replica.pull(repo)
    path = packed(tmp_path / "repo")
    DAMAGES["cut"](path)
    bytes_ = path.read_bytes()
    report = Repo(tmp_path / "repo").check(repair=replica)
    (kept,) = aside(tmp_path / "repo")
    assert report and kept.name in report.repaired[0].what and kept.name in str(report.strays)
    assert kept.read_bytes() == bytes_ and not path.exists()
    found = Repo(tmp_path / "repo")
    assert content(found) == expected and (found / "c").changelog.log() == log


def test_an_archive_comes_back_whole_from_a_copy_of_its_file(tmp_path: Path) -> None:
    history(tmp_path / "repo")
    shutil.copytree(tmp_path / "repo", tmp_path / "backup")
    before = tree(tmp_path)
    DAMAGES["empty"](packed(tmp_path / "repo"))
    report = Repo(tmp_path / "repo").check(repair=tmp_path / "backup")
    assert report and len(report.repaired) == 1
    assert tree(tmp_path) == before


@pytest.mark.parametrize("copy", ["typo", "memory://not there", "other"])
def test_a_copy_that_is_not_there_is_refused_before_anything_is_changed(
    tmp_path: Path, copy: str
) -> None:
    history(tmp_path / "repo")
    DAMAGES["cut"](packed(tmp_path / "repo"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("no repo")
    source = copy if "://" in copy else tmp_path / copy
    before = tree(tmp_path)
    for copies in (source, [tmp_path / "repo", source]):
        with pytest.raises(InputError, match=f"{copy}.*nothing was changed"):
            Repo(tmp_path / "repo").check(repair=copies, give_up=True)
    assert tree(tmp_path) == before


def test_a_repair_shows_no_revision_before_its_objects(tmp_path: Path) -> None:
    """The source is ahead, and has what was trimmed here."""
    repo = history(tmp_path / "repo")
    clct = repo / "c"
    for turn in range(3, 6):
        (clct / "a").write(numbers(10 * turn, 10 * turn + 5))
    source = Repo()
    source.pull(repo)
    (source / "c" / "a").write(numbers(90, 95))
    assert clct.trim(before=sorted(clct.changelog.log(), key=lambda r: r.stamp)[4], grace=0) == 3
    repo.gc(grace=0)
    Changelog(repo.store, clct.id).tidy(0, 1)
    expected, changelog = content(repo), clct.changelog
    before, heads = {revision.path for revision in changelog.log()}, changelog.heads()
    DAMAGES["cut"](packed(tmp_path / "repo"))
    report = Repo(tmp_path / "repo").check(repair=source)
    found = Repo(tmp_path / "repo")
    assert report and report.repaired and intact(found)
    log = (found / "c").changelog.log()
    # A page of what was trimmed may be one of what was kept: then it is whole, and may come back.
    assert before <= {revision.path for revision in log}
    assert content(found) == expected and (found / "c").changelog.heads() == heads
    for revision in log:
        rows(found / "c" / "a", as_of=revision)
    found.pull(source)
    assert (90, 90.0) in rows(found / "c" / "a") and intact(found)


def test_an_archive_and_what_its_revisions_need_come_back_together(tmp_path: Path) -> None:
    repo = history(tmp_path / "repo")
    log = sorted((repo / "c").changelog.log(), key=lambda r: r.stamp)
    before = [rows(repo / "c" / "a", as_of=r) for r in log]
    source = Repo()
    source.pull(repo)
    DAMAGES["cut"](packed(tmp_path / "repo"))
    (tmp_path / "repo" / "pages" / log[0].root[:2] / f"{log[0].root[2:]}.page").unlink()
    shutil.rmtree(tmp_path / "repo" / "segments")
    report = Repo(tmp_path / "repo").check(repair=source)
    found = Repo(tmp_path / "repo")
    assert report and intact(found)
    assert [rows(found / "c" / "a", as_of=r) for r in log] == before


class Failing(LocalStore):
    """Does not give what is asked for by these names, the first time or ever."""

    def __init__(self, root: Path, part: str, error: Exception | None, times: int = 999) -> None:
        super().__init__(root)
        self.part, self.error, self.times = part, error, times

    def get(self, name: str) -> pa.Buffer:
        if self.part not in name or self.times <= 0:
            return super().get(name)
        self.times -= 1
        if self.error is not None:
            raise self.error
        return pa.py_buffer(b"torn")


ERRORS = [
    UnavailableError("no answer"),
    StoreError(24, "Too many open files"),
    PermissionError(13, "Permission denied"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("part", ["segments/", "pages/", "packed.", "changelog/"])
def test_a_read_that_failed_is_no_loss(tmp_path: Path, part: str, error: Exception) -> None:
    repo = history(tmp_path)
    (repo / "c")._site.objects.forget()
    flip(next((tmp_path / "segments").rglob("*.arrow")))
    before = tree(tmp_path)
    with pytest.raises(type(error)):
        Repo(Failing(tmp_path, part, error)).check(give_up=True)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("part", ["segments/", "packed."])
def test_what_is_whole_at_another_look_is_not_given_up(tmp_path: Path, part: str) -> None:
    history(tmp_path)
    before = tree(tmp_path)
    name = next(name for name in sorted(before) if part in name)
    asked = Failing(tmp_path, name, None, 2 if part == "segments/" else 3)
    with pytest.raises(StoreError, match="whole now"):
        Repo(asked).check(give_up=True)
    assert asked.times == 0 and tree(tmp_path) == before


def test_a_cache_restores_what_its_store_lost(tmp_path: Path) -> None:
    cache = FolderCache(tmp_path / "cache")
    repo = Repo([cache, tmp_path / "repo"])
    series = repo.create_collection(SCHEMA, "c") / "s"
    for turn in range(6):
        series.write(numbers(5 * turn, 5 * turn + 5))
    Changelog(repo.store, (repo / "c").id).tidy(0, 3)
    expected = content(repo)
    files = tree(tmp_path / "repo")
    for name in files:
        path = tmp_path / "repo" / name
        if name.startswith(("segments/", "pages/")) or path == packed(tmp_path / "repo"):
            path.write_bytes(b"lost")
    lost = tree(tmp_path / "repo")
    for copy in (cache, [cache], Repo([cache, tmp_path / "repo"])):
        for name, data in lost.items():
            (tmp_path / "repo" / name).write_bytes(data)
        damaged = Repo(tmp_path / "repo")
        report = damaged.check(repair=copy)
        assert report and "FolderCache" in report.repaired[0].what
        assert tree(tmp_path / "repo").keys() == files.keys()
        assert content(Repo(tmp_path / "repo")) == expected
