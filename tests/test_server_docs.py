"""docs/server.md, what of it is not Python: requests by curl, and TLS."""

from __future__ import annotations

import datetime
import ipaddress
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_kit import Server, serving
from test_docs import PAGES, blocks

from lakota import InputError, Repo, Schema, UnavailableError
from lakota.server import Limits, running
from lakota.server.app import ENDPOINTS
from lakota.store import MemoryStore

PAGE = PAGES["docs/server.md"].read_text("utf-8")
CURLS = [
    line
    for block in blocks(PAGE)
    if block.kind == "console"
    for line in block.text.splitlines()
    if line.startswith("curl ")
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("repos")
    clct = Repo(root / "weather").create_collection(
        Schema(timestamp="timestamp*", value="float"), "temperature"
    )
    (clct / "Oslo").write({"timestamp": ["2024-01-01", "2024-01-02"], "value": [1.0, 2.0]})
    with serving(root, tmp_path_factory.mktemp("server")) as server:
        yield server


def test_the_page_has_requests_by_curl() -> None:
    assert len(CURLS) > 5


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
@pytest.mark.parametrize("line", CURLS)
def test_requests_by_curl_are_answered(server: Server, line: str, tmp_path: Path) -> None:
    known = {**os.environ, "URL": server.url, "TOKEN": server.tokens["read"]}
    done = subprocess.run(
        line.replace("curl ", "curl --silent --show-error --fail ", 1),
        shell=True,
        env=known,
        cwd=tmp_path,
        capture_output=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout or list(tmp_path.iterdir())


def test_the_page_has_every_endpoint_and_every_limit() -> None:
    for endpoint in ENDPOINTS:
        path = endpoint.path.replace("{name:path}", "<name>")
        assert re.search(rf"`{endpoint.method} {re.escape(path)}[`?]", PAGE), path
    for name in Limits.__dataclass_fields__:
        assert f"| `{name}` |" in PAGE


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of its own for this machine, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert, secret = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert, secret


def test_a_certificate_is_checked(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    store = MemoryStore()
    Repo(store).create_collection(Schema(n="int*", x="float"), "c")
    with running(store, public_read=True, cert=cert, key=key) as url:
        assert url.startswith("https://")
        assert Repo(url, storage_options={"ca_file": str(cert)}).ls() == ["c"]
        with pytest.raises(UnavailableError, match=r"certificate verify failed|SSL"):
            Repo(url)
    with (
        pytest.raises(InputError, match="cannot be used"),
        running(store, public_read=True, cert=key, key=key),
    ):
        pass


def test_options_of_a_url_are_checked() -> None:
    for options in ({"tokens": "x"}, {"token": 1}, {"timeout": "soon"}, {"ca_file": None}):
        with pytest.raises(InputError, match="expected 'token'"):
            Repo("http://127.0.0.1:1/r", storage_options=options)
    for url in ("http://", "http:///r", "http://h:x/r", "http://h/r?x=1", "http://h/r#x"):
        with pytest.raises(InputError, match="no URL of a repo"):
            Repo(url)
