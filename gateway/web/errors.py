"""Reject requests: the exception, and its response in the shape that AWS's SDKs read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Response, jsonify
from werkzeug.datastructures import Headers

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# HTTP status → the error's name in AWS's SDKs.
TYPES = {
    400: "InvalidInputException",
    401: "UnauthorizedException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "RequestTimeoutException",
    413: "RequestEntityTooLargeException",
    415: "UnsupportedMediaTypeException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}
RETRY_AFTER = 5  # seconds


class RequestRejected(Exception):
    """Report that nothing of a request is stored; `reason` is the code in response, metric and log.

    Status 204 means that the request is valid but unwanted.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        errors: dict[str, Any] | None = None,
        retry_after: int = RETRY_AFTER,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.errors = errors
        self.retry_after = retry_after  # seconds

    def response(self) -> Response:
        """Return the response."""
        if self.status == 204:
            return no_content(self.reason)
        name = TYPES.get(self.status, "InvalidInputException")
        body = {"__type": name, "message": str(self)}
        if self.errors:
            body["errors"] = self.errors  # type: ignore[assignment]
        response = jsonify(body)
        response.status_code = self.status
        response.headers["x-amzn-ErrorType"] = name
        response.headers["X-Gateway-Reason"] = self.reason
        if self.status == 401:
            response.headers["WWW-Authenticate"] = "Bearer"
        if self.status == 415:
            response.headers["Accept-Encoding"] = "identity"
        if self.status in (429, 503):
            response.headers["Retry-After"] = str(self.retry_after)
        return response


class NoContent(Response):
    """A 204, for which werkzeug need not copy and complete the headers."""

    default_mimetype = None

    def get_wsgi_headers(self, environ: WSGIEnvironment) -> Headers:
        return self.headers


def no_content(reason: str | None = None) -> Response:
    """Return a 204: everything is stored, or the reason says why not."""
    response = NoContent(status=204)
    if reason:
        response.headers["X-Gateway-Reason"] = reason
    return response
