"""A full disk or queue: 503 instead of a lost event, delivery goes on, and it ends by itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
import requests

from gateway.queues import QueueUnavailable, Rejection
from gateway.queues.sqlite.database import Database
from gateway.sandbox import Faults, Sandbox
from tests.helpers.queue_contract import SqliteBackend, drain, ids, receive, record, released
from tests.helpers.support import ADMIN_TOKEN, ROOT, Gateway, beacon, event, eventually

DISK_BYTES = 12 << 20
RESERVE_BYTES = 1 << 20
TEXT = "x" * 900


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(keep=1_000_000) as sandbox:
        yield sandbox


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system, mounted: /disk/queue.db, and what else the test puts there."""
    folder, sudo = tmp_path / "disk", [] if os.geteuid() == 0 else ["sudo"]
    folder.mkdir()
    options = f"size={DISK_BYTES},mode=0700,uid={os.geteuid()}"
    command = ["mount", "-t", "tmpfs", "-o", options, "gateway-test", folder]
    subprocess.run([*sudo, *command], check=True)
    yield folder
    subprocess.run([*sudo, "umount", "--lazy", folder], check=True)


@pytest.fixture
def environ(environ: dict[str, str], disk: Path) -> dict[str, str]:
    return {**environ, "GATEWAY_QUEUE": f"sqlite:///{disk}/queue.db"}


class Flood:
    """Posts beacons and remembers what was acknowledged, and who said no first."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.acknowledged: list[str] = []
        self.ready_said_no = False

    def post(self, events: int = 20) -> requests.Response:
        """One beacon, after a look at /readyz. A 503 is complete, and /readyz came first."""
        readiness = requests.get(f"{self.gateway.url}/readyz", timeout=30)
        self.ready_said_no = readiness.status_code == 503
        if self.ready_said_no:
            assert readiness.json()["reason"]
        sent = [event(properties={"text": TEXT}) for _ in range(events)]
        answer = self.gateway.post(beacon(*sent, sessionId=f"s-{len(self.acknowledged) % 7}"))
        if answer.status_code == 204:
            self.acknowledged += [one["eventId"] for one in sent]
        else:
            assert answer.status_code == 503, answer.text
            assert self.ready_said_no, "POST /events was refused while /readyz said yes"
            assert int(answer.headers["Retry-After"]) > 0
            assert answer.headers["x-amzn-ErrorType"] == "ServiceUnavailableException"
            assert answer.headers["X-Gateway-Reason"]
        return answer

    def until_refused(self) -> str:
        """Post until it is refused; the reason."""
        answers = iter(lambda: self.post(50), None)
        return next(one.headers["X-Gateway-Reason"] for one in answers if one.status_code == 503)

    def until_accepted(self) -> None:
        """Post until it is accepted again, by the same processes as before."""
        eventually(lambda: self.post(1).status_code == 204, "a 204", 20)
        eventually(lambda: self.post(1).status_code == 204 and not self.ready_said_no, "ready")

    def assert_all_delivered(self) -> None:
        self.gateway.assert_delivered(self.acknowledged, 30)
        assert set(self.gateway.delivered()) == set(self.acknowledged)  # and nothing refused


def fill(disk: Path, leaving: int = 0) -> Path:
    """Somebody else's file takes all the disk, but so many bytes."""
    ballast = disk / "ballast"
    space = os.statvfs(disk)
    with ballast.open("ab", buffering=0) as file, suppress(OSError):
        if leaving:
            os.posix_fallocate(file.fileno(), 0, space.f_bavail * space.f_frsize - leaving)
        while not leaving:
            file.seek(0, os.SEEK_END)
            file.write(bytes(4096))
    return ballast


@contextmanager
def forwarder(gateway: Gateway, **environ: str) -> Iterator[None]:
    """One that was started apart, while the block runs."""
    command = [sys.executable, "-m", "gateway", "forward"]
    with subprocess.Popen(command, cwd=ROOT, env={**gateway.environ, **environ}) as process:
        try:
            yield
        finally:
            process.terminate()


def queued(gateway: Gateway) -> int:
    run = subprocess.run(
        [sys.executable, "-m", "gateway", "queue", "status", "--json"],
        cwd=ROOT, env=gateway.environ, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(run.stdout)["queued"]


def test_stored_events_are_acknowledged_though_a_full_disk_prevents_the_checkpoint(disk):
    backend = SqliteBackend(disk)
    inbox = backend.inbox()
    stored = [record(event=TEXT) for _ in range(500)]
    inbox.put(stored)
    with closing(Database(backend.path, "FULL")) as database:
        database.checkpoint(0)  # the log is written over from now on
    ballast = fill(disk)
    for _ in range(4):  # each but the first is long enough for a look at the log
        more = [record(event=TEXT) for _ in range(50)]
        assert inbox.put(more) == [True] * 50
        stored += more
    ballast.unlink()
    assert ids(drain(backend.outbox())) == ids(stored)


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ({"GATEWAY_MIN_FREE_BYTES": str(RESERVE_BYTES)}, "disk_reserve"),
        ({"GATEWAY_QUEUE_MAX_BYTES": str(2 << 20)}, "queue_full"),
    ],
)
def test_at_its_limit_the_queue_refuses_drains_and_accepts_again(gateway, limit, reason):
    gateway.start(GATEWAY_FORWARDER="off", **limit)
    flood = Flood(gateway)
    assert flood.until_refused() == reason
    assert len(flood.acknowledged) >= 100
    with forwarder(gateway, **limit):
        flood.assert_all_delivered()
        eventually(lambda: queued(gateway) == 0, "what is delivered is deleted")
        flood.until_accepted()
        flood.assert_all_delivered()


def test_a_backlog_drains_on_a_disk_that_others_have_filled(gateway, disk):
    gateway.start(GATEWAY_FORWARDER="off")
    flood = Flood(gateway)
    while len(flood.acknowledged) < 500:
        flood.post()
    gateway.stop()
    fill(disk, leaving=RESERVE_BYTES // 2)
    gateway.start(GATEWAY_MIN_FREE_BYTES=str(RESERVE_BYTES))
    assert flood.until_refused() == "disk_reserve"
    flood.assert_all_delivered()
    eventually(lambda: queued(gateway) == 0, "what is delivered is deleted")


def test_a_backlog_drains_on_a_disk_that_others_have_filled_to_the_last_byte(gateway, disk):
    gateway.start()
    eventually((disk / "queue.db-ballast").exists, "the forwarder has its ballast")
    gateway.sandbox.faults = Faults(throttle_rate=1.0)
    flood = Flood(gateway)
    while len(flood.acknowledged) < 1000:
        flood.post(50)
    filler = fill(disk)
    eventually(lambda: not (disk / "queue.db-ballast").exists(), "the forwarder has thrown it")
    fill(disk)
    gateway.sandbox.faults = Faults()
    flood.assert_all_delivered()
    filler.unlink()
    eventually(lambda: queued(gateway) == 0, "what is delivered is deleted")
    assert len(gateway.delivered()) == len(flood.acknowledged), "nothing is sent twice"


def test_what_is_settled_on_a_full_disk_is_written_once_there_is_space(disk, monkeypatch):
    backend = SqliteBackend(disk)
    backend.inbox().put([record(event_id=f"e-{n}", event=TEXT) for n in range(1000)])
    outbox = backend.outbox()
    first = receive(outbox)
    filler = fill(disk)
    outbox.settle(first[:8], [Rejection(first[8], "refused", "m", 2)], released(first[9:], 3))
    backend.pass_time(2)
    again, *others = receive(outbox)
    assert (again.record.event_id, again.attempts) == ("e-9", 3)
    delivered = [*first[:8], again, *others]
    outbox.settle([again, *others], [], [])
    while len(delivered) < 580:
        deliveries = receive(outbox)
        outbox.settle(deliveries, [], [])
        delivered += deliveries
    beyond = [delivery for _ in range(3) for delivery in receive(outbox)]
    monkeypatch.setattr("gateway.queues.sqlite.settlements.MOST_UNWRITTEN", len(delivered))
    with pytest.raises(QueueUnavailable, match="full"):
        outbox.settle(beyond, [], [])
    assert backend.dead() == []
    filler.unlink()
    backend.pass_time(2)
    outbox.tidy()
    assert [letter.record.event_id for letter in backend.dead()] == ["e-8"]
    outbox.settle(beyond, [], [])
    delivered += [*beyond, *drain(outbox)]
    assert ids(delivered) == [f"e-{n}" for n in range(1000) if n != 8]
    assert receive(backend.outbox()) == []


def test_a_backlog_drains_where_the_disk_is_full_to_the_last_byte_at_the_start(gateway, disk):
    gateway.start()
    eventually((disk / "queue.db-ballast").exists, "the forwarder has its ballast")
    gateway.stop()
    gateway.start(GATEWAY_FORWARDER="off")
    flood = Flood(gateway)
    while len(flood.acknowledged) < 1000:
        flood.post(50)
    gateway.stop()
    fill(disk)
    gateway.start(GATEWAY_MIN_FREE_BYTES=str(RESERVE_BYTES))
    flood.assert_all_delivered()
    eventually(lambda: queued(gateway) == 0, "what is delivered is deleted")


@pytest.mark.parametrize("reserve", [0, RESERVE_BYTES])
def test_a_disk_that_becomes_full_and_is_freed(gateway, disk, reserve):
    gateway.start(GATEWAY_MIN_FREE_BYTES=str(reserve))
    flood = Flood(gateway)
    flood.post()
    eventually((disk / "queue.db-ballast").exists, "the forwarder has its ballast")
    ballast = fill(disk)
    eventually(lambda: not (disk / "queue.db-ballast").exists(), "it has thrown it")
    fill(disk)
    flood.until_refused()
    ballast.unlink()
    flood.until_accepted()
    flood.assert_all_delivered()


@pytest.mark.parametrize("reserve", [0, RESERVE_BYTES])
def test_a_disk_that_is_full_at_the_start_and_is_freed(gateway, disk, reserve):
    ballast = fill(disk)
    gateway.start(GATEWAY_MIN_FREE_BYTES=str(reserve))
    flood = Flood(gateway)
    assert flood.post().status_code == 503
    ballast.unlink()
    flood.until_accepted()
    flood.assert_all_delivered()


def test_space_is_given_back_once_the_backlog_is_delivered(gateway, tmp_path):
    elsewhere = {"GATEWAY_QUEUE": f"sqlite:///{tmp_path}/queue.db"}
    gateway.start(GATEWAY_FORWARDER="off", **elsewhere)
    flood = Flood(gateway)
    while len(flood.acknowledged) < 2000:
        assert flood.post(50).status_code == 204
    before = used(tmp_path)
    with forwarder(gateway, **elsewhere):
        flood.assert_all_delivered()
        eventually(lambda: used(tmp_path) < before / 3, f"less than a third of {before}", 30)


def used(folder: Path) -> int:
    """Bytes that the queue takes of the disk, its log included and its ballast not."""
    files = set(folder.glob("queue.db*")) - {folder / "queue.db-ballast"}
    return sum(file.stat().st_size for file in files)


def test_counters_on_a_full_disk_delay_no_event_and_show_once_space_is_freed(
    gateway, disk, tmp_path
):
    ballast = fill(disk)
    gateway.start(
        GATEWAY_QUEUE=f"sqlite:///{tmp_path}/queue.db",
        GATEWAY_ADMIN_TOKEN=ADMIN_TOKEN,
        PROMETHEUS_MULTIPROC_DIR=str(disk / "counters"),
    )
    gateway.assert_delivered(gateway.assert_accepted(event()))
    assert gateway.metric("gateway_events") == 0
    ballast.unlink()

    def counted() -> bool:
        gateway.assert_delivered(gateway.assert_accepted(event()))
        return gateway.metric("gateway_events_delivered_total") >= 2

    eventually(counted, "what was counted shows")
    log = gateway.log.read_text()
    assert "_forwarder.db: [Errno 28] No space left" in log
    assert "died" not in log


def test_counters_that_cannot_grow_on_a_full_disk_are_logged_once_and_the_others_count_on(disk):
    code = (
        "from gateway.observability.metrics import ACCEPTED, exposition, State\n"
        "for _ in range(2):\n"
        "    for site in range(5000):\n"
        "        ACCEPTED.labels(site).inc()\n"
        "print(exposition(State()).decode())"
    )
    fill(disk, leaving=250_000)
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(disk)},
    )  # fmt: skip
    assert run.returncode == 0
    assert 'gateway_events_accepted_total{site="7"} 2.0\n' in run.stdout
    [line] = run.stderr.splitlines()
    assert "No space left" in line
