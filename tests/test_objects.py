"""What a store's objects are kept at hand for: not more than a limit of memory."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa

from lakota.encoding import encode
from lakota.objects import BYTES_KEPT_NEAR, Objects
from lakota.store import LocalStore


def test_small_segments_of_a_folder_are_kept_up_to_a_limit_of_bytes(tmp_path: Path) -> None:
    objects = Objects(LocalStore(tmp_path, durability="os"))
    rows = 10_000
    made = [
        encode(pa.table({"n": np.arange(at, at + rows), "x": np.full(rows, at / 7)}), "plain")
        for at in range(3 * BYTES_KEPT_NEAR // (16 * rows))
    ]
    for encoded in made:
        objects.put({encoded.name: encoded.pieces}, {})
    names = [encoded.name for encoded in made]
    del made, encoded
    tracemalloc.start()
    try:
        for name in names:
            assert objects.segment(name).num_rows == rows
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert BYTES_KEPT_NEAR / 2 < held < 1.5 * BYTES_KEPT_NEAR
