"""The event history's file: a connection for a moment, how large it may get, and forgetting a user.

The file and its WAL take LIMIT_BYTES at most. `max_page_count` bounds the file, and no transaction
begins while the WAL is longer than WAL_BYTES, so it outgrows that by one transaction's pages alone.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from gateway import file_permissions

VERSION = 2
SCHEMA = """
CREATE TABLE steps (
    n INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again
    at REAL NOT NULL,
    step TEXT NOT NULL,
    site TEXT NOT NULL,
    session_id TEXT,
    user_id TEXT,
    event_id TEXT NOT NULL,
    event_type TEXT,
    event TEXT,
    since REAL,
    reason TEXT,
    message TEXT,
    request TEXT
);
CREATE INDEX steps_by_event ON steps (event_id);
CREATE INDEX steps_by_reason ON steps (reason) WHERE reason IS NOT NULL;
CREATE TABLE requests (
    id TEXT PRIMARY KEY,
    at REAL NOT NULL,
    site TEXT NOT NULL,
    events INTEGER NOT NULL,
    seconds REAL,
    outcome TEXT,
    message TEXT,
    aws_request_id TEXT
);
-- What happened in each second: how often, the sum of what was measured, and the most.
CREATE TABLE ticks (
    second INTEGER NOT NULL,
    what TEXT NOT NULL,
    count INTEGER NOT NULL,
    total REAL NOT NULL,
    most REAL NOT NULL,
    PRIMARY KEY (second, what)
) WITHOUT ROWID;
"""
PAGE_BYTES = 4096  # SQLite's default
LIMIT_BYTES = 64 << 20  # of the file and its WAL together, whatever happens
FILE_BYTES = 44 << 20
WAL_BYTES = 8 << 20  # past which nothing is written until a checkpoint has emptied it
KEEP_SECONDS = 3600
KEEP_BYTES = 36 << 20  # in use, past which the oldest steps are deleted
SPARE_PAGES = 1024  # not in use, past which they are given back to the disk
PIECE = 500  # rows deleted, or pages given back, in one transaction
BUSY_SECONDS = 1.0
USED_BYTES = """SELECT (page_count - freelist_count) * page_size
                FROM pragma_page_count, pragma_freelist_count, pragma_page_size"""


class _OtherVersion(sqlite3.DatabaseError):
    """The file was written by another version of the gateway."""


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the file for one short use; create it if it is missing. Raises sqlite3.Error, OSError.

    It is opened each time, so it may be deleted at any moment. A file that is damaged or of
    another version is replaced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file_permissions.create(path)
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)) as db:
        try:
            _prepare(db)
            yield db
        except sqlite3.DatabaseError as error:
            code = (error.sqlite_errorcode or 0) & 0xFF if hasattr(error, "sqlite_errorcode") else 0
            unusable = code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
            if unusable or isinstance(error, _OtherVersion):
                delete(path)
            raise


def _prepare(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA synchronous = OFF")  # a lost power supply may cost all of it
    db.execute(f"PRAGMA max_page_count = {FILE_BYTES // PAGE_BYTES}")
    db.execute("PRAGMA journal_size_limit = 0")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version == VERSION:
        return
    if version:
        raise _OtherVersion(f"written by version {version}; it is begun anew")
    db.execute("PRAGMA auto_vacuum = INCREMENTAL")
    db.execute("PRAGMA journal_mode = WAL")
    with transaction(db):
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            for statement in SCHEMA.split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {VERSION}")


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """BEGIN IMMEDIATE … COMMIT, or ROLLBACK. Raises OSError where the WAL stays too long."""
    if not (_begin(db) or _begin(db)):  # the first may have met another process's checkpoint
        raise OSError("the WAL is full, and a reader keeps it from being emptied")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _begin(db: sqlite3.Connection) -> bool:
    """Begin a transaction unless the WAL is too long; empty that in good time."""
    if _wal_bytes(db) > WAL_BYTES // 2:
        _empty_wal(db)
    db.execute("BEGIN IMMEDIATE")
    if _wal_bytes(db) <= WAL_BYTES:  # looked at with the lock held, so that no other adds to it
        return True
    db.execute("ROLLBACK")
    return False


def _empty_wal(db: sqlite3.Connection) -> None:
    """Move what it holds into the file, unless readers and writers take too long."""
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _wal_bytes(db: sqlite3.Connection) -> int:
    path = db.execute("PRAGMA database_list").fetchone()[2]
    try:
        return Path(f"{path}-wal").stat().st_size
    except FileNotFoundError:
        return 0


def delete(path: Path) -> None:
    """Remove the file; others begin a new one."""
    for suffix in ("-wal", "-shm", ""):
        with suppress(OSError):
            Path(f"{path}{suffix}").unlink()


def trim(db: sqlite3.Connection, now: float, keep_bytes: int) -> None:
    """Delete what is too old, and the oldest past so many bytes; give free pages to the disk.

    Each transaction is small, since its pages go through the WAL.
    """
    oldest = now - KEEP_SECONDS
    while _delete_oldest(db, "steps", oldest):
        pass
    if used_bytes(db) > keep_bytes:
        while used_bytes(db) > keep_bytes - keep_bytes // 8 and _delete_oldest(db, "steps", None):
            pass
        first = db.execute("SELECT at FROM steps ORDER BY n LIMIT 1").fetchone()
        oldest = max(oldest, first[0] if first else now)
    while _delete_oldest(db, "requests", oldest):
        pass
    with transaction(db):
        db.execute("DELETE FROM ticks WHERE second < ?", (now - KEEP_SECONDS,))
    _give_back(db)


def used_bytes(db: sqlite3.Connection) -> int:
    """Return how much of the file is in use."""
    return int(db.execute(USED_BYTES).fetchone()[0])


def _delete_oldest(db: sqlite3.Connection, table: str, before: float | None) -> int:
    """Delete a few of the first rows, those of that age or, with None, all; return how many."""
    with transaction(db):
        return db.execute(
            f"""DELETE FROM {table} WHERE (at < :before OR :before IS NULL) AND rowid IN
                (SELECT rowid FROM {table} ORDER BY rowid LIMIT {PIECE})""",
            {"before": before},
        ).rowcount


def _give_back(db: sqlite3.Connection) -> None:
    (free,) = db.execute("PRAGMA freelist_count").fetchone()
    if free <= SPARE_PAGES:
        return
    for _ in range(0, free, PIECE):
        with transaction(db):
            for _ in range(PIECE):  # sqlite3 takes one step of this pragma, which is one page
                db.execute("PRAGMA incremental_vacuum")
    _empty_wal(db)


def forget(path: Path, site: str, user_ids: Collection[str]) -> int:
    """Delete users' steps, and those of the sessions they were in; return how many.

    Steps of requests whose site could not be determined are deleted by the userId alone.
    """
    if not path.exists():
        return 0
    users = "(SELECT value FROM json_each(:users))"
    with opened(path) as db:
        db.execute("PRAGMA secure_delete = ON")
        with transaction(db):
            return db.execute(
                f"""DELETE FROM steps WHERE (site = '' AND user_id IN {users})
                    OR site = :site AND (user_id IN {users} OR session_id IN (
                    SELECT session_id FROM steps WHERE site = :site AND user_id IN {users}))""",
                {"site": site, "users": json.dumps([*user_ids])},
            ).rowcount
