"""The forwarder's parts, counted by what passes through them; and `forward --metrics-port`."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from itertools import count, repeat
from secrets import token_hex
from socket import socket
from typing import Any

from gevent.server import StreamServer
from prometheus_client import CONTENT_TYPE_LATEST

from gateway.forwarder.batching import Call, CallFailed
from gateway.observability import metrics
from gateway.observability.history import EventHistory, steps
from gateway.observability.history.steps import Request
from gateway.observability.redaction import Redactor
from gateway.queues import Delivery, ForwarderStatus, Outbox, QueueBackend, Rejection, Release

SILENT_SECONDS = 10.0  # that a client of the metrics' port may be


class InstrumentedSender:
    """`send`, which returns AWS's request ID, with each call counted and in the trail.

    The message of a failure quotes no value that is to be masked.
    """

    def __init__(
        self, send: Callable[[Call], str | None], trail: EventHistory, redactor: Redactor
    ) -> None:
        self._send = send
        self._trail = trail
        self._redactor = redactor
        self._names = map("{}-{}".format, repeat(token_hex(3)), count(1))

    def __call__(self, call: Call) -> None:
        """Make it; raises CallFailed."""
        request = Request(next(self._names), time.time(), call.site, len(call.taken))
        self._trail.note(steps.sent, request, call.taken)
        started, outcome, message = time.monotonic(), "unexpected", None
        try:
            aws_id = self._send(call)
            outcome = "accepted"
        except CallFailed as failure:
            outcome, aws_id = failure.reason, failure.request_id
            message = self._masked(failure, call)
            failure.args = (message,)
            raise
        except Exception as error:
            aws_id, message = None, self._masked(error, call)
            raise
        finally:
            seconds = time.monotonic() - started
            metrics.CALLS.labels(call.site, outcome).inc()
            metrics.CALL_SECONDS.labels(call.site).observe(seconds)
            metrics.CALL_EVENTS.observe(len(call.taken))
            answer = request._replace(
                seconds=seconds, outcome=outcome, message=message, aws_request_id=aws_id
            )
            self._trail.note(steps.answered, answer, call.taken)

    def _masked(self, error: Exception, call: Call) -> str:
        return self._redactor.message(str(error), [item.record.event for item in call.taken])


class InstrumentedOutbox:
    """An outbox whose settlements are counted, and whose dead letters are in the trail."""

    def __init__(self, outbox: Outbox, trail: EventHistory) -> None:
        self._outbox = outbox
        self._trail = trail
        self._foreign = 0
        self.take, self.oldest_at, self.close = outbox.take, outbox.oldest_at, outbox.close

    def settle(
        self, acked: Sequence[Delivery], buried: Sequence[Rejection], released: Sequence[Release]
    ) -> None:
        """As the outbox does."""
        self._outbox.settle(acked, buried, released)
        for site, events in Counter(item.record.site for item in acked).items():
            metrics.DELIVERED.labels(site).inc(events)
        for burial in buried:
            metrics.DEAD_LETTERS.labels(burial.taken.record.site, burial.reason).inc()
        self._trail.note(steps.buried, buried, time.time())
        for release in released:
            if release.attempts:
                metrics.RETRIES.labels(release.taken.record.site).inc()

    def tidy(self) -> None:
        """As the outbox does."""
        try:
            self._outbox.tidy()
        finally:
            foreign = getattr(self._outbox, "foreign", 0)  # SQS can hold such messages
            metrics.UNKNOWN_MESSAGES.inc(foreign - self._foreign)
            self._foreign = foreign

    def repair(self, *, thorough: bool = False) -> str | None:
        """As the outbox does."""
        done = self._outbox.repair(thorough=thorough)
        if done is not None:
            metrics.REPAIRS.inc()
        return done


class Heartbeat:
    """A forwarder's last word on how it is going, which it has every second or so."""

    def __init__(
        self,
        queue: QueueBackend,
        report: Callable[[ForwarderStatus], None],
        trail: EventHistory,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`report` hears it too, and the trail how much waits."""
        self._queue = queue
        self._report = report
        self._trail = trail
        self._clock = clock
        self.condition: ForwarderStatus | None = None

    def report(self, condition: ForwarderStatus) -> None:
        """Keep it, and pass it on."""
        self.condition = condition
        self._report(condition)
        if self._queue.capabilities.local:
            self._trail.note(steps.depth, self._queue, condition.at)

    def exposition(self) -> bytes:
        """All metrics, in Prometheus' text format."""
        return metrics.exposition(metrics.state_of_queue(self._queue, self.condition))

    def health(self) -> tuple[HTTPStatus, dict[str, Any]]:
        """200 with the condition, 503 where the loop is stuck."""
        condition = self.condition
        if condition is None:
            return HTTPStatus.OK, {"status": "waiting"}  # for its turn, or for the first look
        if condition.is_stale(self._clock()):
            return HTTPStatus.SERVICE_UNAVAILABLE, {"status": "stuck", **asdict(condition)}
        return HTTPStatus.OK, {"status": "ok", **asdict(condition)}


def serve_metrics(port: int, pulse: Heartbeat) -> StreamServer:
    """Answer on every interface, in greenlets. Raises OSError."""

    class Handler(BaseHTTPRequestHandler):
        timeout = SILENT_SECONDS

        def version_string(self) -> str:
            return "personalize-gateway"  # and not which Python this is

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(HTTPStatus.OK, CONTENT_TYPE_LATEST, pulse.exposition())
            elif self.path == "/healthz":
                status, condition = pulse.health()
                self._answer(status, "application/json", json.dumps(condition).encode())
            else:
                self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"/metrics or /healthz\n")

        def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_what: Any) -> None:
            """Scrapes are not news."""

    def answer(client: socket, address: Any) -> None:
        with suppress(OSError):  # a client that went away is no news
            Handler(client, address, None)  # type: ignore[arg-type]

    server = StreamServer(("", port), answer)
    server.start()
    return server
