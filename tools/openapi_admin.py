"""What is for operators alone, in OpenAPI: `/metrics` and `/inspect`."""

from __future__ import annotations

from typing import Any

from gateway.observability.history.reader import CHART_SECONDS, LIVES, EventFilter

Json = dict[str, Any]

SECURITY: Json = {
    "token": {"type": "http", "scheme": "bearer", "description": "GATEWAY_ADMIN_TOKEN"},
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": "pz_admin",
        "description": "Of a log-in at `/inspect`, for an hour without use, and 12 hours at most.",
    },
}
NULLABLE: Json = {"type": ["string", "null"]}
NUMBER: Json = {"type": "number"}
TEXT: Json = {"type": "string"}


def _object(**properties: Json) -> Json:
    return {"type": "object", "required": list(properties), "properties": properties}


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


STEP: Json = {
    "type": "object",
    "required": ["step", "at"],
    "properties": {
        "step": {
            "enum": [
                *("accepted", "queued", "sent", "delivered"),
                *("waiting", "dead", "refused", "dropped"),
            ]
        },
        "at": {"type": "number", "description": "Epoch seconds."},
        "reason": TEXT,
        "message": TEXT,
        "request": {"type": "string", "description": "The `id` of a PutEvents request."},
    },
}
REQUEST: Json = _object(
    id=TEXT,
    at=NUMBER,
    events={"type": "integer"},
    seconds={"type": ["number", "null"], "description": "Until it was answered; null: not yet."},
    outcome={**NULLABLE, "description": "`accepted`, or the reason why not."},
    message=NULLABLE,
    awsRequestId=NULLABLE,
)
LIFE: Json = _object(
    key=TEXT,
    eventId=NULLABLE,
    site=TEXT,
    sessionId=NULLABLE,
    userId=NULLABLE,
    eventType={},
    at=NUMBER,
    state=TEXT,
    reason=NULLABLE,
    message=NULLABLE,
    event={"description": "The event, masked as `GATEWAY_REDACT` says."},
    steps=_list(STEP),
    requests=_list(REQUEST),
)
FOUND: Json = _object(
    eventId=TEXT,
    queued={"type": ["array", "null"], "description": "null: the queue can't be searched."},
    deadLetters={"type": ["array", "null"]},
    lives={"anyOf": [_list(LIFE), {"type": "null"}], "description": "null: there is no trail."},
)
NUMBERS: Json = _object(
    now=NUMBER,
    seconds={"const": CHART_SECONDS},
    ticks={
        "type": "array",
        "description": "What happened in each second: second, what, how often, sum and most.",
    },
    local={"type": "boolean", "description": "Whether this is of this machine alone: with SQS."},
    queue={"type": ["object", "null"]},
    troubles=_list(TEXT),
)
COUNT: Json = {"type": "integer", "minimum": 0}
REPORT: Json = _object(
    site=TEXT,
    since={"type": ["number", "null"], "description": "When its first event was counted."},
    interactions={**COUNT, "description": "Delivered events."},
    with_item=COUNT,
    with_user=COUNT,
    with_recommendation=COUNT,
    with_source=COUNT,
    users={**COUNT, "description": "Distinct userIds."},
    users_with_2={**COUNT, "description": "Those with two or more events."},
    users_capped={"type": "boolean", "description": "Whether there were more than are counted."},
    event_types={"type": "object", "additionalProperties": COUNT},
    purchases=_object(interactions=COUNT, attributed=COUNT),
    refused={
        "type": "object",
        "description": "Events that became dead letters, by reason.",
        "additionalProperties": _object(events=COUNT, share=NUMBER),
    },
    advice=_list(TEXT),
)
REPORTS: Json = _object(
    sites={
        "anyOf": [_list(REPORT), {"type": "null"}],
        "description": "null: forwarders count in their own metrics.",
    }
)


LOGGED_IN: Json = [{"token": []}, {"cookie": []}]
GUESSED: Json = {"429": {"description": "Too many wrong tokens from this address."}}
OUTSIDE: Json = {"401": {"description": "Neither token nor log-in."}, **GUESSED}
SEE: Json = {
    "303": {
        "description": "See the page.",
        "headers": {
            "Location": {"required": True, "schema": TEXT, "description": "A relative way to it."}
        },
    }
}


def _operation(name: str, summary: str, kind: str, schema: Json, *parameters: Json) -> Json:
    answer = {"description": "Here it is.", "content": {kind: {"schema": schema}}}
    return {
        "operationId": name,
        "summary": summary,
        "security": LOGGED_IN,
        "parameters": list(parameters),
        "responses": {"200": answer, **OUTSIDE},
    }


def _query(name: str, what: str, schema: Json = TEXT) -> Json:
    return {"name": name, "in": "query", "description": what, "schema": schema}


READ = "application/json"
FORM: Json = {
    "required": True,
    "content": {"application/x-www-form-urlencoded": {"schema": _object(token=TEXT)}},
}
FILTERS = [_query(name, f"Only events of this {name}.") for name in EventFilter._fields]
AFTER = _query("after", "Those with a step since: the last answer's `next`.", {"type": "integer"})
PATHS: Json = {
    "/metrics": {
        "get": _operation("metrics", "Prometheus' metrics", "text/plain", TEXT),
    },
    "/inspect": {
        "get": _operation("inspect", "The live view, or the form to log in", "text/html", TEXT)
    },
    "/inspect/log-in": {
        "post": {
            "operationId": "logIn",
            "summary": "Log in with the admin token, for a cookie",
            "requestBody": FORM,
            "responses": {**SEE, "413": {"description": "More than 4 KiB."}, **GUESSED},
        }
    },
    "/inspect/log-out": {
        "post": {
            "operationId": "logOut",
            "summary": "Give the cookie back",
            "responses": SEE,
        }
    },
    "/inspect/events": {
        "get": _operation(
            "events",
            f"The newest events, {LIVES} at most, and what became of them",
            READ,
            _object(next={"type": "integer"}, events=_list(LIFE)),
            AFTER,
            *FILTERS,
        )
    },
    "/inspect/trace": {
        "get": _operation("trace", "Where an event is", READ, FOUND, _query("id", "Its eventId."))
    },
    "/inspect/report": {
        "get": _operation("report", "What was delivered, for training", READ, REPORTS)
    },
    "/inspect/numbers": {
        "get": _operation("numbers", "What happened when, and what waits", READ, NUMBERS)
    },
}
