"""The queue behind a URL: `sqlite:///relative.db` or `sqlite:////absolute.db`."""

from __future__ import annotations

from pathlib import Path

from gateway.queues import Inbox, Lease, Outbox
from gateway.queues.sqlite import SqliteInbox, SqliteOutbox
from gateway.queues.sqlite_file import ForwarderLock


def open_inbox(url: str, max_bytes: int, min_free_bytes: int) -> Inbox:
    """The web end of the queue at a URL. Nothing is opened before it is used."""
    return SqliteInbox(sqlite_path(url), max_bytes, min_free_bytes)


def open_outbox(url: str) -> tuple[Lease, Outbox]:
    """The forwarder end of the queue at a URL, to be used once its lease is acquired."""
    path = sqlite_path(url)
    return ForwarderLock(path), SqliteOutbox(path)


def sqlite_path(url: str) -> Path:
    """`sqlite:///relative.db` or `sqlite:////absolute.db` → its path."""
    return Path(url.removeprefix("sqlite:///")).absolute()
