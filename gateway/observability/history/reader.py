"""Read the event history: events with their steps and PutEvents requests, and counts a second."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from gateway.observability.history import history_file

LIVES = 200  # in one answer
STEPS_OF_A_LIFE = 50  # the newest; so a page that resends for ever makes no endless answer
REPEATS = 4  # steps looked at for each life wanted
CHART_SECONDS = 300

Life = dict[str, Any]


class EventFilter(NamedTuple):
    """Which events to return; None matches any."""

    site: str | None = None
    type: str | None = None
    user: str | None = None
    reason: str | None = None


class HistoryReader:
    """Read one file. Every method raises sqlite3.Error or OSError if it can't."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def lives(self, wanted: EventFilter, after: int) -> tuple[int, list[Life]]:
        """Return the last step's number, and the events with a later step than `after`."""
        with self._reading() as db:
            (last,) = db.execute("SELECT coalesce(max(n), 0) FROM steps").fetchone()
            where, values = _condition(wanted)
            rows = db.execute(
                f"""SELECT n, site, event_id FROM steps
                    WHERE n > ? AND n <= ? {where} ORDER BY n DESC LIMIT ?""",
                (after, last, *values, LIVES * REPEATS),
            ).fetchall()
            keys = list(dict.fromkeys(map(_key, rows)))[:LIVES]
            return last, _lives(db, keys[::-1])

    def find(self, event_id: str) -> list[Life]:
        """Return what is known of an event, once for each site that received it."""
        with self._reading() as db:
            sites = db.execute(
                "SELECT DISTINCT site FROM steps WHERE event_id = ?", (event_id,)
            ).fetchall()
            return _lives(db, [(site, event_id, None) for (site,) in sites])

    def ticks(self, now: float) -> list[tuple[int, str, int, float, float]]:
        """Return the last minutes' counts: second, step, count, and a measure's sum and maximum."""
        with self._reading() as db:
            query = "SELECT * FROM ticks WHERE second > ? ORDER BY second"
            return [tuple(row) for row in db.execute(query, (now - CHART_SECONDS,))]

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with history_file.opened(self._path) as db:
            db.row_factory = sqlite3.Row
            yield db


# A life's key: site and eventId; or a refused event's step, where it bore no eventId.
Key = tuple[str, str, int | None]


def _key(row: sqlite3.Row) -> Key:
    return row["site"], row["event_id"], None if row["event_id"] else row["n"]


def _condition(wanted: EventFilter) -> tuple[str, list[str]]:
    parts = {
        "site": "site = ?",
        "type": "event_type = ?",
        "user": "user_id = ?",
        "reason": """(reason = ? OR (event_id != '' AND event_id IN
                     (SELECT event_id FROM steps WHERE reason = ?)))""",
    }
    given = {name: value for name, value in wanted._asdict().items() if value}
    values = [value for name, value in given.items() for _ in range(parts[name].count("?"))]
    return "".join(f" AND {parts[name]}" for name in given), values


def _lives(db: sqlite3.Connection, keys: Sequence[Key]) -> list[Life]:
    steps: dict[Key, list[sqlite3.Row]] = defaultdict(list)
    names = {event_id for _, event_id, _ in keys if event_id}
    numbers = [n for _, _, n in keys if n is not None]
    marks = ", ".join("?" * len(names)), ", ".join("?" * len(numbers))
    for row in db.execute(
        f"SELECT * FROM steps WHERE event_id IN ({marks[0]}) OR n IN ({marks[1]}) ORDER BY at, n",
        [*names, *numbers],
    ):
        steps[_key(row)].append(row)
    requests = _requests(db, [row["request"] for key in keys for row in steps[key]])
    return [_life(key, steps[key], requests) for key in keys]


def _requests(db: sqlite3.Connection, ids: Sequence[str | None]) -> dict[str, dict[str, Any]]:
    names = sorted({name for name in ids if name})
    marks = ", ".join("?" * len(names))
    rows = db.execute(f"SELECT * FROM requests WHERE id IN ({marks})", names)
    return {
        row["id"]: {
            "id": row["id"],
            "at": row["at"],
            "events": row["events"],
            "seconds": row["seconds"],
            "outcome": row["outcome"],
            "message": row["message"],
            "awsRequestId": row["aws_request_id"],
        }
        for row in rows
    }


def _life(key: Key, rows: Sequence[sqlite3.Row], requests: Mapping[str, dict[str, Any]]) -> Life:
    first, last = rows[0], _telling(rows)
    payload = next((row["event"] for row in rows if row["event"] is not None), "{}")
    event = json.loads(payload)
    came = next((row["since"] for row in rows if row["since"] is not None), first["at"])
    names = dict.fromkeys(row["request"] for row in rows if row["request"])
    return {
        "key": json.dumps(key),
        "eventId": first["event_id"] or None,
        "site": first["site"],
        "sessionId": last["session_id"],
        "userId": last["user_id"],
        "eventType": last["event_type"],
        "at": came,
        "state": last["step"],
        "reason": last["reason"],
        "message": last["message"],
        "event": event,
        "steps": [*_accepted(rows, came), *map(_told, rows[-STEPS_OF_A_LIFE:])],
        "requests": [requests[name] for name in names if name in requests],
    }


def _telling(rows: Sequence[sqlite3.Row]) -> sqlite3.Row:
    """Return the step that is the event's state: a dropped duplicate changes nothing."""
    return next((row for row in reversed(rows) if row["step"] != "dropped"), rows[-1])


def _accepted(rows: Sequence[sqlite3.Row], came: float) -> list[dict[str, Any]]:
    """Return the step `accepted` of an event that was stored: it is not recorded by itself."""
    stored = any(row["step"] in ("queued", "sent", "dead") for row in rows)
    return [{"step": "accepted", "at": came}] if stored else []


def _told(row: sqlite3.Row) -> dict[str, Any]:
    step = {"step": row["step"], "at": row["at"]}
    more = {name: row[name] for name in ("reason", "message", "request") if row[name] is not None}
    return step | more
