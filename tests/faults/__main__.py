"""`python -m faults [part ...] [--minutes 60] [--workers 2] [--first N] [--only N]`"""

from __future__ import annotations

import argparse
import os
import sys

from .programme import HEADING, PARTS, Outcome, run, run_apart


def main() -> int:
    parser = argparse.ArgumentParser(prog="faults", description="The fault programme.")
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; by default all")
    parser.add_argument("--minutes", type=float, default=60.0, help="for all parts together")
    parser.add_argument("--workers", type=int, default=2, help="processes at once")
    parser.add_argument("--first", type=int, default=0, help="the number of the first trial")
    parser.add_argument("--only", type=int, help="run this trial alone, in this process")
    parser.add_argument("--short", action="store_true", help="as many trials as `make test`")
    options = parser.parse_args()
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"no part {', '.join(sorted(unknown))}: expected some of {', '.join(PARTS)}")
    parts = [PARTS[name] for name in options.parts or PARTS]
    whole = sum(part.share for part in parts)
    print(HEADING, flush=True)
    lost = []
    for part in parts:
        seconds = 60 * options.minutes * part.share / whole
        outcome: Outcome
        if options.only is not None:
            outcome = run(part, [options.only], seconds)
        else:
            trials = part.short if options.short else part.long
            outcome = run_apart(part, trials, seconds, options.workers, options.first)
        print(outcome.row(), flush=True)
        lost.extend(outcome.tally.losses)
    for text in lost:
        print(f"\n{text}")
    return 1 if lost else 0


if __name__ == "__main__":
    # Sets are walked in the same order each time, and each process has one core.
    wanted = {"PYTHONHASHSEED": "0", "POLARS_MAX_THREADS": "1"}
    if wanted.items() - os.environ.items():
        flags = ["-O"] if sys.flags.optimize else []
        command = [sys.executable, *flags, "-m", "faults", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, **wanted})
    sys.exit(main())
