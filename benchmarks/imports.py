"""What the import of a package costs on top of Polars and pyarrow."""

from __future__ import annotations

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
    """The median of fresh interpreters."""
    return {"import, on top of polars and pyarrow": _median(library.imports, sizes.reads)}


def _median(statement: str, times: int) -> float:
    code = CODE.format(statement=statement)
    runs = (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(times + 1)
    )
    _, *seconds = (float(run.stdout) for run in runs)
    return statistics.median(seconds)
