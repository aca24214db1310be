"""The short form of each part of the fault programme; `make faults` runs the long one."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from faults.programme import PARTS, Tally, run
from faults.simulator import Violation, World

from lakota import Clock, LakotaError, gc
from lakota.store import local

SHARES = 4
"""Parts are cut in so many tests, for idle workers."""


@pytest.mark.parametrize(
    ("name", "share"),
    [(part.name, share) for part in PARTS.values() for share in range(min(SHARES, part.short))],
)
def test_nothing_is_lost(
    name: str, share: int, record_property: Callable[[str, object], None]
) -> None:
    part = PARTS[name]
    outcome = run(part, range(share, part.short, SHARES), math.inf)
    if outcome.skipped:
        pytest.skip(outcome.skipped)
    record_property(f"faults {name}", json.dumps(outcome.told()))
    assert outcome.tally.losses == [], "\n\n".join(outcome.tally.losses)
    assert outcome.trials > 0


def test_input_is_refused_without_assertions_too() -> None:
    """The same under `python -O`."""
    folder = Path(__file__).parent
    path = os.pathsep.join([str(folder), *filter(None, sys.path)])
    command = [sys.executable, "-O", "-m", "faults", "input", "--short", "--workers", "1"]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "refused" in done.stdout


# What the simulator is for, it finds: each of these breaks one thing.


@pytest.mark.parametrize("broken", ["flush", "folders", "clock", "collector"])
def test_the_simulator_finds_what_is_broken(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    match broken:
        case "flush":
            monkeypatch.setattr(local, "_flush", lambda descriptor: None)
        case "folders":
            monkeypatch.setattr(local, "_flush_folder", lambda folder: None)
        case "clock":
            monkeypatch.setattr(Clock, "observe", lambda clock, stamp: None)
        case _:
            monkeypatch.setattr(gc, "_used", lambda *_: set())
    with pytest.raises((Violation, LakotaError)):
        for seed in range(100):
            World(seed, Tally()).run()
