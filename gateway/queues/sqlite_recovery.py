"""When a SQLite file is damaged: set it aside, start a new one, carry over what can be read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from gateway.queues.sqlite_file import COLUMNS, INSERT, Database, Gate

PATIENCE_SECONDS = 10.0  # for those who use the file to be done with what they are at
DEAD_COLUMNS = f"{COLUMNS}, reason, message, attempts, died_at"


class Recovery(NamedTuple):
    """What became of a damaged file: where it is now, and the records carried over."""

    aside: Path
    queued: int
    dead: int


def problems(path: Path) -> list[str]:
    """What SQLite's quick check finds wrong with a file; nothing for one that is not there."""
    if not path.exists():
        return []
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            found = [row[0] for row in db.execute("PRAGMA quick_check(20)")]
            db.execute("SELECT count(*) FROM queue").fetchone()
    except sqlite3.DatabaseError as error:
        return [f"{path}: {error}"]
    return [] if found == ["ok"] else [f"{path}: {line}" for line in found]


def repair(path: Path, now: float) -> Recovery | None:
    """Set a damaged file aside and recover what can be read; None where it is in order.

    Nobody else has the file open meanwhile: every opener shares the gate that is closed here.
    Raises QueueUnavailable where somebody keeps it open.
    """
    if not problems(path):
        return None
    with Gate(path).closed(PATIENCE_SECONDS):
        if not problems(path):  # somebody else has repaired it
            return None
        moment = datetime.fromtimestamp(now, UTC).strftime("%Y%m%d-%H%M%S")
        aside = path.with_name(f"{path.name}.damaged-{moment}")
        for suffix in ("-wal", "-shm", ""):
            with suppress(FileNotFoundError):
                Path(f"{path}{suffix}").rename(f"{aside}{suffix}")
    return _carry_over(aside, Database(path, "FULL"))


def _carry_over(aside: Path, fresh: Database) -> Recovery:
    queued = dead = 0
    insert_dead = f"INSERT INTO dead ({DEAD_COLUMNS}) VALUES ({', '.join('?' * 11)})"
    with fresh.transaction() as db:
        for values in _readable(aside, "queue", COLUMNS):
            with suppress(sqlite3.IntegrityError):  # a row of NULLs where damage has been
                db.execute(INSERT, values)
                queued += 1
        for values in _readable(aside, "dead", DEAD_COLUMNS):
            with suppress(sqlite3.IntegrityError):
                db.execute(insert_dead, values)
                dead += 1
    fresh.close()
    return Recovery(aside, queued, dead)


def _readable(path: Path, table: str, columns: str) -> Iterator[tuple[object, ...]]:
    """Every row that can still be read, in the order of their ids."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        for row_id in sorted(_ids(db, table)):
            with suppress(sqlite3.DatabaseError):
                query = f"SELECT {columns} FROM {table} WHERE id = ?"
                yield from db.execute(query, (row_id,)).fetchall()


def _ids(db: sqlite3.Connection, table: str) -> set[int]:
    """The ids that table and indexes still name: from both ends, as each stops at the damage."""
    found: set[int] = set()
    ways = [
        f"SELECT id FROM {table} NOT INDEXED ORDER BY id",
        f"SELECT id FROM {table} NOT INDEXED ORDER BY id DESC",
        f"SELECT id FROM {table} INDEXED BY {table}_by_site",
        f"SELECT id FROM {table} INDEXED BY {table}_by_session",
    ]
    for way in ways:
        with suppress(sqlite3.DatabaseError):
            for (row_id,) in db.execute(way):
                found.add(row_id)
    return found
