"""What the inspector's page asks for, a few times a second: events' lives, and numbers."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Any, TypeVar

from flask import Blueprint, Response, jsonify, request

from gateway.observability import trace
from gateway.observability.history.reader import CHART_SECONDS, EventFilter, HistoryReader
from gateway.observability.metrics import State
from gateway.observability.readiness import Health
from gateway.observability.redaction import Redactor
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
    examined: Callable[[], Health],
) -> None:
    """Answers in short, so that no worker of any class is tied up by who looks on."""
    trail = HistoryReader(queue.history_path)

    @routes.get("/inspect/events")
    def events() -> Response:
        """Those that had a step after `after`, which is the `next` of the last answer."""
        args = request.args
        wanted = EventFilter(*(args.get(name) or None for name in EventFilter._fields))
        after = args.get("after", 0, type=int)
        last, lives = _looked(lambda: trail.lives(wanted, max(0, min(after, 1 << 62))))
        return jsonify({"next": last, "events": lives})

    @routes.get("/inspect/trace")
    def where() -> Response:
        """All that is known of the event `id`."""
        event_id = request.args.get("id", "").strip()
        return jsonify(
            _looked(
                lambda: trace.find(
                    queue, redactor, event_id, with_dead_letters=queue.capabilities.local
                )
            )
        )

    @routes.get("/inspect/numbers")
    def numbers() -> Response:
        """What happened in each second of the last minutes, and how it stands now."""
        now = time.time()
        ticks = _looked(lambda: trail.ticks(now))
        return jsonify(
            {
                "now": now,
                "seconds": CHART_SECONDS,
                "ticks": ticks,
                "local": not queue.capabilities.local,
                "queue": _queue(run_in_threadpool(state)),
                "troubles": _troubles(examined()),
            }
        )


def _looked(look: Callable[[], Value]) -> Value:
    try:
        return run_in_threadpool(look)
    except (sqlite3.Error, OSError, QueueError) as error:
        raise RequestRejected(
            503, Reason.TRAIL_UNREADABLE, f"The trail can't be read now: {error}"
        ) from None


def _queue(state: State) -> dict[str, Any] | None:
    status = state.status
    return status and {**status._asdict(), "bytes": state.queue_bytes}


def _troubles(health: Health) -> list[str]:
    """Why events can't be stored, or are not delivered, in sentences for people."""
    stored = [f"Events can't be stored: {health.unavailable}"] if health.unavailable else []
    return stored + [
        f"{one.site}: nothing is delivered: {one.message}" if one.site else one.message
        for one in health.degraded
    ]
