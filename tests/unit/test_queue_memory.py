"""The in-memory backend keeps the promises of every queue."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.queues import DeadLetter
from gateway.queues.memory import MemoryQueue
from gateway.queues.registry import find_queue
from gateway.settings import Settings
from tests.helpers import queue_contract as contract
from tests.helpers.queue_contract import Clock, drain, ids, record


class MemoryBackend:
    """A MemoryQueue, as the contract's tests use a queue."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.queue = MemoryQueue(self.clock)

    def inbox(self) -> MemoryQueue:
        return self.queue.open_inbox()

    def outbox(self) -> MemoryQueue:
        return self.queue.open_outbox()[1]

    def dead(self) -> list[DeadLetter]:
        return list(self.queue.open_dead_letters().list())

    def forget(self, *users: Any) -> tuple[int, int]:
        return self.queue.forget(*users)

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds


@pytest.fixture
def backend() -> MemoryBackend:
    return MemoryBackend()


class TestMemory(
    contract.QueueContract,
    contract.SettlesForGood,
    contract.OrderInSessions,
    contract.OneBatchOfASession,
    contract.SitesApart,
    contract.HoldsUsers,
):
    pass


def test_the_registry_finds_it_by_its_scheme(settings: Settings) -> None:
    queue = find_queue(replace(settings, queue="memory:"))
    records = [record(), record(user_id="u-1")]
    queue.open_inbox().put(records)
    assert queue.find(records[0].event_id) == [(records[0], 0)]
    assert queue.forget("shop", ["u-1"]) == (1, 0)
    assert queue.status().queued == queue.count_unsettled() == 1
    assert ids(drain(queue.open_outbox()[1])) == [records[0].event_id]
