"""Authors and messages are text, or refused before anything is stored."""

from __future__ import annotations

from typing import Any

import pytest

from lakota import InputError, Repo, Schema


@pytest.mark.parametrize("bad", ["\ud800", 3, b"text", object()])
@pytest.mark.parametrize("option", ["author", "message"])
def test_what_is_no_text_is_refused_and_nothing_is_written(option: str, bad: Any) -> None:
    repo = Repo()
    clct = repo.create_collection(Schema(n="int*"), "c")
    series = clct / "s"
    series.write({"n": [1]})
    before = sorted(info.name for info in repo.store.list(""))
    options = {option: bad}
    with pytest.raises(InputError, match=option):
        series.write({"n": [2]}, **options)
    with pytest.raises(InputError, match=option):
        series.delete(1, **options)
    with pytest.raises(InputError, match=option):
        clct.rename("s", "t", **options)
    with pytest.raises(InputError, match=option), clct.multi(**options):
        series.write({"n": [3]})
    assert sorted(info.name for info in repo.store.list("")) == before
    assert series.df()["n"].to_list() == [1]


def test_any_text_is_kept() -> None:
    clct = Repo().create_collection(Schema(n="int*"), "c")
    (revision,) = (clct / "s").write({"n": [1]}, author="Zoë", message="\0\n\U0001f600")
    document = clct.changelog.document(revision)
    assert (document["author"], document["message"]) == ("Zoë", "\0\n\U0001f600")
