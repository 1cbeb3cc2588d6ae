"""Why a request is not accepted: one table of statuses, one reason code for response and log."""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify

# Status → the error's name, as AWS's SDKs know it.
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


class Refusal(Exception):
    """Nothing of a request is accepted. `reason` is the code that response and log share."""

    def __init__(
        self, status: int, reason: str, message: str, errors: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.errors = errors

    def response(self) -> Response:
        """The answer, in the shape that AWS's SDKs read."""
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
            response.headers["Retry-After"] = str(RETRY_AFTER)
        return response
