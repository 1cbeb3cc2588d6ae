"""How a site is faring: back-off, blame, and what is worth a log line."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from gateway.forwarder.backoff import SiteThrottle
from gateway.forwarder.batching import CallFailed, Misconfigured, Retry
from gateway.queues import Delivery, Rejection
from tests.helpers.queue_contract import record

THROTTLED = Retry("throttled", "Rate exceeded")
DENIED = Misconfigured("access_denied", "User is not authorized")


@pytest.fixture
def pace() -> SiteThrottle:
    return SiteThrottle(16)


def waits(failure: CallFailed, failures: int) -> list[float]:
    """How long a site waits after so many failures in a row, the last one's wait, many times."""
    found = []
    for _ in range(400):
        pace, now = SiteThrottle(16), 0.0
        for _ in range(failures):
            pace.failure(failure, now, now)
            before, now = now, pace.wait_until + 1
        found.append(pace.wait_until - before)
    return found


@pytest.mark.parametrize(
    ("failures", "longest"), [(1, 0.5), (2, 1), (3, 2), (5, 8), (7, 32), (8, 60), (40, 60)]
)
def test_back_off_doubles_up_to_a_minute_with_full_jitter(failures, longest):
    random.seed(7)
    found = waits(THROTTLED, failures)
    assert 0 <= min(found) < longest * 0.1
    assert longest * 0.9 < max(found) <= longest
    assert longest * 0.4 < sum(found) / len(found) < longest * 0.6


@pytest.mark.parametrize(("failures", "longest"), [(1, 5), (2, 10), (4, 40), (5, 60), (40, 60)])
def test_configuration_failures_are_retried_slowly_from_the_start(failures, longest):
    random.seed(7)
    found = waits(DENIED, failures)
    assert longest / 2 <= min(found)
    assert longest * 0.9 < max(found) <= longest


@pytest.mark.parametrize(("asked", "least"), [(7.0, 7.0), (60.0, 60.0), (86_400.0, 60.0)])
def test_retry_after_is_honoured_up_to_a_minute(pace, asked, least):
    pace.failure(Retry("throttled", "", asked), 100.0, 100.0)
    assert least <= pace.wait_until - 100.0 <= 60.0


def test_a_site_starts_with_one_session_and_gets_full_capacity_after_its_first_accepted_call(pace):
    assert pace.capacity(0.0) == 1
    pace.in_flight = 1
    assert pace.capacity(0.0) <= 0
    pace.in_flight = 0
    pace.success(0.1, 0.2)
    assert pace.capacity(0.3) == 16


def test_capacity_is_full_until_a_failure_and_then_one_probe(pace):
    pace.success(-2.0, -1.0)
    assert pace.capacity(0.0) == 16
    pace.in_flight = 5
    assert pace.capacity(0.0) == 11
    pace.in_flight = 0
    pace.failure(Retry("throttled", "", 3.0), 0.0, 0.0)
    assert pace.capacity(pace.wait_until - 0.001) == 0
    assert pace.capacity(pace.wait_until + 0.001) == 1
    pace.in_flight = 1
    assert pace.capacity(pace.wait_until + 0.001) <= 0
    pace.success(pace.wait_until + 0.1, pace.wait_until + 0.2)
    assert pace.capacity(pace.wait_until + 0.3) == 15


def test_failures_of_concurrent_calls_count_once(pace):
    started = [n / 100 for n in range(16)]
    for n, start in enumerate(started):
        pace.failure(THROTTLED, start, 1.0 + n / 100)
    assert pace.failures == 1


def test_a_success_from_before_the_failure_does_not_end_the_back_off(pace):
    pace.failure(Retry("throttled", "", 30.0), 1.0, 2.0)
    pace.success(1.5, 2.5)
    assert pace.capacity(3.0) == 0
    assert pace.trouble
    pace.success(40.0, 40.1)
    assert pace.capacity(40.2) == 16
    assert pace.trouble is None


def test_after_a_success_back_off_begins_small_again(pace):
    now = 0.0
    for _ in range(10):
        pace.failure(THROTTLED, now, now)
        now = pace.wait_until + 1
    pace.success(now, now)
    pace.failure(THROTTLED, now + 1, now + 1)
    assert pace.wait_until - (now + 1) <= 0.5


def test_a_failure_names_the_reason_and_the_message(pace):
    assert pace.trouble is None
    pace.failure(DENIED, 0.0, 0.0)
    assert pace.trouble == "access_denied: User is not authorized"


# --- who is to blame ---


def refused(*numbers: int) -> list[Rejection]:
    return [
        Rejection(Delivery(number, record(), 0), "refused", f"Invalid item ID: {number}", 1)
        for number in numbers
    ]


def test_an_event_is_to_blame_when_its_neighbours_were_accepted(pace):
    assert pace.is_poison(1, started=5.0, others_accepted=True)


def test_an_event_is_to_blame_when_its_site_has_accepted_others_since(pace):
    assert not pace.is_poison(1, started=5.0, others_accepted=False)
    assert not pace.is_poison(1, started=7.0, others_accepted=False)
    pace.success(8.0, 9.0)
    assert pace.is_poison(1, started=10.0, others_accepted=False)


def test_an_old_success_is_no_evidence_against_an_event(pace):
    pace.success(1.0, 2.0)
    assert not pace.is_poison(1, started=5.0, others_accepted=False)
    assert not pace.is_poison(1, started=50.0, others_accepted=False)


def refuse(pace: SiteThrottle, *handles: int, at: float = 5.0) -> Misconfigured | None:
    """These were refused, nothing accepted: whom does the pace suspect?"""
    for handle in handles:
        assert not pace.is_poison(handle, started=at, others_accepted=False)
    return pace.suspicion(refused(*handles))


def test_twenty_events_refused_and_none_accepted_put_the_blame_on_the_site(pace):
    assert pace.suspicion([]) is None
    assert refuse(pace, *range(10)) is None
    assert refuse(pace, *range(10, 19)) is None
    suspicion = refuse(pace, 19)
    assert suspicion is not None
    assert suspicion.reason == "all_refused"
    assert "Invalid item ID: 19" in str(suspicion)
    assert pace.suspicion([]) is None


def test_an_event_refused_repeatedly_counts_as_one(pace):
    for moment in range(100):
        assert refuse(pace, 1, at=float(moment)) is None


def test_a_call_begun_before_a_refused_one_is_no_evidence_against_an_event(pace):
    pace.success(4.0, 9.0)  # in flight while the site broke
    assert not pace.is_poison(1, started=5.0, others_accepted=False)


def test_a_success_between_clears_the_site(pace):
    for round_ in range(10):
        handles = range(round_ * 10, round_ * 10 + 10)
        assert refuse(pace, *handles, at=round_ + 0.6) is None
        pace.success(round_ + 0.5, round_ + 0.5)


def test_suspects_are_not_remembered_without_bound(pace):
    for handle in range(100_000):
        pace.is_poison(handle, started=float(handle), others_accepted=False)
    assert len(pace.suspects) <= 1000


# --- the rate cap ---


def test_calls_are_spread_evenly_when_they_would_pass_the_cap():
    pace = SiteThrottle(16, calls_per_second=100.0)
    waited = [pace.reserve(5.0) for _ in range(5)]
    assert waited == pytest.approx([0.0, 0.01, 0.02, 0.03, 0.04])
    assert pace.reserve(5.05) == pytest.approx(0.0)


def test_idle_time_earns_no_burst():
    pace = SiteThrottle(16, calls_per_second=10.0)
    pace.reserve(0.0)
    waited = [pace.reserve(1000.0) for _ in range(3)]
    assert [after - before for before, after in pairwise(waited)] == pytest.approx([0.1, 0.1])


def test_without_a_rate_limit_no_call_waits(pace):
    assert [pace.reserve(1.0) for _ in range(1000)] == [0.0] * 1000
