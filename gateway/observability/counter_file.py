"""Store prometheus-client's counters in files that a full disk can't turn into a crash.

prometheus-client maps sparse files. Touching a page for which the disk has no space kills the
process with SIGBUS: each worker and the forwarder, again and again. These files are allocated
before they are mapped.

prometheus-client has no setting for how its files are allocated, so this module relies on the
internals of `MmapedDict`: `_f`, `_fname`, `_positions`, `_used` and `_capacity`. Their version
range is bounded in setup.cfg.
"""

from __future__ import annotations

import logging
import time

from prometheus_client.mmap_dict import MmapedDict

from gateway.observability.logs import RateLimitedLogger
from gateway.reasons import Reason

BYTES = 1 << 16  # size of a new file, doubled when it is full
FRAME = 32  # bytes, at most, that an entry takes besides its key
RETRY_SECONDS = 10.0

trouble = RateLimitedLogger(logging.getLogger(__name__))


class CounterFile(MmapedDict):
    """A mapped file of counters; while it can't grow, new counters stay in process memory."""

    def __init__(self, filename: str) -> None:
        self._fname = filename
        self._f = None  # type: ignore[assignment]  # not open yet
        self._positions: dict[str, int] = {}
        self._retry = 0.0  # `time.monotonic()` of the next attempt to allocate

    def read_value(self, key: str) -> tuple[float, float]:
        return super().read_value(key) if self._has_capacity(key) else (0.0, 0.0)  # type: ignore[no-untyped-call]

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        if self._has_capacity(key):
            super().write_value(key, value, timestamp)  # type: ignore[no-untyped-call]

    def _has_capacity(self, key: str) -> bool:
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
            trouble.warning(
                Reason.COUNTERS, f"{self._fname}: {error}; what it should hold is not shown"
            )
            self._retry = time.monotonic() + RETRY_SECONDS
            return False
        return True

    def _open(self, size: int) -> None:
        """Allocate that many bytes on the disk, and map them."""
        with open(self._fname, "ab") as file:
            file.write(bytes(max(0, size - file.tell())))
        self.close()  # type: ignore[no-untyped-call]
        try:
            super().__init__(self._fname)  # type: ignore[no-untyped-call]
        except OSError:  # no memory to map it
            self._f = None  # type: ignore[assignment]
            raise
