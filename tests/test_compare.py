"""Columns that stand for others: equal where these are the same, in the order of keys."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lakota import Repo, Schema
from lakota.compare import from_ordered, key_column, to_ordered, value_column

NAN = float("nan")
NESTED = pa.list_(pa.struct([("a", pa.list_(pa.float32()))]))
PAIR = pa.struct([("a", pa.float64()), ("b", pa.list_(pa.string()))])
D = Decimal

# Of each type, values that all differ.
CASES: list[tuple[pa.DataType, list[Any]]] = [
    (pa.float16(), [*np.array([0.0, -0.0, NAN, 1.5], np.float16), None]),
    (pa.float32(), [0.0, -0.0, NAN, 1.5, None]),
    (pa.float64(), [0.0, -0.0, NAN, 1.5, None]),
    (pa.list_(pa.float64()), [[0.0], [-0.0], [NAN], [], None, [None], [0.0, 1.0]]),
    (pa.large_list(pa.float64()), [[0.0], [-0.0], [NAN], [], None, [None], [0.0, 1.0]]),
    (pa.list_(pa.float64(), 2), [[0.0, 1.0], [-0.0, 1.0], None, [None, 1.0], [NAN, 1.0]]),
    (PAIR, [{"a": 0.0, "b": ["x"]}, {"a": -0.0, "b": ["x"]}, None, {}, {"a": NAN, "b": []}]),
    (pa.map_(pa.string(), pa.float64()), [[("a", 0.0)], [("a", -0.0)], None, [], [("a", NAN)]]),
    (NESTED, [[{"a": [1.0, None]}], [{"a": [1.0]}], [None], None, [{"a": None}]]),
    (pa.decimal32(5, 2), [D("1.00"), D("-1.00"), None, D("0.00")]),
    (pa.decimal128(20, 2), [D("1.00"), D("-1.00"), None, D("0.00")]),
    (pa.decimal256(40, 2), [D("1.00"), D("-1.00"), None, D("0.00")]),
    (pa.month_day_nano_interval(), [(1, 2, 3), None, (1, 2, 4)]),
    (pa.dictionary(pa.int8(), pa.string()), ["a", "b", None]),
    (pa.null(), [None]),
    (pa.bool_(), [True, False, None]),
    (pa.uint64(), [0, 2**64 - 1, None]),
    (pa.timestamp("ns", "UTC"), [1, 2, None]),
    (pa.date32(), [1, 2, None]),
    (pa.date64(), [0, 86_400_000, None]),
    (pa.time64("ns"), [1, 2, None]),
    (pa.duration("s"), [1, 2, None]),
    (pa.string_view(), ["a", None, "b" * 20]),
    (pa.binary_view(), [b"a", None]),
    (pa.binary(3), [b"abc", None, b"abd"]),
]


@pytest.mark.parametrize(("dtype", "values"), CASES, ids=lambda case: str(case)[:30])
def test_values_are_equal_where_they_are_the_same(dtype: pa.DataType, values: list[Any]) -> None:
    array = pa.array(values, dtype)
    shown = value_column(pa.chunked_array([array]))
    # Wherever they lie in chunks and slices.
    moved = pa.chunked_array([pa.concat_arrays([array, array]).slice(len(array)), array.slice(1)])
    assert value_column(moved)[: len(array)].eq_missing(shown).all()
    assert value_column(moved)[len(array) :].eq_missing(shown[1:]).all()
    for i in range(len(array)):
        for j in range(len(array)):
            assert shown[i : i + 1].eq_missing(shown[j : j + 1])[0] == (i == j), (i, j)
    assert value_column(pa.chunked_array([], dtype)).dtype == shown.dtype


def test_wide_decimals_keep_their_order() -> None:
    texts = ["-100000", "-5.00", "-0.01", "0", "3", "99999999"]
    column = pa.chunked_array([pa.array([D(text) for text in texts], pa.decimal256(40, 2))])
    ordered = to_ordered(column)
    assert ordered.to_pylist() == sorted(ordered.to_pylist())
    assert from_ordered(ordered, column.type).equals(column)
    assert from_ordered(to_ordered(column.slice(2)), column.type).equals(column.slice(2))
    assert key_column(column).is_sorted()


def test_upserts_find_keys_that_are_wide_decimals() -> None:
    series = Repo().create_collection(Schema(k="decimal256(40, 2)*", x="float"), "c") / "s"
    series.write({"k": [D("-1.00"), D("2.00")], "x": [1.0, 2.0]})
    series.upsert({"k": [D("2.00"), D("-3.00")], "x": [5.0, 6.0]})
    series.delete_keys({"k": [D("-1.00")]})
    expected = [{"k": D("-3.00"), "x": 6.0}, {"k": D("2.00"), "x": 5.0}]
    assert series.frame().to_pylist() == expected
