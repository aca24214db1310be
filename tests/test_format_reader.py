"""docs/format.md says enough: a reader made from it alone reads what the library reads."""

from __future__ import annotations

import ast
import random
import struct
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import format_reader
import pyarrow as pa
import pytest
from format_reader import Reader

from lakota import Clock, Collection, Repo, Schema

START = datetime(2024, 1, 1)


def test_the_reader_imports_nothing_of_the_library() -> None:
    tree = ast.parse(Path(format_reader.__file__).read_text("utf-8"))
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    imported |= {str(n.module) for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert not {name for name in imported if name.partition(".")[0] == "lakota"}


def content(clct: Collection, **options: Any) -> dict[str, list[dict[str, Any]]]:
    return {s: clct.series(s).frame(**options).to_pylist() for s in clct.ls(**options)}


def compare(repo: Repo, folder: Path) -> int:
    """Everything at the newest heads; returns the number of rows."""
    reader = Reader(folder)
    assert sorted(reader.collections()) == repo.ls()
    count = 0
    for clct in repo:
        found = reader.read(clct.label)
        assert found == content(clct)
        count += sum(map(len, found.values()))
    return count


def days(first: int, count: int, base: float) -> dict[str, list[Any]]:
    return {
        "timestamp": [START + timedelta(days=first + i) for i in range(count)],
        "value": [None if (first + i) % 7 == 3 else base + i for i in range(count)],
        "note": [None if i % 5 == 0 else f"n\0ö{i}" for i in range(count)],
    }


def fill_weather(clct: Collection, seed: int) -> None:
    """Overlaps, deletions, upserts of rows and cells, all kinds of ends."""
    rng = random.Random(seed)
    for turn in range(60):
        series = clct / rng.choice(["Brussels", "Oslo", "Zürich"])
        first, count = rng.randrange(60), rng.randrange(1, 20)
        frame = days(first, count, float(turn))
        if turn % 6 == 5:
            series.delete_keys(frame["timestamp"][::2])
        elif turn % 6 == 4:
            kept = rng.choice([["note"], ["value"], ["value", "note"], []])
            series.upsert({name: frame[name][::3] for name in ("timestamp", *kept)})
        elif turn % 6 == 3:
            start, stop = START + timedelta(days=first), START + timedelta(days=first + count)
            series.delete(start, stop, closed=rng.choice(["both", "left", "right", "none"]))
        else:
            series.write(frame)
    (clct / "gone").write(days(0, 3, 0.0))
    clct.delete("gone")


def fill_prices(clct: Collection, seed: int) -> None:
    """Keys of several columns, ticks with equal keys, deletions by a prefix."""
    rng = random.Random(seed)
    names = ["", "a", "a\0", "aß", "b"]
    for turn in range(12):
        rows = sorted((rng.choice(names), rng.randrange(-3, 4)) for _ in range(20))
        frame = {
            "ticker": [name for name, _ in rows],
            "rank": [rank for _, rank in rows],
            "price": [Decimal(turn * 100 + i) / 4 for i in range(20)],
            "good": [None if i % 3 == 0 else i % 2 == 0 for i in range(20)],
            "tags": [None if i % 4 == 0 else ["x"] * (i % 3) for i in range(20)],
        }
        clct.series("one").write(frame)
        if turn % 3 == 2:
            clct.series("one").delete("a", ("b", 0), closed=rng.choice(["left", "none"]))
            clct.series("one").upsert({"ticker": names, "rank": [turn] * 5, "good": [True] * 5})
            clct.series("one").delete_keys({"ticker": ["", "b"], "rank": [0, 1]})


PRICES = Schema(
    ticker="str*", rank="int32*", price="decimal128(12, 2)", good="bool", tags="list<str>"
)
WEATHER = Schema(timestamp="timestamp*", value="float", note="str")


def populate(repo: Repo, seed: int) -> None:
    fill_weather(repo.create_collection(WEATHER, "weather"), seed)
    fill_prices(repo.create_collection(PRICES, "prices"), seed)
    mixed = Schema(x="float32*", y="float | pco", z="str | zstd", w="int8")
    values = [-2.5, -0.0, 1.0, 7.25]
    frame = {"x": values, "y": [1.5, None, None, 2.5], "z": ["a", None, "", "ü"], "w": range(4)}
    clct = repo.create_collection(mixed, "mixed")
    clct.series("s").write(frame)
    clct.series("s").delete(0, 1, closed="left")
    keyed = repo.create_collection(Schema.kv(name="str*", city="str"), "sensors") / "all"
    keyed.write({"name": ["a", "b", "c"], "city": ["Oslo", None, "Liège"]})
    keyed.write({"name": ["b"], "city": ["Ghent"]})
    keyed.delete("a")
    repo.create_collection(Schema(d="date*"), "old")
    repo.delete("old")
    repo.create_collection(Schema(d="date*", u="uint64"), "old").series("again").write(
        {"d": [date(1969, 12, 31), date(2024, 2, 29)], "u": [2**64 - 1, None]}
    )
    repo.create_collection(Schema(d="date*"), "renamed")
    repo.rename("renamed", "émile")


@pytest.mark.parametrize("codec", ["plain", "lz4", "zstd", "packed"])
def test_a_repo_is_read_alike_with_every_codec(tmp_path: Path, codec: str) -> None:
    repo = Repo(tmp_path / "repo", codec=codec, durability="os")
    populate(repo, 1)
    assert compare(repo, tmp_path / "repo") > 100
    repo.pack()
    assert compare(repo, tmp_path / "repo") > 100


def test_columns_that_changed_are_read_alike(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "repo", durability="os")
    clct = repo.create_collection(Schema(n="int32*", x="int16", y="str"), "c")
    one, two = clct / "one", clct / "two"
    one.write({"n": range(9), "x": range(9), "y": list("abcdefghi")})
    one.upsert({"n": [2, 20], "x": [7, 7]})
    clct.add_column("unit", "str | zstd", "kWh")
    clct.add_column("z", "float")
    one.upsert({"n": [3, 30], "z": [0.5, 1.5]})
    two.write({"n": [1], "x": [1], "y": ["a"], "unit": [None], "z": [None]})
    clct.rename_column("x", "ex")
    clct.widen_column("ex", "float")
    clct.rename_column("n", "number")
    clct.widen_column("number", "int")
    clct.drop_column("y")
    clct.drop_column("unit")
    clct.add_column("unit", "int", 5)
    clct.add_column("y", "str", "new")
    one.upsert({"number": [4, 40], "ex": [0.25, 2.5], "z": [2, 3]})
    two.write({"number": [2**40], "ex": [1e9], "unit": [1], "z": [2], "y": ["b"]})
    assert compare(repo, tmp_path / "repo") == 14
    repo.pack()
    assert compare(repo, tmp_path / "repo") == 14


def test_diverged_and_merged_repos_are_read_alike(tmp_path: Path) -> None:
    here = Repo(tmp_path / "here", durability="os")
    there = Repo(tmp_path / "there", codec="packed", durability="os")
    populate(here, 1)
    there.pull(here)
    fill_weather(there / "weather", 2)
    fill_weather(here / "weather", 3)
    fill_prices(there / "prices", 4)
    fill_prices(here / "prices", 5)
    there.create_collection(Schema(d="date*"), "only there")
    here.create_collection(Schema(d="date*"), "only here")
    here.pull(there)
    assert len((here / "weather").changelog.leafs()) == 2
    compare(here, tmp_path / "here")
    compare(there, tmp_path / "there")
    heads_joined = Reader(tmp_path / "here").read("weather", until=2**63 - 1)
    here.merge()
    assert heads_joined == content(here / "weather")
    compare(here, tmp_path / "here")
    (here / "weather").defrag(1)
    (here / "prices").defrag(1)
    compare(here, tmp_path / "here")
    there.pull(here)
    there.pack()
    compare(there, tmp_path / "there")
    assert content(there / "weather") == content(here / "weather")


def test_a_joined_manifest_is_the_one_that_a_merge_stores(tmp_path: Path) -> None:
    here, there = (Repo(tmp_path / name, durability="os") for name in ("here", "there"))
    fill_weather(here.create_collection(WEATHER, "weather"), 1)
    there.pull(here)
    fill_weather(there / "weather", 2)
    fill_weather(here / "weather", 3)
    here.pull(there)
    reader, clct = Reader(tmp_path / "here"), here / "weather"
    joined = reader.state([leaf.child for leaf in clct.changelog.leafs()])
    merged = clct.merge()[0]
    assert joined == [format_reader.frozen(e) for e in reader.extents(merged.root)]


def test_states_of_the_past_are_read_alike(tmp_path: Path) -> None:
    clock = Clock(now=iter(range(1_000, 10**9, 1_000)).__next__)
    repo = Repo(tmp_path / "repo", clock=clock, durability="os")
    clct = repo.create_collection(WEATHER, "weather")
    fill_weather(clct, 7)
    reader = Reader(tmp_path / "repo")
    stamps = sorted({revision.stamp for revision in clct.changelog.log()})
    for stamp in stamps[::4]:
        assert reader.read("weather", until=stamp) == content(clct, as_of=stamp)


def test_large_segments_and_large_manifests_are_read_alike(tmp_path: Path) -> None:
    # Where pages are cut depends on stamps: these make three levels.
    clock = Clock(now=lambda: 0)
    repo = Repo(tmp_path / "repo", codec="packed", durability="os", clock=clock)
    long = repo.create_collection(Schema(t="int*", x="float", s="str"), "long")
    rows = 40_000
    frame = {
        "t": pa.array(range(rows)),
        "x": pa.array([None if i % 11 == 0 else i / 4 for i in range(rows)]),
        "s": pa.array([None if i % 13 == 0 else str(i) for i in range(rows)]),
    }
    long.series("s").write(frame)
    long.series("s").delete(20_000, 30_000)
    wide = repo.create_collection(Schema(t="int*", x="float"), "wide")
    labels = [f"series {i}" for i in range(4_000)]
    wide.write({"label": labels, "t": [1] * 4_000, "x": range(4_000)}, label="label")
    for i in (0, 1234, 3999):
        wide.series(f"series {i}").write({"t": [1, 2], "x": [0, 1]})
    root = Reader(tmp_path / "repo").object("pages", wide.changelog.leaf().root)
    assert root.column("level").to_pylist()[0] >= 1  # leaves, inner pages, and a root above them
    assert compare(repo, tmp_path / "repo") == rows - 10_001 + 4_003


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "repo", durability="os")
    clct = repo.create_collection(WEATHER, "weather")
    clct.series("s").write({"timestamp": [START], "value": [123.456], "note": ["x"]})
    for path in (tmp_path / "repo" / "segments").glob("*/*.arrow"):
        path.write_bytes(path.read_bytes().replace(struct.pack("<d", 123.456), bytes(8)))
    with pytest.raises(AssertionError):
        Reader(tmp_path / "repo").read("weather")
