"""Serve the data that the inspector's page polls: events, one event's trace, and numbers."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from flask import Blueprint, Response, jsonify, request

from gateway.observability import trace
from gateway.observability.history.reader import CHART_SECONDS, EventFilter, HistoryReader
from gateway.observability.metrics import State
from gateway.observability.readiness import Health
from gateway.observability.redaction import Redactor
from gateway.observability.training import report_sites
from gateway.queues import QueueBackend, QueueError
from gateway.reasons import Reason
from gateway.threadpool import run_in_threadpool
from gateway.web.errors import RequestRejected

Value = TypeVar("Value")


def add_routes(
    routes: Blueprint,
    queue: QueueBackend,
    redactor: Redactor,
    state: Callable[[], State],
    check_health: Callable[[], Health],
    sites: Sequence[str],
) -> None:
    """Add the routes. Each response is short and immediate, so that viewers block no worker."""
    history = HistoryReader(queue.history_path)

    @routes.get("/inspect/events")
    def get_events() -> Response:
        """Return the events with a step after `after`, the `next` of the previous response."""
        args = request.args
        event_filter = EventFilter(*(args.get(name) or None for name in EventFilter._fields))
        after = args.get("after", 0, type=int)
        last, events = _read(lambda: history.lives(event_filter, max(0, min(after, 1 << 62))))
        return jsonify({"next": last, "events": events})

    @routes.get("/inspect/trace")
    def get_trace() -> Response:
        """Return everything known about the event `id`."""
        event_id = request.args.get("id", "").strip()
        return jsonify(
            _read(
                lambda: trace.find(
                    queue, redactor, event_id, with_dead_letters=queue.capabilities.local
                )
            )
        )

    @routes.get("/inspect/report")
    def get_report() -> Response:
        """Return what was delivered of each site, against what training needs; null with SQS."""
        found = _read(queue.deliveries)
        return jsonify({"sites": None if found is None else report_sites(found, sites)})

    @routes.get("/inspect/numbers")
    def numbers() -> Response:
        """Return what happened in each second of the last minutes, and the present state."""
        now = time.time()
        ticks = _read(lambda: history.ticks(now))
        return jsonify(
            {
                "now": now,
                "seconds": CHART_SECONDS,
                "ticks": ticks,
                "local": not queue.capabilities.local,
                "queue": _describe_queue(run_in_threadpool(state)),
                "troubles": _describe_issues(check_health()),
            }
        )


def _read(read: Callable[[], Value]) -> Value:
    try:
        return run_in_threadpool(read)
    except (sqlite3.Error, OSError, QueueError) as error:
        raise RequestRejected(
            503, Reason.TRAIL_UNREADABLE, f"The event history can't be read now: {error}"
        ) from None


def _describe_queue(state: State) -> dict[str, Any] | None:
    status = state.status
    return status and {**status._asdict(), "bytes": state.queue_bytes}


def _describe_issues(health: Health) -> list[str]:
    """Describe for people why events can't be stored, or are not delivered."""
    stored = [f"Events can't be stored: {health.unavailable}"] if health.unavailable else []
    return stored + [
        f"{issue.site}: nothing is delivered: {issue.message}" if issue.site else issue.message
        for issue in health.degraded
    ]
