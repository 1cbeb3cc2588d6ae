"""Read, start and renew sessions, kept in signed tokens. Pure: the time is passed in.

A token is `<session ID>.<started>.<renewed>.<user mark>.<signature>`, times in whole epoch seconds.
It is valid only for the site that it was signed for. The session cookie and the session tag that a
page keeps, for late events and where cookies are blocked, hold the same token.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

from itsdangerous import BadSignature, Signer

from gateway.web.session_lifetime import Lifetime, Session, merge

LONGEST = 256  # characters of a token; longer ones are ignored
CACHED_TOKENS = 1024  # verified tokens that are cached for each site
LATEST = 24 * 60 * 60  # seconds that an event may have waited in a page
PROMPT = 30.0  # age in seconds up to which an event tells who is visiting now


class Claims(NamedTuple):
    """Hold what a request claims about its sender. Invalid tokens are ignored."""

    user: str | None = None  # a proven userId
    tag: str | None = None  # the token that the page had when the events happened
    cookie: str | None = None  # the token that the browser has now
    reset: bool = False  # the events begin a new session


class Visit(NamedTuple):
    """Hold the sessions of a request's events, and the token for the visitor's next request."""

    session_ids: Sequence[str]  # of each event
    token: str | None  # of the visitor's present session; None if that is over
    cookie_seconds: int | None  # the Max-Age of a cookie with the token; None if none is due
    logged_in: frozenset[str] = frozenset()  # the IDs of the sessions that a user has


class Sessions:
    """Manage the sessions of one site."""

    def __init__(self, site: str, secret_keys: Sequence[str], lifetime: Lifetime) -> None:
        """Take the secret keys newest first: the first one signs, all of them verify."""
        self._purpose = f"personalize-gateway.session.{site}"
        self._keys = [key.encode() for key in secret_keys]
        self._signer = Signer(
            list(reversed(secret_keys)),
            salt=self._purpose,
            key_derivation="hmac",
            digest_method=hashlib.sha256,
        )
        # A visitor sends the same token with every beacon until it is renewed.
        self._read = lru_cache(maxsize=CACHED_TOKENS)(self._verify)
        self._lifetime = lifetime

    def read(self, token: str | None) -> Session | None:
        """Return a token's session, alive or over; None if the token is invalid."""
        return self._read(token) if token and len(token) <= LONGEST else None

    def _verify(self, token: str) -> Session | None:
        try:
            session_id, started, renewed, user = self._signer.unsign(token).decode().split(".")
            return Session(session_id, int(started), int(renewed), user)
        except (BadSignature, ValueError):
            return None

    def sign(self, session: Session) -> str:
        """Return a session's token."""
        return self._signer.sign(".".join(map(str, session))).decode()

    def choose(self, cookies: Sequence[str], tag: str | None, now: float) -> str | None:
        """Return the cookie to use of several with one name; None if none is valid.

        Prefer the session of the tag, then one that is alive, then the first.
        """
        by_tag = self.read(tag)
        valid = [(cookie, session) for cookie in cookies if (session := self.read(cookie))]
        valid.sort(key=lambda pair: now > self._lifetime.cookie_expires(pair[1]))
        if by_tag:
            valid.sort(key=lambda pair: pair[1].id != by_tag.id)
        return valid[0][0] if valid else None

    def visit(
        self, claims: Claims, times: Sequence[float], now: float, seed: Callable[[], str]
    ) -> Visit:
        """Return the sessions of one or more events that happened at these times.

        An event belongs to the tag's session if it happened before that ended, however late it
        arrives; otherwise to the cookie's session, if that is alive; otherwise to a new one. A new
        session's ID is derived from `seed()`, so a repeated request joins the session it started.
        """
        by_tag, by_cookie = self._tokens(claims, now)
        own = by_tag and self._claim_tag(by_tag, by_cookie, claims.user, now)
        joined = present = None
        session_ids = []
        happened = [min(max(at, now - LATEST), now) for at in times]  # clocks may be wrong
        for at in happened:
            if (
                by_tag
                and at <= self._lifetime.expires(joined or by_tag)
                and (own or _predates(at, by_cookie))
            ):
                joined = joined or own or self._next(by_tag, claims.user or "", at)
                joined = self._lifetime.renew(joined, at)
                session_ids.append(joined.id)
            else:
                present = present or self._present(claims, by_cookie, now, seed)
                session_ids.append(present.id)
        logged_in = frozenset(s.id for s in (present, joined) if s and s.user)
        current = present or joined
        assert current is not None  # noqa: S101 - there is at least one event
        if now > self._lifetime.expires(current):
            return Visit(session_ids, None, None, logged_in)
        by_tag, last = by_tag if current is joined else None, max(happened)
        token = self._next_token(current, claims, by_tag, by_cookie, last, now)
        return Visit(session_ids, *token, logged_in)

    def _tokens(self, claims: Claims, now: float) -> tuple[Session | None, Session | None]:
        """Return the tag's session and the cookie's, if alive; merged if they are the same."""
        by_tag = None if claims.reset else self.read(claims.tag)
        by_cookie = self.read(claims.cookie)
        if by_tag and by_cookie and by_tag.id == by_cookie.id:
            by_tag = by_cookie = merge(by_tag, by_cookie)
        if by_cookie and now > self._lifetime.cookie_expires(by_cookie):
            by_cookie = None
        return by_tag, by_cookie

    def _claim_tag(
        self, by_tag: Session, by_cookie: Session | None, user: str | None, now: float
    ) -> Session | None:
        """Return the tag's session as this user's, or the cookie's that follows it for this user.

        Return None if the tag's session is or may be another person's: an anonymous tag may be
        older than a log-in. So a user takes over an anonymous session only if the cookie has it
        too, or if there is no cookie and the session is alive.
        """
        if user is None:
            return by_tag
        anonymous = not by_tag.user
        certain = by_cookie.id == by_tag.id if by_cookie else now <= self._lifetime.expires(by_tag)
        if self._is_of(by_tag, user) or (anonymous and certain):
            return self._marked(by_tag, user, now)
        is_next = by_cookie is not None and by_cookie.id == self._id("next", by_tag.id, user)
        return by_cookie if is_next else None

    def _present(
        self, claims: Claims, by_cookie: Session | None, now: float, seed: Callable[[], str]
    ) -> Session:
        """Return the cookie's session or a new one, which replaces another person's session."""
        session = by_cookie
        if session is None or claims.reset:
            session = Session(self._id("first", seed()), int(now), int(now))
            if by_cookie and by_cookie.id == session.id:  # the request is repeated
                session = by_cookie
        if self._is_others(session, claims.user):
            session = self._next(session, claims.user or "", now)
        elif claims.user is not None:
            session = self._marked(session, claims.user, now)
        return self._lifetime.renew(session, now)

    def _next_token(
        self,
        session: Session,
        claims: Claims,
        by_tag: Session | None,
        by_cookie: Session | None,
        last: float,
        now: float,
    ) -> tuple[str | None, int | None]:
        """Return the token for the visitor, and the Max-Age of its cookie in seconds.

        `by_tag` is None unless the events joined it or the next; `last` is the last event's time.
        """
        token = self._token(session, claims)
        left = math.ceil(self._lifetime.cookie_expires(session) - now)
        seconds = None if token == claims.cookie else left
        joined_ids = (session.id, by_tag.id if by_tag else "")
        elsewhere = by_cookie is not None and by_cookie.id not in joined_ids
        if claims.reset:  # unless a session has begun since
            return token, None if elsewhere and _predates(last, by_cookie) else seconds
        if by_cookie and by_tag and elsewhere and by_cookie.started >= session.started:
            if claims.user is None or self._is_of(by_cookie, claims.user):
                return claims.cookie, None
            # Two people use two tabs at once, or the event happened before the log-in.
            return (None if _predates(last, by_cookie) else token), None
        replaced = by_cookie or by_tag
        if replaced and self._is_others(replaced, claims.user) and now - last > PROMPT:
            return None, None
        return token, seconds

    def _token(self, session: Session, claims: Claims) -> str:
        """Return the session's token: the one that was sent, if it is up to date."""
        known = (token for token in (claims.cookie, claims.tag) if self.read(token) == session)
        return next(known, None) or self.sign(session)

    def _next(self, session: Session, user: str, at: float) -> Session:
        """Return another person's next session; concurrent requests derive the same ID."""
        started = max(int(at), session.started)
        successor = Session(self._id("next", session.id, user), started, started)
        return self._marked(successor, user, started)

    def _is_of(self, session: Session, user: str) -> bool:
        return session.user in [self._mark(session.id, user, key) for key in self._keys]

    def _is_others(self, session: Session, user: str | None) -> bool:
        return bool(user is not None and session.user and not self._is_of(session, user))

    def _marked(self, session: Session, user: str, now: float) -> Session:
        return self._lifetime.log_in(session, self._mark(session.id, user, self._keys[0]), now)

    def _id(self, *parts: str) -> str:
        return self._digest(self._keys[0], *parts)[:32]

    def _mark(self, session_id: str, user: str, key: bytes) -> str:
        return self._digest(key, "user", session_id, user)[:16]

    def _digest(self, key: bytes, *parts: str) -> str:
        return hmac.new(key, "\0".join((self._purpose, *parts)).encode(), "sha256").hexdigest()


def _predates(at: float, session: Session | None) -> bool:
    """Return whether an event of this time is older than a session, or there is no session."""
    return session is None or at < session.started
