"""Azure Blob Storage: against Azurite, the emulator of its maker, which `make test-azurite` has."""

from __future__ import annotations

import base64
import email.utils
import hashlib
import hmac
import itertools
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fault_kit import PROCESSES, SCHEMA, content, intact, numbers, rows, together
from store_suite import StoreSuite, contents

from lakota import Repo, StoreError
from lakota.store import ObjectStore, Store

AZURITE = os.environ.get("LAKOTA_AZURITE", "")
"""The program azurite-blob."""
pytestmark = pytest.mark.skipif(not AZURITE, reason="needs Azurite: make test-azurite")

ACCOUNT = "devstoreaccount1"  # the one that it knows, and its published key
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_numbers = itertools.count()


def _make_container(endpoint: str, name: str) -> None:
    """As `az storage container create` does."""
    date, version = email.utils.formatdate(usegmt=True), "2021-08-06"
    signed = [f"x-ms-date:{date}", f"x-ms-version:{version}"]
    place = f"/{ACCOUNT}/{ACCOUNT}/{name}"
    text = "\n".join(["PUT", *[""] * 11, *signed, place, "restype:container"])
    digest = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
    headers = {
        "x-ms-date": date,
        "x-ms-version": version,
        "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}",
        "Content-Length": "0",
    }
    url = f"{endpoint}/{name}?restype=container"
    request = urllib.request.Request(url, method="PUT", headers=headers)
    urllib.request.urlopen(request, timeout=30).close()


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The `storage_options` of a server process, which has the container `box`."""
    folder = tmp_path_factory.mktemp("azurite")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
    command = ["node", AZURITE, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--silent"]
    command += ["--location", str(folder), "--skipApiVersionCheck"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        for _ in range(600):
            try:
                _make_container(endpoint, "box")
                break
            except urllib.error.HTTPError:
                raise
            except OSError:
                time.sleep(0.05)
        yield {
            "azure_storage_account_name": ACCOUNT,
            "azure_storage_account_key": KEY,
            "azure_endpoint": endpoint,
            "azure_allow_http": "true",
        }
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def uri() -> str:
    """A place of its own, every time."""
    return f"az://box/repo-{next(_numbers)}"


def opened(uri: str, options: dict[str, str]) -> ObjectStore:
    return ObjectStore("az", *uri.removeprefix("az://").split("/", 1), options=options)


class TestAzure(StoreSuite):
    many = 1_010
    tick = 1.05  # it tells whole seconds

    @pytest.fixture
    def store(self, uri: str, options: dict[str, str]) -> Store:
        return opened(uri, options)


def test_a_large_object_is_put_in_parts_and_read_in_ranges(
    uri: str, options: dict[str, str]
) -> None:
    store = opened(uri, options)
    data = bytes(range(256)) * 100_000
    store.put("large", data)
    tail = store.tail("large", 1_000)
    assert (tail.data.to_pybytes(), tail.size) == (data[-1_000:], len(data))
    spans = [(0, 10), (255, 1_000), (20_000_000, 20_000_001), (len(data) - 5, len(data))]
    found = store.ranges("large", spans, tail.version)
    assert [part.to_pybytes() for part in found] == [data[lo:hi] for lo, hi in spans]


def test_touch_leaves_nothing_behind(uri: str, options: dict[str, str]) -> None:
    store = opened(uri, options)
    store.put("a", b"x")
    assert store.touch("a")
    assert not store.touch("b")
    assert store.sweep(4e9) == 0
    assert contents(store) == {"a"}


def test_an_absent_container_is_named(options: dict[str, str]) -> None:
    with pytest.raises(StoreError, match="make the bucket first"):
        Repo("az://absent/repo", storage_options=options)


def test_a_repo_in_azure_does_what_one_in_a_folder_does(
    uri: str, options: dict[str, str], tmp_path: Path
) -> None:
    repo = Repo(uri, storage_options=options)
    clct = repo.create_collection(SCHEMA, "c")
    (clct / "noise").write({"n": np.arange(300_000), "x": np.random.default_rng(1).random(300_000)})
    for turn in range(5):
        (clct / "s").write(numbers(10 * turn, 10 * turn + 20, turn))
    folder = Repo(tmp_path / "repo")
    folder.pull(repo)
    (folder / "c" / "s").write(numbers(0, 5, 9))
    (clct / "s").delete(3, 8)
    folder.push(repo)
    repo.merge()
    folder.pull(repo)
    assert content(folder) == content(repo) == content(Repo(uri, storage_options=options))
    clct.defrag(1)
    clct.trim(grace=0)
    repo.pack()
    assert repo.gc(grace=0).objects > 0
    assert intact(repo)
    assert content(folder) == content(Repo(uri, storage_options=options))


def _write(uri: str, options: dict[str, str], number: int) -> None:
    series = Repo(uri, storage_options=options) / "c" / "s"
    for turn in range(5):
        key = 5 * number + turn
        series.write(numbers(key, key + 1))


def test_many_writers_lose_nothing(uri: str, options: dict[str, str]) -> None:
    repo = Repo(uri, storage_options=options)
    clct = repo.create_collection(SCHEMA, "c")
    assert PROCESSES.get_start_method() == "forkserver"  # a fork would have no network
    together(*((_write, (uri, options, number)) for number in range(6)))
    assert len(clct.changelog.heads()) <= 6
    clct.merge()
    assert rows(clct / "s") == [(n, float(n)) for n in range(30)]
    assert intact(repo)
