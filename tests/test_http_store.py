"""Stores behind a URL: the suite over a real server, and what holds for this store only."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from server_kit import Server, serving
from store_suite import StoreSuite

from lakota.store import Store

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("repos")
    with serving(root, tmp_path_factory.mktemp("server")) as server:
        yield server


class TestHttpStore(StoreSuite):
    @pytest.fixture
    def store(self, server: Server) -> Store:
        return server.store(f"r{next(NUMBERS)}")
