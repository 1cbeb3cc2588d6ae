"""Read a site's session cookie, and hand a session's token to the page and the browser."""

from __future__ import annotations

import re

from flask import Response

from gateway.sites import Site
from gateway.web.sessions import Visit

TOKEN_HEADER = "X-Gateway-Session"  # noqa: S105 - a header's name


class SessionCookie:
    """The session cookie of one site."""

    def __init__(self, site: Site) -> None:
        self.name = f"pz_sid_{site.key}"
        self._domain = site.cookie_domain
        self._samesite = site.cookie_samesite
        self._lasts_for_days = bool(site.visitor_days)
        self._find = re.compile(rf"(?:^|;) *{re.escape(self.name)}=([^; ]*)").findall

    def read(self, header: str) -> list[str]:
        """Return the tokens in a Cookie header; browsers may send several of one name."""
        return self._find(header)

    def write(self, response: Response, visit: Visit, *, is_secure: bool) -> None:
        """Put the visit's token into the header for the page, and into a cookie if one is due."""
        if visit.token is None:
            return
        response.headers[TOKEN_HEADER] = visit.token
        if visit.cookie_seconds is None:
            return
        self._set(response, visit.token, visit.cookie_seconds, is_secure=is_secure)

    def delete(self, response: Response, header: str, *, is_secure: bool) -> None:
        """Delete a cookie that lasts for days, if the Cookie header has it."""
        if self._lasts_for_days and self.read(header):
            self._set(response, "", 0, is_secure=is_secure)

    def _set(self, response: Response, value: str, seconds: int, *, is_secure: bool) -> None:
        cross_site = self._samesite == "None"
        response.set_cookie(
            self.name,
            value,
            max_age=seconds,
            domain=self._domain,
            secure=cross_site or is_secure,  # browsers reject SameSite=None without Secure
            httponly=True,
            samesite=self._samesite,
            partitioned=cross_site,  # one cookie per embedding site, where browsers block others
        )
