"""The forwarder's parts, counted by what passes through them; and `forward --metrics-port`."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST

from gateway import metrics
from gateway.batches import Call, CallFailed
from gateway.queues import Burial, Condition, Outbox, Release, Taken
from gateway.settings import Settings


def sending(send: Callable[[Call], None]) -> Callable[[Call], None]:
    """`send`, counted by what became of the call."""

    def counted(call: Call) -> None:
        outcome, started = "unexpected", time.monotonic()
        try:
            send(call)
            outcome = "accepted"
        except CallFailed as failure:
            outcome = failure.reason
            raise
        finally:
            metrics.CALLS.labels(call.site, outcome).inc()
            metrics.CALL_SECONDS.labels(call.site).observe(time.monotonic() - started)
            metrics.CALL_EVENTS.observe(len(call.taken))

    return counted


class Settling:
    """An outbox whose settlements are counted."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._foreign = 0
        self.take, self.close = outbox.take, outbox.close

    def settle(
        self, acked: Sequence[Taken], buried: Sequence[Burial], released: Sequence[Release]
    ) -> None:
        """As the outbox does."""
        self._outbox.settle(acked, buried, released)
        for item in acked:
            metrics.DELIVERED.labels(item.record.site).inc()
        for burial in buried:
            metrics.DEAD_LETTERS.labels(burial.taken.record.site, burial.reason).inc()
        for release in released:
            if release.attempts:
                metrics.RETRIES.labels(release.taken.record.site).inc()

    def tidy(self) -> None:
        """As the outbox does."""
        try:
            self._outbox.tidy()
        finally:
            foreign = getattr(self._outbox, "foreign", 0)  # SQS can hold such messages
            metrics.FOREIGN.inc(foreign - self._foreign)
            self._foreign = foreign

    def repair(self) -> str | None:
        """As the outbox does."""
        done = self._outbox.repair()
        if done is not None:
            metrics.REPAIRS.inc()
        return done


class Pulse:
    """A forwarder's last word on how it is going, which it has every second or so."""

    def __init__(
        self, report: Callable[[Condition], None], clock: Callable[[], float] = time.time
    ) -> None:
        """`report` hears it too."""
        self._report = report
        self._clock = clock
        self.condition: Condition | None = None

    def report(self, condition: Condition) -> None:
        """Keep it, and pass it on."""
        self.condition = condition
        self._report(condition)

    def health(self) -> tuple[HTTPStatus, dict[str, Any]]:
        """200 with the condition, 503 where the loop is stuck."""
        condition = self.condition
        if condition is None:
            return HTTPStatus.OK, {"status": "waiting"}  # for its turn, or for the first look
        if condition.is_stale(self._clock()):
            return HTTPStatus.SERVICE_UNAVAILABLE, {"status": "stuck", **asdict(condition)}
        return HTTPStatus.OK, {"status": "ok", **asdict(condition)}


def serve(port: int, settings: Settings, pulse: Pulse) -> ThreadingHTTPServer:
    """Answer on every interface, in a thread that ends with the process. Raises OSError."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/metrics":
                state = metrics.state_of_queue(settings, pulse.condition)
                self._answer(HTTPStatus.OK, CONTENT_TYPE_LATEST, metrics.exposition(state))
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

    server = ThreadingHTTPServer(("", port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server
