"""`make run`'s command, and a real browser in the demo shop: each click arrives, once."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import requests

from gateway.sandbox import Sandbox

from .browser import chromium, complaints, find
from .support import ORIGIN, ROOT, Gateway, beacon, event, eventually, free_port, write_sites

RUN = [sys.executable, "-m", "gateway", "run", "--port"]


def _environ(folder: Path, **more: str) -> dict[str, str]:
    """As on a machine without any AWS set-up."""
    ours = ("AWS_", "GATEWAY_")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    limits = {"GATEWAY_MIN_FREE_BYTES": "0", "AWS_EC2_METADATA_DISABLED": "true"}
    return {**environ, **limits, "HOME": str(folder), **more}


@contextmanager
def _running(folder: Path, **environ: str) -> Iterator[str]:
    """`run` from that folder; what it says."""
    port, log = free_port(), folder / "run.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [*RUN, str(port)],
            cwd=folder,
            env=_environ(folder, **environ),
            stdout=output,
            stderr=output,
        ) as running,
    ):
        try:
            eventually(
                lambda: "Demo shop" in log.read_text() or running.poll() is not None,
                "it starts",
                30,
            )
            assert running.poll() is None, log.read_text()
            yield log.read_text()
        finally:
            running.send_signal(signal.SIGTERM)
    assert running.returncode == 0


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[str]:
    """What a running demo says, in a folder with nothing in it."""
    with _running(tmp_path) as said:
        yield said


def _addresses(said: str) -> tuple[str, str]:
    shop = re.search(r"Demo shop +(\S+)", said)
    sandbox = re.search(r"Sandbox +(\S+)", said)
    assert shop
    assert sandbox
    return shop[1], sandbox[1]


def _received(sandbox: str) -> list[dict[str, Any]]:
    """Every event that PutEvents accepted, each with what its call bore."""
    calls = requests.get(f"{sandbox}requests", timeout=5).json()
    return [
        {**event, **{name: call[name] for name in ("sessionId", "userId", "trackingId")}}
        for call in calls
        if call["status"] == 200
        for event in call["eventList"]
    ]


def _arrive(sandbox: str, types: list[str]) -> list[dict[str, Any]]:
    """The events of these types, once as many have arrived."""

    def arrived() -> list[dict[str, Any]]:
        events = [event for event in _received(sandbox) if event["eventType"] in types]
        return events if len(events) >= len(types) else []

    return eventually(arrived, f"{types} arrive")


def test_each_click_in_the_demo_arrives_once_under_one_session(demo: str, tmp_path: Path) -> None:
    shop, sandbox = _addresses(demo)
    assert "No sites file, so no AWS: delivering to the local PutEvents sandbox." in demo
    with chromium(tmp_path / "profile") as browser:
        browser.get(shop)
        find(browser, "add-kettle").click()
        find(browser, "heart-mug").click()
        find(browser, "login-ana").click()
        find(browser, "add-beans").click()
        find(browser, "remove-beans").click()
        find(browser, "checkout").click()
        wanted = ["add_to_cart", "favorite", "add_to_cart", "remove_from_cart", "purchase"]
        events = _arrive(sandbox, wanted)
        stored = find(browser, "stored-list")
        eventually(lambda: "purchase" in stored.text, "the page shows what was stored")
        received = find(browser, "received-list")
        eventually(lambda: "purchase" in received.text, "the page shows what was received")
        assert complaints(browser) == []
    assert [event["eventType"] for event in events] == wanted
    assert [event["userId"] for event in events] == [None, None, "ana", "ana", "ana"]
    assert len({event["sessionId"] for event in events}) == 1
    assert {e["trackingId"] for e in events} == {"00000000-0000-4000-8000-demo00000000"}
    everything = Counter(event["eventId"] for event in _received(sandbox))
    assert set(everything.values()) == {1}


def test_the_demo_begins_a_new_session_at_logout(demo: str, tmp_path: Path) -> None:
    shop, sandbox = _addresses(demo)
    with chromium(tmp_path / "profile") as browser:
        browser.get(shop)
        find(browser, "login-ben").click()
        find(browser, "add-mug").click()
        find(browser, "logout").click()
        find(browser, "add-press").click()
        find(browser, "flush").click()
        events = {e["itemId"]: e for e in _arrive(sandbox, ["add_to_cart", "add_to_cart"])}
    assert events["mug"]["userId"] == "ben"
    assert events["press"]["userId"] is None
    assert events["mug"]["sessionId"] != events["press"]["sessionId"]


def test_the_demo_is_refused_by_no_sites_file_and_reaches_no_dataset(tmp_path: Path) -> None:
    write_sites(tmp_path / "sites.toml")
    with Sandbox(port=0) as aws:
        credentials = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        endpoint = {"AWS_ENDPOINT_URL_PERSONALIZE_EVENTS": aws.url}
        with _running(tmp_path, **credentials, **endpoint) as said:
            assert "Delivering your sites' events to AWS, the demo shop's to the local" in said
            shop, sandbox = _addresses(said)
            page = shop.removesuffix("/demo/")
            for site, origin in {"demo": page, "shop": ORIGIN}.items():
                body = json.dumps(beacon(event(eventType=f"from_{site}"), trackingId=site))
                headers = {"Origin": origin, "Connection": "close"}  # or the end would wait for it
                with requests.post(f"{page}/events", body, headers=headers) as sent:
                    assert sent.status_code == 204, sent.text
            _arrive(sandbox, ["from_demo"])
            eventually(aws.events, "the site's event arrives")
            shown = requests.get(f"{shop}stored", timeout=5).json()["records"]
        assert [each["eventType"] for each in aws.events()] == ["from_shop"]
    assert [each["event"]["eventType"] for each in shown] == ["from_demo"]


def test_run_says_in_one_line_that_the_folder_is_read_only(tmp_path: Path) -> None:
    run = subprocess.run(
        [*RUN, str(free_port())],
        cwd="/proc",  # read-only for root, too
        env=_environ(tmp_path),
        timeout=30,
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stdout) == (1, "")
    assert len(run.stderr.splitlines()) == 1
    assert run.stderr.startswith("personalize-gateway: GATEWAY_QUEUE: the queue can't be kept")


class _Page(SimpleHTTPRequestHandler):
    """A page of another origin that bears the tag."""

    tag = ""

    def do_GET(self) -> None:
        body = f"<!doctype html><title>Shop</title>{self.tag}"
        body += '<button data-testid="buy" data-pz-event="click" data-pz-item="i-1">Buy</button>'
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: Any) -> None:
        pass


def test_the_printed_tag_works_on_a_page_of_another_origin(
    gateway: Gateway, tmp_path: Path
) -> None:
    page = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    origin = f"http://127.0.0.1:{page.server_port}"
    sites = (tmp_path / "sites.toml").read_text().replace("https://shop.example.com", origin)
    write_sites(tmp_path / "sites.toml", sites)
    gateway.start()
    command = [sys.executable, "-m", "gateway", "snippet", "shop"]
    settings = {**gateway.environ, "GATEWAY_PUBLIC_URL": gateway.url}
    printed = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True)
    assert printed.returncode == 0, printed.stderr
    _Page.tag = printed.stdout
    Thread(target=page.serve_forever, daemon=True).start()
    with chromium(tmp_path / "profile") as browser:
        browser.get(origin)
        find(browser, "buy").click()
        eventually(gateway.sandbox.events, "the click arrives")
        assert browser.get_cookies() == [] or all(c["httpOnly"] for c in browser.get_cookies())
    page.shutdown()
    page.server_close()
    [event] = gateway.sandbox.events()
    assert (event["eventType"], event["itemId"]) == ("click", "i-1")
