"""The web end of a SQLite queue."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from gateway.queues import QueueFull, QueueUnavailable, Record, UserForgotten, duplicates
from gateway.queues.group_commit import GroupCommit, unheard
from gateway.queues.sqlite.database import Database
from gateway.queues.sqlite.schema import insert, seen_tables
from gateway.queues.sqlite.users import find_held
from gateway.reasons import Reason
from gateway.threadpool import run_in_threadpool

# Of log, from which the web end checkpoints it, as there seems to be no forwarder.
NEGLECTED_LOG_BYTES = 8 << 20
# Characters stored, and seconds, between looks at the limits and the log: at each system call a
# thread parts with the interpreter, and waits until it gets it back.
LOOK_LENGTH, LOOK_SECONDS = 32 << 10, 0.1
# Readiness ends before storing does: a part of each limit earlier, and so many bytes of disk.
EARLY = 20
EARLY_BYTES = 1 << 20


# Bytes that a mark takes in the file, and seconds between looks whether marks fill it.
MARK_BYTES = 30
MARKS_LOOK_SECONDS = 60.0

PROBE = Record("", "", None, "", "", None, 0.0)  # what readiness tries to store, and takes back

log = logging.getLogger(__name__)


class _Undo(Exception):
    """Rolls a transaction back."""


class SqliteInbox:
    """The web end: durable once `put` returns (`synchronous=FULL`: fsynced).

    An event seen again for the same site and session is not stored twice: marks of the last
    `dedupe_seconds` to twice as long stand in three tables. One is being filled, the one before is
    looked into as well, and the forwarder empties the third.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int,
        min_free_bytes: int,
        dedupe_seconds: int,
        committed: Callable[[int, float], None] = unheard,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = Database(path, "FULL")
        self._max_bytes = max_bytes
        self._min_free_bytes = min_free_bytes
        self._dedupe_seconds = dedupe_seconds
        self._clock = clock
        self._looked_at = float("-inf")
        self._unlooked = 0  # characters of events stored since then
        self._marks_looked_at = float("-inf")
        self._group: GroupCommit[Record, bool | None] = GroupCommit(
            self._store, committed=committed
        )

    def put(self, records: Sequence[Record]) -> Sequence[bool]:
        """Store all or none; on return they are on disk. Whether each of them was new.

        Raises UserForgotten after storing the other users' records.
        """
        is_new = self._group.commit(records)
        if None in is_new:
            raise UserForgotten
        return list(map(bool, is_new))

    def check(self) -> None:
        """Raise QueueError where `put` could not store an event now."""
        self._looked_at = float("-inf")  # so that the next `put` says the same
        run_in_threadpool(self._check)

    def _check(self) -> None:
        database = Database(self._database.path, "FULL")  # the other one may be in use
        try:
            max_bytes = self._max_bytes - self._max_bytes // EARLY
            early = self._min_free_bytes // EARLY + EARLY_BYTES
            self._require_capacity(database, max_bytes, self._min_free_bytes + early)
            database.require_durable()
            with suppress(_Undo), database.transaction() as db:
                now, before = seen_tables(self._clock(), self._dedupe_seconds)[:2]
                _marked(db, now, before, PROBE)
                insert(db, [PROBE])
                raise _Undo
        finally:
            database.close()

    def _require_capacity(self, database: Database, max_bytes: int, min_free_bytes: int) -> None:
        """Raise QueueFull if a limit is reached, even without the marks that fill the file."""
        is_full = database.is_full(max_bytes)
        if is_full and self._drop_marks(database):
            is_full = database.is_full(max_bytes)
        if is_full:
            raise QueueFull(Reason.QUEUE_FULL, f"the queue has reached {max_bytes} bytes")
        if database.free_bytes() < min_free_bytes:
            raise QueueFull(Reason.DISK_RESERVE, f"less than {min_free_bytes} bytes of disk free")

    def _drop_marks(self, database: Database) -> bool:
        """Empty the tables of marks that take a quarter of the limit each: events matter more."""
        if time.monotonic() - self._marks_looked_at < MARKS_LOOK_SECONDS:
            return False
        self._marks_looked_at = time.monotonic()
        current, before, _ = seen_tables(self._clock(), self._dedupe_seconds)
        quarter = self._max_bytes // 4 // MARK_BYTES
        query = "SELECT 1 FROM {} LIMIT 1 OFFSET ?"
        with database.reading() as db:
            large = [
                table
                for table in (before, current)
                if db.execute(query.format(table), (quarter,)).fetchone()
            ]
        for table in large:
            log.warning("The marks of %d events or more filled the queue: dropped", quarter)
            with database.transaction() as db:
                db.execute(f"DELETE FROM {table}")
        return bool(large)

    def _store(self, records: Sequence[Record]) -> list[bool | None]:
        """Return for each record whether it was new; None if its user is held."""
        database = self._database
        looks = self._unlooked >= LOOK_LENGTH or time.monotonic() - self._looked_at > LOOK_SECONDS
        if looks:
            self._require_capacity(database, self._max_bytes, self._min_free_bytes)
            self._looked_at, self._unlooked = time.monotonic(), 0
        is_new: list[bool | None] = []
        with database.transaction() as db:
            now, before = seen_tables(self._clock(), self._dedupe_seconds)[:2]
            held, new = find_held(db, records, self._clock()), []
            for record in records:
                if (record.site, record.user_id) in held:
                    is_new.append(None)
                    continue
                if marked := _marked(db, now, before, record):
                    new.append(marked)
                is_new.append(marked is not None)
            insert(db, new)
        self._unlooked += sum(len(record.event) for record in records)
        if looks:
            with suppress(QueueUnavailable):  # all is stored: whoever comes next meets it
                database.checkpoint(NEGLECTED_LOG_BYTES)
        return is_new


def _marked(db: sqlite3.Connection, now: str, before: str, record: Record) -> Record | None:
    """Mark an event, in the caller's transaction; the record to store, None for a duplicate."""
    mark = duplicates.mark(record)
    # Written only if the eventId is new, which it nearly always is: one statement then.
    insert_new = f"""INSERT INTO {now} SELECT ?1
                     WHERE NOT EXISTS (SELECT 1 FROM {now} WHERE mark BETWEEN ?2 AND ?3)
                     AND NOT EXISTS (SELECT 1 FROM {before} WHERE mark BETWEEN ?2 AND ?3)"""
    if db.execute(insert_new, (mark, *duplicates.marks_of_its_id(mark))).rowcount:
        return record
    insert_distinct = f"""INSERT OR IGNORE INTO {now} SELECT ?1
                          WHERE NOT EXISTS (SELECT 1 FROM {before} WHERE mark = ?1)"""
    if db.execute(insert_distinct, (mark,)).rowcount:
        return duplicates.with_own_id(record)
    return None
