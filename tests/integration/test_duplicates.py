"""An eventId seen again in its session is acknowledged as `duplicate`, and delivered once."""

from __future__ import annotations

import os
import signal
import time

import pytest
import requests

from tests.helpers.support import Gateway, alive, beacon, event, eventually

MEDIA = {"Origin": "https://media.example.com"}


@pytest.fixture
def running(running_gateway: Gateway) -> Gateway:
    """The module's gateway; nothing is delivered yet."""
    running_gateway.sandbox.clear()
    return running_gateway


def post(gateway: Gateway, *events, session: str = "s-1", **members) -> requests.Response:
    answer = gateway.post(beacon(*events, sessionId=session, **members))
    assert answer.status_code == 204, answer.text
    return answer


def is_duplicate(answer: requests.Response) -> bool:
    reason = answer.headers.get("X-Gateway-Reason")
    assert reason in (None, "duplicate")
    return reason == "duplicate"


def assert_delivered_once(gateway: Gateway, *ids: str, session: str = "s-1") -> None:
    """All of these came once: nothing is left of their session, as its last event has come too."""
    last = event()
    post(gateway, last, session=session)
    gateway.assert_delivered([*ids, last["eventId"]])
    assert sorted(gateway.delivered()) == sorted([*ids, last["eventId"]])


def test_an_event_posted_twice_is_delivered_once(running):
    twice = event()
    assert not is_duplicate(post(running, twice))
    assert is_duplicate(post(running, twice))
    assert_delivered_once(running, twice["eventId"])


def test_a_duplicate_is_known_after_its_delivery(running):
    twice = event()
    post(running, twice)
    running.assert_delivered([twice["eventId"]])
    assert is_duplicate(post(running, twice))
    assert_delivered_once(running, twice["eventId"])


def test_a_duplicate_is_known_after_a_restart(gateway):
    gateway.start()
    twice = event()
    post(gateway, twice)
    gateway.stop()
    gateway.start()
    assert is_duplicate(post(gateway, twice))
    assert_delivered_once(gateway, twice["eventId"])


def test_a_duplicate_is_known_to_the_other_worker(gateway):
    gateway.start(WEB_CONCURRENCY="2")
    first, second = eventually(lambda: len(gateway.workers()) == 2 and gateway.workers(), "two")
    twice = event()
    for idle, duplicate in ((second, False), (first, True)):
        os.kill(idle, signal.SIGSTOP)
        assert is_duplicate(post(gateway, twice)) is duplicate
        os.kill(idle, signal.SIGCONT)
    assert alive(first)
    assert alive(second)
    assert_delivered_once(gateway, twice["eventId"])


def test_an_event_twice_in_one_request_is_delivered_once(running):
    twice, other = event(), event()
    assert not is_duplicate(post(running, twice, other, twice))
    assert_delivered_once(running, twice["eventId"], other["eventId"])


def test_new_events_beside_a_duplicate_are_delivered_and_bear_no_reason(running):
    twice, new = event(), event()
    post(running, twice)
    assert not is_duplicate(post(running, twice, new))
    assert is_duplicate(post(running, new, twice))
    assert_delivered_once(running, twice["eventId"], new["eventId"])


def test_an_event_id_is_a_duplicate_only_in_its_own_session_and_site(running):
    shared = event()
    assert not is_duplicate(post(running, shared))
    assert not is_duplicate(post(running, shared, session="s-2"))
    elsewhere = {**beacon(shared, sessionId="s-1"), "trackingId": "media"}
    answer = running.post(elsewhere, **MEDIA)
    assert (answer.status_code, is_duplicate(answer)) == (204, False)
    eventually(lambda: len(running.delivered()) == 3, "all three are delivered")
    assert running.delivered() == [shared["eventId"]] * 3


def test_an_event_answered_503_is_no_duplicate_when_it_is_repeated(gateway):
    refused = event()
    gateway.start(GATEWAY_MIN_FREE_BYTES=str(1 << 60))
    assert gateway.post(beacon(refused, sessionId="s-1")).status_code == 503
    gateway.stop()
    gateway.start()
    assert not is_duplicate(post(gateway, refused))
    assert_delivered_once(gateway, refused["eventId"])


def test_an_event_id_may_be_reused_after_the_window(gateway):
    gateway.start(GATEWAY_DEDUPE_SECONDS="1")
    again = event()
    assert not is_duplicate(post(gateway, again))
    eventually(lambda: not is_duplicate(post(gateway, again)), "the window is over")
    eventually(lambda: gateway.delivered() == [again["eventId"]] * 2, "it is delivered again")


# --- distinct events under one eventId ---


def test_distinct_events_with_one_event_id_are_delivered_with_separate_ids(running):
    """Amplify 5 gives all events of half a minute the same."""
    shared = event(itemId="i-0")
    told_apart = [
        shared,
        *(shared | {"itemId": f"i-{number}"} for number in range(1, 4)),
        shared | {"eventType": "click"},
        shared | {"eventValue": 24},
        shared | {"properties": {"query": "mug"}},
    ]
    assert not is_duplicate(post(running, *told_apart[:3]))
    for one in told_apart[3:]:
        assert not is_duplicate(post(running, one))
    assert is_duplicate(post(running, *told_apart))
    eventually(lambda: len(running.delivered()) == len(told_apart), "all are delivered")
    assert len(set(running.delivered())) == len(told_apart)
    assert running.delivered()[0] == shared["eventId"]
    last = event()
    post(running, last)
    running.assert_delivered([last["eventId"]])
    assert len(running.delivered()) == len(told_apart) + 1, "nothing came twice"


def test_a_repeat_with_another_clock_is_a_duplicate(running):
    at = time.time()
    once = event(eventValue=24, sentAt=int(at))
    post(running, once)
    for repeat, members in (
        (once | {"sentAt": at + 1}, {}),  # a thank-you page that is loaded again
        (once, {"clientTime": at - 3600}),
        (once | {"recommendationId": "r-1"}, {}),
        ({**once, "sentAt": None}, {}),
    ):
        assert is_duplicate(post(running, repeat, **members)), repeat
    assert_delivered_once(running, once["eventId"])
