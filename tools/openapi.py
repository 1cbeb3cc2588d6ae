"""`make openapi`: docs/openapi.json, the HTTP surface in OpenAPI 3.1, from the gateway's schemas.

Lengths, counts and required members are the schemas' own. What is written here is how the fields
that are ours look in JSON Schema, what each member means, and the answers.
"""

from __future__ import annotations

import json
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import Schema, fields

import gateway
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
from gateway.events.schemas import EVENT_BYTES, EVENTS_A_REQUEST, EventSchema, RequestSchema
from gateway.web.errors import TYPES
from tests.helpers.support import ROOT
from tools import openapi_admin

DOCUMENT = ROOT / "docs/openapi.json"
CONTENT_TYPES = ["text/plain", "application/json", "application/x-amz-json-1.1"]
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


def _any_case(text: str) -> str:
    return "".join(f"[{letter}{letter.upper()}]" for letter in text)


PROPERTIES: Json = {
    "anyOf": [
        {
            "type": "object",
            "propertyNames": {
                "not": {"pattern": f"^({'|'.join(map(_any_case, sorted(RESERVED_KEYS)))})$"},
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
    400: ("Nothing could be accepted.", ["invalid_request", "unreadable_body", "invalid_event"]),
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


def document() -> Json:
    """Return the whole document."""
    plugin = MarshmallowPlugin(schema_name_resolver=_name)
    spec = APISpec(
        title="Personalize Gateway",
        version=gateway.__version__,
        openapi_version="3.1.0",
        info={"description": "Events for Amazon Personalize, in PutEvents' own wire format."},
        servers=[{"url": "/"}],
        plugins=[plugin],
    )
    for function in (_ours, _nullable, _described):
        plugin.converter.add_attribute_function(function)
    spec.components.schema("Event", schema=EventSchema)
    spec.components.schema("Request", schema=RequestSchema)
    for name, schema in {"Error": ERROR, "PartlyAccepted": PARTLY}.items():
        spec.components.schema(name, schema)
    spec.path("/events", operations={"post": _put_events()})
    spec.path("/pixel.gif", operations={"get": _pixel()})
    spec.path("/healthz", operations={"get": _healthz()})
    spec.path("/readyz", operations={"get": _readyz()})
    spec.path("/static/pz.js", operations={"get": _snippet()})
    for path, operations in openapi_admin.PATHS.items():
        spec.path(path, operations=operations)
    for name, scheme in openapi_admin.SECURITY.items():
        spec.components.security_scheme(name, scheme)
    whole: Json = spec.to_dict()
    whole["components"]["schemas"]["Request"]["properties"]["eventList"]["items"] = _ref("Event")
    return whole


def text() -> str:
    """Return the document's text, as committed."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def _put_events() -> Json:
    schema = _ref("Request")
    return {
        "operationId": "putEvents",
        "summary": "Store events, to be recorded by PutEvents",
        "description": "The content type may be missing too. An event of more than "
        f"{EVENT_BYTES} bytes as JSON is refused. CORS is granted, with credentials, to the "
        "sites' own origins.",
        "parameters": [
            {
                "name": "Origin",
                "in": "header",
                "description": "One of the site's; browsers set it. May be missing where the "
                "site has `allow_missing_origin`.",
                "schema": {"type": "string"},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {name: {"schema": schema} for name in CONTENT_TYPES},
        },
        "responses": {
            "200": {
                "description": "Some events are stored durably, the others refused.",
                "headers": {"Set-Cookie": COOKIE, "X-Gateway-Session": TAG},
                "content": _json(_ref("PartlyAccepted")),
            },
            "204": {
                "description": "Every event is stored durably, or needs not be: see the reason.",
                "headers": {
                    "Set-Cookie": COOKIE,
                    "X-Gateway-Session": TAG,
                    "X-Gateway-Reason": {
                        "description": "Why nothing was queued; absent where it was.",
                        "schema": {"enum": ["duplicate", "gpc", "dnt", "bot"]},
                    },
                },
            },
            **{str(status): _refusal(status) for status in REFUSALS},
        },
    }


def _refusal(status: int) -> Json:
    when, reasons = REFUSALS[status]
    headers: Json = {
        "x-amzn-ErrorType": {
            "description": "The error's name, for AWS's SDKs.",
            "required": True,
            "schema": {"const": TYPES[status]},
        },
        "X-Gateway-Reason": {
            "description": "The reason as a code, which is in the gateway's log too.",
            "required": True,
            "schema": {"type": "string", **({"enum": reasons} if reasons else {})},
        },
    }
    if status in (429, 503):
        headers["Retry-After"] = RETRY_AFTER
    return {"description": when, "headers": headers, "content": _json(_ref("Error"))}


def _pixel() -> Json:
    def parameter(name: str, **more: Any) -> Json:
        text = {"type": "string", "minLength": 1, "maxLength": 256, **STORABLE, **more}
        return {"name": name, "in": "query", "description": DESCRIPTIONS[name], "schema": text}

    named: Json = {"not": PLACEHOLDER}
    view: Json = {"not": {"anyOf": [PLACEHOLDER, {"pattern": f"^{_any_case('purchase')}$"}]}}
    ids = {"description": "Item IDs between commas, 25 at most."}
    reason = {
        "description": "Why nothing was queued; absent where it was.",
        "schema": {"enum": ["duplicate", "gpc", "dnt", "bot"]},
    }
    return {
        "operationId": "getPixel",
        "summary": "Store one view of a page without scripts, or of a mail",
        "description": "Only where the site sets `pixel = true`. No Origin is asked for; hence no "
        "user, no properties, no purchase, and no parameters but these.",
        "parameters": [
            parameter("trackingId") | {"required": True},
            parameter("eventType", **view) | {"required": True},
            parameter("itemId", **named),
            parameter("eventId"),
            parameter("recommendationId", maxLength=40),
            parameter("impression", pattern="^[^,\\u0000]*$", **named) | ids,
        ],
        "responses": {
            "200": {
                "description": "A transparent image of 1×1; the view is stored durably, or needs "
                "not be: see the reason.",
                "headers": {
                    "Set-Cookie": COOKIE,
                    "X-Gateway-Session": TAG,
                    "X-Gateway-Reason": reason,
                },
                "content": {"image/gif": {}},
            },
            **{str(status): _refusal(status) for status in (400, 403, 404, 429, 503)},
        },
    }


def _healthz() -> Json:
    alive = {"type": "object", "required": ["status"], "properties": {"status": {"const": "ok"}}}
    return {
        "operationId": "healthz",
        "summary": "Whether the process lives",
        "responses": {"200": {"description": "It does.", "content": _json(alive)}},
    }


def _readyz() -> Json:
    return {
        "operationId": "readyz",
        "summary": "Whether events can be stored now, and how delivery goes",
        "responses": {
            "200": {"description": "They can.", "content": _json(READY)},
            "503": {
                "description": "They cannot.",
                "headers": {"Retry-After": RETRY_AFTER},
                "content": _json(UNAVAILABLE),
            },
        },
    }


def _snippet() -> Json:
    everybody = {"required": True, "schema": {"const": "*"}, "description": "Any origin's pages."}
    return {
        "operationId": "snippet",
        "summary": "The snippet",
        "responses": {
            "200": {
                "description": "The script.",
                "headers": {
                    "Access-Control-Allow-Origin": everybody,
                    "Cross-Origin-Resource-Policy": {
                        "required": True,
                        "schema": {"const": "cross-origin"},
                        "description": "Any site may embed it.",
                    },
                },
                "content": {"text/javascript": {"schema": {"type": "string"}}},
            },
            "304": {"description": "The one that the client has is the current one."},
        },
    }


def _ours(_converter: Any, field: fields.Field[Any], ret: Json) -> Json:
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


def _nullable(_converter: Any, field: fields.Field[Any], ret: Json) -> Json:
    """Allow null, which means a member that is not set: see events._load."""
    if field.required or isinstance(field.parent, fields.List):
        return {}
    if "type" in ret:
        return {"type": [ret["type"], "null"]}
    if "$ref" in ret:
        return {"anyOf": [{"$ref": ret.pop("$ref")}, {"type": "null"}]}
    return {"anyOf": [*ret["anyOf"], {"type": "null"}]}


def _described(_converter: Any, field: fields.Field[Any], **_: Any) -> Json:
    """Describe each member. Raises KeyError for one that DESCRIPTIONS lacks."""
    return (
        {} if isinstance(field.parent, fields.List) else {"description": DESCRIPTIONS[field.name]}
    )


def _name(schema: Schema | type[Schema]) -> str:
    name = schema.__name__ if isinstance(schema, type) else type(schema).__name__
    return name.removesuffix("Schema")


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


if __name__ == "__main__":
    DOCUMENT.write_text(text(), encoding="utf-8")
