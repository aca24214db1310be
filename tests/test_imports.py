"""What is imported, and when: nothing that is not used."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "asyncio",
    "boto3",
    "duckdb",
    "httpx",
    "matplotlib",
    "obstore",
    "pandas",
    "requests",
    "rich",
    "starlette",
    "typer",
    "urllib3",
    "uvicorn",
)
WRITES = """
repo = lakota.Repo()
series = repo.create_collection(lakota.Schema(n="int*", x="float"), "c") / "s"
series.write(pyarrow.table({"n": numpy.arange(3), "x": numpy.zeros(3)}))
assert series.frame().num_rows == 3 and series.df().height == 3
"""


def imported(code: str) -> set[str]:
    """The modules that an interpreter has after some code."""
    asked = f"{code}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_package_alone_brings_in_nothing_large() -> None:
    assert not imported("import lakota") & {*HEAVY, "numpy", "polars", "pyarrow"}


@pytest.mark.parametrize(
    "code", ["from lakota import Repo, Schema, Clock, Collection, Series, LakotaError"]
)
def test_its_names_bring_in_nothing_that_only_some_use(code: str) -> None:
    assert not imported(code) & set(HEAVY)


def test_a_repo_without_a_remote_needs_no_client_and_no_server() -> None:
    code = f"import lakota, numpy, polars, pyarrow\n{WRITES}"
    # Arrow itself looks for pandas when it is handed a list.
    assert not imported(code) & ({*HEAVY} - {"pandas"})
