"""A queue in this process's memory: for tests, and the shortest example of a backend.

It keeps nothing when the process ends, so GATEWAY_QUEUE does not accept `memory:`.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from gateway.queues import (
    Capabilities,
    DeadLetter,
    Delivery,
    ForwarderStatus,
    QueueError,
    Record,
    Rejection,
    Release,
    Status,
    UserForgotten,
)
from gateway.queues.group_commit import unheard
from gateway.queues.session_scheduler import SessionScheduler
from gateway.reasons import Reason
from gateway.settings import Settings

# `list` is a method of MemoryQueue.
Batches = list[list[Delivery]]


class MemoryQueue:
    """All parts of the queue over two dicts: waiting records and dead letters, by number."""

    capabilities = Capabilities(local=True, searchable=True, verifiable=False)
    history_path = Path("data/trail.db")
    unknown_messages = 0

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._numbers = itertools.count(1)
        self._waiting: dict[int, tuple[Record, int]] = {}  # with its attempts
        self._dead: dict[int, DeadLetter] = {}
        self._held: dict[tuple[str, str | None], float] = {}  # users, and until when
        self._status: ForwarderStatus | None = None
        self._scheduler = SessionScheduler(clock)

    def open_inbox(self, committed: Callable[[int, float], None] = unheard) -> MemoryQueue:
        return self

    def open_outbox(self, *, once: bool = False) -> tuple[MemoryQueue, MemoryQueue]:
        """Return a new forwarder end: what the one before it had in flight waits again."""
        self._scheduler = SessionScheduler(self._clock)
        return self, self

    def open_dead_letters(self) -> MemoryQueue:
        return self

    # The inbox.

    def put(self, records: Sequence[Record]) -> Sequence[bool]:
        "".join(record.event for record in records)  # all or none: a text that is none raises
        free = [record for record in records if not self._is_held(record)]
        self._waiting.update((next(self._numbers), (record, 0)) for record in free)
        if len(free) < len(records):
            raise UserForgotten
        return [True] * len(records)

    def check(self) -> None:
        """Raise nothing: memory can always store."""

    # The outbox.

    def sites(self) -> Sequence[str]:
        self._scheduler.wake()
        return list({record.site: None for record, _ in self._waiting.values()})

    def receive(self, site: str, capacity: int, *, newest: bool = False) -> Batches:
        known, _ = self._scheduler.known(site)
        self._scheduler.add(site, self._after(site, known))
        batches: Batches = []
        while len(batches) < capacity and (ready := self._scheduler.next(site, newest=newest)):
            session_id, known_handles = ready
            handles = [handle for handle in known_handles if handle in self._waiting]
            self._scheduler.hand_out(site, session_id, len(handles))
            if handles:
                batches.append([Delivery(handle, *self._waiting[handle]) for handle in handles])
        return batches

    def settle(
        self, acked: Sequence[Delivery], rejected: Sequence[Rejection], released: Sequence[Release]
    ) -> None:
        for delivery, reason, message, attempts in rejected:
            self._add_dead_letter(delivery.record, reason, message, attempts)
        for delivery in [*acked, *(rejection.delivery for rejection in rejected)]:
            del self._waiting[delivery.handle]
            self._scheduler.settle(delivery)
        for delivery, attempts, delay in released:
            self._waiting[delivery.handle] = delivery.record, delivery.attempts + attempts
            self._scheduler.release(delivery, delay)

    def tidy(self) -> None:
        """Do nothing: there is no space to give back."""

    def oldest_at(self) -> float | None:
        return min((record.received_at for record, _ in self._waiting.values()), default=None)

    def repair(self, *, thorough: bool = False) -> None:
        """Return None: memory is not damaged."""

    def close(self) -> None:
        """Do nothing: there is nothing to close."""

    # The lease.

    def acquire(self) -> bool:
        return True

    def report(self, status: ForwarderStatus) -> None:
        self._status = status

    # The dead letters.

    def list(self) -> Iterator[DeadLetter]:
        return iter([*self._dead.values()])

    def replay(self, letters: Sequence[tuple[DeadLetter, Record]]) -> int:
        self.put([record for letter, record in letters if int(letter.id) in self._dead])
        return self.purge([letter for letter, _ in letters])

    def purge(self, letters: Sequence[DeadLetter]) -> int:
        return sum(self._dead.pop(int(letter.id), None) is not None for letter in letters)

    # What operators ask.

    def status(self) -> Status:
        oldest = self.oldest_at()
        age = None if oldest is None else self._clock() - oldest
        in_flight = self._status.in_flight if self._status else 0
        return Status(len(self._waiting), in_flight, len(self._dead), age)

    def count_unsettled(self) -> int:
        return len(self._waiting)

    def forwarder_status(self) -> ForwarderStatus | None:
        return self._status

    def bytes_used(self) -> None:
        """Return None: no disk is used."""

    def find(self, event_id: str) -> Sequence[tuple[Record, int]]:
        return [waiting for waiting in self._waiting.values() if waiting[0].event_id == event_id]

    def forget(
        self, site: str, user_ids: Collection[str], hold_until: float | None = None
    ) -> tuple[int, int]:
        users = {(site, user_id) for user_id in user_ids}
        if hold_until is not None:
            self._held.update(dict.fromkeys(users, hold_until))
        queued = [n for n, (record, _) in self._waiting.items() if record[:3:2] in users]
        dead = [n for n, letter in self._dead.items() if letter.record[:3:2] in users]
        for number in queued:
            del self._waiting[number]
        for number in dead:
            del self._dead[number]
        return len(queued), len(dead)

    def deliveries(self) -> None:
        """Return None: nothing is counted."""

    def exists(self) -> bool:
        return True

    def create(self) -> Sequence[str]:
        return []

    def find_problems(self) -> Sequence[str]:
        return []

    def require_storage(self) -> None:
        """Raise nothing: memory can always store."""

    def backup(self, target: Path) -> None:
        raise QueueError(Reason.CANNOT_OPEN, "this queue is in memory: there is no file to back up")

    def __str__(self) -> str:
        return "memory"

    def _is_held(self, record: Record) -> bool:
        return self._clock() < self._held.get((record.site, record.user_id), 0.0)

    def _after(self, site: str, handle: int) -> Iterator[tuple[int, str]]:
        return (
            (number, record.session_id)
            for number, (record, _) in self._waiting.items()
            if record.site == site and number > handle
        )

    def _add_dead_letter(self, record: Record, reason: str, message: str, attempts: int) -> None:
        number = next(self._numbers)
        letter = DeadLetter(str(number), reason, message, attempts, self._clock(), record)
        self._dead[number] = letter


def create_backend(_settings: Settings) -> MemoryQueue:
    """Return a new queue; two of them share nothing."""
    return MemoryQueue()
