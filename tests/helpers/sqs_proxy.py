"""A proxy in front of SQS that keeps a record of the calls, and can spoil them."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import urlsplit

ERRORS = {
    "throttle": (400, "RequestThrottled", "Rate exceeded"),
    "denied": (403, "AccessDeniedException", "User is not authorized to perform: sqs:SendMessage"),
    "missing": (400, "QueueDoesNotExist", "The specified queue does not exist."),
    "error": (500, "InternalFailure", "We encountered an internal error."),
}


class Recorded(NamedTuple):
    """One call: whose credentials, which action, on which queue."""

    key: str
    action: str
    queue: str


class SqsProxy:
    """Passes on to `upstream` what `fault` lets through; may be stopped and started again.

    `fault`: a key of ERRORS, `hang`, `cut` before or `cut_after` it is passed on, `garbage`.
    `refuse_entries(entry)`: which entries of a batch of messages fail.
    `repeat_messages`: whether each message received stands twice in its answer.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream)
        self.fault: str | None = None
        self.refuse_entries: Callable[[dict[str, Any]], bool] = lambda _entry: False
        self.repeat_messages = False
        self.calls: list[Recorded] = []
        self.waiting: list[str] = []
        self._held: set[str] = set()
        self._go = threading.Event()
        self._port = 0
        self._server: ThreadingHTTPServer | None = None

    def __enter__(self) -> SqsProxy:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Listen, on the same port as before."""
        proxy = self

        class Handler(_Handler):
            pass

        Handler.proxy = proxy
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True).start()

    def stop(self) -> None:
        """Refuse connections; those that are open answer nothing more."""
        self.release()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def stopped(self) -> bool:
        return self._server is None

    def hold(self, *actions: str) -> None:
        """Let these calls wait until `release`."""
        self._go.clear()
        self._held = set(actions)

    def release(self) -> None:
        self._held = set()
        self._go.set()

    def pass_gate(self, action: str) -> None:
        if action in self._held:
            self.waiting.append(action)
            self._go.wait(60)

    def actions(self, *names: str) -> list[str]:
        return [call.action for call in self.calls if call.action in names]


class _Handler(BaseHTTPRequestHandler):
    proxy: SqsProxy
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    _upstream: HTTPConnection | None = None

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        action = self.headers["X-Amz-Target"].split(".")[1]
        key = re.search(r"Credential=([^/]+)/", self.headers["Authorization"])
        assert key
        members = json.loads(body)
        queue = str(members.get("QueueUrl", members.get("QueueName", ""))).rsplit("/", 1)[-1]
        self.proxy.calls.append(Recorded(key[1], action, queue))
        self.proxy.pass_gate(action)
        fault = self.proxy.fault
        if fault == "cut" or self.proxy.stopped:
            self.close_connection = True
        elif fault == "hang":
            self.proxy._go.wait(60)
            self.close_connection = True
        elif fault == "garbage":
            self._answer(200, b"<html>A captive portal</html>")
        elif fault in ERRORS:
            status, code, message = ERRORS[fault]
            text = {"__type": f"com.amazonaws.sqs#{code}", "message": message}
            self._answer(status, json.dumps(text).encode())
        else:
            try:
                status, answer = self._pass_on(action, members, body)
            except (HTTPException, OSError):  # the upstream has ended
                self.close_connection = True
                return
            if fault == "cut_after":
                self.close_connection = True
            else:
                self._answer(status, answer)

    def _pass_on(self, action: str, members: dict[str, Any], body: bytes) -> tuple[int, bytes]:
        if action == "ReceiveMessage" and self.proxy.repeat_messages:
            status, answer_body = self._forward(body)
            received = json.loads(answer_body)
            received["Messages"] = received.get("Messages", []) * 2
            return status, json.dumps(received).encode()
        if action != "SendMessageBatch":
            return self._forward(body)
        refused = [one for one in members["Entries"] if self.proxy.refuse_entries(one)]
        if not refused:
            return self._forward(body)
        members["Entries"] = [one for one in members["Entries"] if one not in refused]
        answer: dict[str, Any] = {"Successful": [], "Failed": []}
        if members["Entries"]:
            answer = json.loads(self._forward(json.dumps(members).encode())[1])
        answer["Failed"] = [
            {"Id": one["Id"], "Code": "InternalError", "SenderFault": False} for one in refused
        ]
        return 200, json.dumps(answer).encode()

    def _forward(self, body: bytes) -> tuple[int, bytes]:
        if self._upstream is None:
            upstream = self.proxy.upstream
            self._upstream = HTTPConnection(str(upstream.hostname), upstream.port, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name != "Content-Length"}
        self._upstream.request("POST", "/", body, headers)
        answer = self._upstream.getresponse()
        return answer.status, answer.read()

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_what: Any) -> None:
        """Nothing."""
