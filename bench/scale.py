"""Scale of cost: what an event costs with a thousand, a hundred thousand, a million queued.

The sender costs nothing, so the drain is that of the queue and the forwarder alone.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

from bench.backlog import bound, fill
from bench.report import Figure
from bench.servers import NOWHERE, environ, resident_mib
from gateway.forwarder.batching import Call
from gateway.queues.sqlite.database import Database
from gateway.queues.sqlite.outbox import SqliteOutbox
from tests.helpers.forwarders import forwarder_of
from tests.helpers.support import Gateway

WITHIN = 0.9  # of the smallest backlog's rate


def measure(*, quick: bool) -> list[Figure]:
    """Each size in a process of its own, so that its memory is its own."""
    sizes = [200, 2_000] if quick else [1_000, 100_000, 1_000_000]
    figures, rates = [], {}
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for size in sizes:
            rounds = 1 if size == sizes[-1] else 5
            runs = [_run(pool, size) for _ in range(rounds)]
            rates[size] = [run["rate"] for run in runs]
            label = f"{size:,} queued"
            figures += [
                Figure(f"{label}, drained", "events/s", rates[size]),
                Figure(
                    f"{label}, calls of those needed", "", [r["calls"] for r in runs], at_most=1.05
                ),
                Figure(f"{label}, forwarder's memory", "MiB", [r["forwarder"] for r in runs]),
                Figure(f"{label}, web worker's memory", "MiB", [r["worker"] for r in runs]),
                Figure(f"{label}, on disk", "bytes an event", [r["bytes"] for r in runs]),
            ]
    slowest, *_, fastest = sorted(sum(rate) / len(rate) for rate in rates.values())
    spread = Figure("slowest drain of the fastest", "", [slowest / fastest], at_least=WITHIN)
    return [*figures, spread]


def _run(pool: multiprocessing.pool.Pool, size: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "queue.db"
        pool.apply(fill, (path, size))
        pool.apply(fold, (path,))
        found = {"bytes": path.stat().st_size / size, "worker": _worker_memory(Path(folder))}
        return found | pool.apply(drain, (path, size))


def fold(path: Path) -> None:
    """Leave all of it in the file itself, as an idle forwarder does."""
    Database(path, "FULL").require_truncated_wal("the log is in use")


def _worker_memory(folder: Path) -> float:
    """Return the most memory in MiB that a web worker uses with such a queue."""
    gateway = Gateway(folder, environ(folder), SimpleNamespace(url=NOWHERE))
    try:
        gateway.start()
        return max(map(resident_mib, gateway.workers()))
    finally:
        gateway.stop()


class _Nobody:
    """Accept every call at once; `calls` has the time and the events of each."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, int]] = []

    def send(self, call: Call) -> None:
        self.calls.append((time.perf_counter(), len(call.deliveries)))


def drain(path: Path, count: int) -> dict[str, float]:
    """Deliver it all to nobody: events a second once under way, calls, and memory at the end."""
    nobody = _Nobody()
    outbox = SqliteOutbox(path, dedupe_seconds=3600)
    forwarder_of(outbox, nobody, path.parent).run_once()
    calls = nobody.calls
    assert sum(events for _, events in calls) == count
    under_way = calls[len(calls) // 10 :]  # a site is tried with one call first
    return {
        "rate": sum(events for _, events in under_way[1:]) / (under_way[-1][0] - under_way[0][0]),
        "calls": len(calls) / bound(count),
        "forwarder": resident_mib(),
    }
