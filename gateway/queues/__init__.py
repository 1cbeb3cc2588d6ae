"""The queue between the two ends: what both may rely on, whatever it is built on.

The web end puts records and knows, once `put` returns, that they are durable. The forwarder end
takes them, sends them, and settles each: acked (delivered), released (later again) or buried (a
dead letter). What was taken and not settled when a process dies is taken again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

BATCH_RECORDS = (
    10  # records that `take` gives of a session at once: what fits into one PutEvents call
)
SILENCE = 10.0  # seconds


class Record(NamedTuple):
    """An event as it waits. What is sent for its site's key is looked up when sending."""

    site: str
    session_id: str
    user_id: str | None
    event_id: str
    event: str  # JSON text of PutEvents' Event
    received: str | None  # JSON text of the event as it came, where it differs
    received_at: float  # epoch seconds


class Delivery(NamedTuple):
    """A record in the forwarder's hands, the handle to settle it by, and the calls it was in."""

    handle: int
    record: Record
    attempts: int


class Release(NamedTuple):
    """A record to be taken again, in `delay` seconds at the earliest; `attempts` are added."""

    taken: Delivery
    attempts: int
    delay: float


class Rejection(NamedTuple):
    """Why a record can't be delivered: a reason code, and the message that came with it."""

    taken: Delivery
    reason: str
    message: str
    attempts: int


class DeadLetter(NamedTuple):
    """An event that could not be delivered, whole, and why; `died_at` in epoch seconds."""

    id: str
    reason: str
    message: str
    attempts: int
    died_at: float
    record: Record


class Status(NamedTuple):
    """What waits: counts of events, and the age of the oldest in seconds. None: not known.

    On SQS the counts are of messages, and about.
    """

    queued: int
    in_flight: int
    dead: int | None
    oldest_seconds: float | None


class QueueError(Exception):
    """The queue can't do it now; `reason` is a short code, the message says more."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class QueueFull(QueueError):
    """Storing more would pass the queue's size limit or eat into the disk's reserve."""


class QueueUnavailable(QueueError):
    """The storage fails: its message names the fault."""


class Inbox(Protocol):
    """The web end."""

    def put(self, records: Sequence[Record]) -> Sequence[bool]:
        """Store all or none; on return they are durable. Raises QueueError.

        Whether each of them was new: duplicates of stored events are not stored again.
        """

    def check(self) -> None:
        """Raise QueueError where `put` could not store an event now."""


class Outbox(Protocol):
    """The forwarder end. Used by one thread."""

    def take(self, room: Callable[[str], int]) -> list[Delivery]:
        """Records of up to `room(site)` sessions of each site, the oldest first."""

    def settle(
        self, acked: Sequence[Delivery], buried: Sequence[Rejection], released: Sequence[Release]
    ) -> None:
        """Forget what is delivered, make dead letters, give back the rest: all or nothing."""

    def tidy(self) -> None:
        """Give back space; called now and then."""

    def oldest_at(self) -> float | None:
        """When what waits longest was received; None where nothing waits, or it is not known."""

    def repair(self, *, thorough: bool = False) -> str | None:
        """Mend a damaged store, saving what can be read; what was done, where there was need.

        `thorough`, where it was found damaged in use: so a check that takes longer is in place.
        """

    def close(self) -> None:
        """Give everything back that is not settled. Raises nothing."""


class DeadLetters(Protocol):
    """What operators do about dead letters."""

    def list(self) -> Iterator[DeadLetter]:
        """All of them, oldest first."""

    def replay(self, letters: Sequence[tuple[DeadLetter, Record]]) -> None:
        """Put each letter's record into the queue again, and forget the letter: all or none."""

    def purge(self, letters: Sequence[DeadLetter]) -> None:
        """Forget these for good."""


@dataclass(frozen=True, slots=True)
class ForwarderStatus:
    """How delivery is going, as the forwarder says every second or so."""

    at: float  # epoch seconds
    in_flight: int
    troubles: Mapping[str, str]  # site → why nothing of it is delivered
    oldest_at: float | None = None  # when what waits longest came, if known
    sites_file: str | None = None  # why the forwarder goes by an older sites file, if so

    def is_stale(self, now: float) -> bool:
        """Whether the forwarder has been silent for so long that it is taken for dead."""
        return abs(now - self.at) > SILENCE  # the time of day may have been set back


class Lease(Protocol):
    """The right to be a queue's forwarder, where only one may be."""

    def acquire(self) -> bool:
        """Whether it is ours now. To be asked before each use, as it may be lost."""

    def report(self, condition: ForwarderStatus) -> None:
        """Let others know how it is going."""


class Capabilities(NamedTuple):
    """What a backend can do beyond storing and delivering."""

    local: bool  # its storage is this machine's: the web end may read it and needs no AWS
    # credentials, and one forwarder runs beside gunicorn
    searchable: bool  # what waits can be found by eventId, and a user's events removed
    verifiable: bool  # its storage can be checked for damage


class QueueBackend(Protocol):
    """A queue as a whole: its two ends, and what operators ask of it.

    Every method but the `open_…` ones raises QueueError if the storage fails.
    """

    capabilities: Capabilities
    history_path: Path  # the event history's file on this machine

    def open_inbox(self, committed: Callable[[int, float], None] = ...) -> Inbox:
        """Return the web end; `committed(items, seconds)` hears of each group commit."""

    def open_outbox(self, *, once: bool = False) -> tuple[Lease, Outbox]:
        """Return the forwarder end, for use while its lease is held.

        With `once`, a `take` that returns nothing means that nothing is left.
        """

    def open_dead_letters(self) -> DeadLetters:
        """Return the dead letters."""

    def status(self) -> Status:
        """Count what waits."""

    def count_unsettled(self) -> int:
        """Count the events that are neither delivered nor dead."""

    def forwarder_status(self) -> ForwarderStatus | None:
        """Return what the forwarder reported last; None if it never did."""

    def bytes_used(self) -> int | None:
        """Return the bytes of this machine's disk in use; None if it uses none."""

    def find(self, event_id: str) -> list[tuple[Record, int]] | None:
        """Return queued records with this eventId and their attempts; None if not searchable."""

    def forget(self, site: str, user_id: str) -> tuple[int | None, int]:
        """Remove a user's events: how many queued (None if not searchable) and dead ones."""

    def exists(self) -> bool:
        """Return whether there is a queue yet, if it is ours to create."""

    def create(self) -> list[str]:
        """Create what must exist beforehand; return the names of what exists now."""

    def find_problems(self) -> list[str]:
        """Return what is wrong with the storage, a sentence each."""

    def require_storage(self) -> None:
        """Raise QueueError if an event could not be stored now. Creates nothing."""
