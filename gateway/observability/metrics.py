"""What is counted at both ends, with prometheus-client. `docs/metrics.md` has the table.

Counters and histograms are added up over all processes that share PROMETHEUS_MULTIPROC_DIR. Gauges
are no process's own: they are read from the queue and its forwarder when somebody asks.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Histogram,
    Summary,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from gateway.observability.counter_file import CounterFile
from gateway.observability.readiness import Health
from gateway.queues import ForwarderStatus, QueueBackend, QueueError, Status

# prometheus-client has no setting for the class of its files; it looks this name up for each file.
values.MmapedDict = CounterFile  # type: ignore[attr-defined,assignment]
disable_created_metrics()  # type: ignore[no-untyped-call]

# The web end.
ACCEPTED = Counter("gateway_events_accepted", "Events acknowledged and stored", ["site"])
DUPLICATES = Counter("gateway_events_duplicate", "Events that were stored before", ["site"])
REFUSED = Counter("gateway_events_refused", "Events not accepted", ["site", "reason"])
DROPPED = Counter("gateway_events_dropped", "Events that nobody wants", ["site", "reason"])
BOTS = Counter("gateway_events_from_bots", "Events of bots, dropped or not", ["site"])
ANONYMISED = Counter(
    "gateway_events_anonymised", "Events whose userId did not count", ["site", "reason"]
)
REQUESTS_REFUSED = Counter(
    "gateway_requests_refused", "Requests of which nothing was accepted", ["reason"]
)
COMMIT_EVENTS = Histogram(
    "gateway_group_commit_events",
    "Events stored in one transaction",
    buckets=[1, 2, 5, 10, 20, 50, 100, 200, 500],
)
COMMIT_SECONDS = Histogram(
    "gateway_group_commit_duration_seconds",
    "Time to store them durably",
    buckets=[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
)

# The forwarder end.
CALLS = Counter("gateway_putevents_calls", "PutEvents calls", ["site", "outcome"])
CALL_SECONDS = Histogram(
    "gateway_putevents_duration_seconds",
    "Time until PutEvents answered",
    ["site"],
    buckets=[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
)
CALL_EVENTS = Histogram(
    "gateway_putevents_events_per_call", "Events in a call", buckets=range(1, 11)
)
PACED = Summary("gateway_putevents_throttle_wait_seconds", "Waits to keep to calls_per_second")
DELIVERED = Counter("gateway_events_delivered", "Events that PutEvents accepted", ["site"])
DELIVERED_WITH = Counter(
    "gateway_events_delivered_with", "Delivered events that have a member", ["site", "member"]
)
PURCHASES = Counter(
    "gateway_purchases_delivered",
    "Delivered purchases, and whether a recommendation or source led to them",
    ["site", "attributed"],
)
RETRIES = Counter("gateway_events_retried", "Events to be sent again after a call", ["site"])
DEAD_LETTERS = Counter("gateway_dead_letters", "Events given up", ["site", "reason"])
REPAIRS = Counter("gateway_queue_repairs", "Damaged files that were set aside")
UNKNOWN_MESSAGES = Counter("gateway_sqs_foreign_messages", "Messages received that are not ours")

# Both.
HISTORY_LOST = Counter("gateway_trail_lost_steps", "Steps that the inspector could not remember")


def committed(events: int, seconds: float) -> None:
    """Record a group commit."""
    COMMIT_EVENTS.observe(events)
    COMMIT_SECONDS.observe(seconds)


class State(NamedTuple):
    """What the gauges show. None: not known."""

    forwarder_status: ForwarderStatus | None = None  # what the forwarder said last
    status: Status | None = None  # what waits
    queue_bytes: int | None = None


def state_of_queue(queue: QueueBackend, forwarder_status: ForwarderStatus | None) -> State:
    """Ask the queue for its status and size; leave out what it can't tell."""
    try:
        return State(forwarder_status, queue.status(), queue.bytes_used())
    except QueueError:
        return State(forwarder_status)


def exposition(state: State, health: Health | None = None) -> bytes:
    """Return all metrics in Prometheus' text format; `health` is what `/readyz` reports."""
    gauges = CollectorRegistry()
    gauges.register(_Gauges(state, health))
    counters = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        counters = CollectorRegistry()
        counters.register(_Counters(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])))
    return generate_latest(counters) + generate_latest(gauges)


class _Counters(Collector):
    """All processes', but for one that has just begun: its file is still empty."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        files = [str(file) for file in self._folder.glob("*.db") if not _is_empty(file)]
        merged: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
        return merged


def _is_empty(file: Path) -> bool:
    return file.is_file() and not file.stat().st_size


class _Gauges(Collector):
    def __init__(self, state: State, health: Health | None) -> None:
        self._state = state
        self._health = health

    def collect(self) -> Iterator[GaugeMetricFamily]:
        forwarder_status, status, queue_bytes = self._state
        if status is not None:
            yield from _queue(status)
        if queue_bytes is not None:
            name = "gateway_queue_bytes"
            yield GaugeMetricFamily(name, "Bytes that the queue's file takes", queue_bytes)
        if forwarder_status is not None:
            yield from _delivery(forwarder_status)
        if self._health is not None:
            yield from _readiness(self._health)


def _queue(status: Status) -> Iterator[GaugeMetricFamily]:
    yield GaugeMetricFamily("gateway_queue_events", "Events that wait", status.queued)
    if status.dead is not None:
        name = "gateway_queue_dead_letters"
        yield GaugeMetricFamily(name, "Dead letters that are kept", status.dead)
    if not status.queued or status.oldest_seconds is not None:
        name = "gateway_queue_oldest_age_seconds"
        yield GaugeMetricFamily(name, "Age of the oldest of them", status.oldest_seconds or 0)


def _delivery(forwarder_status: ForwarderStatus) -> Iterator[GaugeMetricFamily]:
    name = "gateway_forwarder_heartbeat_timestamp_seconds"
    yield GaugeMetricFamily(name, "When the forwarder's loop last came round", forwarder_status.at)
    name = "gateway_forwarder_in_flight_events"
    yield GaugeMetricFamily(name, "Events being sent", forwarder_status.in_flight)
    trouble = GaugeMetricFamily(
        "gateway_site_trouble",
        "1 for a site of which nothing is delivered",
        labels=["site", "reason"],
    )
    for site, why in forwarder_status.troubles.items():
        trouble.add_metric([site, why.partition(":")[0]], 1.0)
    yield trouble
    name = "gateway_forwarder_sites_file_refused"
    text = "1 while the forwarder uses an older sites file because the new one is invalid"
    yield GaugeMetricFamily(name, text, 0 if forwarder_status.sites_file is None else 1)


def _readiness(health: Health) -> Iterator[GaugeMetricFamily]:
    is_ready = health.unavailable is None
    yield GaugeMetricFamily("gateway_ready", "1 where events can be stored", int(is_ready))
    unavailable = GaugeMetricFamily(
        "gateway_unavailable", "1 for the reason why events can't be stored", labels=["reason"]
    )
    if health.unavailable:
        unavailable.add_metric([health.unavailable.reason], 1.0)
    yield unavailable
    degraded = GaugeMetricFamily(
        "gateway_degraded",
        "1 for each reason why delivery is not well",
        labels=["reason", "site"],
    )
    for complaint in health.degraded:
        degraded.add_metric([complaint.reason, complaint.site or ""], 1.0)
    yield degraded
