"""Nothing is lost: every acknowledged event is delivered or dead, whatever is killed meanwhile."""

from __future__ import annotations

import os
import random

import pytest

from gateway.sandbox import Sandbox
from tests.helpers import conservation
from tests.helpers.support import Gateway


@pytest.fixture
def sandbox():
    with Sandbox(port=0, keep=1_000_000) as sandbox:
        yield sandbox


def test_every_acknowledged_event_is_delivered_or_dead(
    gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = float(os.environ.get("SOAK_SECONDS", "20"))
    seed = int(os.environ.get("SOAK_SEED", random.randrange(1_000_000)))
    with capsys.disabled():
        print(f"\nconservation: seed {seed}, {seconds:.0f} s")
        print(f"conservation: {conservation.run(gateway, seconds, seed)}")
