"""The short form of each part of the fault programme; `make faults` runs the long one."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest
from faults.programme import PARTS, Tally, run
from faults.simulator import Violation, World

from lakota import Clock, LakotaError, gc
from lakota.store import local

SHARES = 4
"""Parts are cut in so many tests, for idle workers."""


@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("name", PARTS)
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
