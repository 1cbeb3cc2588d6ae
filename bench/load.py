"""Load: as much as goes, with wrk, and a rate that doesn't wait for answers, with our own."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench.servers import BROWSER, cpu_seconds
from tests.helpers.support import ORIGIN, Gateway

SCRIPT = Path(__file__).with_name("beacons.lua")


@dataclass(frozen=True)
class Saturation:
    """What a server did while wrk left it no pause."""

    rate: float  # requests/s
    p50: float  # ms
    p99: float  # ms
    cpu: float  # µs of CPU for a request, of all workers together


@dataclass(frozen=True, slots=True)
class Sent:
    """One request of a steady load; times are epoch seconds."""

    due: float
    answered: float
    status: int
    number: int


def install() -> None:
    """Debian's wrk, where it is missing."""
    if shutil.which("wrk"):
        return
    become = [] if os.geteuid() == 0 else ["sudo"]
    for command in (["update", "-qq"], ["install", "-y", "-qq", "wrk"]):
        subprocess.run([*become, "apt-get", *command], check=True, stdout=subprocess.DEVNULL)


def saturate(gateway: Gateway, cookies: Path, connections: int, seconds: float) -> Saturation:
    """As many beacons as the server takes; `cookies` is a file with one on each line."""
    workers = gateway.workers()
    before = cpu_seconds(workers)
    whole = max(1, round(seconds))
    run = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{whole}s", "--timeout", "10s", "-s", SCRIPT,
         f"{gateway.url}/events", "--", cookies, ORIGIN, BROWSER],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["failed"] == 0, run.stdout
    return Saturation(
        rate=found["requests"] / found["seconds"],
        p50=found["p50_ms"],
        p99=found["p99_ms"],
        cpu=(cpu_seconds(workers) - before) / found["requests"] * 1e6,
    )


def steady(url: str, rate: float, seconds: float, request: Callable[[int], bytes]) -> list[Sent]:
    """Send each request at its own time, whether or not earlier ones are answered: an open loop.

    Arrivals are random (a Poisson process), like those of many visitors. `request(number)` returns
    a whole request, head and body. Latency counts from the time when a request was due, so a
    server that stalls is charged for all requests that were due meanwhile.
    """
    return asyncio.run(_steady(url, rate, seconds, request))


async def _steady(
    url: str, rate: float, seconds: float, request: Callable[[int], bytes]
) -> list[Sent]:
    address = urlsplit(url)
    assert address.hostname is not None
    loop = asyncio.get_running_loop()
    idle: deque[_Connection] = deque()
    answered: list[Sent] = []
    opening: set[asyncio.Task[None]] = set()

    async def fresh(number: int, due: float) -> None:
        made = await loop.create_connection(
            lambda: _Connection(idle, answered), address.hostname, address.port
        )
        made[1].send(request(number), number, due)

    now = time.time()
    due, end, number = now, now + seconds, 0
    while (due := due + random.expovariate(rate)) < end:
        if (pause := due - time.time()) > 0:
            await asyncio.sleep(pause)
        if idle:
            idle.pop().send(request(number), number, due)
        else:
            task = loop.create_task(fresh(number, due))
            opening.add(task)
            task.add_done_callback(opening.discard)
        number += 1
    deadline = time.time() + 10
    while len(answered) < number and time.time() < deadline:
        await asyncio.sleep(0.01)
    assert len(answered) == number, (
        f"{number - len(answered)} of {number} requests were never answered"
    )
    return answered


class _Connection(asyncio.Protocol):
    """Sends one request at a time, whose answer has no body."""

    def __init__(self, idle: deque[_Connection], answered: list[Sent]) -> None:
        self._idle = idle
        self._answered = answered
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def send(self, request: bytes, number: int, due: float) -> None:
        self._number, self._due = number, due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._head += data
        if self._head.endswith(b"\r\n\r\n"):
            status = int(self._head[9:12])
            self._answered.append(Sent(self._due, time.time(), status, self._number))
            self._head = b""
            self._idle.append(self)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that the given share (0 to 1) of the values does not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
