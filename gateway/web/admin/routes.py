"""Serve `/metrics`, the inspector's page, and its log-in and log-out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from flask import Blueprint, Response, request
from prometheus_client import CONTENT_TYPE_LATEST

from gateway.observability import metrics
from gateway.observability.logs import RateLimitedLogger
from gateway.observability.readiness import Health
from gateway.observability.redaction import Redactor
from gateway.queues import QueueBackend
from gateway.reasons import Reason
from gateway.threadpool import run_in_threadpool
from gateway.web.admin import inspector
from gateway.web.admin.auth import COOKIE, AdminAuth
from gateway.web.errors import RequestRejected
from gateway.web.snippet import STATIC

PAGES = STATIC / "inspect"
FORM_BYTES = 4096  # limit of a log-in, which anybody can send
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}

log = logging.getLogger(__name__)


def blueprint(
    queue: QueueBackend,
    redactor: Redactor,
    auth: AdminAuth,
    state: Callable[[], metrics.State],
    check_health: Callable[[], Health],
    sites: Sequence[str],
) -> Blueprint:
    """Return the routes that require the admin token.

    `state` returns the state of the queue and the forwarder, `check_health` what `/readyz` reports.
    """
    routes = Blueprint("admin", __name__)
    page = (PAGES / "index.html").read_text(encoding="utf-8")
    _require_admin(routes, auth)
    _add_log_in_routes(routes, auth)

    @routes.get("/metrics")
    def show_metrics() -> Response:
        health = check_health()
        text = run_in_threadpool(lambda: metrics.exposition(state(), health))
        return Response(text, content_type=CONTENT_TYPE_LATEST)

    @routes.get("/inspect")
    def inspect() -> Response:
        return Response(page, mimetype="text/html")

    inspector.add_routes(routes, queue, redactor, state, check_health, sites)
    return routes


def _require_admin(routes: Blueprint, auth: AdminAuth) -> None:
    log_in_page = (PAGES / "log-in.html").read_text(encoding="utf-8")

    @routes.before_request
    def require_admin() -> Response | None:
        if request.endpoint in ("admin.log_in", "admin.log_out") or auth.is_admin(request):
            return None
        if request.endpoint != "admin.inspect" or "Authorization" in request.headers:
            raise RequestRejected(
                401, Reason.ADMIN_TOKEN, "Send the admin token: Authorization: Bearer …"
            )
        text = (
            log_in_page.replace('role="alert" hidden', 'role="alert"')
            if "wrong" in request.args
            else log_in_page
        )
        return Response(text, 401, {"WWW-Authenticate": "Bearer"}, mimetype="text/html")

    @routes.after_request
    def headers(response: Response) -> Response:
        response.headers.update(HEADERS)
        if request.endpoint == "admin.numbers":  # the open page polls this
            auth.renew(request, response)
        return response


def _add_log_in_routes(routes: Blueprint, auth: AdminAuth) -> None:
    logger = RateLimitedLogger(log)

    @routes.post("/inspect/log-in")
    def log_in() -> Response:
        auth.require_unlocked(request)
        request.max_content_length = FORM_BYTES
        if not auth.is_token(request.form.get("token", ""), request):
            metrics.REQUESTS_REFUSED.labels(Reason.ADMIN_TOKEN).inc()
            logger.warning(Reason.ADMIN_TOKEN, "a log-in to /inspect with a wrong token")
            return _redirect("../inspect?wrong")
        response = _redirect("../inspect")
        auth.log_in(request, response)
        return response

    @routes.post("/inspect/log-out")
    def log_out() -> Response:
        response = _redirect("../inspect")
        if auth.is_admin(request):  # another site's form can't log out: it has no cookie
            response.delete_cookie(COOKIE, path=None)
        return response


def _redirect(location: str) -> Response:
    """Redirect to a relative URL, since the gateway may be served under any path."""
    return Response(status=303, headers={"Location": location})
