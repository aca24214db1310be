"""Many processes write to one collection of one store, and others read: nobody coordinates them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pyarrow as pa
import pytest
from bucket_kit import Bucket
from fault_kit import PROCESSES, SCHEMA, intact, numbers, rows

from lakota import Repo

Place = tuple[str | list[str], dict[str, str] | None]


@pytest.fixture(params=["folder", "bucket", "bucket behind a cache"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where the repo is, and the options to open it."""
    if request.param == "folder":
        return str(tmp_path / "repo"), None
    bucket: Bucket = request.getfixturevalue("bucket")
    if request.param == "bucket":
        return bucket.uri, bucket.options
    return [str(tmp_path / "cache"), bucket.uri], bucket.options


def opened(place: Place) -> Repo:
    uri, options = place
    return Repo(uri, storage_options=options, durability="os")


def _distinct(place: Place, number: int, commits: int, log: str) -> None:
    series = opened(place) / "c" / "s"
    for turn in range(commits):
        start = (number * commits + turn) * 10
        series.write(numbers(start, start + 10), author=f"writer {number}")


def _overlapping(place: Place, number: int, commits: int, log: str) -> None:
    series = opened(place) / "c" / "s"
    with Path(log).open("w") as file:
        for turn in range(commits):
            start, shift = (7 * number + 13 * turn) % 90, (number * commits + turn) / 1024
            revisions = series.write(numbers(start, start + 10, shift))
            stamp = int(revisions[0].child[:16], 16)
            file.write(json.dumps([stamp, start, shift]) + "\n")


def run(
    place: Place, act: Callable[..., None], writers: int, commits: int, folder: Path
) -> Iterator[Repo]:
    """Let processes write; gives the repo again and again until they are done. All end well."""
    logs = [str(folder / f"log-{number}") for number in range(writers)]
    processes: list[BaseProcess] = [
        PROCESSES.Process(target=act, args=(place, number, commits, logs[number]))
        for number in range(writers)
    ]
    for process in processes:
        process.start()
    try:
        while any(process.is_alive() for process in processes):
            yield opened(place)
            time.sleep(0.1)  # leave the processors to the writers
    finally:
        for process in processes:
            process.join(600)
            process.kill()
            process.join()
    assert [process.exitcode for process in processes] == [0] * writers


class Reader:
    """Looks while others write; keeps how often, and how many heads and revisions it saw."""

    def __init__(self, writers: int) -> None:
        self.writers = writers
        self.looks = self.heads = self.revisions = 0

    def look(self, repo: Repo) -> None:
        """What a reader must find at any time."""
        clct = repo / "c"
        heads = len(clct.changelog.heads())
        assert heads <= self.writers
        whole = (clct / "s").frame(merged=True)
        assert whole["n"].to_pylist() == sorted(set(whole["n"].to_pylist()))
        seen = (clct / "s").df()["n"].to_list()
        assert seen == sorted(set(seen))
        found = len(clct.changelog.log())
        assert found >= self.revisions
        self.looks, self.heads, self.revisions = self.looks + 1, max(self.heads, heads), found


SIZES = [
    pytest.param(6, 10, id="6x10"),
    pytest.param(64, 100, id="64x100", marks=pytest.mark.long),
    pytest.param(8, 1_000, id="8x1000", marks=pytest.mark.long),
]


@pytest.mark.parametrize(("writers", "commits"), SIZES)
def test_of_distinct_rows_every_one_is_there(
    place: Place,
    writers: int,
    commits: int,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    opened(place).create_collection(SCHEMA, "c")
    reader = Reader(writers)
    for repo in run(place, _distinct, writers, commits, tmp_path):
        reader.look(repo)
    record_property("reader", vars(reader))
    repo = opened(place)
    repo.merge()
    assert len((repo / "c").changelog.heads()) == 1
    assert (repo / "c" / "s").frame().equals(pa.table(numbers(0, writers * commits * 10)))
    assert intact(repo)


@pytest.mark.parametrize(("writers", "commits"), SIZES)
def test_of_overlapping_rows_the_last_written_are_there(
    place: Place,
    writers: int,
    commits: int,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    opened(place).create_collection(SCHEMA, "c")
    reader = Reader(writers)
    for repo in run(place, _overlapping, writers, commits, tmp_path):
        reader.look(repo)
    record_property("reader", vars(reader))
    repo = opened(place)
    repo.merge()
    writes = sorted(
        json.loads(line) for log in tmp_path.glob("log-*") for line in log.read_text().splitlines()
    )
    assert len(writes) == writers * commits
    expected: dict[int, float] = {}
    for _, start, shift in writes:
        expected.update((n, n + shift) for n in range(start, start + 10))
    assert rows(repo / "c" / "s") == sorted(expected.items())
    assert intact(repo)
