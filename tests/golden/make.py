"""Makes the golden repository of a format version: `python tests/golden/make.py [version]`.

It writes `v2/`, the repository, and `v2.json`, what it must read as: for each collection its
schema, and for each revision the rows of each series. The rows come from a dictionary that
replays the same story (`Model`), not from the repository; the two are compared before anything
is written. The clock and the author are the story's own, so the names of all objects follow from
the format alone, and `test_golden` notices when they change.

A golden repository that was released is never made again: its successor gets a folder of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from lakota import Clock, Collection, Repo, Schema

HERE = Path(__file__).parent
HOUR = 3_600_000_000_000
START = 1_577_836_800_000_000_000  # 2020-01-01
LARGE = 1_000
"""Series with more rows are compared by a digest of their text."""

READINGS = Schema(
    at="timestamp*",
    sensor="str*",
    value="float",
    count="int",
    flags="uint8",
    price="decimal128(12, 2)",
    note="str",
    raw="binary",
    valid="bool",
    day="date",
    clock="time64[us]",
    seen="timestamp[s, UTC]",
    took="duration[ms]",
    tags="list<str>",
    place="struct<lat: double, names: list<str>>",
)
NUMBERS = Schema(n="int*", x="float")
SETTINGS = Schema.kv(name="str*", city="str", height="float")
LONG = Schema(n="int* | pco", x="float | pco", odd="bool | zstd")

Row = dict[str, Any]
Contents = dict[str, list[Row]]


def reading(day: int, sensor: str, n: int) -> Row:
    """A row with something in every column, and nulls here and there."""
    at = datetime(2020, 1, 1) + timedelta(days=day, microseconds=n)
    row: Row = {
        "at": at,
        "sensor": sensor,
        "value": [n / 4, -0.0, float("nan"), float("inf"), 1e-300][n % 5],
        "count": [n, -n, 2**62 + n][n % 3],
        "flags": n % 256,
        "price": Decimal(n * 37).scaleb(-2) - 1,
        "note": ["", "plain", "naïve ☂", "nul\0inside", "x" * 40][n % 5],
        "raw": bytes(range(n % 7)),
        "valid": n % 3 == 0,
        "day": date(1969, 12, 30) + timedelta(days=n),
        "clock": time(n % 24, 1, 2, n),
        "seen": at.replace(microsecond=0, tzinfo=UTC),
        "took": timedelta(milliseconds=n - 5),
        "tags": [[], ["a"], ["a", None, "ß"]][n % 3],
        "place": {"lat": n / 8, "names": None if n % 2 else ["here"]},
    }
    values = [name for name in row if name not in READINGS.index]
    for name in values[n % 13 :: 5] if n % 4 == 1 else ():
        row[name] = None
    return row


def readings(days: Iterable[int], sensor: str, first: int) -> list[Row]:
    return [reading(day, sensor, first + i) for i, day in enumerate(days)]


def number_rows(start: int, stop: int, x: float) -> list[Row]:
    return [{"n": n, "x": n + x} for n in range(start, stop)]


# --- the model ---------------------------------------------------------------------------


class Model:
    """What one repo must hold of one collection: a set of writes, replayed in their order."""

    def __init__(self) -> None:
        self.writes: dict[int, list[Callable[[Contents], None]]] = {}
        """By the number of the commit, which is the same on every replica."""

    def contents(self) -> Contents:
        found: Contents = {}
        for number in sorted(self.writes):
            for write in self.writes[number]:
                write(found)
        return {label: rows for label, rows in sorted(found.items()) if rows}


def replace(label: str, index: tuple[str, ...], new: list[Row], inside: Any = None) -> Any:
    """Inside the interval, by default from the first to the last key, only `new` is left."""

    def key(row: Row) -> tuple[Any, ...]:
        return tuple(row[name] for name in index)

    ordered = sorted(new, key=key)
    within = inside or (lambda k: key(ordered[0]) <= k <= key(ordered[-1]))

    def write(found: Contents) -> None:
        kept = [row for row in found.get(label, []) if not within(key(row))]
        found[label] = sorted([*kept, *ordered], key=key)

    return write


def upsert(label: str, schema: Schema, new: list[Row], **defaults: Any) -> Any:
    """Rows by key; of those that are there, only the given columns change."""

    def write(found: Contents) -> None:
        rows = {tuple(row[n] for n in schema.index): row for row in found.get(label, [])}
        for row in new:
            key = tuple(row[n] for n in schema.index)
            rows[key] = {**rows.get(key, dict.fromkeys(schema.names) | defaults), **row}
        found[label] = [rows[key] for key in sorted(rows)]

    return write


def delete_keys(label: str, index: tuple[str, ...], keys: list[tuple[Any, ...]]) -> Any:
    def write(found: Contents) -> None:
        found[label] = [
            row for row in found.get(label, []) if tuple(row[n] for n in index) not in keys
        ]

    return write


# --- the story ---------------------------------------------------------------------------


class Story:
    """Repos, what they must hold, and one wall clock that goes an hour ahead with each commit."""

    def __init__(self, folder: Path) -> None:
        self.wall = START
        self.number = 0
        self.repos: dict[str, Repo] = {}
        self.models: dict[str, dict[str, Model]] = {"home": {}, "away": {}}
        self.expected: dict[str, dict[str, Contents]] = {}
        for side in self.models:
            clock = Clock(now=lambda: self.wall)
            self.repos[side] = Repo(folder / side, durability="os", clock=clock)

    def tick(self) -> None:
        self.wall += HOUR
        self.number += 1

    def create(self, label: str, schema: Schema) -> None:
        self.tick()
        self.repos["home"].create_collection(schema, label)
        self.models["home"][label] = Model()

    def commit(self, side: str, label: str, act: Callable[[Collection], Any], *writes: Any) -> None:
        """Do it in the repo and in the model; remember what the new revision holds."""
        self.tick()
        clct = self.repos[side] / label
        before = set(clct.changelog.heads())
        act(clct)
        (child,) = set(clct.changelog.heads()) - before
        model = self.models[side][label]
        model.writes[self.number] = list(writes)
        self.expected.setdefault(label, {})[child] = model.contents()

    def write(
        self, label: str, series: str, rows: list[Row], *, side: str = "home", **bounds: Any
    ) -> None:
        schema = self.repos[side].collection(label).schema
        inside = bounds.pop("inside", None)
        self.commit(
            side,
            label,
            lambda c: c.series(series).write(table(rows, schema), **bounds),
            replace(series, schema.index, rows, inside),
        )

    def pull(self, to: str, source: str) -> None:
        self.repos[to].pull(self.repos[source])
        for label, model in self.models[source].items():
            self.models[to].setdefault(label, Model()).writes.update(model.writes)

    def pack(self, side: str) -> None:
        """Encode all anew; what lies in many pieces is joined, by a revision with equal rows."""
        self.repos[side].pack()
        for label, model in self.models[side].items():
            for child in self.repos[side].collection(label).changelog.heads():
                self.expected[label][child] = model.contents()

    def merge(self, side: str, label: str) -> None:
        clct = self.repos[side] / label
        revisions = clct.merge()
        self.expected[label][revisions[0].child] = self.models[side][label].contents()


def table(rows: list[Row], schema: Schema) -> pa.Table:
    fields = [field for field in schema.arrow if field.name in rows[0]]
    return pa.Table.from_pylist(rows, pa.schema(fields))


def tell(folder: Path) -> Story:
    """The story: all that the format can hold, in few bytes. Its end is in `folder/home`."""
    story = Story(folder)
    all_kinds(story)
    keyed(story)
    many(story)
    trimmed(story)
    labels(story)
    columns(story)
    story.pack("home")
    # What follows is plain.
    story.write("readings", "Gand", readings([1, 5], "g", 70))
    diverge(story)
    return story


def all_kinds(story: Story) -> None:
    """Every type; overlapping writes, open ends, equal keys, several series at once, a rename."""
    story.create("readings", READINGS)
    story.write("readings", "Brussels", readings(range(12), "a", 0))
    story.write("readings", "Brussels", readings(range(4, 8), "b", 20))
    story.write("readings", "Ostend/😀", readings([0, 0, 1, 3], "", 40))
    cut = (datetime(2020, 1, 2), datetime(2020, 1, 4))
    story.commit(
        "home",
        "readings",
        lambda c: c.series("Brussels").delete(*cut, closed="right"),
        replace("Brussels", ("at",), [], lambda k: cut[0] < k[0] <= cut[1] or day_of(k) == cut[1]),
    )
    equal = [{**reading(2, "tick", n), "at": datetime(2020, 1, 3)} for n in range(3)]
    story.write("readings", "ticks", equal)
    both = {"Ghent": readings(range(3), "g", 50), "Brussels": readings([20], "a", 60)}

    def at_once(clct: Collection) -> None:
        with clct.multi(message="two at once"):
            for label, rows in both.items():
                clct.series(label).write(table(rows, READINGS))

    story.commit(
        "home",
        "readings",
        at_once,
        *(replace(label, READINGS.index, rows) for label, rows in both.items()),
    )

    def moved(found: Contents) -> None:
        found["Gand"] = found.pop("Ghent")

    story.commit("home", "readings", lambda c: c.rename("Ghent", "Gand"), moved)
    changes = [
        {"at": row["at"], "sensor": row["sensor"], "note": "corrected", "price": None}
        for row in readings([0, 1, 30], "a", 0)
    ]
    changes[1]["at"] = reading(1, "a", 1)["at"]
    story.commit(
        "home",
        "readings",
        lambda c: c.series("Brussels").upsert(table(changes, READINGS)),
        upsert("Brussels", READINGS, changes),
    )
    keys = [(reading(10, "a", 10)["at"], "a"), (datetime(1999, 1, 1), "never")]
    story.commit(
        "home",
        "readings",
        lambda c: c.series("Brussels").delete_keys(
            {"at": [k[0] for k in keys], "sensor": [k[1] for k in keys]}
        ),
        delete_keys("Brussels", READINGS.index, keys),
    )


def day_of(key: tuple[Any, ...]) -> datetime:
    at: datetime = key[0]
    return at


def keyed(story: Story) -> None:
    """A kv collection; and upserts that became part of the rows below them."""
    story.create("settings", SETTINGS)
    rows = [
        {"name": n, "city": c, "height": h} for n, c, h in [("a", "Ghent", 1.0), ("b", "", 2.0)]
    ]

    def write(new: list[Row]) -> None:
        story.commit(
            "home",
            "settings",
            lambda c: c.series("all").write(table(new, SETTINGS)),
            upsert("all", SETTINGS, new),
        )

    write(rows)
    write(
        [{"name": "b", "city": "Liège", "height": None}, {"name": "c", "city": None, "height": 0.0}]
    )
    write([{"name": "a", "height": 5.0}])
    story.commit(
        "home",
        "settings",
        lambda c: c.series("all").delete("b"),
        delete_keys("all", SETTINGS.index, [("b",)]),
    )
    story.create("folded", NUMBERS)
    story.write("folded", "s", number_rows(0, 9, 0.5))
    some = number_rows(3, 5, 0.75)
    story.commit(
        "home",
        "folded",
        lambda c: c.series("s").upsert(table(some, NUMBERS)),
        upsert("s", NUMBERS, some),
    )
    story.commit("home", "folded", lambda c: c.fold(c.changelog.log()[-1].stamp + 1))
    last = number_rows(4, 5, 0.875)
    story.commit(
        "home",
        "folded",
        lambda c: c.series("s").upsert(table(last, NUMBERS)),
        upsert("s", NUMBERS, last),
    )


def many(story: Story) -> None:
    """Enough series for a tree of pages, and enough rows for several batches and blocks."""
    story.create("many", NUMBERS)
    labels = [f"series {n:03}" for n in range(80)]
    frame = {"n": list(range(80)), "x": [n / 2 for n in range(80)], "series": labels}
    story.commit(
        "home",
        "many",
        lambda c: c.write(frame, "series"),
        *(replace(label, NUMBERS.index, [{"n": n, "x": n / 2}]) for n, label in enumerate(labels)),
    )
    story.write("many", "series 007", number_rows(5, 9, 0.125))
    story.create("long", LONG)
    long = [{"n": n, "x": n // 900 / 4, "odd": n % 2 == 1} for n in range(36_000)]
    story.write("long", "s", long)
    story.commit(
        "home",
        "long",
        lambda c: c.series("s").delete(16_000, 17_000, closed="left"),
        replace("s", LONG.index, [], lambda k: 16_000 <= k[0] < 17_000),
    )


def diverge(story: Story) -> None:
    """Two sides write, merge, and write again: the end has two heads."""
    story.create("shared", NUMBERS)
    story.write("shared", "s", number_rows(0, 10, 0.0))
    story.pull("away", "home")
    story.write("shared", "s", number_rows(2, 6, 0.25))
    story.write("shared", "s", number_rows(4, 8, 0.5), side="away")
    story.commit(
        "home",
        "shared",
        lambda c: c.series("s").delete(7, 7),
        replace("s", ("n",), [], lambda k: k == (7,)),
    )
    story.pull("home", "away")
    story.merge("home", "shared")
    story.pull("away", "home")
    story.write("shared", "s", number_rows(20, 22, 0.75), side="away")
    story.write("shared", "t", number_rows(0, 2, 0.75))
    story.pull("home", "away")


def trimmed(story: Story) -> None:
    """Of this collection the older revisions, and what only they need, are gone, but for one that
    has a tag."""
    story.create("trimmed", NUMBERS)
    clct = story.repos["home"] / "trimmed"
    for turn in range(6):
        story.write("trimmed", "s", number_rows(turn, turn + 5, turn / 8))
        if turn == 1:
            story.tick()
            clct.tag("turn 1")
    clct.trim(clct.changelog.log()[-2], grace=0)
    kept = {revision.child for revision in clct.changelog.log()}
    story.expected["trimmed"] = {c: e for c, e in story.expected["trimmed"].items() if c in kept}
    story.repos["home"].gc(grace=0)


def columns(story: Story) -> None:
    """Columns that are renamed, added, dropped, added again and widened: in the past, too."""
    early = Schema(n="int*", x="float32", word="str", odd="bool")
    story.create("evolved", early)

    def final(n: int, x: float, note: str | None, unit: str, odd: int) -> Row:
        return {"n": n, "x": x, "note": note, "unit": unit, "odd": odd}

    old = [{"n": n, "x": n / 4, "word": f"w{n}", "odd": n % 2 == 1} for n in range(6)]
    story.commit(
        "home",
        "evolved",
        lambda c: c.series("s").write(table(old, early)),
        replace("s", ("n",), [final(n, n / 4, f"w{n}", "kWh", 7) for n in range(6)]),
    )
    for change in (
        lambda c: c.rename_column("word", "note"),
        lambda c: c.add_column("unit", "str", "kWh"),
        lambda c: c.drop_column("odd"),
        lambda c: c.add_column("odd", "int", 7),
        lambda c: c.widen_column("x", "float"),
    ):
        story.tick()
        change(story.repos["home"] / "evolved")
    story.write("evolved", "s", [final(n, n / 3, None, "MJ", n) for n in (1, 6)])
    cells = [{"n": n, "unit": "GWh"} for n in (0, 6, 9)]
    story.commit(
        "home",
        "evolved",
        lambda c: c.series("s").upsert({"n": [0, 6, 9], "unit": ["GWh"] * 3}),
        upsert("s", Schema(n="int*", x="float", note="str", unit="str", odd="int"), cells, odd=7),
    )


def labels(story: Story) -> None:
    """A collection that is renamed, one that is deleted, one that is made again, an empty one."""
    home = story.repos["home"]
    story.create("renamed soon", NUMBERS)
    story.write("renamed soon", "s", number_rows(0, 3, 0.5))
    story.tick()
    home.rename("renamed soon", "renamed")
    story.models["home"]["renamed"] = story.models["home"].pop("renamed soon")
    story.expected["renamed"] = story.expected.pop("renamed soon")
    for label in ("gone", "made again"):
        story.create(label, NUMBERS)
        story.write(label, "s", number_rows(0, 4, 0.25))
        story.tick()
        home.delete(label)
        del story.models["home"][label], story.expected[label]
    story.create("made again", NUMBERS)
    story.write("made again", "t", number_rows(7, 8, 0.5))
    story.create("empty", NUMBERS)
    story.expected["empty"] = {}


# --- what it must read as ----------------------------------------------------------------


def plain(value: Any) -> Any:
    """A value as JSON, without loss."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).isoformat()
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value // timedelta(microseconds=1)
    return str(value)  # floats by their shortest text, decimals with all digits


def summary(rows: list[Row]) -> Any:
    """Rows as JSON: lists of values, or a digest of these where they are many."""
    found = [[plain(value) for value in row.values()] for row in rows]
    if len(found) <= LARGE:
        return found
    text = json.dumps(found, separators=(",", ":"))
    return {"rows": len(found), "sha256": hashlib.sha256(text.encode()).hexdigest()}


def modelled(story: Story) -> dict[str, Any]:
    """What the model says."""
    return {
        label: {
            child: {series: summary(rows) for series, rows in contents.items()}
            for child, contents in sorted(revisions.items())
        }
        for label, revisions in sorted(story.expected.items())
    }


def found(repo: Repo) -> dict[str, Any]:
    """What a repo holds, as of each of its revisions."""
    return {
        clct.label: {
            child: {
                series: summary(clct.series(series).frame(as_of=child).to_pylist())
                for series in clct.ls(as_of=child)
            }
            for child in sorted({revision.child for revision in clct.changelog.log()})
        }
        for clct in repo
    }


def build(target: Path) -> dict[str, Any]:
    """Make the repository in `target`; returns what it must read as. `LAKOTA_AUTHOR` must be
    `golden`, so that documents have the same bytes wherever it runs."""
    with tempfile.TemporaryDirectory() as folder:
        story = tell(Path(folder))
        expected = modelled(story)
        home = Path(folder, "home")
        if found(Repo(home)) != expected:
            raise SystemExit("the repository does not hold what the model says")
        archive(home)
        if found(Repo(home)) != expected:
            raise SystemExit("the archives do not hold what the revisions say")
        header = json.loads((home / "lakota.json").read_text())
        header["created"] = "2020-01-01T00:00:00+00:00"
        (home / "lakota.json").write_text(json.dumps(header) + "\n")
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(home, target)
        schemas = {clct.label: json.loads(clct.schema.dumps()) for clct in Repo(home)}
        tags = {clct.label: clct.tags() for clct in Repo(home) if clct.tags()}
        return {"schemas": schemas, "tags": tags, "revisions": expected}


def archive(home: Path) -> None:
    """Move all but a few revisions of each collection into archives, whose names and contents
    follow from the story: the one part that is random gives way to zeros."""
    for clct in Repo(home):
        folder = home / clct.changelog.folder
        for path in folder.glob("*"):
            os.utime(path, ns=(START, START))
        clct.changelog.tidy(3, 2)
        for path in folder.glob("packed.*"):
            path.rename(path.with_suffix(".00000000"))


def main() -> None:
    version = sys.argv[1] if len(sys.argv) > 1 else "v2"
    os.environ["LAKOTA_AUTHOR"] = "golden"
    expected = build(HERE / version)
    text = json.dumps(expected, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    (HERE / f"{version}.json").write_text(text.replace("},", "},\n") + "\n")
    size = sum(path.stat().st_size for path in (HERE / version).rglob("*") if path.is_file())
    print(f"{version}: {size:,} bytes, {sum(map(len, expected['revisions'].values()))} revisions")


if __name__ == "__main__":
    main()
