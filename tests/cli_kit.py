"""A shell in which `lakota` answers quickly: real bash, real pipes and files, warm interpreters.

`lakota` on the shell's path is a small script that hands its words, folder, environment, stdin,
stdout and stderr to one of some waiting processes, which has the package imported and runs the
command line there. Several wait, since the commands of a pipe run at once.
"""

from __future__ import annotations

import io
import json
import os
import socket
import struct
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import lakota

SOURCE = Path(lakota.__file__).parents[1]
WAITING = 3
COMMAND = """\
#!{python} -IS
import json, os, socket, struct, sys
line = socket.socket(socket.AF_UNIX)
line.connect({path!r})
words = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(line, [struct.pack("<I", len(words))], [0, 1, 2])
line.sendall(words)
code = line.recv(4)
sys.exit(struct.unpack("<i", code)[0] if code else 99)
"""


@dataclass(frozen=True)
class Warm:
    """Where `lakota` is."""

    bin: Path

    def run(self, script: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a script of bash; stdout and stderr are apart."""
        return subprocess.run(
            ["bash", "-c", script],
            cwd=folder,
            env=self.environment(folder, **env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def environment(self, folder: Path, **env: str) -> dict[str, str]:
        """A plain environment, without settings of whoever runs the tests."""
        return {
            "PATH": f"{self.bin}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "COLUMNS": "100",
            "LAKOTA_AUTHOR": "ada",
            **env,
        }

    def session(self, commands: Sequence[str], folder: Path) -> list[str]:
        """What each command prints, to stdout and stderr, in one shell."""
        mark = "\x01end\x01"
        follow = f"\nstatus=$?; printf '{mark}'; (exit $status)\n"
        script = "exec 2>&1\n" + "".join(command + follow for command in commands)
        printed = self.run(script, folder).stdout.split(mark)
        assert len(printed) == len(commands) + 1 and not printed[-1], printed[-1]
        return printed[:-1]


@contextmanager
def warm(folder: Path) -> Iterator[Warm]:
    """Processes that wait, until the end of the block."""
    path = folder / "line"
    with socket.socket(socket.AF_UNIX) as line:
        line.bind(str(path))
        line.listen(16)
        environment = {**os.environ, "PYTHONPATH": f"{SOURCE}:{Path(__file__).parent}"}
        waiting = [
            subprocess.Popen(
                [sys.executable, __file__, str(line.fileno())],
                pass_fds=[line.fileno()],
                env=environment,
            )
            for _ in range(WAITING)
        ]
        command = folder / "lakota"
        command.write_text(COMMAND.format(python=sys.executable, path=str(path)))
        command.chmod(0o755)
        try:
            yield Warm(folder)
        finally:
            for process in waiting:
                process.kill()
                process.wait()


def commands_of(block: str) -> list[tuple[str, str]]:
    """The commands of a block as a terminal shows it, each with what follows it. A command goes on
    in lines that begin with `> `."""
    found: list[tuple[list[str], list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append(([line[2:]], []))
        elif line.startswith("> ") and not found[-1][1]:
            found[-1][0].append(line[2:])
        else:
            found[-1][1].append(line)
    return [("\n".join(words), "\n".join(shown)) for words, shown in found]


# ---- In this process


class Ran(NamedTuple):
    """What a command line did."""

    code: int
    out: str
    err: str
    data: bytes


def call(*words: str, stdin: bytes = b"") -> Ran:
    """Run a command line in this process, in its folder."""
    from lakota.cli.app import run

    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in "oe")
    kept = sys.stdin
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(stdin)), "utf-8")
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = run(words)
    except SystemExit as exit:  # after a completion
        code = exit.code if isinstance(exit.code, int) else 0
    finally:
        sys.stdin = kept
    data = out.buffer.getvalue()
    shown = data.decode("utf-8", "replace")
    return Ran(code, shown, err.buffer.getvalue().decode(), data)


def done(*words: str, stdin: bytes = b"") -> str:
    """Run a command line that must succeed; returns what it prints."""
    ran = call(*words, stdin=stdin)
    assert ran.code == 0, ran.err
    return ran.out


# ---- The processes that wait


def serve(number: int) -> None:
    for name in ("app", "reading"):
        import_module(f"lakota.cli.{name}")
    line = socket.socket(fileno=number)
    clean = dict(os.environ)
    while True:
        caller, _ = line.accept()
        with caller:
            code = answer(caller)
            caller.sendall(struct.pack("<i", code))
        os.environ.clear()
        os.environ.update(clean)


def answer(caller: socket.socket) -> int:
    """Run one command line with the caller's streams."""
    head, fds, _, _ = socket.recv_fds(caller, 4, 3)
    (size,) = struct.unpack("<I", head)
    body = b""
    while len(body) < size:
        body += caller.recv(size - len(body))
    words, folder, environment = json.loads(body)
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    try:
        return run(words)
    finally:
        null = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(null, number)
        os.close(null)


def run(words: list[str]) -> int:
    from lakota.__main__ import main

    sys.argv = ["lakota", *words]
    text = {"encoding": "utf-8", "closefd": False}
    with (
        suppress(BrokenPipeError),
        open(0, **text) as sys.stdin,
        open(1, "w", **text) as sys.stdout,
        open(2, "w", buffering=1, **text) as sys.stderr,
    ):
        try:
            return main()
        except SystemExit as exit:
            return exit.code if isinstance(exit.code, int) else 0
        except BaseException:
            traceback.print_exc()
            return 98


if __name__ == "__main__":
    serve(int(sys.argv[1]))
