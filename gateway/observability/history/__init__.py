"""The event history: what became of each event lately, for the inspector and `trace`.

A SQLite file beside the queue. Web workers and forwarder write it, `reader` reads it. It is no
part of the promise: it keeps an hour or some megabytes, is written in batches by a thread of its
own, and what can't be written is counted and lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from gateway.observability.history.steps import Row
from gateway.settings import Settings


class EventHistory:
    """A history that keeps nothing, for when nobody may look at it."""

    def record(self, make: Callable[..., Iterable[Row]], *arguments: object) -> None:
        """Write the rows that `make(*arguments)` returns, later. Never raises, never waits."""


def open_history(settings: Settings, path: Path) -> EventHistory:
    """Return the history; without an admin token nobody may look at it, so it keeps nothing."""
    if settings.admin_token is None:
        return EventHistory()
    from gateway.observability.history.writer import HistoryWriter
    from gateway.observability.redaction import Redactor

    return HistoryWriter(path, Redactor(settings.redact), settings.min_free_bytes)
