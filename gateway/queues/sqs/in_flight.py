"""Track the messages that a forwarder holds: which records wait, are being sent, or are settled.

Pure: it uses neither the clock nor SQS.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
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
    due: dict[int, float] = field(default_factory=dict)  # delayed: number → when it may be taken

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
        self._lines: dict[str, OrderedDict[str, deque[tuple[Message, int]]]] = {}
        self._in_hand: dict[int, tuple[Message, int]] = {}
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
        return list(self._lines)

    def take(self, site: str, sessions: int, *, newest: bool = False) -> list[Delivery]:
        """Take records of that many of a site's sessions, those that wait longest first.

        With `newest`, those that wait shortest come first.
        """
        line = self._lines.get(site, OrderedDict())
        taken = []
        ready = [*reversed(line)] if newest else [*line]
        for session_id in ready[: max(0, sessions)]:
            waiting = line.pop(session_id)
            for _ in range(min(BATCH_RECORDS, len(waiting))):
                message, number = waiting.popleft()
                message.waiting.discard(number)
                self.waiting -= 1
                taken.append(self._hand_out(message, number))
            if waiting:
                line[session_id] = waiting  # at the end
        if not line:
            self._lines.pop(site, None)
        return taken

    def take_where(self, wanted: Callable[[Record], bool]) -> list[Delivery]:
        """Take all waiting records that match, whatever capacity there is."""
        taken = []
        for message in list(self.messages.values()):
            for number in sorted(message.waiting):
                if wanted(message.records[number]):
                    self._unwait(message, number)
                    taken.append(self._hand_out(message, number))
        return taken

    def ack(self, taken: Delivery) -> Message | None:
        """Mark a record as delivered or dead; return its message if it is still held."""
        message, number = self._in_hand.pop(taken.handle, (None, -1))
        if message is not None:
            message.sent.discard(number)
            message.open.pop(number, None)
        return message

    def give_back(self, taken: Delivery, attempts: int, due: float | None) -> Message | None:
        """Let a record wait again, at once or when it is due; return its message if still held."""
        message, number = self._in_hand.pop(taken.handle, (None, -1))
        if message is not None:
            message.sent.discard(number)
            message.open[number] = taken.attempts + attempts
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
        line = self._lines.setdefault(record.site, OrderedDict())
        line.setdefault(record.session_id, deque()).append((message, number))
        message.waiting.add(number)
        self.waiting += 1

    def _unwait(self, message: Message, number: int) -> None:
        """Remove a record from its session's line: linear, so only for delays and expiry."""
        record = message.records[number]
        line = self._lines[record.site]
        line[record.session_id].remove((message, number))
        if not line[record.session_id]:
            del line[record.session_id]
        if not line:
            del self._lines[record.site]
        message.waiting.discard(number)
        self.waiting -= 1

    def _hand_out(self, message: Message, number: int) -> Delivery:
        message.sent.add(number)
        handle = _handle(message.id, number)
        self._in_hand[handle] = message, number
        return Delivery(handle, message.records[number], message.open[number])


def _handle(message_id: str, number: int) -> int:
    """Return a handle that is the same each time a message is received, to recognise suspects."""
    return int.from_bytes(blake2b(f"{message_id}/{number}".encode(), digest_size=7).digest())
