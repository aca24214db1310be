"""The door: exact or refused by name, sorted, uncopied."""

from __future__ import annotations

import array
import collections
import datetime as dt
import math
import random
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakota.cast import to_table
from lakota.errors import FrameError
from lakota.order import has_duplicates, is_sorted
from lakota.physical import physical_values
from lakota.schema import Schema
from lakota.types import parse_type

SERIES = Schema(timestamp="timestamp*", value="float")
NOON = dt.datetime(2020, 1, 1, 12)
NOON_UTC = NOON.replace(tzinfo=dt.UTC)
FINE = pd.Timestamp("2020-01-01T12:00:00.000000001")
DAY = dt.date(2020, 1, 1)
EVE = dt.date(1969, 12, 31)
EPOCH, MIDNIGHT = dt.datetime(1970, 1, 1), dt.datetime(2020, 1, 1)
NAN = float("nan")
BAD_TEXT = pa.Array.from_buffers(
    pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")]
)


def one(text: str, values: Any) -> pa.ChunkedArray:
    """`values` through the door, as a column of type `text`."""
    table = to_table({"k": range(len(values)), "x": values}, Schema(k="int*", x=text))
    assert table.schema == Schema(k="int*", x=text).arrow
    table.validate(full=True)
    return table["x"]


# --- what comes in, comes in exactly ---------------------------------------------------


def test_the_documented_write_is_accepted() -> None:
    frame = {"timestamp": ["2020-01-01T00:00", "2020-01-02T00:00"], "value": range(2)}
    table = to_table(frame, SERIES)
    assert table.to_pydict() == {
        "timestamp": [dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 2)],
        "value": [0.0, 1.0],
    }


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("float", range(4), [0.0, 1.0, 2.0, 3.0]),
        ("float", range(0), []),
        ("float", [2**53, -(2**53)], [2.0**53, -(2.0**53)]),
        ("float", [None, 1, 1.5], [None, 1.0, 1.5]),
        ("float", array.array("d", [1.5]), [1.5]),
        ("float", collections.deque([1.5]), [1.5]),
        ("float", memoryview(array.array("d", [1.5])), [1.5]),
        ("float", np.array([1.5], ">f8"), [1.5]),
        ("float", np.arange(6.0)[::2], [0.0, 2.0, 4.0]),
        ("float", np.array([1.5, None], object), [1.5, None]),
        ("float", pd.Series([1.5, NAN]), [1.5, None]),
        ("float32", [0.5, None, math.inf], [0.5, None, math.inf]),
        ("float16", [2048, None], [2048.0, None]),
        ("int", [1.0, None], [1, None]),
        ("int", np.ma.array([1, 2], mask=[False, True]), [1, None]),
        ("int", pd.Series([1, None], dtype="Int64"), [1, None]),
        ("int", [Decimal("5.0")], [5]),
        ("uint64", [1, 2**64 - 1], [1, 2**64 - 1]),
        ("bool", [True, None, np.True_], [True, None, True]),
        ("bool", pd.Series([True, None]), [True, None]),
        ("str", ["", None, "None", "a\0"], ["", None, "None", "a\0"]),
        ("str", np.array(["é", "b"]), ["é", "b"]),
        ("str", pl.Series(["a", None], dtype=pl.Categorical), ["a", None]),
        ("str", pl.Series(["a"], dtype=pl.Enum(["a", "b"])), ["a"]),
        ("str", pd.Series(["a", None]), ["a", None]),
        ("str", pd.Series(["a", None], dtype="category"), ["a", None]),
        ("str", pa.array(["a", None], pa.string_view()), ["a", None]),
        ("str", pa.array(["a", None], pa.large_string()), ["a", None]),
        ("str", pa.chunked_array([["a"], ["b"]]).dictionary_encode(), ["a", "b"]),
        ("string_view", ["a"], ["a"]),
        ("dictionary<values=str, indices=int8>", ["a", "a", None], ["a", "a", None]),
        ("binary", [b"\xff", bytearray(b"a")], [b"\xff", b"a"]),
        ("fixed_size_binary[2]", [b"ab", None], [b"ab", None]),
        ("timestamp", ["2020-01-01", "2020-01-01 12:00:00.5", None], None),
        ("timestamp", [DAY, None], [dt.datetime(2020, 1, 1), None]),
        ("timestamp", np.array(["2020-01", "NaT"], "M8[M]"), [dt.datetime(2020, 1, 1), None]),
        ("timestamp", np.array([1], "M8[25s]"), [dt.datetime(1970, 1, 1, 0, 0, 25)]),
        ("timestamp", pd.Series([NOON]), [NOON]),
        ("timestamp", pd.date_range(NOON, periods=1), [NOON]),
        ("timestamp[ns]", [FINE, NOON, None], [FINE, pd.Timestamp(NOON), None]),
        ("timestamp[us, UTC]", [NOON_UTC, None], [NOON_UTC, None]),
        ("timestamp[us, UTC]", ["2020-01-01T13:00+01:00", "2020-01-01T12:00Z"], [NOON_UTC] * 2),
        ("timestamp[s, Europe/Brussels]", [NOON_UTC], [NOON_UTC]),
        ("date", ["2020-01-01", None], [DAY, None]),
        ("date", [dt.datetime(2020, 1, 1)], [DAY]),
        ("date", np.array(["2020-01-01"] * 3, "M8[D]")[::2], [DAY, DAY]),
        ("date", np.array(["2020-01-01", "NaT", "1969-12-31"], ">M8[D]"), [DAY, None, EVE]),
        ("timestamp", np.array(["1970-01-01", "2020-01-01"], "M8[D]"), [EPOCH, MIDNIGHT]),
        ("date64", [DAY], [DAY]),
        ("time64[us]", ["12:00", "13:00:01.5"], [dt.time(12), dt.time(13, 0, 1, 500_000)]),
        ("time32[s]", [dt.time(1, 2, 3)], [dt.time(1, 2, 3)]),
        ("duration[s]", np.array([1], "m8[h]"), [dt.timedelta(hours=1)]),
        ("duration[s]", np.array([1], "m8[D]"), [dt.timedelta(days=1)]),
        ("duration[ns]", [pd.Timedelta(1)], [pd.Timedelta(1)]),
        ("decimal128(12, 2)", [Decimal("1.5"), 1, Decimal(100)], [Decimal("1.5"), 1, 100]),
        ("decimal256(60, 2)", [5, None], [5, None]),
        ("decimal32(5, 2)", [999], [999]),
        ("list<float>", [[1, 2], None, [], [None]], [[1.0, 2.0], None, [], [None]]),
        ("list<float>", [np.array([1, 2]), np.array([3.5])], [[1.0, 2.0], [3.5]]),
        ("list<list<float>>", [[[1], []], [None]], [[[1.0], []], [None]]),
        ("large_list<int8>", [[1], None, [2, 3]], [[1], None, [2, 3]]),
        ("fixed_size_list<float>[2]", [[1, 2], None], [[1.0, 2.0], None]),
        ("list<float>", pl.Series([[1, 2]], dtype=pl.Array(pl.Int8, 2)), [[1.0, 2.0]]),
        ("list<str>", pl.Series([["a", None], None]), [["a", None], None]),
        ("struct<b: float, a: str>", [{"a": "x", "b": 1}, None], [{"b": 1.0, "a": "x"}, None]),
        ("null", [None], [None]),
        ("month_day_nano_interval", [None], [None]),
    ],
)
def test_a_column_that_fits_comes_in_exactly(text: str, values: Any, expected: Any) -> None:
    found = one(text, values).to_pylist()
    if expected is None:
        expected = [dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 1, 12, 0, 0, 500_000), None]
    assert found == expected


def test_nan_is_a_value_and_none_is_null() -> None:
    for values in ([NAN, None], pl.Series([NAN, None]), pa.array([NAN, None])):
        column = one("float", values)
        assert column.null_count == 1
        assert math.isnan(column[0].as_py())


@pytest.mark.parametrize("text", ["list<int>", "fixed_size_list<int>[2]", "large_list<float>"])
@pytest.mark.parametrize("small", [pa.list_(pa.int8()), pa.list_(pa.int8(), 2)])
def test_sliced_lists_with_nulls_keep_their_values(text: str, small: pa.DataType) -> None:
    values = [[1, 2], None, [3, 4], [5, 6]]
    assert one(text, pa.array(values, small).slice(1)).to_pylist() == values[1:]


def test_sliced_structs_and_maps_keep_their_values() -> None:
    rows = [{"a": 1, "b": [2]}, None, {"a": 4, "b": None}]
    assert one("struct<b: list<float>, a: int>", pa.array(rows).slice(1)).to_pylist() == [
        None,
        {"b": None, "a": 4},
    ]
    maps = pa.array([[("a", 1)], None, [("b", 2), ("c", 3)]], pa.map_(pa.string(), pa.int8()))
    assert one("map<str, int>", maps.slice(1)).to_pylist() == [None, [("b", 2), ("c", 3)]]


# --- or is refused ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "values", "said"),
    [
        ("int", [1.9], "1.9"),
        ("int", [NAN], "nan"),
        ("int", np.array([math.inf]), "inf"),
        ("int", [2.0**63], "truncated"),
        ("int", [2**63], "too large"),
        ("int", range(2**63, 2**63 + 1), "outside of the range of int64"),
        ("int", np.array([2**63], "u8"), "not in range"),
        ("int", [True], "found bool, expected int"),
        ("int", [1, np.True_], "a mixture of bool and number"),
        ("int", ["1"], "found str, expected int; parse the text first"),
        ("int", [[1]], "found list<int>, expected int"),
        ("int8", [300], "300 not in range"),
        ("uint8", np.array([-1]), "-1 not in range"),
        ("uint64", [2**64], "too large"),
        ("uint64", [-1], "negative"),
        ("float", [2**53 + 1], "9007199254740993"),
        ("float", range(2**53 + 1, 2**53 + 2), "9007199254740993"),
        ("float", [1.0, 2**53 + 1], "9007199254740993"),
        ("float", [1.5, True], "a mixture of bool and number"),
        ("float", ["1.5"], "found str, expected float"),
        ("float", [1, "a"], "a mixture of number and str"),
        ("float", [Decimal("0.1")], "decimal128(1, 1), expected float"),
        ("float", [object()], "object"),
        ("float", np.zeros((2, 2)), "shape (2, 2)"),
        ("float", np.array([1j]), "expected float"),
        ("float32", [0.5, 0.1], "0.1 (row 1), which has no exact value in float32"),
        ("float32", [1e300], "1e+300"),
        ("float16", [2049], "2049"),
        ("bool", [0, 1], "found int, expected bool"),
        ("str", [1], "found int, expected str"),
        ("str", ["a", NAN], "a mixture of number and str"),
        ("str", np.array(["a", None, NAN], object), "a mixture"),
        ("str", pd.Series(["a", 1], dtype=object), "a mixture of number and str"),
        ("str", ["\ud800"], "surrogates"),
        ("str", np.array(["\ud800"]), "surrogates"),
        ("str", BAD_TEXT, "UTF8"),
        ("large_string", pa.chunked_array([BAD_TEXT]), "UTF8"),
        ("list<str>", pa.ListArray.from_arrays([0, 1], BAD_TEXT), "UTF8"),
        ("str", [b"a"], "decode the bytes"),
        ("str", ["a", b"b"], "a mixture of bytes and str"),
        ("str", range(1), "found int, expected str"),
        ("binary", ["a"], "encode the text"),
        ("fixed_size_binary[2]", [b"abc"], "widths"),
        ("fixed_size_binary[16]", pa.array([b"a" * 16], pa.uuid()), "extension"),
        ("dictionary<values=str, indices=int8>", [str(i) for i in range(200)], "128"),
        ("timestamp", [5], "a number has no unit"),
        ("timestamp", [FINE], "would lose data"),
        ("timestamp", [NOON, FINE], "would lose data"),
        ("timestamp", pd.Series([FINE]), "would lose data"),
        ("timestamp", [NOON_UTC], "in the zone UTC, expected no time zone"),
        ("timestamp", [NOON, NOON_UTC], "naive times and times with a zone"),
        ("timestamp", [NOON_UTC, NOON], "naive times and times with a zone"),
        ("timestamp", [NOON, DAY], "a mixture of date and datetime"),
        ("timestamp", [DAY, NOON], "a mixture of date and datetime"),
        ("timestamp", ["2020-01-01T00:00Z"], "2020-01-01T00:00Z"),
        ("timestamp", ["2020-01-01", "x"], "'x'"),
        ("timestamp", [""], "''"),
        ("timestamp", ["2020-01-01T00:00:00.1234567"], "1234567"),
        ("timestamp", np.array([2**60], "M8[h]"), "no exact value"),
        ("timestamp", [dt.time(1)], "found time64[us]"),
        ("timestamp[s]", [NOON.replace(microsecond=1)], "would lose data"),
        ("timestamp[s]", ["2020-01-01T00:00:00.5"], "00.5"),
        ("timestamp[ns]", [dt.datetime(9999, 1, 1)], "out of bounds"),
        ("timestamp[ns]", ["2500-01-01"], "2500"),
        ("timestamp[us, UTC]", [NOON], "without a time zone, expected the zone UTC"),
        ("timestamp[us, UTC]", [DAY], "a date has no time zone"),
        ("timestamp[us, UTC]", ["2020-01-01T00:00"], "zone offset"),
        ("date", [NOON], "no exact value in date"),
        ("date", np.array([2**31], "M8[D]"), "2147483648 not in range"),
        ("date", [NOON_UTC], "drop its zone"),
        ("date", [DAY, dt.datetime(2020, 1, 1, 12)], "a mixture of date and datetime"),
        ("time32[s]", [dt.time(1, 2, 3, 4)], "would lose data"),
        ("time64[us]", [dt.time(1, tzinfo=dt.UTC)], "with a zone"),
        ("time64[us]", ["25:00"], "25:00"),
        ("duration[us]", [pd.Timedelta(1)], "would lose data"),
        ("decimal128(12, 2)", [Decimal("1.555")], "data loss"),
        ("decimal128(12, 2)", [0.5], "no exact decimal"),
        ("decimal128(12, 2)", [10**11], "precision 12"),
        ("decimal128(12, 2)", [Decimal("NaN")], "expected decimal128"),
        ("decimal32(5, 2)", [4294966297], "precision 5"),
        ("decimal32(5, 2)", [Decimal(4294966297)], "precision 5"),
        ("decimal32(9, 0)", pa.array([Decimal(2**32)], pa.decimal64(18, 0)), "precision 9"),
        ("int", [Decimal(2**64 + 3)], "18446744073709551619 (row 0)"),
        ("int8", [Decimal(300)], "300 (row 0)"),
        ("date64", pa.array([1], pa.int64()).view(pa.date64()), "whole number of days"),
        ("decimal32(5, 2)", pa.array([10**6], pa.int32()).view(pa.decimal32(5, 2)), "precision"),
        ("list<int>", [[1.5]], "1.5"),
        ("list<int>", [[1, True]], "a mixture of bool and number in lists"),
        ("list<date>", [[DAY, NOON]], "a mixture of date and datetime in lists"),
        ("list<int>", [[[1, True]]], "a mixture"),
        ("fixed_size_list<float>[2]", [[1, 2], [1]], "expected size"),
        ("struct<a: float>", [{"a": 1, "b": 2}], "a struct of ['a', 'b'], expected"),
        ("struct<a: float, b: int>", [{"a": 1}], "expected the fields ['a', 'b']"),
        ("struct<a: int>", [{"a": 1.5}], "field 'a': found float"),
        ("struct<a: int>", [{"a": 1}, {"a": True}], "a mixture of bool and number in field 'a'"),
        ("map<str, int>", [[("a", 1)]], "expected a pyarrow.MapArray"),
        ("null", [1], "found int, expected null"),
    ],
)
def test_a_column_that_does_not_fit_is_refused_by_name(text: str, values: Any, said: str) -> None:
    with pytest.raises(FrameError) as caught:
        one(text, values)
    assert str(caught.value).startswith("column 'x': ")
    assert said in str(caught.value)


@pytest.mark.parametrize("values", [5, None, "abc", b"abc", {1: 2}, {1}, iter([1]), pl.col("x")])
def test_a_column_is_a_sequence(values: Any) -> None:
    with pytest.raises(FrameError, match="column 'value': expected a list"):
        to_table({"timestamp": ["2020-01-01"], "value": values}, SERIES)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        ({"timestamp": []}, "missing column 'value': expected the columns 'timestamp', 'value'"),
        ({"timestamp": [], "valeu": []}, "unknown column 'valeu' (did you mean 'value'?)"),
        ({"timestamp": [], "value": [], "x": []}, "unknown column 'x'"),
        ({"timestamp": [], "value": [], 5: []}, "unknown column 5"),
        ({"timestamp": ["2020-01-01"], "value": []}, "'timestamp' has 1, 'value' has 0"),
        ({"timestamp": [None], "value": [1]}, "column 'timestamp': found 1 null keys"),
        ({"timestamp": np.array(["NaT"], "M8[s]"), "value": [1]}, "null keys (first in row 0)"),
        (pa.table([[1], [2]], names=["value", "value"]), "two columns are called 'value'"),
        ([{"timestamp": "2020-01-01", "value": 1}], "a dict of lists instead of a list of rows"),
        (None, "found NoneType"),
        ("data.parquet", "found str"),
        (np.zeros((2, 2)), "found ndarray"),
        (pl.Series([1, 2]), "cannot read Series as a table"),
        (pl.DataFrame({"timestamp": [], "value\0": []}), "the name has a NUL"),
        (
            pl.DataFrame({"timestamp": ["2020-01-01"], "value": pl.Series([1], dtype=pl.Int128)}),
            "column 'value': found Int128",
        ),
    ],
)
def test_a_frame_that_does_not_fit_is_refused(frame: Any, said: str) -> None:
    with pytest.raises(FrameError) as caught:
        to_table(frame, SERIES)
    assert said in str(caught.value)


@pytest.mark.parametrize("values", [[NAN], [1.0, NAN], [NAN, 1.0], [1.0, NAN, 2.0]])
@pytest.mark.parametrize("text", ["float", "float32", "float16"])
def test_nan_is_no_key(text: str, values: list[float]) -> None:
    with pytest.raises(FrameError, match="column 'k': found NaN"):
        to_table({"a": [0] * len(values), "k": values}, Schema(a="int*", k=text + "*"))


def test_columns_outside_of_the_index_may_be_missing_from_a_partial_frame() -> None:
    schema = Schema(t="int*", x="float", y="float")
    assert to_table({"y": [1], "t": [0]}, schema, partial=True).column_names == ["t", "y"]
    with pytest.raises(FrameError, match="missing column 't'"):
        to_table({"y": [1]}, schema, partial=True)
    with pytest.raises(FrameError, match="unknown column 'z'"):
        to_table({"t": [1], "z": [1]}, schema, partial=True)


# --- any frame -------------------------------------------------------------------------

COLUMNS: dict[str, list[Any]] = {"value": [1.0, 2.0], "timestamp": [NOON, NOON + dt.timedelta(1)]}
EXPECTED = pa.table({"timestamp": pa.array(COLUMNS["timestamp"]), "value": [1.0, 2.0]})


class Struct:
    """A frame that only speaks `__arrow_c_array__`."""

    def __arrow_c_array__(self, requested_schema: object = None) -> object:
        return pa.RecordBatch.from_pydict(COLUMNS).__arrow_c_array__(requested_schema)


@pytest.mark.parametrize(
    "make",
    [
        lambda: COLUMNS,
        lambda: pl.DataFrame(COLUMNS),
        lambda: pl.LazyFrame(COLUMNS),
        lambda: pa.table(COLUMNS),
        lambda: pa.RecordBatch.from_pydict(COLUMNS),
        lambda: pa.table(COLUMNS).to_reader(1),
        lambda: pd.DataFrame(COLUMNS),
        lambda: pd.DataFrame(COLUMNS, index=[4, 2]),
        lambda: pd.DataFrame(COLUMNS).set_index("timestamp"),
        lambda: Struct(),
        lambda: {name: pl.Series(column) for name, column in COLUMNS.items()},
        lambda: {name: pd.Series(column) for name, column in COLUMNS.items()},
        lambda: {name: np.array(column) for name, column in COLUMNS.items()},
        lambda: collections.OrderedDict(COLUMNS),
    ],
)
def test_any_frame_gives_the_same_table(make: Callable[[], Any]) -> None:
    table = to_table(make(), SERIES)
    assert table.schema.equals(SERIES.arrow, check_metadata=True)
    assert table.equals(EXPECTED)


def test_a_duckdb_relation_is_a_frame() -> None:
    with duckdb.connect() as connection:
        relation = connection.sql("select timestamp '2020-01-01' as timestamp, 1 as value")
        assert to_table(relation, SERIES)["value"].to_pylist() == [1.0]


def test_a_pandas_index_that_has_a_name_is_a_column() -> None:
    frame = pd.DataFrame({"value": [1.0]}, index=pd.Index([NOON], name="time"))
    with pytest.raises(FrameError, match=r"unknown column 'time' \(did you mean 'timestamp'\?\)"):
        to_table(frame, SERIES)


@pytest.mark.parametrize("frame", [pl.DataFrame(COLUMNS), pa.table(COLUMNS), pd.DataFrame(COLUMNS)])
def test_an_empty_frame_is_a_frame(frame: Any) -> None:
    table = to_table(frame[:0], SERIES)
    assert (table.num_rows, table.schema) == (0, SERIES.arrow)
    assert to_table({"timestamp": [], "value": ()}, SERIES).num_rows == 0


# --- nothing is copied or changed ------------------------------------------------------


def addresses(table: pa.Table) -> list[int]:
    return [chunk.buffers()[1].address for column in table.columns for chunk in column.chunks]


def test_columns_that_match_are_not_copied() -> None:
    times = np.arange(1000).astype("M8[us]")
    values = np.random.default_rng(0).random(1000)
    expected = [times.ctypes.data, values.ctypes.data]
    assert addresses(to_table({"value": values, "timestamp": times}, SERIES)) == expected
    frame = pl.DataFrame({"timestamp": times, "value": values})
    assert addresses(to_table(frame, SERIES)) == addresses(pa.table(frame))
    chunks = pa.concat_tables([pa.table(frame), pa.table(frame.slice(999))])
    assert addresses(to_table(chunks, SERIES)) == addresses(chunks)


def test_the_users_frame_is_not_changed() -> None:
    frame = {"timestamp": np.array([3, 1, 2]).astype("M8[us]"), "value": np.array([3, 1, 2])}
    before = {name: column.copy() for name, column in frame.items()}
    assert to_table(frame, SERIES)["value"].to_pylist() == [1.0, 2.0, 3.0]
    assert all((frame[name] == before[name]).all() for name in before)


# --- order -----------------------------------------------------------------------------

KEYS: dict[str, list[Any]] = {
    "int": [-(2**63), -1, 0, 2**63 - 1],
    "uint64": [0, 1, 2**63, 2**64 - 1],
    "float": [-math.inf, -1.5, 0.0, math.inf],
    "float16": [-1.5, 0.0, 0.5, math.inf],
    "bool": [False, True],
    "str": ["", "a", "a\0", "ab", "é", "\uffff", "\U0001f600"],
    "large_string": ["", "a", "b"],
    "string_view": ["", "a", "a" * 40],
    "binary": [b"", b"\0", b"a", b"\xff"],
    "binary_view": [b"", b"\0", b"\xff" * 20],
    "fixed_size_binary[2]": [b"\0\0", b"ab", b"\xff\xff"],
    "timestamp[s, UTC]": [dt.datetime(1, 1, 1, tzinfo=dt.UTC), NOON_UTC],
    "date": [dt.date(1, 1, 1), DAY],
    "date64": [dt.date(1, 1, 1), DAY],
    "time32[s]": [dt.time(0), dt.time(23)],
    "duration[us]": [dt.timedelta(-1), dt.timedelta(0), dt.timedelta(1)],
    "decimal32(5, 2)": [Decimal(-5), Decimal("0.01"), Decimal(5)],
    "decimal64(12, 2)": [Decimal(-5), Decimal("0.01"), Decimal(5)],
    "decimal128(30, 2)": [Decimal(-5), Decimal("0.01"), Decimal(10**20)],
    "decimal256(60, 2)": [Decimal(-5), Decimal("0.01"), Decimal(10**50)],
}


@pytest.mark.parametrize("text", KEYS)
@pytest.mark.parametrize("second", ["int", "str"])
def test_rows_come_sorted_by_the_index_and_equal_keys_keep_their_order(
    text: str, second: str
) -> None:
    schema = Schema(k=text + "*", j=second + "*", n="int")
    shuffle = random.Random(text)
    keys = [shuffle.choice(KEYS[text]) for _ in range(200)]
    rest = [shuffle.choice(KEYS[second][:2]) for _ in keys]
    frame = {
        "k": pa.array(keys, schema["k"].type),
        "j": pa.array(rest, schema["j"].type),
        "n": range(len(keys)),
    }
    rank = {key: i for i, key in enumerate(KEYS[text])}
    for index in (("k",), ("k", "j")):
        subset = Schema(k=text + "*", j=second + ("*" if "j" in index else ""), n="int")
        ranks = [(rank[key], other)[: len(index)] for key, other in zip(keys, rest, strict=True)]
        order = sorted(range(len(keys)), key=ranks.__getitem__)
        table = to_table(frame, subset)
        assert table["n"].to_pylist() == order
        assert table.schema == subset.arrow
        assert is_sorted(table, index)
        assert has_duplicates(table, index)
        assert not is_sorted(to_table(frame, subset, sort=False), index)


def test_minus_zero_and_zero_are_one_key() -> None:
    schema = Schema(k="float*", n="int")
    table = to_table({"k": [0.0, -0.0, 0.0, -1.0], "n": range(4)}, schema)
    assert table["n"].to_pylist() == [3, 0, 1, 2]
    assert has_duplicates(table, ["k"])
    assert str(table["k"].to_pylist()) == "[-1.0, 0.0, -0.0, 0.0]"


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["", "a", "b"])), max_size=12),
    st.lists(st.integers(1, 4), max_size=6),
)
def test_order_is_seen_across_chunks(rows: list[tuple[int, str]], sizes: list[int]) -> None:
    table = pa.table(
        {
            "a": pa.array([a for a, _ in rows], pa.int64()),
            "b": pa.array([b for _, b in rows], pa.string()),
        }
    )
    chunks, at = [], 0
    for size in sizes:
        chunks.append(table.slice(at, size))
        at += size
    chunked = pa.concat_tables([*chunks, table.slice(at)])
    assert is_sorted(chunked, ["a", "b"]) == (rows == sorted(rows))
    result = to_table(chunked, Schema(a="int*", b="str*"))
    assert list(zip(*(c.to_pylist() for c in result.columns), strict=True)) == sorted(rows)
    assert has_duplicates(result, ["a", "b"]) == (len(set(rows)) < len(rows))


@pytest.mark.parametrize("at", [1, 65_535, 65_536, 65_537, 131_071, 131_072, 199_999])
def test_one_row_out_of_order_is_seen_anywhere(at: int) -> None:
    keys = np.arange(200_000)
    keys[at] = keys[at - 1]
    assert is_sorted(pa.table({"k": keys}), ["k"])
    assert has_duplicates(pa.table({"k": keys}), ["k"])
    keys[at] -= 1
    assert not is_sorted(pa.table({"k": keys}), ["k"])
    chunked = pa.concat_tables([pa.table({"k": keys[:at]}), pa.table({"k": keys[at:]})])
    assert not is_sorted(chunked, ["k"])
    assert is_sorted(to_table(chunked, Schema(k="int*")), ["k"])


# --- the law ---------------------------------------------------------------------------

NUMBERS = st.one_of(
    st.integers(-(2**65), 2**65),
    st.sampled_from([2**53 + 1, 2**53, 255, 256, 2049, -1, 2**63, 2**64 - 1]),
    st.floats(allow_nan=True),
    st.floats(width=16),
    st.integers(-100, 100).map(float),
    st.decimals(allow_nan=False, allow_infinity=False, places=2),
    st.booleans(),
    st.none(),
)
TIMES = st.one_of(
    st.datetimes(),
    st.datetimes(timezones=st.just(dt.UTC)),
    st.dates(),
    st.dates().map(lambda day: dt.datetime(day.year, day.month, day.day)),
    st.none(),
)
OTHERS = st.one_of(st.text(), st.binary(), st.times(), st.timedeltas(), st.none())
TARGETS = [
    *("int", "int8", "uint64", "float", "float32", "float16", "bool", "str", "binary"),
    *("timestamp", "timestamp[s]", "timestamp[us, UTC]", "date", "time64[us]", "duration[s]"),
    *("decimal128(20, 2)", "decimal32(5, 2)", "list<float>", "string_view"),
]


def same(left: Any, right: Any) -> bool:
    """Whether a stored value is the one that was passed."""
    if left is None or right is None:
        return left is right
    if isinstance(left, dt.datetime) != isinstance(right, dt.datetime):
        left, right = (
            v if isinstance(v, dt.datetime) else dt.datetime(v.year, v.month, v.day)
            for v in (left, right)
        )
    if isinstance(left, bool) != isinstance(right, bool):
        return False
    return bool(left == right) or (left != left and right != right)


@pytest.mark.parametrize("target", TARGETS)
@given(
    values=st.one_of(
        st.lists(NUMBERS, max_size=3),
        st.lists(TIMES, max_size=3),
        st.lists(OTHERS, max_size=3),
        *(st.lists(kind, max_size=3) for kind in (st.floats(), st.text(), st.dates())),
    )
)
def test_whatever_is_accepted_equals_what_was_passed(target: str, values: list[Any]) -> None:
    """The law of the door. Text may become a time, nothing else changes its kind."""
    try:
        column = one(target, values)
    except FrameError as err:
        assert "column 'x': " in str(err)
        return
    if any(isinstance(value, str) for value in values) and target not in ("str", "string_view"):
        return
    stored = column.to_pylist()
    assert len(stored) == len(values)
    assert all(map(same, stored, values)), (stored, values)


TICKS = (1, 10**3, 10**6, 10**9)
EDGES = st.sampled_from(
    [0, 1, 255, 86_400, 86_400_000, 2**31, 2**32 - 1, 2**32 + 5, 2**53 + 1]
).map(lambda value: value.to_bytes(8, "little"))
UNITS = {
    **{f"{kind}{bits}": Fraction(1) for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
    **{
        f"timestamp[{unit}]": Fraction(1, n)
        for unit, n in zip(("s", "ms", "us", "ns"), TICKS, strict=True)
    },
    **{
        f"duration[{unit}]": Fraction(1, n)
        for unit, n in zip(("s", "ms", "us", "ns"), TICKS, strict=True)
    },
    **{
        f"timestamp[{unit}, UTC]": Fraction(1, n)
        for unit, n in zip(("s", "ns"), (1, 10**9), strict=True)
    },
    **{f"decimal32(9, {scale})": Fraction(1, 10**scale) for scale in (0, 5)},
    **{f"decimal64(18, {scale})": Fraction(1, 10**scale) for scale in (0, 9)},
    **{
        f"decimal128({p}, {scale})": Fraction(1, 10**scale)
        for p, scale in ((5, 2), (38, 0), (38, 20))
    },
    **{
        f"decimal256({p}, {scale})": Fraction(1, 10**scale)
        for p, scale in ((5, 2), (76, 0), (76, 40))
    },
    "date": Fraction(86_400),
    "date64": Fraction(1, 1000),
    "time32[s]": Fraction(1),
    "time32[ms]": Fraction(1, 1000),
    "time64[us]": Fraction(1, 10**6),
    "time64[ns]": Fraction(1, 10**9),
}


@given(
    st.sampled_from(sorted(UNITS)),
    st.sampled_from(sorted(UNITS)),
    st.lists(st.binary(min_size=8, max_size=8) | EDGES, min_size=1, max_size=3),
)
@settings(max_examples=max(1000, settings().max_examples))
def test_a_quantity_stays_the_same_in_another_type(
    source: str, target: str, raw: list[bytes]
) -> None:
    """Whatever bits an Arrow array holds: the same number of seconds or units, or refused."""
    dtype = parse_type(source)
    width = dtype.bit_width // 8
    sign = b"\xff" if raw[0][-1] > 127 else b"\0"
    buffer = b"".join((word + sign * 24)[:width] for word in raw)
    values = pa.Array.from_buffers(dtype, len(raw), [None, pa.py_buffer(buffer)])
    before = [value * UNITS[source] for value in physical_values(values)]
    try:
        column = one(target, values)
    except FrameError:
        return
    assert [value * UNITS[target] for value in physical_values(column)] == before
