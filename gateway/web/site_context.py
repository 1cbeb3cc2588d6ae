"""Hold what the web end derives from each site's settings."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from gateway.origins import OriginPolicy
from gateway.sites import Site
from gateway.web.session_cookie import SessionCookie
from gateway.web.session_lifetime import Lifetime
from gateway.web.sessions import Sessions


@dataclass(frozen=True, slots=True)
class SiteContext:
    """One site with its origin policy, its sessions and their cookie."""

    site: Site
    origins: OriginPolicy
    sessions: Sessions
    cookie: SessionCookie


def build_contexts(sites: Collection[Site], secret_keys: Sequence[str]) -> dict[str, SiteContext]:
    """Return each site's context under both of its names: its key and its tracking ID."""
    contexts = {}
    for site in sites:
        context = SiteContext(
            site,
            OriginPolicy.build(
                site.origins,
                allow_null=site.allow_null_origin,
                allow_missing=site.allow_missing_origin,
            ),
            Sessions(site.key, secret_keys, Lifetime(site.session_minutes, site.visitor_days)),
            SessionCookie(site),
        )
        contexts[site.key] = contexts[site.tracking_id] = context
    return contexts
