"""A log that nobody waits for: a thread of each process writes it.

Who should read standard error may be slow, or have stopped. Without this, its pipe once full, the
next line would hold up every visitor of a worker, the forwarder, and gunicorn's master.
"""

from __future__ import annotations

import _thread
import atexit
import os
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue

WAITING = 1_000  # lines, past which more are left out
FAREWELL = 1.0  # seconds that an ending process gives to what is not written yet


class Aside:
    """The stream of a `logging.StreamHandler`: whole lines, in place of this file descriptor's.

    Make it before gevent lets threads be greenlets, which would all wait with this one.
    """

    def __init__(self, descriptor: int, left_out: Callable[[int], str]) -> None:
        """`left_out(count)` is the line that stands for so many others."""
        self._descriptor = descriptor
        self._left_out_line = left_out
        self._begin()
        os.register_at_fork(after_in_child=self._begin)
        atexit.register(self._finish)

    def write(self, line: str) -> None:
        """Have it written; where too many wait, only count it."""
        if self._given - self._written < WAITING:
            self._given += 1
            self._lines.put(line)
        else:
            self._left_out += 1

    def flush(self) -> None:
        """Nothing: the handler asks for this after each line."""

    def _begin(self) -> None:
        """In a forked process as well, which has neither the thread nor what waits."""
        self._lines: SimpleQueue[str] = SimpleQueue()
        self._given = self._written = self._left_out = 0
        _thread.start_new_thread(self._keep_writing, ())

    def _keep_writing(self) -> None:
        told = 0
        while True:
            self._write_out(self._lines.get())
            self._written += 1
            if self._lines.empty() and told < (left_out := self._left_out):
                self._write_out(self._left_out_line(left_out - told))
                told = left_out

    def _write_out(self, line: str) -> None:
        rest = line.encode(errors="backslashreplace")
        with suppress(OSError):  # nobody will ever read it
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]

    def _finish(self) -> None:
        deadline = time.monotonic() + FAREWELL
        while self._written < self._given and time.monotonic() < deadline:
            time.sleep(0.001)
