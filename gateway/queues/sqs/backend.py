"""The queue on Amazon SQS, shared by any number of machines.

What needs boto3 is imported in the methods: gunicorn's master asks for the capabilities, and boto3
must not be loaded before gevent has patched `ssl` in a worker.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.queues import Capabilities, ForwarderStatus, Lease, Outbox, QueueError, Record, Status
from gateway.queues.group_commit import unheard
from gateway.reasons import Reason
from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.queues.sqs.dead_letters import SqsDeadLetters
    from gateway.queues.sqs.inbox import SqsInbox

NO_HOLD = "--hold needs a queue on SQLite: web nodes that share an SQS queue share no list of users"


class SqsQueue:
    """One SQS queue and its dead-letter queue."""

    capabilities = Capabilities(local=False, searchable=False, verifiable=False)

    def __init__(self, url: str, dead_letter_queue: str | None, max_age: float) -> None:
        """Connect to nothing yet; `dead_letter_queue` None means the queue's redrive target."""
        self.history_path = Path("data/trail.db").absolute()  # this machine's own
        self._url = url
        self._dead_letter_queue = dead_letter_queue
        self._max_age = max_age

    def open_inbox(self, committed: Callable[[int, float], None] = unheard) -> SqsInbox:
        from gateway.queues.sqs.client import Queue
        from gateway.queues.sqs.inbox import SqsInbox

        return SqsInbox(Queue(self._url), committed=committed)

    def open_outbox(self, *, once: bool = False) -> tuple[Lease, Outbox]:
        from gateway.queues.sqs.client import Queue
        from gateway.queues.sqs.lease import SqsLease
        from gateway.queues.sqs.outbox import SqsOutbox
        from gateway.queues.sqs.receiver import Receiver

        main = Queue(self._url)
        receiver = Receiver(main, self._dead_letter_queue)
        outbox = SqsOutbox(main, receiver, max_age=self._max_age)
        if not once:
            receiver.start(outbox.has_capacity, outbox.is_idle)
        return SqsLease(), outbox

    def open_dead_letters(self) -> SqsDeadLetters:
        from gateway.queues.sqs import admin
        from gateway.queues.sqs.client import Queue
        from gateway.queues.sqs.dead_letters import SqsDeadLetters

        url = admin.dead_letter_url(self._url, self._dead_letter_queue)
        return SqsDeadLetters(Queue(self._url), Queue(url))

    def status(self) -> Status:
        from gateway.queues.sqs import admin

        return admin.status(self._url, self._dead_letter_queue)

    def count_unsettled(self) -> int:
        status = self.status()
        return status.queued + status.in_flight  # where SQS counts what was put back with a delay

    def forwarder_status(self) -> ForwarderStatus:
        """Return one that is always well: each forwarder reports on its own metrics port."""
        return ForwarderStatus(time.time(), 0, {})

    def bytes_used(self) -> None:
        """Return None: the storage is AWS's."""

    def find(self, event_id: str) -> list[tuple[Record, int]] | None:
        return None

    def forget(
        self, site: str, user_ids: Collection[str], hold_until: float | None = None
    ) -> tuple[None, int]:
        if hold_until is not None:
            raise QueueError(Reason.SQS_FAILED, NO_HOLD)
        users = {(site, user_id) for user_id in user_ids}
        with closing(self.open_dead_letters()) as letters:
            found = (
                letter
                for letter in letters.list()
                if (letter.record.site, letter.record.user_id) in users
            )
            return None, sum(letters.purge([letter]) for letter in found)

    def deliveries(self) -> None:
        """Return None: each forwarder counts what it delivers in its metrics."""

    def exists(self) -> bool:
        return True

    def create(self) -> list[str]:
        from gateway.queues.sqs import admin

        return admin.create(self._url, self._dead_letter_queue)

    def find_problems(self) -> list[str]:
        from gateway.queues.sqs import admin

        return admin.problems(self._url, self._dead_letter_queue)

    def require_storage(self) -> None:
        self.open_inbox().check()

    def backup(self, target: Path) -> None:
        raise QueueError(
            Reason.CANNOT_OPEN, "Amazon SQS keeps the queue: there is no file to back up"
        )

    def __str__(self) -> str:
        return self._url


def create_backend(settings: Settings) -> SqsQueue:
    """Return the queue at the URL."""
    return SqsQueue(settings.queue, settings.dead_letter_queue, settings.max_age)
