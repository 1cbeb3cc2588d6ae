"""Serve `GET /pixel.gif`: store one event whose members are in the URL of an image.

It is for pages without scripts and for e-mails. Image requests have no Origin header, so any page
can cause one: they carry no userId and no properties, and no purchases.
"""

from __future__ import annotations

import json
import time
from base64 import b64decode

import flask
from flask import Blueprint, Response, after_this_request
from werkzeug.datastructures import MultiDict

from gateway.events import schemas
from gateway.reasons import Reason
from gateway.web import collect, filters
from gateway.web.collect import Collector
from gateway.web.errors import RequestRejected, no_content

GIF = b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")  # 1×1, transparent
EVENT_MEMBERS = ("eventId", "eventType", "itemId", "recommendationId", "impression")


def blueprint(collector: Collector) -> Blueprint:
    """Return the route `GET /pixel.gif`."""
    routes = Blueprint("pixel", __name__)

    @routes.get("/pixel.gif")
    def get_pixel() -> Response:
        after_this_request(replace_by_image)
        request: flask.Request = flask.request._get_current_object()  # type: ignore[attr-defined]
        if request.method == "HEAD":  # asks only whether there is such a URL
            return no_content()
        now, environ, address = time.time(), request.environ, request.remote_addr
        payload = context = None
        try:
            payload = _read_payload(request)
            context = collector.contexts.get(payload.tracking_id)
            collect.require_consent(context, request)
            if context is None:
                raise collect.unknown_site()
            if not context.site.pixel:
                raise RequestRejected(403, Reason.PIXEL_OFF, "The site does not set `pixel = true`")
            filters.apply_filters(context.site, 1, environ, address, collector.rate_limiter)
            events, errors = collect.validate_events(collector, context, payload, now)
            visitor = collect.identify(context, payload, events, request, now)
            is_new = collect.store_events(collector, context, visitor, events, now)
        except RequestRejected as rejection:
            collect.record_rejection(collector, context, payload, rejection, request, now)
            raise
        return collect.respond(
            context, visitor, events, errors, is_new, is_secure=request.is_secure
        )

    return routes


def _read_payload(request: flask.Request) -> schemas.Request:
    try:
        return read_query(request.args)
    except schemas.InvalidRequest as error:
        raise collect.invalid_request(error) from None


def read_query(query: MultiDict[str, str]) -> schemas.Request:
    """Return the PutEvents request that a query stands for. Raises InvalidRequest."""
    errors = {name: ["Not in a pixel's address."] for name in query if name not in EVENT_MEMBERS}
    errors.pop("trackingId", None)
    errors |= {name: ["Twice."] for name, values in query.lists() if len(values) > 1}
    if query.get("eventType", "").strip().lower() == "purchase":
        errors["eventType"] = ["A purchase is not told by a pixel."]
    if errors:
        raise schemas.InvalidRequest(f"Invalid: {', '.join(sorted(errors))}", errors)
    event: dict[str, str | list[str]] = {
        name: query[name] for name in EVENT_MEMBERS if query.get(name)
    }
    if "impression" in event:
        event["impression"] = query["impression"].split(",")
    members = {name: query[name] for name in query if name == "trackingId"}
    return schemas.read_request(json.dumps({**members, "eventList": [event]}).encode())


def replace_by_image(response: Response) -> Response:
    """Answer with the image instead of a 204, which browsers would show as a broken image."""
    if response.status_code == 204:
        response.status_code = 200
        response.content_type = "image/gif"
        response.set_data(GIF)
    response.headers["Cache-Control"] = "no-store"
    return response
