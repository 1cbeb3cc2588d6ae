"""Serve /metrics and /healthz of a forwarder: `forward --metrics-port N`."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import asdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socket import socket
from typing import Any

from gevent.server import StreamServer
from prometheus_client import CONTENT_TYPE_LATEST

from gateway.forwarder.forwarder import Forwarder
from gateway.observability import metrics
from gateway.queues import ForwarderStatus, QueueBackend

SILENT_SECONDS = 10.0  # after which a silent client is disconnected


def health(status: ForwarderStatus | None, now: float) -> tuple[HTTPStatus, dict[str, Any]]:
    """Return 200 with the forwarder's status, 503 if its loop is stuck."""
    if status is None:
        return HTTPStatus.OK, {"status": "waiting"}  # for its turn, or for the first report
    if status.is_stale(now):
        return HTTPStatus.SERVICE_UNAVAILABLE, {"status": "stuck", **asdict(status)}
    return HTTPStatus.OK, {"status": "ok", **asdict(status)}


def serve_metrics(port: int, queue: QueueBackend, forwarder: Forwarder) -> StreamServer:
    """Answer on every interface, in greenlets. Raises OSError."""

    class Handler(BaseHTTPRequestHandler):
        timeout = SILENT_SECONDS

        def version_string(self) -> str:
            return "personalize-gateway"  # rather than the version of Python

        def do_GET(self) -> None:
            if self.path == "/metrics":
                state = metrics.state_of_queue(queue, forwarder.status)
                self._answer(HTTPStatus.OK, CONTENT_TYPE_LATEST, metrics.exposition(state))
            elif self.path == "/healthz":
                code, body = health(forwarder.status, time.time())
                self._answer(code, "application/json", json.dumps(body).encode())
            else:
                self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"/metrics or /healthz\n")

        def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_what: Any) -> None:
            """Log nothing: scrapes are not news."""

    def answer(client: socket, address: Any) -> None:
        with suppress(OSError):  # a client that went away is no news
            Handler(client, address, None)  # type: ignore[arg-type]

    server = StreamServer(("", port), answer)
    server.start()
    return server
