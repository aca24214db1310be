"""Whatever is passed for whatever parameter of whatever public method: there is a result, or a
named error after which not an object of the repo has changed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import polars as pl
import pytest
from test_docs import UNSAID

from lakota import Clock, InputError, LakotaError, RangeError, Repo, Schema
from lakota.store.memory import MemoryStore

ODD: list[Any] = [
    *(3, -1, 1.5, float("nan"), float("inf"), 10**30, -(10**30), None, True),
    *("x", "", b"x", "\ud800", "\0"),
    *([], [3], ["x"], [None], [[1]], (1, 2, 3), {}, {"x": 1}, set(), slice(1)),
    *(object(), object, np.array([1, 2])),
]
SCHEMA = Schema(n="int*", x="float")
ROWS = {"n": [1, 2], "x": [0.5, 1.5]}


def empty() -> Any:
    return Repo().create_collection(SCHEMA, "c")


# A call that is right: what is passed for the parameters that have no default, or what makes it.
RIGHT: dict[str, dict[str, Any]] = {
    "repo": {
        "label": "c",
        "from_label": "c",
        "to_label": "d",
        "schema": SCHEMA,
        "remote": Repo,
        "path": "x.bundle",
    },
    "clct": {
        "label": "s",
        "from_label": "s",
        "to_label": "t",
        "frame": {**ROWS, "label": ["s", "s"]},
        "a": 0,
        "name": "x",
        "from_name": "x",
        "to_name": "y",
        "definition": "float",
        "remote": empty,
        "other": empty,
        "revision": "first",
    },
    "series": {"frame": ROWS, "source": ROWS, "keys": [1], "key": 1, "times": [], "span": slice(1)},
    "kv": {"frame": ROWS, "keys": [1], "key": 1, "times": [], "span": slice(1)},
    "changelog": {},
    "schema": {
        "index": "n",
        "text": SCHEMA.dumps(),
        "name": "n",
        "schema": SCHEMA.arrow,
        "frame": ROWS,
    },
    "clock": {"stamp": 1},
}
LABELS = {"repo": "c", "clct": "s"}
"""What is passed where labels are."""
INNER = {"series": {"sink"}, "kv": {"sink", "view"}}  # see test_sink


def things(store: MemoryStore) -> dict[str, Any]:
    repo = Repo(store, clock=Clock())
    clct = repo / "c"
    return {
        "repo": repo,
        "clct": clct,
        "series": clct / "s",
        "kv": repo / "k" / "s",
        "changelog": clct.changelog,
        "schema": SCHEMA,
        "clock": repo.clock,
    }


def methods() -> Iterator[tuple[str, str]]:
    repo = Repo()
    repo.create_collection(SCHEMA, "c")
    repo.create_collection(Schema.kv(n="int*", x="float"), "k")
    special = ("__getitem__", "__truediv__", "__contains__")
    for kind, thing in things(repo.store).items():
        for name, method in inspect.getmembers(type(thing)):
            public = not name.startswith("_") or name in special
            routine = inspect.isfunction(method) or inspect.ismethod(method)
            if public and routine and name not in UNSAID.get(kind, set()) | INNER.get(kind, set()):
                yield kind, name


METHODS = sorted(methods())


@pytest.fixture(scope="module")
def objects() -> dict[str, bytes]:
    repo = Repo()
    series = repo.create_collection(SCHEMA, "c") / "s"
    series.write(ROWS)
    (repo / "c").tag("first")
    series.upsert({"n": [2], "x": [5.0]})
    (repo.create_collection(Schema.kv(n="int*", x="float"), "k") / "s").write(ROWS)
    return bytes_of(repo.store)


def bytes_of(store: Any) -> dict[str, bytes]:
    return {info.name: store.get(info.name).to_pybytes() for info in store.list("")}


def store_of(objects: dict[str, bytes]) -> MemoryStore:
    store = MemoryStore()
    for name, data in objects.items():
        store.put(name, data)
    return store


def call(kind: str, method: Callable[..., Any], odd: str, value: Any) -> None:
    """Call it with `value` for the parameter `odd`, and use what comes back."""
    args: list[Any] = []
    options: dict[str, Any] = {}
    parameters = inspect.signature(method).parameters
    in_order = any(p.kind in (p.VAR_POSITIONAL, p.POSITIONAL_ONLY) for p in parameters.values())
    for name, parameter in parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        right = RIGHT[kind].get(name)
        given = value if name == odd else right() if callable(right) else right
        if parameter.kind is parameter.VAR_POSITIONAL:
            given = given if name == odd else LABELS.get(kind) if name == "labels" else None
            args.extend([] if given is None and name != odd else [given])
        elif name == odd or parameter.default is parameter.empty:
            assert name == odd or right is not None, f"no example of {name}"
            if in_order and parameter.kind is not parameter.KEYWORD_ONLY:
                args.append(given)
            else:
                options[name] = given
    found = method(*args, **options)
    if isinstance(found, pl.LazyFrame):
        found.collect()
    elif hasattr(found, "__enter__"):
        with found:
            pass
    elif isinstance(found, Iterator):
        list(found)


@pytest.mark.parametrize(("kind", "name"), METHODS, ids=lambda part: part)
def test_whatever_is_passed_there_is_a_result_or_a_named_error(
    kind: str, name: str, objects: dict[str, bytes], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = store_of(objects)
    method = getattr(things(store)[kind], name)
    for odd, parameter in inspect.signature(method).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        for value in ODD:
            if isinstance(parameter.default, bool) and isinstance(value, np.ndarray):
                continue  # numpy says itself that it is neither true nor false
            if odd == "progress" and callable(value):
                continue  # what a function of one's own raises is one's own
            try:
                call(kind, method, odd, value)
            except LakotaError as error:
                assert str(error)
                assert bytes_of(store) == objects, (odd, value)
            if bytes_of(store) != objects:
                store = store_of(objects)
                method = getattr(things(store)[kind], name)


@pytest.mark.parametrize("grace", [-1, float("nan"), "x", None, True, [1], -0.5])
def test_a_grace_period_is_a_number_of_seconds(grace: Any, objects: dict[str, bytes]) -> None:
    store = store_of(objects)
    repo, clct = (things(store)[kind] for kind in ("repo", "clct"))
    for act in (repo.gc, clct.trim, clct.squash):
        with pytest.raises(RangeError, match="grace="):
            act(grace=grace)
    assert bytes_of(store) == objects
    assert repo.gc(grace=10**400, dry_run=True).objects == 0


def test_a_misspelt_option_is_named() -> None:
    series = Repo().create_collection(SCHEMA, "c") / "s"
    for read in (series.df, series.frame, series.arrow, series.tail, series.count, series.scan):
        with pytest.raises(TypeError, match="'selct'"):
            read(selct="n")


def test_a_table_without_labels_is_told_how_to_name_them() -> None:
    clct = Repo().create_collection(SCHEMA, "c")
    with pytest.raises(LakotaError, match=r"missing column .label.*label="):
        clct.write(ROWS)
    with pytest.raises(LakotaError, match="missing column 'x'"):
        clct.write({"n": [1], "label": ["s"]})


def test_what_a_scan_gives_a_write_takes() -> None:
    clct, copy = Repo().create_collection(SCHEMA, "c", "copy")
    clct.write({**ROWS, "label": ["a", "b"]})
    copy.write(clct.scan())
    assert copy.scan().collect().equals(clct.scan().collect())
    assert copy.ls() == ["a", "b"]


def test_a_document_is_found_by_revision_path_and_child() -> None:
    clct, other = Repo().create_collection(SCHEMA, "c", "other")
    (revision,) = (clct / "s").write(ROWS, message="new")
    for name in (revision, revision.path, revision.child):
        assert clct.changelog.document(name)["message"] == "new"
        with pytest.raises(KeyError, match="is no revision"):
            other.changelog.document(name)


def test_an_odd_clock_is_refused() -> None:
    for now in (lambda: 1.5, lambda: "x", lambda: 2**63):
        repo = Repo(clock=Clock(now=now))
        with pytest.raises(InputError, match="time_ns"):
            repo.create_collection(SCHEMA, "c")
        assert list(repo.store.list("changelog")) == []
    with pytest.raises(InputError, match="time_ns"):
        Clock(now=5)
    for clock in (5, "utc", Clock):
        with pytest.raises(InputError, match="expected a Clock"):
            Repo(clock=clock)


@pytest.mark.parametrize("made", [Repo, Schema, Schema.kv, Clock], ids=lambda made: made.__name__)
def test_what_cannot_be_made_is_refused_by_name(made: Any, tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    names = inspect.signature(made).parameters
    for name, parameter in names.items():
        for value in ODD:
            if isinstance(parameter.default, bool):
                continue
            try:
                made(value) if parameter.kind is parameter.POSITIONAL_ONLY else made(
                    **{name: value}
                )
            except LakotaError as error:
                assert str(error)
