"""The closed list of types: names round-trip, and nothing else gets in."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakota.errors import RangeError, SchemaError
from lakota.physical import physical_value, physical_values
from lakota.types import family, parse_type, type_name

SPELLINGS = {
    "timestamp": pa.timestamp("us"),
    "float": pa.float64(),
    "int": pa.int64(),
    "str": pa.string(),
    "bool": pa.bool_(),
    "date": pa.date32(),
    "double": pa.float64(),
    "half": pa.float16(),
    "float32": pa.float32(),
    "uint8": pa.uint8(),
    "date64": pa.date64(),
    "date64[ms]": pa.date64(),
    "date32[day]": pa.date32(),
    "time32[s]": pa.time32("s"),
    "time64[ns]": pa.time64("ns"),
    "duration[us]": pa.duration("us"),
    "timestamp[ns]": pa.timestamp("ns"),
    "timestamp[ns, UTC]": pa.timestamp("ns", "UTC"),
    "timestamp[ns, tz=UTC]": pa.timestamp("ns", "UTC"),
    "timestamp[s, +02:00]": pa.timestamp("s", "+02:00"),
    "timestamp[ms,Europe/Brussels]": pa.timestamp("ms", "Europe/Brussels"),
    "decimal32(5,2)": pa.decimal32(5, 2),
    "decimal64(5, 2)": pa.decimal64(5, 2),
    "decimal128(12,2)": pa.decimal128(12, 2),
    "decimal256(70, 3)": pa.decimal256(70, 3),
    "large_string": pa.large_string(),
    "string_view": pa.string_view(),
    "binary": pa.binary(),
    "large_binary": pa.large_binary(),
    "binary_view": pa.binary_view(),
    "fixed_size_binary[16]": pa.binary(16),
    "list<double>": pa.list_(pa.float64()),
    "list<item: double>": pa.list_(pa.float64()),
    "large_list<list<int8>>": pa.large_list(pa.list_(pa.int8())),
    "fixed_size_list<double>[3]": pa.list_(pa.float64(), 3),
    "struct<a: int64, b: string>": pa.struct([("a", pa.int64()), ("b", pa.string())]),
    'struct<"a: b": int, c d: str>': pa.struct([("a: b", pa.int64()), ("c d", pa.string())]),
    "map<string, int64>": pa.map_(pa.string(), pa.int64()),
    "dictionary<values=string, indices=int32>": pa.dictionary(pa.int32(), pa.string()),
    "dictionary<values=str, indices=int8, ordered=1>": pa.dictionary(pa.int8(), pa.string(), True),
    "null": pa.null(),
    "month_day_nano_interval": pa.month_day_nano_interval(),
    "M8[s]": pa.timestamp("s"),
    "datetime64[ns]": pa.timestamp("ns"),
    "<M8[us]": pa.timestamp("us"),
    "M8[D]": pa.date32(),
    "m8[ms]": pa.duration("ms"),
    "f8": pa.float64(),
    "<f8": pa.float64(),
    "i8": pa.int64(),
    "u1": pa.uint8(),
    "U": pa.string(),
}


@pytest.mark.parametrize(("text", "dtype"), SPELLINGS.items())
def test_a_type_is_read_and_its_name_reads_back(text: str, dtype: pa.DataType) -> None:
    assert parse_type(text) == dtype
    assert parse_type(type_name(dtype)) == dtype
    assert type_name(parse_type(type_name(dtype))) == type_name(dtype)


def test_every_day_types_have_short_names() -> None:
    names = ["timestamp", "float", "int", "str", "bool", "date"]
    assert [type_name(parse_type(name)) for name in names] == names


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("flaot", "did you mean 'float'"),
        ("pickle", "never pickled"),
        ("O", "use 'str'"),
        ("object", "use 'str'"),
        ("union<int>", "use a struct"),
        ("dense_union", "use a struct"),
        ("run_end_encoded<int32, int64>", "the type of its values"),
        ("list_view<int>", "list<...>"),
        ("extension<arrow.uuid>", "storage type"),
        ("decimal", "say the width"),
        ("M8[m]", "unknown type"),
        ("U8", "unknown type"),
        ("", "expected the name"),
        ("int int", "did not expect 'int'"),
        ("list", "expected '<'"),
        ("list<int", "expected '>'"),
        ("list<int not null>", "always nullable"),
        ("list<string_view>", "use string"),
        ("struct<>", "name of a field"),
        ("struct<a: int, a: int>", "two fields"),
        ("map<int>", "expected ','"),
        ("time32[us]", "a unit (ms, s)"),
        ("timestamp[m]", "a unit (ns, us, ms, s)"),
        ("timestamp[ns, Foo/Bar]", "unknown time zone 'Foo/Bar'"),
        ("timestamp[ns, ../../etc/passwd]", "expected"),
        ("decimal128(50, 2)", "between 1 and 38"),
        ("decimal128(5, 9)", "exceeds the precision"),
        ("fixed_size_list<int>[0]", "at least 1"),
        ("fixed_size_binary[99999999999]", "expected"),
        ("dictionary<values=string, indices=float>", "integer indices"),
        ("list<" * 5000, "16 deep"),
        ('struct<"a: int>', "cannot read"),
    ],
)
def test_whatever_is_not_on_the_list_is_refused_with_what_to_use(text: str, said: str) -> None:
    with pytest.raises(SchemaError) as caught:
        parse_type(text)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "dtype",
    [
        pa.uuid(),
        pa.list_(pa.uuid()),
        pa.list_view(pa.int64()),
        pa.run_end_encoded(pa.int32(), pa.int64()),
        pa.dense_union([pa.field("a", pa.int8())]),
    ],
)
def test_types_that_no_column_has_are_refused(dtype: pa.DataType) -> None:
    with pytest.raises(SchemaError, match="use"):
        type_name(dtype)


@given(st.text())
def test_reading_a_type_gives_a_type_or_a_schema_error(text: str) -> None:
    try:
        dtype = parse_type(text)
    except SchemaError:
        return
    assert parse_type(type_name(dtype)) == dtype


def test_float_is_64_bits_everywhere() -> None:
    assert parse_type("list<float>").value_type == pa.float64()
    assert type_name(pa.list_(pa.float32())) == "list<float32>"


NOON = dt.datetime(2020, 1, 1, 12)
NOON_UTC = NOON.replace(tzinfo=dt.UTC)
BRUSSELS = dt.timezone(dt.timedelta(hours=1))


@pytest.mark.parametrize(
    ("text", "value", "physical"),
    [
        ("int", 0, 0),
        ("int", 2.0, 2),
        ("int", np.int8(-3), -3),
        ("uint64", 2**64 - 1, 2**64 - 1),
        ("float", 0, 0.0),
        ("float", float("-inf"), float("-inf")),
        ("float16", np.float64(0.5), 0.5),
        ("bool", False, False),
        ("bool", np.True_, True),
        ("str", "", ""),
        ("str", "a\0b", "a\0b"),
        ("binary", bytearray(b""), b""),
        ("fixed_size_binary[2]", b"ab", b"ab"),
        ("decimal128(5, 2)", Decimal("-1.5"), -150),
        ("decimal256(60, 2)", 10**50, 10**52),
        ("decimal32(5, 2)", 0.5, 50),
        ("timestamp[s]", "2020-01-01", 1577836800),
        ("timestamp", "2020-01-01T00:00", 1577836800_000000),
        ("timestamp", "2020-01-01 00:00:00.5", 1577836800_500000),
        ("timestamp", dt.date(2020, 1, 1), 1577836800_000000),
        ("timestamp", dt.datetime(1, 1, 1), -62135596800_000000),
        ("timestamp", np.datetime64("2020-01"), 1577836800_000000),
        ("timestamp[ns]", np.datetime64("2020-01-01T00:00:00.000000001"), 1577836800_000000001),
        ("timestamp[ns]", pd.Timestamp("2020-01-01T00:00:00.000000001"), 1577836800_000000001),
        ("timestamp[s, UTC]", NOON_UTC, 1577880000),
        ("timestamp[s, UTC]", NOON_UTC.astimezone(BRUSSELS), 1577880000),
        ("timestamp[s, UTC]", pd.Timestamp(NOON_UTC), 1577880000),
        ("timestamp[s, Europe/Brussels]", "2020-01-01T12:00Z", 1577880000),
        ("timestamp[s, UTC]", "2020-01-01T13:00+01:00", 1577880000),
        ("date", "2020-01-01", 18262),
        ("date", dt.datetime(2020, 1, 1), 18262),
        ("date64", np.datetime64("2020-01-01"), 18262 * 86_400_000),
        ("time32[s]", "12:00", 43200),
        ("time64[us]", dt.time(1, 2, 3, 4), 3723_000004),
        ("duration[us]", dt.timedelta(days=1), 86400_000000),
        ("duration[ns]", pd.Timedelta(1), 1),
    ],
)
def test_a_bound_becomes_what_the_column_stores(text: str, value: Any, physical: Any) -> None:
    found = physical_value(parse_type(text), value)
    assert found == physical
    assert type(found) is type(physical)


@pytest.mark.parametrize(
    ("text", "value", "said"),
    [
        ("int", 2.5, "not a whole number"),
        ("int", True, "found bool"),
        ("int", np.True_, "found bool"),
        ("int", "1", "found str"),
        ("int", float("nan"), "not a whole number"),
        ("int", float("inf"), "not a whole number"),
        ("int", 2**63, "outside of the range"),
        ("uint8", -1, "outside of the range"),
        ("float", 2**53 + 1, "no exact value"),
        ("float", 10**400, "no exact value"),
        ("float", np.int64(2**53 + 1), "no exact value"),
        ("float", float("nan"), "NaN"),
        ("float", True, "found bool"),
        ("float32", 0.1, "no exact value"),
        ("float32", 1e300, "no exact value"),
        ("bool", 0, "found int"),
        ("str", b"a", "found bytes"),
        ("str", "\ud800", "surrogate"),
        ("binary", "a", "found str"),
        ("fixed_size_binary[2]", b"abc", "expected 2 bytes"),
        ("decimal128(5, 2)", Decimal("1.255"), "no exact value"),
        ("decimal128(5, 2)", Decimal("NaN"), "not a number"),
        ("decimal128(5, 2)", Decimal("1e9999999"), "does not fit"),
        ("decimal128(5, 2)", Decimal("1e-9999999"), "no exact value"),
        ("decimal128(5, 2)", 1000, "does not fit"),
        ("timestamp", 0, "a number has no unit"),
        ("timestamp", None, "None is not a key"),
        ("timestamp", "", "ISO 8601"),
        ("timestamp", "2020-13-01", "ISO 8601"),
        ("timestamp", "2020-01-01T00:00Z", "without an offset"),
        ("timestamp", "2020-01-01T00:00:00.1234567", "exact in"),
        ("timestamp", NOON_UTC, "no time zone"),
        ("timestamp", pd.Timestamp("2020-01-01T00:00:00.000000001"), "finer"),
        ("timestamp", pd.NaT, "NaT"),
        ("timestamp", np.datetime64("NaT"), "NaT"),
        ("timestamp", np.datetime64(2**60, "h"), "outside of the range"),
        ("timestamp[ns]", dt.datetime(1, 1, 1), "outside of the range"),
        ("timestamp[us, UTC]", NOON, "naive"),
        ("timestamp[us, UTC]", np.datetime64("2020-01-01"), "naive"),
        ("timestamp[us, UTC]", "2020-01-01T00:00", "with an offset"),
        ("date", NOON, "finer"),
        ("date", NOON_UTC, "no time zone"),
        ("time32[s]", dt.time(1, 2, 3, 4), "finer"),
        ("time64[us]", dt.time(1, tzinfo=dt.UTC), "naive"),
        ("duration[us]", np.timedelta64(1, "ns"), "finer"),
        ("duration[us]", np.timedelta64(1, "M"), "not supported"),
        ("duration[us]", 5, "found int"),
        ("list<int>", 5, "no order"),
    ],
)
def test_a_bound_that_is_not_exact_is_refused(text: str, value: Any, said: str) -> None:
    with pytest.raises(RangeError) as caught:
        physical_value(parse_type(text), value)
    assert said in str(caught.value)


def test_minus_zero_is_zero() -> None:
    assert str(physical_value(pa.float64(), -0.0)) == "0.0"
    assert str(physical_values(pa.array([-0.0]))) == "[0.0]"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("int", [-1, 2**62]),
        ("uint64", [0, 2**64 - 1]),
        ("float16", [0.5, 2.0]),
        ("bool", [False, True]),
        ("str", ["", "a\0"]),
        ("string_view", ["", "a" * 40]),
        ("fixed_size_binary[2]", [b"ab", b"\0\0"]),
        ("timestamp[s, UTC]", [NOON_UTC, dt.datetime(1, 1, 1, tzinfo=dt.UTC)]),
        ("date", [dt.date(2020, 1, 1), dt.date(1, 1, 1)]),
        ("date64", [dt.date(2020, 1, 1)]),
        ("time32[ms]", [dt.time(12)]),
        ("duration[us]", [dt.timedelta(-1)]),
        ("decimal32(5, 2)", [Decimal("-1.25"), Decimal("1.25")]),
        ("decimal64(5, 2)", [Decimal("-1.25"), Decimal("1.25")]),
        ("decimal128(38, 0)", [Decimal(10**38 - 1), Decimal(1 - 10**38)]),
        ("decimal256(76, 0)", [Decimal(10**75), Decimal(-(10**75)), Decimal(-1)]),
    ],
)
def test_columns_and_bounds_agree_on_physical_values(text: str, values: list[Any]) -> None:
    dtype = parse_type(text)
    expected = [physical_value(dtype, value) for value in values]
    array = pa.array(values, dtype)
    assert physical_values(array) == expected
    assert physical_values(pa.array([*values, *values], dtype).slice(len(values))) == expected
    assert physical_values(pa.chunked_array([array, array])) == expected * 2
    assert physical_values(array.slice(0, 0)) == []


@given(st.decimals(allow_nan=False, allow_infinity=False, places=3))
def test_a_decimal_bound_is_exact_or_refused(value: Decimal) -> None:
    dtype = pa.decimal128(20, 2)
    try:
        scaled = physical_value(dtype, value)
    except RangeError:
        assert (Fraction(value) * 100).denominator != 1 or abs(value) >= 10**18
    else:
        assert Fraction(scaled, 100) == Fraction(value)


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_numpy_time_bound_is_exact_or_refused(ticks: int) -> None:
    for unit in ("s", "ms", "us", "ns"):
        value = np.datetime64(ticks, unit)
        if np.isnat(value):
            continue
        assert physical_value(pa.timestamp(unit), value) == ticks


def test_every_family_is_known() -> None:
    assert {family(dtype) for dtype in SPELLINGS.values()} == {
        *("int", "float", "bool", "decimal", "timestamp", "date", "time", "duration"),
        *("string", "binary", "list", "struct", "map", "dictionary", "null", "interval"),
    }
