"""The trail: what became of each event lately, for the inspector and `trace`.

A SQLite file beside the queue, which web workers and forwarder write and `reader` reads. It is no
part of the promise: it keeps an hour or some megabytes, is written in batches off everybody's way,
and what can't be written is counted and lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from gateway.observability.history.steps import Row
from gateway.queues.urls import sqlite_path
from gateway.settings import Settings


class EventHistory:
    """Remembers nothing: where nobody may look."""

    def note(self, make: Callable[..., Iterable[Row]], *arguments: object) -> None:
        """Remember what `make(*arguments)` will say, in a moment. Raises nothing, never waits."""


def open_history(settings: Settings) -> EventHistory:
    """The trail, which is written where somebody may look at it."""
    if settings.admin_token is None:
        return EventHistory()
    from gateway.observability.history.writer import HistoryWriter
    from gateway.observability.redaction import Redactor

    return HistoryWriter(history_path(settings), Redactor(settings.redact), settings.min_free_bytes)


def history_path(settings: Settings) -> Path:
    """Beside the queue's file. With SQS each machine has one of its own."""
    if settings.on_sqs:
        return Path("data/trail.db").absolute()
    return Path(f"{sqlite_path(settings.queue)}-trail")
