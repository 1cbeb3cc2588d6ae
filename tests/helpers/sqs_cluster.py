"""The gateway on SQS as processes: gunicorn masters, and forwarders that are started apart."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import requests

from gateway.queues.sqs import admin
from gateway.queues.sqs.client import Queue
from gateway.sandbox import Sandbox
from tests.helpers.support import ROOT, Gateway, alive, children, eventually, free_port


@contextmanager
def moto_process() -> Iterator[str]:
    """moto's server as a process of its own; its address."""
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-m", "tests.helpers.moto_sqs", "-H", "127.0.0.1", "-p", str(port)],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        url = f"http://127.0.0.1:{port}"
        try:
            eventually(lambda: _answers(url), "moto answers", 60)
            yield url
        finally:
            process.kill()


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/moto-api/", timeout=1).ok
    except requests.ConnectionError:
        return False


def make_queue(server: str, visibility: int = 60) -> str:
    """A queue of its own with its dead-letter queue; its URL."""
    url, _ = admin.create(f"{server}/123456789012/q-{uuid4()}", None)
    attributes = {"VisibilityTimeout": str(visibility)}
    Queue(url).call("set_queue_attributes", Attributes=attributes)
    return url


class Forwarder:
    """`personalize-gateway forward`, with a metrics port, under credentials of its own."""

    def __init__(self, gateway: Gateway, name: str = "forwarder", **environ: str) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "gateway", "forward", "--metrics-port", str(self.port)]
        env = {**gateway.environ, "AWS_ACCESS_KEY_ID": name, **environ}
        with gateway.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log)

    def get(self, path: str) -> requests.Response:
        return requests.get(f"http://127.0.0.1:{self.port}{path}", timeout=10)

    def delivered(self) -> int:
        """Events, as its own metrics say."""
        with suppress(requests.ConnectionError):
            lines = self.get("/metrics").text.splitlines()
            name = "gateway_events_delivered_total{"
            return sum(int(float(line.split()[-1])) for line in lines if line.startswith(name))
        return 0

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(60)


class Cluster(Gateway):
    """Several masters behind one name, and several forwarders, which are kept running."""

    def __init__(
        self, folder: Path, environ: Mapping[str, str], sandbox: Sandbox, masters: int, count: int
    ) -> None:
        super().__init__(folder, environ, sandbox)
        self._masters = [Gateway(folder, environ, sandbox) for _ in range(masters)]
        self._count = count
        self._forwarders: list[subprocess.Popen[bytes]] = []
        self._ending = threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True)

    @property
    def url(self) -> str:
        """Any of them: a load balancer's choice."""
        return random.choice(self._masters).url

    @url.setter
    def url(self, _value: str) -> None:
        """Gateway's own is of no use here."""

    def start(self, *options: str, **environ: str) -> Cluster:
        """Start those masters that do not run, and once the forwarders."""
        for master in self._masters:
            if master._process is None:
                master.start(*options, **environ)
        if not self._keeper.is_alive():
            self._keeper.start()
        return self

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End one master."""
        random.choice(self._masters).stop(how)

    def end(self) -> None:
        """End everything."""
        self._ending.set()
        if self._keeper.is_alive():
            self._keeper.join()
        for process in self._forwarders:
            process.terminate()
        for process in self._forwarders:
            process.wait(60)
        for master in self._masters:
            master.stop()

    def workers(self) -> list[int]:
        running = [m.master for m in self._masters if m._process is not None]
        return [pid for master in running for pid in children(master)]

    def forwarders(self) -> list[int]:
        return [process.pid for process in self._forwarders if alive(process.pid)]

    def _keep(self) -> None:
        """As any process manager does."""
        while not self._ending.wait(0.1):
            self._forwarders = [one for one in self._forwarders if one.poll() is None]
            while len(self._forwarders) < self._count:
                command = [sys.executable, "-m", "gateway", "forward"]
                with self.log.open("ab") as log:
                    self._forwarders.append(
                        subprocess.Popen(
                            command, cwd=ROOT, env=self.environ, stdout=log, stderr=log
                        )
                    )


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """End a process that was started in a session of its own, and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    process.wait(60)
