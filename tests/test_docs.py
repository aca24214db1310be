"""README and the pages in docs: every Python block runs and prints what the page shows.

Blocks of a page run in order, in one namespace and one empty folder. What a block prints is
shown in a `text` block right after it, or in comments `# -> ...` inside it, one for each line
printed. In both, `...` stands for anything within a line, and alone on a line for any lines.
Nothing passes unseen: a page without blocks, an output that is not shown, a fence of an unknown
kind or one that shows nothing all fail.
"""

from __future__ import annotations

import inspect
import io
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import lakota
from lakota.check import Report
from lakota.gc import Collected
from lakota.ledger import Batch
from lakota.series import KVSeries

ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
}
REQUIRED = {
    "README.md",
    *(f"docs/{name}.md" for name in ("tutorial", "howto", "reference", "format", "design")),
}
KINDS = {"python", "text", "console", ""}
FENCE = re.compile(r"^(`{3,}|~{3,})[ \t]*(.*?)[ \t]*$")


@dataclass(frozen=True)
class Block:
    """What is between two fences. `line` is the number of its first line."""

    kind: str
    text: str
    line: int


def blocks(page: str) -> list[Block]:
    """Every fenced block of a page."""
    found: list[Block] = []
    opened: tuple[str, str, int] | None = None
    for number, line in enumerate(page.split("\n"), 1):
        fence = FENCE.match(line)
        if opened is None:
            assert not line.lstrip().startswith("```") or fence, f"line {number}: fence indented"
            if fence:
                opened, lines = (fence[1], fence[2], number + 1), []
        elif fence and fence[1] == opened[0] and not fence[2]:
            text = "".join(f"{line}\n" for line in lines)
            found.append(Block(opened[1], text, opened[2]))
            opened = None
        else:
            lines.append(line)
    assert opened is None, f"line {opened and opened[2]}: a fence is not closed"
    return found


def is_shell(block: Block) -> bool:
    """Whether a block shows a shell: `test_cli_docs` runs these."""
    return block.kind == "console" and block.text.startswith("$ ")


def steps(page: str) -> Iterator[tuple[Block, str]]:
    """The Python blocks, each with the output that the page shows."""
    found = blocks(page)
    assert {block.kind for block in found} <= KINDS
    assert any(block.kind == "python" for block in found), "no Python block"
    for block, following in zip(found, [*found[1:], Block("", "", 0)], strict=True):
        if block.kind == "text":
            before = found[found.index(block) - 1]
            assert block is not found[0] and before.kind == "python", (
                f"line {block.line}: this output follows no Python block"
            )
        if block.kind != "python":
            continue
        said = re.findall(r"^[^\n]*?# -> ?(.*)$", block.text, re.M)
        shown = following.text if following.kind == "text" else "".join(f"{s}\n" for s in said)
        assert not (said and following.kind == "text"), f"line {block.line}: shown twice"
        assert not shown or shown.replace("...", "").strip(), f"line {block.line}: shows nothing"
        yield block, shown


def matches(shown: str, printed: str) -> bool:
    """Whether a page shows what was printed. White space at the ends of lines does not count."""
    want, have = (re.sub(r"[ \t]+$", "", text, flags=re.M).strip("\n") for text in (shown, printed))
    pattern = re.sub(r"(?m)^\\\.\\\.\\\.$", r"[\\s\\S]*", re.escape(want))
    return re.fullmatch(pattern.replace(r"\.\.\.", r"[^\n]*"), have) is not None


def run(name: str, page: str) -> int:
    """Run a page; returns the number of its blocks."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    count = 0
    for block, shown in steps(page):
        where = f"{name}, line {block.line}"
        code = compile("\n" * (block.line - 1) + block.text, name, "exec", dont_inherit=True)
        output = io.StringIO()
        with redirect_stdout(output):
            exec(code, namespace)
        printed = output.getvalue()
        assert shown or not printed, f"{where}: prints what is not shown:\n{printed}"
        assert matches(shown, printed), f"{where}: prints\n{printed}\nbut shows\n{shown}"
        count += 1
    return count


def test_the_pages_are_there() -> None:
    assert set(PAGES) >= REQUIRED


@pytest.mark.parametrize("name", sorted(PAGES.keys() - {"docs/cli.md"}))
def test_every_block_prints_what_the_page_shows(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = PAGES[name].read_text("utf-8")
    with pl.Config(tbl_width_chars=100):
        assert run(name, page) == len(re.findall(r"^```python$", page, re.M)) > 0


@pytest.mark.parametrize(
    "page",
    [
        "Nothing to run.\n",
        "```python\nprint(1)\n```\n",
        "```python\nprint(1)\n```\n```text\n2\n```\n",
        "```python\nx = 1\n```\n```text\n1\n```\n",
        "```python\nprint(1)\n```\n```text\n...\n```\n",
        "```python\nprint(1)  # -> 2\n```\n",
        "```python\nprint(1)  # -> 1\nprint(2)\n```\n",
        "```python\nprint(1)  # -> 1\n```\n```text\n1\n```\n",
        "```text\n1\n```\n",
        "```py\nprint(1)\n```\n",
        "```python\nx = 1\n",
        "  ```python\nx = 1\n  ```\n",
        "```python\nraise AssertionError\n```\n",
    ],
)
def test_a_page_that_shows_what_is_not_so_fails(page: str) -> None:
    with pytest.raises(AssertionError):
        run("a page", page)


@pytest.mark.parametrize(
    "page",
    [
        "```python\nx = 1\n```\n",
        "```python\nprint('a', 1)\n```\n\nIt prints:\n\n```text\na ...\n```\n",
        "```python\nprint('a\\nb\\nc')\n```\n```text\na\n...\nc\n```\n",
        "```python\nprint(1)  # -> 1\nprint(2)\n# -> 2\n```\n",
    ],
)
def test_a_page_that_shows_what_is_so_passes(page: str) -> None:
    assert run("a page", page) == 1


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    page = re.sub(r"^```.*?^```$", "", PAGES[name].read_text("utf-8"), flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", page):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = (PAGES[name].parent / path).resolve() if path else PAGES[name]
        assert target.exists(), f"{name}: {link}"
        if anchor:
            assert anchor in anchors(target.read_text("utf-8")), f"{name}: {link}"


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings."""
    headings = re.findall(r"^#+ +(.*?)$", page, re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


# ---- The reference has every name, as it is called.

CLASSES = {
    "repo": lakota.Repo,
    "clct": lakota.Collection,
    "series": lakota.Series,
    "kv": KVSeries,
    "changelog": lakota.Changelog,
    "revision": lakota.Revision,
    "clock": lakota.Clock,
    "schema": lakota.Schema,
    "batch": Batch,
    "report": Report,
    "collected": Collected,
}
UNSAID = {
    # Steps of a commit or of a transfer; a user has no need of them.
    "changelog": {
        "commit",
        "ended",
        "guides",
        "write",
        "read",
        "trim",
        "ages",
        "archive",
        "archives",
        "tidy",
        "trimmed",
        "history",
        "told",
        "glance",
        "look",
        "last",
        "heads",
        "writing",
        "about",
    },
    "series": {"view"},
    "schema": {
        "check_select",
        "key",
        "arrow",
        "sources",
        "stored",
        "with_columns",
        "described",
    },
    "collected": {"count", "index"},
}


def call(name: str, method: Any) -> str:
    """How a method is called: names and defaults, without annotations."""
    parameters = list(inspect.signature(method).parameters.values())
    if parameters and parameters[0].name in ("self", "cls"):
        parameters = parameters[1:]
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in parameters]
    text = str(inspect.Signature(bare)).replace("3600.0", "3600").replace("65536", "65_536")
    return f"{name}{text}".replace("'", '"').replace(
        "=<built-in function time_ns>", "=time.time_ns"
    )


@pytest.mark.parametrize("name", CLASSES)
def test_the_reference_has_every_method_as_it_is_called(name: str) -> None:
    page = PAGES["docs/reference.md"].read_text("utf-8")
    missing = []
    for attribute, value in public(CLASSES[name]):
        if attribute in UNSAID.get(name, ()):
            continue
        function = getattr(value, "__func__", value)
        wanted = f"{name}.{attribute}"
        if inspect.isfunction(function):
            wanted = call(f"{name}.{attribute}", function)
        if f"`{wanted}`" not in page:
            missing.append(wanted)
    assert missing == []


def public(kind: type) -> Iterator[tuple[str, Any]]:
    """The public attributes of a class and of the private ones that it stands on, and the fields
    of a dataclass."""
    bases = [base for base in kind.__mro__ if base.__module__.startswith("lakota")]
    if kind is KVSeries:  # what it has in common with Series is told there
        bases = [kind]
    known: dict[str, Any] = {}
    for base in reversed(bases):
        known.update(dict.fromkeys(getattr(base, "__annotations__", {})), **vars(base))
    yield from ((name, value) for name, value in known.items() if not name.startswith("_"))


def test_the_design_has_every_module() -> None:
    page = PAGES["docs/design.md"].read_text("utf-8")
    source = ROOT / "src" / "lakota"
    found = {p.relative_to(source).with_suffix("").as_posix() for p in source.rglob("*.py")}
    found = {name for name in found if not name.endswith("__init__")}
    assert {name for name in found if f"`{name}`" not in page} == set()


def test_the_reference_has_every_error() -> None:
    page = PAGES["docs/reference.md"].read_text("utf-8")
    errors = {name for name in lakota.__all__ if name.endswith("Error")}
    tree = next(block.text for block in blocks(page) if "LakotaError" in block.text)
    assert set(re.findall(r"\w+Error(?= )|LakotaError", tree)) - {"KeyError"} >= errors
    for name in errors:
        bases = [base.__name__ for base in getattr(lakota, name).__mro__[1:]]
        for base in re.findall(rf"\b{name} +\((\w+)\)", tree):
            assert base in bases
