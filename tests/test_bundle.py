"""Bundles: what one repo has and another lacks, carried as one file."""

from __future__ import annotations

import json
import time
import zipfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fault_kit import tree

from lakota import Repo, Schema
from lakota.errors import (
    DamagedError,
    FormatError,
    InputError,
    LakotaError,
    NotFoundError,
    StoreError,
)
from lakota.store.bundle import names_digest

SCHEMA = Schema(n="int*", x="float")


def write(repo: Repo, series: str, start: int, count: int = 50) -> None:
    numbers = list(range(start, start + count))
    (repo / "c" / series).write({"n": numbers, "x": [n / 2 for n in numbers]})


def content(repo: Repo) -> dict[str, dict[str, list[tuple[object, ...]]]]:
    return {c.label: {s.label: s.df().rows() for s in c} for c in repo}


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    repo = Repo(tmp_path / "repo", durability="os")
    repo.create_collection(SCHEMA, "c", "other")
    for k in range(40):
        write(repo, f"s{k}", k)
    (repo / "other" / "t").write({"n": [1], "x": [1.5]})
    return repo


def test_a_whole_repo(repo: Repo, tmp_path: Path) -> None:
    path = tmp_path / "all.bundle"
    assert repo.bundle(path) == 41
    for target in (Repo(), Repo(tmp_path / "new")):
        target.pull(path)
        target.pull(str(path))  # once more: nothing
        assert content(target) == content(repo)
        assert [r.path for r in (target / "c").changelog.log()] == [
            r.path for r in (repo / "c").changelog.log()
        ]
        assert target.check()
    assert content(Repo(path)) == content(repo)  # read where it is
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".tmp")] == []


def test_one_collection(repo: Repo, tmp_path: Path) -> None:
    assert repo.bundle(tmp_path / "one", "other") == 1
    target = Repo()
    target.pull(tmp_path / "one", "other")
    assert content(target) == {"other": {"t": [(1, 1.5)]}}


@pytest.mark.parametrize("how", ["time", "bundle", "repo"])
def test_only_what_is_new(repo: Repo, tmp_path: Path, how: str) -> None:
    repo.bundle(tmp_path / "first")
    target = Repo(tmp_path / "target")
    target.pull(tmp_path / "first")
    time.sleep(0.05)
    now = datetime.now(UTC)
    since = {"time": now, "bundle": tmp_path / "first", "repo": target}[how]
    write(repo, "s3", 1000)
    write(repo, "new", 5)
    assert repo.bundle(tmp_path / "second", since=since) == 2
    with zipfile.ZipFile(tmp_path / "second") as file:
        names = file.namelist()
    with zipfile.ZipFile(tmp_path / "first") as file:
        before = file.namelist()
    new = {n for n in names if n.startswith(("segments/", "pages/"))} - set(before)
    old = {n for n in names if n.startswith("segments/")} & set(before)
    assert 3 <= len(new) < 12
    # Of old segments only those of the registry are in it.
    assert len(old) < 6

    with pytest.raises(NotFoundError, match=r"goes on from revision .* earlier bundle"):
        Repo(tmp_path / "empty").pull(tmp_path / "second")
    assert not (tmp_path / "empty").exists()
    target.pull(tmp_path / "second")
    assert content(target) == content(repo)
    assert target.check()


def test_a_chain_of_bundles_and_a_merge(repo: Repo, tmp_path: Path) -> None:
    """Two sites that write and never meet end with the same heads."""
    other = Repo(tmp_path / "other")
    repo.bundle(tmp_path / "0")
    other.pull(tmp_path / "0")
    write(repo, "s1", 500)
    write(other, "s1", 520)
    repo.bundle(tmp_path / "1", since=tmp_path / "0")
    other.bundle(tmp_path / "2", since=tmp_path / "0")
    repo.pull(tmp_path / "2")
    other.pull(tmp_path / "1")
    for side in (repo, other):
        side.merge()
    assert (repo / "c").changelog.heads() == (other / "c").changelog.heads()
    repo.bundle(tmp_path / "3", since=tmp_path / "1")  # the merge, and the other side's write
    third = Repo()
    for name in ("0", "1", "3"):
        third.pull(tmp_path / name)
    assert content(third) == content(repo)
    assert third.check()


def test_nothing_new(repo: Repo, tmp_path: Path) -> None:
    repo.bundle(tmp_path / "first")
    assert repo.bundle(tmp_path / "second", since=tmp_path / "first") == 0
    target = Repo()
    target.pull(tmp_path / "first")
    target.pull(tmp_path / "second")
    assert content(target) == content(repo)


def test_a_bundle_is_read_only(repo: Repo, tmp_path: Path) -> None:
    repo.bundle(tmp_path / "b")
    bundle = Repo(tmp_path / "b")
    data = (tmp_path / "b").read_bytes()
    with pytest.raises(StoreError, match="read only"):
        write(bundle, "s1", 7)
    before = content(bundle)
    write(repo, "s1", 900)
    with pytest.raises(StoreError, match="read only"):
        bundle.pull(repo)
    assert content(Repo(tmp_path / "b")) == before
    assert (tmp_path / "b").read_bytes() == data


def test_files_that_are_none(repo: Repo, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    with zipfile.ZipFile(tmp_path / "zip", "w") as file:
        file.writestr("a", "b")
    with zipfile.ZipFile(tmp_path / "later", "w") as file:
        file.writestr("bundle.json", json.dumps({"format": 9, "names": "", "needs": {}}))
    with zipfile.ZipFile(tmp_path / "short", "w") as file:
        file.writestr("bundle.json", json.dumps({"format": 1, "names": ""}))
    for name, why in (
        ("text", "not a zip file"),
        ("zip", "it has no bundle.json"),
        ("short", "it has no needs"),
    ):
        with pytest.raises(InputError, match=f"no bundle: .*{why}"):
            repo.pull(tmp_path / name)
    with pytest.raises(FormatError, match="format 9"):
        repo.pull(tmp_path / "later")
    with pytest.raises(InputError):
        repo.bundle(tmp_path)
    with pytest.raises(LakotaError):
        repo.bundle(tmp_path / "x", since="yesterday")
    with pytest.raises(NotFoundError):
        repo.bundle(tmp_path / "x", "no such")
    with pytest.raises(StoreError):
        repo.bundle(tmp_path / "no folder" / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("needs", [3, None, [], {"a": 3}, {"a": [3]}, {"a": {"b": "c"}}])
def test_needs_that_are_none(tmp_path: Path, needs: object) -> None:
    with zipfile.ZipFile(tmp_path / "b", "w") as file:
        file.writestr(
            "bundle.json", json.dumps({"format": 1, "names": names_digest([]), "needs": needs})
        )
    with pytest.raises(InputError, match="no bundle"):
        Repo(tmp_path / "b")


def test_compressed_members_are_refused(repo: Repo, tmp_path: Path) -> None:
    """They may be much larger than they look."""
    repo.bundle(tmp_path / "b")
    with (
        zipfile.ZipFile(tmp_path / "b") as old,
        zipfile.ZipFile(tmp_path / "c", "w", zipfile.ZIP_DEFLATED) as new,
        zipfile.ZipFile(tmp_path / "d", "w", zipfile.ZIP_DEFLATED) as all_of_it,
    ):
        for name in old.namelist():
            kind = zipfile.ZIP_STORED if name == "bundle.json" else None
            new.writestr(name, old.read(name), kind)
            all_of_it.writestr(name, old.read(name))
    with pytest.raises(DamagedError, match="compressed"):
        Repo().pull(tmp_path / "c")
    with pytest.raises(InputError, match="compressed"):
        Repo().pull(tmp_path / "d")


def test_a_flip_anywhere_in_the_directory_of_the_zip(repo: Repo, tmp_path: Path) -> None:
    repo.bundle(tmp_path / "b", "other")
    data = bytearray((tmp_path / "b").read_bytes())
    start = data.index(b"PK\x01\x02")
    refused = 0
    for at in range(start, len(data)):
        data[at] ^= 1 << at % 8
        (tmp_path / "b").write_bytes(data)
        data[at] ^= 1 << at % 8
        target = Repo()
        try:
            target.pull(tmp_path / "b", "other")
        except LakotaError:
            refused += 1
            continue
        assert content(target) == {"other": {"t": [(1, 1.5)]}}
    assert 0 < refused < len(data) - start


def test_a_damaged_bundle_is_refused(repo: Repo, tmp_path: Path) -> None:
    repo.bundle(tmp_path / "b")
    data = bytearray((tmp_path / "b").read_bytes())
    expected = content(repo)
    refused = 0
    for at in range(7, len(data), len(data) // 60):
        data[at] ^= 8
        (tmp_path / "b").write_bytes(data)
        data[at] ^= 8
        target = Repo(tmp_path / f"t{at}")
        try:
            target.pull(tmp_path / "b")
        except (DamagedError, InputError, FormatError, StoreError, NotFoundError):
            refused += 1
            if (tmp_path / f"t{at}").exists():
                assert not any(n.endswith(".tmp") for n in tree(tmp_path / f"t{at}"))
        else:
            assert content(target) == expected
    assert refused > 40


@pytest.mark.parametrize(("offset", "value"), [(8, 1), (10, 99), (12, 0xFF), (14, 0xFF)])
def test_a_member_that_is_encrypted_or_without_a_date_is_no_accident(
    repo: Repo, tmp_path: Path, offset: int, value: int
) -> None:
    """Flags, method, time and date in the directory of the file."""
    path = tmp_path / "x.bundle"
    repo.bundle(path)
    data = bytearray(path.read_bytes())
    at = data.find(b"PK\1\2")
    while at >= 0:
        data[at + offset] |= value
        at = data.find(b"PK\1\2", at + 1)
    path.write_bytes(data)
    copy = Repo()
    with suppress(LakotaError):
        copy.pull(path)
        Repo(path).check()
    assert copy.check()
