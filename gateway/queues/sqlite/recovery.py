"""When the file is damaged: set it aside, and start a new one with what can be read of it.

A repair that is cut short anywhere is taken up again at the next start: nobody uses the file
before, since a note beside it refuses other users.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from itertools import chain, count, product
from pathlib import Path
from re import escape, fullmatch
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from gateway import file_permissions
from gateway.queues import Record
from gateway.queues.sqlite import totals, users
from gateway.queues.sqlite.database import Database
from gateway.queues.sqlite.errors import UNREADABLE, unavailable
from gateway.queues.sqlite.leaf_pages import PAGE_BYTES
from gateway.queues.sqlite.locks import QueueLocks
from gateway.queues.sqlite.rows import (
    checked,
    damaged_copy,
    is_whole,
    moment,
    printable,
)
from gateway.queues.sqlite.salvage import connect, copy_file, readable
from gateway.queues.sqlite.schema import COLUMNS, INSERT_DEAD, SEEN_TABLES, insert
from gateway.reasons import Reason

IN_USE = "somebody else uses the new file"
PATIENCE_SECONDS = 10.0  # for those who use the file to be done with what they are at
DEAD_COLUMNS = f"{COLUMNS}, checksum, reason, message, attempts, died_at"
PAGE_COUNT = slice(28, 32)  # in the file's header


class Recovery(NamedTuple):
    """What became of a damaged file: where it is now, and the records carried over."""

    aside: Path
    queued: int
    dead: int


def problems(path: Path, *, thorough: bool) -> list[str]:
    """Return what SQLite's check finds wrong with a file; nothing if there is no file.

    The quick check does not compare tables and indexes. Raises QueueUnavailable if the file can't
    be read for another reason than damage.
    """
    try:
        if not path.exists():
            return []
        with closing(connect(path)) as db:
            check = "integrity_check" if thorough else "quick_check"
            found = [row[0] for row in db.execute(f"PRAGMA {check}(20)")]
    except (sqlite3.Error, OSError, UnicodeError) as error:
        failure = unavailable(error)
        if failure.reason != Reason.DAMAGED:
            raise failure from error
        return [f"{path}: {failure}"]
    return [] if found == ["ok"] else [f"{path}: {line}" for line in found]


def damaged_rows(path: Path) -> list[str]:
    """Return in which tables rows are not as they were stored, and how many.

    Raises QueueUnavailable where they can't be read.
    """
    database, found = Database(path, "FULL"), []
    if not database.exists():
        return []
    for table in ("queue", "dead"):
        with database.reading() as db:
            rows = db.execute(f"SELECT checksum, {COLUMNS} FROM {table}")
            damaged = sum(not is_whole(Record(*row[1:]), row[0]) for row in rows)
        if damaged:
            rows_are = "1 row is" if damaged == 1 else f"{damaged} rows are"
            found.append(f"{path}: {rows_are} damaged in the table {table}")
    database.close()
    return found


def repair(path: Path, now: float, *, thorough: bool) -> Recovery | None:
    """Set a damaged file aside and recover what can be read; None where it is in order.

    Nobody else has the file open meanwhile: every user shares the lock that is held here.
    Raises QueueUnavailable where somebody keeps it open.
    """
    locks = QueueLocks(path)
    thorough = thorough or locks.damage_note.exists()
    with suppress(OSError):
        locks.damage_note.unlink()  # before it is looked into, so that what is met later counts
    if not locks.repair_note.exists() and not problems(path, thorough=thorough):
        return None
    try:
        _aside_path(locks, path, now)  # a note of which keeps newcomers out
        with locks.repairing(PATIENCE_SECONDS):
            aside = _aside_path(locks, path, now)
            _set_aside(path, aside)
            recovery = _carry_over(aside, path, now)
            file_permissions.sync_folder(
                path.parent
            )  # the new file first, then no note of a repair
            locks.repair_note.unlink()
            file_permissions.sync_folder(path.parent)
    except (sqlite3.Error, OSError, UnicodeError) as error:
        raise unavailable(error) from error
    return recovery


def _aside_path(locks: QueueLocks, path: Path, now: float) -> Path:
    """Return under what name the damaged file is set aside, as the note says or will say.

    A note that says nothing of use was cut short when written, before any file was moved.
    """
    with suppress(FileNotFoundError):
        name = locks.repair_note.read_text(encoding="utf-8", errors="replace")
        if fullmatch(rf"{escape(path.name)}\.damaged-[0-9-]+", name):
            return path.with_name(name)
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y%m%d-%H%M%S")
    first = path.with_name(f"{path.name}.damaged-{moment}")
    others = (path.with_name(f"{first.name}-{number}") for number in count(2))
    aside = next(path for path in chain([first], others) if not path.exists())
    file_permissions.write_durably(locks.repair_note, aside.name)
    return aside


def _set_aside(path: Path, aside: Path) -> None:
    for suffix in ("-wal", "-shm", ""):
        source, target = Path(f"{path}{suffix}"), Path(f"{aside}{suffix}")
        if source.exists() and not target.exists():
            source.rename(target)


def _carry_over(aside: Path, path: Path, now: float) -> Recovery:
    """Fill a new file with what the old one still tells, and put it in place once complete."""
    fresh = path.with_name(f"{path.name}-recovered")
    for suffix in ("-wal", "-shm", ""):
        Path(f"{fresh}{suffix}").unlink(missing_ok=True)
    database = Database(fresh, "FULL")
    with database.reading():
        database.require_truncated_wal(IN_USE)  # the schema
    with _with_schema(aside, fresh) as old, database.transaction() as db:
        queued = dead = 0
        for *values, checksum in readable(old, "queue", f"{COLUMNS}, checksum"):
            if is_whole(record := Record(*values), checksum):
                insert(db, [record])
                queued += 1
            else:
                damaged = ("damaged", "its content is not what was stored", 0, now)
                db.execute(INSERT_DEAD, (*checked(damaged_copy(record)), *damaged))
                dead += 1
        for row in readable(old, "dead", DEAD_COLUMNS):
            dead += _insert_dead(db, row)
        with closing(connect(old)) as source:
            _carry_marks(source, db)
            users.carry_over(source, db)
            totals.carry_over(source, db)
    database.require_truncated_wal(IN_USE)
    database.close()
    fresh.rename(path)
    QueueLocks(fresh).remove()
    return Recovery(aside, queued, dead)


@contextmanager
def _with_schema(aside: Path, fresh: Path) -> Iterator[Path]:
    """Yield the damaged file or, if its first page is lost, a copy with a new file's first page.

    That page holds the schema, which is the same in every file of this version.
    """
    if _has_schema(aside):
        yield aside
        return
    with TemporaryDirectory(dir=aside.parent, prefix=f"{aside.name}-") as folder:
        copy = copy_file(aside, Path(folder))
        with fresh.open("rb") as new, copy.open("r+b") as old:
            page = bytearray(new.read(PAGE_BYTES))
            page[PAGE_COUNT] = (copy.stat().st_size // PAGE_BYTES).to_bytes(4, "big")
            old.write(page)
        yield copy


def _has_schema(path: Path) -> bool:
    with suppress(*UNREADABLE), closing(connect(path)) as db:
        return bool(db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'queue'").fetchone())
    return False


def _carry_marks(old: sqlite3.Connection, db: sqlite3.Connection) -> None:
    """Copy the marks of seen events, as far as they can be read from both ends."""
    for table, order in product(SEEN_TABLES, ("ASC", "DESC")):
        with suppress(*UNREADABLE):
            marks = old.execute(f"SELECT mark FROM {table} ORDER BY mark {order}")
            db.executemany(f"INSERT OR IGNORE INTO {table} VALUES (?)", marks)


def _insert_dead(db: sqlite3.Connection, row: tuple[Any, ...]) -> bool:
    *values, checksum, reason, message, attempts, died_at = row
    record = Record(*values)
    if not is_whole(record, checksum):
        record, reason = damaged_copy(record), "damaged"
    attempts = attempts if isinstance(attempts, int) else 0
    why = printable(reason), printable(message), attempts, moment(died_at)
    db.execute(INSERT_DEAD, (*checked(record), *why))
    return True
