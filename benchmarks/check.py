"""Has anything become slower? `make bench-check`

Measures a few works of this library and of two peers, and compares the ratios between them with
those that are committed in `docs/benchmarks.json`. What the machine does bears on all three alike,
so ratios hold where seconds do not. A ratio is that of the best of the repeats of ours to the
geometric mean of the peers' best. Whatever is more than 30 % above its former ratio is measured
again before it counts; if it stays so, the exit code is 1, as it is if a metric is not found any
more because a work fails or reads what was not written. With `--write` the ratios found become
those to compare with.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
from typing import Any

from kit import Sizes
from run import ROOT, Bench, Results, describe, installed, interpreters

PEERS = ("arcticdb", "lance")
WORKS = ("W1", "W2", "W3", "W4", "W5", "W6")
SIZES = Sizes(rows=2_000_000, commits=200, series=2_000, ranges=30)
LOSS = 1.3
REPEATS = 5
AGAIN = 3
"""Rounds of measuring anew what looks like a loss."""
LIKE = {"W2p": "W2", "W3p": "W3"}
"""The peers have nothing to pack."""
LEFT_OUT = ("memory", "files", "slowest", "ratio", "packed", "W9 pack")
"""Words of metrics that are no speed, or stand still only in long runs."""
BASELINE = ROOT / "docs" / "benchmarks.json"


def ratios(figures: dict[str, dict[str, list[float]]]) -> dict[str, float]:
    """Of each metric that we share with a peer: ours over theirs."""
    found = {}
    for metric, ours in figures["ours"].items():
        if any(word in metric for word in LEFT_OUT):
            continue
        work, _, rest = metric.partition(" ")
        like = f"{LIKE.get(work, work)} {rest}"
        theirs = [min(figures[name][like]) for name in PEERS if figures[name].get(like)]
        if theirs and min(theirs) > 0:
            mean = math.exp(sum(map(math.log, theirs)) / len(theirs))
            found[metric] = min(ours) / mean
    return found


def losses(now: dict[str, float], before: dict[str, float]) -> dict[str, float]:
    """By how much each metric is above what it was, if it is by more than 30 %."""
    grown = {metric: now[metric] / before[metric] for metric in now if before.get(metric)}
    return {metric: ratio for metric, ratio in grown.items() if ratio > LOSS}


def gone(now: dict[str, float], before: dict[str, float]) -> list[str]:
    """The metrics that are to be compared and were not found."""
    return sorted(before.keys() - now.keys())


def measure(bench: Bench, works: set[str], repeats: int) -> None:
    for _ in range(repeats):
        for work in WORKS:
            for name in ("ours", *PEERS) if work in works else ():
                print(f"{name} {work} ...", file=sys.stderr, flush=True)
                bench.work(name, work)


def main() -> None:
    options = arguments()
    pythons = interpreters(options)
    results = Results()
    if not all(installed(name, pythons, results) for name in PEERS):
        raise SystemExit(f"make bench-peers installs {' and '.join(PEERS)} in {options.peers}")
    everything: dict[str, Any] = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    before = everything.get("check", {}).get("ratios", {})
    if not before and not options.write:
        raise SystemExit(f"{BASELINE} has no ratios to compare with: --write makes them")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(folder, SIZES, pythons, None, results)
        measure(bench, set(WORKS), options.repeats)
        for _ in range(AGAIN):
            suspects = losses(ratios(results.figures), before)
            if not suspects or options.write:
                break
            again = {metric.partition(" ")[0].removesuffix("p") for metric in suspects}
            measure(bench, again, 2)
    now = ratios(results.figures)
    for metric, ratio in now.items():
        old = before.get(metric)
        change = "" if not old else f"  was {old:6.2f}  {100 * (ratio / old - 1):+5.0f} %"
        print(f"{metric:45} {ratio:6.2f}{change}")
    for what, why in results.missing.get("ours", {}).items():
        print(f"{what} {why}")
    if options.write:
        facts = describe(tempfile.gettempdir())
        everything["check"] = {"machine": facts, "peers": list(PEERS), "ratios": now}
        BASELINE.write_text(json.dumps(everything, indent=1) + "\n")
        return
    lost = losses(now, before)
    for metric, ratio in lost.items():
        print(f"LOSS: {metric} is {ratio:.2f} times what it was beside {' and '.join(PEERS)}")
    missed = gone(now, before)
    for metric in missed:
        print(f"LOSS: {metric} was not found")
    raise SystemExit(bool(lost or missed))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers", default=str(ROOT / ".venv-peers"), help="their environment")
    parser.add_argument("--old", default=os.devnull, help=argparse.SUPPRESS)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--write", action="store_true", help="make what is found the standard")
    return parser.parse_args()


if __name__ == "__main__":
    main()
