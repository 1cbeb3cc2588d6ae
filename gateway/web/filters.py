"""Filter requests before their events are validated: consent, rate limits, bots.

Shared by every route that takes events. Consent is checked before anything is recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.observability import metrics
from gateway.reasons import Reason
from gateway.sites import Site
from gateway.web.bots import is_bot
from gateway.web.errors import RequestRejected
from gateway.web.rate_limits import RateLimiter

REJECTED = "rejected requests"  # the counter's name; a site's key has no space
REJECTED_A_MINUTE = 600  # per address and worker
# The rejections that no site's `events_per_minute` limits.
UNLIMITED = frozenset({Reason.UNKNOWN_SITE, Reason.FOREIGN_ORIGIN})


def require_consent(site: Site | None, environ: Mapping[str, Any]) -> None:
    """Reject with status 204 if the browser asks not to be tracked."""
    if signal := find_opt_out(site, environ):
        reason, name = signal
        raise RequestRejected(204, reason, f"The visitor's browser asks not to be tracked: {name}")


def find_opt_out(site: Site | None, environ: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the reason code and the name of the header that asks not to be tracked, if any.

    A site may ignore either header. If the site is unknown (None), both count.
    """
    if environ.get("HTTP_SEC_GPC") == "1" and (site is None or site.honor_gpc):
        return Reason.GPC, "Sec-GPC"
    if environ.get("HTTP_DNT") == "1" and (site is None or site.honor_dnt):
        return Reason.DNT, "DNT"
    return None


def count_rejected(
    rejection: RequestRejected, address: str | None, rate_limiter: RateLimiter
) -> None:
    """Count a request with an unknown site or a foreign origin; reject it with 429 past the limit.

    Nothing else limits these requests: `events_per_minute` belongs to a site.
    """
    if rejection.reason in UNLIMITED:
        limit_rejected(address, rate_limiter, 1)


def limit_rejected(address: str | None, rate_limiter: RateLimiter, count: int = 0) -> None:
    """Add to an address's rejected requests; reject with status 429 past the limit."""
    wait = rate_limiter.count(REJECTED, address or "", count, REJECTED_A_MINUTE)
    if wait:
        why = "Too many rejected requests from one address: check its trackingId and Origin"
        raise RequestRejected(429, Reason.RATE_LIMIT, why, retry_after=wait)


def apply_filters(
    site: Site,
    events: int,
    environ: Mapping[str, Any],
    address: str | None,
    rate_limiter: RateLimiter,
) -> None:
    """Reject a request with 429 past its address's limit, or with 204 if a bot sent it.

    Headers are read from WSGI's `environ`, which is ten times faster than werkzeug's headers.
    """
    wait = rate_limiter.wait(site, address or "", events)
    if wait:
        why = "Too many events from one address; behind a proxy, see GATEWAY_TRUSTED_PROXIES"
        raise RequestRejected(429, Reason.RATE_LIMIT, why, retry_after=wait)
    if is_bot(environ.get("HTTP_USER_AGENT", "")):
        metrics.BOTS.labels(site.key).inc(events)
        if site.drop_bots:
            raise RequestRejected(204, Reason.BOT, "By its user agent this is a bot")
