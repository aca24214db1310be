"""Settings of all tests: `LAKOTA_PROFILE=long` runs every property with 20,000 examples."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from bucket_kit import Bucket, serving
from hypothesis import HealthCheck, settings

settings.register_profile("default", deadline=None)
settings.register_profile(
    "long",
    deadline=None,
    max_examples=20_000,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile(os.environ.get("LAKOTA_PROFILE", "default"))


@pytest.fixture(scope="session")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    """A bucket of a real server."""
    with serving(tmp_path_factory.mktemp("s3") / "log") as endpoint:
        yield Bucket(endpoint, "bucket")
