"""Files made to harm: whatever bytes a decoder is given, it answers with rows or with a named
error, in little memory, and runs no code. Histories with forged parents end, too."""

from __future__ import annotations

import functools
import json
import random
import resource
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa

from lakota import LakotaError, Repo, Schema
from lakota.archive import Archive, archive_digest
from lakota.changelog import Changelog
from lakota.digest import Digest
from lakota.document import decode_document
from lakota.history import PHI, History, make_child
from lakota.objects import digest_of
from lakota.page import Page
from lakota.segment import open_segment
from lakota.store import MemoryStore

from .programme import Tally
from .rot import CODECS, small

MOST_GROWTH = 512 << 20
"""Bytes by which the memory of a process may grow, whatever it is given."""
NUMBERS = (0, 1, -1, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, -(2**63))


@functools.cache
def seeds() -> list[tuple[str, bytes]]:
    """Files that are in order, to start from."""
    return [(n, d) for codec in CODECS for n, d in sorted(small(codec)[0].items())]


def mutated(rng: random.Random, data: bytes) -> bytes:
    """The bytes, with a few things done to them."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5])):
        at = rng.randrange(len(changed) + 1) if changed else 0
        match rng.randrange(7):
            case 0 if at < len(changed):
                changed[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(changed):
                changed[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF])
            case 2:
                changed = changed[:at]
            case 3:
                changed[at:at] = rng.randbytes(rng.choice([1, 8, 100]))
            case 4:
                width, number = rng.choice(["<i", "<q"]), rng.choice(NUMBERS)
                size = struct.calcsize(width)
                at -= at % 4
                mask = (1 << 8 * size) - 1
                changed[at : at + size] = (number & mask).to_bytes(size, "little")
            case 5:
                stop = min(at + rng.choice([4, 16, 64]), len(changed))
                changed[at:at] = changed[at:stop]
            case _:
                stop = min(at + rng.choice([4, 16, 64]), len(changed))
                del changed[at:stop]
    return bytes(changed)


def decode(name: str, data: bytes) -> None:
    """Give bytes to the decoder of that file, past its name too, where that would stop it."""
    buffer = pa.py_buffer(data)
    last = name.rpartition("/")[2]
    digest = digest_of(name) or archive_digest(last)
    if name.startswith("pages/"):
        assert digest is not None
        Page.decode(digest, buffer)
    elif name.startswith("segments/"):
        for wanted in (digest, None):
            _decode_segment(buffer, wanted)
    elif digest is not None:
        archive = Archive(digest, buffer)
        archive.check()
    elif name.startswith("changelog/") and "-" in last:
        parent, child = last.split(".")
        decode_document(parent, child, data)  # type: ignore[arg-type]
    else:
        store = MemoryStore()
        store.put("lakota.json", data)
        Repo(store).ls()


def _decode_segment(buffer: pa.Buffer, wanted: Digest | None) -> None:
    try:
        segment = open_segment(buffer, wanted)
        segment.check()
    except LakotaError:
        return
    if segment.num_rows > 1 << 24:
        raise AssertionError(f"{segment.num_rows} rows of {buffer.size} bytes")


def forge(rng: random.Random, tally: Tally) -> None:
    """A changelog with revisions that point anywhere, and strays."""
    store = MemoryStore()
    children = [
        PHI,
        *(make_child(rng.randrange(9), f"{rng.getrandbits(99):032x}") for _ in "123456"),
    ]
    folder = f"changelog/{'a' * 32}"
    for _ in range(12):
        name = f"{rng.choice(children)}.{rng.choice(children)}"
        store.put(f"{folder}/{name}", rng.choice([b"", b"{}", b"null", b"[" * 9999]))
    for _ in range(30):
        junk = "".join(rng.choice("abcdef0123456789.-_") for _ in range(rng.randint(1, 99)))
        store.put(f"{folder}/x{junk}", b"")
    log = Changelog(store, "a" * 32)
    history: History = log.history()
    if any(parent >= child for parent, child in history.edges):
        raise AssertionError("a revision that is not later than its parent")
    log.log()
    if history.edges and not history.heads:
        raise AssertionError("a cycle")
    history.ancestors(history.heads)
    for act in (
        lambda: Repo(store).check(),
        lambda: Repo(store).gc(grace=0),
        lambda: log.tidy(0, 0),
    ):
        _named(act)
    tally.counts["forged histories"] += 1


def forged_document(rng: random.Random) -> None:
    """A document of any shape, with the right checksum, or none."""
    values: list[Any] = [None, 0, -1, 1e308, "x" * 99, [], {}, True, "\ud800", [[[]]]]
    parent, child = make_child(1, "0" * 32), make_child(2, "1" * 32)  # type: ignore[arg-type]
    body = {k: rng.choice(values) for k in ("checksum", "parent", "child", "format", "rows")}
    text = json.dumps(rng.choice([body, list(body), rng.choice(values)]))
    _named(lambda: decode_document(parent, child, text.encode()))


def forged_schema(rng: random.Random) -> None:
    """The text of a schema, of any shape."""
    values: list[Any] = [
        None,
        0,
        "",
        "int",
        "pickle",
        "int*",
        [],
        {},
        True,
        "list<" * 99 + ">" * 99,
    ]
    column = {k: rng.choice(values) for k in ("name", "type", "index", "codec", "x")}
    columns = rng.choice([[column], [column] * 2, column, None, values])
    text = json.dumps({"columns": columns, "kind": rng.choice(["series", "kv", None, 1])})
    _named(lambda: Schema.loads(text))


def forged_bundle(rng: random.Random) -> None:
    """A bundle with some bytes changed."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "x.bundle")
        path.write_bytes(mutated(rng, _bundle()))
        copy = Repo()
        _named(lambda: copy.pull(path))
        if not copy.check():
            raise AssertionError("the pull of a bundle took what is damaged")


@functools.cache
def _bundle() -> bytes:
    repo = Repo()
    series = repo.create_collection(Schema(n="int*", x="float"), "c") / "s"
    series.write({"n": [1, 2], "x": [0.5, 1.5]})
    with TemporaryDirectory() as folder:
        path = Path(folder, "x.bundle")
        repo.bundle(path)
        return path.read_bytes()


def _named(act: Callable[[], object]) -> None:
    with suppress(LakotaError):
        act()


def trial(number: int, tally: Tally) -> None:
    rng = random.Random(number)
    if number == 0:
        _memory.append(_peak())
    name, data = rng.choice(seeds())
    for _ in range(20):
        tally.counts["files"] += 1
        try:
            decode(name, mutated(rng, data))
            tally.counts["decoded"] += 1
        except LakotaError:
            tally.counts["refused"] += 1
    forge(rng, tally)
    for act in (forged_document, forged_schema, forged_bundle):
        act(rng)
        tally.counts[act.__name__.replace("_", " ") + "s"] += 1
    if not _memory:
        _memory.append(_peak())
    if _peak() - _memory[0] > MOST_GROWTH:
        raise AssertionError(f"memory grew by {(_peak() - _memory[0]) >> 20} MiB: {name}")


_memory: list[int] = []


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
