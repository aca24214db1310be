"""Guides: the pages above the leaves in one object, for readers of a store that is far."""

from __future__ import annotations

import random
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pytest

from lakota import Clock, Collection, Repo, Schema
from lakota.digest import Digest
from lakota.errors import StoreError
from lakota.guide import decode_guide, encode_guide, guided, is_due, is_guide
from lakota.page import Page
from lakota.store import CountingStore, MemoryStore, Store
from lakota.store.base import Content

SCHEMA = Schema(n="int*", x="float")
SERIES = 6_000
LABELS = [f"series {n:05}" for n in range(SERIES)]


def far(store: Store) -> CountingStore:
    return CountingStore(store, remote=True)


def load(clct: Collection, value: float) -> None:
    keys = np.zeros(SERIES, "int64")
    clct.write(pa.table({"label": LABELS, "n": keys, "x": keys + value}), "label")


def guides(store: Store) -> list[str]:
    return [info.name for info in store.list("changelog") if is_guide(info.name.split("/")[-1])]


@pytest.fixture
def store() -> MemoryStore:
    """A store that was far from its writer, of enough series for two levels above the leaves."""
    inside = MemoryStore()
    clock = Clock(now=lambda: 1_577_836_800_000_000_000)  # stamps decide where pages end
    clct = Repo(far(inside), clock=clock).create_collection(SCHEMA, "c")
    load(clct, 1.0)
    assert clct._ledger.state().page().level == 2
    return inside


def inner_pages(repo: Repo) -> dict[Digest, Page]:
    return {page.name: page for page in guided((repo / "c")._ledger.state())}


def test_a_load_leaves_one_with_all_pages_above_the_leaves(store: MemoryStore) -> None:
    (name,) = guides(store)
    repo = Repo(store)
    root = (repo / "c")._ledger.state().root
    assert name.endswith(f"/guide.{root}")
    found = decode_guide(store.get(name))
    assert found.keys() == inner_pages(repo).keys()
    assert len(found) > 2
    for digest, data in found.items():
        assert Page.decode(digest, data).level > 0


def test_a_reader_asks_for_no_page_that_it_has(store: MemoryStore) -> None:
    near = far(store)
    series = Repo(near) / "c" / LABELS[77]
    assert series.df()["x"].to_list() == [1.0]
    inner = {f"pages/{d[:2]}/{d[2:]}.page" for d in inner_pages(Repo(store))}
    asked = [r.name for r in near.requests if r.name in inner]
    assert len(asked) <= 1  # the root, which is asked for together with the guide


def test_another_load_replaces_it_and_a_small_write_seldom_does(store: MemoryStore) -> None:
    repo = Repo(far(store), clock=Clock(now=lambda: 1_577_836_900_000_000_000))
    before = guides(store)
    load(repo / "c", 2.0)
    (second,) = guides(store)
    assert [second] != before
    found = {second}
    for n in range(40):
        (repo / "c" / LABELS[n]).write({"n": [1], "x": [0.5]})
        (name,) = guides(store)
        found.add(name)
    assert 2 <= len(found) <= 20
    assert Repo(far(store)).check()


def test_a_store_at_hand_and_few_series_have_none() -> None:
    for inside, remote, count in ((MemoryStore(), False, SERIES), (MemoryStore(), True, 40)):
        clct = Repo(CountingStore(inside, remote=remote)).create_collection(SCHEMA, "c")
        keys = np.zeros(count, "int64")
        clct.write(pa.table({"label": LABELS[:count], "n": keys, "x": keys + 1.0}), "label")
        assert guides(inside) == []


def test_one_that_is_damaged_cut_or_gone_changes_nothing(store: MemoryStore) -> None:
    (name,) = guides(store)
    whole = store.get(name).to_pybytes()
    rng = random.Random(5)
    damaged: list[bytes | None] = [None, b"", whole[:-1], whole[:7], whole[: len(whole) // 2]]
    for _ in range(20):
        flipped = bytearray(whole)
        for _ in range(30):
            flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
        damaged.append(bytes(flipped))
    damaged.append(encode_guide([(Digest("ab" * 16), b"no page")]) * 1000)
    for data in damaged:
        if data is None:
            store.delete([name])
        else:
            store.put(name, data)
        repo = Repo(far(store))
        assert (repo / "c" / LABELS[3_000]).df()["x"].to_list() == [1.0]
        assert (repo / "c").ls() == LABELS
        assert repo.check()


def test_one_that_goes_between_the_listing_and_the_read_is_not_missed(store: MemoryStore) -> None:
    repo = Repo(far(store))
    clct = repo / "c"
    clct.changelog.history()
    store.delete(guides(store))
    assert (clct / LABELS[1]).df()["x"].to_list() == [1.0]


def test_a_writer_that_cannot_leave_one_has_written_all_the_same() -> None:
    class NoGuides(MemoryStore):
        def put(self, name: str, data: Content) -> None:
            if is_guide(name.split("/")[-1]):
                raise StoreError("no space")
            super().put(name, data)

    inside = NoGuides()
    clct = Repo(far(inside)).create_collection(SCHEMA, "c")
    load(clct, 1.0)
    assert guides(inside) == []
    assert (Repo(inside) / "c" / LABELS[5]).df()["x"].to_list() == [1.0]


def test_where_nobody_may_delete_readers_take_the_latest_two() -> None:
    """In a bucket to which one may only add there are more and more of them."""

    class AddOnly(MemoryStore):
        def delete(self, names: Iterable[str]) -> None:
            if list(names):
                raise StoreError("access denied")

    inside = AddOnly()
    clock = Clock(now=lambda: 1_577_836_800_000_000_000)  # stamps decide where pages end
    clct = Repo(far(inside), clock=clock).create_collection(SCHEMA, "c")
    left: list[str] = []
    for nth in range(6):
        load(clct, float(nth))
        left.extend(name for name in guides(inside) if name not in left)
    assert len(left) > 3
    near = far(inside)
    for nth in range(3):
        assert len((Repo(near) / "c" / LABELS[77]).df()) == nth + 1
        (clct / LABELS[77]).write({"n": [nth + 1], "x": [0.5]})
    asked = {r.name for r in near.requests if is_guide(r.name.split("/")[-1])}
    assert asked and asked.isdisjoint(left[:-2])


def test_a_deleted_collection_takes_it_along(store: MemoryStore) -> None:
    repo = Repo(far(store))
    repo.delete("c")
    repo.gc(grace=0)
    assert guides(store) == []


def test_how_often_it_is_due() -> None:
    class Root(Page):
        def __init__(self, number: int, rows: int) -> None:
            super().__init__(Digest(f"{number:08x}" + "0" * 24), 2, rows, ())

    rng = random.Random(1)
    for rows, made, least, most in ((44, 1, 10, 40), (44, 44, 1000, 1000), (2, 1, 40, 90)):
        due = sum(is_due(Root(rng.getrandbits(32), rows), made) for _ in range(1000))
        assert least <= due <= most
