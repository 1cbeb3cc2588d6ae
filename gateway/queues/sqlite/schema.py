"""The tables of the SQLite file, and the version of their format."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from gateway.queues import QueueUnavailable, Record
from gateway.queues.sqlite.rows import checked, moment
from gateway.reasons import Reason

SCHEMA_VERSION = 3
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
    attempts INTEGER NOT NULL DEFAULT 0,
    checksum INTEGER NOT NULL DEFAULT -1  -- of the columns of a Record: see rows.py
);
CREATE INDEX queue_by_site ON queue (site, id);
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
    died_at REAL NOT NULL,
    checksum INTEGER NOT NULL DEFAULT -1
);
"""
# The eventIds of the last while, in three parts that are filled by turns: see SqliteInbox.
SEEN_TABLES = ("seen0", "seen1", "seen2")
SCHEMA += "".join(
    f"CREATE TABLE {table} (mark BLOB PRIMARY KEY) WITHOUT ROWID;" for table in SEEN_TABLES
)
# Users are known by keyed hashes alone: see users.py.
HOLDS = """
CREATE TABLE hash_key (value BLOB NOT NULL);
INSERT INTO hash_key VALUES (randomblob(32));
CREATE TABLE held_users (user INTEGER PRIMARY KEY, until REAL NOT NULL);  -- epoch seconds
CREATE INDEX held_users_by_until ON held_users (until);
"""
# What was delivered: see totals.py. A damaged file may hold values of other types.
TOTALS = """
CREATE TABLE delivered_sites (
    site TEXT PRIMARY KEY,
    since REAL NOT NULL CHECK (typeof(since) = 'real'),  -- epoch seconds of the first
    users INTEGER NOT NULL CHECK (typeof(users) = 'integer'),
    users_with_2 INTEGER NOT NULL CHECK (typeof(users_with_2) = 'integer'),
    is_capped INTEGER NOT NULL CHECK (is_capped IN (0, 1))
) WITHOUT ROWID;
CREATE TABLE delivered_types (
    site TEXT NOT NULL,
    event_type TEXT NOT NULL,
    events INTEGER NOT NULL CHECK (typeof(events) = 'integer'),
    with_item INTEGER NOT NULL CHECK (typeof(with_item) = 'integer'),
    with_user INTEGER NOT NULL CHECK (typeof(with_user) = 'integer'),
    with_recommendation INTEGER NOT NULL CHECK (typeof(with_recommendation) = 'integer'),
    with_source INTEGER NOT NULL CHECK (typeof(with_source) = 'integer'),
    attributed INTEGER NOT NULL CHECK (typeof(attributed) = 'integer'),
    PRIMARY KEY (site, event_type)
) WITHOUT ROWID;
CREATE TABLE delivered_users (
    user INTEGER PRIMARY KEY,
    events INTEGER NOT NULL CHECK (events IN (1, 2))  -- 2 for two and more
);
CREATE TABLE dead_reasons (
    site TEXT NOT NULL,
    reason TEXT NOT NULL,
    events INTEGER NOT NULL CHECK (typeof(events) = 'integer'),
    PRIMARY KEY (site, reason)
) WITHOUT ROWID;
"""
SCHEMA += HOLDS + TOTALS
COLUMNS = ", ".join(Record._fields)
INSERT = f"INSERT INTO queue ({COLUMNS}, checksum) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
CHECKSUM_COLUMNS = "".join(
    f"ALTER TABLE {table} ADD COLUMN checksum INTEGER NOT NULL DEFAULT -1;"
    for table in ("queue", "dead")
)
# What an older file lacks, by its version; 0 is a new file.
UPGRADES = {0: SCHEMA, 1: CHECKSUM_COLUMNS + HOLDS + TOTALS, 2: HOLDS + TOTALS}

INSERT_DEAD = f"""INSERT INTO dead ({COLUMNS}, checksum, reason, message, attempts, died_at)
                  VALUES ({", ".join("?" * 12)})"""


def insert(db: sqlite3.Connection, records: Iterable[Record]) -> None:
    """Store records, in the caller's transaction."""
    db.executemany(INSERT, map(checked, records))


def fill(db: sqlite3.Connection, path: Path) -> None:
    """Make the tables where the file is new, or bring an older one up to date.

    Raises QueueUnavailable for a newer format.
    """
    if version(db, path) == SCHEMA_VERSION:
        return
    db.execute("BEGIN IMMEDIATE")  # others may be at the same point
    try:
        found = version(db, path)
        if found < SCHEMA_VERSION:
            for statement in UPGRADES[found].split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # half a schema would be in the way for ever
            db.execute("ROLLBACK")
        raise


def version(db: sqlite3.Connection, path: Path) -> int:
    """Return the version of the format. Raises QueueUnavailable for a newer one."""
    found: int = db.execute("PRAGMA user_version").fetchone()[0]
    if found > SCHEMA_VERSION:
        raise QueueUnavailable(
            Reason.NEWER_VERSION,
            f"{path} has version {found} of the format; this program knows {SCHEMA_VERSION}",
        )
    return found


def oldest_at(db: sqlite3.Connection) -> float | None:
    """Return when what came first was received; None if nothing waits or that is damaged."""
    oldest = db.execute("SELECT received_at FROM queue ORDER BY id LIMIT 1").fetchone()
    return None if oldest is None else moment(oldest[0]) or None


def seen_tables(now: float, seconds: int) -> tuple[str, str, str]:
    """Return the tables of seen eventIds: the one to fill, the one before it, the one to empty."""
    turn = int(now // seconds)
    return SEEN_TABLES[turn % 3], SEEN_TABLES[(turn - 1) % 3], SEEN_TABLES[(turn + 1) % 3]
