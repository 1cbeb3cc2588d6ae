"""Malformed requests in great number, while well-behaved visitors lose nothing."""

from __future__ import annotations

import os
import random
import re
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.observability.history.reader import HistoryReader
from gateway.sandbox import Sandbox
from tests.helpers.malformed_http import Attacker
from tests.helpers.support import ADMIN_TOKEN, ROOT, SITES, Gateway, event, eventually, write_sites

SOAK = "SOAK_SECONDS" in os.environ
REQUESTS = 100_000 if SOAK else 4_000
ROOM_RUNS = 1_000_000 if SOAK else 30_000
ATTACKERS = 4
STATUS = re.compile(rb"^HTTP/1\.[01] (\d{3}) ", re.MULTILINE)


@pytest.fixture
def seed() -> int:
    return int(os.environ.get("SOAK_SEED", random.randrange(1_000_000) if SOAK else 20180322))


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(port=0, keep=1_000_000) as sandbox:
        yield sandbox


def attack(port: int, attacker: Attacker, count: int) -> Counter[int]:
    """Send so many malformed requests, a connection each; the statuses answered."""
    statuses: Counter[int] = Counter()
    for _ in range(count):
        raw = attacker.request()
        answer = exchange(port, raw)
        found = [int(status) for status in STATUS.findall(answer)]
        assert all(status < 500 for status in found), f"{raw[:4000]!r}\n{answer!r}"
        assert b"Traceback" not in answer, f"{raw[:4000]!r}\n{answer!r}"
        statuses.update(found or [0])
    return statuses


def exchange(port: int, raw: bytes) -> bytes:
    """What is answered to these bytes until the connection ends."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        try:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                answer += piece
        except TimeoutError:
            raise
        except OSError:
            pass  # refused before all was sent
    return answer


class Visitor(threading.Thread):
    """Posts one event after the other; each must be taken."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(daemon=True)
        self._gateway = gateway
        self.done = threading.Event()
        self.accepted: list[str] = []
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.done.wait(0.01):
                self.accepted += self._gateway.assert_accepted(event())
        except BaseException as error:
            self.failure = error


def test_malformed_requests_harm_nobody(
    gateway: Gateway, tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """No 5xx, no traceback, no worker's death, no event of somebody else lost."""
    pixel = SITES.replace("[sites.media]", "pixel = true\n\n[sites.media]")
    write_sites(tmp_path / "sites.toml", pixel)
    gateway.start(GATEWAY_ADMIN_TOKEN=ADMIN_TOKEN)
    workers = gateway.workers()
    visitor = Visitor(gateway)
    visitor.start()
    with ThreadPoolExecutor(ATTACKERS) as pool:
        attackers = [Attacker(seed * 100 + number) for number in range(ATTACKERS)]
        runs = [pool.submit(attack, gateway.port, a, REQUESTS // ATTACKERS) for a in attackers]
        statuses = sum((run.result() for run in runs), Counter[int]())
    visitor.done.set()
    visitor.join(30)
    summary = f"{REQUESTS} malformed requests, answered {dict(sorted(statuses.items()))}"
    with capsys.disabled():
        print(f"\nfuzz: seed {seed}, {summary}; {len(visitor.accepted)} visitors' events")
    assert visitor.failure is None
    gateway.assert_delivered(visitor.accepted, 60)
    assert gateway.workers() == workers
    trail = HistoryReader(tmp_path / "queue.db-trail")
    last = visitor.accepted[-1]
    eventually(lambda: [life["state"] for life in trail.find(last)] == ["delivered"], "it is told")
    assert "Traceback" not in gateway.log.read_text()
    assert {204, 400, 403, 404} <= set(statuses), "the attack was more than noise"


def test_the_parsers_of_untrusted_input_survive_coverage_guided_fuzzing(
    seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.helpers.fuzz_parsers",
        f"-seed={seed}",
        f"-runs={ROOM_RUNS}",
    ]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    coverage = re.search(r"DONE +(cov: \d+)", run.stderr)
    with capsys.disabled():
        print(f"\nrooms: seed {seed}, {ROOM_RUNS} runs, {coverage and coverage[1]}")
