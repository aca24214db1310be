"""Names follow from rows alone: not from chunks, offsets, encodings, or what lies under nulls."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from struct import pack
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from lakota.digest import BLOCK, block_digests, column_digests, digest_table, rows_digest, type_text
from lakota.errors import SchemaError

FIXED: dict[str, pa.DataType] = {
    str(type_): type_
    for type_ in [
        *(pa.int8(), pa.int16(), pa.int32(), pa.int64()),
        *(pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
        *(pa.float16(), pa.float32(), pa.float64(), pa.bool_()),
        *(pa.decimal32(9, 2), pa.decimal64(18, 2), pa.decimal128(38, 2), pa.decimal256(76, 2)),
        *(pa.date32(), pa.date64(), pa.time32("s"), pa.time32("ms")),
        *(pa.time64("us"), pa.time64("ns"), pa.timestamp("s"), pa.timestamp("us")),
        *(pa.timestamp("ns", "UTC"), pa.duration("ms"), pa.month_day_nano_interval()),
        *(pa.binary(3), pa.binary(16)),
    ]
}
"""Types of a fixed width. Their values are made of random bits."""

_LOOSE: list[tuple[pa.DataType, list[Any]]] = [
    (pa.null(), [None]),
    (pa.string(), ["", "a", "grüße", "long enough for a view"]),
    (pa.large_string(), ["", "a", "grüße"]),
    (pa.string_view(), ["", "a", "long enough for a view"]),
    (pa.binary(), [b"", b"\0", b"\xff\xfe"]),
    (pa.large_binary(), [b"", b"\0", b"\xff\xfe"]),
    (pa.binary_view(), [b"", b"\0", b"long enough for a view"]),
    (pa.list_(pa.int16()), [[], [1, None], [2, 3, 4]]),
    (pa.large_list(pa.string()), [[], ["a", None], ["bc"]]),
    (pa.list_(pa.list_(pa.bool_())), [[], [[True], None, []], [[None, False]]]),
    (pa.list_(pa.string_view()), [[], ["long enough for a view", None]]),
    (pa.list_(pa.float64(), 2), [[0.5, None], [1.0, 2.0]]),
    (pa.list_(pa.list_(pa.int8()), 1), [[[1, 2]], [None], [[]]]),
    (pa.map_(pa.string(), pa.int64()), [[], [("a", 1), ("b", None)]]),
    (
        pa.struct([("a", pa.int64()), ("b", pa.string_view())]),
        [{"a": 1, "b": "x"}, {"a": None, "b": None}],
    ),
    (
        pa.struct([("a", pa.struct([("b", pa.list_(pa.decimal128(5, 1)))]))]),
        [{"a": {"b": [Decimal("1.5"), None]}}, {"a": None}],
    ),
    (pa.struct([]), [{}]),
    (pa.binary(0), [b""]),
    (pa.list_(pa.int8(), 0), [[]]),
    (pa.dictionary(pa.int8(), pa.string()), ["x", "y", "z"]),
    (pa.dictionary(pa.uint32(), pa.int64(), ordered=True), [3, 2, 1]),
]

LOOSE = {str(type_): (type_, values) for type_, values in _LOOSE}
"""The other types, and values of each."""

TYPES = [*FIXED, *LOOSE]
NULLS = {"no nulls": 0.0, "some nulls": 0.3, "all null": 1.0}


def make(kind: str, size: int, nulls: float, seed: int = 0) -> pa.Array:
    """`size` random values of a type; a fixed seed gives fixed values."""
    rng = np.random.default_rng(seed)
    valid = rng.random(size) >= nulls
    if kind in LOOSE:
        type_, values = LOOSE[kind]
        picks = rng.integers(len(values), size=size).tolist()
        chosen = [values[i] if ok else None for i, ok in zip(picks, valid.tolist(), strict=True)]
        return pa.array(chosen, type_)
    type_ = FIXED[kind]
    data = rng.bytes(size * type_.bit_width // 8 + 8)
    validity = pa.py_buffer(np.packbits(valid, bitorder="little")) if nulls else None
    return pa.Array.from_buffers(type_, size, [validity, pa.py_buffer(data)])


def sliced_out(array: pa.Array) -> pa.Array:
    """The same values in the middle of others: at an offset."""
    others = array.slice(0, 3)
    return pa.concat_arrays([others, array, others]).slice(len(others), len(array))


@pytest.mark.parametrize("nulls", NULLS)
@pytest.mark.parametrize("kind", TYPES)
def test_chunks_and_offsets_do_not_count(kind: str, nulls: str) -> None:
    for size in (0, 1, 9, 300):
        array = make(kind, size, NULLS[nulls])
        expected = column_digests(array)
        cuts = [0, size // 3, size // 3, size // 2, size]
        pieces = [array.slice(a, b - a) for a, b in pairwise(cuts)]
        assert column_digests(pa.chunked_array(pieces, array.type)) == expected
        assert column_digests(sliced_out(array)) == expected


@pytest.mark.parametrize("kind", ["int64", "bool", "string", "binary_view", "list<item: int16>"])
def test_a_block_is_verified_without_the_others(kind: str) -> None:
    array = make(kind, 2 * BLOCK + 5, 0.2)
    digests = column_digests(array)
    assert len(digests) == 3
    for i, digest in enumerate(digests):
        assert column_digests(array.slice(i * BLOCK, BLOCK)) == [digest]
    chunked = pa.chunked_array([array.slice(0, 7), array.slice(7, BLOCK), array.slice(7 + BLOCK)])
    assert column_digests(chunked) == digests


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 40_000), max_size=6), st.sampled_from(["int64", "string", "bool"]))
def test_any_cut_into_chunks_gives_the_same_name(cuts: list[int], kind: str) -> None:
    array = _LONG[kind]
    edges = [0, *sorted(cuts), len(array)]
    pieces = [array.slice(a, b - a) for a, b in pairwise(edges)]
    cut = pa.table({"x": pa.chunked_array(pieces, array.type)})
    assert digest_table(cut) == digest_table(pa.table({"x": array}))


_LONG = {kind: make(kind, 40_000, 0.1) for kind in ("int64", "string", "bool")}


def test_a_record_batch_has_the_name_of_its_table() -> None:
    table = pa.table({"a": [1, 2], "b": ["x", None]})
    assert digest_table(table.to_batches()[0]) == digest_table(table)


def bits(flags: list[bool]) -> bytes:
    return np.packbits(np.array(flags, bool), bitorder="little").tobytes()


def by_the_book(type_: pa.DataType, values: list[Any]) -> bytes:
    """The encoding as the docstring of `lakota.digest` tells it, in the slowest way."""
    valid = [value is not None for value in values]
    kept = [value for value in values if value is not None]
    head = b"\0" if all(valid) else b"\1" + bits(valid)
    if pa.types.is_boolean(type_):
        return head + bits([bool(value) for value in values])
    if pa.types.is_int64(type_):
        return head + b"".join(pack("<q", value or 0) for value in values)
    if pa.types.is_float32(type_):
        return head + b"".join(pack("<f", value or 0) for value in values)
    if pa.types.is_struct(type_):
        columns = [(field, [value[field.name] for value in kept]) for field in type_]
        return head + b"".join(by_the_book(field.type, column) for field, column in columns)
    if pa.types.is_fixed_size_list(type_):
        return head + by_the_book(type_.value_type, [item for value in kept for item in value])
    if pa.types.is_string(type_):
        values, kept = ([None if v is None else v.encode() for v in vs] for vs in (values, kept))
    ends = np.cumsum([0, *(len(value or ()) for value in values)])
    head += b"".join(pack("<q", end) for end in ends.tolist())
    if pa.types.is_string(type_):
        return head + b"".join(kept)
    items = [item for value in kept for item in value]
    if pa.types.is_map(type_):
        entry = pa.struct([("key", type_.key_type), ("value", type_.item_type)])
        return head + by_the_book(entry, [{"key": k, "value": v} for k, v in items])
    return head + by_the_book(type_.value_type, items)


BOOK: list[tuple[pa.DataType, list[Any]]] = [
    (pa.int64(), [1, None, -3]),
    (pa.float32(), [0.5, -1.0]),
    (pa.bool_(), [True, None, False, True]),
    (pa.string(), ["a", None, "grüße", ""]),
    (pa.list_(pa.int64()), [[1, None], None, [], [2]]),
    (pa.list_(pa.string(), 2), [["a", None], None, ["", "b"]]),
    (pa.map_(pa.string(), pa.int64()), [[("a", 1)], None, [("b", None), ("c", 3)]]),
    (
        pa.struct([("a", pa.list_(pa.bool_())), ("b", pa.int64())]),
        [{"a": [True, None], "b": 1}, None, {"a": None, "b": None}],
    ),
]


@pytest.mark.parametrize("case", BOOK, ids=lambda case: str(case[0]))
def test_the_documented_bytes_are_what_is_hashed(case: tuple[pa.DataType, list[Any]]) -> None:
    type_, values = case
    digest = xxhash.xxh3_128_digest(by_the_book(type_, values))
    assert column_digests(pa.array(values, type_)) == [digest]
    name, text = b"col", type_text(type_).encode()
    head = pack("<BI", 1, 1) + pack("<I", 3) + name + pack("<I", len(text)) + text
    whole = head + pack("<Q", len(values)) + digest
    table = pa.table({"col": pa.array(values, type_)})
    assert digest_table(table) == xxhash.xxh3_128_hexdigest(whole)


def test_what_lies_under_a_null_does_not_count() -> None:
    mask = pa.array([False, True, False])
    validity = pa.array([True, False, True]).buffers()[1]

    def masked_list(middle: int) -> pa.Array:
        offsets = pa.array([0, 1, 2, 3], pa.int32()).buffers()[1]
        child = pa.array([1, middle, 3])
        return pa.Array.from_buffers(pa.list_(pa.int64()), 3, [validity, offsets], children=[child])

    def masked_string(data: bytes) -> pa.Array:
        offsets = pa.array([0, 1, 3, 4], pa.int32()).buffers()[1]
        return pa.Array.from_buffers(pa.string(), 3, [validity, offsets, pa.py_buffer(data)])

    def masked_struct(middle: int | None) -> pa.Array:
        return pa.StructArray.from_arrays([pa.array([1, middle, 3])], names=["a"], mask=mask)

    def masked_pair(middle: int) -> pa.Array:
        child = pa.array([1, 1, middle, None, 3, 3])
        return pa.FixedSizeListArray.from_arrays(child, 2, mask=mask)

    assert column_digests(masked_list(2)) == column_digests(masked_list(9))
    assert column_digests(masked_list(2)) == column_digests(pa.array([[1], None, [3]]))
    assert column_digests(masked_string(b"axxb")) == column_digests(pa.array(["a", None, "b"]))
    assert column_digests(masked_struct(2)) == column_digests(masked_struct(None))
    assert column_digests(masked_pair(2)) == column_digests(masked_pair(9))


def test_a_view_under_a_null_is_not_followed() -> None:
    views = pa.py_buffer(pack("<i12s", 1, b"a") + pack("<iiii", -5, 0, 9, 1 << 30))
    array = pa.Array.from_buffers(pa.string_view(), 2, [pa.py_buffer(b"\x01"), views])
    assert column_digests(array) == column_digests(pa.array(["a", None]))


def test_dictionaries_count_by_their_values() -> None:
    one = pa.DictionaryArray.from_arrays(pa.array([0, 1, None]), pa.array(["a", "b"]))
    other = pa.DictionaryArray.from_arrays(pa.array([2, 0, 1]), pa.array(["b", None, "a"]))
    assert column_digests(one) == column_digests(other)
    assert column_digests(one) == column_digests(pa.array(["a", "b", None]))


def test_different_rows_have_different_names() -> None:
    tables = [
        pa.table({"a": pa.array(values, type_)})
        for type_, values in [
            (pa.int64(), []),
            (pa.int64(), [0]),
            (pa.int64(), [None]),
            (pa.int64(), [0, 0]),
            (pa.timestamp("us"), [0]),
            (pa.timestamp("us", "UTC"), [0]),
            (pa.float64(), [0.0]),
            (pa.float64(), [-0.0]),
            (pa.string(), [""]),
            (pa.large_string(), [""]),
            (pa.string(), ["a", ""]),
            (pa.string(), ["", "a"]),
            (pa.list_(pa.int64()), [[]]),
            (pa.list_(pa.int64()), [None]),
            (pa.struct([("x", pa.int64())]), [{"x": 1}]),
            (pa.struct([("y", pa.int64())]), [{"y": 1}]),
        ]
    ]
    tables.append(pa.table({"b": pa.array([0])}))
    assert len({digest_table(table) for table in tables}) == len(tables)


def test_declarations_about_rows_do_not_count() -> None:
    declared = pa.schema(
        [
            pa.field("a", pa.int64(), nullable=False, metadata={"unit": "m"}),
            pa.field("b", pa.list_(pa.field("element", pa.int64(), nullable=False))),
        ],
        metadata={"pandas": "{}"},
    )
    plain = pa.schema([("a", pa.int64()), ("b", pa.list_(pa.int64()))])
    rows: dict[str, list[Any]] = {"a": [1], "b": [[2]]}
    names = {digest_table(pa.table(rows, schema=schema)) for schema in (declared, plain)}
    assert len(names) == 1


def test_the_bits_of_a_nan_count() -> None:
    quiet = np.array([0x7FF8000000000000, 0x7FF8000000000001], np.uint64).view(np.float64)
    assert column_digests(pa.array(quiet[:1])) != column_digests(pa.array(quiet[1:]))


def test_names_stay_what_they_were() -> None:
    """Golden: an object of a former release must be found under its name."""
    buffers = [pa.py_buffer(b"\x0d"), pa.py_buffer(bytes(range(0, 256, 2)))]
    columns = {kind: pa.Array.from_buffers(type_, 4, buffers) for kind, type_ in FIXED.items()}
    for kind, (type_, values) in LOOSE.items():
        columns[kind] = pa.array([*values, None, None, None, None][:4], type_)
    assert digest_table(pa.table(columns)) == "e59c1396f72a23e0eb9635fe6699dbf4"


def test_rows_digest_follows_from_block_digests() -> None:
    table = pa.table({"a": range(40_000), "b": make("string", 40_000, 0.1)})
    blocks = block_digests(table)
    assert [len(block) for block in blocks] == [32, 32, 32]
    assert rows_digest(table.schema, table.num_rows, blocks) == digest_table(table)


def test_types_without_a_place_are_refused_by_name() -> None:
    union = pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])
    coded = pa.RunEndEncodedArray.from_arrays(pa.array([1], pa.int32()), pa.array([1]))
    for array in (union, coded, pa.array([[1]], pa.list_view(pa.int64()))):
        with pytest.raises(SchemaError, match="cannot be stored"):
            column_digests(array)
        with pytest.raises(SchemaError, match="cannot be stored"):
            type_text(pa.list_(array.type))
