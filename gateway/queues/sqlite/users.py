"""Users whose events are refused, in the SQLite file.

They are stored as keyed hashes of site and userId. The key is random and stays in
the file, so that hashes of two files can't be compared.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from hashlib import blake2b

from gateway.queues import Record
from gateway.queues.sqlite.errors import UNREADABLE
from gateway.queues.sqlite.rows import moment

KEY_BYTES = 32
HASH_BYTES = 8  # of an INTEGER PRIMARY KEY; of a million users no two share one, nearly surely

User = tuple[str, str | None]  # site and userId


def hash_users(db: sqlite3.Connection, users: Iterable[User]) -> list[int]:
    """Return each user's hash under the file's key."""
    (key,) = db.execute("SELECT value FROM hash_key").fetchone()
    texts = (f"{site}\0{user_id}".encode(errors="surrogatepass") for site, user_id in users)
    digests = (blake2b(text, digest_size=HASH_BYTES, key=key).digest() for text in texts)
    return [int.from_bytes(digest, signed=True) for digest in digests]


def find_held(db: sqlite3.Connection, records: Sequence[Record], now: float) -> frozenset[User]:
    """Return the users of these records whose events are refused now."""
    if db.execute("SELECT 1 FROM held_users LIMIT 1").fetchone() is None:
        return frozenset()
    users = {(record.site, record.user_id) for record in records if record.user_id is not None}
    query = "SELECT 1 FROM held_users WHERE user = ? AND until > ?"
    return frozenset(
        user
        for user, user_hash in zip(users, hash_users(db, users), strict=True)
        if db.execute(query, (user_hash, now)).fetchone()
    )


def hold(db: sqlite3.Connection, users: Iterable[int], until: float) -> None:
    """Refuse these users' events until then, whatever was said before."""
    rows = [(user, until) for user in users]
    db.executemany("INSERT OR REPLACE INTO held_users VALUES (?, ?)", rows)


def has_expired(db: sqlite3.Connection, now: float) -> bool:
    """Return whether there are users whose events are accepted again."""
    query = "SELECT 1 FROM held_users WHERE until <= ? LIMIT 1"
    return db.execute(query, (now,)).fetchone() is not None


def delete_expired(db: sqlite3.Connection, now: float) -> None:
    """Delete the hashes of users whose events are accepted again."""
    db.execute("DELETE FROM held_users WHERE until <= ?", (now,))


def carry_over(old: sqlite3.Connection, db: sqlite3.Connection) -> None:
    """Copy the key and the users from a damaged file, as far as they can be read from both ends."""
    with suppress(*UNREADABLE):
        for (key,) in old.execute("SELECT value FROM hash_key").fetchall():
            if isinstance(key, bytes) and len(key) == KEY_BYTES:
                db.execute("UPDATE hash_key SET value = ?", (key,))
    for order in ("ASC", "DESC"):
        with suppress(*UNREADABLE):
            query = f"SELECT user, until FROM held_users ORDER BY user {order}"
            rows = (row for row in old.execute(query) if moment(row[1]))
            db.executemany("INSERT OR IGNORE INTO held_users VALUES (?, ?)", rows)
