"""Answer CORS requests: with credentials for the sites' origins, without for static files."""

from __future__ import annotations

from collections.abc import Collection

from flask import Flask, Response, request
from flask_cors import CORS

from gateway import origins
from gateway.sites import Site

PREFLIGHT_SECONDS = 7200  # Chromium's maximum
EXPOSED = ["Retry-After", "x-amzn-ErrorType", "X-Gateway-Reason", "X-Gateway-Session"]
CREDENTIALS = (
    ("Access-Control-Allow-Credentials", "true"),
    ("Access-Control-Expose-Headers", ", ".join(EXPOSED)),
)
SHARED = ("/static/", "/pixel.gif")  # which pages of any origin may load
ALWAYS = (("Vary", "Origin"), ("X-Content-Type-Options", "nosniff"))
EVERYBODYS = (*ALWAYS, ("Cross-Origin-Resource-Policy", "cross-origin"))
OURS = (*ALWAYS, ("Cross-Origin-Resource-Policy", "same-origin"))


def admit(response: Response, origin: str | None) -> Response:
    """Let a page read this answer; its origin was found to be one of the site's.

    What flask-cors would say, which looks no further where it finds it said.
    """
    if origin is not None:
        response.headers.extend([("Access-Control-Allow-Origin", origin), *CREDENTIALS])
    return response


def share(app: Flask, sites: Collection[Site]) -> None:
    """Answer preflight requests, and let pages read the answers.

    A preflight can't know the site, so here all sites' origins count; each event's own site has
    been checked by then.
    """
    everybody = [origin for site in sites for origin in site.origins]
    null = any(site.allow_null_origin for site in sites)
    CORS(
        app,
        resources={
            "/events": {
                "origins": [origins.pattern(everybody, null=null)],
                "methods": ["POST"],
                "supports_credentials": True,
                "expose_headers": EXPOSED,
                "max_age": PREFLIGHT_SECONDS,
            },
            "/static/*": {"origins": "*", "methods": ["GET"], "send_wildcard": True},
        },
        vary_header=False,  # flask-cors would leave it out if no origin matched
    )

    @app.after_request
    def headers(response: Response) -> Response:
        response.headers.extend(EVERYBODYS if request.path.startswith(SHARED) else OURS)
        return response
