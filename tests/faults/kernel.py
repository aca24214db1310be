"""The real kernel: `strace` makes the n-th flush, rename or write of a real process fail, or kills
the process there; and a small disk fills up.

An error of a flush is never acknowledged, what was acknowledged is there, everything is whole, and
once the fault is over all is written.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from fault_kit import SCHEMA, numbers, rows

from lakota import Repo, StoreError

from .programme import Tally

TURNS = 8
FLUSH, WRITE = "fsync,syncfs", "write,writev"
FAULTS = (
    (FLUSH, "error=EIO"),
    (FLUSH, "error=ENOSPC"),
    ("rename", "error=EIO"),
    (WRITE, "error=ENOSPC"),
    (FLUSH, "signal=9"),
    ("rename", "signal=9"),
    (WRITE, "signal=9"),
)

# Acknowledgements go by pwrite, which is not disturbed. The number of a turn once it is written, or
# 100 and more for a turn that failed and is tried again.
SCRIPT = f"""
import os, sys
from fault_kit import numbers
from lakota import Repo, StoreError
from lakota.store import local
folder, told, batch = sys.argv[1:]
local._BATCH = int(batch)
told = os.open(told, os.O_WRONLY | os.O_CREAT)
said = 0
def say(number):
    global said
    os.pwrite(told, bytes([number]), said)
    said += 1
repo = Repo(folder)
say(200)
for turn in range({TURNS}):
    for attempt in range(5):
        try:
            (repo / "c" / "s").write(numbers(turn, turn + 1), author="")
        except StoreError as error:
            say(100 + turn)
        else:
            say(turn)
            break
"""


def absent() -> str:
    if sys.platform != "linux":
        return "needs Linux"
    if shutil.which("strace") is None:
        return "strace is not installed (apt-get install strace)"
    probe = subprocess.run(
        ["strace", "-f", "-o", "/dev/null", "-e", "inject=fsync:error=EIO", "true"],
        capture_output=True,
        check=False,
    )
    return "" if probe.returncode == 0 else "strace may not trace here"


def trial(number: int, tally: Tally) -> None:
    if number % 50 == 9:
        _small_disk(number, tally)
        return
    call, fault = FAULTS[number % len(FAULTS)]
    when = 1 + number // len(FAULTS)  # strace counts the calls of each thread
    batch = "64" if when % 2 else "2"  # files from which on the file system is flushed as one
    with tempfile.TemporaryDirectory(prefix="lakota-kernel-") as root:
        folder, told, log = (str(Path(root, name)) for name in ("repo", "told", "log"))
        Repo(folder).create_collection(SCHEMA, "c")
        path = os.pathsep.join(p for p in sys.path if p)
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": path}
        inject = f"inject={call}:{fault}:when={when}"
        tracer = ["strace", "-f", "--seccomp-bpf", "-o", log, "-e", f"trace={call}", "-e", inject]
        subprocess.run(
            [*tracer, sys.executable, "-c", SCRIPT, folder, told, batch],
            env=environment,
            capture_output=True,
            check=False,
            timeout=300,
        )
        said = list(Path(told).read_bytes()) if Path(told).exists() else []
        fired = "INJECTED" in Path(log).read_text() or "SIGKILL" in Path(log).read_text()
        tally.counts[f"{call} {fault}"] += fired
        tally.counts["not reached"] += not fired
        where = f"{inject}: said {said}"
        flushed = call == FLUSH and fault.startswith("error")
        if flushed and fired and not any(100 <= turn < 200 for turn in said):
            raise AssertionError(f"{where}: a failed flush was acknowledged")
        written = [turn for turn in said if turn < 100]
        tally.counts["acknowledged"] += len(written)
        series = Repo(folder) / "c" / "s"
        keys = [key for key, _ in rows(series, merged=True)]
        if not set(written) <= set(keys) or len(keys) > len(written) + 1:
            raise AssertionError(f"{where}: there is {keys}")
        report = Repo(folder).check()
        if not report:
            raise AssertionError(f"{where}: {report.damaged}")
        for turn in range(TURNS):
            series.write(numbers(turn, turn + 1))
        if [key for key, _ in rows(series)] != list(range(TURNS)):
            raise AssertionError(f"{where}: tried again, there is {rows(series)}")


def _small_disk(number: int, tally: Tally) -> None:
    """A disk of a few hundred kilobytes that fills up, is freed, and fills up again."""
    with tempfile.TemporaryDirectory(prefix="lakota-kernel-") as folder:
        size = 256 + number % 7 * 64
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", folder]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            tally.counts["may not mount"] += 1
            return
        try:
            _fill(folder, tally)
        finally:
            subprocess.run(["umount", folder], check=True)


def _fill(folder: str, tally: Tally) -> None:
    series = Repo(f"{folder}/repo").create_collection(SCHEMA, "c") / "s"
    expected: list[int] = []
    ballast = Path(folder, "ballast")
    for fill in range(3):
        ballast.write_bytes(b"x" * 60_000)
        try:
            while True:
                turn = len(expected)
                series.write(numbers(turn, turn + 1))
                expected.append(turn)
        except StoreError:
            tally.counts["full disks"] += 1
        keys = [key for key, _ in rows(Repo(f"{folder}/repo") / "c" / "s")]
        if keys != expected:
            raise AssertionError(f"on a full disk, {keys} are there of {expected}")
        ballast.unlink()
        series.write(numbers(len(expected), len(expected) + 1))
        expected.append(len(expected))
        Repo(f"{folder}/repo").pack()
        (Repo(f"{folder}/repo") / "c").trim(grace=0)
        Repo(f"{folder}/repo").gc(grace=0)
        if not Repo(f"{folder}/repo").check():
            raise AssertionError(f"damaged after a full disk, {fill}")
