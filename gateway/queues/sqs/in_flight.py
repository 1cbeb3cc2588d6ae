"""Track the messages that a forwarder holds: which records wait, are being sent, or are settled.

Pure: it uses neither the clock nor SQS.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from hashlib import blake2b

from gateway.queues import BATCH_RECORDS, Delivery, Record

REMEMBERED = 10_000  # released messages whose unsettled records are remembered


@dataclass(slots=True, eq=False)
class Message:
    """One message, and the state of each of its records by number."""

    id: str
    receipt: str
    lapses: float  # when others may receive it, unless its lease is renewed
    records: list[Record]
    open: dict[int, int]  # not settled: number → attempts
    waiting: set[int] = field(default_factory=set)
    sent: set[int] = field(default_factory=set)
    due: dict[int, float] = field(default_factory=dict)  # delayed: number → when it may be received

    @property
    def site(self) -> str:
        return self.records[0].site

    @property
    def idle(self) -> bool:
        """Return whether none of its records waits or is being sent."""
        return not self.waiting and not self.sent


class InFlight:
    """The messages held, by ID, and their waiting records by site and session, in order."""

    def __init__(self) -> None:
        self.messages: dict[str, Message] = {}
        self.waiting = 0  # records
        self._waiting: dict[str, OrderedDict[str, deque[tuple[Message, int]]]] = {}
        self._handed_out: dict[int, tuple[Message, int]] = {}
        self._settled_before: OrderedDict[str, dict[int, int]] = OrderedDict()

    def add(self, message: Message) -> None:
        """Add a message; records that were settled before it was released stay settled."""
        if message.id in self._settled_before:
            message.open = self._settled_before.pop(message.id)
        self.messages[message.id] = message
        for number in message.open:
            self._wait(message, number)

    def sites(self) -> list[str]:
        """Return the sites that have waiting records."""
        return list(self._waiting)

    def receive(self, site: str, capacity: int, *, newest: bool = False) -> list[list[Delivery]]:
        """Hand out a batch of each of `capacity` sessions, those that wait longest first.

        With `newest`, those with the latest records come first.
        """
        sessions = self._waiting.get(site, OrderedDict())
        batches = []
        ready = [*sessions]
        if newest:
            ready.sort(key=lambda name: _received_at(*sessions[name][-1]), reverse=True)
        for session_id in ready[: max(0, capacity)]:
            waiting = sessions.pop(session_id)
            batch = []
            for _ in range(min(BATCH_RECORDS, len(waiting))):
                message, number = waiting.popleft()
                message.waiting.discard(number)
                self.waiting -= 1
                batch.append(self._hand_out(message, number))
            batches.append(batch)
            if waiting:
                sessions[session_id] = waiting  # at the end
        if not sessions:
            self._waiting.pop(site, None)
        return batches

    def receive_older(self, site: str, received_before: float) -> list[list[Delivery]]:
        """Hand out all records of a site received before then, in batches of one session."""
        batches = []
        for waiting in list(self._waiting.get(site, OrderedDict()).values()):
            old = [
                (message, number)
                for message, number in waiting
                if message.records[number].received_at < received_before
            ]
            for message, number in old:
                self._unwait(message, number)
            if old:
                batches.append([self._hand_out(message, number) for message, number in old])
        return batches

    def ack(self, delivery: Delivery) -> Message | None:
        """Mark a record as delivered or dead; return its message if it is still held."""
        message, number = self._handed_out.pop(delivery.handle, (None, -1))
        if message is not None:
            message.sent.discard(number)
            message.open.pop(number, None)
        return message

    def release(self, delivery: Delivery, attempts: int, due: float | None) -> Message | None:
        """Let a record wait again, at once or when it is due; return its message if still held."""
        message, number = self._handed_out.pop(delivery.handle, (None, -1))
        if message is not None:
            message.sent.discard(number)
            message.open[number] = delivery.attempts + attempts
            if due is None:
                self._wait(message, number)
            else:
                message.due[number] = due
        return message

    def put_off(self, message: Message, due: float) -> None:
        """Delay the waiting records of a message until `due`."""
        for number in sorted(message.waiting):
            self._unwait(message, number)
            message.due[number] = due

    def let_wait(self, message: Message) -> None:
        """Let the delayed records of a message wait again."""
        for number in list(message.due):
            del message.due[number]
            self._wait(message, number)

    def forget(self, message: Message) -> None:
        """Drop a message that is deleted or released; remember which records are not settled."""
        for number in sorted(message.waiting):
            self._unwait(message, number)
        self.messages.pop(message.id, None)
        if message.open:
            self._settled_before[message.id] = message.open
            if len(self._settled_before) > REMEMBERED:
                self._settled_before.popitem(last=False)

    def _wait(self, message: Message, number: int) -> None:
        record = message.records[number]
        sessions = self._waiting.setdefault(record.site, OrderedDict())
        sessions.setdefault(record.session_id, deque()).append((message, number))
        message.waiting.add(number)
        self.waiting += 1

    def _unwait(self, message: Message, number: int) -> None:
        """Remove a record from its session's queue: linear, so only for delays and expiry."""
        record = message.records[number]
        sessions = self._waiting[record.site]
        sessions[record.session_id].remove((message, number))
        if not sessions[record.session_id]:
            del sessions[record.session_id]
        if not sessions:
            del self._waiting[record.site]
        message.waiting.discard(number)
        self.waiting -= 1

    def _hand_out(self, message: Message, number: int) -> Delivery:
        message.sent.add(number)
        handle = _handle(message.id, number)
        self._handed_out[handle] = message, number
        return Delivery(handle, message.records[number], message.open[number])


def _received_at(message: Message, number: int) -> float:
    return message.records[number].received_at


def _handle(message_id: str, number: int) -> int:
    """Return a handle that is the same each time a message is received, to recognise suspects."""
    return int.from_bytes(blake2b(f"{message_id}/{number}".encode(), digest_size=7).digest())
