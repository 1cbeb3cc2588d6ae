"""Nothing is lost on SQS: gateways and forwarders of a cluster are killed at random."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from gateway.sandbox import Sandbox
from tests.helpers import conservation
from tests.helpers.sqs_backend import CREDENTIALS
from tests.helpers.sqs_cluster import Cluster, make_queue, moto_process


def test_every_acknowledged_event_is_delivered_or_dead_on_sqs_too(
    tmp_path: Path,
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seconds = float(os.environ.get("SOAK_SECONDS", "10"))
    seed = int(os.environ.get("SOAK_SEED", random.randrange(1_000_000)))
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with moto_process() as server, Sandbox(port=0, keep=1_000_000) as sandbox:
        environ["GATEWAY_QUEUE"] = make_queue(server, visibility=5)
        cluster = Cluster(tmp_path, environ, sandbox, masters=2, count=3)
        with capsys.disabled():
            print(f"\nconservation on SQS: seed {seed}, {seconds:.0f} s")
            try:
                summary = conservation.run(cluster, seconds, seed, ordered=False)
            finally:
                cluster.end()
            print(f"conservation on SQS: {summary}")
