"""The SQLite file itself: connection, transactions and size."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from gateway.queues import QueueUnavailable
from gateway.queues.sqlite import wal
from gateway.queues.sqlite.connection import (
    BUSY_SECONDS,
    begin,
    checkpoint,
    connect,
    is_busy,
    wait_until,
)
from gateway.queues.sqlite.errors import unavailable
from gateway.queues.sqlite.locks import QueueLocks
from gateway.reasons import Reason

USED_BYTES = """SELECT (page_count - freelist_count) * page_size
                FROM pragma_page_count, pragma_freelist_count, pragma_page_size"""
REPLACED = "files of the queue were deleted or replaced while in use"


class Database:
    """The file, opened when first used and again after a failure or when it was replaced."""

    def __init__(self, path: Path, synchronous: str) -> None:
        self.path = path
        self._synchronous = synchronous
        self._connection: sqlite3.Connection | None = None
        self._locks = QueueLocks(path)
        self._paths = (str(path), f"{path}-wal", f"{path}-shm")
        self._files: tuple[int, ...] = (0, 0, 0)
        self._had_error = False  # where it can't be noted beside the file
        self.openings = 0  # how often the file, or another in its place, was opened

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection; raise its failures as QueueUnavailable."""
        with self._using():
            yield self.connection()

    @contextmanager
    def _using(self) -> Iterator[None]:
        try:
            with self._locks.using():
                yield
        except (sqlite3.Error, OSError, UnicodeError) as error:
            failure = unavailable(error)
            self._note(failure, error)
            self.close()
            raise failure from error

    def _note(self, failure: QueueUnavailable, error: Exception) -> None:
        """Let all processes know of a fault that another one may not meet."""
        if failure.reason == Reason.DAMAGED:
            with suppress(OSError):
                self._locks.damage_note.touch()
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_IOERR:
            self._had_error = True
            with suppress(OSError):
                self._locks.error_note.touch()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """BEGIN IMMEDIATE … COMMIT; rolled back on any error. Raises QueueUnavailable."""
        with self._using(), self._turn_to_write() as db:
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
        self.require_durable()

    def require_durable(self) -> None:
        """Raise QueueUnavailable where what is committed may not be on disk.

        That is since an input or output error, until all of the log is in the file.
        """
        if self._synchronous != "FULL":
            return
        if self._had_error or os.path.exists(self._locks.error_note):
            self.require_truncated_wal(
                "what was written after an input or output error is not on disk yet"
            )

    @contextmanager
    def _turn_to_write(self) -> Iterator[sqlite3.Connection]:
        """Begin a transaction that no checkpoint runs beside, in the file that the path names."""
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            db = self._connection or self.connection()
            begin(db, deadline)
            with self._locks.write.shared() as may_write:
                # What is written to a WAL that was deleted, nobody would read.
                if may_write and not self._is_replaced():
                    yield db
                    return
            db.execute("ROLLBACK")
            if time.monotonic() > deadline:
                raise QueueUnavailable(Reason.BUSY, "the queue's WAL is being checkpointed")
            self.connection()  # opened again if it was replaced

    def require_sound(self) -> None:
        """Raise QueueUnavailable where any process has met damage since the last repair."""
        if self._locks.damage_note.exists():
            raise QueueUnavailable(Reason.DAMAGED, f"{self.path}: database corruption detected")

    def connection(self) -> sqlite3.Connection:
        """Return the open connection to the file that the path names now."""
        if self._connection is None or self._is_replaced():
            self._rescue_log()
            self.close()
            self._connection = connect(self.path, self._synchronous)
            self._files = self._files_now()
            if 0 in self._files:  # another connection of this process keeps deleted ones open
                self.close()
                raise QueueUnavailable(Reason.CANNOT_OPEN, REPLACED)
            self.openings += 1
        return self._connection

    def _is_replaced(self) -> bool:
        """Return whether the open files are no longer those that the path names."""
        return self._connection is not None and self._files != self._files_now()

    def _rescue_log(self) -> None:
        """Carry over what stands in a log that was deleted: while it is open, it is there.

        Not where the new log has something: then somebody else has carried it over.
        """
        if self._connection is None or self._files[0] != _inode(self.path):
            return
        if self._files[1] != _inode(f"{self.path}-wal") and wal.file_size(self.path) == 0:
            wait_until(partial(self._checkpoint_in, self._connection, "TRUNCATE"), REPLACED)

    def exists(self) -> bool:
        """Return whether there is a file. Raises QueueUnavailable if that can't be told.

        Who only looks asks first: the file that it made would be its own, and keep the service out.
        """
        try:  # for a while a file in repair is not there
            return _inode(self.path) > 0 or self._locks.repair_note.exists()
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
        """Return the bytes in use: by pages, and by the part of the WAL not yet checkpointed."""
        return self._pages(db) + wal.bytes_used(self.path)

    def bytes_used(self) -> int:
        """Return `size` of a file that is opened for this call alone."""
        with self.reading() as db:
            used = self.size(db)
        self.close()
        return used

    def is_full(self, max_bytes: int) -> bool:
        """Return whether the file has reached that size, with the WAL truncated if that decides."""
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
        """Return the bytes that are free on the disk."""
        disk = os.statvfs(self.path.parent)
        return disk.f_bavail * disk.f_frsize

    def checkpoint(self, from_bytes: int) -> None:
        """Checkpoint a WAL of at least `from_bytes` bytes, unless somebody is writing.

        Also a smaller one if it is half of what the disk has left: a checkpoint needs as much.
        """
        limit = self.free_bytes() // 2
        if wal.bytes_used(self.path) >= min(from_bytes, limit):
            self._checkpoint("RESTART" if from_bytes <= limit else "TRUNCATE")

    def truncate_wal(self) -> bool:
        """Checkpoint the whole WAL and free its space; False if a reader or writer prevents it."""
        return wal.file_size(self.path) == 0 or self._checkpoint("TRUNCATE")

    def require_truncated_wal(self, why: str) -> None:
        """Truncate the WAL as soon as nobody prevents it. Raises QueueUnavailable after a while."""
        wait_until(partial(self._checkpoint, "TRUNCATE"), why)

    def _checkpoint(self, mode: str) -> bool:
        """Return whether all of the WAL was checkpointed, which is tried once."""
        with self.reading() as db:
            return self._checkpoint_in(db, mode)

    def _checkpoint_in(self, db: sqlite3.Connection, mode: str) -> bool:
        try:
            begin(db, deadline=0.0)  # so that nobody begins to write
            with self._locks.write.exclusive() as may_checkpoint:
                db.execute("ROLLBACK")
                is_done = may_checkpoint and checkpoint(db, mode)
                if is_done and mode == "TRUNCATE":  # nobody writes meanwhile, who may note another
                    self._had_error = False
                    self._locks.error_note.unlink(missing_ok=True)
                return is_done
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
            return False

    def _files_now(self) -> tuple[int, ...]:
        return tuple(map(_inode, self._paths))


def _inode(path: Path | str) -> int:
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return 0
