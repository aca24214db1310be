"""A server among those who mean it ill: who gets in, what gets in, and how much of it."""

from __future__ import annotations

import ast
import http.client
import json
import os
import random
import re
import socket
import stat
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import urllib3
from fault_kit import SCHEMA, content, intact, numbers, tree
from server_kit import Server, serving
from xxhash import xxh3_64_hexdigest

from lakota import Clock, Repo, Schema, StoreError
from lakota.bounds import interval_of
from lakota.cast import to_table
from lakota.changelog import PHI, make_child, root_of, stamp_of
from lakota.digest import Digest
from lakota.document import encode_document
from lakota.encoding import encode
from lakota.errors import AlreadyExistsError, DamagedError, InputError, NotFoundError
from lakota.extent import UPSERT, Extent
from lakota.manifest import EMPTY, apply
from lakota.manifest import Manifest as Tree
from lakota.objects import Objects, segment_name
from lakota.registry import SCHEMA as REGISTRY
from lakota.registry import Entry, first_id
from lakota.server import Scope, add_token, list_tokens, make_app, remove_token, running, serve
from lakota.server.app import ENDPOINTS
from lakota.store import CountingStore, LocalStore, MemoryStore
from lakota.store.base import ReplacedError
from lakota.store.http import HttpStore
from lakota.transaction import commit
from lakota.writes import Write

SECRET = b"nobody may see this"
LIMITS = {
    "body": 4 << 20,
    "inflated": 2 << 20,
    "idle": 1.0,
    "seconds": 3.0,
    "rate": 1_000_000,
    "requests": 8,
    "connections": 40,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    outside = tmp_path_factory.mktemp("outside")
    root = outside / "repos"
    for name in ("r", "other"):
        (Repo(root / name).create_collection(SCHEMA, "c") / "s").write(numbers(0, 100))
    (outside / "secret").write_bytes(SECRET)
    (root / "secret").write_bytes(SECRET)
    (root / "r" / "secret").write_bytes(SECRET)
    (root / "folder").mkdir()
    (root / "folder" / "secret").write_bytes(SECRET)
    (root / "link").symlink_to(outside)
    with serving(root, tmp_path_factory.mktemp("server"), limits=LIMITS) as server:
        yield server


def send(
    server: Server,
    method: str,
    target: str,
    body: Any = None,
    token: str | None = "read",
    **headers: str,
) -> tuple[int, bytes, dict[str, str]]:
    """One request as it stands: nothing is quoted or mended. Status, body, headers."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if token:
        named["Authorization"] = f"Bearer {server.tokens.get(token, token)}"
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        if body is not None and "Content-Length" not in named:
            named["Content-Length"] = str(len(body))
        for name, value in named.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.read(), {k.lower(): v for k, v in answer.getheaders()}
    finally:
        connection.close()


def put(server: Server, name: str, data: Any, scope: str = "write", repo: str = "r") -> int:
    return send(server, "PUT", f"/{repo}/objects/{name}", bytes(data), scope)[0]


# ---- Who gets in


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda e: f"{e.method} {e.path}")
@pytest.mark.parametrize("token", ["", "guessed", "lak_", "read\u00e9"])
def test_nobody_gets_in_without_a_token(server: Server, endpoint: Any, token: str) -> None:
    path = ("/r" if endpoint.of_repo else "") + endpoint.path.replace("{name:path}", "a")
    status, body, headers = send(server, endpoint.method, path, b"", token)
    if endpoint.scope is None and not token:
        assert status == 200
    else:
        assert status == 401
        assert headers["www-authenticate"].startswith("Bearer")
        assert json.loads(body)["error"] == "StoreError"


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda e: f"{e.method} {e.path}")
def test_a_scope_reaches_so_far_and_no_further(server: Server, endpoint: Any) -> None:
    path = ("/r" if endpoint.of_repo else "") + endpoint.path.replace("{name:path}", "lakota.json")
    for scope in Scope:
        status = send(server, endpoint.method, path, b"", scope.name.lower())[0]
        assert (status == 403) == (endpoint.scope is not None and scope < endpoint.scope)


def test_a_token_is_for_its_repos_only(server: Server) -> None:
    token = add_token(server.file, "only", scope="admin", repos=["r", "new-*"])
    assert send(server, "GET", "/r/lakota.json", token=token)[0] == 200
    assert send(server, "GET", "/other/lakota.json", token=token)[0] == 403
    assert send(server, "GET", "/absent/lakota.json", token=token)[0] == 403
    assert json.loads(send(server, "GET", "/repos", token=token)[1]) == {"repos": ["r"]}
    assert put(server, "lakota.json", b'{"format": 1, "digest": "xxh3_128"}', token, "new-1") == 204
    assert put(server, "lakota.json", b'{"format": 1, "digest": "xxh3_128"}', token, "newer") == 403


def test_a_token_that_is_taken_away_is_refused_at_once(server: Server) -> None:
    token = add_token(server.file, "short")
    assert send(server, "GET", "/r/lakota.json", token=token)[0] == 200
    remove_token(server.file, "short")
    assert send(server, "GET", "/r/lakota.json", token=token)[0] == 401


def test_the_file_of_tokens_holds_no_token(tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    token = add_token(file, "laptop", scope="write", repos=["r"])
    assert token.removeprefix("lak_") not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [grant.name for grant in list_tokens(file)] == ["laptop"]
    with pytest.raises(AlreadyExistsError):
        add_token(file, "laptop")
    with pytest.raises(NotFoundError, match="laptop"):
        remove_token(file, "desktop")
    with pytest.raises(InputError, match="read, write, admin"):
        add_token(file, "other", scope="root")
    with pytest.raises(InputError, match="list of names"):
        add_token(file, "other", repos="r")
    assert os.listdir(tmp_path) == ["tokens.json"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"tokens": [{}]}',
        '{"tokens": [{"name": "a", "sha256": "00", "scope": "read", "repos": ["r"]}]}',
        '{"tokens": [{"name": "a", "sha256": "' + "0" * 64 + '", "scope": "r", "repos": []}]}',
        '{"tokens": [{"name": "a", "sha256": "' + "0" * 64 + '", "scope": "read", "repos": "r"}]}',
        "[" * 100_000,
    ],
)
def test_a_file_that_holds_no_tokens_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "tokens.json").write_text(text)
    with pytest.raises(InputError, match="token"):
        make_app(MemoryStore(), tokens=tmp_path / "tokens.json")


def test_a_file_of_tokens_that_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    for act in (
        list_tokens,
        lambda path: add_token(path, "x"),
        lambda path: serve(".", tokens=path),
    ):
        with pytest.raises(InputError, match="cannot be read: Is a directory"):
            act(tmp_path)
    with pytest.raises(StoreError, match=r"cannot write .*absent"):
        add_token(tmp_path / "absent" / "tokens.json", "x")
    (tmp_path / "tokens.json").mkdir()
    with pytest.raises(InputError):
        add_token(tmp_path / "tokens.json", "x")
    assert os.listdir(tmp_path) == ["tokens.json"]


def test_while_the_file_of_tokens_is_broken_nobody_gets_in(server: Server) -> None:
    """It is the server's fault, not of those who ask: they may try again."""
    right = server.file.read_bytes()
    try:
        server.file.write_text("{")
        status, body, _ = send(server, "GET", "/r/lakota.json")
        assert status == 500 and b"StoreError" in body and b"/" not in body
    finally:
        server.file.write_bytes(right)
    assert send(server, "GET", "/r/lakota.json")[0] == 200


def test_what_would_serve_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="public_read"):
        make_app(tmp_path)
    with pytest.raises(InputError, match="no file of tokens"):
        make_app(tmp_path, tokens=tmp_path / "absent")
    with pytest.raises(InputError, match="is not there"):
        make_app(tmp_path / "absent", public_read=True)
    with pytest.raises(InputError, match="cert and key"):
        serve(tmp_path, public_read=True, cert="cert.pem")
    for host in ("256.0.0.1", "a..b"):
        with pytest.raises(InputError, match="cannot listen"):
            serve(tmp_path, public_read=True, host=host)


def test_public_reading_is_reading_only(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (Repo(tmp_path / "root" / "r").create_collection(SCHEMA, "c") / "s").write(numbers(0, 9))
    with serving(tmp_path / "root", tmp_path, with_tokens=False, public_read=True) as server:
        copy = Repo()
        copy.pull(f"{server.url}/r")
        assert content(copy) == content(Repo(tmp_path / "root" / "r"))
        assert send(server, "GET", "/r/lakota.json", token="guessed")[0] == 401
        before = tree(tmp_path / "root")
        with pytest.raises(StoreError, match="token"):
            (Repo(f"{server.url}/r") / "c" / "s").write(numbers(0, 1))
        for endpoint in ENDPOINTS:
            if endpoint.method != "GET":
                path = "/r" + endpoint.path.replace("{name:path}", "lakota.json")
                expected = 415 if endpoint.scope is Scope.READ else 401
                assert send(server, endpoint.method, path, b"", token=None)[0] == expected
        read = [e.path for e in ENDPOINTS if e.method != "GET" and e.scope is Scope.READ]
        assert read == ["/pages"]
        assert tree(tmp_path / "root") == before


# ---- Names

ESCAPES = [
    "../secret",
    "../../secret",
    "..%2fsecret",
    "%2e%2e/secret",
    "%2e%2e%2fsecret",
    "..%252fsecret",
    "..\\secret",
    "..%5csecret",
    "/../secret",
    "//etc/passwd",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "./secret",
    "segments/../secret",
    "segments/%2e%2e/secret",
    "segments/..%2fsecret",
    "changelog/..%2f..%2fsecret",
    ".tmp-0123456789abcdef",
    "secret%00.arrow",
    "secret%0a",
    "%c0%ae%c0%ae/secret",
    "%ef%bc%8e%ef%bc%8e/secret",
    "secret",
    "segments/" + "a/" * 20 + "b",
    "a" * 5000,
]


@pytest.mark.parametrize("escape", ESCAPES)
def test_no_path_leaves_the_root(server: Server, escape: str) -> None:
    before = tree(server.root.parent)
    for target in (
        f"/r/objects/{escape}",
        f"/{escape}/lakota.json",
        f"/{escape}",
        f"/r/{escape}",
        f"/link/objects/{escape}",
        f"/link/repos/r/objects/{escape}",
        f"/folder/objects/{escape}",
        f"/r/names?folder={escape}",
        f"/r/list?folder={escape}",
    ):
        for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
            status, body, _ = send(server, method, target, b"x", "write")
            assert status in (200, 400, 403, 404, 405, 411)
            assert status != 200 or body in (b"[]", b"")
            assert SECRET not in body
    names = json.dumps({"names": [escape]}).encode()
    if escape != "secret":
        status = send(server, "POST", "/r/delete", names, "admin", Content_Type="application/json")[
            0
        ]
        assert status in (204, 400)
    for name in ("collection", "series", "start", "as_of", "select", "labels", "a", "before"):
        target = f"/r/rows?collection=c&series=s&{name}={escape}"
        assert SECRET not in send(server, "GET", target)[1]
    assert tree(server.root.parent) == before


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b'{"names": "pages/ab/%s.page"}' % (b"0" * 30), 400),
        (b'{"names": [1]}', 400),
        (b'{"names": ["../secret"]}', 400),
        (b'{"names": ["secret"]}', 400),
        (b'{"names": ["lakota.json"]}', 400),
        (b'{"names": ["pages/../../secret"]}', 400),
        (json.dumps({"names": [f"pages/ab/{n:030x}.page" for n in range(257)]}).encode(), 400),
        (b'{"names": []}', 200),
        (json.dumps({"names": [f"pages/ab/{n:030x}.page" for n in range(256)]}).encode(), 200),
    ],
)
def test_many_pages_are_asked_for_by_names_of_pages(
    server: Server, body: bytes, status: int
) -> None:
    found, answer, _ = send(
        server, "POST", "/r/pages", body, "read", Content_Type="application/json"
    )
    assert found == status
    assert SECRET not in answer
    assert status != 200 or answer == b""
    assert send(server, "POST", "/r/pages", body, Content_Type="application/json")[0] in (
        200,
        400,
        401,
    )
    assert send(server, "POST", "/r/pages", body, "read")[0] == 415


def test_what_is_no_repo_is_not_served(server: Server) -> None:
    for name in ("folder", "secret", "link", ".", "..", "health", "%20", "-x"):
        for path in ("lakota.json", "objects/secret", "names", "collections"):
            status, body, _ = send(server, "GET", f"/{name}/{path}")
            assert status in (200, 403, 404)
            assert body == b"[]" or status != 200
    assert json.loads(send(server, "GET", "/repos")[1])["repos"] == sorted(
        name for name in os.listdir(server.root) if (server.root / name / "lakota.json").exists()
    )


# ---- How much


def test_a_body_that_is_too_large_is_refused_unread(server: Server) -> None:
    name = "segments/ab/" + "0" * 30 + ".arrow"
    status, body, headers = send(
        server, "PUT", f"/r/objects/{name}", b"", "write", Content_Length=str(1 << 40)
    )
    assert (status, headers["connection"]) == (413, "close")
    assert b"4,194,304" in body
    assert put(server, name, b"x" * (LIMITS["body"] + 1)) == 413
    with pytest.raises(StoreError, match=r"takes 4,194,304|failed"):
        server.store("r", "write").put(name, b"x" * (20 << 20))


def test_a_body_of_unknown_or_wrong_length_is_refused(server: Server) -> None:
    name = "/r/objects/segments/ab/" + "0" * 30 + ".arrow"
    chunked = b"5\r\nhello\r\n0\r\n\r\n"
    assert raw(server, "PUT", name, {"Transfer-Encoding": "chunked"}, chunked)[0] == 411
    both = {"Transfer-Encoding": "chunked", "Content-Length": "5"}
    assert raw(server, "PUT", name, both, chunked)[0] == 400
    twice = {"Content-Length": "5, 6"}
    assert raw(server, "PUT", name, twice, b"hello")[0] == 400
    assert raw(server, "PUT", name, {"Content-Length": "-5"}, b"hello")[0] == 400


def raw(
    server: Server, method: str, target: str, headers: dict[str, str], body: bytes
) -> tuple[int, bytes]:
    """A request byte by byte. The status, 0 if the server just closed."""
    lines = [f"{method} {target} HTTP/1.1", "Host: x"]
    lines += [f"Authorization: Bearer {server.tokens['write']}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        answer = connection.recv(65536)
    return (int(answer.split()[1]) if answer else 0), answer


def drips(server: Server, start: bytes, drip: bytes, pause: float, most: float) -> bytes:
    """Send bytes slowly until the server answers or closes; fails if it bears more than `most`
    seconds of it."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=pause) as connection:
        connection.sendall(start)
        limit = time.monotonic() + most
        while time.monotonic() < limit:
            try:
                return connection.recv(65536)
            except TimeoutError:
                connection.sendall(drip)
            except ConnectionError:
                return b""
    raise AssertionError("the server is still waiting")


def test_bodies_and_headers_that_drip_are_given_up(server: Server) -> None:
    token = server.tokens["write"].encode()
    start = (
        b"PUT /r/objects/segments/ab/" + b"0" * 30 + b".arrow HTTP/1.1\r\nHost: x\r\n"
        b"Authorization: Bearer " + token + b"\r\nContent-Length: 100000\r\n"
    )
    silent = ThreadPoolExecutor(4)
    body = silent.submit(drips, server, start + b"\r\n", b"x", 0.3, 15)
    nothing = silent.submit(drips, server, start + b"\r\n", b"", 0.3, 15)
    headers = silent.submit(drips, server, b"GET / HTTP/1.1\r\n", b"A: b\r\n", 0.3, 15)
    mute = silent.submit(drips, server, b"", b"", 0.3, 15)
    # Meanwhile others are served.
    assert send(server, "GET", "/r/lakota.json")[0] == 200
    assert b" 408 " in body.result()
    assert b" 408 " in nothing.result()
    assert headers.result() == mute.result() == b""
    silent.shutdown()


def test_a_reader_that_takes_nothing_is_given_up(server: Server) -> None:
    table = pa.table(
        {"n": range(400_000), "x": random.Random(1).choices(range(1 << 60), k=400_000)}
    )
    found = encode(table.slice(0, 200_000), "plain")
    name = segment_name(found.name)
    store = server.store("r", "admin")
    store.put(name, found.data)
    request = f"GET /r/objects/{name} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall((request + server.tokens["read"] + "\r\n\r\n").encode())
        limit = time.monotonic() + 20
        while b"lakota_requests_running 1\n" not in send(server, "GET", "/metrics")[1]:
            assert time.monotonic() < limit, "the server is still sending"
            time.sleep(0.2)
    store.delete([name])


def connections(server: Server, count: int, start: bytes) -> list[socket.socket]:
    """Requests whose bodies do not come."""
    found = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(count)]
    for connection in found:
        connection.sendall(start)
    return found


def test_a_client_that_goes_away_is_no_error_of_the_server(server: Server) -> None:
    def counted(status: int) -> int:
        text = send(server, "GET", "/metrics")[1].decode()
        found = re.search(rf'operation="put_object",status="{status}"}} (\d+)', text)
        return int(found[1]) if found else 0

    said, gone, failed = server.log(), counted(0), counted(500)
    head = f"PUT /r/objects/{segment_name(Digest('c' * 32))} HTTP/1.1\r\nHost: x\r\n"
    head += f"Authorization: Bearer {server.tokens['write']}\r\nContent-Length: 1000\r\n\r\n"
    for connection in connections(server, 3, head.encode() + b"x"):
        connection.close()
    for _ in range(200):
        if counted(0) + counted(500) == gone + failed + 3:
            break
        time.sleep(0.05)
    assert (counted(0), counted(500), server.log()) == (gone + 3, failed, said)


def test_who_asks_too_much_at_once_is_told_to_come_back(server: Server) -> None:
    token = server.tokens["write"].encode()
    start = (
        b"PUT /r/objects/segments/ab/" + b"0" * 30 + b".arrow HTTP/1.1\r\nHost: x\r\n"
        b"Authorization: Bearer " + token + b"\r\nContent-Length: 10\r\n\r\n"
    )
    status, limit = 200, time.monotonic() + 20
    while status == 200:
        assert time.monotonic() < limit, "no place was ever taken"
        waiting = connections(server, 8, start)
        # They are taken one after the other, and given up after a second.
        for _ in range(10):
            status, _, headers = send(server, "GET", "/r/lakota.json")
            if status != 200:
                break
    assert (status, headers["retry-after"]) == (503, "1")
    # Health is told however much goes on, and clients of the package come back.
    assert send(server, "GET", "/health", token=None)[0] == 200
    assert server.store("r", "read").get("lakota.json").size
    for connection in waiting:
        connection.close()


# ---- What gets in


@pytest.fixture(scope="module")
def objects() -> dict[str, bytes]:
    """All objects of a repo."""
    store = MemoryStore()
    clct = Repo(store, codec="packed").create_collection(SCHEMA, "c")
    for turn in range(60):
        (clct / f"s{turn}").write(numbers(turn, turn + 10))
    (clct / "s1").upsert(numbers(3, 5, 9))
    return {info.name: store.get(info.name).to_pybytes() for info in store.list("")}


def test_bytes_that_are_not_what_their_name_says_stay_outside(
    server: Server, objects: dict[str, bytes]
) -> None:
    dice = random.Random(7)
    before = tree(server.root / "r")
    chosen = dice.sample(sorted(n for n in objects if n != "lakota.json"), 30)
    for name in chosen:
        data = objects[name]
        other = objects[dice.choice(sorted(set(objects) - {name}))]
        for spoilt in (b"", data[: len(data) // 2], data + b"x", other, b"PK\3\4", data[::-1]):
            assert put(server, name, spoilt) == 422
    assert tree(server.root / "r") == before


def test_a_flipped_byte_never_gets_in_as_another_row(
    server: Server, objects: dict[str, bytes]
) -> None:
    dice = random.Random(11)
    names = sorted(n for n in objects if n.startswith(("pages", "segments")))
    for _ in range(10):
        name = dice.choice(names)
        data = bytearray(objects[name])
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        assert put(server, name, data, repo="flipped") == 409
    assert put(server, "lakota.json", objects["lakota.json"], repo="flipped") == 204
    statuses = []
    for _ in range(150):
        name = dice.choice(names)
        data = bytearray(objects[name])
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        statuses.append(put(server, name, data, repo="flipped"))
        assert statuses[-1] in (204, 422)  # a byte may be padding, which says nothing
    assert statuses.count(422) > 100
    # What got in nevertheless is what its name says.
    for name in names:
        put(server, name, objects[name], repo="flipped")
    for name in sorted(n for n in objects if n.startswith("changelog")):
        assert put(server, name, objects[name], repo="flipped") == 204
    assert intact(Repo(server.root / "flipped"))


def test_a_revision_is_seen_only_with_all_that_it_needs(
    server: Server, objects: dict[str, bytes]
) -> None:
    assert put(server, "lakota.json", objects["lakota.json"], repo="partial") == 204
    revisions = sorted(n for n in objects if n.startswith("changelog"))
    others = sorted(n for n in objects if n.startswith(("pages", "segments")))
    for name in revisions:
        assert put(server, name, objects[name], repo="partial") == 422
    random.Random(3).shuffle(others)
    for name in others[:-1]:
        assert put(server, name, objects[name], repo="partial") == 204
    statuses = {name: put(server, name, objects[name], repo="partial") for name in revisions}
    assert set(statuses.values()) <= {204, 422}
    assert put(server, others[-1], objects[others[-1]], repo="partial") == 204
    for name in revisions:
        assert put(server, name, objects[name], repo="partial") == 204
    assert intact(Repo(server.root / "partial"))
    assert len(content(Repo(server.root / "partial"))["c"]) == 60


def forged(
    server: Server,
    repo: str,
    stamp: int,
    extents: list[Extent],
    collection: str = "",
    **document: Any,
) -> int:
    """Push a revision of those extents as a client might that does not care."""
    remote = server.store(repo, "write")
    edit = apply(Tree(EMPTY.name, Objects(remote).page), extents)
    Objects(remote).put({}, edit.pages)
    child = make_child(stamp, edit.root)
    name = f"changelog/{collection or first_id('c')}/{PHI}.{child}"
    return put(server, name, encode_document(PHI, child, document), repo=repo)


def test_revisions_that_lie_are_refused(server: Server) -> None:
    name = "liar"
    repo = Repo(server.store(name, "write"))
    repo.create_collection(SCHEMA, "c")
    (repo / "c" / "s").write(numbers(0, 10))
    site = (repo / "c")._ledger.site
    (extent,) = site.joined(site.changelog.heads()).manifest.extents()
    now = extent.stamp
    before = tree(server.root / name)
    assert forged(server, name, now, [extent._replace(length=11)]) == 422
    assert forged(server, name, now, [extent._replace(offset=1)]) == 422
    assert forged(server, name, now, [extent._replace(segment=b"\1" * 16)]) == 422
    assert forged(server, name, now - 1, [extent]) == 422  # a write later than itself
    assert forged(server, name, now + 10 * 86_400 * 10**9, [extent]) == 422
    assert forged(server, name, (1 << 64) - 1, [extent]) == 422
    seen = {n for n in tree(server.root / name) if n.startswith("changelog")}
    assert seen == {n for n in before if n.startswith("changelog")}
    for wrong in ({"length": -1}, {"offset": -1}, {"stamp": -1}, {"kind": 9}, {"label": " "}):
        with pytest.raises((DamagedError, struct.error, pa.ArrowInvalid, ValueError)):
            assert forged(server, name, now, [extent._replace(**wrong)]) == 204
    assert forged(server, name, now, [extent], "1" * 32) == 422  # nor of a collection
    assert forged(server, name, now + 1, [extent], author="a") == 204
    assert intact(Repo(server.root / name))


def test_rows_that_a_collection_cannot_hold_stay_outside(server: Server) -> None:
    name = "foreign"
    repo = Repo(server.store(name, "write"))
    repo.create_collection(SCHEMA, "c", "wide")
    (repo / "c" / "s").write(numbers(0, 3))
    (repo / "wide").add_column("y", "str")
    table = pa.table({"n": [1], "x": [1.0], "y": ["?"]})
    (repo / "wide" / "s").write(table)
    sites = [(repo / label)._ledger.site for label in ("c", "wide")]
    (own,), (wide,) = (list(s.joined(s.changelog.heads()).manifest.extents()) for s in sites)
    now = wide.stamp
    assert forged(server, name, now, [wide]) == 422
    segments = [
        pa.table({"n": [1], "x": ["text"]}),
        pa.table({"n": [1.5], "x": [1.0]}),
        pa.table({"x": [1.0]}),
    ]
    for found in (encode(table, "plain") for table in segments):
        assert put(server, segment_name(found.name), found.data, repo=name) == 204
        place = bytes.fromhex(found.name)
        assert forged(server, name, now, [own._replace(segment=place, length=1)]) == 422
    copy = Repo()
    copy.pull(Repo(server.store(name, "read")))
    assert content(copy) == content(Repo(server.root / name))


def wrong_rows(id_: str) -> list[tuple[str, list[Entry]]]:
    """Rows of the registry that would make a repo with the collection `id_` unreadable."""
    schema, new = SCHEMA.dumps(), first_id("new")
    column = f"{id_}\0added\0z"
    return [
        ("collection", [Entry(id_, "c", Schema(n="int*", x="str").dumps(), "{}", 0)]),
        ("collection", [Entry(id_, " ", schema, "{}", 0)]),
        ("collection", [Entry(new, "", schema, "{}", 0)]),
        ("collection", [Entry(new, "new", "{", "{}", 0)]),
        ("collection", [Entry(new, "new", schema, "[", 0)]),
        ("collection", [Entry("../x", "new", schema, "{}", 0)]),
        ("collection", [Entry("0" * 32, "new", schema, "{}", 0)]),
        ("column", [Entry("?", "z", "z\0int", "", 0)]),
        ("column", [Entry(f"{new}\0added\0z", "z", "z\0int", "", 0)]),
        ("column", [Entry(column, "z", "z\0no type", "", 0)]),
        ("column", [Entry(column, "z", "z", "", 0)]),
        ("column", [Entry(column, "z", "z\0int", "no base64", 0)]),
        ("column", [Entry(f"{id_}\0type\0x\0str", "x", "str", "", 0)]),
        ("column", [Entry(f"{id_}\0added\0y", "y", "y\0int", "", 0)]),
        ("tag", [Entry(f"{id_}/v1", "v1", "", "no revision", 0)]),
        ("tag", [Entry(f"{id_}/2020-01-01", "2020-01-01", "", PHI, 0)]),
        ("tag", [Entry(f"{id_}/v1", "v2", "", PHI, 0)]),
    ]


def test_the_registry_takes_no_rows_that_make_a_repo_unreadable(server: Server) -> None:
    name = "unreadable"
    repo = Repo(server.store(name, "write"))
    clct = repo.create_collection(SCHEMA, "c")
    clct.add_column("y", "str")
    before = content(Repo(server.root / name))
    for kind, entries in wrong_rows(clct.id):
        with pytest.raises(DamagedError, match="is refused"):
            Repo(server.store(name, "write"))._registry._write(kind, entries, "mean")
    assert content(Repo(server.root / name)) == before
    assert Repo(server.root / name).ls() == ["c"]


@pytest.mark.parametrize("kind", ["collection", "deleted", "column", "tag"])
@pytest.mark.parametrize("field", ["label", "schema", "settings"])
def test_the_registry_takes_no_rows_with_something_left_out(
    server: Server, kind: str, field: str
) -> None:
    name = f"unsaid-{kind}-{field}"
    repo = Repo(server.store(name, "admin"))
    clct = repo.create_collection(SCHEMA, "c")
    clct.tag("v1", (clct / "s").write(numbers(0, 3))[0])
    ids = {"column": f"{clct.id}\0added\0z", "tag": f"{clct.id}/v2"}
    row = {"id": ids.get(kind, "1" * 32), "label": "v2", "schema": "", "settings": PHI}
    table = to_table({name: [value] for name, value in {**row, field: None}.items()}, REGISTRY)
    interval = interval_of(REGISTRY, row["id"], row["id"], "both")
    write = Write(kind, interval, table, 0, 1, UPSERT)
    if (kind, field) == ("tag", "schema"):  # which says nothing of a tag
        commit(repo._registry.site, [write])
        assert set((Repo(server.root / name) / "c").tags()) == {"v1", "v2"}
        return
    with pytest.raises(DamagedError, match="is refused"):
        commit(repo._registry.site, [write])
    assert set((Repo(server.root / name) / "c").tags()) == {"v1"}


@pytest.mark.parametrize(
    "said",
    [
        {"author": 5},
        {"message": None},
        {"kind": ["write"]},
        {"author": "\ud800"},
        {"\ud800": 1},
        {"more": ["\ud800"]},
        {"rows": "many"},
        {"rows": 1.5},
        {"rows": float("nan")},
        {"series": 1 << 63},
        {"first": -1},
        {"first": True},
    ],
)
def test_a_document_that_nobody_could_read_or_copy_is_refused(
    server: Server, said: dict[str, Any]
) -> None:
    name = "documents"
    repo = Repo(server.store(name, "write"))
    clct = repo.create_collection(SCHEMA, f"c{len(repo.ls())}")
    (clct / "s").write(numbers(0, 3), author="\U0001f600")
    (head,) = clct.changelog.heads()
    child = make_child(stamp_of(head) + 1, root_of(head))
    body = {**said, "format": 1, "parent": head, "child": child}
    body["checksum"] = xxh3_64_hexdigest(json.dumps(body, sort_keys=True).encode())
    path = f"{clct.changelog.folder}/{head}.{child}"
    assert put(server, path, json.dumps(body).encode(), repo=name) == 422
    kept = Repo(server.root / name) / clct.label
    assert kept.revisions()["author"].to_list() == ["\U0001f600"]


def test_a_revision_that_would_hide_the_registry_is_refused(server: Server) -> None:
    name = "hidden"
    repo = Repo(server.store(name, "write"))
    repo.create_collection(SCHEMA, "c")
    changelog = repo._registry.site.changelog
    head = changelog.heads()[-1]
    empty = make_child(stamp_of(head) + 1, EMPTY.name)
    with pytest.raises(DamagedError, match="takes what it says of collection"):
        changelog.commit([head], empty, {})
    assert Repo(server.root / name).ls() == ["c"]


def test_a_deletion_takes_the_scope_admin(server: Server) -> None:
    name = "deletion"
    repo = Repo(server.store(name, "write"))
    (repo.create_collection(SCHEMA, "c") / "s").write(numbers(0, 3))
    before = content(Repo(server.root / name))
    with pytest.raises(
        StoreError, match="deletes collections \\('c'\\), which takes the scope adm"
    ):
        repo.delete("c")
    clone = Repo()
    clone.pull(repo)
    clone.delete("c")
    clone.create_collection(SCHEMA, "d")
    with pytest.raises(StoreError, match="admin"):
        clone.push(repo)
    clone.push(repo, "d")
    Repo(server.root / name).gc(grace=0)
    assert content(Repo(server.root / name)) == {**before, "d": {}}
    clone.push(Repo(server.store(name, "admin")))
    assert Repo(server.root / name).ls() == ["d"]


def test_what_is_there_stays_as_it_is(server: Server) -> None:
    name = "kept"
    repo = Repo(server.store(name, "write"))
    repo.create_collection(SCHEMA, "c")
    (repo / "c" / "s").write(numbers(0, 10), author="ada")
    before = tree(server.root / name)
    path = next(iter((repo / "c").changelog)).path
    parent, child = path.split(".")
    document = encode_document(parent, child, {"author": "mallory", "message": "mine"})
    assert put(server, f"changelog/{(repo / 'c').id}/{path}", document, repo=name) == 204
    header = json.dumps({"format": 1, "digest": "xxh3_128", "created": "never"}).encode()
    assert put(server, "lakota.json", header, repo=name) == 204
    assert tree(server.root / name) == before
    for wrong in (b"{}", b"[]", b"x", b'{"format": 99, "digest": "xxh3_128"}', b"[" * 100_000):
        assert put(server, "lakota.json", wrong, repo=name) == 422
    for other in ("index.html", "changelog/x", f"changelog/{'1' * 32}/trimmed.{'f' * 16}", "a/b"):
        assert put(server, other, b"", repo=name) == 403
    for method, target in (("POST", "delete"), ("POST", "sweep")):
        assert send(server, method, f"/{name}/{target}", b"{}", "write")[0] == 403
    assert tree(server.root / name) == before


def memory(server: Server) -> int:
    """The most bytes of memory that the server ever had."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("codec", ["zstd", "lz4", "packed"])
def test_a_bomb_does_not_go_off(server: Server, codec: str) -> None:
    text = pa.array(["\0" * 100_000_000])
    table = pa.table({"n": [1], **{f"x{i}": text for i in range(3)}})
    bomb = encode(table, {"n": "plain", **dict.fromkeys(["x0", "x1", "x2"], "zstd")})
    if codec in ("zstd", "lz4"):
        bomb = encode(table, codec)
    assert bomb.data.size < LIMITS["body"]
    before = memory(server)
    assert put(server, segment_name(bomb.name), bomb.data) == 422
    assert memory(server) - before < 60_000_000


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("delete", b""),
        ("delete", b"[]"),
        ("delete", b"{"),
        ("delete", b'{"names": "a"}'),
        ("delete", b'{"names": [1]}'),
        ("delete", b'{"names": ["../a"]}'),
        ("delete", b"[" * 100_000),
        ("delete", b'{"names": ["\\ud800"]}'),
        ("delete", b'{"names": [], "older_than": "now"}'),
        ("sweep", b'{"older_than": "x"}'),
        ("sweep", b'{"older_than": NaN}'),
        ("sweep", b'{"older_than": 1e999}'),
        ("sweep", b'{"older_than": true}'),
        ("sweep", b'{"older_than": 1' + b"0" * 400 + b"}"),
    ],
)
def test_documents_that_say_nothing_are_refused(server: Server, target: str, body: bytes) -> None:
    kind = {"Content_Type": "application/json"}
    assert send(server, "POST", f"/other/{target}", body, "admin", **kind)[0] == 400
    assert send(server, "POST", f"/other/{target}", body, "admin")[0] == 415


def test_nothing_of_the_package_unpickles() -> None:
    source = Path(add_token.__code__.co_filename).parents[1]
    for path in source.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {"pickle", "marshal", "shelve", "dill"} & set(names), path


@pytest.mark.filterwarnings("ignore:a revision is stamped")
def test_clients_hear_why_they_are_refused(server: Server) -> None:
    with pytest.raises(StoreError, match="wants a token: set LAKOTA_TOKEN"):
        Repo(f"{server.url}/r")
    with pytest.raises(StoreError, match="does not know this token: set LAKOTA_TOKEN"):
        Repo(f"{server.url}/r", storage_options={"token": "another"})
    root = Repo(server.url, storage_options={"token": server.tokens["write"]})
    with pytest.raises(NotFoundError, match="each repo here is at /<name>"):
        root.create_collection(SCHEMA, "new")
    with pytest.raises(StoreError, match="has not the scope write for the repo 'r'"):
        Repo(server.store("r", "read")).create_collection(SCHEMA, "new")
    ahead = Clock(now=lambda: time.time_ns() + 30 * 86_400 * 10**9)
    early = Repo(clock=ahead)
    (early.create_collection(SCHEMA, "c") / "s").write(numbers(0, 1))
    with pytest.raises(DamagedError, match="ahead of the clock of this server"):
        early.push(Repo(server.store("early", "write"), clock=ahead))


# ---- What those are told who ask, and what it costs


def test_nobody_is_told_where_the_repos_are(tmp_path: Path) -> None:
    for name, place in (("one", ""), ("many", "/r")):
        root = tmp_path / "secretroot" / name
        store = LocalStore(f"{root}{place}")
        clct = Repo(store).create_collection(SCHEMA, "c")
        (clct / "s").write(numbers(0, 9))
        missing = next(info.name for info in store.list("segments"))
        with running(root, public_read=True) as url:
            (Path(store.root) / missing).write_bytes(b"damaged")
            broken = next(info.name for info in store.list("pages"))
            (Path(store.root) / broken).unlink()
            (Path(store.root) / broken).mkdir()
            for path in (
                "/objects/segments/ab/" + "0" * 30 + ".arrow",
                f"/objects/{broken}",
                f"/objects/{missing}/x",
                "/rows?collection=c&series=s",
            ):
                answer = urllib3.request("GET", f"{url}{place}{path}", retries=False)
                assert answer.status >= 400, path
                assert b"secretroot" not in answer.data
                assert str(tmp_path).encode() not in answer.data


def test_refused_requests_take_no_place(server: Server) -> None:
    start = b"PUT /r/objects/a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"
    waiting = connections(server, 20, start)  # and no body, without a token
    for connection in waiting:
        connection.settimeout(20)
        assert connection.recv(12) == b"HTTP/1.1 401"
    statuses = [send(server, "GET", "/r/lakota.json")[0] for _ in range(5)]
    for connection in waiting:
        connection.close()
    assert statuses == [200] * 5


@pytest.mark.parametrize("folder", [True, False])
def test_of_a_large_object_only_the_range_is_read(tmp_path: Path, folder: bool) -> None:
    inner = LocalStore(tmp_path) if folder else MemoryStore()
    Repo(inner).init()
    found = encode(pa.table({"n": range(700_000), "x": range(700_000)}), "plain")
    name, data = segment_name(found.name), found.data.to_pybytes()
    inner.put(name, data)
    counting = CountingStore(inner)
    with running(counting, public_read=True) as url:
        client = HttpStore(url)
        tail = client.tail(name, 1000)
        counting.requests.clear()
        (part,) = client.ranges(name, [(10, 2000)], tail.version)
        assert client.exists(name)
        assert sum(request.bytes for request in counting.requests) < 5_000
        assert {request.method for request in counting.requests} <= {"tail", "range", "exists"}
        (large,) = client.ranges(name, [(5, len(data) - 5)], tail.version)
        assert tail.data.to_pybytes() == data[-1000:]
        assert (part.to_pybytes(), large.to_pybytes()) == (data[10:2000], data[5:-5])
        assert urllib3.request("GET", f"{url}/objects/{name}").data == data
        inner.put(name, encode(pa.table({"n": range(9), "x": range(9)}), "plain").data)
        with pytest.raises(ReplacedError):
            client.ranges(name, [(0, 10)], tail.version)
