"""`make openapi`: docs/openapi.json, the HTTP surface in OpenAPI 3.1, from the gateway's schemas.

Lengths, counts and required members are the schemas' own. What is written here is how the fields
that are ours look in JSON Schema, what each member means, and the answers.
"""

from __future__ import annotations

import json
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin

import gateway
from gateway.events.schemas import EVENT_BYTES, EventSchema, RequestSchema
from tests.helpers.support import ROOT
from tools import openapi_admin
from tools.openapi_schemas import (
    COOKIE,
    DESCRIPTIONS,
    ERROR,
    PARTLY,
    PLACEHOLDER,
    READY,
    REFUSALS,
    RETRY_AFTER,
    STORABLE,
    TAG,
    TYPES,
    UNAVAILABLE,
    Json,
    allow_null,
    any_case,
    describe_field,
    describe_member,
    schema_name,
)

DOCUMENT = ROOT / "docs/openapi.json"
CONTENT_TYPES = ["text/plain", "application/json", "application/x-amz-json-1.1"]


def document() -> Json:
    """Return the whole document."""
    plugin = MarshmallowPlugin(schema_name_resolver=schema_name)
    spec = APISpec(
        title="Personalize Gateway",
        version=gateway.__version__,
        openapi_version="3.1.0",
        info={"description": "Events for Amazon Personalize, in PutEvents' own wire format."},
        servers=[{"url": "/"}],
        plugins=[plugin],
    )
    for function in (describe_field, allow_null, describe_member):
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
    view: Json = {"not": {"anyOf": [PLACEHOLDER, {"pattern": f"^{any_case('purchase')}$"}]}}
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


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


if __name__ == "__main__":
    DOCUMENT.write_text(text(), encoding="utf-8")
