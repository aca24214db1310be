"""From one table with a label column to one write per series, without a loop over rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .arrays import as_numpy, integers
from .bounds import check_label, key_cuts
from .cast import has_duplicates, to_table
from .errors import FrameError, SchemaError
from .extent import REPLACE, UPSERT
from .interval import Interval
from .schema import Schema
from .transaction import Write

__all__ = ["bulk_writes"]


def bulk_writes(frame: Any, label: str, schema: Schema) -> list[Write]:
    """One write per value of the column `label`: over the interval of its keys a replace, in a
    `Schema.kv` collection an upsert."""
    if check_label(label) in schema:
        raise SchemaError(
            f"label={label!r} is a column of the schema: expected the name of another column of "
            "the frame, which says to which series each row goes"
        )
    columns = {label: "str*", **{column.name: column.definition for column in schema.columns}}
    try:
        table = to_table(frame, Schema(columns))
    except FrameError as error:
        if f"missing column {label!r}" not in str(error):
            raise
        raise FrameError(
            f"{error}; {label!r} would say to which series each row goes: name that column with "
            "label=, or write to one series with clct.series(...).write(frame)"
        ) from error
    if table.num_rows == 0:
        return []
    keyed = schema.kind == "kv"
    if keyed and has_duplicates(table, (label, *schema.index)):
        raise FrameError(
            f"two rows have the same {label} and key ({', '.join(schema.index)}): expected "
            "different keys in an upsert"
        )
    kind = UPSERT if keyed else REPLACE
    labels = table.column(label).combine_chunks()
    ends = _run_ends(labels)
    starts = np.concatenate(([0], ends[:-1]))
    rows = table.drop_columns([label])
    los, his = key_cuts(rows, schema, starts.tolist(), (ends - 1).tolist())
    names = labels.take(integers(starts)).to_pylist()
    return [
        Write(check_label(name), Interval(lo, hi), rows, start, stop, kind)
        for name, lo, hi, start, stop in zip(
            names, los, his, starts.tolist(), ends.tolist(), strict=True
        )
    ]


def _run_ends(labels: pa.Array) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The row after each stretch of equal labels, of which there are none null."""
    encoded = pc.run_end_encode(labels, run_end_type=pa.int64())
    ends: np.ndarray[Any, np.dtype[np.int64]] = as_numpy(encoded.run_ends)
    return ends
