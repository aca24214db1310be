"""What users type for collections, series, revisions and keys, as the library takes it.

`collection/series` names a series; a collection or a series may itself have `/` in its label.
An unambiguous beginning of a label will do, but for what deletes, renames or makes a series.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from ..errors import InputError, NotFoundError, RangeError
from .shell import Shell, listing

if TYPE_CHECKING:
    from ..changelog import Revision
    from ..collection import Collection
    from ..schema import Schema
    from ..series import KVSeries, Series

__all__ = [
    "bound",
    "chosen",
    "collection",
    "moment",
    "revision",
    "series",
    "split",
]


def collection(shell: Shell, label: str, *, exact: bool = False) -> Collection:
    """The collection that `label` names, or is the unambiguous beginning of."""
    return shell.repo / _match("collection", label, shell.repo.ls(), exact)


def chosen(shell: Shell, labels: Sequence[str] | None) -> list[Collection]:
    """The collections named; all if none is."""
    return [collection(shell, label) for label in labels] if labels else list(shell.repo)


def split(shell: Shell, label: str, *, exact: bool = False) -> tuple[Collection, str | None]:
    """The collection and the series that `label` names; no series if it names a collection."""
    known = shell.repo.ls()
    if label in known:
        return shell.repo / label, None
    ends = [i for i, char in enumerate(label) if char == "/"]
    whole = [i for i in ends if label[:i] in known and label[i + 1 :]]
    if len(whole) > 1:
        there = [i for i in whole if label[i + 1 :] in shell.repo / label[:i]]
        if len(there) > 1:
            sides = [f"{label[:i]!r} / {label[i + 1 :]!r}" for i in there]
            raise InputError(f"{label!r} may be {' or '.join(sides)}: rename one of them")
        whole = there or whole[:1]
    if whole:
        return shell.repo / label[: whole[0]], label[whole[0] + 1 :]
    start, _, rest = label.partition("/")
    return collection(shell, start, exact=exact), rest or None


def series(shell: Shell, label: str, *, new: bool = False) -> Series | KVSeries:
    """The series that `label` names, or is the unambiguous beginning of; with `new` it need not
    be there, and is named in full."""
    clct, name = split(shell, label)
    if name is None:
        raise InputError(f"{label!r} names a collection: expected collection/series")
    if new or name in clct:
        return clct / name
    return clct / _match("series", name, clct.ls(merged=True), False)


def _match(what: str, label: str, known: Sequence[str], exact: bool) -> str:
    if label in known:
        return label
    found = [] if exact else [name for name in known if name.startswith(label)]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{label!r} is the beginning of several: {listing(found)}")
    raise NotFoundError(f"no {what} {label!r}; there are: {listing(known)}")


# ---- Revisions and moments

_HEAD = re.compile(r"(?:HEAD|@)(?:~(\d+))?")
_HEX = re.compile(r"[0-9a-f]{4,16}|[0-9a-f]{16}-[0-9a-f]{0,32}")


def is_head(text: str) -> bool:
    """Whether this names a revision by its distance from the newest head: no tag, even if there is
    one of that name, changes what it means."""
    return _HEAD.fullmatch(text) is not None


def moment(clct: Collection, text: str | None) -> Any:
    """What `as_of` and `before` take: a revision, named as `revision` does, or a time or a tag."""
    if text is None or (not is_head(text) and text in clct.tags()):
        return text
    found = _named(clct, text)
    return text if found is None else found


def revision(clct: Collection, text: str) -> str:
    """The child that a user names: a revision, its beginning, a tag, or `HEAD~2`. Raises
    `NotFoundError`."""
    tagged = None if is_head(text) else clct.tags().get(text)
    found = tagged if tagged is not None else _named(clct, text)
    if found is None:
        raise NotFoundError(
            f"no revision {text!r} in collection {clct.label!r}: `lakota log {clct.label}` shows "
            "those there are"
        )
    return found


def _named(clct: Collection, text: str) -> str | None:
    from ..moment import child_of

    history = clct.changelog.history()
    if match := _HEAD.fullmatch(text):
        return _back(clct, int(match[1] or 0))
    whole = child_of(text)
    if whole is not None:
        return whole if whole in history.children else None
    if not _HEX.fullmatch(text):
        return None
    found = sorted(child for child in history.children if child.startswith(text))
    if len(found) > 1:
        raise InputError(f"{text!r} is the beginning of several revisions: {listing(found, 4)}")
    # Years are hexadecimal, too.
    return found[0] if found else None


def _back(clct: Collection, steps: int) -> str | None:
    history = clct.changelog.history()
    state = history.heads[-1] if history.heads else None
    while steps and state in history.children:
        parents = history.parents_of[state]
        state = parents[-1] if parents else None
        steps -= 1
    return state if state in history.children else None


def edges(clct: Collection, child: str) -> list[Revision]:
    """The revisions that led to a state."""
    return [revision for revision in clct.changelog.log() if revision.child == child]


# ---- Keys


def bound(schema: Schema, given: Sequence[str] | None, *, what: str) -> Any:
    """A bound from what a shell has: text. Several texts are values of the first few columns of
    the index."""
    if not given:
        return None
    if len(given) > len(schema.index):
        raise RangeError(
            f"{what}: found {len(given)} values, expected one for each of {', '.join(schema.index)}"
        )
    names = schema.index[: len(given)]
    values = [_value(schema, name, text, what) for name, text in zip(names, given, strict=True)]
    return values[0] if len(values) == 1 else tuple(values)


def _value(schema: Schema, name: str, text: str, what: str) -> Any:
    from ..types import family, type_name

    kind = schema[name].type
    try:
        return _READERS.get(family(kind), str)(text)
    except (ValueError, KeyError, InvalidOperation):
        raise RangeError(
            f"{what}: found {text!r}, expected a value of column {name!r}, {type_name(kind)}"
        ) from None


def _duration(text: str) -> timedelta:
    hours, minutes, seconds = ([0.0, 0.0] + [float(part) for part in text.split(":")])[-3:]
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


_READERS: dict[str, Callable[[str], Any]] = {
    "int": int,
    "float": float,
    "decimal": Decimal,
    "bool": lambda text: {"true": True, "false": False}[text.lower()],
    "binary": bytes.fromhex,
    "duration": _duration,
}
