"""A backlog as visitors leave it: many sessions at once, each of ten events in all."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from bench.servers import SITE
from gateway.queues import Record
from gateway.queues.sqlite.inbox import SqliteInbox

SESSIONS_AT_ONCE = 5_000
A_COMMIT = 10_000
EVENT = (
    '{"eventId":"e-%d","eventType":"view","itemId":"i-%d","sentAt":1763880000.25,'
    '"properties":"{\\"price\\":\\"19.90\\",\\"currency\\":\\"EUR\\"}"}'
)


def records(count: int) -> Iterator[Record]:
    """So many, of interleaved sessions."""
    now, at_once = time.time(), _at_once(count)
    for number in range(count):
        session = f"s-{number // (at_once * 10)}-{number % at_once}"
        event = EVENT % (number, number % 1000)
        yield Record(SITE, session, None, f"e-{number}", event, None, now)


def fill(path: Path, count: int) -> None:
    """Queue so many."""
    inbox = SqliteInbox(path, max_bytes=1 << 40, min_free_bytes=0, dedupe_seconds=3600)
    waiting = records(count)
    while batch := list(islice(waiting, A_COMMIT)):
        inbox.put(batch)


def bound(count: int) -> int:
    """Return the fewest calls possible: one a session, since none has more than ten events."""
    at_once = _at_once(count)
    crowds, rest = divmod(count, at_once * 10)
    return at_once * crowds + min(rest, at_once)


def _at_once(count: int) -> int:
    """Sessions, so few that each has its ten events."""
    return min(SESSIONS_AT_ONCE, count // 10)
