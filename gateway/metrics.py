"""What the web end counts, with prometheus-client: all workers' sums are at `/metrics`."""

from __future__ import annotations

import os
from collections.abc import Iterator

from prometheus_client import REGISTRY, CollectorRegistry, Counter, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from gateway.queues import Condition

ACCEPTED = Counter("gateway_events_accepted", "Events acknowledged and stored", ["site"])
DUPLICATES = Counter("gateway_events_duplicate", "Events that were stored before", ["site"])
REFUSED = Counter("gateway_events_refused", "Events that are not valid", ["site"])
ANONYMISED = Counter(
    "gateway_events_anonymised", "Events whose userId did not count", ["site", "reason"]
)
REQUESTS_REFUSED = Counter(
    "gateway_requests_refused", "Requests of which nothing was accepted", ["reason"]
)


def exposition(condition: Condition | None) -> bytes:
    """All of it in Prometheus' text format: of all workers where they share a folder for it.

    `condition` is what the forwarder said last.
    """
    delivery = CollectorRegistry()
    if condition is not None:
        delivery.register(_Delivery(condition))
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY) + generate_latest(delivery)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry) + generate_latest(delivery)


class _Delivery(Collector):
    """A condition as metrics."""

    def __init__(self, condition: Condition) -> None:
        self._condition = condition

    def collect(self) -> Iterator[GaugeMetricFamily]:
        name = "gateway_forwarder_heartbeat_timestamp_seconds"
        yield GaugeMetricFamily(name, "When the loop last came round", self._condition.at)
        name = "gateway_forwarder_in_flight"
        yield GaugeMetricFamily(name, "Events being sent", self._condition.in_flight)
        trouble = GaugeMetricFamily(
            "gateway_site_trouble", "Sites of which nothing is delivered", labels=["site", "reason"]
        )
        for site, why in self._condition.troubles.items():
            trouble.add_metric([site, why.partition(":")[0]], 1.0)
        yield trouble
