"""A collection: many series of one schema, one changelog."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from fnmatch import fnmatchcase
from itertools import chain
from typing import Any

import polars as pl
import pyarrow as pa

from . import evolution, maintain
from .bounds import check_count, check_grace, check_label
from .bulk import bulk_load
from .changelog import PHI, Changelog, Child, Revision
from .choose import merge_by
from .conflict import conflicts, show_conflicts
from .diff import differences, refuse_more, touched
from .errors import (
    AlreadyExistsError,
    InputError,
    LabelError,
    NotFoundError,
    SchemaError,
)
from .fold import folds
from .frames import check_polars
from .interval import EVERYTHING
from .ledger import Batch, Ledger
from .look import Find, Look, Looker, one_look, one_look_first
from .manifest import Manifest
from .moment import child_of, nanoseconds
from .progress import Progress, check_progress
from .registry import Registry
from .revert import revert
from .revisions import revisions
from .scan import Scan
from .schema import Schema
from .series import KVSeries, Series
from .site import Site
from .sync import pull
from .tags import Tags
from .transaction import rename, restore
from .view import counts
from .writes import Write

__all__ = ["Collection"]


class Collection:
    """Series of one schema. Made by `repo.create_collection` and `repo.collection`."""

    def __init__(
        self,
        label: str,
        collection_id: str,
        site: Find,
        registry: Registry,
        last: Look | None = None,
    ) -> None:
        self.label = label
        self.id = collection_id
        self._registry = registry
        self._tags = Tags(registry, collection_id)
        self._ledger = Ledger(site, self._tags.all, last)

    @property
    def schema(self) -> Schema:
        """The columns of its series."""
        return self._site.shown

    @property
    def changelog(self) -> Changelog:
        """Its revisions."""
        return self._site.changelog

    @property
    def _looker(self) -> Looker:
        return self._ledger.looker

    @property
    def _site(self) -> Site:
        return self._ledger.site

    def __repr__(self) -> str:
        return f"<Collection {self.label!r}>"

    # ---- Series

    def series(self, label: str) -> Series | KVSeries:
        """The series of that label, which need not exist yet: a `Series`, or a `KVSeries` if the
        schema is one of `Schema.kv`."""
        kind = self._looker.recent.shown.kind
        return (KVSeries if kind == "kv" else Series)(label, self._ledger)

    def __truediv__(self, label: str) -> Series | KVSeries:
        return self.series(label)

    def __iter__(self) -> Iterator[Series | KVSeries]:
        return (self.series(label) for label in self.ls())

    def __contains__(self, label: object) -> bool:
        return isinstance(label, str) and bool(self.series(label))

    @one_look
    def ls(self, *, as_of: Any = None, before: Any = None, merged: bool = False) -> list[str]:
        """The labels of the series that have rows, sorted."""
        return self._ledger.read(as_of, before, self._labels, merged)

    @one_look
    def scan(
        self,
        labels: Sequence[str] | str | None = None,
        *,
        label: str = "label",
        as_of: Any = None,
        before: Any = None,
        merged: bool = False,
        provenance: bool = False,
    ) -> pl.LazyFrame:
        """The rows of many series as a `polars.LazyFrame`, by label, then by key; see
        `series.scan`.

        `labels`: a list of labels, or a pattern (`*`, `?`, `[abc]`), or None for all; those that
        there are not have no rows. `label`: the name of the column, before the others, that says
        of which series a row is; what a predicate says of it chooses series. The other options
        are those of `series.frame`.

        >>> import polars as pl
        >>> from lakota import Repo, Schema
        >>> clct = Repo().create_collection(Schema(t="int*", x="float"), "weather")
        >>> revisions = clct.write({"at": ["b", "a"], "t": [1, 1], "x": [0.0, 1.0]}, "at")
        >>> clct.scan(label="at").filter(pl.col("at") == "b").collect().rows()
        [('b', 1, 0.0)]
        """
        if check_label(label) in self.schema:
            raise SchemaError(
                f"label={label!r}: expected a name that is not that of a column of the schema"
            )
        labels = _chosen(labels)
        manifest = self._ledger.state(as_of, before, merged)
        return Scan(self._site, manifest, labels, label, self.label, provenance).lazy()

    def _labels(self, manifest: Manifest) -> list[str]:
        leaves = list(manifest.leaves())
        found = [leaf.labels() for leaf in leaves]
        sure = dict.fromkeys(chain.from_iterable(whole for whole, _ in found))
        unsure = set().union(*(cut for _, cut in found))
        if not unsure:
            return sorted(sure)
        # Where ends were cut or keys deleted, no row may be left: look.
        erased = set().union(*(leaf.erased() for leaf in leaves))
        asked = sorted(unsure - (sure.keys() - erased))
        sizes = counts([self.series(label).view(manifest) for label in asked])
        left = (label for label, rows in zip(asked, sizes, strict=True) if rows)
        return sorted((sure.keys() - erased).union(left))

    @one_look_first
    def write(
        self,
        frame: Any,
        label: str = "label",
        *,
        only_changes: bool = False,
        author: str | None = None,
        message: str = "",
    ) -> list[Revision]:
        """Write many series from one table, in one commit.

        `label` names the column that says to which series a row goes, as in `scan`; the others are
        the schema's. Each series' rows replace what is between its first and its last key.
        `only_changes`: as in `Series.write`.

        >>> from lakota import Repo, Schema
        >>> clct = Repo().create_collection(Schema(t="int*", x="float"), "weather")
        >>> revisions = clct.write(
        ...     {"station": ["b", "a", "b"], "t": [1, 1, 2], "x": [0.0, 1.0, 2.0]}, "station"
        ... )
        >>> clct.ls(), len(clct / "b")
        (['a', 'b'], 2)
        """
        load = bulk_load(frame, label, self.schema, keep=self._ledger.waits)
        if not only_changes:
            return self._ledger.write(load, author, message)
        writes = [write._replace(only_changes=True) for write in load.each()]
        return self._ledger.write(writes, author, message)

    def diff(
        self,
        a: Any,
        b: Any = None,
        labels: Sequence[str] | str | None = None,
        *,
        label: str = "label",
    ) -> pl.DataFrame:
        """The rows that differ between two moments, by label, then by key; `b`: by default now.

        Columns: the label, the index columns, `change` (`added`, `removed` or `changed`), and of
        each value column what it was at `a`, `x_before`, and at `b`, `x_after`. Rows that were
        written anew with equal values are not in it; of rows with equal keys the first are
        compared with the first. Only what the two states do not share is read. If a name is
        taken, it begins with an underscore.

        `labels`: a list of labels, or a pattern (`*`, `?`, `[abc]`), or None for all. `label`: the
        name of the label's column.

        >>> from lakota import Repo, Schema
        >>> clct = Repo().create_collection(Schema(n="int*", x="float"), "c")
        >>> first, = (clct / "s").write({"n": [1, 2], "x": [0.5, 0.5]})
        >>> last, = (clct / "s").write({"n": [1, 2, 3], "x": [0.5, 1.5, 2.5]})
        >>> clct.diff(first).rows()
        [('s', 2, 'changed', 0.5, 1.5), ('s', 3, 'added', None, 2.5)]
        """
        return self._diff(a, b, labels, label, None)

    @one_look
    def _diff(
        self,
        a: Any,
        b: Any,
        labels: Sequence[str] | str | None,
        label: str,
        most: int | None,
    ) -> pl.DataFrame:
        """`diff`, which raises `RangeError` if more than `most` rows were to be compared."""
        if check_label(label) in self.schema.index:
            raise SchemaError(f"label={label!r}: expected a name that no index column has")
        check_polars(self.schema, self.schema.names)
        chosen = _chosen(labels)

        def wanted(name: str) -> bool:
            return fnmatchcase(name, chosen) if isinstance(chosen, str) else name in chosen

        def act(old: Manifest) -> pl.DataFrame:
            new = self._ledger.state(b)
            stretches = list(touched(old, new, wanted))
            if most is not None:
                refuse_more(self._site, (old, new), stretches, most)
            return differences(self._site, old, new, stretches, label)

        return self._ledger.read(a, None, act)

    def delete(self, *labels: str, author: str | None = None, message: str = "") -> list[Revision]:
        """Delete series. Past revisions keep them. Raises `NotFoundError`."""
        self._require(labels)
        nothing = pa.Table.from_batches([], self.schema.arrow)
        writes = [Write(label, EVERYTHING, nothing, 0, 0) for label in labels]
        return self._ledger.write(writes, author, message)

    def rename(
        self, from_label: str, to_label: str, *, author: str | None = None, message: str = ""
    ) -> list[Revision]:
        """Change the label of a series. No row is copied."""
        if self._ledger.open_batch() is not None:
            raise InputError("rename inside multi(): expected it before or after the block")
        check_label(to_label)
        self._require([from_label])
        if self.series(to_label):
            raise AlreadyExistsError(
                f"series {to_label!r} exists in collection {self.label!r}: delete it first, or "
                "choose another label"
            )
        return rename(self._site, from_label, to_label, author=author, message=message)

    def _require(self, labels: Sequence[str]) -> None:
        missing = [label for label in labels if not self.series(label)]
        if missing:
            known = self.ls()
            shown = ", ".join(map(repr, known[:20])) + (", ..." if len(known) > 20 else "")
            raise NotFoundError(
                f"no series {', '.join(map(repr, missing))} in collection {self.label!r}; "
                f"there is: {shown or 'none'}"
            )

    def multi(
        self, *, author: str | None = None, message: str = ""
    ) -> AbstractContextManager[Batch]:
        """Gather the writes of this thread to this collection's series into one commit.

        If the block raises, nothing of it is written. Reads inside see the state before it.
        Writes of other threads are not part of it.

        >>> from lakota import Repo, Schema
        >>> clct = Repo().create_collection(Schema(t="int*", x="float"), "weather")
        >>> with clct.multi(message="daily load") as batch:
        ...     for label in ("a", "b"):
        ...         _ = clct.series(label).write({"t": [1], "x": [2.0]})
        >>> len(batch.revisions), clct.ls()
        (1, ['a', 'b'])
        """
        return self._ledger.multi(author, message)

    # ---- Replicas

    def pull(
        self, remote: Collection, *, shallow: bool = False, progress: Progress | None = None
    ) -> list[str]:
        """Copy the revisions of `remote` that are not here. Returns their paths.

        Merges nothing: see `merge`. `shallow` leaves the past behind. Raises `SchemaError` if the
        schemas differ, with nothing changed, and `DamagedError` if the remote is damaged: then
        revisions before the damage may have been copied, whole.
        """
        check_progress(progress)
        if not isinstance(remote, Collection):
            raise InputError(f"pull from {remote!r}: expected a Collection, e.g. remote / 'label'")
        if remote.schema != self.schema:
            raise SchemaError(
                f"collections {self.label!r} and {remote.label!r} cannot be synced: their schemas "
                f"differ, or columns were added or renamed on one side only: {self.schema!r} here, "
                f"{remote.schema!r} there; repo.pull() brings such changes along"
            )
        edges = pull(self._site, remote._site, shallow=shallow, progress=progress)
        return [f"{parent}.{child}" for parent, child in edges]

    def push(
        self, remote: Collection, *, shallow: bool = False, progress: Progress | None = None
    ) -> list[str]:
        """`remote.pull(self)`; it may have another label."""
        if not isinstance(remote, Collection):
            raise InputError(f"push to {remote!r}: expected a Collection, e.g. remote / 'label'")
        return remote.pull(self, shallow=shallow, progress=progress)

    def merge(
        self,
        *heads: Revision | str,
        on_conflict: str = "latest",
        author: str | None = None,
        message: str = "",
    ) -> list[Revision]:
        """Join the heads: all of them, or those given. Returns the new revisions, one for each head
        joined; none if there was but one.

        `on_conflict`: what becomes of keys that both sides changed in different ways (see
        `conflicts`). `"latest"`: at each key the last write wins, and none is lost; this always
        succeeds, and replicas that merge the same heads make the same revision. `"ours"`: as in the
        first of the heads given, or by default the newest, which reads saw; `"theirs"`: as in the
        others. This is a commit of one's own, with `author` and `message`. `"raise"`: raises
        `ConflictError` if there are any, and changes nothing.
        """
        chosen = [child_of(head) for head in heads]
        known = {child for _, child in self.changelog.history().edges}
        for head, child in zip(heads, chosen, strict=True):
            if child is None or child not in known:
                raise NotFoundError(f"{head!r} is no revision of collection {self.label!r}")
        joined = [Child(child) for child in chosen if child] if heads else None
        return merge_by(self._site, on_conflict, joined, author, message)

    def conflicts(self, revision: Revision | str | None = None) -> pl.DataFrame:
        """What two sides both changed, in different ways, since what they have in common: of the
        heads as they are now, or of the parents of a merge.

        A row for each two writes that are in conflict, by label, then by key: `label`; of each
        index column the first and the last key in conflict, `n_first` and `n_last`; how many
        `rows` differ; which `columns` (null: all); of either side the head, `a` and `b`, and of its
        write the stamp and the author, `a_stamp`, `a_author`, ...; and which side `wins` by
        default. Raises `NotFoundError` if what the sides have in common was trimmed.

        >>> from lakota import Repo, Schema
        >>> schema = Schema(n="int*", x="float")
        >>> ours, theirs = (Repo().create_collection(schema, "c") for _ in "ab")
        >>> revisions = (ours / "s").write({"n": [1, 2], "x": [0.5, 0.5]})
        >>> revisions = (theirs / "s").write({"n": [2, 3], "x": [1.5, 1.5]})
        >>> paths = ours.pull(theirs)
        >>> ours.conflicts().select("label", "n_first", "n_last", "wins").rows()
        [('s', 2, 2, 'b')]
        >>> first, second = ours.changelog.heads()
        >>> revisions = ours.merge(first, second, on_conflict="ours")
        >>> (ours / "s").df()["x"].to_list()
        [0.5, 0.5, 1.5]
        """
        sides = self.changelog.heads()
        if revision is not None:
            parents = self.changelog.history().parents_of[self._child(revision)]
            sides = tuple(parent for parent in parents if parent != PHI)
        check_polars(self.schema, self.schema.index)
        return show_conflicts(self._site, conflicts(self._site, sides))

    def revert(
        self, revision: Revision | str, *, author: str | None = None, message: str = ""
    ) -> list[Revision]:
        """Undo what a revision wrote, with a new one: where its writes can still be seen, the
        content becomes what it were without them. What was written over them stays. Returns the new
        revisions; none if nothing can be seen of it, as of a merge.

        >>> from lakota import Repo, Schema
        >>> clct = Repo().create_collection(Schema(n="int*", x="float"), "c")
        >>> good = (clct / "s").write({"n": [1, 2], "x": [0.5, 0.5]})
        >>> bad = (clct / "s").write({"n": [1, 2], "x": [9.9, 9.9]})
        >>> last = (clct / "s").write({"n": [2], "x": [0.7]})
        >>> undone = clct.revert(bad[0])
        >>> (clct / "s").df()["x"].to_list()
        [0.5, 0.7]
        """
        if self._ledger.open_batch() is not None:
            raise InputError("revert inside multi(): expected it before or after the block")
        return revert(self._site, self._child(revision), author, message)

    def clone(
        self,
        other: Collection,
        rename: Mapping[str, str] | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> list[Revision]:
        """Copy the content, not the history, into an empty collection that may have another
        schema.

        `rename`: new names of columns, old to new. `defaults`: values for columns that this
        collection has not, null otherwise. Columns that the other has not are left out. Raises
        `AlreadyExistsError` if the other is not empty, `NotFoundError` if there is no column of a
        name, old or new, and `FrameError` if a column cannot be cast without loss.
        """
        if not isinstance(other, Collection):
            raise InputError(f"clone into {other!r}: expected a Collection, e.g. repo / 'label'")
        for what, names in (("rename", rename), ("defaults", defaults)):
            if names is None:
                continue
            if not isinstance(names, Mapping) or not all(isinstance(name, str) for name in names):
                raise InputError(f"{what}={names!r}: expected a dict of columns")
        if not all(isinstance(name, str) for name in (rename or {}).values()):
            raise InputError(f"rename={rename!r}: expected the new name of each column")
        if other.changelog.heads():
            raise AlreadyExistsError(
                f"collection {other.label!r} is not empty: clone into a new one"
            )
        with other.multi(message=f"clone of {self.label}") as batch:
            for label, table in reshaped(self, other.schema, rename or {}, defaults or {}):
                other.series(label).write(table)
        return batch.revisions

    def revisions(self) -> pl.DataFrame:
        """Every revision that is kept, by stamp: `child`, `parents`, `stamp`, `author`, `message`,
        `kind` (`write`, `merge`, `rename`, `defrag`, ...), the numbers of `rows` and `series`
        written, and whether it is a `head`.

        >>> from lakota import Repo, Schema
        >>> clct = Repo().create_collection(Schema(n="int*", x="float"), "c")
        >>> revisions = (clct / "s").write({"n": [1], "x": [0.5]}, author="ada", message="new")
        >>> clct.revisions().select("author", "message", "kind", "rows", "head").rows()
        [('ada', 'new', 'write', 1, True)]
        """
        return revisions(self.changelog)

    # ---- Tags

    def tag(
        self, name: str, revision: Revision | str | None = None, *, force: bool = False
    ) -> None:
        """Give a revision a name that `as_of=` and `before=` take, here and on every replica that
        pulls the repo. `trim` keeps it.

        `revision`: by default the newest head, which reads see. Raises `AlreadyExistsError` if
        another revision has the name, unless `force`; `NotFoundError`; `LabelError`.

        >>> from lakota import Repo, Schema
        >>> clct = Repo().create_collection(Schema(n="int*", x="float"), "c")
        >>> revisions = (clct / "s").write({"n": [1], "x": [0.5]})
        >>> clct.tag("published")
        >>> revisions = (clct / "s").delete()
        >>> (clct / "s").df(as_of="published").rows()
        [(1, 0.5)]
        """
        self._tags.put(name, self._child(revision), force=force)

    def tags(self) -> dict[str, str]:
        """The revisions that have names: the child of each tag."""
        return self._tags.all()

    def untag(self, name: str) -> None:
        """Take a name away. Raises `NotFoundError`."""
        self._tags.remove(name)

    def _child(self, revision: Revision | str | None) -> Child:
        """The state that a revision or a tag names; the newest head for None."""
        history = self.changelog.history()
        if revision is None:
            if not history.heads:
                raise NotFoundError(f"collection {self.label!r} has no revision yet")
            return history.heads[-1]
        child = child_of(self._ledger.named(revision, "revision"))
        if child not in history.children:
            raise NotFoundError(
                f"{revision!r} is no revision of collection {self.label!r}: see changelog.log()"
            )
        return Child(child)

    # ---- Schema

    def add_column(self, name: str, definition: str, default: Any = None) -> None:
        """Add a value column, as `"float"` or `"str | zstd"`. Rows that were written before, or by
        replicas that do not know it yet, have `default` in it.

        >>> from lakota import Repo, Schema
        >>> clct = Repo().create_collection(Schema(n="int*", x="float"), "c")
        >>> revisions = (clct / "s").write({"n": [1], "x": [0.5]})
        >>> clct.add_column("unit", "str", "kWh")
        >>> (clct / "s").df().rows()
        [(1, 0.5, 'kWh')]
        """
        taken = self._registry.sources(self.id)
        fact = evolution.added(self.schema, taken, name, definition, default)
        self._registry.record(self.id, [fact], f"add column {name!r} to {self.label!r}")

    def rename_column(self, from_name: str, to_name: str) -> None:
        """Give a column another name, in the past as well. Nothing that is stored changes."""
        fact = evolution.renamed(self.schema, from_name, to_name)
        self._registry.record(self.id, [fact], f"rename column {from_name!r} to {to_name!r}")

    def drop_column(self, name: str) -> None:
        """Drop a value column, on every replica that pulls. A column of the same name that is
        added later is another one, and starts with its default."""
        fact = evolution.dropped(self.schema, name)
        self._registry.record(self.id, [fact], f"drop column {name!r} of {self.label!r}")

    def widen_column(self, name: str, definition: str) -> None:
        """Give a column a type that holds all values of its own: `"int64"` for int32, `"float"`
        for int32 or float32. Raises `SchemaError` for any other."""
        fact = evolution.widened(self.schema, name, definition)
        self._registry.record(self.id, [fact], f"widen column {name!r} to {definition}")

    # ---- Upkeep

    def refresh(self) -> None:
        """Look for new revisions at the next use. Not needed: handles see each other's commits."""
        self.changelog.refresh()

    def trim(
        self, before: Any = None, *, grace: float = maintain.GRACE, dry_run: bool = False
    ) -> int:
        """Forget the revisions that no read as of `before` or later needs and that have no tag.

        `before`: a moment; by default now. In any case the heads stay, and what was superseded
        less than `grace` seconds ago. Returns the number of revisions deleted, or with `dry_run`
        of those that would be; `repo.gc()` frees their space.
        """
        grace = check_grace(grace)
        stamp = self._stamp(datetime.now().astimezone() if before is None else before)
        kept = self._tags.all().values()
        return maintain.trim(self._site, stamp, grace=grace, kept=kept, dry_run=dry_run)

    def _stamp(self, before: Any) -> int:
        """The first stamp that is not before a moment."""
        before = self._ledger.named(before, "before")
        child = child_of(before)
        return int(child[:16], 16) if child else nanoseconds(before, what="before")

    def defrag(self, max_chunk: int = 4) -> list[Revision]:
        """Store each series that lies in more than `max_chunk` pieces anew, in one piece."""
        max_chunk = check_count("max_chunk", max_chunk, least=1, of="pieces")
        return maintain.defrag(self._site, max_chunk=max_chunk)

    def fold(self, before: Any) -> list[Revision]:
        """Make the upserts up to the moment `before` part of the rows that they lie over, so that
        reads need not join them any more.

        Call it only for a time up to which the writes of every replica have been pulled here: an
        older write that arrives later no longer wins over the folded rows, as it would have won
        over the rows below an upsert. Returns the new revisions.
        """
        before = self._ledger.named(before, "before")
        stamp = self._stamp(before) - (0 if child_of(before) else 1)
        site = self._site
        return restore(site, lambda m, placed: folds(site, m, stamp, placed), "fold")

    def squash(
        self, trim: Any = None, max_chunk: int = 4, *, grace: float = maintain.GRACE
    ) -> list[Revision]:
        """`defrag`, then `trim`: `trim=False` keeps all history, a moment what is later."""
        grace = check_grace(grace)
        if trim is not None and not isinstance(trim, bool):
            trim = self._stamp(trim)
        revisions = self.defrag(max_chunk)
        if trim is not False:
            self.trim(None if trim is True else trim, grace=grace)
        return revisions

    def pack(self, *, progress: Progress | None = None) -> tuple[int, int]:
        """Defragment, and re-encode all that is stored in the small form, in place. Returns the
        bytes before and after."""
        check_progress(progress)
        self.defrag()
        return maintain.pack(self._site, set(), progress)


def _chosen(labels: Sequence[str] | str | None) -> Sequence[str] | str:
    """Labels, or a pattern for labels."""
    if labels is None:
        return "*"
    if isinstance(labels, str):
        return labels
    if not isinstance(labels, Iterable):
        raise LabelError(f"labels={labels!r}: expected a list of labels, a pattern or None")
    return sorted({check_label(name) for name in labels})


def reshaped(
    clct: Collection, schema: Schema, rename: Mapping[str, str], defaults: Mapping[str, Any]
) -> Iterator[tuple[str, pa.Table]]:
    """The label and the rows of each series, in the columns of another schema. Raises
    `NotFoundError` and `InputError` if it makes no sense of `rename` or `defaults`."""
    known = {*clct.schema.names, *schema.names}
    unknown = {*rename} - {*clct.schema.names} | {*rename.values()} - {*schema.names}
    unknown |= {*defaults} - known
    if unknown:
        raise NotFoundError(f"clone: no column {', '.join(map(repr, sorted(unknown)))}")
    names = [rename.get(name, name) for name in clct.schema.names]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise InputError(f"clone: rename gives two columns the name {twice[0]!r}")
    given = {
        column.name: evolution.value_of(defaults.get(column.name), column)
        for column in schema.columns
        if column.name not in names
    }
    for series in clct:
        table = series.frame().rename_columns(names)
        yield series.label, _reshape(table, schema, given)


def _reshape(table: pa.Table, schema: Schema, given: Mapping[str, pa.Scalar]) -> pa.Table:
    """The columns of `schema`, from the table or else filled with what is given."""
    columns = [
        pa.repeat(given[name], table.num_rows) if name in given else table.column(name)
        for name in schema.names
    ]
    return pa.table(columns, names=list(schema.names))
