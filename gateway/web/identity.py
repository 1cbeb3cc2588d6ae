"""Identify the visitor: check the proof of the userId, and find the session of each event."""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple
from uuid import UUID, uuid4

from gateway.events import schemas
from gateway.events.fields import is_placeholder
from gateway.reasons import Reason
from gateway.web.sessions import Claims, Sessions, Visit


class Client(NamedTuple):
    """What a request's connection and headers say about its client."""

    session_tokens: Sequence[str]  # from its cookies
    network: str
    user_agent: str


class Visitor(NamedTuple):
    """The user and the sessions of a request's events."""

    user_id: str | None
    anonymous_reason: Reason | None  # why the userId that was sent is ignored
    visit: Visit

    def identities(self, *, session_is_user: bool) -> Iterator[tuple[str, str | None]]:
        """Yield the session ID and the userId of each event.

        If the session counts as a user, its ID is the userId unless somebody has logged in to it.
        """
        for session_id in self.visit.session_ids:
            is_anonymous = session_is_user and session_id not in self.visit.logged_in
            yield session_id, self.user_id or (session_id if is_anonymous else None)


def identify_visitor(
    payload: schemas.Request,
    client: Client,
    sessions: Sessions,
    user_secret: str | None,
    times: Sequence[float],
    now: float,
) -> Visitor:
    """Return the visitor who sends events of these times (epoch seconds).

    Take a session ID from the payload as it is. Otherwise find a session by tag and cookie, or
    start one.
    """
    user_id = payload.user_id
    reason = Reason.PLACEHOLDER if payload.anonymised else None
    if user_id is not None and not is_proven(user_id, payload.signature, user_secret):
        user_id, reason = None, Reason.SIGNATURE
    if payload.session_id is not None:
        visit = Visit([payload.session_id] * len(times), None, None)
    else:
        cookie = sessions.choose(client.session_tokens, payload.session, now)
        claims = Claims(user_id, payload.session, cookie, payload.reset)
        visit = sessions.visit(claims, times, now, partial(first_session_seed, payload, client))
    return Visitor(user_id, reason, visit)


def is_proven(user_id: str, signature: str | None, user_secret: str | None) -> bool:
    """Return whether the site's backend signed the userId, or the site requires no proof."""
    if user_secret is None:
        return True
    expected = hmac.new(user_secret.encode(), user_id.encode(), "sha256").hexdigest()
    return hmac.compare_digest(expected.encode(), (signature or "").encode())


def first_session_seed(payload: schemas.Request, client: Client) -> str:
    """Return a seed for a new session's ID: equal if a request is repeated, otherwise unique.

    A random eventId suffices, so a repeat may come from another network. Other IDs, such as a
    counter's, may occur at another client at the same second, so everything that distinguishes
    clients is added. The session ID is a keyed hash of the seed.
    """
    if payload.new_session and _is_random(payload.new_session):
        return payload.new_session
    event = payload.event_list[0]
    match event:
        case {"eventId": str(event_id), "sentAt": str() | int() | float() as sent_at} if (
            not is_placeholder(event_id)
        ):
            if _is_random(event_id):
                return f"{event_id!r} {sent_at!r}"
            return repr((client.network, client.user_agent, payload.user_id, sorted(event.items())))
    return uuid4().hex


def _is_random(event_id: str) -> bool:
    """Return whether this is a UUID with random bits (version 4 or 7)."""
    try:
        return UUID(event_id).version in (4, 7)
    except ValueError:
        return False
