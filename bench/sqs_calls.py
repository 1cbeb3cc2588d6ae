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

import requests

from gateway.sandbox import Sandbox
from tests.sqs_backend import CREDENTIALS
from tests.sqs_cluster import make_queue, moto_process
from tests.sqs_proxy import SqsProxy
from tests.support import ORIGIN, Gateway, beacon, event, write_sites

BEACONS = 40  # for each connection
CONNECTIONS = (1, 8, 32)
RESULTS = Path(__file__).parent / "results" / "sqs_calls.json"


def main() -> None:
    """Print a table, and keep it."""
    os.environ.update(CREDENTIALS)
    print("connections  beacons/s  SendMessageBatch for each 1,000 beacons")
    rows = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        proxy = stack.enter_context(SqsProxy(stack.enter_context(moto_process())))
        environ = {
            "GATEWAY_SITES": str(write_sites(folder / "sites.toml")),
            "GATEWAY_QUEUE": make_queue(proxy.url),
            "GATEWAY_SECRET_KEY": "bench",
        }
        gateway = Gateway(folder, environ, stack.enter_context(Sandbox(port=0)))
        stack.callback(gateway.stop)
        gateway.start()
        for connections in CONNECTIONS:
            proxy.calls.clear()
            beacons = connections * BEACONS
            rate = _load(gateway, connections, beacons)
            calls = len(proxy.actions("SendMessageBatch")) * 1000 / beacons
            rows.append({"connections": connections, "rate": rate, "calls": calls})
            print(f"{connections:11}  {rate:9.0f}  {calls:8.0f}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=2) + "\n")


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


if __name__ == "__main__":
    main()
