"""Verbs for repos and their copies: init, clone, remote, fetch, pull, push, status."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import lakota

from ..errors import AlreadyExistsError, InputError, LakotaError, NotFoundError
from . import labels, remotes
from .options import CollectionNames, RemoteName, complete_remote
from .progress import bar
from .shell import DEFAULT, Shell, many

if TYPE_CHECKING:
    from ..collection import Collection
    from ..repo import Repo

__all__ = ["bundle", "clone", "fetch", "init", "pull", "push", "remote", "size", "status"]

Shallow = Annotated[bool, typer.Option("--shallow", "-s", help="Without the past.")]
Other = Annotated[
    str | None,
    typer.Option(
        "--as", help="Of one collection: its label on the other side.", show_default=False
    ),
]


def init(
    shell: Shell,
    folder: Annotated[
        str | None, typer.Argument(help="By default .lakota here.", show_default=False)
    ] = None,
) -> None:
    """Make a repo. The first write would do it, too."""
    if folder is not None and shell.repos:
        raise InputError("a folder and -r: expected one of them")
    place = folder or (shell.uri if shell.repos else _here())
    repo = lakota.Repo(place, **shell.how_at(place, own=True))
    there = repo.exists()
    repo.init()
    where = folder or shell.uri
    shell.done(f"{where} is a repo already" if there else f"made {where}", repo=where)


def _here() -> str:
    return os.environ.get("LAKOTA_REPO") or DEFAULT


def clone(
    shell: Shell,
    uri: Annotated[str, typer.Argument(help="A folder or a URI.")],
    folder: Annotated[
        str | None, typer.Argument(help="The new repo; by default .lakota.", show_default=False)
    ] = None,
    shallow: Shallow = False,
) -> None:
    """Copy a repo, and remember where from as `origin`."""
    source = remotes.there(shell, uri)
    folder = folder or (shell.repos[0] if shell.repos else DEFAULT)
    target, at = lakota.Repo(folder, **shell.how_at(folder, own=True)), Shell((folder,))
    origin = {"origin": remotes.absolute(uri)}
    if target.exists() and remotes.known(at) != origin:  # a clone that was cut off goes on
        raise AlreadyExistsError(f"{folder} is a repo: pull into it, or name another folder")
    target.init()
    if remotes.has_place(target):
        remotes.save(at, origin)
    with bar(shell, "clone") as tell:
        target.pull(source, shallow=shallow, progress=tell)
    shell.done(f"cloned {uri} into {folder}", repo=folder, collections=target.ls())


# ---- Remotes

remote = typer.Typer(help="Names for other repos, kept beside this one.", no_args_is_help=True)


def add_remote(
    shell: Shell,
    name: Annotated[str, typer.Argument()],
    uri: Annotated[str, typer.Argument(help="A folder or a URI.")],
    force: Annotated[bool, typer.Option("--force", help="Replace one of that name.")] = False,
) -> None:
    """Give another repo a name."""
    if not remotes.NAME.fullmatch(name):
        raise InputError(f"remote {name!r}: expected letters, digits, '_', '.' and '-'")
    _ = shell.repo  # there must be one
    found = remotes.known(shell)
    if name in found and not force:
        raise AlreadyExistsError(f"remote {name!r} exists: {found[name]}; --force replaces it")
    remotes.save(shell, {**found, name: remotes.absolute(uri)})
    shell.done(f"added {name}", remote=name)


def list_remotes(shell: Shell) -> None:
    """List the names of other repos."""
    found = remotes.known(shell)
    if shell.json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        for name, uri in found.items():
            print(f"{name}\t{uri}")


def remove_remote(
    shell: Shell, name: Annotated[str, typer.Argument(autocompletion=complete_remote)]
) -> None:
    """Forget a name."""
    found = remotes.known(shell)
    if name not in found:
        raise NotFoundError(f"no remote {name!r}; there are: {', '.join(found) or 'none'}")
    del found[name]
    remotes.save(shell, found)
    shell.done(f"removed {name}", remote=name)


# ---- Copying


def push(
    shell: Shell,
    name: RemoteName = None,
    names: CollectionNames = None,
    other: Other = None,
    shallow: Shallow = False,
) -> None:
    """Copy to another repo what it lacks.

    lakota push origin

    lakota push backup temperature --as temperature-2024
    """
    target = remotes.opened(shell, name, new=True)
    shell.done(**_copied(shell, "push", shell.repo, target, names, other, shallow))


def pull(
    shell: Shell,
    name: RemoteName = None,
    names: CollectionNames = None,
    other: Other = None,
    shallow: Shallow = False,
    merge: Annotated[bool, typer.Option("--merge", help="Join the heads then.")] = False,
) -> None:
    """Copy from another repo what this one lacks. Merges nothing unless told to."""
    source = remotes.opened(shell, name)
    facts = _copied(shell, "pull", source, shell.place, names, other, shallow)
    if merge:
        made = sorted({revision.child for revision in shell.place.merge()})
        facts["merged"] = made
        heads = ", ".join(child[:16] for child in made)
        facts["text"] += f"\nmerged: {heads}" if made else "\nno merge needed"
    shell.done(**facts)


def fetch(
    shell: Shell,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="REMOTE...", help="All if none is named.", show_default=False),
    ] = None,
) -> None:
    """Pull from several remotes. Merges nothing."""
    known = remotes.known(shell)
    if not (names or known):
        raise NotFoundError("no remote is known: `lakota remote add origin URI` adds one")
    shell.done_all(
        _copied(shell, "fetch", remotes.opened(shell, name), shell.place, from_=name)
        for name in names or known
    )


def bundle(
    shell: Shell,
    file: Annotated[str, typer.Argument(help="The file to write.")],
    names: CollectionNames = None,
    since: Annotated[
        str | None,
        typer.Option(
            help="Only what is new since a time, a remote, or an earlier bundle.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write a repo to one file, which others pull: for machines that never meet.

    lakota bundle january.bundle --since 2024-01-01
    """
    chosen = [clct.label for clct in labels.chosen(shell, names)] if names else []
    with bar(shell, "bundle"):
        count = shell.repo.bundle(file, *chosen, since=_since(shell, since))
    shell.done(f"wrote {many(count, 'revision')} to {file}", file=file, revisions=count)


def _since(shell: Shell, text: str | None) -> str | Repo | Path | None:
    """A time, or what another repo or a bundle has."""
    if text is None:
        return None
    if Path(text).is_file():
        return Path(text)
    if text in remotes.known(shell) or Path(text).is_dir() or "://" in text:
        return remotes.opened(shell, text)
    return text


def _copied(
    shell: Shell,
    what: str,
    source: Repo,
    target: Repo,
    names: Sequence[str] | None = None,
    other: str | None = None,
    shallow: bool = False,
    from_: str | None = None,
) -> dict[str, Any]:
    """Copy from one repo to another; returns what to say of it."""
    before = _revisions(target)
    with bar(shell, what) as tell:
        if other is not None:
            made, clct = _same(source, target, names or (), other, pulled=what == "pull")
            made.pull(clct, shallow=shallow, progress=tell)
        else:
            target.pull(source, *(names or ()), shallow=shallow, progress=tell)
    after = _revisions(target)
    news = {label: after[label] - before.get(label, 0) for label in after}
    news = {label: n for label, n in news.items() if n or label not in before}
    heads = {clct.label: len(clct.changelog.heads()) for clct in target}
    said = [f"{label}: {many(n, 'revision')}" for label, n in news.items()]
    done = {"push": "pushed", "pull": "pulled", "fetch": "fetched"}[what]
    whence = f" from {from_}" if from_ else ""
    text = f"{done} {', '.join(said) or 'nothing new'}{whence}"
    for label in news:
        if heads[label] > 1:
            text += f"\n{label} has {heads[label]} heads: `lakota merge {label}` joins them"
    return {"text": text, "revisions": news, **({"remote": from_} if from_ else {})}


def _revisions(repo: Repo) -> dict[str, int]:
    return {clct.label: len(clct.changelog.history().children) for clct in repo}


def _same(
    source: Repo, target: Repo, names: Sequence[str], other: str, *, pulled: bool
) -> tuple[Collection, Collection]:
    """A collection, and the one of another label that it is copied from."""
    if len(names) != 1:
        raise InputError(f"--as: expected one collection, found {len(names)}")
    theirs, ours = (other, names[0]) if pulled else (names[0], other)
    clct = source / theirs
    return target.create_collection(clct.schema, ours, raise_if_exists=False), clct


# ---- Status


def status(
    shell: Shell,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no remote.")] = False,
) -> None:
    """Show collections, their heads, the size, and how remotes differ."""
    repo = shell.repo
    infos = list(repo.store.list(""))
    facts: dict[str, Any] = {
        "repo": shell.uri,
        "objects": len(infos),
        "bytes": sum(info.size for info in infos),
        "collections": [_one(clct) for clct in repo],
        "remotes": {} if offline else dict(_divergence(shell, repo, remotes.known(shell))),
    }
    if shell.json:
        print(json.dumps(facts, ensure_ascii=False))
        return
    where = shell.uri if isinstance(shell.uri, str) else " before ".join(shell.uri)
    print(f"{where}: {many(facts['objects'], 'object')}, {size(facts['bytes'])}")
    for one in facts["collections"]:
        heads = f"{one['heads']} heads: merge joins them" if one["heads"] > 1 else "1 head"
        print(
            f"  {one['collection']}: {one['series']} series, {many(one['revisions'], 'revision')}, "
            + ("nothing written yet" if not one["heads"] else heads)
        )
    for name, found in facts["remotes"].items():
        print(f"{name} ({found['uri']}): {_said(found)}")


def _one(clct: Collection) -> dict[str, Any]:
    history = clct.changelog.history()
    return {
        "collection": clct.label,
        "series": len(clct.ls()),
        "revisions": len(history.children),
        "heads": len(history.heads),
    }


def _divergence(
    shell: Shell, repo: Repo, known: dict[str, str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """How many revisions each side of a remote has that the other has not."""
    for name, uri in known.items():
        try:
            yield (
                name,
                {"uri": uri, "collections": _compared(repo, lakota.Repo(uri, **shell.how_at(uri)))},
            )
        except (LakotaError, OSError) as error:
            yield name, {"uri": uri, "error": " ".join(str(error).split())}


def _compared(repo: Repo, other: Repo) -> dict[str, dict[str, int]]:
    if not other.exists():
        raise NotFoundError("no repo there")
    sides = [{clct.id: clct for clct in side} for side in (repo, other)]
    found = {}
    for key in {**sides[0], **sides[1]}:
        ours, theirs = (
            side[key].changelog.history().children if key in side else frozenset() for side in sides
        )
        label = (sides[0].get(key) or sides[1][key]).label
        found[label] = {"ahead": len(ours - theirs), "behind": len(theirs - ours)}
    return found


def _said(found: dict[str, Any]) -> str:
    if "error" in found:
        return f"not reached: {found['error']}"
    apart = [
        f"{label} {' and '.join(f'{n} {side}' for side, n in counts.items() if n)}"
        for label, counts in found["collections"].items()
        if any(counts.values())
    ]
    return ", ".join(apart) or "the same revisions"


def size(count: int) -> str:
    """Bytes, for people.

    >>> size(999), size(1_234_567)
    ('999 B', '1.2 MB')
    """
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
