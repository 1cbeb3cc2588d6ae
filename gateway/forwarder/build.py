"""Puts the forwarder together: the queue's end, AWS, the sites as they change, and the counters."""

from __future__ import annotations

from dataclasses import replace

from gateway.forwarder import instrumentation
from gateway.forwarder.forwarder import Forwarder
from gateway.forwarder.personalize import Personalize
from gateway.observability import metrics
from gateway.observability.history import EventHistory
from gateway.observability.redaction import Redactor
from gateway.queues import ForwarderStatus, Lease, Outbox
from gateway.reload import ReloadableSettings


def build_forwarder(
    kept: ReloadableSettings,
    lease: Lease,
    outbox: Outbox,
    trail: EventHistory,
    pulse: instrumentation.Heartbeat,
) -> Forwarder:
    """The forwarder that delivers this outbox, to whom the sites file says when it is read."""
    personalize = Personalize(kept.settings.sites)
    redactor = Redactor(kept.settings.redact)

    def reread() -> None:
        kept.reread()
        personalize.sites = kept.settings.sites

    def calls_per_second(key: str) -> float:
        site = kept.settings.sites.get(key)
        return site.calls_per_second if site else float("inf")

    def report(condition: ForwarderStatus) -> None:
        pulse.report(replace(condition, sites_file=kept.problem))

    def has_lease() -> bool:
        if lease.acquire():
            return True
        pulse.condition = None  # it waits for its turn, as at the start
        return False

    return Forwarder(
        instrumentation.InstrumentedOutbox(outbox, trail),
        instrumentation.InstrumentedSender(personalize.send, trail, redactor),
        max_age=kept.settings.max_age,
        has_lease=has_lease,
        calls_per_second=calls_per_second,
        report=report,
        paced=metrics.PACED.observe,
        reread=reread,
    )
