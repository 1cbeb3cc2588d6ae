"""Logging of all processes: to standard error, a line for each thing an operator would act on."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import TextIO

from gateway.observability.non_blocking_stream import NonBlockingStream

LONGEST = 500  # characters of a message
EXTRAS = ("reason", "who", "left_out")  # members of a line on trouble
SAY_EVERY = 60.0  # seconds between lines on the same trouble


class JsonLines(logging.Formatter):
    """A JSON object a line, which log collectors take apart by themselves."""

    def format(self, record: logging.LogRecord) -> str:
        """ASCII, as a line break of any kind in it would end the line."""
        members = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "pid": record.process,
            "message": record.getMessage(),
            **{name: vars(record)[name] for name in EXTRAS if vars(record).get(name)},
        }
        if record.exc_info:
            members["exception"] = self.formatException(record.exc_info)
        return json.dumps(members)


def formatter() -> logging.Formatter:
    """For people where standard error is a terminal, else for programs."""
    if sys.stderr.isatty():
        return logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    return JsonLines()


def configure() -> None:
    """Send the package's log to standard error."""
    handler = logging.StreamHandler(non_blocking(sys.stderr))
    handler.setFormatter(formatter())
    logger = logging.getLogger("gateway")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


def non_blocking(stream: TextIO) -> NonBlockingStream:
    """What to log to in its place, so that nobody waits for who reads it."""
    return _aside(stream.fileno())


@cache  # a thread for each
def _aside(descriptor: int) -> NonBlockingStream:
    return NonBlockingStream(descriptor, _left_out)


def _left_out(count: int) -> str:
    members = {
        "name": __name__,
        "levelno": logging.WARNING,
        "levelname": "WARNING",
        "msg": f"log_stalled: {count} lines were left out, which came faster than they were read",
        "reason": "log_stalled",
        "left_out": count,
    }
    return formatter().format(logging.makeLogRecord(members)) + "\n"


def printable(text: str) -> str:
    """A text that visitors have a part in: one line, not long, no escapes that terminals obey."""
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    return text if text.isprintable() else ascii(text)[1:-1]


class RateLimitedLogger:
    """Logs the same trouble of the same one once a minute, and then how often it was left out."""

    def __init__(self, logger: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        # Who and reason → when it was logged, and left out since.
        self._said: dict[tuple[str, str], tuple[float, int]] = {}

    def say(
        self, reason: str, message: str, who: str = "", error: BaseException | None = None
    ) -> None:
        """Log it, unless that was done within the last minute; an `error` with its traceback."""
        now = self._clock()
        when, left_out = self._said.get((who, reason), (float("-inf"), 0))
        if now - when < SAY_EVERY:
            self._said[who, reason] = when, left_out + 1
            return
        self._said[who, reason] = now, 0
        whose = f"{who}: " if who else ""
        more = f" ({left_out} more in the meantime)" if left_out else ""
        self._logger.warning(
            "%s%s: %s%s",
            *(whose, reason, printable(message), more),
            exc_info=error,
            extra={"reason": reason, "who": who, "left_out": left_out},
        )
