"""Codecs: one column of one batch to bytes and back. Pure; imports only `errors`.

The list is closed: no file can name code to run. In a *flat* segment all columns share `plain`,
`lz4` or `zstd` and Arrow IPC itself does the work. In a *packed* one a batch of n rows is one
row of an IPC record batch, and each column holds one value there:

    plain       large_list<T>, one list with the n values: read without a copy
    lz4, zstd   binary: an IPC stream of one record batch of one column, named "", whose
                buffers are compressed so
    pco         struct<validity: binary, values: binary, values1: binary, ...>
                validity is null if no value is, else ceil(n / 8) bytes, slot i in bit i % 8 of
                byte i / 8; each `values` is a pcodec standalone file of the valid values only

pcodec takes numbers: integers, floats, temporal types as the integers that they are, decimals
as integers, too: decimal128 and decimal256 as 64-bit limbs in order of `values`, lowest first,
the highest one signed, the others unsigned.

Decoding trusts nothing. What a value needs is known before it is decoded: the number of rows
and so the size of what pcodec fills; and for IPC compression the sizes that the buffers declare
(`inflated_size`), which are added up and refused above a limit before any is allocated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from struct import Struct, unpack_from
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pcodec import ChunkConfig
from pcodec.standalone import simple_compress, simple_decompress_into

from .arrays import as_flags, integers
from .errors import DamagedError, FormatError, SchemaError

__all__ = [
    "CODECS",
    "MAX_BATCH_BYTES",
    "Block",
    "PcoFiles",
    "decode_column",
    "encode_column",
    "file_blocks",
    "file_message",
    "inflated_size",
    "is_fixed",
    "resolve",
    "room",
    "size_limit",
    "stored_type",
]

CODECS: Final = ("plain", "lz4", "zstd", "pco")
"""What a column may be stored as; the position is the number in a segment's footer."""

MAX_BATCH_BYTES: Final = 1 << 30
"""What a batch may take at most, uncompressed, if values have no fixed width."""

_PCO = ChunkConfig(enable_8_bit=True)

_LIMBS: Final[dict[int, tuple[str, ...]]] = {
    pa.int8().id: ("i1",),
    pa.int16().id: ("i2",),
    pa.int32().id: ("i4",),
    pa.int64().id: ("i8",),
    pa.uint8().id: ("u1",),
    pa.uint16().id: ("u2",),
    pa.uint32().id: ("u4",),
    pa.uint64().id: ("u8",),
    pa.float16().id: ("f2",),
    pa.float32().id: ("f4",),
    pa.float64().id: ("f8",),
    pa.date32().id: ("i4",),
    pa.date64().id: ("i8",),
    pa.time32("s").id: ("i4",),
    pa.time64("us").id: ("i8",),
    pa.timestamp("us").id: ("i8",),
    pa.duration("us").id: ("i8",),
    pa.decimal32(1).id: ("i4",),
    pa.decimal64(1).id: ("i8",),
    pa.decimal128(1).id: ("u8", "i8"),
    pa.decimal256(1).id: ("u8", "u8", "u8", "i8"),
}
"""Types that pcodec takes, and as which numbers."""


def resolve(codecs: Mapping[str, str] | str, schema: pa.Schema) -> tuple[str, ...]:
    """The codec of each column of `schema`, in order.

    `codecs` is one of `CODECS` or `"packed"` for all columns, or one per column by name; a
    column that is not named is `plain`. `packed` means `pco` where the type allows, `zstd`
    elsewhere. Raises `FormatError` for an unknown codec, `SchemaError` for a type that a codec
    cannot take and for columns that are not there.

    >>> resolve("packed", pa.schema([("time", pa.timestamp("us")), ("name", pa.string())]))
    ('pco', 'zstd')
    """
    if isinstance(codecs, str):
        return tuple(_resolve_one(codecs, field) for field in schema)
    unknown = sorted(set(codecs).difference(schema.names))
    if unknown:
        raise SchemaError(f"codecs for {unknown}, but the columns are {schema.names}")
    return tuple(_resolve_one(codecs.get(field.name, "plain"), field) for field in schema)


def _resolve_one(codec: str, field: pa.Field) -> str:
    numeric = field.type.id in _LIMBS
    if codec == "packed":
        return "pco" if numeric else "zstd"
    if codec not in CODECS:
        raise FormatError(
            f"unknown codec {codec!r} for column {field.name!r}: "
            f"expected one of {', '.join(CODECS)} or packed"
        )
    if codec == "pco" and not numeric:
        raise SchemaError(
            f"column {field.name!r} is {field.type}, which pco cannot take: pco is for integers, "
            "floats, temporal and decimal types; use zstd (or packed, which chooses)"
        )
    return codec


def stored_type(type_: pa.DataType, codec: str) -> pa.DataType:
    """The Arrow type of a column of `type_` in a packed segment."""
    if codec == "plain":
        return pa.large_list(type_)
    if codec == "pco":
        return pa.struct([(name, pa.binary()) for name in _pco_names(type_)])
    return pa.binary()


def _pco_names(type_: pa.DataType) -> list[str]:
    return ["validity", *(f"values{i or ''}" for i in range(len(_LIMBS[type_.id])))]


def encode_column(array: pa.Array, codec: str) -> pa.Array:
    """`array` as one value of `stored_type`."""
    if codec == "plain":
        offsets = integers([0, len(array)])
        return pa.LargeListArray.from_arrays(offsets, array, type=pa.large_list(array.type))
    if codec == "pco":
        return _encode_pco(array)
    sink = pa.BufferOutputStream()
    batch = pa.record_batch([array], names=[""])
    options = pa.ipc.IpcWriteOptions(compression=codec)
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    return _one_binary(sink.getvalue())


def decode_column(
    stored: pa.Array, type_: pa.DataType, codec: str, rows: int, limit: int
) -> pa.Array:
    """The `rows` values of `type_` in the one value `stored`, which may need `limit` bytes.

    Raises `DamagedError`, or an error of Arrow, where `stored` is not such a value.
    """
    stored.validate(full=codec != "plain")
    if len(stored) != 1 or stored.null_count:
        raise DamagedError(f"expected one value, found {len(stored)} of which some are null")
    if codec == "plain":
        array = stored.flatten()
    elif codec == "pco":
        values = room(type_, rows)
        bits = PcoFiles(stored, type_).inflate(0, values)
        array = pa.Array.from_buffers(type_, rows, [bits, pa.py_buffer(values)])
    else:
        array = _decode_stream(_buffer(stored), type_, limit)
    if len(array) != rows:
        raise DamagedError(f"expected {rows} rows, found {len(array)}")
    return array


def _one_binary(data: pa.Buffer) -> pa.Array:
    offsets = pa.py_buffer(np.array([0, len(data)], np.int32))
    return pa.Array.from_buffers(pa.binary(), 1, [None, offsets, data])


def _buffer(stored: pa.Array) -> pa.Buffer:
    """The bytes of a single binary value, not copied."""
    return stored[0].as_buffer() or pa.py_buffer(b"")


def _encode_pco(array: pa.Array) -> pa.Array:
    validity = pa.nulls(1, pa.binary())
    if array.null_count:
        bits = np.packbits(as_flags(array.is_valid()), bitorder="little")
        validity = _one_binary(pa.py_buffer(bits))
        array = array.drop_null()
    limbs = [simple_compress(limb, _PCO) for limb in _limbs(array)]
    values = [_one_binary(pa.py_buffer(limb)) for limb in limbs]
    return pa.StructArray.from_arrays([validity, *values], names=_pco_names(array.type))


def _limbs(array: pa.Array) -> Iterator[NDArray[np.generic]]:
    """The values of an array without nulls as contiguous arrays of numbers."""
    dtype = _limb_dtype(array.type)
    data = array.buffers()[1] if len(array) else b""
    values = np.frombuffer(data, dtype, len(array), array.offset * dtype.itemsize)
    for name in dtype.names or ():
        yield np.ascontiguousarray(values[name])


def _limb_dtype(type_: pa.DataType) -> np.dtype[np.void]:
    return np.dtype([(f"v{i}", f"<{kind}") for i, kind in enumerate(_LIMBS[type_.id])])


def room(type_: pa.DataType, rows: int) -> NDArray[Any]:
    """Memory for `rows` values of a type that pcodec takes, to be filled part by part. One large
    array is much cheaper than many small ones: the system gives it in large pages."""
    dtype = _limb_dtype(type_)
    return np.empty(rows, dtype if len(_LIMBS[type_.id]) > 1 else dtype[0])


class PcoFiles:
    """What `pco` made of a column in some batches: one value of `stored` for each. Several threads
    may inflate them, each into its part of a `room`.

    Raises `DamagedError`, or an error of Arrow or pcodec, where they are not such values.
    """

    def __init__(self, stored: pa.Array, type_: pa.DataType) -> None:
        stored.validate(full=True)
        if stored.null_count:
            raise DamagedError("a batch that has no values")
        names = _limb_dtype(type_).names or ()
        self._validity = stored.field(0)
        self._limbs = [(name, *_slots(stored.field(i))) for i, name in enumerate(names, 1)]

    def inflate(self, i: int, out: NDArray[Any]) -> pa.Buffer | None:
        """Fill `out` with the values of batch `i`; returns the validity, None without nulls."""
        bits, valid, count = _decode_validity(self._validity, i, len(out))
        if valid is None and len(self._limbs) == 1:  # the usual case: in place
            _, data, offsets = self._limbs[0]
            _inflate_pco(bytes(data[offsets[i] : offsets[i + 1]]), out)
            return None
        out[:] = np.zeros(1, out.dtype)
        for name, data, offsets in self._limbs:
            place = out[name] if len(self._limbs) > 1 else out
            limb = np.empty(count, place.dtype)
            _inflate_pco(bytes(data[offsets[i] : offsets[i + 1]]), limb)
            place[slice(None) if valid is None else valid] = limb
        return bits


def _slots(array: pa.Array) -> tuple[memoryview, list[int]]:
    """The bytes of binary values, and where each begins and ends."""
    if array.null_count:
        raise DamagedError("a batch without values")
    _, offsets, data = array.buffers()
    places = np.frombuffer(offsets, np.int32, len(array) + 1, 4 * array.offset)
    return memoryview(data or b""), places.tolist()


def _decode_validity(
    stored: pa.Array, i: int, rows: int
) -> tuple[pa.Buffer | None, NDArray[np.bool_] | None, int]:
    """The validity as bits and as a mask, None for no nulls, and how many are valid."""
    value = stored[i] if stored.null_count < len(stored) else None
    if value is None or not value.is_valid:
        return None, None, rows
    bits = value.as_buffer()
    if len(bits) != (rows + 7) // 8:
        raise DamagedError(f"expected a validity of {rows} bits, found {len(bits)} bytes")
    valid = np.unpackbits(np.frombuffer(bits, np.uint8), count=rows, bitorder="little")
    return bits, valid.view(np.bool_), int(np.count_nonzero(valid))


def _inflate_pco(limb: bytes, out: NDArray[np.generic]) -> None:
    """Fill `out`, which fixes number and type of the values, from a pcodec file."""
    progress = simple_decompress_into(limb, out)
    if not progress.finished or progress.n_processed != len(out):
        raise DamagedError(f"expected {len(out)} values, found another number")


def _decode_stream(data: pa.Buffer, type_: pa.DataType, limit: int) -> pa.Array:
    for message in pa.ipc.MessageReader.open_stream(data):
        metadata, body = memoryview(message.metadata), message.body
        if inflated_size(metadata, memoryview(body or b"")) > limit:
            raise DamagedError(f"declares more than the {limit} bytes that its rows can need")
    batches = list(pa.ipc.open_stream(data))
    if len(batches) != 1 or batches[0].schema.types != [type_]:
        raise DamagedError(f"expected one batch with one column of {type_}")
    return batches[0].column(0)


def is_fixed(type_: pa.DataType) -> bool:
    """Whether values of `type_` have a fixed width and no children."""
    fixed = pa.types.is_primitive, pa.types.is_decimal, pa.types.is_fixed_size_binary
    return any(is_so(type_) for is_so in fixed)


def size_limit(types: Sequence[pa.DataType], rows: int) -> int:
    """Bytes that `rows` rows of columns of `types` can need, uncompressed."""
    if not all(map(is_fixed, types)):
        return MAX_BATCH_BYTES
    width: int = sum(1 + type_.bit_width for type_ in types)
    return (rows * width + 7) // 8 + 256 * len(types)


# What an IPC message declares, from its flatbuffer: pyarrow gives no access. Tables and fields
# are those of Message.fbs and File.fbs of the Arrow format.

_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3
_BLOCK, _BUFFER_SIZE = Struct("<qi4xq"), 16


def inflated_size(metadata: memoryview, body: memoryview) -> int:
    """Bytes that the buffers of a message declare to need once decompressed; 0 if they are
    not compressed."""
    message = _follow(metadata, 0)
    header_type = _field(metadata, message, 1)
    header = _field(metadata, message, 2)
    if not header_type or not header:
        raise DamagedError("a message without header")
    batch = _follow(metadata, header)
    if metadata[header_type] == _DICTIONARY_BATCH:
        batch = _follow(metadata, _field(metadata, batch, 1))
    elif metadata[header_type] != _RECORD_BATCH:
        return 0
    if not _field(metadata, batch, 3):
        return 0
    total = 0
    for start in _structs(metadata, _field(metadata, batch, 2), _BUFFER_SIZE):
        offset, length = unpack_from("<qq", metadata, start)
        if length:
            (size,) = unpack_from("<q", body, _position(offset))
            total += length if size == -1 else _position(size)
    return total


Block = tuple[int, int, int]
"""Where a message of an IPC file is: its start, the length of its metadata with what is before
and after them, and that of its body."""


def file_blocks(data: memoryview) -> tuple[list[Block], list[Block]]:
    """The blocks of the dictionary batches and of the record batches of an IPC file; of `data`
    only the end is looked at."""
    (size,) = unpack_from("<i", data, _position(len(data) - 10))
    footer = data[_position(len(data) - 10 - _position(size)) : len(data) - 10]
    root = _follow(footer, 0)
    dictionaries, batches = (
        list(_BLOCK.iter_unpack(footer[places.start : places.stop]))
        for places in (
            _structs(footer, _field(footer, root, field), _BLOCK.size) for field in (2, 3)
        )
    )
    return dictionaries, batches


def file_message(data: memoryview, block: Block) -> tuple[memoryview, memoryview]:
    """(metadata, body) of the message of an IPC file at a block."""
    offset, prefixed, body = block
    start = _position(offset)
    marker, size = unpack_from("<Ii", data, start)
    if marker != 0xFFFFFFFF:
        raise DamagedError("a message without its marker")
    middle = start + _position(prefixed)
    return data[start + 8 : start + 8 + _position(size)], data[middle : middle + _position(body)]


def _position(value: int) -> int:
    """Python counts negative positions from the end; a file must not."""
    if value < 0:
        raise DamagedError(f"negative position {value}")
    return value


def _field(data: memoryview, table: int, index: int) -> int:
    """The position of a field of a flatbuffer table; 0 if it is not there."""
    (distance,) = unpack_from("<i", data, table)
    vtable = _position(table - distance)
    (size,) = unpack_from("<H", data, vtable)
    if 4 + 2 * index >= size:
        return 0
    (offset,) = unpack_from("<H", data, vtable + 4 + 2 * index)
    return table + offset if offset else 0


def _follow(data: memoryview, position: int) -> int:
    (offset,) = unpack_from("<I", data, position)
    followed: int = position + offset
    return followed


def _structs(data: memoryview, field: int, size: int) -> range:
    """The positions of the structs of a vector."""
    if not field:
        return range(0)
    vector = _follow(data, field)
    (count,) = unpack_from("<I", data, vector)
    if vector + 4 + count * size > len(data):
        raise DamagedError("a vector beyond its message")
    return range(vector + 4, vector + 4 + count * size, size)
