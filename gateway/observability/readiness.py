"""Check whether events can be stored now, and whether they are being delivered."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from gateway.queues import ForwarderStatus, Inbox, QueueError
from gateway.reasons import Reason

BACKLOG_SECONDS = 300.0  # age of the oldest event from which delivery counts as degraded


class HealthIssue(NamedTuple):
    """A reason why delivery is degraded, for one site or for all (None)."""

    reason: str
    message: str
    site: str | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """Why events can't be stored (None if they can), and why delivery is degraded."""

    unavailable: QueueError | None
    degraded: list[HealthIssue]

    @property
    def codes(self) -> frozenset[tuple[str, str | None]]:
        """Return the reasons, each with its site; a change of this set is worth a log line."""
        codes = {(issue.reason, issue.site) for issue in self.degraded}
        return frozenset(codes | ({(self.unavailable.reason, None)} if self.unavailable else set()))

    def __str__(self) -> str:
        """Return one line for the log."""
        if self.unavailable:
            return f"unavailable: {self.unavailable.reason}: {self.unavailable}"
        texts = (
            f"{issue.reason} ({issue.site or 'all'}): {issue.message}" for issue in self.degraded
        )
        return f"degraded: {'; '.join(texts)}" if self.degraded else "ok"


def check_health(
    inbox: Inbox,
    status: Callable[[], ForwarderStatus | None],
    sites_problem: Callable[[], str | None],
    now: Callable[[], float] = time.time,
) -> Health:
    """Check storage, forwarder and sites file.

    `status()` returns the forwarder's last report (None: it never reported), `sites_problem()`
    why the present sites file could not be loaded (None: it could).
    """
    try:
        inbox.check()
        unavailable = None
    except QueueError as error:
        unavailable = error
    return Health(unavailable, list(_degraded(status(), sites_problem(), now())))


def _degraded(
    status: ForwarderStatus | None, sites_problem: str | None, now: float
) -> Iterator[HealthIssue]:
    if status is None or status.is_stale(now):
        yield HealthIssue(Reason.FORWARDER_SILENT, "No forwarder delivers this queue")
    else:
        for site, trouble in status.troubles.items():
            code, _, _ = trouble.partition(":")  # what AWS says may name accounts and roles
            yield HealthIssue(Reason.SITE, f"{code}: the forwarder's log says more", site)
    if status and status.oldest_at and now - status.oldest_at > BACKLOG_SECONDS:
        age = f"{now - status.oldest_at:.0f} s"
        yield HealthIssue(Reason.BACKLOG, f"The oldest event has been waiting for {age}")
    if sites_problem or (status and status.sites_file):
        yield HealthIssue(
            Reason.SITES_FILE, "It is not valid; the last valid one is in force: see the log"
        )
