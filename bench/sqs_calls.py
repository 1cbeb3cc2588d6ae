"""How many SQS calls a thousand beacons take under load: `SendMessageBatch` is what is paid for.

Real gunicorn, moto's server as SQS, a proxy that counts, beacons of two events.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import requests

from bench.report import Figure
from bench.servers import NOWHERE, environ
from tests.helpers.sqs_backend import CREDENTIALS
from tests.helpers.sqs_cluster import make_queue, moto_process
from tests.helpers.sqs_proxy import SqsProxy
from tests.helpers.support import ORIGIN, Gateway, beacon, event

BEACONS = 40  # for each connection


def measure(*, quick: bool) -> list[Figure]:
    """Count SQS calls per thousand beacons at several numbers of connections."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        proxy = stack.enter_context(SqsProxy(stack.enter_context(moto_process())))
        os.environ.update(CREDENTIALS)
        settings = environ(folder, GATEWAY_QUEUE=make_queue(proxy.url))
        gateway = Gateway(folder, settings, SimpleNamespace(url=NOWHERE))
        stack.callback(gateway.stop)
        gateway.start()
        figures = []
        for connections in (4,) if quick else (1, 8, 32):
            proxy.calls.clear()
            beacons = connections * BEACONS
            rate = _load(gateway, connections, beacons)
            calls = len(proxy.actions("SendMessageBatch")) * 1000 / beacons
            label = f"SQS, {connections} connections"
            figures += [
                Figure(f"{label}, SendMessageBatch", "for 1,000 beacons", [calls]),
                Figure(f"{label}, against moto", "beacons/s", [rate]),
            ]
    return figures


def _load(gateway: Gateway, connections: int, beacons: int) -> float:
    """Post so many beacons over so many connections; beacons a second."""
    barrier = threading.Barrier(connections + 1)

    def visit() -> None:
        with requests.Session() as browser:
            barrier.wait()
            for _ in range(beacons // connections):
                answer = browser.post(
                    f"{gateway.url}/events",
                    data=json.dumps(beacon(event(), event())),
                    headers={"Origin": ORIGIN},
                    timeout=60,
                )
                answer.raise_for_status()

    threads = [threading.Thread(target=visit) for _ in range(connections)]
    for thread in threads:
        thread.start()
    barrier.wait()
    began = time.monotonic()
    for thread in threads:
        thread.join()
    return beacons / (time.monotonic() - began)
