"""A repo in a plain web folder: read and pulled from Python's own web server, with index pages
and without."""

from __future__ import annotations

import base64
import http.server
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fault_kit import SCHEMA, content, intact, numbers, rows, tree

from lakota import ObjectMissingError, Repo, StoreError
from lakota.store import HttpStore, LocalStore, write_listing
from lakota.store.web import names


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Python's web server, which also keeps connections and says nothing."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


class Plain(Quiet):
    """One without index pages, as most hosts of static files are."""

    def list_directory(self, path: Any) -> None:
        self.send_error(404)


class OnePage(Quiet):
    """One that shows its front page wherever there is no file."""

    def list_directory(self, path: Any) -> None:
        page = b"<html><body><h1>Welcome</h1></body></html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)


class Guarded(Quiet):
    """One that wants a password."""

    def do_GET(self) -> None:
        wanted = "Basic " + base64.b64encode(b"ada:p@ss word").decode()
        if self.headers.get("Authorization") == wanted:
            super().do_GET()
        else:
            self.send_error(401)


Start = Callable[[type[Quiet]], str]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a web server of `tmp_path` and gives its URL."""
    running: list[tuple[http.server.ThreadingHTTPServer, threading.Thread]] = []

    def run(kind: type[Quiet]) -> str:
        handler = partial(kind, directory=str(tmp_path))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=[0.02])
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield run
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    repo = Repo(tmp_path / "a repo" / "x")
    clct = repo.create_collection(SCHEMA, "c")
    for turn in range(10):
        (clct / "s").write(numbers(turn, turn + 20, turn))
    (clct / "t").upsert(numbers(0, 100_000))
    repo.create_collection(SCHEMA, "empty", "gone")
    repo.delete("gone")
    return repo


def url_of(repo: Repo, base: str) -> str:
    return f"{base}/a%20repo/x"


def test_a_folder_with_index_pages_is_read_and_pulled(repo: Repo, start: Start) -> None:
    url = url_of(repo, start(Quiet))
    assert content(Repo(url)) == content(repo)
    copy = Repo()
    copy.pull(url)
    assert content(copy) == content(repo)
    (repo / "c" / "s").write(numbers(0, 3, 100))
    assert rows(Repo(url) / "c" / "s") == rows(repo / "c" / "s")
    copy.pull(url)
    assert content(copy) == content(repo)
    assert intact(copy)


def test_a_folder_without_index_pages_needs_a_listing(repo: Repo, start: Start) -> None:
    url = url_of(repo, start(Plain))
    with pytest.raises(StoreError, match=r"no index of changelog/0+/ .*lakota index"):
        Repo().pull(url)
    lines = write_listing(repo.store)
    assert lines == sum(1 for _ in repo.store.list("changelog"))
    copy = Repo()
    copy.pull(url)
    assert content(copy) == content(repo)
    assert intact(copy)
    assert repo.check().strays == ()
    # The listing counts as it stands: what it does not name is not there yet.
    (repo / "c" / "s").write(numbers(0, 3, 100))
    old = content(copy)
    copy.pull(url)
    assert content(copy) == old
    write_listing(repo.store)
    copy.pull(url)
    assert content(copy) == content(repo)


def test_a_folder_is_checked_by_its_copy(repo: Repo, start: Start) -> None:
    with pytest.raises(StoreError, match="pull it, and work on the copy"):
        Repo(url_of(repo, start(Quiet))).check()


def test_a_folder_cannot_be_written(repo: Repo, start: Start, tmp_path: Path) -> None:
    remote = Repo(url_of(repo, start(Quiet)))
    before = tree(tmp_path)
    other = Repo()
    other.create_collection(SCHEMA, "other")
    for write in (
        lambda: (remote / "c" / "s").write(numbers(0, 1)),
        lambda: remote.create_collection(SCHEMA, "new"),
        lambda: remote.gc(grace=0),
        lambda: other.push(remote),
        lambda: remote.store.delete(["a"]),
        lambda: remote.store.touch("a"),
        lambda: remote.store.sweep(0),
    ):
        with pytest.raises(StoreError, match="plain web folder"):
            write()
    assert tree(tmp_path) == before


def test_what_is_no_repo_is_said_to_be_none(repo: Repo, start: Start) -> None:
    base = start(Quiet)
    for path in ("", "/absent", "/a%20repo"):
        with pytest.raises(StoreError, match="there is no repo at"):
            Repo(base + path)
    store = HttpStore(url_of(repo, base))
    with pytest.raises(ObjectMissingError, match="segments/00/00"):
        store.get("segments/00/00")
    assert not store.exists("segments/00/00")
    assert store.exists("lakota.json")


def test_a_front_page_is_no_listing(repo: Repo, start: Start) -> None:
    with pytest.raises(StoreError, match="no index of"):
        Repo().pull(url_of(repo, start(OnePage)))


def test_a_password_in_the_url_is_sent_and_not_shown(repo: Repo, start: Start) -> None:
    url = url_of(repo, start(Guarded))
    with pytest.raises(StoreError, match="wants a token"):
        Repo(url)
    known = Repo(url.replace("//", "//ada:p%40ss%20word@"))
    assert known.ls() == repo.ls()
    assert "p%40ss" not in repr(known) + str(known.store.place)


def test_a_folder_that_was_packed_meanwhile_is_read_on(repo: Repo, start: Start) -> None:
    remote = Repo(url_of(repo, start(Quiet)))
    expected = content(repo)
    assert rows(remote / "c" / "s") == expected["c"]["s"]
    repo.pack()
    assert content(remote) == expected


@pytest.mark.parametrize(
    "page",
    [
        b'<a href="../">../</a><a href="aa.bb">aa.bb</a>  1-Jan<a href="cc.dd">cc.dd</a>',
        b"<A HREF='?C=N;O=D'>Name</A><a class=x href='/up/'>Up</a><a href='aa.bb'>a</a>"
        b'<a href="./cc.dd">c</a><a href="http://elsewhere/ee.ff">e</a>',
        b'<tr><td><a title="t" href="aa%2Ebb">x</a></td></tr><a href="cc.dd/">d</a>'
        b'<a href="..">up</a><a href=".hidden">h</a><a href="a/../../b">b</a><a href="">-</a>',
    ],
    ids=["nginx", "apache", "others"],
)
def test_index_pages_of_any_server_are_read(page: bytes) -> None:
    answers = {"changelog/1/": (200, "text/html; charset=utf-8", page)}
    found = names(lambda path: answers.get(path, (404, "", b"")), "changelog/1")
    assert found == ["aa.bb", "cc.dd"]


def test_a_store_lists_its_changelog_into_a_file(tmp_path: Path, repo: Repo) -> None:
    assert isinstance(repo.store, LocalStore)
    lines = write_listing(repo.store)
    text = repo.store.get("changelog.txt").to_pybytes().decode()
    assert len(text.splitlines()) == lines
    assert all((tmp_path / "a repo/x/changelog" / line).exists() for line in text.splitlines())
