"""Check as much of a request's signature (version 4) as is possible without the secret key.

Form, scope and dates are checked and refused as AWS does. Whether the signature is *right* cannot
be: that takes the secret, which the sandbox neither has nor wants. Any key ID with any secret will
do, therefore, and no clock is compared.
"""

from __future__ import annotations

import re
from email.message import Message
from typing import NamedTuple

from gateway.sandbox.errors import ApiError

ALGORITHM = "AWS4-HMAC-SHA256"
SERVICE = "personalize"
TERMINATOR = "aws4_request"
PARTS = ("Credential", "Signature", "SignedHeaders")

DATE = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
SIGNATURE = re.compile(r"[0-9a-f]{64}")


class Signer(NamedTuple):
    """The access key ID and the region that a signature names."""

    access_key_id: str
    region: str

    def to_json(self) -> dict[str, str]:
        """Return both as members of a recorded call."""
        return {"accessKeyId": self.access_key_id, "region": self.region}


def check(headers: Message[str, str]) -> Signer:
    """Read the signature; raise Refusal where AWS would see at a glance that it cannot be right."""
    authorization = headers.get("Authorization")
    if not authorization:
        raise ApiError("MissingAuthenticationTokenException", "Missing Authentication Token")
    parts = _parts(authorization)
    date = headers.get("X-Amz-Date")
    missing = [
        f"Authorization header requires '{name}' parameter."
        for name in PARTS
        if not parts.get(name)
    ]
    if not date:
        missing.append("Authorization header requires existence of a 'X-Amz-Date' header.")
    if missing or date is None:
        raise _incomplete(f"{' '.join(missing)} Authorization={authorization}")
    if not DATE.fullmatch(date):
        raise _incomplete(f"Date must be in ISO-8601 'basic format'. Got '{date}'.")
    if not SIGNATURE.fullmatch(parts["Signature"]):
        raise _incomplete(f"Signature must be 64 hexadecimal digits, got '{parts['Signature']}'.")
    _check_signed_headers(parts["SignedHeaders"])
    return _scope(parts["Credential"], date)


def _parts(authorization: str) -> dict[str, str]:
    algorithm, _, rest = authorization.partition(" ")
    if algorithm != ALGORITHM:
        raise _incomplete(f"Unsupported AWS 'algorithm': '{algorithm}'.")
    parts = {}
    for part in rest.split(","):
        name, equals, value = part.strip().partition("=")
        if not equals:
            raise _incomplete(
                f"'{name}' not a valid key=value pair (missing equal-sign) "
                f"in Authorization header: '{authorization}'."
            )
        parts[name] = value
    return parts


def _check_signed_headers(names: str) -> None:
    for name in ("host", "x-amz-date"):
        if name not in names.split(";"):
            raise _invalid(f"'{name}' must be a 'SignedHeader' in the AWS Authorization.")


def _scope(credential: str, date: str) -> Signer:
    elements = credential.split("/")
    if len(elements) != 5 or not all(elements):
        raise _incomplete(
            "Credential must have exactly 5 slash-delimited elements, "
            f"e.g. keyid/date/region/service/term, got '{credential}'."
        )
    access_key_id, day, region, service, terminator = elements
    if day != date[:8]:
        raise _invalid(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date "
            f"from HTTP: '{day}' != '{date[:8]}', from '{date}'."
        )
    if service != SERVICE:
        raise _invalid(f"Credential should be scoped to correct service: '{SERVICE}'.")
    if terminator != TERMINATOR:
        raise _invalid(
            f"Credential should be scoped with a valid terminator: '{TERMINATOR}', "
            f"not '{terminator}'."
        )
    return Signer(access_key_id, region)


def _incomplete(message: str) -> ApiError:
    return ApiError("IncompleteSignatureException", message)


def _invalid(message: str) -> ApiError:
    return ApiError("InvalidSignatureException", message)
