"""Raise the limit of open files, and derive the number of connections from it."""

from __future__ import annotations

import resource
from contextlib import suppress

TARGETS = (65_536, 10_240)  # the second is the maximum on macOS
RESERVED = 100  # per worker, for the queue, the event history, counters and logs
EACH = 2  # per connection: its socket, and the static file that is sent


def raise_limit() -> None:
    """Raise the soft limit of open files as far as the hard one allows; workers inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    for target in TARGETS:
        most = target if hard == unlimited else min(hard, target)
        if soft == unlimited or soft >= most:
            return
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            return


def connections() -> int:
    """Return how many connections the limit allows; at least one."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return max(TARGETS)
    return max((soft - RESERVED) // EACH, 1)
