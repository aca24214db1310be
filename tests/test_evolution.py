"""Columns added, renamed, dropped and widened, here and on other replicas."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pytest

from lakota import Collection, FrameError, InputError, NotFoundError, Repo, Schema, SchemaError
from lakota import registry as registry_module
from lakota.evolution import widens

SCHEMA = Schema({"k": "int32*", "x": "int32", "y": "str"})


def make(repo: Repo) -> Any:
    clct = repo.create_collection(SCHEMA, "c")
    (clct / "s").write({"k": [1, 2, 3], "x": [1, 2, 3], "y": ["a", "b", None]})
    return clct


@pytest.fixture
def clct() -> Any:
    return make(Repo())


def rows(clct: Collection, **options: Any) -> list[tuple[Any, ...]]:
    return (clct / "s").df(**options).rows()


def test_an_added_column_has_its_default_in_older_rows(clct: Any) -> None:
    clct.add_column("z", "float", 1.5)
    clct.add_column("tags", "list<str>")
    assert rows(clct) == [(1, 1, "a", 1.5, None), (2, 2, "b", 1.5, None), (3, 3, None, 1.5, None)]
    (clct / "s").write({"k": [2], "x": [9], "y": ["n"], "z": [None], "tags": [["t"]]})
    assert rows(clct)[1] == (2, 9, "n", None, ["t"])
    assert (clct / "s").df(select=["z"])["z"].to_list() == [1.5, None, 1.5]


def test_upserts_of_other_columns_give_new_keys_the_default(clct: Any) -> None:
    clct.add_column("z", "timestamp", "2020-01-01")
    (clct / "s").upsert({"k": [2, 7], "x": [20, 70]})
    assert [str(row[3])[:4] for row in rows(clct)] == ["2020"] * 4
    assert rows(clct)[3][:3] == (7, 70, None)


def test_a_renamed_column_has_its_new_name_in_the_past_as_well(clct: Any) -> None:
    first = clct.changelog.leaf()
    series = clct / "s"  # a handle from before
    clct.rename_column("y", "why")
    series.upsert({"k": [1], "why": ["new"]})
    assert series.df().columns == ["k", "x", "why"]
    assert series.df(as_of=first).rows() == [(1, 1, "a"), (2, 2, "b"), (3, 3, None)]
    assert rows(clct)[0] == (1, 1, "new")
    clct.rename_column("k", "key")
    assert (clct / "s").df(2, 3, select=["why", "key"]).rows() == [("b", 2)]
    clct.write({"station": ["s", "t"], "key": [9, 1], "x": [0, 0], "why": ["p", "q"]}, "station")
    assert rows(clct)[-1] == (9, 0, "p")


def test_a_dropped_column_is_gone_and_one_added_again_starts_anew(clct: Any) -> None:
    clct.drop_column("y")
    assert rows(clct) == [(1, 1), (2, 2), (3, 3)]
    clct.add_column("y", "int", 5)
    assert rows(clct) == [(1, 1, 5), (2, 2, 5), (3, 3, 5)]
    (clct / "s").upsert({"k": [1], "y": [6]})
    assert rows(clct)[0] == (1, 1, 6)


@pytest.mark.parametrize("pack", [False, True])
def test_widened_columns_and_keys_read_old_and_new_rows(clct: Any, pack: bool) -> None:
    clct.widen_column("x", "float")
    clct.widen_column("k", "int64")
    series = clct / "s"
    series.upsert({"k": [2, 2**40], "x": [0.5, 1.5]})
    series.write({"k": [-(2**40)], "x": [2.5], "y": ["low"]})
    if pack:
        clct.pack()
        clct.defrag(1)
    assert rows(clct) == [
        (-(2**40), 2.5, "low"), (1, 1.0, "a"), (2, 0.5, "b"), (3, 3.0, None), (2**40, 1.5, None),
    ]  # fmt: skip
    assert series.df(3, 2**50).height == 2
    assert series.df(-(2**50), 2).height == 2
    series.delete(2**39, 2**39)
    assert len(series) == 5


def test_sides_that_evolved_differently_merge() -> None:
    ours, theirs = Repo(), Repo()
    here = make(ours)
    theirs.pull(ours)
    there = theirs / "c"
    here.add_column("z", "float", 1.5)
    here.rename_column("y", "why")
    there.widen_column("x", "float")
    there.widen_column("k", "int64")
    (here / "s").upsert({"k": [2], "z": [9.0]})
    (there / "s").upsert({"k": [2, 3], "x": [2.5, 3.25], "y": ["b2", "c"]})  # knows of no z
    for repo, other in ((ours, theirs), (theirs, ours)):
        repo.pull(other)
    for repo in (ours, theirs):
        repo.merge()
    expected = [(1, 1.0, "a", 1.5), (2, 2.5, "b2", 9.0), (3, 3.25, "c", 1.5)]
    assert rows(here) == rows(there) == expected
    assert here.schema == there.schema == (ours / "c").schema
    third = Repo()
    third.pull(ours, "c")
    assert rows(third / "c") == expected
    assert ours.check()


def test_a_collection_that_evolved_is_opened_by_its_schema_of_today(clct: Any) -> None:
    repo = Repo()
    clct = make(repo)
    clct.add_column("z", "float", 1.5)
    clct.rename_column("y", "why")
    today = Schema({"k": "int32*", "x": "int32", "why": "str", "z": "float"})
    assert len(repo.create_collection(today, "c", raise_if_exists=False) / "s") == 3
    with pytest.raises(SchemaError, match="another schema"):
        repo.create_collection(SCHEMA, "c", raise_if_exists=False)


def test_drop_and_rename_at_once_is_a_drop() -> None:
    ours, theirs = Repo(), Repo()
    here = make(ours)
    theirs.pull(ours)
    there = theirs / "c"
    here.drop_column("y")
    there.rename_column("y", "why")
    (there / "s").write({"k": [5], "x": [5], "why": ["q"]})
    ours.pull(theirs)
    ours.merge()
    assert rows(here) == [(1, 1), (2, 2), (3, 3), (5, 5)]


@pytest.mark.parametrize(
    ("here", "there", "said"),
    [
        (("add_column", "w", "float"), ("add_column", "w", "str"), "was added on both sides"),
        (("rename_column", "x", "n"), ("rename_column", "y", "n"), "two columns are called 'n'"),
        (("widen_column", "x", "int64"), ("widen_column", "x", "float"), "neither holds the other"),
    ],
)
def test_incompatible_changes_are_refused_by_name_and_nothing_changes(
    here: tuple[str, ...], there: tuple[str, ...], said: str
) -> None:
    ours, theirs = Repo(), Repo()
    clct = make(ours)
    theirs.pull(ours)
    getattr(clct, here[0])(*here[1:])
    getattr(theirs / "c", there[0])(*there[1:])
    (theirs / "c" / "s").delete()
    before = {info.name for info in ours.store.list("")}
    with pytest.raises(SchemaError, match=f"collection 'c'.*{said}"):
        ours.pull(theirs)
    with pytest.raises(SchemaError, match=said):
        ours.pull(theirs, "c")
    assert {info.name for info in ours.store.list("")} == before


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (("add_column", "x", "float"), SchemaError),
        (("add_column", "w", "float*"), SchemaError),
        (("add_column", "w", "pickle"), SchemaError),
        (("add_column", "w", "int", 1.5), ValueError),
        (("rename_column", "nope", "w"), NotFoundError),
        (("rename_column", "x", "y"), SchemaError),
        (("rename_column", "x", " "), SchemaError),
        (("drop_column", "k"), SchemaError),
        (("drop_column", "nope"), NotFoundError),
        (("widen_column", "x", "int16"), SchemaError),
        (("widen_column", "k", "float"), SchemaError),
        (("widen_column", "y", "int"), SchemaError),
    ],
)
def test_changes_that_cannot_be_are_refused(clct: Any, change: tuple[Any, ...], error: Any) -> None:
    with pytest.raises(error):
        getattr(clct, change[0])(*change[1:])
    assert clct.schema == SCHEMA
    assert len(rows(clct)) == 3


def test_bounds_of_a_widened_key_are_not_rounded_to_what_is_stored() -> None:
    clct = Repo().create_collection(Schema(k="float32*", x="int"), "c")
    (clct / "s").write({"k": [0.125, 0.25, 0.5], "x": [1, 2, 3]}, start=0.0, stop=1.0)
    clct.widen_column("k", "float")
    series = clct / "s"
    near = 0.25 - 1e-12  # the float32 that is nearest to it is 0.25
    assert series.df(stop=near, closed="both")["x"].to_list() == [1]
    assert series.df(start=near, closed="none")["x"].to_list() == [2, 3]
    assert series.count(start=0.25 + 1e-12, stop=1e300, closed="both") == 1
    series.delete(near, near, closed="both")
    assert series.df()["x"].to_list() == [1, 2, 3]


def test_a_handle_of_a_deleted_collection_says_so() -> None:
    repo = Repo()
    clct = make(repo)
    series = clct / "s"
    repo.delete("c")
    for act in (series.df, clct.ls, lambda: series.write({"k": [1], "x": [1], "y": ["a"]})):
        with pytest.raises(NotFoundError, match="deleted"):
            act()


def test_every_widening_keeps_every_value() -> None:
    types = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32()]
    types += [pa.uint64(), pa.float16(), pa.float32(), pa.float64()]
    limits = {t: [-1, 0, 1, 2**7, 2**11, 2**24, 2**31, 2**53, 2**63] for t in types}
    for narrow in types:
        for wide in types:
            if not widens(narrow, wide):
                continue
            for limit in limits[narrow]:
                for value in (limit - 1, limit, limit + 1):
                    try:
                        held = pa.scalar(value, pa.int64()).cast(narrow)
                    except (pa.ArrowInvalid, OverflowError):
                        continue
                    assert held.cast(wide).cast(narrow) == held, (narrow, wide, value)


def test_of_threads_that_look_at_once_none_keeps_an_older_schema(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One thread makes the schema of what it found while another finds more, and goes on."""
    repo = Repo()
    clct = make(repo)
    registry, made = repo._registry, registry_module.evolve

    def slow(*args: Any, **options: Any) -> Schema:
        monkeypatch.setattr(registry_module, "evolve", made)
        with ThreadPoolExecutor(1) as other:
            other.submit(clct.add_column, "z", "float").result()
            assert "z" in other.submit(registry.schemas, clct.id).result()[0]
        return made(*args, **options)

    registry._schemas.clear()
    monkeypatch.setattr(registry_module, "evolve", slow)
    registry.schemas(clct.id)
    assert "z" in registry.schemas(clct.id)[0]
    assert rows(clct)[0] == (1, 1, "a", None)


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ({"defaults": {"z": object()}}, FrameError),
        ({"defaults": {"z": "text"}}, FrameError),
        ({"defaults": {"z": 1.5}}, FrameError),
        ({"defaults": {1: 1, "z": 1}}, InputError),
        ({"rename": {1: "x", "y": "z"}}, InputError),
        ({"rename": {"x": "y"}}, InputError),
        ({"rename": {"x": "z", "y": "z"}}, InputError),
    ],
)
def test_a_clone_that_cannot_be_is_refused_and_changes_nothing(
    clct: Any, how: dict[str, Any], error: type[Exception]
) -> None:
    schema = Schema({"k": "int32*", "x": "int32", "y": "str", "z": "int"})
    other = Repo().create_collection(schema, "c")
    with pytest.raises(error):
        clct.clone(other, **how)
    assert len(other.changelog) == 0
    clct.clone(other, defaults={"z": 7})
    assert rows(other)[0] == (1, 1, "a", 7)
