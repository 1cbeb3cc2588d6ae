"""prometheus-client's files of counters, made safe where their disk is full.

It maps files for which the disk has not given the room yet. To touch a page that the disk can't
give then ends the process (SIGBUS): each worker and the forwarder, again and again.
"""

from __future__ import annotations

import logging
import time

from prometheus_client.mmap_dict import MmapedDict

from gateway.observability.logs import RateLimitedLogger

BYTES = 1 << 16  # of a new file; it doubles when they are used
FRAME = 32  # bytes, at most, that an entry takes beside its key
RETRY_SECONDS = 10.0

trouble = RateLimitedLogger(logging.getLogger(__name__))


class CounterFile(MmapedDict):
    """One of them. For what it has no room, its process counts by itself until it has."""

    def __init__(self, filename: str) -> None:
        self._fname = filename
        self._f = None  # type: ignore[assignment]  # not open yet
        self._positions: dict[str, int] = {}
        self._retry = 0.0  # `time.monotonic()`; the disk is not asked at each count

    def read_value(self, key: str) -> tuple[float, float]:
        return super().read_value(key) if self._has_room(key) else (0.0, 0.0)  # type: ignore[no-untyped-call]

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        if self._has_room(key):
            super().write_value(key, value, timestamp)  # type: ignore[no-untyped-call]

    def _has_room(self, key: str) -> bool:
        if self._f and key in self._positions:
            return True
        if time.monotonic() < self._retry:
            return False
        try:
            if not self._f:
                self._open(BYTES)
            if self._used + len(key.encode()) + FRAME > self._capacity:
                self._open(2 * self._capacity)
        except OSError as error:
            trouble.say("counters", f"{self._fname}: {error}; what it should hold is not shown")
            self._retry = time.monotonic() + RETRY_SECONDS
            return False
        return True

    def _open(self, size: int) -> None:
        """Have the disk give it that many bytes, and map them."""
        with open(self._fname, "ab") as file:
            file.write(bytes(max(0, size - file.tell())))
        self.close()  # type: ignore[no-untyped-call]
        try:
            super().__init__(self._fname)  # type: ignore[no-untyped-call]
        except OSError:  # no memory to map it
            self._f = None  # type: ignore[assignment]
            raise
