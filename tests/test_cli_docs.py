"""The pages that show a shell: every command runs and prints what the page shows.

The commands of a page run in order, in one shell and one empty folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_kit import Warm, commands_of, warm
from test_docs import PAGES, blocks, is_shell, matches

SHELL_PAGES = [
    name for name, path in PAGES.items() if any(map(is_shell, blocks(path.read_text("utf-8"))))
]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    with warm(tmp_path_factory.mktemp("cli")) as found:
        yield found


def test_the_command_line_has_a_page() -> None:
    assert "docs/cli.md" in SHELL_PAGES


@pytest.mark.parametrize("name", SHELL_PAGES)
def test_every_command_prints_what_the_page_shows(name: str, shell: Warm, tmp_path: Path) -> None:
    page = PAGES[name].read_text("utf-8")
    steps = [
        (f"{name}, line {block.line}: {command}", command, shown)
        for block in blocks(page)
        if is_shell(block)
        for command, shown in commands_of(block.text)
    ]
    printed = shell.session([command for _, command, _ in steps], tmp_path)
    for (where, _, shown), found in zip(steps, printed, strict=True):
        assert matches(shown, found), f"{where}\nprints\n{found}\nbut the page shows\n{shown}"


def test_a_command_goes_on_in_lines_of_its_own() -> None:
    block = "$ cat <<END\n> a\n> END\na\n$ true\n"
    assert commands_of(block) == [("cat <<END\na\nEND", "a"), ("true", "")]
