"""The gates between a site's door and its events, cheapest first: unwanted, too many, no person's.

Shared by every route that takes events.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.sites import Site
from gateway.telemetry import metrics
from gateway.web.bots import is_bot
from gateway.web.rates import Rates
from gateway.web.refusals import Refusal


def pass_gates(
    site: Site, events: int, environ: Mapping[str, Any], address: str | None, rates: Rates
) -> None:
    """Let so many events of a client through; raise Refusal, which is a 204 where none is wrong.

    `environ` is WSGI's: to ask it for a header takes a tenth of what a werkzeug object takes.
    """
    if site.honor_gpc and environ.get("HTTP_SEC_GPC") == "1":
        raise Refusal(204, "gpc", "The visitor's browser asks not to be tracked: Sec-GPC")
    if site.honor_dnt and environ.get("HTTP_DNT") == "1":
        raise Refusal(204, "dnt", "The visitor's browser asks not to be tracked: DNT")
    wait = rates.wait(site, address or "", events)
    if wait:
        why = "Too many events from one address; behind a proxy, see GATEWAY_TRUSTED_PROXIES"
        raise Refusal(429, "rate_limit", why, retry_after=wait)
    if is_bot(environ.get("HTTP_USER_AGENT", "")):
        metrics.BOTS.labels(site.key).inc(events)
        if site.drop_bots:
            raise Refusal(204, "bot", "By its user agent this is a bot")
