"""Make PutEvents calls of batches: in order, at most ten events each. Pure.

Also the ways in which a call can fail, which is all that the forwarder knows of AWS.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    deliveries: Sequence[Delivery]


class CallFailed(Exception):
    """A call was not accepted; `reason` is a short code, the message is AWS's or boto3's."""

    request_id: str | None = None  # AWS's, where it answered

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(storable(message))  # AWS may quote half a character
        self.reason = reason


class Retry(CallFailed):
    """A passing fault; `retry_after` is what AWS asks for, in seconds."""

    def __init__(self, reason: str, message: str, retry_after: float = 0.0) -> None:
        super().__init__(reason, message)
        self.retry_after = retry_after


class Misconfigured(CallFailed):
    """A fault of the site's set-up: none of its events is delivered until somebody mends it."""


class CallRejected(CallFailed):
    """AWS refused the call for the content of at least one event."""


def split_into_calls(batch: Sequence[Delivery]) -> Iterator[Call]:
    """Split a session's batch into calls: a new one where the user changes, or one is full."""
    for user_id, group in groupby(batch, key=lambda delivery: delivery.record.user_id):
        deliveries = list(group)
        for start in range(0, len(deliveries), CALL_EVENTS):
            record = deliveries[start].record
            events = deliveries[start : start + CALL_EVENTS]
            yield Call(record.site, record.session_id, user_id, events)


def bisect(call: Call) -> tuple[Call, Call]:
    """Split a refused call in two, the earlier events first, to find the event to blame."""
    middle = len(call.deliveries) // 2
    first, second = call.deliveries[:middle], call.deliveries[middle:]
    return call._replace(deliveries=first), call._replace(deliveries=second)
