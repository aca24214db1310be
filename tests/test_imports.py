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
MAIN_JOB = """
import lakota, numpy, polars, pyarrow
repo, other = lakota.Repo(), lakota.Repo()
clct = repo.create_collection(lakota.Schema(time="timestamp*", x="float"), "c")
series = clct / "s"
time = numpy.arange(3).astype("datetime64[h]").astype("datetime64[us]")
frame = polars.DataFrame({"time": time, "x": numpy.zeros(3)})
series.write(frame)
series.write({"time": time, "x": numpy.ones(3)})
series.write({"time": ["1970-01-01T00:00"], "x": [2.0]})
series.write(frame.to_arrow(), only_changes=True)
clct.write(frame.with_columns(label=polars.lit("a")), label="label")
with clct.multi():
    for label in "bc":
        clct.series(label).write(frame)
series.delete("1970-01-01T02:00", None)
first, *_, last = clct.changelog.log()
assert series.frame().num_rows == 2 and series.df("1970-01-01T01:00").height == 1
assert series.df(as_of=first).height == 3 and len(clct.ls()) == 4
assert clct.scan(label="label").collect().height == 11
clct.diff(first, last)
clct.pack()
other.pull(repo)
(other / "c").merge()
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
    # Nor pandas, which `pyarrow.array` and others import where it is installed.
    assert not imported(MAIN_JOB) & set(HEAVY)
