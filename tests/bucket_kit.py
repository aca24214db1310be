"""A real S3-compatible server on loopback, and stores in it."""

from __future__ import annotations

import importlib.util
import itertools
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SERVER = """
import threading
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
server.serve_forever()
"""
_numbers = itertools.count()


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
    return {
        "aws_access_key_id": "key",
        "aws_secret_access_key": "secret",
        "aws_region": "us-east-1",
        "aws_endpoint_url": endpoint,
        "aws_allow_http": "true",
    }


@contextmanager
def serving(log: Path) -> Iterator[str]:
    """The endpoint of a server in a process of its own, on a free port."""
    for module in ("moto.server", "obstore", "flask"):
        if importlib.util.find_spec(module.split(".")[0]) is None:
            pytest.skip(f"{module} is not installed: pip install 'lakota-arrow[dev]'")
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, stderr=errors
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


def _await(endpoint: str) -> None:
    for _ in range(200):
        try:
            urllib.request.urlopen(f"{endpoint}/moto-api/", timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise TimeoutError(endpoint)
