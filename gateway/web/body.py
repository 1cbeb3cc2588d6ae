"""Read a request's body: whole, within the size limit, and as it was sent."""

from __future__ import annotations

from flask import Request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from gateway.reasons import Reason
from gateway.web.errors import RequestRejected


def read_body(request: Request) -> bytes:
    """Return the body. Raise RequestRejected if it is compressed, too large or incomplete."""
    encoding = request.environ.get("HTTP_CONTENT_ENCODING", "")
    if encoding.lower() not in ("", "identity"):
        raise RequestRejected(
            415, Reason.CONTENT_ENCODING, f"The body is encoded: {encoding[:64]!a}"
        )
    length = request.content_length
    try:
        body = _read_chunks(request) if length is None else _read_exactly(request, length)
    except HTTPException:
        raise
    except Exception as error:  # servers' errors for malformed chunks have no common type
        raise RequestRejected(
            400, Reason.UNREADABLE_BODY, f"The body is unreadable: {type(error).__name__}"
        ) from None
    if length is not None and len(body) < length:
        raise RequestRejected(400, Reason.UNREADABLE_BODY, "The body is unreadable: it broke off")
    return body


def _read_exactly(request: Request, length: int) -> bytes:
    if length > (request.max_content_length or 0):
        raise RequestEntityTooLarge
    body: bytes = request.environ["wsgi.input"].read(length)
    return body


def _read_chunks(request: Request) -> bytes:
    """Read a body of unknown length. werkzeug truncates it at the limit without an error."""
    body = request.get_data(cache=False)
    if "wsgi.input_terminated" in request.environ and request.environ["wsgi.input"].read(1):
        raise RequestEntityTooLarge
    return body
