"""What the import of a package costs on top of Polars and pyarrow."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

from kit import Sizes
from library import Library
from measure import Metrics

CODE = """
import time
try:
    import numpy, polars, pyarrow
except ImportError:
    pass
started = time.perf_counter()
{statement}
print(time.perf_counter() - started)
"""


def cost(library: Library, sizes: Sizes) -> Metrics:
    """The median of fresh interpreters, whose modules are compiled."""
    found = {"import, on top of polars and pyarrow": _median(library, sizes, library.imports)}
    if library.names:
        metric = "import, with the first names of it"
        found[metric] = _median(library, sizes, library.names)
    return found


def _median(library: Library, sizes: Sizes, statement: str) -> float:
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": library.folder}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-c", CODE.format(statement=statement)]
    runs = (
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        for _ in range(sizes.reads + 1)
    )
    _, *seconds = (float(run.stdout) for run in runs)
    return statistics.median(seconds)
