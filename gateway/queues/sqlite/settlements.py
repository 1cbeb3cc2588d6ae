"""Write what became of records; keep it in memory while the disk is full."""

from __future__ import annotations

import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from gateway.queues import Delivery, QueueUnavailable, Record, Rejection, Release
from gateway.queues.sqlite import totals
from gateway.queues.sqlite.database import Database
from gateway.queues.sqlite.rows import checked, damaged_copy, is_whole
from gateway.queues.sqlite.schema import COLUMNS, INSERT_DEAD
from gateway.reasons import Reason

MOST_UNWRITTEN = 100_000  # records, past which delivery waits for the disk
RETRY_SECONDS = 1.0
CHECKPOINT_BYTES = 4 << 20  # of the WAL, from which the forwarder checkpoints it
# The same event: a handle of a file that was replaced meanwhile may be another one's in the new.
SAME_EVENT = "id = ? AND event_id = ?"
INSERT_DEAD_LETTER = f"""INSERT INTO dead ({COLUMNS}, checksum, reason, message, attempts, died_at)
           SELECT {COLUMNS}, checksum, ?, ?, ?, ? FROM queue WHERE {SAME_EVENT}"""

log = logging.getLogger(__name__)


class Settlement(NamedTuple):
    """What became of records: delivered, given up, or to be tried again."""

    acked: Sequence[Delivery] = ()
    rejected: Sequence[Rejection] = ()
    released: Sequence[Release] = ()

    @property
    def settled(self) -> list[Delivery]:
        """Return the records that leave the queue."""
        return [*self.acked, *(rejection.delivery for rejection in self.rejected)]

    @property
    def size(self) -> int:
        """Return the number of records."""
        return len(self.acked) + len(self.rejected) + len(self.released)


class SettlementWriter:
    """Write settlements to the database, in order, each once.

    If the process ends while some are unwritten, their records are sent again, under the same
    eventIds.
    """

    def __init__(
        self, database: Database, clock: Callable[[], float], now: Callable[[], float]
    ) -> None:
        """`clock` measures, `now` is the time of day."""
        self._database = database
        self._clock = clock
        self._now = now
        self._tried_at = float("-inf")
        self._unwritten = Settlement()
        self._settled: set[tuple[int, str]] = set()
        self._attempts: Counter[tuple[int, str]] = Counter()

    def is_settled(self, delivery: Delivery) -> bool:
        """Return whether a record left the queue, though the file still has it."""
        return _key(delivery) in self._settled

    def with_attempts(self, delivery: Delivery) -> Delivery:
        """Return a record with the attempts that the file does not have yet."""
        unwritten = self._attempts[_key(delivery)] if self._attempts else 0
        return delivery._replace(attempts=delivery.attempts + unwritten) if unwritten else delivery

    def write(self, settlement: Settlement) -> None:
        """Write a settlement after those that could not be written before.

        While the disk is full, keep up to MOST_UNWRITTEN records. Raises QueueUnavailable.
        """
        if not self._unwritten.size:
            try:
                self._write(settlement)
            except QueueUnavailable as error:
                if error.reason != Reason.DISK_FULL:
                    raise
                log.warning("disk_full: deliveries are settled in memory until there is space")
                self._tried_at = self._clock()
                self._keep(settlement)
            return
        if self._unwritten.size + settlement.size > MOST_UNWRITTEN:
            self._write_all()
            self._write(settlement)
            return
        self._keep(settlement)
        if self._clock() - self._tried_at >= RETRY_SECONDS:
            with suppress(QueueUnavailable):
                self._write_all()

    def close(self) -> None:
        """Try once more to write what is unwritten. Raises nothing."""
        with suppress(QueueUnavailable):
            self._write_all()

    def _keep(self, settlement: Settlement) -> None:
        self._unwritten = Settlement(
            [*self._unwritten.acked, *settlement.acked],
            [*self._unwritten.rejected, *settlement.rejected],
            [*self._unwritten.released, *settlement.released],
        )
        self._settled.update(map(_key, settlement.settled))
        for release in settlement.released:
            self._attempts[_key(release.delivery)] += release.attempts

    def _write_all(self) -> None:
        """Write what is unwritten. Raises QueueUnavailable."""
        if not self._unwritten.size:
            return
        self._tried_at = self._clock()
        self._write(self._unwritten)
        self._unwritten = Settlement()
        self._settled.clear()
        self._attempts.clear()

    def _write(self, settlement: Settlement) -> None:
        """Write a settlement in one transaction, all or nothing. Raises QueueUnavailable."""
        if not settlement.size:
            return
        died_at = self._now()
        self._database.checkpoint(CHECKPOINT_BYTES)  # makes the room that this takes
        with self._database.transaction() as db:
            for rejection in settlement.rejected:
                delivery, reason, message, attempts = rejection
                if delivery.is_damaged:
                    _reject_damaged(db, rejection, died_at)
                else:
                    row = (reason, message, attempts, died_at, *_key(delivery))
                    db.execute(INSERT_DEAD_LETTER, row)
            acked = [delivery.record for delivery in settlement.acked if _delete(db, delivery)]
            rejected = [
                rejection for rejection in settlement.rejected if _is_gone(db, rejection.delivery)
            ]
            totals.add(db, acked, rejected, died_at)
            db.executemany(
                f"UPDATE queue SET attempts = attempts + ? WHERE {SAME_EVENT}",
                [(release.attempts, *_key(release.delivery)) for release in settlement.released],
            )


def _reject_damaged(db: sqlite3.Connection, rejection: Rejection, died_at: float) -> None:
    """Put what is left of a row among the dead letters, unless it is another one by now."""
    handle = rejection.delivery.handle
    query = f"SELECT checksum, {COLUMNS} FROM queue WHERE id = ?"
    for checksum, *values in db.execute(query, (handle,)).fetchall():
        if not is_whole(found := Record(*values), checksum):
            letter = checked(damaged_copy(found))
            db.execute(INSERT_DEAD, (*letter, rejection.reason, rejection.message, 0, died_at))
            db.execute("DELETE FROM queue WHERE id = ?", (handle,))


def _is_gone(db: sqlite3.Connection, delivery: Delivery) -> bool:
    """Return whether a rejected record left the queue now; a damaged one has already."""
    return delivery.is_damaged or _delete(db, delivery)


def _delete(db: sqlite3.Connection, delivery: Delivery) -> bool:
    """Delete a record; return whether it was still queued, so that it is counted once."""
    deleted = db.execute(f"DELETE FROM queue WHERE {SAME_EVENT}", _key(delivery)).rowcount
    return deleted > 0


def _key(delivery: Delivery) -> tuple[int, str]:
    return delivery.handle, delivery.record.event_id
