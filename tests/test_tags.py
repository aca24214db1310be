"""Tags: names for revisions, which travel with the repo and outlive a trim."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakota import (
    AlreadyExistsError,
    Clock,
    Collection,
    LabelError,
    NotFoundError,
    RangeError,
    Repo,
    Schema,
)

SCHEMA = Schema(n="int*", x="float")


def filled(repo: Repo, writes: int = 3) -> Collection:
    clct = repo.create_collection(SCHEMA, "c")
    for i in range(writes):
        (clct / "s").write({"n": [0], "x": [float(i)]})
    return clct


def value(clct: Collection, **moment: object) -> list[float]:
    found: list[float] = (clct / "s").frame(**moment)["x"].to_pylist()
    return found


def test_a_tag_is_a_moment_wherever_moments_are_taken() -> None:
    clct = filled(Repo())
    first, second, _ = clct.changelog.log()
    clct.tag("second", second)
    clct.tag("first", first.child)
    clct.tag("again", "second")
    assert clct.tags() == {"again": second.child, "first": first.child, "second": second.child}
    assert value(clct, as_of="second") == [1.0] and value(clct, before="second") == [0.0]
    assert clct.ls(as_of="first") == ["s"] and clct.ls(before="first") == []
    assert (clct / "s").count(as_of="first") == 1
    assert (clct / "s").tail(as_of="first")["x"].to_pylist() == [0.0]


def test_the_newest_head_is_tagged_unless_told_otherwise() -> None:
    clct = filled(Repo())
    clct.tag("now")
    (clct / "s").delete()
    assert value(clct, as_of="now") == [2.0] and value(clct) == []


def test_an_unknown_name_is_refused_with_those_that_there_are() -> None:
    clct = filled(Repo())
    clct.tag("published")
    for act in (
        lambda: value(clct, as_of="publisht"),
        lambda: value(clct, before="publisht"),
        lambda: clct.trim("publisht"),
        lambda: clct.tag("x", "publisht"),
        lambda: clct.untag("publisht"),
    ):
        with pytest.raises(NotFoundError, match="'published'"):
            act()


@pytest.mark.parametrize(
    "name", ["", " ", "2020-01-01", "2020-01-01T00:00", "0" * 16 + "-" + "a" * 32]
)
def test_a_name_that_reads_as_another_moment_is_no_tag(name: str) -> None:
    clct = filled(Repo())
    with pytest.raises(LabelError):
        clct.tag(name)
    assert clct.tags() == {}


def test_a_tag_is_not_moved_unless_forced() -> None:
    clct = filled(Repo())
    first, _, last = clct.changelog.log()
    clct.tag("v", first)
    clct.tag("v", first)  # it says nothing new
    with pytest.raises(AlreadyExistsError, match=first.child):
        clct.tag("v", last)
    clct.tag("v", last, force=True)
    assert clct.tags() == {"v": last.child}


def test_a_tag_that_was_taken_away_is_free() -> None:
    clct = filled(Repo())
    first, *_ = clct.changelog.log()
    clct.tag("v", first)
    clct.untag("v")
    assert clct.tags() == {}
    clct.tag("v")
    assert value(clct, as_of="v") == [2.0]


def test_collections_have_tags_of_their_own() -> None:
    repo = Repo()
    clct, other = filled(repo), repo.create_collection(SCHEMA, "d")
    clct.tag("v")
    assert other.tags() == {} and clct.tags().keys() == {"v"}
    with pytest.raises(NotFoundError, match="no revision yet"):
        other.tag("v")
    with pytest.raises(NotFoundError):
        other.tag("v", clct.changelog.log()[0])


def test_a_renamed_collection_keeps_its_tags_and_one_made_anew_has_none() -> None:
    repo = Repo()
    filled(repo).tag("v")
    repo.rename("c", "e")
    assert repo.collection("e").tags().keys() == {"v"}
    repo.delete("e")
    assert filled(repo).tags() == {}


def test_tags_travel_with_the_repo(tmp_path: Path) -> None:
    repo, all_of_it, some_of_it = Repo(), Repo(tmp_path / "a"), Repo(tmp_path / "b")
    clct = filled(repo)
    clct.tag("v", clct.changelog.log()[1])
    repo.push(all_of_it)
    some_of_it.pull(repo, "c")
    for replica in (all_of_it, some_of_it):
        assert value(replica / "c", as_of="v") == [1.0]


def test_of_one_name_on_two_replicas_the_last_counts() -> None:
    here, there = Repo(clock=Clock(now=lambda: 10)), Repo(clock=Clock(now=lambda: 20))
    clct = filled(here)
    there.pull(here)
    first, second, _ = clct.changelog.log()
    clct.tag("v", first)
    (there / "c").tag("v", second)
    here.pull(there)
    there.pull(here)
    assert (here / "c").tags() == (there / "c").tags() == {"v": second.child}


def test_a_tagged_revision_outlives_trim_and_gc(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "r")
    clct = filled(repo, 5)
    tagged = clct.changelog.log()[1]
    clct.tag("v", tagged)
    assert clct.trim("2100-01-01", grace=0) == 3
    repo.gc(grace=0)
    assert value(clct, as_of="v") == [1.0] and value(clct) == [4.0]
    assert repo.check()
    clct.untag("v")
    assert clct.trim("2100-01-01", grace=0) == 1
    with pytest.raises(NotFoundError):
        value(clct, as_of=tagged)


def test_merged_reads_see_all_heads_without_committing() -> None:
    a, b = Repo(), Repo()
    one, two = (repo.create_collection(SCHEMA, "c") for repo in (a, b))
    (one / "s").write({"n": [1], "x": [1.0]})
    (two / "s").write({"n": [2], "x": [2.0]})
    (two / "t").write({"n": [2], "x": [2.0]})
    one.pull(two)
    (b / "c").pull(one)
    both = {"n": [1, 2], "x": [1.0, 2.0]}
    series = one / "s"
    heads = one.changelog.heads()
    assert len(heads) == 2 and series.frame()["n"].to_pylist() == [2]
    assert series.frame(merged=True).to_pydict() == both
    assert series.df(merged=True).to_dict(as_series=False) == both
    assert series.tail(1, merged=True)["n"].to_pylist() == [2]
    assert series.count(merged=True) == 2
    assert sum(page.num_rows for page in series.paginate(1, merged=True)) == 2
    assert series.scan(merged=True).collect()["n"].to_list() == [1, 2]
    assert one.scan(merged=True).collect().height == 3
    assert one.ls(merged=True) == ["s", "t"]
    assert one.changelog.heads() == heads
    with pytest.raises(RangeError, match="a revision is one state"):
        series.frame(merged=True, as_of=heads[0])
