"""The sandbox over HTTP, and as an object for tests.

Not werkzeug's server: that one closes each connection after its answer, and boto3 keeps them.
"""

from __future__ import annotations

import json
import logging
import secrets
import signal
import socket
import socketserver
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs

from gateway.sandbox.calls import Answer, Call, NoAnswer, PutEvents
from gateway.sandbox.faults import Faults

PAGE = Path(__file__).parents[2] / "static" / "sandbox.html"
PAGE_POLICY = (
    "default-src 'self'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
)

KEEP = 10_000
MAX_BODY_BYTES = 2 * 1024 * 1024  # the largest valid request, all of it escaped, is 1.3 MB

# AWS answers browsers of any origin; what a call needs is its signature.
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "x-amzn-ErrorType,x-amzn-RequestId,Retry-After",
}
PREFLIGHT = CORS | {
    "Access-Control-Allow-Headers": "*,Authorization",
    "Access-Control-Allow-Methods": "POST",
    "Access-Control-Max-Age": "600",
}

log = logging.getLogger(__name__)


class Sandbox:
    """A local Amazon Personalize that takes PutEvents, running while its `with` block does.

    May be stopped and started again, as an outage: address, calls and faults stay.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        faults: Faults | None = None,
        tracking_ids: Collection[str] = (),
        keep: int = KEEP,
    ) -> None:
        self._address = (host, port)
        self._run = secrets.token_hex(8)
        self._ending = threading.Event()
        self._put_events = PutEvents(faults or Faults(), tracking_ids, keep, self._ending.wait)
        self._server: _Server | None = None
        self._routes: dict[tuple[str, str], Callable[[Message[str, str], str, bytes], Answer]] = {
            ("POST", "/events"): self._post_events,
            ("OPTIONS", "/events"): lambda *_: Answer(204, headers=PREFLIGHT),
            ("GET", "/"): lambda *_: _page(),
            ("GET", "/requests"): self._get_requests,
            ("DELETE", "/requests"): self._delete_requests,
            ("GET", "/faults"): lambda *_: _json(self.faults.to_json()),
            ("PUT", "/faults"): self._put_faults,
        }

    @property
    def url(self) -> str:
        """Where it listens: what AWS_ENDPOINT_URL_PERSONALIZE_EVENTS is to be set to."""
        host, port = self._address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def faults(self) -> Faults:
        """The faults in force; setting them starts their random course anew."""
        return self._put_events.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._put_events.faults = faults

    def requests(self, since: int = 0) -> list[Call]:
        """All calls kept, oldest first, the refused ones too: as `GET /requests` shows them."""
        return self._put_events.calls.since(since)

    def events(self) -> list[dict[str, Any]]:
        """All events accepted, in order, each with its call's tracking, session and user ID."""
        return [
            {name: call[name] for name in ("trackingId", "sessionId", "userId")} | event
            for call in self.requests()
            if call["status"] == 200
            for event in call["eventList"]
        ]

    def clear(self) -> None:
        """Forget all calls."""
        self._put_events.calls.clear()

    def start(self) -> None:
        """Listen; raise OSError where that is not possible."""
        self._ending.clear()
        self._server = _Server(self._address, self.answer, self._ending)
        # An IPv6 address has more elements.
        self._address = self._server.server_address[:2]  # type: ignore[assignment]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Close the port and every connection, with or without an answer."""
        if self._server is not None:
            self._ending.set()
            self._server.stop()
            self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def answer(self, method: str, target: str, headers: Message[str, str], body: bytes) -> Answer:
        """Answer one HTTP request; raise NoAnswer where faults demand it."""
        path, _, query = target.partition("?")
        try:
            route = self._routes[method, path]
        except KeyError:
            return _error(404, "UnknownOperationException", f"No operation: {method} {path}")
        return route(headers, query, body)

    def _post_events(self, headers: Message[str, str], _query: str, body: bytes) -> Answer:
        answer = self._put_events.answer(headers, body)
        return Answer(answer.status, answer.body, answer.headers | CORS)

    def _get_requests(self, _headers: Message[str, str], query: str, _body: bytes) -> Answer:
        try:
            given = {name: int(values[-1]) for name, values in parse_qs(query).items()}
        except ValueError:
            return _error(400, "InvalidInputException", "since and limit must be whole numbers")
        calls = self.requests(given.get("since", 0))
        newest = calls[-given["limit"] :] if given.get("limit", 0) > 0 else calls
        return _json(newest, {"X-Sandbox-Run": self._run})

    def _delete_requests(self, *_: object) -> Answer:
        self.clear()
        return Answer(204)

    def _put_faults(self, _headers: Message[str, str], _query: str, body: bytes) -> Answer:
        try:
            self.faults = Faults.from_json(json.loads(body))
        except (ValueError, RecursionError) as error:
            return _error(400, "InvalidInputException", str(error))
        return _json(self.faults.to_json())


def serve(
    host: str,
    port: int,
    faults: Faults,
    tracking_ids: Collection[str] = (),
    keep: int = KEEP,
    started: Callable[[str], object] = print,
) -> None:
    """Run until SIGTERM or SIGINT, in the main thread; `started` is called with the URL."""
    ends = {signal.SIGTERM, signal.SIGINT}
    # Blocked before any thread starts, so that they all inherit it and sigwait alone gets them.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    try:
        with Sandbox(host, port, faults, tracking_ids, keep) as sandbox:
            started(sandbox.url)
            signal.sigwait(ends)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Server(ThreadingHTTPServer):
    """One thread a connection, each of which ends when the server does."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        answer: Callable[[str, str, Message[str, str], bytes], Answer],
        ending: threading.Event,
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.answer = answer
        self.ending = ending
        self._open: set[Any] = set()
        self._closed_one = threading.Condition()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Bind, without http.server's look-up of the host's name, which may take seconds."""
        socketserver.TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Note an open connection."""
        with self._closed_one:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self._closed_one:
            super().shutdown_request(request)
            self._open.discard(request)
            self._closed_one.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: what gets here is a client that went away, or one that was cut off."""

    def stop(self) -> None:
        """Stop listening, then close what is open: boto3 would go on using kept connections."""
        self.shutdown()
        self.server_close()
        with self._closed_one:
            for connection in self._open:
                _disconnect(connection)
            self._closed_one.wait_for(lambda: not self._open, timeout=5)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        body = self._read_body()
        if isinstance(body, Answer):
            self.close_connection = True
            self._send(body)
            return
        try:
            answer = self.server.answer(self.command, self.path, self.headers, body)
        except NoAnswer as fault:
            if fault.hang:
                self._wait_for_the_end()
            self.close_connection = True
            _disconnect(self.connection)
        except Exception as error:
            log.exception("The sandbox failed to answer %s %s", self.command, self.path)
            self._send(_error(500, "InternalFailure", f"The sandbox failed: {error!r}"))
        else:
            self._send(answer)

    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_HEAD = do_GET

    def _read_body(self) -> bytes | Answer:
        """Read the body, or say why not; then the connection can't be kept."""
        if "Transfer-Encoding" in self.headers:
            return _error(411, "LengthRequired", "Send a Content-Length")
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit()):
            return _error(400, "SerializationException", "Malformed Content-Length")
        if int(length[:20]) > MAX_BODY_BYTES:
            return _error(
                413, "RequestEntityTooLargeException", f"Larger than {MAX_BODY_BYTES} bytes"
            )
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise ConnectionAbortedError
        return body

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if answer.body and self.command != "HEAD":
            self.wfile.write(answer.body)

    def _wait_for_the_end(self) -> None:
        """Hang until the client gives up, or the server ends."""
        while not self.server.ending.wait(0.1):
            with suppress(BlockingIOError):
                if not self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                    return

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def _page() -> Answer:
    headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": PAGE_POLICY}
    return Answer(200, PAGE.read_bytes(), headers | CORS)


def _json(value: Any, headers: dict[str, str] | None = None) -> Answer:
    shown = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return Answer(200, json.dumps(value).encode(), shown | CORS | (headers or {}))


def _error(status: int, name: str, message: str) -> Answer:
    headers = {"Content-Type": "application/json", "x-amzn-ErrorType": name}
    return Answer(status, json.dumps({"message": message}).encode(), headers | CORS)


def _disconnect(connection: socket.socket) -> None:
    with suppress(OSError):  # the other side was quicker
        connection.shutdown(socket.SHUT_RDWR)
