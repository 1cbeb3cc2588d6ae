"""Tell whole rows from those that damage to the file has altered. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from zlib import crc32

from gateway.queues import Record

UNCHECKED = -1  # the checksum of a row that version 1 of the format stored

LATEST = 1e11  # epoch seconds that a date can be made of


def decode(text: bytes) -> str:
    """Return a text of the file, also where it is no UTF-8 any more."""
    return text.decode(errors="surrogateescape")


def checked(record: Record) -> tuple[object, ...]:
    """Return a record with its checksum, as it is stored."""
    return (*record, _checksum(record))


def is_whole(record: Record, checksum: object) -> bool:
    """Return whether a row has the content that was stored."""
    return _is_event(record) if checksum == UNCHECKED else checksum == _checksum(record)


def damaged_copy(record: Record) -> Record:
    """Return what is left of a damaged row: an event that nobody takes for the one stored."""
    site, session_id, _, event_id, event, _ = map(printable, record[:6])
    event = json.dumps({"damaged": event})
    return Record(site, session_id, None, event_id, event, None, moment(record.received_at))


def printable(value: object) -> str:
    """Return what should be a text, with escapes for what is no UTF-8; a sound one as it is."""
    text = decode(value) if isinstance(value, bytes) else str(value)
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")


def moment(value: object) -> float:
    """Return what should be a time in epoch seconds, 0 for one that can't be."""
    return value if isinstance(value, float) and 0.0 <= value < LATEST else 0.0


def _checksum(values: Sequence[object]) -> int:
    site, session_id, user_id, event_id, event, received, received_at = values
    text = f"{site}\0{session_id}\0{user_id}\0{event_id}\0{event}\0{received}\0{received_at}"
    return crc32(text.encode(errors="surrogateescape"))


def _is_event(record: Record) -> bool:
    try:
        "".join(text or "" for text in record[:6]).encode()
        return isinstance(json.loads(record.event), dict)
    except (TypeError, ValueError, RecursionError):
        return False
