"""The queue behind a URL: `sqlite:///relative.db` or `sqlite:////absolute.db`."""

from __future__ import annotations

from pathlib import Path

from gateway.queues import Condition, DeadLetters, Inbox, Lease, Outbox, Status
from gateway.queues.sqlite import SqliteInbox, SqliteOutbox
from gateway.queues.sqlite_dead import SqliteDeadLetters, status
from gateway.queues.sqlite_file import ForwarderLock, read_condition
from gateway.queues.sqlite_recovery import problems
from gateway.settings import Settings


def open_inbox(settings: Settings) -> Inbox:
    """The web end of the queue. Nothing is opened before it is used."""
    return SqliteInbox(
        sqlite_path(settings.queue),
        max_bytes=settings.queue_max_bytes,
        min_free_bytes=settings.min_free_bytes,
        dedupe_seconds=settings.dedupe_seconds,
    )


def open_outbox(settings: Settings) -> tuple[Lease, Outbox]:
    """The forwarder end of the queue, to be used once its lease is acquired."""
    path = sqlite_path(settings.queue)
    return ForwarderLock(path), SqliteOutbox(path, dedupe_seconds=settings.dedupe_seconds)


def open_dead_letters(settings: Settings) -> DeadLetters:
    """What could not be delivered."""
    return SqliteDeadLetters(sqlite_path(settings.queue))


def queue_status(settings: Settings) -> Status:
    """What waits."""
    return status(sqlite_path(settings.queue))


def queue_problems(settings: Settings) -> list[str]:
    """What is wrong with the queue's storage."""
    return problems(sqlite_path(settings.queue))


def delivery_condition(settings: Settings) -> Condition | None:
    """What the forwarder said last of how it is going; None where it never did."""
    return read_condition(sqlite_path(settings.queue))


def sqlite_path(url: str) -> Path:
    """`sqlite:///relative.db` or `sqlite:////absolute.db` → its path."""
    return Path(url.removeprefix("sqlite:///")).absolute()
