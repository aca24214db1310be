"""Long operations tell how far they are, and doing so changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lakota import Repo, Schema

Said = list[tuple[int, int | None, str]]
SCHEMA = Schema(n="int*", x="float")


def filled(folder: Path) -> Repo:
    repo = Repo(folder, durability="os")
    clct = repo.create_collection(SCHEMA, "weather")
    for i in range(3):
        (clct / "a").write({"n": [i], "x": [0.5]})
    return repo


def telling(said: Said) -> Callable[[int, int | None, str], None]:
    return lambda done, total, what: said.append((done, total, what))


def operations(folder: Path) -> dict[str, Callable[..., Any]]:
    repo = filled(folder / "a")
    return {
        "push": lambda **how: repo.push(folder / "b", **how),
        "pull": lambda **how: Repo(folder / "c").pull(repo, **how),
        "pack": lambda **how: repo.pack(**how),
        "check": lambda **how: repo.check(**how),
        "gc": lambda **how: repo.gc(grace=0, **how),
    }


@pytest.mark.parametrize("name", ["push", "pull", "pack", "check", "gc"])
def test_what_is_told_grows_to_its_total(name: str, tmp_path: Path) -> None:
    said: Said = []
    operations(tmp_path)[name](progress=telling(said))
    assert said
    last: dict[str, int] = {}
    for done, total, what in said:
        assert total is not None and 0 <= done <= total
        last[what] = done
    assert said[-1][0] == said[-1][1]
    if name in ("push", "pull", "pack"):
        assert all(what.startswith("weather, ") for what in last)


def test_an_error_in_it_ends_the_operation_and_nothing_is_half_done(tmp_path: Path) -> None:
    repo, target = filled(tmp_path / "a"), Repo(tmp_path / "b")

    def stop(done: int, total: int | None, what: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        target.pull(repo, progress=stop)
    assert target.ls() == [] and target.check()
    target.pull(repo)
    assert (target / "weather" / "a").df().equals(pl.DataFrame({"n": range(3), "x": [0.5] * 3}))
