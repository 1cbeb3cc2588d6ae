"""Where an event is, as far as queue, dead letters and trail know."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from gateway.observability.history import history_path
from gateway.observability.history.reader import HistoryReader, Life
from gateway.observability.redaction import Redactor
from gateway.queues import DeadLetter
from gateway.queues.urls import find_queued, open_dead_letters
from gateway.settings import Settings

Found = dict[str, Any]


def find(settings: Settings, event_id: str, *, ask_sqs: bool = True) -> Found:
    """All that is known, as JSON; null: nobody can say. Raises QueueError.

    The web end has no right to ask SQS.
    """
    queued = find_queued(settings, event_id)
    dead = None
    if ask_sqs or not settings.on_sqs:
        letters = open_dead_letters(settings).list()
        mask = Redactor(settings.redact)
        dead = [_dead(one, mask) for one in letters if one.record.event_id == event_id]
    return {
        "eventId": event_id,
        "queued": queued
        and [
            {"site": record.site, "receivedAt": record.received_at, "attempts": attempts}
            for record, attempts in queued
        ],
        "deadLetters": dead,
        "lives": _lives(settings, event_id),
    }


def _lives(settings: Settings, event_id: str) -> list[Life] | None:
    """What the trail remembers; None where there is none."""
    path = history_path(settings)
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
