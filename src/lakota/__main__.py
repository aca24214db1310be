"""`python -m lakota` and the `lakota` command.

`lakota version` must not wait for anything, so it is answered before the rest is imported.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

from . import __version__

__all__ = ["main"]

NEEDED = ("rich", "typer")


def main() -> int:
    """Run the command line; returns its exit code."""
    if sys.argv[1:] in (["version"], ["--version"]):
        print(__version__)
        return 0
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


if __name__ == "__main__":
    sys.exit(main())
