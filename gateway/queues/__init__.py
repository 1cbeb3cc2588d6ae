"""The queue between web end and forwarder: the types and promises that every backend shares.

The web end puts records; once `put` returns they are durable. The forwarder end receives them,
sends them and settles each: acked (delivered), released (to be received again later) or rejected (a
dead letter). Records that were not settled when a process dies are received again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from gateway.queues.queue_errors import QueueError as QueueError
from gateway.queues.queue_errors import QueueFull as QueueFull
from gateway.queues.queue_errors import QueueUnavailable as QueueUnavailable
from gateway.queues.queue_errors import UserForgotten as UserForgotten

if TYPE_CHECKING:
    from gateway.queues.deliveries import SiteDeliveries

BATCH_RECORDS = 10  # of a session in one batch, which is what fits into one PutEvents call
SILENT_SECONDS = 10.0  # after which a forwarder counts as dead


class Record(NamedTuple):
    """A queued event. Its site's tracking ID, region and role are looked up when it is sent."""

    site: str
    session_id: str
    user_id: str | None
    event_id: str
    event: str  # JSON text of PutEvents' Event
    received: str | None  # JSON text of the event as received, if that differs
    received_at: float  # epoch seconds


class Delivery(NamedTuple):
    """A received record. A damaged one differs from what was stored, and is never sent."""

    handle: int  # identifies it when it is settled
    record: Record
    attempts: int  # calls that it has been in
    is_damaged: bool = False


class Release(NamedTuple):
    """A record to be received again after `delay` seconds; `attempts` are added to its own."""

    delivery: Delivery
    attempts: int
    delay: float


class Rejection(NamedTuple):
    """A record that can't be delivered, with the reason code and AWS's message."""

    delivery: Delivery
    reason: str
    message: str
    attempts: int


class DeadLetter(NamedTuple):
    """An event that could not be delivered, complete, and why; `died_at` in epoch seconds."""

    id: str
    reason: str
    message: str
    attempts: int
    died_at: float
    record: Record


class Status(NamedTuple):
    """Counts of events, and the oldest's age in seconds; None is unknown. SQS's are approximate."""

    queued: int
    in_flight: int
    dead: int | None
    oldest_seconds: float | None


class Inbox(Protocol):
    """The web end."""

    def put(self, records: Sequence[Record]) -> Sequence[bool]:
        """Store all records durably, or none; return for each whether it was new.

        A duplicate of a stored event is not stored again. Raises QueueError, and UserForgotten
        after storing the records of other users.
        """

    def check(self) -> None:
        """Raise QueueError if `put` could not store an event now."""


class Outbox(Protocol):
    """The forwarder end, for use by one thread."""

    unknown_messages: int  # received so far that are not a gateway's; 0 if that can't be

    def sites(self) -> Sequence[str]:
        """Return the sites whose records wait; called before `receive`, in each round."""

    def receive(self, site: str, capacity: int, *, newest: bool = False) -> list[list[Delivery]]:
        """Return up to `capacity` batches, each of another session and in order.

        The sessions that wait longest come first, or with `newest` those with the latest records. A
        session is received again only when all that was received of it is settled.
        """

    def settle(
        self, acked: Sequence[Delivery], rejected: Sequence[Rejection], released: Sequence[Release]
    ) -> None:
        """Delete the acked, make dead letters of the rejected, release the rest: atomically."""

    def tidy(self) -> None:
        """Free space that is no longer needed; called about once a second."""

    def oldest_at(self) -> float | None:
        """Return when the oldest queued event was received; None if there is none, or unknown."""

    def repair(self, *, thorough: bool = False) -> str | None:
        """Repair damaged storage, keeping what is readable; return what was done, None if nothing.

        `thorough` runs the longer check, for storage that was found damaged in use.
        """

    def close(self) -> None:
        """Release everything that is not settled. Raises nothing."""


class DeadLetters(Protocol):
    """What operators can do with dead letters; to be closed after use."""

    def list(self) -> Iterator[DeadLetter]:
        """Yield all of them, oldest first."""

    def replay(self, letters: Sequence[tuple[DeadLetter, Record]]) -> int:
        """Put each letter's record into the queue again and delete the letter: all or none.

        Return how many there were: some may have been replayed or deleted since they were listed.
        """

    def purge(self, letters: Sequence[DeadLetter]) -> int:
        """Delete these permanently; return how many there were."""

    def close(self) -> None:
        """Give back what was listed and is left, if nobody else can list it meanwhile."""


@dataclass(frozen=True, slots=True)
class ForwarderStatus:
    """How delivery is going, as the forwarder reports about every second."""

    at: float  # epoch seconds
    in_flight: int
    troubles: Mapping[str, str]  # site → why none of its events are delivered
    oldest_at: float | None = None  # when the oldest queued event was received, if known
    sites_file: str | None = None  # why the forwarder keeps an older sites file, if it does

    def is_stale(self, now: float) -> bool:
        """Return whether the last report is so old that the forwarder counts as dead."""
        return abs(now - self.at) > SILENT_SECONDS  # the time of day may have been set back


class Lease(Protocol):
    """The right to be the queue's forwarder, if there may be only one."""

    def acquire(self) -> bool:
        """Return whether we hold it now; call this before each use, since it may be lost."""

    def report(self, status: ForwarderStatus) -> None:
        """Publish how delivery is going."""


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

        With `once`, no sites to receive from means that nothing is left.
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

    def forget(
        self, site: str, user_ids: Collection[str], hold_until: float | None = None
    ) -> tuple[int | None, int]:
        """Remove users' events: how many queued (None if not searchable) and dead ones.

        From then on their events are refused until `hold_until`, if that is not None.
        """

    def deliveries(self) -> Sequence[SiteDeliveries] | None:
        """Return what was delivered of each site; None if that is not known in one place."""

    def exists(self) -> bool:
        """Return whether there is a queue yet, if it is ours to create."""

    def create(self) -> list[str]:
        """Create what must exist beforehand; return the names of what exists now."""

    def find_problems(self) -> list[str]:
        """Return what is wrong with the storage, a sentence each."""

    def require_storage(self) -> None:
        """Raise QueueError if an event could not be stored now. Creates nothing."""

    def backup(self, target: Path) -> None:
        """Copy the queue to a new file, durably, while it is in use."""
