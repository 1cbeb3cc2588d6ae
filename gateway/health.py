"""`/healthz`: the process lives. `/readyz`: it can store events now."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from gateway.queues import Inbox, QueueError
from gateway.refusals import RETRY_AFTER


def blueprint(inbox: Inbox) -> Blueprint:
    """Both routes, for a load balancer to ask."""
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
        return jsonify({"status": "ok"})

    return routes
