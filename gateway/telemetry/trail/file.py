"""The trail's file: a connection for a moment, what is kept, and forgetting a user."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from gateway import private

VERSION = 1
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
KEEP_SECONDS = 3600
KEEP_BYTES = 64 << 20
BUSY_SECONDS = 1.0
USED_BYTES = """SELECT (page_count - freelist_count) * page_size
                FROM pragma_page_count, pragma_freelist_count, pragma_page_size"""


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The file, made where it is missing, for one short use. Raises sqlite3.Error, OSError.

    Opened each time, so that it may be deleted at any moment, and a process killed. One that is
    damaged or of another version is begun anew.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    private.create(path)
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)) as db:
        try:
            _prepare(db)
            yield db
        except sqlite3.DatabaseError as error:
            code = (error.sqlite_errorcode or 0) & 0xFF if hasattr(error, "sqlite_errorcode") else 0
            if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                delete(path)
            raise


def _prepare(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA synchronous = OFF")  # a lost power supply may cost all of it
    if db.execute("PRAGMA user_version").fetchone()[0] == VERSION:
        return
    db.execute("PRAGMA journal_mode = WAL")
    with transaction(db):
        if db.execute("PRAGMA user_version").fetchone()[0] != VERSION:
            for (table,) in db.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            ).fetchall():
                db.execute(f"DROP TABLE {table}")
            for statement in SCHEMA.split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {VERSION}")


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """BEGIN IMMEDIATE … COMMIT, or ROLLBACK."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def delete(path: Path) -> None:
    """Remove the file; others begin a new one."""
    for suffix in ("-wal", "-shm", ""):
        with suppress(OSError):
            Path(f"{path}{suffix}").unlink()


def trim(db: sqlite3.Connection, now: float) -> None:
    """Forget what is too old, and the oldest quarter where it is too much."""
    oldest = now - KEEP_SECONDS
    too_much = db.execute(USED_BYTES).fetchone()[0] > KEEP_BYTES
    for table in ("steps", "requests"):
        if too_much:
            db.execute(
                f"""DELETE FROM {table} WHERE rowid <
                    (SELECT min(rowid) + (max(rowid) - min(rowid)) / 4 FROM {table})"""
            )
        # In the order in which they came, so that no more is looked at than is deleted.
        db.execute(
            f"""DELETE FROM {table} WHERE rowid < coalesce(
                (SELECT rowid FROM {table} WHERE at >= ? ORDER BY rowid LIMIT 1), 1 << 62)""",
            (oldest,),
        )
    db.execute("DELETE FROM ticks WHERE second < ?", (oldest,))


def forget(path: Path, site: str, user_id: str) -> int:
    """Remove every step of a user's events, and of the sessions they were in; how many."""
    if not path.exists():
        return 0
    with opened(path) as db:
        db.execute("PRAGMA secure_delete = ON")
        with transaction(db):
            return db.execute(
                """DELETE FROM steps WHERE site = :site AND (user_id = :user OR session_id IN (
                   SELECT session_id FROM steps WHERE site = :site AND user_id = :user))""",
                {"site": site, "user": user_id},
            ).rowcount
