"""What the machine itself can do: the limits to hold the figures against. One process."""

from __future__ import annotations

import json
import mmap
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import xxhash
from measure import Metrics, median_of

SIZE = 160_000_000
"""The bytes of 10 million rows of a time and a number."""


def limits(parent: str) -> Metrics:
    """Seconds for the bytes of W1 and of one small object, on the disk of the folder `parent`."""
    source = np.random.default_rng(0).integers(0, 256, SIZE, np.uint8)
    target = np.empty_like(source)
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        path = os.path.join(folder, "large")

        def copy() -> None:
            np.copyto(target, source)

        def write() -> None:
            with open(path, "wb", buffering=0) as file:
                view = source.data
                while view:
                    view = view[file.write(view) :]
                os.fsync(file.fileno())

        def read() -> float:
            with (
                open(path, "rb") as file,
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
            ):
                half = SIZE // 2
                a = np.frombuffer(mapped, np.int64, half // 8)
                b = np.frombuffer(mapped, np.float64, half // 8, half)
                with np.errstate(all="ignore"):
                    found = float(a.sum()) + float(b.sum())
                del a, b
                return found

        def small() -> None:
            temporary = os.path.join(folder, ".tmp")
            with open(temporary, "wb", buffering=0) as file:
                file.write(b"x" * 4096)
                os.fsync(file.fileno())
            os.replace(temporary, os.path.join(folder, "small"))
            descriptor = os.open(folder, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)

        copy()
        found = {
            "memcpy of 160 MB": median_of(7, copy),
            "xxh3 of 160 MB": median_of(5, lambda: xxhash.xxh3_128_digest(source.data)),
            "write and fsync 160 MB": median_of(3, write),
        }
        read()
        found["mmap and sum 160 MB"] = median_of(7, read)
        found["4 kB: write, fsync, rename, fsync folder"] = median_of(50, small)
    return found


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(limits(sys.argv[1])))
