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

DOUBT_SECONDS = 15.0  # for which a failure is remembered, and then it may be tried again

Verdict = QueueUnavailable | None


class SqsInbox:
    """Callers that wait at the same moment share calls; each hears of its own records alone.

    It needs `sqs:SendMessage` and nothing else.
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
        # boto3 waits as greenlets do, where gevent runs: it must not be called in a native thread.
        self._group: GroupCommit[Chunk, Verdict] = GroupCommit(self._store, _here, committed)
        self._failure: tuple[float, QueueUnavailable] | None = None  # since the last success

    def put(self, records: Sequence[Record]) -> Sequence[bool]:
        """Store all; on return SQS has confirmed them. All are new, as far as anybody knows.

        Where it raises, some may be stored: sent again, they have the same eventIds.
        """
        for failure in self._group.commit(message_format.chunks(duplicates.tell_apart(records))):
            if failure is not None:
                raise QueueUnavailable(failure.reason, str(failure))
        return [True] * len(records)

    def check(self) -> None:
        """Raise QueueError where SQS failed a moment ago: to ask it takes more rights than ours."""
        if self._failure is not None:
            when, failure = self._failure
            if self._clock() - when < DOUBT_SECONDS:
                raise QueueUnavailable(failure.reason, str(failure))

    def _store(self, chunks: Sequence[Chunk]) -> list[Verdict]:
        verdicts: list[Verdict] = [None] * len(chunks)
        lost: Verdict = None  # SQS answers nobody now: further calls would only take as long
        for call in message_format.calls(message_format.pack(chunks)):
            outcome: list[Verdict] = [lost] * len(call) if lost else self._send(call)
            for message, verdict in zip(call, outcome, strict=True):
                for number in message.chunks:
                    verdicts[number] = verdict
            lost = next((one for one in outcome if one and one.reason == "sqs_timeout"), None)
        if None in verdicts:
            self._failure = None
        elif verdicts and verdicts[0]:
            self._failure = self._clock(), verdicts[0]
        return verdicts

    def _send(self, messages: Sequence[Message]) -> list[Verdict]:
        """One call; what failed of it is tried once more, but for a time-out."""
        verdicts = self._queue.batch("send_message_batch", _entries(messages))
        again = [n for n, one in enumerate(verdicts) if one and one.reason != "sqs_timeout"]
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
