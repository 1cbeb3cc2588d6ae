"""Visits at random: what the scenarios show one by one, in an order that nobody thought of."""

from __future__ import annotations

from random import Random

from tests.browser.visits.scenarios import KILOBYTE, opens, returns
from tests.browser.visits.shop import Fault
from tests.browser.visits.visit import Steps, Visit

FAULTS = (
    None,
    None,
    Fault(503),
    Fault(503, "1"),
    Fault(429, "2"),
    Fault("lost"),
    Fault("gone"),
    Fault("hang"),
)


def wander(visit: Visit, seed: int) -> Steps:
    """One visit of some tabs and pages on a line that fails."""
    random = Random(seed)
    options = random.choice([{}, {}, {"tags": 2}, {"policy": 1}])
    for _ in range(random.randint(1, 3)):
        yield from opens(visit, **options)
        for _ in range(random.randint(1, 3)):
            yield from _do_something(visit, random)
        visit.lane.fault = random.choice(FAULTS)
        yield from _go(visit, random)
    while visit.tabs:
        visit.close()
    visit.lane.fault = None
    yield from returns(visit)


def _do_something(visit: Visit, random: Random) -> Steps:
    visit.lane.fault = random.choice(FAULTS)
    visit.track(random.choice([1, 2, 3, 10, 30]), random.choice(["", "ä€𝄞", KILOBYTE]))
    yield random.choice([0.0, 0.05, 0.5, 2.5])


def _go(visit: Visit, random: Random) -> Steps:
    match random.choice(["close", "follow", "reload", "back", "kill", "stay"]):
        case "close":
            visit.close()
        case "follow":
            visit.follow()
            yield visit.loaded
            visit.track()
        case "reload":
            visit.reload()
            yield visit.loaded
        case "back":
            visit.follow()
            yield visit.loaded
            visit.track()
            visit.back()
            yield visit.loaded
        case "kill" if visit.engine.driver_survives:
            visit.kill()
