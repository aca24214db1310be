"""Input that cannot be used: a named error that says what was found and what was expected, and
not a byte of the repo changes; also without assertions (`python -O`)."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from fault_kit import SCHEMA, content, numbers, tree

from lakota import (
    AlreadyExistsError,
    FrameError,
    InputError,
    LabelError,
    LakotaError,
    NotFoundError,
    RangeError,
    Repo,
    Schema,
    SchemaError,
)
from lakota.transaction import _user

TYPED = Schema(
    t="timestamp*",
    i="int",
    u="uint64",
    f="float",
    s="str",
    b="bool",
    d="date",
    m="decimal128(6, 2)",
    z="timestamp[us, UTC]",
    l="list<int>",
)
NOON = dt.datetime(2020, 1, 1, 12)
NOON_UTC = NOON.replace(tzinfo=dt.UTC)
GOOD: dict[str, Any] = {
    "t": [NOON],
    "i": [1],
    "u": [1],
    "f": [0.5],
    "s": ["a"],
    "b": [True],
    "d": [dt.date(2020, 1, 1)],
    "m": [Decimal("1.50")],
    "z": [NOON_UTC],
    "l": [[1]],
}
NAN = float("nan")


def make_repo(folder: Path) -> None:
    repo = Repo(folder)
    (repo.create_collection(TYPED, "typed") / "s").write(GOOD)
    clct = repo.create_collection(SCHEMA, "numbers")
    (clct / "one").write(numbers(0, 10))
    (clct / "two").write(numbers(0, 10))
    (repo.create_collection(Schema(k="float*", x="float"), "floats") / "s").write(
        {"k": [0.0], "x": [1.0]}
    )
    (repo.create_collection(Schema(a="int*", b="str*", x="float"), "pairs") / "s").write(
        {"a": [0], "b": [""], "x": [1.0]}
    )


class Case(NamedTuple):
    """Something that cannot be, and how it is refused."""

    name: str
    act: Callable[[Repo], Any]
    error: type[LakotaError]
    said: str
    """Part of the message."""


def column(name: str, values: Any, said: str) -> Case:
    """A write whose column `name` does not fit."""

    def act(repo: Repo) -> Any:
        return (repo / "typed" / "s").write({**GOOD, name: values})

    return Case(f"column {name}: {repr(values)[:50]}", act, FrameError, said)


def frame(what: str, made: Callable[[], Any], said: str, *, to: str = "numbers") -> Case:
    """A write of a frame that does not fit."""
    return Case(f"frame {what}", lambda repo: (repo / to / "one").write(made()), FrameError, said)


def on_series(
    what: str,
    act: Callable[[Any], Any],
    said: str,
    error: type[LakotaError] = RangeError,
    label: str = "numbers",
) -> Case:
    return Case(f"series: {what}", lambda repo: act(repo / label / "one"), error, said)


def on_clct(
    what: str, act: Callable[[Any], Any], said: str, error: type[LakotaError] = InputError
) -> Case:
    return Case(f"collection: {what}", lambda repo: act(repo / "numbers"), error, said)


def on_repo(
    what: str, act: Callable[[Repo], Any], said: str, error: type[LakotaError] = InputError
) -> Case:
    return Case(f"repo: {what}", act, error, said)


def write_with(**options: Any) -> Callable[[Any], Any]:
    return lambda series: series.write(numbers(3, 6), **options)


COLUMNS = [
    column("i", [1.9], "1.9"),
    column("i", [NAN], "nan"),
    column("i", [float("inf")], "inf"),
    column("i", [2**63], "too large"),
    column("i", [True], "found bool, expected int"),
    column("i", ["1"], "found str, expected int"),
    column("i", [[1]], "expected int"),
    column("i", [Decimal("1.5")], "does not fit int"),
    column("i", [NOON], "expected int"),
    column("u", [-1], "negative"),
    column("u", [2**64], "too large"),
    column("u", np.array([-1]), "-1"),
    column("u", [1.5], "1.5"),
    column("f", ["0.5"], "found str, expected float"),
    column("f", [True], "expected float"),
    column("f", [2**53 + 1], "9007199254740993"),
    column("f", [Decimal("0.1")], "expected float"),
    column("f", [{1, 2}], "expected float"),
    column("s", [1], "found int, expected str"),
    column("s", [b"a"], "decode the bytes"),
    column("s", [NAN], "expected str"),
    column("s", ["\ud800"], "surrogates"),
    column("b", [1], "found int, expected bool"),
    column("b", ["true"], "expected bool"),
    column("d", [NOON], "no exact value in date"),
    column("d", ["2020-13-01"], "2020-13-01"),
    column("d", [5], "expected date"),
    column("m", [Decimal("1.555")], "data loss"),
    column("m", [Decimal("99999.00")], "precision"),
    column("m", [0.1], "decimal"),
    column("m", [Decimal("NaN")], "expected decimal128"),
    column("z", [NOON], "without a time zone"),
    column("z", ["2020-01-01T00:00"], "zone offset"),
    column("t", [NOON_UTC], "in the zone UTC"),
    column("t", [pd.Timestamp("2020-01-01T12:00:00.000000001")], "would lose data"),
    column("t", ["2020-01-01T00:00:00.1234567"], "1234567"),
    column("t", ["yesterday"], "yesterday"),
    column("t", [""], "''"),
    column("t", [5], "a number has no unit"),
    column("t", [None], "null key"),
    column("t", np.array(["NaT"], "M8[s]"), "null key"),
    column("t", [dt.time(1)], "expected timestamp"),
    column("l", [[1.5]], "1.5"),
    column("l", [5], "expected list"),
    column("l", 5, "expected a list"),
    column("s", "a", "expected a list"),
    column("s", None, "expected a list"),
    column("s", ["a", "b"], "'s' has 2"),
    column("i", [], "'i' has 0"),
]

FRAMES = [
    frame("without a column", lambda: {"n": [1]}, "missing column 'x'"),
    frame("misspelt", lambda: {"n": [1], "X": [1.0]}, "unknown column 'X'"),
    frame("with one more", lambda: {"n": [1], "x": [1.0], "y": [1]}, "unknown column 'y'"),
    frame("None", lambda: None, "found NoneType"),
    frame("a number", lambda: 5, "found int"),
    frame("a path", lambda: "data.parquet", "found str"),
    frame("rows", lambda: [{"n": 1, "x": 1.0}], "a dict of lists instead"),
    frame("a matrix", lambda: np.zeros((2, 2)), "found ndarray"),
    frame("a column twice", lambda: pa.table([[1], [1.0], [2.0]], names=["n", "x", "x"]), "'x'"),
    frame("pandas without x", lambda: pd.DataFrame({"n": [1]}), "missing column 'x'"),
    frame("polars of text", lambda: pl.DataFrame({"n": ["1"], "x": [1.0]}), "found str"),
    frame("lazy without x", lambda: pl.LazyFrame({"n": [1]}), "missing column 'x'"),
    frame("pandas NaN as int", lambda: pd.DataFrame({"n": [1.0, NAN], "x": [1.0, 2.0]}), "'n'"),
    frame("null key", lambda: {"n": [1, None], "x": [1.0, 2.0]}, "null keys"),
    frame("NaN key", lambda: {"k": [0.5, NAN], "x": [1.0, 2.0]}, "found NaN", to="floats"),
    frame("only NaN keys", lambda: {"k": [NAN], "x": [1.0]}, "found NaN", to="floats"),
    frame(
        "null in second key", lambda: {"a": [1], "b": [None], "x": [1.0]}, "null keys", to="pairs"
    ),
]

BOUNDS = [
    on_series("rows before start", write_with(start=4, stop=9), "rows before start"),
    on_series("rows after stop", write_with(start=0, stop=4), "rows after stop"),
    on_series("row on an open start", write_with(start=3, stop=9, closed="right"), "before start"),
    on_series("row on an open stop", write_with(start=0, stop=5, closed="left"), "after stop"),
    on_series("bounds exchanged", write_with(start=9, stop=0), "expected all of them between"),
    on_series("closed=x", write_with(closed="x"), "closed"),
    on_series("closed=None", write_with(closed=None), "closed"),
    on_series("closed=True", lambda s: s.delete(0, 1, closed=True), "closed"),
    on_series("text for int", lambda s: s.delete("0"), "expected an int"),
    on_series("float for int", lambda s: s.delete(0.5), "0.5"),
    on_series("bool for int", lambda s: s.delete(True), "bool"),
    on_series("NaN for int", lambda s: s.frame(NAN), "nan"),
    on_series("too large for int", lambda s: s.frame(2**63), "int"),
    on_series("two values for one", lambda s: s.frame((0, 1)), "expected 1"),
    on_series("no values", lambda s: s.frame(()), "expected 1"),
    on_series("NaN for float", lambda s: s.frame(NAN), "NaN", label="floats"),
    on_series("int for time", lambda s: s.delete(5), "a number has no unit", label="typed"),
    on_series("zone for naive", lambda s: s.frame(NOON_UTC), "zone", label="typed"),
    on_series("no time", lambda s: s.frame("soon"), "soon", label="typed"),
    on_series("int for str", lambda s: s.frame((0, 0)), "expected a str", label="pairs"),
    on_series("empty frame, one bound", lambda s: s.write({"n": [], "x": []}, 5), "only one bound"),
]

TWICE = {"n": [1, 2, 1], "x": [0.0, 1.0, 2.0]}

UPSERTS = [
    on_series("upsert of equal keys", lambda s: s.upsert(TWICE), "n", FrameError),
    on_series("update of equal keys", lambda s: s.update(TWICE), "n", FrameError),
    on_series("upsert without key", lambda s: s.upsert({"x": [1.0]}), "missing column", FrameError),
    on_series("upsert misspelt", lambda s: s.upsert({"n": [1], "y": [1]}), "'y'", FrameError),
    on_series("upsert NaN as int", lambda s: s.upsert({"n": [NAN]}), "'n'", FrameError),
    on_series("upsert lossy", lambda s: s.upsert({"n": [1], "x": ["a"]}), "'x'", FrameError),
    on_series("delete_keys text", lambda s: s.delete_keys(["a"]), "'n'", FrameError),
    on_series("delete_keys null", lambda s: s.delete_keys([None]), "null", FrameError),
    on_series(
        "delete_keys of half a key", lambda s: s.delete_keys([1]), "a frame", FrameError, "pairs"
    ),
]

READS = [
    on_series("limit=-1", lambda s: s.frame(limit=-1), "limit=-1"),
    on_series("limit=1.5", lambda s: s.df(limit=1.5), "limit=1.5"),
    on_series("limit=True", lambda s: s.frame(limit=True), "limit=True"),
    on_series("offset=-1", lambda s: s.frame(offset=-1), "offset=-1"),
    on_series("offset=text", lambda s: s.frame(offset="1"), "offset='1'"),
    on_series("tail(-1)", lambda s: s.tail(-1), "length=-1"),
    on_series("paginate(0)", lambda s: list(s.paginate(0)), "step=0"),
    on_series("paginate(-1)", lambda s: list(s.paginate(-1)), "step=-1"),
    on_series("a key as item", lambda s: s[5], "expected a slice"),
    on_series("a step", lambda s: s[0:5:2], "expected a slice"),
    on_series("select", lambda s: s.frame(select="X"), "the columns are", NotFoundError),
    on_series("select two", lambda s: s.df(select=["n", "y"]), "the columns are", NotFoundError),
    on_series("select twice", lambda s: s.frame(select=["n", "n"]), "twice", SchemaError),
    on_series("as_of text", lambda s: s.frame(as_of="soon"), "as_of='soon'", NotFoundError),
    on_series("before text", lambda s: s.frame(before="soon"), "before='soon'", NotFoundError),
    on_series("as_of list", lambda s: s.frame(as_of=[1]), "as_of=[1]"),
    on_series("as_of bool", lambda s: s.frame(as_of=True), "as_of=True"),
    on_series("as_of NaT", lambda s: s.frame(as_of=np.datetime64("NaT")), "as_of="),
    on_series("as_of pandas NaT", lambda s: s.frame(as_of=pd.NaT), "as_of="),
    on_series("as_of and before", lambda s: s.frame(as_of=1, before=1), "expected one of them"),
    on_series(
        "as_of revision",
        lambda s: s.frame(as_of="0" * 15 + "1-" + "a" * 32),
        "never pulled, or trimmed",
        NotFoundError,
    ),
]

BAD_LABELS: list[tuple[Any, str]] = [
    (5, "expected a str"),
    (None, "expected a str"),
    (b"a", "expected a str"),
    (("a",), "expected a str"),
    ("", "expected 1 to 4096 bytes"),
    (" ", "not blank"),
    ("\t\n", "not blank"),
    ("a" * 5000, "expected 1 to 4096 bytes"),
    ("é" * 2049, "expected 1 to 4096 bytes"),
    ("\ud800", "lone surrogates"),
]

LABELS = [
    on_clct(f"label {label!r:.20}", lambda c, label=label: c / label, said, LabelError)
    for label, said in BAD_LABELS
] + [
    on_repo(
        f"collection {label!r:.20}",
        lambda r, label=label: r.create_collection(SCHEMA, label),
        said,
        LabelError,
    )
    for label, said in BAD_LABELS
]

COLLECTIONS = [
    on_clct("delete", lambda c: c.delete("tow"), "'one', 'two'", NotFoundError),
    on_clct("delete one of two", lambda c: c.delete("one", "tow"), "'one', 'two'", NotFoundError),
    on_clct("rename", lambda c: c.rename("tow", "x"), "'one', 'two'", NotFoundError),
    on_clct("rename to", lambda c: c.rename("one", "two"), "'two' exists", AlreadyExistsError),
    on_clct("rename to blank", lambda c: c.rename("one", " "), "not blank", LabelError),
    on_clct("pull", lambda c: c.pull(5), "expected a Collection"),
    on_clct("push", lambda c: c.push("s3://x"), "expected a Collection"),
    on_clct("merge", lambda c: c.merge("x"), "no revision", NotFoundError),
    on_clct("defrag", lambda c: c.defrag(0), "max_chunk=0"),
    on_clct("trim", lambda c: c.trim("soon"), "before='soon'", NotFoundError),
    on_clct("no label column", lambda c: c.write(numbers(0, 2), "s"), "'s'", FrameError),
    on_clct("label in schema", lambda c: c.write(numbers(0, 2), "x"), "label='x'", SchemaError),
    on_clct(
        "null label", lambda c: c.write({**numbers(0, 1), "s": [None]}, "s"), "null", FrameError
    ),
    on_clct(
        "blank label",
        lambda c: c.write({**numbers(0, 2), "s": ["a", " "]}, "s"),
        "not blank",
        LabelError,
    ),
    on_clct(
        "number as label", lambda c: c.write({**numbers(0, 1), "s": [1]}, "s"), "str", FrameError
    ),
]

REPOS = [
    on_repo("unknown", lambda r: r / "nmubers", "'floats', 'numbers'", NotFoundError),
    on_repo("number", lambda r: r / 5, "'floats', 'numbers'", NotFoundError),
    on_repo("delete", lambda r: r.delete("typed", "x"), "'numbers'", NotFoundError),
    on_repo("rename", lambda r: r.rename("x", "y"), "'numbers'", NotFoundError),
    on_repo("rename to", lambda r: r.rename("typed", "pairs"), "exists", AlreadyExistsError),
    on_repo("rename blank", lambda r: r.rename("typed", ""), "not blank", LabelError),
    on_repo("exists", lambda r: r.create_collection(SCHEMA, "pairs"), "exist", AlreadyExistsError),
    on_repo(
        "one of two exists",
        lambda r: r.create_collection(SCHEMA, "new", "pairs"),
        "exist",
        AlreadyExistsError,
    ),
    on_repo(
        "exists otherwise",
        lambda r: r.create_collection(SCHEMA, "pairs", raise_if_exists=False),
        "another schema",
        SchemaError,
    ),
    on_repo("no schema", lambda r: r.create_collection("n int*", "y"), "a Schema", SchemaError),
    on_repo("no label", lambda r: r.create_collection(SCHEMA), "labels", InputError),
    on_repo("pull what is not there", lambda r: r.pull(Repo(), "x"), "none", NotFoundError),
    on_repo("push what is not there", lambda r: r.push(Repo(), "x"), "'numbers'", NotFoundError),
    on_repo("pull from a number", lambda r: r.pull(5), "expected a path"),
    on_repo("a number as uri", lambda r: Repo(5), "expected a path"),
    on_repo("an empty uri", lambda r: Repo(""), "names no store"),
    on_repo("an unknown scheme", lambda r: Repo("ftp://x"), "unknown scheme"),
    on_repo("an unknown codec", lambda r: Repo(codec="pickle"), "expected one of"),
    on_repo("an unknown durability", lambda r: Repo(".", durability="x"), "'fsync' or 'os'"),
    on_repo("a schema without index", lambda r: Schema(x="int"), "no index", SchemaError),
    on_repo("a misspelt type", lambda r: Schema(x="flaot*"), "did you mean", SchemaError),
]

CASES = [*COLUMNS, *FRAMES, *BOUNDS, *UPSERTS, *READS, *LABELS, *COLLECTIONS, *REPOS]


def refusal(case: Case, folder: Path) -> str:
    """What is wrong with how a case is refused; "" if nothing. Without assertions."""
    before = tree(folder)
    try:
        case.act(Repo(folder))
    except case.error as error:
        wrong = "" if case.said in str(error) else f"said {error}, not {case.said}"
    except Exception as error:
        wrong = f"raised {error!r}, not {case.error.__name__}"
    else:
        wrong = "was accepted"
    changed = {n for n, data in tree(folder).items() if before.pop(n, None) != data} | {*before}
    return wrong + (f"; changed {sorted(changed)}" if changed else "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repo that no test changes."""
    folder = tmp_path_factory.mktemp("repo")
    make_repo(folder)
    return folder


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_cannot_be_used_is_refused_by_name_and_changes_nothing(
    case: Case, folder: Path
) -> None:
    assert refusal(case, folder) == ""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_refusal_inside_a_block_leaves_the_block_as_it_was(case: Case, folder: Path) -> None:
    clct = Repo(folder) / "numbers"
    with clct.multi() as batch:
        with pytest.raises(case.error):
            case.act(Repo(folder))
        assert batch.writes == []


def test_there_are_at_least_a_hundred_cases_of_different_names() -> None:
    assert len({case.name for case in CASES}) == len(CASES) > 100


def test_all_is_refused_without_assertions_too(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import test_faults_input as t\n"
        "wrong = [f'{c.name}: {w}' for c in t.CASES if (w := t.refusal(c, Path(sys.argv[1])))]\n"
        "sys.exit('\\n'.join(wrong) if wrong else None if not __debug__ else 'not optimised')\n"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    run = subprocess.run(
        [sys.executable, "-O", "-c", code, str(folder)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (run.returncode, run.stderr) == (0, "")


def test_a_refused_write_in_a_block_does_not_end_in_the_commit(tmp_path: Path) -> None:
    make_repo(tmp_path)
    repo = Repo(tmp_path)
    before = content(repo)
    with pytest.raises(FrameError), (repo / "numbers").multi():
        (repo / "numbers" / "one").write(numbers(0, 10, 0.5))
        (repo / "numbers" / "one").write({"n": [1]})
    assert content(Repo(tmp_path)) == before


# --- labels are kept exactly (row 25) ----------------------------------------------------

STRANGE = [
    "a",
    "a\0",
    "a\0b",
    " a",
    "a ",
    "A",
    "../../up",
    "/etc/passwd",
    "..",
    ".",
    "a/b",
    "a\\b",
    "C:",
    "é",
    "e\u0301",
    "\u202ea",
    "a\nb",
    "*",
    "?",
    "%2e%2e",
    "'\"; drop table",
    "😀",
    "a" * 4096,
    "0",
    "None",
    "-rf",
    "~",
]


def test_labels_are_kept_exactly_and_never_leave_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "in" / "repo"
    repo = Repo(folder)
    made = repo.create_collection(SCHEMA, *STRANGE)
    clct = made[0]
    for at, (label, own) in enumerate(zip(STRANGE, made, strict=True)):
        (clct / label).write(numbers(at, at + 1))
        (own / "s").write(numbers(at, at + 1))
    for found in (repo, Repo(folder)):
        assert found.ls() == sorted(STRANGE)
        assert (found / "a").ls() == sorted([*STRANGE, "s"])
        for at, label in enumerate(STRANGE):
            assert (found / "a" / label).df().rows() == [(at, float(at))]
            assert (found / label / "s").df().rows() == [(at, float(at))]
    copy = Repo(tmp_path / "deep" / "in" / "copy")
    copy.pull(repo)
    assert content(copy) == content(repo)
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert {path.name for path in (tmp_path / "deep" / "in").iterdir()} == {"repo", "copy"}
    assert {path.parts[0] for path in map(Path, tree(folder))} == {
        "lakota.json",
        "segments",
        "pages",
        "changelog",
    }


def test_a_label_column_is_kept_exactly() -> None:
    clct = Repo().create_collection(SCHEMA, "c")
    clct.write({**numbers(0, len(STRANGE)), "label": STRANGE}, "label")
    assert clct.ls() == sorted(STRANGE)


# --- what is not there (row 32) ----------------------------------------------------------


def test_looking_for_what_is_not_there_never_gives_none() -> None:
    repo = Repo()
    with pytest.raises(KeyError, match="there is: none"):
        repo.collection("c")
    clct = repo.create_collection(SCHEMA, "c")
    with pytest.raises(NotFoundError, match=r"no collection 'd'; there is: 'c'"):
        repo.collection("d")
    assert "d" not in repo and "c" in repo
    assert not clct.series("not yet") and len(clct.series("not yet").df()) == 0
    assert "not yet" not in clct
    repo.delete("c")
    with pytest.raises(NotFoundError, match="the collection 'c' is not here any more"):
        clct.series("not yet").df()


def test_a_path_without_a_repo_is_not_pulled_from(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "repo")
    for words in ([], ["c"]):
        with pytest.raises(NotFoundError, match=r"no repo in LocalStore\('.*/nowhere'"):
            repo.pull(tmp_path / "nowhere", *words)
    assert list(tmp_path.iterdir()) == []
    empty = Repo(tmp_path / "empty")
    repo.pull(empty)  # a handle is meant, be there something in it or not
    empty.init()
    repo.pull(tmp_path / "empty")
    assert repo.ls() == []


def test_what_is_none_is_neither_pulled_from_nor_pushed_to() -> None:
    nothing: Any = None
    for copy in (Repo().pull, Repo().push):
        with pytest.raises(InputError, match="remote is None: expected a Repo"):
            copy(nothing)


@pytest.mark.parametrize("variable", ["LAKOTA_AUTHOR", "LOGNAME"])
def test_a_name_from_the_system_that_is_no_text_is_refused_before_anything_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.delenv("LAKOTA_AUTHOR", raising=False)
    repo = Repo(tmp_path / "repo")
    clct = repo.create_collection(SCHEMA, "c")
    (clct / "s").write(numbers(0, 3))
    before = tree(tmp_path / "repo")
    monkeypatch.setattr("lakota.transaction._user", _user.__wrapped__)
    monkeypatch.setenv(variable, os.fsdecode(b"Ren\xe9"))
    acts: list[Callable[[], object]] = [
        lambda: (clct / "s").write(numbers(3, 5)),
        lambda: clct.rename("s", "t"),
        lambda: clct.tag("v1"),
        lambda: repo.create_collection(SCHEMA, "d"),
    ]
    for act in acts:
        with pytest.raises(InputError, match=r"Ren\\udce9.*LAKOTA_AUTHOR.*lone surrogates"):
            act()
    assert tree(tmp_path / "repo") == before
    assert (clct / "s").write(numbers(3, 5), author="René")
