"""Scripts of a shell that work with real data from end to end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_kit import Warm, warm

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("LAKOTA_DATA", ROOT.parent / "shared" / "data"))
STATIONS = DATA / "us-weather"


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    with warm(tmp_path_factory.mktemp("cli")) as found:
        yield found


@pytest.mark.data
@pytest.mark.skipif(not STATIONS.is_dir(), reason="the weather of ten stations is not here")
def test_ten_weather_files_are_imported_charted_revised_diffed_and_pushed(
    shell: Warm, tmp_path: Path
) -> None:
    ran = shell.run(f"{ROOT}/examples/weather.sh {STATIONS}", tmp_path, TMPDIR=str(tmp_path))
    assert ran.returncode == 0, ran.stderr
    names = sorted(path.stem for path in STATIONS.glob("*.csv"))
    steps = ran.stdout.split("# ")[1:]
    assert [step.split(":")[0] for step in steps] == ["import", "chart", "revise", "diff", "push"]
    assert steps[0].split("\n")[1:-1] == [*names, "3650"]
    chart = steps[1]
    assert sum("\u2801" <= char <= "\u28ff" for char in chart) > 100
    assert "2014-07-01" in chart and "2015-06-30" in chart
    assert [line.split(",")[0] for line in chart.splitlines()[-10:]] == names
    assert "one degree more" in steps[2] and "as published" in steps[2]
    diff = steps[3].splitlines()
    label, day, change, *values = diff[2].split(",")
    assert (label, day, change) == (names[-1], "2015-01-01", "changed")
    assert diff[3] == "date,published,HEAD" and diff[4].startswith("2015-01-01,")
    before, after = map(int, diff[4].split(",")[1:])
    assert (after - before, str(before) in values, str(after) in values) == (1, True, True)
    assert len(diff) == 7  # two vintages of the day, and its history
    assert "archive (" in steps[4] and ": the same revisions" in steps[4]
    assert "all whole" in ran.stderr
    assert list(tmp_path.iterdir()) == []
