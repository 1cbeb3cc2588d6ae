"""The demo shop's own site, whose events go to the sandbox and never to AWS."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

from gateway.sites import Site, make_site

TRACKING_ID = "00000000-0000-4000-8000-demo00000000"


def with_demo_site(
    sites: Mapping[str, Site], sandbox_url: str, public_url: str, port: int
) -> Mapping[str, Site]:
    """Return the sites with the demo shop's added."""
    key = "demo" if "demo" not in sites else "demo-shop"
    public = urlsplit(public_url)
    table = {
        "tracking_id": TRACKING_ID,
        "origins": [
            f"http://127.0.0.1:{port}",
            f"http://localhost:{port}",
            f"{public.scheme}://{public.netloc}",
        ],
        "region": "us-east-1",
        "endpoint_url": sandbox_url,
    }
    return MappingProxyType({**sites, key: make_site("the demo shop", key, table)})


def find_demo_site(sites: Mapping[str, Site]) -> Site:
    """Return the demo shop's site."""
    return next(site for site in sites.values() if site.tracking_id == TRACKING_ID)
