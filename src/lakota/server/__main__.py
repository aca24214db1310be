"""`python -m lakota.server ROOT`: the server without the command line of the extra `cli`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields

from ..errors import LakotaError
from . import Limits, serve


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m lakota.server", description=serve.__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("root", help="a repo, or a folder of repos")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--tokens", help="the file of tokens")
    parser.add_argument("--public-read", action="store_true", help="reading takes no token")
    parser.add_argument("--cert", help="a TLS certificate, PEM")
    parser.add_argument("--key", help="its key, PEM")
    parser.add_argument("--access-log", action="store_true")
    limits = parser.add_argument_group("limits", "see lakota.server.Limits")
    for field in fields(Limits):
        name = f"--limit-{field.name.replace('_', '-')}"
        kind = float if field.type == "float" else int
        limits.add_argument(name, type=kind, default=field.default, help="default %(default)s")
    options = vars(parser.parse_args(arguments))
    given = {field.name: options.pop(f"limit_{field.name}") for field in fields(Limits)}
    try:
        serve(
            **options,
            limits=Limits(**given),
            started=lambda url: print(f"serving {url}", flush=True),
        )
    except LakotaError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
