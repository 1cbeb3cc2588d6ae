"""The dead letters of a SQLite queue, and what waits in it: what operators ask for."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from gateway.queues import DeadLetter, QueueUnavailable, Record, Status
from gateway.queues.sqlite import totals, users
from gateway.queues.sqlite.database import Database
from gateway.queues.sqlite.locks import read_status
from gateway.queues.sqlite.rows import damaged_copy, is_whole, moment, printable
from gateway.queues.sqlite.schema import COLUMNS, insert, oldest_at
from gateway.reasons import Reason

PIECE = 10_000  # users in one transaction, so that others can write between two of them
PAGE = 500  # dead letters read at a time, so that no reader keeps the WAL from being checkpointed


class SqliteDeadLetters:
    """Those of one file."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, "FULL")

    def list(self) -> Iterator[DeadLetter]:
        """Yield all of them, oldest first."""
        last, page = 0, self._page(0)
        while page:
            yield from page
            last = int(page[-1].id)
            page = self._page(last)

    def replay(self, letters: Sequence[tuple[DeadLetter, Record]]) -> int:
        """Put each letter's record into the queue again, if the letter still exists."""
        with self._database.transaction() as db:
            records = [record for letter, record in letters if _delete(db, letter)]
            insert(db, records)
        return len(records)

    def purge(self, letters: Collection[DeadLetter]) -> int:
        """Delete these permanently; return how many there were."""
        with self._database.transaction() as db:
            return sum(_delete(db, letter) for letter in letters)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _page(self, after: int) -> Sequence[DeadLetter]:
        if not self._database.exists():
            return []
        query = f"""SELECT id, reason, message, attempts, died_at, checksum, {COLUMNS} FROM dead
                    WHERE id > ? ORDER BY id LIMIT ?"""
        with self._database.reading() as db:
            rows = db.execute(query, (after, PAGE)).fetchall()
        if [row[0] for row in rows] != sorted(row[0] for row in rows):
            raise QueueUnavailable(Reason.DAMAGED, "the dead letters are out of order")
        return [_letter(row) for row in rows]


def _delete(db: sqlite3.Connection, letter: DeadLetter) -> bool:
    """Delete a letter; return whether it existed."""
    return db.execute("DELETE FROM dead WHERE id = ?", (int(letter.id),)).rowcount > 0


def _letter(row: Sequence[Any]) -> DeadLetter:
    id_, reason, message, attempts, died_at, checksum, *values = row
    record = Record(*values)
    if is_whole(record, checksum):
        why = printable(reason), printable(message)
        return DeadLetter(str(id_), *why, attempts, moment(died_at), record)
    found = damaged_copy(record)
    return DeadLetter(
        str(id_), "damaged", "its content is not what was stored", 0, found.received_at, found
    )


def find(path: Path, event_id: str) -> list[tuple[Record, int]]:
    """Return a file's queued records with this eventId, and the calls that each was in."""
    database = Database(path, "FULL")
    if not database.exists():
        return []
    with database.reading() as db:
        query = f"SELECT {COLUMNS}, checksum, attempts FROM queue WHERE event_id = ?"
        rows = db.execute(query, (event_id,)).fetchall()
    database.close()
    found = ((Record(*values), checksum, attempts) for *values, checksum, attempts in rows)
    return [
        (record, attempts) for record, checksum, attempts in found if is_whole(record, checksum)
    ]


def status(path: Path) -> Status:
    """Count what waits in a file; the number in flight is what its forwarder reported."""
    database = Database(path, "FULL")
    if not database.exists():
        return Status(0, 0, 0, None)
    with database.reading() as db:
        (queued,) = db.execute("SELECT count(*) FROM queue").fetchone()
        (dead,) = db.execute("SELECT count(*) FROM dead").fetchone()
        oldest = oldest_at(db)
    database.close()
    forwarder, now = read_status(path), time.time()
    in_flight = 0 if forwarder is None or forwarder.is_stale(now) else forwarder.in_flight
    age = None if oldest is None else max(0.0, now - oldest)
    return Status(queued, in_flight, dead, age)


def forget(
    path: Path, site: str, user_ids: Collection[str], hold_until: float | None = None
) -> tuple[int, int]:
    """Overwrite users' events, queued and dead, and return how many of each there were.

    From then on these users' events are refused until `hold_until`, if that is not None.
    """
    database = Database(path, "FULL")
    if hold_until is None and not database.exists():
        return 0, 0
    with database.reading() as db:
        db.execute("PRAGMA secure_delete = ON")
        hashes = sorted(users.hash_users(db, ((site, user_id) for user_id in user_ids)))
    for start in range(0, len(hashes), PIECE):
        with database.transaction() as db:
            piece = hashes[start : start + PIECE]
            if hold_until is not None:
                users.hold(db, piece, hold_until)
            totals.forget(db, site, piece)
    with database.transaction() as db:
        parameters = site, json.dumps([*user_ids])
        queued, dead = (
            db.execute(
                f"""DELETE FROM {table} WHERE site = ?
                    AND user_id IN (SELECT value FROM json_each(?))""",
                parameters,
            ).rowcount
            for table in ("queue", "dead")
        )
    database.require_truncated_wal("the log still holds what was deleted: try again")
    database.close()
    return queued, dead
