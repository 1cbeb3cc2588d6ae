"""Call one SQS queue by its URL, with every failure as QueueUnavailable.

boto3's retries are off and its timeouts short: a browser is waiting for the answer.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's, for what never arrived
    ConnectTimeoutError,
    HTTPClientError,
    NoCredentialsError,
    ReadTimeoutError,
)

from gateway.queues import QueueUnavailable
from gateway.reasons import Reason

CONNECT_SECONDS, READ_SECONDS = 1.0, 3.0
AWS_HOST = re.compile(r"(?:sqs|queue)\.([a-z0-9-]+)\.|([a-z0-9-]+)\.queue\.")

# Part of an AWS error code → our reason code. The first match counts.
REASONS = {
    "NonExistentQueue": Reason.SQS_MISSING,
    "QueueDoesNotExist": Reason.SQS_MISSING,
    "Throttl": Reason.SQS_THROTTLED,
    "TooManyRequests": Reason.SQS_THROTTLED,
    "RequestLimitExceeded": Reason.SQS_THROTTLED,
    "SlowDown": Reason.SQS_THROTTLED,
    "OverLimit": Reason.SQS_THROTTLED,
    "AccessDenied": Reason.SQS_DENIED,
    "Credential": Reason.SQS_DENIED,
    "Token": Reason.SQS_DENIED,
    "Signature": Reason.SQS_DENIED,
    "Unauthorized": Reason.SQS_DENIED,
    "NotAuthorized": Reason.SQS_DENIED,
    "ReceiptHandle": Reason.SQS_RECEIPT,
    "MessageNotInflight": Reason.SQS_RECEIPT,
}


class Queue:
    """One queue. Safe to use from any thread."""

    def __init__(self, url: str, *, read_seconds: float = READ_SECONDS) -> None:
        self.url = url
        self._read_seconds = read_seconds
        self._client: Any = None
        self._opening = threading.Lock()

    def call(self, operation: str, **parameters: Any) -> Mapping[str, Any]:
        """Call a boto3 operation on this queue. Raises QueueUnavailable."""
        return self.call_service(operation, QueueUrl=self.url, **parameters)

    def call_service(self, operation: str, **parameters: Any) -> Mapping[str, Any]:
        """Call a boto3 operation that takes no queue URL. Raises QueueUnavailable."""
        try:
            answer: Mapping[str, Any] = getattr(self._opened(), operation)(**parameters)
        except (BotoCoreError, ClientError) as error:
            failure = _failure(error)
            if failure.reason in (Reason.SQS_DENIED, Reason.AWS_SETUP):
                self._client = None  # the next attempt reads AWS's set-up anew
            raise failure from error
        return answer

    def batch(
        self, operation: str, entries: Sequence[Mapping[str, Any]]
    ) -> list[QueueUnavailable | None]:
        """Make one call for at most ten entries; return each one's failure, or None."""
        numbered = [{"Id": str(number), **entry} for number, entry in enumerate(entries)]
        try:
            answer = self.call(operation, Entries=numbered)
        except QueueUnavailable as error:
            return [error] * len(entries)
        failed = {entry["Id"]: _refusal(entry) for entry in answer.get("Failed", ())}
        confirmed = {entry["Id"] for entry in answer.get("Successful", ())}
        unsaid = QueueUnavailable(Reason.SQS_FAILED, "SQS did not say what became of an entry")
        return [
            None if entry["Id"] in confirmed else failed.get(entry["Id"], unsaid)
            for entry in numbered
        ]

    def _opened(self) -> Any:
        client = self._client
        if client is None:
            with self._opening:
                client = self._client = self._client or _client(self.url, self._read_seconds)
        return client


def _client(url: str, read_seconds: float) -> Any:
    session = boto3.Session()
    parts = urlsplit(url)
    aws = parts.hostname is not None and ".amazonaws.com" in parts.hostname
    found = AWS_HOST.match(parts.hostname or "") if aws else None
    region = next(filter(None, found.groups())) if found else session.region_name
    elsewhere = not aws and "AWS_ENDPOINT_URL_SQS" not in os.environ
    return session.client(
        "sqs",
        region_name=region or "us-east-1",
        endpoint_url=f"{parts.scheme}://{parts.netloc}" if elsewhere else None,
        config=Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=read_seconds,
            retries={"total_max_attempts": 1},
            max_pool_connections=16,
            tcp_keepalive=True,
            parameter_validation=False,
        ),
    )


def _failure(error: BotoCoreError | ClientError) -> QueueUnavailable:
    if isinstance(error, ClientError):
        code = error.response.get("Error", {}).get("Code", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return QueueUnavailable(_reason(code, status), f"SQS: {error}")
    if isinstance(error, ConnectTimeoutError | ReadTimeoutError):
        return QueueUnavailable(Reason.SQS_TIMEOUT, f"SQS: {error}")
    if isinstance(error, NoCredentialsError):
        return QueueUnavailable(Reason.SQS_DENIED, f"SQS: {error}")
    if isinstance(error, ConnectionError | HTTPClientError):
        return QueueUnavailable(Reason.SQS_UNREACHABLE, f"SQS: {error}")
    return QueueUnavailable(Reason.AWS_SETUP, f"SQS: {error}")


def _refusal(entry: Mapping[str, Any]) -> QueueUnavailable:
    """Return the failure of an entry in a batch's `Failed`."""
    code, message = entry.get("Code", ""), entry.get("Message", "")
    return QueueUnavailable(_reason(code, 0), f"SQS: {code}: {message}")


def _reason(code: str, status: int) -> str:
    for part, reason in REASONS.items():
        if part in code:
            return reason
    if status == 429:
        return Reason.SQS_THROTTLED
    return Reason.SQS_DENIED if status in (401, 403) else Reason.SQS_FAILED
