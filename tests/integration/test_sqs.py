"""The whole path on SQS, as processes: web nodes, forwarders, moto's server, PutEvents."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import pytest
import requests
from moto.sqs.models import Message, sqs_backends

from gateway.queues import Record
from gateway.queues.sqs.client import Queue
from gateway.queues.sqs.inbox import SqsInbox
from gateway.sandbox import Faults, Sandbox
from tests.helpers import moto_sqs  # noqa: F401 - makes moto's deletions atomic
from tests.helpers.queue_contract import record
from tests.helpers.sqs_backend import CREDENTIALS
from tests.helpers.sqs_cluster import Forwarder, kill_group, make_queue, moto_process
from tests.helpers.sqs_proxy import SqsProxy
from tests.helpers.support import ROOT, Gateway, beacon, event, eventually, free_port

POLICIES = {
    # The actions of batch calls are those of the single ones, to SQS.
    name: json.loads((ROOT / f"docs/iam/{name}-sqs.json").read_text())
    for name in ("web", "forwarder", "operator")
}
EVENTS = 20_000
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with moto_process() as url:
        yield url


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def proxy(server: str) -> Iterator[SqsProxy]:
    with SqsProxy(server) as proxy:
        yield proxy


@pytest.fixture
def environ(environ: dict[str, str], proxy: SqsProxy) -> dict[str, str]:
    return {**environ, "GATEWAY_QUEUE": make_queue(proxy.url)}


@pytest.fixture
def started() -> Iterator[list[Forwarder]]:
    """Forwarders to be ended with the test."""
    forwarders: list[Forwarder] = []
    yield forwarders
    for forwarder in forwarders:
        forwarder.process.kill()
        forwarder.process.wait()


def waiting(name: str, session_id: str = "s-1") -> Record:
    """A record that arrived just now."""
    sent = json.dumps({"eventType": "view", "eventId": name, "sentAt": 1_763_880_000})
    return record("shop", session_id, event_id=name, event=sent, received_at=time.time())


def run(gateway: Gateway, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        cwd=ROOT, env={**gateway.environ, **environ}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def allowed(policy: dict[str, Any], action: str, queue: str) -> bool:
    """Whether a call is within a policy whose example queues are called events and events-dead."""
    name = "events-dead" if queue.endswith("-dead") else "events"
    for statement in policy["Statement"]:
        actions = [one.partition(":")[2] for one in statement["Action"] if one.startswith("sqs:")]
        if action.removesuffix("Batch") in actions and any(
            fnmatch(f"arn:aws:sqs:us-east-1:123456789012:{name}", resource)
            for resource in statement["Resource"]
        ):
            return True
    return False


def test_an_event_reaches_put_events_and_each_process_stays_within_its_policy(
    gateway, proxy, started
):
    gateway.sandbox.faults = Faults(refuse_item_ids=("poison",))
    gateway.start(AWS_ACCESS_KEY_ID="web")
    assert gateway.forwarders() == []  # they are started apart
    proxy.calls.clear()
    started.append(Forwarder(gateway))
    ids = gateway.assert_accepted(event(), event(itemId="poison"), event(), userId="u-17")
    gateway.assert_delivered([ids[0], ids[2]])
    listing = eventually(lambda: _dead(gateway), "the poison is dead")
    [letter] = map(json.loads, listing.splitlines())
    assert (letter["event"]["eventId"], letter["reason"]) == (ids[1], "refused")
    assert "i-9" not in listing
    shown = json.loads(run(gateway, "dead-letters", "show", letter["id"]).stdout)
    assert (shown["userId"], shown["event"]) == ("u-17", letter["event"])
    status = json.loads(run(gateway, "queue", "status", "--json").stdout)
    assert status == {"queued": 0, "in_flight": 0, "dead": 1, "oldest_seconds": None}
    gateway.sandbox.faults = Faults()
    replay = run(gateway, "dead-letters", "replay", AWS_ACCESS_KEY_ID="operator")
    assert (replay.returncode, replay.stdout) == (0, "1 in the queue again, 0 still not valid\n")
    gateway.assert_delivered(ids)
    assert "gateway_queue_dead_letters 0.0" in started[0].get("/metrics").text
    assert started[0].stop() == 0
    calls = {(call.key, call.action, call.queue) for call in proxy.calls}
    assert {action for key, action, _ in calls if key == "web"} == {"SendMessageBatch"}
    assert {"ReceiveMessage", "DeleteMessageBatch", "SendMessageBatch"} <= {
        action for key, action, _ in calls if key == "forwarder"
    }
    for key, action, queue in calls:
        if key in POLICIES:
            assert allowed(POLICIES[key], action, queue), (key, action, queue)


def _dead(gateway: Gateway) -> str:
    return run(gateway, "dead-letters", "list", "--json", AWS_ACCESS_KEY_ID="operator").stdout


def test_the_web_policy_allows_only_sending():
    [statement] = POLICIES["web"]["Statement"]
    assert statement["Action"] == ["sqs:SendMessage"]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("throttle", "sqs_throttled"),
        ("denied", "sqs_denied"),
        ("hang", "sqs_timeout"),
        ("cut_after", "sqs_unreachable"),
        ("partial", "sqs_failed"),
        ("gone", "sqs_unreachable"),
    ],
)
def test_sqs_failures_are_answered_503_and_recover_without_a_restart(
    gateway, proxy, started, fault, reason
):
    # One worker, so that whoever is asked is who was in trouble; idle connections need no grace.
    gateway.start("--graceful-timeout", "1", WEB_CONCURRENCY="1")
    started.append(Forwarder(gateway))
    gateway.assert_delivered(gateway.assert_accepted(event()), 30)
    if fault == "gone":
        proxy.stop()
    elif fault == "partial":
        proxy.refuse_entries = lambda entry: "doomed" in entry["MessageBody"]
    else:
        proxy.fault = fault
    began = time.monotonic()
    answer = gateway.post(beacon(event(itemId="doomed")))
    assert time.monotonic() - began < 10
    assert (answer.status_code, answer.headers["X-Gateway-Reason"]) == (503, reason)
    assert int(answer.headers["Retry-After"]) > 0
    if fault == "partial":
        gateway.assert_accepted(event())  # its neighbours do not suffer
    else:
        ready = eventually(lambda: _not_ready(gateway), "readiness says so")
        assert ready["reason"] == reason
    if fault == "gone":
        proxy.start()
    proxy.fault, proxy.refuse_entries = None, lambda _entry: False
    proxy.release()
    ids = eventually(lambda: _accepted(gateway), "events are taken again", 30)
    gateway.assert_delivered(ids, 30)
    assert "Traceback" not in gateway.log.read_text()


def _not_ready(gateway: Gateway) -> dict[str, Any] | None:
    """After a post, as it is from those that a worker learns it."""
    gateway.post(beacon())
    answer = requests.get(f"{gateway.url}/readyz", timeout=10)
    return answer.json() if answer.status_code == 503 else None


def _accepted(gateway: Gateway) -> list[str]:
    one = event()
    return [one["eventId"]] if gateway.post(beacon(one)).status_code == 204 else []


def test_a_forwarder_serves_its_own_health_and_metrics(gateway, started):
    queue = Queue(gateway.environ["GATEWAY_QUEUE"])
    queue.call("send_message", MessageBody="not ours")
    SqsInbox(queue).put([waiting(f"e-{n}") for n in range(3)])
    started.append(Forwarder(gateway))
    gateway.assert_delivered([], 30)
    eventually(lambda: started[0].delivered() == 3, "three events are counted")
    health = started[0].get("/healthz")
    assert health.status_code == 200
    assert health.json()["status"] == "ok"
    assert health.json()["troubles"] == {}
    eventually(
        lambda: "gateway_sqs_foreign_messages_total 1.0" in started[0].get("/metrics").text,
        "the foreign message is counted",
    )
    metrics = started[0].get("/metrics").text.splitlines()
    assert 'gateway_putevents_calls_total{outcome="accepted",site="shop"} 1.0' in metrics
    assert "gateway_queue_events 0.0" in metrics
    eventually(
        lambda: "gateway_forwarder_in_flight_events 0.0" in started[0].get("/metrics").text,
        "nothing is in flight",
    )
    assert any("gateway_forwarder_heartbeat_timestamp_seconds" in line for line in metrics)
    assert started[0].get("/elsewhere").status_code == 404


def test_forward_once_empties_the_queue_and_exits(gateway):
    inbox = SqsInbox(Queue(gateway.environ["GATEWAY_QUEUE"]))
    names = [f"e-{n}" for n in range(120)]
    for start in range(0, 120, 3):
        inbox.put([waiting(name, f"s-{start}") for name in names[start : start + 3]])
    done = run(gateway, "forward", "--once")
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(gateway.delivered()) == sorted(names)


def test_forward_once_counts_what_it_gave_back_for_later(gateway):
    gateway.sandbox.faults = Faults(refuse_item_ids=("poison",))
    gateway.start()
    # No event is accepted, so that it may be the site's fault: they are tried again after 16 s.
    gateway.assert_accepted(*[event(itemId="poison") for _ in range(8)])
    done = run(gateway, "forward", "--once")
    assert (done.returncode, done.stdout) == (1, "0 settled, 1 still queued\n")


def test_a_forwarder_that_is_stopped_gives_back_what_it_has_not_sent(gateway, started):
    gateway.sandbox.faults = Faults(latency=1.0)
    inbox = SqsInbox(Queue(gateway.environ["GATEWAY_QUEUE"]))
    names = [f"e-{n}" for n in range(40)]
    for name in names:
        inbox.put([waiting(name, name)])
    started.append(Forwarder(gateway))
    eventually(gateway.sandbox.requests, "it is sending", 30)
    assert started[0].stop() == 0
    gateway.sandbox.faults = Faults()
    assert len(set(gateway.delivered())) < len(names)
    began = time.monotonic()
    started.append(Forwarder(gateway))
    gateway.assert_delivered(names, 30)
    assert time.monotonic() - began < 30  # no message waited for its 60 s


@pytest.mark.parametrize(
    ("trouble", "text"),
    [
        ("missing", "the queue does not exist"),
        ("denied", "no permission"),
        ("denied", "where only web runs, sqs:SendMessage is all that it needs"),
        ("gone", "unreachable"),
        (None, "✓ queue: "),
    ],
)
def test_check_tells_what_is_wrong_with_the_queue(gateway, proxy, trouble, text):
    environ = {}
    if trouble == "missing":
        environ["GATEWAY_QUEUE"] = gateway.environ["GATEWAY_QUEUE"] + "-not"
    elif trouble == "gone":
        proxy.stop()
    else:
        proxy.fault = trouble
    check = run(gateway, "check", **environ)
    assert check.returncode == (1 if trouble else 0)
    assert text in check.stdout
    assert check.stderr == ""


def test_queue_create_makes_both_queues(gateway, proxy):
    url = f"{proxy.url}/123456789012/made"
    made = run(gateway, "queue", "create", GATEWAY_QUEUE=url)
    assert (made.returncode, made.stdout.split()) == (0, [url, f"{url}-dead"])
    assert run(gateway, "check", GATEWAY_QUEUE=url).returncode == 0


def test_queue_verify_refuses_a_queue_it_cannot_check(gateway):
    verify = run(gateway, "queue", "verify")
    assert verify.returncode == 2
    assert "is not stored on this machine" in verify.stderr


# --- Procfile ---


@pytest.mark.parametrize("queue", ["sqs", "sqlite"])
def test_the_procfile_runs_as_it_stands_with_either_queue(
    tmp_path: Path, gateway: Gateway, queue: str
) -> None:
    port = free_port()
    environ = {
        **gateway.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "PORT": str(port),
        "PYTHONUNBUFFERED": "1",
    }
    if queue == "sqlite":
        environ["GATEWAY_QUEUE"] = f"sqlite:///{tmp_path}/queue.db"
    with (tmp_path / "honcho.log").open("wb") as log:
        honcho = subprocess.Popen(
            [BIN / "honcho", "start"], cwd=ROOT, env=environ, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    try:
        gateway.url = f"http://127.0.0.1:{port}"
        eventually(lambda: _lives(gateway), "the web end answers", 30)
        gateway.assert_delivered(gateway.assert_accepted(event()), 30)
        assert honcho.poll() is None, (tmp_path / "honcho.log").read_text()
    finally:
        kill_group(honcho)


def _lives(gateway: Gateway) -> bool:
    try:
        return requests.get(f"{gateway.url}/healthz", timeout=1).ok
    except (requests.ConnectionError, requests.Timeout):
        return False


# --- many ---


@pytest.fixture
def big_sandbox() -> Iterator[Sandbox]:
    with Sandbox(port=0, keep=1_000_000) as sandbox:
        yield sandbox


def test_two_forwarders_share_a_backlog_about_evenly_and_are_faster_than_one(
    server, tmp_path, environ, big_sandbox, started, capsys
):
    big_sandbox.faults = Faults(latency=0.15)
    seconds, shares = [], []
    for count in (1, 2):
        queue = make_queue(server)
        _fill(queue)
        gateway = Gateway(tmp_path, {**environ, "GATEWAY_QUEUE": queue}, big_sandbox)
        big_sandbox.clear()
        forwarders = [Forwarder(gateway) for _ in range(count)]
        started += forwarders
        eventually(big_sandbox.requests, "the first call", 30)
        began = time.monotonic()
        eventually(lambda fs=forwarders: _total(fs) >= EVENTS, "all are delivered", 120)
        seconds.append(time.monotonic() - began)
        shares.append([forwarder.delivered() for forwarder in forwarders])
        for forwarder in forwarders:
            assert forwarder.stop() == 0
        assert len({item["eventId"] for item in big_sandbox.events()}) == EVENTS
    with capsys.disabled():
        print(f"\n20,000 events: {seconds[0]:.1f} s by one, {seconds[1]:.1f} s by {shares[1]}")
    assert min(shares[1]) > EVENTS * 0.35
    assert seconds[1] < seconds[0] * 0.75


def _fill(url: str) -> None:
    """Sessions of ten events, in messages of ten sessions."""
    inbox = SqsInbox(Queue(url))
    for start in range(0, EVENTS, 100):
        inbox.put([waiting(f"e-{n}", f"s-{n // 10}") for n in range(start, start + 100)])


def _total(forwarders: list[Forwarder]) -> int:
    time.sleep(0.1)  # their CPU is the forwarders' own
    return sum(forwarder.delivered() for forwarder in forwarders)


def test_the_stand_in_for_sqs_loses_no_message_where_deletions_overlap(monkeypatch):
    sqs = sqs_backends["123456789012"]["us-east-1"]
    queue = sqs.create_queue(f"q-{uuid4()}", {})
    for text in ("first", "second"):
        sqs.send_message(queue.name, text, {}, 0)
    first, second = sqs.receive_message(queue.name, 10, 0, 60)

    def meanwhile() -> None:
        queue.delete_message(second.receipt_handle)
        sqs.send_message(queue.name, "third", {}, 0)

    other = Thread(target=meanwhile)
    asked = Message.had_receipt_handle

    def slowly(message: Message, receipt_handle: str) -> bool:
        if message.body == "second" and receipt_handle == first.receipt_handle and not other.ident:
            other.start()
            other.join(0.5)  # as long as the scheduler may take
        return asked(message, receipt_handle)

    monkeypatch.setattr(Message, "had_receipt_handle", slowly)
    queue.delete_message(first.receipt_handle)
    other.join()
    assert [message.body for message in queue._messages] == ["third"]
