"""What is written in any format comes back as it was, or is refused by name."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from cli_kit import call, done
from hypothesis import given
from hypothesis import strategies as st

from lakota import Repo, Schema
from lakota.cli.folders import file_name, names_for
from lakota.cli.text import from_text, json_lines, to_text

SCHEMA = Schema(
    {
        "at": "timestamp*",
        "zoned": "timestamp[us, tz=Europe/Brussels]",
        "fine": "timestamp[ns]",
        "day": "date",
        "clock": "time64[us]",
        "took": "duration[ms]",
        "whole": "int",
        "big": "uint64",
        "real": "float",
        "short": "float32",
        "price": "decimal128(12, 2)",
        "yes": "bool",
        "text": "str",
        "raw": "binary",
    }
)
ROWS = {
    "at": [datetime(1999, 1, 1), datetime(2020, 6, 22, 12, 30, 0, 500), datetime(2021, 1, 1, 5)],
    "zoned": [datetime(2020, 7, 1, tzinfo=None), None, datetime(2020, 1, 1)],
    "fine": [1_577_836_800_123_456_789, None, 0],
    "day": [date(2020, 1, 1), None, date(1, 1, 1)],
    "clock": [time(12, 30, 0, 1), None, time(0)],
    "took": [timedelta(days=400, milliseconds=1), None, timedelta(0)],
    "whole": [2**63 - 1, None, -(2**63)],
    "big": [2**64 - 1, None, 0],
    "real": [0.1, float("nan"), float("-inf")],
    "short": [0.1, None, 1e30],
    "price": [Decimal("1234567890.12"), None, Decimal("-0.01")],
    "yes": [True, None, False],
    "text": ['quotes " and, commas\nand lines', None, ""],
    "raw": [b"\x00\xff", None, b""],
}
TEXTS = ("csv", "tsv", "ndjson", "json")
BINARIES = ("parquet", "arrow", "arrows")


def rows() -> pl.DataFrame:
    frame = pl.DataFrame(ROWS, schema_overrides={"big": pl.UInt64, "short": pl.Float32})
    return frame.with_columns(
        pl.col("zoned").dt.replace_time_zone("Europe/Brussels"),
        pl.col("fine").cast(pl.Datetime("ns")),
        pl.col("took").cast(pl.Duration("ms")),
        pl.col("price").cast(pl.Decimal(12, 2)),
    )


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LAKOTA_REPO", raising=False)
    repo = Repo(".lakota", durability="os")
    (repo.create_collection(SCHEMA, "c") / "s").write(rows())
    return repo


@pytest.mark.parametrize("format", [*TEXTS, *BINARIES])
def test_a_file_comes_back_as_it_was(format: str, repo: Repo) -> None:
    done("read", "c/s", "-O", f"file.{format}")
    done("write", "c/back", f"file.{format}")
    assert (repo / "c" / "back").df().equals((repo / "c" / "s").df())


@pytest.mark.parametrize("format", [*TEXTS[:3], *BINARIES])
def test_a_pipe_gives_what_a_file_gives(format: str, repo: Repo) -> None:
    done("read", "c/s", "-O", f"file.{format}")
    piped = call("read", "c/s", "-f", format).data
    if format != "parquet":  # which says when it was written
        assert Path(f"file.{format}").read_bytes() == piped
    found = ["--format", format] if format == "tsv" else []
    done("write", "c/back", *found, stdin=piped)
    assert (repo / "c" / "back").df().equals((repo / "c" / "s").df())


def test_excel_comes_back(repo: Repo) -> None:
    names = ["at", "whole", "yes", "text"]
    schema = Schema(at="timestamp*", whole="float", yes="bool", text="str")
    frame = pl.DataFrame(
        {
            "at": [datetime(2020, 1, 1), datetime(2020, 1, 2, 12)],
            "whole": [1.5, -2.0],
            "yes": [True, False],
            "text": ["a", "b"],
        }
    )
    (repo.create_collection(schema, "x") / "s").write(frame)
    done("read", "x/s", *names, "-O", "file.xlsx")
    done("write", "x/back", "file.xlsx")
    assert (repo / "x" / "back").df().equals(frame)


@pytest.mark.parametrize("format", ["csv", "ndjson", "parquet", "arrow"])
def test_whole_collections_come_back(format: str, repo: Repo, tmp_path: Path) -> None:
    labels = ["a/b", "../../up", "A", "a", "nul", "ü" * 1000, " x ", "%41", ".hidden", "x\ny", "-f"]
    for label in labels:
        (repo / "c" / label).write(rows())
    (repo.create_collection(Schema.kv(n="int*", x="float"), "../k") / "s").write(
        {"n": [1], "x": [2]}
    )
    done("export", "deep/er/out", "--format", format)
    outside = {
        path for path in tmp_path.rglob("*") if path.is_file() and ".lakota" not in path.parts
    }
    assert len(outside) == len(labels) + 1 + 1 + 2
    assert all(path.is_relative_to(tmp_path / "deep/er/out") for path in outside)
    done("-r", "other", "import", "deep/er/out")
    other = Repo("other")
    assert other.ls() == repo.ls() and (other / "../k").schema == (repo / "../k").schema
    assert (other / "c").ls() == sorted([*labels, "s"]) == (repo / "c").ls()
    for series in other / "c":
        assert series.df().equals(rows())


def test_an_export_takes_away_what_an_earlier_one_left(repo: Repo) -> None:
    (repo / "c" / "gone").write(rows())
    done("export", "out")
    Path("out/c/mine.txt").write_text("kept")
    (repo / "c").delete("gone")
    done("export", "out")
    assert {p.name for p in Path("out/c").iterdir()} == {"s.parquet", "collection.json", "mine.txt"}


def test_an_import_does_not_leave_its_folder(repo: Repo) -> None:
    done("export", "out", "-f", "csv")
    document = Path("out/c/collection.json")
    document.write_text(document.read_text().replace('"s.csv"', '"../../secret.csv"'))
    ran = call("-r", "other", "import", "out")
    assert ran.code == 2 and "secret" in ran.err
    assert not Path("other").exists()


@given(st.lists(st.text(min_size=1).filter(str.strip), unique=True, max_size=8))
def test_names_of_files_differ_whatever_the_labels(labels: list[str]) -> None:
    names = list(names_for(labels).values())
    assert len({name.lower() for name in names}) == len(labels)
    for name in map(file_name, labels):
        assert Path(name).name == name and name not in (".", "..")
        assert len(name.encode()) < 200 and name.isascii() and name.isprintable()


@given(
    st.lists(
        st.tuples(
            st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1)),
            st.none() | st.floats(),
            st.none() | st.text(st.characters(exclude_categories=["Cs"])),
            st.none() | st.integers(-(2**63), 2**63 - 1),
        ),
        max_size=10,
    )
)
def test_text_keeps_every_value(values: list[tuple[datetime, float, str, int]]) -> None:
    schema = Schema(t="timestamp*", x="float", s="str", n="int")
    kinds = {"t": pl.Datetime("us"), "x": pl.Float64(), "s": pl.String(), "n": pl.Int64()}
    frame = pl.DataFrame(values, schema=kinds, orient="row")
    csv = to_text(frame, nested=False).write_csv().encode()
    back = from_text(pl.read_csv(csv, infer_schema=False), schema)
    assert back.equals(frame)
    if frame.height:
        lines = json_lines(frame).encode()
        texts = {name: pl.String() for name in kinds}
        assert from_text(pl.read_ndjson(lines, schema=texts), schema).equals(frame)


@pytest.mark.parametrize(
    ("definition", "text", "said"),
    [
        ("int", "1.5", "found '1.5' in row 1, expected int"),
        ("int8", "300", "found '300' in row 1, expected int8"),
        ("timestamp", "22 June", "--date-format"),
        ("timestamp", "2020-01-01T00:00:00.1234567", "column 'x'"),
        ("timestamp[us, tz=UTC]", "2020-01-01T00:00:00", "column 'x'"),
        ("bool", "maybe", "column 'x'"),
        ("binary", "xyz", "column 'x'"),
        ("decimal128(5, 2)", "1.234", "column 'x'"),
        ("date", "2020-13-01", "column 'x'"),
    ],
)
def test_text_that_a_column_cannot_hold_is_refused(
    definition: str, text: str, said: str, repo: Repo
) -> None:
    clct = repo.create_collection(Schema(n="int*", x=definition), "d")
    ran = call("write", "d/s", stdin=f"n,x\n1,\n2,{text}\n".encode())
    assert ran.code == 2 and said in ran.err and ran.err.count("\n") == 1
    assert len(clct / "s") == 0


@pytest.mark.parametrize("format", ["csv", "tsv", "ndjson"])
def test_nested_columns_are_refused_where_they_cannot_be_kept(format: str, repo: Repo) -> None:
    clct = repo.create_collection(Schema(n="int*", x="list<float>"), "d")
    (clct / "s").write({"n": [1, 2], "x": [[0.5, None], [float("nan")]]})
    ran = call("read", "d/s", "-f", format, "-O", "file")
    assert ran.code == 2 and "column 'x'" in ran.err
    assert not list(Path().glob("file*"))
    (clct / "s").write({"n": [2], "x": [[]]})
    if format == "ndjson":
        done("read", "d/s", "-O", "file.ndjson")
        done("write", "d/back", "file.ndjson")
        assert (clct / "back").df().equals((clct / "s").df())


@pytest.mark.parametrize(
    "format", ["csv", "tsv", "ndjson", "json", "parquet", "arrow", "arrows", "xlsx", "any"]
)
@pytest.mark.parametrize("data", [b"", b"nonsense", b"\xff\xfe\0,\x01\n", b"PAR1", b"{"])
def test_what_is_no_such_file_is_refused(format: str, data: bytes, repo: Repo) -> None:
    found = [] if format == "any" else ["-f", format]
    for words in (["write", "c/new"], ["import", "-", "-c", "new", "--index", "n", "--label", "l"]):
        ran = call(*words, *(["-"] if words[0] == "write" else []), *found, stdin=data)
        assert ran.code == 2 and ran.err.count("\n") == 1, ran.err
    assert "new" not in repo.ls() and not repo / "c" / "new"


def test_columns_by_place_and_text_that_is_no_value(repo: Repo) -> None:
    clct = repo.create_collection(Schema(n="int*", s="str", x="float"), "d")
    done("write", "d/s", "--no-header", "--null", "NA", stdin=b'1,"",NA\n2,NA,0.5\n3,,1\n')
    assert (clct / "s").df().rows() == [(1, "", None), (2, None, 0.5), (3, None, 1.0)]
    ran = call("write", "d/s", "--no-header", stdin=b"1,2\n")
    assert ran.code == 2 and "found 2 columns" in ran.err


def test_a_file_whose_name_ends_in_gz_is_compressed(tmp_path: Path) -> None:
    place = ["-r", str(tmp_path / "repo")]
    done(*place, "create", "c", "n int*", "x float")
    done(*place, "write", "c/s", stdin=b"n,x\n1,0.5\n")
    for name in ("rows.csv.gz", "rows.tsv.gz", "rows.ndjson.gz"):
        file = str(tmp_path / name)
        done(*place, "read", "c/s", "-O", file)
        assert Path(file).read_bytes().startswith(b"\x1f\x8b")
        done(*place, "write", f"c/{name}", file)
        assert done(*place, "read", f"c/{name}") == "n,x\n1,0.5\n"
