"""Latency: from a beacon's 204 to its events' arrival at PutEvents, at 100 beacons a second."""

from __future__ import annotations

import secrets
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench import beacon
from bench.load import percentile, steady
from bench.report import Figure
from bench.servers import cookies, environ, sink
from tests.helpers.support import Gateway, eventually

BEACONS_A_SECOND = 100.0


def measure(*, quick: bool) -> list[Figure]:
    """p50 and p99 of each round."""
    rounds, seconds, visitors = (1, 1.0, 5) if quick else (3, 10.0, 500)
    p50, p99 = [], []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        aws = stack.enter_context(sink())
        settings = environ(folder, GATEWAY_FORWARDER="auto")
        gateway = Gateway(folder, settings, aws)  # type: ignore[arg-type]
        stack.callback(gateway.stop)
        gateway.start()
        known = cookies(gateway, visitors)
        arrived: dict[str, float] = {}
        _wait(arrived, aws, visitors)
        for _ in range(rounds):
            arrived.clear()
            run = secrets.token_hex(4)
            sent = steady(
                gateway.url,
                BEACONS_A_SECOND,
                seconds,
                lambda number, run=run: beacon.request(
                    known[number % len(known)], beacon.events(run, number)
                ),
            )
            assert {request.status for request in sent} == {204}
            _wait(arrived, aws, 2 * len(sent))
            took = [
                (arrived[str(event["eventId"])] - request.answered) * 1000
                for request in sent
                for event in beacon.events(run, request.number)
            ]
            p50.append(percentile(took, 0.5))
            p99.append(percentile(took, 0.99))
    return [
        Figure("latency from 204 to PutEvents, p50", "ms", p50, at_most=150),
        Figure("latency from 204 to PutEvents, p99", "ms", p99, at_most=500),
    ]


def _wait(arrived: dict[str, float], aws: Any, count: int) -> None:
    def all_there() -> bool:
        arrived.update(aws.arrivals()["at"])
        return len(arrived) >= count

    eventually(all_there, f"{count} events arrive", 30)
