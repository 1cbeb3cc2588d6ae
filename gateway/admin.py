"""What is for operators alone: `/metrics`, for who bears the admin token."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from flask import Blueprint, Response, request
from prometheus_client import CONTENT_TYPE_LATEST

from gateway import metrics
from gateway.queues.group_commit import off_the_loop
from gateway.readiness import Health
from gateway.refusals import Refusal


def blueprint(
    token: str, state: Callable[[], metrics.State], examined: Callable[[], Health]
) -> Blueprint:
    """The routes behind the token; `state` is what waits and how delivery is going.

    `examined` is what `/readyz` says.
    """
    routes = Blueprint("admin", __name__)

    @routes.before_request
    def bearer_only() -> None:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        right = hmac.compare_digest(given.strip().encode(), token.encode())
        if scheme.lower() != "bearer" or not right:
            raise Refusal(401, "admin_token", "Send the admin token: Authorization: Bearer …")

    @routes.get("/metrics")
    def show_metrics() -> Response:
        health = examined()
        text = off_the_loop(lambda: metrics.exposition(state(), health))
        return Response(text, content_type=CONTENT_TYPE_LATEST)

    return routes
