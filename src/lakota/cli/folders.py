"""Whole collections as folders of files, and back.

```
<folder>/<collection>/collection.json        label, schema, and the label of each file
<folder>/<collection>/<series>.parquet       or .csv, .ndjson, .arrow
```

Names of folders and files are labels, of which only letters, digits, spaces and `_-.,+=@()` stand
as they are, the rest as `%2F` and the like; so no label leaves the folder. A name that is too long
or that differs from another by case only gets a digest. `collection.json` has the exact labels, so
that what is read is what was written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import xxhash

from ..collection import Collection
from ..errors import FrameError, InputError, NotFoundError
from ..frames import check_polars
from ..schema import Schema
from . import formats
from .formats import format_of

__all__ = ["Exported", "export", "file_name", "found_in", "names_for", "stem"]

FILE = "collection.json"
LONGEST = 150
_PLAIN = re.compile(r"[\w .,+=@()-]", re.ASCII)
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
FORMATS = {"parquet": ".parquet", "csv": ".csv", "ndjson": ".ndjson", "arrow": ".arrow"}


def file_name(label: str) -> str:
    """A name for a file or a folder that stands for a label and leaves no folder.

    >>> file_name("KSEA"), file_name("../../up"), file_name("a/b"), file_name("nul")
    ('KSEA', '%2E.%2F..%2Fup', 'a%2Fb', '%6Eul')
    """
    shown = "".join(c if _PLAIN.match(c) else _encoded(c) for c in label)
    if shown[0] in ". -" or _DEVICES.fullmatch(label):
        shown = _encoded(label[0]) + shown[1:]
    if shown[-1] in ". ":
        shown = shown[:-1] + _encoded(label[-1])
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}~{_digest(label)}"


def _encoded(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode())


def _digest(label: str) -> str:
    return xxhash.xxh3_64_hexdigest(label.encode())


def names_for(labels: Iterable[str]) -> dict[str, str]:
    """A name for each label, all different on any file system.

    >>> names_for(["a", "A"])["a"]
    'a'
    >>> names_for(["a", "A"])["A"][:2]
    'A~'
    """
    taken: set[str] = set()
    found = {}
    for label in labels:
        name = file_name(label)
        if name.lower() in taken:
            name = f"{name}~{_digest(label)}"
        taken.add(name.lower())
        found[label] = name
    return found


# ---- Out


def export(
    collections: Sequence[Collection],
    folder: Path,
    format: str,
    tell: Callable[[int, int | None, str], None],
) -> dict[str, int]:
    """Write collections to a folder; returns the number of series of each."""
    if format not in FORMATS:
        raise InputError(f"export: found format {format!r}, expected one of {', '.join(FORMATS)}")
    counts = {}
    folders = names_for(clct.label for clct in collections)
    for clct in collections:
        counts[clct.label] = _export(clct, folder / folders[clct.label], format, tell)
    return counts


def _export(
    clct: Collection, folder: Path, format: str, tell: Callable[[int, int | None, str], None]
) -> int:
    if format not in ("parquet", "arrow"):
        check_polars(clct.schema, clct.schema.names)
    folder.mkdir(parents=True, exist_ok=True)
    before = _listed(folder) if (folder / FILE).exists() else {}
    names = names_for(clct.ls())
    files = {f"{name}{FORMATS[format]}": label for label, name in names.items()}
    arrow = _bare(clct.schema)
    for done, (file, label) in enumerate(files.items()):
        tell(done, len(files), clct.label)
        formats.write((clct / label).paginate(), arrow, format, str(folder / file))
    document = {
        "label": clct.label,
        "schema": json.loads(clct.schema.dumps()),
        "series": files,
    }
    beside = folder / f"{FILE}.part"
    beside.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", "utf-8")
    beside.replace(folder / FILE)
    for file in before.keys() - files.keys():  # of series that are no more
        (folder / file).unlink(missing_ok=True)
    return len(files)


def _bare(schema: Schema) -> pa.Schema:
    return pa.schema(field.remove_metadata() for field in schema.arrow)


# ---- In


@dataclass(frozen=True)
class Exported:
    """A folder with the files of a collection."""

    label: str
    schema: Schema | None
    """None if nothing says what the columns are."""
    files: Mapping[Path, str]
    """The label of each file."""


def found_in(folder: Path) -> Iterator[Exported]:
    """The collections in a folder that `export` wrote, or that is like one: `folder` is a
    collection, or has collections in it."""
    if not folder.is_dir():
        raise NotFoundError(f"{folder}: no such folder")
    places = (
        [folder] if (folder / FILE).exists() else sorted(p for p in folder.iterdir() if p.is_dir())
    )
    found = [one for one in map(_exported, places) if one.files]
    if not found and (files := _data_files(folder)):
        found = [Exported(folder.resolve().name, None, files)]
    if not found:
        raise NotFoundError(f"{folder}: no collections in it, expected folders with files of rows")
    yield from found


def _exported(folder: Path) -> Exported:
    if not (folder / FILE).exists():
        return Exported(unquote(folder.name), None, _data_files(folder))
    document = _document(folder)
    try:
        schema = Schema.loads(json.dumps(document["schema"]))
        label = str(document["label"])
    except KeyError as error:
        raise FrameError(f"{folder / FILE}: {error} is missing") from error
    return Exported(label, schema, {folder / n: label for n, label in _listed(folder).items()})


def _document(folder: Path) -> dict[str, object]:
    try:
        found = json.loads((folder / FILE).read_text("utf-8"))
    except ValueError as error:
        raise FrameError(f"{folder / FILE}: expected JSON: {error}") from error
    if not isinstance(found, dict):
        raise FrameError(f"{folder / FILE}: expected a JSON object")
    return found


def _listed(folder: Path) -> dict[str, str]:
    """The files that `collection.json` names, all in its folder."""
    files = _document(folder).get("series")
    if not isinstance(files, dict):
        raise FrameError(f"{folder / FILE}: expected 'series', the label of each file")
    for name, label in files.items():
        if Path(name).name != name or not isinstance(label, str) or format_of(name) is None:
            raise FrameError(f"{folder / FILE}: {name!r} is no file of rows in this folder")
    return files


def _data_files(folder: Path) -> dict[Path, str]:
    kinds = {*FORMATS, "tsv", "arrows"}
    files = (path for path in sorted(folder.iterdir()) if path.is_file())
    return {path: unquote(stem(path.name)) for path in files if format_of(path.name) in kinds}


def stem(name: str) -> str:
    """The name of a file without its endings.

    >>> stem("a.b.csv.gz"), stem("a")
    ('a.b', 'a')
    """
    name = name.removesuffix(".gz")
    return name.rpartition(".")[0] or name
