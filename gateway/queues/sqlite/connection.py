"""Open the SQLite file, and wait for other processes that use it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway import file_permissions
from gateway.queues import QueueUnavailable
from gateway.queues.sqlite import schema
from gateway.queues.sqlite.rows import decode
from gateway.reasons import Reason

BUSY_SECONDS = 5.0  # to wait for other writers
LOOK_MS = 1  # between looks whether they are done, before a transaction


def connect(path: Path, synchronous: str) -> sqlite3.Connection:
    """Open the file, in WAL mode and with its tables; create it if it does not exist."""
    file_permissions.create(path)
    # A worker's calls come from several native threads, but one at a time.
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        db.text_factory = decode
        deadline = time.monotonic() + BUSY_SECONDS
        if schema.version(db, path) == 0:  # a new file: each of these writes to it
            execute_when_free(db, "PRAGMA auto_vacuum = INCREMENTAL", deadline)
        execute_when_free(db, "PRAGMA journal_mode = WAL", deadline)  # not so in a restored backup
        db.execute(f"PRAGMA synchronous = {synchronous}")
        db.execute("PRAGMA wal_autocheckpoint = 0")  # see Database.checkpoint
        schema.fill(db, path)
    except BaseException:
        db.close()
        raise
    return db


def wait_until(attempt: Callable[[], bool], why: str) -> None:
    """Try until it succeeds. Raises QueueUnavailable if that takes too long."""
    deadline = time.monotonic() + BUSY_SECONDS
    while not attempt():
        if time.monotonic() > deadline:
            raise QueueUnavailable(Reason.BUSY, why)
        time.sleep(LOOK_MS / 1000)


def begin(db: sqlite3.Connection, deadline: float) -> None:
    """Begin a transaction as the only writer."""
    execute_when_free(db, "BEGIN IMMEDIATE", deadline)


def execute_when_free(db: sqlite3.Connection, statement: str, deadline: float) -> None:
    """Execute a statement, and retry while other processes hold the file.

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


def checkpoint(db: sqlite3.Connection, mode: str) -> bool:
    """Return whether all of the WAL was checkpointed, which is tried once."""
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
    """Return whether others are in the way: with a write, or the recovery of a WAL."""
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
