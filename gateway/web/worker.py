"""gunicorn's gevent worker, made for the open net: nobody holds it up by being slow or many.

A request's head has the time of a kept-alive connection (`keepalive`), its body gunicorn's
`timeout`. Where nearly all connections are taken, the one that has been waited for longest makes
room, so that a newcomer is always let in. What is no HTTP is answered like any other refusal.
A worker that is to end doesn't wait for connections on which nothing happens. One that has no file
left to open for a new connection says so in one line, and parts with another.
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
from flask import Flask, Response
from gevent.server import StreamServer
from gunicorn import util
from gunicorn.http import errors
from gunicorn.workers.ggevent import GeventWorker
from werkzeug import exceptions

from gateway.observability import logs
from gateway.reasons import Reason
from gateway.web import open_files

SPARE = 0.1  # of the connections, which those that were told to go may still hold
IDLE = 1.0  # seconds without a request after which an ending worker parts with a connection
DRAINED = 65536  # bytes of a body that are worth reading for the sake of the next request
LINGERED = 2**23  # bytes that are thrown away so that who sends all before reading sees the answer

# Whatever else is wrong with a request's framing is a 400.
ANSWERS = {
    errors.LimitRequestLine: exceptions.RequestURITooLarge,
    errors.LimitRequestHeaders: exceptions.RequestHeaderFieldsTooLarge,
    errors.ExpectationFailed: exceptions.ExpectationFailed,
}


EXHAUSTED = {EMFILE, ENFILE, ENOBUFS, ENOMEM}
LONGEST_PAUSE = 0.1  # seconds, where a connection could not be accepted

log = logging.getLogger(__name__)


class Exhausted(OSError):
    """A connection could not be accepted: of this, gevent prints no traceback."""


class Server(StreamServer):  # type: ignore[misc]
    """Accepts connections; where files run out, it tells the worker and tries again soon."""

    max_delay = LONGEST_PAUSE

    def __init__(self, listener: socket, *, worker: Worker, spawn: Any, **options: Any) -> None:
        ssl = {name: options[name] for name in ("ssl_context",) if name in options}
        super().__init__(listener, handle=partial(worker.handle, listener), spawn=spawn, **ssl)
        self._worker = worker
        if worker.cfg.workers > 1:  # leave some to the others, as gunicorn does
            self.max_accept = 1

    def do_read(self) -> Any:
        """Accept a connection."""
        try:
            return super().do_read()
        except OSError as error:
            if error.errno not in EXHAUSTED:
                raise
            self._worker.make_room(error)
            raise Exhausted(*error.args) from None


class Reader(Protocol):
    """What gunicorn reads a request's body from."""

    def read(self, size: int) -> bytes:
        """That many bytes, or fewer at the end."""


class DeadlineReader:
    """Reads a request's body for so many seconds at most; then it raises what `late` names."""

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
    """What `worker_class` in gunicorn.conf.py names."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.worker_connections: int = min(self.cfg.worker_connections, open_files.connections())
        self._most = int(self.worker_connections * (1 - SPARE))
        self.server_class = partial(Server, worker=self)
        self._repeats = logs.RateLimitedLogger(log)
        # Since when each is idle, None while a request of it is served (`time.monotonic()`); the
        # one waited for longest comes first.
        self._waiting: dict[socket, float | None] = {}

    def run(self) -> None:
        """Serve until told to end."""
        hub = gevent.get_hub()
        hub.NOT_ERROR = (*hub.NOT_ERROR, Exhausted)
        super().run()

    def make_room(self, error: OSError) -> None:
        """Part with the connection that has been waited for longest, and log why."""
        self._repeats.say(
            Reason.OUT_OF_FILES, f"A connection could not be accepted: {error.strerror}"
        )
        if self._waiting:
            self._part_with(next(iter(self._waiting)), SHUT_RDWR)

    def notify(self) -> None:
        """Tell the master, once a second, that this worker lives; let idle connections go."""
        super().notify()
        if self.alive:
            return
        now = time.monotonic()
        idle = [one for one, since in self._waiting.items() if since and now - since > IDLE]
        for connection in idle:
            self._part_with(connection, SHUT_RD)  # a request that has come by now is served yet

    def handle(self, listener: socket, client: socket, addr: Any) -> None:
        """Serve a connection until it ends."""
        if len(self._waiting) >= self._most:
            self._part_with(next(iter(self._waiting)), SHUT_RDWR)
        self._waiting[client] = time.monotonic()
        try:
            super().handle(listener, client, addr)
        finally:
            self._waiting.pop(client, None)

    def handle_request(self, listener_name: Any, req: Any, sock: socket, addr: Any) -> Any:
        """Serve a request whose head has been read."""
        if sock in self._waiting:  # now it is waited for anew
            del self._waiting[sock]
            self._waiting[sock] = None
        reader = req.body.reader
        length = getattr(reader, "length", None)  # that is not read yet; None: in chunks
        if length is None or length > DRAINED:
            req.force_close()
        if length is None or length > req.unreader.buf.getbuffer().nbytes:  # else it is all here
            req.body.reader = DeadlineReader(req, self.cfg.timeout)
        try:
            return super().handle_request(listener_name, req, sock, addr)
        except StopIteration:  # the connection is to end
            if getattr(reader, "length", True):
                self._linger(sock)
            raise
        finally:
            if isinstance(req.body.reader, DeadlineReader):  # what is left is nobody's to answer
                req.body.reader.late = TimeoutError
            if sock in self._waiting:
                self._waiting[sock] = time.monotonic()

    def handle_error(self, req: Any, client: socket, addr: Any, exc: BaseException) -> None:
        """Answer what is no HTTP; the log has the reason, never the address or the content."""
        ours = (errors.InvalidResponseHeader, errors.InvalidResponseHeaderName)
        if not isinstance(exc, errors.ParseException) or isinstance(exc, ours):
            super().handle_error(req, client, addr, exc)
            return
        refusal = ANSWERS.get(type(exc), exceptions.BadRequest)
        util.write_nonblock(client, self._answer(refusal()))
        self._linger(client)

    def _answer(self, error: exceptions.HTTPException) -> bytes:
        """The application's answer to an error that it has not met itself."""
        app: Flask = self.wsgi
        with app.test_request_context():
            response: Response = app.finalize_request(app.handle_user_exception(error), True)
        lines = [f"HTTP/1.1 {response.status}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in response.headers]
        return "\r\n".join([*lines, "", ""]).encode() + response.get_data()

    def _linger(self, connection: socket) -> None:
        """Close, in two seconds at most: at once, with something unread, would reset it."""
        util.close_graceful(connection, max_drain=LINGERED)

    def _part_with(self, connection: socket, how: int) -> None:
        self._waiting.pop(connection)
        # Whoever reads from it finds its end, quietly; gevent's own shutdown would raise there.
        with suppress(OSError):  # it ended by itself
            connection._sock.shutdown(how)  # type: ignore[attr-defined]
