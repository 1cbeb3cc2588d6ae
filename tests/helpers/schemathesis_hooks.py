"""What schemathesis cannot know: a site that exists, and how bodies and texts are written."""

from __future__ import annotations

import json
from typing import Any

import schemathesis

from tests.helpers.support import ORIGIN


@schemathesis.serializer("text/plain", "application/x-amz-json-1.1")
def as_json(_context: schemathesis.SerializationContext, value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


@schemathesis.hook
def map_body(_context: schemathesis.HookContext, body: Any) -> Any:
    """Let most requests be for a site that exists, so that their events are looked at."""
    if not isinstance(body, dict):
        return body
    if _is_text(site := body.get("trackingId"), 256) and len(site) > 1:
        body = {**body, "trackingId": "shop"}
    if isinstance(events := body.get("eventList"), list):
        body = {**body, "eventList": [_with_json_in_text(event) for event in events]}
    return body


@schemathesis.hook
def map_query(_context: schemathesis.HookContext, query: Any) -> Any:
    """The same for the pixel."""
    if isinstance(query, dict) and _is_text(site := query.get("trackingId"), 256) and len(site) > 1:
        return {**query, "trackingId": "shop"}
    return query


def _with_json_in_text(event: Any) -> Any:
    """JSON Schema can say that a text holds a JSON object, but schemathesis can't write one."""
    if isinstance(event, dict) and _is_text(text := event.get("properties"), 1024):
        return {**event, "properties": json.dumps({"text": text[:500]}, ensure_ascii=False)}
    return event


def _is_text(value: Any, longest: int) -> bool:
    """Whether this is a text as our schemas take them."""
    return isinstance(value, str) and 0 < len(value) <= longest and "\0" not in value


@schemathesis.hook
def before_call(
    _context: schemathesis.HookContext, case: schemathesis.Case, _kwargs: dict[str, Any]
) -> None:
    """Let most come from a page of that site."""
    if case.method == "POST" and len(case.headers.get("Origin", "")) % 4 != 1:
        case.headers["Origin"] = ORIGIN
