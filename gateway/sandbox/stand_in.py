"""The sandbox as an object, and its routes."""

from __future__ import annotations

import json
import secrets
import signal
import threading
from collections.abc import Callable, Collection
from email.message import Message
from importlib.resources import files
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs

from gateway.sandbox.access import is_allowed
from gateway.sandbox.calls import Answer, Call, PutEvents
from gateway.sandbox.faults import Faults
from gateway.sandbox.server import CORS, Server, error

PAGE = files("gateway") / "static" / "sandbox.html"
PAGE_POLICY = (
    "default-src 'self'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
)

KEEP = 10_000
OPEN = {"/", "/events"}  # to pages of every origin
PREFLIGHT = CORS | {
    "Access-Control-Allow-Headers": "*,Authorization",
    "Access-Control-Allow-Methods": "POST",
    "Access-Control-Max-Age": "600",
}


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
        self._server: Server | None = None
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
        """Return its address, for AWS_ENDPOINT_URL_PERSONALIZE_EVENTS."""
        host, port = self._address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def faults(self) -> Faults:
        """Return the faults in force; setting them restarts their random sequence."""
        return self._put_events.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._put_events.faults = faults

    def requests(self, since: int = 0) -> list[Call]:
        """Return all recorded calls, oldest first, as `GET /requests` does."""
        return self._put_events.calls.since(since)

    def events(self) -> list[dict[str, Any]]:
        """Return the accepted events in order, with their calls' tracking, session and user IDs."""
        return [
            {name: call[name] for name in ("trackingId", "sessionId", "userId")} | event
            for call in self.requests()
            if call["status"] == 200
            for event in call["eventList"]
        ]

    def clear(self) -> None:
        """Delete the recorded calls."""
        self._put_events.calls.clear()

    def start(self) -> None:
        """Start to listen. Raises OSError."""
        self._ending.clear()
        self._server = Server(self._address, self.answer, self._ending)
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
        """Answer one HTTP request; raise NoAnswer if a fault leaves it unanswered."""
        path, _, query = target.partition("?")
        try:
            route = self._routes[method, path]
        except KeyError:
            return error(404, "UnknownOperationException", f"No operation: {method} {path}")
        if path not in OPEN and not is_allowed(headers, self._address[0]):
            return Answer(403, b"Only the sandbox's own page and programs may see this")
        return route(headers, query, body)

    def _post_events(self, headers: Message[str, str], _query: str, body: bytes) -> Answer:
        answer = self._put_events.answer(headers, body)
        return Answer(answer.status, answer.body, answer.headers | CORS)

    def _get_requests(self, _headers: Message[str, str], query: str, _body: bytes) -> Answer:
        try:
            arguments = {name: int(values[-1]) for name, values in parse_qs(query).items()}
        except ValueError:
            return error(400, "InvalidInputException", "since and limit must be whole numbers")
        calls = self.requests(arguments.get("since", 0))
        newest = calls[-arguments["limit"] :] if arguments.get("limit", 0) > 0 else calls
        return _json(newest, {"X-Sandbox-Run": self._run})

    def _delete_requests(self, *_: object) -> Answer:
        self.clear()
        return Answer(204)

    def _put_faults(self, _headers: Message[str, str], _query: str, body: bytes) -> Answer:
        try:
            self.faults = Faults.from_json(json.loads(body))
        except (ValueError, RecursionError) as fault:
            return error(400, "InvalidInputException", str(fault))
        return _json(self.faults.to_json())


def serve(
    host: str,
    port: int,
    faults: Faults,
    tracking_ids: Collection[str] = (),
    keep: int = KEEP,
    started: Callable[[str], object] = print,
) -> None:
    """Run in the main thread until SIGTERM or SIGINT; call `started` with the URL."""
    ends = {signal.SIGTERM, signal.SIGINT}
    # Blocked before any thread starts: all threads inherit that, so only sigwait gets the signals.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    try:
        with Sandbox(host, port, faults, tracking_ids, keep) as sandbox:
            started(sandbox.url)
            signal.sigwait(ends)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _page() -> Answer:
    headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": PAGE_POLICY}
    return Answer(200, PAGE.read_bytes(), headers | CORS)


def _json(value: Any, headers: dict[str, str] | None = None) -> Answer:
    shown = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return Answer(200, json.dumps(value).encode(), shown | (headers or {}))
