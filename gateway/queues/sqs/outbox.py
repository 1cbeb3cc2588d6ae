"""The forwarder end on SQS: any number of them side by side, which know nothing of each other.

Each message is ours until it lapses, which is put off as long as its work lasts. It is deleted
once each of its records is settled; what waits for a site in trouble goes back, to be received
again later, by whomever.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gateway.queues import Delivery, QueueUnavailable, Rejection, Release
from gateway.queues.sqs import dead_letters, message_format
from gateway.queues.sqs.client import Queue
from gateway.queues.sqs.in_flight import InFlight, Message
from gateway.queues.sqs.receiver import Receiver
from gateway.reasons import Reason

WAITING = 1000  # records that wait to be sent, from which no more are received
HOLD_SECONDS = 5.0  # for which records of a site without capacity are held before they go back
SHORTEST_DELAY, LONGEST_DELAY = 10.0, 3600.0  # seconds until such a message is received again
UNSTORED_DELAY = 60.0  # seconds until an event is tried again whose dead letter can't be stored
ONCE_SECONDS = 2  # of the poll that finds the queue empty
CLOSE_SECONDS = 2.0  # for polls to end, so that they don't receive what is given back
AT_ONCE = 8  # batch calls

log = logging.getLogger(__name__)


class SqsOutbox:
    """One forwarder's."""

    def __init__(
        self,
        main: Queue,
        receiver: Receiver,
        *,
        max_age: float,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`clock` measures, `now` is the time of day."""
        self._main = main
        self._receiver = receiver
        self._max_age = max_age
        self._clock = clock
        self._now = now
        self._in_flight = InFlight()
        self._done: dict[str, Message] = {}  # to be deleted
        self._stalled: dict[str, float] = {}  # site → since when it has no capacity
        self._dead: dead_letters.DeadLetterWriter | None = None
        self._trouble: QueueUnavailable | None = None
        self._threads = ThreadPoolExecutor(AT_ONCE, "sqs")
        self.unknown_messages = 0

    def has_capacity(self) -> bool:
        """Return whether more may be received."""
        return self._in_flight.waiting < WAITING and len(self._done) < WAITING

    def is_idle(self) -> bool:
        """Return whether no message is held."""
        return not self._in_flight.messages and not self._done

    def sites(self) -> list[str]:
        """Return the sites whose records wait, after a look at what was received."""
        if not self._receiver.polls_by_itself and not self._in_flight.waiting:
            self._receiver.poll(0 if self._in_flight.messages else ONCE_SECONDS)
        self._absorb()
        return self._in_flight.sites()

    def receive(self, site: str, capacity: int, *, newest: bool = False) -> list[list[Delivery]]:
        """Return up to `capacity` batches, see Outbox; without capacity, what is too old."""
        if capacity > 0:
            self._stalled.pop(site, None)
            return self._in_flight.receive(site, capacity, newest=newest)
        self._stalled.setdefault(site, self._clock())
        return self._in_flight.receive_older(site, self._now() - self._max_age)

    def settle(
        self, acked: Sequence[Delivery], rejected: Sequence[Rejection], released: Sequence[Release]
    ) -> None:
        """Delete the acked, make dead letters of the rejected, release the rest.

        Raises nothing: what SQS can't do now is done later, and `tidy` says what is wrong.
        """
        touched = [self._in_flight.ack(delivery) for delivery in acked]
        for rejection, failure in self._store_dead_letters(rejected):
            delivery = rejection.delivery
            if failure is None:
                touched.append(self._in_flight.ack(delivery))
            else:
                self._trouble = failure
                attempts = rejection.attempts - delivery.attempts
                due = self._clock() + UNSTORED_DELAY
                touched.append(self._in_flight.release(delivery, attempts, due))
        for delivery, attempts, delay in released:
            due_at = self._clock() + delay if delay > 0 else None
            touched.append(self._in_flight.release(delivery, attempts, due_at))
        self._conclude({message.id: message for message in touched if message is not None})

    def oldest_at(self) -> None:
        """Return None: SQS does not tell."""

    def tidy(self) -> None:
        """Put off when messages lapse, give back what waits too long. Raises QueueError."""
        now = self._clock()
        stalled = {site for site, since in self._stalled.items() if now - since >= HOLD_SECONDS}
        parked = [m for m in self._in_flight.messages.values() if m.waiting and m.site in stalled]
        for message in parked:
            self._in_flight.put_off(message, now + self._delay(message))
        self._conclude({message.id: message for message in parked})
        self._delete()
        self._renew()
        trouble, self._trouble = self._trouble, None
        if trouble := trouble or self._receiver.trouble:
            raise QueueUnavailable(trouble.reason, str(trouble))

    def repair(self, *, thorough: bool = False) -> str | None:
        """There is nothing of ours to be repaired."""
        return None

    def close(self) -> None:
        """Give back at once what is not settled, so that nobody waits for it to lapse."""
        self._receiver.stop(0.0 if self.is_idle() else CLOSE_SECONDS)
        self._absorb()
        self._delete()
        self._change_visibility([(message, 0) for message in self._in_flight.messages.values()])
        self._threads.shutdown(wait=False)

    def _absorb(self) -> None:
        """Let wait what was received."""
        for lapses, received in self._receiver.arrived():
            name, receipt = received["MessageId"], received["ReceiptHandle"]
            known = self._in_flight.messages.get(name) or self._done.get(name)
            if known is not None:  # it lapsed: the newer receipt is the one that counts
                known.receipt, known.lapses = receipt, lapses
                continue
            try:
                records, _ = message_format.read(received["Body"])
            except message_format.UnknownMessageFormat as error:
                self.unknown_messages += 1
                log.debug("message %s: %s", name, error)
                self._trouble = QueueUnavailable(Reason.SQS_FOREIGN, f"message {name}: {error}")
                continue
            if not records:
                self._done[name] = Message(name, receipt, lapses, records, {})
                continue
            calls = int(received.get("Attributes", {}).get("ApproximateReceiveCount", 1)) - 1
            attempts = dict.fromkeys(range(len(records)), calls)
            self._in_flight.add(Message(name, receipt, lapses, records, attempts))

    def _store_dead_letters(
        self, rejected: Sequence[Rejection]
    ) -> Iterable[tuple[Rejection, QueueUnavailable | None]]:
        """Store dead letters; return what is wrong with each, or None."""
        if not rejected:
            return []
        try:
            url = self._receiver.terms().dead_letters
        except QueueUnavailable as error:
            return [(rejection, error) for rejection in rejected]
        if self._dead is None or self._dead.url != url:
            self._dead = dead_letters.DeadLetterWriter(url)
        return zip(rejected, self._dead.store(rejected, self._now()), strict=True)

    def _conclude(self, messages: Mapping[str, Message]) -> None:
        """Delete the messages of which nothing is left, give back those of which nothing moves."""
        back = []
        for message in messages.values():
            if not message.open:
                self._in_flight.forget(message)
                self._done[message.id] = message
            elif message.idle:
                seconds = max(message.due.values()) - self._clock()
                if seconds > 0:
                    back.append((message, math.ceil(seconds)))
                else:
                    self._in_flight.let_wait(message)
        self._change_visibility(back)
        for message, _ in back:
            self._in_flight.forget(message)
        self._delete()

    def _delay(self, message: Message) -> float:
        """Return the seconds until a message of a site in trouble is worth another look.

        They grow with its age, so that no outage takes it to the redrive policy's count, and stay
        below half of it, so that recovery takes no longer than the outage.
        """
        age = self._now() - min(record.received_at for record in message.records)
        longest = min(LONGEST_DELAY, max(SHORTEST_DELAY, age / 2))
        return random.uniform(longest / 2, longest)  # noqa: S311 - no secret

    def _delete(self) -> None:
        """Delete what is done; what can't be deleted now is tried again by `tidy`."""
        messages = list(self._done.values())
        entries = [{"ReceiptHandle": message.receipt} for message in messages]
        failures = self._batches("delete_message_batch", entries)
        for message, failure in zip(messages, failures, strict=True):
            if failure is None or failure.reason == Reason.SQS_RECEIPT:  # else it is received again
                del self._done[message.id]
            else:
                self._trouble = failure

    def _renew(self) -> None:
        held = [*self._in_flight.messages.values(), *self._done.values()]
        if not held:
            return
        lease = self._receiver.terms().lease
        soon = self._clock() + lease / 2
        self._change_visibility([(message, lease) for message in held if message.lapses < soon])

    def _change_visibility(self, messages: Sequence[tuple[Message, int]]) -> None:
        """Put off, or bring forward, when these lapse. What fails lapses by itself."""
        started = self._clock()
        entries = [
            {"ReceiptHandle": message.receipt, "VisibilityTimeout": seconds}
            for message, seconds in messages
        ]
        failures = self._batches("change_message_visibility_batch", entries)
        for (message, seconds), failure in zip(messages, failures, strict=True):
            if failure is None:
                message.lapses = started + seconds
            elif failure.reason == Reason.SQS_RECEIPT:  # another forwarder may have it
                message.lapses = float("inf")
            else:
                self._trouble = failure

    def _batches(
        self, operation: str, entries: Sequence[Mapping[str, Any]]
    ) -> list[QueueUnavailable | None]:
        """Batch calls, several at once; what is wrong with each entry, or None."""
        groups = [
            entries[n : n + message_format.ENTRIES]
            for n in range(0, len(entries), message_format.ENTRIES)
        ]
        if len(groups) == 1:
            return self._main.batch(operation, groups[0])
        answers = self._threads.map(lambda group: self._main.batch(operation, group), groups)
        return [failure for answer in answers for failure in answer]
