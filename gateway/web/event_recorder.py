"""What becomes of events at the web end: each is counted, and leaves a step in the trail."""

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

# Reasons for which a request's events are remembered by their IDs and types alone: these requests
# are anybody's, or past the limit that bounds how much of one address is remembered.
BY_NAME = frozenset(
    {Reason.UNKNOWN_SITE, Reason.FOREIGN_ORIGIN, Reason.PIXEL_OFF, Reason.RATE_LIMIT}
)
FEW = 10  # events of such a request that are remembered
A_SECOND = 100  # steps of rejected requests, past which no further request's are remembered


class EventRecorder:
    """One process's. Times are in epoch seconds."""

    def __init__(self, trail: EventHistory) -> None:
        self._trail = trail
        self._second = 0
        self._noted = 0  # steps of rejected requests in it

    def stored(self, records: Sequence[Record], new: Sequence[bool], at: float) -> None:
        """These are durable, those that are not new since before."""
        site, count = records[0].site, sum(new)
        metrics.ACCEPTED.labels(site).inc(count)
        if count < len(records):
            metrics.DUPLICATES.labels(site).inc(len(records) - count)
        self._trail.note(steps.stored, records, new, at)

    def invalid(self, site: str, request: Request, errors: Mapping[int, Errors], at: float) -> None:
        """Some of a request's events are not valid."""
        metrics.REFUSED.labels(site, Reason.INVALID_EVENT).inc(len(errors))
        self._trail.note(_invalid, site, request, errors, at)

    def rejected_request(
        self, site: str, request: Request | None, refusal: RequestRejected, at: float
    ) -> None:
        """Nothing of a request is stored; None: it could not be read."""
        events: list[Any] = [{}] if request is None else request.event_list
        user_id, step, message = request.user_id if request else None, "refused", str(refusal)
        count = len(events)
        if refusal.status == 204:
            metrics.DROPPED.labels(site, refusal.reason).inc(count)
            # Unwanted here means: not to be kept.
            events, user_id, step = [{}], None, "dropped"
        elif request is not None:
            metrics.REFUSED.labels(site, refusal.reason).inc(count)
        if refusal.reason in BY_NAME:
            events = [_named(event) for event in events[:FEW]]
        if len(events) < count:
            message += f" ({count} events)"
        if self._may_note(len(events), at):
            said = [(event, message) for event in events]
            self._trail.note(steps.refused, site, user_id, said, refusal.reason, at, step)

    def _may_note(self, count: int, at: float) -> bool:
        """Whether the second has room for a rejected request, so that a flood displaces nothing."""
        if self._second != int(at):
            self._second, self._noted = int(at), 0
        self._noted += count
        return self._noted - count < A_SECOND


def _named(event: Any) -> dict[str, str]:
    """Return what is needed to find an event: its ID and type, cut to a PutEvents ID's length."""
    members = event if isinstance(event, dict) else {}
    names = {name: members.get(name) for name in ("eventId", "eventType")}
    return {name: value[: steps.LONGEST] for name, value in names.items() if isinstance(value, str)}


def _invalid(
    site: str, request: Request, errors: Mapping[int, Errors], at: float
) -> Iterator[steps.Row]:
    said = [(request.event_list[index], _said(why)) for index, why in errors.items()]
    return steps.refused(site, request.user_id, said, Reason.INVALID_EVENT, at)


def _said(why: Errors) -> str:
    return "; ".join(f"{name}: {flatten_messages(texts)}" for name, texts in why.items())
