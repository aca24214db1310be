"""The parts of the programme, and how a part is run: so many trials, in so many processes, for so
long at most, and a table of what was tried and what was lost."""

from __future__ import annotations

import importlib
import multiprocessing
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any

MOST_LOSSES = 10
"""After so many there is enough to look at."""


@dataclass
class Tally:
    """What was tried, by kind, and what was lost: a text each."""

    counts: Counter[str] = field(default_factory=Counter)
    losses: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Part:
    """One part: trials with numbers, each of which may be run alone."""

    name: str
    demand: str
    """What must hold."""
    short: int
    """Trials in `make test`."""
    long: int
    """Trials in `make faults`, if the time is enough."""
    share: int
    """Of the hour, in minutes."""

    @property
    def trial(self) -> Callable[[int, Tally], None]:
        """Does the trial of that number; raises if something was lost."""
        found: Callable[[int, Tally], None] = self._module.trial
        return found

    @property
    def _module(self) -> Any:
        return importlib.import_module(f".{self.name}", __package__)

    @property
    def absent(self) -> str:
        """Why it cannot run here; empty if it can."""
        return str(getattr(self._module, "absent", lambda: "")())


PARTS = {
    part.name: part
    for part in [
        Part("simulator", "no write lost, no half revision, runs repeat", 500, 200_000, 20),
        Part("store", "old or new, whole, and the same again succeeds", 400, 2_000, 2),
        Part("kill", "0 acknowledged lost, 0 unreadable, the same again succeeds", 60, 3_000, 8),
        Part("kernel", "a failed flush is never acknowledged, all recover", 10, 1_400, 6),
        Part("power", "with fsync, nothing acknowledged is lost", 50, 1_000, 2),
        Part("rot", "detected or harmless, refused by a pull, restored", 2_000, 100_000, 9),
        Part("races", "no reader error, no gap, nothing lost", 4, 360, 5),
        Part("input", "a named error and no byte changed, or exact", 600, 20_000, 3),
        Part("hostile", "a named error, in little memory", 600, 100_000, 5),
    ]
}


@dataclass
class Outcome:
    """What became of one part."""

    part: Part
    trials: int
    tally: Tally
    seconds: float
    skipped: str = ""

    @classmethod
    def joined(cls, part: Part, told: Iterable[Mapping[str, Any]]) -> Outcome:
        """The outcome of several shares of one part, from what `told` gives of each."""
        whole = cls(part, 0, Tally(), 0.0)
        for share in told:
            whole.trials += share["trials"]
            whole.seconds += share["seconds"]
            whole.tally.counts.update(share["counts"])
            whole.tally.losses.extend(share["losses"])
        return whole

    def told(self) -> dict[str, Any]:
        return {
            "trials": self.trials,
            "seconds": self.seconds,
            "counts": self.tally.counts,
            "losses": self.tally.losses,
        }

    def row(self) -> str:
        if self.skipped:
            return f"{self.part.name:<10} skipped: {self.skipped}"
        tried = ", ".join(f"{n:,} {what}" for what, n in self.tally.counts.most_common())
        lost = len(self.tally.losses)
        return f"{self.part.name:<10} {self.trials:>8,} {self.seconds:>7.0f} s {lost:>5}  {tried}"


HEADING = f"{'part':<10} {'trials':>8} {'time':>9} {'lost':>5}  tried"


def run(part: Part, numbers: Iterable[int], seconds: float) -> Outcome:
    """Run trials until `seconds` have passed, in this process."""
    begun = time.monotonic()
    if part.absent:
        return Outcome(part, 0, Tally(), 0.0, part.absent)
    tally, trials = Tally(), 0
    for number in numbers:
        if time.monotonic() - begun > seconds or len(tally.losses) >= MOST_LOSSES:
            break
        trials += 1
        try:
            part.trial(number, tally)
        except Exception as error:
            where = "".join(traceback.format_exception(error))
            tally.losses.append(f"{part.name} {number}: {error}\n{where}")
    return Outcome(part, trials, tally, time.monotonic() - begun)


def run_apart(part: Part, trials: int, seconds: float, workers: int, first: int = 0) -> Outcome:
    """Run trials in processes of their own."""
    context = multiprocessing.get_context("spawn")
    begun = time.monotonic()
    with ProcessPoolExecutor(workers, context) as pool:
        shares = [range(first + n, first + trials, workers) for n in range(workers)]
        outcomes = [f.result() for f in [pool.submit(run, part, s, seconds) for s in shares]]
    whole = Outcome.joined(part, [outcome.told() for outcome in outcomes])
    whole.seconds, whole.skipped = time.monotonic() - begun, outcomes[0].skipped
    return whole
