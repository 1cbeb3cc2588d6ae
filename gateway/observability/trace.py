"""Find an event in the queue, the dead letters and the event history."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from gateway.observability.history.reader import HistoryReader, Life
from gateway.observability.redaction import Redactor
from gateway.queues import DeadLetter, QueueBackend

Found = dict[str, Any]


def find(
    queue: QueueBackend, redactor: Redactor, event_id: str, *, with_dead_letters: bool = True
) -> Found:
    """Return all that is known of an event, as JSON; null if it is not known. Raises QueueError."""
    queued = queue.find(event_id)
    dead = None
    if with_dead_letters:
        with closing(queue.open_dead_letters()) as letters:
            found = [letter for letter in letters.list() if letter.record.event_id == event_id]
        dead = [_dead(letter, redactor) for letter in found]
    return {
        "eventId": event_id,
        "queued": queued
        and [
            {"site": record.site, "receivedAt": record.received_at, "attempts": attempts}
            for record, attempts in queued
        ],
        "deadLetters": dead,
        "lives": _lives(queue.history_path, event_id),
    }


def _lives(path: Path, event_id: str) -> list[Life] | None:
    """Return the event's history; None if no history is kept or it can't be read."""
    if not path.exists():
        return None
    try:
        return HistoryReader(path).find(event_id)
    except (sqlite3.Error, OSError):
        return None


def _dead(letter: DeadLetter, mask: Redactor) -> dict[str, Any]:
    return {
        "id": letter.id,
        "site": letter.record.site,
        "reason": letter.reason,
        "message": letter.message,
        "attempts": letter.attempts,
        "diedAt": letter.died_at,
        "event": json.loads(mask.event(letter.record.event)),
    }
