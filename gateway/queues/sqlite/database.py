"""The SQLite file itself: connection, transactions and size."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gateway import file_permissions
from gateway.queues import QueueUnavailable
from gateway.queues.sqlite import schema, wal
from gateway.queues.sqlite.errors import unavailable
from gateway.queues.sqlite.locks import Gate
from gateway.reasons import Reason

USED_BYTES = """SELECT (page_count - freelist_count) * page_size
                FROM pragma_page_count, pragma_freelist_count, pragma_page_size"""
BUSY_SECONDS = 5.0  # to wait for other writers
LOOK_MS = 1  # between looks whether they are done, before a transaction


class Database:
    """The file, opened when first used and again after a failure or when it was replaced."""

    def __init__(self, path: Path, synchronous: str) -> None:
        self.path = path
        self._synchronous = synchronous
        self._connection: sqlite3.Connection | None = None
        self._gate = Gate(path)
        self._inode = 0
        self.openings = 0  # how often the file, or another in its place, was opened

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, with its failures turned into QueueUnavailable."""
        try:
            with self._gate.open():
                yield self.connection()
        except (sqlite3.Error, OSError) as error:
            self.close()
            failure = unavailable(error)
            if failure.reason == Reason.DAMAGED:
                with suppress(OSError):
                    self._gate.damage_note.touch()
            raise failure from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """BEGIN IMMEDIATE … COMMIT; rolled back on any error. Raises QueueUnavailable."""
        with self.reading() as db, self._turn_to_write(db):
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    @contextmanager
    def _turn_to_write(self, db: sqlite3.Connection) -> Iterator[None]:
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            _begin(db, deadline)
            with self._gate.writing() as may_write:
                if may_write:
                    yield
                    return
            db.execute("ROLLBACK")
            if time.monotonic() > deadline:
                raise QueueUnavailable(Reason.BUSY, "the queue's log is being folded")

    def require_sound(self) -> None:
        """Raise QueueUnavailable where any process has met damage since the last repair."""
        if self._gate.damage_note.exists():
            raise QueueUnavailable(Reason.DAMAGED, f"{self.path}: somebody met damage in it")

    def connection(self) -> sqlite3.Connection:
        """The open connection to the file that the path names now."""
        if self._connection is None or self._inode != self._inode_now():
            self.close()
            self._connection = self._open()
            self._inode = self._inode_now()
            self.openings += 1
        return self._connection

    def exists(self) -> bool:
        """Whether there is a file to look into. Raises QueueUnavailable where that can't be told.

        Who only looks asks first: the file that it made would be its own, and keep the service out.
        """
        try:  # for a while a file in repair is not there
            return self._inode_now() > 0 or self._gate.repair_note.exists()
        except OSError as error:
            raise unavailable(error) from error

    def close(self) -> None:
        """Close the connection; the next use opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __del__(self) -> None:
        self.close()  # Python 3.13 and later complain where nobody has

    def size(self, db: sqlite3.Connection) -> int:
        """Bytes in use: pages that hold something, and the log that is not folded in yet."""
        return self._pages(db) + wal.bytes_used(self.path)

    def bytes_used(self) -> int:
        """The same, of a file that is opened for this alone."""
        with self.reading() as db:
            used = self.size(db)
        self.close()
        return used

    def is_full(self, max_bytes: int) -> bool:
        """Whether it has that size, once the log is cut: what is folded of that counts as well."""
        with self.reading() as db:
            if self._pages(db) + wal.file_size(self.path) < max_bytes:
                return False
        self.truncate_wal()
        with self.reading() as db:
            return self.size(db) >= max_bytes

    def _pages(self, db: sqlite3.Connection) -> int:
        used: int = db.execute(USED_BYTES).fetchone()[0]
        return used

    def free_bytes(self) -> int:
        """Bytes that the disk has left for us."""
        disk = os.statvfs(self.path.parent)
        return disk.f_bavail * disk.f_frsize

    def checkpoint(self, from_bytes: int) -> None:
        """Checkpoint the log into the file where it has grown to `from_bytes` and nobody writes.

        Earlier where that is half of what the disk has left: folding takes as much once more.
        """
        room = self.free_bytes() // 2
        if wal.bytes_used(self.path) >= min(from_bytes, room):
            self._checkpoint("RESTART" if from_bytes <= room else "TRUNCATE")

    def truncate_wal(self) -> bool:
        """Checkpoint all of the log and give its space back; not where anybody is in the way."""
        return wal.file_size(self.path) == 0 or self._checkpoint("TRUNCATE")

    def require_truncated_wal(self) -> None:
        """The same, as soon as nobody is. Raises QueueUnavailable where that takes too long."""
        deadline = time.monotonic() + BUSY_SECONDS
        while not self.truncate_wal():
            if time.monotonic() > deadline:
                raise QueueUnavailable(
                    Reason.BUSY, "the log still holds what was deleted: try again"
                )
            time.sleep(LOOK_MS / 1000)

    def _checkpoint(self, mode: str) -> bool:
        """Whether all of the log was folded, which is tried once."""
        with self.reading() as db:
            try:
                _begin(db, deadline=0.0)  # so that nobody begins to write
                with self._gate.folding() as may_fold:
                    db.execute("ROLLBACK")
                    return may_fold and _folded(db, mode)
            except sqlite3.OperationalError as error:
                if not _is_busy(error):
                    raise
                return False

    def _inode_now(self) -> int:
        try:
            return os.stat(self.path).st_ino
        except FileNotFoundError:
            return 0

    def _open(self) -> sqlite3.Connection:
        file_permissions.create(self.path)
        # A worker's calls come from several native threads, but one at a time.
        db = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            if schema.version(db, self.path) == 0:  # a new file: each of these writes to it
                deadline = time.monotonic() + BUSY_SECONDS
                _insist(db, "PRAGMA auto_vacuum = INCREMENTAL", deadline)
                _insist(db, "PRAGMA journal_mode = WAL", deadline)
            db.execute(f"PRAGMA synchronous = {self._synchronous}")
            db.execute("PRAGMA wal_autocheckpoint = 0")  # see checkpoint
            schema.fill(db, self.path)
        except BaseException:
            db.close()
            raise
        return db


def _begin(db: sqlite3.Connection, deadline: float) -> None:
    """Become the only writer."""
    _insist(db, "BEGIN IMMEDIATE", deadline)


def _insist(db: sqlite3.Connection, statement: str, deadline: float) -> None:
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
                if not _is_busy(error) or time.monotonic() > deadline:
                    raise


def _folded(db: sqlite3.Connection, mode: str) -> bool:
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


def _is_busy(error: sqlite3.OperationalError) -> bool:
    """Whether others are in the way: with a write, or the recovery of a log."""
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
