"""What the web end knows of one site: which pages it lets in, and who a visitor is."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import NamedTuple
from uuid import uuid4

from gateway import origins
from gateway.events import Request
from gateway.sessions import Sessions
from gateway.sites import Site


class Visitor(NamedTuple):
    """Whose events these are, and the session token to hand out where one is due."""

    session_id: str
    user_id: str | None
    token: str | None
    anonymous_because: str | None  # a reason code, where a userId was sent and did not count


class Door:
    """One site's."""

    def __init__(self, site: Site, secret_keys: Sequence[str]) -> None:
        self.site = site
        self.cookie = f"pz_sid_{site.key}"
        self.sessions = Sessions(site.key, secret_keys, site.session_minutes)
        self._own = origins.pattern(site.origins)

    def admits(self, origin: str | None) -> bool:
        """Whether a page of this origin may send the site's events."""
        return self.site.allow_missing_origin if origin is None else bool(self._own.match(origin))

    def visitor(self, request: Request, cookie: str | None, now: float) -> Visitor:
        """Who sends this: a session ID is taken as given, else it is the cookie's, or a new one."""
        because = "placeholder" if request.anonymised else None
        user_id = request.user_id
        if user_id is not None and not self._proves(user_id, request.signature):
            user_id, because = None, "signature"
        if request.session_id is not None:
            return Visitor(request.session_id, user_id, None, because)
        known = None if request.reset else cookie
        session, token = self.sessions.visit(known, now, lambda: uuid4().hex)
        return Visitor(session.id, user_id, token, because)

    def _proves(self, user_id: str, signature: str | None) -> bool:
        """Whether the site's backend has signed the userId, or the site asks for no proof."""
        secret = self.site.user_secret
        if secret is None:
            return True
        right = hmac.new(secret.encode(), user_id.encode(), "sha256").hexdigest()
        return hmac.compare_digest(right.encode(), (signature or "").encode())
