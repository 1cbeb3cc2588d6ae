"""The gates between a site's door and its events, cheapest first: too many, unwanted, no person's.

Shared by every route that takes events.
"""

from __future__ import annotations

from werkzeug.datastructures import Headers

from gateway import metrics
from gateway.bots import is_bot
from gateway.rates import Rates
from gateway.refusals import Refusal
from gateway.sites import Site


def pass_gates(
    site: Site, events: int, headers: Headers, address: str | None, rates: Rates
) -> None:
    """Let so many events of a client through; raise Refusal, which is a 204 where none is wrong."""
    wait = rates.wait(site, address or "", events)
    if wait:
        why = "Too many events from one address; behind a proxy, see GATEWAY_TRUSTED_PROXIES"
        raise Refusal(429, "rate_limit", why, retry_after=wait)
    if site.honor_gpc and headers.get("Sec-GPC") == "1":
        raise Refusal(204, "gpc", "The visitor's browser asks not to be tracked: Sec-GPC")
    if site.honor_dnt and headers.get("DNT") == "1":
        raise Refusal(204, "dnt", "The visitor's browser asks not to be tracked: DNT")
    if is_bot(headers.get("User-Agent", "")):
        metrics.BOTS.labels(site.key).inc(events)
        if site.drop_bots:
            raise Refusal(204, "bot", "By its user agent this is a bot")
