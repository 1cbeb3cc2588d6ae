"""What the web end knows of one site: which pages it lets in, and who a visitor is."""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple
from uuid import UUID, uuid4

from gateway import origins
from gateway.events.fields import is_placeholder
from gateway.events.schemas import Request
from gateway.reasons import Reason
from gateway.sites import Site
from gateway.web.sessions import Claims, Sessions, Visit


class Client(NamedTuple):
    """What a request's connection and headers tell of who sends it."""

    cookies: str  # the Cookie header
    network: str
    user_agent: str


class Visitor(NamedTuple):
    """Whose events these are, and in which sessions."""

    user_id: str | None
    anonymous_because: str | None  # a reason code, where a userId was sent and did not count
    visit: Visit


class Door:
    """One site's."""

    def __init__(self, site: Site, secret_keys: Sequence[str]) -> None:
        self.site = site
        self.cookie = f"pz_sid_{site.key}"
        self.sessions = Sessions(site.key, secret_keys, site.session_minutes)
        self._own = origins.pattern(site.origins, null=site.allow_null_origin)
        self._tokens = re.compile(rf"(?:^|;) *{re.escape(self.cookie)}=([^; ]*)").findall

    def admits(self, origin: str | None) -> bool:
        """Whether a page of this origin may send the site's events."""
        return self.site.allow_missing_origin if origin is None else bool(self._own.match(origin))

    def visitor(
        self, request: Request, client: Client, times: Sequence[float], now: float
    ) -> Visitor:
        """Who sends events of these times: a session ID is taken as given, else found or begun."""
        because = Reason.PLACEHOLDER if request.anonymised else None
        user_id = request.user_id
        if user_id is not None and not self._proves(user_id, request.signature):
            user_id, because = None, Reason.SIGNATURE
        if request.session_id is not None:
            visit = Visit([request.session_id] * len(times), None, None)
        else:
            cookie = self.sessions.choose(self._tokens(client.cookies), request.session, now)
            claims = Claims(user_id, request.session, cookie, request.reset)
            visit = self.sessions.visit(claims, times, now, partial(_first, request, client))
        return Visitor(user_id, because, visit)

    def _proves(self, user_id: str, signature: str | None) -> bool:
        """Whether the site's backend has signed the userId, or the site asks for no proof."""
        secret = self.site.user_secret
        if secret is None:
            return True
        right = hmac.new(secret.encode(), user_id.encode(), "sha256").hexdigest()
        return hmac.compare_digest(right.encode(), (signature or "").encode())


def _first(request: Request, client: Client) -> str:
    """Return what a request begins with: the same when it is repeated, and nobody else's.

    A random eventId is enough, so that a repeat may come from another network. Any other may be
    another client's too: a counter's, say, at the same second. So all that tells clients apart
    counts then; the session's ID is a keyed hash of it.
    """
    if request.new_session and _is_random(request.new_session):
        return request.new_session
    event = request.event_list[0]
    match event:
        case {"eventId": str(event_id), "sentAt": str() | int() | float() as sent_at} if (
            not is_placeholder(event_id)
        ):
            if _is_random(event_id):
                return f"{event_id!r} {sent_at!r}"
            return repr((client.network, client.user_agent, request.user_id, sorted(event.items())))
    return uuid4().hex


def _is_random(event_id: str) -> bool:
    """Whether it is a UUID that holds random bits (version 4 or 7)."""
    try:
        return UUID(event_id).version in (4, 7)
    except ValueError:
        return False
