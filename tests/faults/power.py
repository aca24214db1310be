"""Power loss: everything that was not flushed goes, or comes in part, in any order. As in the
simulator, with nothing else that fails, and many more losses."""

from __future__ import annotations

from types import SimpleNamespace

from .programme import Tally
from .simulator import World


def trial(seed: int, tally: Tally) -> None:
    world = World(seed, tally)
    chance = world.rng.choice([0.005, 0.02, 0.05])
    world.dangers = SimpleNamespace(crash=0.0, power=chance, fail=0.0)
    world.run()
