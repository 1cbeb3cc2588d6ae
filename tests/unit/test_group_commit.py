"""Callers that wait at the same moment share one commit, in threads, in greenlets, and alone."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from gateway.queues.group_commit import GroupCommit
from tests.helpers.support import eventually


class Store:
    """Keeps what it is given; a call stays under way as long as its gate is shut."""

    def __init__(self) -> None:
        self.calls: list[list[Any]] = []
        self.entered = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()
        self.error: BaseException | None = None
        self._alone = threading.Lock()

    def __call__(self, items: Sequence[Any]) -> list[str]:
        assert self._alone.acquire(blocking=False), "two calls at once"
        try:
            self.calls.append(list(items))
            self.entered.release()
            assert self.gate.wait(30)
            if self.error:
                raise self.error
            return [f"result of {item}" for item in items]
        finally:
            self._alone.release()


class Callers:
    """Threads that commit; what each got, a result or an error."""

    def __init__(self, group: GroupCommit[Any, Any]) -> None:
        self._group = group
        self._threads: list[threading.Thread] = []
        self.got: dict[Any, Any] = {}

    def start(self, *items: Any) -> None:
        self._threads.append(threading.Thread(target=self._commit, args=items, daemon=True))
        self._threads[-1].start()

    def _commit(self, *items: Any) -> None:
        try:
            self.got[items[0]] = self._group.commit(items)
        except BaseException as error:
            self.got[items[0]] = error

    def join(self) -> dict[Any, Any]:
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "a caller is left waiting"
        return self.got


@pytest.fixture
def store() -> Store:
    return Store()


def _gather(group: GroupCommit[Any, Any], count: int) -> None:
    """Return once so many callers wait behind the one that commits."""
    eventually(lambda: len(group._waiting) == count, f"{count} callers wait")


def test_a_single_call_is_one_commit(store):
    group: GroupCommit[str, str] = GroupCommit(store)
    assert list(group.commit(["a", "b"])) == ["result of a", "result of b"]
    assert list(group.commit(["c"])) == ["result of c"]
    assert store.calls == [["a", "b"], ["c"]]


def test_an_error_of_a_single_call_does_not_affect_the_next(store):
    group: GroupCommit[str, str] = GroupCommit(store)
    store.error = OSError("disk")
    with pytest.raises(OSError, match="disk"):
        group.commit(["a"])
    store.error = None
    assert list(group.commit(["b"])) == ["result of b"]


def test_waiting_callers_share_one_commit_and_each_gets_its_own_results(store):
    group: GroupCommit[str, str] = GroupCommit(store)
    callers = Callers(group)
    store.gate.clear()
    callers.start("first")
    assert store.entered.acquire(timeout=30)
    for number in range(20):
        callers.start(f"a{number}", f"b{number}")
    _gather(group, 20)
    store.gate.set()
    got = callers.join()
    assert [len(call) for call in store.calls] == [1, 40]
    for number in range(20):
        wanted = [f"result of a{number}", f"result of b{number}"]
        assert list(got[f"a{number}"]) == wanted
        at = store.calls[1].index(f"a{number}")
        assert store.calls[1][at + 1] == f"b{number}"  # what belongs together stays so


@pytest.mark.parametrize("error", [OSError("disk"), KeyboardInterrupt()])
def test_an_error_reaches_every_caller_of_its_group_and_no_other(store, error):
    group: GroupCommit[str, str] = GroupCommit(store)
    callers = Callers(group)
    store.gate.clear()
    callers.start("before")
    assert store.entered.acquire(timeout=30)
    for name in "abc":
        callers.start(name)
    _gather(group, 3)
    store.gate.set()
    assert store.entered.acquire(timeout=30)  # only now does the group of three go
    callers.join()
    assert all(isinstance(result, list | tuple) for result in callers.got.values())

    store.gate.clear()
    callers.start("held")
    assert store.entered.acquire(timeout=30)
    for name in "xyz":
        callers.start(name)
    _gather(group, 3)
    store.error = error
    store.gate.set()
    got = callers.join()
    assert {name for name, result in got.items() if result is error} == {"held", "x", "y", "z"}
    store.error = None
    assert list(group.commit(["after"])) == ["result of after"]


def test_only_the_group_that_failed_hears_of_it():
    entered, gate = threading.Semaphore(0), threading.Semaphore(0)

    def store(items: Sequence[str]) -> Sequence[str]:
        entered.release()
        assert gate.acquire(timeout=30)
        if "bad" in items:
            raise ValueError("bad")
        return items

    group: GroupCommit[str, str] = GroupCommit(store)
    callers = Callers(group)
    callers.start("first")
    assert entered.acquire(timeout=30)
    for name in ("bad", "beside-it"):
        callers.start(name)
    _gather(group, 2)
    gate.release()
    assert entered.acquire(timeout=30)
    for name in ("later-1", "later-2"):
        callers.start(name)
    _gather(group, 2)
    gate.release()
    gate.release()
    got = callers.join()
    failed = {name for name, result in got.items() if isinstance(result, ValueError)}
    assert failed == {"bad", "beside-it"}
    assert got.keys() - failed == {"first", "later-1", "later-2"}


def _all_at_once(caller: Callable[[int], None]) -> None:
    """Sixteen of them, by their numbers, until all have ended."""
    threads = [threading.Thread(target=caller, args=[me], daemon=True) for me in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive(), "a caller is left waiting"


@pytest.mark.parametrize("seed", range(3))
def test_under_stress_with_random_failures_every_caller_gets_its_true_result(seed):
    dice, stored = random.Random(seed), []

    def store(items: Sequence[int]) -> list[int]:
        if dice.random() < 0.3:
            raise OSError("at random")
        stored.extend(items)
        return [-item for item in items]

    group: GroupCommit[int, int] = GroupCommit(store)
    acknowledged: list[int] = []

    def caller(me: int) -> None:
        for number in range(100):
            items = [me * 1000 + number * 2, me * 1000 + number * 2 + 1]
            try:
                results = group.commit(items)
            except OSError:
                continue
            assert list(results) == [-item for item in items]
            acknowledged.extend(items)

    _all_at_once(caller)
    assert sorted(acknowledged) == sorted(stored)
    assert acknowledged


def test_at_the_99th_percentile_a_caller_waits_for_two_commits_at_most():
    begun: list[list[int]] = []

    def store(items: Sequence[int]) -> Sequence[int]:
        begun.append(list(items))
        time.sleep(0.002)
        return items

    group: GroupCommit[int, int] = GroupCommit(store)
    arrived: dict[int, int] = {}  # item → commits begun by then, of which one may be under way

    def caller(me: int) -> None:
        for item in range(me * 100, me * 100 + 100):
            arrived[item] = len(begun)
            group.commit([item])

    _all_at_once(caller)
    own = {item: number for number, items in enumerate(begun) for item in items}
    further = sorted(own[item] - arrived[item] for item in arrived)  # between those two
    assert len(further) == 1600
    assert further[len(further) * 99 // 100] == 0
