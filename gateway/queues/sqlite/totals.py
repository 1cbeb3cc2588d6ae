"""The totals of what was delivered, kept in the transactions that settle events."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from gateway.queues import Record, Rejection
from gateway.queues.deliveries import EventCounts, SiteDeliveries, count_by_type
from gateway.queues.sqlite.database import Database
from gateway.queues.sqlite.errors import UNREADABLE
from gateway.queues.sqlite.users import hash_users

MOST_USERS = 100_000  # of a site: their hashes take some 2 MB
MOST_TYPES = 100  # of a site: events of further types are counted together
OTHER_TYPES = "(other)"

INSERT_SITE = "INSERT OR IGNORE INTO delivered_sites VALUES (?, ?, 0, 0, 0)"
ADD_USERS = """UPDATE delivered_sites SET users = users + ?, users_with_2 = users_with_2 + ?,
               is_capped = max(is_capped, ?) WHERE site = ?"""
IS_KNOWN = "SELECT count(*) < ? OR max(event_type = ?) FROM delivered_types WHERE site = ?"
MARKS = ", ".join("?" * len(EventCounts._fields))
SUMS = ", ".join(f"{name} = {name} + excluded.{name}" for name in EventCounts._fields)
ADD_TYPE = f"INSERT INTO delivered_types VALUES (?, ?, {MARKS}) ON CONFLICT DO UPDATE SET {SUMS}"
ADD_REASON = """INSERT INTO dead_reasons VALUES (?, ?, ?)
                ON CONFLICT DO UPDATE SET events = events + excluded.events"""
SELECT_USER = "SELECT events FROM delivered_users WHERE user = ?"


def add(
    db: sqlite3.Connection, acked: Sequence[Record], rejected: Iterable[Rejection], now: float
) -> None:
    """Add delivered and dead events to the totals, in the caller's transaction."""
    by_type = count_by_type(acked)
    by_reason = Counter(
        (rejection.delivery.record.site, rejection.reason) for rejection in rejected
    )
    db.executemany(INSERT_SITE, [(site, now) for site in {site for site, _ in by_type | by_reason}])
    for (site, event_type), counts in by_type.items():
        (is_known,) = db.execute(IS_KNOWN, (MOST_TYPES, event_type, site)).fetchone()
        db.execute(ADD_TYPE, (site, event_type if is_known else OTHER_TYPES, *counts))
    db.executemany(ADD_REASON, [(*key, events) for key, events in by_reason.items()])
    users: dict[str, Counter[str]] = {}
    for record in acked:
        if record.user_id is not None:
            users.setdefault(record.site, Counter())[record.user_id] += 1
    for site, events in users.items():
        _add_users(db, site, events)


def _add_users(db: sqlite3.Connection, site: str, events: Counter[str]) -> None:
    """Count a site's users that had no delivered event before, or only one."""
    query = "SELECT ? - users FROM delivered_sites WHERE site = ?"
    (capacity,) = db.execute(query, (MOST_USERS, site)).fetchone()
    new = with_2 = 0
    is_capped = False
    hashes = hash_users(db, ((site, user_id) for user_id in events))
    for user, count in zip(hashes, events.values(), strict=True):
        (before,) = db.execute(SELECT_USER, (user,)).fetchone() or (0,)
        after = min(before + count, 2)
        if not before and new == capacity:
            is_capped = True
        elif after > before:
            db.execute("INSERT OR REPLACE INTO delivered_users VALUES (?, ?)", (user, after))
            new += not before
            with_2 += after == 2
    if new or with_2 or is_capped:
        db.execute(ADD_USERS, (new, with_2, is_capped, site))


def forget(db: sqlite3.Connection, site: str, users: Collection[int]) -> None:
    """Delete the hashes of a site's users, and count these users no more."""
    for user in users:
        for (events,) in db.execute(SELECT_USER, (user,)).fetchall():
            db.execute("DELETE FROM delivered_users WHERE user = ?", (user,))
            db.execute(ADD_USERS, (-1, -(events == 2), 0, site))


def carry_over(old: sqlite3.Connection, db: sqlite3.Connection) -> None:
    """Copy the totals from a damaged file, as far as they can be read."""
    for table in ("delivered_sites", "delivered_types", "delivered_users", "dead_reasons"):
        with suppress(*UNREADABLE):
            for row in old.execute(f"SELECT * FROM {table}"):
                marks = ", ".join("?" * len(row))
                db.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row)


def read(path: Path) -> list[SiteDeliveries]:
    """Return the totals of each site of which anything was delivered or became a dead letter."""
    database = Database(path, "FULL")
    if not database.exists():
        return []
    with database.reading() as db:
        db.execute("BEGIN")  # so that the tables belong together
        try:
            sites = db.execute("SELECT * FROM delivered_sites ORDER BY site").fetchall()
            types = db.execute("SELECT * FROM delivered_types ORDER BY events DESC").fetchall()
            reasons = db.execute("SELECT * FROM dead_reasons ORDER BY events DESC").fetchall()
        finally:
            db.execute("ROLLBACK")
    database.close()
    return [
        SiteDeliveries(
            site,
            since,
            {name: EventCounts(*counts) for of, name, *counts in types if of == site},
            users,
            users_with_2,
            bool(is_capped),
            {reason: events for of, reason, events in reasons if of == site},
        )
        for site, since, users, users_with_2, is_capped in sites
    ]
