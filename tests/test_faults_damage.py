"""Damage and malice: flipped bits, code in schemas, sizes that promise too much."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from fault_kit import PROCESSES, SCHEMA, content, intact, numbers, rows, tree

from lakota import DamagedError, FormatError, LakotaError, Repo, Schema, SchemaError
from lakota.document import encode_document
from lakota.encoding import encode
from lakota.overlay import numbers as numbers_of
from lakota.physical import physical_values
from lakota.registry import Entry
from lakota.types import parse_type

FLIPS = [4, pytest.param(200, marks=pytest.mark.long)]


def make_repo(folder: Path, codec: str) -> Repo:
    """A small repo with every kind of object: numbers, text, nulls, lists, two collections."""
    repo = Repo(folder, codec=codec, durability="os")
    schema = Schema(t="timestamp*", x="float", name="str", tags="list<str>", flag="bool")
    readings = repo.create_collection(schema, "readings")
    for label, start in (("a", 0), ("b", 5)):
        n = 40
        frame = {
            "t": np.arange(start, start + n).astype("M8[h]"),
            "x": [None if i % 7 == 3 else i / 4 for i in range(n)],
            "name": [None if i % 5 == 1 else f"name {i}" for i in range(n)],
            "tags": [None if i % 11 == 4 else [f"t{j}" for j in range(i % 4)] for i in range(n)],
            "flag": [bool(i % 3) for i in range(n)],
        }
        (readings / label).write(frame)
        (readings / label).delete("1970-01-01T10", "1970-01-01T12")
    (repo.create_collection(SCHEMA, "plain") / "s").write(numbers(0, 100))
    return repo


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


def exact(repo: Repo) -> Any:
    """All rows of all series, and what they were before the deletions."""
    return {
        c.label: {s.label: (s.frame(), [s.frame(as_of=r) for r in c.changelog.log()]) for s in c}
        for c in repo
    }


@pytest.mark.parametrize("flips", FLIPS)
@pytest.mark.parametrize("form", ["plain", "packed", "zstd", "lz4"])
def test_a_flipped_bit_in_any_object_is_reported_refused_and_never_passed_on(
    tmp_path: Path, form: str, flips: int
) -> None:
    rng = random.Random(form)
    folder = tmp_path / "repo"
    whole = exact(make_repo(folder, form))
    if form == "packed":
        Repo(folder).pack()  # its pages are compressed now, too
    receiver = tmp_path / "receiver"
    (Repo(receiver).create_collection(SCHEMA, "mine") / "s").write(numbers(0, 3))
    start = tree(receiver)
    seen = visible(receiver)
    harmless = damaging = 0
    for name, data in tree(folder).items():
        bits = len(data) * 8
        for bit in rng.sample(range(bits), min(flips, bits)):
            (folder / name).write_bytes(flipped(data, bit))
            try:
                found = Repo(folder)
                report = found.check()
                listed = {problem.name for problem in report.damaged}
            except LakotaError:
                assert name == "lakota.json"
                continue
            if name in listed:
                damaging += 1
                assert_refused(receiver, folder, name)
            else:
                # Then it is of no consequence: every row is as it was, here and after a pull.
                harmless += 1
                assert not report.damaged
                assert exact(found) == whole
                copy = Repo()
                copy.pull(found)
                assert content(copy) == content(found)
            assert_read_raises_or_is_right(folder, whole, form)
            assert visible(receiver) == seen
            assert intact(Repo(receiver))
            restore(receiver, start)
        (folder / name).write_bytes(data)
    assert damaging > harmless
    assert exact(Repo(folder)) == whole


def visible(folder: Path) -> Any:
    repo = Repo(folder)
    return content(repo), {c.label: c.changelog.log() for c in repo}


def restore(folder: Path, files: dict[str, bytes]) -> None:
    for name in tree(folder).keys() - files.keys():
        (folder / name).unlink()


def assert_refused(receiver: Path, folder: Path, name: str) -> None:
    with pytest.raises((DamagedError, FormatError)) as caught:
        Repo(receiver).pull(str(folder))
    folder_name, _, rest = name.partition("/")
    if folder_name == "changelog":
        assert rest.split("/")[1] in str(caught.value)
    else:
        assert rest.rsplit(".", 1)[0].replace("/", "") in str(caught.value).replace("/", "")


def assert_read_raises_or_is_right(folder: Path, whole: Any, form: str) -> None:
    """What was decoded was verified. Plain columns are mapped as they are: `check` is for them."""
    try:
        found = exact(Repo(folder))
    except LakotaError:
        return
    assert form == "plain" or found == whole


def test_a_label_with_a_flipped_bit_is_not_taken_for_another_one(tmp_path: Path) -> None:
    """The registry decides what is visible: it is verified at every read, also plain."""
    Repo(tmp_path, codec="plain").create_collection(SCHEMA, "weather")
    (path,) = (p for p in tmp_path.rglob("*.arrow") if b"weather" in p.read_bytes())
    path.write_bytes(path.read_bytes().replace(b"weather", b"weatler"))
    with pytest.raises(DamagedError):
        Repo(tmp_path).ls()


@pytest.mark.parametrize("text", [b"[" * 100_000, b"{}", b"null", b"[]", b'{"checksum": 1}'])
def test_text_that_is_no_document_nor_header_is_damage(tmp_path: Path, text: bytes) -> None:
    repo = Repo(tmp_path / "repo")
    (repo.create_collection(SCHEMA, "c") / "s").write(numbers(0, 3))
    log = (repo / "c").changelog
    (tmp_path / "repo" / log.folder / log.log()[0].path).write_bytes(text)
    assert [p.name for p in repo.check().damaged] == [f"{log.folder}/{log.log()[0].path}"]
    with pytest.raises(DamagedError):
        Repo().pull(repo)
    (tmp_path / "repo" / "lakota.json").write_bytes(text)
    with pytest.raises(DamagedError):
        Repo(tmp_path / "repo").ls()


@pytest.mark.parametrize("kind", ["int64", "float32", "timestamp[us]", "decimal128(15, 2)"])
def test_keys_are_found_in_a_buffer_that_is_longer_than_they_are(kind: str) -> None:
    """A flipped bit in the length of a buffer need not change a row."""
    values = pa.array([1, 2, 3])
    keys = values.cast("int32" if kind.startswith("decimal") else values.type)
    keys = keys.cast(parse_type(kind))
    longer = pa.py_buffer(keys.buffers()[1].to_pybytes()[: 3 * keys.type.bit_width // 8] + b"\7")
    same = pa.Array.from_buffers(keys.type, 3, [None, longer])
    assert physical_values(same) == physical_values(keys)
    found, expected = numbers_of(same), numbers_of(keys)
    assert found is None or found.tolist() == expected.tolist()


def test_every_byte_of_a_page_counts(tmp_path: Path) -> None:
    """Pages decide what is visible: damage there is never read past."""
    repo = make_repo(tmp_path, "plain")
    whole = exact(repo)
    root = next(iter(repo)).changelog.heads()[-1][17:]
    page = f"pages/{root[:2]}/{root[2:]}.page"
    data = (tmp_path / page).read_bytes()
    wrong = 0
    for at in range(0, len(data), 31):
        (tmp_path / page).write_bytes(flipped(data, at * 8 + at % 8))
        try:
            assert exact(Repo(tmp_path)) == whole
        except LakotaError:
            wrong += 1
    assert wrong > 0


@pytest.mark.parametrize("loss", ["missing", "empty", "cut", "longer", "exchanged"])
def test_an_object_that_is_lost_cut_or_exchanged_is_reported(tmp_path: Path, loss: str) -> None:
    make_repo(tmp_path / "repo", "plain")
    files = tree(tmp_path / "repo")
    objects = sorted(name for name in files if name.startswith(("segments/", "pages/")))
    for name, other in zip(objects, [*objects[1:], objects[0]], strict=True):
        path, data = tmp_path / "repo" / name, files[name]
        new = {
            "missing": None,
            "empty": b"",
            "cut": data[: len(data) // 2],
            "longer": data + b"more",
            "exchanged": files[other],
        }[loss]
        if new is None:
            path.unlink()
        else:
            path.write_bytes(new)
        assert name in {problem.name for problem in Repo(tmp_path / "repo").check().damaged}
        with pytest.raises(DamagedError):
            Repo().pull(str(tmp_path / "repo"))
        path.write_bytes(data)
    assert intact(Repo(tmp_path / "repo"))


def test_a_damaged_object_is_mended_by_writing_its_rows_again(tmp_path: Path) -> None:
    repo = Repo(tmp_path)
    series = repo.create_collection(SCHEMA, "c") / "s"
    before = set(tree(tmp_path))
    series.write(numbers(0, 1000))
    (segment,) = (n for n in set(tree(tmp_path)) - before if n.startswith("segments/"))
    (tmp_path / segment).write_bytes(b"")
    assert not Repo(tmp_path).check()
    (Repo(tmp_path) / "c" / "other").write(numbers(0, 1000))
    assert intact(Repo(tmp_path))
    assert rows(Repo(tmp_path) / "c" / "s") == [(n, float(n)) for n in range(1000)]


# --- code in what comes from elsewhere (row 28) ------------------------------------------


def hostile_schema(**column: Any) -> str:
    whole = {"codec": None, "index": True, "name": "n", "type": "int", **column}
    return json.dumps({"columns": [whole], "kind": "series"})


@pytest.mark.parametrize(
    "text",
    [
        hostile_schema(codec="pickle"),
        hostile_schema(codec="numcodecs.pickles.Pickle"),
        hostile_schema(type="object"),
        hostile_schema(type="pickle"),
        hostile_schema(type="extension<arrow.py_extension_type>"),
        hostile_schema(__reduce__="os.system"),
        "cos\nsystem\n(S'true'\ntR.",
    ],
)
def test_a_schema_that_asks_for_code_is_refused_on_pull_and_nothing_changes(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("something was unpickled or executed")

    source = Repo()
    source.create_collection(SCHEMA, "good")
    entry = Entry("1" * 32, "evil", text, "{}", 0)
    source._registry.put([entry], "")
    (Repo(tmp_path).create_collection(SCHEMA, "mine") / "s").write(numbers(0, 3))
    before = tree(tmp_path)
    for function in ("pickle.loads", "pickle.load", "builtins.eval", "os.system"):
        monkeypatch.setattr(function, never)
    target = Repo(tmp_path)
    for act in (
        lambda: target.pull(source),
        lambda: target.pull(source, "evil"),
        lambda: source.push(target),
        lambda: (source / "evil").schema,
    ):
        with pytest.raises(SchemaError):
            act()
    monkeypatch.undo()
    assert tree(tmp_path) == before


OTHER_ROWS = [
    (Schema(n="str*", y="int"), {"n": ["a"], "y": [1]}),
    (Schema(n="str*", x="float"), {"n": ["a"], "x": [0.5]}),
    (Schema(n="int*", x="str"), {"n": [1], "x": ["0.5"]}),
    (Schema(n="int*", x="bool"), {"n": [1], "x": [True]}),
]


@pytest.mark.parametrize(("schema", "frame"), OTHER_ROWS)
def test_rows_that_are_not_of_their_collections_schema_are_refused(
    tmp_path: Path, schema: Schema, frame: dict[str, list[Any]]
) -> None:
    """The objects are intact, but not what the schema promises."""
    source = Repo(tmp_path / "source")
    clct = source.create_collection(SCHEMA, "c")
    other = source.create_collection(schema, "other")
    (revision,) = (other / "s").write(frame)
    document = other.changelog.document(revision)
    data = encode_document(revision.parent, revision.child, document)
    source.store.put(f"changelog/{clct.id}/{revision.path}", data)
    (Repo(tmp_path / "target").create_collection(SCHEMA, "c") / "mine").write(numbers(0, 3))
    before = visible(tmp_path / "target")
    with pytest.raises(DamagedError, match="schema of its collection"):
        Repo(tmp_path / "target").pull(source, "c")
    assert visible(tmp_path / "target") == before
    with pytest.raises(LakotaError):
        (clct / "s").frame()


# --- bombs (row 29) ----------------------------------------------------------------------


def swollen(name: str, mebibytes: int) -> bytes:
    """A segment in few bytes of a text column whose values are a good part of a gigabyte."""
    values = pa.array([b"\0" * (mebibytes << 20)], pa.binary())
    return encode(pa.table({"n": [0], "x": values}), "zstd").data.to_pybytes()


def pull_within(say: Any, source: str, room: int) -> None:
    """Pull, and say what was raised and by how much the memory in use grew at most."""
    import resource

    target = Repo()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        target.pull(source)
        raised = "nothing"
    except LakotaError as error:
        raised = type(error).__name__
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    say.send((raised, (after - before) << 10, target.ls()))


def test_a_segment_that_promises_a_gigabyte_is_refused_before_it_is_decoded(
    tmp_path: Path,
) -> None:
    source = Repo(tmp_path, codec="packed")
    (source.create_collection(SCHEMA, "c") / "s").write(numbers(0, 1000))
    bomb = swollen("n", 600)
    assert len(bomb) < 200_000
    segments = [name for name in tree(tmp_path) if name.startswith("segments/")]
    for name in segments:
        if len((tmp_path / name).read_bytes()) > 1000:
            (tmp_path / name).write_bytes(bomb)
    here, there = PROCESSES.Pipe()
    process = PROCESSES.Process(target=pull_within, args=(there, str(tmp_path), 0))
    process.start()
    there.close()
    raised, grown, labels = here.recv()
    process.join(60)
    here.close()
    assert raised == "DamagedError"
    assert grown < 200 << 20
    assert labels == []


def test_what_a_damaged_repo_holds_else_is_still_readable(tmp_path: Path) -> None:
    repo = make_repo(tmp_path / "repo", "packed")
    expected = rows(repo / "plain" / "s")
    clct = repo / "readings"
    for edge in clct.changelog.history().edges:
        for extent in clct._site.manifest(edge[1]).extents():
            path = tmp_path / "repo" / "segments" / extent.segment.hex()[:2]
            shutil.rmtree(path, ignore_errors=True)
    damaged = Repo(tmp_path / "repo")
    assert rows(damaged / "plain" / "s") == expected
    with pytest.raises(DamagedError):
        rows(damaged / "readings" / "a")
    copy = Repo()
    copy.pull(damaged, "plain")
    assert content(copy) == {"plain": {"s": expected}}
