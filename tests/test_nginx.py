"""nginx as docs/server.md configures it: before a real server, and before a plain folder."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import urllib3
from fault_kit import SCHEMA, content, intact, numbers
from server_kit import Server, serving
from test_docs import PAGES

from lakota import Repo, StoreError
from lakota.store import HttpStore, write_listing

NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
pytestmark = pytest.mark.skipif(not NGINX, reason="needs nginx: apt-get install nginx")

PROXY, FOLDER = re.findall(
    r"(?s)```\n(location .*?)```", PAGES["docs/server.md"].read_text("utf-8")
)
"""What the page tells to write."""

MAIN = """
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
{user}
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    gzip on;
    gzip_types application/json;
    server {{
        listen 127.0.0.1:{port};
        {locations}
    }}
}}
"""


@dataclass
class Nginx:
    """nginx before a server of `server.root`, and before that folder itself."""

    url: str
    server: Server

    @property
    def proxied(self) -> str:
        return f"{self.url}/lakota"

    def store(self, repo: str, scope: str = "write") -> HttpStore:
        return HttpStore(f"{self.proxied}/{repo}", token=self.server.tokens[scope])

    def ask(self, method: str, path: str, **options: Any) -> urllib3.BaseHTTPResponse:
        headers = {"Authorization": f"Bearer {self.server.tokens['write']}"}
        headers.update(options.pop("headers", {}))
        return urllib3.request(method, self.proxied + path, headers=headers, **options)


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    folder, root = tmp_path_factory.mktemp("nginx"), tmp_path_factory.mktemp("repos")
    with serving(root, tmp_path_factory.mktemp("server")) as server:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        proxy = PROXY.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
        plain = FOLDER.replace("/srv/repos/", f"{root}/")
        bare = plain.replace("autoindex on;", "").replace("/repos/ {", "/listed/ {", 1)
        user = "user root;" if os.geteuid() == 0 else ""  # who alone may look into the folder
        settings = {"folder": folder, "port": port, "locations": proxy + plain + bare, "user": user}
        (folder / "nginx.conf").write_text(MAIN.format(**settings))
        command = [str(NGINX), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
        process = subprocess.Popen(command)
        try:
            found = Nginx(f"http://127.0.0.1:{port}", server)
            for _ in range(200):
                if process.poll() is None and _answers(f"{found.proxied}/health"):
                    break
                time.sleep(0.05)
            else:
                raise AssertionError((folder / "error.log").read_text())
            yield found
        finally:
            process.terminate()
            process.wait(30)


def _answers(url: str) -> bool:
    try:
        return urllib3.request("GET", url, retries=False).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def source(folder: Path) -> Repo:
    repo = Repo(folder, durability="os")
    for label in ("c", "d e/\u00fc%41"):
        clct = repo.create_collection(SCHEMA, label)
        for n in range(5):
            (clct / f"s {n}/\u00fc").write(numbers(0, 100, n))
    return repo


def test_a_repo_is_pushed_read_and_pulled_through_it(nginx: Nginx, tmp_path: Path) -> None:
    repo = source(tmp_path)
    remote = Repo(nginx.store("weather"))
    repo.push(remote)
    assert content(remote) == content(repo)
    (remote / "c" / "s 0/\u00fc").write(numbers(50, 60, 7))
    repo.pull(remote)
    assert content(remote) == content(repo)
    assert intact(Repo(nginx.server.root / "weather"))


def test_bodies_are_as_large_as_the_server_takes(nginx: Nginx) -> None:
    # Noise of 8 MB in one object: nginx by itself takes 1 MB.
    noise = {"n": np.arange(1_000_000), "x": np.random.default_rng(1).random(1_000_000)}
    remote = Repo(nginx.store("large"))
    series = remote.create_collection(SCHEMA, "c") / "s"
    series.write(noise)
    sizes = [p.stat().st_size for p in (nginx.server.root / "large").rglob("*.arrow")]
    assert max(sizes) > 4 << 20
    found = Repo(nginx.store("large", "read")) / "c" / "s"
    assert found.df()["x"].to_numpy().tolist() == noise["x"].tolist()
    assert found.frame(999_990, 999_999).num_rows == 9  # a range of the object
    answer = nginx.ask("GET", "/large/rows?collection=c&series=s&format=csv")
    assert answer.status == 200
    assert answer.data.count(b"\n") == 1_000_001


def test_a_body_beyond_the_limit_is_refused_with_413(nginx: Nginx) -> None:
    name = "segments/ab/" + "0" * 30 + ".arrow"
    claims = {"Content-Length": str(257 << 20)}
    answer = nginx.ask("PUT", f"/large/objects/{name}", headers=claims, body=b"", retries=False)
    assert answer.status == 413


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_unchanged_answers_are_304(nginx: Nginx, tmp_path: Path, encoding: str) -> None:
    source(tmp_path).push(Repo(nginx.store("etags")))
    path = "/etags/rows?collection=c&series=s+0%2F%C3%BC"
    first = nginx.ask("GET", path, headers={"Accept-Encoding": encoding})
    assert first.status == 200
    assert first.headers.get("Content-Encoding", "identity") == encoding
    again = {"If-None-Match": first.headers["ETag"], "Accept-Encoding": encoding}
    assert nginx.ask("GET", path, headers=again).status == 304
    (Repo(nginx.store("etags")) / "c" / "s 0/\u00fc").write(numbers(0, 1, 9))
    assert nginx.ask("GET", path, headers=again).status == 200


def test_no_path_leads_out_of_the_root(nginx: Nginx) -> None:
    (nginx.server.root.parent / "secret").write_text("nobody may see this")
    for path in ("/../secret", "/%2e%2e/secret", "/weather/objects/..%2f..%2fsecret", "//secret"):
        answer = nginx.ask("GET", path)
        assert answer.status >= 400
        assert b"nobody" not in answer.data


def test_errors_are_those_of_the_server(nginx: Nginx) -> None:
    Repo(nginx.store("errors")).create_collection(SCHEMA, "c")
    with pytest.raises(StoreError, match="this token has not the scope write"):
        Repo(nginx.store("errors", "read")).create_collection(SCHEMA, "d")
    nobody = {"Authorization": ""}
    assert nginx.ask("GET", "/errors/collections", headers=nobody).status == 401


@pytest.mark.parametrize("listed", [False, True])
def test_a_folder_is_read_and_pulled(nginx: Nginx, tmp_path: Path, listed: bool) -> None:
    name = f"plain{listed}"
    repo = source(nginx.server.root / name)
    if listed:  # where nginx makes no index pages
        write_listing(repo.store)
    url = f"{nginx.url}/{'listed' if listed else 'repos'}/{name}"
    clone = Repo(tmp_path / "clone")
    clone.pull(url)
    assert content(clone) == content(repo)
    assert content(Repo(url)) == content(repo)
    with pytest.raises(StoreError):
        (Repo(url) / "c" / "s 0/\u00fc").write(numbers(0, 1))
    assert intact(repo)
