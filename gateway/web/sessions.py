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
PROMPT = 30.0  # seconds for which an event tells who is visiting now


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
    reset: bool = False  # the events begin a new session


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

    def choose(self, cookies: Sequence[str], tag: str | None, now: float) -> str | None:
        """Return the cookie to believe of several by one name; None where none is ours.

        Prefer the session of the tag, then one that is alive, then the first.
        """
        tagged = self.read(tag)
        ours = [(cookie, session) for cookie in cookies if (session := self.read(cookie))]
        ours.sort(key=lambda one: now > self.expires(one[1]))
        if tagged:
            ours.sort(key=lambda one: one[1].id != tagged.id)
        return ours[0][0] if ours else None

    def visit(
        self, claims: Claims, times: Sequence[float], now: float, first: Callable[[], str]
    ) -> Visit:
        """Return the sessions of events that happened at these times; there is one at least.

        An event belongs to the tag's session if it happened during its life, however late it
        comes; else to the cookie's, if that is alive now; else to a new one, whose ID follows from
        `first()`: a request that is repeated because its answer was lost meets the same session.
        """
        tagged, held = self._tokens(claims, now)
        own = tagged and self._own(tagged, held, claims.user, now)
        joined = present = None
        session_ids = []
        happened = [min(max(at, now - LATEST), now) for at in times]  # whatever clocks say
        for at in happened:
            if tagged and at <= self.expires(joined or tagged) and (own or _before(held, at)):
                joined = joined or own or self._next(tagged, claims.user or "", at)
                joined = self._renewed(joined, at)
                session_ids.append(joined.id)
            else:
                present = present or self._present(claims, held, now, first)
                session_ids.append(present.id)
        mine = present or joined
        assert mine is not None  # noqa: S101 - there is an event at least
        if now > self.expires(mine):
            return Visit(session_ids, None, None)
        last = max(happened)
        joins = tagged if mine is joined else None
        return Visit(session_ids, *self._hand_out(mine, claims, joins, held, last, now))

    def _tokens(self, claims: Claims, now: float) -> tuple[Session | None, Session | None]:
        """Return the tag's session, and the cookie's if it is alive; of one session, as one."""
        tagged, held = self.read(None if claims.reset else claims.tag), self.read(claims.cookie)
        if tagged and held and tagged.id == held.id:
            tagged = held = _merged(tagged, held)
        return tagged, None if held and now > self.expires(held) else held

    def _own(
        self, tagged: Session, held: Session | None, user: str | None, now: float
    ) -> Session | None:
        """Return the tag's session as this user's, or the cookie's that follows it for this user.

        None where the tag's session is, or may be, another person's: an anonymous tag may be older
        than a log-in. So a user takes its session only while the cookie has that session too, or
        there is no cookie and the session is alive.
        """
        if user is None:
            return tagged
        anonymous = not tagged.user
        certain = held.id == tagged.id if held else now <= self.expires(tagged)
        if self._is_of(tagged, user) or (anonymous and certain):
            return self._marked(tagged, user)
        return held if held and held.id == self._id("next", tagged.id, user) else None

    def _present(
        self, claims: Claims, held: Session | None, now: float, first: Callable[[], str]
    ) -> Session:
        """Return the cookie's session, or a new one; another person's is followed by the next."""
        mine = held
        if mine is None or claims.reset:
            mine = Session(self._id("first", first()), int(now), int(now))
            if held and held.id == mine.id:  # the request is repeated
                mine = held
        if claims.user is not None:
            others = mine.user and not self._is_of(mine, claims.user)
            mine = self._next(mine, claims.user, now) if others else self._marked(mine, claims.user)
        return self._renewed(mine, now)

    def _hand_out(
        self,
        mine: Session,
        claims: Claims,
        tagged: Session | None,
        held: Session | None,
        last: float,
        now: float,
    ) -> tuple[str | None, int | None]:
        """Return the token for the visitor, and the seconds for which a cookie is to hold it.

        `tagged` where the events have joined that session, or the one that follows it; `last` is
        when the last of them happened.
        """
        token = self._token(mine, claims)
        seconds = None if token == claims.cookie else math.ceil(self.expires(mine) - now)
        elsewhere = held is not None and held.id not in (mine.id, tagged.id if tagged else "")
        if claims.reset:  # unless a session has begun since
            return token, None if elsewhere and _before(held, last) else seconds
        if held and tagged and elsewhere and held.started >= mine.started:
            if claims.user is None or self._is_of(held, claims.user):
                return claims.cookie, None
            # Two people at once, in two tabs, or an event of before.
            return (None if _before(held, last) else token), None
        replaced = held or tagged
        if replaced and self._is_others(replaced, claims.user) and now - last > PROMPT:
            return None, None
        return token, seconds

    def _token(self, session: Session, claims: Claims) -> str:
        """Return the session's token: one that was sent where it says the same."""
        known = (token for token in (claims.cookie, claims.tag) if self.read(token) == session)
        return next(known, None) or self.sign(session)

    def _next(self, session: Session, user: str, at: float) -> Session:
        """Return the session of another person that follows this one.

        Its ID is always the same, so that requests on their way at once meet in one session.
        """
        begun = max(int(at), session.started)
        return self._marked(Session(self._id("next", session.id, user), begun, begun), user)

    def _is_of(self, session: Session, user: str) -> bool:
        return session.user in [self._mark(session.id, user, key) for key in self._keys]

    def _is_others(self, session: Session, user: str | None) -> bool:
        return bool(user is not None and session.user and not self._is_of(session, user))

    def _marked(self, session: Session, user: str) -> Session:
        return session._replace(user=self._mark(session.id, user, self._keys[0]))

    def _renewed(self, session: Session, at: float) -> Session:
        due = at - session.renewed >= self.renew_after
        return session._replace(renewed=int(at)) if due else session

    def _id(self, *parts: str) -> str:
        return self._digest(self._keys[0], *parts)[:32]

    def _mark(self, session_id: str, user: str, key: bytes) -> str:
        return self._digest(key, "user", session_id, user)[:16]

    def _digest(self, key: bytes, *parts: str) -> str:
        return hmac.new(key, "\0".join((self._purpose, *parts)).encode(), "sha256").hexdigest()


def _before(held: Session | None, at: float) -> bool:
    """Whether something happened before the browser's present session began, if it has one."""
    return held is None or at < held.started


def _merged(one: Session, other: Session) -> Session:
    """Return what two tokens of one session say together."""
    earlier, later = sorted((one, other), key=lambda session: session.renewed)
    started = min(one.started, other.started)
    return later._replace(started=started, user=later.user or earlier.user)
