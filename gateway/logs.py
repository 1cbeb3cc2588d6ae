"""Logging of all processes: to standard error, a line for each thing an operator would act on."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable

SAY_EVERY = 60.0  # seconds between lines on the same trouble


def configure() -> None:
    """Send the package's log to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("gateway")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


def printable(text: str) -> str:
    """A text that visitors have a part in, on one line and without escapes that terminals obey."""
    return text if text.isprintable() else ascii(text)[1:-1]


class Repeats:
    """Logs trouble of the same reason once a minute, and then how often it was left out."""

    def __init__(self, logger: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._said: dict[str, tuple[float, int]] = {}  # reason → when, and left out since

    def say(self, reason: str, message: str) -> None:
        """Log it, unless this reason was logged within the last minute."""
        now = self._clock()
        when, left_out = self._said.get(reason, (float("-inf"), 0))
        if now - when < SAY_EVERY:
            self._said[reason] = when, left_out + 1
            return
        self._said[reason] = now, 0
        more = f" ({left_out} more in the meantime)" if left_out else ""
        self._logger.warning("%s: %s%s", reason, printable(message), more)
