"""A real S3-compatible server on loopback, and stores in it."""

from __future__ import annotations

import http.client
import importlib.util
import itertools
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

SERVER = """
import os, sys, threading
from werkzeug.serving import WSGIRequestHandler, make_server
from moto.server import DomainDispatcherApplication, create_backend_app
WSGIRequestHandler.protocol_version = "HTTP/1.1"  # keep-alive
moto = DomainDispatcherApplication(create_backend_app)
lock = threading.Lock()  # moto fails on two puts of one object at once
def app(environ, start_response):
    with lock:
        return moto(environ, start_response)
server = make_server("127.0.0.1", 0, app, threaded=True)
print(server.port, flush=True)
def end_with_the_tests():
    sys.stdin.read()
    os._exit(0)
threading.Thread(target=end_with_the_tests, daemon=True).start()
server.serve_forever()
"""
OTHER = os.environ.get("LAKOTA_S3RVER", "")
"""The program of an installed s3rver, to test with instead of moto: `make test-s3rver`."""

_numbers = itertools.count()


class Weather(ThreadingHTTPServer):
    """A proxy before a server, on a free port, on which what goes through may be lost.

    `fault(method, path)` says what happens to a request: `""` nothing; `"drop"`: the connection
    breaks before the server sees it; `"lose"`: it breaks after the server did it; `"cut"`: in the
    middle of the answer; a number: this status is answered in the server's place.
    """

    daemon_threads = True

    def __init__(self, endpoint: str, fault: Callable[[str, str], str]) -> None:
        super().__init__(("127.0.0.1", 0), _Proxy)
        self.upstream = endpoint.removeprefix("http://")
        self.fault = fault
        self.endpoint = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever broke a connection knows."""

    @contextmanager
    def running(self) -> Iterator[str]:
        """The endpoint to use."""
        thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield self.endpoint
        finally:
            self.shutdown()
            self.server_close()
            thread.join()


class _Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Weather

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.server.fault(self.command, self.path)
        if fault.isdigit():
            return self._answer(int(fault), {}, b"<Error><Code>Said</Code></Error>")
        if fault == "drop":
            return self._break()
        connection = http.client.HTTPConnection(self.server.upstream, timeout=30)
        try:
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        if fault == "lose":
            return self._break()
        self._answer(answer.status, dict(answer.getheaders()), data, cut=fault == "cut")

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass

    def _break(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _answer(
        self, status: int, headers: dict[str, str], data: bytes, *, cut: bool = False
    ) -> None:
        self.send_response(status)
        for key, value in headers.items():
            if key.lower() not in ("server", "date", "connection", "transfer-encoding"):
                self.send_header(key, value)
        if "content-length" not in {key.lower() for key in headers}:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self.wfile.flush()
            self._break()


class Bucket:
    """A bucket of that server."""

    def __init__(self, endpoint: str, name: str) -> None:
        self.endpoint, self.name = endpoint, name
        urllib.request.urlopen(
            urllib.request.Request(f"{endpoint}/{name}", method="PUT"), timeout=30
        ).close()

    @property
    def options(self) -> dict[str, str]:
        return options(self.endpoint)

    @property
    def uri(self) -> str:
        """A place of its own in the bucket, every time."""
        return f"s3://{self.name}/repo-{os.getpid()}-{next(_numbers)}"


def options(endpoint: str) -> dict[str, str]:
    key = "S3RVER" if OTHER else "key"  # the one that it knows
    return {
        "aws_access_key_id": key,
        "aws_secret_access_key": key,
        "aws_region": "us-east-1",
        "aws_endpoint_url": endpoint,
        "aws_allow_http": "true",
    }


@contextmanager
def serving(log: Path) -> Iterator[str]:
    """The endpoint of a server in a process of its own, on a free port."""
    if OTHER:
        with _serving_other(log) as endpoint:
            yield endpoint
        return
    for module in ("moto.server", "obstore", "flask"):
        if importlib.util.find_spec(module.split(".")[0]) is None:
            pytest.skip(f"{module} is not installed: pip install 'lakota-arrow[dev]'")
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            [sys.executable, "-c", SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            port = process.stdout.readline().decode().strip()
            assert port, log.read_text()
            endpoint = f"http://127.0.0.1:{port}"
            _await(endpoint)
            yield endpoint
        finally:
            process.kill()


@contextmanager
def _serving_other(log: Path) -> Iterator[str]:
    """The same of s3rver, which has nothing in common with moto but the protocol."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = log.parent / "s3rver"
    folder.mkdir()
    command = ["node", OTHER, "--directory", str(folder), "--port", str(port), "--silent"]
    with log.open("wb") as said, subprocess.Popen(command, stdout=said, stderr=said) as process:
        try:
            _await(f"http://127.0.0.1:{port}", "/")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def _await(endpoint: str, path: str = "/moto-api/") -> None:
    for _ in range(200):
        try:
            urllib.request.urlopen(f"{endpoint}{path}", timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise TimeoutError(endpoint)
