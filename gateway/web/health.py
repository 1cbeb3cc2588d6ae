"""Answer `/healthz` (the process lives) and `/readyz` (it can store events now)."""

from __future__ import annotations

import logging
from collections.abc import Callable

from flask import Blueprint, Response, jsonify

from gateway.observability.logs import printable
from gateway.observability.readiness import Health
from gateway.queues import QueueError
from gateway.web.errors import RETRY_AFTER

log = logging.getLogger(__name__)


def blueprint(examined: Callable[[], Health]) -> Blueprint:
    """Return both routes; `/readyz` is 200 while events can be stored, even if not delivered."""
    routes = Blueprint("health", __name__)
    said: frozenset[tuple[str, str | None]] = frozenset()

    @routes.get("/healthz")
    def healthz() -> Response:
        return jsonify({"status": "ok"})

    @routes.get("/readyz")
    def readyz() -> Response:
        nonlocal said
        health = examined()
        if health.codes != said:
            said = health.codes
            log.log(logging.WARNING if said else logging.INFO, "readyz: %s", printable(str(health)))
        if health.unavailable:
            return _unavailable(health.unavailable)
        complaints = [
            {name: text for name, text in one._asdict().items() if text} for one in health.degraded
        ]
        if complaints:
            return jsonify({"status": "degraded", "degraded": complaints})
        return jsonify({"status": "ok"})

    return routes


def _unavailable(error: QueueError) -> Response:
    answer = {"status": "unavailable", "reason": error.reason, "message": str(error)}
    response = jsonify(answer)
    response.status_code = 503
    response.headers["Retry-After"] = str(RETRY_AFTER)
    return response
