"""What is for operators alone: `/metrics`, and the way into `/inspect`."""

from __future__ import annotations

import logging
from collections.abc import Callable

from flask import Blueprint, Response, request
from prometheus_client import CONTENT_TYPE_LATEST

from gateway.observability import metrics
from gateway.observability.logs import RateLimitedLogger
from gateway.observability.readiness import Health
from gateway.observability.redaction import Redactor
from gateway.queues import QueueBackend
from gateway.reasons import Reason
from gateway.threadpool import run_in_threadpool
from gateway.web import inspector
from gateway.web.admin_auth import COOKIE, AdminAuth
from gateway.web.errors import RequestRejected
from gateway.web.snippet import STATIC

PAGES = STATIC / "inspect"
FORM_BYTES = 4096  # of a log-in, since it costs anybody nothing to send one
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
    guard: AdminAuth,
    state: Callable[[], metrics.State],
    examined: Callable[[], Health],
) -> Blueprint:
    """The routes behind the guard; `state` is what waits and how delivery is going.

    `examined` is what `/readyz` says.
    """
    routes = Blueprint("admin", __name__)
    page = (PAGES / "index.html").read_text(encoding="utf-8")
    _keep_others_out(routes, guard)
    _add_log_in(routes, guard)

    @routes.get("/metrics")
    def show_metrics() -> Response:
        health = examined()
        text = run_in_threadpool(lambda: metrics.exposition(state(), health))
        return Response(text, content_type=CONTENT_TYPE_LATEST)

    @routes.get("/inspect")
    def inspect() -> Response:
        return Response(page, mimetype="text/html")

    inspector.add_routes(routes, queue, redactor, state, examined)
    return routes


def _keep_others_out(routes: Blueprint, guard: AdminAuth) -> None:
    log_in_page = (PAGES / "log-in.html").read_text(encoding="utf-8")

    @routes.before_request
    def operators_only() -> Response | None:
        if request.endpoint in ("admin.log_in", "admin.log_out") or guard.admits(request):
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
        if request.endpoint == "admin.numbers":  # which the page asks for while it is open
            guard.renew(request, response)
        return response


def _add_log_in(routes: Blueprint, guard: AdminAuth) -> None:
    repeats = RateLimitedLogger(log)

    @routes.post("/inspect/log-in")
    def log_in() -> Response:
        guard.require_unlocked(request)
        request.max_content_length = FORM_BYTES
        if not guard.is_token(request.form.get("token", ""), request):
            metrics.REQUESTS_REFUSED.labels(Reason.ADMIN_TOKEN).inc()
            repeats.say(Reason.ADMIN_TOKEN, "a log-in to /inspect with a wrong token")
            return _see("../inspect?wrong")
        response = _see("../inspect")
        guard.log_in(request, response)
        return response

    @routes.post("/inspect/log-out")
    def log_out() -> Response:
        response = _see("../inspect")
        if guard.admits(request):  # and is no other site's doing, who would get no cookie
            response.delete_cookie(COOKIE, path=None)
        return response


def _see(where: str) -> Response:
    """Elsewhere, by a relative way: the gateway may stand on any path of a site."""
    return Response(status=303, headers={"Location": where})
