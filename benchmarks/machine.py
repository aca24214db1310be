"""What the machine itself can do: the limits to hold the figures against. One process."""

from __future__ import annotations

import json
import mmap
import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from data import series
from measure import Metrics, median_of
from numpy.typing import NDArray
from pcodec import ChunkConfig, standalone

SIZE = 160_000_000
"""The bytes of 10 million rows of a time and a number."""
BATCH = 65_536


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

        def small(name: str = "small") -> None:
            place = os.path.join(folder, f"{name}s")
            temporary = os.path.join(place, ".tmp")
            with open(temporary, "wb", buffering=0) as file:
                file.write(b"x" * 4096)
                os.fsync(file.fileno())
            os.replace(temporary, os.path.join(place, name))
            descriptor = os.open(place, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)

        def four() -> None:
            list(pool.map(small, names))
            small()

        names = ("segment", "page", "parent")
        for name in (*names, "small"):
            os.mkdir(os.path.join(folder, f"{name}s"))

        copy()
        found = {
            "memcpy of 160 MB": median_of(7, copy),
            "xxh3 of 160 MB": median_of(5, lambda: xxhash.xxh3_128_digest(source.data)),
            "write and fsync 160 MB": median_of(3, write),
        }
        read()
        found["mmap and sum 160 MB"] = median_of(7, read)
        copied = os.path.join(folder, "copied")
        found["copy of a file of 160 MB"] = median_of(3, lambda: shutil.copyfile(path, copied))
        found["4 kB: write, fsync, rename, fsync folder"] = median_of(50, small)
        with ThreadPoolExecutor(len(names)) as pool:
            found["the same of three files at once, then of one"] = median_of(50, four)
    found |= decoding()
    return found


def decoding() -> Metrics:
    """Decoding the 160 MB of W1 from pcodec in batches of 65,536, on one thread and on two."""
    batches = []
    for column in series(SIZE // 16):
        for at in range(0, len(column), BATCH):
            part = column[at : at + BATCH]
            batches.append((standalone.simple_compress(part, ChunkConfig()), np.empty_like(part)))

    def decode(batch: tuple[bytes, NDArray[Any]]) -> None:
        standalone.simple_decompress_into(*batch)

    found = {}
    for threads in (1, 2):
        with ThreadPoolExecutor(threads) as pool:

            def act(pool: ThreadPoolExecutor = pool) -> None:
                list(pool.map(decode, batches))

            act()
            found[f"pcodec to 160 MB, {threads} thread{'s' * (threads > 1)}"] = median_of(3, act)
    return found


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(limits(sys.argv[1])))
