"""Measure: `make bench`, `make bench QUICK=1`, or

    python benchmarks/run.py [--quick] [--works W1,W4] [--repeats N] [--variant noise]
                             [--libraries ours,arcticdb --peer-python PATH] [--folder FOLDER]

Every stage of a work runs in a process of its own; every figure is the median of the repeats;
every read is compared bit for bit with the data. The table goes to stdout and, with all figures
as JSON beside it, to `benchmarks/results/`. Peers are optional: they run with `--peer-python`, an
interpreter that has them installed, and are left out where they are not.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from library import KNOWN
from report import table
from works import WORKS, Sizes

HERE = Path(__file__).resolve().parent
QUICK = Sizes(rows=1_000_000, commits=100, series=1_000, reads=3, ranges=10)


def main() -> None:
    options = arguments()
    sizes = QUICK if options.quick else Sizes()
    changed = {"variant": options.variant, "commits": options.commits or sizes.commits}
    sizes = Sizes(**{**asdict(sizes), **changed})
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        limits = machine(folder)
        found = measure(folder, sizes, options)
    text = table(found, limits, heading(options, sizes))
    print(text)
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    stem = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    everything = {"sizes": asdict(sizes), "limits": limits, "figures": found}
    (results / f"{stem}.md").write_text(text)
    (results / f"{stem}.json").write_text(json.dumps(everything, indent=1))


def measure(
    parent: str, sizes: Sizes, options: argparse.Namespace
) -> dict[str, dict[str, list[float]]]:
    """Every figure of each library, one per repeat. The libraries take turns, so that whatever
    else the machine has to do bears on all alike."""
    names = options.libraries.split(",")
    found: dict[str, dict[str, list[float]]] = {name: {} for name in names}
    for _ in range(options.repeats):
        for work in options.works.split(","):
            for name in names:
                print(f"{name} {work} ...", file=sys.stderr, flush=True)
                python = sys.executable if name == "ours" else options.peer_python
                with tempfile.TemporaryDirectory(dir=parent) as folder:
                    for metric, value in once(python, name, work, folder, sizes):
                        found[name].setdefault(metric, []).append(value)
    return found


def once(
    python: str, name: str, work: str, folder: str, sizes: Sizes
) -> Iterator[tuple[str, float]]:
    """The metrics of one run of a work, stage by stage."""
    place = os.path.join(folder, "store")
    out = os.path.join(folder, "out.json")
    os.mkdir(place)
    for stage in range(len(WORKS[work])):
        order = {
            "library": name,
            "work": work,
            "stage": stage,
            "folder": place,
            "sizes": asdict(sizes),
            "out": out,
        }
        done = subprocess.run([python, str(HERE / "child.py"), json.dumps(order)], check=False)
        if done.returncode:
            print(f"{name} {work} failed at stage {stage}", file=sys.stderr)
            return
        metrics = json.loads(Path(out).read_text())
        if "missing" in metrics:
            return
        yield from metrics.items()


def machine(folder: str) -> dict[str, float]:
    """The machine's limits, measured in a process of their own."""
    out = os.path.join(folder, "machine.json")
    subprocess.run([sys.executable, str(HERE / "machine.py"), folder, out], check=True)
    found: dict[str, float] = json.loads(Path(out).read_text())
    return found


def heading(options: argparse.Namespace, sizes: Sizes) -> str:
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg()) if hasattr(os, "getloadavg") else "?"
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores, load {load}, Python {platform.python_version()}; "
        f"medians of {options.repeats}; {sizes.rows:,} rows, {sizes.commits:,} commits of "
        f"{sizes.commit_rows:,}, {sizes.series:,} series of {sizes.series_rows}, {sizes.variant}"
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("QUICK")))
    parser.add_argument("--works", default=",".join(WORKS), help="default: all")
    parser.add_argument("--libraries", default="ours", help=f"of {', '.join(KNOWN)}")
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--commits", type=int, help="of W4")
    parser.add_argument("--variant", choices=("walk", "noise"), default="walk")
    parser.add_argument("--folder", help="where to store what is measured (default: temporary)")
    options = parser.parse_args()
    for given, known in ((options.works, WORKS), (options.libraries, KNOWN)):
        unknown = set(given.split(",")) - set(known)
        if unknown:
            parser.error(f"unknown: {', '.join(sorted(unknown))}; there is {', '.join(known)}")
    return options


if __name__ == "__main__":
    main()
