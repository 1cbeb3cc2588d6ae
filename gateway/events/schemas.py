"""Validate requests and events in PutEvents' wire format, with marshmallow schemas.

Pure: the clock and the event IDs are passed in. Limits come from botocore's service model
`personalize-events/2018-03-22`; boto3 itself enforces only the minimums.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from itertools import islice
from typing import Any, NamedTuple

from marshmallow import Schema, ValidationError, fields, validate

from gateway.events import strict_json
from gateway.events.fields import (
    MOST_ERRORS,
    AttributionSource,
    BoundedList,
    Name,
    Number,
    OptionalName,
    Properties,
    RawList,
    StrictBool,
    Text,
    Timestamp,
    Token,
)

EVENTS_A_REQUEST = 100
EVENT_BYTES = 10 * 1024  # the documented quota
SUGGESTION_LIMIT = 5  # errors up to which unknown members get a suggestion, which is slow to find
CLOCK_TOLERANCE = 5.0  # seconds that a client's clock may be off before times are corrected

Errors = dict[str, Any]


class InvalidRequest(ValueError):
    """The request or event is invalid; `errors` maps members to messages, as marshmallow does."""

    def __init__(self, message: str, errors: Errors | None = None) -> None:
        super().__init__(message)
        self.errors = errors or {}


class MetricAttributionSchema(Schema):
    """PutEvents' MetricAttribution."""

    eventAttributionSource = AttributionSource(required=True)


class EventSchema(Schema):
    """PutEvents' Event, in the model's order. `eventId` and `sentAt` are optional here."""

    eventId = OptionalName()  # a broken template's placeholder would make all its events one
    eventType = Name(required=True)
    eventValue = Number()
    itemId = Name()
    properties = Properties()
    sentAt = Timestamp()
    recommendationId = Text(40)
    impression = BoundedList(Name(), validate=validate.Length(1, 25))
    metricAttribution = fields.Nested(MetricAttributionSchema)


class RequestSchema(Schema):
    """PutEvents' request around the events, with the gateway's own members."""

    trackingId = Text(required=True)
    userId = OptionalName()
    sessionId = OptionalName()
    eventList = RawList(required=True, validate=validate.Length(1, EVENTS_A_REQUEST))
    signature = Text()
    clientTime = Timestamp()
    session = Token()
    newSession = Token()
    reset = StrictBool()


@dataclass(frozen=True, slots=True)
class Request:
    """A valid request; its events are not validated yet."""

    tracking_id: str
    user_id: str | None
    session_id: str | None
    event_list: list[Any]
    signature: str | None  # proves the userId
    client_time: float | None  # epoch seconds
    session: str | None  # the session tag that the page held when the events happened
    new_session: str | None  # a random name that the page gives the session these events begin
    reset: bool  # start a new session
    anonymised: bool  # the userId was a placeholder


class Event(NamedTuple):
    """One valid event; `text` and `received` are JSON objects."""

    event_id: str
    text: str  # PutEvents' Event
    received: str | None  # as received, if that differs
    at: float  # its sentAt in epoch seconds


_REQUEST, _EVENT = RequestSchema(), EventSchema()


def read_request(body: bytes) -> Request:
    """Read a request's body; raise InvalidRequest where nothing of it can be accepted."""
    try:
        members = strict_json.loads(body)
    except strict_json.InvalidJson as error:
        raise InvalidRequest(f"The body is unreadable: {error}") from None
    values = _load(_REQUEST, members)
    return Request(
        tracking_id=values["trackingId"],
        user_id=values.get("userId"),
        session_id=values.get("sessionId"),
        event_list=values["eventList"],
        signature=values.get("signature"),
        client_time=values.get("clientTime"),
        session=values.get("session"),
        new_session=values.get("newSession"),
        reset=values.get("reset", False),
        anonymised="userId" in values and values["userId"] is None,
    )


def accept_events(
    request: Request, *, event_types: Collection[str], now: float, new_id: Callable[[], str]
) -> tuple[list[Event], dict[int, Errors]]:
    """Validate each event separately; return the valid ones, and the others' errors by index.

    An empty `event_types` allows any type. `now` is in epoch seconds.
    """
    shift = 0.0 if request.client_time is None else now - request.client_time
    if abs(shift) <= CLOCK_TOLERANCE:
        shift = 0.0
    events, errors = [], {}
    for index, received in enumerate(request.event_list):
        try:
            event = accept_event(received, event_types, now=now, shift=shift, new_id=new_id)
            events.append(event)
        except InvalidRequest as error:
            errors[index] = error.errors
    return events, errors


def accept_event(
    received: Any,
    event_types: Collection[str],
    *,
    now: float,
    shift: float,
    new_id: Callable[[], str],
) -> Event:
    """Validate one event, and move its time by `shift` seconds. Raises InvalidRequest."""
    values = _load(_EVENT, received)
    if event_types and values["eventType"] not in event_types:
        raise InvalidRequest("", {"eventType": ["Not among the site's event_types."]})
    values = {"eventId": values.pop("eventId", None) or new_id(), **values}
    values["sentAt"] = Timestamp.shifted(values["sentAt"], shift) if "sentAt" in values else now
    text = strict_json.dumps(values)
    if len(text.encode()) > EVENT_BYTES:
        raise InvalidRequest("", {"_schema": [f"Longer than {EVENT_BYTES} bytes as JSON."]})
    original = None if values == received else strict_json.dumps(received)
    return Event(values["eventId"], text, original, values["sentAt"])


def _load(schema: Schema, members: Any) -> dict[str, Any]:
    """Load one JSON object; null means that a known member is unset."""
    if not isinstance(members, dict):
        raise InvalidRequest("Not a JSON object", {"_schema": ["Not a JSON object."]})
    known = schema.fields
    present = {name: v for name, v in members.items() if v is not None or name not in known}
    try:
        return _fields_alone(schema, present) or dict(schema.load(present))
    except ValidationError as error:
        messages = error.messages_dict
        meant: Collection[str] = known if len(messages) <= SUGGESTION_LIMIT else ()
        first = islice(sorted(messages.items()), MOST_ERRORS)
        errors = {name: _explain(meant, name, why) for name, why in first}
        raise InvalidRequest(f"Invalid: {', '.join(sorted(errors))}", errors) from None


def _fields_alone(schema: Schema, present: dict[str, Any]) -> dict[str, Any] | None:
    """Load an object by its fields' loaders alone, which is much faster than the schema.

    Return None if anything is wrong, so that the schema reports it.
    """
    try:
        values = {name: load(present[name]) for name, load in _loaders(schema) if name in present}
    except ValidationError:
        return None
    complete = len(values) == len(present) and _required(schema) <= values.keys()
    return values if complete else None


@cache
def _loaders(schema: Schema) -> list[tuple[str, Callable[[Any], Any]]]:
    return [(name, field.deserialize) for name, field in schema.fields.items()]


@cache
def _required(schema: Schema) -> frozenset[str]:
    return frozenset(name for name, field in schema.fields.items() if field.required)


def _explain(meant: Collection[str], name: str, messages: Any) -> Any:
    if messages != ["Unknown field."]:
        return messages
    nearest = get_close_matches(name, meant, 1)
    return [f"Unknown field: did you mean {nearest[0]}?" if nearest else "Unknown field."]
