"""The steps of an event's life, as rows of the event history."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from json import dumps
from typing import Any, NamedTuple

from gateway.events.strict_json import storable
from gateway.queues import Delivery, QueueBackend, Record, Rejection
from gateway.reasons import Reason

LONGEST = 256  # characters of an ID that is kept
PAYLOAD = 16 << 10  # characters of a refused event that is kept


class Step(NamedTuple):
    """Something that happened to an event: it was queued, sent, delivered, refused, and so on.

    `event` is JSON text. `since` is when the event came; times are in epoch seconds.
    """

    at: float
    step: str
    site: str
    session_id: str | None
    user_id: str | None
    event_id: str
    event: str
    since: float | None = None
    reason: str | None = None
    message: str | None = None
    request: str | None = None  # the PutEvents request that it was in


class Request(NamedTuple):
    """A PutEvents request; `outcome` is `accepted` or the reason why not, None while it lasts."""

    id: str
    at: float
    site: str
    events: int
    seconds: float | None = None
    outcome: str | None = None
    message: str | None = None
    aws_request_id: str | None = None


class Depth(NamedTuple):
    """The number of queued events, and the age of the oldest."""

    at: float
    queued: int
    oldest_seconds: float


Row = Step | Request | Depth


def stored(records: Sequence[Record], new: Sequence[bool], at: float) -> Iterator[Step]:
    """Yield the step of each event that was stored, or dropped as a duplicate."""
    for record, is_new in zip(records, new, strict=True):
        if is_new:
            yield _step(record, at, "queued", since=record.received_at)
        else:
            yield _step(record, at, "dropped", since=record.received_at, reason=Reason.DUPLICATE)


def refused(
    site: str,
    user_id: str | None,
    events: Sequence[tuple[Any, str]],
    reason: str,
    at: float,
    step: str = "refused",
) -> Iterator[Step]:
    """Yield the step of each refused event, as received, with the message that says why."""
    for received, message in events:
        members = received if isinstance(received, dict) else {}
        yield Step(
            at,
            step,
            site,
            None,
            user_id,
            _id(members.get("eventId")),
            _payload(received),
            at,
            reason,
            storable(message),
        )


def sent(request: Request, deliveries: Sequence[Delivery]) -> Iterator[Row]:
    """Yield a PutEvents request that is being sent, and its events' steps."""
    yield request
    for delivery in deliveries:
        record = delivery.record
        yield _step(record, request.at, "sent", since=record.received_at, request=request.id)


def answered(request: Request, deliveries: Sequence[Delivery]) -> Iterator[Row]:
    """Yield a request that was answered or failed, and its events' steps."""
    yield request
    at, delivered = request.at + (request.seconds or 0.0), request.outcome == "accepted"
    for delivery in deliveries:
        if delivered:
            yield _step(delivery.record, at, "delivered", request=request.id)
        else:
            why = {"reason": request.outcome, "message": request.message}
            yield _step(delivery.record, at, "waiting", request=request.id, **why)


def dead(rejections: Sequence[Rejection], at: float) -> Iterator[Step]:
    """Yield the step of each event that became a dead letter."""
    for delivery, reason, message, _ in rejections:
        yield _step(delivery.record, at, "dead", reason=reason, message=message)


def depth(queue: QueueBackend, at: float) -> Iterator[Depth]:
    """Yield how much waits in the queue."""
    status = queue.status()
    yield Depth(at, status.queued, status.oldest_seconds or 0.0)


def _step(record: Record, at: float, step: str, **more: Any) -> Step:
    site, session_id, user_id, event_id, event, _, _ = record
    return Step(at, step, site, session_id, user_id, event_id, event, **more)


def _id(value: Any) -> str:
    """Return an ID as received, or an empty text if it can't be an ID."""
    return storable(value[:LONGEST]) if isinstance(value, str) else ""


def _payload(received: Any) -> str:
    """Return an event's JSON text, or {} if it is too long or SQLite can't read it."""
    try:
        text = dumps(received, ensure_ascii=False, allow_nan=False)
        text.encode()
    except ValueError:  # 1e999 is infinite; a lone surrogate is no text
        return "{}"
    return text if len(text) <= PAYLOAD else "{}"
