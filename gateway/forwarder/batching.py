"""Records → PutEvents calls: grouped by what belongs together, in order, at most ten each. Pure.

Also how a call can fail, which is all that the forwarder knows of AWS.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from gateway.events.strict_json import storable
from gateway.queues import Delivery

CALL_EVENTS = 10  # PutEvents' maximum


class Call(NamedTuple):
    """One PutEvents call: events of one site, session and user."""

    site: str
    session_id: str
    user_id: str | None
    taken: Sequence[Delivery]


class CallFailed(Exception):
    """A call was not accepted; `reason` is a short code, the message is AWS's or boto3's."""

    request_id: str | None = None  # AWS's, where it answered

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(storable(message))  # AWS may quote half a character
        self.reason = reason


class Retry(CallFailed):
    """A fault that passes by itself; `retry_after` is what AWS asks for, in seconds."""

    def __init__(self, reason: str, message: str, retry_after: float = 0.0) -> None:
        super().__init__(reason, message)
        self.retry_after = retry_after


class Misconfigured(CallFailed):
    """A fault of the site's set-up: nothing of it can be delivered before somebody mends that."""


class CallRejected(CallFailed):
    """At least one event of the call is refused for what it is."""


def group_by_session(taken: Iterable[Delivery]) -> list[list[Delivery]]:
    """Split by session: what must be sent one call after another, in order."""
    sessions: dict[tuple[str, str], list[Delivery]] = {}
    for item in taken:
        sessions.setdefault((item.record.site, item.record.session_id), []).append(item)
    return list(sessions.values())


def split_into_calls(run: Sequence[Delivery]) -> Iterator[Call]:
    """The calls that a session's records make: a new one where the user changes, or it is full."""
    for user_id, group in groupby(run, key=lambda item: item.record.user_id):
        items = list(group)
        for start in range(0, len(items), CALL_EVENTS):
            record = items[start].record
            yield Call(record.site, record.session_id, user_id, items[start : start + CALL_EVENTS])


def bisect(call: Call) -> tuple[Call, Call]:
    """A refused call as two, the earlier events first, to find the guilty one."""
    middle = len(call.taken) // 2
    return call._replace(taken=call.taken[:middle]), call._replace(taken=call.taken[middle:])
