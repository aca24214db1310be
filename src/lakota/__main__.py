"""`python -m lakota` and the `lakota` command.

`lakota version` must not wait for anything, so it is answered before the rest is imported.
"""

from __future__ import annotations

import io
import os
import sys
from importlib.util import find_spec

from . import __version__

__all__ = ["main"]

NEEDED = ("rich", "typer")


def main() -> int:
    """Run the command line; returns its exit code."""
    open_streams()
    if sys.argv[1:] in (["version"], ["--version"]):
        return version()
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        print(
            f"lakota: the command line needs {' and '.join(missing)}, not installed here: "
            "pip install 'lakota-arrow[cli]'",
            file=sys.stderr,
        )
        return 2
    try:
        from .cli.app import run

        return run(sys.argv[1:])
    except KeyboardInterrupt:
        print("lakota: interrupted", file=sys.stderr)
        return 130


def version() -> int:
    try:
        print(__version__, flush=True)
    except OSError as error:
        print(f"lakota: {error.strerror}", file=sys.stderr)
        return 5
    return 0


def open_streams() -> None:
    """What the caller closed is a stream to nowhere, and text is UTF-8, as rows are."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(nowhere, mode, encoding="utf-8"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
