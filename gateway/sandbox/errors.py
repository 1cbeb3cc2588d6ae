"""AWS's error names, each with its HTTP status."""

from __future__ import annotations

STATUS = {
    "InvalidInputException": 400,
    "SerializationException": 400,
    "ThrottlingException": 400,
    "AccessDeniedException": 403,
    "IncompleteSignatureException": 403,
    "InvalidSignatureException": 403,
    "MissingAuthenticationTokenException": 403,
    "UnknownOperationException": 404,
    "RequestEntityTooLargeException": 413,
    "InternalServerException": 500,
    "ServiceUnavailable": 503,
}


class ApiError(Exception):
    """An error answer: AWS's name for it, and a message in AWS's wording."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.message = message
        self.status = STATUS[name]
