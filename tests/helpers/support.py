"""What the tests share: a gateway as a process, and waiting for a condition."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import requests
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from gateway.sandbox import Sandbox
from tests.helpers.secrecy import MARK, search_log

ROOT = Path(__file__).parents[2]
ORIGIN = "https://shop.example.com"
ADMIN_TOKEN = f"admin-{MARK}"
SECRET_KEY = f"key-{MARK}-of-32-characters"
USER_SECRET = f"user-{MARK}"
ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
TRACKING_ID = "8f3b1c5e-0000-4000-8000-000000000001"
SITES = f"""\
[sites.shop]
tracking_id = "{TRACKING_ID}"
origins = ["{ORIGIN}", "https://*.shop.example.org"]
region = "us-east-1"
events_per_minute = 1000000

[sites.media]
tracking_id = "8f3b1c5e-0000-4000-8000-000000000002"
origins = ["https://media.example.com"]
region = "eu-west-1"
events_per_minute = 1000000

[sites.servers]
tracking_id = "8f3b1c5e-0000-4000-8000-000000000003"
origins = []
region = "us-east-1"
events_per_minute = 1000000
allow_missing_origin = true
"""

Start = Callable[..., FlaskClient]  # the fixture `start`
Stored = Callable[[], list[dict[str, Any]]]  # the fixture `stored`

Value = TypeVar("Value")


def write_sites(path: Path, text: str = SITES) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def environment(folder: Path) -> dict[str, str]:
    """A valid set-up: site `shop`, a SQLite queue, no limits that the machine's disk could hit."""
    return {
        "GATEWAY_SITES": str(write_sites(folder / "sites.toml")),
        "GATEWAY_QUEUE": f"sqlite:///{folder}/queue.db",
        "GATEWAY_SECRET_KEY": SECRET_KEY,
        "GATEWAY_MIN_FREE_BYTES": "0",
    }


def event(**members: Any) -> dict[str, Any]:
    """One valid event with an eventId of its own."""
    return {"eventId": str(uuid4()), "eventType": "view", "itemId": "i-9", **members}


def beacon(*events: dict[str, Any], **members: Any) -> dict[str, Any]:
    """A request's body for the site `shop`."""
    return {"trackingId": "shop", "eventList": list(events) or [event()], **members}


def eventually(probe: Callable[[], Value], what: str, seconds: float = 45.0) -> Value:
    """The probe's first true value; fails where it has none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := probe():
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {seconds} s")


def free_port() -> int:
    """A port to listen on, outside the range from which the kernel serves clients."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def children(pid: int) -> list[int]:
    """The living child processes of a process."""
    listing = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True)
    return [int(child) for child in listing.stdout.split() if alive(int(child))]


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def post(client: FlaskClient, body: Any = None, **headers: str | None) -> TestResponse:
    """Post as a page of the site `shop` does; a header that is None is not sent."""
    data = body if isinstance(body, bytes) else json.dumps(beacon() if body is None else body)
    named = {"Origin": ORIGIN, "Content-Type": "text/plain"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    sent = {name: value for name, value in named.items() if value is not None}
    return client.post("/events", data=data, headers=sent)


class Gateway:
    """gunicorn with the gateway in it, on a port of its own, and what tests do to it."""

    app = "wsgi:app"

    def __init__(self, folder: Path, environ: Mapping[str, str], sandbox: Sandbox) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.sandbox = sandbox
        self.log = folder / "gateway.log"
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            **environ,
            "WEB_CONCURRENCY": "2",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": f"aws-{MARK}",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL_PERSONALIZE_EVENTS": sandbox.url,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str, **environ: str) -> Gateway:
        """Start gunicorn and return once it answers."""
        with self.log.open("ab") as log:
            return self.start_with(log.fileno(), *options, **environ)

    def start_with(self, output: int, *options: str, **environ: str) -> Gateway:
        """The same, with what it says going to this descriptor."""
        # Not `-m gunicorn`: started so, gunicorn can't start itself again at SIGUSR2.
        program = [sys.executable, "-m", "gunicorn.app.wsgiapp"]
        command = [*program, self.app, "-b", f"127.0.0.1:{self.port}"]
        self.log.touch()
        self._process = subprocess.Popen(
            [*command, *options],
            cwd=ROOT,
            env={**self.environ, **environ},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        eventually(self._answers, f"gunicorn answers\n{self.log.read_text()}")
        return self

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End gunicorn's master, and return once everything that it started is gone."""
        if self._process is None:
            return
        family = [self.master, *children(self.master)]
        self._process.send_signal(how)
        self._process.wait(timeout=60)
        self._process = None
        eventually(lambda: not any(map(alive, family)), "every process has ended", 60)
        search_log(self.log.read_text(errors="replace"), "the log")

    @property
    def master(self) -> int:
        assert self._process is not None
        return self._process.pid

    def forwarders(self) -> list[int]:
        """The forwarder processes beside the workers."""
        return [pid for pid in children(self.master) if "gateway forward" in command_line(pid)]

    def workers(self) -> list[int]:
        return [pid for pid in children(self.master) if "gunicorn" in command_line(pid)]

    def post(self, body: Any, **headers: str) -> requests.Response:
        """Post a beacon as a page of the site `shop` would."""
        text = body if isinstance(body, bytes | str) else json.dumps(body)
        headers = {"Origin": ORIGIN, "Content-Type": "text/plain", **headers}
        return requests.post(f"{self.url}/events", data=text, headers=headers, timeout=30)

    def assert_accepted(self, *events: dict[str, Any], **members: Any) -> list[str]:
        """Post events; they are answered 204. Their eventIds."""
        answer = self.post(beacon(*events, **members))
        assert answer.status_code == 204, answer.text
        return [event["eventId"] for event in events]

    def delivered(self) -> list[str]:
        """The eventIds that PutEvents accepted, in order, with repetitions."""
        return [event["eventId"] for event in self.sandbox.events()]

    def assert_delivered(self, event_ids: Iterable[str], seconds: float = 45.0) -> None:
        """All of these arrive at PutEvents."""
        wanted = set(event_ids)
        eventually(lambda: wanted <= set(self.delivered()), "everything is delivered", seconds)

    def operate(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run `personalize-gateway …` in the same set-up."""
        return subprocess.run(
            [sys.executable, "-m", "gateway", *command],
            cwd=ROOT, env=self.environ, timeout=60, capture_output=True, text=True,
        )  # fmt: skip

    def metric(self, name: str) -> float:
        """One series' value at `/metrics`; 0 where it isn't there yet."""
        answer = requests.get(f"{self.url}/metrics", headers=ADMIN, timeout=10)
        assert answer.ok, answer.text
        lines = answer.text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()
        try:
            return requests.get(f"{self.url}/healthz", timeout=1).ok
        except (requests.ConnectionError, requests.Timeout):
            return False
