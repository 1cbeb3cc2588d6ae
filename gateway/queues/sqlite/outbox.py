"""The forwarder end of a SQLite queue."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

from gateway.queues import BATCH_RECORDS, Delivery, QueueUnavailable, Record, Rejection, Release
from gateway.queues.session_scheduler import SessionScheduler
from gateway.queues.sqlite import users, wal
from gateway.queues.sqlite.ballast import Ballast
from gateway.queues.sqlite.database import Database
from gateway.queues.sqlite.recovery import repair
from gateway.queues.sqlite.rows import damaged_copy, is_whole, printable
from gateway.queues.sqlite.schema import COLUMNS, oldest_at, seen_tables
from gateway.queues.sqlite.settlements import CHECKPOINT_BYTES, Settlement, SettlementWriter
from gateway.reasons import Reason

AHEAD, LEAST_AHEAD = 20_000, 1_000  # sessions known, of all sites and of each: they fill calls
PAGE, PAGES = 5_000, 10  # records looked through at a time, in some 40 ms
VACUUM_PAGES = 256
SELECT_AFTER = "SELECT id, session_id FROM queue WHERE site = ? AND id > ? ORDER BY id LIMIT ?"
SELECT_BY_IDS = f"""SELECT id, attempts, checksum, {COLUMNS} FROM queue
            WHERE id IN ({", ".join("?" * BATCH_RECORDS)}) ORDER BY id"""
# The sites that have records, by hops from one to the next in the index.
SITES = """WITH RECURSIVE hop(site) AS (
               SELECT min(site) FROM queue
               UNION  -- each once: where the index is damaged, hops may lead back
               SELECT (SELECT min(site) FROM queue WHERE site > hop.site) FROM hop
               WHERE hop.site IS NOT NULL
           ) SELECT site FROM hop WHERE site IS NOT NULL"""


class SqliteOutbox:
    """The forwarder end; its holder has the ForwarderLock.

    A session's records are handed out in batches, the next one when the last one is settled: so
    its order holds, and calls fill up by themselves when there is a backlog.

    While the disk is full, settlements are kept in memory and delivery goes on. If the process ends
    meanwhile, their records are sent again, under the same eventIds.
    """

    unknown_messages = 0

    def __init__(
        self,
        path: Path,
        *,
        dedupe_seconds: int,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`clock` measures, `now` is the time of day."""
        self._database = Database(path, "NORMAL")  # an ack lost with the power is only a resend
        self._ballast = Ballast(self._database)
        self._dedupe_seconds = dedupe_seconds
        self._now = now
        self._log_size = 0  # when last tidied
        self._opening = 0  # of the file, whose records are scheduled
        self._scheduler = SessionScheduler(clock)
        self._settlements = SettlementWriter(self._database, clock, now)
        self._ahead = LEAST_AHEAD  # sessions of each site to know

    def sites(self) -> list[str]:
        """Return the sites whose records wait."""
        self._scheduler.wake()
        self._ballast.throw()
        with self._database.reading() as db:
            sites = [site for (site,) in db.execute(SITES)]
        if any(printable(site) != site for site in sites):
            raise QueueUnavailable(Reason.DAMAGED, "the index of sites is not readable")
        self._ahead = max(LEAST_AHEAD, AHEAD // max(1, len(sites)))
        return sites

    def receive(self, site: str, capacity: int, *, newest: bool = False) -> list[list[Delivery]]:
        """Return up to `capacity` batches, each of another session, see Outbox."""
        batches: list[list[Delivery]] = []
        if capacity <= 0:
            return batches
        try:
            with self._database.reading() as db:
                self._follow_file()
                self._look_ahead(db, site)
                while len(batches) < capacity:
                    if not (batch := self._next_batch(db, site, newest=newest)):
                        break
                    batches.append(batch)
        except BaseException:  # the caller gets none of these batches: they wait again
            for delivery in chain.from_iterable(batches):
                self._scheduler.release(delivery, 0.0)
            raise
        return batches

    def settle(
        self, acked: Sequence[Delivery], rejected: Sequence[Rejection], released: Sequence[Release]
    ) -> None:
        """Delete the acked, make dead letters of the rejected, release the rest: all or nothing."""
        self._ballast.throw()
        settlement = Settlement(acked, rejected, released)
        self._settlements.write(settlement)
        for delivery in settlement.settled:
            self._scheduler.settle(delivery)
        for release in released:
            self._scheduler.release(release.delivery, release.delay)

    def oldest_at(self) -> float | None:
        """Return when the oldest record was received, which is the one with the lowest ID."""
        with self._database.reading() as db:
            return oldest_at(db)

    def tidy(self) -> None:
        """Checkpoint the WAL, delete old marks and holds, and give free pages back."""
        self._database.require_sound()
        self._settlements.write(Settlement())
        log_size = wal.bytes_used(self._database.path)
        idle, self._log_size = log_size == self._log_size, log_size
        if idle:
            self._database.truncate_wal()  # its bytes count as used
        else:
            self._database.checkpoint(CHECKPOINT_BYTES)
        old = seen_tables(self._now(), self._dedupe_seconds)[2]
        with self._database.reading() as db:
            outdated = db.execute(f"SELECT 1 FROM {old} LIMIT 1").fetchone()
            outdated = outdated or users.has_expired(db, self._now())
            spare = db.execute("PRAGMA freelist_count").fetchone()[0] > VACUUM_PAGES
        if outdated or spare:
            with self._database.transaction() as db:
                db.execute(f"DELETE FROM {old}")
                users.delete_expired(db, self._now())
                for _ in range(VACUUM_PAGES if spare else 0):
                    db.execute("PRAGMA incremental_vacuum(1)")
        if spare:
            self._database.truncate_wal()  # only then does the file shrink
        self._ballast.hold()

    def repair(self, *, thorough: bool = False) -> str | None:
        """Set a damaged file aside and carry over what can be read; what was done, if anything."""
        self.close()
        recovery = repair(self._database.path, self._now(), thorough=thorough)
        if recovery is None:
            return None
        return (
            f"the file was damaged and is now {recovery.aside}; "
            f"{recovery.queued} queued events and {recovery.dead} dead letters were recovered"
        )

    def close(self) -> None:
        """Close the file."""
        self._settlements.close()
        self._database.close()

    def _follow_file(self) -> None:
        """Begin anew where the file was opened again: it may be another one."""
        if self._opening != self._database.openings:
            self._opening = self._database.openings
            self._scheduler.restart()

    def _look_ahead(self, db: sqlite3.Connection, site: str) -> None:
        """Learn of a site's records that came meanwhile, or that it had no room for."""
        page = min(PAGE, self._ahead)
        for _ in range(PAGES):
            cursor, sessions = self._scheduler.known(site)
            if sessions >= self._ahead:
                return
            found = db.execute(SELECT_AFTER, (site, cursor, page)).fetchall()
            handles = [cursor, *(handle for handle, _ in found)]
            if any(later <= earlier for earlier, later in pairwise(handles)):
                raise QueueUnavailable(Reason.DAMAGED, f"the index of {site} is out of order")
            self._scheduler.add(site, [(handle, printable(session)) for handle, session in found])
            if len(found) < page:
                return

    def _next_batch(self, db: sqlite3.Connection, site: str, *, newest: bool) -> list[Delivery]:
        """Hand out the oldest records of the next session; none if no session waits."""
        while (waiting := self._scheduler.next(site, newest=newest)) is not None:
            session_id, handles = waiting
            ids = [*handles, *[None] * (BATCH_RECORDS - len(handles))]
            rows = db.execute(SELECT_BY_IDS, ids).fetchall()
            deliveries = [_delivery(row, site, session_id) for row in rows]
            batch = [
                self._settlements.with_attempts(delivery)
                for delivery in deliveries
                if _is_of(delivery, site, session_id) and not self._settlements.is_settled(delivery)
            ]
            # Not before they have been read, which may fail.
            self._scheduler.hand_out(site, session_id, len(batch))
            if batch:
                return batch
        return []


def _delivery(row: tuple[Any, ...], site: str, session_id: str) -> Delivery:
    id_, attempts, checksum, *values = row
    record = Record(*values)
    if not is_whole(record, checksum):
        found = damaged_copy(record)._replace(site=site, session_id=session_id)
        return Delivery(id_, found, 0, is_damaged=True)
    return Delivery(id_, record, attempts if isinstance(attempts, int) else 0)


def _is_of(delivery: Delivery, site: str, session_id: str) -> bool:
    """Return whether a record is the session's: handles may be of a file that was replaced."""
    if delivery.record.site != site:
        raise QueueUnavailable(
            Reason.DAMAGED, f"the index of {site} names a record of another site"
        )
    return delivery.record.session_id == session_id
