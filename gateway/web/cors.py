"""Answer CORS requests: with credentials for the sites' origins, without for static files."""

from __future__ import annotations

from collections.abc import Collection

from flask import Flask, Response, request
from flask_cors import CORS

from gateway import origins
from gateway.reasons import Reason
from gateway.sites import Site

PREFLIGHT_SECONDS = 7200  # Chromium's maximum
EXPOSED = ["Retry-After", "x-amzn-ErrorType", "X-Gateway-Reason", "X-Gateway-Session"]
CREDENTIALS = (
    ("Access-Control-Allow-Credentials", "true"),
    ("Access-Control-Expose-Headers", ", ".join(EXPOSED)),
)
SHARED = ("/static/", "/pixel.gif")  # pages of any origin may load these
ALWAYS = (("Vary", "Origin"), ("X-Content-Type-Options", "nosniff"))
SHARED_HEADERS = (*ALWAYS, ("Cross-Origin-Resource-Policy", "cross-origin"))
OWN_HEADERS = (*ALWAYS, ("Cross-Origin-Resource-Policy", "same-origin"))


def allow(response: Response, origin: str | None) -> Response:
    """Let a page of this origin, which is one of the site's, read the response.

    The headers are those that flask-cors would add; it skips a response that has them.
    """
    if origin is not None:
        response.headers.extend([("Access-Control-Allow-Origin", origin), *CREDENTIALS])
    return response


def configure(app: Flask, sites: Collection[Site]) -> None:
    """Answer preflight requests, and let the sites' pages read error responses.

    A preflight request doesn't name its site, so the origins of all sites are allowed here.
    `POST /events` checks the origin against its own site.
    """

    # Flask calls these functions in reverse order, so this one runs after flask-cors.
    @app.after_request
    def hide_from_foreign_origin(response: Response) -> Response:
        if response.headers.get("X-Gateway-Reason") == Reason.FOREIGN_ORIGIN:
            for name in ("Access-Control-Allow-Origin", *dict(CREDENTIALS)):
                response.headers.pop(name, None)
        return response

    all_origins = [origin for site in sites for origin in site.origins]
    null = any(site.allow_null_origin for site in sites)
    CORS(
        app,
        resources={
            "/events": {
                "origins": [origins.pattern(all_origins, null=null)],
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
        response.headers.extend(SHARED_HEADERS if request.path.startswith(SHARED) else OWN_HEADERS)
        return response
