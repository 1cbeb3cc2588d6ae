"""Build the web application, which stores events and holds no AWS credentials."""

from __future__ import annotations

import logging
from functools import partial

from flask import Flask, Response
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
from gateway.web import collect, cors, health, pixel, static_files
from gateway.web.admin import routes as admin
from gateway.web.admin.auth import AdminAuth
from gateway.web.collect import Collector
from gateway.web.errors import RequestRejected
from gateway.web.event_recorder import EventRecorder
from gateway.web.rate_limits import RateLimiter
from gateway.web.site_context import build_contexts

log = logging.getLogger(__name__)


def create_app(settings: Settings) -> Flask:
    """Return the WSGI application. Raises SettingsError."""
    require_secret_key(settings)
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    queue = find_queue(settings)
    inbox = queue.open_inbox(metrics.committed)
    if settings.demo:
        site = demo_site.find_demo_site(settings.sites)
        inbox = window = shop.Window(inbox, site.key)
        app.register_blueprint(shop.blueprint(site, window, settings.demo))
    rate_limiter = RateLimiter(settings.rate_limit_storage, settings.secret_keys[0])
    collector = Collector(
        build_contexts(settings.sites.values(), settings.secret_keys),
        inbox,
        EventRecorder(open_history(settings, queue.history_path)),
        rate_limiter,
    )
    app.register_blueprint(collect.blueprint(collector))
    app.register_blueprint(pixel.blueprint(collector))
    sites_problem = partial(problem_of, settings.sites_file)
    check_health = partial(readiness.check_health, inbox, queue.forwarder_status, sites_problem)
    app.register_blueprint(health.blueprint(check_health))
    if settings.admin_token:
        auth = AdminAuth(settings.admin_token, settings.secret_keys, rate_limiter)
        state = partial(_queue_state, queue)
        app.register_blueprint(
            admin.blueprint(
                queue, Redactor(settings.redact), auth, state, check_health, [*settings.sites]
            )
        )
    _handle_errors(app)
    cors.configure(app, settings.sites.values())
    _trust_proxies(app, settings.trusted_proxies)
    app.wsgi_app = static_files.in_front_of(app.wsgi_app)  # type: ignore[method-assign]
    return app


def _queue_state(queue: QueueBackend) -> metrics.State:
    """Return the queue's and the forwarder's state, as far as the web end may read it."""
    if not queue.capabilities.local:
        return metrics.State()
    return metrics.state_of_queue(queue, queue.forwarder_status())


def _handle_errors(app: Flask) -> None:
    """Answer every error in the shape that AWS's SDKs read, and never with a traceback."""
    logger = logs.RateLimitedLogger(log)

    @app.errorhandler(RequestRejected)
    def handle_rejection(rejection: RequestRejected) -> Response:
        if rejection.status >= 400:
            metrics.REQUESTS_REFUSED.labels(rejection.reason).inc()
        logger.warning(rejection.reason, str(rejection.__cause__ or rejection))
        return rejection.response()

    @app.errorhandler(HTTPException)
    def handle_http_error(error: HTTPException) -> Response | HTTPException:
        if error.code is None or error.code < 400:
            return error  # a redirect
        reason = error.name.lower().replace(" ", "_")
        response = handle_rejection(
            RequestRejected(error.code, reason, error.description or error.name)
        )
        if "Allow" in (headers := dict(error.get_headers())):
            response.headers["Allow"] = headers["Allow"]
        return response

    @app.errorhandler(Exception)
    def handle_unexpected(_error: Exception) -> Response:
        log.exception("internal_error")
        return RequestRejected(
            500, Reason.INTERNAL_ERROR, "Something unexpected happened"
        ).response()


def _trust_proxies(app: Flask, count: int) -> None:
    """Take the client's address and scheme from the headers of this many proxies in front."""
    if count:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=count, x_proto=count, x_host=0
        )
