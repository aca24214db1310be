"""The command line, as processes of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from dataclasses import fields
from pathlib import Path

import pytest
from typer.testing import CliRunner

import lakota
import lakota.server.__main__
from lakota import Clock, Repo, Schema
from lakota.cli.app import app
from lakota.server import Limits

SOURCE = Path(lakota.__file__).parents[1]


def run(
    *words: str, folder: Path, first: str = "pass", flags: str = "-c"
) -> subprocess.CompletedProcess[str]:
    """A real process. `first` runs before the command line does."""
    main = (
        f"import sys; sys.path.append({str(SOURCE)!r}); {first}; from lakota.__main__ import main"
    )
    return subprocess.run(
        [sys.executable, flags, f"{main}; sys.exit(main())", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_every_name_of_the_package_is_there() -> None:
    assert set(lakota.__all__) <= set(dir(lakota))
    for name in lakota.__all__:
        assert getattr(lakota, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = lakota.nothing


def test_version_waits_for_nothing(tmp_path: Path) -> None:
    heavy = ("polars", "pyarrow", "numpy", "typer", "rich", "typing", "re")
    first = "import atexit; atexit.register(lambda: print(sorted(set(sys.modules) & set(HEAVY))))"
    found = run("version", folder=tmp_path, first=f"HEAVY = {heavy}; {first}", flags="-ISc")
    assert found.stdout == f"{lakota.__version__}\n[]\n"


def test_rows_go_through_processes_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("n,x\n1,0.5\n")
    for words in (["create", "c", "n int*", "x float"], ["write", "c/s", "rows.csv"]):
        assert run(*words, folder=tmp_path).returncode == 0
    assert run("read", "c/s", folder=tmp_path).stdout == "n,x\n1,0.5\n"


def test_a_clock_that_is_far_ahead_is_told_of_in_one_line(tmp_path: Path) -> None:
    later = Clock(now=lambda: time.time_ns() + 10**9 * 10**6)
    other = Repo(tmp_path / "other", clock=later, durability="os")
    clct = other.create_collection(Schema(n="int*", x="float"), "weather")
    (clct / "s").write({"n": [1], "x": [1]})
    ran = run("--max-ahead", "10", "pull", "other", folder=tmp_path)
    assert ran.returncode == 2 and ran.stderr.count("\n") == 1
    ran = run("pull", "other", folder=tmp_path)
    *warnings, last = ran.stderr.splitlines()
    assert (ran.returncode, last) == (0, "pulled weather: 1 revision")
    assert warnings and all(line.startswith("warning: a revision") for line in warnings)


def test_without_the_extra_the_error_names_it(tmp_path: Path) -> None:
    missing = "sys.modules.update(typer=None, rich=None)"
    found = run("ls", folder=tmp_path, first=missing)
    assert found.returncode == 2
    assert "pip install 'lakota-arrow[cli]'" in found.stderr and found.stderr.count("\n") == 1
    assert run("version", folder=tmp_path, first=missing).stdout == f"{lakota.__version__}\n"


# ---- On a terminal


class Terminal:
    """A process on a terminal of its own, and all that it has shown."""

    def __init__(self, *words: str, folder: Path, first: str = "pass", **env: str) -> None:
        self.shown = ""
        # The first terminal that the leader of a session opens is the one whose Ctrl-C it gets.
        lead = "import os; os.close(os.open(os.ttyname(0), os.O_RDWR))"
        main = f"import sys; sys.path.append({str(SOURCE)!r}); {first}"
        code = f"{lead}; {main}; from lakota.__main__ import main; sys.exit(main())"
        plain = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS", "CI")}
        self.fd, side = pty.openpty()
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 90, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *words],
            cwd=folder,
            env={**plain, "TERM": "xterm-256color", **env},
            stdin=side,
            stdout=side,
            stderr=side,
            start_new_session=True,
        )
        os.close(side)

    def read(self, until: str | None = None) -> str:
        """Read until some text was shown, or to the end."""
        end = time.monotonic() + 60
        while until is None or until not in self.shown:
            assert time.monotonic() < end, self.shown
            if select.select([self.fd], [], [], 1)[0]:
                try:
                    found = os.read(self.fd, 65_536)
                except OSError:  # the other side is closed
                    break
                if not found:
                    break
                self.shown += found.decode("utf-8", "replace")
        return self.shown

    def type(self, keys: bytes) -> None:
        os.write(self.fd, keys)

    def end(self) -> tuple[int, str]:
        """Wait for its end; returns the exit code and what was shown."""
        self.read()
        os.close(self.fd)
        return self.process.wait(60), self.shown


SLOW = (
    "import lakota.store.local as l, time; place = l.LocalStore._place; "
    "l.LocalStore._place = lambda *a: (time.sleep(0.4), place(*a))[1]"
)
"""A disk that takes its time."""


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    repo = Repo(tmp_path / ".lakota", durability="os")
    clct = repo.create_collection(Schema(n="int*", x="float"), "weather")
    for i in range(40):
        (clct / f"s{i}").write({"n": [1, 2], "x": [i, i + 0.5]}, message=f"write {i}")
    return tmp_path


def test_a_long_push_shows_a_bar_and_ends_at_ctrl_c_with_nothing_half_done(filled: Path) -> None:
    terminal = Terminal("push", "copy", folder=filled, first=SLOW)
    shown = terminal.read("push: weather, segments")
    assert "━" in shown and "/40" in shown
    terminal.type(b"\x03")
    code, shown = terminal.end()
    assert code == 130 and "interrupted" in shown and "Traceback" not in shown
    copy = Repo(filled / "copy")
    assert copy.check() and copy.ls() == []
    again = run("push", "copy", folder=filled)
    assert again.returncode == 0 and again.stdout == ""
    assert again.stderr == "pushed weather: 40 revisions\n"  # no bar where there is no terminal
    assert (copy / "weather").ls() == (Repo(filled / ".lakota") / "weather").ls()


def test_a_bar_is_gone_in_the_end_and_quiet_shows_none(filled: Path) -> None:
    code, shown = Terminal("push", "copy", folder=filled, first=SLOW).end()
    assert code == 0 and "━" in shown
    assert shown.rstrip().endswith("pushed weather: 40 revisions")
    code, shown = Terminal("-q", "push", "other", folder=filled, first=SLOW).end()
    assert (code, shown) == (0, "")


def test_a_terminal_gets_tables_and_colours(filled: Path) -> None:
    code, shown = Terminal("read", "weather/s1", folder=filled).end()
    assert code == 0 and "┌" in shown
    code, shown = Terminal("log", "-n", "1", folder=filled).end()
    assert code == 0 and "\x1b[33m" in shown and "write 39" in shown
    code, shown = Terminal("log", "-n", "1", folder=filled, NO_COLOR="1").end()
    assert code == 0 and "\x1b[3" not in shown and "write 39" in shown


def in_bash(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_reader_that_goes_away_is_no_error(filled: Path) -> None:
    query = f"{sys.executable} -m lakota sql 'select * from weather'"
    ran = in_bash(f"set -o pipefail; {query} | head -n 1", filled)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "label,n,x\n", "")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("version >/dev/full", 5, "lakota: No space left on device"),
        ("ls >/dev/full", 5, "lakota: No space left on device"),
        ("help ls >/dev/full", 5, "lakota: No space left on device"),
        ("ls >&-", 0, ""),
        ("read weather/s1 >&-", 0, ""),
        ("ls 2>&-", 0, ""),
        ("write weather/s1 <&-", 2, "lakota: stdin: found nothing, expected a line with the names"),
        ("read weather/s1 -O /dev/null", 0, ""),
    ],
)
def test_streams_that_are_full_closed_or_no_files(
    filled: Path, words: str, code: int, said: str
) -> None:
    ran = in_bash(f"{sys.executable} -m lakota {words}", filled)
    assert ran.returncode == code
    assert ran.stderr.startswith(said) and ran.stderr.count("\n") == bool(said)
    assert not Path(os.devnull).is_file()


def test_a_repo_is_served_and_pushed_to(filled: Path) -> None:
    token = run("token", "add", "me", "--scope", "write", folder=filled).stdout.strip()
    assert "me\twrite\t*" in run("token", "list", folder=filled).stdout
    (filled / "root").mkdir()
    words = ["serve", "root", "--port", "0", "--tokens", "tokens.json"]
    server = subprocess.Popen(
        [sys.executable, "-m", "lakota", *words],
        cwd=filled,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stderr is not None
    try:
        url = server.stderr.readline().removeprefix("serving ").strip() + "/repo"
        known = f"import os; os.environ['LAKOTA_TOKEN'] = {token!r}"
        assert run("push", url, folder=filled).returncode != 0
        pushed = run("push", url, folder=filled, first=known)
        assert (pushed.returncode, pushed.stderr) == (0, "pushed weather: 40 revisions\n")
        cloned = run("clone", url, "copy", folder=filled, first=known)
        assert cloned.returncode == 0, cloned.stderr
    finally:
        server.send_signal(signal.SIGINT)
        server.stderr.close()
        assert server.wait(60) == 0
    assert (Repo(filled / "copy") / "weather" / "s1").df().height == 2
    assert "origin" in (filled / "copy" / ".remotes.json").read_text()


def test_every_limit_of_a_server_has_a_flag_that_tells_its_default(tmp_path: Path) -> None:
    limits = {f"--limit-{f.name.replace('_', '-')}": f.default for f in fields(Limits)}
    shown = run(
        "serve", "--help", folder=tmp_path, first="import os; os.environ['COLUMNS'] = '160'"
    )
    found = dict(re.findall(r"(--limit-\S+) .*; (\d+)\.", shown.stdout))
    assert found == {flag: str(default) for flag, default in limits.items()}
    plain = subprocess.run(
        [sys.executable, "-m", "lakota.server", "--help"],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
    )
    found = dict(re.findall(r"  (--limit-\S+) \S+\s+default (\d+)\n", plain.stdout))
    assert found == {flag: str(default) for flag, default in limits.items()}


@pytest.mark.parametrize("flag", [f.name for f in fields(Limits)])
@pytest.mark.parametrize("module", ["lakota serve", "lakota.server"])
def test_the_flag_of_a_limit_sets_it(
    flag: str, module: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told: list[Limits] = []

    def serve(*_: object, limits: Limits, **__: object) -> None:
        told.append(limits)

    words = [str(tmp_path), f"--limit-{flag.replace('_', '-')}", "7"]
    if module == "lakota.server":
        monkeypatch.setattr(lakota.server.__main__, "serve", serve)
        assert lakota.server.__main__.main(words) == 0
    else:
        monkeypatch.setattr(lakota.server, "serve", serve)
        assert CliRunner().invoke(app, ["serve", *words]).exit_code == 0
    assert told == [Limits(**{flag: 7})]


def test_a_limit_that_is_none_is_named(tmp_path: Path) -> None:
    refused = run("serve", ".", "--limit-idle", "0", folder=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr == "lakota: limit idle=0.0: expected a number above 0\n"
