"""The sandbox's HTTP server: a thread for each connection, which faults may cut.

Not werkzeug's server: that one closes each connection after its answer, and boto3 keeps them.
"""

from __future__ import annotations

import json
import logging
import socket
import socketserver
import threading
from collections.abc import Callable
from contextlib import suppress
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from gateway.sandbox.calls import Answer, NoAnswer

MAX_BODY_BYTES = 2 * 1024 * 1024  # the largest valid request, all of it escaped, is 1.3 MB

# AWS answers browsers of any origin; what a call needs is its signature.
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "x-amzn-ErrorType,x-amzn-RequestId,Retry-After",
}

log = logging.getLogger(__name__)


def error(status: int, name: str, message: str) -> Answer:
    """Return an error as AWS's SDKs read it."""
    headers = {"Content-Type": "application/json", "x-amzn-ErrorType": name}
    return Answer(status, json.dumps({"message": message}).encode(), headers | CORS)


class Server(ThreadingHTTPServer):
    """An HTTP server with a thread for each connection; all end with the server."""

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
        """Bind without http.server's look-up of the host name, which may take seconds."""
        socketserver.TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember an open connection."""
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
        """Print nothing: these are clients that went away or were cut off."""

    def stop(self) -> None:
        """Stop listening and close open connections, which boto3 would reuse."""
        self.shutdown()
        self.server_close()
        with self._closed_one:
            for connection in self._open:
                _disconnect(connection)
            self._closed_one.wait_for(lambda: not self._open, timeout=5)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

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
        except Exception as fault:
            log.exception("The sandbox failed to answer %s %s", self.command, self.path)
            self._send(error(500, "InternalFailure", f"The sandbox failed: {fault!r}"))
        else:
            self._send(answer)

    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_HEAD = do_GET

    def _read_body(self) -> bytes | Answer:
        """Read the body, or answer why not and close the connection."""
        if "Transfer-Encoding" in self.headers:
            return error(411, "LengthRequired", "Send a Content-Length")
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit()):
            return error(400, "SerializationException", "Malformed Content-Length")
        if int(length[:20]) > MAX_BODY_BYTES:
            return error(
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
        """Wait until the client gives up or the server ends."""
        while not self.server.ending.wait(0.1):
            with suppress(BlockingIOError):
                if not self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                    return

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def _disconnect(connection: socket.socket) -> None:
    with suppress(OSError):  # the client closed it first
        connection.shutdown(socket.SHUT_RDWR)
