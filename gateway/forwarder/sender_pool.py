"""Who makes the calls: threads, as many as sessions were ever in flight at once.

So a site that is slow or broken holds up no other. (The command `forward` makes greenlets of them.)
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from gateway.forwarder import batching
from gateway.forwarder.batching import Call, CallFailed, CallRejected, Retry
from gateway.queues import Delivery, Rejection, Release
from gateway.reasons import Reason

LOOK = 0.05  # seconds between looks whether we are to stop, while a turn is waited for


@dataclass
class SendResult:
    """What became of a session's records once their calls were made."""

    site: str
    started: float
    attempts: Counter[int] = field(default_factory=Counter)  # calls by handle
    delivered: list[Delivery] = field(default_factory=list)
    refused: list[Rejection] = field(default_factory=list)  # each in a call of its own
    kept: list[Delivery] = field(default_factory=list)
    failure: CallFailed | None = None
    surprise: Exception | None = None  # what nobody foresaw, where that is the failure

    @property
    def events(self) -> int:
        """How many records it is about."""
        return len(self.delivered) + len(self.refused) + len(self.kept)

    def bury(self, item: Delivery, reason: str, message: str) -> Rejection:
        """A dead letter of these attempts."""
        return Rejection(item, reason, message, item.attempts + self.attempts[item.handle])

    def release(self, item: Delivery, delay: float) -> Release:
        """Back into the queue, with these attempts counted."""
        return Release(item, self.attempts[item.handle], delay)


class SenderPool:
    """`send(call)` returns, or raises CallFailed; `turn(site)` is how long a call is to wait."""

    def __init__(
        self,
        send: Callable[[Call], None],
        turn: Callable[[str], float],
        paced: Callable[[float], None],
    ) -> None:
        """`paced` hears each wait for a turn, in seconds."""
        self._send = send
        self._turn = turn
        self._turns = threading.Lock()
        self._paced = paced
        self._runs: queue.SimpleQueue[tuple[list[Delivery], SendResult] | None] = (
            queue.SimpleQueue()
        )
        # Not a SimpleQueue, whose `get` may outwait its timeout for ever when a signal comes.
        self._outcomes: queue.Queue[SendResult] = queue.Queue()
        self._threads = 0
        self.in_flight = 0  # sessions
        self.stopping = False  # once it is true, no further call is begun

    def launch(self, run: list[Delivery], outcome: SendResult) -> None:
        """Make the calls of a session's records, beside all others."""
        self.in_flight += 1
        if self.in_flight > self._threads:
            self._threads += 1
            threading.Thread(target=self._keep_delivering, daemon=True).start()
        self._runs.put((run, outcome))

    def outcomes(self, seconds: float) -> Iterator[SendResult]:
        """All that are there; the first is waited for so long at most."""
        with suppress(queue.Empty):
            outcome = self._outcomes.get(timeout=seconds)
            while True:
                self.in_flight -= 1
                yield outcome
                outcome = self._outcomes.get_nowait()

    def end(self) -> None:
        """Let the threads go, each after the call that it is making."""
        for _ in range(self._threads):
            self._runs.put(None)

    def _keep_delivering(self) -> None:
        """In a thread of its own."""
        while (job := self._runs.get()) is not None:
            self._deliver(*job)

    def _deliver(self, run: list[Delivery], outcome: SendResult) -> None:
        """Make a session's calls, one after another, until one fails or we stop."""
        waiting = deque(batching.split_into_calls(run))
        while waiting and self._may_call(outcome.site):
            call = waiting.popleft()
            outcome.attempts.update(item.handle for item in call.taken)
            try:
                self._send(call)
            except CallRejected as refusal:
                if len(call.taken) > 1:
                    waiting.extendleft(reversed(batching.bisect(call)))
                else:
                    burial = outcome.bury(call.taken[0], refusal.reason, str(refusal))
                    outcome.refused.append(burial)
            except Exception as error:  # whatever it was, what was taken must come back
                if not isinstance(error, CallFailed):
                    outcome.surprise, error = error, Retry(Reason.UNEXPECTED, repr(error))
                outcome.failure = error
                waiting.appendleft(call)
                break
            else:
                outcome.delivered += call.taken
        outcome.kept = [item for call in waiting for item in call.taken]
        self._outcomes.put(outcome)

    def _may_call(self, site: str) -> bool:
        """Wait for a turn at the site's rate; False where we are to stop first."""
        if self.stopping:
            return False
        with self._turns:
            seconds = self._turn(site)
        if seconds > 0:
            turn = time.monotonic() + seconds
            while (left := turn - time.monotonic()) > 0:
                if self.stopping:
                    return False
                time.sleep(min(left, LOOK))
            self._paced(seconds)
        return True
