"""Visits at random, each judged as the single scenarios are. SOAK_VISITS in each engine."""

from __future__ import annotations

import os
import random
from functools import partial
from pathlib import Path

import pytest

from tests.browser.visits import chance, matrix
from tests.browser.visits.engines import ENGINES
from tests.browser.visits.matrix import Case


def test_random_visits_lose_nothing_and_repeat_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    visits = int(os.environ.get("SOAK_VISITS", "3"))
    seed = int(os.environ.get("SOAK_SEED", random.randrange(1_000_000)))
    with capsys.disabled():
        print(f"\nrandom visits: seed {seed}, {visits} in each engine")
    steps = [partial(chance.wander, seed=seed * 1000 + number) for number in range(visits)]
    cases = [Case(engine, True, one) for engine in ENGINES for one in steps]
    for case, outcome in matrix.run(tmp_path, cases).items():
        where = f"{case.engine.name}, seed {case.scenario.keywords['seed']}"
        assert outcome.failure is None, where
        assert outcome.errors == [], where
        assert outcome.verdict.missing == [], where
        assert outcome.verdict.doubled == outcome.verdict.again == [], where
