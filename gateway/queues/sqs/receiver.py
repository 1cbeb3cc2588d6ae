"""Receive messages by long polls in threads, into a buffer that the forwarder's loop empties.

Also read the queue's attributes: how long a received message is hidden from other forwarders, and
where its dead letters go.
"""

from __future__ import annotations

import json
import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from gateway.queues import QueueUnavailable
from gateway.queues.sqs import message_format
from gateway.queues.sqs.client import READ_SECONDS, Queue
from gateway.reasons import Reason

POLL_SECONDS = 20  # of a long poll while there is nothing to do, SQS's maximum
BUSY_POLL_SECONDS = 1  # otherwise: a long poll at the end would receive what we give back
LONGEST_PAUSE = 5.0  # seconds between attempts while SQS can't be reached
TERMS_SECONDS = 300.0  # after which the queue's attributes are read again
UNKNOWN_LEASE = 60  # seconds, if we may not read the queue's attributes
SHORTEST_LEASE = 3  # seconds

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Terms:
    """What the queue's attributes say."""

    lease: int  # seconds for which a received message is hidden from others; renewable
    dead_letters: str | None  # URL of the dead-letter queue


def read_terms(main: Queue, dead_letters: str | None) -> Terms:
    """Ask SQS; if that is not permitted, use defaults. Raises QueueUnavailable."""
    try:
        names = ["VisibilityTimeout", "RedrivePolicy"]
        answer = main.call("get_queue_attributes", AttributeNames=names)
    except QueueUnavailable as error:
        if error.reason != Reason.SQS_DENIED:
            raise
        return Terms(UNKNOWN_LEASE, dead_letters)
    attributes = answer.get("Attributes", {})
    lease = max(SHORTEST_LEASE, int(attributes.get("VisibilityTimeout", UNKNOWN_LEASE)))
    return Terms(lease, dead_letters or redrive_target(main.url, attributes))


def redrive_target(url: str, attributes: Mapping[str, str]) -> str | None:
    """Return the URL of a queue's redrive target, which is always in the same region."""
    policy = json.loads(attributes.get("RedrivePolicy") or "{}")
    arn = str(policy.get("deadLetterTargetArn", ""))
    if arn.count(":") != 5:
        return None
    account, name = arn.split(":")[4:]
    return f"{url.rsplit('/', 2)[0]}/{account}/{name}"


class Receiver:
    """Fill the buffer while it has capacity. Its methods are for the forwarder's loop."""

    def __init__(
        self, main: Queue, dead_letters: str | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._polling = Queue(main.url, read_seconds=POLL_SECONDS + READ_SECONDS)
        self._main = main
        self._dead_letters = dead_letters
        self._clock = clock
        self._received: queue.SimpleQueue[tuple[float, Mapping[str, Any]]] = queue.SimpleQueue()
        self._read_at = float("-inf")
        self._known: Terms | None = None
        self._quiet = True  # the last poll brought nothing
        self._backlog = threading.Event()  # polls come back full
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self.trouble: QueueUnavailable | None = None  # why nothing can be received

    def start(self, has_capacity: Callable[[], bool], is_idle: Callable[[], bool]) -> None:
        """Poll in a thread while `has_capacity()`, and in a second one while there is a backlog."""
        for poll in (lambda: self._poll_always(is_idle), self._poll_backlog):
            thread = threading.Thread(target=self._keep, args=[has_capacity, poll], daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self, patience: float) -> None:
        """Begin no further poll; wait for those in progress for `patience` seconds at most."""
        self._stopped.set()
        deadline = time.monotonic() + patience
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    @property
    def polls_by_itself(self) -> bool:
        """Return whether threads poll; otherwise the caller must call `poll`."""
        return bool(self._threads)

    def terms(self) -> Terms:
        """Return the queue's terms. Raises QueueUnavailable if they are not known yet."""
        if self._known is None or self._clock() - self._read_at > TERMS_SECONDS:
            try:
                self._known = read_terms(self._main, self._dead_letters)
                self._read_at = self._clock()
            except QueueUnavailable:
                if self._known is None:
                    raise
        return self._known

    def poll(self, seconds: int) -> int:
        """Receive once, waiting so long for a first message; how many came."""
        lease = self.terms().lease
        lapses = self._clock() + lease  # counted from before the call, to be on the safe side
        answer = self._polling.call(
            "receive_message",
            MaxNumberOfMessages=message_format.ENTRIES,
            WaitTimeSeconds=seconds,
            VisibilityTimeout=lease,
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
        )
        messages: Sequence[Mapping[str, Any]] = answer.get("Messages") or ()
        if seconds:  # what came at the end of a long poll is not as old as its beginning
            lapses = self._clock() + lease - READ_SECONDS
        for message in messages:
            self._received.put((lapses, message))
        return len(messages)

    def arrived(self) -> list[tuple[float, Mapping[str, Any]]]:
        """Return the messages received since the last call, each with the time when it lapses."""
        messages = []
        with suppress(queue.Empty):
            while True:
                messages.append(self._received.get_nowait())
        return messages

    def _poll_always(self, is_idle: Callable[[], bool]) -> None:
        count = self.poll(POLL_SECONDS if self._quiet and is_idle() else BUSY_POLL_SECONDS)
        self._quiet = count == 0
        if count == message_format.ENTRIES:
            self._backlog.set()

    def _poll_backlog(self) -> None:
        if self._backlog.wait(1) and self.poll(BUSY_POLL_SECONDS) < message_format.ENTRIES:
            self._backlog.clear()

    def _keep(self, has_capacity: Callable[[], bool], poll: Callable[[], None]) -> None:
        pause = 0.0
        while not self._stopped.wait(pause):
            if not has_capacity():
                pause = 0.02
                continue
            try:
                poll()
            except QueueUnavailable as error:
                self.trouble = error
                pause = min(LONGEST_PAUSE, max(0.5, pause * 2)) * random.uniform(0.5, 1)  # noqa: S311
            except Exception:  # a thread that dies would receive nothing for ever
                log.exception("unexpected error while receiving")
                pause = LONGEST_PAUSE
            else:
                self.trouble, pause = None, 0.0
