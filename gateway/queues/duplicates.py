"""Tell repeats of an event from distinct ones that their sender gave one eventId. Pure.

PutEvents uses only the first event of an eventId for training. So later distinct ones are sent
under an ID that follows from their content: a repeat has the same one.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any
from uuid import UUID, uuid5

import orjson

from gateway.events.strict_json import dumps
from gateway.queues import Record

SAME_ID = 12  # bytes of a mark that all events of an eventId in a session share
NAMESPACE = UUID("5f0f4f0c-6a0c-4d39-9f5e-2f6f0d5b7c11")


def mark(record: Record) -> bytes:
    """Return the 16 bytes by which a repeat of the event is known.

    A session's marks stand side by side, so that a beacon's are written to one page.
    """
    session = _digest(8, f"{record.site}\0{record.session_id}")
    event_id, content = record.event_id, _content(record)
    return session + _digest(4, event_id) + _digest(4, f"{event_id}\0{content}")


def marks_of_its_id(mark: bytes) -> tuple[bytes, bytes]:
    """Return the first and the last mark that an event of the same session and eventId may have."""
    shared, rest = mark[:SAME_ID], len(mark) - SAME_ID
    return shared + b"\0" * rest, shared + b"\xff" * rest


def with_own_id(record: Record) -> Record:
    """Return a record whose event is sent under an ID of its own; it is found by its first one."""
    event = event_members(record)
    parts = (record.site, record.session_id, record.event_id, _content(record))
    return record._replace(event=dumps({**event, "eventId": str(uuid5(NAMESPACE, dumps(parts)))}))


def tell_apart(records: Sequence[Record]) -> list[Record]:
    """Give distinct events of one request an ID of their own where they share one."""
    first: dict[bytes, bytes] = {}
    marks = map(mark, records)
    return [
        record if first.setdefault(own[:SAME_ID], own) == own else with_own_id(record)
        for record, own in zip(records, marks, strict=True)
    ]


def _content(record: Record) -> str:
    """Return what tells events of one eventId apart, as JSON text.

    Not `sentAt`, which a reloaded page states anew and the gateway corrects or fills in; nor what
    led to the event, which may be known at one time and not at another.
    """
    get = event_members(record).get
    return dumps((get("eventType"), get("itemId"), get("eventValue"), get("properties")))


def event_members(record: Record) -> dict[str, Any]:
    """Return the members of a record's event; none if its text is not a JSON object."""
    try:
        event = orjson.loads(record.event)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def _digest(size: int, text: str) -> bytes:
    return blake2b(text.encode(), digest_size=size).digest()
