"""Pace a site's calls: rate, back-off after failures, and which refused events to suspect. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.forwarder.batching import CallFailed, Misconfigured, Retry
from gateway.queues import Rejection
from gateway.reasons import Reason

SLOWEST = 60.0  # seconds, the longest that a site waits before it is tried again
FIRST_WAIT, FIRST_SLOW_WAIT = 0.5, 5.0  # seconds, doubled with each failure
SUSPECTS = 20  # different events refused, none accepted, that put the blame on the site


@dataclass
class SiteThrottle:
    """The throttle of one site; times are monotonic seconds."""

    calls_at_once: int
    calls_per_second: float = float("inf")
    next_call: float = float("-inf")  # when the rate allows another one
    in_flight: int = 0
    failures: int = 0
    failed_at: float = float("-inf")
    wait_until: float = float("-inf")
    last_good: float = float("-inf")  # when the last call that was accepted began
    refused_in_a_row: int = 0
    suspects: dict[int, float] = field(default_factory=dict)  # handle → first refused
    trouble: str | None = None  # why nothing is delivered now

    def capacity(self, now: float) -> int:
        """Return how many sessions may be sent now: one at first and after a failure."""
        if now < self.wait_until:
            return 0
        is_well = self.last_good > float("-inf") and not self.failures
        return (self.calls_at_once if is_well else 1) - self.in_flight

    def reserve(self, now: float) -> float:
        """Reserve the next call at the site's rate; return in how many seconds it may be made."""
        self.next_call = max(self.next_call, now) + 1 / self.calls_per_second
        return max(0.0, self.next_call - 1 / self.calls_per_second - now)

    def success(self, started: float, now: float) -> None:
        """Note that a call that began at `started` was accepted."""
        self.last_good = max(self.last_good, started)
        self.refused_in_a_row = 0
        if started >= self.failed_at:
            self.failures, self.wait_until, self.trouble = 0, now, None

    def failure(self, failure: CallFailed, started: float, now: float) -> None:
        """Wait longer after each failure, with full jitter, and as long as AWS asks for.

        Calls that were under way at the last failure count with it.
        """
        if started < self.failed_at:
            return
        slow = isinstance(failure, Misconfigured)
        longest = min(SLOWEST, (FIRST_SLOW_WAIT if slow else FIRST_WAIT) * 2**self.failures)
        requested = failure.retry_after if isinstance(failure, Retry) else 0.0
        self.failures = min(self.failures + 1, 30)
        self.failed_at = now
        self.trouble = f"{failure.reason}: {failure}"
        wait = random.uniform(longest / 2 if slow else 0.0, longest)  # noqa: S311 - no secret
        self.wait_until = now + max(wait, min(requested, SLOWEST))

    @property
    def is_suspected(self) -> bool:
        """Return whether event after event was refused and none accepted."""
        return self.refused_in_a_row >= SUSPECTS

    @property
    def accepts_others(self) -> bool:
        """Return whether an event that is refused is to blame itself, as far as calls can tell."""
        return self.last_good > float("-inf") and not self.is_suspected

    def is_poison(self, handle: int, started: float, others_accepted: bool) -> bool:
        """Return whether a refused event is to blame itself: calls begun since were accepted."""
        if others_accepted or self.last_good > self.suspects.get(handle, started):
            self.suspects.pop(handle, None)
            return True
        if handle not in self.suspects:
            self.refused_in_a_row += 1
            if len(self.suspects) >= 50 * SUSPECTS:  # a forgotten one is only suspected later
                self.suspects.clear()
            self.suspects[handle] = started
        return False

    def suspicion(self, refused: Sequence[Rejection]) -> Misconfigured | None:
        """Return the failure of a site of which event after event is refused and none accepted."""
        if not refused or not self.is_suspected:
            return None
        return Misconfigured(Reason.ALL_REFUSED, f"every event is refused: {refused[-1].message}")
