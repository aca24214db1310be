"""Measure: `make bench`, `make bench QUICK=1`, or

    python benchmarks/run.py [--quick] [--works W1,W4] [--libraries ours,arcticdb] [--repeats N]
                             [--peers ENVIRONMENT] [--old ENVIRONMENT] [--folder FOLDER] [--write]

Every stage of a work runs in a process of its own, one at a time; every figure is the median of
the repeats; what is read is compared bit for bit with the data. The report goes to
`benchmarks/results/`, with all figures as JSON beside it, and with `--write` to `docs/`.

`--peers` and `--old` name virtual environments with the other libraries and with Lakota 0.7.1;
`make` builds them. A library that is not installed is left out, with a word in the report.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import growth
import real
import remote
import report
import tracer
from kit import Sizes
from library import KNOWN, UNFLUSHED
from works import WORKS, ends

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
DEFAULT = [*(work for work in WORKS if work != "W9"), "W1:noise", "W9:noise"]
"""Works; after a colon the variant of the data."""
QUICK = Sizes(rows=500_000, commits=50, series=300, merged=20, publications=10, reads=3, ranges=10)
QUICK_WORKS = ["W1", "W2", "W3", "W4", "W5", "W6", "W7", "W8", "W10", "requests"]
TRACED = {"W1", "W4", "W5", "W6", "W7"}
"""Works of which the flushes are counted, in a run of its own, because tracing takes time."""
ONCE = {"W10", "W10c", "requests"}
"""Works that are not repeated."""
PATIENCE = 900
"""Seconds until a stage is given up."""


@dataclass
class Results:
    """What has been found so far."""

    figures: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    missing: dict[str, dict[str, str]] = field(default_factory=dict)
    """Library, then work and stage, then why."""


@dataclass
class Bench:
    """How a run goes."""

    parent: str
    sizes: Sizes
    pythons: dict[str, str]
    endpoint: str | None
    results: Results
    together: bool = False
    """Whether all stages of a work run in one process: quicker, and less exact."""

    def work(self, name: str, task: str) -> float:
        """One run of a work by a library; the seconds that it took in all."""
        started = time.monotonic()
        work, _, variant = task.partition(":")
        sizes = replace(self.sizes, variant=variant) if variant else self.sizes
        figures = self.results.figures.setdefault(name, {})
        for metric, value in self._stages(name, work, sizes, []).items():
            figures.setdefault(_renamed(metric, variant), []).append(value)
        return time.monotonic() - started

    def flushes(self, name: str, work: str) -> None:
        """Count the flushes of a work, with fewer commits and series."""
        sizes = replace(
            self.sizes,
            commits=min(self.sizes.commits, 100),
            series=min(self.sizes.series, 1000),
            rows=min(self.sizes.rows, 1_000_000) if work == "W7" else self.sizes.rows,
        )
        with tempfile.NamedTemporaryFile(dir=self.parent) as log:
            before = tracer.command(log.name)
            if before is not None:
                self._stages(name, work, sizes, before, quiet=True)
                lines = Path(log.name).read_text(errors="replace").splitlines()
                for metric, value in tracer.counted(lines).items():
                    self.results.figures.setdefault(name, {}).setdefault(metric, []).append(value)

    def _stages(
        self, name: str, work: str, sizes: Sizes, before: list[str], *, quiet: bool = False
    ) -> dict[str, float]:
        """The metrics of all stages; why one is missing is noted."""
        stages = WORKS[work]
        found: dict[str, float] = {}
        numbers = list(range(len(stages)))
        together = [numbers] if self.together else [[number] for number in numbers]
        with tempfile.TemporaryDirectory(dir=self.parent) as folder:
            place = os.path.join(folder, "store")
            os.mkdir(place)
            for some in together:
                results = self._process(name, work, some, sizes, place, before)
                for number, result in zip(some, results, strict=False):
                    if "missing" not in result:
                        found |= result
                    elif not quiet:
                        self._note(name, work, stages[number].__name__, result["missing"])
                if "missing" in results[-1] and ends(stages[some[-1]]):
                    break
        return found

    def _note(self, name: str, work: str, stage: str, why: str) -> None:
        about = work if stage == work else f"{work} {stage.replace('_', ' ')}"
        self.results.missing.setdefault(name, {})[about] = why

    def _process(
        self,
        name: str,
        work: str,
        stages: list[int],
        sizes: Sizes,
        place: str,
        before: list[str],
    ) -> list[dict[str, Any]]:
        """What each stage gave: metrics, or what is missing."""
        out, errors = f"{place}.json", f"{place}.errors"
        order = {
            "library": name,
            "work": work,
            "stages": stages,
            "folder": place,
            "endpoint": self.endpoint if work == "requests" else None,
            "sizes": asdict(sizes),
            "out": out,
        }
        environment = dict(os.environ)
        if KNOWN[name].environment != "ours":
            environment.pop("PYTHONPATH", None)
        command = [*before, self._python(name), str(HERE / "child.py"), json.dumps(order)]
        Path(out).unlink(missing_ok=True)
        with open(errors, "wb") as file:
            try:
                done = subprocess.run(
                    command, env=environment, stderr=file, timeout=PATIENCE, check=False
                )
            except subprocess.TimeoutExpired:
                return [{"missing": f"took longer than {PATIENCE} s"}]
        said = Path(errors).read_text(errors="replace").strip()
        if said:
            print(said[-2000:], file=sys.stderr)
        if done.returncode or not os.path.exists(out):
            return [{"missing": f"ends with code {done.returncode}"}]
        found: list[dict[str, Any]] = json.loads(Path(out).read_text())
        return found

    def _python(self, name: str) -> str:
        return self.pythons[KNOWN[name].environment]


def _renamed(metric: str, variant: str) -> str:
    """`W9 packed, bytes` of noise is `W9 noise, packed, bytes`."""
    work, _, rest = metric.partition(" ")
    return f"{work} {variant}, {rest}" if variant else metric


def main() -> None:
    options = arguments()
    results = Results()
    started = datetime.now(UTC)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir=options.folder))
        pythons = interpreters(options)
        names = [name for name in options.libraries if installed(name, pythons, results)]
        works = options.works
        if {"W10", "W10c"} & set(works) and real.source().is_file():
            print("publications ...", file=sys.stderr, flush=True)
            os.environ[real.PREPARED] = os.path.join(folder, "publications.arrow")
            real.prepare(os.environ[real.PREPARED])
        endpoint = stack.enter_context(remote.serving()) if "requests" in works else None
        facts = describe(options.folder or tempfile.gettempdir())
        limits = machine(folder)
        bench = Bench(folder, options.sizes, pythons, endpoint, results, options.quick)
        measure(bench, names, works, options)
        limits = lowest(limits, machine(folder))
        curves = growth.curves(folder, options.growth) if options.growth else {}
    everything = {
        "date": f"{started:%Y-%m-%d %H:%M} UTC",
        "minutes": round((datetime.now(UTC) - started).total_seconds() / 60),
        "repeats": options.repeats,
        "machine": facts,
        "versions": {name: version(name, pythons) for name in names},
        "sizes": asdict(options.sizes),
        "limits": limits,
        "figures": results.figures,
        "missing": results.missing,
        "growth": curves,
    }
    if options.into:
        former = json.loads(Path(options.into).read_text())
        everything = merged(former, everything, {work.partition(":")[0] for work in options.works})
    save(everything, options.write)


def merged(former: dict[str, Any], now: dict[str, Any], works: set[str]) -> dict[str, Any]:
    """A former run, and beside its figures those of this one, as further repeats; what is missing
    of `works` is what this one says."""
    former = former.get("full", former)
    figures = {name: dict(found) for name, found in former["figures"].items()}
    for name, found in now["figures"].items():
        for metric, values in found.items():
            known = figures.setdefault(name, {})
            known[metric] = [*known.get(metric, []), *values]
    missing = {
        name: {about: why for about, why in found.items() if about.split()[0] not in works}
        for name, found in former["missing"].items()
    }
    for name, why in now["missing"].items():
        missing.setdefault(name, {}).update(why)
    return {
        **former,
        "minutes": former["minutes"] + now["minutes"],
        "limits": lowest(former["limits"], now["limits"]),
        "repeats": max(former.get("repeats", 1), now["repeats"]),
        "figures": figures,
        "missing": missing,
        "growth": now["growth"] or former.get("growth", {}),
    }


def measure(bench: Bench, names: list[str], works: list[str], options: argparse.Namespace) -> None:
    """The libraries take turns, so that whatever else the machine does bears on all alike. What
    takes long is measured once; no new round begins after the budget."""
    started = time.monotonic()
    slow: set[tuple[str, str]] = set()
    for round_ in range(options.repeats):
        if round_ and time.monotonic() - started > 60 * options.budget:
            break
        for work in works:
            for name in names:
                if (name, work) in slow or not measures(name, work):
                    continue
                print(f"{name} {work} ...", file=sys.stderr, flush=True)
                seconds = bench.work(name, work)
                if seconds > options.once_over or work in ONCE:
                    slow.add((name, work))
    if options.flushes and not options.quick:
        for work in works:
            for name in names:
                if work in TRACED and name != UNFLUSHED:
                    print(f"{name} {work} flushes ...", file=sys.stderr, flush=True)
                    bench.flushes(name, work)


def measures(name: str, work: str) -> bool:
    """Whether a work tells something of this library."""
    some = KNOWN[name].works
    return some is None or work in some


def save(everything: dict[str, Any], write: bool) -> None:
    text = report.page(everything)
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    stem = results / datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    stem.with_suffix(".md").write_text(text)
    stem.with_suffix(".json").write_text(json.dumps(everything, indent=1))
    print(report.verdicts(everything))
    print(f"{stem}.md")
    if write:
        report.publish(ROOT, everything)


# ---- The machine and what runs on it


def interpreters(options: argparse.Namespace) -> dict[str, str]:
    places = {"peers": options.peers, "old": options.old}
    found = {name: os.path.join(place, "bin", "python") for name, place in places.items()}
    return {"ours": sys.executable, **found}


def installed(name: str, pythons: dict[str, str], results: Results) -> bool:
    """Whether a library can be imported; if not, that is noted."""
    if version(name, pythons):
        return True
    results.missing.setdefault(name, {})["all"] = "is not installed for this Python"
    print(f"{name} is not installed in {KNOWN[name].environment}", file=sys.stderr)
    return False


def version(name: str, pythons: dict[str, str]) -> str:
    """Of a library; empty if it is not there."""
    place = KNOWN[name]
    if name == "ours":
        import lakota

        return str(getattr(lakota, "__version__", "?"))
    if not os.path.exists(pythons[place.environment]):
        return ""
    code = f"from importlib.metadata import version; print(version({place.package!r}))"
    command = [pythons[place.environment], "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def lowest(one: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    """Limits are what the machine can do when nothing else goes on."""
    return {name: min(one[name], other[name]) for name in one}


def machine(folder: str) -> dict[str, float]:
    """The machine's limits, measured in a process of their own."""
    out = os.path.join(folder, "machine.json")
    subprocess.run([sys.executable, str(HERE / "machine.py"), folder, out], check=True)
    found: dict[str, float] = json.loads(Path(out).read_text())
    return found


def describe(folder: str) -> dict[str, str]:
    """What the figures depend on."""
    found = {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        "load": ", ".join(f"{x:.1f}" for x in os.getloadavg()),
    }
    wheels = ("polars", "pyarrow", "numpy", "pcodec", "xxhash")
    found["wheels"] = ", ".join(f"{name} {metadata.version(name)}" for name in wheels)
    for path, word, key in (
        ("/proc/cpuinfo", "model name", "processor"),
        ("/proc/meminfo", "MemTotal", "memory"),
    ):
        try:
            lines = Path(path).read_text().splitlines()
        except OSError:
            continue
        found[key] = next((x.partition(":")[2].strip() for x in lines if x.startswith(word)), "?")
    kind = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True)
    if kind.returncode == 0:
        found["file system"] = kind.stdout.strip()
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("QUICK")))
    parser.add_argument("--works", type=_names, help=f"of {', '.join(DEFAULT)}")
    parser.add_argument("--libraries", type=_names, default=list(KNOWN), help=", ".join(KNOWN))
    parser.add_argument("--peers", default=str(ROOT / ".venv-peers"), help="their environment")
    parser.add_argument("--old", default=str(ROOT / ".venv-old"), help="that of Lakota 0.7.1")
    parser.add_argument("--repeats", type=int, help="default: 3, quick: 1")
    parser.add_argument("--once-over", type=float, default=25, help="seconds; not repeated then")
    parser.add_argument("--budget", type=float, default=15, help="minutes; no new round then")
    parser.add_argument("--no-flushes", dest="flushes", action="store_false")
    parser.add_argument("--growth", type=int, help="the most commits; ten times as many series")
    parser.add_argument("--folder", help="where to store what is measured (default: temporary)")
    parser.add_argument("--into", help="JSON of a former run, which this one completes")
    parser.add_argument("--write", action="store_true", help="into docs/ as well")
    parser.add_argument("--figures", help="JSON of a former run: write its report again")
    options = parser.parse_args()
    if options.works is None:
        options.works = QUICK_WORKS if options.quick else DEFAULT
    options.works = [work for work in options.works if work]
    known = (([x.partition(":")[0] for x in options.works], WORKS), (options.libraries, KNOWN))
    for given, there in known:
        unknown = set(given) - set(there)
        if unknown:
            parser.error(f"unknown: {', '.join(sorted(unknown))}; there is {', '.join(there)}")
    options.sizes = QUICK if options.quick else Sizes()
    if options.repeats is None:
        options.repeats = 1 if options.quick else 3
    if options.growth is None:
        options.growth = 300 if options.quick else 100_000
    if options.figures:
        save(json.loads(Path(options.figures).read_text()), options.write)
        raise SystemExit
    return options


def _names(text: str) -> list[str]:
    return text.split(",")


if __name__ == "__main__":
    main()
