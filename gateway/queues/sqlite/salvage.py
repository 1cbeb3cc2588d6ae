"""Read what can still be read of a damaged SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from gateway.queues.sqlite.rows import UNCHECKED, decode

HOPS = 10_000  # ids after the last readable one, of which none can be read
GREATEST = 1 << 48  # id; more were not given in all the time that a queue may live
UNREADABLE = (sqlite3.DatabaseError, UnicodeError)  # SQLite may quote garbage


def connect(path: Path) -> sqlite3.Connection:
    """Open a file whose texts may not be UTF-8 any more."""
    db = sqlite3.connect(path)
    db.text_factory = decode
    return db


def readable(path: Path, table: str, columns: str) -> Iterator[tuple[Any, ...]]:
    """Yield every row that can still be read, in the order of IDs."""
    with closing(connect(path)) as db:
        db.execute("PRAGMA writable_schema = ON")  # else a file that was cut short is unreadable
        if not _has_checksums(db, table):
            columns = columns.replace("checksum", str(UNCHECKED))
        for row_id in sorted(_ids(db, table)):
            with suppress(*UNREADABLE):
                query = f"SELECT {columns} FROM {table} WHERE id = ?"
                yield from db.execute(query, (row_id,)).fetchall()


def _ids(db: sqlite3.Connection, table: str) -> set[int]:
    """Return the IDs that table and indexes still name: from both ends, as each stops at damage."""
    found = set(_hops(db, table))
    for query in (
        f"SELECT id FROM {table} NOT INDEXED ORDER BY id DESC",
        f"SELECT id FROM {table} INDEXED BY {table}_by_site",
    ):
        with suppress(*UNREADABLE):
            for (row_id,) in db.execute(query):
                found.add(row_id)
    return {row_id for row_id in found if 0 < row_id <= _last_id(db, table)}


def _last_id(db: sqlite3.Connection, table: str) -> int:
    """Return the last ID that was assigned, if it can be read: a greater one is garbage."""
    with suppress(*UNREADABLE):
        query = "SELECT seq FROM sqlite_sequence WHERE name = ?"
        for (found,) in db.execute(query, (table,)):
            return found if isinstance(found, int) and 0 < found < GREATEST else GREATEST
    return GREATEST


def _has_checksums(db: sqlite3.Connection, table: str) -> bool:
    with suppress(*UNREADABLE):
        return any(row[1] == "checksum" for row in db.execute(f"PRAGMA table_info({table})"))
    return False


def _hops(db: sqlite3.Connection, table: str) -> Iterator[int]:
    """Yield a table's IDs in order; where a page is damaged, all IDs that may be on it."""
    query = f"SELECT id FROM {table} NOT INDEXED WHERE id > ? ORDER BY id"
    at = misses = 0
    last = _last_id(db, table)
    while misses < HOPS and at < last:
        with suppress(*UNREADABLE):
            for (found,) in db.execute(query, (at,)):
                if not at < found <= last:  # garbage, from which nothing follows
                    break
                at, misses = found, 0
                yield at
            else:
                return
        at, misses = at + 1, misses + 1
        yield at
