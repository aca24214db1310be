"""Repos behind a server: reads, writes, pushes, pulls and merges through real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_kit import SCHEMA, content, intact, numbers, rows
from server_kit import Server, serving

from lakota import Repo, Schema


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("repos")
    with serving(root, tmp_path_factory.mktemp("server")) as server:
        yield server


def eventful() -> Repo:
    """A repo in which everything happened that a revision can say."""
    repo = Repo()
    clct = repo.create_collection(SCHEMA, "c")
    for turn in range(20):
        (clct / "s").write(numbers(10 * turn, 10 * turn + 12, turn))
        (clct / "t").upsert(numbers(turn, turn + 3, turn))
    clct.fold("2100-01-01")
    (clct / "t").delete(5, 9)
    (clct / "t").delete_keys([11])
    clct.rename("s", "u")
    clct.add_column("y", "str", "?")
    clct.tag("first", clct.changelog.log()[0])
    names = repo.create_collection(Schema.kv(name="str*", city="str"), "names", "gone")
    (names[0] / "all").write({"name": ["a", "b"], "city": ["Ghent", None]})
    clct.defrag(1)
    return repo


@pytest.mark.parametrize("scope", ["write", "admin"])
def test_all_that_a_repo_can_hold_is_pushed(server: Server, scope: str) -> None:
    local, place = eventful(), f"eventful-{scope}"
    remote = Repo(server.store(place, scope))
    if scope == "admin":
        local.delete("gone")
        local.create_collection(Schema(n="int*", text="list<str>"), "gone")
    local.push(remote)
    assert content(remote) == content(local)
    assert (remote / "c").tags() == (local / "c").tags()
    copy = Repo()
    copy.pull(Repo(server.store(place, "read")))
    assert content(copy) == content(local)
    assert intact(Repo(server.root / place))
    assert {c.label: c.changelog.heads() for c in copy} == {
        c.label: c.changelog.heads() for c in local
    }


def test_the_golden_repo_is_pushed_and_pulled(server: Server) -> None:
    golden = Repo(Path(__file__).parent / "golden" / "v1")
    Repo(server.store("golden", "admin")).pull(golden)
    copy = Repo()
    copy.pull(Repo(server.store("golden", "read")))
    assert str(content(copy)) == str(content(golden))  # in which NaN is NaN


def test_a_remote_repo_is_written_like_a_local_one(server: Server) -> None:
    repo = Repo(server.store("written", "write"))
    series = repo.create_collection(SCHEMA, "c") / "s"
    series.write(numbers(0, 200_000))
    series.upsert(numbers(5, 6, 100))
    again = Repo(server.store("written", "read")) / "c" / "s"
    assert rows(again, start=4, stop=7) == [(4, 4.0), (5, 105.0), (6, 6.0)]
    assert len(again) == 200_000


def test_sides_that_diverge_are_merged_alike(server: Server) -> None:
    here, there = Repo(), Repo()
    remote = Repo(server.store("merged", "write"))
    for repo in (here, there):
        repo.create_collection(SCHEMA, "c")
    here.push(remote)
    there.pull(remote)
    for turn in range(5):
        (here / "c" / "s").write(numbers(turn, turn + 10, turn))
        (there / "c" / "s").write(numbers(turn + 5, turn + 15, 100 + turn))
        (remote / "c" / "s").write(numbers(turn - 5, turn + 1, 200 + turn))
    here.push(remote)
    there.push(remote)
    remote.merge()
    for repo in (here, there):
        repo.pull(remote)
        repo.merge()
        assert content(repo) == content(remote)
        assert (repo / "c").changelog.heads() == (remote / "c").changelog.heads()


def test_a_collector_of_garbage_runs_through_a_server(server: Server) -> None:
    repo = Repo(server.store("collected", "admin"))
    clct = repo.create_collection(SCHEMA, "c")
    for turn in range(5):
        (clct / "s").write(numbers(0, 1000, turn))
    expected = content(repo)
    clct.trim(grace=0)
    assert repo.gc(grace=0).objects > 0
    assert content(Repo(server.store("collected", "read"))) == expected
    assert intact(repo)


def test_one_repo_is_served_at_the_root(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "repo")
    (repo.create_collection(SCHEMA, "c") / "s").write(numbers(0, 3))
    with serving(tmp_path / "repo", tmp_path) as server:
        seen = Repo(server.url, storage_options={"token": server.tokens["write"]})
        (seen / "c" / "s").write(numbers(3, 4))
        assert rows(seen / "c" / "s") == rows(repo / "c" / "s")
        assert len(seen / "c" / "s") == 4
