"""Cuts as bytes: their exact form, their order, and back."""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakota.errors import RangeError
from lakota.interval import (
    EVERYTHING,
    HIGH,
    LOW,
    Closed,
    Cut,
    Interval,
    after,
    before,
    between,
    encode_rows,
    parse_closed,
    parse_cut,
)

INT, TEXT = pa.int64(), pa.string()

# Each type with keys in order, and the bytes of their components.
KEYS: list[tuple[pa.DataType, dict[Any, str]]] = [
    (
        INT,
        {
            -(1 << 63): "0000000000000000",
            -1: "7fffffffffffffff",
            0: "8000000000000000",
            258: "8000000000000102",
            (1 << 63) - 1: "ffffffffffffffff",
        },
    ),
    (pa.int8(), {-128: "7fffffffffffff80", 127: "800000000000007f"}),
    (pa.uint32(), {0: "8000000000000000", (1 << 32) - 1: "80000000ffffffff"}),
    (pa.timestamp("us"), {-1: "7fffffffffffffff", 1: "8000000000000001"}),
    (pa.date32(), {-1: "7fffffffffffffff", 1: "8000000000000001"}),
    (pa.uint64(), {0: "00" * 8, 1: "00" * 7 + "01", (1 << 64) - 1: "ff" * 8}),
    (
        pa.decimal128(38, 2),
        {
            -(10**38) + 1: "34c4b357a5793b85f675ddc000000001",
            -1: "7f" + "ff" * 15,
            0: "80" + "00" * 15,
        },
    ),
    (pa.decimal32(5, 2), {-1: "7f" + "ff" * 15, 1: "80" + "00" * 14 + "01"}),
    (pa.decimal256(70, 0), {-1: "7f" + "ff" * 31, 0: "80" + "00" * 31, 9: "80" + "00" * 30 + "09"}),
    (
        pa.float64(),
        {
            float("-inf"): "000fffffffffffff",
            -1.0: "400fffffffffffff",
            -5e-324: "7ffffffffffffffe",
            0.0: "8000000000000000",
            5e-324: "8000000000000001",
            1.0: "bff0000000000000",
            float("inf"): "fff0000000000000",
        },
    ),
    (pa.float32(), {-0.5: "401fffffffffffff", 0.5: "bfe0000000000000"}),
    (pa.bool_(), {False: "00", True: "01"}),
    (
        TEXT,
        {
            "": "00",
            "\0": "00ff00",
            "\0\0": "00ff00ff00",
            "\0a": "00ff6100",
            "a": "6100",
            "a\0": "6100ff00",
            "a\0b\0": "6100ff6200ff00",
            "aa": "616100",
            "é": "c3a900",
        },
    ),
    (pa.large_string(), {"a": "6100", "b": "6200"}),
    (pa.string_view(), {"a": "6100", "b": "6200"}),
    (
        pa.binary(),
        {b"": "00", b"\0": "00ff00", b"a": "6100", b"\xff": "ff00", b"\xff\xff": "ffff00"},
    ),
    (pa.binary_view(), {b"a": "6100", b"b": "6200"}),
    (pa.binary(2), {b"\0\0": "0000", b"\0\xff": "00ff", b"a\0": "6100"}),
]
NAMED = [pytest.param(dtype, values, id=str(dtype)) for dtype, values in KEYS]
PARTS = st.sampled_from(KEYS).flatmap(
    lambda pair: st.tuples(st.just(pair[0]), st.sampled_from(list(pair[1])))
)


@pytest.mark.parametrize(("dtype", "values"), NAMED)
def test_a_cut_has_these_bytes_and_they_are_read_back(
    dtype: pa.DataType, values: dict[Any, str]
) -> None:
    for value, body in values.items():
        low, high = before([dtype], (value,)), after([dtype], (value,))
        assert low == bytes.fromhex(f"02{body}01")
        assert high == bytes.fromhex(f"02{body}03")
        for cut, is_after in ((low, False), (high, True)):
            (found,), side = parse_cut([dtype], cut)
            assert (found, type(found), side) == (value, type(value), is_after)


@pytest.mark.parametrize(("dtype", "values"), NAMED)
def test_cuts_have_the_order_of_the_keys(dtype: pa.DataType, values: dict[Any, str]) -> None:
    cuts = [cut([dtype], (value,)) for value in values for cut in (before, after)]
    assert all(a < b for a, b in pairwise([LOW, *cuts, HIGH]))


def test_a_prefix_is_before_or_after_all_that_begins_with_it() -> None:
    types = [TEXT, INT]
    cuts = [
        LOW,
        before(types, ("a",)),
        before(types, ("a", -1)),
        after(types, ("a", -1)),
        before(types, ("a", 5)),
        after(types, ("a",)),
        before(types, ("a\0",)),
        before(types, ("b", -7)),
        HIGH,
    ]
    assert all(a < b for a, b in pairwise(cuts))
    assert (before(types, ()), after(types, ())) == (LOW, HIGH)


@given(st.lists(PARTS, max_size=4), st.booleans())
def test_a_cut_of_several_columns_is_read_back(
    parts: list[tuple[pa.DataType, Any]], is_after: bool
) -> None:
    types, key = [dtype for dtype, _ in parts], tuple(value for _, value in parts)
    cut = (after if is_after else before)(types, key)
    assert parse_cut(types, cut) == (key, is_after)
    assert parse_cut([*types, INT], cut) == (key, is_after)


@pytest.mark.parametrize("nth", [0, -1])
def test_a_cut_of_a_column_of_each_type_is_read_back(nth: int) -> None:
    types = [dtype for dtype, _ in KEYS]
    key = tuple(list(values)[nth] for _, values in KEYS)
    assert parse_cut(types, after(types, key)) == (key, True)


def test_zero_has_one_sign() -> None:
    assert before([pa.float64()], (-0.0,)) == before([pa.float64()], (0.0,))


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_floats_are_ordered_and_read_back(a: float, b: float) -> None:
    cuts = [before([pa.float64()], (value,)) for value in (a, b)]
    assert (cuts[0] < cuts[1]) == (a < b)
    ((found,), _) = parse_cut([pa.float64()], cuts[0])
    assert struct.pack(">d", found) == struct.pack(">d", a + 0.0)


@given(st.text("\0\x01\xff a", max_size=4), st.text("\0\x01\xff a", max_size=4), st.integers(-1, 1))
def test_texts_with_zeros_are_ordered_before_what_follows_them(a: str, b: str, n: int) -> None:
    types = [TEXT, INT]
    assert (before(types, (a, 0)) < before(types, (b, n))) == ((a.encode(), 0) < (b.encode(), n))


@pytest.mark.parametrize(
    ("closed", "start_in", "stop_in"),
    [("both", True, True), ("left", True, False), ("right", False, True), ("none", False, False)],
)
def test_closed_says_which_ends_are_inside(closed: Closed, start_in: bool, stop_in: bool) -> None:
    found = between([INT], (3,), (5,), closed)
    assert found == Interval(
        before([INT], (3,)) if start_in else after([INT], (3,)),
        after([INT], (5,)) if stop_in else before([INT], (5,)),
    )
    assert between([INT], None, (5,), closed) == Interval(LOW, found.hi)
    assert between([INT], (3,), None, closed) == Interval(found.lo, HIGH)
    assert between([INT], None, None, closed) == EVERYTHING == Interval(LOW, HIGH)


def test_an_interval_is_empty_unless_its_ends_are_in_order() -> None:
    low, high = before([INT], (3,)), after([INT], (3,))
    assert Interval(low, high)
    assert not Interval(low, low)
    assert not Interval(high, low)


@given(*[st.integers(0, 9)] * 4, st.integers(0, 9))
def test_what_two_intervals_share_is_where_they_meet(
    a: int, b: int, c: int, d: int, at: int
) -> None:
    cuts = [Cut(bytes([n])) for n in range(10)]
    left, right = Interval(cuts[a], cuts[b]), Interval(cuts[c], cuts[d])
    inside = [i.lo <= cuts[at] < i.hi for i in (left, right, left.meet(right))]
    assert inside[2] == (inside[0] and inside[1])


@pytest.mark.parametrize("word", ["both", "left", "right", "none"])
def test_closed_is_a_word_or_its_first_letter_in_any_case(word: str) -> None:
    for text in (word, word[0]):
        assert parse_closed(text) == parse_closed(text.upper()) == word


@pytest.mark.parametrize("closed", ["", "x", "bo", None, 1, True])
def test_anything_else_is_refused_and_named(closed: Any) -> None:
    with pytest.raises(RangeError) as caught:
        parse_closed(closed)
    assert str(caught.value) == (
        f"closed={closed!r}: expected 'both', 'left', 'right' or 'none' (or b, l, r, n)"
    )


@given(st.lists(st.tuples(st.integers(-2, 2), st.text("a\0", max_size=2)), max_size=5))
def test_many_rows_are_encoded_as_each_alone(keys: list[tuple[int, str]]) -> None:
    types = [INT, TEXT]
    numbers, texts = [n for n, _ in keys], [text for _, text in keys]
    assert encode_rows(types, [numbers, texts]) == [before(types, key)[:-1] for key in keys]
    assert encode_rows(types[:1], [numbers]) == [before(types, (n,))[:-1] for n in numbers]


@pytest.mark.parametrize(("dtype", "values"), NAMED)
def test_very_many_rows_of_any_type_are_encoded_as_each_alone(
    dtype: pa.DataType, values: dict[Any, str]
) -> None:
    many = [*values] * 300
    each = {value: before([dtype], (value,))[:-1] for value in values}
    assert encode_rows([dtype], [many]) == [each[value] for value in many]


def test_columns_that_do_not_fit_are_not_encoded() -> None:
    with pytest.raises(ValueError):
        encode_rows([INT, TEXT], [[1], ["a", "b"]])
    with pytest.raises(ValueError):
        encode_rows([INT, TEXT], [[1]])
