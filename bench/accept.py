"""Accept: durable `POST /events` against an empty Flask route under the same gunicorn settings.

Three servers take turns: the ceiling; the gateway that only stores; the gateway whose forwarder
delivers at the same time, to a PutEvents that costs nothing.
"""

from __future__ import annotations

import secrets
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

from bench import beacon
from bench.load import Saturation, install, percentile, saturate, steady
from bench.report import Figure
from bench.servers import Empty, Sink, cookies, environ, sink
from gateway.queues.sqlite.dead_letters import status
from tests.helpers.support import Gateway, eventually

CEILING, STORING, DELIVERING = "empty Flask route", "accept", "accept while delivering"
GOALS = {STORING: 0.55, DELIVERING: 0.4}
HALF_LOAD_MS = 25.0


def measure(*, quick: bool) -> list[Figure]:
    """Rates, latencies and CPU at several numbers of connections; p99 at half the saturation."""
    install()
    connections = [32] if quick else [32, 128, 512]
    rounds, seconds, visitors = (1, 1, 5) if quick else (3, 3, 500)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = _servers(folder, stack.enter_context(sink()))
        for server in servers.values():
            stack.callback(server.stop)
            server.start()
        known = cookies(servers[STORING], visitors)  # signed by one key, they are good for both
        jar = folder / "cookies"
        jar.write_text("\n".join(known) + "\n")
        for server in servers.values():  # what the first requests load and lay out
            saturate(server, jar, connections[0], 1)
        _wait_until_drained(folder / DELIVERING / "queue.db")
        runs: dict[tuple[int, str], list[Saturation]] = defaultdict(list)
        late: list[float] = []
        for _ in range(rounds):
            for count in connections:
                for name, server in servers.items():
                    runs[count, name].append(saturate(server, jar, count, seconds))
                    _wait_until_drained(folder / DELIVERING / "queue.db")
            half = runs[connections[0], STORING][-1].rate / 2
            late.append(_late(servers[STORING], half, seconds, known))
    figures = [figure for count in connections for figure in _figures(count, runs)]
    return [*figures, Figure("accept, half its load, p99", "ms", late, at_most=HALF_LOAD_MS)]


def _servers(folder: Path, aws: Sink) -> dict[str, Gateway]:
    delivering = environ(folder / DELIVERING, GATEWAY_FORWARDER="auto")
    return {
        CEILING: Empty(folder, environ(folder), aws),  # type: ignore[arg-type]
        STORING: Gateway(folder, environ(folder), aws),  # type: ignore[arg-type]
        DELIVERING: Gateway(folder / DELIVERING, delivering, aws),  # type: ignore[arg-type]
    }


def _wait_until_drained(queue: Path) -> None:
    if queue.exists():
        eventually(lambda: status(queue).queued == 0, "the queue is drained", 120)


def _late(gateway: Gateway, rate: float, seconds: float, known: list[str]) -> float:
    """p99 in ms, from when a beacon was due, at a rate that doesn't wait for answers."""
    run = secrets.token_hex(4)
    sent = steady(
        gateway.url,
        rate,
        seconds,
        lambda number: beacon.request(known[number % len(known)], beacon.events(run, number)),
    )
    assert {request.status for request in sent} == {204}
    return percentile([(request.answered - request.due) * 1000 for request in sent], 0.99)


def _figures(count: int, runs: dict[tuple[int, str], list[Saturation]]) -> list[Figure]:
    figures = []
    for name in (CEILING, STORING, DELIVERING):
        found = runs[count, name]
        label = f"{name}, {count} connections"
        figures += [
            Figure(label, "requests/s", [run.rate for run in found]),
            Figure(f"{label}, p50", "ms", [run.p50 for run in found]),
            Figure(f"{label}, p99", "ms", [run.p99 for run in found]),
            Figure(f"{label}, CPU", "µs a request", [run.cpu for run in found]),
        ]
        if name in GOALS:
            pairs = list(zip(found, runs[count, CEILING], strict=True))
            share = [run.rate / ceiling.rate for run, ceiling in pairs]
            work = [ceiling.cpu / run.cpu for run, ceiling in pairs]
            figures += [
                Figure(f"{label}, of the ceiling", "", share, at_least=GOALS[name]),
                Figure(f"{label}, of the ceiling by CPU", "", work),
            ]
    return figures
