"""Reason codes: one for response, metric, log, history and documentation.

A new reason is a member here, and a line in docs/http.md or docs/operations.md. HTTP errors that
the framework raises have their names as codes, such as `method_not_allowed`.
"""

from __future__ import annotations

from enum import StrEnum, auto


class Reason(StrEnum):
    """Why events or requests were not stored or delivered, and why the gateway is degraded."""

    # Events that are answered with 204 and not stored.
    BOT = auto()
    DNT = auto()
    DUPLICATE = auto()
    GPC = auto()

    # Requests of which nothing is stored.
    ADMIN_GUESSES = auto()
    ADMIN_TOKEN = auto()
    CONTENT_ENCODING = auto()
    FOREIGN_ORIGIN = auto()
    FORGOTTEN = auto()
    INTERNAL_ERROR = auto()
    INVALID_EVENT = auto()
    INVALID_REQUEST = auto()
    PIXEL_OFF = auto()
    RATE_LIMIT = auto()
    REQUEST_ENTITY_TOO_LARGE = auto()
    REQUEST_TIMEOUT = auto()
    UNKNOWN_SITE = auto()
    UNREADABLE_BODY = auto()

    # userIds that are ignored.
    PLACEHOLDER = auto()
    SIGNATURE = auto()

    # The queue can't take events, or can't be read.
    BUSY = auto()
    CANNOT_OPEN = auto()
    DAMAGED = auto()
    DISK_FULL = auto()
    DISK_RESERVE = auto()
    IO_ERROR = auto()
    LEASE_LOST = auto()
    NEWER_VERSION = auto()
    QUEUE_FULL = auto()
    READ_ONLY = auto()
    REPAIRING = auto()
    SQS_DENIED = auto()
    SQS_FAILED = auto()
    SQS_FOREIGN = auto()
    SQS_MISSING = auto()
    SQS_NO_DEAD_LETTERS = auto()
    SQS_RECEIPT = auto()
    SQS_THROTTLED = auto()
    SQS_TIMEOUT = auto()
    SQS_TOO_LARGE = auto()
    SQS_UNREACHABLE = auto()

    # PutEvents calls that failed, and dead letters.
    ACCESS_DENIED = auto()
    ALL_REFUSED = auto()
    AWS_ERROR = auto()
    AWS_SETUP = auto()
    EXPIRED = auto()
    NOT_FOUND = auto()
    REFUSED = auto()
    THROTTLED = auto()
    TRACKING_ID = auto()
    UNEXPECTED = auto()
    UNKNOWN_ERROR = auto()
    UNREACHABLE = auto()

    # Delivery is degraded.
    BACKLOG = auto()
    FORWARDER_SILENT = auto()
    SITE = auto()
    SITES_FILE = auto()

    # Warnings in the log.
    COUNTERS = auto()
    LOG_STALLED = auto()
    OUT_OF_FILES = auto()
    RATE_LIMIT_STORAGE = auto()
    TRAIL_LOST = auto()
    TRAIL_UNREADABLE = auto()
