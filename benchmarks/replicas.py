"""W7 and W8: copies of a store with all its versions, and copies that were changed apart.

A library that cannot copy itself is copied by its files: all of them, and then those that are new
or have another size or time, as `rsync` would.
"""

from __future__ import annotations

import os
import shutil
from functools import partial

from data import Columns, series
from kit import Sizes, compare, joined, prepare_large
from library import SERIES, Library
from measure import Metrics, flushes_of, stored, timed


def prepare(library: Library, sizes: Sizes) -> Metrics:
    """The rows of W1 and then the commits of W4, in one series."""
    prepare_large(library, sizes)
    for i in range(sizes.commits):
        library.append(SERIES, library.frame(_commit(sizes, i)))
    return {}


def replicate(library: Library, sizes: Sizes) -> Metrics:
    library.open()
    other = _beside(library, "copy")
    plain, _ = timed(lambda: copy_files(library.folder, _folder(library, "plain")))
    flushed, _ = timed(lambda: copy_files(library.folder, _folder(library, "flushed"), flush=True))
    with flushes_of("W7 flushes"):
        seconds, _ = timed(lambda: _copy(library, other))
    before, target = stored(library.folder)[0], stored(other.folder)[0]
    library.open()
    library.append(SERIES, library.frame(_commit(sizes, sizes.commits)))
    library.close()
    with flushes_of("W7 flushes for one more commit"):
        again, sent = timed(lambda: _copy(library, other))
    new = stored(library.folder)[0] - before
    sent = sent or stored(other.folder)[0] - target
    parts = [_commit(sizes, i) for i in range(sizes.commits + 1)]
    other.open()
    rows = joined(series(sizes.rows, sizes.variant), *parts)
    compare(other, other.read(SERIES), rows, "W7 the copy")
    found = {
        "W7 replicate": seconds,
        "W7 one more commit": again,
        "W7 plain copy of the folder": plain,
        "W7 plain copy of the folder, flushed": flushed,
        "W7 bytes of all": before,
        "W7 sent for one more commit, bytes": sent,
    }
    if library.replicates and new > 0:
        found["W7 sent over new bytes, ratio"] = sent / new
    return found


def _commit(sizes: Sizes, i: int) -> Columns:
    size = sizes.commit_rows
    return series(size, sizes.variant, 1 + i, sizes.rows + i * size)


def _folder(library: Library, name: str) -> str:
    return os.path.join(os.path.dirname(library.folder), name)


def _beside(library: Library, name: str) -> Library:
    folder = _folder(library, name)
    os.mkdir(folder)
    return type(library)(folder)


def _copy(source: Library, target: Library) -> int:
    """Bytes copied, or 0 if the library did it."""
    if not source.replicates:
        return copy_files(source.folder, target.folder)
    target.pull(source)
    return 0


def copy_files(source: str, target: str, *, flush: bool = False) -> int:
    """Copy what is new or changed; the bytes of it."""
    copied = 0
    for parent, _, names in os.walk(source):
        there = os.path.join(target, os.path.relpath(parent, source))
        os.makedirs(there, exist_ok=True)
        for name in names:
            a, b = os.path.join(parent, name), os.path.join(there, name)
            status = os.stat(a)
            try:
                old = os.stat(b)
                if (old.st_size, old.st_mtime_ns) == (status.st_size, status.st_mtime_ns):
                    continue
            except FileNotFoundError:
                pass
            shutil.copy2(a, b)
            copied += min(status.st_size, status.st_blocks * 512)
            if flush:
                descriptor = os.open(b, os.O_RDONLY)
                os.fsync(descriptor)
                os.close(descriptor)
    return copied


# ---- W8: two replicas that were changed apart


def merge_aligned(library: Library, sizes: Sizes) -> Metrics:
    return {"W8 pull and merge, aligned": _merge(library, sizes, 0, "aligned")}


def merge_overlapping(library: Library, sizes: Sizes) -> Metrics:
    seconds = _merge(library, sizes, sizes.commit_rows // 2, "overlapping")
    return {"W8 pull and merge, overlapping": seconds}


def _merge(library: Library, sizes: Sizes, shift: int, name: str) -> float:
    """Both replicas overwrite blocks; those of the second are later, and `shift` rows further."""
    if not library.merges:
        raise NotImplementedError("no way to merge copies that were changed apart")
    size, count = sizes.commit_rows, sizes.merged
    one, two = _beside(library, f"{name}-one"), _beside(library, f"{name}-two")
    data = series((count + 1) * size, sizes.variant)
    ours, theirs = (series(count * size, sizes.variant, seed) for seed in (1, 2))
    theirs = Columns(data.timestamp[shift : shift + count * size], theirs.value)
    one.create()
    one.write(SERIES, one.frame(data))
    two.pull(one)
    two.open()
    for replica, rows in ((one, ours), (two, theirs)):
        for i in range(count):
            replica.overwrite(SERIES, replica.frame(rows.part(i * size, (i + 1) * size)))
    one.open()
    seconds, _ = timed(partial(_pull_and_merge, one, two))
    one.open()
    rest = data.part(shift + count * size, len(data))
    compare(one, one.read(SERIES), joined(ours.part(0, shift), theirs, rest), f"W8 {name}")
    return seconds


def _pull_and_merge(one: Library, two: Library) -> None:
    one.pull(two)
    one.merge()
