"""`trace EVENT_ID`: show what happened to an event."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from gateway.observability.logs import printable
from gateway.observability.redaction import Redactor
from gateway.observability.trace import Found, find
from gateway.queues.registry import find_queue
from gateway.settings import load


def add_command(commands: Any) -> None:
    """Declare the command."""
    trace = commands.add_parser(
        "trace", help="show what happened to an event; exits with 1 if it is not found"
    )
    trace.add_argument("event_id", metavar="EVENT_ID")
    trace.add_argument("--json", action="store_true")
    trace.set_defaults(run=_trace)


def _trace(options: argparse.Namespace) -> int:
    settings = load(os.environ)
    found = find(find_queue(settings), Redactor(settings.redact), options.event_id)
    known = any(found[name] for name in ("queued", "deadLetters", "lives"))
    if options.json:
        print(json.dumps(found))
    else:
        for line in _lines(found) if known else _unknown(found):
            print(printable(line), file=sys.stdout if known else sys.stderr)
    return 0 if known else 1


def _lines(found: Found) -> Iterator[str]:
    for life in found["lives"] or ():
        user = f"user {life['userId']}" if life["userId"] else "anonymous"
        yield f"{life['site']}  {life['eventType']}  {user}, session {life['sessionId']}"
        requests = {request["id"]: request for request in life["requests"]}
        for step in life["steps"]:
            yield f"  {_time(step['at'])}  {step['step']:<9}  {_why(step, requests)}".rstrip()
    for record in found["queued"] or ():
        calls = f"{record['attempts']} PutEvents requests so far"
        yield f"waits in the queue since {_time(record['receivedAt'])}, {calls}"
    for letter in found["deadLetters"] or ():
        yield f"dead letter {letter['id']}: {letter['reason']}: {letter['message']}"


def _why(step: dict[str, Any], requests: dict[str, Any]) -> str:
    if step["step"] in ("sent", "delivered") and (request := requests.get(step["request"])):
        if step["step"] == "sent":
            return f"in PutEvents request {request['id']} of {request['events']} events"
        took = f"after {request['seconds'] * 1000:.0f} ms"
        return f"{took}, AWS's request ID {request['awsRequestId']}"
    return ": ".join(step[name] for name in ("reason", "message") if name in step)


def _unknown(found: Found) -> Iterator[str]:
    yield f"Nothing is known of {found['eventId']}:"
    yield (
        "  An SQS queue can't be searched."
        if found["queued"] is None
        else "  It is not in the queue or among the dead letters."
    )
    yield (
        "  No event history is kept: set GATEWAY_ADMIN_TOKEN to keep one."
        if found["lives"] is None
        else "  The event history, which goes back an hour at most, does not have it."
    )


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"
