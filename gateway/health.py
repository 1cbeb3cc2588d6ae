"""`/healthz`: the process lives. `/readyz`: it can store events now, and how delivery goes."""

from __future__ import annotations

import time
from collections.abc import Callable

from flask import Blueprint, Response, jsonify

from gateway.queues import Condition, Inbox, QueueError
from gateway.refusals import RETRY_AFTER


def blueprint(inbox: Inbox, condition: Callable[[], Condition | None]) -> Blueprint:
    """Both routes, for a load balancer to ask. A node that can store is never to be dropped."""
    routes = Blueprint("health", __name__)

    @routes.get("/healthz")
    def healthz() -> Response:
        return jsonify({"status": "ok"})

    @routes.get("/readyz")
    def readyz() -> Response:
        try:
            inbox.check()
        except QueueError as error:
            response = jsonify(
                {"status": "unavailable", "reason": error.reason, "message": str(error)}
            )
            response.status_code = 503
            response.headers["Retry-After"] = str(RETRY_AFTER)
            return response
        why = _degraded(condition(), time.time())
        return jsonify({"status": "degraded", "degraded": why} if why else {"status": "ok"})

    return routes


def _degraded(condition: Condition | None, now: float) -> list[dict[str, str]]:
    """Why delivery is not well, if so: a forwarder that is silent, sites that it can't deliver."""
    if condition is None or condition.is_stale(now):
        return [{"reason": "forwarder_silent", "message": "No forwarder delivers this queue"}]
    return [
        {"reason": "site", "site": site, "message": trouble}
        for site, trouble in condition.troubles.items()
    ]
