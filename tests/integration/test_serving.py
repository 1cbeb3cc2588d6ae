"""The whole path as processes: gunicorn, its workers, the forwarder, SQLite, PutEvents."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from gateway.commands.forward import YIELDING
from gateway.queues.sqlite.locks import ForwarderLock
from gateway.sandbox import Faults
from tests.helpers.support import (
    ADMIN_TOKEN,
    ORIGIN,
    ROOT,
    TRACKING_ID,
    Gateway,
    alive,
    beacon,
    children,
    event,
    eventually,
)


@pytest.mark.parametrize("worker_class", ["gevent", "gthread", "sync"])
def test_an_event_reaches_put_events_under_every_worker_class(gateway, worker_class):
    gateway.start("--worker-class", worker_class, "--threads", "4")
    ids = gateway.assert_accepted(event(), event(), userId="u-17")
    gateway.assert_delivered(ids)
    [call] = gateway.sandbox.requests()
    assert call["trackingId"] == TRACKING_ID
    assert call["userId"] == "u-17"
    assert [item["eventId"] for item in call["eventList"]] == ids


def test_what_is_posted_with_curl_arrives_within_two_seconds(gateway):
    gateway.start()
    gateway.assert_delivered(gateway.assert_accepted(event()))  # the forwarder is up, too
    body = '{"trackingId": "shop", "eventList": [{"eventType": "view", "eventId": "curl"}]}'
    subprocess.run(
        [
            "curl",
            "-sf",
            "-H",
            "Origin: https://shop.example.com",
            "-d",
            body,
            f"{gateway.url}/events",
        ],
        check=True,
    )
    gateway.assert_delivered(["curl"], seconds=2)


def test_one_visitor_has_one_session_and_sites_never_share_one(gateway):
    gateway.start()
    with requests.Session() as browser:
        browser.headers["Origin"] = "https://shop.example.com"
        for _ in range(3):
            assert browser.post(f"{gateway.url}/events", json=beacon()).status_code == 204
        browser.headers["Origin"] = "https://media.example.com"
        elsewhere = {**beacon(), "trackingId": "media"}
        assert browser.post(f"{gateway.url}/events", json=elsewhere).status_code == 204
    calls = eventually(lambda: _events_by_tracking_id(gateway, 4), "all four arrive")
    assert len({session for tracking_id, session in calls if tracking_id == TRACKING_ID}) == 1
    assert len(set(calls)) == 2


def _events_by_tracking_id(gateway: Gateway, count: int) -> list[tuple[str, str]]:
    events = gateway.sandbox.events()
    return [(e["trackingId"], e["sessionId"]) for e in events] if len(events) == count else []


MASTER_WITH_SQS = """
import os
from gateway.queues.registry import find_queue
from gateway.settings import load
os.environ["GATEWAY_QUEUE"] = "http://127.0.0.1:9/0/events"
find_queue(load(os.environ)).capabilities
"""


@pytest.mark.parametrize("code", ["import wsgi", MASTER_WITH_SQS], ids=["web", "master with SQS"])
def test_boto3_is_not_loaded(environ, code):
    """Not by the web end; and not before gevent patches `ssl`, which boto3 would not survive."""
    code += "\nimport sys; print([m for m in ('boto3', 'botocore') if m in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == "[]\n"


def test_a_burst_shares_commits_and_nothing_is_lost(gateway):
    gateway.start()
    events = [event() for _ in range(300)]
    for start in range(0, 300, 100):
        gateway.assert_accepted(*events[start : start + 100])
    gateway.assert_delivered([item["eventId"] for item in events])
    assert max(len(call["eventList"]) for call in gateway.sandbox.requests()) == 10


@pytest.mark.parametrize("chunks", [b"zz\r\n{}\r\n", b"-5\r\n{}\r\n", b"2\r\n{}xx0\r\n\r\n"])
def test_malformed_chunks_get_a_400(gateway, chunks):
    gateway.start("--worker-class", "gthread")
    head = b"POST /events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as raw:
        raw.sendall(head + chunks)
        answer = raw.recv(4096)
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert "Traceback" not in gateway.log.read_text()


def test_a_folder_of_counters_that_vanishes_costs_no_event(gateway, tmp_path):
    folder = tmp_path / "counters"
    gateway.start(PROMETHEUS_MULTIPROC_DIR=str(folder), WEB_CONCURRENCY="1")
    shutil.rmtree(folder)
    [worker] = gateway.workers()
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: not alive(worker) and gateway.workers(), "another worker runs")
    gateway.assert_delivered(gateway.assert_accepted(event()))
    gateway.stop()
    assert folder.exists()  # it is the operator's


# --- deaths ---


@pytest.mark.parametrize("victims", ["worker", "forwarder", "both"])
def test_an_acknowledged_event_survives_sigkill(gateway, victims):
    gateway.sandbox.faults = Faults(error_rate=1.0)  # it stays queued until we say so
    gateway.start()
    eventually(gateway.forwarders, "the forwarder runs")
    ids = gateway.assert_accepted(event(), event())
    doomed = [] if victims == "forwarder" else gateway.workers()
    doomed += [] if victims == "worker" else gateway.forwarders()
    for pid in doomed:
        os.kill(pid, signal.SIGKILL)
    gateway.sandbox.faults = Faults()
    gateway.assert_delivered(ids)
    assert not any(map(alive, doomed))


def test_an_acknowledged_event_survives_the_death_of_everything(gateway):
    gateway.sandbox.faults = Faults(error_rate=1.0)
    gateway.start()
    ids = gateway.assert_accepted(event())
    family = [gateway.master, *children(gateway.master)]
    for pid in family:
        os.kill(pid, signal.SIGKILL)
    gateway.stop(signal.SIGKILL)
    gateway.sandbox.faults = Faults()
    gateway.start()
    gateway.assert_delivered(ids)


def test_the_forwarder_is_restarted_when_it_dies(gateway):
    gateway.start()
    [first] = eventually(gateway.forwarders, "the forwarder runs")
    os.kill(first, signal.SIGKILL)
    [second] = eventually(
        lambda: [pid for pid in gateway.forwarders() if pid != first], "another one runs"
    )
    assert second != first
    gateway.assert_delivered(gateway.assert_accepted(event()))


def test_the_forwarder_is_restarted_once_an_upgrade_has_put_python_back(
    gateway, tmp_path, monkeypatch
):
    virtual, python = Path(sys.prefix), tmp_path / "bin/python"
    python.parent.mkdir()
    python.symlink_to(Path(sys.executable).resolve())
    (tmp_path / "lib").symlink_to(virtual / "lib")
    shutil.copy(virtual / "pyvenv.cfg", tmp_path)
    monkeypatch.setattr(sys, "executable", str(python))
    gateway.start()
    [forwarder] = eventually(gateway.forwarders, "the forwarder runs")
    away = python.rename(tmp_path / "python")
    os.kill(forwarder, signal.SIGKILL)
    eventually(lambda: "No such file" in gateway.log.read_text(), "it can't be restarted")
    away.rename(python)
    gateway.assert_delivered(gateway.assert_accepted(event()))
    # gunicorn's master may have been quicker to ask how it ended.
    how = r" s \((SIGKILL|exit status 0 or not known)\); restarting in "
    assert re.search(how, gateway.log.read_text())


def test_the_forwarder_beside_the_workers_yields_to_them(gateway):
    gateway.start()
    gateway.assert_delivered(gateway.assert_accepted(event()))  # so it has come that far
    [forwarder] = gateway.forwarders()
    [worker, _] = gateway.workers()
    ahead = os.getpriority(os.PRIO_PROCESS, forwarder) - os.getpriority(os.PRIO_PROCESS, worker)
    assert ahead == min(YIELDING, 19 - os.getpriority(os.PRIO_PROCESS, worker))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_forwarder_ends_with_the_master(gateway, how):
    gateway.start()
    eventually(gateway.forwarders, "the forwarder runs")
    gateway.stop(how)  # asserts that every process has ended


def test_the_forwarder_survives_a_reload_and_ends_with_the_master(gateway):
    gateway.start()
    before = eventually(gateway.forwarders, "the forwarder runs")
    workers = gateway.workers()
    os.kill(gateway.master, signal.SIGHUP)
    eventually(lambda: not any(map(alive, workers)), "the workers are replaced", 60)
    gateway.assert_delivered(gateway.assert_accepted(event()))
    assert gateway.forwarders() == before
    gateway.stop(signal.SIGKILL)


def test_an_upgrade_of_gunicorn_keeps_the_counters(gateway):
    gateway.start(GATEWAY_ADMIN_TOKEN=ADMIN_TOKEN)
    ids = [gateway.assert_accepted(event())[0] for _ in range(20)]
    gateway.assert_delivered(ids)
    old = gateway.master
    before = set(children(old))
    os.kill(old, signal.SIGUSR2)

    def new_master() -> int | None:
        new = [pid for pid in set(children(old)) - before if len(children(pid)) > 2]
        return new[0] if new else None

    new = eventually(new_master, "the new master has its workers and forwarder")
    ids += [gateway.assert_accepted(event())[0] for _ in range(40)]  # by workers of both
    os.kill(old, signal.SIGTERM)
    eventually(lambda: not alive(old), "the old master has ended")
    try:
        ids += [gateway.assert_accepted(event())[0] for _ in range(20)]
        gateway.assert_delivered(ids)
        accepted = "gateway_events_accepted_total"
        assert gateway.metric(accepted) == len(ids)
        delivered = "gateway_events_delivered_total"
        eventually(lambda: gateway.metric(delivered) == len(ids), "all deliveries are counted")
    finally:
        os.kill(new, signal.SIGTERM)
        eventually(lambda: not alive(new), "the new master has ended")


def test_a_forwarder_can_be_switched_off(gateway):
    gateway.start(GATEWAY_FORWARDER="off")
    gateway.assert_accepted(event())
    assert gateway.forwarders() == []


def test_a_second_forwarder_waits_for_the_lock_and_logs_it_once(gateway):
    gateway.start()
    gateway.assert_delivered(gateway.assert_accepted(event()))  # so the first one has the lock
    command = [sys.executable, "-m", "gateway", "forward"]
    with subprocess.Popen(
        command, cwd=ROOT, env=gateway.environ, stderr=subprocess.PIPE, text=True
    ) as second:
        assert second.stderr is not None
        assert "waiting for its turn" in second.stderr.readline()
        gateway.stop()
        gateway.start(GATEWAY_FORWARDER="off")
        gateway.assert_delivered(gateway.assert_accepted(event()))
        second.terminate()
        assert second.stderr.read() == ""
        assert second.wait(timeout=30) == 0


def test_deleting_the_queues_files_lets_no_second_forwarder_in(gateway, tmp_path):
    gateway.start()
    gateway.assert_delivered(gateway.assert_accepted(event()))
    for path in tmp_path.glob("queue.db*"):
        path.unlink()
    eventually(tmp_path.joinpath("queue.db-forwarder.lock").exists, "the forwarder takes it anew")
    command, said = [sys.executable, "-m", "gateway", "forward"], tmp_path / "second.log"
    with (
        said.open("w") as log,
        subprocess.Popen(command, cwd=ROOT, env=gateway.environ, stderr=log) as second,
    ):
        try:
            eventually(lambda: "waiting for its turn" in said.read_text(), "it waits")
            gateway.assert_delivered(gateway.assert_accepted(event()))
        finally:
            second.terminate()


def test_a_forwarder_whose_lock_file_was_replaced_waits_for_the_owner_of_the_new_one(
    gateway, tmp_path
):
    gateway.start()
    gateway.assert_delivered(gateway.assert_accepted(event()))
    other = ForwarderLock(tmp_path / "other.db")
    assert other.acquire()
    (tmp_path / "other.db-forwarder.lock").replace(tmp_path / "queue.db-forwarder.lock")
    word = "another forwarder has the lock now"
    try:
        eventually(lambda: word in gateway.log.read_text(), "it says so")
        ids = gateway.assert_accepted(event())
        time.sleep(1)
        assert not set(ids) & set(gateway.delivered())
        assert gateway.log.read_text().count(word) == 1
    finally:
        other.release()
    gateway.assert_delivered(ids)


def test_forward_once_delivers_what_is_there_and_exits(gateway):
    gateway.start(GATEWAY_FORWARDER="off")
    ids = gateway.assert_accepted(*[event() for _ in range(25)])
    run = subprocess.run(
        [sys.executable, "-m", "gateway", "forward", "--once"],
        cwd=ROOT, env=gateway.environ, timeout=60, capture_output=True, text=True,
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, "")
    assert gateway.delivered() == ids


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("queue status", 0),
        ("queue verify", 0),
        ("dead-letters list", 0),
        ("dead-letters show 1", 1),
        ("dead-letters replay", 0),
        ("dead-letters purge", 0),
        ("trace e-1", 1),
        ("forget --site shop --user u-1", 0),
        ("check", 0),
    ],
)
def test_a_command_that_runs_before_the_service_makes_no_file_that_keeps_it_out(
    gateway, tmp_path, command, status
):
    gateway.environ["GATEWAY_QUEUE"] = f"sqlite:///{tmp_path}/not/there/yet/queue.db"
    before = sorted(tmp_path.rglob("*"))
    run = gateway.operate(*command.split())
    assert run.returncode == status, run.stderr
    assert "Traceback" not in run.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_forward_once_delivers_where_it_can_say_nothing(gateway, closed):
    gateway.start(GATEWAY_FORWARDER="off")
    ids = gateway.assert_accepted(event())
    run = subprocess.run(
        ["sh", "-c", f'"$0" -m gateway forward --once {closed}', sys.executable],
        cwd=ROOT, env=gateway.environ, timeout=60, capture_output=True, text=True,
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, "")
    assert gateway.delivered() == ids


# --- refusals at the start ---


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"GATEWAY_QUEU": "x"}, "GATEWAY_QUEU: unknown (did you mean GATEWAY_QUEUE?)"),
        ({"GATEWAY_MAX_BODY_BYTES": "lots"}, "GATEWAY_MAX_BODY_BYTES: Not a valid integer."),
        ({"GATEWAY_SECRET_KEY": ""}, "GATEWAY_SECRET_KEY"),
        ({"GATEWAY_SITES": "/nowhere.toml"}, "GATEWAY_SITES: /nowhere.toml: No such file"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_one_line(gateway, change, line):
    run = subprocess.run(
        [sys.executable, "-m", "gunicorn", "wsgi:app", "-b", f"127.0.0.1:{gateway.port}"],
        cwd=ROOT, env={**gateway.environ, **change}, timeout=30, capture_output=True, text=True,
    )  # fmt: skip
    said = [row for row in run.stderr.splitlines() if '"INFO"' not in row]
    assert run.returncode != 0
    assert len(said) == 1
    assert line in said[0]


@pytest.mark.parametrize("port", ["taken", "99999"])
def test_a_metrics_port_that_can_not_be_had_stops_the_forwarder_with_one_line(environ, port):
    with socket.create_server(("", 0)) as other:
        number = str(other.getsockname()[1]) if port == "taken" else port
        run = subprocess.run(
            [sys.executable, "-m", "gateway", "forward", "--metrics-port", number],
            cwd=ROOT, env={**os.environ, **environ}, timeout=30, capture_output=True, text=True,
        )  # fmt: skip
    assert run.returncode == 1
    [line] = run.stderr.splitlines()
    assert line.startswith(f"personalize-gateway: --metrics-port {number}: ")


def test_a_stopping_worker_finishes_requests_in_progress_and_drops_idle_connections(gateway):
    gateway.start(WEB_CONCURRENCY="1")
    address = ("127.0.0.1", gateway.port)
    body = json.dumps(beacon(item := event())).encode()
    head = (
        f"POST /events HTTP/1.1\r\nHost: x\r\nOrigin: {ORIGIN}\r\nContent-Length: {len(body)}\r\n"
    )
    with (
        requests.Session() as kept,
        socket.create_connection(address) as silent,
        socket.create_connection(address, timeout=20) as slow,
    ):
        assert kept.get(f"{gateway.url}/healthz", timeout=10).ok
        slow.sendall(f"{head}\r\n".encode() + body[:9])
        [worker] = gateway.workers()
        os.kill(worker, signal.SIGTERM)
        assert silent.recv(1) == b""
        slow.sendall(body[9:])
        assert slow.recv(4096).startswith(b"HTTP/1.1 204 ")
        eventually(lambda: not alive(worker), "it has ended")
        assert kept.get(f"{gateway.url}/healthz", timeout=10).ok  # of the next worker
    gateway.assert_delivered([item["eventId"]])
    assert "graceful timeout" not in gateway.log.read_text()
