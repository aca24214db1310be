"""What every verb promises: exit codes, errors of one line that change nothing, JSON."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from bucket_kit import Bucket
from cli_kit import call, done

from lakota import Repo, Schema
from lakota.cli.app import GROUPS, HIDDEN, VERBS
from lakota.cli.graph import graph

SCHEMA = Schema(n="int*", x="float")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a repo that has two collections, three series, and a past."""
    monkeypatch.chdir(tmp_path)
    for name in ("LAKOTA_REPO", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    repo = Repo(".lakota", durability="os")
    weather, rain = repo.create_collection(SCHEMA, "weather", "rain")
    (weather / "Oslo").write({"n": [1, 2, 3], "x": [1, 2, 3]}, author="ada", message="first")
    (weather / "Ostend").write({"n": [1], "x": [5]}, author="bob", message="second")
    (rain / "Oslo").write({"n": [1], "x": [0]})
    (tmp_path / "rows.csv").write_text("n,x\n7,0.5\n8,1.5\n")
    yield tmp_path


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# ---- Errors


REFUSED = [
    (2, "frobnicate"),
    (2, "read"),
    (2, "read weather/Oslo --nonsense"),
    (2, "read weather/Oslo --limit many"),
    (2, "read weather/Oslo --limit=-1"),
    (2, "read weather --limit=-1"),
    (2, "read weather --offset=-1"),
    (2, "read weather --tail=-1"),
    (2, "read weather --paginate=-1"),
    (2, "read weather/Oslo --where true --paginate=-1"),
    (2, "read weather --closed sideways"),
    (2, "read weather/Oslo -O .lakota"),
    (2, "log --limit=-1"),
    (2, "delete weather/Oslo --closed sideways"),
    (2, "delete weather/Oslo --key 1 --start 2"),
    (2, "delete weather/Oslo weather/Oslo"),
    (2, "delete weather weather/Oslo"),
    (2, "delete weather/Oslo weather"),
    (3, "read weather/Oslo --as-of HEAD~99999999999999999999"),
    (3, "show weather HEAD~99999999999999999999"),
    (2, "copy weather new 'n int*' 'x bool'"),
    (2, "copy weather new --rename x=n"),
    (3, "copy weather new 'n int*' 'x float' --rename x=y"),
    (3, "copy weather new --rename z=y"),
    (2, "import rows.csv -c new --index n --label nothing"),
    (2, "import - -c new --index n --label x"),
    (2, "read weather/Oslo --start one"),
    (2, "read weather/Oslo --start 1 --start 2"),
    (2, "read weather/Oslo --closed sideways"),
    (2, "read weather/Oslo --as-of 2020-01-01 --before 2020-01-02"),
    (2, "read weather/Oslo --where \"x > 'a'\""),
    (2, "read weather/Oslo --group-by 2i"),
    (2, "read weather/Oslo max(x) --group-by 1mo"),
    (2, "read weather/Oslo --format nonsense"),
    (2, "read weather/Oslo --series Os*"),
    (2, "read weather/Os"),
    (2, "sql nonsense"),
    (2, "write weather rows.csv"),
    (2, "write weather/Oslo .lakota"),
    (2, "write weather/Oslo rows.csv --label n"),
    (2, "write weather/Oslo rows.csv --upsert --start 1"),
    (2, "write weather/Oslo rows.csv --format nonsense"),
    (2, "write weather/Oslo rows.csv --format parquet"),
    (2, "write weather/Oslo rows.csv --start 8 --stop 9"),
    (2, "create weather n:int*"),
    (2, "create weather 'n int*'"),
    (2, "create new 'n int'"),
    (2, "create new"),
    (2, "delete weather --start 1"),
    (2, "delete weather/Oslo --key one"),
    (2, "rename weather rain"),
    (2, "rename weather/Oslo weather/Ostend"),
    (2, "import rows.csv"),
    (2, "import rows.csv -c weather --label nothing"),
    (2, "import - -c weather"),
    (2, "export out --format nonsense"),
    (2, "merge weather --on-conflict nonsense"),
    (2, "merge --head HEAD"),
    (2, "tag weather 2020-01-01"),
    (2, "tag weather HEAD"),
    (2, "tag weather @~1"),
    (2, "column add weather y nonsense"),
    (2, "column add weather x float"),
    (2, "column widen weather x int"),
    (2, "defrag --max-chunk 0"),
    (2, "gc --grace=-1"),
    (3, "trim weather --before nonsense!"),
    (2, "push . weather rain --as other"),
    (2, "remote add bad/name uri"),
    (2, "init here -r there"),
    (2, "read weather/Oslo -r nonsense://here"),
    (3, "read nothing"),
    (3, "read weather/Paris"),
    (3, "read weather/Oslo y"),
    (3, "read weather/Oslo --as-of nothing"),
    (3, "sql 'select y from weather'"),
    (3, "ls nothing"),
    (3, "copy nothing new"),
    (2, "copy weather rain"),
    (2, "copy weather new --rename x"),
    (2, "--codec nonsense ls"),
    (2, "--durability nonsense ls"),
    (2, "--storage-option nonsense ls"),
    (3, "len weather/Paris"),
    (3, "write nothing/s rows.csv"),
    (3, "write weather/Oslo nothing.csv"),
    (3, "delete weath"),
    (3, "delete weather/Osl"),
    (3, "rename weath other"),
    (3, "show weather HEAD~9"),
    (3, "show weather nothing"),
    (3, "diff weather nothing"),
    (3, "revert weather nothing"),
    (3, "tag weather --delete nothing"),
    (3, "import nothing.csv -c weather"),
    (3, "import rows.csv -c new"),
    (3, "push"),
    (3, "pull nothing"),
    (3, "fetch"),
    (3, "clone nothing"),
    (3, "remote remove nothing"),
    (3, "ls -r elsewhere"),
    (3, "column drop weather y"),
]


@pytest.mark.parametrize(("code", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_a_refusal_is_one_line_and_changes_nothing(code: int, words: str, folder: Path) -> None:
    before = bytes_of(folder)
    split = shlex.split(words)
    ran = call(*split)
    assert (ran.code, ran.out) == (code, ""), ran.err
    assert ran.err.startswith("lakota: ") and ran.err.count("\n") == 1
    assert bytes_of(folder) == before


def test_verbose_shows_where_an_error_comes_from(folder: Path) -> None:
    for words in (["-v", "read", "nothing"], ["read", "nothing", "-v"]):
        ran = call(*words)
        assert ran.code == 3 and "Traceback" in ran.err and "labels.py" in ran.err


def test_an_error_cannot_steer_the_terminal(folder: Path) -> None:
    ran = call("read", "\x1b[31mred\x1b[0m")
    assert ran.code == 3 and "\x1b" not in ran.err
    (Repo(".lakota") / "weather" / "a\x1b[2Jb\n").write({"n": [1], "x": [1]}, message="\x1b[2J")
    for words in (["ls", "weather"], ["log"], ["-P", "show", "weather"], ["-P", "ls", "weather"]):
        assert "\x1b" not in done(*words)
    assert json.dumps("a\x1b[2Jb\n") in done("ls", "weather").splitlines()


def test_marks_of_rich_are_text(folder: Path) -> None:
    (Repo(".lakota") / "weather" / "s").write({"n": [1], "x": [1]}, message="[bold]x[/nothing]")
    assert "[bold]x[/nothing]" in done("log", "weather")


def test_damage_is_found_and_named(folder: Path) -> None:
    names = sorted((folder / ".lakota" / "segments").rglob("*.arrow"))
    names[0].write_bytes(names[0].read_bytes()[:40])
    ran = call("check")
    assert ran.code == 4 and names[0].name in ran.out and "damaged" in ran.err
    found = json.loads(call("check", "--json").out)
    assert len(found["damaged"]) == 1


def test_damage_is_mended_from_a_copy(folder: Path) -> None:
    done("clone", ".lakota", "copy")
    names = sorted((folder / ".lakota" / "segments").rglob("*.arrow"))
    names[0].write_bytes(b"")
    ran = call("check", "--repair", "copy")
    assert ran.code == 0 and ran.out.startswith("repaired: ") and "all whole" in ran.err
    names[0].write_bytes(b"")
    assert call("check", "--give-up").code == 0
    assert call("check").code == 0


def test_what_the_store_cannot_do_exits_with_five(folder: Path) -> None:
    (folder / "a-file").write_text("")
    ran = call("read", "weather/Oslo", "-O", "a-file/rows.csv")
    assert ran.code == 2 and ran.err.count("\n") == 1
    ran = call("read", "weather/Oslo", "-O", "/proc/nothing/rows.csv")
    assert ran.code == 3 and ran.err.count("\n") == 1


# ---- JSON


DOCUMENTS = [
    "ls",
    "ls --long",
    "ls weather",
    "ls weather --long",
    "len weather",
    "schema weather",
    "read weather/Oslo",
    "read weather",
    "read weather/Oslo --plot",
    "read weather/Oslo --explain",
    "read weather/Paris-nothing --limit 0 -r empty",
    "sql select(1)",
    "log",
    "log weather --limit 1",
    "rev",
    "show weather",
    "show weather HEAD~1",
    "diff weather HEAD~1",
    "diff weather HEAD",
    "history weather/Oslo 2",
    "vintages weather/Oslo HEAD~1 HEAD",
    "tag weather v1",
    "tag weather",
    "tag weather v1 --delete",
    "status",
    "index",
    "create new 'n int*' 'm int32'",
    "write weather/Oslo rows.csv",
    "write weather/Oslo rows.csv --only-changes",
    "revert weather HEAD",
    "rename new newer",
    "copy weather copied",
    "column add weather y float --default 2.5",
    "column rename weather y z",
    "column widen newer m int",
    "column drop weather z",
    "delete weather/Oslo --key 7 --key 8 --dry-run",
    "delete weather/Oslo --key 7",
    "delete weather/Ostend newer",
    "export out",
    "import out --dry-run",
    "-r other import out",
    "import rows.csv -c rain",
    "init elsewhere",
    "clone .lakota copy",
    "remote add o other",
    "remote list",
    "push copy",
    "push o",
    "pull copy --merge",
    "fetch",
    "status",
    "bundle a.bundle",
    "merge",
    "conflicts",
    "conflicts weather",
    "remote remove o",
    "check",
    "pack",
    "pack weather",
    "defrag",
    "fold weather --before 2020-01-01",
    "trim --dry-run",
    "squash",
    "gc --dry-run",
    "gc",
    "token add me",
    "token list",
    "token remove me",
    "version",
]


def test_every_verb_prints_one_json_document(folder: Path) -> None:
    done("-r", "empty", "init")
    used = set()
    for words in DOCUMENTS:
        split = shlex.split(words)
        ran = call(*split, "--json")
        if "empty" in words:
            assert ran.code == 3
            continue
        assert ran.code in (0, 1), (words, ran.err)
        assert ran.err == "", words
        json.loads(ran.out)
        rest = split[2:] if split[0] == "-r" else split
        used.update({rest[0], " ".join(rest[:2])})
    verbs = {name for _, panel in VERBS for name, _ in panel}
    verbs |= {f"{title} {name}" for _, title, _, group in GROUPS for name, _ in group}
    assert verbs - used == {"serve"}
    assert {act for _, act in HIDDEN} <= {act for _, panel in VERBS for _, act in panel}


def test_the_newest_head_is_what_it_is_whatever_tags_there_are(folder: Path) -> None:
    """A library, or a replica, may have given the name to another revision."""
    weather = Repo(".lakota") / "weather"
    first = min(revision.child for revision in weather.changelog.log())
    for name in ("HEAD", "HEAD~0", "@"):
        weather.tag(name, first)
        assert done("ls", "weather", "--as-of", name) == "Oslo\nOstend\n"
    done("revert", "weather", "HEAD")
    assert done("ls", "weather") == "Oslo\n"


def test_options_of_all_verbs_stand_before_and_after(folder: Path) -> None:
    assert done("--json", "ls") == done("ls", "--json") == '["rain", "weather"]\n'
    assert done("-r", ".lakota", "ls") == done("ls", "-r", ".lakota") == "rain\nweather\n"
    ran = call("-t", "ls")
    assert ran.err.endswith(" ms\n") and call("ls", "--timing").err.endswith(" ms\n")
    ran = call("-q", "tag", "weather", "v")
    assert (ran.out, ran.err) == ("", "")


# ---- Where the repo is


def test_the_repo_is_the_nearest_one_above(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(folder / "a" / "b")
    assert done("ls") == "rain\nweather\n"
    done("init")
    assert done("ls") == "" and (folder / "a" / "b" / ".lakota").is_dir()
    monkeypatch.setenv("LAKOTA_REPO", str(folder / ".lakota"))
    assert done("ls") == "rain\nweather\n"
    assert done("-r", ".lakota", "ls") == ""


def test_a_repo_that_is_not_there_is_not_made_by_reading(folder: Path) -> None:
    for words in ("ls", "log", "status", "check", "gc", "pack", "push nowhere", "export out"):
        assert call("-r", "nowhere", *words.split(" ")).code == 3
    assert not (folder / "nowhere").exists()


def test_errors_name_what_the_user_named(folder: Path) -> None:
    ran = call("read", "weather/Oslo", "-O", "nowhere/rows.csv")
    assert (ran.code, ran.err) == (3, "lakota: nowhere/rows.csv: No such file or directory\n")
    ran = call("create", "weather", "n int*")
    assert ran.code == 2 and "--if-not-exists takes it" in ran.err
    ran = call("serve", ".")
    assert ran.code == 2 and "or public_read=True (--public-read)" in ran.err


# ---- Labels


def test_the_beginning_of_a_label_will_do_for_reading(folder: Path) -> None:
    assert done("len", "wea/Osl") == "3\n"
    ran = call("read", "weather/Os")
    assert ran.code == 2 and "'Oslo', 'Ostend'" in ran.err
    (Repo(".lakota") / "weather" / "Os").write({"n": [1], "x": [1]})
    assert done("len", "weather/Os") == "1\n"
    assert call("delete", "wea/Oslo").code == 3


def test_labels_may_have_slashes(folder: Path) -> None:
    repo = Repo(".lakota")
    deep = repo.create_collection(SCHEMA, "a/b")
    (deep / "c/d").write({"n": [1], "x": [1]})
    assert done("len", "a/b/c/d") == "1\n" == done("len", "a/b")
    (repo.create_collection(SCHEMA, "a") / "x").write({"n": [1, 2], "x": [1, 2]})
    assert done("len", "a/b/c/d") == "1\n" and done("len", "a/x") == "2\n"
    (repo / "a" / "b/c/d").write({"n": [1, 2, 3], "x": [1, 2, 3]})
    ran = call("len", "a/b/c/d")
    assert ran.code == 2 and "'a' / 'b/c/d' or 'a/b' / 'c/d'" in ran.err


def test_keys_of_several_columns(folder: Path) -> None:
    schema = Schema(day="date*", shop="str*", pieces="int")
    clct = Repo(".lakota").create_collection(schema, "stock")
    rows = "day,shop,pieces\n2024-1-1,a,1\n2024-01-01,b,2\n2024-01-02,a,3\n"
    done("write", "stock/s", stdin=rows.encode())
    found = done(
        "read", "stock/s", "pieces", "--gt", "2024-01-01", "--gt", "b", "--lt", "2024-01-03"
    )
    assert found == "pieces\n2\n3\n"
    done("delete", "stock/s", "--key", "2024-01-01,b")
    assert (clct / "s").df()["pieces"].to_list() == [1, 3]
    assert "deleted" in done("history", "stock/s", "2024-01-01", "b")


# ---- Rows


def test_bounds_and_windows(folder: Path) -> None:
    def read(*words: str) -> list[str]:
        return done("read", "weather/Oslo", *words).splitlines()[1:]

    assert read("--gt", "2") == ["2,2.0", "3,3.0"] == read("--start", "2", "--stop", "4")
    assert read("--gt", "1", "--lt", "3", "-c", "n") == ["2,2.0"]
    many = str(1 << 70)
    assert read("-l", many, "-o", "1", "-p", many) == ["2,2.0", "3,3.0"] == read("-t", "2")
    assert read("-m", "true", "-l", many, "-t", many, "-p", many) == read()
    assert read("-m", "true", "-o", many) == []
    assert read("-l", "1", "-o", "1") == ["2,2.0"] == read("-t", "2", "-l", "1")
    assert read("-m", "x > 1", "--where", "x < 3") == ["2,2.0"]
    assert read("sum(x) as s", "--group-by", "2i") == ["0,1.0", "2,5.0"]
    assert read("sum(x) as s", "--gt", "2") == ["5.0"]
    assert read("x", "n") == ["1.0,1", "2.0,2", "3.0,3"] == read("--select", "x, n")
    assert read("--order-by", "x desc", "-l", "1") == ["3,3.0"]
    assert read("-p", "1") == read() == read("--paginate", "2", "--where", "true")
    assert read("--provenance")[0].endswith(",ada")
    assert read("--before", "HEAD~1") == []
    rows = done("read", "weather", "--gt", "2", "--series", "Osl*").splitlines()
    assert rows == ["label,n,x", "Oslo,2,2.0", "Oslo,3,3.0"]


def test_a_copy_has_other_columns(folder: Path) -> None:
    words = ["copy", "weather", "new", "n int*", "y float", "unit str"]
    done(*words, "--rename", "x=y", "--default", "unit=kWh")
    assert done("read", "new/Ostend") == "n,y,unit\n1,5.0,kWh\n"
    done("copy", "weather", "other", "--rename", "x=y")
    assert done("read", "other/Ostend") == "n,y\n1,5.0\n"
    done("delete", "other")
    assert call("copy", "weather", "newer", "n int*", "x bool").code == 2
    assert done("ls") == "new\nrain\nweather\n"


def test_how_a_repo_is_opened(folder: Path) -> None:
    done("--codec", "packed", "--durability", "os", "write", "weather/new", "rows.csv")
    assert done("len", "weather/new") == "2\n"
    assert call("--storage-option", "aws_region=x", "ls").code == 0  # there is no bucket in it
    assert call("--storage-option", "nonsense", "ls").code == 2


def test_what_is_deleted_in_a_dry_run_stays(folder: Path) -> None:
    before = bytes_of(folder)
    for words in ("weather", "weather/Oslo", "weather/Oslo --start 2", "weather/Oslo --key 2"):
        assert call("delete", *words.split(" "), "--dry-run").err.startswith("would delete")
    for verb in ("trim", "gc"):
        done(verb, "--dry-run", "--grace", "0")
    done("import", "rows.csv", "-c", "weather", "--dry-run")
    done("import", "rows.csv", "-c", "new", "--index", "n", "--dry-run")
    assert bytes_of(folder) == before
    assert "3 rows" in call("delete", "weather/Oslo", "--dry-run").err


def test_many_files_are_one_revision_or_none(folder: Path) -> None:
    for i in range(5):
        (folder / f"{i}.csv").write_text(f"n,x\n{i},0.5\n")
    done("import", "?.csv", "-c", "weather")
    clct = Repo(".lakota") / "weather"
    assert len(clct.changelog) == 3 and clct.ls() == [*"01234", "Oslo", "Ostend"]
    (folder / "4.csv").write_text("n,x\n4,much\n")
    before = bytes_of(folder)
    ran = call("import", "?.csv", "-c", "weather")
    assert ran.code == 2 and "4.csv: column 'x'" in ran.err and bytes_of(folder) == before


def test_writes_that_change_nothing_make_no_revision(folder: Path) -> None:
    done("write", "weather/new", "rows.csv", "-m", "why", "--author", "eve")
    clct = Repo(".lakota") / "weather"
    (last,) = clct.changelog.leafs()
    assert clct.changelog.document(last)["author"] == "eve"
    assert "nothing to write" in call("write", "weather/new", "rows.csv", "--only-changes").err
    assert clct.changelog.leafs() == [last]


# ---- Copies


def test_remotes_are_of_this_copy_only(folder: Path) -> None:
    done("remote", "add", "copy", "copy")
    done("push", "copy")
    assert not (folder / "copy" / ".remotes.json").exists()
    file = folder / ".lakota" / ".remotes.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text()) == {"copy": str(folder / "copy")}
    assert json.loads(done("check", "--json"))["strays"] == []
    ran = call("push", "copi")
    assert ran.code == 3 and "did you mean 'copy'" in ran.err and not (folder / "copi").exists()
    file.write_text("not json")
    assert call("fetch").code == 4


def test_a_clone_that_was_cut_off_goes_on(folder: Path) -> None:
    done("clone", ".lakota", "copy")
    assert "cloned" in call("clone", ".lakota", "copy").err
    assert call("clone", "copy", ".lakota").code == 2


def test_conflicts_are_differences(folder: Path) -> None:
    done("clone", ".lakota", "copy")
    done("write", "weather/Oslo", stdin=b"n,x\n1,10\n")
    done("-r", "copy", "write", "weather/Oslo", stdin=b"n,x\n1,20\n")
    assert "2 heads" in call("pull", "copy").err
    assert call("conflicts").code == 1 == call("conflicts", "weather").code
    assert call("conflicts", "rain").code == 0
    before = bytes_of(folder / ".lakota")
    ran = call("merge", "weather", "--on-conflict", "raise")
    assert ran.code == 1 and ran.err.count("\n") == 1
    assert bytes_of(folder / ".lakota") == before
    done("merge", "weather", "--on-conflict", "theirs")
    assert done("read", "weather/Oslo", "x", "-l", "1") == "x\n10.0\n"
    assert call("diff", "weather", "HEAD", "HEAD").code == 0


# ---- The graph


@pytest.mark.parametrize(
    ("nodes", "parents", "drawn"),
    [
        ("cba", {"c": "b", "b": "a"}, ["* c", "* b", "* a"]),
        ("ba", {}, ["* b", "  * a"]),
        (
            "fedcba",
            {"f": "cde", "e": "a", "d": "b", "c": "b"},
            ["* f", "├─╮", "├─┼─╮", "│ │ * e", "│ * │ d", "* │ │ c", "├─╯ │", "*   │ b", "    * a"],
        ),
    ],
)
def test_lines_of_a_graph(nodes: str, parents: dict[str, str], drawn: list[str]) -> None:
    lines = [f"{line.drawing} {line.node or ''}".rstrip() for line in graph(nodes, parents)]
    assert lines == drawn


# ---- Completion


def complete(words: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("_LAKOTA_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
    found = call().out.split()
    monkeypatch.delenv("_LAKOTA_COMPLETE")
    return found


def test_a_shell_completes_verbs_labels_and_remotes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done("remote", "add", "backup", "copy")
    assert complete("lakota vin", monkeypatch) == ["vintages"]
    assert complete("lakota ls w", monkeypatch) == ["weather"]
    assert complete("lakota read weather/Os", monkeypatch) == ["weather/Oslo", "weather/Ostend"]
    assert complete("lakota push b", monkeypatch) == ["backup"]
    assert complete("lakota read --prov", monkeypatch) == ["--provenance"]
    monkeypatch.chdir("/")
    assert complete("lakota ls w", monkeypatch) == []


def test_storage_options_are_for_remotes_too(folder: Path, bucket: Bucket) -> None:
    """Credentials that only the command line says reach every repo behind a URL."""
    options = [
        word for item in bucket.options.items() for word in ("--storage-option", "=".join(item))
    ]
    uri = bucket.uri
    done(*options, "push", uri)
    done(*options, "remote", "add", "origin", uri)
    assert json.loads(done(*options, "--json", "status"))["remotes"]["origin"]["collections"]
    done(*options, "clone", uri, "copy")
    assert Repo("copy").ls() == ["rain", "weather"]
    (Repo(uri, storage_options=bucket.options) / "rain" / "new").write({"n": [1], "x": [2]})
    done(*options, "pull")
    assert (Repo(".lakota") / "rain").ls() == ["Oslo", "new"]
    done(*options, "-r", bucket.uri, "init")


def test_a_clone_is_opened_as_was_asked_for(folder: Path) -> None:
    done("--codec", "packed", "clone", ".lakota", "small")
    done("clone", ".lakota", "large")
    sizes = [len(b"".join(bytes_of(Path(name)).values())) for name in ("small", "large")]
    assert sizes[0] != sizes[1]
