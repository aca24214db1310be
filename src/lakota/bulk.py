"""From one table with a label column to one write per series, without a loop over rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .arrays import as_array, as_flags, as_numpy, integers
from .bounds import check_label, check_labels, key_cuts
from .cast import to_table
from .errors import FrameError, SchemaError
from .extent import REPLACE, UPSERT
from .order import has_duplicates, in_order
from .schema import Schema
from .writes import Load

__all__ = ["bulk_load"]

Numbers = np.ndarray[Any, np.dtype[Any]]
FEW_ROWS = 4
"""Labels that have fewer rows in a stretch, on average, are looked up row by row."""


def bulk_load(frame: Any, label: str, schema: Schema, *, keep: bool = False) -> Load:
    """One write per value of the column `label`: over the interval of its keys a replace, in a
    `Schema.kv` collection an upsert. `keep`: as in `to_table`."""
    if check_label(label) in schema:
        raise SchemaError(
            f"label={label!r} is a column of the schema: expected the name of another column of "
            "the frame, which says to which series each row goes"
        )
    columns = {label: "str*", **{column.name: column.definition for column in schema.columns}}
    try:
        table = to_table(frame, Schema(columns), sort=False, keep=keep)
    except FrameError as error:
        if f"missing column {label!r}" not in str(error):
            raise
        raise FrameError(
            f"{error}; {label!r} would say to which series each row goes: name that column with "
            "label=, or write to one series with clct.series(...).write(frame)"
        ) from error
    table, names = _numbered(table, label)
    keys = (label, *schema.index)
    table = in_order(table, keys)
    keyed = schema.kind == "kv"
    if keyed and has_duplicates(table, keys):
        raise FrameError(
            f"two rows have the same {label} and key ({', '.join(schema.index)}): expected "
            "different keys in an upsert"
        )
    ends = _run_ends(table.column(label))
    starts = [0, *ends][: len(ends)]
    rows = table.drop_columns([label])
    los, his = key_cuts(rows, schema, starts, [end - 1 for end in ends])
    return Load(names, los, his, rows, starts, ends, UPSERT if keyed else REPLACE)


def _numbered(table: pa.Table, label: str) -> tuple[pa.Table, list[str]]:
    """The table with the number of each label in its place, and the labels, sorted: numbers are
    compared and sorted in a fraction of the time that texts take."""
    names, found = _encoded([chunk for chunk in table.column(label).chunks if len(chunk)])
    order = sorted(range(len(names)), key=names.__getitem__)
    if order != list(range(len(names))):  # they do not come in order
        numbers = np.empty(len(names), np.int32)
        numbers[order] = np.arange(len(names))
        found = [numbers[each] for each in found]
    at = table.column_names.index(label)
    column = pa.chunked_array(list(map(as_array, found)), pa.int32())
    return table.set_column(at, label, column), [names[i] for i in order]


def _encoded(chunks: Sequence[pa.Array]) -> tuple[list[str], list[Numbers]]:
    """The labels, as they come, and for each row, chunk by chunk, which of them it has. Of rows
    with one label that lie together, as most do, only the first is looked up."""
    starts = [_starts(chunk) for chunk in chunks]
    together = FEW_ROWS * sum(map(len, starts)) < sum(map(len, chunks))
    if together:
        firsts = [chunk.take(integers(at)) for chunk, at in zip(chunks, starts, strict=True)]
    else:
        firsts = list(chunks)
    encoded = pa.chunked_array(firsts, pa.string()).dictionary_encode().chunks
    names = check_labels(encoded[-1].dictionary.to_pylist() if encoded else [])
    found = [as_numpy(each.indices) for each in encoded]
    if together:
        sizes = [np.diff(at, append=len(c)) for c, at in zip(chunks, starts, strict=True)]
        found = [np.repeat(*pair) for pair in zip(found, sizes, strict=True)]
    return names, found


def _starts(labels: pa.Array) -> Numbers:
    """The rows whose label is not that of the row before."""
    differ = as_flags(pc.not_equal(labels.slice(1), labels.slice(0, len(labels) - 1)))
    return np.concatenate([[0], np.flatnonzero(differ) + 1])


def _run_ends(numbers: pa.ChunkedArray) -> list[int]:
    """The row after each stretch of equal numbers."""
    chunks = list(map(as_numpy, numbers.chunks)) or [np.empty(0, np.int32)]
    values = chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
    inner = np.flatnonzero(values[1:] != values[:-1]) + 1
    return [*inner.tolist(), len(values)] if len(values) else []
