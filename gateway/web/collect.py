"""`POST /events`: browsers' beacons, and PutEvents requests of any AWS SDK, into the queue.

`GET /pixel.gif` joins them behind the first gate.

The gates stand in the order of their cost; what passes them all is stored before the answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar
from uuid import uuid4

from flask import Blueprint, Request, Response, after_this_request, jsonify, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from gateway import origins
from gateway.events import schemas
from gateway.observability import metrics
from gateway.queues import Inbox, QueueError, Record
from gateway.reasons import Reason
from gateway.sites import Site
from gateway.web import cors, filters, pixel
from gateway.web.doors import Client, Door, Visitor
from gateway.web.errors import RequestRejected, no_content
from gateway.web.event_recorder import EventRecorder
from gateway.web.rate_limits import RateLimiter, network
from gateway.web.sessions import Visit

Given = TypeVar("Given")
Read = Callable[[Request], schemas.Request]
Admit = Callable[[Door, Request], None]


def blueprint(
    sites: Mapping[str, Site],
    secret_keys: Sequence[str],
    inbox: Inbox,
    ledger: EventRecorder,
    rates: RateLimiter,
) -> Blueprint:
    """The route, with all that it needs handed in."""
    routes = Blueprint("collect", __name__)
    doors: dict[str, Door] = {}
    for site in sites.values():
        doors[site.key] = doors[site.tracking_id] = Door(site, secret_keys)
    is_of_a_site = _origin_of_any(sites.values())

    def receive(sent: Request, read: Read, admit: Admit) -> Response:
        now, wanted, door = time.time(), None, None
        try:
            wanted = read(sent)
            door = doors.get(wanted.tracking_id)
            filters.ask_consent(door.site if door else None, sent.environ)
            if door is None:
                raise RequestRejected(404, Reason.UNKNOWN_SITE, "No site has this trackingId")
            admit(door, sent)
            filters.apply_filters(
                door.site, len(wanted.event_list), sent.environ, sent.remote_addr, rates
            )
            return _take(door, wanted, sent, inbox, ledger, now)
        except RequestRejected as refusal:
            filters.count_rejected(refusal, sent.remote_addr, rates)
            asked_not_to = wanted is None and filters.refuses_tracking(None, sent.environ)
            if refusal.reason != Reason.INVALID_EVENT and not asked_not_to:
                ledger.rejected_request(door.site.key if door else "", wanted, refusal, now)
            raise

    @routes.post("/events")
    def put_events() -> Response:
        # Not the proxy, which searches for the request at each look.
        sent: Request = request._get_current_object()  # type: ignore[attr-defined]
        if not is_of_a_site(_origin(sent)):  # before the body is read
            filters.limit_rejected(sent.remote_addr, rates)
        return cors.admit(receive(sent, _beacon, _admit_page), _origin(sent))

    @routes.get("/pixel.gif")
    def get_pixel() -> Response:
        after_this_request(pixel.drawn)
        if request.method == "HEAD":  # only whether it is there
            return no_content()
        return receive(request, _view, _admit_pixel)

    return routes


def _take(
    door: Door,
    wanted: schemas.Request,
    sent: Request,
    inbox: Inbox,
    ledger: EventRecorder,
    now: float,
) -> Response:
    """What is valid into the queue, and the answer."""
    site = door.site
    accepted, errors = schemas.accept_events(
        wanted, event_types=site.event_types, now=now, new_id=lambda: str(uuid4())
    )
    if errors:
        ledger.invalid(site.key, wanted, errors, now)
    if not accepted:
        what = {"eventList": errors}
        raise RequestRejected(400, Reason.INVALID_EVENT, "No event of the list is valid", what)
    times = [event.at for event in accepted]
    visitor = door.visitor(wanted, _client(sent), times, now)
    records = _records(site.key, visitor, accepted, now)
    new = _store(inbox, records)
    ledger.stored(records, new, time.time())
    if visitor.anonymous_because:
        metrics.ANONYMISED.labels(site.key, visitor.anonymous_because).inc(len(records))
    response = _answer(len(accepted), any(new), errors)
    _hand_out(response, door, visitor.visit, sent.is_secure)
    return response


def _body(sent: Request) -> bytes:
    """The whole body, as it was sent: none is decompressed."""
    encoding = sent.environ.get("HTTP_CONTENT_ENCODING", "")
    if encoding.lower() not in ("", "identity"):
        raise RequestRejected(
            415, Reason.CONTENT_ENCODING, f"The body is encoded: {encoding[:64]!a}"
        )
    length = sent.content_length
    try:
        if length is None:
            return _chunked(sent)
        if length > (sent.max_content_length or 0):
            raise RequestEntityTooLarge
        body: bytes = sent.environ["wsgi.input"].read(length)
    except HTTPException:
        raise
    except Exception as error:  # the server's own for chunks that are none: there is no one type
        raise RequestRejected(
            400, Reason.UNREADABLE_BODY, f"The body is unreadable: {type(error).__name__}"
        ) from None
    if len(body) < length:
        raise RequestRejected(400, Reason.UNREADABLE_BODY, "The body is unreadable: it broke off")
    return body


def _chunked(sent: Request) -> bytes:
    """A body of unknown length, which werkzeug cuts off at the limit in silence."""
    body = sent.get_data(cache=False)
    if "wsgi.input_terminated" in sent.environ and sent.environ["wsgi.input"].read(1):
        raise RequestEntityTooLarge
    return body


def _beacon(sent: Request) -> schemas.Request:
    return _valid(schemas.read_request, _body(sent))


def _view(sent: Request) -> schemas.Request:
    return _valid(pixel.read, sent.args)


def _valid(read: Callable[[Given], schemas.Request], given: Given) -> schemas.Request:
    try:
        return read(given)
    except schemas.InvalidRequest as error:
        raise RequestRejected(400, Reason.INVALID_REQUEST, str(error), error.errors) from None


def _origin_of_any(sites: Collection[Site]) -> Callable[[str | None], bool]:
    """Return a function that tells whether any site admits an origin."""
    pattern = origins.pattern([origin for site in sites for origin in site.origins])
    missing = any(site.allow_missing_origin for site in sites)
    return lambda origin: missing if origin is None else bool(pattern.match(origin))


def _client(sent: Request) -> Client:
    header = sent.environ.get
    address = network(sent.remote_addr or "")
    return Client(header("HTTP_COOKIE", ""), address, header("HTTP_USER_AGENT", ""))


def _origin(sent: Request) -> str | None:
    return sent.environ.get("HTTP_ORIGIN")


def _admit_page(door: Door, sent: Request) -> None:
    origin = _origin(sent)
    if not door.admits(origin):
        what = "No Origin header" if origin is None else f"The origin {origin[:256]!a}"
        raise RequestRejected(403, Reason.FOREIGN_ORIGIN, f"{what} is not among the site's origins")


def _admit_pixel(door: Door, _sent: Request) -> None:
    if not door.site.pixel:
        raise RequestRejected(403, Reason.PIXEL_OFF, "The site does not set `pixel = true`")


def _records(
    site: str, visitor: Visitor, accepted: Sequence[schemas.Event], now: float
) -> list[Record]:
    return [
        Record(site, session_id, visitor.user_id, one.event_id, one.sent, one.received, now)
        for session_id, one in zip(visitor.visit.session_ids, accepted, strict=True)
    ]


def _store(inbox: Inbox, records: Sequence[Record]) -> Sequence[bool]:
    try:
        return inbox.put(records)
    except QueueError as error:
        raise RequestRejected(503, error.reason, "The queue cannot take events now") from error


def _answer(accepted: int, new: bool, errors: Mapping[int, schemas.Errors]) -> Response:
    if not errors:
        return no_content(None if new else Reason.DUPLICATE)
    rejected = [{"index": index, "errors": why} for index, why in errors.items()]
    return jsonify({"accepted": accepted, "rejected": rejected})


def _hand_out(response: Response, door: Door, visit: Visit, is_secure: bool) -> None:
    """Give the session's token to the page, and to the browser where its cookie is not as good."""
    if visit.token is None:
        return
    response.headers["X-Gateway-Session"] = visit.token
    if visit.cookie_seconds is None:
        return
    cross_site = door.site.cookie_samesite == "None"
    response.set_cookie(
        door.cookie,
        visit.token,
        max_age=visit.cookie_seconds,
        domain=door.site.cookie_domain,
        secure=cross_site or is_secure,  # browsers refuse SameSite=None without
        httponly=True,
        samesite=door.site.cookie_samesite,
        partitioned=cross_site,  # a jar for each site that it is embedded in, or none at all
    )
