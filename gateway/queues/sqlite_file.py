"""The SQLite file itself: schema, connection, transactions, size, and the lock of its forwarder."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO

from gateway.queues import Condition, QueueUnavailable, Record

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE queue (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again, so that a cursor may rest on it
    site TEXT NOT NULL,
    session_id TEXT NOT NULL,
    user_id TEXT,
    event_id TEXT NOT NULL,
    event TEXT NOT NULL,
    received TEXT,
    received_at REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX queue_by_site ON queue (site, id);
CREATE INDEX queue_by_session ON queue (site, session_id, id);
CREATE TABLE dead (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    site TEXT NOT NULL,
    session_id TEXT NOT NULL,
    user_id TEXT,
    event_id TEXT NOT NULL,
    event TEXT NOT NULL,
    received TEXT,
    received_at REAL NOT NULL,
    reason TEXT NOT NULL,
    message TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    died_at REAL NOT NULL
);
"""
# The eventIds of the last while, in three parts that are filled by turns: see SqliteInbox.
SCHEMA += "".join(
    f"CREATE TABLE seen{part} (mark BLOB PRIMARY KEY) WITHOUT ROWID;" for part in range(3)
)
COLUMNS = ", ".join(Record._fields)
INSERT = f"INSERT INTO queue ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"
USED_BYTES = """SELECT (page_count - freelist_count) * page_size
                FROM pragma_page_count, pragma_freelist_count, pragma_page_size"""
BUSY_SECONDS = 5.0

# SQLite's extended error names, by their beginnings → our reason codes.
REASONS = {
    "SQLITE_FULL": "disk_full",
    "SQLITE_READONLY": "read_only",
    "SQLITE_BUSY": "busy",
    "SQLITE_CORRUPT": "damaged",
    "SQLITE_NOTADB": "damaged",
    "SQLITE_CANTOPEN": "cannot_open",
}


class Database:
    """The file, opened when first used and again after a failure or when it was replaced."""

    def __init__(self, path: Path, synchronous: str) -> None:
        self.path = path
        self._synchronous = synchronous
        self._connection: sqlite3.Connection | None = None
        self._gate = Gate(path)
        self.inode = 0  # of the file that was opened last

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, with its failures turned into QueueUnavailable."""
        try:
            with self._gate.open():
                yield self.connection()
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise _unavailable(error) from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """BEGIN IMMEDIATE … COMMIT; rolled back on any error. Raises QueueUnavailable."""
        with self.reading() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def connection(self) -> sqlite3.Connection:
        """The open connection to the file that the path names now."""
        if self._connection is None or self.inode != self._inode_now():
            self.close()
            self._connection = self._open()
            self.inode = self._inode_now()
        return self._connection

    def close(self) -> None:
        """Close the connection; the next use opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def size(self, db: sqlite3.Connection) -> int:
        """Bytes in use: pages that hold something, and the log that is not folded in yet."""
        used: int = db.execute(USED_BYTES).fetchone()[0]
        return used + self.log_size()

    def log_size(self) -> int:
        """Bytes of the write-ahead log."""
        try:
            return os.stat(f"{self.path}-wal").st_size
        except FileNotFoundError:
            return 0

    def fold_log(self, from_bytes: int) -> None:
        """Checkpoint the log into the file where it has grown to `from_bytes`.

        TRUNCATE, the kind that shuts writers out meanwhile: before SQLite 3.51.3 another kind can
        damage the file when it meets a writer that starts the log anew.
        """
        if self.log_size() >= from_bytes:
            with self.reading() as db, suppress(sqlite3.OperationalError):  # busy: another time
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _inode_now(self) -> int:
        try:
            return os.stat(self.path).st_ino
        except FileNotFoundError:
            return 0

    def _open(self) -> sqlite3.Connection:
        # A worker's calls come from several native threads, but one at a time.
        db = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(f"PRAGMA synchronous = {self._synchronous}")
            db.execute("PRAGMA wal_autocheckpoint = 0")  # see fold_log
            self._create(db)
        except BaseException:
            db.close()
            raise
        return db

    def _create(self, db: sqlite3.Connection) -> None:
        if self._version(db) == SCHEMA_VERSION:
            return
        db.execute("BEGIN IMMEDIATE")  # others may be at the same point
        try:
            version = self._version(db)
            if version > SCHEMA_VERSION:
                raise QueueUnavailable(
                    "newer_version",
                    f"{self.path} has version {version} of the format; "
                    f"this program knows {SCHEMA_VERSION}",
                )
            if version == 0:
                for statement in SCHEMA.split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:  # half a schema would be in the way for ever
                db.execute("ROLLBACK")
            raise

    @staticmethod
    def _version(db: sqlite3.Connection) -> int:
        version: int = db.execute("PRAGMA user_version").fetchone()[0]
        return version


class Gate:
    """Open to all who use the file; closed while a damaged one is taken out of their hands."""

    def __init__(self, path: Path) -> None:
        self._path = Path(f"{path}-gate.lock")

    @contextmanager
    def open(self) -> Iterator[None]:
        """Use the file. Raises QueueUnavailable while the gate is closed."""
        with self._opened() as file:
            if not _locked(file, fcntl.LOCK_SH):
                raise QueueUnavailable("repairing", "the queue's file is being repaired")
            yield

    @contextmanager
    def closed(self, patience: float) -> Iterator[None]:
        """Have the file alone. Raises QueueUnavailable where somebody uses it for too long."""
        deadline = time.monotonic() + patience
        with self._opened() as file:
            while not _locked(file, fcntl.LOCK_EX):
                if time.monotonic() > deadline:
                    raise QueueUnavailable("busy", "the queue's file is in use")
                time.sleep(0.01)
            yield

    def _opened(self) -> IO[bytes]:
        """The lock's file; closing it unlocks it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return self._path.open("ab")


def _locked(file: IO[bytes], how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class ForwarderLock:
    """The lease on a file: at most one process holds it, and the kernel frees it when that dies."""

    def __init__(self, path: Path) -> None:
        self._path = Path(f"{path}-forwarder.lock")
        self._file: IO[bytes] | None = None

    def acquire(self) -> bool:
        """Whether the lock is ours now."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._path.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return False
        self._file = file
        return True

    def report(self, condition: Condition) -> None:
        """Write into the lock's file how delivery is going: see `read_condition`."""
        if self._file is not None:
            text = json.dumps(asdict(condition)).encode()
            with suppress(OSError):  # a full disk, say: then it is out of date, which also tells
                self._file.truncate(0)
                self._file.write(text)
                self._file.flush()

    def release(self) -> None:
        """Let the next forwarder in."""
        if self._file is not None:
            self._file.close()
            self._file = None


def read_condition(path: Path) -> Condition | None:
    """What the forwarder of a file said last; None where it never did, or is just saying it."""
    try:
        return Condition(**json.loads(Path(f"{path}-forwarder.lock").read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _unavailable(error: Exception) -> QueueUnavailable:
    name = getattr(error, "sqlite_errorname", "")
    reason = next((code for start, code in REASONS.items() if name.startswith(start)), "io_error")
    return QueueUnavailable(reason, f"SQLite: {error}")
