"""Stores behind a URL: the suite over a real server, and what holds for this store only."""

from __future__ import annotations

import http.server
import itertools
import pickle
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from server_kit import Server, serving
from store_suite import StoreSuite

from lakota import Repo, Schema, StoreError, UnavailableError
from lakota.objects import digest_of
from lakota.segment import open_segment
from lakota.store import HttpStore, LocalStore, MemoryStore, Store
from lakota.store.http import OBJECT_HEAD, OBJECTS_AT_ONCE, PAGE_HEAD, PAGES_AT_ONCE

NUMBERS = itertools.count()
SCHEMA = Schema(n="int*", x="float")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("repos")
    with serving(root, tmp_path_factory.mktemp("server")) as server:
        yield server


class TestHttpStore(StoreSuite):
    @pytest.fixture
    def store(self, server: Server) -> Store:
        return server.store(f"r{next(NUMBERS)}")


def test_a_copy_of_the_handle_is_the_same_store(server: Server) -> None:
    store = server.store("copied")
    store.put("a", b"x")
    again = pickle.loads(pickle.dumps(store))
    assert again.place == store.place
    assert again.get("a").to_pybytes() == b"x"
    assert list(again.names("")) == ["a"]


def test_plain_segments_travel_packed(server: Server) -> None:
    store = LocalStore(server.root / "plain")
    clct = Repo(store).create_collection(Schema(n="int*", x="float"), "c")
    (clct / "s").write({"n": range(200_000), "x": [n % 100 / 4 for n in range(200_000)]})
    (name,) = [i.name for i in store.list("segments") if i.size > 1_000_000]
    remote = server.store("plain", "read")
    sent = remote.get(name)
    assert sent.size < store.get(name).size / 20
    table = open_segment(sent, digest_of(name)).table()
    assert table == open_segment(store.get(name), digest_of(name)).table()
    # Parts of it are parts of what is stored.
    tail = remote.tail(name, 100)
    assert tail.data.to_pybytes() == store.get(name).to_pybytes()[-100:]
    (part,) = remote.ranges(name, [(1_000, 2_000)], tail.version)
    assert part.to_pybytes() == store.get(name).to_pybytes()[1_000:2_000]


def test_many_pages_come_in_one_answer(server: Server) -> None:
    store = LocalStore(server.root / "pages")
    clct = Repo(store).create_collection(Schema(n="int*", x="float"), "c")
    labels = [f"series {n}" for n in range(30_000)]
    zeros = [0] * len(labels)
    clct.write({"label": labels, "n": zeros, "x": zeros})
    names = [info.name for info in store.list("pages")]
    assert len(names) > 2 * PAGES_AT_ONCE
    absent = [f"pages/ab/{n:030x}.page" for n in range(3)]
    remote = server.store("pages", "read")
    remote.get("lakota.json")
    asked = count_requests(remote)
    found = remote.get_all([*absent, *names])
    assert found.keys() == set(names)
    assert all(found[name].equals(store.get(name)) for name in names)
    assert asked["POST"] == -(-(len(names) + 3) // PAGES_AT_ONCE)
    assert asked["GET"] == len(absent)  # each of them is asked for alone, in the end


def test_what_would_be_too_large_an_answer_comes_alone(server: Server) -> None:
    store = LocalStore(server.root / "large")
    Repo(store).create_collection(Schema(n="int*"), "c")
    names = [f"pages/ab/{n:030x}.page" for n in range(6)]
    for nth, name in enumerate(names):
        store.put(name, bytes([nth]) * (1 << 20))
    remote = server.store("large", "read")
    asked = count_requests(remote)
    found = remote.get_all(names)
    assert [found[name].to_pybytes() for name in names] == [
        bytes([n]) * (1 << 20) for n in range(6)
    ]
    assert asked["POST"] == 1
    assert 0 < asked["GET"] < 6


def test_a_server_that_does_not_know_how_to_send_many_pages_sends_each(server: Server) -> None:
    class Earlier(HttpStore):
        def _request(self, method: str, path: str, **options: Any) -> Any:
            return super()._request(
                method, path.replace("pages", "unknown", method == "POST"), **options
            )

    store = LocalStore(server.root / "earlier")
    Repo(store).create_collection(Schema(n="int*"), "c")
    names = [f"pages/ab/{n:030x}.page" for n in range(6)]
    for name in names:
        store.put(name, name.encode())
    remote = Earlier(f"{server.url}/earlier", token=server.tokens["read"])
    assert {n: data.to_pybytes() for n, data in remote.get_all(names).items()} == {
        name: name.encode() for name in names
    }


@pytest.mark.parametrize("answer", [b"\0", bytes(7), PAGE_HEAD.pack(9, 0), PAGE_HEAD.pack(0, 5)])
def test_an_answer_that_makes_no_sense_is_named(server: Server, answer: bytes) -> None:
    remote = server.store("sense", "admin")
    Repo(remote).init()
    assert remote.get_all([]) == {}
    remote._ask_pages = lambda names: pa.py_buffer(answer)  # type: ignore[method-assign]
    with pytest.raises(StoreError, match="something else"):
        remote.get_all([f"pages/ab/{n:030x}.page" for n in range(9)])


def count_requests(store: HttpStore) -> Counter[str]:
    """How many requests of each method go out from now on."""
    counts: Counter[str] = Counter()
    request = store._request

    def counted(method: str, path: str, **options: Any) -> Any:
        counts[method] += 1
        return request(method, path, **options)

    store._request = counted  # type: ignore[method-assign]
    return counts


def test_a_server_that_is_down_for_a_moment_is_not_taken_for_a_folder() -> None:
    class Busy(http.server.BaseHTTPRequestHandler):
        statuses = itertools.cycle([502, 503])

        def do_GET(self) -> None:
            self.send_error(next(self.statuses))

        def log_message(self, *_: object) -> None:
            """Nothing."""

    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Busy)
    thread = threading.Thread(target=web.serve_forever, args=[0.02])
    thread.start()
    store = HttpStore(f"http://127.0.0.1:{web.server_port}/r")
    for _ in range(2):
        with pytest.raises(UnavailableError):
            store.get("lakota.json")
    assert store._served is None
    web.shutdown()
    thread.join()
    web.server_close()


@pytest.mark.parametrize("status", [200, 204, 404])
def test_who_answers_in_the_place_of_the_server_is_not_believed(
    tmp_path: Path, status: int
) -> None:
    """As a proxy does that does not find it: a write would seem done, or an object lost."""

    class Other(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_HEAD = do_PUT = do_POST = answer

        def log_message(self, *args: object) -> None: ...

    (tmp_path / "repos").mkdir()
    with serving(tmp_path / "repos", tmp_path) as server:
        store = server.store("r")
        store.put("a", b"x")
        server.stop()
        with http.server.ThreadingHTTPServer(("127.0.0.1", server.port), Other) as other:
            thread = threading.Thread(target=other.serve_forever)
            thread.start()
            try:
                for act in (
                    lambda: store.put("b", b"y"),
                    lambda: store.get("a"),
                    lambda: store.tail("a", 1),
                    lambda: store.exists("a"),
                    lambda: store.touch("a"),
                    lambda: store.delete(["a"]),
                    lambda: store.names(""),
                    lambda: list(store.list("")),
                    lambda: store.sweep(0),
                ):
                    with pytest.raises(UnavailableError, match="something else than the server"):
                        act()
            finally:
                other.shutdown()
                thread.join()


def test_small_objects_are_stored_by_one_request(server: Server, tmp_path: Path) -> None:
    """And arrive as if each came alone, in a folder and at a server that knows no such request."""

    class Counting(HttpStore):
        asked: list[str]

        def _request(self, method: str, path: str, **options: Any) -> Any:
            self.asked.append(f"{method} {path.split('/')[0]}")
            return super()._request(method, path, **options)

    class Earlier(Counting):
        def _request(self, method: str, path: str, **options: Any) -> Any:
            return super()._request(method, "none" if path == "objects" else path, **options)

    local = Repo(tmp_path / "r")
    clct = local.create_collection(SCHEMA, "c")
    for n in range(12):
        (clct / f"s{n}").write({"n": range(n + 1), "x": [0.5] * (n + 1)})
    found = []
    for nth, kind in enumerate((Counting, Earlier)):
        store = kind(f"{server.url}/together{nth}", token=server.tokens["write"])
        store.asked = []
        local.push(Repo(store))
        sent = Counter(store.asked)
        found.append(sent["PUT objects"])
        there = Repo(server.root / f"together{nth}")
        assert there.check()
        assert len(list(there.store.list(""))) == len(list(local.store.list("")))
    assert found[0] < 6 < 30 < found[1]


@pytest.mark.parametrize("wrong", ["damaged", "cut", "unnamed", "many"])
def test_of_several_objects_a_wrong_one_is_refused(server: Server, wrong: str) -> None:
    store = server.store(f"several-{wrong}", "write")
    Repo(store).create_collection(SCHEMA, "c")
    inside = MemoryStore()
    (Repo(inside).create_collection(SCHEMA, "c") / "s").write({"n": [1], "x": [0.5]})
    names = [i.name for i in inside.list("segments") if not store.exists(i.name)]
    objects = {name: inside.get(name).to_pybytes() for name in names}
    name = names[0]
    body = b"".join(
        OBJECT_HEAD.pack(len(n), len(data)) + n.encode() + data for n, data in objects.items()
    )
    if wrong == "damaged":
        body = body[:-40] + b"\xff" * 8 + body[-32:]
    elif wrong == "cut":
        body = body[:-1]
    elif wrong == "unnamed":
        body = body.replace(name.encode(), b"../" + name[3:].encode())
    else:
        body = (OBJECT_HEAD.pack(1, 0) + b"a") * (OBJECTS_AT_ONCE + 1)
    answer = store._request(
        "POST", "objects", body=body, headers={"Content-Type": "application/octet-stream"}
    )
    assert 400 <= answer.status < 500
    if wrong != "damaged":
        assert not any(store.exists(n) for n in objects)
