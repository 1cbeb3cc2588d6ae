"""The forwarder end: take → batch → send → settle, for each site at its own pace.

One thread owns the queue and every decision; sending alone happens in others.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from gateway.forwarder import batching
from gateway.forwarder.backoff import SLOWEST, SiteThrottle
from gateway.forwarder.batching import Call
from gateway.forwarder.sender_pool import SenderPool, SendResult
from gateway.observability.logs import RateLimitedLogger
from gateway.queues import (
    Delivery,
    ForwarderStatus,
    Outbox,
    QueueError,
    QueueUnavailable,
    Rejection,
    Release,
)
from gateway.reasons import Reason

LINGER = 0.05  # seconds between looks into an idle queue, in which calls fill up
TIDY_EVERY = 1.0  # seconds
PATIENCE = 6  # failures in a row after which `run_once` gives a site up
GRACE = 20.0  # seconds to finish what is in flight, more than a call can take
CALLS_AT_ONCE = 32  # for each site

log = logging.getLogger(__name__)


class Forwarder:
    """Delivers an outbox through `send(call)`, which returns, or raises CallFailed."""

    def __init__(
        self,
        outbox: Outbox,
        send: Callable[[Call], None],
        *,
        max_age: float,
        has_lease: Callable[[], bool] = lambda: True,
        calls_per_second: Callable[[str], float] = lambda _site: float("inf"),
        report: Callable[[ForwarderStatus], None] = lambda _condition: None,
        paced: Callable[[float], None] = lambda _seconds: None,
        reread: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`calls_per_second(site)` caps a site's rate, and `paced` hears each wait for it.

        Nothing is taken while `has_lease` says no. `report` hears how delivery is going; `reread`
        is called for `reload`, and may change what `send` and `calls_per_second` know. `clock`
        measures, `now` is the time of day.
        """
        self._outbox = outbox
        self._senders = SenderPool(send, self._turn, paced)
        self._max_age = max_age
        self._has_lease = has_lease
        self._clock = clock
        self._now = now
        self._calls_per_second = calls_per_second
        self._report = report
        self._reread = reread
        self._paces: dict[str, SiteThrottle] = {}
        self._repeats = RateLimitedLogger(log, clock)
        # What the queue is to be told next.
        self._acked: list[Delivery] = []
        self._buried: list[Rejection] = []
        self._released: list[Release] = []
        self._events_in_flight = 0
        self._tidied_at = float("-inf")
        self._reloading = False
        self.settled = 0  # events delivered or dead

    def reload(self) -> None:
        """Learn what became of the sites, soon. Safe in a signal handler."""
        self._reloading = True

    def stop(self) -> None:
        """Take no more, finish what is in flight, leave the rest. Safe in a signal handler."""
        self._senders.stopping = True

    @property
    def stopping(self) -> bool:
        """Whether it was told to."""
        return self._senders.stopping

    def run(self) -> None:
        """Deliver until stopped."""
        self._repair()
        while not self.stopping:
            self.step()
        self._finish()

    def run_once(self, came_to: Callable[[int], object] = lambda _settled: None) -> None:
        """Deliver what is there; give a site up that keeps failing.

        `came_to` hears now and then how many events are delivered or dead.
        """
        self._repair()
        while self.step() and not self.stopping:
            came_to(self.settled)
        self._finish()

    def step(self) -> bool:
        """Settle, take, send and linger; whether anything is left that may yet be sent."""
        if self._reloading:
            self._reload()
        try:
            self._settle()
            self._require_lease()
            taken = self._outbox.take(self._room, self._newest_first)
            for run in batching.group_by_session(taken):
                self._launch(run)
            self._tidy()
        except QueueError as error:
            self._repeats.say(error.reason, str(error), "the queue")
            if error.reason in (Reason.DAMAGED, Reason.REPAIRING):
                self._repair(thorough=True)
            time.sleep(LINGER)
        self._judge(LINGER)
        return bool(self._acked or self._buried or self._released) or any(
            pace.in_flight or 0 < pace.failures < PATIENCE for pace in self._paces.values()
        )

    def _require_lease(self) -> None:
        if not self._has_lease():
            raise QueueUnavailable(
                Reason.LEASE_LOST, "its files were replaced, and another forwarder has the lock now"
            )

    def _reload(self) -> None:
        """The sites may be other ones: pace them anew, and try at once those that waited."""
        self._reloading = False
        self._reread()
        for site, pace in self._paces.items():
            pace.calls_per_second = self._calls_per_second(site)
            pace.wait_until, pace.trouble = self._clock(), None

    def _pace(self, site: str) -> SiteThrottle:
        if site not in self._paces:
            self._paces[site] = SiteThrottle(CALLS_AT_ONCE, self._calls_per_second(site))
        return self._paces[site]

    def _room(self, site: str) -> int:
        return self._pace(site).room(self._clock())

    def _newest_first(self, site: str) -> bool:
        """Probe the newest session of a site whose every event was refused lately.

        The refused ones may be a replay of many dead letters; what visitors do now is newer.
        """
        return self._pace(site).is_suspected

    def _turn(self, site: str) -> float:
        return self._pace(site).turn(self._clock())

    def _tidy(self) -> None:
        if self._clock() - self._tidied_at >= TIDY_EVERY:
            self._tidied_at = self._clock()
            troubles = {site: pace.trouble for site, pace in self._paces.items() if pace.trouble}
            oldest_at = self._outbox.oldest_at()
            self._report(ForwarderStatus(self._now(), self._events_in_flight, troubles, oldest_at))
            self._outbox.tidy()

    def _repair(self, *, thorough: bool = False) -> None:
        try:
            done = self._outbox.repair(thorough=thorough)
        except QueueError as error:
            self._repeats.say(error.reason, str(error), "the queue")
        else:
            if done:
                log.error("the queue: damaged: %s", done)

    def _launch(self, run: list[Delivery]) -> None:
        site, now = run[0].record.site, self._now()
        outcome = SendResult(site, self._clock())
        fresh = []
        for item in run:
            if item.is_damaged:
                why = "its content is not what was stored"
                self._buried.append(outcome.bury(item, Reason.DAMAGED, why))
            elif now - item.record.received_at <= self._max_age:
                fresh.append(item)
            else:
                why = f"not delivered within {self._max_age:.0f} s"
                self._buried.append(outcome.bury(item, Reason.EXPIRED, why))
        self._pace(site).in_flight += 1
        self._events_in_flight += len(fresh)
        self._senders.launch(fresh, outcome)

    def _judge(self, seconds: float) -> None:
        """Judge what came of calls; wait a little for the first."""
        for outcome in self._senders.outcomes(seconds):
            self._conclude(outcome)

    def _conclude(self, outcome: SendResult) -> None:
        """What becomes of each record, and how the site is faring."""
        pace, now = self._pace(outcome.site), self._clock()
        pace.in_flight -= 1
        self._events_in_flight -= outcome.events
        self._acked += outcome.delivered
        if outcome.delivered:
            pace.success(outcome.started, now)
        for burial in outcome.refused:
            if pace.is_poison(burial.taken.handle, outcome.started, bool(outcome.delivered)):
                self._buried.append(burial)
                self._repeats.say(burial.reason, burial.message, outcome.site)
            else:
                delay = min(SLOWEST, 2.0 ** min(burial.attempts, 10))
                self._released.append(outcome.release(burial.taken, delay))
        failure = outcome.failure or pace.suspicion(outcome.refused)
        if failure:
            pace.failure(failure, outcome.started, now)
            self._repeats.say(failure.reason, str(failure), outcome.site, outcome.surprise)
        self._released += [outcome.release(item, 0.0) for item in outcome.kept]

    def _settle(self) -> None:
        """Tell the queue what became of it all, in one transaction."""
        if self._acked or self._buried or self._released:
            self._outbox.settle(self._acked, self._buried, self._released)
            self.settled += len(self._acked) + len(self._buried)
            self._acked, self._buried, self._released = [], [], []

    def _finish(self) -> None:
        """Wait for what is in flight, as long as the grace lasts, and settle it."""
        deadline = time.monotonic() + GRACE
        while self._senders.in_flight and time.monotonic() < deadline:
            self._judge(LINGER)
        try:
            self._settle()
        except QueueError as error:  # it stays queued, and is sent again with the same eventIds
            self._repeats.say(error.reason, str(error), "the queue")
        self._senders.end()
        self._outbox.close()
