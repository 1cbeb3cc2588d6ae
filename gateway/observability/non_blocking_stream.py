"""Write the log from a thread of its own, so that logging never blocks a request.

The reader of standard error may be slow or have stopped. Once its pipe is full, a blocking write
would stop every request of a worker, the forwarder, and gunicorn's master.
"""

from __future__ import annotations

import atexit
import os

# Imported by name before gevent patches threads: a greenlet's write would block all others.
from _thread import start_new_thread
from collections.abc import Callable
from queue import SimpleQueue
from time import monotonic, sleep

BUFFERED_LINES = 1_000  # further lines are dropped and counted
DRAIN_SECONDS = 1.0  # that an ending process waits for its buffered lines
POLL_SECONDS = 0.001


class NonBlockingStream:
    """A stream for `logging.StreamHandler` that buffers whole lines for a file descriptor."""

    def __init__(self, descriptor: int, left_out: Callable[[int], str]) -> None:
        """Start the writer; `left_out(count)` returns the line that replaces dropped ones."""
        self._descriptor = descriptor
        self._left_out_line = left_out
        self._begin()
        os.register_at_fork(after_in_child=self._begin)
        atexit.register(self.drain)

    def write(self, line: str) -> None:
        """Buffer a line, or count it as dropped if the buffer is full."""
        if self._accepted - self._written < BUFFERED_LINES:
            self._accepted += 1
            self._lines.put(line)
        else:
            self._left_out += 1

    def flush(self) -> None:
        """Do nothing: the handler calls this after each line."""

    def drain(self) -> None:
        """Wait until all lines are written, for DRAIN_SECONDS at most."""
        deadline = monotonic() + DRAIN_SECONDS
        while self._written < self._accepted and monotonic() < deadline:
            sleep(POLL_SECONDS)

    def _begin(self) -> None:
        """Start a buffer and its thread; a forked process inherits neither."""
        self._lines: SimpleQueue[str] = SimpleQueue()
        self._accepted = self._written = self._left_out = 0
        start_new_thread(self._keep_writing, ())

    def _keep_writing(self) -> None:
        reported = 0
        while True:
            self._write_out(self._lines.get())
            if self._lines.empty() and reported < (left_out := self._left_out):
                self._write_out(self._left_out_line(left_out - reported))
                reported = left_out
            self._written += 1

    def _write_out(self, line: str) -> None:
        rest = line.encode(errors="backslashreplace")
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # another process made the shared descriptor non-blocking
                sleep(POLL_SECONDS)
            except OSError:  # the reader is gone
                return
