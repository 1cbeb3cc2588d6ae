"""Dead letters on SQS: a queue of their own, a message for each, with the reason as attributes.

The body is a message's of the queue itself with one record in it, and why it is dead beside that:
so an event is kept whole, and a message that is moved back by hand is delivered again.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

from gateway.queues import DeadLetter, QueueUnavailable, Record, Rejection
from gateway.queues.sqs import message_format
from gateway.queues.sqs.client import Queue
from gateway.reasons import Reason

POLL_SECONDS = 1  # any waiting makes SQS ask all of its servers
SCAN_SECONDS = 120  # for which letters that are listed are kept from others
ATTRIBUTE_CHARACTERS = 1000  # of AWS's message; the body has it whole
UNSEEMLY = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # SQS refuses

log = logging.getLogger(__name__)


class DeadLetterWriter:
    """Where the forwarder's dead letters go."""

    def __init__(self, url: str | None) -> None:
        self.url = url
        self._queue = None if url is None else Queue(url)

    def store(self, rejections: Sequence[Rejection], now: float) -> list[QueueUnavailable | None]:
        """Store each; return what went wrong with it, or None."""
        if self._queue is None:
            why = "no GATEWAY_DEAD_LETTER_QUEUE is set, and the queue has no redrive target"
            return [QueueUnavailable(Reason.SQS_NO_DEAD_LETTERS, why)] * len(rejections)
        return send(self._queue, [_entry(rejection, now) for rejection in rejections])


class SqsDeadLetters:
    """What operators do about them. Until it is closed, other readers do not find what it listed.

    The order is about that of their deaths: SQS promises none.
    """

    def __init__(self, main: Queue, dead: Queue) -> None:
        self._main = main
        self._dead = dead
        # Of what is listed: message → its receipt, and how many letters of it are left.
        self._receipts: dict[str, str] = {}
        self._left: dict[str, int] = {}

    def list(self) -> Iterator[DeadLetter]:
        """Yield all that are there now, not those rejected later (of replayed events, say)."""
        self.close()  # what was listed before may be listed again
        seen: set[str] = set()
        started = float("inf")
        while messages := (answer := self._receive()).get("Messages"):
            started = min(started, _date(answer))
            self._receipts |= {
                message["MessageId"]: message["ReceiptHandle"] for message in messages
            }
            fresh = {  # SQS may deliver a message twice, even in one answer
                message["MessageId"]: message
                for message in messages
                if message["MessageId"] not in seen and _sent_at(message) <= started
            }
            if not fresh:
                break
            seen.update(fresh)
            for message in fresh.values():
                yield from self._letters(message)

    def replay(self, letters: Sequence[tuple[DeadLetter, Record]]) -> int:
        """Put each letter's record into the queue again, then delete the letter."""
        records = [record for _, record in letters]
        bodies = [
            message_format.body(chunk.site, chunk.rows)
            for r in records
            for chunk in message_format.chunks([r])
        ]
        failures = send(self._main, [{"MessageBody": body} for body in bodies])
        self.purge([letter for (letter, _), no in zip(letters, failures, strict=True) if not no])
        for failure in filter(None, failures):
            raise failure
        return len(letters)

    def purge(self, letters: Sequence[DeadLetter]) -> int:
        """Delete these permanently, a message once all of its letters are to be deleted."""
        names_done = []
        for letter in letters:
            name = letter.id.partition("/")[0]
            self._left[name] -= 1
            if not self._left[name]:
                names_done.append(name)
        for start in range(0, len(names_done), message_format.ENTRIES):
            names = names_done[start : start + message_format.ENTRIES]
            entries = [{"ReceiptHandle": self._receipts[name]} for name in names]
            failures = self._dead.batch("delete_message_batch", entries)
            for name, failure in zip(names, failures, strict=True):
                if failure is not None:
                    raise failure
                del self._receipts[name]
        return len(letters)

    def close(self) -> None:
        """Let other readers find what was listed and is left."""
        receipts = [*self._receipts.values()]
        self._receipts.clear()
        for start in range(0, len(receipts), message_format.ENTRIES):
            entries = [
                {"ReceiptHandle": receipt, "VisibilityTimeout": 0}
                for receipt in receipts[start : start + message_format.ENTRIES]
            ]
            self._dead.batch("change_message_visibility_batch", entries)

    def _receive(self) -> Mapping[str, Any]:
        return self._dead.call(
            "receive_message",
            MaxNumberOfMessages=message_format.ENTRIES,
            WaitTimeSeconds=POLL_SECONDS,
            VisibilityTimeout=SCAN_SECONDS,
            MessageSystemAttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
        )

    def _letters(self, message: Mapping[str, Any]) -> Iterator[DeadLetter]:
        """Yield a message's dead letters: one if we rejected it, one a record if SQS moved it."""
        name, attributes = message["MessageId"], message.get("Attributes", {})
        try:
            records, members = message_format.read(message["Body"])
        except message_format.UnknownMessageFormat as error:
            log.warning("message %s is left alone: %s", name, error)
            return
        why = members.get("dead")
        if not isinstance(why, dict):
            count = int(attributes.get("ApproximateReceiveCount", 0))
            why = {"reason": "redriven", "message": "received too often", "attempts": count}
        died_at = float(why.get("died_at", _sent_at(message)))
        facts = str(why.get("reason")), str(why.get("message")), int(why.get("attempts", 0))
        self._left[name] = len(records)
        for number, record in enumerate(records):
            id_ = name if len(records) == 1 else f"{name}/{number}"
            yield DeadLetter(id_, *facts, died_at, record)


def send(queue: Queue, entries: Sequence[Mapping[str, Any]]) -> list[QueueUnavailable | None]:
    """Send messages in as few calls as possible; return what went wrong with each, or None."""
    failures: list[QueueUnavailable | None] = []
    messages = [
        message_format.Message(entry["MessageBody"], [n]) for n, entry in enumerate(entries)
    ]
    for call in message_format.calls(messages):
        batch = [entries[message.chunks[0]] for message in call]
        failures += queue.batch("send_message_batch", batch)
    return failures


def _sent_at(message: Mapping[str, Any]) -> float:
    """Return when a message was sent, by SQS's clock, in epoch seconds."""
    return int(message.get("Attributes", {}).get("SentTimestamp", 0)) / 1000


def _date(answer: Mapping[str, Any]) -> float:
    """Return when SQS answered at the latest, by the same clock."""
    text = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    return parsedate_to_datetime(text).timestamp() + 1 if text else float("inf")


def _entry(rejection: Rejection, now: float) -> dict[str, Any]:
    delivery, reason, message, attempts = rejection
    why = {"reason": reason, "message": message, "attempts": attempts, "died_at": now}
    [chunk] = message_format.chunks([delivery.record])
    attributes = {"reason": reason, "message": message, "site": chunk.site}
    return {
        "MessageBody": message_format.body(chunk.site, chunk.rows, dead=why),
        "MessageAttributes": {
            **{name: _attribute("String", value) for name, value in attributes.items()},
            "attempts": _attribute("Number", str(attempts)),
        },
    }


def _attribute(kind: str, value: str) -> dict[str, str]:
    """Return an attribute as SQS accepts it: never empty, without control characters."""
    text = UNSEEMLY.sub("?", value)[:ATTRIBUTE_CHARACTERS] or "-"
    return {"DataType": kind, "StringValue": text}
