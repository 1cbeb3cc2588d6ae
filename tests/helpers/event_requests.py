"""Requests as pages post them, and what the schemas make of them."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

from gateway.events import schemas
from gateway.events.schemas import InvalidRequest

NOW = 1_763_880_000.0  # 2025-11-23T06:40:00Z
PLACEHOLDERS = ["null", "undefined", "NaN", "[object Object]", "", " ", "\t\n", "\u3000"]
RESERVED = ["userId", "sessionId", "eventType", "timestamp", "recommendationId", "impression"]
UNSTORABLE = ["\0", "a\0b", "\ud800", "a\udfffb"]

Json = dict[str, Any]


def request(*event_list: Any, **members: Any) -> Json:
    return {"trackingId": "shop", "eventList": list(event_list), **members}


def an_event(**members: Any) -> Json:
    return {"eventType": "view", **members}


def encode(body: Any) -> bytes:
    """JSON as a page would send it, lone surrogates escaped."""
    return json.dumps(body).encode()


def read(body: Any) -> schemas.Request:
    return schemas.read_request(body if isinstance(body, bytes) else encode(body))


def accept(
    body: Any, event_types: frozenset[str] = frozenset(), now: float = NOW
) -> tuple[list[schemas.Event], dict[int, Json]]:
    ids = count(1)
    return schemas.accept_events(
        read(body), event_types=event_types, now=now, new_id=lambda: f"id-{next(ids)}"
    )


def is_accepted(body: Any) -> bool:
    try:
        return not accept(body)[1]
    except InvalidRequest:
        return False
