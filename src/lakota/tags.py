"""Tags: names for revisions of a collection, kept in the registry.

A tag is a row of the registry's series `tag`: id `<collection id>/<name>`, label the name, settings
the revision's child. So tags travel with the registry, and of one name on two replicas the one
that was given last counts. A tagged revision outlives `trim`, and with it all that it refers to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from .bounds import check_label, interval_of
from .cast import to_table
from .errors import AlreadyExistsError, LabelError, NotFoundError
from .extent import ERASE, UPSERT
from .interval import EVERYTHING, Interval
from .manifest import Manifest
from .moment import child_of, is_name
from .registry import SCHEMA, Registry
from .site import Site
from .transaction import commit
from .view import View
from .writes import Write

__all__ = ["Row", "Tags", "rows_of"]

TAG = "tag"


class Row(NamedTuple):
    """What the registry has where tags are."""

    id: str
    label: str | None
    child: str | None

    @property
    def tag(self) -> tuple[str, str] | None:
        """The name and the revision, if both are what `Tags.put` writes."""
        name, child = self.id.partition("/")[2], child_of(self.child)
        if child is None or child != self.child or name != self.label or not is_name(name):
            return None
        return name, child


def rows_of(site: Site, manifest: Manifest, interval: Interval = EVERYTHING) -> list[Row]:
    """The rows of tags in a state of the registry."""
    table = View(site, manifest, TAG, interval).table(["id", "label", "settings"])
    columns = (column.to_pylist() for column in table.columns)
    return [Row(*row) for row in zip(*columns, strict=True)]


@dataclass(frozen=True, slots=True)
class Tags:
    """The tags of one collection."""

    registry: Registry
    collection_id: str

    def all(self) -> dict[str, str]:
        """The child that each tag names, sorted by tag."""
        site = self.registry.site
        heads = site.changelog.heads()
        if not heads:
            return {}
        # "0" is the character after "/".
        ours = interval_of(SCHEMA, f"{self.collection_id}/", f"{self.collection_id}0", "left")
        found = rows_of(site, site.joined(heads).manifest, ours)
        return dict(sorted(row.tag for row in found if row.tag is not None))

    def put(self, name: str, child: str, *, force: bool) -> None:
        """Give a revision a name. Raises `LabelError` and, if another one has it,
        `AlreadyExistsError`."""
        if not is_name(check_label(name)):
            raise LabelError(
                f"tag {name!r} reads as a time or a revision: expected a name that as_of= can tell "
                "from these"
            )
        known = self.all().get(name)
        if known == child:
            return
        if known is not None and not force:
            raise AlreadyExistsError(
                f"tag {name!r} names {known}: choose another name, or pass force=True to move it"
            )
        row = {"id": [self._id(name)], "label": [name], "schema": [""], "settings": [child]}
        self._write(name, row, UPSERT, f"tag {name!r}")

    def remove(self, name: str) -> None:
        """Take a name away. Raises `NotFoundError`."""
        known = self.all()
        if not isinstance(name, str) or name not in known:
            raise NotFoundError(
                f"no tag {name!r}; there is: {', '.join(map(repr, known)) or 'none'}"
            )
        self._write(name, {"id": [self._id(name)]}, ERASE, f"untag {name!r}")

    def _id(self, name: str) -> str:
        return f"{self.collection_id}/{name}"

    def _write(self, name: str, row: dict[str, list[str]], kind: int, message: str) -> None:
        table = to_table(row, SCHEMA, partial=kind == ERASE)
        interval = interval_of(SCHEMA, self._id(name), self._id(name), "both")
        write = Write(TAG, interval, table, 0, 1, kind)
        commit(self.registry.site, [write], message=message)
