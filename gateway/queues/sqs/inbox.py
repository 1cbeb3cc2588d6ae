"""The web end on SQS: an event is acknowledged once SQS has confirmed its message."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from gateway.queues import QueueUnavailable, Record, duplicates
from gateway.queues.group_commit import GroupCommit, unheard
from gateway.queues.sqs import message_format
from gateway.queues.sqs.client import Queue
from gateway.queues.sqs.message_format import Chunk, Message
from gateway.reasons import Reason

DOUBT_SECONDS = 15.0  # after a failure, for which `check` reports it

Verdict = QueueUnavailable | None


class SqsInbox:
    """Send records to SQS; concurrent callers share calls, and each gets its own result.

    The only permission needed is `sqs:SendMessage`.
    """

    def __init__(
        self,
        queue: Queue,
        *,
        committed: Callable[[int, float], None] = unheard,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._clock = clock
        # boto3's sockets are gevent's: it must not be called in a native thread.
        self._group: GroupCommit[Chunk, Verdict] = GroupCommit(self._store, _here, committed)
        self._failure: tuple[float, QueueUnavailable] | None = None  # since the last success

    def put(self, records: Sequence[Record]) -> Sequence[bool]:
        """Store all records; on return SQS has confirmed them. All count as new.

        If this raises QueueUnavailable, some may be stored; a repeat has the same eventIds.
        """
        for failure in self._group.commit(message_format.chunks(duplicates.tell_apart(records))):
            if failure is not None:
                raise QueueUnavailable(failure.reason, str(failure))
        return [True] * len(records)

    def check(self) -> None:
        """Raise QueueError if SQS failed a moment ago; asking it would need more permissions."""
        if self._failure is not None:
            when, failure = self._failure
            if self._clock() - when < DOUBT_SECONDS:
                raise QueueUnavailable(failure.reason, str(failure))

    def _store(self, chunks: Sequence[Chunk]) -> list[Verdict]:
        verdicts: list[Verdict] = [None] * len(chunks)
        lost: Verdict = None  # after a time-out further calls would take just as long
        for call in message_format.calls(message_format.pack(chunks)):
            outcome: list[Verdict] = [lost] * len(call) if lost else self._send(call)
            for message, verdict in zip(call, outcome, strict=True):
                for number in message.chunks:
                    verdicts[number] = verdict
            lost = next((e for e in outcome if e and e.reason == Reason.SQS_TIMEOUT), None)
        if None in verdicts:
            self._failure = None
        elif verdicts and verdicts[0]:
            self._failure = self._clock(), verdicts[0]
        return verdicts

    def _send(self, messages: Sequence[Message]) -> list[Verdict]:
        """Make one call; retry failed entries once, unless they timed out."""
        verdicts = self._queue.batch("send_message_batch", _entries(messages))
        again = [n for n, e in enumerate(verdicts) if e and e.reason != Reason.SQS_TIMEOUT]
        if again:
            entries = _entries([messages[number] for number in again])
            for number, verdict in zip(
                again, self._queue.batch("send_message_batch", entries), strict=True
            ):
                verdicts[number] = verdict
        return verdicts


def _entries(messages: Sequence[Message]) -> list[dict[str, Any]]:
    return [{"MessageBody": message.body} for message in messages]


def _here(store: Callable[..., Sequence[Verdict]], *arguments: Any) -> Sequence[Verdict]:
    return store(*arguments)
