"""Authenticate operators: programs by bearer token, people by a log-in cookie."""

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
SECONDS = 60 * 60  # after which an unused log-in ends
RENEW_AFTER = SECONDS // 10
GUESSES = 30  # wrong tokens per address and minute
GUESSED = "admin token"  # the counter's name; a site's key has no space
LONGEST = 12 * 60 * 60  # seconds after which every log-in ends


class AdminAuth:
    """Check the admin token and log-ins. Changing the token or the secret keys ends all log-ins."""

    def __init__(self, token: str, secret_keys: Sequence[str], rate_limiter: RateLimiter) -> None:
        """Take the secret keys newest first: the first one signs, all of them verify."""
        self._token = token.encode()
        self._rate_limiter = rate_limiter
        self._signer = TimestampSigner(
            list(reversed(secret_keys)),
            salt=f"personalize-gateway.admin.{sha256(self._token).hexdigest()}",
            key_derivation="hmac",
            digest_method=sha256,
        )

    def is_admin(self, request: Request) -> bool:
        """Return whether the request has the token or a valid log-in. Raises as `is_token`."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.is_token(token.strip(), request):
            return True
        return self._started(request.cookies.get(COOKIE)) is not None

    def is_token(self, token: str, request: Request) -> bool:
        """Return whether this is the admin token, in constant time.

        Raise RequestRejected if the address has sent too many wrong ones.
        """
        self.require_unlocked(request)
        is_right = hmac.compare_digest(token.encode(), self._token)
        if not is_right:
            self._count_wrong(request, 1)
        return is_right

    def require_unlocked(self, request: Request) -> None:
        """Reject with status 429 if the address has sent too many wrong tokens."""
        if wait := self._count_wrong(request, 0):
            why = "Too many wrong tokens from this address"
            raise RequestRejected(429, Reason.ADMIN_GUESSES, why, retry_after=wait)

    def _count_wrong(self, request: Request, count: int) -> int:
        """Count wrong tokens of an address; return the seconds to wait if it sent too many."""
        return self._rate_limiter.count(GUESSED, request.remote_addr or "", count, GUESSES - 1)

    def log_in(self, request: Request, response: Response, started: int | None = None) -> None:
        """Set the cookie. Without a path it holds below the log-in's own path only."""
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
        """Set the cookie again if a tenth of its time is over and the log-in is not too old."""
        cookie = request.cookies.get(COOKIE)
        started = self._started(cookie)
        if cookie and started and self._started(cookie, RENEW_AFTER) is None:
            self.log_in(request, response, started)

    def _started(self, cookie: str | None, seconds: int = SECONDS) -> int | None:
        """Return when this log-in was (epoch seconds), or None if it is invalid or over."""
        try:
            started = int(self._signer.unsign(cookie or "", max_age=seconds))
        except (BadSignature, ValueError):
            return None
        return started if time.time() - started <= LONGEST else None
