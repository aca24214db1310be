"""Which targets are met. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from library import UNFLUSHED, VERSIONED
from targets import BEST, SMALL, TARGETS, Target

OURS = "ours"
ROW = 16
"""Bytes of a row."""


@dataclass(frozen=True)
class Verdict:
    """A target and how it came out."""

    metric: str
    ours: float
    reference: str
    """What it is compared with."""
    compared: float
    factor: float
    limit: float | None

    @property
    def ratio(self) -> float:
        return self.ours / self.compared if self.compared else float("inf")

    @property
    def bound(self) -> float:
        """What ours may be at most."""
        return max(self.factor * self.compared, self.limit or 0)

    @property
    def met(self) -> bool:
        return self.ours <= self.bound


def median(everything: Mapping[str, Any], library: str, metric: str) -> float | None:
    values = everything["figures"].get(library, {}).get(metric)
    return statistics.median(values) if values else None


def verdicts(everything: Mapping[str, Any]) -> list[Verdict]:
    """Of every target for which there are figures."""
    found = []
    for target in TARGETS:
        ours = median(everything, OURS, target.metric)
        compared = _reference(everything, target)
        if ours is not None and compared is not None:
            name, value = compared
            limit = _limit(everything, target)
            found.append(Verdict(target.metric, ours, name, value, target.factor, limit))
    return [*found, *_growth(everything.get("growth") or {})]


def _reference(everything: Mapping[str, Any], target: Target) -> tuple[str, float] | None:
    metric = target.peer_metric or target.metric
    sizes = everything["sizes"]
    kind, _, rest = target.of.partition(" ")
    if target.of == BEST:
        return best(everything, metric)
    if target.of == "best reader":
        reader = best(everything, "W2 read, new handle")
        value = median(everything, reader[0], metric) if reader else None
        return (reader[0], value) if reader and value is not None else None
    if target.of == "1":
        return "", 1.0
    if target.of == "input":
        return "the input", float(ROW * sizes["rows"])
    if kind == "limit":
        return rest, everything["limits"][rest] * _scale(rest, target, sizes)
    library, name = (OURS, rest) if kind == "own" else (target.of, metric)
    value = median(everything, library, name)
    return None if value is None else (name if kind == "own" else library, value)


def best(everything: Mapping[str, Any], metric: str) -> tuple[str, float] | None:
    """The best versioned peer and its figure."""
    found = [
        (value, name)
        for name in VERSIONED
        if (value := median(everything, name, metric)) is not None
    ]
    return (min(found)[1], min(found)[0]) if found else None


def _limit(everything: Mapping[str, Any], target: Target) -> float | None:
    if not target.limit:
        return None
    scale = _scale(target.limit, target, everything["sizes"])
    return float(everything["limits"][target.limit]) * target.limit_factor * scale


def _scale(limit: str, target: Target, sizes: Mapping[str, Any]) -> float:
    """The limits are those of a full run."""
    if "160 MB" in limit:
        return float(sizes["rows"] * ROW / 160e6)
    return float(sizes["commits"]) if limit == SMALL and target.metric == "W4 commits" else 1.0


def _growth(curves: Mapping[str, Any]) -> Iterator[Verdict]:
    for point in curves.get("commits", ()):
        if point["commits"] in (10_000, 100_000):
            metric = f"growth: a commit of the last 100 of {point['commits']:,}"
            first = point["first commits"]
            yield Verdict(metric, point["commit"], "of the first 100", first, 1.2, None)
    points = {point["series"]: point for point in curves.get("series", ())}
    few, lots = points.get(10_000), points.get(1_000_000)
    if few and lots:
        for name in (
            "list, seconds per 1,000 labels",
            "read one series",
            "small append",
            "small append adds, bytes",
        ):
            metric = f"growth: {name}, of 1,000,000 series"
            yield Verdict(metric, lots[name], "of 10,000", few[name], 3.0, None)


def better(everything: Mapping[str, Any]) -> list[tuple[str, float, list[tuple[str, float]]]]:
    """Metrics in which some peer has a smaller figure: ours, and theirs, smallest first."""
    found = []
    for metric in everything["figures"].get(OURS, {}):
        ours = median(everything, OURS, metric)
        theirs = []
        for name in everything["figures"]:
            value = median(everything, name, metric)
            if (
                name not in (OURS, UNFLUSHED)
                and value is not None
                and ours is not None
                and value < ours
            ):
                theirs.append((name, value))
        if theirs and ours is not None:
            found.append((metric, ours, sorted(theirs, key=lambda pair: pair[1])))
    return found
