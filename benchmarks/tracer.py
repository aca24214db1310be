"""Flushes to disk, counted by `strace`: what a library in C++ or Rust does is seen, too.

`flushes_of` marks the blocks to count with two calls of access(2) on a path that does not exist.
"""

from __future__ import annotations

import re
import shutil

from measure import MARK

FLUSHES = ("fsync", "fdatasync", "msync", "syncfs", "sync_file_range", "sync")


def command(log: str) -> list[str] | None:
    """What to put before a command to trace it; None where there is no strace."""
    found = shutil.which("strace")
    if found is None:
        return None
    calls = ",".join(f"?{name}" for name in (*FLUSHES, "access", "faccessat", "faccessat2"))
    # A work has several stages, each a process of its own: the log grows.
    return [
        found,
        "-f",
        "--seccomp-bpf",
        "-A",
        "-qqq",
        "-s",
        "200",
        "-o",
        log,
        "-e",
        f"trace={calls}",
    ]


def counted(lines: list[str]) -> dict[str, float]:
    """From the lines of a log: the flushes of each marked block."""
    found: dict[str, float] = {}
    metric, times, count = "", 1, 0
    for line in lines:
        mark = re.search(re.escape(MARK) + r'(begin|end)/(?:([^"/]*)/(\d+))?', line)
        if mark and mark[1] == "begin":
            metric, times, count = mark[2], int(mark[3]), 0
        elif mark:
            found[metric] = count / times
        elif re.match(rf"\d+\s+({'|'.join(FLUSHES)})\(", line):
            count += 1
    return found
