"""`/readyz` says whether events can be stored, and how their delivery goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import requests

from gateway.sandbox import Faults
from tests.helpers.support import ROOT, TRACKING_ID, Gateway, beacon, event, eventually


def readiness(gateway: Gateway) -> dict:
    """What a node that can store says."""
    answer = requests.get(f"{gateway.url}/readyz", timeout=10)
    assert answer.status_code == 200, answer.text
    return answer.json()


def complaints(gateway: Gateway) -> list[dict[str, str]]:
    return readiness(gateway).get("degraded", [])


def test_a_gateway_that_stores_and_delivers_is_ok(gateway):
    gateway.start()
    eventually(lambda: readiness(gateway) == {"status": "ok"}, "it is ok")
    gateway.assert_delivered(gateway.assert_accepted(event()))
    assert readiness(gateway) == {"status": "ok"}


def test_without_a_forwarder_it_is_degraded_and_stores(gateway):
    gateway.start(GATEWAY_FORWARDER="off")
    gateway.assert_accepted(event())
    assert readiness(gateway)["status"] == "degraded"
    assert [one["reason"] for one in complaints(gateway)] == ["forwarder_silent"]


def test_when_the_forwarder_has_died_for_good_it_becomes_degraded(gateway):
    gateway.start(GATEWAY_FORWARDER="off")
    command = [sys.executable, "-m", "gateway", "forward"]
    with subprocess.Popen(command, cwd=ROOT, env=gateway.environ) as forwarder:
        eventually(lambda: readiness(gateway) == {"status": "ok"}, "it is ok")
        os.kill(forwarder.pid, signal.SIGKILL)
    [complaint] = eventually(lambda: complaints(gateway), "it is degraded", 20)
    assert complaint["reason"] == "forwarder_silent"
    gateway.assert_accepted(event())


@pytest.mark.parametrize("fault", ["refuse_tracking_ids", "access_denied_tracking_ids"])
def test_readiness_names_an_undelivered_site_until_it_recovers(gateway, fault):
    gateway.sandbox.faults = Faults(**{fault: (TRACKING_ID,)})
    gateway.start()
    waiting = [gateway.assert_accepted(event())[0] for _ in range(30)]  # each of its own session
    media = {**beacon(event(eventId="other")), "trackingId": "media"}
    assert gateway.post(media, Origin="https://media.example.com").status_code == 204
    gateway.assert_delivered(["other"])

    [complaint] = eventually(lambda: complaints(gateway), "it is degraded")
    assert complaint["site"] == "shop"
    reasons = {"refuse_tracking_ids": "tracking_id", "access_denied_tracking_ids": "access_denied"}
    # Anybody may ask, and AWS's own words name accounts and roles.
    assert complaint["message"] == f"{reasons[fault]}: the forwarder's log says more"
    assert gateway.delivered() == ["other"]

    gateway.sandbox.faults = Faults()
    gateway.assert_delivered(waiting, 30)
    eventually(lambda: readiness(gateway) == {"status": "ok"}, "it is ok again")
    shouts = [line for line in gateway.log.read_text().splitlines() if '"who": "shop"' in line]
    assert len(shouts) == 1, shouts
