"""A merge is a function of the heads that it joins, and of nothing else."""

from __future__ import annotations

import threading
from itertools import permutations

import pytest

from lakota import Repo, Schema
from lakota.changelog import ENDED, Child, make_child, root_of, stamp_of
from lakota.merge import merge
from lakota.site import Site

SCHEMA = Schema(n="int*", x="int")


def diverged(count: int) -> Repo:
    """A repo of so many heads, each of which wrote a series of its own and one of all."""
    found = Repo()
    found.create_collection(SCHEMA, "c")
    base = found / "c" / "all"
    base.write({"n": [0], "x": [-1]})
    copies = [Repo() for _ in range(count)]
    for nth, copy in enumerate(copies):
        copy.pull(found)
        (copy / "c" / f"s{nth}").write({"n": [nth], "x": [nth]}, author="somebody")
        (copy / "c" / "all").write({"n": [nth, nth + 1], "x": [nth, nth]}, message="said")
    for copy in copies:
        found.pull(copy)
    assert len((found / "c").changelog.heads()) == count
    return found


def site_of(repo: Repo) -> Site:
    return (repo / "c")._site


@pytest.mark.parametrize("count", [2, 3])
def test_all_heads_become_one_that_says_what_they_say_together(count: int) -> None:
    repo = diverged(count)
    site, heads = site_of(repo), (repo / "c").changelog.heads()
    read = repo / "c" / "all"
    expected = read.frame(merged=True)
    made = merge(site)
    (child,) = site.changelog.heads()
    assert [(r.parent, r.child, r.is_leaf) for r in made] == [(h, child, True) for h in heads]
    assert stamp_of(child) == stamp_of(heads[-1]) + 1
    assert root_of(child) == site.joined(heads).manifest.root
    assert (repo / "c").ls() == ["all", *(f"s{n}" for n in range(count))]
    assert read.frame().equals(expected)
    # What it needs is in the store, for others too.
    other = Repo()
    other.pull(repo)
    assert (other / "c" / "all").frame().equals(expected)
    assert repo.check()


def test_its_document_says_nothing_of_who_merged() -> None:
    repo = diverged(2)
    for revision in merge(site_of(repo)):
        document = (repo / "c").changelog.document(revision)
        assert {k: v for k, v in document.items() if k not in ("parent", "child", "format")} == {
            "author": "",
            "message": "",
            "kind": "merge",
        }


def test_the_order_and_the_number_of_times_do_not_matter() -> None:
    source = diverged(3)
    heads = (source / "c").changelog.heads()
    found = set()
    for order in permutations(heads):
        repo = Repo()
        repo.pull(source)
        made = merge(site_of(repo), [*order, order[0]])
        assert [r.parent for r in made] == sorted(heads)
        found.add((repo / "c").changelog.heads())
        assert merge(site_of(repo)) == []
    assert len(found) == 1


def test_only_the_heads_that_are_named_are_joined() -> None:
    repo = diverged(3)
    first, second, third = (repo / "c").changelog.heads()
    made = merge(site_of(repo), [third, first])
    assert [r.parent for r in made] == [first, third]
    assert (repo / "c").changelog.heads() == (second, made[0].child)


def test_where_there_is_nothing_to_join_nothing_is_written() -> None:
    repo = diverged(2)
    site = site_of(repo)
    head = site.changelog.heads()[0]
    before = set(repo.store.names(site.changelog.folder))
    empty: list[Child] = []
    for heads in (empty, [head], [head, head]):
        assert merge(site, heads) == []
    assert set(repo.store.names(site.changelog.folder)) == before
    merge(site)
    assert merge(site) == []
    assert merge((Repo().create_collection(SCHEMA, "c"))._site) == []


def test_a_merge_waits_for_a_commit_of_another_thread() -> None:
    repo = diverged(2)
    site, done = site_of(repo), threading.Event()
    thread = threading.Thread(target=lambda: (merge(site), done.set()))
    with site.changelog.writing():
        thread.start()
        assert not done.wait(0.2)
        assert len(site.changelog.heads()) == 2
    thread.join()
    assert done.is_set() and len(site.changelog.heads()) == 1


def test_heads_of_the_same_content_become_one() -> None:
    repo = diverged(2)
    (only,) = merge(site_of(repo))[:1]
    later = make_child(stamp_of(only.child) + 5, root_of(only.child))
    changelog = (repo / "c").changelog
    changelog.commit([only.parent], later, {"author": "", "message": "", "kind": "write"})
    made = merge(site_of(repo))
    assert {root_of(r.child) for r in made} == {root_of(only.child)}
    assert stamp_of(made[0].child) == stamp_of(later) + 1


def test_a_write_on_many_heads_hides_nothing_and_a_few_of_them_end_them_all() -> None:
    repo = diverged(20)
    clct = repo / "c"
    expected = (clct / "all").frame(merged=True)
    counts = []
    for n in range(100, 106):
        made = (clct / "all").write({"n": [n], "x": [n]})
        assert len(made) <= ENDED
        counts.append(len(clct.changelog.heads()))
        # The newest head alone holds what all have.
        assert clct.ls() == ["all", *sorted(f"s{nth}" for nth in range(20))]
        assert (clct / "all").frame(stop=100).equals(expected)
        assert (clct / "all").frame().equals((clct / "all").frame(merged=True))
    assert counts == [13, 6, 1, 1, 1, 1]
    assert repo.check()
    other = Repo()
    other.pull(repo)
    assert (other / "c" / "all").frame().equals((clct / "all").frame())


def test_what_a_write_on_many_heads_did_not_end_survives_its_revert() -> None:
    repo = diverged(12)
    clct = repo / "c"
    expected = {label: (clct / label).frame(merged=True) for label in clct.ls(merged=True)}
    (made, *_) = (clct / "all").write({"n": [0], "x": [99]})
    assert len(clct.changelog.heads()) > 1
    clct.revert(made.child)
    for label, frame in expected.items():
        assert (clct / label).frame().equals(frame)
        assert (clct / label).frame(merged=True).equals(frame)
    repo.merge()
    assert {label: (clct / label).frame() for label in clct.ls()} == expected


def test_a_pull_of_a_write_without_the_heads_that_it_did_not_end() -> None:
    repo = diverged(12)
    clct = repo / "c"
    (made, *_) = (clct / "all").write({"n": [50], "x": [50]})
    other = Repo()
    other.create_collection(SCHEMA, "c")
    other.pull(repo)
    assert (other / "c" / "all").frame().equals((clct / "all").frame())
    assert other.check()
    clct.trim(made)
    repo.gc(grace=0)
    assert (clct / "all").frame().equals((other / "c" / "all").frame())
    assert repo.check()
