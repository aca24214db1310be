"""Folding settled upserts: the same rows, fewer layers, and newer writes win as before."""

from __future__ import annotations

import random
from typing import Any

from lakota import Clock, Repo, Schema

KEYS = range(8)


def write_something(series: Any, rng: random.Random) -> None:
    keys = sorted(rng.sample(KEYS, rng.randint(1, 4)))
    kind = rng.choice(["write", "rows", "cells", "erase", "delete"])
    a = [rng.choice([None, *range(9)]) for _ in keys]
    if kind == "write":
        series.write({"k": keys, "a": a, "b": a})
    elif kind == "rows":
        series.upsert({"k": keys, "a": a, "b": a})
    elif kind == "cells":
        series.upsert({"k": keys, rng.choice("ab"): a})
    elif kind == "erase":
        series.delete_keys(keys)
    else:
        series.delete(keys[0], keys[-1], closed="left")


def test_folding_changes_no_row_now_or_later() -> None:
    for seed in range(60):
        rng = random.Random(seed)
        clct: Any = Repo(clock=Clock(iter(range(1, 10_000)).__next__)).create_collection(
            Schema(k="int*", a="int", b="int"), "c"
        )
        series = clct / "s"
        for _ in range(rng.randint(1, 8)):
            write_something(series, rng)
        before = series.df().rows()
        moment = clct.changelog.leaf().stamp + 1
        folded = clct.fold(moment)
        assert series.df().rows() == before
        assert "join" not in series.explain()
        assert clct.fold(moment) == [] or not folded
        states = {rev.child: series.df(as_of=rev).rows() for rev in clct.changelog.log()}
        write_something(series, rng)
        assert all(series.df(as_of=child).rows() == rows for child, rows in states.items())


def test_a_fold_spares_what_is_newer_and_wins_over_nothing_newer() -> None:
    schema = Schema(k="int*", a="int", b="int")
    ours, theirs = Repo(), Repo()
    clct: Any = ours.create_collection(schema, "c")
    series = clct / "s"
    series.write({"k": [1, 2, 3], "a": [0, 0, 0], "b": [0, 0, 0]})
    series.upsert({"k": [2], "a": [5]})
    moment = clct.changelog.leaf().stamp + 1
    theirs.pull(ours)
    there: Any = theirs / "c" / "s"
    there.upsert({"k": [2, 3], "b": [7, 7]})
    series.upsert({"k": [1], "a": [6]})
    assert clct.fold(moment)
    ours.pull(theirs)
    ours.merge()
    assert series.df().rows() == [(1, 6, 0), (2, 5, 7), (3, 0, 7)]


def test_two_replicas_that_fold_the_same_history_write_the_same_revision() -> None:
    schema = Schema(k="int*", a="int", b="int")
    ours, theirs = Repo(), Repo()
    clct: Any = ours.create_collection(schema, "c")
    for n in range(5):
        (clct / "s").upsert({"k": [n, n + 1], "a": [n, n]})
    theirs.pull(ours)
    moment = clct.changelog.leaf().stamp + 1
    assert [r.path for r in clct.fold(moment)] == [r.path for r in (theirs / "c").fold(moment)]
