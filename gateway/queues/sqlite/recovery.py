"""When the file is damaged: set it aside, and start a new one with what can be read of it.

A repair that is cut short anywhere is taken up again at the next start: nobody uses the file
before, since a note beside it keeps the gate closed.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from gateway.queues.sqlite.database import Database
from gateway.queues.sqlite.errors import unavailable
from gateway.queues.sqlite.locks import Gate
from gateway.queues.sqlite.schema import COLUMNS, INSERT, SEEN_TABLES

PATIENCE_SECONDS = 10.0  # for those who use the file to be done with what they are at
DEAD_COLUMNS = f"{COLUMNS}, reason, message, attempts, died_at"
INSERT_DEAD = f"INSERT INTO dead ({DEAD_COLUMNS}) VALUES ({', '.join('?' * 11)})"
PAGE_BYTES, PAGE_COUNT = 4096, slice(28, 32)  # SQLite's default, and where the header counts them
HOPS = 10_000  # ids after the last readable one, of which none can be read
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Recovery(NamedTuple):
    """What became of a damaged file: where it is now, and the records carried over."""

    aside: Path
    queued: int
    dead: int


def problems(path: Path, *, thorough: bool) -> list[str]:
    """What SQLite's check finds wrong with a file; nothing for one that is not there.

    The quick one does not see where table and indexes differ. Raises QueueUnavailable where the
    file can't be read for another reason than damage.
    """
    try:
        if not path.exists():
            return []
        with closing(sqlite3.connect(path)) as db:
            check = "integrity_check" if thorough else "quick_check"
            found = [row[0] for row in db.execute(f"PRAGMA {check}(20)")]
    except (sqlite3.Error, OSError) as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in DAMAGED:
            raise unavailable(error) from error
        return [f"{path}: {error}"]
    return [] if found == ["ok"] else [f"{path}: {line}" for line in found]


def repair(path: Path, now: float, *, thorough: bool) -> Recovery | None:
    """Set a damaged file aside and recover what can be read; None where it is in order.

    Nobody else has the file open meanwhile: every opener shares the gate that is closed here.
    Raises QueueUnavailable where somebody keeps it open.
    """
    gate = Gate(path)
    thorough = thorough or gate.damage_note.exists()
    with suppress(OSError):
        gate.damage_note.unlink()  # before it is looked into, so that what is met later counts
    if not gate.repair_note.exists() and not problems(path, thorough=thorough):
        return None
    try:
        with gate.closed(PATIENCE_SECONDS):
            if not gate.repair_note.exists():
                moment = datetime.fromtimestamp(now, UTC).strftime("%Y%m%d-%H%M%S")
                gate.repair_note.write_text(f"{path.name}.damaged-{moment}")
            aside = path.with_name(gate.repair_note.read_text())
            _set_aside(path, aside)
            recovery = _carry_over(aside, path)
            gate.repair_note.unlink()
    except (sqlite3.Error, OSError) as error:
        raise unavailable(error) from error
    return recovery


def _set_aside(path: Path, aside: Path) -> None:
    for suffix in ("-wal", "-shm", ""):
        source, target = Path(f"{path}{suffix}"), Path(f"{aside}{suffix}")
        if source.exists() and not target.exists():
            source.rename(target)


def _carry_over(aside: Path, path: Path) -> Recovery:
    """Fill a new file with what the old one still tells, and put it in place once complete."""
    fresh = path.with_name(f"{path.name}-recovered")
    for suffix in ("-wal", "-shm", ""):
        Path(f"{fresh}{suffix}").unlink(missing_ok=True)
    database = Database(fresh, "FULL")
    with database.reading():
        database.require_truncated_wal()  # the schema
    with _legible(aside, fresh) as old, database.transaction() as db:
        queued = _insert(db, INSERT, _readable(old, "queue", COLUMNS))
        dead = _insert(db, INSERT_DEAD, _readable(old, "dead", DEAD_COLUMNS))
        _carry_marks(old, db)
    database.require_truncated_wal()
    database.close()
    fresh.rename(path)
    Gate(fresh).remove()
    return Recovery(aside, queued, dead)


@contextmanager
def _legible(aside: Path, fresh: Path) -> Iterator[Path]:
    """The damaged file, or where its first page is lost, a copy with the first page of a new one.

    That page holds the schema, which is the same in every file of this version.
    """
    if _has_schema(aside):
        yield aside
        return
    with TemporaryDirectory(dir=aside.parent, prefix=f"{aside.name}-") as folder:
        copy = Path(folder, "copy")
        for suffix in ("-wal", ""):
            if (source := Path(f"{aside}{suffix}")).exists():
                shutil.copyfile(source, f"{copy}{suffix}")
        with fresh.open("rb") as new, copy.open("r+b") as old:
            page = bytearray(new.read(PAGE_BYTES))
            page[PAGE_COUNT] = (copy.stat().st_size // PAGE_BYTES).to_bytes(4, "big")
            old.write(page)
        yield copy


def _has_schema(path: Path) -> bool:
    with suppress(sqlite3.DatabaseError), closing(sqlite3.connect(path)) as db:
        return bool(db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'queue'").fetchone())
    return False


def _carry_marks(path: Path, db: sqlite3.Connection) -> None:
    """The marks of seen events, as far as they can be read from both ends."""
    with closing(sqlite3.connect(path)) as old:
        for table, way in product(SEEN_TABLES, ("ASC", "DESC")):
            with suppress(sqlite3.DatabaseError):
                marks = old.execute(f"SELECT mark FROM {table} ORDER BY mark {way}")
                db.executemany(f"INSERT OR IGNORE INTO {table} VALUES (?)", marks)


def _insert(db: sqlite3.Connection, statement: str, rows: Iterator[tuple[object, ...]]) -> int:
    count = 0
    for row in rows:
        with suppress(sqlite3.IntegrityError):  # NULLs where damage has been
            db.execute(statement, row)
            count += 1
    return count


def _readable(path: Path, table: str, columns: str) -> Iterator[tuple[object, ...]]:
    """Every row that can still be read, in the order of their ids."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA writable_schema = ON")  # else a file that was cut short is unreadable
        for row_id in sorted(_ids(db, table)):
            with suppress(sqlite3.DatabaseError):
                query = f"SELECT {columns} FROM {table} WHERE id = ?"
                yield from db.execute(query, (row_id,)).fetchall()


def _ids(db: sqlite3.Connection, table: str) -> set[int]:
    """The ids that table and indexes still name: from both ends, as each stops at the damage."""
    found = set(_hops(db, table))
    for way in (
        f"SELECT id FROM {table} NOT INDEXED ORDER BY id DESC",
        f"SELECT id FROM {table} INDEXED BY {table}_by_site",
    ):
        with suppress(sqlite3.DatabaseError):
            for (row_id,) in db.execute(way):
                found.add(row_id)
    return found


def _hops(db: sqlite3.Connection, table: str) -> Iterator[int]:
    """The ids in the table, in order, and where a page is damaged, all that may be on it."""
    way = f"SELECT id FROM {table} NOT INDEXED WHERE id > ? ORDER BY id"
    at = readable = 0
    while at - readable < HOPS:
        with suppress(sqlite3.DatabaseError):
            for (readable,) in db.execute(way, (at,)):
                at = readable
                yield at
            return
        at += 1
        yield at
