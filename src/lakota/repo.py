"""A repo: a store, its registry and its collections. Where everything begins."""

from __future__ import annotations

import copyreg
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date, datetime
from functools import partial
from typing import Any, Literal, overload

from . import gc, maintain
from .bounds import check_grace, check_label
from .bundle import Known, known_at, known_of, write_bundle
from .changelog import Changelog, Child, Revision, root_of, stamp_of
from .check import Problem, Report, inspect, strays
from .choose import check_choice, refuse_conflicts
from .clock import CLOCK, Clock
from .codecs import CODECS
from .collection import Collection
from .digest import Digest
from .errors import (
    AlreadyExistsError,
    InputError,
    LakotaError,
    NotFoundError,
    SchemaError,
)
from .evolution import evolve, join_facts
from .header import HEADER, Header
from .history import History
from .look import Look
from .merge import merge
from .moment import nanoseconds
from .objects import Objects
from .progress import Progress, check_progress, labelled
from .registry import REGISTRY_ID, SCHEMA, Entry, Registry, first_id
from .repair import give_up_broken, mend
from .schema import Schema
from .series import KVSeries, Series
from .site import Site
from .store import (
    Cache,
    CachedStore,
    FolderCache,
    LocalStore,
    MemoryCache,
    StorageOptions,
    Store,
    parse_uri,
)
from .store.bundle import BundleStore
from .store.parallel import aside
from .sync import pull
from .tags import Tags
from .transaction import check_about

__all__ = ["Repo"]

FOLDERS = ("segments", "pages", "changelog")
"""Where the objects of a repo are."""
TASTES = ("packed", *CODECS[:-1])

Uri = str | os.PathLike[str] | Store | Cache


class Repo:
    """Version control for time series and other indexed tables, in a folder, memory or a bucket.

    Parameters
    ----------
    uri
        A path, `file://...`, `s3://bucket/prefix` (also `gs://`, `az://`), `memory://name` (shared
        in the process), a `Store`, or None for a repo in memory of its own. A folder that is not
        there is an empty repo; the first write makes it. A bucket must be there. Or a list: caches
        (folders, `memory://`, a `Cache`), nearest first, and the store.
    codec
        How columns are stored whose schema says nothing: `"plain"` (mapped into memory, read
        without a copy), `"lz4"`, `"zstd"` or `"packed"` (numbers by pcodec, the rest by zstd: a
        tenth of the size). Default: `"plain"` in a local store, `"packed"` in a remote one.
    durability
        `"fsync"`: a write that returned survives a power loss. `"os"`: it survives the process,
        and is several times faster for small writes.
    clock
        Where stamps come from; give one to import a history under its own times.
    max_ahead
        Seconds. Refuses with `ClockError` to take over, or to write on, a revision stamped so far
        ahead of the clock. By default, one of more than a day gives a `ClockWarning`.
    verify
        False trusts what is read. Pages are always verified.
    storage_options
        Of a bucket: credentials, region, endpoint and the like, as in Polars
        (`{"aws_region": "eu-central-1"}`). What is not said comes from the environment.

    >>> from lakota import Repo, Schema
    >>> repo = Repo()
    >>> clct = repo.create_collection(Schema(timestamp="timestamp*", value="float"), "weather")
    >>> repo.ls()
    ['weather']
    """

    def __init__(
        self,
        uri: Uri | Sequence[Uri] | None = None,
        *,
        codec: str | None = None,
        durability: Literal["fsync", "os"] = "fsync",
        clock: Clock | None = None,
        verify: bool = True,
        storage_options: StorageOptions | None = None,
        max_ahead: float | None = None,
    ) -> None:
        self.store = _open_store(uri, durability, storage_options)
        self.codec = ("packed" if self.store.remote else "plain") if codec is None else codec
        if not isinstance(self.codec, str) or self.codec not in TASTES:
            raise InputError(f"codec={codec!r}: expected one of {', '.join(TASTES)}")
        self.clock = CLOCK if clock is None else clock
        if not isinstance(self.clock, Clock):
            raise InputError(f"clock={clock!r}: expected a Clock, such as Clock(now=...)")
        self._max_ahead = None if max_ahead is None else check_grace(max_ahead, "max_ahead")
        self._header = Header(self.store)
        self._objects = Objects(self.store, self._header, verify=verify)
        self._changelogs: dict[str, Changelog] = {}
        self._sites: dict[str, Site] = {}
        self._registry = Registry(self._site(REGISTRY_ID, SCHEMA, SCHEMA))
        if self.store.remote:
            aside(self._registry.warm)
        _ = self._header.format  # refuses what this release cannot read

    def __repr__(self) -> str:
        return f"<Repo {self.store!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _again(self._registry.site)

    def exists(self) -> bool:
        """Whether it was made already: by `init`, by a write or by a pull."""
        return self.store.exists(HEADER)

    def init(self) -> None:
        """Make it now, if it is not there; otherwise the first write does.

        >>> from lakota import Repo
        >>> repo = Repo()
        >>> repo.init()
        >>> repo.exists(), repo.ls()
        (True, [])
        """
        self._header.prepare()

    # ---- Collections

    def ls(self) -> list[str]:
        """The labels of the collections, sorted."""
        return list(self._registry.live())

    def __iter__(self) -> Iterator[Collection]:
        return (self._open(label, entry) for label, entry in self._registry.live().items())

    def __contains__(self, label: object) -> bool:
        return isinstance(label, str) and label in self._registry.live()

    def collection(self, label: str) -> Collection:
        """The collection of that label; raises `NotFoundError`, naming those there are."""
        if not self.store.remote or not isinstance(label, str):
            return self._open(label, self._entry(label))
        # Mostly it never had another label: then its id is known, and what will be read first is
        # on its way while the registry is.
        likely = self._changelog(first_id(label))
        coming = aside(likely.history)
        aside(lambda: self._warm(likely, coming.result()))
        entry = self._entry(label)
        if entry.id != first_id(label):
            return self._open(label, entry)
        return self._open(label, entry, coming.result())

    def __truediv__(self, label: str) -> Collection:
        return self.collection(label)

    @overload
    def create_collection(
        self, schema: Schema, label: str, /, *, raise_if_exists: bool = True
    ) -> Collection: ...

    @overload
    def create_collection(
        self, schema: Schema, /, *labels: str, raise_if_exists: bool = True
    ) -> list[Collection]: ...

    def create_collection(
        self, schema: Schema, /, *labels: str, raise_if_exists: bool = True
    ) -> Collection | list[Collection]:
        """Make collections, in one commit. Returns one, or a list if several labels were given.

        Raises `AlreadyExistsError`, or with `raise_if_exists=False` opens those that exist and
        raises `SchemaError` if their schema is another.
        """
        if not isinstance(schema, Schema):
            raise SchemaError(
                f"create_collection({schema!r}, ...): expected a Schema first, such as "
                "Schema(timestamp='timestamp*', value='float')"
            )
        if not labels:
            raise InputError("create_collection: expected one or more labels after the schema")
        wanted = list(dict.fromkeys(map(check_label, labels)))
        live, ids = self._registry.look(wanted)
        new: list[Entry] = []
        for label in wanted:
            entry = live.get(label)
            if entry is None:
                new.append(Entry(ids[label], label, schema.dumps(), "{}", 0))
            elif raise_if_exists:
                raise AlreadyExistsError(
                    f"collection {label!r} exists: open it with repo.collection({label!r}), or "
                    "pass raise_if_exists=False"
                )
            else:
                found = self._registry.schemas(entry.id)[0]
                if found.described() != schema.described():
                    raise SchemaError(
                        f"collection {label!r} exists with another schema: {found!r}, "
                        f"not {schema!r}"
                    )
        if new:
            self._header.prepare()
            self._registry.put(new, f"create {', '.join(entry.label for entry in new)}")
        made = [self.collection(label) for label in labels]
        return made[0] if len(made) == 1 else made

    def delete(self, *labels: str) -> None:
        """Delete collections, for good and on every replica that pulls. `gc` frees their space."""
        entries = {label: self._entry(label) for label in labels}
        if entries:
            self._registry.delete(entries.values(), f"delete {', '.join(labels)}")

    def rename(self, from_label: str, to_label: str) -> None:
        """Change the label of a collection."""
        entry = self._entry(from_label)
        if check_label(to_label) in self._registry.live():
            raise AlreadyExistsError(f"collection {to_label!r} exists: choose another label")
        renamed = replace(entry, label=to_label)
        self._registry.put([renamed], f"rename {from_label!r} to {to_label!r}")

    def refresh(self) -> None:
        """Look for new revisions at the next use. Not needed: handles see each other's commits."""
        self._registry.site.changelog.refresh()

    # ---- Replicas

    def pull(
        self,
        remote: Repo | Uri,
        *labels: str,
        shallow: bool = False,
        progress: Progress | None = None,
    ) -> None:
        """Copy what `remote` has and this repo lacks: collections and their revisions.

        `labels`: only these collections. `shallow`: without their past. `progress`: called with
        how many things are done, of how many (or None), and what they are. Merges nothing: where
        both sides wrote, there are two heads then, and `merge()` joins them. Collections that
        were deleted on either side stay deleted. Raises `SchemaError` if both sides have a
        collection with different schemas, and `NotFoundError` if there is no such collection, or
        no repo where a path or URI says; then nothing was changed.
        """
        check_progress(progress)
        source = _opened(remote)
        entries = source._registry.live()
        if not entries and source is not remote and not source.exists():
            raise NotFoundError(f"there is no repo in {source.store!r}: nothing to pull")
        chosen = {label: source._entry(label) for label in labels} if labels else entries
        deleted = self._registry.deleted()
        chosen = {label: e for label, e in chosen.items() if e.id not in deleted}
        columns = {
            entry.id: self._join_schemas(source, label, entry) for label, entry in chosen.items()
        }
        self._check_needs(source, chosen)
        self._check_ahead(source, columns)
        if chosen or source._registry.site.changelog.heads():
            self._header.prepare()
        names = {entry.id: label for label, entry in chosen.items()}
        # Last what makes it visible; but a server takes only rows of collections that it knows.
        served = self.store.tidied
        if served:
            self._pull_registry(source, chosen if labels else None)
        for collection_id, ever in columns.items():
            target, origin = (repo._site(collection_id, ever, ever) for repo in (self, source))
            tell = labelled(progress, names[collection_id])
            pull(target, origin, shallow=shallow, progress=tell)
        if not served:
            self._pull_registry(source, chosen if labels else None)
        for entry in chosen.values() if labels else ():
            self._adopt_tags(source, entry)

    def push(
        self,
        remote: Repo | Uri,
        *labels: str,
        shallow: bool = False,
        progress: Progress | None = None,
    ) -> None:
        """`remote.pull(self)`."""
        _opened(remote).pull(self, *labels, shallow=shallow, progress=progress)

    def bundle(
        self,
        path: str | os.PathLike[str],
        *labels: str,
        since: str | datetime | date | int | Repo | os.PathLike[str] | None = None,
    ) -> int:
        """Write the repo, or `labels` of it, to one file, from which others `pull`: for machines
        that never meet. Returns how many revisions are in it.

        `since`: only what came into this repo after a time, or what another repo, or an earlier
        bundle (a `Path`), has not. Who pulls must have the rest; otherwise the pull is refused by
        name. A file that is there is replaced. Raises `NotFoundError`, `InputError`, `StoreError`.

        >>> import os, tempfile
        >>> repo, other = Repo(), Repo()
        >>> clct = repo.create_collection(Schema(n="int*", x="float"), "c")
        >>> _ = (clct / "s").write({"n": [1], "x": [0.5]})
        >>> path = os.path.join(tempfile.mkdtemp(), "c.bundle")
        >>> repo.bundle(path)
        1
        >>> other.pull(path)
        >>> (other / "c" / "s").df()["x"].to_list()
        [0.5]
        """
        if not isinstance(path, (str, os.PathLike)) or not _names_file(os.fspath(path)):
            raise InputError(f"bundle({path!r}): expected the path of a file")
        entries = self._registry.live()
        chosen = {label: self._entry(label) for label in labels} if labels else entries
        sites = {}
        for entry in chosen.values():
            ever = self._registry.schemas(entry.id)[1]
            sites[entry.id] = self._site(entry.id, ever, ever)
        self._header.prepare()
        return write_bundle(os.fspath(path), sites, self._registry.site, self._known_to(since))

    def _known_to(self, since: Any) -> Known:
        """What the reader of a bundle has of a collection."""
        if since is None:
            return lambda _id, _changelog: set()
        if not isinstance(since, (Repo, os.PathLike)):
            limit = nanoseconds(since, what="since") / 1e9
            return lambda _id, changelog: known_at(changelog, limit)
        other = since if isinstance(since, Repo) else Repo(since)
        needs = other.store.needs if isinstance(other.store, BundleStore) else {}
        return lambda id_, changelog: known_of(
            changelog, Changelog(other.store, id_).history().children, needs.get(id_, ())
        )

    def _check_needs(self, source: Repo, chosen: Mapping[str, Entry]) -> None:
        """Refuse a bundle that stands on what is not here."""
        needs = source.store.needs if isinstance(source.store, BundleStore) else {}
        for label, entry in chosen.items():
            needed = needs.get(entry.id, ())
            have = Changelog(self.store, entry.id).history() if needed else History()
            missing = [child for child in needed if not have.has(Child(child))]
            if missing:
                raise NotFoundError(
                    f"{source.store!r} goes on from revision {missing[0]} of {label!r}, which this "
                    "repo has not: pull an earlier bundle first, or get one made with since=None"
                )

    def _join_schemas(self, source: Repo, label: str, entry: Entry) -> Schema:
        """Every column that a collection has or had on either side. Refuses one whose columns are
        not, or became not, those that it has here."""
        own = self._registry.known().get(entry.id)
        try:
            if own is not None and Schema.loads(own.schema) != Schema.loads(entry.schema):
                raise SchemaError(
                    f"{Schema.loads(own.schema)!r} here, {Schema.loads(entry.schema)!r} there"
                )
            facts = join_facts(self._registry.facts(entry.id), source._registry.facts(entry.id))
            evolve(Schema.loads(entry.schema), facts)
            return evolve(Schema.loads(entry.schema), facts, stored=True)
        except SchemaError as error:
            raise SchemaError(
                f"collection {label!r} has another schema on the other side: {error}; nothing was "
                "copied: rename one of them, or clone it into the other's schema"
            ) from error

    def _check_ahead(self, source: Repo, columns: Mapping[str, Schema]) -> None:
        """Refuse what is stamped too far in the future, before anything is copied."""
        if self._max_ahead is None:
            return
        pairs = [(repo._site(i, e, e) for repo in (self, source)) for i, e in columns.items()]
        for target, origin in [*pairs, (self._registry.site, source._registry.site)]:
            new = set(origin.changelog.heads()) - target.changelog.history().children
            if new:
                target.check_ahead(stamp_of(max(new)))

    def _pull_registry(self, source: Repo, chosen: dict[str, Entry] | None) -> None:
        """All of it, or what it says of some collections."""
        if chosen is None:
            pull(self._registry.site, source._registry.site)
        else:
            self._adopt(source, chosen)

    def _adopt(self, source: Repo, chosen: dict[str, Entry]) -> None:
        """Take over the registry rows of some collections only."""
        known = self._registry.known()
        for label, entry in chosen.items():
            # An earlier collection of that label that the other side deleted is deleted here, too.
            older = [e for e in source._registry.deleted().values() if e.label == label]
            gone = [e for e in older if e.id in known and e.id not in self._registry.deleted()]
            if gone:
                self._registry.delete(gone, f"delete {label}")
            if entry.id not in known:
                self._registry.put([entry], f"pull {label}")
            own = self._registry.facts(entry.id)
            joined = join_facts(own, source._registry.facts(entry.id))
            new = [fact for fact in joined if fact not in own]
            if new:
                self._registry.record(entry.id, new, f"pull {label}")

    def _adopt_tags(self, source: Repo, entry: Entry) -> None:
        """Take over those tags of a collection that have no namesake here."""
        tags, theirs = Tags(self._registry, entry.id), Tags(source._registry, entry.id).all()
        for name in theirs.keys() - tags.all().keys():
            tags.put(name, theirs[name], force=False)

    def merge(
        self, *, on_conflict: str = "latest", author: str | None = None, message: str = ""
    ) -> list[Revision]:
        """Join the heads of the registry and of every collection. Returns the new revisions.

        `on_conflict`, `author`, `message`: of each collection, as in `Collection.merge`; with
        `"raise"` nothing is merged if any has conflicts. The registry is always joined by the law.
        """
        check_choice(on_conflict)
        check_about(author, message)
        if on_conflict == "raise":
            for collection in self:
                refuse_conflicts(collection._site)
        revisions = merge(self._registry.site)
        for collection in self:
            revisions.extend(
                collection.merge(on_conflict=on_conflict, author=author, message=message)
            )
        return revisions

    # ---- Upkeep

    def gc(
        self,
        *,
        grace: float = maintain.GRACE,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> gc.Collected:
        """Delete the objects that no revision refers to and that are older than `grace` seconds.

        `grace` must be longer than any commit or transfer takes. Returns how many objects and
        bytes went, or with `dry_run=True` would go.
        """
        seconds = check_grace(grace)
        check_progress(progress)
        deleted = self._registry.deleted()
        return gc.collect(self._objects, deleted, grace=seconds, dry_run=dry_run, progress=progress)

    def pack(self, *, progress: Progress | None = None) -> tuple[int, int]:
        """Join small segments and re-encode all that is stored in the small form, in place.
        Returns the bytes before and after."""
        check_progress(progress)
        done: set[Digest] = set()
        sizes = [maintain.pack(self._registry.site, done)]
        for collection in self:
            collection.defrag()
            tell = labelled(progress, collection.label)
            sizes.append(maintain.pack(collection._site, done, tell))
        return sum(before for before, _ in sizes), sum(after for _, after in sizes)

    def check(
        self,
        *,
        repair: Repo | Uri | Sequence[Repo | Uri] = (),
        give_up: bool = False,
        progress: Progress | None = None,
    ) -> Report:
        """Look at every byte that a read could need, and recompute every name. True if nothing
        is damaged; `damaged` lists what is. Caches are passed by.

        `repair`: other copies (replicas, backups, caches), from which what is damaged is restored
        as far as they have it. `give_up=True`: then delete the revisions that are still not
        whole, so that the last whole ones count; the report's `given_up` says what had been
        written by each. Nobody should write meanwhile. Raises `InputError` for a copy that is not
        there, and `StoreError` where the store fails to answer: that is no loss.
        """
        check_progress(progress)
        copies: object = repair
        if isinstance(repair, Repo | str | os.PathLike | Store | Cache):
            copies = [repair]
        if not isinstance(copies, list | tuple):
            raise InputError(f"repair={repair!r}: expected a Repo, what Repo takes, or a list")
        sources = [self._copy(r) for r in copies]
        # A cache would hide what is damaged in the store itself.
        objects = Objects(self.store.origin, self._header)
        report = self._inspect(objects, progress)
        repaired: dict[str, Problem] = {}
        while report.damaged and sources:
            found = list(mend(objects, report.damaged, sources))
            if repaired.keys() >= {p.name for p in found}:
                break
            repaired.update((p.name, p) for p in found)
            report = self._inspect(objects, progress)
        given_up: list[Problem] = []
        if give_up and report.damaged:
            given_up = list(give_up_broken(objects, self._all_changelogs(objects)))
            report = self._inspect(objects, progress)
        if repaired or given_up:
            self._forget()
        return replace(report, repaired=tuple(repaired.values()), given_up=tuple(given_up))

    def _copy(self, copy: Repo | Uri) -> Objects:
        """What `check` takes for a copy of this repo, or of some of its objects."""
        if isinstance(copy, Cache):  # it may have kept revisions of this very store
            return Objects(CachedStore([copy], self.store), self._header)
        repo = copy if isinstance(copy, Repo) else Repo(copy)
        cached = isinstance(repo.store, CachedStore)
        if (
            not cached
            and not repo.exists()
            and not any(info for folder in FOLDERS for info in repo.store.list(folder))
        ):
            raise InputError(
                f"repair={copy!r}: there is no repo, nor objects of one; expected a replica, a "
                "backup, or a cache (FolderCache(...)); nothing was changed"
            )
        return repo._objects

    def _inspect(self, objects: Objects, progress: Progress | None) -> Report:
        report = inspect(objects, self._all_changelogs(objects), progress)
        return replace(report, strays=tuple(strays(objects)))

    def _all_changelogs(self, objects: Objects) -> list[Changelog]:
        ids = gc.collection_ids(objects)
        with suppress(LakotaError):  # a damaged registry is reported as any collection is
            ids -= set(self._registry.deleted())
        return [Changelog(objects.store, i) for i in sorted(ids)]

    def _forget(self) -> None:
        """Read everything anew."""
        self._objects.forget()
        for changelog in self._changelogs.values():
            changelog.refresh()

    # ---- Inside

    def _changelog(self, collection_id: str) -> Changelog:
        changelog = self._changelogs.get(collection_id)
        if changelog is None:
            # Of two threads that get here at once, both go on with the same.
            made = Changelog(self.store, collection_id)
            changelog = self._changelogs.setdefault(collection_id, made)
        return changelog

    def _warm(self, changelog: Changelog, history: History) -> None:
        """Have the first page of the newest head at hand, and the guide to the next ones. Raises
        nothing: whoever reads it will."""
        with suppress(LakotaError, OSError):
            self._objects.lead(changelog.guides())
            for head in history.heads[-1:]:
                self._objects.page(root_of(head))

    def _site(self, collection_id: str, shown: Schema, ever: Schema) -> Site:
        changelog = self._changelog(collection_id)
        return Site(
            self._objects,
            changelog,
            shown.stored,
            self.clock,
            self.codec,
            shown,
            ever,
            self._max_ahead,
        )

    def _find(self, collection_id: str, *, fresh: bool = True, lately: bool = False) -> Site:
        """The collection as it is now: a stat of the registry if nothing changed. Without `fresh`:
        as it was when the registry was last looked at; `lately`: if that was just now."""
        fresh = fresh and not (lately and self._registry.is_recent)
        shown, ever = self._registry.schemas(collection_id, fresh=fresh)
        site = self._sites.get(collection_id)
        if site is None or site.shown is not shown:
            site = self._sites[collection_id] = self._site(collection_id, shown, ever)
        return site

    def _open(self, label: str, entry: Entry, history: History | None = None) -> Collection:
        last = Look(self._find(entry.id, fresh=False), history) if self.store.remote else None
        return Collection(label, entry.id, partial(self._find, entry.id), self._registry, last)

    def _entry(self, label: str) -> Entry:
        live = self._registry.live()
        if not isinstance(label, str) or label not in live:
            raise NotFoundError(
                f"no collection {label!r}; there is: {', '.join(map(repr, live)) or 'none'}"
            )
        return live[label]


def _opened(remote: Repo | Uri) -> Repo:
    """A repo that another one is copied from or to. Memory that nobody else has is none."""
    if remote is None:
        raise InputError("remote is None: expected a Repo, a path or a URI")
    return remote if isinstance(remote, Repo) else Repo(remote)


def _names_file(path: str) -> bool:
    try:
        return bool(path) and b"\0" not in os.fsencode(path) and not os.path.isdir(path)
    except UnicodeEncodeError:
        return False


def _open_store(
    uri: Uri | Sequence[Uri] | None,
    durability: Literal["fsync", "os"],
    storage_options: StorageOptions | None,
) -> Store:
    if isinstance(uri, (list, tuple)):
        if not uri:
            raise InputError("Repo([]): expected caches, if any, and at last a store")
        *caches, uri = uri
        store = _open_store(uri, durability, storage_options)
        return CachedStore([_open_cache(cache) for cache in caches], store) if caches else store
    if isinstance(uri, Store):
        return uri
    if uri is not None and not isinstance(uri, (str, os.PathLike)):
        raise InputError(f"Repo({uri!r}): expected a path, a uri or a Store")
    return parse_uri(uri, durability=durability, storage_options=storage_options)


def _open_cache(uri: Uri) -> Cache:
    if isinstance(uri, Cache):
        return uri
    if uri == "memory://":
        return MemoryCache()
    if isinstance(uri, (str, os.PathLike)):
        store = parse_uri(uri)
        if isinstance(store, LocalStore):
            return FolderCache(store.root)
    raise InputError(
        f"Repo([{uri!r}, ...]): expected a cache: a folder, 'memory://', or lakota.store's "
        "FolderCache and MemoryCache with a limit"
    )


# ---- In another process. What was read or begun stays behind, the handle is made anew.


def _again(site: Site) -> tuple[Callable[[], Repo], tuple[()]]:
    """How to make the repo of a site anew."""
    clock = None if site.clock is CLOCK else site.clock
    objects = site.objects
    make = partial(Repo, codec=site.codec, clock=clock, max_ahead=site.max_ahead)
    return partial(make, objects.store, verify=objects.verify), ()


def _collection(make: Callable[[], Repo], collection_id: str) -> Collection:
    """The collection of that id, whatever its label is by now."""
    repo = make()
    for label, entry in repo._registry.live().items():
        if entry.id == collection_id:
            return repo._open(label, entry)
    raise NotFoundError(f"the collection of id {collection_id} is not in {repo!r}: it was deleted")


def _series(make: Callable[[], Repo], collection_id: str, label: str) -> Series | KVSeries:
    return _collection(make, collection_id).series(label)


def _reduce_collection(clct: Collection) -> tuple[Any, ...]:
    return _collection, (_again(clct._site)[0], clct.id)


def _reduce_series(series: Any) -> tuple[Any, ...]:
    site = series._ledger.site
    return _series, (_again(site)[0], site.changelog.collection_id, series.label)


copyreg.pickle(Collection, _reduce_collection)
copyreg.pickle(Series, _reduce_series)
copyreg.pickle(KVSeries, _reduce_series)
