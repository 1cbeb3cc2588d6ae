"""Serve `POST /events`: store events from browsers, and from AWS SDKs' PutEvents requests.

The handler reads from top to bottom, the cheapest checks first; events are stored before the
response. `GET /pixel.gif` shares its steps.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import uuid4

import flask
from flask import Blueprint, Response, after_this_request, jsonify

from gateway.events import schemas
from gateway.observability import metrics
from gateway.origins import OriginPolicy
from gateway.queues import Inbox, QueueError, Record, UserForgotten
from gateway.reasons import Reason
from gateway.web import cors, filters
from gateway.web.body import read_body
from gateway.web.errors import RequestRejected, no_content
from gateway.web.event_recorder import EventRecorder
from gateway.web.identity import Client, Visitor, identify_visitor
from gateway.web.rate_limits import RateLimiter, network
from gateway.web.site_context import SiteContext


@dataclass(frozen=True, slots=True)
class Collector:
    """What the routes that take events need."""

    contexts: Mapping[str, SiteContext]  # by site key and by tracking ID
    inbox: Inbox
    recorder: EventRecorder
    rate_limiter: RateLimiter


def blueprint(collector: Collector) -> Blueprint:
    """Return the route `POST /events`."""
    routes = Blueprint("collect", __name__)
    known_origins = _origins_of_all(collector.contexts)

    @routes.post("/events")
    def put_events() -> Response:
        # werkzeug's documented way to the object behind a proxy, which is slow at each access.
        request: flask.Request = flask.request._get_current_object()  # type: ignore[attr-defined]
        now, environ, address = time.time(), request.environ, request.remote_addr
        origin = environ.get("HTTP_ORIGIN")
        if not known_origins.allows(origin):  # before the body is read
            filters.limit_rejected(address, collector.rate_limiter)
        payload = context = None
        try:
            payload = _read_payload(request)
            context = collector.contexts.get(payload.tracking_id)
            require_consent(context, request)
            if context is None:
                raise unknown_site()
            if not context.origins.allows(origin):
                raise _foreign_origin(origin)
            count = len(payload.event_list)
            filters.apply_filters(context.site, count, environ, address, collector.rate_limiter)
            events, errors = validate_events(collector, context, payload, now)
            visitor = identify(context, payload, events, request, now)
            is_new = store_events(collector, context, visitor, events, now)
        except RequestRejected as rejection:
            record_rejection(collector, context, payload, rejection, request, now)
            raise
        response = respond(context, visitor, events, errors, is_new, is_secure=request.is_secure)
        return cors.allow(response, origin)

    return routes


def _read_payload(request: flask.Request) -> schemas.Request:
    try:
        return schemas.read_request(read_body(request))
    except schemas.InvalidRequest as error:
        raise invalid_request(error) from None


def require_consent(context: SiteContext | None, request: flask.Request) -> None:
    """Reject if the browser asks not to be tracked, and delete a cookie that lasts for days."""
    try:
        filters.require_consent(context.site if context else None, request.environ)
    except RequestRejected:
        if context is not None:
            cookie, header = context.cookie, request.environ.get("HTTP_COOKIE", "")

            @after_this_request
            def forget_visitor(response: Response) -> Response:
                cookie.delete(response, header, is_secure=request.is_secure)
                return response

        raise


def invalid_request(error: schemas.InvalidRequest) -> RequestRejected:
    """Return the rejection of a request that is not a valid PutEvents request."""
    return RequestRejected(400, Reason.INVALID_REQUEST, str(error), error.errors)


def unknown_site() -> RequestRejected:
    """Return the rejection of a request whose `trackingId` no site has."""
    return RequestRejected(404, Reason.UNKNOWN_SITE, "No site has this trackingId")


def _foreign_origin(origin: str | None) -> RequestRejected:
    subject = "No Origin header" if origin is None else f"The origin {origin[:256]!a}"
    return RequestRejected(403, Reason.FOREIGN_ORIGIN, f"{subject} is not among the site's origins")


def validate_events(
    collector: Collector, context: SiteContext, payload: schemas.Request, now: float
) -> tuple[list[schemas.Event], dict[int, schemas.Errors]]:
    """Return the valid events, and the others' errors by index; raise if none is valid."""
    site = context.site
    events, errors = schemas.accept_events(
        payload, event_types=site.event_types, now=now, new_id=lambda: str(uuid4())
    )
    if errors:
        collector.recorder.record_invalid(site.key, payload, errors, now)
    if not events:
        raise RequestRejected(
            400, Reason.INVALID_EVENT, "No event of the list is valid", {"eventList": errors}
        )
    return events, errors


def identify(
    context: SiteContext,
    payload: schemas.Request,
    events: Sequence[schemas.Event],
    request: flask.Request,
    now: float,
) -> Visitor:
    """Return who sent the events, and the session of each."""
    header = request.environ.get
    client = Client(
        context.cookie.read(header("HTTP_COOKIE", "")),
        network(request.remote_addr or ""),
        header("HTTP_USER_AGENT", ""),
    )
    times = [event.at for event in events]
    return identify_visitor(payload, client, context.sessions, context.site.user_secret, times, now)


def store_events(
    collector: Collector,
    context: SiteContext,
    visitor: Visitor,
    events: Sequence[schemas.Event],
    now: float,
) -> Sequence[bool]:
    """Store the events durably, and return for each whether it is new (not a duplicate)."""
    site = context.site.key
    is_user = context.site.anonymous_user_id
    records = [
        Record(site, session_id, user_id, event.event_id, event.text, event.received, now)
        for (session_id, user_id), event in zip(
            visitor.identities(session_is_user=is_user), events, strict=True
        )
    ]
    try:
        is_new = collector.inbox.put(records)
    except UserForgotten as error:
        why = str(error)
        raise RequestRejected(400, error.reason, why, {"eventList": [why]}) from error
    except QueueError as error:
        raise RequestRejected(503, error.reason, "The queue cannot take events now") from error
    collector.recorder.record_stored(records, is_new, time.time())
    if visitor.anonymous_reason:
        metrics.ANONYMISED.labels(site, visitor.anonymous_reason).inc(len(records))
    return is_new


def respond(
    context: SiteContext,
    visitor: Visitor,
    events: Sequence[schemas.Event],
    errors: Mapping[int, schemas.Errors],
    is_new: Sequence[bool],
    *,
    is_secure: bool,
) -> Response:
    """Return the response to stored events: 204, or 200 with the errors of the invalid ones."""
    if errors:
        rejected = [{"index": index, "errors": messages} for index, messages in errors.items()]
        response = jsonify({"accepted": len(events), "rejected": rejected})
    else:
        response = no_content(None if any(is_new) else Reason.DUPLICATE)
    context.cookie.write(response, visitor.visit, is_secure=is_secure)
    return response


def record_rejection(
    collector: Collector,
    context: SiteContext | None,
    payload: schemas.Request | None,
    rejection: RequestRejected,
    request: flask.Request,
    now: float,
) -> None:
    """Record that a request was rejected; raise 429 if its address sends too many of them.

    Record nothing about a request that could not be read if its browser asks not to be tracked.
    The errors of invalid events have been recorded by then.
    """
    filters.count_rejected(rejection, request.remote_addr, collector.rate_limiter)
    if rejection.reason == Reason.INVALID_EVENT:
        return
    if payload is None and filters.find_opt_out(None, request.environ):
        return
    site = context.site.key if context else ""
    collector.recorder.record_rejected(site, payload, rejection, now)


def _origins_of_all(contexts: Mapping[str, SiteContext]) -> OriginPolicy:
    """Return the policy that allows what any site allows, except opaque ("null") origins."""
    sites = [context.site for context in contexts.values()]
    return OriginPolicy.build(
        {origin for site in sites for origin in site.origins},
        allow_missing=any(site.allow_missing_origin for site in sites),
    )
