"""Who is visiting: signed session tokens, read, begun and renewed. Pure: the clock comes in.

A token is `<session ID>.<started>.<renewed>.<user mark>.<signature>`, times in whole epoch seconds.
It is valid for the site that it was signed for and no other. The same token is in the session
cookie and in the session tag that a page keeps, for late events and where cookies are blocked.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

from itsdangerous import BadSignature, Signer

LONGEST = 256  # characters of a token that are worth a look
KEPT = 1024  # tokens of a site of which it is kept what they say
LONGEST_VISIT = 24 * 60 * 60  # seconds, however busy it is
LATEST = 24 * 60 * 60  # seconds after which nothing is believed to have waited in a page


class Session(NamedTuple):
    """One visit: its ID, when it began and was last renewed (epoch seconds), and whose it is."""

    id: str
    started: int
    renewed: int
    user: str = ""  # a mark of the userId, which it doesn't tell; empty while nobody is known


class Claims(NamedTuple):
    """What a request says of who sends it. Tokens that aren't ours count for nothing."""

    user: str | None = None  # a userId that counts
    tag: str | None = None  # the token that the page had when the events happened
    cookie: str | None = None  # the token that the browser has now


class Visit(NamedTuple):
    """Where events belong, and what the visitor is to keep for the next ones."""

    session_ids: Sequence[str]  # of each event
    token: str | None  # of the visitor's present session; None where that is over
    cookie_seconds: int | None  # for which a cookie is to hold it; None: no need to set one


class Sessions:
    """The sessions of one site."""

    def __init__(self, site: str, secret_keys: Sequence[str], minutes: int) -> None:
        """`secret_keys`: newest first; the first signs, all are believed."""
        self._purpose = f"personalize-gateway.session.{site}"
        self._keys = [key.encode() for key in secret_keys]
        self._signer = Signer(
            list(reversed(secret_keys)),
            salt=self._purpose,
            key_derivation="hmac",
            digest_method=hashlib.sha256,
        )
        # A visitor sends the same token with every beacon until it is renewed.
        self._read = lru_cache(maxsize=KEPT)(self._unsigned)
        # A token is renewed when a tenth of its time is over, not for each event, and lives a
        # tenth longer for that: a visitor has never less than the whole timeout.
        self.renew_after = minutes * 60 // 10
        self.lifetime = minutes * 60 + self.renew_after

    def read(self, token: str | None) -> Session | None:
        """The session that a token stands for, alive or not; None where it is not ours."""
        return self._read(token) if token and len(token) <= LONGEST else None

    def _unsigned(self, token: str) -> Session | None:
        try:
            session_id, started, renewed, user = self._signer.unsign(token).decode().split(".")
            return Session(session_id, int(started), int(renewed), user)
        except (BadSignature, ValueError):
            return None

    def sign(self, session: Session) -> str:
        """The token of a session."""
        return self._signer.sign(".".join(map(str, session))).decode()

    def expires(self, session: Session) -> int:
        """The last moment of a session, in epoch seconds."""
        return min(session.renewed + self.lifetime, session.started + LONGEST_VISIT)

    def visit(
        self, claims: Claims, times: Sequence[float], now: float, first: Callable[[], str]
    ) -> Visit:
        """The sessions of events that happened at these times, of which there is one at least.

        An event belongs to the tag's session if it happened during its life, however late it
        comes; else to the cookie's, if that is alive now; else to a new one, whose ID follows from
        `first()`: a request that is repeated because its answer was lost meets the same session.
        """
        tagged, held = self.read(claims.tag), self.read(claims.cookie)
        known = {tagged: claims.tag, held: claims.cookie}
        if tagged and held and tagged.id == held.id:
            tagged = max(tagged, held)  # the later renewed
        if held and now > self.expires(held):
            held = None
        joined = present = None
        session_ids = []
        for moment in times:
            at = min(max(moment, now - LATEST), now)  # clocks and callers say what they like
            if tagged and at <= self.expires(joined or tagged):
                joined = self._renewed(joined or self._of(tagged, claims.user, at), at)
                session_ids.append(joined.id)
            else:
                present = present or self._present(held, claims.user, now, first)
                session_ids.append(present.id)
        mine = present or joined
        assert mine is not None  # noqa: S101 - there is an event at least
        if now > self.expires(mine):
            return Visit(session_ids, None, None)
        if held and tagged and mine.id == tagged.id != held.id and held.started >= mine.started:
            return Visit(session_ids, claims.cookie, None)  # which has begun since
        token = known.get(mine) or self.sign(mine)
        seconds = None if token == claims.cookie else math.ceil(self.expires(mine) - now)
        return Visit(session_ids, token, seconds)

    def _present(
        self, held: Session | None, user: str | None, now: float, first: Callable[[], str]
    ) -> Session:
        """The cookie's session, or a new one."""
        mine = held or Session(self._id("first", first()), int(now), int(now))
        return self._renewed(self._of(mine, user, now), now)

    def _of(self, session: Session, user: str | None, at: float) -> Session:
        """The session as this user's: where it was another person's, the one that follows it.

        Its ID is always the same, so that requests on their way at once meet in one session.
        """
        if user is None:
            return session
        marks = [self._mark(session.id, user, key) for key in self._keys]
        if session.user in ("", *marks):
            return session._replace(user=marks[0])
        next_id = self._id("next", session.id, user)
        return Session(next_id, int(at), int(at), self._mark(next_id, user, self._keys[0]))

    def _renewed(self, session: Session, at: float) -> Session:
        due = at - session.renewed >= self.renew_after
        return session._replace(renewed=int(at)) if due else session

    def _id(self, *parts: str) -> str:
        return self._digest(self._keys[0], *parts)[:32]

    def _mark(self, session_id: str, user: str, key: bytes) -> str:
        return self._digest(key, "user", session_id, user)[:16]

    def _digest(self, key: bytes, *parts: str) -> str:
        return hmac.new(key, "\0".join((self._purpose, *parts)).encode(), "sha256").hexdigest()
