"""The queue behind a URL: `sqlite:///relative.db`, `sqlite:////absolute.db`, or SQS's.

What SQS needs is imported for SQS alone: with SQLite nothing here knows boto3.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from gateway.queues import DeadLetters, ForwarderStatus, Inbox, Lease, Outbox, Record, Status
from gateway.queues.group_commit import unheard
from gateway.queues.sqlite.database import Database
from gateway.queues.sqlite.dead_letters import SqliteDeadLetters, find, forget, status
from gateway.queues.sqlite.errors import unavailable
from gateway.queues.sqlite.inbox import SqliteInbox
from gateway.queues.sqlite.locks import ForwarderLock, read_status
from gateway.queues.sqlite.outbox import SqliteOutbox
from gateway.queues.sqlite.recovery import problems
from gateway.settings import Settings


def open_inbox(settings: Settings, committed: Callable[[int, float], None] = unheard) -> Inbox:
    """The web end of the queue. Nothing is opened before it is used.

    `committed(items, seconds)` hears of each group commit.
    """
    if settings.on_sqs:
        from gateway.queues.sqs.client import Queue
        from gateway.queues.sqs.inbox import SqsInbox

        return SqsInbox(Queue(settings.queue), committed=committed)
    return SqliteInbox(
        sqlite_path(settings.queue),
        max_bytes=settings.queue_max_bytes,
        min_free_bytes=settings.min_free_bytes,
        dedupe_seconds=settings.dedupe_seconds,
        committed=committed,
    )


def open_outbox(settings: Settings, *, once: bool = False) -> tuple[Lease, Outbox]:
    """The forwarder end of the queue, to be used once its lease is acquired.

    `once`: a `take` that has nothing means that there is nothing.
    """
    if settings.on_sqs:
        from gateway.queues.sqs.client import Queue
        from gateway.queues.sqs.lease import SqsLease
        from gateway.queues.sqs.outbox import SqsOutbox
        from gateway.queues.sqs.receiver import Receiver

        main = Queue(settings.queue)
        receiver = Receiver(main, settings.dead_letter_queue)
        outbox = SqsOutbox(main, receiver, max_age=settings.max_age)
        if not once:
            receiver.start(outbox.has_room, outbox.is_idle)
        return SqsLease(), outbox
    path = sqlite_path(settings.queue)
    return ForwarderLock(path), SqliteOutbox(path, dedupe_seconds=settings.dedupe_seconds)


def open_dead_letters(settings: Settings) -> DeadLetters:
    """What could not be delivered."""
    if settings.on_sqs:
        from gateway.queues.sqs import admin
        from gateway.queues.sqs.client import Queue
        from gateway.queues.sqs.dead_letters import SqsDeadLetters

        url = admin.dead_letter_url(settings.queue, settings.dead_letter_queue)
        return SqsDeadLetters(Queue(settings.queue), Queue(url))
    return SqliteDeadLetters(sqlite_path(settings.queue))


def find_queued(settings: Settings, event_id: str) -> list[tuple[Record, int]] | None:
    """Records that wait, and the calls each was in; None where a queue can't be searched."""
    return None if settings.on_sqs else find(sqlite_path(settings.queue), event_id)


def forget_user(settings: Settings, site: str, user_id: str) -> tuple[int | None, int]:
    """Remove a user's events from queue and dead letters; how many. None: it can't be searched."""
    if not settings.on_sqs:
        return forget(sqlite_path(settings.queue), site, user_id)
    letters, count = open_dead_letters(settings), 0
    for letter in letters.list():
        if (letter.record.site, letter.record.user_id) == (site, user_id):
            letters.purge([letter])
            count += 1
    return None, count


def queue_status(settings: Settings) -> Status:
    """What waits."""
    if settings.on_sqs:
        from gateway.queues.sqs import admin

        return admin.status(settings.queue, settings.dead_letter_queue)
    return status(sqlite_path(settings.queue))


def queue_bytes(settings: Settings) -> int | None:
    """What the queue takes of the disk; None where that is none of ours."""
    return None if settings.on_sqs else Database(sqlite_path(settings.queue), "FULL").bytes_used()


def is_begun(settings: Settings) -> bool:
    """Whether there is a queue yet, as far as that is ours to begin."""
    return settings.on_sqs or Database(sqlite_path(settings.queue), "FULL").exists()


def require_storage(settings: Settings) -> None:
    """Raise QueueError where an event could not be stored now.

    A queue that is not begun stays so: its place is tried with one that is removed again.
    """
    if is_begun(settings):
        open_inbox(settings).check()
        return
    path = sqlite_path(settings.queue)
    folder = next(one for one in path.parents if one.exists())
    try:
        with TemporaryDirectory(dir=folder, prefix=f"{path.name}-check-") as place:
            open_inbox(replace(settings, queue=f"sqlite:///{place}/{path.name}")).check()
    except OSError as error:
        raise unavailable(error) from error


def queue_problems(settings: Settings) -> list[str]:
    """What is wrong with the queue's storage, or with SQS as far as it can be asked."""
    if settings.on_sqs:
        from gateway.queues.sqs import admin

        return admin.problems(settings.queue, settings.dead_letter_queue)
    return problems(sqlite_path(settings.queue), thorough=True)


def create_queue(settings: Settings) -> list[str]:
    """Make what has to be made beforehand; what there is now. Raises QueueError."""
    if settings.on_sqs:
        from gateway.queues.sqs import admin

        return admin.create(settings.queue, settings.dead_letter_queue)
    return []


def forwarder_status(settings: Settings) -> ForwarderStatus | None:
    """What the forwarder said last of how it is going; None where it never did."""
    if settings.on_sqs:  # each of its forwarders says it itself: see `forward --metrics-port`
        return ForwarderStatus(time.time(), 0, {})
    return read_status(sqlite_path(settings.queue))


def sqlite_path(url: str) -> Path:
    """`sqlite:///relative.db` or `sqlite:////absolute.db` → its path."""
    # Links followed, as SQLite does: its log, and so what we keep, is beside the file itself.
    return Path(os.path.realpath(url.removeprefix("sqlite:///")))
