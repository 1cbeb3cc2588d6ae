"""The totals of deliveries in a queue's file: counted once, capped, and carried over."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.queues import Rejection
from gateway.queues.deliveries import EventCounts, SiteDeliveries
from gateway.queues.sqlite import totals
from gateway.queues.sqlite.dead_letters import forget
from tests.helpers.queue_contract import SqliteBackend, drain, receive_all, record

VIEW = json.dumps({"eventType": "view", "itemId": "i-1"})
PURCHASE = json.dumps(
    {
        "eventType": "purchase",
        "itemId": "i-1",
        "recommendationId": "r-1",
        "metricAttribution": {"eventAttributionSource": "home"},
    }
)


@pytest.fixture
def backend(tmp_path: Path) -> SqliteBackend:
    return SqliteBackend(tmp_path)


def deliver(backend: SqliteBackend, *users: str | None, event: str = VIEW) -> None:
    """Deliver an event of each user."""
    records = [record(user_id=user, session_id=str(user), event=event) for user in users]
    backend.inbox().put(records)
    drain(backend.outbox())


def shop(backend: SqliteBackend) -> SiteDeliveries:
    [found] = totals.read(backend.path)
    assert found.site == "shop"
    return found


def test_what_events_carry_is_counted_by_type(backend: SqliteBackend) -> None:
    deliver(backend, "ann", "ann", "ben", None)
    first = shop(backend)
    backend.pass_time(60)
    deliver(backend, "ann", None, event=PURCHASE)
    found = shop(backend)
    assert found.types == {
        "view": EventCounts(4, 4, 3),
        "purchase": EventCounts(2, 2, 1, 2, 2, 2),
    }
    assert (found.users, found.users_with_2, found.is_capped) == (2, 1, False)
    assert found.since == first.since


def test_what_is_not_delivered_is_not_counted_and_what_is_replayed_is(
    backend: SqliteBackend,
) -> None:
    backend.inbox().put([record(user_id="ann", event_id="x"), record(session_id="s-2")])
    outbox = backend.outbox()
    outbox.settle([], [Rejection(item, "expired", "", 1) for item in receive_all(outbox)], [])
    found = shop(backend)
    assert (found.types, found.users, found.dead) == ({}, 0, {"expired": 2})
    [letter] = [letter for letter in backend.dead() if letter.record.event_id == "x"]
    backend.dead_letters().replay([(letter, letter.record)])
    drain(outbox)
    found = shop(backend)
    assert (found.types["view"].events, found.users) == (1, 1)


def test_an_event_that_a_dead_forwarder_delivered_too_is_counted_once(
    backend: SqliteBackend,
) -> None:
    backend.inbox().put([record(user_id="ann")])
    first, second = backend.outbox(), backend.outbox()
    deliveries = receive_all(first), receive_all(second)
    for outbox, received in zip((first, second), deliveries, strict=True):
        outbox.settle(received, [], [])
    assert shop(backend).types["view"].events == 1
    assert shop(backend).users_with_2 == 0


def test_users_are_exact_up_to_the_limit_and_said_to_be_more(
    backend: SqliteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(totals, "MOST_USERS", 3)
    deliver(backend, "ann", "ben", "cleo")
    assert (shop(backend).users, shop(backend).is_capped) == (3, False)
    deliver(backend, "cleo", "dan", "ann")
    found = shop(backend)
    assert (found.users, found.users_with_2, found.is_capped) == (3, 2, True)
    deliver(backend, "dan")
    assert shop(backend).types["view"].events == 7


def test_event_types_past_the_limit_are_counted_together(
    backend: SqliteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(totals, "MOST_TYPES", 3)
    for name in "abcdea":
        deliver(backend, None, event=json.dumps({"eventType": name}))
    assert {name: counts.events for name, counts in shop(backend).types.items()} == {
        "a": 2, "b": 1, "c": 1, totals.OTHER_TYPES: 2,
    }  # fmt: skip


def test_users_who_are_forgotten_are_counted_no_more(backend: SqliteBackend) -> None:
    deliver(backend, "ann", "ann", "ben", "cleo")
    forget(backend.path, "shop", ["ann", "ben", "nobody"])
    found = shop(backend)
    assert (found.users, found.users_with_2) == (1, 0)
    deliver(backend, "ann", "cleo")
    assert (shop(backend).users, shop(backend).users_with_2) == (2, 1)


def test_a_repair_keeps_the_totals(backend: SqliteBackend) -> None:
    backend.inbox().put([record(event=VIEW + " " * 1000) for _ in range(300)])
    drain(backend.outbox())
    deliver(backend, "ann", "ann", "ben", event=PURCHASE)
    backend.inbox().put([record(event=VIEW + " " * 1000) for _ in range(300)])
    before = shop(backend)
    outbox = backend.outbox()
    outbox._database.require_truncated_wal("in use")
    outbox.close()
    content = bytearray(backend.path.read_bytes())
    content[-2 * 4096 :] = b"\xff" * 2 * 4096
    backend.path.write_bytes(content)
    assert outbox.repair() is not None
    assert shop(backend) == before
    deliver(backend, "ann", "ben")
    assert (shop(backend).users, shop(backend).users_with_2) == (2, 2)


def test_values_that_damage_has_altered_are_not_carried_over(backend: SqliteBackend) -> None:
    deliver(backend, "ann", event=PURCHASE)
    source = backend.path.with_name("damaged.db")
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(backend.path)) as db:
        query = "SELECT sql FROM sqlite_schema WHERE name LIKE 'd%_%'"
        for (statement,) in db.execute(query).fetchall():
            old.execute(statement)
        old.execute("PRAGMA ignore_check_constraints = ON")
        old.execute("INSERT INTO delivered_sites VALUES ('media', 'x', 1, 1, 0)")
        old.execute("INSERT INTO delivered_types VALUES ('media', 'view', 'x', 0, 0, 0, 0, 0)")
        old.execute("INSERT INTO dead_reasons VALUES ('media', 'expired', x'00')")
        old.execute("INSERT INTO delivered_sites VALUES ('music', 1.5, 2, 1, 0)")
        totals.carry_over(old, db)
        db.commit()
    assert [found.site for found in totals.read(backend.path)] == ["music", "shop"]
