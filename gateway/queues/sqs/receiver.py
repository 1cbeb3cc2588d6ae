"""Receiving: long polls in threads of their own, into a buffer that the forwarder's loop empties.

Also the terms of the queue: how long a received message is kept from others, and where its dead
letters go.
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

POLL_SECONDS = 20  # of a long poll while there is nothing to do, SQS's maximum
BUSY_POLL_SECONDS = 1  # otherwise: at the end, what is given back must not come to us again
LONGEST_PAUSE = 5.0  # seconds between attempts while SQS can't be reached
TERMS_SECONDS = 300.0  # after which the queue's attributes are read again
UNKNOWN_LEASE, SHORTEST_LEASE = 60, 3  # seconds, where we may not read it, or it is of no use

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Terms:
    """What the queue's attributes say."""

    lease: int  # seconds that a message is ours alone, to be renewed while the work lasts
    dead_letters: str | None  # the URL of the queue that they go to


def read_terms(main: Queue, dead_letters: str | None) -> Terms:
    """Ask SQS; where that is not allowed, do without. Raises QueueUnavailable."""
    try:
        names = ["VisibilityTimeout", "RedrivePolicy"]
        answer = main.call("get_queue_attributes", AttributeNames=names)
    except QueueUnavailable as error:
        if error.reason != "sqs_denied":
            raise
        return Terms(UNKNOWN_LEASE, dead_letters)
    attributes = answer.get("Attributes", {})
    lease = max(SHORTEST_LEASE, int(attributes.get("VisibilityTimeout", UNKNOWN_LEASE)))
    return Terms(lease, dead_letters or redrive_target(main.url, attributes))


def redrive_target(url: str, attributes: Mapping[str, str]) -> str | None:
    """The URL of a queue's redrive target, which is always in the same region."""
    policy = json.loads(attributes.get("RedrivePolicy") or "{}")
    arn = str(policy.get("deadLetterTargetArn", ""))
    if arn.count(":") != 5:
        return None
    account, name = arn.split(":")[4:]
    return f"{url.rsplit('/', 2)[0]}/{account}/{name}"


class Receiver:
    """Fills the buffer, as long as there is room in it; safe to ask from the forwarder's loop."""

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
        self.trouble: QueueUnavailable | None = None  # why nothing is received, if so

    def start(self, has_room: Callable[[], bool], is_idle: Callable[[], bool]) -> None:
        """Poll in a thread while `has_room()`, and in a second one while there is a backlog."""
        for poll in (lambda: self._poll_always(is_idle), self._poll_backlog):
            thread = threading.Thread(target=self._keep, args=[has_room, poll], daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self, patience: float) -> None:
        """Begin no further poll, and wait so long for those under way. They end with us anyway."""
        self._stopped.set()
        deadline = time.monotonic() + patience
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    @property
    def polls_by_itself(self) -> bool:
        """Whether threads do it; else somebody has to call `poll`."""
        return bool(self._threads)

    def terms(self) -> Terms:
        """Those in force. Raises QueueUnavailable where they are not known yet."""
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
        """What came since the last call: until when each is ours, and the message."""
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

    def _keep(self, has_room: Callable[[], bool], poll: Callable[[], None]) -> None:
        pause = 0.0
        while not self._stopped.wait(pause):
            if not has_room():
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
