"""A forwarder's own `/metrics` and `/healthz`, for `forward --metrics-port`."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from gateway.batches import Call, CallFailed
from gateway.queues import Burial, Condition, Outbox, Release, Taken

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Meter:
    """Counts what passes through the parts that it is put around."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._condition: Condition | None = None
        self.registry = CollectorRegistry()
        self._calls = Counter(
            "gateway_forwarder_calls", "PutEvents calls", ["outcome"], registry=self.registry
        )
        self._events = Counter(
            "gateway_forwarder_events", "Events settled", ["outcome"], registry=self.registry
        )
        self._in_flight = Gauge(
            "gateway_forwarder_in_flight", "Events being sent", registry=self.registry
        )
        self._heartbeat = Gauge(
            "gateway_forwarder_heartbeat_timestamp_seconds",
            "When the loop last came round",
            registry=self.registry,
        )

    def sending(self, send: Callable[[Call], None]) -> Callable[[Call], None]:
        """`send`, counted by what became of the call."""

        def counted(call: Call) -> None:
            outcome = "unexpected"
            try:
                send(call)
                outcome = "accepted"
            except CallFailed as failure:
                outcome = failure.reason
                raise
            finally:
                self._calls.labels(outcome).inc()

        return counted

    def settling(self, outbox: Outbox) -> Outbox:
        """The outbox, counted by what becomes of the events."""
        self.registry.register(_Foreign(outbox))
        return _Counted(outbox, self._events)

    def reporting(self, report: Callable[[Condition], None]) -> Callable[[Condition], None]:
        """`report`, whose last word is kept for `/healthz`."""

        def kept(condition: Condition) -> None:
            self._condition = condition
            self._in_flight.set(condition.in_flight)
            self._heartbeat.set(condition.at)
            report(condition)

        return kept

    def health(self) -> tuple[HTTPStatus, dict[str, Any]]:
        """200 with the condition, 503 where the loop is stuck."""
        condition = self._condition
        if condition is None:
            return HTTPStatus.OK, {"status": "waiting"}  # for its turn, or for the first look
        if condition.is_stale(self._clock()):
            return HTTPStatus.SERVICE_UNAVAILABLE, {"status": "stuck", **asdict(condition)}
        return HTTPStatus.OK, {"status": "ok", **asdict(condition)}


class _Counted:
    """An outbox whose settlements are counted."""

    def __init__(self, outbox: Outbox, events: Counter) -> None:
        self._outbox = outbox
        self._events = events
        self.take, self.tidy = outbox.take, outbox.tidy
        self.repair, self.close = outbox.repair, outbox.close

    def settle(
        self, acked: Sequence[Taken], buried: Sequence[Burial], released: Sequence[Release]
    ) -> None:
        self._outbox.settle(acked, buried, released)
        self._events.labels("delivered").inc(len(acked))
        self._events.labels("dead").inc(len(buried))
        self._events.labels("released").inc(len(released))


class _Foreign(Collector):
    """Messages received that are not ours, where the queue is one that can hold such."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def collect(self) -> Iterable[CounterMetricFamily]:
        yield CounterMetricFamily(
            "gateway_sqs_foreign_messages",
            "Messages received that are not ours",
            value=getattr(self._outbox, "foreign", 0),
        )


def serve(meter: Meter, port: int) -> ThreadingHTTPServer:
    """Answer on every interface, in a thread that ends with the process. Raises OSError."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(HTTPStatus.OK, CONTENT_TYPE, generate_latest(meter.registry))
            elif self.path == "/healthz":
                status, condition = meter.health()
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
