"""JSON Schemas of the OpenAPI document: the gateway's own fields, members and answers."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields

from gateway.events.fields import (
    LAST_SECOND,
    PLACEHOLDERS,
    RESERVED_KEYS,
    AttributionSource,
    Name,
    OptionalName,
    Properties,
    Text,
    Timestamp,
)
from gateway.events.schemas import EVENTS_A_REQUEST
from gateway.web.errors import TYPES

Json = dict[str, Any]

DESCRIPTIONS = {
    "trackingId": "The site's key, or its tracking ID.",
    "userId": "Who it is, after log-in; absent for anonymous visitors. A placeholder is none.",
    "sessionId": "Taken as given; where it is missing or a placeholder, the session cookie's.",
    "eventList": f"1 to {EVENTS_A_REQUEST} events, each judged by itself.",
    "signature": "Proves the userId, where the site has a `user_secret`: its HMAC-SHA256, in hex.",
    "clientTime": "The client's clock at dispatch; where it is off by more than 5 s, `sentAt` is "
    "corrected.",
    "reset": "These events begin a new session.",
    "session": "The session tag of an earlier answer's `X-Gateway-Session`; wins over the cookie.",
    "newSession": "A UUID of version 4 or 7 for the session that these events begin, where neither "
    "session tag nor cookie tells one: requests that bear the same one meet in the same session.",
    "eventId": "Filled in where it is missing or a placeholder. An event counts once under its ID.",
    "eventType": "As in the solution's events: view, purchase, …",
    "eventValue": "What the event is worth: a price, a share watched, …",
    "itemId": "The item that it is about.",
    "properties": "A JSON object of scalars or a text that holds one, of at most 1024 characters "
    "as JSON. A null is a key not set.",
    "sentAt": "When it happened; the time of arrival where it is missing.",
    "recommendationId": "The recommendation that it came from.",
    "impression": "The items that were shown.",
    "metricAttribution": "What a metric is attributed to.",
    "eventAttributionSource": "Printable ASCII.",
}

TIMESTAMP: Json = {
    "anyOf": [
        {
            "type": "number",
            "minimum": 0,
            "maximum": LAST_SECOND * 1000,
            "description": "Seconds since 1970, or milliseconds from 1e11 on.",
        },
        {
            "type": "string",
            "pattern": r"^[0-9]{1,14}(\.[0-9]{1,20})?$",
            "description": "The same as text.",
        },
        {
            "type": "string",
            "format": "date-time",
            "pattern": "^(19[7-9]|[2-9][0-9][0-9])[0-9]-",
            "description": "ISO 8601 of the years 1970 to 9999; UTC where it names no zone.",
        },
    ]
}
STORABLE: Json = {"pattern": "^[^\\u0000]*$"}
PLACEHOLDER: Json = {"anyOf": [{"enum": sorted(PLACEHOLDERS)}, {"pattern": "^\\s*$"}]}


def any_case(text: str) -> str:
    """Return a pattern that matches a text in any case."""
    return "".join(f"[{letter}{letter.upper()}]" for letter in text)


PROPERTIES: Json = {
    "anyOf": [
        {
            "type": "object",
            "propertyNames": {
                "not": {"pattern": f"^({'|'.join(map(any_case, sorted(RESERVED_KEYS)))})$"},
                **STORABLE,
            },
            "additionalProperties": {"type": ["string", "number", "boolean", "null"], **STORABLE},
        },
        {
            "type": "string",
            "contentMediaType": "application/json",
            "minLength": 2,
            "maxLength": 1024,
            **STORABLE,
        },
    ]
}
ERROR: Json = {
    "type": "object",
    "required": ["__type", "message"],
    "properties": {
        "__type": {"enum": sorted(TYPES.values()), "description": "As in `x-amzn-ErrorType`."},
        "message": {"type": "string"},
        "errors": {"type": "object", "description": "What is wrong, by member."},
    },
    "additionalProperties": False,
}
PARTLY: Json = {
    "type": "object",
    "required": ["accepted", "rejected"],
    "properties": {
        "accepted": {"type": "integer", "minimum": 1, "maximum": EVENTS_A_REQUEST - 1},
        "rejected": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["index", "errors"],
                "properties": {
                    "index": {"type": "integer", "minimum": 0, "maximum": EVENTS_A_REQUEST - 1},
                    "errors": {"type": "object", "minProperties": 1},
                },
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
}
TROUBLE: Json = {
    "type": "object",
    "required": ["reason", "message"],
    "properties": {name: {"type": "string"} for name in ("reason", "site", "message")},
}
READY: Json = {
    "type": "object",
    "required": ["status"],
    "properties": {
        "status": {"enum": ["ok", "degraded"]},
        "degraded": {"type": "array", "items": TROUBLE, "description": "Why delivery isn't well."},
    },
}
UNAVAILABLE: Json = {
    "type": "object",
    "required": ["status", "reason", "message"],
    "properties": {
        "status": {"const": "unavailable"},
        "reason": {"type": "string"},
        "message": {"type": "string"},
    },
}

# Status → when, and the codes in X-Gateway-Reason where they can be told in advance.
REFUSALS: dict[int, tuple[str, list[str]]] = {
    400: (
        "Nothing could be accepted.",
        ["invalid_request", "unreadable_body", "invalid_event", "forgotten"],
    ),
    403: (
        "The Origin is missing or not the site's, or the site has no pixel.",
        ["foreign_origin", "pixel_off"],
    ),
    404: ("No site has this trackingId.", ["unknown_site"]),
    408: ("The body took too long.", ["request_timeout"]),
    413: ("The body is too large.", ["request_entity_too_large"]),
    415: ("The body is compressed or otherwise encoded.", ["content_encoding"]),
    429: ("Too many events of this client; try again after `Retry-After`.", ["rate_limit"]),
    503: ("The queue cannot take them now; try again after `Retry-After`.", []),
}
RETRY_AFTER: Json = {
    "description": "Seconds after which to try again.",
    "required": True,
    "schema": {"type": "integer", "minimum": 1},
}
COOKIE: Json = {
    "description": "`pz_sid_<site>`, the session cookie, where it is new or due for renewal.",
    "schema": {"type": "string"},
}
TAG: Json = {
    "description": "The session tag, to be sent back as `session`; absent where the caller gave a "
    "`sessionId`, or the events' session is over.",
    "schema": {"type": "string"},
}


def describe_field(_converter: Any, field: fields.Field[Any], ret: Json) -> Json:
    """Describe what the fields of gateway/events/fields.py accept, beside lengths."""
    match field:
        case Timestamp():
            return TIMESTAMP
        case Properties():
            return PROPERTIES
        case AttributionSource():
            return {"pattern": "^[ -~]*[!-~][ -~]*$"}
        case Name():
            return {**STORABLE, "not": PLACEHOLDER}
        case OptionalName():
            kept = {name: ret.pop(name) for name in ("minLength", "maxLength")}
            return {"anyOf": [{**kept, **STORABLE}, PLACEHOLDER]}
        case Text():
            return STORABLE
    return {}


def allow_null(_converter: Any, field: fields.Field[Any], ret: Json) -> Json:
    """Allow null, which means a member that is not set: see events._load."""
    if field.required or isinstance(field.parent, fields.List):
        return {}
    if "type" in ret:
        return {"type": [ret["type"], "null"]}
    if "$ref" in ret:
        return {"anyOf": [{"$ref": ret.pop("$ref")}, {"type": "null"}]}
    return {"anyOf": [*ret["anyOf"], {"type": "null"}]}


def describe_member(_converter: Any, field: fields.Field[Any], **_: Any) -> Json:
    """Describe each member. Raises KeyError for one that DESCRIPTIONS lacks."""
    return (
        {} if isinstance(field.parent, fields.List) else {"description": DESCRIPTIONS[field.name]}
    )


def schema_name(schema: Schema | type[Schema]) -> str:
    """Return a schema's name in the document: EventSchema is Event."""
    name = schema.__name__ if isinstance(schema, type) else type(schema).__name__
    return name.removesuffix("Schema")
