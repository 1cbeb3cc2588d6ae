"""SIGHUP: the sites file is read again, in both ends, and nobody notices but the sites."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from gateway.sandbox import Faults
from tests.helpers.support import ROOT, SITES, Gateway, alive, beacon, event, eventually

NEW = """
[sites.new]
tracking_id = "8f3b1c5e-0000-4000-8000-00000000000n"
origins = ["https://new.example.com"]
region = "us-east-1"
"""
ADMIN = {"GATEWAY_ADMIN_TOKEN": "token-of-the-suite"}


class Load:
    """Clients that post without a pause; half of them keep their connection, half never do."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._post, args=[n % 2 == 0]) for n in range(6)]
        self.accepted: list[str] = []
        self.lost: list[str] = []

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _post(self, keeps: bool) -> None:
        browser = requests.Session()
        headers = {"Origin": "https://shop.example.com"}
        if not keeps:
            headers["Connection"] = "close"
        while not self._stop.wait(0.005):
            body = beacon(item := event())
            try:
                answer = browser.post(
                    f"{self._gateway.url}/events", json=body, headers=headers, timeout=30
                )
            except requests.RequestException as error:
                self.lost.append(repr(error))
                continue
            if answer.status_code == 204:
                self.accepted.append(item["eventId"])
            else:
                self.lost.append(f"{answer.status_code} {answer.text}")


def sites_file(gateway: Gateway) -> Path:
    return Path(gateway.environ["GATEWAY_SITES"])


@contextmanager
def reloading(gateway: Gateway) -> Iterator[None]:
    """Change the file, have it read, and wait for the new workers to be the only ones."""
    yield
    workers = gateway.workers()
    os.kill(gateway.master, signal.SIGHUP)
    eventually(lambda: not any(map(alive, workers)), "the workers are replaced", 60)


def post_to(gateway: Gateway, site: str) -> int:
    body = {"trackingId": site, "eventList": [event(eventId=f"for-{site}")]}
    return gateway.post(body, Origin=f"https://{site}.example.com").status_code


def complaints(gateway: Gateway) -> list[dict[str, Any]]:
    answer = requests.get(f"{gateway.url}/readyz", timeout=10)
    assert answer.status_code == 200, answer.text
    return [one for one in answer.json().get("degraded", []) if one["reason"] == "sites_file"]


def metrics(gateway: Gateway) -> list[str]:
    bearer = {"Authorization": "Bearer token-of-the-suite"}
    return requests.get(f"{gateway.url}/metrics", headers=bearer, timeout=10).text.splitlines()


@pytest.mark.parametrize("worker_class", ["gevent", "gthread"])
def test_a_reload_under_load_takes_the_new_site_and_loses_no_request(gateway, worker_class):
    gateway.start("--worker-class", worker_class, "--threads", "8")
    assert post_to(gateway, "new") == 404
    forwarder = eventually(gateway.forwarders, "the forwarder runs")
    with Load(gateway) as load:
        with reloading(gateway):
            sites_file(gateway).write_text(SITES + NEW)
        assert post_to(gateway, "new") == 204
        gateway.assert_delivered(["for-new"])
    assert load.lost == []
    assert len(load.accepted) > 20
    gateway.assert_delivered(load.accepted)
    assert len(set(gateway.delivered())) == len(gateway.delivered())
    assert gateway.forwarders() == forwarder


def test_an_invalid_sites_file_is_logged_and_the_last_valid_one_stays_in_force(gateway):
    gateway.start(**ADMIN)
    with Load(gateway) as load:
        with reloading(gateway):
            sites_file(gateway).write_text(SITES.replace("region", "regoin", 1))
        [complaint] = complaints(gateway)
        assert "the last valid one is in force" in complaint["message"]
        assert 'gateway_degraded{reason="sites_file",site=""} 1.0' in metrics(gateway)
        log = gateway.log.read_text()
        assert "did you mean region?); keeping the last valid one" in log

        # Whoever has to start while it is broken goes by the last valid one, too.
        doomed = gateway.workers() + gateway.forwarders()
        quiet = len(load.lost)
        for pid in doomed:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: len(gateway.workers()) == 2, "the workers are replaced")
        eventually(gateway.forwarders, "the forwarder is replaced")
        lost_by_sigkill = load.lost[quiet:]
        gateway.assert_delivered(gateway.assert_accepted(event()))
        assert complaints(gateway) == [complaint]

        with reloading(gateway):
            sites_file(gateway).write_text(SITES + NEW)
        assert complaints(gateway) == []
        assert not any('reason="sites_file"' in line for line in metrics(gateway))
        assert post_to(gateway, "new") == 204
        gateway.assert_delivered(["for-new"])
    assert load.lost == lost_by_sigkill
    gateway.assert_delivered(load.accepted)


def test_events_of_a_site_that_is_removed_wait_until_it_is_back(gateway):
    gateway.start()
    with reloading(gateway):
        sites_file(gateway).write_text(SITES + NEW)
    gateway.sandbox.faults = Faults(error_rate=1.0)
    assert post_to(gateway, "new") == 204
    with reloading(gateway):
        sites_file(gateway).write_text(SITES)
    assert post_to(gateway, "new") == 404
    # Not before the forwarder has read it, too: else it would deliver to the site as it was.
    eventually(lambda: "unknown_site: " in _trouble(gateway, "new"), "its events wait", 20)
    gateway.sandbox.faults = Faults()
    gateway.assert_delivered(gateway.assert_accepted(event()))
    with reloading(gateway):
        sites_file(gateway).write_text(SITES + NEW)
    gateway.assert_delivered(["for-new"], seconds=5)  # at once, and not when it had been due


def _trouble(gateway: Gateway, site: str) -> str:
    answer = requests.get(f"{gateway.url}/readyz", timeout=10).json()
    told = (one for one in answer.get("degraded", []) if one.get("site") == site)
    return next((one["message"] for one in told), "")


def test_a_forwarder_by_itself_reads_the_file_again(gateway):
    text = SITES + NEW
    sites_file(gateway).write_text(text.replace("00000000000n", "0000000wrong"))
    gateway.start(GATEWAY_FORWARDER="off")
    command = [sys.executable, "-m", "gateway", "forward"]
    with (
        gateway.log.open("ab") as log,
        subprocess.Popen(command, cwd=ROOT, env=gateway.environ, stderr=log) as forwarder,
    ):
        assert post_to(gateway, "new") == 204
        gateway.assert_delivered(["for-new"])
        sites_file(gateway).write_text("[sites.")
        forwarder.send_signal(signal.SIGHUP)
        [complaint] = eventually(lambda: complaints(gateway), "it says so")
        assert "the last valid one is in force" in complaint["message"]
        assert "not valid TOML" in gateway.log.read_text()
        sites_file(gateway).write_text(text)
        forwarder.send_signal(signal.SIGHUP)
        eventually(lambda: complaints(gateway) == [], "it is well again")
        assert post_to(gateway, "new") == 204  # the eventId of before, in another session
        tracking_ids = eventually(lambda: _tracking_ids(gateway, 2), "it is delivered")
        forwarder.terminate()
    assert [name[-1] for name in tracking_ids] == ["g", "n"]


def _tracking_ids(gateway: Gateway, count: int) -> list[str]:
    calls = [call["trackingId"] for call in gateway.sandbox.requests()]
    return calls if len(calls) == count else []


def test_the_copy_is_made_again_should_it_be_tidied_away(gateway):
    gateway.start()
    [worker, _] = gateway.workers()
    eventually(gateway.forwarders, "the forwarder runs")
    environ = Path(f"/proc/{gateway.forwarders()[0]}/environ").read_bytes().decode().split("\0")
    [copy] = [value[14:] for value in environ if value.startswith("GATEWAY_SITES=")]
    for path in Path(copy).parent.iterdir():
        path.unlink()
    sites_file(gateway).unlink()
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: not alive(worker) and len(gateway.workers()) == 2, "it is replaced")
    gateway.assert_delivered(gateway.assert_accepted(event()))
