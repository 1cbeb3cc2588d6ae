"""Log to standard error, a line for each thing that an operator would act on."""

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
from gateway.reasons import Reason

MESSAGE_CHARACTERS = 500  # a longer message is cut
EXTRAS = ("reason", "who", "left_out")  # further members of a warning's line
REPEAT_SECONDS = 60.0  # between lines with the same reason and subject


class JsonLines(logging.Formatter):
    """Format each record as one line of JSON, for log collectors."""

    def format(self, record: logging.LogRecord) -> str:
        """Return ASCII, since any kind of line break in it would end the line."""
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
    """Return a formatter for people if standard error is a terminal, else for programs."""
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
    """Return a stream that never blocks, in place of a standard one."""
    return _aside(stream.fileno())


@cache  # each has a thread
def _aside(descriptor: int) -> NonBlockingStream:
    return NonBlockingStream(descriptor, _left_out)


def _left_out(count: int) -> str:
    members = {
        "name": __name__,
        "levelno": logging.WARNING,
        "levelname": "WARNING",
        "msg": f"log_stalled: {count} lines were left out, which came faster than they were read",
        "reason": Reason.LOG_STALLED,
        "left_out": count,
    }
    return formatter().format(logging.makeLogRecord(members)) + "\n"


def printable(text: str) -> str:
    """Return visitors' text as one short line without control characters for a terminal."""
    text = text if len(text) <= MESSAGE_CHARACTERS else f"{text[:MESSAGE_CHARACTERS]}…"
    return text if text.isprintable() else ascii(text)[1:-1]


class RateLimitedLogger:
    """Log each reason of each subject once a minute, with how many lines were left out."""

    def __init__(self, logger: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        # Subject and reason → when it was logged, and how many lines were left out since.
        self._logged: dict[tuple[str, str], tuple[float, int]] = {}

    def warning(
        self, reason: str, message: str, subject: str = "", error: BaseException | None = None
    ) -> None:
        """Log it, unless that was done within the last minute; an `error` with its traceback."""
        now = self._clock()
        when, left_out = self._logged.get((subject, reason), (float("-inf"), 0))
        if now - when < REPEAT_SECONDS:
            self._logged[subject, reason] = when, left_out + 1
            return
        self._logged[subject, reason] = now, 0
        prefix = f"{subject}: " if subject else ""
        more = f" ({left_out} more in the meantime)" if left_out else ""
        self._logger.warning(
            "%s%s: %s%s",
            *(prefix, reason, printable(message), more),
            exc_info=error,
            extra={"reason": reason, "who": subject, "left_out": left_out},
        )
