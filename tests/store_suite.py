"""What holds for every store. A test module of a store derives from `StoreSuite` and gives it
the fixture `store`: a new, empty one. The class is not collected by itself."""

from __future__ import annotations

import threading
import time

import pyarrow as pa
import pytest

from lakota.errors import ObjectMissingError, StoreError
from lakota.store import Store
from lakota.store.base import ReplacedError

BAD_NAMES = [
    "",
    "/",
    "/etc/passwd",
    "..",
    "../up",
    "a/../b",
    "a/./b",
    "a//b",
    "a/",
    ".hidden",
    "a/.tmp-0123456789abcdef",
    "-flag",
    "a\\b",
    "a\\..\\b",
    "C:/a",
    "C:\\a",
    "a\0",
    "a\0.arrow",
    "a\n",
    "a b",
    "~/a",
    "%2e%2e/a",
    "é",
    "a\u2215b",  # a slash to the eye
    "\u2024\u2024/a",  # two dots to the eye
    "\uff0e\uff0e/a",  # becomes ../a when normalised
    "a\u202eb",
    "a" * 201,
    "/".join("a" * 9),
]


def contents(store: Store, prefix: str = "") -> set[str]:
    return {info.name for info in store.list(prefix)}


class StoreSuite:
    many = 300
    """More objects than one request lists."""
    tick = 0.02
    """Seconds that the clock of the store needs to go on."""

    @pytest.fixture
    def store(self) -> Store:
        raise NotImplementedError

    def test_what_was_put_is_got(self, store: Store) -> None:
        store.put("segments/ab/cd.arrow", b"rows")
        got = store.get("segments/ab/cd.arrow")
        assert isinstance(got, pa.Buffer)
        assert got.to_pybytes() == b"rows"
        assert store.exists("segments/ab/cd.arrow")

    def test_buffers_and_slices_of_buffers_can_be_put(self, store: Store) -> None:
        store.put("a", pa.py_buffer(b"0123456789").slice(2, 5))
        assert store.get("a").to_pybytes() == b"23456"

    def test_content_in_several_pieces_is_one_object(self, store: Store) -> None:
        large = pa.py_buffer(bytes(range(256)) * 5_000)
        pieces = (pa.py_buffer(b"head"), large.slice(1), pa.py_buffer(b""), pa.py_buffer(b"end"))
        store.put("a", pieces)
        store.put_all({"b": pieces, "c": (pa.py_buffer(b"one"),), "d": b"two"})
        whole = b"".join(map(bytes, pieces))
        assert [store.get(name).to_pybytes() for name in "abcd"] == [whole, whole, b"one", b"two"]

    def test_a_put_takes_what_the_buffer_holds_now(self, store: Store) -> None:
        mutable = bytearray(b"before")
        store.put("a", pa.py_buffer(mutable))
        mutable[:] = b"after!"
        assert store.get("a").to_pybytes() == b"before"

    def test_an_empty_object_is_an_object(self, store: Store) -> None:
        store.put("a/empty", b"")
        assert store.exists("a/empty")
        assert store.get("a/empty").size == 0
        assert [info.size for info in store.list("a")] == [0]

    @pytest.mark.parametrize("size", [1, 65_536, 262_144, 262_145, 10_000_000])
    def test_objects_of_any_size_come_back(self, store: Store, size: int) -> None:
        data = bytes(range(251)) * (size // 251 + 1)
        store.put("big", data[:size])
        assert store.get("big").to_pybytes() == data[:size]

    def test_a_put_replaces(self, store: Store) -> None:
        store.put("a/b", b"x" * 1_000_000)
        store.put("a/b", b"short")
        assert store.get("a/b").to_pybytes() == b"short"
        assert contents(store) == {"a/b"}

    @pytest.mark.parametrize("size", [1_000, 1_000_000])
    def test_what_was_got_stays_when_the_object_is_replaced_or_deleted(
        self, store: Store, size: int
    ) -> None:
        store.put("a", b"1" * size)
        got = store.get("a")
        store.put("a", b"2" * size)
        store.delete(["a"])
        assert got.to_pybytes() == b"1" * size

    def test_what_is_not_there_is_missing(self, store: Store) -> None:
        store.put("a/b", b"x")
        for name in ("c", "a", "a/c", "a/b/c", "c/d"):
            assert not store.exists(name)
            assert not store.touch(name)
            with pytest.raises(ObjectMissingError, match=name):
                store.get(name)

    @pytest.mark.parametrize("name", BAD_NAMES)
    def test_bad_names_are_refused_by_every_method(self, store: Store, name: str) -> None:
        store.put("a", b"x")
        calls = [
            lambda: store.get(name),
            lambda: store.get_all([name]),
            lambda: store.tail(name, 1),
            lambda: store.ranges(name, [(0, 1)], None),
            lambda: store.put(name, b"y"),
            lambda: store.put_all({name: b"y"}),
            lambda: store.put_all({"b": b"y", name: b"y"}),
            lambda: store.exists(name),
            lambda: store.touch(name),
            lambda: store.delete([name]),
        ]
        if name:
            calls += [lambda: list(store.list(name)), lambda: store.names(name)]
            calls += [lambda: store.mark(name)] if store.mark("") is not None else []
        for call in calls:
            with pytest.raises(StoreError, match="cannot name an object"):
                call()
        assert contents(store) <= {"a", "b"}

    @pytest.mark.parametrize("size", [0, 1, 999, 1_000, 1_001, 3_000_000])
    def test_the_tail_is_the_end_or_all(self, store: Store, size: int) -> None:
        data = (bytes(range(251)) * (size // 251 + 1))[:size]
        store.put("a/b", data)
        tail = store.tail("a/b", 1_000)
        assert tail.size == size
        assert min(size, 1_000) <= tail.data.size <= size
        assert data.endswith(tail.data.to_pybytes())

    def test_ranges_are_what_lies_between(self, store: Store) -> None:
        data = bytes(range(251)) * 10_000
        store.put("a/b", data)
        tail = store.tail("a/b", 10)
        spans = [(0, 1), (250, 1_000), (2_000_000, 2_400_000), (len(data) - 5, len(data)), (5, 9)]
        found = store.ranges("a/b", spans, tail.version)
        assert [part.to_pybytes() for part in found] == [data[lo:hi] for lo, hi in spans]
        assert list(store.ranges("a/b", [], tail.version)) == []

    def test_ranges_of_an_object_that_was_replaced_or_deleted_are_refused(
        self, store: Store
    ) -> None:
        store.put("a", b"x" * 1_000)
        tail = store.tail("a", 10)
        store.put("a", b"y" * 1_000)
        with pytest.raises(ReplacedError, match="read it again"):
            store.ranges("a", [(0, 10), (20, 30)], tail.version)
        store.delete(["a"])
        with pytest.raises(ObjectMissingError):
            store.tail("a", 10)
        with pytest.raises(ObjectMissingError):
            store.ranges("a", [(0, 10)], tail.version)

    def test_several_are_got_and_the_missing_left_out(self, store: Store) -> None:
        store.put_all({f"o/{n}": str(n).encode() for n in range(40)})
        found = store.get_all(f"o/{n}" for n in range(0, 80, 3))
        assert {name: data.to_pybytes() for name, data in found.items()} == {
            f"o/{n}": str(n).encode() for n in range(0, 40, 3)
        }
        assert store.get_all([]) == {}

    def test_list_gives_every_object_below_the_folder(self, store: Store) -> None:
        names = {"a", "ab", "b/a", "b/c/d", "b/c/e/f", "bc/a", "1/2/3/4/5/6/7/8"}
        for name in names:
            store.put(name, name.encode())
        assert contents(store) == names
        assert contents(store, "b") == {"b/a", "b/c/d", "b/c/e/f"}
        assert contents(store, "b/c") == {"b/c/d", "b/c/e/f"}
        assert contents(store, "a") == set()
        assert contents(store, "absent") == set()

    def test_list_gives_each_of_many_once(self, store: Store) -> None:
        names = [f"o/{n}" for n in range(self.many)]
        store.put_all(dict.fromkeys(names, b"x"))
        assert sorted(info.name for info in store.list("o")) == sorted(names)
        assert sorted(f"o/{name}" for name in store.names("o")) == sorted(names)
        store.delete(names)
        assert contents(store) == set()

    def test_list_gives_sizes_and_times(self, store: Store) -> None:
        before = time.time()
        store.put("a/b", b"12345")
        (info,) = store.list("a")
        assert (info.name, info.size) == ("a/b", 5)
        assert before - 5 < info.modified < time.time() + 5

    def test_names_gives_what_is_directly_in_the_folder(self, store: Store) -> None:
        for name in ("a", "b/a", "b/d", "b/c/d", "bc/a"):
            store.put(name, b"x")
        assert {"a"} <= set(store.names("")) <= {"a", "b", "bc"}
        assert {"a", "d"} <= set(store.names("b")) <= {"a", "c", "d"}
        assert list(store.names("absent")) == []
        assert list(store.names("a")) == []

    def test_objects_deleted_during_a_listing_do_not_fail_it(self, store: Store) -> None:
        names = [f"{a}/{b}" for a in "abcd" for b in "0123456789"]
        store.put_all(dict.fromkeys(names, b"x"))
        listing = store.list("")
        first = next(listing).name
        store.delete(names)
        assert {first, *(info.name for info in listing)} <= set(names)

    def test_delete_takes_what_it_is_told_and_passes_over_the_absent(self, store: Store) -> None:
        store.put_all(dict.fromkeys(["a/b", "a/c", "d"], b"x"))
        store.delete(name for name in ["a/b", "never", "a/never", "d", "d"])
        assert contents(store) == {"a/c"}
        store.delete([])

    def test_put_all_writes_all(self, store: Store) -> None:
        store.put_all({})
        store.put_all({"one": b"1"})
        objects = {f"o/{n % 7}/{n}": str(n).encode() for n in range(100)}
        store.put_all(objects)
        assert {name: store.get(name).to_pybytes() for name in ["one"]} == {"one": b"1"}
        assert all(store.get(name).to_pybytes() == data for name, data in objects.items())

    def test_touch_and_put_renew_the_age(self, store: Store) -> None:
        def age() -> float:
            (info,) = store.list("a")
            return info.modified

        store.put("a/b", b"x")
        first = age()
        time.sleep(self.tick)
        assert store.touch("a/b")
        second = age()
        time.sleep(self.tick)
        store.put("a/b", b"x")
        assert first < second < age()
        assert store.get("a/b").to_pybytes() == b"x"

    def test_mark_differs_after_each_change_of_the_names(self, store: Store) -> None:
        if store.mark("log") is None:
            pytest.skip("this store has no cheap mark")

        def marked() -> object:
            time.sleep(0.02)  # longer than a tick of any clock of a file system here
            return store.mark("log")

        marks = [marked()]
        store.put("log/a", b"x")
        marks.append(marked())
        store.put("log/b", b"x")
        marks.append(marked())
        store.delete(["log/a"])
        marks.append(marked())
        store.delete(["log/b"])
        marks.append(marked())
        assert len(set(marks)) == len(marks)
        store.put("other/a", b"x")
        assert marked() == marks[-1]

    def test_readers_never_see_a_torn_object(self, store: Store) -> None:
        versions = {b"1" * 300_000, b"2" * 200_000}
        store.put("a/b", b"1" * 300_000)
        done = threading.Event()
        failures: list[object] = []
        reads = 0

        def read() -> None:
            nonlocal reads
            while not done.is_set():
                try:
                    if store.get("a/b").to_pybytes() not in versions:
                        failures.append("torn")
                    if len(store.names("a")) != 1:
                        failures.append("absent for a moment")
                except Exception as error:
                    failures.append(error)
                reads += 1

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        for turn in range(60):
            store.put("a/b", sorted(versions)[turn % 2])
        done.set()
        for reader in readers:
            reader.join()
        assert failures == []
        assert reads > 0

    def test_puts_of_one_name_at_once_all_succeed(self, store: Store) -> None:
        versions = [bytes([n]) * 50_000 for n in range(8)]
        failures: list[Exception] = []
        start = threading.Barrier(len(versions))

        def write(data: bytes) -> None:
            start.wait()
            try:
                for turn in range(10):
                    store.put("a/same", data)
                    store.put(f"new/{turn}/same", data)
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=write, args=[data]) for data in versions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert store.get("a/same").to_pybytes() in versions
        assert contents(store, "a") == {"a/same"}

    def test_expire_takes_what_is_old_and_leaves_what_was_renewed(self, store: Store) -> None:
        for name in ("a/old", "a/new", "b/old"):
            store.put(name, b"x")
        time.sleep(1.1)  # some stores tell the age in whole seconds
        (at,) = (info.modified for info in store.list("a") if info.name == "a/old")
        store.put("a/new", b"x")
        store.expire(["a/old", "a/new", "a/none", "b/old"], at + 0.5)
        assert contents(store, "") == {"a/new"}
        assert store.get("a/new").to_pybytes() == b"x"

    def test_sweep_takes_no_object(self, store: Store) -> None:
        store.put("a/b", b"x")
        assert store.sweep(time.time() + 1_000) == 0
        assert store.exists("a/b")
