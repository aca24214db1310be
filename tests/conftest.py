"""Settings of all tests: `LAKOTA_PROFILE=long` runs every property with 20,000 examples,
`LAKOTA_PROFILE=mutation` with few, always the same, and is content with any failure."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from bucket_kit import Bucket, serving
from faults.programme import HEADING, PARTS, Outcome
from hypothesis import HealthCheck, Phase, settings

settings.register_profile("default", deadline=None)
settings.register_profile(
    "long",
    deadline=None,
    max_examples=20_000,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile(
    "mutation",
    deadline=None,
    max_examples=30,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
)
settings.load_profile(os.environ.get("LAKOTA_PROFILE", "default"))


OWN_TESTS = {
    "extent": ("test_manifest.py",),
    "changelog": ("test_changelog.py", "test_archive.py"),
}
"""Of modules whose tests are not in the file of their own name."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A mutant is to be noticed by the tests of its own module."""
    package, _, rest = os.environ.get("MUTANT_UNDER_TEST", "").partition(".")
    module = rest.partition(".")[0]
    if package == "lakota" and module:
        own = OWN_TESTS.get(module, (f"test_{module}.py",))
        items[:] = [item for item in items if item.path.name in own]


@pytest.fixture(scope="session")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    """A bucket of a real server."""
    with serving(tmp_path_factory.mktemp("s3") / "log") as endpoint:
        yield Bucket(endpoint, "bucket")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What the fault programme tried, and what was lost."""
    parts: dict[str, list[Any]] = {}
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, told in report.user_properties:
                if name.startswith("faults "):
                    parts.setdefault(name.removeprefix("faults "), []).append(json.loads(told))
    if parts:
        terminalreporter.section("fault programme, short form")
        terminalreporter.line(HEADING)
    for name, told in parts.items():
        terminalreporter.line(Outcome.joined(PARTS[name], told).row())
