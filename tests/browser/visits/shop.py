"""A shop's pages and the way to the gateway: a proxy that emulates a round trip, and fails.

Each visit has a lane of its own: hosts under `<lane>.localhost`, and so cookies, storage and a
renderer of its own. All of them are this one server on 127.0.0.1.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.browser.visits import pages
from tests.helpers.sqs_proxy import SqsProxy

ROUND_TRIP = 0.05  # seconds
HANG = 35  # seconds; longer than the snippet waits
PASSED_ON = {"Cookie", "Origin", "Content-Type", "User-Agent", "Accept-Encoding", "Sec-GPC", "DNT"}
OWN = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


class Fault(NamedTuple):
    """What becomes of posted events: a status, or `hang`, `lost` (its answer), `gone`."""

    what: int | str
    retry_after: str | None = None


class Outage:
    """Of an SQS queue, for all visits at once."""

    def __init__(self, queue: SqsProxy, seconds: float = 10.0) -> None:
        self._queue = queue
        self._seconds = seconds
        self._lock = threading.Lock()

    def begin(self) -> None:
        """If it hasn't."""
        with self._lock:
            if not self._queue.stopped:
                self._queue.stop()
                threading.Timer(self._seconds, self._queue.start).start()

    def over(self) -> bool:
        return not self._queue.stopped


class Lane:
    """One visit's way to the gateway, and what went along it."""

    def __init__(self, name: str, port: int, outage: Outage | None) -> None:
        self.name = name
        self.port = port
        self.outage = outage  # of the gateway's queue, where that may go away
        self.fault: Fault | None = None
        self.script_seconds = 0.0  # until the snippet's file comes
        self.posts: list[tuple[float, int | str]] = []  # when each came, and what became of it
        self.seen: list[str] = []  # the pages' own calls
        self.released = threading.Event()  # ends what hangs

    def events(self, elsewhere: bool = False) -> str:
        """The gateway's address as this lane's pages see it; `elsewhere`: as a third party."""
        return f"http://events.{self.name}{'-elsewhere' * elsewhere}.localhost:{self.port}"

    def page(self, path: str, options: dict[str, Any]) -> str:
        """A page of the shop; `options` are those of pages.html."""
        return f"http://shop.{self.name}.localhost:{self.port}{path}?{urlencode(options)}"


class Shop:
    """Serves while its `with` block lasts."""

    def __init__(self) -> None:
        self.gateway = urlsplit("")
        self.outage: Outage | None = None
        self.lanes: dict[str, Lane] = {}
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.shop = self
        self.port: int = self._server.server_port

    def __enter__(self) -> Shop:
        threading.Thread(target=self._server.serve_forever, args=[0.05], daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        for lane in self.lanes.values():
            lane.released.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def origin(self) -> str:
        """For the sites file."""
        return f"http://*.localhost:{self.port}"

    def lane(self, name: str) -> Lane:
        """A new one."""
        self.lanes[name] = Lane(name, self.port, self.outage)
        return self.lanes[name]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    shop: Shop

    def handle_error(self, *_: Any) -> None:
        """A browser that goes away is what this is about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server
    _upstream: HTTPConnection | None = None

    def handle(self) -> None:
        """To connect takes a round trip; who gives up meanwhile has sent nothing."""
        time.sleep(ROUND_TRIP)
        poll = select.poll()
        poll.register(self.connection, select.POLLRDHUP)
        if poll.poll(0):
            return
        with suppress(OSError):
            super().handle()

    def finish(self) -> None:
        if self._upstream is not None:
            self._upstream.close()
        with suppress(OSError):
            super().finish()

    def do_GET(self) -> None:
        lane, events = self._lane()
        time.sleep(ROUND_TRIP / 2)
        path, _, query = self.path.partition("?")
        if events:
            time.sleep(lane.script_seconds)
            self._answer(*self._pass_on(b""))
        elif path == "/seen":
            lane.seen.append(query)
            self._answer(204, {}, b"")
        else:
            options = {name: values[-1] for name, values in parse_qs(query).items()}
            headers, html = pages.html(lane, path, options)
            self._answer(200, {"Content-Type": "text/html; charset=utf-8", **headers}, html)

    def do_POST(self) -> None:
        lane, _ = self._lane()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        fault = lane.fault
        came = time.monotonic()
        time.sleep(ROUND_TRIP / 2)
        try:
            what: int | str = self._post(lane, fault, body)
        except (HTTPException, OSError):  # the gateway itself is away
            what = "unreachable"
            self._hang_up()
        lane.posts.append((came, what))

    def _post(self, lane: Lane, fault: Fault | None, body: bytes) -> int | str:
        if fault is None:
            status, headers, text = self._pass_on(body)
            self._answer(status, headers, text)
            return status
        if isinstance(fault.what, int):
            self._answer(fault.what, self._refusal(fault), b'{"message": "not now"}')
            return fault.what
        if fault.what == "hang":
            lane.released.wait(HANG)
        if fault.what == "lost":
            self._pass_on(body)
        self._hang_up()
        return fault.what

    def _refusal(self, fault: Fault) -> dict[str, str]:
        """As the gateway itself refuses: readable across origins."""
        headers = {
            "Access-Control-Allow-Origin": self.headers["Origin"],
            "Access-Control-Allow-Credentials": "true",
            "Access-Control-Expose-Headers": "Retry-After",
        }
        return headers | ({"Retry-After": fault.retry_after} if fault.retry_after else {})

    def _lane(self) -> tuple[Lane, bool]:
        host, name = self.headers["Host"].split(".")[:2]
        return self.server.shop.lanes[name.removesuffix("-elsewhere")], host == "events"

    def _pass_on(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """The gateway's status, headers and body."""
        if self._upstream is None:
            gateway = self.server.shop.gateway
            self._upstream = HTTPConnection(str(gateway.hostname), gateway.port, timeout=60)
        headers = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
        try:
            self._upstream.request(self.command, self.path, body, headers)
            answer = self._upstream.getresponse()
            text = answer.read()
        except (HTTPException, OSError):
            self._upstream.close()
            self._upstream = None
            raise
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in OWN}
        return answer.status, kept, text

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        time.sleep(ROUND_TRIP / 2)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: Any) -> None:
        """Nothing."""
