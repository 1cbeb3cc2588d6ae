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


def blueprint(check_health: Callable[[], Health]) -> Blueprint:
    """Return both routes; `/readyz` is 200 while events can be stored, even if not delivered."""
    routes = Blueprint("health", __name__)
    logged: frozenset[tuple[str, str | None]] = frozenset()

    @routes.get("/healthz")
    def healthz() -> Response:
        return jsonify({"status": "ok"})

    @routes.get("/readyz")
    def readyz() -> Response:
        nonlocal logged
        health = check_health()
        if health.codes != logged:
            logged = health.codes
            log.log(
                logging.WARNING if logged else logging.INFO, "readyz: %s", printable(str(health))
            )
        if health.unavailable:
            return _unavailable(health.unavailable)
        issues = [
            {name: text for name, text in issue._asdict().items() if text}
            for issue in health.degraded
        ]
        if issues:
            return jsonify({"status": "degraded", "degraded": issues})
        return jsonify({"status": "ok"})

    return routes


def _unavailable(error: QueueError) -> Response:
    body = {"status": "unavailable", "reason": error.reason, "message": str(error)}
    response = jsonify(body)
    response.status_code = 503
    response.headers["Retry-After"] = str(RETRY_AFTER)
    return response
