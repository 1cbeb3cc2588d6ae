"""The forwarder end: receive → batch → send → settle, each site at its own pace.

One thread owns the queue and makes every decision; only the calls are made in other threads.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from gateway.forwarder.backoff import SLOWEST
from gateway.forwarder.delivery_recorder import DeliveryRecorder
from gateway.forwarder.sender_pool import Clock, Sender, SenderPool, SendResult
from gateway.forwarder.throttles import Throttles
from gateway.observability.logs import RateLimitedLogger
from gateway.queues import (
    Delivery,
    ForwarderStatus,
    Lease,
    Outbox,
    QueueError,
    QueueUnavailable,
    Rejection,
    Release,
)
from gateway.reasons import Reason
from gateway.reload import ReloadableSettings

LINGER = 0.05  # seconds between looks into an idle queue, in which calls fill up
TIDY_EVERY = 1.0  # seconds
GRACE = 20.0  # seconds to finish what is in flight, more than a call can take

log = logging.getLogger(__name__)


class Forwarder:
    """Deliver an outbox while its lease is held.

    `settings` says how old events may get and how fast each site's calls may be. `status` is the
    last report, None before the first one and while another forwarder has the lease.
    """

    def __init__(
        self,
        outbox: Outbox,
        lease: Lease,
        sender: Sender,
        settings: ReloadableSettings,
        recorder: DeliveryRecorder,
        clock: Clock = time,
    ) -> None:
        self._outbox = outbox
        self._lease = lease
        self._senders = SenderPool(sender, recorder, clock)
        self._settings = settings
        self._recorder = recorder
        self._clock = clock
        self._throttles = Throttles(settings)
        self._logger = RateLimitedLogger(log, clock.monotonic)
        # To be settled in the queue next.
        self._acked: list[Delivery] = []
        self._rejected: list[Rejection] = []
        self._released: list[Release] = []
        self._is_once = False
        self._undecided: list[tuple[SendResult, Rejection]] = []  # then, until all else is sent
        self._events_in_flight, self._tidied_at = 0, float("-inf")
        self._reloading = False
        self.status: ForwarderStatus | None = None
        self.settled = 0  # events delivered or dead

    def reload(self) -> None:
        """Reload the settings soon. Safe in a signal handler."""
        self._reloading = True

    def stop(self) -> None:
        """Receive no more, finish what is in flight, release the rest. Safe in a signal handler."""
        self._senders.stopping = True

    @property
    def stopping(self) -> bool:
        """Return whether `stop` was called."""
        return self._senders.stopping

    def run(self) -> None:
        """Deliver until stopped."""
        self._repair()
        while not self.stopping:
            self.step()
        self._finish()

    def run_once(self, on_progress: Callable[[int], object] = lambda _settled: None) -> None:
        """Deliver what is there; give up a site that keeps failing.

        Calls `on_progress` now and then with the number of events delivered or dead.
        """
        self._is_once = True
        self._repair()
        while (self.step() or self._decide()) and not self.stopping:
            on_progress(self.settled)
        self._finish()

    def step(self) -> bool:
        """Settle, receive, send and linger; return whether anything may be left to send."""
        if self._reloading:
            self._reload()
        try:
            self._settle()
            self._require_lease()
            self._receive()
            self._tidy()
        except QueueError as error:
            self._logger.warning(error.reason, str(error), "the queue")
            if error.reason in (Reason.DAMAGED, Reason.REPAIRING):
                self._repair(thorough=True)
            time.sleep(LINGER)
        for result in self._senders.results(LINGER):
            self._judge(result)
        is_unsettled = bool(self._acked or self._rejected or self._released)
        return is_unsettled or self._throttles.may_deliver()

    def _require_lease(self) -> None:
        if not self._lease.acquire():
            self.status = None
            raise QueueUnavailable(
                Reason.LEASE_LOST, "its files were replaced, and another forwarder has the lock now"
            )

    def _reload(self) -> None:
        """Pace the sites as the new settings say, and try at once those that waited."""
        self._reloading = False
        self._settings.reread()
        self._throttles.restart(self._clock.monotonic())

    def _receive(self) -> None:
        """Send batches of each site, as many as it has capacity for.

        If every event of a site was refused lately, probe its newest session: the older ones may
        be a replay of many dead letters.
        """
        for site in self._outbox.sites():
            throttle = self._throttles.of(site)
            capacity = throttle.capacity(self._clock.monotonic())
            for batch in self._outbox.receive(site, capacity, newest=throttle.is_suspected):
                self._send(batch)

    def _tidy(self) -> None:
        if self._clock.monotonic() - self._tidied_at < TIDY_EVERY:
            return
        self._tidied_at = self._clock.monotonic()
        self.status = ForwarderStatus(
            self._clock.time(),
            self._events_in_flight,
            self._throttles.troubles(),
            self._outbox.oldest_at(),
            self._settings.problem,
        )
        self._lease.report(self.status)
        self._recorder.queue_state(self.status.at, self._outbox.unknown_messages)
        self._outbox.tidy()

    def _repair(self, *, thorough: bool = False) -> None:
        try:
            repaired = self._outbox.repair(thorough=thorough)
        except QueueError as error:
            self._logger.warning(error.reason, str(error), "the queue")
        else:
            if repaired is not None:
                self._recorder.repaired()
                log.error("the queue: damaged: %s", repaired)

    def _send(self, batch: Sequence[Delivery]) -> None:
        """Send what can still be delivered of a session's batch; reject the rest."""
        site, now = batch[0].record.site, self._clock.time()
        max_age = self._settings.settings.max_age
        result = SendResult(site, self._clock.monotonic())
        fresh = []
        for delivery in batch:
            if delivery.is_damaged:
                message = "its content is not what was stored"
                self._rejected.append(result.reject(delivery, Reason.DAMAGED, message))
            elif now - delivery.record.received_at <= max_age:
                fresh.append(delivery)
            else:
                message = f"not delivered within {max_age:.0f} s"
                self._rejected.append(result.reject(delivery, Reason.EXPIRED, message))
        throttle = self._throttles.of(site)
        throttle.in_flight += 1
        self._events_in_flight += len(fresh)
        self._senders.submit(fresh, result, throttle)

    def _judge(self, result: SendResult) -> None:
        """Decide what becomes of each record, and whether the site is well."""
        throttle, now = self._throttles.of(result.site), self._clock.monotonic()
        throttle.in_flight -= 1
        self._events_in_flight -= result.events
        self._acked += result.delivered
        if result.delivered:
            throttle.success(result.started, now)
        for rejection in result.rejected:
            handle = rejection.delivery.handle
            is_poison = throttle.is_poison(handle, result.started, bool(result.delivered))
            if self._is_once and not is_poison and not throttle.is_suspected:
                self._undecided.append((result, rejection))
            else:
                self._judge_rejection(result, rejection, is_poison=is_poison)
        failure = result.failure or throttle.suspicion(result.rejected)
        if failure:
            throttle.failure(failure, result.started, now)
            self._logger.warning(failure.reason, str(failure), result.site, result.unexpected)
        self._released += [result.release(delivery, 0.0) for delivery in result.unsent]

    def _judge_rejection(
        self, result: SendResult, rejection: Rejection, *, is_poison: bool
    ) -> None:
        if is_poison:
            self._rejected.append(rejection)
            self._logger.warning(rejection.reason, rejection.message, result.site)
        else:
            delay = min(SLOWEST, 2.0 ** min(rejection.attempts, 10))
            self._released.append(result.release(rejection.delivery, delay))

    def _decide(self) -> bool:
        """Judge the undecided events by how their sites fared; return whether there were any."""
        undecided, self._undecided = self._undecided, []
        for result, rejection in undecided:
            is_poison = self._throttles.of(result.site).accepts_others
            self._judge_rejection(result, rejection, is_poison=is_poison)
        return bool(undecided)

    def _settle(self) -> None:
        """Settle all results in the queue, in one transaction."""
        if self._acked or self._rejected or self._released:
            self._outbox.settle(self._acked, self._rejected, self._released)
            self._recorder.settled(self._acked, self._rejected, self._released)
            self.settled += len(self._acked) + len(self._rejected)
            self._acked, self._rejected, self._released = [], [], []

    def _finish(self) -> None:
        """Wait for what is in flight, as long as the grace lasts, and settle it."""
        deadline = time.monotonic() + GRACE
        while self._senders.in_flight and time.monotonic() < deadline:
            for result in self._senders.results(LINGER):
                self._judge(result)
        try:
            self._settle()
        except QueueError as error:  # it stays queued, and is sent again with the same eventIds
            self._logger.warning(error.reason, str(error), "the queue")
        self._senders.close()
        self._outbox.close()
