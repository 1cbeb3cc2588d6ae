"""Drain a large backlog: the last part as fast as the first, and in the same memory.

The sender costs nothing, so this is the queue and the forwarder alone.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from gateway.forwarder import Forwarder
from gateway.queues import Record
from gateway.queues.sqlite.inbox import SqliteInbox
from gateway.queues.sqlite.outbox import SqliteOutbox

RESULTS = Path(__file__).parent / "results"
EVENT = '{"eventId":"%s","eventType":"view","itemId":"i-%d","sentAt":1763880000.25}'
SESSIONS_AT_ONCE = 5_000  # visitors at the same time, each with 10 events in all


def resident() -> float:
    """Memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def fill(path: Path, count: int) -> None:
    """Queue so many events, as interleaved sessions leave them."""
    inbox = SqliteInbox(path, max_bytes=1 << 40, min_free_bytes=0, dedupe_seconds=3600)
    now = time.time()
    for start in range(0, count, 10_000):
        records = []
        for number in range(start, min(start + 10_000, count)):
            crowd = number // (SESSIONS_AT_ONCE * 10)
            session = f"s-{crowd}-{number % SESSIONS_AT_ONCE}"
            event_id = f"e-{number}"
            event = EVENT % (event_id, number % 1000)
            records.append(Record("shop", session, None, event_id, event, None, now))
        inbox.put(records)


def drain(path: Path, count: int) -> dict[str, float]:
    """Events a second in the first and the last tenth, memory, and calls against the bound."""
    calls: list[int] = []
    moments: list[tuple[int, float, float]] = []
    forwarder = Forwarder(
        SqliteOutbox(path, dedupe_seconds=3600),
        lambda call: calls.append(len(call.taken)),
        max_age=1e9,
        report=lambda _: moments.append((sum(calls), time.perf_counter(), resident())),
    )
    started = time.perf_counter()
    forwarder.run_once()
    moments.append((sum(calls), time.perf_counter(), resident()))
    assert sum(calls) == count
    rates = [
        (after[0] - before[0]) / (after[1] - before[1]) for before, after in pairwise(moments[1:-1])
    ]
    tenth = max(1, len(rates) // 10)
    return {
        "events": count,
        "events_per_second": count / (time.perf_counter() - started),
        "first_tenth": statistics.median(rates[:tenth]) if rates else float("nan"),
        "last_tenth": statistics.median(rates[-tenth:]) if rates else float("nan"),
        "memory_first_mib": moments[0][2],
        "memory_most_mib": max(moment[2] for moment in moments),
        "calls_against_bound": len(calls) / bound(count),
    }


def bound(count: int) -> int:
    """The fewest calls possible: each session's events by tens."""
    crowds, rest = divmod(count, SESSIONS_AT_ONCE * 10)
    return SESSIONS_AT_ONCE * (crowds + math.ceil(rest / SESSIONS_AT_ONCE / 10))


def main() -> None:
    """Print a line for each size, and keep them all."""
    sizes = [int(size) for size in sys.argv[1:]] or [10_000, 100_000, 1_000_000]
    results = []
    for count in sizes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "queue.db"
            fill(path, count)
            results.append(drain(path, count))
            print("  ".join(f"{name} {value:.4g}" for name, value in results[-1].items()))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "drain.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
