"""CORS: with credentials for the sites' origins, without for the snippet's files."""

from __future__ import annotations

from collections.abc import Collection

from flask import Flask, Response, request
from flask_cors import CORS

from gateway import origins
from gateway.sites import Site

PREFLIGHT_SECONDS = 7200  # the longest that Chromium keeps one
EXPOSED = ["Retry-After", "x-amzn-ErrorType", "X-Gateway-Reason", "X-Gateway-Session"]
CREDENTIALS = (
    ("Access-Control-Allow-Credentials", "true"),
    ("Access-Control-Expose-Headers", ", ".join(EXPOSED)),
)
SHARED = ("/static/", "/pixel.gif")  # what any page may show
ALWAYS = (("Vary", "Origin"), ("X-Content-Type-Options", "nosniff"))
EVERYBODYS = (*ALWAYS, ("Cross-Origin-Resource-Policy", "cross-origin"))
OURS = (*ALWAYS, ("Cross-Origin-Resource-Policy", "same-origin"))


def admit(response: Response, origin: str | None) -> Response:
    """Let a page read this answer, whose origin has been found among the site's own.

    What flask-cors would say, which looks no further where it finds it said.
    """
    if origin is not None:
        response.headers.extend([("Access-Control-Allow-Origin", origin), *CREDENTIALS])
    return response


def share(app: Flask, sites: Collection[Site]) -> None:
    """Answer preflights, and let pages read what they are answered.

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
        vary_header=False,  # it would be missing where no origin matched
    )

    @app.after_request
    def headers(response: Response) -> Response:
        response.headers.extend(EVERYBODYS if request.path.startswith(SHARED) else OURS)
        return response
