"""The sites file, and what can be told of each site without asking anybody."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from gateway.commands.check.finding import Finding
from gateway.settings import Settings
from gateway.sites import ANONYMOUS_USERS, Site
from gateway.strict_schema import SettingsError

# Random IDs have no such runs, examples have: 00000000-0000-…, 8f3b1c5e-0000-4000-8000-00000000…
PLACEHOLDER = re.compile(r"(.)\1{7}|change|example|your", re.IGNORECASE)
LOCAL = ("localhost", "127.0.0.1", "[::1]", "::1")
TRACKING_ID = (
    "aws personalize describe-event-tracker --event-tracker-arn … --query eventTracker.trackingId"
)


def of_file(error: SettingsError) -> Finding:
    """For a file that is not valid, or settings that contradict one another."""
    return Finding(
        "sites file" if "[sites" in str(error) or "GATEWAY_SITES" in str(error) else "settings",
        False,
        str(error),
        "Mend that and check again; docs/settings.md lists every key and setting",
    )


def findings(settings: Settings) -> Iterator[Finding]:
    """Yield findings on the file, and on each site's tracking ID, origins and cookie."""
    yield Finding("sites file", True, f"{settings.sites_file}: {', '.join(settings.sites)}")
    for site in settings.sites.values():
        yield _tracking_id(site)
        yield _origins(site)
        yield _cookie(site, settings.public_url)
        if site.anonymous_user_id:
            yield _anonymous_users(site)


def _tracking_id(site: Site) -> Finding:
    subject = f"site {site.key}: tracking ID"
    if site.tracking_id.startswith("arn:"):
        return Finding(subject, False, "an ARN, not a tracking ID", f"Get it with: {TRACKING_ID}")
    if "…" in site.tracking_id or "..." in site.tracking_id:
        return Finding(subject, False, "an example, cut short", f"Get yours with: {TRACKING_ID}")
    if PLACEHOLDER.search(site.tracking_id):
        return Finding(
            subject, True, site.tracking_id, f"A placeholder? Get yours with: {TRACKING_ID}"
        )
    return Finding(subject, True, site.tracking_id)


def _origins(site: Site) -> Finding:
    subject, text = f"site {site.key}: origins", ", ".join(site.origins) or "none"
    if not (site.origins or site.allow_missing_origin or site.allow_null_origin):
        remedy = "Name the pages' origins, or, for servers alone, set allow_missing_origin = true"
        return Finding(subject, False, "none, so nobody may send", remedy)
    plain = [url for url in site.origins if url.startswith("http:") and not _is_local(url)]
    if plain:
        return Finding(
            subject, True, text, f"{plain[0]} is not https: its events can be read on the way"
        )
    return Finding(subject, True, text)


def _cookie(site: Site, public_url: str) -> Finding:
    subject, host = f"site {site.key}: cookie", urlsplit(public_url).hostname or ""
    domain = (site.cookie_domain or "").lstrip(".").lower()
    if _is_local(public_url):
        remedy = "Set GATEWAY_PUBLIC_URL to the address that browsers use, to have this checked"
        return Finding(subject, True, f"for {host}", remedy)
    if domain and host != domain and not host.endswith(f".{domain}"):
        text = f"cookie_domain {domain} does not cover {host}, so browsers refuse it"
        return Finding(
            subject, False, text, f"Leave cookie_domain out, or name a domain above {host}"
        )
    if site.cookie_samesite == "None" and public_url.startswith("http:"):
        text = 'cookie_samesite = "None" without https, so browsers refuse it'
        return Finding(subject, False, text, 'Serve the gateway on https, or use "Lax"')
    text = f"for {domain or host}, SameSite={site.cookie_samesite}"
    elsewhere = [url for url in site.origins if _registrable(url) != _registrable(public_url)]
    if site.cookie_samesite == "Lax" and elsewhere:
        remedy = (
            f"{elsewhere[0]} is another site than {host}, so browsers send no cookie from there: "
            'serve the gateway on a subdomain of that site, or set cookie_samesite = "None"'
        )
        return Finding(subject, True, text, remedy)
    return Finding(subject, True, text)


def _anonymous_users(site: Site) -> Finding:
    remedy = "Leave anonymous_user_id out if visitors can ever log in"
    if not site.visitor_days:
        remedy += "; set visitor_days, or each visit counts as another user"
    return Finding(f"site {site.key}: anonymous users", True, ANONYMOUS_USERS, remedy)


def _registrable(url: str) -> str:
    """Return the domain by which browsers tell sites apart, nearly: no list of suffixes is asked.

    Takes `co.uk` and `com.au` for suffixes, and every other last label.
    """
    host = urlsplit(url).hostname or ""
    if host.replace(".", "").isdigit():
        return host
    labels = host.removeprefix("*.").split(".")
    has_long_suffix = len(labels) > 2 and len(labels[-1]) == 2 and len(labels[-2]) <= 3
    return ".".join(labels[-3 if has_long_suffix else -2 :])


def _is_local(url: str) -> bool:
    return (urlsplit(url).hostname or "") in LOCAL
