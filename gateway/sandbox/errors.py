"""How a call is refused: AWS's error names, with the status that each comes with."""

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
    """The call is answered with an error: its name in AWS, and a message in AWS's wording."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.message = message
        self.status = STATUS[name]
