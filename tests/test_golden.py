"""Repositories of each format version, as they were written then: every row of every revision
must still be read. `golden/make.py` says what is in them and how they were made."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fault_kit import tree
from format_reader import Reader

from lakota import Repo
from lakota.digest import digest_table
from lakota.objects import digest_of
from lakota.page import Page
from lakota.segment import open_segment

GOLDEN = Path(__file__).parent / "golden"
VERSIONS = sorted(path.stem for path in GOLDEN.glob("v*.json"))


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, GOLDEN / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make = load("make")


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(version: str, tmp_path: Path) -> Path:
    """A copy: a test that writes spoils nothing."""
    return Path(shutil.copytree(GOLDEN / version, tmp_path / version))


@pytest.fixture
def expected(version: str) -> Any:
    return json.loads((GOLDEN / f"{version}.json").read_text())


def test_there_is_a_golden_repository() -> None:
    assert {"v1", "v2"} <= set(VERSIONS)


def test_every_row_of_every_revision_is_read(folder: Path, expected: Any) -> None:
    before = tree(folder)
    repo = Repo(folder)
    assert repo.ls() == sorted(expected["revisions"])
    assert make.found(repo) == expected["revisions"]
    assert {c.label: json.loads(c.schema.dumps()) for c in repo} == expected["schemas"]
    assert {c.label: c.tags() for c in repo if c.tags()} == expected["tags"]
    assert len(expected["tags"]) == 1
    assert tree(folder) == before  # reading writes nothing


def test_nothing_of_it_is_damaged(folder: Path) -> None:
    report = Repo(folder).check()
    assert (report.damaged, report.strays) == ((), ())
    assert report.segments > 10 and report.pages > 10


@pytest.mark.parametrize("codec", ["plain", "packed"])
def test_it_can_be_pulled_merged_and_written_to(
    folder: Path, expected: Any, codec: str, tmp_path: Path
) -> None:
    repo = Repo(tmp_path / "new", codec=codec)
    repo.pull(str(folder))
    assert make.found(repo) == expected["revisions"]
    assert repo.check()
    repo.merge()
    (repo / "shared" / "s").write({"n": [3], "x": [0.5]})
    assert repo.collection("shared").series("s").df(3, 4).rows() == [(3, 0.5)]
    Repo(folder).pull(repo)
    repo.pack()
    found = make.found(Repo(folder))
    for label, revisions in expected["revisions"].items():
        assert {child: found[label][child] for child in revisions} == revisions


def test_a_merge_of_it_gives_what_the_model_gives(folder: Path) -> None:
    """The two heads that the story ends with, joined: t of the one side, s of the other."""
    repo = Repo(folder)
    heads = (repo / "shared").changelog.heads()
    assert len(heads) == 2
    before = [{s.label: s.frame(as_of=head).to_pylist() for s in repo / "shared"} for head in heads]
    repo.merge()
    after = {s.label: s.frame().to_pylist() for s in repo / "shared"}
    rows = {(label, row["n"]) for side in before for label, rows in side.items() for row in rows}
    assert {(label, row["n"]) for label, rows in after.items() for row in rows} == rows


def test_the_name_of_every_object_follows_from_its_rows(folder: Path) -> None:
    """Rows are taken apart into Python values and put together again before they are hashed; and
    a reader made from the documentation computes the names without this library."""
    reader = Reader(folder)
    checked = 0
    for path in sorted(tree(folder)):
        digest = digest_of(path)
        if digest is None:
            continue
        kind = path.split("/")[0]
        data = Repo(folder).store.get(path)
        if path.endswith(".page"):
            rows = Page.decode(digest, data).table
        else:
            rows = open_segment(data, digest).table()
        again = type(rows).from_pylist(rows.to_pylist(), rows.schema)
        assert digest_table(again) == digest
        assert reader.object(kind, digest).to_pylist() is not None
        checked += 1
    assert checked > 50


def test_a_reader_made_from_the_documentation_reads_it(folder: Path) -> None:
    reader, repo = Reader(folder), Repo(folder)
    assert sorted(reader.collections()) == repo.ls()
    repo.merge()  # that reader joins the heads
    for clct in repo:
        expected = {
            s.label: [list(map(str, r.values())) for r in s.frame().to_pylist()] for s in clct
        }
        found = reader.read(clct.label)
        assert {
            label: [list(map(str, row.values())) for row in rows] for label, rows in found.items()
        } == expected


def test_the_same_story_still_has_the_same_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails when the format changes: then see `golden/make.py`."""
    newest = VERSIONS[-1]
    monkeypatch.setenv("LAKOTA_AUTHOR", "golden")
    assert make.build(tmp_path / "again") == json.loads((GOLDEN / f"{newest}.json").read_text())
    again, golden = tree(tmp_path / "again"), tree(GOLDEN / newest)
    assert set(again) == set(golden)
    documents = {name: data for name, data in golden.items() if name.startswith("changelog/")}
    assert {name: again[name] for name in documents} == documents
