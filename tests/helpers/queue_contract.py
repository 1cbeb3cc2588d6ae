"""What every queue promises, as classes of tests that each backend's test module inherits.

A module gives a fixture `backend`; QueueContract holds for all, the other classes for the queues
that can do what they are named after.
"""

from __future__ import annotations

import itertools
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.queues import (
    DeadLetter,
    Delivery,
    Inbox,
    Outbox,
    Record,
    Rejection,
    Release,
    UserForgotten,
)
from gateway.queues.sqlite.dead_letters import SqliteDeadLetters, forget
from gateway.queues.sqlite.inbox import SqliteInbox
from gateway.queues.sqlite.outbox import SqliteOutbox

A_LOT = 1 << 40


class Backend(Protocol):
    """A queue to be tried, and a clock that tests set forward."""

    def inbox(self) -> Inbox:
        """One more web end."""

    def outbox(self) -> Outbox:
        """A new forwarder end: the one before it has crashed."""

    def dead(self) -> list[DeadLetter]:
        """The dead letters."""

    def pass_time(self, seconds: float) -> None:
        """Let delays pass."""


class Clock:
    """Seconds that pass only as tests say, but for a trifle: no two readings are the same."""

    def __init__(self, now: float = 1_763_880_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        self.now += 1e-4
        return self.now


class SqliteBackend:
    """A SQLite file in a folder of its own."""

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        self.path = folder / "queue.db"
        self.clock = clock or Clock()
        self._outboxes: list[SqliteOutbox] = []

    def inbox(self, **limits: Any) -> SqliteInbox:
        limits = {"max_bytes": A_LOT, "min_free_bytes": 0, "dedupe_seconds": 3600, **limits}
        return SqliteInbox(self.path, clock=self.clock, **limits)

    def outbox(self, now: Callable[[], float] | None = None) -> SqliteOutbox:
        now = now or self.clock
        outbox = SqliteOutbox(self.path, dedupe_seconds=3600, clock=self.clock, now=now)
        self._outboxes.append(outbox)  # a crash closes nothing
        return outbox

    def dead_letters(self) -> SqliteDeadLetters:
        return SqliteDeadLetters(self.path)

    def dead(self) -> list[DeadLetter]:
        return list(self.dead_letters().list())

    def forget(self, *users: Any) -> tuple[int, int]:
        return forget(self.path, *users)

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds


def record(
    site: str = "shop",
    session_id: str = "s-1",
    *,
    event_id: str | None = None,
    user_id: str | None = None,
    event: str = '{"eventType": "view"}',
    received: str | None = None,
    received_at: float = 1_763_880_000.0,
) -> Record:
    """A record, with an eventId of its own."""
    event_id = str(uuid4()) if event_id is None else event_id
    return Record(site, session_id, user_id, event_id, event, received, received_at)


def ids(items: Iterable[Delivery | Record]) -> list[str]:
    return [(item.record if isinstance(item, Delivery) else item).event_id for item in items]


def receive(outbox: Outbox, capacity: int | Mapping[str, int] = 100) -> list[Delivery]:
    """Receive once: batches of up to that many sessions of each site, or of the sites named."""
    deliveries: list[Delivery] = []
    for site in outbox.sites():
        of_site = capacity if isinstance(capacity, int) else capacity.get(site, 0)
        deliveries += itertools.chain.from_iterable(outbox.receive(site, of_site))
    return deliveries


def sessions(taken: Iterable[Delivery]) -> set[tuple[str, str]]:
    return {(item.record.site, item.record.session_id) for item in taken}


def receive_all(outbox: Outbox, capacity: int = 100) -> list[Delivery]:
    """Receive until nothing comes any more, settling nothing."""
    received: list[Delivery] = []
    while deliveries := receive(outbox, capacity):
        received += deliveries
    return received


def drain(outbox: Outbox, capacity: int = 100) -> list[Delivery]:
    """Receive and ack until nothing is left."""
    received: list[Delivery] = []
    while deliveries := receive(outbox, capacity):
        outbox.settle(deliveries, [], [])
        received += deliveries
    return received


def released(taken: Sequence[Delivery], attempts: int = 1, delay: float = 0.0) -> list[Release]:
    return [Release(item, attempts, delay) for item in taken]


class HoldsUsers:
    """For queues that keep a list of users; `forget` is the backend's."""

    def test_the_events_of_users_that_are_held_are_refused_until_then(self, backend):
        inbox = backend.inbox()
        inbox.put([record(user_id="ann", event_id="before")])
        until = backend.clock.now + 60
        assert backend.forget("shop", ["ann", "ben"], until) == (1, 0)
        for user_id in ("ann", "ben"):
            with pytest.raises(UserForgotten):
                inbox.put([record(user_id=user_id)])
        users = [("shop", None), ("shop", "cleo"), ("media", "ann")]
        for number, (site, user_id) in enumerate(users):
            inbox.put([record(site, user_id=user_id, event_id=str(number))])
        assert sorted(ids(drain(backend.outbox()))) == ["0", "1", "2"]
        backend.pass_time(61)
        inbox.put([record(user_id="ann", event_id="after")])
        assert ids(drain(backend.outbox())) == ["after"]

    def test_a_put_stores_the_events_of_users_that_are_not_held(self, backend):
        backend.forget("shop", ["ann"], backend.clock.now + 60)
        users = ["ann", "ben", None, "ann"]
        with pytest.raises(UserForgotten):
            backend.inbox().put([record(user_id=user_id) for user_id in users])
        assert {item.record.user_id for item in drain(backend.outbox())} == {"ben", None}

    def test_the_latest_hold_counts_and_none_leaves_it(self, backend):
        now = backend.clock.now
        backend.forget("shop", ["ann"], now + 3600)
        backend.forget("shop", ["ann"])
        with pytest.raises(UserForgotten):
            backend.inbox().put([record(user_id="ann")])
        backend.forget("shop", ["ann"], now)
        assert backend.inbox().put([record(user_id="ann")]) == [True]


class QueueContract:
    """Whatever the queue is built on."""

    def test_records_are_received_as_they_were_put(self, backend):
        event, received = '{"eventType": "view", "properties": "{}"}', '{"eventType":"view"}'
        records = [
            record(user_id="u-17", event=event, received=received, received_at=1.25),
            record(session_id="s-2", user_id=None),
        ]
        backend.inbox().put(records)
        taken = receive_all(backend.outbox())
        assert {item.record for item in taken} == set(records)
        assert [item.attempts for item in taken] == [0, 0]

    @given(text=st.text(min_size=1, max_size=300))
    @settings(
        max_examples=40,
        deadline=None,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.differing_executors,  # one class for each queue
        ],
    )
    def test_text_survives(self, backend, text):
        written = Record("shop", text, text, str(uuid4()), text, text, 1.0)
        backend.inbox().put([written])
        outbox = backend.outbox()
        taken = receive(outbox)
        outbox.settle(taken, [], [])
        assert [item.record for item in taken] == [written]

    def test_a_put_that_fails_stores_nothing_and_harms_no_later_one(self, backend):
        inbox = backend.inbox()
        with pytest.raises(Exception):  # noqa: B017, PT011 - in the queue's own words
            inbox.put([record(event_id="before"), record(event=object()), record()])
        inbox.put([record(event_id="after")])
        assert ids(receive_all(backend.outbox())) == ["after"]

    def test_what_is_put_while_the_forwarder_runs_is_received(self, backend):
        inbox, outbox = backend.inbox(), backend.outbox()
        assert receive(outbox) == []
        for number in range(3):
            inbox.put([record(event_id=str(number))])
            assert ids(drain(outbox)) == [str(number)]

    def test_acknowledged_records_are_never_received_again(self, backend):
        backend.inbox().put([record(), record(session_id="s-2")])
        assert len(drain(backend.outbox())) == 2
        backend.pass_time(86_400)
        assert receive_all(backend.outbox()) == []
        assert backend.dead() == []

    def test_what_is_released_comes_again_after_the_delay_with_its_attempts(self, backend):
        backend.inbox().put([record(event_id="x")])
        outbox = backend.outbox()
        outbox.settle([], [], released(receive_all(outbox), attempts=2, delay=30))
        backend.pass_time(29)
        assert receive(outbox) == []
        backend.pass_time(2)
        [again] = receive_all(outbox)
        assert (again.record.event_id, again.attempts) == ("x", 2)
        outbox.settle([], [], released([again], attempts=1))
        [again] = receive_all(outbox)
        assert again.attempts == 3

    def test_what_is_rejected_is_a_dead_letter_with_the_whole_original(self, backend):
        whole = record(user_id="u-1", event='{"eventType": "' + "x" * 9000 + '"}', received="{}")
        backend.inbox().put([whole])
        outbox = backend.outbox()
        [item] = receive_all(outbox)
        outbox.settle([], [Rejection(item, "refused", "Invalid item ID: é", 3)], [])
        [letter] = backend.dead()
        assert letter.record == whole
        assert (letter.reason, letter.message, letter.attempts) == (
            "refused", "Invalid item ID: é", 3
        )  # fmt: skip
        assert receive_all(backend.outbox()) == []

    def test_a_settlement_may_do_all_three_at_once(self, backend):
        backend.inbox().put([record(event_id=name, session_id=name) for name in "abc"])
        outbox = backend.outbox()
        hand = {item.record.event_id: item for item in receive_all(outbox)}
        outbox.settle([hand["a"]], [Rejection(hand["b"], "refused", "", 1)], released([hand["c"]]))
        assert ids(receive_all(outbox)) == ["c"]
        assert ids(letter.record for letter in backend.dead()) == ["b"]

    def test_in_flight_records_are_not_received_again(self, backend):
        backend.inbox().put([record(session_id=str(number)) for number in range(5)])
        outbox = backend.outbox()
        assert len(receive_all(outbox)) == 5
        assert receive(outbox) == []

    def test_whatever_was_not_settled_is_received_again_after_a_crash(self, backend):
        backend.inbox().put([record(event_id=name, session_id=name) for name in "abcd"])
        outbox = backend.outbox()
        outbox.settle([item for item in receive_all(outbox) if item.record.event_id == "a"], [], [])
        backend.pass_time(86_400)
        assert {"b", "c", "d"} <= set(ids(receive_all(backend.outbox())))
        backend.pass_time(86_400)
        drain(backend.outbox())
        backend.pass_time(86_400)
        assert receive_all(backend.outbox()) == []

    def test_records_of_any_site_wait_known_or_not(self, backend):
        backend.inbox().put([record(site="removed-from-the-file"), record(site="shop")])
        assert {item.record.site for item in receive_all(backend.outbox())} == {
            "removed-from-the-file", "shop"
        }  # fmt: skip


class SettlesForGood:
    """Each record by itself, durably: a new forwarder knows what was settled, and the attempts."""

    def test_exactly_what_was_not_settled_is_received_again_after_a_crash(self, backend):
        backend.inbox().put([record(event_id=name, session_id=name) for name in "abcd"])
        outbox = backend.outbox()
        hand = {item.record.event_id: item for item in receive_all(outbox)}
        outbox.settle(
            [hand["a"]], [Rejection(hand["b"], "refused", "", 1)], released([hand["c"]], attempts=4)
        )
        backend.pass_time(86_400)
        again = {item.record.event_id: item.attempts for item in receive_all(backend.outbox())}
        assert again == {"c": 4, "d": 0}


class DropsDuplicates:
    """By site, session and eventId, in a window."""

    def test_an_event_id_seen_again_in_its_session_is_stored_once(self, backend):
        inbox = backend.inbox()
        assert list(inbox.put([record(event_id=name) for name in "xxy"])) == [True, False, True]
        assert not any(backend.inbox().put([record(event_id="x")]))
        assert ids(drain(backend.outbox())) == ["x", "y"]
        assert not any(inbox.put([record(event_id="x")]))  # delivered meanwhile

    def test_an_event_id_of_another_session_or_site_suppresses_no_event(self, backend):
        inbox = backend.inbox()
        for one in (("shop", "s-1"), ("shop", "s-2"), ("media", "s-1")):
            assert all(inbox.put([record(*one, event_id="x")]))

    def test_the_window_ends(self, backend):
        inbox, outbox = backend.inbox(), backend.outbox()
        inbox.put([record(event_id="x")])
        for _ in range(3):  # windows
            backend.pass_time(3600)
            outbox.tidy()
        assert all(inbox.put([record(event_id="x")]))

    def test_a_put_that_fails_leaves_no_mark(self, backend):
        inbox = backend.inbox()
        with pytest.raises(Exception):  # noqa: B017, PT011 - in the queue's own words
            inbox.put([record(event_id="x"), record(event=object())])
        assert all(inbox.put([record(event_id="x")]))


class OrderInSessions:
    """A session's records come in the order in which they were put, ten at most at a time."""

    def test_a_session_keeps_its_order_across_puts_releases_and_crashes(self, backend):
        inbox, names = backend.inbox(), [str(number) for number in range(35)]
        for name in names:
            inbox.put([record(event_id=name), record(session_id="other")])
        outbox = backend.outbox()
        outbox.settle([], [], released(receive(outbox), delay=5))
        backend.pass_time(6)
        receive(outbox)
        taken = drain(backend.outbox())
        assert ids(item for item in taken if item.record.session_id == "s-1") == names

    def test_a_backlog_of_a_hundred_events_comes_in_tens(self, backend):
        backend.inbox().put([record() for _ in range(100)])
        outbox, sizes = backend.outbox(), []
        while taken := receive(outbox):
            outbox.settle(taken, [], [])
            sizes.append(len(taken))
        assert sizes == [10] * 10

    def test_the_oldest_session_comes_first(self, backend):
        inbox = backend.inbox()
        for name in "cab":
            inbox.put([record(session_id=name)])
        assert [t.record.session_id for t in receive_all(backend.outbox(), 1)] == list("cab")


class OneBatchOfASession:
    """Never twice at once, so that no two calls of a session can be in flight."""

    def test_a_session_is_not_received_again_before_all_of_it_is_settled(self, backend):
        inbox, outbox = backend.inbox(), backend.outbox()
        inbox.put([record() for _ in range(25)])
        first = receive(outbox)
        assert len(first) == 10
        inbox.put([record()])
        assert receive(outbox) == []
        outbox.settle(first[:9], [], [])
        assert receive(outbox) == []
        outbox.settle(first[9:], [], [])
        assert len(receive(outbox)) == 10

    def test_the_longest_delay_of_a_sessions_records_counts(self, backend):
        backend.inbox().put([record() for _ in range(3)])
        outbox = backend.outbox()
        first, *rest = receive(outbox)
        outbox.settle([], [], [Release(first, 1, 60.0), *released(rest)])
        backend.pass_time(59)
        assert receive(outbox) == []
        backend.pass_time(2)
        assert len(receive(outbox)) == 3

    def test_a_released_record_holds_up_the_rest_of_its_session_alone(self, backend):
        inbox, outbox = backend.inbox(), backend.outbox()
        inbox.put([record(event_id=str(number)) for number in range(12)])
        taken = receive(outbox)
        outbox.settle(taken[1:], [], released(taken[:1], delay=60))
        inbox.put([record(session_id="s-2", event_id="other")])
        assert ids(drain(outbox)) == ["other"]
        backend.pass_time(61)
        assert ids(drain(outbox)) == ["0", "10", "11"]


class SitesApart:
    """Each site is received up to its capacity, and none hides another."""

    def test_a_site_without_capacity_is_skipped_and_keeps_its_records(self, backend):
        backend.inbox().put([record("shop"), record("media")])
        outbox = backend.outbox()
        assert sessions(receive(outbox, {"media": 1})) == {("media", "s-1")}
        assert sessions(receive_all(outbox, 1)) == {("shop", "s-1")}

    @pytest.mark.parametrize("capacity", [-3, 0])
    def test_without_capacity_nothing_is_received(self, backend, capacity):
        backend.inbox().put([record()])
        assert receive(backend.outbox(), capacity) == []

    def test_capacity_counts_sessions(self, backend):
        backend.inbox().put([record(session_id=str(number)) for number in range(30)])
        outbox = backend.outbox()
        assert len(sessions(receive(outbox, 7))) == 7
        assert len(sessions(receive(outbox, 7))) == 7

    def test_newest_is_the_session_with_the_latest_record_whatever_was_released_since(
        self, backend
    ):
        inbox, outbox = backend.inbox(), backend.outbox()
        for number in range(3):
            inbox.put([record(session_id=f"s-{number}", received_at=backend.clock())])
        outbox.settle([], [], released(receive(outbox, 1)))  # s-0 waits again, behind the others
        outbox.sites()
        [[delivery]] = outbox.receive("shop", 1, newest=True)
        assert delivery.record.session_id == "s-2"

    def test_a_sites_backlog_does_not_hide_another_site(self, backend):
        inbox = backend.inbox()
        inbox.put([record("big", f"s-{number}") for number in range(3000)])
        inbox.put([record("small")])
        outbox = backend.outbox()
        assert ("small", "s-1") in sessions(receive(outbox, 1))

    def test_something_is_received_while_something_waits(self, backend):
        records = [record(session_id=f"s-{number % 1200}") for number in range(2400)]
        backend.inbox().put(records)
        assert len(drain(backend.outbox(), 16)) == 2400

    def test_a_sessions_backlog_does_not_hide_another_session(self, backend):
        inbox = backend.inbox()
        inbox.put([record() for _ in range(3000)])
        inbox.put([record(session_id="late")])
        outbox, seen = backend.outbox(), Counter()
        while ("shop", "late") not in seen:
            taken = receive(outbox)
            assert taken, "the late session is never received"
            seen.update(sessions(taken))
            outbox.settle(taken, [], [])
        assert seen["shop", "s-1"] < 300  # it did not wait for the whole backlog


class BoundedMemory:
    """What is known of the backlog does not grow with it."""

    SESSIONS, EVENT = 20_000, '{"eventType": "' + "x" * 1000 + '"}'

    def test_twenty_thousand_sessions_drain_in_little_memory(self, backend):
        inbox = backend.inbox()
        for start in range(0, self.SESSIONS, 2000):
            some = range(start, start + 2000)
            inbox.put([record(session_id=f"s-{n}", event=self.EVENT) for n in some])
        outbox, count = backend.outbox(), 0
        tracemalloc.start()
        try:
            while taken := receive(outbox):
                outbox.settle(taken, [], [])
                count += len(taken)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert count == self.SESSIONS
        assert peak < 8_000_000, peak  # the backlog is 20 MB
