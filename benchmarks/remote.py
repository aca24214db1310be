"""Requests to a bucket: how many each operation makes.

The bucket is a moto server on this machine, which `run.py` starts and which counts. It says
nothing about time: a request to a real bucket takes 10 to 100 ms, so count those.
"""

from __future__ import annotations

import json
import subprocess
import sys
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

SERVER = f"""
import json, threading
from collections import Counter
from werkzeug.serving import WSGIRequestHandler, make_server
from moto.server import DomainDispatcherApplication, create_backend_app
WSGIRequestHandler.protocol_version = "HTTP/1.1"
moto, lock, counts = DomainDispatcherApplication(create_backend_app), threading.Lock(), Counter()
def app(environ, start_response):
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
    parts = [series(ROWS, sizes.variant, i, i * ROWS) for i in range(COMMITS + 1)]
    frames = [library.frame(part) for part in parts]
    found: Metrics = {}
    library.create()
    library.write(SERIES, frames[0])
    found["S3 create and first write, requests"] = _count(endpoint)
    for frame in frames[1:]:
        library.append(SERIES, frame)
    found["S3 one more commit, requests"] = _count(endpoint) / COMMITS
    data = joined(*parts)
    library.open()
    compare(library, library.read(SERIES), data, "S3")
    found["S3 full read from a new handle, requests"] = _count(endpoint)
    start, stop = (int(START + MINUTE * ROWS * at) for at in (5, 6))
    library.open()
    compare(library, library.read_range(SERIES, start, stop), parts[5], "S3 a range")
    found["S3 range from a new handle, requests"] = _count(endpoint)
    compare(library, library.read_range(SERIES, start, stop), parts[5], "S3 a range")
    found["S3 the same range again, requests"] = _count(endpoint)
    return found


def _count(endpoint: str) -> float:
    """Requests since the last count."""
    with urllib.request.urlopen(f"{endpoint}{COUNTS}", timeout=30) as reply:
        return float(sum(json.load(reply).values()))
