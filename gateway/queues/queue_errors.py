"""Why a queue can't do something; `gateway.queues` exports these."""

from __future__ import annotations

from gateway.reasons import Reason


class QueueError(Exception):
    """The queue can't do this now; `reason` is a short code, the message says more."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class QueueFull(QueueError):
    """Storing more would exceed the queue's size limit or use the disk's reserve."""


class QueueUnavailable(QueueError):
    """The storage fails; the message names the fault."""


class UserForgotten(QueueError):
    """The user's events are refused for some time after `forget --hold`."""

    def __init__(self) -> None:
        super().__init__(Reason.FORGOTTEN, "The user's events are refused since `forget --hold`")
