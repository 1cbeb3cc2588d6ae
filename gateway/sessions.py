"""Who is visiting: signed session tokens, read, started and renewed. Pure: clock and IDs come in.

A token is `<session ID>.<started>.<renewed>.<signature>`, times in whole epoch seconds. It is
valid for the site that it was signed for and no other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

from itsdangerous import BadSignature, Signer

LONGEST = 256  # characters of a token that are worth a look


class Session(NamedTuple):
    """One visit: its ID, when it began and when its token was last renewed (epoch seconds)."""

    id: str
    started: int
    renewed: int


class Sessions:
    """The sessions of one site."""

    def __init__(self, site: str, secret_keys: Sequence[str], minutes: int) -> None:
        """`secret_keys`: newest first; the first signs, all are believed."""
        self._signer = Signer(
            list(reversed(secret_keys)),
            salt=f"personalize-gateway.session.{site}",
            key_derivation="hmac",
            digest_method=hashlib.sha256,
        )
        # A token is renewed when a tenth of its time is over, not for each event, and lives a
        # tenth longer for that: a visitor has never less than the whole timeout.
        self.renew_after = minutes * 60 // 10
        self.lifetime = minutes * 60 + self.renew_after

    def read(self, token: str | None, now: float) -> Session | None:
        """The session that a token stands for; None where it is missing, forged or expired."""
        if not token or len(token) > LONGEST:
            return None
        try:
            session_id, started, renewed = self._signer.unsign(token).decode().split(".")
            session = Session(session_id, int(started), int(renewed))
        except (BadSignature, ValueError):
            return None
        return session if now - session.renewed <= self.lifetime else None

    def visit(
        self, token: str | None, now: float, new_id: Callable[[], str]
    ) -> tuple[Session, str | None]:
        """The session at hand or a new one, and its token where it is due for renewal."""
        session = self.read(token, now)
        if session and now - session.renewed < self.renew_after:
            return session, None
        moment = int(now)
        session = session._replace(renewed=moment) if session else Session(new_id(), moment, moment)
        return session, self.sign(session)

    def sign(self, session: Session) -> str:
        """The token of a session."""
        return self._signer.sign(".".join(map(str, session))).decode()
