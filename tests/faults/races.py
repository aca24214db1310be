"""Races: processes that write, read, pack, trim, defrag and collect at once on one folder, with a
short grace. No reader fails or misses what was acknowledged; nothing is lost."""

from __future__ import annotations

import tempfile

from fault_kit import PROCESSES, SCHEMA, rows, together
from test_faults_concurrency import append, read, tidy

from lakota import Repo

from .programme import Tally

SECONDS = 5.0


def trial(number: int, tally: Tally) -> None:
    with tempfile.TemporaryDirectory(prefix="lakota-races-") as folder:
        Repo(folder).create_collection(SCHEMA, "c")
        told = PROCESSES.Value("q", 0)
        args = (folder, SECONDS, told)
        together((append, args), (tidy, args), (read, args), (read, args))
        clct = Repo(folder) / "c"
        clct.merge()
        if rows(clct / "s") != [(n, float(n)) for n in range(told.value * 10)]:
            raise AssertionError(f"of {told.value} blocks, {len(rows(clct / 's'))} rows are there")
        report = Repo(folder).check()
        if not report:
            raise AssertionError(f"damaged: {report.damaged}")
        tally.counts["blocks written"] += told.value
        tally.counts["processes"] += 4
