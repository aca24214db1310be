"""Stores behind a URL: the suite over a real server, and what holds for this store only."""

from __future__ import annotations

import http.server
import itertools
import pickle
import threading
from collections.abc import Iterator

import pytest
from server_kit import Server, serving
from store_suite import StoreSuite

from lakota import Repo, Schema, UnavailableError
from lakota.objects import digest_of
from lakota.segment import open_segment
from lakota.store import HttpStore, LocalStore, Store

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
