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

from lakota import LakotaError, Repo
from lakota.archive import Archive, archive_digest
from lakota.changelog import Changelog


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
    copies = [tmp_path / "cache", Repo(tmp_path / "replica"), "memory://none"]
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
    report = repo.check(repair=[Repo(), tmp_path / "none"], give_up=True)
    assert report and not report.repaired and not report.given_up
    assert tree(tmp_path) == before
