"""The documented example of push, pull and merge: it runs as printed and prints what it says."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lakota import Repo, Revision, Schema

DOCUMENT = Path(__file__).parents[2] / "shared" / "seed_push_pull.md"
FOLDERS = [Path("/tmp", name) for name in ("remote_repo", "local_repo", "repo", "repo_bis")]
"""Where the document puts its repos."""

ROW = re.compile(r"│ (\d{4}-\d\d-\d\d) 00:00:00 ┆ (\S+) +│")
REVISION = re.compile(r"<Revision ([0-9a-f-]+)\.([0-9a-f-]+) (\*?)>")

FOUR_DAYS = [(f"2020-01-0{day}", f"{day - 1}.0") for day in range(1, 5)]
OVERSHADOWED = [(f"2020-01-0{day}", f"{day + 8}.0") for day in range(2, 6)]
MERGED = [("2020-01-01", "0.0"), *OVERSHADOWED]


@contextmanager
def folders_set_aside() -> Iterator[None]:
    """The document's folders for this process alone, absent at first; whatever was there before
    is there again in the end."""
    with open("/tmp/lakota-seed-example.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        aside = {
            folder: folder.with_name(f"{folder.name}.aside-{os.getpid()}") for folder in FOLDERS
        }
        for folder, other in aside.items():
            if folder.exists():
                folder.rename(other)
        try:
            yield
        finally:
            for folder, other in aside.items():
                subprocess.run(["rm", "-rf", str(folder)], check=True)
                if other.exists():
                    other.rename(folder)


def printed(code: str, folder: Path) -> str:
    """What a script prints to a terminal of its own."""
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    return run.stdout


@pytest.mark.skipif(not DOCUMENT.exists(), reason=f"{DOCUMENT.name} is not beside this repository")
def test_the_documented_example_prints_what_the_document_says(tmp_path: Path) -> None:
    sync, merge = re.findall(r"^``` python\n(.*?)^```$", DOCUMENT.read_text(), re.M | re.S)
    with folders_set_aside():
        output = printed(sync, tmp_path)
        assert output.splitlines()[:2] == ["[]", "['temperature']"]
        assert ROW.findall(output) == FOUR_DAYS * 2
        output = printed(merge, tmp_path)
    assert output.startswith("[]\n")
    assert ROW.findall(output) == OVERSHADOWED + MERGED
    logs = [(found[:2], found[2]) for found in REVISION.findall(output)]
    assert [star for _, star in logs] == ["*", "*", "", "*", "", "*"]
    assert_one_common_child([edge for edge, _ in logs[2:]])
    assert [edge for edge, _ in logs[:2]] == [logs[2][0], logs[4][0]]
    assert output.index("[<Revision") > output.index("┘")  # the log follows the frame


def assert_one_common_child(edges: list[tuple[str, str]]) -> None:
    """Two first revisions, each with the same merge for its only child."""
    (phi, one), (one_again, child), (phi_again, two), (two_again, child_again) = edges
    assert phi == phi_again == "0" * 16 + "-" + "0" * 32
    assert one == one_again < two == two_again < child == child_again


# --- the same, a thousand times ---------------------------------------------------------


def days(first: int, values: range) -> dict[str, Any]:
    return {
        "timestamp": [f"2020-01-0{first + n}T00:00" for n in range(len(values))],
        "value": values,
    }


def content(series: Any) -> list[tuple[str, str]]:
    table = series.frame()
    return [(f"{t:%Y-%m-%d}", str(v)) for t, v in zip(*table.to_pydict().values(), strict=True)]


def diverge_and_merge(repo: Repo, repo_bis: Repo) -> None:
    schema = Schema(
        """
        timestamp timestamp*
        value float
        """
    )
    clct = repo.create_collection(schema, "temperature")
    repo.push(repo_bis)
    clct_bis = repo_bis / "temperature"
    assert clct_bis.ls() == []
    series = clct / "Brussels"
    series.write(days(1, range(4)))
    (clct_bis / "Brussels").write(days(2, range(10, 14)))
    repo.pull(repo_bis)
    assert content(series) == OVERSHADOWED
    assert stars(clct.changelog.log()) == "**"
    clct.merge()
    log = clct.changelog.log()
    assert stars(log) == " * *"
    assert_one_common_child([(revision.parent, revision.child) for revision in log])
    assert content(series) == MERGED


def stars(log: list[Revision]) -> str:
    return "".join("*" if revision.is_leaf else " " for revision in log)


@pytest.mark.parametrize("quarter", range(4))
def test_the_merge_example_holds_every_time_in_memory(quarter: int) -> None:
    for turn in range(250):
        name = f"memory://seed-{quarter}-{turn}"
        diverge_and_merge(Repo(name) if turn % 2 else Repo(), Repo())


def test_the_merge_example_holds_every_time_on_disk(tmp_path: Path) -> None:
    for turn in range(20):
        diverge_and_merge(Repo(tmp_path / f"repo{turn}"), Repo(tmp_path / f"repo_bis{turn}"))
