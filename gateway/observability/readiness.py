"""How the gateway does: whether it can store events now, and how their delivery goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from gateway.queues import ForwarderStatus, Inbox, QueueError

OLD = 300.0  # seconds after which an event should long have been delivered


class HealthIssue(NamedTuple):
    """A reason why delivery is not well, of one site or of all (None)."""

    reason: str
    message: str
    site: str | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """Why no event can be stored now, if so, and why delivery is not well."""

    unavailable: QueueError | None
    degraded: list[HealthIssue]

    @property
    def codes(self) -> frozenset[tuple[str, str | None]]:
        """What would be news if it changed: reasons, with the site where it is one's."""
        codes = {(one.reason, one.site) for one in self.degraded}
        return frozenset(codes | ({(self.unavailable.reason, None)} if self.unavailable else set()))

    def __str__(self) -> str:
        """One line for the log."""
        if self.unavailable:
            return f"unavailable: {self.unavailable.reason}: {self.unavailable}"
        texts = (f"{one.reason} ({one.site or 'all'}): {one.message}" for one in self.degraded)
        return f"degraded: {'; '.join(texts)}" if self.degraded else "ok"


def check_health(
    inbox: Inbox,
    condition: Callable[[], ForwarderStatus | None],
    sites_problem: Callable[[], str | None],
    now: Callable[[], float] = time.time,
) -> Health:
    """Look into everything. `condition()` is what the forwarder said last, None for nothing.

    `sites_problem()` is why the sites file is not in force as it stands.
    """
    try:
        inbox.check()
        unavailable = None
    except QueueError as error:
        unavailable = error
    return Health(unavailable, list(_degraded(condition(), sites_problem(), now())))


def _degraded(
    condition: ForwarderStatus | None, sites_problem: str | None, now: float
) -> Iterator[HealthIssue]:
    if condition is None or condition.is_stale(now):
        yield HealthIssue("forwarder_silent", "No forwarder delivers this queue")
    else:
        for site, trouble in condition.troubles.items():
            code, _, _ = trouble.partition(":")  # what AWS says may name accounts and roles
            yield HealthIssue("site", f"{code}: the forwarder's log says more", site)
    if condition and condition.oldest_at and now - condition.oldest_at > OLD:
        age = f"{now - condition.oldest_at:.0f} s"
        yield HealthIssue("backlog", f"The oldest event has been waiting for {age}")
    if sites_problem or (condition and condition.sites_file):
        yield HealthIssue(
            "sites_file", "It is not valid; the last valid one is in force: see the log"
        )
