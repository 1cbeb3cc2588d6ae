"""A state machine of the queue's protocol: whatever happens in whatever order, nothing is lost.

Every record is queued, in hand, dead or acked: exactly one of these, and a model in memory says
which.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from gateway.queues import Delivery, Record, Rejection, Release
from gateway.queues.sqlite import totals
from tests.helpers.queue_contract import SqliteBackend, ids, receive, record

SITES = ["shop", "media", "gone"]
SESSIONS = ["s-1", "s-2", "s-3", "s-4"]
USERS = {"s-2": "ann", "s-3": "ben", "s-4": "ben"}  # s-1 is anonymous
EVENTS = ['{"eventType": "view"}', '{"eventType": "click"}', '{"eventType": "purchase"}']


class QueueMachine(RuleBasedStateMachine):
    """Sites × sessions, web ends and forwarders that come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.backend = SqliteBackend(self.folder)
        self.count = 0
        self.records: dict[str, Record] = {}
        # The model: eventIds by session in order; what became of each; calls it was in; when due.
        self.queued: dict[tuple[str, str], list[str]] = defaultdict(list)
        self.hand: dict[str, Delivery] = {}
        self.attempts: dict[str, int] = defaultdict(int)
        self.acked: set[str] = set()
        self.dead: dict[str, tuple[str, int]] = {}
        self.due: dict[tuple[str, str], float] = {}
        self.delays: dict[tuple[str, str], float] = defaultdict(float)

    @initialize()
    def open(self) -> None:
        self.inbox, self.outbox = self.backend.inbox(), self.backend.outbox()

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @rule(where=st.lists(st.tuples(st.sampled_from(SITES), st.sampled_from(SESSIONS)), max_size=25))
    def put(self, where: list[tuple[str, str]]) -> None:
        records = []
        for site, session in where:
            self.count += 1
            user, event = USERS.get(session), EVENTS[self.count % 3]
            records.append(
                record(site, session, user_id=user, event=event, event_id=f"e-{self.count}")
            )
            self.records[f"e-{self.count}"] = records[-1]
            self.queued[site, session].append(f"e-{self.count}")
        assert list(self.inbox.put(records)) == [True] * len(records)

    @rule(data=st.data())
    def put_a_duplicate(self, data: st.DataObject) -> None:
        known = [(key, name) for key, names in self.queued.items() for name in names]
        if known:
            _, name = data.draw(st.sampled_from(known))
            assert not any(self.inbox.put([self.records[name]]))

    @rule(capacities=st.dictionaries(st.sampled_from(SITES), st.integers(-1, 5)))
    def receive(self, capacities: dict[str, int]) -> None:
        before = {(item.record.site, item.record.session_id) for item in self.hand.values()}
        runs: dict[tuple[str, str], list[Delivery]] = defaultdict(list)
        for item in receive(self.outbox, capacities):
            runs[item.record.site, item.record.session_id].append(item)
        assert not before & runs.keys(), "a session is in hand twice"
        for site in SITES:
            taken = [key for key in runs if key[0] == site]
            assert len(taken) <= max(0, capacities.get(site, 0))
            free = [key for key in self.queued if key[0] == site and self._may_come(key, before)]
            assert len(taken) == min(len(free), max(0, capacities.get(site, 0))), (
                "some wait for nothing"
            )
        for key, run in runs.items():
            assert self._may_come(key, before), "before its time"
            assert ids(run) == self.queued[key][:10], "not in order"
            for item in run:
                assert item.attempts == self.attempts[item.record.event_id]
                self.hand[item.record.event_id] = item

    def _may_come(self, key: tuple[str, str], in_hand: set[tuple[str, str]]) -> bool:
        due = self.due.get(key, 0.0) <= self.backend.clock.now
        return bool(self.queued[key]) and key not in in_hand and due

    @precondition(lambda self: self.hand)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        fate = st.sampled_from(["ack", "reject", "release", "keep"])
        acked, rejected, released = [], [], []
        for name, item in list(self.hand.items()):
            key = item.record.site, item.record.session_id
            match data.draw(fate):
                case "ack":
                    acked.append(item)
                    self.acked.add(name)
                case "reject":
                    attempts = data.draw(st.integers(1, 9))
                    rejected.append(Rejection(item, "refused", name, attempts))
                    self.dead[name] = name, attempts
                case "release":
                    attempts = data.draw(st.integers(0, 3))
                    delay = data.draw(st.sampled_from([0.0, 0.0, 7.0]))
                    released.append(Release(item, attempts, delay))
                    self.attempts[name] += attempts
                    self.delays[key] = max(self.delays[key], delay)
                case "keep":
                    continue
            del self.hand[name]
            if name in self.acked or name in self.dead:
                self.queued[key].remove(name)
        self.outbox.settle(acked, rejected, released)
        self._note_delays()

    def _note_delays(self) -> None:
        """A session's delay counts from when the last of it is settled."""
        in_hand = {(item.record.site, item.record.session_id) for item in self.hand.values()}
        for key in [key for key in self.delays if key not in in_hand]:
            if delay := self.delays.pop(key):
                self.due[key] = self.backend.clock.now + delay

    @rule(seconds=st.sampled_from([1.0, 10.0]))
    def pass_time(self, seconds: float) -> None:
        self.backend.pass_time(seconds)

    @rule()
    def tidy(self) -> None:
        self.outbox.tidy()

    @rule()
    def crash_of_the_forwarder(self) -> None:
        self.outbox = self.backend.outbox()
        self._forget_memory()

    @rule()
    def orderly_restart_of_the_forwarder(self) -> None:
        self.outbox.close()
        self.outbox = self.backend.outbox()
        self._forget_memory()

    def _forget_memory(self) -> None:
        """What is in flight, and until when to wait, is known to the forwarder alone."""
        self.hand.clear()
        self.due.clear()
        self.delays.clear()

    @rule()
    def restart_of_the_web_end(self) -> None:
        self.inbox = self.backend.inbox()

    @invariant()
    def dead_letters_are_exactly_those_rejected(self) -> None:
        letters = {one.record.event_id: (one.message, one.attempts) for one in self.backend.dead()}
        assert letters == self.dead

    @invariant()
    def the_totals_are_those_of_what_was_acked_or_rejected(self) -> None:
        types, users, dead = Counter(), Counter(), Counter()
        for name in self.acked:
            found = self.records[name]
            types[found.site, json.loads(found.event)["eventType"]] += 1
            users[found.site, found.user_id] += found.user_id is not None
        for name in self.dead:
            dead[self.records[name].site] += 1
        for of in (found := totals.read(self.backend.path)):
            own = [count for (site, _), count in users.items() if site == of.site and count]
            assert (of.users, of.users_with_2) == (len(own), sum(count > 1 for count in own))
        by_type = {(of.site, name): counts for of in found for name, counts in of.types.items()}
        assert {key: counts.events for key, counts in by_type.items()} == types
        assert sum(counts.with_user for counts in by_type.values()) == users.total()
        assert {of.site: of.dead["refused"] for of in found if of.dead} == dead

    @invariant()
    def a_new_forwarder_would_find_exactly_what_is_neither_acked_nor_dead(self) -> None:
        found: dict[tuple[str, str], list[str]] = defaultdict(list)
        stranger = SqliteBackend(self.folder).outbox()
        while some := receive(stranger, 100):
            for item in some:
                found[item.record.site, item.record.session_id].append(item.record.event_id)
        stranger.close()
        assert found == {key: names[:10] for key, names in self.queued.items() if names}


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
