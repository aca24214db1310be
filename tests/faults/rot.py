"""Bit rot: every byte of every file of a small repo, in every codec, with a flipped bit; files cut
short, with blocks of zeros, and exchanged.

Each is found by `check` under its name, refused by a pull that names it, and restored from a
replica; or it changes nothing at all.
"""

from __future__ import annotations

import functools
import random
from typing import Any

import numpy as np

from lakota import LakotaError, Repo, Schema
from lakota.archive import archive_digest
from lakota.store import MemoryStore

from .programme import Tally

CODECS = ("plain", "packed", "zstd", "lz4")
Files = dict[str, bytes]


@functools.cache
def small(codec: str) -> tuple[Files, Any]:
    """Every kind of object in few bytes, and what is read of it."""
    repo = Repo(codec=codec)
    clct = repo.create_collection(Schema(t="timestamp*", x="float", note="str"), "c")
    for start in range(3):
        t = np.arange(start, start + 5).astype("M8[h]")
        notes = [None if i % 3 == start else f"n{i}" for i in range(5)]
        (clct / "a").write({"t": t, "x": np.arange(5) / 4 + start, "note": notes})
    (clct / "a").delete("1970-01-01T01", "1970-01-01T02")
    (clct / "b").upsert({"t": t[:2], "x": [0.5, None]})
    clct.changelog.tidy(0, 2)
    if codec != "plain":
        repo.pack()
    files = {i.name: repo.store.get(i.name).to_pybytes() for i in repo.store.list("")}
    return files, everything(repo)


def everything(repo: Repo) -> Any:
    """All rows of all revisions."""
    return {
        c.label: [{s.label: s.frame(as_of=r) for s in c} for r in [None, *c.changelog.log()]]
        for c in repo
    }


@functools.cache
def cases() -> list[tuple[str, str, str, int]]:
    """Codec, file, damage, place; in an order that has some of all early."""
    found = []
    for codec in CODECS:
        for name, data in small(codec)[0].items():
            found += [(codec, name, "flip", at) for at in range(len(data))]
            found += [(codec, name, "cut", at) for at in range(0, len(data), 16)]
            found += [(codec, name, "zero", at) for at in range(0, len(data), 64)]
            found += [(codec, name, "swap", at) for at in range(3)]
    random.Random(0).shuffle(found)
    return found


def damaged(files: Files, name: str, damage: str, at: int) -> bytes:
    data = files[name]
    if damage == "flip":
        return data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
    if damage == "cut":
        return data[:at]
    if damage == "zero":
        block = data[at : at + 64]
        return data[:at] + bytes(len(block)) + data[at + 64 :]
    alike = sorted(n for n in files if n.partition("/")[0] == name.partition("/")[0] and n != name)
    return files[alike[at % len(alike)]] if alike else data


def store_of(files: Files) -> MemoryStore:
    store = MemoryStore()
    for name, data in files.items():
        store.put(name, data)
    return store


def trial(number: int, tally: Tally) -> None:
    if number >= len(cases()):
        return
    codec, name, damage, at = cases()[number]
    files, whole = small(codec)
    changed = damaged(files, name, damage, at)
    where = f"{codec}: {name}, {damage} at {at}"
    tally.counts[f"{damage}s"] += 1
    if changed == files[name]:
        tally.counts["without change"] += 1
        return
    store = store_of({**files, name: changed})
    try:
        repo = Repo(store)
        report = repo.check(repair=Repo(store_of(files)) if number % 3 == 0 else ())
    except LakotaError:
        if name != "lakota.json":
            raise
        tally.counts["detected"] += 1
        return
    found = report.damaged or report.repaired
    if not found:  # then it is of no consequence
        tally.counts["harmless"] += 1
        if everything(Repo(store)) != whole:
            raise AssertionError(f"{where}: not found, and reads other rows")
        return
    tally.counts["detected"] += 1
    if name not in {problem.name for problem in found}:
        folder = name.rpartition("/")[0]
        if not (name.startswith("changelog/") and folder in {problem.name for problem in found}):
            raise AssertionError(f"{where}: reported is {found}")
    if report.repaired:
        tally.counts["repaired"] += 1
        if report.damaged or everything(Repo(store)) != whole:
            raise AssertionError(f"{where}: repaired, it is not what it was")
        return
    _assert_refused(store, name, where, whole)
    if codec != "plain":  # plain rows are mapped as they are: `check` is for them
        try:
            read = everything(Repo(store))
        except LakotaError:
            return
        if read != whole:
            raise AssertionError(f"{where}: reads other rows")


def _assert_refused(store: MemoryStore, name: str, where: str, whole: Any) -> None:
    copy = Repo()
    try:
        copy.pull(Repo(store))
    except LakotaError as error:
        stem = name.rpartition(".")[0] if not name.startswith("changelog/") else name
        short = stem.split("/", 1)[-1].replace("/", "")
        said = str(error).replace("/", "")
        digest = archive_digest(name.rpartition("/")[2])
        if (
            short not in said
            and (digest is None or digest not in said)
            and name.rpartition("/")[2] not in str(error)
        ):
            raise AssertionError(f"{where}: the pull says {error}") from error
    else:
        # Of an archive, a pull takes the revisions, and not what is only for this store.
        if "/packed." not in name or everything(copy) != whole:
            raise AssertionError(f"{where}: the pull took it")
    if not copy.check():
        raise AssertionError(f"{where}: the pull passed it on")
