"""Verbs that keep a repo small, quick and whole: check, pack, defrag, fold, trim, squash, gc."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from ..errors import InputError
from . import labels, remotes
from .options import CollectionNames, DryRun, Grace
from .progress import bar, told
from .replicas import size
from .shell import DAMAGED, Shell, many, safe

__all__ = ["check", "defrag", "fold", "gc", "pack", "squash", "trim"]


def check(
    shell: Shell,
    repair: Annotated[
        list[str] | None,
        typer.Option(
            "--repair",
            metavar="REMOTE",
            help="Restore what is damaged from this copy; several may be named.",
            show_default=False,
        ),
    ] = None,
    give_up: Annotated[
        bool,
        typer.Option("--give-up", help="Delete the revisions that are not whole even then."),
    ] = False,
) -> int:
    """Read and verify everything; exits with 4 if anything is damaged."""
    copies = [remotes.opened(shell, name) for name in repair or ()]
    with bar(shell, "check") as tell:
        report = shell.repo.check(repair=copies, give_up=give_up, progress=tell)
    problems = {name: getattr(report, name) for name in ("damaged", "repaired", "given_up")}
    counts = {name: getattr(report, f"{name}s") for name in ("revision", "page", "segment")}
    if shell.json:
        facts = {f"{name}s": count for name, count in counts.items()}
        lists = {w: [{"name": p.name, "what": p.what} for p in ps] for w, ps in problems.items()}
        print(json.dumps({**facts, **lists, "strays": list(report.strays)}, ensure_ascii=False))
        return 0 if report else DAMAGED
    for what, found in problems.items():
        for problem in found:
            print(f"{what.replace('_', ' ')}: {safe(str(problem))}")
    for stray in report.strays:
        shell.say(f"{stray}: none of the repo's; harmless")
    checked = ", ".join(many(count, what) for what, count in counts.items())
    shell.say(f"{checked}: {f'{len(report.damaged)} damaged' if report.damaged else 'all whole'}")
    return 0 if report else DAMAGED


def pack(shell: Shell, names: CollectionNames = None) -> None:
    """Store the same rows in fewer bytes."""
    with bar(shell, "pack") as tell:
        if names:
            sizes = [clct.pack(progress=tell) for clct in labels.chosen(shell, names)]
        else:
            sizes = [shell.repo.pack(progress=tell)]
    before, after = (sum(side) for side in zip(*sizes, strict=True))
    shell.done(f"packed {size(before)} into {size(after)}", before=before, after=after)


def defrag(
    shell: Shell,
    names: CollectionNames = None,
    most: Annotated[int, typer.Option("--max-chunk", help="Pieces a series may lie in.")] = 4,
) -> None:
    """Store series that lie in many pieces in one."""
    made: list[str] = []
    with bar(shell, "defrag") as tell:
        for clct in told(labels.chosen(shell, names), tell):
            made.extend(revision.child for revision in clct.defrag(most))
    shell.done(f"made {many(len(made), 'revision')}" if made else "nothing to join", revisions=made)


def fold(
    shell: Shell,
    names: CollectionNames,
    before: Annotated[str, typer.Option("--before", "-b", help="A time or a revision.")],
) -> None:
    """Make upserts up to a moment part of the rows below them."""
    made: list[str] = []
    with bar(shell, "fold") as tell:
        for clct in told(labels.chosen(shell, names), tell):
            made.extend(revision.child for revision in clct.fold(labels.moment(clct, before)))
    shell.done(f"made {many(len(made), 'revision')}" if made else "nothing to fold", revisions=made)


Since = Annotated[
    str | None,
    typer.Option(
        "--before", "-b", help="A time, revision or tag; by default now.", show_default=False
    ),
]


def trim(
    shell: Shell,
    names: CollectionNames = None,
    before: Since = None,
    grace: Grace = 3600.0,
    dry_run: DryRun = False,
) -> None:
    """Forget revisions that no read as of a moment or later needs; gc frees their space."""
    counts: dict[str, int] = {}
    with bar(shell, "trim") as tell:
        for clct in told(labels.chosen(shell, names), tell):
            when = labels.moment(clct, before)
            counts[clct.label] = clct.trim(when, grace=grace, dry_run=dry_run)
    would = "would forget" if dry_run else "forgot"
    shell.done(f"{would} {many(sum(counts.values()), 'revision')}", revisions=counts)


def squash(
    shell: Shell,
    names: CollectionNames = None,
    before: Since = None,
    keep: Annotated[bool, typer.Option("--keep", help="Forget nothing.")] = False,
    most: Annotated[int, typer.Option("--max-chunk", help="Pieces a series may lie in.")] = 4,
    grace: Grace = 3600.0,
    dry_run: DryRun = False,
) -> None:
    """Defragment, then trim."""
    if keep and (before is not None or dry_run):
        raise InputError("--keep forgets nothing: expected neither --before nor --dry-run")
    if dry_run:
        trim(shell, names, before, grace, True)
        return
    made: list[str] = []
    with bar(shell, "squash") as tell:
        for clct in told(labels.chosen(shell, names), tell):
            what: Any = False if keep else labels.moment(clct, before)
            made.extend(revision.child for revision in clct.squash(what, most, grace=grace))
    shell.done("squashed", revisions=made)


def gc(shell: Shell, grace: Grace = 3600.0, dry_run: DryRun = False) -> None:
    """Delete what no revision refers to."""
    with bar(shell, "gc") as tell:
        found = shell.repo.gc(grace=grace, dry_run=dry_run, progress=tell)
    said = f"{'would delete' if dry_run else 'deleted'} {many(found.objects, 'object')}"
    shell.done(f"{said}, {size(found.bytes)}", objects=found.objects, bytes=found.bytes)
