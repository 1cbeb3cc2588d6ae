"""The messages that a forwarder holds, and which of their records wait, are sent, or are settled.

Pure: no clock and no SQS in here.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b

from gateway.queues import BATCH_RECORDS, Delivery, Record

REMEMBERED = 10_000  # messages given back, of which it is known what was settled


@dataclass(slots=True, eq=False)
class Message:
    """One message: which of its records are open, and where each of those is."""

    id: str
    receipt: str
    lapses: float  # when others may receive it, unless that is put off
    records: list[Record]
    open: dict[int, int]  # number → attempts
    waiting: set[int] = field(default_factory=set)
    sent: set[int] = field(default_factory=set)
    due: dict[int, float] = field(default_factory=dict)  # number → when it may be taken again

    @property
    def site(self) -> str:
        return self.records[0].site

    @property
    def idle(self) -> bool:
        """Whether nothing of it waits for room or is being sent."""
        return not self.waiting and not self.sent


class InFlight:
    """All of them, by ID, and the lines in which their records wait: site → session → records."""

    def __init__(self) -> None:
        self.messages: dict[str, Message] = {}
        self.waiting = 0  # records
        self._lines: dict[str, OrderedDict[str, deque[tuple[Message, int]]]] = {}
        self._in_hand: dict[int, tuple[Message, int]] = {}
        self._settled_before: OrderedDict[str, dict[int, int]] = OrderedDict()

    def add(self, message: Message) -> None:
        """Let the records of a message wait that are open, as far as is remembered of it."""
        if message.id in self._settled_before:
            message.open = self._settled_before.pop(message.id)
        self.messages[message.id] = message
        for number in message.open:
            self._wait(message, number)

    def sites(self) -> list[str]:
        """Those of which something waits."""
        return list(self._lines)

    def take(self, site: str, sessions: int) -> list[Delivery]:
        """Records of so many of a site's sessions, those that wait longest first."""
        line = self._lines.get(site, OrderedDict())
        taken = []
        for session_id in list(line)[: max(0, sessions)]:
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
        """All records that wait and are wanted, whatever room there is."""
        taken = []
        for message in list(self.messages.values()):
            for number in sorted(message.waiting):
                if wanted(message.records[number]):
                    self._unwait(message, number)
                    taken.append(self._hand_out(message, number))
        return taken

    def ack(self, taken: Delivery) -> Message | None:
        """A record is delivered or dead. Its message, where it is still held."""
        message, number = self._in_hand.pop(taken.handle, (None, -1))
        if message is not None:
            message.sent.discard(number)
            message.open.pop(number, None)
        return message

    def give_back(self, taken: Delivery, attempts: int, due: float | None) -> Message | None:
        """A record is to be taken again: at once, or when it is due."""
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
        """What waits of a message is to be taken again when it is due."""
        for number in sorted(message.waiting):
            self._unwait(message, number)
            message.due[number] = due

    def let_wait(self, message: Message) -> None:
        """Records whose time has come wait again."""
        for number in list(message.due):
            del message.due[number]
            self._wait(message, number)

    def forget(self, message: Message) -> None:
        """It is deleted, or goes back: what is open of it is remembered, for when it returns."""
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
        """Out of its line, which is looked through: this is not for every day."""
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
    """The same whenever the message comes back, so that what is suspected of it stays known."""
    return int.from_bytes(blake2b(f"{message_id}/{number}".encode(), digest_size=7).digest())
