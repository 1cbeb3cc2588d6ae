"""Wait for other processes that use the SQLite file."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gateway.queues import QueueUnavailable
from gateway.reasons import Reason

BUSY_SECONDS = 5.0  # to wait for other writers
LOOK_MS = 1  # between looks whether they are done, before a transaction


def patiently(attempt: Callable[[], bool], why: str) -> None:
    """Try until it succeeds. Raises QueueUnavailable where that takes too long."""
    deadline = time.monotonic() + BUSY_SECONDS
    while not attempt():
        if time.monotonic() > deadline:
            raise QueueUnavailable(Reason.BUSY, why)
        time.sleep(LOOK_MS / 1000)


def begin(db: sqlite3.Connection, deadline: float) -> None:
    """Become the only writer."""
    insist(db, "BEGIN IMMEDIATE", deadline)


def insist(db: sqlite3.Connection, statement: str, deadline: float) -> None:
    """Execute it, and again while others are in the way.

    SQLite by itself looks ever less often whether they are done, and not at all while a file that
    is new to several processes gets its log.
    """
    with _busy_timeout(db, LOOK_MS):
        while True:
            try:
                db.execute(statement)
                return
            except sqlite3.OperationalError as error:
                if not is_busy(error) or time.monotonic() > deadline:
                    raise


def folded(db: sqlite3.Connection, mode: str) -> bool:
    """Checkpoint the log, if nobody is in the way; whether all of it."""
    with _busy_timeout(db, 0):
        busy: int = db.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()[0]
    return busy == 0


@contextmanager
def _busy_timeout(db: sqlite3.Connection, milliseconds: int) -> Iterator[None]:
    """For a while, let SQLite wait for others no longer than that."""
    db.execute(f"PRAGMA busy_timeout = {milliseconds}")
    try:
        yield
    finally:
        db.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000:.0f}")


def is_busy(error: sqlite3.OperationalError) -> bool:
    """Whether others are in the way: with a write, or the recovery of a log."""
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
