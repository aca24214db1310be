"""Object stores: against a real S3-compatible server, by the suite of all stores and beyond."""

from __future__ import annotations

import multiprocessing
import pickle
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import obstore
import pytest
from bucket_kit import Bucket
from store_suite import StoreSuite, contents

from lakota import InputError, ObjectMissingError, Repo, Schema, StoreError, UnavailableError
from lakota.store import ObjectStore, Store, parse_uri


@pytest.fixture
def store(bucket: Bucket) -> ObjectStore:
    return opened(bucket.uri, bucket.options)


def opened(uri: str, options: dict[str, Any]) -> ObjectStore:
    """The bare store of a uri."""
    rest = uri.removeprefix("s3://").split("/", 1)
    return ObjectStore("s3", *rest, options=options)


class TestObjectStore(StoreSuite):
    many = 1_010
    tick = 1.05  # S3 tells whole seconds

    @pytest.fixture
    def store(self, bucket: Bucket) -> Store:
        return opened(bucket.uri, bucket.options)


# Beyond the suite


def test_a_large_object_is_put_in_parts_and_read_in_ranges(store: ObjectStore) -> None:
    data = bytes(range(256)) * 100_000
    store.put("large", data)
    tail = store.tail("large", 1_000)
    assert tail.data.to_pybytes() == data[-1_000:]
    assert tail.size == len(data)
    spans = [(0, 10), (255, 1_000), (20_000_000, 20_000_001), (len(data) - 5, len(data))]
    found = store.ranges("large", spans, tail.version)
    assert [part.to_pybytes() for part in found] == [data[lo:hi] for lo, hi in spans]


def test_strays_are_not_objects_and_those_of_touch_are_swept(store: ObjectStore) -> None:
    store.put("a/b", b"x")
    raw = store._store
    for name in (".hidden", "a/.tmp-1", "a/b c", "1/2/3/4/5/6/7/8/9", ".tmp/0123456789abcdef"):
        obstore.put(raw, f"{store.prefix}/{name}", b"stray")
    assert contents(store) == {"a/b"}
    assert "b" in store.names("a")
    assert store.sweep(0) == 0
    assert store.sweep(4e9) == 1
    left = {found["path"] for chunk in obstore.list(raw, store.prefix) for found in chunk}
    assert len(left) == 5


def test_touch_leaves_nothing_behind(store: ObjectStore) -> None:
    store.put("a", b"x")
    assert store.touch("a")
    assert store.sweep(4e9) == 0


def test_repos_in_one_bucket_do_not_see_each_other(bucket: Bucket) -> None:
    uri = bucket.uri
    outer, inner, sibling = (opened(uri + end, bucket.options) for end in ("", "/in", "x"))
    sibling.put("a", b"sibling")
    inner.put("a", b"inner")
    outer.put("a", b"outer")
    assert [store.get("a").to_pybytes() for store in (outer, inner, sibling)] == [
        b"outer",
        b"inner",
        b"sibling",
    ]
    assert contents(inner) == {"a"}
    assert contents(sibling) == {"a"}


@pytest.mark.parametrize("prefix", ["/a/", "a//b", "a b/ü%20", "", "a+b&c=d?e#f"])
def test_any_prefix_will_do(bucket: Bucket, prefix: str) -> None:
    start = bucket.uri.split("/", 3)[3]
    store = ObjectStore("s3", bucket.name, f"{start}/{prefix}", bucket.options)
    store.put("b/c", b"x")
    assert contents(store) == {"b/c"}
    assert list(store.names("b")) == ["c"]
    store.delete(["b/c"])
    assert contents(store) == set()


# URIs and options


def test_uris_of_buckets(bucket: Bucket) -> None:
    places = []
    for uri in ("s3://b/some/repo", "s3:///b/some/repo", "S3://b/some/repo/"):
        store = parse_uri(uri, storage_options=bucket.options)
        assert "'s3://b/some/repo'" in repr(store)
        assert store.remote
        places.append(store.place)
    assert len(set(places)) == 1
    google = parse_uri("gs://b/x", storage_options={"google_skip_signature": "true"})
    azure = parse_uri("az://b/x", storage_options={"azure_storage_account_name": "someone"})
    assert "gs://b/x" in repr(google)
    assert "az://b/x" in repr(azure)


@pytest.mark.parametrize(
    "spelled",
    [
        lambda o: o,
        lambda o: {key.removeprefix("aws_"): value for key, value in o.items()},
        lambda o: {**o, "aws_allow_http": True, "timeout": "20s", "aws_session_token": None},
    ],
)
def test_options_are_spelled_as_in_polars_or_in_obstore(bucket: Bucket, spelled: Any) -> None:
    store = opened(bucket.uri, spelled(bucket.options))
    store.put("a", b"x")
    assert store.exists("a")


def test_what_is_not_said_comes_from_the_environment(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in bucket.options.items():
        monkeypatch.setenv(key.upper(), value)
    repo = Repo(bucket.uri)
    repo.create_collection(Schema(n="int*"), "c")
    assert Repo(repo.store).ls() == ["c"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"aws_regoin": "x"}, "aws_regoin"),
        ({"aws_region": ["x"]}, "expected a text or a number"),
        ({"aws_endpoint_url": "http://host"}, "not encrypted"),
        ({"aws_endpoint_url": "http://host", "allow_http": "false"}, "not encrypted"),
        ("aws_region=x", "expected a dict"),
        ({1: "x"}, "expected a dict"),
    ],
)
def test_options_that_cannot_be_are_refused_by_name(options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Repo("s3://bucket", storage_options=options)


@pytest.mark.parametrize("uri", ["folder", None, "memory://x", "file:///folder"])
def test_options_are_for_buckets(uri: str | None) -> None:
    with pytest.raises(InputError, match="is no bucket"):
        Repo(uri, storage_options={"aws_region": "x"})


def test_credentials_are_not_shown(bucket: Bucket) -> None:
    store = opened(bucket.uri, {**bucket.options, "aws_secret_access_key": "hush"})
    store.put("a", b"x")
    assert "hush" not in repr(store)
    with pytest.raises(ObjectMissingError) as caught:
        store.get("b")
    assert "hush" not in str(caught.value)


# Failures


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def test_nobody_there_is_unavailable(bucket: Bucket) -> None:
    nobody = {**bucket.options, "aws_endpoint_url": f"http://127.0.0.1:{free_port()}"}
    store = opened(bucket.uri, nobody)
    calls = [
        lambda: store.get("a"),
        lambda: store.put("a", b"x"),
        lambda: store.put_all({"a": b"x", "b": b"x"}),
        lambda: store.get_all(["a", "b"]),
        lambda: store.exists("a"),
        lambda: list(store.list("")),
        lambda: store.names("a"),
        lambda: store.delete(["a"]),
        lambda: store.touch("a"),
        lambda: store.tail("a", 1),
    ]
    for call in calls:
        with pytest.raises(UnavailableError, match="look after the network and the endpoint"):
            call()


def test_an_absent_bucket_is_named_by_whatever_touches_it(bucket: Bucket) -> None:
    store = opened("s3://absent/repo", bucket.options)
    for call in (
        lambda: store.get("a"),
        lambda: store.put("a", b"x"),
        lambda: list(store.list("")),
        lambda: store.names("a"),
        lambda: store.delete(["a"]),
    ):
        with pytest.raises(StoreError, match="make the bucket first") as caught:
            call()
        assert not isinstance(caught.value, ObjectMissingError | UnavailableError)
    with pytest.raises(StoreError, match="make the bucket first"):
        Repo("s3://absent/repo", storage_options=bucket.options)


def test_a_forked_process_is_told_instead_of_waiting_for_ever(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from lakota.store import ObjectStore\n"
        "options = {'aws_endpoint_url': 'http://127.0.0.1:1', 'allow_http': 'true',\n"
        "           'aws_access_key_id': 'a', 'aws_secret_access_key': 'b'}\n"
        "store = ObjectStore('s3', 'b', '', options)\n"
        "def said():\n"
        "    try:\n"
        "        store.get('a')\n"
        "    except OSError as error:\n"
        "        return str(error)\n"
        "assert 'network' in said()\n"
        "pid = os.fork()\n"
        "if not pid:\n"
        "    os._exit(0 if 'forked' in said() else 1)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)


def _put_from_another_process(store: Store) -> None:
    store.put("there", b"x")


def test_a_store_can_be_handed_to_another_process(store: ObjectStore) -> None:
    assert pickle.loads(pickle.dumps(store)).place == store.place
    process = multiprocessing.get_context("spawn").Process(
        target=_put_from_another_process, args=(store,)
    )
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert store.exists("there")


def test_without_obstore_the_extra_is_named(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "sys.modules['obstore'] = None\n"
        "import lakota\n"
        "try:\n"
        "    lakota.Repo('s3://bucket')\n"
        "except lakota.MissingExtraError as error:\n"
        "    assert \"pip install 'lakota-arrow[s3]'\" in str(error)\n"
        "else:\n"
        "    sys.exit('no error')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_importing_the_package_does_not_import_obstore() -> None:
    code = "import sys, lakota; sys.exit('obstore' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# Repos


def test_a_repo_in_a_bucket_does_what_one_in_a_folder_does(bucket: Bucket, tmp_path: Path) -> None:
    uri, options = bucket.uri, bucket.options
    repo = Repo(uri, storage_options=options)
    series = repo.create_collection(Schema(n="int*", x="float"), "c") / "s"
    series.write({"n": [1, 2, 3], "x": [0.5, None, 1.5]})
    series.delete(2, 3, closed="left")
    again = Repo(uri, storage_options=options)
    assert (again / "c" / "s").df()["x"].to_list() == [0.5, 1.5]
    folder = Repo(tmp_path / "repo")
    folder.pull(again)
    (folder / "c" / "s").write({"n": [4], "x": [2.5]})
    folder.push(again)
    again.merge()
    assert (repo / "c" / "s").df()["n"].to_list() == [1, 3, 4]
    repo.pack()
    assert repo.gc(grace=0).objects >= 0
    assert repo.check()
    assert (repo / "c" / "s").df()["n"].to_list() == [1, 3, 4]
