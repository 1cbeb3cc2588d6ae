"""The forwarder under every fault: time and AWS are pretended, the queue is real."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.forwarder import forwarder as module
from gateway.forwarder.batching import Call, CallFailed, CallRejected, Misconfigured, Retry
from gateway.forwarder.forwarder import Forwarder
from gateway.queues import DeadLetter, ForwarderStatus, Record
from tests.helpers.forwarders import FakeClock, forwarder_of
from tests.helpers.queue_contract import SqliteBackend, drain, ids, record
from tests.helpers.support import ROOT, eventually

A_DAY = 86_400.0


class Aws:
    """PutEvents as tests want it: `rule(call)` raises what befalls a call."""

    def __init__(self) -> None:
        self.rule: Callable[[Call], object] = lambda _call: None
        self.calls: list[Call] = []
        self.accepted: list[Record] = []
        self.at_once: Counter[tuple[str, str]] = Counter()
        self.most_at_once = 0
        self._lock = threading.Lock()

    def send(self, call: Call) -> str | None:
        session = call.site, call.session_id
        with self._lock:
            self.calls.append(call)
            self.at_once[session] += 1
            self.most_at_once = max(self.most_at_once, self.at_once[session])
        try:
            self.rule(call)
            with self._lock:
                self.accepted += [item.record for item in call.deliveries]
            return None
        finally:
            with self._lock:
                self.at_once[session] -= 1

    def by_session(self) -> dict[tuple[str, str], list[str]]:
        found = defaultdict(list)
        for one in self.accepted:
            found[one.site, one.session_id].append(one.event_id)
        return dict(found)


class World:
    """A queue, its forwarder, a clock and an AWS."""

    def __init__(self, folder: Path) -> None:
        self.backend = SqliteBackend(folder)
        self.clock = self.backend.clock
        self.inbox = self.backend.inbox()
        self.aws = Aws()
        self._folder = folder
        self._forwarders: list[Forwarder] = []
        self.restart()

    def restart(
        self, now: Callable[[], float] | None = None, *, calls_per_second: float | None = None
    ) -> None:
        """Start a new forwarder; the one before it is gone."""
        clock = FakeClock(self.clock, now or self.clock)
        self.forwarder = forwarder_of(
            self.backend.outbox(clock.time), self.aws, self._folder, clock, calls_per_second
        )
        self._forwarders.append(self.forwarder)

    def put(self, *names: str, site: str = "shop", session: str = "s-1", **more: Any) -> None:
        """Put events by these eventIds; they come in now."""
        more = {"received_at": self.clock.now, **more}
        self.inbox.put([record(site, session, event_id=name, **more) for name in names])

    def put_each(self, *names: str, site: str = "shop") -> None:
        """Put events that each have a session of their own."""
        now = self.clock.now
        self.inbox.put([record(site, f"of-{n}", event_id=n, received_at=now) for n in names])

    def steps(self, count: int, seconds: float = 1.0) -> None:
        """Let so many seconds pass in steps, each with what it brings settled."""
        for _ in range(count):
            self.forwarder.step()
            self.backend.pass_time(seconds)

    def until(self, done: Callable[[], object], what: str, seconds: float = 1.0) -> int:
        """Steps until something is so, at most a few hundred; how many."""
        for count in range(600):
            if done():
                return count
            self.steps(1, seconds)
        raise AssertionError(f"not within {600 * seconds} s: {what}")

    def until_delivered(self, *names: str) -> int:
        return self.until(lambda: set(names) <= set(self.delivered()), f"{names} are delivered")

    def delivered(self) -> list[str]:
        return ids(self.aws.accepted)

    def dead(self) -> dict[str, DeadLetter]:
        return {letter.record.event_id: letter for letter in self.backend.dead()}

    def left(self) -> list[str]:
        """What a forwarder started now would find; it ends this one."""
        self.forwarder.stop()
        self.forwarder.run()
        return ids(drain(self.backend.outbox()))

    def close(self) -> None:
        for one in self._forwarders:
            one.stop()
            one.run()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(module, "LINGER", 0.002)  # real time, in which nothing happens
    world = World(tmp_path)
    yield world
    world.aws.rule = lambda _call: None
    world.close()


def refusing(*bad: str) -> Callable[[Call], None]:
    """AWS refuses a call for any of these events, and does not say for which."""

    def rule(call: Call) -> None:
        if set(bad) & set(ids(call.deliveries)):
            raise CallRejected("refused", "Invalid item ID")

    return rule


def failing(failure: Exception, *sites: str) -> Callable[[Call], None]:
    """Calls of these sites fail, or of all."""

    def rule(call: Call) -> None:
        if not sites or call.site in sites:
            raise failure

    return rule


def names(count: int, prefix: str = "e") -> list[str]:
    return [f"{prefix}-{number}" for number in range(count)]


UNREACHABLE = Retry("unreachable", "Could not connect to the endpoint URL")
THROTTLED = Retry("throttled", "Rate exceeded")
DENIED = Misconfigured("access_denied", "User is not authorized")
TRACKING_ID = Misconfigured("tracking_id", "Invalid tracking ID")


# --- the good days ---


def test_a_backlog_of_a_hundred_events_is_ten_calls_in_order(world):
    world.put(*names(100))
    world.until_delivered(*names(100))
    assert world.delivered() == names(100)
    assert [len(call.deliveries) for call in world.aws.calls] == [10] * 10
    assert world.left() == []


def test_a_visitor_who_logs_in_makes_a_new_call(world):
    world.put("a", "b")
    world.put("c", "d", user_id="u-1")
    world.until_delivered(*"abcd")
    assert [(call.user_id, ids(call.deliveries)) for call in world.aws.calls] == [
        (None, ["a", "b"]), ("u-1", ["c", "d"])
    ]  # fmt: skip


def test_a_session_is_never_in_two_calls_at_once_and_sessions_are(world):
    meeting = threading.Barrier(4)
    world.put("first", session="before")
    world.until_delivered("first")
    for session in range(4):
        world.put(*names(20, f"s{session}"), session=f"s-{session}")
    world.aws.rule = lambda _call: meeting.wait(10)
    world.until(lambda: len(world.delivered()) == 81, "all is delivered", 0.01)
    assert world.aws.most_at_once == 1
    for session in range(4):
        assert world.aws.by_session()["shop", f"s-{session}"] == names(20, f"s{session}")


def test_once_delivers_all_that_is_there(world):
    world.put_each(*names(700))
    world.forwarder.run_once()
    assert len(world.delivered()) == 700
    assert world.left() == []


def test_once_gives_up_a_site_that_keeps_failing_and_delivers_the_rest(world):
    world.aws.rule = failing(UNREACHABLE, "down")
    world.put("stays", site="down")
    world.put(*names(30), site="shop")
    ticking = threading.Event()

    def tick() -> None:
        while not ticking.wait(0.001):
            world.backend.pass_time(5)

    ticker = threading.Thread(target=tick)
    ticker.start()
    world.forwarder.run_once()
    ticking.set()
    ticker.join()
    assert world.delivered() == names(30)
    assert world.left() == ["stays"]


def test_once_rejects_a_bad_event_that_comes_last_where_its_site_accepts_others(world):
    bad = names(10, "bad")
    world.aws.rule = refusing(*bad, "alone")
    world.put("good", session="first")
    world.put(*bad, "after", session="second")
    world.put("alone", site="media")
    world.forwarder.run_once()
    assert world.delivered() == ["good", "after"]
    assert list(world.dead()) == bad
    assert world.left() == ["alone"]  # it may be the site's fault


def test_once_rejects_nothing_of_a_site_that_has_come_to_refuse_every_event(world, monkeypatch):
    monkeypatch.setattr("gateway.forwarder.throttles.MOST_FAILURES", 0)
    bad = names(25, "bad")
    world.aws.rule = refusing(*bad)
    world.put_each("good", *bad)
    world.forwarder.run_once()
    assert world.delivered() == ["good"]
    assert world.dead() == {}
    assert sorted(world.left()) == sorted(bad)


def test_it_says_how_it_is_going(world):
    world.aws.rule = failing(DENIED, "media")
    world.put("a", site="media")
    world.put("b", site="shop")
    world.until_delivered("b")
    world.until(lambda: world.forwarder.status.troubles, "it tells of the trouble")
    assert dict(world.forwarder.status.troubles) == {
        "media": "access_denied: User is not authorized"
    }
    world.aws.rule = lambda _call: None
    world.until_delivered("a")
    world.until(lambda: not world.forwarder.status.troubles, "it tells that all is well")


# --- refused events ---


@pytest.mark.parametrize("position", range(10))
def test_one_bad_event_is_rejected_and_its_neighbours_are_delivered_once_in_order(world, position):
    bad = f"e-{position}"
    world.aws.rule = refusing(bad)
    world.put(*names(10))
    good = [name for name in names(10) if name != bad]
    world.until(world.dead, "the bad one is a dead letter")
    assert world.delivered() == good
    letter = world.dead()[bad]
    assert (letter.reason, letter.message) == ("refused", "Invalid item ID")
    calls_with_it = [call for call in world.aws.calls if bad in ids(call.deliveries)]
    assert letter.attempts == len(calls_with_it) <= 5
    assert len(world.aws.calls) <= 9
    assert list(world.dead()) == [bad]
    assert world.left() == []


def test_a_class_of_bad_events_is_rejected_and_the_others_are_delivered_once(world):
    bad = [f"{session}-{number}" for session in range(8) for number in (1, 4, 5)]
    world.aws.rule = refusing(*bad)
    for session in range(8):
        world.put(*names(9, str(session)), session=f"s-{session}")
    world.until(lambda: len(world.dead()) == 24, "the bad ones are dead letters")
    assert set(world.dead()) == set(bad)
    for session in range(8):
        good = [name for name in names(9, str(session)) if name not in bad]
        assert world.aws.by_session()["shop", f"s-{session}"] == good


def test_a_bad_event_alone_in_its_session_is_rejected_once_others_are_accepted(world):
    world.aws.rule = refusing("bad")
    world.put("bad", session="alone")
    world.steps(10)
    assert world.dead() == {}  # nobody else was heard: it may be the site's fault
    world.put("good", session="other")
    world.until_delivered("good")
    world.until(world.dead, "the bad one is a dead letter")
    assert world.dead()["bad"].attempts == len(
        [call for call in world.aws.calls if "bad" in ids(call.deliveries)]
    )


def test_a_site_whose_every_event_is_refused_waits_and_nothing_is_rejected(world):
    world.aws.rule = failing(CallRejected("refused", "No such thing"), "shop")
    for session in range(20):
        world.put(*names(5, str(session)), session=f"s-{session}")
    world.put("other", site="media")
    world.steps(300)
    assert world.dead() == {}
    assert world.delivered() == ["other"]
    assert "all_refused" in world.forwarder.status.troubles["shop"]
    late = len([call for call in world.aws.calls if call.site == "shop"])
    world.steps(120)
    assert len([call for call in world.aws.calls if call.site == "shop"]) - late < 200
    world.aws.rule = lambda _call: None  # somebody has mended it
    world.until(lambda: len(world.delivered()) == 101, "all is delivered")
    for session in range(20):
        assert sorted(world.aws.by_session()["shop", f"s-{session}"]) == names(5, str(session))
    assert world.dead() == {}


def test_a_replay_of_many_refused_events_does_not_starve_new_ones(world):
    """200 sessions of ten events that are refused, and what a visitor does after them."""
    world.aws.rule = refusing(*names(2000, "refused"))
    for session in range(200):
        world.put(*names(2000, "refused")[session * 10 :][:10], session=f"replayed-{session}")
    world.put("new", session="visitor")
    world.until_delivered("new")
    # Two sessions are tried event by event before the site is suspected; the next is the newest.
    assert len({call.session_id for call in world.aws.calls}) <= 3
    world.put("newer", session="another visitor")
    world.until_delivered("newer")


def test_an_event_refused_with_an_unencodable_message_is_rejected_and_delays_no_other(world):
    def rule(call: Call) -> None:
        if "bad" in ids(call.deliveries):
            raise CallRejected("refused", "Value \ud83d is refused")

    world.aws.rule = rule
    world.put("bad", *names(3))
    world.put("other", site="media")
    world.until_delivered("other", *names(3))
    world.until(world.dead, "the bad one is a dead letter")
    assert world.dead()["bad"].message == "Value ? is refused"


def test_a_bad_event_does_not_stall_its_session(world):
    world.aws.rule = refusing("bad")
    world.put("bad", *names(9))
    world.until_delivered(*names(9))
    world.put("later")
    assert world.until_delivered("later") <= 10


# --- faults that pass, and faults that somebody must mend ---


@pytest.mark.parametrize("failure", [THROTTLED, UNREACHABLE, DENIED, TRACKING_ID])
def test_what_fails_is_kept_and_delivered_in_order_once_it_can_be(world, failure):
    world.aws.rule = failing(failure)
    for session in range(3):
        world.put(*names(15, str(session)), session=f"s-{session}")
    world.steps(200)
    assert world.delivered() == []
    assert world.dead() == {}
    world.aws.rule = lambda _call: None
    world.until(lambda: len(world.delivered()) == 45, "all is delivered")
    for session in range(3):
        assert world.aws.by_session()["shop", f"s-{session}"] == names(15, str(session))


@pytest.mark.parametrize("failure", [THROTTLED, UNREACHABLE, DENIED])
def test_a_failing_site_is_retried_with_growing_delays(world, failure):
    world.aws.rule = failing(failure)
    world.put_each(*names(100))
    world.steps(300)
    early = len(world.aws.calls)
    world.steps(300)
    assert early <= 40
    assert len(world.aws.calls) - early <= 30


def test_retry_after_is_waited_for(world):
    world.aws.rule = failing(Retry("throttled", "Rate exceeded", retry_after=20.0))
    world.put("x")
    world.until(lambda: world.aws.calls, "it is tried")
    world.steps(19)
    assert len(world.aws.calls) == 1
    world.until(lambda: len(world.aws.calls) == 2, "it is tried again")


@pytest.mark.parametrize("failure", [THROTTLED, DENIED, ValueError("unforeseen")])
def test_a_failing_site_delays_no_other(world, failure):
    world.aws.rule = failing(failure, "media")
    world.put_each(*names(50, "m"), site="media")
    world.put_each(*names(50))
    assert world.until_delivered(*names(50)) <= 60  # seconds; a call may take a step
    assert not [one for one in world.aws.accepted if one.site == "media"]


def test_a_slow_site_delays_no_other(world):
    gate = threading.Event()
    world.put("warm", site="media")
    world.until_delivered("warm")
    world.aws.rule = lambda call: call.site == "media" and gate.wait(30)
    world.put_each(*names(50, "m"), site="media")
    world.put_each(*names(50))
    assert world.until_delivered(*names(50)) <= 60  # seconds; a call may take a step
    assert len(world.aws.accepted) == 51
    gate.set()
    world.until_delivered(*names(50, "m"))


def test_what_was_delivered_before_the_failure_is_not_sent_again(world):
    world.put("warm")
    world.until_delivered("warm")
    world.put(*"ab")
    world.put(*"cd", user_id="u-1")
    failures = [UNREACHABLE]

    def rule(call: Call) -> None:
        if call.user_id and failures:
            raise failures.pop()

    world.aws.rule = rule
    world.until_delivered(*"abcd")
    assert world.delivered() == ["warm", *"abcd"]


def test_an_ambiguous_call_is_sent_again_with_the_same_event_ids(world):
    recorded = []

    def rule(call: Call) -> None:
        recorded.extend(item.record for item in call.deliveries)
        if len(recorded) == 3:
            raise Retry("unreachable", "Read timeout")

    world.aws.rule = rule
    world.put(*"abc")
    world.until_delivered(*"abc")
    assert recorded[:3] == recorded[3:]


@pytest.mark.parametrize("error", [ValueError("unforeseen"), MemoryError(), KeyError("x")])
def test_an_unforeseen_error_loses_nothing(world, error, caplog):
    world.aws.rule = failing(error)
    world.put(*names(25))
    world.steps(20)
    assert world.delivered() == []
    assert repr(error) in caplog.text
    world.aws.rule = lambda _call: None
    world.until_delivered(*names(25))
    assert world.delivered() == names(25)
    assert world.dead() == {}


def test_what_is_too_old_is_rejected_and_what_is_not_is_delivered(world):
    world.put("old", received_at=world.clock.now - 14 * A_DAY - 5, event='{"eventType": "view"}')
    world.put("young", received_at=world.clock.now - 14 * A_DAY + 60)
    world.put("old-too", session="s-2", received_at=world.clock.now - 30 * A_DAY)
    world.until_delivered("young")
    world.until(lambda: len(world.dead()) == 2, "the old ones are dead letters")
    assert world.delivered() == ["young"]
    assert {(one.reason, one.attempts) for one in world.dead().values()} == {("expired", 0)}
    assert world.dead()["old"].record.event == '{"eventType": "view"}'


def test_attempts_are_counted_across_restarts(world):
    world.aws.rule = failing(UNREACHABLE)
    world.put("x", "good")
    world.until(lambda: len(world.aws.calls) == 3, "it has failed three times")
    world.steps(3)
    world.forwarder.stop()
    world.forwarder.run()
    world.restart()
    world.aws.rule = refusing("x")
    world.until(world.dead, "it is a dead letter")
    assert world.dead()["x"].attempts == len(
        [call for call in world.aws.calls if "x" in ids(call.deliveries)]
    )


# --- a long outage ---


@pytest.mark.parametrize("hours", [-1, 1])
def test_setting_the_system_clock_delays_no_site(world: World, hours: int) -> None:
    """By hand, or by NTP: what is measured goes by another clock."""
    wrong = 0.0
    world.restart(now=lambda: world.clock.now + wrong, calls_per_second=100.0)
    world.aws.rule = failing(UNREACHABLE, "b")
    world.put_each("a-1")
    world.put_each("b-1", site="b")
    world.until_delivered("a-1")
    wrong = hours * 3600.0
    world.put_each("a-2")
    world.aws.rule = lambda _call: None
    assert world.until_delivered("a-2") <= 5
    assert world.until_delivered("b-1") <= 60
    assert world.forwarder.status.at == pytest.approx(world.clock.now + wrong, abs=5)


@pytest.mark.parametrize("seconds", [-60, 60])
def test_a_word_from_another_time_is_no_sign_of_life(seconds: int) -> None:
    assert ForwarderStatus(1_763_880_000.0 + seconds, 0, {}).is_stale(1_763_880_000.0)


def test_ten_minutes_of_outage_end_within_ten_minutes_and_are_told_once_a_minute(world, caplog):
    caplog.set_level(logging.INFO)
    world.aws.rule = failing(UNREACHABLE)
    for second in range(600):
        world.put(f"e-{second}", session=f"s-{second % 20}")
        world.steps(1)
    assert world.delivered() == []
    assert 1 <= len(caplog.records) <= 11
    failed = len(world.aws.calls)
    assert failed <= 60
    world.aws.rule = lambda _call: None
    recovered = world.until(lambda: len(world.delivered()) == 600, "all is delivered")
    assert recovered <= 600
    for session in range(20):
        wanted = [f"e-{second}" for second in range(600) if second % 20 == session]
        assert world.aws.by_session()["shop", f"s-{session}"] == wanted
    assert len(world.aws.calls) - failed <= 60 + 20  # in full calls
    assert len(caplog.records) <= 11
    assert world.left() == []


@pytest.mark.parametrize("failure", [UNREACHABLE, ValueError("unforeseen")])
def test_failures_of_concurrent_calls_are_logged_in_one_line(world, caplog, failure):
    world.put("warm")
    world.until_delivered("warm")
    world.aws.rule = failing(failure)
    world.put_each(*names(16))
    world.until(lambda: len(world.aws.calls) == 17, "all sixteen have failed", 0.0)
    world.steps(3, 0.0)
    [line] = caplog.records
    assert bool(line.exc_info) is isinstance(failure, ValueError)  # a traceback helps only there


# --- the end ---


class Running:
    """`run()` in a thread of its own, and an AWS whose calls wait for a word."""

    def __init__(self, world: World) -> None:
        self.entered, self.gate = threading.Semaphore(0), threading.Event()
        world.aws.rule = self._hold
        self.thread = threading.Thread(target=world.forwarder.run, daemon=True)

    def _hold(self, _call: Call) -> None:
        self.entered.release()
        self.gate.wait(30)

    def start(self) -> None:
        self.thread.start()
        assert self.entered.acquire(timeout=30)

    def join(self) -> None:
        self.thread.join(30)
        assert not self.thread.is_alive()


def test_stop_finishes_what_is_in_flight_and_leaves_the_rest(world):
    world.put(*names(30))
    running = Running(world)
    running.start()
    world.forwarder.stop()
    running.gate.set()
    running.join()
    assert world.delivered() == names(10)
    assert world.left() == names(30)[10:]


def test_stop_begins_no_further_call_of_a_session_that_is_under_way(world):
    world.put(*"ab")
    world.put(*"cd", user_id="u-1")
    running = Running(world)
    running.start()
    world.forwarder.stop()
    running.gate.set()
    running.join()
    assert [ids(call.deliveries) for call in world.aws.calls] == [["a", "b"]]
    assert world.left() == ["c", "d"]


def test_stop_waits_no_longer_than_the_grace_for_a_call_that_hangs(world, monkeypatch):
    monkeypatch.setattr(module, "GRACE", 0.05)
    world.put(*names(12))
    running = Running(world)
    running.start()
    world.forwarder.stop()
    running.join()
    assert ids(drain(world.backend.outbox())) == names(12)
    running.gate.set()


def test_a_reload_clears_the_failure_of_a_site_without_queued_events(world):
    world.aws.rule = failing(Misconfigured("access_denied", "no"))
    world.put("x")
    world.until(
        lambda: world.forwarder.status and world.forwarder.status.troubles, "it is in trouble"
    )
    world.steps(1, 15 * A_DAY)
    world.until(world.dead, "what waited is too old")
    world.forwarder.reload()
    world.steps(2)
    assert world.forwarder.status.troubles == {}


def test_stop_waits_for_no_turn_at_a_sites_rate(world):
    world.restart(calls_per_second=1 / A_DAY)
    world.put("a")
    world.put("b", user_id="u-1")  # a call of its own
    running = threading.Thread(target=world.forwarder.run)
    running.start()
    eventually(lambda: world.delivered() == ["a"], "the first call is made")
    world.forwarder.stop()
    running.join(module.GRACE / 2)
    assert not running.is_alive()
    assert world.left() == ["b"]


def test_stop_before_the_start_takes_nothing(world):
    world.put("x")
    world.forwarder.stop()
    world.forwarder.run()
    assert world.aws.calls == []


def test_what_was_in_flight_at_a_crash_is_sent_again_oldest_first(world):
    world.put(*names(30))
    gate = threading.Event()
    world.aws.rule = lambda _call: gate.wait(30)
    world.until(lambda: world.aws.calls, "a call is in flight")
    abandoned = world.forwarder
    world.restart()
    world.aws.rule = lambda _call: None
    world.until_delivered(*names(30))
    assert world.delivered() == names(30)
    gate.set()
    eventually(lambda: len(world.aws.accepted) == 40, "the lost call's answer comes too late")
    abandoned.stop()


# --- trouble with the queue ---


def _make_unreadable(path: Path) -> None:
    path.unlink()
    path.mkdir()


def test_a_failing_queue_is_survived_and_logged_once_a_minute(world, caplog):
    world.put(*names(5))
    world.until_delivered(*names(5))
    world.steps(2)
    _make_unreadable(world.backend.path)
    for path in world.backend.path.parent.glob("queue.db-*"):
        path.unlink()
    caplog.clear()
    world.steps(300)
    assert 1 <= len(caplog.records) <= 6
    assert "cannot_open" in caplog.text
    world.backend.path.rmdir()
    world.put("after")
    world.until_delivered("after")


def test_an_outcome_that_cannot_be_settled_is_settled_later_and_not_sent_again(world, tmp_path):
    world.put("x", session="s-1")
    world.put("y", session="s-2")
    aside, gone = tmp_path / "aside", []

    def rule(_call: Call) -> None:
        if not gone:  # while the call is under way the file becomes unusable
            gone.append(True)
            shutil.copytree(
                world.backend.path.parent, aside, ignore=shutil.ignore_patterns("aside")
            )
            world.backend.path.unlink()
            world.backend.path.mkdir()

    world.aws.rule = rule
    world.steps(20)
    assert world.delivered() == ["x"]
    world.backend.path.rmdir()
    for name in ("queue.db", "queue.db-wal"):
        shutil.copy(aside / name, tmp_path / name)
    world.until_delivered("y")
    world.steps(3)
    assert world.delivered() == ["x", "y"]
    assert world.left() == []


def test_a_file_that_is_removed_under_the_forwarder_is_followed(world):
    world.put(*names(30))
    world.until_delivered(*names(30))
    world.steps(2)
    for path in world.backend.path.parent.glob("queue.db*"):
        path.unlink()
    world.put("new", session="s-1")
    world.until_delivered("new")


def test_everything_at_once_loses_nothing(world):
    """Faults by turns, restarts between: each event is delivered, or dead for its own fault."""
    faults: list[Exception | None] = [
        UNREACHABLE, None, THROTTLED, CallRejected("refused", "?"), None, ValueError("x"), DENIED,
        None,
    ]  # fmt: skip
    everything, bad = [], {f"{n}-3" for n in range(0, 40, 7)}
    for turn in range(40):
        failure = faults[turn % len(faults)]
        spoilt = refusing(*bad)

        def rule(call: Call, failure: Any = failure, spoilt: Any = spoilt) -> None:
            if isinstance(failure, CallFailed | ValueError) and len(call.session_id) % 2:
                raise failure
            spoilt(call)

        world.aws.rule = rule
        batch = names(6, str(turn))
        everything += batch
        world.put(*batch, site=("shop", "media")[turn % 2], session="s" * (turn % 5 + 1))
        world.steps(6)
        if turn % 9 == 8:
            world.forwarder.stop()
            world.forwarder.run()
            world.restart()
    world.aws.rule = refusing(*bad)
    world.until(
        lambda: set(world.delivered()) | set(world.dead()) >= set(everything), "all have an end"
    )
    assert world.aws.most_at_once == 1
    assert not set(world.dead()) & set(world.delivered())
    assert len(world.delivered()) == len(set(world.delivered()))
    assert bad <= set(world.dead())


SIGNALLED = """
import signal, sys
from pathlib import Path
from gateway.queues.sqlite.outbox import SqliteOutbox
from tests.helpers.forwarders import Accepting, forwarder_of

path = Path(sys.argv[1])
forwarder = forwarder_of(SqliteOutbox(path, dedupe_seconds=60), Accepting(), path.parent)
left = 1000


def signalled(*_):
    global left
    left -= 1
    if left == 0:
        signal.setitimer(signal.ITIMER_REAL, 0)
        forwarder.stop()


signal.signal(signal.SIGALRM, signalled)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
forwarder.run()
"""


def test_signals_never_leave_an_idle_forwarder_waiting_for_ever(tmp_path):
    command = [sys.executable, "-c", SIGNALLED, str(tmp_path / "queue.db")]
    run = subprocess.run(command, cwd=ROOT, timeout=60, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
