"""Who may see what is for operators alone: programs by bearer token, people by a cookie."""

from __future__ import annotations

import hmac
import time
from collections.abc import Sequence
from hashlib import sha256

from flask import Request, Response
from itsdangerous import BadSignature, TimestampSigner

from gateway.reasons import Reason
from gateway.web.errors import RequestRejected
from gateway.web.rate_limits import RateLimiter

COOKIE = "pz_admin"
SECONDS = 60 * 60  # that a log-in lasts without use
RENEW_AFTER = SECONDS // 10
GUESSES = 30  # wrong tokens that an address may send in a minute
GUESSED = "admin token"  # what they are counted as; with its space it is no site's key
LONGEST = 12 * 60 * 60  # seconds, however much it is used


class AdminAuth:
    """Knows the admin token. A change of it, or of the secret keys, logs everybody out."""

    def __init__(self, token: str, secret_keys: Sequence[str], rates: RateLimiter) -> None:
        """`secret_keys`: newest first; the first signs, all are believed."""
        self._token = token.encode()
        self._rates = rates
        self._signer = TimestampSigner(
            list(reversed(secret_keys)),
            salt=f"personalize-gateway.admin.{sha256(self._token).hexdigest()}",
            key_derivation="hmac",
            digest_method=sha256,
        )

    def admits(self, request: Request) -> bool:
        """Whether the request bears the token, or the cookie of a log-in; Refusal: see is_token."""
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.is_token(given.strip(), request):
            return True
        return self._started(request.cookies.get(COOKIE)) is not None

    def is_token(self, given: str, request: Request) -> bool:
        """Whether this is the token; how long the look takes does not tell how near it was.

        Raises Refusal where the address has guessed too often to be told.
        """
        self.require_unlocked(request)
        right = hmac.compare_digest(given.encode(), self._token)
        if not right:
            self._guessed(request, 1)
        return right

    def require_unlocked(self, request: Request) -> None:
        """Raise a Refusal of status 429 where the address has guessed too often."""
        if wait := self._guessed(request, 0):
            why = "Too many wrong tokens from this address"
            raise RequestRejected(429, Reason.ADMIN_GUESSES, why, retry_after=wait)

    def _guessed(self, request: Request, wrong: int) -> int:
        """Count so many wrong tokens of its address; the seconds to wait once it has sent all."""
        return self._rates.count(GUESSED, request.remote_addr or "", wrong, GUESSES - 1)

    def log_in(self, request: Request, response: Response, started: int | None = None) -> None:
        """Set the cookie. It names no path, so that it holds for that of the request's folder."""
        response.set_cookie(
            COOKIE,
            self._signer.sign(str(started or int(time.time()))).decode(),
            max_age=SECONDS,
            path=None,
            secure=request.is_secure,
            httponly=True,
            samesite="Strict",
        )

    def renew(self, request: Request, response: Response) -> None:
        """Let a log-in that is in use last, once a while, and not for ever."""
        cookie = request.cookies.get(COOKIE)
        started = self._started(cookie)
        if cookie and started and self._started(cookie, RENEW_AFTER) is None:
            self.log_in(request, response, started)

    def _started(self, cookie: str | None, seconds: int = SECONDS) -> int | None:
        """When this log-in was, in epoch seconds; None where it is none, or over."""
        try:
            started = int(self._signer.unsign(cookie or "", max_age=seconds))
        except (BadSignature, ValueError):
            return None
        return started if time.time() - started <= LONGEST else None
