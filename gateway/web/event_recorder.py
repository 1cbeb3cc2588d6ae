"""Record what becomes of events at the web end, in metrics and in the event history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.events.schemas import Errors, Request
from gateway.observability import metrics
from gateway.observability.history import EventHistory, steps
from gateway.queues import Record
from gateway.reasons import Reason
from gateway.strict_schema import flatten_messages
from gateway.web.errors import RequestRejected

# For these reasons only the IDs and types of a few events are recorded: anybody can send such
# requests, or they exceed the limit on what is recorded of one address.
ABRIDGED = frozenset(
    {Reason.UNKNOWN_SITE, Reason.FOREIGN_ORIGIN, Reason.PIXEL_OFF, Reason.RATE_LIMIT}
)
ABRIDGED_EVENTS = 10  # recorded of such a request
REJECTED_A_SECOND = 100  # steps of rejected requests, after which none is recorded


class EventRecorder:
    """Record the events of one process. Times are in epoch seconds."""

    def __init__(self, history: EventHistory) -> None:
        self._history = history
        self._second = 0
        self._recorded = 0  # steps of rejected requests in that second

    def record_stored(self, records: Sequence[Record], new: Sequence[bool], at: float) -> None:
        """Record durable events; those that are not new are duplicates."""
        site, count = records[0].site, sum(new)
        metrics.ACCEPTED.labels(site).inc(count)
        if count < len(records):
            metrics.DUPLICATES.labels(site).inc(len(records) - count)
        self._history.record(steps.stored, records, new, at)

    def record_invalid(
        self, site: str, payload: Request, errors: Mapping[int, Errors], at: float
    ) -> None:
        """Record the invalid events of a request."""
        metrics.REFUSED.labels(site, Reason.INVALID_EVENT).inc(len(errors))
        self._history.record(_invalid_steps, site, payload, errors, at)

    def record_rejected(
        self, site: str, payload: Request | None, rejection: RequestRejected, at: float
    ) -> None:
        """Record a request of which nothing is stored; its payload is None if it was unreadable."""
        events: list[Any] = [{}] if payload is None else payload.event_list
        user_id, step, message = payload.user_id if payload else None, "refused", str(rejection)
        count = len(events)
        if rejection.status == 204:
            metrics.DROPPED.labels(site, rejection.reason).inc(count)
            step = "dropped"
        elif payload is not None:
            metrics.REFUSED.labels(site, rejection.reason).inc(count)
        if rejection.status == 204 or rejection.reason == Reason.FORGOTTEN:
            events, user_id = [{}], None  # neither the events nor the user may be recorded
        if rejection.reason in ABRIDGED:
            events = [_abridge(event) for event in events[:ABRIDGED_EVENTS]]
        if len(events) < count:
            message += f" ({count} events)"
        if self._has_capacity(len(events), at):
            rows = [(event, message) for event in events]
            self._history.record(steps.refused, site, user_id, rows, rejection.reason, at, step)

    def _has_capacity(self, count: int, at: float) -> bool:
        """Return whether a rejected request may be recorded, so that a flood displaces nothing."""
        if self._second != int(at):
            self._second, self._recorded = int(at), 0
        self._recorded += count
        return self._recorded - count < REJECTED_A_SECOND


def _abridge(event: Any) -> dict[str, str]:
    """Return an event's ID and type only, cut to the length of a PutEvents ID."""
    members = event if isinstance(event, dict) else {}
    names = {name: members.get(name) for name in ("eventId", "eventType")}
    return {name: value[: steps.LONGEST] for name, value in names.items() if isinstance(value, str)}


def _invalid_steps(
    site: str, payload: Request, errors: Mapping[int, Errors], at: float
) -> Iterator[steps.Row]:
    rows = [(payload.event_list[index], _message(why)) for index, why in errors.items()]
    return steps.refused(site, payload.user_id, rows, Reason.INVALID_EVENT, at)


def _message(errors: Errors) -> str:
    return "; ".join(f"{name}: {flatten_messages(texts)}" for name, texts in errors.items())
