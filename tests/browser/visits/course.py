"""Runs many visits in one browser at a time, and asks the gateway what came of them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from selenium.common.exceptions import WebDriverException

from tests.browser.visits.visit import Steps, Visit
from tests.helpers.support import ROOT, Gateway, eventually

PATIENCE = 60.0  # seconds for one condition
BREATH = 0.4  # seconds between looks at a condition: each costs the browser something


class Going:
    """A visit on its way: what it waits for, and until when at the latest."""

    def __init__(self, visit: Visit, steps: Steps) -> None:
        self.visit = visit
        self._steps = steps
        self._wanted: Callable[[], object] | float = 0.0
        self._since = self._looked = time.monotonic()
        self.failure: str | None = None
        self.over = False

    def look(self) -> None:
        """Go on if the time has come."""
        now = time.monotonic()
        if now - self._looked < BREATH:
            return
        self._looked = now
        try:
            if self._has_come(now - self._since):
                self._wanted = next(self._steps)
                self._since = time.monotonic()
        except StopIteration:
            self._end(None)
        except (AssertionError, WebDriverException) as error:
            self._end(f"{type(error).__name__}: {error}")

    def _has_come(self, waited: float) -> bool:
        if isinstance(self._wanted, float):
            return waited >= self._wanted
        came = bool(self._wanted())
        assert came or waited < PATIENCE, f"in vain: {self._wanted}"
        return came

    def _end(self, failure: str | None) -> None:
        self.visit.end()
        self.failure = failure
        self.over = True


def run(visits: Iterable[tuple[Visit, Callable[[Visit], Steps]]], at_once: int = 20) -> list[Going]:
    """Take all of these through their steps, so many of them at a time."""
    waiting = [Going(visit, steps(visit)) for visit, steps in visits]
    everything, going = list(waiting), []
    while waiting or going:
        while waiting and len(going) < at_once:
            going.append(waiting.pop(0))
        for one in going:
            one.look()
        going = [one for one in going if not one.over]
        time.sleep(0.02)
    return everything


def settle(gateway: Gateway) -> list[dict[str, Any]]:
    """Every event that PutEvents has, once nothing is left in the queue."""
    eventually(lambda: not any(_queued(gateway)), "the queue is delivered", 60)
    return gateway.sandbox.events()


def _queued(gateway: Gateway) -> tuple[int, int]:
    command = [sys.executable, "-m", "gateway", "queue", "status", "--json"]
    said = subprocess.run(command, cwd=ROOT, env=gateway.environ, capture_output=True, check=True)
    status = json.loads(said.stdout)
    return status["queued"], status["in_flight"]
