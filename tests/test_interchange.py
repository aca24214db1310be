"""Every Arrow type with nulls comes back as it went in; other libraries read a series as it is."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

from lakota import Repo, Schema, region
from lakota.errors import SchemaError
from lakota.scan import Scan
from lakota.types import family, in_polars, parse_type

CODECS = ("plain", "lz4", "zstd", "packed")
SECONDS = (-1, 0, 1_577_836_800, 86_399)

VALUES: dict[str, list[Any]] = {
    "bool": [True, False],
    **{f"int{n}": [-(2 ** (n - 1)), 0, 1, 2 ** (n - 1) - 1] for n in (8, 16, 32, 64)},
    **{f"uint{n}": [0, 1, 2**n - 1] for n in (8, 16, 32, 64)},
    "float16": [np.float16(0.5), np.float16(-1.5), np.float16("inf")],
    "float32": [0.5, -1.5, float("inf"), 1e-45],
    "float64": [0.1, -1.5, float("-inf"), 5e-324],
    "decimal32(9, 2)": [Decimal("-9999999.99"), Decimal("0.01")],
    "decimal64(18, 4)": [Decimal("-12345678901234.5678"), Decimal("1.5000")],
    "decimal128(38, 10)": [Decimal("-1234567890123456789012345678.0123456789"), Decimal("1")],
    "decimal256(60, 2)": [Decimal(f"-{'9' * 58}.99"), Decimal("0.01")],
    "date32": [dt.date(1, 1, 1), dt.date(1969, 12, 31), dt.date(9999, 12, 31)],
    "date64": [dt.date(1, 1, 1), dt.date(1969, 12, 31), dt.date(9999, 12, 31)],
    "time32[s]": [dt.time(0), dt.time(23, 59, 59)],
    "time32[ms]": [dt.time(0), dt.time(23, 59, 59, 999_000)],
    "time64[us]": [dt.time(0), dt.time(23, 59, 59, 999_999)],
    "time64[ns]": [0, 86_399_999_999_999],
    "timestamp[s]": list(SECONDS),
    "timestamp[ms]": [x * 1000 + 7 for x in SECONDS],
    "timestamp[us]": [x * 10**6 + 7 for x in SECONDS],
    "timestamp[ns]": [x * 10**9 + 7 for x in SECONDS],
    "timestamp[ns, tz=UTC]": [x * 10**9 + 7 for x in SECONDS],
    "timestamp[us, tz=Europe/Brussels]": [x * 10**6 + 7 for x in SECONDS],
    "timestamp[s, tz=+02:00]": list(SECONDS),
    "duration[s]": [-5, 0, 10**10],
    "duration[ms]": [-5, 0, 10**10],
    "duration[us]": [-5, 0, 10**10],
    "duration[ns]": [-5, 0, 10**10],
    **{x: ["", "é\0z", "a" * 40, "Ω"] for x in ("string", "large_string", "string_view")},
    **{x: [b"", b"\0\xff", b"a" * 40] for x in ("binary", "large_binary", "binary_view")},
    "fixed_size_binary[3]": [b"abc", b"\0\xff\0"],
    "list<float>": [[], [1.0, None], [2.0, 3.0]],
    "large_list<str>": [[], ["a", None], ["b"]],
    "fixed_size_list<int>[2]": [[1, None], [2, 3]],
    "struct<a: int, b: str>": [{"a": 1, "b": None}, {"a": None, "b": "x"}],
    "list<struct<t: timestamp[ns, tz=UTC], x: decimal128(9, 2)>>": [
        [],
        [{"t": 7, "x": Decimal("1.50")}, None],
    ],
    "map<str, float>": [[], [("a", 1.0), ("b", None)]],
    "dictionary<values=str, indices=int8>": ["a", "b", "a"],
    "dictionary<values=int, indices=int32>": [7, 8, 7],
    "dictionary<values=str, indices=int32, ordered=1>": ["a", "b", "a"],
    "null": [],
    "month_day_nano_interval": [pa.MonthDayNano([1, -2, 3]), pa.MonthDayNano([0, 0, 0])],
    "list<decimal32(9, 2)>": [[Decimal("1.50"), None], [], [Decimal("-3.25")]],
    "struct<a: decimal64(18, 2)>": [{"a": Decimal("1.50")}, {"a": None}],
    "dictionary<values=decimal64(18, 2), indices=int8>": [Decimal("1.50"), Decimal("2.00")],
    "list<decimal256(60, 2)>": [[Decimal("1.50"), None], []],
}
TYPES = sorted(VALUES)
KEYS = [
    name
    for name in TYPES
    if family(parse_type(name))
    in ("bool", "int", "float", "decimal", "date", "time", "timestamp", "duration", "string")
    or (family(parse_type(name)) == "binary")
]


def _array(name: str, rows: int, *, nulls: bool = True) -> pa.Array:
    """So many values of a type, over and over, every third one null."""
    dtype, values = parse_type(name), VALUES[name]
    some = [
        None if not values or (nulls and i % 3 == 2) else values[i % len(values)]
        for i in range(rows)
    ]
    if pa.types.is_dictionary(dtype):
        indices = {value: i for i, value in enumerate(dict.fromkeys(values))}
        codes = pa.array([None if v is None else indices[v] for v in some], dtype.index_type)
        dictionary = pa.array(list(indices), dtype.value_type)
        return pa.DictionaryArray.from_arrays(codes, dictionary, ordered=dtype.ordered)
    return pa.array(some, dtype)


def _table(name: str, rows: int) -> pa.Table:
    return pa.table({"t": pa.array(range(rows), pa.int64()), "v": _array(name, rows)})


def _collection(definition: str, codec: str = "plain", key: str = "int") -> Any:
    return Repo(codec=codec).create_collection(Schema(t=f"{key}*", v=definition), "c")


def test_no_type_is_left_out() -> None:
    families = {family(parse_type(name)) for name in TYPES}
    assert families == {
        *("int", "float", "bool", "decimal", "timestamp", "date", "time", "duration"),
        *("string", "binary", "list", "struct", "map", "dictionary", "null", "interval"),
    }


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("name", TYPES)
def test_every_type_comes_back_as_it_went_in(name: str, codec: str) -> None:
    table = _table(name, 40)
    series = _collection(name, codec) / "s"
    series.write(table)
    found = series.frame()
    assert found.schema.equals(table.schema)
    assert found.equals(table)
    narrow = "decimal32" in name or "decimal64" in name  # which Polars reads wrongly
    streamed = pa.table(series)
    assert streamed.to_pylist() == table.to_pylist() if narrow else streamed.equals(table)
    assert series.frame(7, 30).equals(table.slice(7, 23))
    if not in_polars(table.schema.field("v").type):
        for act in (series.df, series.scan, lambda: series[1:2]):
            with pytest.raises(SchemaError, match=r"use frame\(\)"):
                act()
        return
    if narrow:
        expected = series.df()
        assert expected["v"].to_list() == table["v"].to_pylist()
    else:
        expected = pl.DataFrame(pl.from_arrow(table))
        assert_frame_equal(series.df(), expected)
    assert_frame_equal(pl.DataFrame(series), expected)
    assert_frame_equal(series.df(7, 30), expected.slice(7, 23))
    assert_frame_equal(series.scan().collect(), expected)
    assert_frame_equal(series.scan().filter(pl.col("t") >= 35).collect(), expected.slice(35))


@pytest.fixture(params=["joined", "spliced"])
def sparse(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regions are joined whole, or only where layers touch them."""
    if request.param == "spliced":
        monkeypatch.setattr(region, "LARGE_ROWS", 0)
        monkeypatch.setattr(region, "SPARSE", 0)


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.usefixtures("sparse")
def test_every_type_is_upserted(name: str) -> None:
    table = _table(name, 40)
    series = _collection(name) / "s"
    series.write(table)
    values = pa.chunked_array([_array(name, 40).slice(20), _array(name, 20)])
    turned = pa.table({"t": table["t"], "v": values})
    series.upsert(turned.slice(10, 20))
    expected = pa.concat_tables([table.slice(0, 10), turned.slice(10, 20), table.slice(30)])
    assert series.frame().schema.equals(table.schema)
    assert series.frame().to_pylist() == expected.to_pylist()
    series.delete_keys([0, 39])
    assert series.frame().to_pylist() == expected.to_pylist()[1:-1]
    if in_polars(table.schema.field("v").type):
        assert_frame_equal(series.scan().collect(), series.df())


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.usefixtures("sparse")
def test_every_type_is_a_cell(name: str) -> None:
    clct = Repo().create_collection(Schema(t="int*", v=name, w="int"), "c")
    series: Any = clct / "s"
    table = _table(name, 12)
    series.write(table.append_column("w", pa.array(range(12))))
    series.upsert({"t": [3, 20], "w": [-3, -20]})
    series.upsert(_table(name, 3).slice(1))
    expected = [*table["v"].to_pylist(), None]
    expected[1:3] = _array(name, 3).to_pylist()[1:3]
    assert series.frame()["v"].to_pylist() == expected
    assert series.frame()["w"].to_pylist() == [0, 1, 2, -3, *range(4, 12), -20]


@pytest.mark.parametrize("name", KEYS)
def test_every_type_that_has_an_order_is_a_key(name: str) -> None:
    keys = _array(name, len(VALUES[name]), nulls=False)
    order = sorted(range(len(keys)), key=lambda i: VALUES[name][i])
    ordered = pa.array([keys[i] for i in order], keys.type)
    for codec in ("plain", "packed"):
        series = _collection("int", codec, name) / "s"
        series.write({"t": keys, "v": pa.array(range(len(keys)))})
        assert series.frame()["t"].combine_chunks().equals(ordered)
        assert series.frame()["v"].to_pylist() == order
        series.upsert({"t": ordered.slice(1), "v": [-1] * (len(keys) - 1)})
        assert series.frame()["t"].combine_chunks().equals(ordered)
        assert series.frame()["v"].to_pylist() == [order[0], *[-1] * (len(keys) - 1)]
        if not in_polars(keys.type):
            continue
        frame = series.df()
        assert_frame_equal(series.scan().collect(), frame)
        for key in frame["t"]:
            for op in ("eq", "lt", "le", "gt", "ge"):
                chosen = getattr(pl.col("t"), op)(pl.lit(key, frame["t"].dtype))
                assert_frame_equal(series.scan().filter(chosen).collect(), frame.filter(chosen))
        series.delete_keys(ordered)
        assert len(series) == 0


# ---- Other libraries


def _readings(rows: int = 200_000) -> Any:
    clct = Repo().create_collection(Schema(t="timestamp*", v="float", w="int"), "c")
    series = clct / "s"
    times = np.datetime64("2020-01-01", "us") + np.arange(rows) * np.timedelta64(60, "s")
    series.write({"t": times, "v": np.arange(rows) / 2, "w": np.arange(rows)})
    return series


def test_polars_and_arrow_take_a_series_as_it_is() -> None:
    series = _readings(1000)
    assert_frame_equal(pl.DataFrame(series), series.df())
    assert pa.table(series).equals(series.frame())
    assert pa.RecordBatchReader.from_stream(series).read_all().equals(series.frame())


def test_pandas_reads_and_writes_through_arrow() -> None:
    series = _readings(1000)
    frame = series.frame().to_pandas()
    assert str(frame["t"].dtype) == "datetime64[us]" and frame["v"].sum() == 499.5 * 500
    assert pd.DataFrame.from_arrow(series).equals(frame)
    frame["v"] *= 2
    series.write(frame.set_index("t"))
    assert series.df()["v"].sum() == 999.0 * 500


def test_duckdb_reads_a_series_and_a_lazy_frame() -> None:
    series = _readings(1000)
    assert _sql("select count(*), sum(v) from it", series) == [(1000, 249_750.0)]
    scan = series.scan()
    assert _sql("select max(w) from it where t < '2020-01-01 01:00'", scan) == [(59,)]
    with duckdb.connect() as connection:
        connection.register("it", series)
        series.write(connection.sql("select t, v + 1 as v, w from it where w % 2 = 1"))
        assert len(series) == 501 and series.df()["v"][:2].to_list() == [0.0, 1.5]
        connection.register("lazy", scan)
        series.sink(connection.sql("select t, v, w from lazy order by t"))
        assert len(series) == 1000


def _sql(query: str, it: Any) -> list[Any]:
    """What DuckDB finds in the variable `it`."""
    relation = duckdb.sql(query)
    return [] if relation is None else relation.fetchall()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """The columns and the predicates that scans are asked for."""
    found: list[tuple[Any, Any]] = []
    frames: Callable[..., Any] = Scan.frames

    def watched(self: Scan, columns: Any, predicate: Any, *rest: Any) -> Any:
        found.append((columns, predicate))
        return frames(self, columns, predicate, *rest)

    monkeypatch.setattr(Scan, "frames", watched)
    return found


def test_duckdb_pushes_columns_and_ranges_into_a_scan(asked: list[tuple[Any, Any]]) -> None:
    scan = _readings().scan()
    query = "select sum(w) from it where t >= '2020-01-02' and t < '2020-01-02 00:10'"
    assert _sql(query, scan) == [(sum(range(1440, 1450)),)]
    ((columns, predicate),) = asked
    assert set(columns) == {"t", "w"}
    assert predicate.meta.root_names() == ["t", "t"]
    asked.clear()
    assert _sql("select max(v) from it", scan) == [(99_999.5,)]
    assert asked == [(["v"], None)]
