"""Say when a session ends, and for how long the visitor's browser keeps its cookie."""

from __future__ import annotations

from typing import NamedTuple

DAY = 24 * 60 * 60  # seconds
LONGEST_VISIT = DAY  # seconds after which every session ends that has a user


class Session(NamedTuple):
    """Identify one visit: its ID, its start and last renewal (epoch seconds), and its user."""

    id: str
    started: int  # if a visitor's session lasts for days, the log-in starts it anew
    renewed: int
    user: str = ""  # a keyed hash of the userId; empty while the visitor is anonymous


class Lifetime:
    """The life of one site's sessions.

    With `visitor_days`, the cookie keeps an anonymous session for so long after its start. A tag
    alone keeps it no longer than any other session: a page's tag may be older than a log-in.
    """

    def __init__(self, minutes: int, visitor_days: int = 0) -> None:
        # A token is renewed after a tenth of the timeout, not for each event. It lives a tenth
        # longer, so that a visitor never has less than the whole timeout.
        self.renew_after = minutes * 60 // 10
        self.timeout = min(minutes * 60 + self.renew_after, LONGEST_VISIT)
        self._anonymous = visitor_days * DAY

    def is_long(self, session: Session) -> bool:
        """Return whether the session is an anonymous visitor's who is recognised for days."""
        return bool(self._anonymous and not session.user)

    def expires(self, session: Session) -> int:
        """Return when a session ends unless a cookie keeps it, in epoch seconds."""
        longest = self._anonymous if self.is_long(session) else LONGEST_VISIT
        return min(session.renewed + self.timeout, session.started + longest)

    def cookie_expires(self, session: Session) -> int:
        """Return when a session's cookie ends, in epoch seconds."""
        is_long = self.is_long(session)
        return session.started + self._anonymous if is_long else self.expires(session)

    def log_in(self, session: Session, user: str, now: float) -> Session:
        """Return the session with a user's mark. An anonymous session of days starts anew."""
        if self.is_long(session):
            return Session(session.id, int(now), int(now), user)
        return session._replace(user=user)

    def renew(self, session: Session, at: float) -> Session:
        """Return the session as an event at this time renews it, if that is due."""
        due = at - session.renewed >= self.renew_after
        return session._replace(renewed=int(at)) if due else session


def merge(first: Session, second: Session) -> Session:
    """Combine two tokens of one session: the later renewal counts, and a user that one knows."""
    known = [session for session in (first, second) if session.user] or [first, second]
    earlier, later = sorted((first, second), key=lambda session: session.renewed)
    return later._replace(
        started=min(session.started for session in known), user=later.user or earlier.user
    )
