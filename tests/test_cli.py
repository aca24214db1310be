"""The command line, as processes of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import lakota

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


def test_without_the_extra_the_error_names_it(tmp_path: Path) -> None:
    missing = "sys.modules.update(typer=None, rich=None)"
    found = run("ls", folder=tmp_path, first=missing)
    assert found.returncode == 2
    assert "pip install 'lakota-arrow[cli]'" in found.stderr and found.stderr.count("\n") == 1
    assert run("version", folder=tmp_path, first=missing).stdout == f"{lakota.__version__}\n"
