"""`/metrics`: what the web end counts, over all workers, for who bears the admin token."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import requests
import yaml
from prometheus_client.parser import text_string_to_metric_families

from gateway.observability.metrics import State, exposition
from gateway.observability.readiness import Health, HealthIssue
from gateway.queues import ForwarderStatus, QueueError, Status
from gateway.sandbox import Faults
from tests.helpers.support import (
    ADMIN,
    ADMIN_TOKEN,
    ROOT,
    SITES,
    TRACKING_ID,
    USER_SECRET,
    Gateway,
    beacon,
    event,
    eventually,
    write_sites,
)


@pytest.fixture
def counted(gateway: Gateway, tmp_path):
    signed = '\n[sites.signed]\ntracking_id = "t"\norigins = []\nallow_missing_origin = true\n'
    signed += 'region = "us-east-1"\n'
    write_sites(tmp_path / "sites.toml", SITES + signed + f'user_secret = "{USER_SECRET}"\n')
    return gateway.start(GATEWAY_ADMIN_TOKEN=ADMIN_TOKEN)


def test_every_event_is_counted_by_what_became_of_it_over_all_workers(counted):
    for _ in range(20):
        counted.assert_accepted(event())
    again = event()
    counted.assert_accepted(again, sessionId="s")
    assert counted.post(beacon(again, sessionId="s")).headers["X-Gateway-Reason"] == "duplicate"
    assert counted.post(beacon(event(), event(itemId=7))).status_code == 200
    assert counted.metric('gateway_events_accepted_total{site="shop"}') == 22
    assert counted.metric('gateway_events_duplicate_total{site="shop"}') == 1
    assert counted.metric('gateway_events_refused_total{reason="invalid_event",site="shop"}') == 1


def test_what_delivered_events_carry_is_counted(counted):
    recommended = event(eventType="Purchase", recommendationId="r-1")
    attributed = event(eventType="Purchase", metricAttribution={"eventAttributionSource": "home"})
    accepted = counted.assert_accepted(recommended, attributed, userId="ann")
    accepted += counted.assert_accepted(event(), event(itemId=None, eventType="search"))
    counted.assert_delivered(accepted)
    name = 'gateway_events_delivered_total{site="shop"}'
    eventually(lambda: counted.metric(name) == len(accepted) == 4, "all are counted")
    members = {"itemId": 3, "userId": 2, "recommendationId": 1, "eventAttributionSource": 1}
    for member, count in members.items():
        labels = f'{{member="{member}",site="shop"}}'
        assert counted.metric(f"gateway_events_delivered_with_total{labels}") == count
    accepted = counted.assert_accepted(event(eventType="purchase"))
    counted.assert_delivered(accepted)
    eventually(lambda: counted.metric(name) == 5, "one more is counted")
    for attributed, count in (("yes", 2), ("no", 1)):
        labels = f'{{attributed="{attributed}",site="shop"}}'
        assert counted.metric(f"gateway_purchases_delivered_total{labels}") == count


def test_a_process_that_has_just_begun_to_count_spoils_no_scrape(gateway, tmp_path):
    counters = tmp_path / "counters"
    counters.mkdir()
    gateway.start(GATEWAY_ADMIN_TOKEN=ADMIN_TOKEN, PROMETHEUS_MULTIPROC_DIR=str(counters))
    gateway.assert_accepted(event())
    (counters / "counter_web-9.db").touch()  # its counters' file, for its first microseconds
    assert gateway.metric('gateway_events_accepted_total{site="shop"}') == 1


def test_a_scrape_that_takes_its_time_holds_up_no_event(gateway, tmp_path):
    counters = tmp_path / "counters"
    counters.mkdir()
    gateway.start(
        WEB_CONCURRENCY="1",
        GATEWAY_ADMIN_TOKEN=ADMIN_TOKEN,
        PROMETHEUS_MULTIPROC_DIR=str(counters),
    )
    os.mkfifo(counters / "counter_slow.db")
    scrapes: list[requests.Response] = []

    def scrape() -> None:
        scrapes.append(requests.get(f"{gateway.url}/metrics", headers=ADMIN, timeout=60))

    thread = Thread(target=scrape)
    thread.start()
    with (counters / "counter_slow.db").open("wb") as pipe:  # once the scrape reads from it
        gateway.assert_accepted(event())
        assert not scrapes
        pipe.write(bytes(8))  # a file of counters without any
    thread.join(60)
    assert scrapes[0].status_code == 200


def test_a_refused_request_is_counted_by_its_reason_and_logged_once_a_minute(counted):
    unknown = {"trackingId": "none", "eventList": [event()]}
    for body, reason in (("{", "invalid_request"), (unknown, "unknown_site")):
        for _ in range(30):
            assert counted.post(body).headers["X-Gateway-Reason"] == reason
        assert counted.metric(f'gateway_requests_refused_total{{reason="{reason}"}}') == 30
        lines = counted.log.read_text().count(f'"reason": "{reason}"')
        assert 1 <= lines <= len(counted.workers())


def test_a_placeholder_for_a_user_makes_the_event_anonymous_and_is_counted(counted):
    ids = []
    for user_id in ("null", "undefined", "NaN", "[object Object]", " ", ""):
        ids += counted.assert_accepted(event(), userId=user_id)
    counted.assert_delivered(ids)
    assert {item.get("userId") for item in counted.sandbox.events()} == {None}
    series = 'gateway_events_anonymised_total{reason="placeholder",site="shop"}'
    assert counted.metric(series) == 6


def test_a_user_id_counts_only_with_the_sites_signature(counted):
    def post(**members: str) -> None:
        body = {"trackingId": "signed", "userId": "u-1", "eventList": [event()], **members}
        assert requests.post(f"{counted.url}/events", json=body, timeout=10).status_code == 204

    right = hmac.new(USER_SECRET.encode(), b"u-1", hashlib.sha256).hexdigest()
    post(sessionId="right", signature=right)
    post(sessionId="wrong", signature=right.upper())
    post(sessionId="none")
    eventually(lambda: len(counted.sandbox.events()) == 3, "all three arrive")
    users = {e["sessionId"]: e.get("userId") for e in counted.sandbox.events()}
    assert (users["right"], users["wrong"], users["none"]) == ("u-1", None, None)
    series = 'gateway_events_anonymised_total{reason="signature",site="signed"}'
    assert counted.metric(series) == 2


def test_a_site_that_is_not_delivered_shows_with_its_reason(counted):
    counted.sandbox.faults = Faults(refuse_tracking_ids=(TRACKING_ID,))
    counted.assert_accepted(event())
    series = 'gateway_site_trouble{reason="tracking_id",site="shop"}'
    eventually(lambda: counted.metric(series) == 1, "the trouble shows")
    assert counted.metric("gateway_forwarder_heartbeat_timestamp_seconds") > 1.7e9


def test_the_admin_token_is_asked_for(counted):
    for header in (None, "Bearer wrong", "Basic token-of-the-suite", "Bearer ", "Bearer ä"):
        headers = {"Authorization": header.encode()} if header else {}
        answer = requests.get(f"{counted.url}/metrics", headers=headers, timeout=10)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert "gateway_events" not in answer.text


def documented() -> set[str]:
    return set(re.findall(r"^\| `(gateway_[a-z_]+)", (ROOT / "docs/metrics.md").read_text(), re.M))


def test_the_reference_lists_what_there_is_and_no_more() -> None:
    condition = ForwarderStatus(0, 0, {"shop": "throttled: …"})
    health = Health(QueueError("disk_full", "…"), [HealthIssue("site", "…", "shop")])
    text = exposition(State(condition, Status(0, 0, 0, 0.0), 0), health).decode()
    families = text_string_to_metric_families(text)
    there = {
        f"{family.name}_total" if family.type == "counter" else family.name for family in families
    }
    assert documented() == {name for name in there if name.startswith("gateway_")}


@pytest.mark.parametrize("document", ["grafana.json", "alerts.yml"])
def test_dashboard_and_alerts_name_only_metrics_that_exist(document: str) -> None:
    text = (ROOT / "docs" / document).read_text()
    queries = [str(value) for name, value in _members(yaml.safe_load(text)) if name == "expr"]
    named = {name for query in queries for name in re.findall(r"gateway_[a-z_]+", query)}
    known = documented() | {
        f"{name}{part}" for name in documented() for part in ("_bucket", "_sum", "_count")
    }
    assert len(named) >= 8
    assert named <= known
    # A query that brings labels together which no metric has finds nothing, for ever.
    labels = {label for query in queries for label in re.findall(r"by \(([a-z, ]+)\)", query)}
    assert {one.strip() for some in labels for one in some.split(",")} <= {
        *("site", "reason", "outcome", "le", "instance")
    }


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, dict | list):
            yield from _members(inner)


def test_without_a_token_there_is_nothing(client):
    assert client.get("/metrics").status_code == 404


def test_what_the_forwarder_counts_is_beside_what_the_web_end_counts(counted):
    counted.sandbox.faults = Faults(refuse_item_ids=("poison",))
    counted.assert_accepted(event(), event(itemId="poison"), event())
    dead = 'gateway_dead_letters_total{reason="refused",site="shop"}'
    eventually(lambda: counted.metric(dead) == 1, "the dead letter is counted")
    assert counted.metric('gateway_events_delivered_total{site="shop"}') == 2
    accepted = 'gateway_putevents_calls_total{outcome="accepted",site="shop"}'
    refused = 'gateway_putevents_calls_total{outcome="refused",site="shop"}'
    calls = counted.metric(accepted) + counted.metric(refused)
    assert counted.metric(accepted) >= 2
    assert counted.metric('gateway_putevents_duration_seconds_count{site="shop"}') == calls
    assert counted.metric("gateway_putevents_events_per_call_count") == calls
    assert counted.metric("gateway_group_commit_events_sum") == 3
    assert counted.metric("gateway_queue_events") == 0
    assert counted.metric("gateway_queue_dead_letters") == 1
    assert counted.metric("gateway_queue_bytes") > 0


def test_counts_outlive_the_processes_and_leave_no_files_behind(counted):
    series = ("gateway_events_accepted_total", "gateway_events_delivered_total")
    counted.assert_delivered(counted.assert_accepted(event()))
    eventually(lambda: counted.metric(series[1]) == 1, "the delivery is counted")
    environment = Path(f"/proc/{counted.forwarders()[0]}/environ").read_text().split("\0")
    [folder] = [
        line.partition("=")[2] for line in environment if line.startswith("PROMETHEUS_MULTIPROC")
    ]
    files = set(os.listdir(folder))
    for pids in (counted.workers, counted.forwarders):
        before = set(pids())
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: len(set(pids()) - before) == len(before), "they are replaced")  # noqa: B023
    counted.assert_delivered(counted.assert_accepted(event()))
    eventually(lambda: counted.metric(series[1]) == 2, "counting goes on")
    assert counted.metric(series[0]) == 2
    assert set(os.listdir(folder)) == files
