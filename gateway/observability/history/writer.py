"""Write the event history a few times a second, from a thread that nothing waits for."""

from __future__ import annotations

import atexit
import logging
import os
import sqlite3
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from gateway.observability import metrics
from gateway.observability.history import EventHistory, history_file
from gateway.observability.history.steps import Depth, Request, Row, Step
from gateway.observability.logs import RateLimitedLogger
from gateway.observability.redaction import MASK, Redactor
from gateway.reasons import Reason
from gateway.threadpool import run_in_threadpool

WRITE_EVERY = 0.2  # seconds
TRIM_EVERY = 5.0  # seconds
WAITING = 5000  # notes not yet written, past which further ones are lost
A_BATCH = 5000  # rows written at once
BATCH_BYTES = 2 << 20  # written at once, and one note more at most
A_TRANSACTION = 1000  # rows: each may change another page of an index
RESERVE_BYTES = 64 << 20  # of free disk that are left, beside the queue's own reserve

INSERT_STEP = """INSERT INTO steps (at, step, site, session_id, user_id, event_id, event_type,
                 event, since, reason, message, request)
                 VALUES (?, ?, ?, ?, ?, ?, json_extract(?, '$.eventType'), ?, ?, ?, ?, ?)"""
INSERT_REQUEST = "INSERT OR REPLACE INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
ADD_TICK = """INSERT INTO ticks VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
              count = count + excluded.count, total = total + excluded.total,
              most = max(most, excluded.most)"""
SET_DEPTH = "INSERT OR REPLACE INTO ticks VALUES (?, 'depth', 1, ?, ?)"

Note = tuple[Callable[..., Iterable[Row]], tuple[object, ...]]

log = logging.getLogger(__name__)


class HistoryWriter(EventHistory):
    """One process's."""

    def __init__(self, path: Path, redactor: Redactor, min_free_bytes: int) -> None:
        self._path = path
        self._redactor = redactor
        self._reserve = min_free_bytes + RESERVE_BYTES
        self._notes: deque[Note] = deque()
        self._news = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None  # not before a note: servers fork till then
        self._trimmed = 0.0
        self._logger = RateLimitedLogger(log)

    def record(self, make: Callable[..., Iterable[Row]], *arguments: object) -> None:
        if len(self._notes) >= WAITING:
            metrics.HISTORY_LOST.inc()
            return
        self._notes.append((make, arguments))
        self._news.set()
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                atexit.register(self._write)  # the last moment's
                self._thread = threading.Thread(target=self._keep_writing, daemon=True)
                self._thread.start()

    def _keep_writing(self) -> None:
        while True:
            if self._news.wait(TRIM_EVERY):  # it is trimmed, too, when nothing more happens
                time.sleep(WRITE_EVERY)
            self._news.clear()
            lost, error = run_in_threadpool(self._write)
            metrics.HISTORY_LOST.inc(lost)
            if lost and error is not None:
                self._logger.warning(Reason.TRAIL_LOST, f"{lost} steps: {error}", "the inspector")

    def _write(self) -> tuple[int, Exception | None]:
        """Write what has been noted and trim the file; return how much is lost, and why."""
        rows, lost = self._rows()
        try:
            with history_file.opened(self._path) as db:
                has_capacity = self._free_bytes() >= self._reserve
                self._trim(
                    db, history_file.KEEP_BYTES if has_capacity else history_file.KEEP_BYTES // 4
                )
                if rows and not has_capacity:
                    raise OSError(f"less than {self._reserve} bytes of disk free")
                while rows:
                    with history_file.transaction(db):
                        self._insert(db, rows[:A_TRANSACTION])
                    del rows[:A_TRANSACTION]
        except Exception as error:  # whatever it is: the history is no reason to end anything
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                history_file.delete(self._path)  # others need the room more
            return lost + len(rows), error
        return lost, None

    def _trim(self, db: sqlite3.Connection, keep_bytes: int) -> None:
        now = time.time()
        if now - self._trimmed > TRIM_EVERY or history_file.used_bytes(db) > keep_bytes:
            self._trimmed = now
            history_file.trim(db, now, keep_bytes)

    def _rows(self) -> tuple[list[Row], int]:
        """Take the next notes' rows, and how many notes say nothing; others wait for their turn."""
        rows: list[Row] = []
        lost = size = 0
        while self._notes and len(rows) < A_BATCH and size < BATCH_BYTES:
            make, arguments = self._notes.popleft()
            try:
                new = list(make(*arguments))
                size += sum(_bytes(row) for row in new)
            except Exception:  # of what visitors sent, anything may be odd
                lost += 1
            else:
                rows += new
        if self._notes:
            self._news.set()
        return rows, lost

    def _insert(self, db: sqlite3.Connection, rows: Sequence[Row]) -> None:
        steps = [row for row in rows if isinstance(row, Step)]
        requests = [row for row in rows if isinstance(row, Request)]
        depths = [row for row in rows if isinstance(row, Depth)]
        db.executemany(INSERT_STEP, map(self._columns, steps))
        db.executemany(INSERT_REQUEST, requests)
        db.executemany(SET_DEPTH, depths)
        db.executemany(ADD_TICK, _ticks(steps, requests))

    def _columns(self, step: Step) -> tuple[object, ...]:
        """Return a step's columns, masked; the event itself only where `since` is set."""
        mask = self._redactor
        return (
            step.at,
            step.step,
            step.site,
            step.session_id,
            MASK if step.user_id and mask.names("userId") else step.user_id,
            step.event_id,
            step.event,
            mask.event(step.event) if step.since is not None else None,
            step.since,
            step.reason,
            mask.message(step.message, [step.event]) if step.message else None,
            step.request,
        )

    def _free_bytes(self) -> int:
        disk = os.statvfs(self._path.parent)
        return disk.f_bavail * disk.f_frsize


def _bytes(row: Row) -> int:
    """Return about how long a row is."""
    return sum(len(value.encode()) for value in row if isinstance(value, str))


def _ticks(
    steps: Sequence[Step], requests: Sequence[Request]
) -> Iterator[tuple[int, str, int, float, float]]:
    """Yield counts by second and step, with the sum and the maximum of what was measured."""
    for (second, name), count in Counter((int(step.at), step.step) for step in steps).items():
        yield second, name, count, 0.0, 0.0
    for request in requests:
        if request.seconds is not None:  # answered
            second = int(request.at + request.seconds)
            yield second, "requests", 1, request.seconds, request.seconds
            yield second, "fill", 1, request.events, request.events
