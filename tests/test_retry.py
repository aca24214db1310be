"""Stores that do not answer, and the one that asks again: by a real proxy that loses things."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from bucket_kit import Bucket, Weather, options
from fault_kit import SCHEMA, intact, numbers, rows
from store_suite import StoreSuite

from lakota import InputError, ObjectMissingError, Repo, StoreError, UnavailableError
from lakota.store import MemoryStore, ObjectStore, RetryingStore, Store

FAULTS = ("drop", "lose", "cut", "500", "503", "429")


def eager(store: Store, patience: float = 30) -> RetryingStore:
    return RetryingStore(store, patience=patience, first=0.001, longest=0.02)


@contextmanager
def weather(bucket: Bucket, fault: Callable[[str, str], str]) -> Iterator[ObjectStore]:
    """A bare store in the bucket, behind a proxy."""
    with Weather(bucket.endpoint, fault).running() as endpoint:
        prefix = bucket.uri.removeprefix(f"s3://{bucket.name}/")
        yield ObjectStore("s3", bucket.name, prefix, options(endpoint))


class Plan:
    """The faults to come, one after the other, then none; and the requests that came."""

    def __init__(self, *faults: str) -> None:
        self.faults = list(faults)
        self.seen: list[tuple[str, str]] = []

    def __call__(self, method: str, path: str) -> str:
        self.seen.append((method, path))
        return self.faults.pop(0) if self.faults else ""


@pytest.mark.long
class TestRetryingStoreInBadWeather(StoreSuite):
    """A request in five is lost, on its way or its answer's, or turned away."""

    tick = 1.05

    @pytest.fixture
    def store(self, bucket: Bucket) -> Iterator[Store]:
        dice = random.Random(7)
        lock = threading.Lock()

        def fault(method: str, path: str) -> str:
            with lock:
                return dice.choice(FAULTS) if dice.random() < 0.2 else ""

        with weather(bucket, fault) as store:
            yield eager(store)


class TestRetryingStore(StoreSuite):
    many = 2_100

    @pytest.fixture
    def store(self) -> Store:
        return RetryingStore(MemoryStore())


CALLS: dict[str, Callable[[Store], Any]] = {
    "get": lambda s: s.get("a").to_pybytes(),
    "tail": lambda s: s.tail("a", 2).data.to_pybytes(),
    "get_all": lambda s: {n: d.to_pybytes() for n, d in s.get_all(["a", "b"]).items()},
    "put": lambda s: s.put("c", b"new"),
    "put_all": lambda s: s.put_all({"c": b"new", "d": b"newer"}),
    "exists": lambda s: s.exists("a"),
    "list": lambda s: sorted(info.name for info in s.list("")),
    "names": lambda s: sorted(s.names("")),
    "delete": lambda s: s.delete(["b"]),
    "touch": lambda s: s.touch("a"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_fails_once_fails_without_and_succeeds_with_retries(
    bucket: Bucket, call: str, fault: str
) -> None:
    plan = Plan()
    act = CALLS[call]
    with weather(bucket, plan) as store:
        store.put_all({"a": b"one", "b": b"two"})
        expected = act(store)
        plan.faults = [fault]
        plan.seen.clear()
        if fault == "cut" and call in ("put", "put_all", "exists"):
            # The answer says all in its first line.
            assert act(store) == expected
            return
        with pytest.raises(UnavailableError, match="then try again"):
            act(store)
        assert 1 <= len(plan.seen) <= 2
        plan.faults = [fault, fault]
        assert act(eager(store)) == expected


def test_a_listing_that_breaks_off_goes_on_without_repeating(bucket: Bucket) -> None:
    plan = Plan()
    with weather(bucket, plan) as store:
        names = {f"o/{n:04}" for n in range(1_005)}
        store.put_all(dict.fromkeys(names, b"x"))
        plan.faults = ["503", "", "drop", "", "lose"]
        found = [info.name for info in eager(store).list("")]
        assert len(found) == len(set(found)) == len(names)


@pytest.mark.parametrize("status", ["400", "401", "403"])
def test_what_is_refused_is_not_asked_again(bucket: Bucket, status: str) -> None:
    plan = Plan(*[status] * 9)
    with weather(bucket, plan) as store:
        for call in (lambda s: s.put("a", b"x"), lambda s: s.get("a"), lambda s: s.names("")):
            plan.seen.clear()
            with pytest.raises(StoreError) as caught:
                call(eager(store))
            assert not isinstance(caught.value, UnavailableError | ObjectMissingError)
            assert len(plan.seen) == 1
            if status != "400":
                assert "check the credentials" in str(caught.value)


def test_what_is_missing_is_not_asked_for_again(bucket: Bucket) -> None:
    plan = Plan()
    with weather(bucket, plan) as store:
        with pytest.raises(ObjectMissingError):
            eager(store).get("a")
        assert len(plan.seen) == 1


def test_patience_ends(bucket: Bucket) -> None:
    plan = Plan(*["503"] * 10_000)
    with weather(bucket, plan) as store:
        with pytest.raises(UnavailableError, match="503"):
            eager(store, patience=0.2).get("a")
        many = len(plan.seen)
        assert many > 3
        with pytest.raises(UnavailableError):
            eager(store, patience=0).get("a")
        assert len(plan.seen) == many + 1


def test_a_bucket_asks_again_by_default(bucket: Bucket) -> None:
    plan = Plan("503", "drop", "lose")
    with Weather(bucket.endpoint, plan).running() as endpoint:
        repo = Repo(bucket.uri, storage_options=options(endpoint))
        assert repo.ls() == []
    assert len(plan.seen) >= 4


def test_a_server_that_hangs_is_given_up(bucket: Bucket) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        slow = {**options(f"http://127.0.0.1:{deaf.getsockname()[1]}"), "timeout": "200ms"}
        store = ObjectStore("s3", "bucket", "", slow)
        with pytest.raises(UnavailableError, match="timeout"):
            store.get("a")


@pytest.mark.parametrize("name", ["patience", "first", "longest"])
@pytest.mark.parametrize("value", [-1, float("nan")])
def test_waits_that_cannot_be_are_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match="expected seconds"):
        RetryingStore(MemoryStore(), **{name: value})


def test_a_repo_is_whole_whatever_is_lost_on_the_way(bucket: Bucket) -> None:
    dice = random.Random(11)

    def fault(method: str, path: str) -> str:
        return dice.choice(FAULTS) if dice.random() < 0.25 else ""

    with weather(bucket, fault) as store:
        repo = Repo(eager(store))
        series = repo.create_collection(SCHEMA, "c") / "s"
        for n in range(10):
            series.write(numbers(n * 10, n * 10 + 10))
        again = Repo(eager(store))
        assert len(rows(again / "c" / "s")) == 100
        assert len(again.collection("c").changelog.log()) == 10
        assert intact(again)


def test_waits_grow_and_are_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    class Away(MemoryStore):
        def exists(self, name: str) -> bool:
            raise UnavailableError("away")

    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    monkeypatch.setattr(time, "monotonic", lambda: float(len(waits)))
    with pytest.raises(UnavailableError):
        RetryingStore(Away(), patience=40, first=0.1, longest=5).exists("a")
    assert len(waits) > 30
    for turn, wait in enumerate(waits):
        assert 0 <= wait <= min(0.1 * 2**turn, 5)
    assert max(waits) > 3
    assert len(set(waits)) == len(waits)
