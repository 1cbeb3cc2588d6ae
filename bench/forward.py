"""Forward: a backlog drained by the forwarder, against a bare boto3 loop of full batches.

Both call a PutEvents that costs nothing, with the same client settings, and both are timed there:
from the first call that arrives to the last.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.backlog import bound, fill
from bench.report import Figure
from bench.servers import Sink, aws_environ, environ, sink
from tests.helpers.support import ROOT


def measure(*, quick: bool) -> list[Figure]:
    """Events a second of both, their ratio, and the calls that were made of those needed."""
    rounds, events = (1, 500) if quick else (5, 50_000)
    bare: list[float] = []
    ours: list[float] = []
    calls: list[float] = []
    with sink() as aws:
        for _ in range(rounds):
            bare.append(_run(["-m", "bench.bare_loop", str(events)], aws, {})[0])
            with tempfile.TemporaryDirectory() as folder:
                fill(Path(folder) / "queue.db", events)
                forward = ["-m", "gateway", "forward", "--once"]
                rate, made = _run(forward, aws, environ(Path(folder)))
                ours.append(rate)
                calls.append(made / bound(events))
    share = [rate / bare_rate for rate, bare_rate in zip(ours, bare, strict=True)]
    return [
        Figure("bare boto3 loop of full batches", "events/s", bare),
        Figure("forward", "events/s", ours),
        Figure("forward, of the bare loop", "", share, at_least=0.9),
        Figure("forward, PutEvents calls of those needed", "", calls, at_most=1.05),
    ]


def _run(arguments: list[str], aws: Sink, settings: dict[str, str]) -> tuple[float, int]:
    """Run a program that calls PutEvents; events a second as they arrivals, and calls."""
    aws.arrivals()
    subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=aws_environ(aws.url) | settings, check=True
    )
    arrivals = aws.arrivals()
    assert arrivals["events"] == len(arrivals["at"]), json.dumps(arrivals)[:200]  # none twice
    return arrivals["events"] / arrivals["seconds"], arrivals["calls"]
