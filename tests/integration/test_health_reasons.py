"""Each reason of `/readyz` is turned on and off: it shows there, in the metrics and in the log."""

from __future__ import annotations

import logging
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from gateway.app import create_app
from gateway.queues import ForwarderStatus
from gateway.queues.sqlite.locks import ForwarderLock
from gateway.settings import load
from tests.helpers.support import ORIGIN, beacon

SUDO = [] if os.geteuid() == 0 else ["sudo"]
RESERVE = 1 << 20
Turn = Callable[[], object]


class Node:
    """A web end on a disk of its own, with a forwarder that says what the test wants."""

    def __init__(self, environ: dict[str, str], disk: Path) -> None:
        self.disk = disk
        self.sites_file = Path(environ["GATEWAY_SITES"])
        environ = {**environ, "GATEWAY_QUEUE": f"sqlite:///{disk}/queue.db",
                   "GATEWAY_MIN_FREE_BYTES": str(RESERVE),
                   "GATEWAY_ADMIN_TOKEN": "token-of-the-suite",
                   "GATEWAY_QUEUE_MAX_BYTES": str(3 << 20)}  # fmt: skip
        self.client: FlaskClient = create_app(load(environ)).test_client()
        self.forwarder = ForwarderLock(disk / "queue.db")
        assert self.forwarder.acquire()
        self.report()

    def report(self, **what: object) -> None:
        """The forwarder has just said this."""
        self.forwarder.report(
            ForwarderStatus(**{"at": time.time(), "in_flight": 0, "troubles": {}, **what})
        )

    def post(self, events: int = 1) -> int:
        body = beacon(*({"eventType": "view", "itemId": "x" * 256} for _ in range(events)))
        return self.client.post("/events", json=body, headers={"Origin": ORIGIN}).status_code

    def reasons(self) -> tuple[int, list[str]]:
        """The status, and every reason that the answer gives."""
        answer = self.client.get("/readyz")
        told = answer.get_json()
        return answer.status_code, [one["reason"] for one in [told, *told.get("degraded", [])]
                                    if "reason" in one]  # fmt: skip

    def measured(self) -> list[str]:
        """What the metrics say of it."""
        bearer = {"Authorization": "Bearer token-of-the-suite"}
        text = self.client.get("/metrics", headers=bearer).text
        return [
            line
            for line in text.splitlines()
            if line.startswith(("gateway_ready ", "gateway_unavailable{", "gateway_degraded{"))
        ]


@pytest.fixture
def node(environ: dict[str, str], tmp_path: Path) -> Iterator[Node]:
    disk = tmp_path / "disk"
    disk.mkdir()
    options = f"size=8m,mode=0700,uid={os.geteuid()}"
    subprocess.run([*SUDO, "mount", "-t", "tmpfs", "-o", options, "test", disk], check=True)
    node = Node(environ, disk)
    yield node
    node.forwarder.release()
    subprocess.run([*SUDO, "umount", "--lazy", disk], check=True)


def read_only_disk(node: Node) -> Turn:
    """The same folder, mounted once more: what holds files open can't be made read-only."""
    subprocess.run([*SUDO, "mount", "--bind", node.disk, node.disk], check=True)
    subprocess.run([*SUDO, "mount", "-o", "remount,bind,ro", node.disk], check=True)
    return lambda: subprocess.run([*SUDO, "umount", node.disk], check=True)


def full_disk(node: Node) -> Turn:
    ballast = node.disk / "something else's"
    free = os.statvfs(node.disk)
    ballast.write_bytes(bytes(free.f_bavail * free.f_frsize - RESERVE // 2))
    return ballast.unlink


def full_queue(node: Node) -> Turn:
    while node.post(100) == 204:
        pass

    def empty() -> None:
        for name in ("queue.db", "queue.db-wal", "queue.db-shm"):
            (node.disk / name).unlink()

    return empty


def dead_forwarder(node: Node) -> Turn:
    node.report(at=time.time() - 11)
    return node.report


def misconfigured_site(node: Node) -> Turn:
    node.report(troubles={"shop": "tracking_id: no such tracker"})
    return node.report


def old_backlog(node: Node) -> Turn:
    node.report(oldest_at=time.time() - 301)
    return lambda: node.report(oldest_at=time.time() - 299)


def broken_sites_file(node: Node) -> Turn:
    beside = Path(f"{node.sites_file}.problem")
    beside.write_text("sites.toml: not valid TOML")
    return beside.unlink


def sites_file_that_the_forwarder_refuses(node: Node) -> Turn:
    node.report(sites_file="sites.toml: not valid TOML")
    return node.report


@pytest.mark.parametrize(
    ("spoil", "status", "reason", "site"),
    [
        (read_only_disk, 503, "read_only", None),
        (full_disk, 503, "disk_reserve", None),
        (full_queue, 503, "queue_full", None),
        (dead_forwarder, 200, "forwarder_silent", ""),
        (misconfigured_site, 200, "site", "shop"),
        (old_backlog, 200, "backlog", ""),
        (broken_sites_file, 200, "sites_file", ""),
        (sites_file_that_the_forwarder_refuses, 200, "sites_file", ""),
    ],
)
def test_each_reason_turns_on_and_off(
    node: Node,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Node], Turn],
    status: int,
    reason: str,
    site: str | None,
) -> None:
    monkeypatch.setattr(logging.getLogger("gateway"), "propagate", True)
    caplog.set_level(logging.INFO)
    assert node.reasons() == (200, [])
    assert node.measured() == ["gateway_ready 1.0"]

    mend = spoil(node)
    assert node.reasons() == node.reasons() == (status, [reason])
    if status == 503:
        series = ["gateway_ready 0.0", f'gateway_unavailable{{reason="{reason}"}} 1.0']
    else:
        series = ["gateway_ready 1.0", f'gateway_degraded{{reason="{reason}",site="{site}"}} 1.0']
        assert node.post() == 204  # a load balancer must not drop it
    assert node.measured() == series
    [line] = [line for line in caplog.messages if line.startswith("readyz: ")]
    assert reason in line

    mend()
    assert node.reasons() == (200, [])
    assert node.measured() == ["gateway_ready 1.0"]
    assert caplog.messages[-1] == "readyz: ok"
