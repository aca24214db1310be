"""The benchmarks run, find what is wrong, and their page says what was measured."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
SMALL = """
import json, sys
from pathlib import Path
from kit import Sizes
from library import find
from works import WORKS
sizes = Sizes(rows=4000, commits=9, commit_rows=20, series=12, series_rows=5, range_rows=30,
              merged=3, reads=1, ranges=2)
found = {}
for work, stages in WORKS.items():
    folder = Path(sys.argv[1], work, "store")
    folder.mkdir(parents=True)
    for stage in stages if work != "import" else ():
        try:
            found |= stage(find("ours", str(folder)), sizes)
        except NotImplementedError as missing:
            found[work] = str(missing)
print(json.dumps(found))
"""


def run(code: str, *arguments: str) -> Any:
    """What some code prints as JSON, run where the benchmarks are."""
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(BENCHMARKS)!r})\n{code}"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_every_work_runs_in_small(tmp_path: Path) -> None:
    found = run(SMALL, str(tmp_path))
    code = """
import json, targets
own = (t.of.removeprefix("own ") for t in targets.TARGETS if t.of.startswith("own "))
print(json.dumps([*(t.metric for t in targets.TARGETS), *own]))
"""
    targets = run(code)
    measured = {metric for metric in targets if "noise" not in metric and "W10" not in metric}
    measured.discard("import, on top of polars and pyarrow")
    assert measured <= set(found)


def test_a_wrong_answer_is_found(tmp_path: Path) -> None:
    code = """
import dataclasses, json, sys
import commits
from data import Columns
from kit import Sizes, Wrong
from library import find
library = find("ours", sys.argv[1])
library.columns = lambda found: Columns(found["timestamp"].to_numpy().view("i8"),
                                        found["value"].to_numpy() + 1e-9)
try:
    commits.commit(library, Sizes(commits=2))
except Wrong as wrong:
    print(json.dumps(str(wrong)))
"""
    (tmp_path / "store").mkdir()
    assert "is not what was written" in run(code, str(tmp_path / "store"))


RESULTS = {
    "sizes": {"rows": 10_000_000, "commits": 1000},
    "limits": {
        "write and fsync 160 MB": 0.3,
        "mmap and sum 160 MB": 0.01,
        "pcodec to 160 MB, 2 threads": 0.04,
        "4 kB: write, fsync, rename, fsync folder": 0.0002,
    },
}


@pytest.mark.parametrize(
    ("ours", "peers", "met"),
    [
        ([0.5], {"lance": [1.0], "delta": [2.0]}, True),
        ([0.7], {"lance": [1.0], "delta": [2.0]}, False),
        ([0.7], {"delta": [1.2, 0.1, 1.3]}, True),  # the median
        ([0.19], {"lance": [0.001]}, True),  # no disk can do that: the limit is the target
        ([0.5], {"duckdb": [0.001], "lance": [1.0]}, True),  # keeps no versions
    ],
)
def test_a_target_is_a_ratio_to_the_best_versioned_peer(
    ours: list[float], peers: dict[str, list[float]], met: bool
) -> None:
    figures = {"ours": {"W4 commits": ours}} | {n: {"W4 commits": v} for n, v in peers.items()}
    code = """
import json, sys, verdicts
found = verdicts.verdicts(json.loads(sys.argv[1]))
print(json.dumps([[v.metric, v.met] for v in found]))
"""
    assert run(code, json.dumps({**RESULTS, "figures": figures})) == [["W4 commits", met]]


def test_flushes_are_counted_between_the_marks() -> None:
    code = """
import json, tracer
lines = [
    '12 fsync(3) = 0',
    '12 access("/benchmark/begin/W4 flushes per commit/2", F_OK) = -1 ENOENT',
    '12 fsync(3) = 0', '13 fdatasync(3 <unfinished ...>', '13 <... fdatasync resumed>) = 0',
    '12 access("/benchmark/end/", F_OK) = -1 ENOENT', '12 fsync(3) = 0',
]
print(json.dumps(tracer.counted(lines)))
"""
    assert run(code) == {"W4 flushes per commit": 1.0}


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace counts the flushes")
def test_flushes_of_every_stage_are_counted(tmp_path: Path) -> None:
    code = """
import json, sys, run
from kit import Sizes
found = {}
for name in "ours", "unflushed":
    bench = run.Bench(sys.argv[1], Sizes(commits=5, reads=1, ranges=1), {"ours": sys.executable},
                      None, run.Results())
    bench.flushes(name, "W4")
    found |= bench.results.figures
print(json.dumps(found))
"""
    found = run(code, str(tmp_path))
    if not found:
        pytest.skip("strace may not trace here")
    per_commit = "W4 flushes per commit"
    assert found["ours"][per_commit][0] >= 2
    assert found["unflushed"][per_commit] == [0]


def test_a_loss_is_a_ratio_that_grew_by_a_third() -> None:
    code = """
import json, check
def figures(ours, lance):
    peers = {"arcticdb": [1.0], "lance": lance}
    return {name: {"W1 write": found} for name, found in {"ours": ours, **peers}.items()}
before = check.ratios(figures([1.0, 1.1], [4.0]))
same, slower = figures([2.2, 1.2], [4.0]), figures([1.5], [4.0])
failed = {**same, "ours": {}}
said = [before]
for found in map(check.ratios, (same, slower, failed)):
    said.append([list(check.losses(found, before)), check.gone(found, before)])
print(json.dumps(said))
"""
    nothing, lost = [[], []], [["W1 write"], []]
    assert run(code) == [{"W1 write": 0.5}, nothing, lost, [[], ["W1 write"]]]


def test_the_committed_page_is_that_of_the_committed_figures() -> None:
    figures = ROOT / "docs" / "benchmarks.json"
    if not (ROOT / "docs" / "benchmarks.md").exists():
        pytest.skip("no figures are committed yet")
    code = """
import json, pathlib, sys, report
figures = json.loads(pathlib.Path(sys.argv[1]).read_text())["full"]
print(json.dumps(report.page(figures)))
"""
    assert (ROOT / "docs" / "benchmarks.md").read_text() == run(code, str(figures))
