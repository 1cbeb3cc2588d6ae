"""Puts the forwarder together: the queue's end, AWS, the sites as they change, and the counters."""

from __future__ import annotations

from dataclasses import replace

from gateway.forward import metering
from gateway.forward.forwarder import Forwarder
from gateway.forward.personalize import Personalize
from gateway.last_valid import LastValid
from gateway.queues import Condition, Lease, Outbox
from gateway.telemetry import metrics
from gateway.telemetry.redact import Redactor
from gateway.telemetry.trail import Trail


def assemble(
    kept: LastValid, lease: Lease, outbox: Outbox, trail: Trail, pulse: metering.Pulse
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

    def report(condition: Condition) -> None:
        pulse.report(replace(condition, sites_file=kept.problem))

    def has_lease() -> bool:
        if lease.acquire():
            return True
        pulse.condition = None  # it waits for its turn, as at the start
        return False

    return Forwarder(
        metering.Settling(outbox, trail),
        metering.Sending(personalize.send, trail, redactor),
        max_age=kept.settings.max_age,
        has_lease=has_lease,
        calls_per_second=calls_per_second,
        report=report,
        paced=metrics.PACED.observe,
        reread=reread,
    )
