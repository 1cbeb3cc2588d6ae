"""What befalls visits in real browsers, and what the gateway has of them: each event, once.

A proxy emulates a round trip of 50 ms, and fails. The witness is PutEvents' record by event ID,
never a browser.
"""

from __future__ import annotations

import os
import random
from functools import partial

import pytest

from tests.browser.visits import chance, matrix, scenarios
from tests.browser.visits.engines import ENGINES
from tests.browser.visits.matrix import Case, Outcome

# Where it matters whether a page that is left lives on in the back/forward cache.
LEAVING = (
    scenarios.follow_a_link,
    scenarios.lose_the_answer_and_leave,
    scenarios.leave_with_200_kilobytes,
    scenarios.bounce_before_the_script,
    scenarios.come_back,
)
# Without cookies and storage a page knows nothing of the one before.
SEVERAL_SESSIONS = (scenarios.have_no_storage,)
# An SQS queue knows no duplicates: what is sent anew comes again under its ID, and counts once.
REPEATED = (scenarios.lose_the_queue,)
CASES = [
    Case(engine, cache, scenario)
    for engine in ENGINES
    for cache, several in ((True, scenarios.ALL), (False, LEAVING))
    for scenario in (scenarios.ALL if "SOAK_VISITS" in os.environ else several)
]


@pytest.fixture(scope="module")
def random_cases() -> list[Case]:
    """Visits at random, SOAK_VISITS in each engine, from SOAK_SEED or a random seed."""
    visits = int(os.environ.get("SOAK_VISITS", "3"))
    seed = int(os.environ.get("SOAK_SEED", random.randrange(1_000_000)))
    steps = [partial(chance.wander, seed=seed * 1000 + number) for number in range(visits)]
    return [Case(engine, True, wander) for engine in ENGINES for wander in steps]


@pytest.fixture(scope="module")
def outcomes(
    tmp_path_factory: pytest.TempPathFactory, random_cases: list[Case]
) -> dict[Case, Outcome]:
    """Run all visits at once: most of their time is waiting."""
    return matrix.run(tmp_path_factory.mktemp("visits"), [*CASES, *random_cases])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_nothing_is_missing_and_nothing_comes_twice(
    outcomes: dict[Case, Outcome], case: Case
) -> None:
    outcome = outcomes[case]
    assert outcome.failure is None
    assert outcome.errors == []
    assert outcome.verdict.missing == []
    assert outcome.verdict.doubled == []
    assert case.scenario in REPEATED or outcome.verdict.again == []
    assert case.scenario in SEVERAL_SESSIONS or outcome.verdict.sessions == 1


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.scenario is scenarios.come_back], ids=str
)
def test_a_page_that_comes_back_counts_one_new_view(
    outcomes: dict[Case, Outcome], case: Case
) -> None:
    outcome = outcomes[case]
    assert outcome.persisted is case.cache
    views = {label.partition("-page-")[2]: n for label, n in outcome.verdict.others.items()}
    assert views == {"": 2, "next": 1}


def test_random_visits_lose_nothing_and_repeat_nothing(
    outcomes: dict[Case, Outcome], random_cases: list[Case], capsys: pytest.CaptureFixture[str]
) -> None:
    seeds = {case.scenario.keywords["seed"] for case in random_cases}
    with capsys.disabled():
        print(f"\nrandom visits: seed {min(seeds) // 1000}, {len(seeds)} in each engine")
    for case in random_cases:
        where = f"{case.engine.name}, seed {case.scenario.keywords['seed']}"
        outcome = outcomes[case]
        assert outcome.failure is None, where
        assert outcome.errors == [], where
        assert outcome.verdict.missing == [], where
        assert outcome.verdict.doubled == outcome.verdict.again == [], where
