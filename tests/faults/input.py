"""Input of any kind: columns of odd values of any type are stored exactly or refused by name, odd
bounds likewise; and after an error every byte of the repo is what it was."""

from __future__ import annotations

import datetime as dt
import functools
import math
import random
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from lakota import LakotaError, Repo, Schema
from lakota.store import MemoryStore

from .programme import Tally

TYPES = (
    *("int", "int8", "int32", "uint8", "uint64", "float", "float32", "str", "bool", "date"),
    *("timestamp", "timestamp[s]", "timestamp[ns]", "timestamp[us, UTC]", "duration[ms]"),
    *("time64[us]", "decimal128(6, 2)", "binary", "fixed_size_binary[2]", "list<int>"),
)
INDEX = TYPES[:-1]
NOON = dt.datetime(2020, 1, 1, 12, 0, 0, 1)
VALUES: tuple[Any, ...] = (
    *(0, 1, -1, 2**31, 2**63 - 1, -(2**63), 2**63, 2**64 - 1, 2**64, 255, 128, 10**30),
    *(0.0, -0.0, 0.5, 1.5, math.nan, math.inf, -math.inf, 1e-310, 2.0**53, 2.0**63, 1e300),
    *("", "a", "a\0b", "é", "\ud800", "1", "2020-01-01", "12:30", "x" * 5000, "NaN"),
    *(True, False, None, b"", b"ab", b"\xff\0", bytearray(b"xy")),
    *(NOON, NOON.replace(tzinfo=dt.UTC), dt.date(2020, 1, 1), dt.time(1, 2, 3, 4)),
    *(dt.datetime.max, dt.datetime.min, dt.timedelta(microseconds=1), dt.timedelta.max),
    *(Decimal("1.50"), Decimal("1.505"), Decimal("NaN"), Decimal("1e9"), Decimal("-0.00")),
    *([1], [], [None], ["a"], (1, 2), {"a": 1}, set(), object(), 1j),
    *(np.int8(1), np.float32(0.1), np.datetime64("2020-01-01T00:00:00.000000001"), np.bool_(1)),
    *(np.datetime64("NaT"), np.str_("q"), np.uint64(2**63)),
)
KINDS: dict[str, Any] = {
    "int": (int, np.integer),
    "uint": (int, np.integer),
    "float": (int, float, np.floating),
    "decimal": (int, Decimal),
    "str": str,
    "bool": (bool, np.bool_),
    "date": (dt.date, str),
    "timestamp": (dt.datetime, dt.date, np.datetime64, str),
    "duration": dt.timedelta,
    "time": dt.time,
    "binary": (bytes, bytearray),
    "fixed": (bytes, bytearray),
    "list": list,
}
"""What may fit a type, by the start of its name."""
BOUNDS = (None, *VALUES)


@functools.cache
def schema(index: str, value: str) -> Schema:
    return Schema(k=f"{index}*", v=value)


def state(store: MemoryStore) -> dict[str, bytes]:
    return {info.name: store.get(info.name).to_pybytes() for info in store.list("")}


def trial(number: int, tally: Tally) -> None:
    rng = random.Random(number)
    index, value = rng.choice(INDEX), rng.choice(TYPES)
    store = MemoryStore()
    series = Repo(store).create_collection(schema(index, value), "c") / "s"
    before = state(store)
    count = rng.choice([0, 1, 1, 2, 3])
    keys = _column(rng, index, count)
    values = _column(rng, value, count if rng.random() < 0.9 else count + 1)
    frame: Any = {"k": keys, "v": values}
    if rng.random() < 0.2:
        frame = _otherwise(rng, frame)
    start, stop = (rng.choice(BOUNDS) if rng.random() < 0.1 else None for _ in range(2))
    where = f"k: {index}, v: {value}, {frame!r:.300}, {start!r}, {stop!r}"
    try:
        if rng.random() < 0.5:
            series.write(frame, start, stop, closed=rng.choice(["both", "left", "x", None, 0]))
        else:
            series.upsert(frame)
    except LakotaError:
        tally.counts["refused"] += 1
        if state(store) != before:
            raise AssertionError(f"{where}: refused, and the repo has changed") from None
        return
    tally.counts["taken"] += 1
    if isinstance(frame, dict) and set(frame) == {"k", "v"}:
        _is_exact(series.frame(), frame, where)
    _read_between(rng, series, where)


def _column(rng: random.Random, type_: str, count: int) -> list[Any]:
    """Values of any kind; mostly of kinds that may fit the type."""
    fitting = next((kinds for start, kinds in KINDS.items() if type_.startswith(start)), object)
    pool = [v for v in VALUES if isinstance(v, fitting) or v is None]
    if rng.random() < 0.3:
        pool = list(VALUES)
    chosen = rng.choice(pool)
    pool = [v for v in pool if type(v) is type(chosen)] if rng.random() < 0.7 else pool
    return [chosen, *(rng.choice(pool) for _ in range(count))][:count]


def _otherwise(rng: random.Random, frame: dict[str, list[Any]]) -> Any:
    """A frame that is none, or another one."""
    return rng.choice(
        [
            None,
            5,
            "k",
            [],
            {},
            {"k": frame["k"]},
            {**frame, "w": frame["v"]},
            {"K": frame["k"], "v": frame["v"]},
            {"k": frame["v"]},
            {"k": None, "v": None},
            {"k": frame["k"], "v": 5},
            pa.table({"k": [1]}),
            np.zeros(3),
            {1: frame["k"], "v": frame["v"]},
        ]
    )


def _is_exact(found: pa.Table, frame: dict[str, list[Any]], where: str) -> None:
    """Whether every row that was given is there with values that equal it."""
    rows = list(zip(*found.to_pydict().values(), strict=True))
    if len(rows) > len(frame["k"]):
        raise AssertionError(f"{where}: there are {rows}")
    for key, value in zip(frame["k"], frame["v"], strict=True):
        if not any(_equal(key, k) and _equal(value, v) for k, v in rows):
            raise AssertionError(f"{where}: {key!r}, {value!r} became {rows}")


def _equal(given: Any, found: Any) -> bool:
    if given is None or found is None or given is np.datetime64("NaT"):
        return found is None
    if isinstance(given, np.datetime64) and np.isnat(given):
        return found is None
    if isinstance(given, float | np.floating | Decimal) and given != given:
        return found is None or found != found
    if isinstance(given, np.datetime64):
        exact = getattr(found, "to_datetime64", lambda: np.datetime64(found))
        return bool(exact() == given)
    if isinstance(given, str) and not isinstance(found, str):
        return True  # times from text: `test_cast` has them
    if isinstance(given, dt.datetime) and isinstance(found, dt.datetime):
        return given.replace(tzinfo=None) == found.replace(tzinfo=None)
    if isinstance(given, dt.date) and isinstance(found, dt.datetime):
        return dt.datetime.combine(given, dt.time()) == found.replace(tzinfo=None)
    if isinstance(given, dt.datetime) and isinstance(found, dt.date):
        return given.date() == found and given.time() == dt.time()
    if isinstance(given, list | tuple):
        return list(given) == found
    if isinstance(found, float) and isinstance(given, int):
        return int(found) == given
    try:
        return bool(given == found) or bool(np.float32(given) == found)
    except (TypeError, ValueError, OverflowError):
        return False


def _read_between(rng: random.Random, series: Any, where: str) -> None:
    start, stop = rng.choice(BOUNDS), rng.choice(BOUNDS)
    try:
        series.frame(start, stop)
        tally_ok = True
    except LakotaError:
        tally_ok = False
    if start is None and stop is None and not tally_ok:
        raise AssertionError(f"{where}: cannot be read")
