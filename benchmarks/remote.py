"""Requests to a bucket: how many each operation makes, and how long it takes where each of them
takes as long as over a network.

The bucket is a moto server on this machine, which `run.py` starts. It counts, and it holds requests
up for as long as it is told to, each by itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from data import MINUTE, START, series
from kit import Sizes, compare, joined
from library import SERIES, Library
from measure import Metrics

BUCKET = "bench"
COMMITS = 20
ROWS = 1000
COUNTS = "/-counts"
LATENCY = "/-latency/"
LATENCIES = (0, 20, 100)
"""Milliseconds by which each request is held up."""

SERVER = f"""
import json, threading, time
from collections import Counter
from werkzeug.serving import WSGIRequestHandler, make_server
from moto.server import DomainDispatcherApplication, create_backend_app
WSGIRequestHandler.protocol_version = "HTTP/1.1"
moto, lock, counts = DomainDispatcherApplication(create_backend_app), threading.Lock(), Counter()
held = [0.0]
def app(environ, start_response):
    if environ["PATH_INFO"].startswith("{LATENCY}"):
        held[0] = int(environ["PATH_INFO"].rpartition("/")[2]) / 1000
        start_response("200 OK", [("Content-Length", "0")])
        return [b""]
    if environ["PATH_INFO"] != "{COUNTS}":
        time.sleep(held[0])
    with lock:
        if environ["PATH_INFO"] == "{COUNTS}":
            body = json.dumps(counts).encode()
            counts.clear()
            start_response("200 OK", [("Content-Length", str(len(body)))])
            return [body]
        counts[environ["REQUEST_METHOD"]] += 1
        return moto(environ, start_response)
server = make_server("127.0.0.1", 0, app, threaded=True)
print(server.port, flush=True)
server.serve_forever()
"""


def options(endpoint: str) -> dict[str, str]:
    """In the spelling that most libraries share."""
    return {
        "aws_access_key_id": "key",
        "aws_secret_access_key": "secret",
        "aws_region": "us-east-1",
        "aws_endpoint_url": endpoint,
        "aws_allow_http": "true",
    }


@contextmanager
def serving() -> Iterator[str | None]:
    """The endpoint of a server of its own, or None where moto is not installed."""
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().strip()
            yield f"http://127.0.0.1:{port}" if port else None
        finally:
            process.kill()


def requests(library: Library, sizes: Sizes) -> Metrics:
    endpoint = library.endpoint
    if endpoint is None:
        raise NotImplementedError("no server for it: pip install 'moto[server]'")
    urllib.request.urlopen(
        urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT"), timeout=30
    ).close()
    _count(endpoint)
    count = COMMITS + 1 + len(LATENCIES)
    parts = [series(ROWS, sizes.variant, i, i * ROWS) for i in range(count)]
    frames = [library.frame(part) for part in parts]
    found: Metrics = {}
    library.create()
    library.write(SERIES, frames[0])
    found["S3 create and first write, requests"] = _count(endpoint)
    for frame in frames[1 : COMMITS + 1]:
        library.append(SERIES, frame)
    found["S3 one more commit, requests"] = _count(endpoint) / COMMITS
    data = joined(*parts[: COMMITS + 1])
    library.open()
    compare(library, library.read(SERIES), data, "S3")
    found["S3 full read from a new handle, requests"] = _count(endpoint)
    start, stop = (int(START + MINUTE * ROWS * at) for at in (5, 6))
    library.open()
    compare(library, library.read_range(SERIES, start, stop), parts[5], "S3 a range")
    found["S3 range from a new handle, requests"] = _count(endpoint)
    compare(library, library.read_range(SERIES, start, stop), parts[5], "S3 a range")
    found["S3 the same range again, requests"] = _count(endpoint)
    for latency, frame in zip(LATENCIES, frames[COMMITS + 1 :], strict=True):
        _ask(f"{endpoint}{LATENCY}{latency}")
        begun = time.perf_counter()
        library.append(SERIES, frame)
        written = time.perf_counter()
        library.open()
        rows = library.read_range(SERIES, start, stop)
        read = time.perf_counter()
        compare(library, rows, parts[5], "S3 a range")
        found[f"S3 at {latency} ms, one more commit"] = written - begun
        found[f"S3 at {latency} ms, range from a new handle"] = read - written
    _ask(f"{endpoint}{LATENCY}0")
    return found


def _ask(url: str) -> None:
    urllib.request.urlopen(url, timeout=30).close()


def _count(endpoint: str) -> float:
    """Requests since the last count."""
    with urllib.request.urlopen(f"{endpoint}{COUNTS}", timeout=30) as reply:
        return float(sum(json.load(reply).values()))
