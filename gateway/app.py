"""The web end: faces browsers, only ever stores, and holds no credentials."""

from __future__ import annotations

import logging
from functools import partial

from flask import Flask, Response
from flask_cors.core import FLASK_CORS_EVALUATED
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from gateway import demo_site
from gateway.demo import shop
from gateway.observability import logs, metrics, readiness
from gateway.observability.history import open_history
from gateway.observability.redaction import Redactor
from gateway.queues import QueueBackend
from gateway.queues.registry import find_queue
from gateway.reasons import Reason
from gateway.reload import problem_of
from gateway.settings import Settings, require_secret_key
from gateway.web import admin, collect, cors, health, static_files
from gateway.web.admin_auth import AdminAuth
from gateway.web.errors import RequestRejected
from gateway.web.event_recorder import EventRecorder
from gateway.web.rate_limits import RateLimiter

log = logging.getLogger(__name__)


def create_app(settings: Settings) -> Flask:
    """The WSGI application. Raises SettingsError."""
    require_secret_key(settings)
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    queue = find_queue(settings)
    inbox = queue.open_inbox(metrics.committed)
    if settings.demo:
        site = demo_site.find_demo_site(settings.sites)
        inbox = window = shop.Window(inbox, site.key)
        app.register_blueprint(shop.blueprint(site, window, settings.demo))
    ledger = EventRecorder(open_history(settings, queue.history_path))
    rates = RateLimiter(settings.rate_limit_storage, settings.secret_keys[0])
    app.register_blueprint(
        collect.blueprint(settings.sites, settings.secret_keys, inbox, ledger, rates)
    )
    sites_problem = partial(problem_of, settings.sites_file)
    examined = partial(readiness.check_health, inbox, queue.forwarder_status, sites_problem)
    app.register_blueprint(health.blueprint(examined))
    if settings.admin_token:
        guard = AdminAuth(settings.admin_token, settings.secret_keys, rates)
        state = partial(_state, queue)
        app.register_blueprint(
            admin.blueprint(queue, Redactor(settings.redact), guard, state, examined)
        )
    _answer_in_aws_shape(app)
    cors.share(app, settings.sites.values())
    _trust_proxies(app, settings.trusted_proxies)
    app.wsgi_app = static_files.in_front_of(app.wsgi_app)  # type: ignore[method-assign]
    return app


def _state(queue: QueueBackend) -> metrics.State:
    """Return what waits and how delivery is going, as far as the web end may read it."""
    if not queue.capabilities.local:
        return metrics.State()
    return metrics.state_of_queue(queue, queue.forwarder_status())


def _answer_in_aws_shape(app: Flask) -> None:
    """Every error is answered as AWS's SDKs read it, and none with a traceback."""
    repeats = logs.RateLimitedLogger(log)

    @app.errorhandler(RequestRejected)
    def refused(refusal: RequestRejected) -> Response:
        if refusal.status >= 400:
            metrics.REQUESTS_REFUSED.labels(refusal.reason).inc()
        repeats.say(refusal.reason, str(refusal.__cause__ or refusal))
        response = refusal.response()
        if refusal.reason == Reason.FOREIGN_ORIGIN:
            # flask-cors knows the union of all sites' origins: another site's may not read this.
            setattr(response, FLASK_CORS_EVALUATED, True)
        return response

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response | HTTPException:
        if error.code is None or error.code < 400:
            return error  # a redirect
        reason = error.name.lower().replace(" ", "_")
        response = refused(RequestRejected(error.code, reason, error.description or error.name))
        if "Allow" in (headers := dict(error.get_headers())):
            response.headers["Allow"] = headers["Allow"]
        return response

    @app.errorhandler(Exception)
    def unexpected(_error: Exception) -> Response:
        log.exception("internal_error")
        return RequestRejected(
            500, Reason.INTERNAL_ERROR, "Something unexpected happened"
        ).response()


def _trust_proxies(app: Flask, count: int) -> None:
    """Believe what so many proxies in front say of the client, and nobody else."""
    if count:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=count, x_proto=count, x_host=0
        )
