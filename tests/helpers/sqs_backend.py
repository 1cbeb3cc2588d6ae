"""SQS to be tried: moto's server over HTTP, whose clock is the tests'."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from typing import Any
from uuid import uuid4

import pytest

from gateway.queues import DeadLetter
from gateway.queues.sqs import admin, client
from gateway.queues.sqs.client import Queue
from gateway.queues.sqs.dead_letters import SqsDeadLetters
from gateway.queues.sqs.inbox import SqsInbox
from gateway.queues.sqs.outbox import SqsOutbox
from gateway.queues.sqs.receiver import Receiver
from tests.helpers.queue_contract import Clock
from tests.helpers.secrecy import MARK

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": f"aws-{MARK}",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextmanager
def moto_server() -> Iterator[str]:
    """SQS in a thread of this process, over HTTP; its address."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    from tests.helpers.moto_sqs import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


_new_client = client._client


@cache
def _shared_client(url: str, read_seconds: float) -> Any:
    """To make one takes longer than most tests; it serves every queue of its server."""
    server = "/".join(url.split("/")[:3])
    return _new_client(url, read_seconds) if url == server else _shared_client(server, read_seconds)


class PolledOutbox(SqsOutbox):
    """Polls before each look until nothing comes, so that a test knows what it must see."""

    def sites(self) -> list[str]:
        while self.has_capacity() and self._receiver.poll(0):
            self._absorb()
        return super().sites()


class SqsBackend:
    """A queue of its own and its dead-letter queue."""

    def __init__(self, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Clock()
        for name, value in CREDENTIALS.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("moto.sqs.models.unix_time", self.clock)
        monkeypatch.setattr("moto.sqs.models.unix_time_millis", lambda: self.clock() * 1000)
        # Nothing comes while the clock stands still, so there is nothing to wait for.
        monkeypatch.setattr("gateway.queues.sqs.outbox.ONCE_SECONDS", 0)
        monkeypatch.setattr("gateway.queues.sqs.dead_letters.POLL_SECONDS", 0)
        monkeypatch.setattr(
            "gateway.queues.sqs.dead_letters._date", lambda _answer: self.clock() + 1
        )
        monkeypatch.setattr("gateway.queues.sqs.client._client", _shared_client)
        self.url, self.dead_url = admin.create(f"{server}/123456789012/q-{uuid4()}", None)

    def inbox(self) -> SqsInbox:
        return SqsInbox(Queue(self.url), clock=self.clock)

    def outbox(self, max_age: float = float("inf")) -> PolledOutbox:
        """A new one; the one before it has crashed, and what it held lapses when time passes."""
        main = Queue(self.url)
        receiver = Receiver(main, None, self.clock)
        return PolledOutbox(main, receiver, max_age=max_age, clock=self.clock, now=self.clock)

    def dead_letters(self) -> SqsDeadLetters:
        return SqsDeadLetters(Queue(self.url), Queue(self.dead_url))

    def dead(self) -> list[DeadLetter]:
        with closing(self.dead_letters()) as letters:
            return list(letters.list())

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds

    def attributes(self, url: str | None = None) -> dict[str, Any]:
        answer = Queue(url or self.url).call("get_queue_attributes", AttributeNames=["All"])
        return dict(answer["Attributes"])

    def messages(self) -> int:
        """In the queue, received or not."""
        found = self.attributes()
        return int(found["ApproximateNumberOfMessages"]) + int(
            found["ApproximateNumberOfMessagesNotVisible"]
        )
