"""Questions to a server: every answer is compared with what the repo itself says."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import urllib3
from openapi_spec_validator import validate
from server_kit import Server, serving

from lakota import Repo, Schema
from lakota.server import Limits, running
from lakota.store import MemoryStore

COLLECTION = "wind/sea & land"
DAYS = [datetime(2024, 1, day) for day in range(1, 29)]
HTTP = urllib3.PoolManager()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("repos")
    clct = Repo(root / "r").create_collection(
        Schema(timestamp="timestamp*", value="float", note="str"), COLLECTION
    )
    first = (clct / "Liège/1").write(
        {"timestamp": DAYS, "value": [None, *range(27)], "note": ['"', ",é", None] * 9 + [""]},
        author="ada",
        message="first",
    )
    clct.tag("v1", first[0])
    (clct / "Liège/1").upsert({"timestamp": DAYS[:2], "value": [5.0, float("nan")]}, author="bob")
    (clct / "b").write({"timestamp": DAYS[:1], "value": [1.0], "note": ["x"]})
    keyed = Repo(root / "r").create_collection(Schema(n="int*", s="str*", x="float"), "keyed")
    (keyed / "s").write({"n": [1, 1, 2], "s": ["[a", "b", "a"], "x": [0.0, 1.0, 2.0]})
    kinds = Repo(root / "r").create_collection(
        Schema(n="int*", b="binary", d="decimal64(9,2)", l="list<int>"), "kinds"
    )
    (kinds / "s").write({"n": [1], "b": [b"\xff"], "d": [Decimal("1.25")], "l": [[1, 2]]})
    with serving(root, tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def repo(server: Server) -> Repo:
    return Repo(server.root / "r")


def ask(
    server: Server, path: str, *fields: tuple[str, str], scope: str = "read", **headers: str
) -> urllib3.BaseHTTPResponse:
    token = {"Authorization": f"Bearer {server.tokens[scope]}"} if scope else {}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HTTP.request("GET", server.url + path, fields=fields, headers={**token, **named})


def rows(server: Server, *fields: tuple[str, str], **values: str) -> urllib3.BaseHTTPResponse:
    asked = {"collection": COLLECTION, "series": "Liège/1", **values}
    return ask(server, "/r/rows", *asked.items(), *fields)


def table(answer: urllib3.BaseHTTPResponse) -> pl.DataFrame:
    assert answer.status == 200, answer.data
    kind = answer.headers["Content-Type"].split(";")[0]
    if kind == "application/vnd.apache.arrow.stream":
        return pl.DataFrame(pl.from_arrow(pa.ipc.open_stream(answer.data).read_all()))
    if kind == "application/vnd.apache.parquet":
        return pl.DataFrame(pl.from_arrow(pq.read_table(io.BytesIO(answer.data))))
    assert kind == "text/csv"
    return pl.read_csv(answer.data, schema_overrides={"timestamp": pl.Datetime("us")})


@pytest.mark.parametrize("form", ["arrow", "parquet", "csv"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"start": "2024-01-02", "stop": "2024-01-05"},
        {"start": "2024-01-02", "stop": "2024-01-05", "closed": "right"},
        {"start": "2024-01-02", "limit": "3", "offset": "1"},
        {"as_of": "v1"},
        {"limit": "0"},
        {"stop": "2023-01-01"},
    ],
)
def test_rows_are_those_of_the_series(
    server: Server, repo: Repo, form: str, options: dict[str, Any]
) -> None:
    series = repo / COLLECTION / "Liège/1"
    given = {k: int(v) if k in ("limit", "offset") else v for k, v in options.items()}
    expected = series.df(**given)
    found = table(rows(server, format=form, **options)).cast(dict(expected.schema))
    assert found.equals(expected)


def test_json_has_times_in_iso_and_null_for_nan(server: Server) -> None:
    answer = rows(server, limit="3")
    assert answer.headers["Content-Type"] == "application/json"
    assert json.loads(answer.data) == [
        {"timestamp": "2024-01-01T00:00:00.000000", "value": 5.0, "note": '"'},
        {"timestamp": "2024-01-02T00:00:00.000000", "value": None, "note": ",é"},
        {"timestamp": "2024-01-03T00:00:00.000000", "value": 1.0, "note": None},
    ]
    assert json.loads(rows(server, limit="0").data) == []


def test_columns_are_selected_in_the_order_asked(server: Server) -> None:
    answer = rows(server, ("select", "note"), ("select", "value"), limit="1")
    assert answer.data == b'[{"note":"\\"","value":5.0}]\n'


CSV = "text/csv; charset=utf-8"
JSON = "application/json"
PARQUET = "application/vnd.apache.parquet"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("text/html, text/csv;q=0.5", CSV),
        (f"{PARQUET};q=0.1, text/csv", CSV),
        (f"{PARQUET}; v=1; q=0.9, TEXT/CSV; Q=0.95", CSV),
        (f"{PARQUET}, text/csv", PARQUET),
        ("text/csv;q=0", JSON),
        ("text/csv;q=nan, */*", JSON),
        ("text/csv;q=much", CSV),
        (";q=1,,;", JSON),
        ("*/*", JSON),
    ],
)
def test_accept_chooses_the_form(server: Server, accept: str, expected: str) -> None:
    fields = (("collection", COLLECTION), ("series", "b"))
    answer = ask(server, "/r/rows", *fields, Accept=accept)
    assert answer.headers["Content-Type"] == expected
    if expected == CSV:
        assert answer.data == b"timestamp,value,note\n2024-01-01T00:00:00.000000,1.0,x\n"


def test_keys_of_several_columns_are_arrays_of_json(server: Server) -> None:
    def found(**bounds: str) -> list[float]:
        fields = {"collection": "keyed", "series": "s", **bounds}
        return [row["x"] for row in json.loads(ask(server, "/r/rows", *fields.items()).data)]

    assert found(start="2") == [2.0]
    assert found(start='[1, "b"]') == [1.0, 2.0]
    assert found(start='["1", "b"]', stop='[2, "a"]', closed="both") == [1.0, 2.0]
    assert found(stop='[1, "b"]') == [0.0]


def test_what_a_form_cannot_hold_is_refused_by_name(server: Server) -> None:
    fields = (("collection", "kinds"), ("series", "s"))
    for form, column in (("json", "'b'"), ("csv", "'b'")):
        answer = ask(server, "/r/rows", *fields, ("format", form))
        assert answer.status == 400
        assert column in json.loads(answer.data)["message"]
    answer = ask(server, "/r/rows", *fields, ("select", "d"), ("select", "l"))
    assert json.loads(answer.data) == [{"d": "1.25", "l": [1, 2]}]
    for form in ("arrow", "parquet"):
        found = table(ask(server, "/r/rows", *fields, ("format", form)))
        assert found["b"].to_list() == [b"\xff"]


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ({"series": "unknown"}, 404, "no series 'unknown'"),
        ({"collection": "unknown"}, 404, "'wind/sea & land'"),
        ({"start": "yesterday"}, 400, "ISO 8601"),
        ({"as_of": "v2"}, 404, "'v1'"),
        ({"select": "unknown"}, 404, "'value'"),
        ({"closed": "open"}, 400, "left, right, both, none"),
        ({"limit": "-1"}, 400, "limit"),
        ({"limit": "٣"}, 400, "limit"),
        ({"merged": "yes"}, 400, "true or false"),
        ({"format": "xml"}, 400, "json, csv, arrow, parquet"),
        ({"starts": "2024-01-01"}, 400, "unknown parameter 'starts'"),
        ({"series": ""}, 400, "series is empty"),
    ],
)
def test_what_cannot_be_answered_is_said(
    server: Server, options: dict[str, str], status: int, said: str
) -> None:
    answer = rows(server, **options)
    assert answer.status == status
    assert said in json.loads(answer.data)["message"]


def test_lists_of_collections_and_series(server: Server, repo: Repo) -> None:
    found = json.loads(ask(server, "/r/collections").data)["collections"]
    assert [each["label"] for each in found] == repo.ls()
    wind = next(each for each in found if each["label"] == COLLECTION)
    assert wind["columns"][0] == {"name": "timestamp", "type": "timestamp", "index": True}
    assert wind["heads"] == list((repo / COLLECTION).changelog.heads())
    assert wind["tags"] == (repo / COLLECTION).tags()
    fields = (("collection", COLLECTION), ("limit", "1"))
    first = json.loads(ask(server, "/r/series", *fields).data)
    assert first == {"series": ["Liège/1"], "more": True}
    last = json.loads(ask(server, "/r/series", *fields, ("after", "Liège/1")).data)
    assert last == {"series": ["b"], "more": False}
    assert json.loads(ask(server, "/repos").data) == {"repos": ["r"]}


def test_the_log_is_that_of_the_collection(server: Server, repo: Repo) -> None:
    fields = (("collection", COLLECTION), ("limit", "2"))
    newest = json.loads(ask(server, "/r/log", *fields).data)
    assert newest["more"]
    before = newest["revisions"][-1]["child"]
    oldest = json.loads(ask(server, "/r/log", *fields, ("before", before)).data)
    found = [*newest["revisions"], *oldest["revisions"]]
    expected = (repo / COLLECTION).revisions().reverse()
    assert [each["child"] for each in found] == expected["child"].to_list()
    assert [each["author"] for each in found] == expected["author"].to_list()
    assert [each["head"] for each in found] == [True, False, False]


def test_differences_are_those_of_the_collection(server: Server, repo: Repo) -> None:
    fields = (("collection", COLLECTION), ("a", "v1"), ("format", "arrow"))
    expected = (repo / COLLECTION).diff("v1")
    assert expected.height == 3
    found = table(ask(server, "/r/diff", *fields))
    assert found.cast(dict(expected.schema)).equals(expected)
    one = table(ask(server, "/r/diff", *fields, ("labels", "L*")))
    assert one["label"].unique().to_list() == ["Liège/1"]


@pytest.mark.parametrize(
    "path",
    [
        "/r/rows?collection=keyed&series=s",
        "/r/rows?collection=keyed&series=s&format=parquet",
        "/r/log?collection=keyed",
        "/r/series?collection=keyed",
        "/r/diff?collection=keyed&a=2020-01-01",
        "/r/collections",
    ],
)
def test_an_unchanged_answer_is_not_sent_again(server: Server, repo: Repo, path: str) -> None:
    first = ask(server, path)
    assert first.status == 200
    etag = first.headers["ETag"]
    again = ask(server, path, If_None_Match=etag)
    assert (again.status, again.data, again.headers["ETag"]) == (304, b"", etag)
    (repo / "keyed" / "s").upsert({"n": [3], "s": ["a"], "x": [3.0]})
    changed = ask(server, path, If_None_Match=etag)
    assert changed.status == 200
    assert changed.headers["ETag"] != etag
    (repo / "keyed" / "s").delete_keys({"n": [3], "s": ["a"]})


def test_an_etag_is_of_one_question(server: Server) -> None:
    paths = ["/r/rows?collection=keyed&series=s", "/r/log?collection=keyed"]
    paths += [f"{paths[0]}&format={form}" for form in ("csv", "arrow")]
    assert len({ask(server, path).headers["ETag"] for path in paths}) == len(paths)


def test_the_openapi_document_is_one(server: Server) -> None:
    found = json.loads(ask(server, "/openapi.json", scope="").data)
    validate(found)
    assert {"/{repo}/rows", "/{repo}/objects/{name}", "/health"} <= found["paths"].keys()


def test_health_takes_no_token_and_metrics_do(server: Server) -> None:
    assert json.loads(ask(server, "/health", scope="").data) == {"status": "ok"}
    assert ask(server, "/metrics", scope="").status == 401
    text = ask(server, "/metrics").data.decode()
    assert 'lakota_requests_total{operation="health",status="200"}' in text
    assert "lakota_requests_running 1" in text


def test_differences_of_too_many_rows_are_refused_by_name(tmp_path: Path) -> None:
    clct = Repo(tmp_path).create_collection(Schema(n="int*", x="float"), "c")
    (first,) = (clct / "s").write({"n": range(1_000), "x": [0.0] * 1_000})
    (second,) = (clct / "s").upsert({"n": [5, 6], "x": [1.0, 2.0]})
    (clct / "t").write({"n": range(1_000), "x": [0.0] * 1_000})
    with running(tmp_path, public_read=True, limits=Limits(diff_rows=100)) as url:
        small = HTTP.request("GET", f"{url}/diff?collection=c&a={first.child}&b={second.child}")
        assert (small.status, len(small.json())) == (200, 2)
        for more in ("", "&labels=t"):
            large = HTTP.request("GET", f"{url}/diff?collection=c&a={first.child}{more}")
            assert (large.status, large.json()["error"]) == (400, "RangeError")
            assert "more than 100 rows" in large.json()["message"]


class Held(MemoryStore):
    """Gives no segment before it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.free = threading.Event(), threading.Event()

    def get(self, name: str) -> pa.Buffer:
        if name.startswith("segments/") and not self.free.is_set():
            self.asked.set()
            assert self.free.wait(30)
        return super().get(name)


def test_questions_that_take_long_keep_no_object_waiting() -> None:
    store = Held()
    store.free.set()
    (Repo(store).create_collection(Schema(n="int*", x="float"), "c") / "s").write(
        {"n": [1], "x": [0.5]}
    )
    limits = Limits(threads=2, questions=1, seconds=20)
    with running(store, public_read=True, limits=limits) as url, ThreadPoolExecutor(4) as pool:
        store.free.clear()
        path = f"{url}/rows?collection=c&series=s"
        asked = [pool.submit(HTTP.request, "GET", path) for _ in range(4)]
        try:
            assert store.asked.wait(20)
            assert urllib3.request("GET", f"{url}/lakota.json", retries=False).status == 200
            assert not any(each.done() for each in asked)
        finally:
            store.free.set()
        assert [each.result().status for each in asked] == [200] * 4
