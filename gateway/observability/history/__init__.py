"""The trail: what became of each event lately, for the inspector and `trace`.

A SQLite file beside the queue, which web workers and forwarder write and `reader` reads. It is no
part of the promise: it keeps an hour or some megabytes, is written in batches off everybody's way,
and what can't be written is counted and lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from gateway.observability.history.steps import Row
from gateway.settings import Settings


class EventHistory:
    """Remembers nothing: where nobody may look."""

    def note(self, make: Callable[..., Iterable[Row]], *arguments: object) -> None:
        """Remember what `make(*arguments)` will say, in a moment. Raises nothing, never waits."""


def open_history(settings: Settings, path: Path) -> EventHistory:
    """The trail, which is written where somebody may look at it."""
    if settings.admin_token is None:
        return EventHistory()
    from gateway.observability.history.writer import HistoryWriter
    from gateway.observability.redaction import Redactor

    return HistoryWriter(path, Redactor(settings.redact), settings.min_free_bytes)
