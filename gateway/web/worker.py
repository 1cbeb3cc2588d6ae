"""Extend gunicorn's gevent worker so that slow or numerous clients can't block it.

- A request's head must arrive within `keepalive` seconds, its body within `timeout`.
- When nearly all connections are in use, the one that has been idle longest is closed, so a new
  one is always accepted. The same happens when the process may not open another file.
- Malformed HTTP is answered in the same format as every other rejected request.
- A worker that shuts down doesn't wait for idle connections.

This needs attributes of gunicorn's requests that its documentation doesn't describe. Each is
explained where it is used; setup.cfg bounds gunicorn's and gevent's versions for their sake.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from errno import EMFILE, ENFILE, ENOBUFS, ENOMEM
from functools import partial
from socket import SHUT_RD, SHUT_RDWR, socket
from typing import Any, Protocol

import gevent
from flask import Flask
from gevent.monkey import get_original
from gevent.server import StreamServer
from gunicorn import util
from gunicorn.http import errors
from gunicorn.workers.ggevent import GeventWorker
from werkzeug import exceptions

from gateway.observability import logs
from gateway.reasons import Reason
from gateway.web import open_files

SPARE = 0.1  # of the connections, for those that are being closed
IDLE = 1.0  # seconds without a request after which a worker that ends closes a connection
DRAINED = 65536  # bytes of a rejected body that are read to keep the connection alive
LINGERED = 2**23  # bytes that are discarded for clients that read the response only after sending

# All other errors in a request's framing are answered with 400.
ANSWERS = {
    errors.LimitRequestLine: exceptions.RequestURITooLarge,
    errors.LimitRequestHeaders: exceptions.RequestHeaderFieldsTooLarge,
    errors.ExpectationFailed: exceptions.ExpectationFailed,
}

# What the system reports when it can't accept another connection now.
EXHAUSTED = {EMFILE, ENFILE, ENOBUFS, ENOMEM}
LONGEST_PAUSE = 0.1  # seconds until accepting is tried again

log = logging.getLogger(__name__)
BlockingSocket = get_original("socket", "socket")  # the standard library's, before gevent's patches


class Exhausted(OSError):
    """Report that a connection could not be accepted; gevent prints no traceback of this."""


class Server(StreamServer):  # type: ignore[misc]
    """Accept connections; when files run out, tell the worker and try again soon."""

    max_delay = LONGEST_PAUSE

    def __init__(self, listener: socket, *, worker: Worker, spawn: Any, **options: Any) -> None:
        ssl = {name: options[name] for name in ("ssl_context",) if name in options}
        super().__init__(listener, handle=partial(worker.handle, listener), spawn=spawn, **ssl)
        self._worker = worker
        if worker.cfg.workers > 1:  # as gunicorn does, so that connections spread over workers
            self.max_accept = 1

    def do_read(self) -> Any:
        """Accept a connection."""
        try:
            return super().do_read()
        except OSError as error:
            if error.errno not in EXHAUSTED:
                raise
            self._worker.close_longest_idle(error)
            raise Exhausted(*error.args) from None


class Reader(Protocol):
    """Describe what gunicorn reads a request's body from."""

    def read(self, size: int) -> bytes:
        """Return that many bytes, or fewer at the end."""


class DeadlineReader:
    """Read a request's body within a number of seconds, or raise what `late` names."""

    def __init__(self, req: Any, seconds: float) -> None:
        self.late: type[BaseException] = exceptions.RequestTimeout
        self._req = req
        self._reader: Reader = req.body.reader
        self._deadline = time.monotonic() + seconds

    def read(self, size: int) -> bytes:
        try:
            with gevent.Timeout(self._deadline - time.monotonic(), self.late):
                return self._reader.read(size)
        except self.late:
            self._req.force_close()
            raise


class Worker(GeventWorker):  # type: ignore[misc]
    """Serve connections; `worker_class` in gunicorn.conf.py names this class."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.worker_connections: int = min(self.cfg.worker_connections, open_files.connections())
        self._most = int(self.worker_connections * (1 - SPARE))
        self.server_class = partial(Server, worker=self)
        self._logger = logs.RateLimitedLogger(log)
        # When each connection became idle (`time.monotonic()`), None while a request is served.
        # The one that has been idle longest comes first.
        self._idle_since: dict[socket, float | None] = {}

    def run(self) -> None:
        """Serve until the master ends the worker."""
        hub = gevent.get_hub()  # its documented list of exceptions without a traceback
        hub.NOT_ERROR = (*hub.NOT_ERROR, Exhausted)
        super().run()

    def close_longest_idle(self, error: OSError) -> None:
        """Close the connection that has been idle longest, and log why."""
        self._logger.warning(
            Reason.OUT_OF_FILES, f"A connection could not be accepted: {error.strerror}"
        )
        if self._idle_since:
            self._shut_down(next(iter(self._idle_since)), SHUT_RDWR)

    def notify(self) -> None:
        """Tell the master that this worker lives; once it ends, close idle connections."""
        super().notify()
        if self.alive:
            return
        now = time.monotonic()
        idle = [
            connection
            for connection, since in self._idle_since.items()
            if since and now - since > IDLE
        ]
        for connection in idle:
            self._shut_down(connection, SHUT_RD)  # a request that has arrived is still served

    def handle(self, listener: socket, client: socket, addr: Any) -> None:
        """Serve a connection until it ends."""
        if len(self._idle_since) >= self._most:
            self._shut_down(next(iter(self._idle_since)), SHUT_RDWR)
        self._idle_since[client] = time.monotonic()
        try:
            super().handle(listener, client, addr)
        finally:
            self._idle_since.pop(client, None)

    def handle_request(self, listener_name: Any, req: Any, sock: socket, addr: Any) -> Any:
        """Serve a request whose head has been read."""
        if sock in self._idle_since:  # move it to the end
            del self._idle_since[sock]
            self._idle_since[sock] = None
        # gunicorn has no time limit for a body and no hook around its reader, so the reader is
        # replaced. `length` is how much LengthReader has not read yet; ChunkedReader has none.
        reader = req.body.reader
        length = getattr(reader, "length", None)
        if length is None or length > DRAINED:
            req.force_close()
        # A body that is in the buffer already needs no limit, which costs time.
        if length is None or length > req.unreader.buf.getbuffer().nbytes:
            req.body.reader = DeadlineReader(req, self.cfg.timeout)
        try:
            return super().handle_request(listener_name, req, sock, addr)
        except StopIteration:  # how gunicorn ends a connection after this request
            if getattr(reader, "length", True):
                self._linger(sock)
            raise
        finally:
            # After the response the rest of the body is only drained: no 408 may be raised.
            if isinstance(req.body.reader, DeadlineReader):
                req.body.reader.late = TimeoutError
            if sock in self._idle_since:
                self._idle_since[sock] = time.monotonic()

    def handle_error(self, req: Any, client: socket, addr: Any, exc: BaseException) -> None:
        """Answer malformed HTTP, and log the reason without the address and the content."""
        ours = (errors.InvalidResponseHeader, errors.InvalidResponseHeaderName)
        if not isinstance(exc, errors.ParseException) or isinstance(exc, ours):
            super().handle_error(req, client, addr, exc)
            return
        http_error = ANSWERS.get(type(exc), exceptions.BadRequest)
        util.write_nonblock(client, self._render(http_error()))
        self._linger(client)

    def _render(self, error: exceptions.HTTPException) -> bytes:
        """Return the application's response to an error that occurred outside of it."""
        app: Flask = self.wsgi
        with app.test_request_context():
            response = app.process_response(app.make_response(app.handle_user_exception(error)))
        lines = [f"HTTP/1.1 {response.status}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in response.headers]
        return "\r\n".join([*lines, "", ""]).encode() + response.get_data()

    def _linger(self, connection: socket) -> None:
        """Close within two seconds; closing at once would reset it if something is unread."""
        util.close_graceful(connection, max_drain=LINGERED)

    def _shut_down(self, connection: socket, how: int) -> None:
        """Let the greenlet that reads from a connection find its end.

        gevent's own `shutdown` would raise an error in that greenlet.
        """
        self._idle_since.pop(connection)
        with suppress(OSError):  # it ended by itself
            blocking = BlockingSocket(fileno=connection.fileno())
            try:
                blocking.shutdown(how)
            finally:
                blocking.detach()
