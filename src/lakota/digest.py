"""Names of objects: the xxh3_128 of their rows. Lowest layer, pure; imports only `errors`.

How rows are stored (chunks, codec, version of a library) never changes a name, and whoever
holds rows can verify them, one block and one column at a time. xxh3 detects accidents; it is
no proof against someone who forges on purpose.

The exact bytes; integers are little endian, `text` is a uint32 length and that much UTF-8:

    name    = xxh3_128(header ‖ digests), 32 lower-case hex digits, seed 0
    header  = uint8 1 ‖ uint32 columns ‖ (text name ‖ text type) per column ‖ uint64 rows
    digests = for each block of 16,384 rows (the last one may be shorter), for each column,
              the 16 bytes of xxh3_128(column) in canonical (big endian) form

`column` is the encoding of n slots of one column. It is self-delimiting, given type and n:

    column    = nothing                                              for the type null, else
                validity ‖ body
    validity  = 0x00 if no slot is null, else 0x01 ‖ bits
    bits      = ceil(n / 8) bytes, slot i in bit i % 8 of byte i / 8, padding zero
    body of
      bool    = bits, null slots zero
      fixed width (numbers, decimals, temporal, month_day_nano_interval, fixed_size_binary)
              = n values as Arrow lays them out, the bytes of null slots zero
      binary, string (and their large and view forms)
              = n + 1 int64 offsets starting at 0, null slots empty ‖ the bytes they cover
      struct  = column of each child in turn, slots of the valid rows only
      list, large_list, map
              = n + 1 int64 offsets starting at 0, null slots empty ‖ column of the slots that
                they cover (a map is a list of struct<key, value>)
      fixed_size_list
              = column of the slots of the valid rows, size slots each
      dictionary
              = as the column of decoded values (validity included)

What lies under a null is thus no part of a name; the bits of a NaN and the sign of a zero are.

`type` is the text that Arrow C++ and pyarrow give to a flat type (`int64`, `double`,
`halffloat`, `timestamp[us, tz=UTC]`, `decimal128(12, 2)`, `fixed_size_binary[3]`,
`large_string`, ...) and for a nested one, T being the text of a child and L the length in
bytes of the name of a field:

    struct<L:name:T,L:name:T>   list<T>   large_list<T>   fixed_size_list<T>[size]
    map<K, V> or map<K, V, sorted>        dictionary<indices, values, 0 or 1 for ordered>

Metadata, nullability and the names of list items and map entries are declarations about rows,
not rows: they do not count. Unions, run-end encoding, list views and extension types are no
types of this format.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from struct import pack
from typing import Any, NewType

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from xxhash import xxh3_128, xxh3_128_hexdigest

from .arrays import flags
from .errors import SchemaError

__all__ = [
    "BLOCK",
    "DIGEST_BYTES",
    "Digest",
    "block_digests",
    "column_bytes",
    "column_digests",
    "digest_table",
    "header_bytes",
    "name_of",
    "rows_digest",
    "type_text",
    "values_digests",
]

Digest = NewType("Digest", str)
"""32 lower-case hex digits."""

BLOCK = 16_384
"""Rows of a block."""

DIGEST_BYTES = 16

_VERSION = 1
_NULLS = b"\x01"
_NO_NULLS = b"\x00"

_Update = Callable[[Any], None]
_Mask = NDArray[np.uint8]


def digest_table(table: pa.Table | pa.RecordBatch) -> Digest:
    """The name of the rows of `table`.

    Raises `SchemaError` for a type that this format does not have.

    >>> digest_table(pa.table({"a": [1, 2], "b": ["x", None]}))
    '8afdcfb760fd7cba84e8b58f17df0492'
    """
    return rows_digest(table.schema, table.num_rows, block_digests(table))


def rows_digest(schema: pa.Schema, num_rows: int, blocks: Sequence[bytes]) -> Digest:
    """The name of `num_rows` rows of `schema` whose blocks have the digests `blocks`.

    `blocks` is what `block_digests` returns. Raises `SchemaError` for a type that this format
    does not have.
    """
    return name_of(header_bytes(schema), num_rows, b"".join(blocks))


def header_bytes(schema: pa.Schema) -> bytes:
    """The header of names up to the number of rows."""
    return _header(schema.serialize().to_pybytes())


def name_of(header: bytes, num_rows: int, digests: bytes) -> Digest:
    """The name of `num_rows` rows, from what is hashed."""
    return Digest(xxh3_128_hexdigest(b"".join((header, pack("<Q", num_rows), digests))))


def column_bytes(array: pa.Array) -> bytes:
    """The encoding of the slots of one column.

    >>> column_bytes(pa.array(["a", None]))[:2]
    b'\\x01\\x01'
    """
    encoded = bytearray()
    _encode(array, encoded.extend)
    return bytes(encoded)


def block_digests(table: pa.Table | pa.RecordBatch) -> list[bytes]:
    """The digests of each block of `BLOCK` rows: 16 bytes per column, in order of columns.

    `blocks[i][16 * j : 16 * j + 16]` is the digest of column j in block i, so a reader of some
    columns verifies just these. Raises `SchemaError` for a type that this format does not have.
    """
    columns = [column_digests(column) for column in table.columns]
    if len(columns) == 1:
        return columns[0]
    return [b"".join(block) for block in zip(*columns, strict=True)]


def type_text(type_: pa.DataType) -> str:
    """The text of a type in names; raises `SchemaError` where this format does not have it.

    >>> type_text(pa.struct([("a", pa.list_(pa.float64()))]))
    'struct<1:a:list<double>>'
    """
    kind = type_.id
    if kind in _FLAT:
        return str(type_)
    if kind == _STRUCT:
        children = ((child.name, type_text(child.type)) for child in type_)
        return f"struct<{','.join(f'{len(n.encode())}:{n}:{text}' for n, text in children)}>"
    if kind == _MAP:
        ordered = ", sorted" if type_.keys_sorted else ""
        return f"map<{type_text(type_.key_type)}, {type_text(type_.item_type)}{ordered}>"
    if kind == _DICTIONARY:
        values = type_text(type_.value_type)
        return f"dictionary<{type_.index_type}, {values}, {int(type_.ordered)}>"
    if kind == _FIXED_SIZE_LIST:
        return f"fixed_size_list<{type_text(type_.value_type)}>[{type_.list_size}]"
    if kind in _LISTS:
        return f"{_LISTS[kind]}<{type_text(type_.value_type)}>"
    raise _unknown(type_)


def _unknown(type_: pa.DataType) -> SchemaError:
    return SchemaError(
        f"the type {type_} cannot be stored: expected numbers, decimals, temporal types, bool, "
        "strings, binary, null, or lists, structs, maps and dictionaries of these; cast it first"
    )


@lru_cache(maxsize=256)
def _header(serialised: bytes) -> bytes:
    """The header of names up to the number of rows. Cached, as few schemas name many objects."""
    schema = pa.ipc.read_schema(pa.py_buffer(serialised))
    texts = [text for field in schema for text in (field.name, type_text(field.type))]
    encoded = [text.encode() for text in texts]
    head = pack("<BI", _VERSION, len(schema))
    return head + b"".join(pack("<I", len(text)) + text for text in encoded)


def column_digests(column: pa.ChunkedArray | pa.Array) -> list[bytes]:
    """The 16-byte digests of each block of one column.

    >>> [digest.hex() for digest in column_digests(pa.array([1, 2, None]))]
    ['2f3226465fdab88d4584c060b0cf3f96']
    """
    if isinstance(column, pa.ChunkedArray) and column.num_chunks == 1:
        column = column.chunk(0)
    encode = _encoder(column.type)
    if encode is _fixed and isinstance(column, pa.Array) and not column.null_count:
        return _fixed_digests(column)
    digests = []
    for start in range(0, len(column), BLOCK):
        block = column if len(column) <= BLOCK else column.slice(start, BLOCK)
        if isinstance(block, pa.ChunkedArray):
            block = pa.concat_arrays(block.chunks)
        state = xxh3_128()
        encode(block, state.update)
        digests.append(state.digest())
    return digests


def _fixed_digests(array: pa.Array) -> list[bytes]:
    """The same for values of fixed width without nulls, straight from their buffer."""
    if not array.type.bit_width:
        return [xxh3_128(_NO_NULLS).digest() for _ in range(0, len(array), BLOCK)]
    return values_digests(_fixed_data(array), array.type.bit_width >> 3)


def values_digests(data: memoryview, width: int) -> list[bytes]:
    """The same for the bytes of values of `width` bytes each."""
    digests, step = [], BLOCK * width
    for start in range(0, len(data), step):
        state = xxh3_128(_NO_NULLS)
        state.update(data[start : start + step])
        digests.append(state.digest())
    return digests


def _fixed_data(array: pa.Array) -> memoryview:
    data, width = array.buffers()[1], array.type.bit_width >> 3
    return memoryview(data or b"")[array.offset * width : (array.offset + len(array)) * width]


def _encoder(type_: pa.DataType) -> Callable[[pa.Array, _Update], None]:
    encode = _ENCODERS.get(type_.id)
    if encode is None:
        raise _unknown(type_)
    return encode


def _encode(array: pa.Array, update: _Update) -> None:
    _encoder(array.type)(array, update)


def _null(array: pa.Array, update: _Update) -> None:
    """Nulls are told by type and number alone."""


def _validity(array: pa.Array, update: _Update) -> _Mask | None:
    """Stream the validity; return a 0 or 1 per slot, or None if no slot is null."""
    if array.null_count == 0:
        update(_NO_NULLS)
        return None
    valid = _bits(array, 0)
    update(_NULLS)
    update(np.packbits(valid, bitorder="little"))
    return valid


def _bits(array: pa.Array, buffer: int) -> _Mask:
    """A buffer of bits as a 0 or 1 per slot."""
    first, shift = divmod(array.offset, 8)
    packed = np.frombuffer(array.buffers()[buffer], np.uint8, offset=first)
    return np.unpackbits(packed, count=shift + len(array), bitorder="little")[shift:]


def _bool(array: pa.Array, update: _Update) -> None:
    valid = _validity(array, update)
    if len(array):
        bits = _bits(array, 1)
        update(np.packbits(bits if valid is None else bits & valid, bitorder="little"))


def _fixed(array: pa.Array, update: _Update) -> None:
    valid = _validity(array, update)
    width, data = array.type.bit_width >> 3, _fixed_data(array)
    if valid is None or not width:
        update(data)
        return
    # Whole words where the width allows: masking is then one multiplication a word.
    word = np.dtype(f"u{next(w for w in (8, 4, 2, 1) if width % w == 0)}")
    words = np.frombuffer(data, word).reshape(len(array), -1)
    update(words * valid.astype(word)[:, None])


def _var(array: pa.Array, update: _Update) -> None:
    valid = _validity(array, update)
    array, first, last = _offsets(array, valid, update)
    data = array.buffers()[2]
    if last > first:
        update(memoryview(data)[first:last])


def _list(array: pa.Array, update: _Update) -> None:
    valid = _validity(array, update)
    array, first, last = _offsets(array, valid, update)
    _encode(array.values.slice(first, last - first), update)


def _offsets(array: pa.Array, valid: _Mask | None, update: _Update) -> tuple[pa.Array, int, int]:
    """Stream the offsets from 0 on with null slots empty.

    Returns an array whose slots from `first` to `last` are those of the valid rows in turn.
    """
    size = len(array)
    if size == 0:
        update(bytes(8))
        return array, 0, 0
    offsets = _raw_offsets(array)
    if valid is not None:
        lengths = np.diff(offsets)
        if np.any(lengths[valid == 0]):
            lengths *= valid.astype(lengths.dtype)
            canonical = np.zeros(size + 1, np.int64)
            np.cumsum(lengths, out=canonical[1:])
            update(canonical)
            array = _keep(array, valid)
            if len(array) == 0:
                return array, 0, 0
            offsets = _raw_offsets(array)
            return array, int(offsets[0]), int(offsets[-1])
    update(np.subtract(offsets, offsets[0], dtype=np.int64))
    return array, int(offsets[0]), int(offsets[-1])


def _raw_offsets(array: pa.Array) -> NDArray[np.int32] | NDArray[np.int64]:
    dtype = np.dtype(np.int64 if array.type.id in _LARGE else np.int32)
    start = array.offset * dtype.itemsize
    return np.frombuffer(array.buffers()[1], dtype, len(array) + 1, start)


def _view(array: pa.Array, update: _Update) -> None:
    large = pa.large_string() if array.type.id == _STRING_VIEW else pa.large_binary()
    if array.null_count:  # Arrow's cast follows what lies under nulls, which may be anything
        size, valid = len(array), _bits(array, 0)
        _, slots, *data = array.buffers()
        views = np.frombuffer(slots, np.uint64, 2 * size, 16 * array.offset).reshape(size, 2)
        parts = np.packbits(valid, bitorder="little"), views * valid.astype(np.uint64)[:, None]
        buffers = [*map(pa.py_buffer, parts), *data]
        array = pa.Array.from_buffers(array.type, size, buffers)
    _var(array.cast(large), update)


def _struct(array: pa.Array, update: _Update) -> None:
    valid = _validity(array, update)
    for i in range(array.type.num_fields):
        child = array.field(i)
        _encode(child if valid is None else _keep(child, valid), update)


def _fixed_size_list(array: pa.Array, update: _Update) -> None:
    valid = _validity(array, update)
    size = array.type.list_size
    children = array.values.slice(array.offset * size, len(array) * size)
    _encode(children if valid is None else _keep(children, np.repeat(valid, size)), update)


def _dictionary(array: pa.Array, update: _Update) -> None:
    _encode(array.dictionary_decode(), update)


def _keep(array: pa.Array, valid: _Mask) -> pa.Array:
    """The slots of `array` where `valid` is 1."""
    try:
        return array.filter(flags(valid))
    except pa.ArrowNotImplementedError:  # Arrow cannot filter views: the runs are joined
        edges = np.flatnonzero(np.diff(valid, prepend=0, append=0)).reshape(-1, 2)
        runs = [array.slice(start, stop - start) for start, stop in edges.tolist()]
        return pa.concat_arrays(runs) if runs else array.slice(0, 0)


_STRUCT = pa.struct([]).id
_MAP = pa.map_(pa.int8(), pa.null()).id
_DICTIONARY = pa.dictionary(pa.int8(), pa.null()).id
_FIXED_SIZE_LIST = pa.list_(pa.null(), 1).id
_STRING_VIEW = pa.string_view().id
_LISTS = {pa.list_(pa.null()).id: "list", pa.large_list(pa.null()).id: "large_list"}
_LARGE = {pa.large_string().id, pa.large_binary().id, pa.large_list(pa.null()).id}

_FIXED = [pa.int8(), pa.int16(), pa.int32(), pa.int64()]
_FIXED += [pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
_FIXED += [pa.float16(), pa.float32(), pa.float64()]
_FIXED += [pa.decimal32(1), pa.decimal64(1), pa.decimal128(1), pa.decimal256(1)]
_FIXED += [pa.date32(), pa.date64(), pa.time32("s"), pa.time64("us")]
_FIXED += [pa.timestamp("us"), pa.duration("us"), pa.month_day_nano_interval(), pa.binary(1)]

_ENCODERS: dict[int, Callable[[pa.Array, _Update], None]] = {
    **{type_.id: _fixed for type_ in _FIXED},
    **{t.id: _var for t in (pa.string(), pa.binary(), pa.large_string(), pa.large_binary())},
    **{t.id: _view for t in (pa.string_view(), pa.binary_view())},
    pa.null().id: _null,
    pa.bool_().id: _bool,
}
_FLAT = frozenset(_ENCODERS)
_ENCODERS |= {kind: _list for kind in (*_LISTS, _MAP)}
_ENCODERS |= {_STRUCT: _struct, _FIXED_SIZE_LIST: _fixed_size_list, _DICTIONARY: _dictionary}
