"""Verbs that take in and give out whole files: import and export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import lakota

from ..errors import InputError, LakotaError, NotFoundError
from . import labels
from .options import Author, Format, Message, complete_collection
from .progress import bar
from .shell import Shell, listing, many
from .trial import tried

if TYPE_CHECKING:
    from ..collection import Collection
    from ..ledger import Batch
    from ..schema import Schema
    from .folders import Exported
    from .formats import Reading

__all__ = ["export", "import_"]

STEM = "stem"
Facts = dict[str, Any]

Only = Annotated[
    list[str] | None,
    typer.Option("--collection", "-c", autocompletion=complete_collection, show_default=False),
]


def export(
    shell: Shell,
    folder: Annotated[Path, typer.Argument(help="Where to; made if need be.")],
    names: Only = None,
    format: Annotated[
        str,
        typer.Option("--format", "-f", "--file-type", "-T", help="parquet, csv, ndjson, arrow."),
    ] = "parquet",
) -> None:
    """Write collections to a folder: a folder for each, in it a file for each series.

    lakota export backup --collection temperature --format csv
    """
    from . import folders

    with bar(shell, "export") as tell:
        counts = folders.export(labels.chosen(shell, names), folder, format, tell)
    said = ", ".join(f"{label}: {n} series" for label, n in counts.items()) or "nothing"
    shell.done(f"exported {said}", collections=counts)


def import_(
    shell: Shell,
    paths: Annotated[
        list[str], typer.Argument(metavar="FILE", help="Files, patterns, or one exported folder.")
    ],
    names: Only = None,
    label: Annotated[
        str,
        typer.Option(
            "--label", help="The series of a row: stem (the name of its file) or a column."
        ),
    ] = STEM,
    index: Annotated[
        list[str] | None,
        typer.Option("--index", help="The index, if the collection is new.", show_default=False),
    ] = None,
    upsert: Annotated[
        bool, typer.Option("--upsert", help="Change only the keys there are.")
    ] = False,
    only_changes: Annotated[
        bool, typer.Option("--only-changes", help="Store only what differs.")
    ] = False,
    format: Format = None,
    null: Annotated[
        list[str] | None, typer.Option("--null", help="Text that is no value, as NA.")
    ] = None,
    dates: Annotated[
        list[str] | None,
        typer.Option("--date-format", help="How dates are written, as %d/%m/%Y."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing.")] = False,
    author: Author = None,
    message: Message = "",
) -> None:
    """Write many files in one commit, or read back what export wrote.

    lakota import "stations/*.csv" --collection weather --label stem --index date
    """
    from .formats import Reading

    load = Load(
        shell,
        Reading(None, format, True, tuple(null or ()), tuple(dates or ())),
        {"author": author, "message": message},
        upsert,
        only_changes,
        dry_run,
    )
    if len(paths) == 1 and Path(paths[0]).is_dir():
        _folder(load, Path(paths[0]), names or (), index or ())
        return
    if names is None or len(names) != 1:
        raise InputError("import: expected one collection for these files, with -c")
    stem = label == STEM
    files = {file: _stem(file) if stem else None for file in _files(paths)}
    clct = load.target(names[0], files, index or (), "" if stem else label)
    shell.done(**load.run(clct, files, label))


@dataclass(frozen=True)
class Load:
    """What the options of `import` say."""

    shell: Shell
    reading: Reading
    said: Mapping[str, Any]
    upsert: bool
    only_changes: bool
    dry_run: bool

    def target(
        self, name: str, files: Mapping[str, str | None], index: Sequence[str], column: str = ""
    ) -> Collection:
        """The collection to write to; a new one has the columns of the files."""
        from .formats import known_schema

        repo = self.shell.place
        if name in repo:
            return repo / name
        if not index:
            raise NotFoundError(
                f"no collection {name!r}: make it with `lakota create`, or say with --index which "
                "columns of the files are the index"
            )
        if "-" in files:
            raise InputError("stdin is read only once: first make the collection, with `create`")
        frames = (self.reading.read(file) for file in files)
        return self.made(known_schema(frames, index, (column,)), name, files, column)

    def made(
        self, schema: Schema, name: str, files: Mapping[str, str | None], column: str = ""
    ) -> Collection:
        """A new collection for files that fit; of a dry run in memory."""
        # What is made and then deleted stays deleted, on every replica: so first it is tried.
        trial = lakota.Repo().create_collection(schema, name)
        if self.dry_run:
            return trial
        attempt = replace(self, dry_run=True)
        for file, label in files.items():
            attempt.run(trial, {file: label}, column)
        return self.shell.place.create_collection(schema, name, raise_if_exists=False)

    def run(self, clct: Collection, files: Mapping[str, str | None], column: str = "") -> Facts:
        """Write files in one commit. Each is a series, or says in a column which. Returns what to
        say of it."""
        reading = replace(self.reading, schema=clct.schema)
        children: list[str] = []
        writes: AbstractContextManager[Batch | None]
        writes = tried(clct) if self.dry_run else clct.multi(**self.said)
        with bar(self.shell, "import") as tell, writes as batch:
            for done, (file, label) in enumerate(files.items()):
                tell(done, len(files), label or file)
                self._put(clct, file, reading.read(file), label, column)
        if batch is not None:
            children = sorted({revision.child for revision in batch.revisions})
        what = f"{many(len(files), 'file')} into {clct.label}"
        said = f"would import {what}" if self.dry_run else f"imported {what}"
        text = said if children or self.dry_run else f"nothing new for {clct.label}"
        facts = {"collection": clct.label, "files": len(files), "revisions": children}
        return {"text": text, **facts}

    def _put(self, clct: Collection, file: str, frame: Any, label: str | None, column: str) -> None:
        try:
            if label is None and self.upsert:
                raise InputError("--upsert: expected a series for each file")
            if label is None:
                clct.write(frame, column, only_changes=self.only_changes)
            elif self.upsert:
                (clct / label).upsert(frame)
            else:
                (clct / label).write(frame, only_changes=self.only_changes)
        except LakotaError as error:
            raise type(error)(f"{file}: {error}") from error


def _folder(load: Load, folder: Path, names: Sequence[str], index: Sequence[str]) -> None:
    """Read back what `export` wrote, or folders like it."""
    from .folders import found_in

    found = {one.label: one for one in found_in(folder)}
    unknown = sorted(set(names) - found.keys())
    if unknown:
        raise NotFoundError(f"{folder}: no collection {unknown[0]!r}; there are: {listing(found)}")

    def act(one: Exported) -> Facts:
        label = one.label
        files: dict[str, str | None] = {str(path): name for path, name in one.files.items()}
        if one.schema is not None and label not in load.shell.place:
            clct = load.made(one.schema, label, files)
        else:
            clct = load.target(label, files, index)
        return load.run(clct, files)

    load.shell.done_all(act(found[label]) for label in names or found)


def _files(paths: Sequence[str]) -> list[str]:
    """The files that names and patterns stand for."""
    found = []
    for path in paths:
        matched = (
            [path] if path == "-" or Path(path).exists() else sorted(glob(path, recursive=True))
        )
        if not matched:
            raise NotFoundError(f"{path}: no such file")
        found.extend(matched)
    return list(dict.fromkeys(found))


def _stem(file: str) -> str:
    from .folders import stem

    if file == "-":
        raise InputError("stdin has no name: say with --label which column names the series")
    return stem(Path(file).name)
