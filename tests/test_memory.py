"""What large writes and reads take of memory, beside the rows themselves."""

from __future__ import annotations

import multiprocessing
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lakota import Repo, Schema

SCHEMA = Schema(t="int*", v="float")
ROWS = 4_000_000  # 64 MB, four segments

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes there")


def written(say: Any, folder: Path, codec: str) -> None:
    """Write the rows, and say by how much the memory in use grew at most."""
    series = Repo(folder, codec=codec).create_collection(SCHEMA, "c") / "s"
    table = pa.table({"t": np.arange(ROWS), "v": np.arange(ROWS, dtype="f8")})
    series.write(table.slice(0, 70_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    series.write(table)
    say.send((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10)


@pytest.mark.parametrize(("codec", "room"), [("plain", 4 << 20), ("packed", 16 << 20)])
def test_a_large_write_takes_little_memory_beside_its_rows(
    tmp_path: Path, codec: str, room: int
) -> None:
    context = multiprocessing.get_context("spawn")
    said, say = context.Pipe(duplex=False)
    process = context.Process(target=written, args=(say, tmp_path / "r", codec))
    process.start()
    grown = said.recv() if said.poll(120) else None
    process.join()
    assert grown is not None
    assert grown < room
    assert len(Repo(tmp_path / "r") / "c" / "s") == ROWS
