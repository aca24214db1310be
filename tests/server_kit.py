"""What the tests of the server share: a real server process on a free port of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lakota.server import add_token
from lakota.store.http import HttpStore

PROGRAM = """
import sys
from lakota.server import Limits, serve
options = eval(sys.argv[2])
limits = Limits(**options.pop("limits", {}))
serve(sys.argv[1], limits=limits, started=lambda url: print(url, flush=True), **options)
"""


class Server:
    """A server process. `tokens` has a token of each scope, for all repos."""

    def __init__(self, root: Path, folder: Path, **options: Any) -> None:
        self.root = root
        self.file = folder / "tokens.json"
        self.tokens = {}
        if not self.file.exists() and options.pop("with_tokens", True):
            for scope in ("read", "write", "admin"):
                self.tokens[scope] = add_token(self.file, scope, scope=scope)
            options["tokens"] = str(self.file)
        self._options = options
        self._log = folder / "server.log"
        self.start(port=0)

    def start(self, port: int | None = None) -> None:
        """Start; by default again, where it was."""
        options = {**self._options, "port": self.port if port is None else port}
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(self.root), repr(options)],
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ,
            )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().decode().strip()
        assert self.url, self.log()
        self.port = int(self.url.rpartition(":")[2])

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Stop, and wait for the end. Returns the exit code."""
        self.process.send_signal(how)
        try:
            return self.process.wait(40)
        finally:
            self.process.kill()
            self.process.wait()
            if self.process.stdout is not None:
                self.process.stdout.close()

    def log(self) -> str:
        """What the server said."""
        return self._log.read_text()

    def store(self, repo: str = "r", scope: str = "admin") -> HttpStore:
        """A repo as a client with that scope sees it."""
        return HttpStore(f"{self.url}/{repo}", token=self.tokens.get(scope, ""))


@contextmanager
def serving(root: Path, folder: Path, **options: Any) -> Iterator[Server]:
    """A server of `root` that keeps its own files in `folder`."""
    server = Server(root, folder, **options)
    try:
        yield server
    finally:
        server.stop()
