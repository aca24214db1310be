"""The works: what every library is asked to do, stage by stage.

Each stage runs in a process of its own, one after the other, in one folder. It gives metrics:
seconds unless the name says otherwise. Whatever is read is compared bit for bit with the data,
outside the clock; `Wrong` is raised where it differs.
"""

from __future__ import annotations

import commits
import imports
import large
import many
import real
import remote
import replicas
from kit import Stage, prepare_large

WORKS: dict[str, tuple[Stage, ...]] = {
    "import": (imports.cost,),
    "W1": (large.write,),
    "W2": (prepare_large, large.read_fresh, large.pack, large.read_packed),
    "W3": (prepare_large, large.ranges_fresh, large.pack, large.ranges_packed),
    "W4": (commits.commit, commits.after, commits.pack),
    "W5": (many.bulk, many.after, many.pack),
    "W5m": (many.multi,),
    "W6": (prepare_large, large.overwrite),
    "W7": (replicas.prepare, replicas.replicate),
    "W8": (replicas.merge_aligned, replicas.merge_overlapping),
    "W9": (prepare_large, large.pack),
    "W10": (real.replay, real.read_back),
    "W10c": (real.replay_changes, real.read_back_changes),
    "requests": (remote.requests,),
}
"""A stage that a library has no way for, or that fails, is noted with the reason; the stages after
it run all the same unless it prepared what they need."""

PREPARES = {
    prepare_large,
    large.write,
    commits.commit,
    many.bulk,
    replicas.prepare,
    real.replay,
    real.replay_changes,
}
"""Stages without which the later ones of a work make no sense."""


def ends(stage: Stage) -> bool:
    """Whether a work ends where a library has no way for this stage."""
    return stage in PREPARES or stage.__name__ == "pack"
