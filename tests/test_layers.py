"""Imports point downwards only. A new module gets its place in `LAYERS` before it gets code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "lakota"

# From the bottom up. A module imports only from lines above its own, so modules on one line do
# not know each other. A name that ends in `.*` is a package whose modules count as one.
LAYERS = """
errors arrays workers
progress
digest
clock
interval
extent
types
physical
schema order
cast frames
evolution
codecs
footer
segment
encoding
layout page
writes manifest
guide
overlay compact
patch compare answer
splice
region
moment
store.base store.parallel store.syncfs
store.memory store.local store.object store.web store.count store.retry store.cache
store.http
store.bundle
store.uri
store
header
ranged readahead
objects
history
document
archive
changelog
site bounds ahead
look
view
diff
transaction fold
narrow
merge sync bundle maintain ledger
predicate origin revisions
past conflict
choose revert
scan sink
reading
gc check
repair
series
bulk
registry
tags
collection
repo
lakota
server.*
cli.*
__main__
"""


def ranks(layers: str) -> dict[str, int]:
    """The place of each module, 0 for the lowest."""
    lines = [line.split() for line in layers.split("\n") if line.strip()]
    return {name: rank for rank, line in enumerate(lines) for name in line}


def modules(source: Path) -> dict[str, ast.Module]:
    """Every module below `source`, named without the package; the package itself is `lakota`."""
    found = {}
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        found[".".join(parts) or "lakota"] = ast.parse(path.read_text("utf-8"))
    return found


def place(module: str, known: dict[str, int]) -> str | None:
    """The entry of the list that `module` falls under."""
    if module in known:
        return module
    parts = module.split(".")
    packages = (".".join(parts[:n]) + ".*" for n in range(len(parts), 0, -1))
    return next((package for package in packages if package in known), None)


def imported(module: str, tree: ast.Module, names: dict[str, ast.Module]) -> Iterator[str]:
    """What `module` imports of the package, wherever in its code it does so."""
    inside = any(name.startswith(f"{module}.") for name in names)
    package = module.split(".") if inside else module.split(".")[:-1]
    if module == "lakota":
        package = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            paths = [alias.name.split(".") for alias in node.names]
            yield from (absolute(path[1:], names) for path in paths if path[0] == "lakota")
        elif isinstance(node, ast.ImportFrom):
            path = (node.module or "").split(".") if node.module else []
            if node.level:
                path = package[: len(package) + 1 - node.level] + path
            elif path[:1] == ["lakota"]:
                path = path[1:]
            else:
                continue
            yield from (absolute([*path, alias.name], names) for alias in node.names)


def absolute(path: list[str], names: dict[str, ast.Module]) -> str:
    """The longest start of `path` that is a module: the rest is what is taken from it."""
    starts = (".".join(path[:n]) for n in range(len(path), 0, -1))
    return next((start for start in starts if start in names), "lakota")


def violations(names: dict[str, ast.Module], layers: str) -> list[str]:
    """Every import that does not point down, and every module without a place, as sentences."""
    known = ranks(layers)
    found = []
    for module, tree in names.items():
        own = place(module, known)
        if own is None:
            found.append(f"{module} has no place: add it to LAYERS in {Path(__file__).name}")
            continue
        for target in sorted(set(imported(module, tree, names))):
            other = place(target, known)
            together = own == other and own.endswith(".*")
            if other is not None and known[other] >= known[own] and not together:
                found.append(f"{module} imports {target}, which is not below it")
    return found


def test_imports_point_downwards_only() -> None:
    assert violations(modules(SOURCE), LAYERS) == []


def test_the_design_lists_modules_from_the_bottom_up() -> None:
    page = (SOURCE.parents[1] / "docs" / "design.md").read_text("utf-8")
    section = page.partition("## The layers")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in section.split("\n") if line.startswith("| `")]
    listed = [name.replace("/", ".") for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
    together = [re.sub(r"^(cli|server)\..*", r"\1.*", name) for name in listed]
    names = modules(SOURCE)
    wrong = violations(names, "\n".join(dict.fromkeys(together)))
    assert [line for line in wrong if "has no place" not in line] == []
    assert {name for name in listed if name not in names} == set()


@pytest.mark.parametrize(
    ("module", "code"),
    [
        ("low", "from .high import x"),
        ("low", "from . import high"),
        ("low", "import lakota.high"),
        ("low", "from lakota import high"),
        ("low", "from lakota.high import x"),
        ("low", "def f():\n    from .high import x"),
        ("low", "if TYPE_CHECKING:\n    from .high import x"),
        ("low", "from . import __version__"),
        ("beside", "from .low import x"),
        ("part.one", "from ..high import x"),
        ("part.one", "from .two import x"),
        ("part", "from .two import x"),
        ("unknown", ""),
    ],
)
def test_an_import_that_does_not_point_down_is_found(module: str, code: str) -> None:
    layers = "low beside\npart.one\npart\npart.two\nhigh\nlakota\ntop.*"
    names = {name: ast.parse("") for name in ("low", "beside", "part.one", "part", "part.two")}
    names |= {"high": ast.parse(""), "lakota": ast.parse(""), "top.a": ast.parse("")}
    names[module] = ast.parse(code)
    assert len(violations(names, layers)) == 1


@pytest.mark.parametrize(
    ("module", "code"),
    [
        ("high", "from .low import x"),
        ("high", "import os, pyarrow.ipc"),
        ("part", "from .one import x"),
        ("part.one", "from ..low import x"),
        ("lakota", "from .high import x"),
        ("top.a", "from .b import x"),
        ("top.a", "from .. import high"),
        ("top.a", "from lakota import x"),
    ],
)
def test_an_import_that_points_down_is_accepted(module: str, code: str) -> None:
    layers = "low\npart.one\npart\nhigh\nlakota\ntop.*"
    names = {name: ast.parse("") for name in ("low", "part.one", "part", "high", "lakota")}
    names |= {"top.a": ast.parse(""), "top.b": ast.parse("")}
    names[module] = ast.parse(code)
    assert violations(names, layers) == []
