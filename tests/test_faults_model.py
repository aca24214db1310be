"""One writer against a dictionary: bounds that are zero, all kinds of `closed`, equal keys; and
what many small appends cost."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from fault_kit import SCHEMA, intact, numbers, rows, tree

from lakota import Repo, Schema
from lakota.compact import runs

HISTORIES = [100, pytest.param(2_000, marks=pytest.mark.long)]
CLOSED = ["both", "left", "right", "none", "b", "L", "Right", "n"]

KEYS: dict[str, list[Any]] = {
    "int": list(range(-4, 5)),
    "str": ["", "\0", "a", "a\0", "aa", "b", "é"],
    "bool": [False, True],
    "float": [-1.5, -1.0, 0.0, 0.5, 2.0],
}


def inside(closed: str, start: Any, stop: Any) -> Callable[[Any], bool]:
    """Whether a key is between two bounds, of which None is none."""
    letter = closed[0].lower()

    def test(key: Any) -> bool:
        low = start is None or key > start or (key == start and letter in "bl")
        high = stop is None or key < stop or (key == stop and letter in "br")
        return low and high

    return test


def reach(closed: str, start: Any, stop: Any, new: dict[Any, int]) -> Callable[[Any], bool]:
    """What a write replaces: where a bound is not given, up to its first or last key."""
    low = inside("both", min(new), None) if start is None else inside(closed, start, None)
    high = inside("both", None, max(new)) if stop is None else inside(closed, None, stop)
    return lambda key: low(key) and high(key)


@pytest.mark.parametrize("histories", HISTORIES)
@pytest.mark.parametrize("kind", KEYS)
def test_any_history_of_one_writer_reads_as_a_dictionary_would(kind: str, histories: int) -> None:
    """Bounds are chosen among the keys, so 0, "" and False are bounds as any other."""
    keys = KEYS[kind]
    schema = Schema(k=f"{kind}*", x="int")
    key_type = schema["k"].type
    rng = random.Random(kind)
    for number in range(histories):
        if number % 50 == 0:
            clct = Repo().create_collection(schema, "c")
        series = clct / f"s{number}"
        model: dict[Any, int] = {}
        for stamp in range(6):
            start, stop = (rng.choice([None, *keys]) for _ in range(2))
            if start is not None and stop is not None and stop < start:
                start, stop = stop, start
            closed = rng.choice(CLOSED)
            within = inside(closed, start, stop)
            if rng.random() < 0.3:
                new = {}
                series.delete(start, stop, closed=closed)
            else:
                fitting = [key for key in keys if within(key)]
                new = dict.fromkeys(rng.sample(fitting, rng.randint(0, len(fitting))), stamp)
                if not new and (start is None or stop is None):
                    continue  # refused with one bound, without effect with none
                columns = [pa.array(new.keys(), key_type), pa.array(new.values(), pa.int64())]
                series.write(pa.table(columns, ["k", "x"]), start, stop, closed=closed)
                within = reach(closed, start, stop, new)
            model = {key: x for key, x in model.items() if not within(key)} | new
            assert rows(series) == sorted(model.items())
        for _ in range(4):
            start, stop = (rng.choice([None, *keys]) for _ in range(2))
            closed = rng.choice(CLOSED)
            within = inside(closed, start, stop)
            expected = sorted((k, x) for k, x in model.items() if within(k))
            assert rows(series, start=start, stop=stop, closed=closed) == expected
            assert series.count(start, stop, closed=closed) == len(expected)


def test_a_bound_of_zero_is_a_bound() -> None:
    series = Repo().create_collection(SCHEMA, "c") / "s"
    series.write(numbers(-3, 4))
    assert [n for n, _ in rows(series, start=0)] == [0, 1, 2, 3]
    assert [n for n, _ in rows(series, stop=0)] == [-3, -2, -1]
    series.delete(0, 0)
    assert [n for n, _ in rows(series)] == [-3, -2, -1, 1, 2, 3]
    series.delete(None, 0)
    assert [n for n, _ in rows(series)] == [1, 2, 3]


def test_an_open_end_of_a_deletion_keeps_its_key() -> None:
    series = Repo().create_collection(SCHEMA, "c") / "s"
    series.write(numbers(4, 9))
    series.delete(6, 8, closed="left")
    assert [n for n, _ in rows(series)] == [4, 5, 8]
    series.write(numbers(10, 14))
    series.delete(11, 12)
    series.delete(11, 12, closed="right")
    assert [n for n, _ in rows(series)] == [4, 5, 8, 10, 13]


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5, 100])
def test_pages_of_a_series_with_equal_keys_hold_every_row_once(step: int) -> None:
    series = Repo().create_collection(SCHEMA, "c") / "s"
    series.write({"n": [1, 2, 2, 2, 3], "x": [0.0, 1.0, 2.0, 3.0, 4.0]})
    pages = list(series.paginate(step))
    assert all(page.num_rows == step for page in pages[:-1])
    found = [row for page in pages for row in zip(*page.to_pydict().values(), strict=True)]
    assert found == [(1, 0.0), (2, 1.0), (2, 2.0), (2, 3.0), (3, 4.0)]
    bounded = [page["x"].to_pylist() for page in series.paginate(step, 2, 3)]
    assert [x for page in bounded for x in page] == [1.0, 2.0, 3.0]
    assert series.frame(limit=2, offset=2)["x"].to_pylist() == [2.0, 3.0]
    assert series.tail(3, limit=2)["x"].to_pylist() == [2.0, 3.0]


# --- many small appends (row 30) ---------------------------------------------------------


def test_two_thousand_appends_cost_little_space_and_lie_in_few_pieces(tmp_path: Path) -> None:
    repo = Repo(tmp_path, durability="os")
    series = repo.create_collection(SCHEMA, "c") / "s"
    clct = repo / "c"
    most = 0
    for turn in range(2_000):
        series.write(numbers(turn, turn + 1))
        if turn & (turn + 1) == 0 or turn % 97 == 0:
            manifest = clct._site.manifest(clct.changelog.heads()[-1])
            pieces = sum(1 for _ in runs(manifest.select("s")))
            most = max(most, pieces)
            # At most seven pieces of each size class, of which there is one for each factor of 8.
            assert pieces <= 8 * (len(f"{turn + 1:o}") + 1), turn
    assert rows(series) == [(n, float(n)) for n in range(2_000)]
    assert 8 <= most <= 40
    files = tree(tmp_path)
    rows_written = sum(len(d) for n, d in files.items() if n.startswith("segments/"))
    assert rows_written < 10 << 20  # 2,000 times 16 bytes, each some times over, and the footers
    written = sum(map(len, files.values()))
    assert written < 366 << 20 >> 3  # an eighth of the original, with all history
    clct.squash(max_chunk=1, grace=0)
    repo.pack()
    clct.trim(grace=0)
    repo.gc(grace=0)
    assert sum(map(len, tree(tmp_path).values())) < 500_000
    assert rows(Repo(tmp_path) / "c" / "s") == [(n, float(n)) for n in range(2_000)]
    assert intact(repo)


def test_a_commit_writes_about_as_much_after_many_as_after_few(tmp_path: Path) -> None:
    """Bytes of the objects that single appends add, without a join: they do not grow with the
    length of the history."""
    repo = Repo(tmp_path, durability="os")
    series = repo.create_collection(SCHEMA, "c") / "s"
    sizes = []
    for turn in range(400):
        series.write(numbers(turn, turn + 1))
        if turn % 100 >= 90:
            sizes.append(sum(path.stat().st_size for path in tmp_path.rglob("*.arrow")))
    growth = [(sizes[10 * n + 9] - sizes[10 * n]) / 9 for n in range(4)]
    assert growth[3] < 4 * growth[0]
