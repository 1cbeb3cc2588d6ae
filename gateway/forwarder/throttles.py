"""The throttles of all sites, at the rates that the settings say."""

from __future__ import annotations

from gateway.forwarder.backoff import SiteThrottle
from gateway.reload import ReloadableSettings

CALLS_AT_ONCE = 32  # for each site
MOST_FAILURES = 6  # in a row, after which a site is no longer waited for


class Throttles:
    """One SiteThrottle for each site that had events."""

    def __init__(self, settings: ReloadableSettings) -> None:
        self._settings = settings
        self._by_site: dict[str, SiteThrottle] = {}

    def of(self, site: str) -> SiteThrottle:
        """Return a site's throttle."""
        if site not in self._by_site:
            self._by_site[site] = SiteThrottle(CALLS_AT_ONCE, self._calls_per_second(site))
        return self._by_site[site]

    def restart(self, now: float) -> None:
        """Pace the sites as the settings say now, and try at once those that waited."""
        for site, throttle in self._by_site.items():
            throttle.calls_per_second = self._calls_per_second(site)
            throttle.wait_until, throttle.trouble = now, None

    def troubles(self) -> dict[str, str]:
        """Return why nothing is delivered, by site."""
        found = ((site, throttle.trouble) for site, throttle in self._by_site.items())
        return {site: trouble for site, trouble in found if trouble}

    def may_deliver(self) -> bool:
        """Return whether a site has calls in flight, or failed and is worth waiting for."""
        return any(
            throttle.in_flight or 0 < throttle.failures < MOST_FAILURES
            for throttle in self._by_site.values()
        )

    def _calls_per_second(self, key: str) -> float:
        site = self._settings.sites.get(key)
        return site.calls_per_second if site else float("inf")
