"""What the web end counts, with prometheus-client: all workers' sums are at `/metrics`."""

from __future__ import annotations

import os

from prometheus_client import REGISTRY, CollectorRegistry, Counter, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

ACCEPTED = Counter("gateway_events_accepted", "Events acknowledged and stored", ["site"])
DUPLICATES = Counter("gateway_events_duplicate", "Events that were stored before", ["site"])
REFUSED = Counter("gateway_events_refused", "Events that are not valid", ["site"])
ANONYMISED = Counter(
    "gateway_events_anonymised", "Events whose userId did not count", ["site", "reason"]
)
REQUESTS_REFUSED = Counter(
    "gateway_requests_refused", "Requests of which nothing was accepted", ["reason"]
)


def exposition() -> bytes:
    """All of it in Prometheus' text format: of all workers where they share a folder for it."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
