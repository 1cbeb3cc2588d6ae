"""Send PutEvents calls from a pool of threads that grows to the number of sessions in flight.

So a slow or broken site holds up no other. The command `forward` makes the threads greenlets.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from gateway.forwarder import batching
from gateway.forwarder.backoff import SiteThrottle
from gateway.forwarder.batching import Call, CallFailed, CallRejected, Retry
from gateway.forwarder.delivery_recorder import DeliveryRecorder
from gateway.queues import Delivery, Rejection, Release
from gateway.reasons import Reason

STOP_CHECK_SECONDS = 0.05  # between looks whether to stop, while a call waits for its turn


class Clock(Protocol):
    """Two clocks: the module `time`, except in tests."""

    def monotonic(self) -> float:
        """Return seconds that only ever grow."""

    def time(self) -> float:
        """Return the time of day in epoch seconds."""


class Sender(Protocol):
    """What makes the calls: Personalize, except in tests."""

    def send(self, call: Call) -> str | None:
        """Make one call and return AWS's request ID. Raises CallFailed."""


@dataclass
class SendResult:
    """What became of a batch once its calls were made; `started` is a monotonic time."""

    site: str
    started: float
    attempts: Counter[int] = field(default_factory=Counter)  # calls by handle
    delivered: list[Delivery] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)  # each in a call of its own
    unsent: list[Delivery] = field(default_factory=list)
    failure: CallFailed | None = None
    unexpected: Exception | None = None  # the cause of the failure, if it is none that we know

    @property
    def events(self) -> int:
        """Return the number of records in the batch."""
        return len(self.delivered) + len(self.rejected) + len(self.unsent)

    def reject(self, delivery: Delivery, reason: str, message: str) -> Rejection:
        """Return the rejection of a record, with these attempts counted."""
        attempts = delivery.attempts + self.attempts[delivery.handle]
        return Rejection(delivery, reason, message, attempts)

    def release(self, delivery: Delivery, delay: float) -> Release:
        """Return the release of a record after `delay` seconds, with these attempts counted."""
        return Release(delivery, self.attempts[delivery.handle], delay)


class _Job(NamedTuple):
    batch: list[Delivery]
    result: SendResult
    throttle: SiteThrottle


class SenderPool:
    """Make the calls of many sessions side by side, those of one session in order."""

    def __init__(self, sender: Sender, recorder: DeliveryRecorder, clock: Clock) -> None:
        self._sender = sender
        self._recorder = recorder
        self._clock = clock
        self._throttles_lock = threading.Lock()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        # Not a SimpleQueue: its `get` can outlast its timeout for ever when a signal arrives.
        self._results: queue.Queue[SendResult] = queue.Queue()
        self._threads = 0
        self.in_flight = 0  # sessions
        self.stopping = False  # once it is true, no further call is begun

    def submit(self, batch: list[Delivery], result: SendResult, throttle: SiteThrottle) -> None:
        """Send a session's batch in a thread; `results` returns `result` when it is done."""
        self.in_flight += 1
        if self.in_flight > self._threads:
            self._threads += 1
            threading.Thread(target=self._run, daemon=True).start()
        self._jobs.put(_Job(batch, result, throttle))

    def results(self, seconds: float) -> Iterator[SendResult]:
        """Yield all results that are there; wait for the first up to `seconds`."""
        with suppress(queue.Empty):
            result = self._results.get(timeout=seconds)
            while True:
                self.in_flight -= 1
                yield result
                result = self._results.get_nowait()

    def close(self) -> None:
        """End the threads, each after the call that it is making."""
        for _ in range(self._threads):
            self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._send_batch(*job)

    def _send_batch(
        self, batch: list[Delivery], result: SendResult, throttle: SiteThrottle
    ) -> None:
        """Make a session's calls one after another, until one fails or we are to stop."""
        waiting = deque(batching.split_into_calls(batch))
        while waiting and self._wait_for_turn(throttle):
            call = waiting.popleft()
            result.attempts.update(delivery.handle for delivery in call.deliveries)
            try:
                self._send(call)
            except CallRejected as error:
                if len(call.deliveries) > 1:
                    waiting.extendleft(reversed(batching.bisect(call)))
                else:
                    rejection = result.reject(call.deliveries[0], error.reason, str(error))
                    result.rejected.append(rejection)
            except Exception as error:  # whatever it is, the batch must come back
                if not isinstance(error, CallFailed):
                    result.unexpected, error = error, Retry(Reason.UNEXPECTED, repr(error))
                result.failure = error
                waiting.appendleft(call)
                break
            else:
                result.delivered += call.deliveries
        result.unsent = [delivery for call in waiting for delivery in call.deliveries]
        self._results.put(result)

    def _send(self, call: Call) -> None:
        """Make one call, and record it. Raises CallFailed with redacted values masked."""
        with self._recorder.call(call) as answer:
            answer.request_id = self._sender.send(call)

    def _wait_for_turn(self, throttle: SiteThrottle) -> bool:
        """Wait as long as the site's rate asks for; return False if we are to stop."""
        if self.stopping:
            return False
        with self._throttles_lock:
            seconds = throttle.reserve(self._clock.monotonic())
        if seconds > 0:
            turn = time.monotonic() + seconds
            while (left := turn - time.monotonic()) > 0:
                if self.stopping:
                    return False
                time.sleep(min(left, STOP_CHECK_SECONDS))
            self._recorder.paced(seconds)
        return True
