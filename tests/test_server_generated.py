"""Requests generated from the OpenAPI document, fitting and not: no 5xx, nothing outside of the
root, nothing changed without the scope for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from fault_kit import SCHEMA, content, intact, numbers, tree
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from server_kit import Server, serving

from lakota import Repo

REQUESTS = [200, pytest.param(2_000, marks=pytest.mark.long)]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
ASKED = {"collection": "c", "series": "s", "a": "2020-01-01"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret").write_text("nobody may see this")
    (outside / "repos").mkdir()
    clct = Repo(outside / "repos" / "r").create_collection(SCHEMA, "c")
    (clct / "s").write(numbers(0, 100))
    with serving(outside / "repos", tmp_path_factory.mktemp("server")) as server:
        yield server


def play(server: Server, scopes: list[str], count: int) -> list[int]:
    """Send generated requests; returns the statuses of the answers."""
    document = requests.get(f"{server.url}/openapi.json", timeout=10).json()
    schema = schemathesis.openapi.from_dict(document)
    operations = [found.ok() for found in schema.get_all_operations()]
    cases = st.one_of(
        operation.as_strategy(generation_mode=mode)
        for operation in operations
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    )
    session = requests.Session()
    statuses: list[int] = []
    names = sorted(tree(server.root / "r"))

    @settings(
        max_examples=count,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        case=cases,
        scope=st.sampled_from(scopes),
        near=st.integers(0, 3),
        name=st.sampled_from(names),
    )
    def send(case: Any, scope: str, near: int, name: str) -> None:
        if near:  # what is there, so that more than its absence is tested
            there = {"repo": "r", "name": name}
            case.path_parameters.update({k: there[k] for k in there if f"{{{k}}}" in case.path})
            case.query.update({k: ASKED[k] for k in ASKED if k in case.query})
        token = server.tokens.get(scope, scope)
        headers = {"Authorization": f"Bearer {token}"} if token else {"Authorization": ""}
        response = case.call(base_url=server.url, session=session, headers=headers, timeout=30)
        statuses.append(response.status_code)
        assert b"nobody may see this" not in response.content
        case.validate_response(response, checks=CHECKS)

    send()
    session.close()
    return statuses


@pytest.mark.parametrize("count", REQUESTS)
def test_without_the_scope_nothing_changes(server: Server, count: int) -> None:
    before = tree(server.root.parent)
    statuses = play(server, ["read", "read", "read", "", "guessed"], count)
    assert tree(server.root.parent) == before
    assert len(statuses) >= count
    assert {200, 401, 403} <= set(statuses)
    assert max(statuses) < 500


@pytest.mark.parametrize("count", [100, *REQUESTS[1:]])
def test_with_the_scope_to_write_nothing_is_damaged_or_left(server: Server, count: int) -> None:
    repo = Repo(server.root / "r")
    expected = content(repo)
    outside = {name: data for name, data in tree(server.root.parent).items() if "repos" not in name}
    statuses = play(server, ["write"], count)
    after = {name: data for name, data in tree(server.root.parent).items() if "repos" not in name}
    assert after == outside == {"secret": b"nobody may see this"}
    assert content(Repo(server.root / "r")) == expected
    assert intact(repo)
    assert max(statuses) < 500
