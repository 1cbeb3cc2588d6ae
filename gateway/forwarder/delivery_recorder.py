"""Record what the forwarder does, in the metrics and in the event history."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, repeat
from secrets import token_hex

from gateway.forwarder.batching import Call, CallFailed
from gateway.observability import metrics
from gateway.observability.history import EventHistory, steps
from gateway.observability.history.steps import Request
from gateway.observability.redaction import Redactor
from gateway.queues import Delivery, QueueBackend, Rejection, Release
from gateway.queues.deliveries import count_by_type, is_purchase
from gateway.reasons import Reason


@dataclass
class Answer:
    """AWS's answer to a call; its request ID is what AWS support asks for."""

    request_id: str | None = None


class DeliveryRecorder:
    """The one place where deliveries are counted, and their steps recorded."""

    def __init__(self, queue: QueueBackend, history: EventHistory, redactor: Redactor) -> None:
        self._queue = queue
        self._history = history
        self._redactor = redactor
        self._names = map("{}-{}".format, repeat(token_hex(3)), count(1))
        self._unknown_messages = 0

    @contextmanager
    def call(self, call: Call) -> Iterator[Answer]:
        """Record a call that is made inside of the context, and mask values in its error."""
        request = Request(next(self._names), time.time(), call.site, len(call.deliveries))
        self._history.record(steps.sent, request, call.deliveries)
        started, answer, message = time.monotonic(), Answer(), None
        outcome: str = Reason.UNEXPECTED
        try:
            yield answer
            outcome = "accepted"
        except Exception as error:
            message = self._redactor.message(
                str(error), [delivery.record.event for delivery in call.deliveries]
            )
            if isinstance(error, CallFailed):
                outcome, answer.request_id = error.reason, error.request_id
                error.args = (message,)
            raise
        finally:
            seconds = time.monotonic() - started
            metrics.CALLS.labels(call.site, outcome).inc()
            metrics.CALL_SECONDS.labels(call.site).observe(seconds)
            metrics.CALL_EVENTS.observe(len(call.deliveries))
            request = request._replace(
                seconds=seconds, outcome=outcome, message=message, aws_request_id=answer.request_id
            )
            self._history.record(steps.answered, request, call.deliveries)

    def paced(self, seconds: float) -> None:
        """Record that a call waited for the site's rate."""
        metrics.PACED.observe(seconds)

    def settled(
        self, acked: Sequence[Delivery], rejected: Sequence[Rejection], released: Sequence[Release]
    ) -> None:
        """Record what became of records, once the queue has it."""
        by_type = count_by_type(delivery.record for delivery in acked)
        for (site, event_type), counts in by_type.items():
            metrics.DELIVERED.labels(site).inc(counts.events)
            for member, events in counts.members().items():
                metrics.DELIVERED_WITH.labels(site, member).inc(events)
            if is_purchase(event_type):
                metrics.PURCHASES.labels(site, "yes").inc(counts.attributed)
                metrics.PURCHASES.labels(site, "no").inc(counts.events - counts.attributed)
        for rejection in rejected:
            metrics.DEAD_LETTERS.labels(rejection.delivery.record.site, rejection.reason).inc()
        self._history.record(steps.dead, rejected, time.time())
        for release in released:
            if release.attempts:
                metrics.RETRIES.labels(release.delivery.record.site).inc()

    def repaired(self) -> None:
        """Record that the queue's storage was repaired."""
        metrics.REPAIRS.inc()

    def queue_state(self, at: float, unknown_messages: int) -> None:
        """Record, about once a second, how much waits, and the unknown messages in all."""
        metrics.UNKNOWN_MESSAGES.inc(unknown_messages - self._unknown_messages)
        self._unknown_messages = unknown_messages
        if self._queue.capabilities.local:
            self._history.record(steps.depth, self._queue, at)
