"""The gates before a site's events, cheapest first: unwanted, too many, no person's.

Shared by every route that takes events. Consent is asked before all else that may be remembered.
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

REJECTED = "rejected requests"  # what they are counted as; with its space it is no site's key
REJECTED_A_MINUTE = 600  # that an address may send to a worker
OF_STRANGERS = frozenset(
    {Reason.UNKNOWN_SITE, Reason.FOREIGN_ORIGIN}
)  # reasons that nothing comes before

# The header, the reason of its 204, and the header's name.
SIGNALS = (("HTTP_SEC_GPC", Reason.GPC, "Sec-GPC"), ("HTTP_DNT", Reason.DNT, "DNT"))


def ask_consent(site: Site | None, environ: Mapping[str, Any]) -> None:
    """Raise a Refusal of status 204 where the browser asks not to be tracked."""
    if signal := refuses_tracking(site, environ):
        reason, name = signal
        raise RequestRejected(204, reason, f"The visitor's browser asks not to be tracked: {name}")


def refuses_tracking(site: Site | None, environ: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the signal not to be tracked that counts: its reason code and its header's name.

    A site may ignore either signal. For None, an unknown site, both count.
    """
    for header, reason, name in SIGNALS:
        if environ.get(header) == "1" and (site is None or getattr(site, f"honor_{reason}")):
            return reason, name
    return None


def count_rejected(refusal: RequestRejected, address: str | None, rates: RateLimiter) -> None:
    """Count a request whose site is unknown or whose origin is foreign; raise 429 past the limit.

    Nothing else limits these, since there is no site whose `events_per_minute` could.
    """
    if refusal.reason in OF_STRANGERS:
        limit_rejected(address, rates, 1)


def limit_rejected(address: str | None, rates: RateLimiter, count: int = 0) -> None:
    """Add to an address's rejected requests; raise a Refusal of status 429 past the limit."""
    wait = rates.count(REJECTED, address or "", count, REJECTED_A_MINUTE)
    if wait:
        why = "Too many rejected requests from one address: check its trackingId and Origin"
        raise RequestRejected(429, Reason.RATE_LIMIT, why, retry_after=wait)


def apply_filters(
    site: Site, events: int, environ: Mapping[str, Any], address: str | None, rates: RateLimiter
) -> None:
    """Let so many events of a client through; raise Refusal, which is a 204 where none is wrong.

    `environ` is WSGI's: to ask it for a header takes a tenth of what a werkzeug object takes.
    """
    wait = rates.wait(site, address or "", events)
    if wait:
        why = "Too many events from one address; behind a proxy, see GATEWAY_TRUSTED_PROXIES"
        raise RequestRejected(429, Reason.RATE_LIMIT, why, retry_after=wait)
    if is_bot(environ.get("HTTP_USER_AGENT", "")):
        metrics.BOTS.labels(site.key).inc(events)
        if site.drop_bots:
            raise RequestRejected(204, Reason.BOT, "By its user agent this is a bot")
