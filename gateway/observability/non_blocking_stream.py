"""A log that nobody waits for: a thread of each process writes it.

Who should read standard error may be slow, or have stopped. Without this, its pipe once full, the
next line would hold up every visitor of a worker, the forwarder, and gunicorn's master.
"""

from __future__ import annotations

import atexit
import os

# By name, as they are before gevent makes greenlets of threads, which would all wait with this one.
from _thread import start_new_thread
from collections.abc import Callable
from queue import SimpleQueue
from time import monotonic, sleep

WAITING = 1_000  # lines, past which more are left out
FAREWELL = 1.0  # seconds that an ending process gives to what is not written yet
PAUSE = 0.001  # seconds between looks whether there is room, or nothing left


class NonBlockingStream:
    """The stream of a `logging.StreamHandler`: whole lines, in place of this file descriptor's."""

    def __init__(self, descriptor: int, left_out: Callable[[int], str]) -> None:
        """`left_out(count)` is the line that stands for so many others."""
        self._descriptor = descriptor
        self._left_out_line = left_out
        self._begin()
        os.register_at_fork(after_in_child=self._begin)
        atexit.register(self.drain)

    def write(self, line: str) -> None:
        """Have it written; where too many wait, only count it."""
        if self._given - self._written < WAITING:
            self._given += 1
            self._lines.put(line)
        else:
            self._left_out += 1

    def flush(self) -> None:
        """Nothing: the handler asks for this after each line."""

    def drain(self) -> None:
        """Wait until all is written, but not for ever."""
        deadline = monotonic() + FAREWELL
        while self._written < self._given and monotonic() < deadline:
            sleep(PAUSE)

    def _begin(self) -> None:
        """In a forked process as well, which has neither the thread nor what waits."""
        self._lines: SimpleQueue[str] = SimpleQueue()
        self._given = self._written = self._left_out = 0
        start_new_thread(self._keep_writing, ())

    def _keep_writing(self) -> None:
        told = 0
        while True:
            self._write_out(self._lines.get())
            if self._lines.empty() and told < (left_out := self._left_out):
                self._write_out(self._left_out_line(left_out - told))
                told = left_out
            self._written += 1

    def _write_out(self, line: str) -> None:
        rest = line.encode(errors="backslashreplace")
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # somebody who shares it doesn't want to wait
                sleep(PAUSE)
            except OSError:  # nobody will ever read it
                return
