"""`make run`'s command, and a real browser in the demo shop: each click arrives, once."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import requests
from selenium.webdriver import Chrome
from selenium.webdriver.support.ui import Select

from gateway.sandbox import Sandbox
from tests.helpers.browsers import chromium, complaints, find
from tests.helpers.support import (
    ORIGIN,
    ROOT,
    Gateway,
    alive,
    beacon,
    children,
    event,
    eventually,
    free_port,
    write_sites,
)

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


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What a running demo says, in a folder with nothing in it."""
    with _running(tmp_path_factory.mktemp("demo")) as said:
        yield said


@pytest.fixture
def demo(started: str) -> str:
    """The same; its sandbox has received nothing."""
    requests.delete(f"{_addresses(started)[1]}requests", timeout=5).raise_for_status()
    return started


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(opened: Chrome) -> Iterator[Chrome]:
    """A browser that knows nothing of the shop."""
    complaints(opened)  # of another test
    yield opened
    opened.execute_script("localStorage.clear(); sessionStorage.clear()")
    opened.delete_all_cookies()
    opened.get("about:blank")


def _addresses(said: str) -> tuple[str, str]:
    shop = re.search(r"Demo shop +(\S+)", said)
    sandbox = re.search(r"Sandbox +(\S+)", said)
    assert shop
    assert sandbox
    return shop[1], sandbox[1]


def _visit(browser: Chrome, shop: str) -> None:
    """Open the shop; a click that comes before the snippet has loaded tells nobody."""
    browser.get(shop)
    eventually(lambda: browser.execute_script("return pz.site"), "the snippet has loaded")


def _received(sandbox: str) -> list[dict[str, Any]]:
    """Every event that PutEvents accepted, each with what its call bore."""
    calls = requests.get(f"{sandbox}requests", timeout=5).json()
    return [
        {**event, **{name: call[name] for name in ("sessionId", "userId", "trackingId")}}
        for call in calls
        if call["status"] == 200
        for event in call["eventList"]
    ]


def _arrived(sandbox: str, types: list[str]) -> list[dict[str, Any]]:
    """The events of these types in order, once there are as many."""
    events = [event for event in _received(sandbox) if event["eventType"] in types]
    return events if len(events) >= len(types) else []


def _arrive(sandbox: str, types: list[str]) -> list[dict[str, Any]]:
    return eventually(lambda: _arrived(sandbox, types), f"{types} arrive")


def test_each_click_in_the_demo_arrives_once_under_one_session(demo: str, browser: Chrome) -> None:
    shop, sandbox = _addresses(demo)
    assert "No sites file, so no AWS: delivering to the local PutEvents sandbox." in demo
    _visit(browser, shop)
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
    assert _complaints(browser) == []
    assert [event["eventType"] for event in events] == wanted
    assert [event["userId"] for event in events] == [None, None, "ana", "ana", "ana"]
    assert len({event["sessionId"] for event in events}) == 1
    assert {e["trackingId"] for e in events} == {"00000000-0000-4000-8000-demo00000000"}
    everything = Counter(event["eventId"] for event in _received(sandbox))
    assert set(everything.values()) == {1}


def test_the_demo_begins_a_new_session_at_logout(demo: str, browser: Chrome) -> None:
    shop, sandbox = _addresses(demo)
    _visit(browser, shop)
    find(browser, "login-ben").click()
    find(browser, "add-mug").click()
    find(browser, "logout").click()
    find(browser, "add-press").click()
    find(browser, "flush").click()
    events = {e["itemId"]: e for e in _arrive(sandbox, ["add_to_cart", "add_to_cart"])}
    assert events["mug"]["userId"] == "ben"
    assert events["press"]["userId"] is None
    assert events["mug"]["sessionId"] != events["press"]["sessionId"]


# What is visible has been for a second, by the page's clock.
LOOK = """const [done] = arguments, now = Date.now;
setTimeout(() => new IntersectionObserver((_, observer) => {
  observer.disconnect();
  Date.now = () => now() + 1000;
  done();
}).observe(document.body), 600)"""


def _complaints(browser: Chrome) -> list[str]:
    """What the console warns of, but for the hint that pages without an item teach nothing."""
    return [line for line in complaints(browser) if "learns nothing without an item" not in line]


def test_a_recommendation_follows_to_the_purchase_which_counts_once(
    demo: str, browser: Chrome
) -> None:
    shop, sandbox = _addresses(demo)
    _visit(browser, shop)
    find(browser, "open-kettle").click()
    recommendation = _recommendation(browser)
    _arrive(sandbox, ["view"])
    browser.execute_async_script(LOOK)
    find(browser, "pair-open-mug").click()
    find(browser, "detail-add").click()
    find(browser, "checkout").click()
    [purchase] = _arrive(sandbox, ["purchase"])
    _visit(browser, browser.current_url)
    stored = find(browser, "stored-list")
    eventually(lambda: "duplicate" in stored.text, "it is tracked again")
    assert _complaints(browser) == []
    shown = [
        event["impression"]
        for event in _received(sandbox)
        if event.get("recommendationId") == recommendation and event["eventType"] == "click"
    ]
    assert shown == [["dripper", "beans", "mug"]]
    led = [e["eventType"] for e in _received(sandbox) if e.get("itemId") == "mug"]
    assert led == ["click", "view", "add_to_cart", "purchase"]
    because = {e["recommendationId"] for e in _received(sandbox) if e.get("itemId") == "mug"}
    assert because == {recommendation}
    assert json.loads(purchase["properties"])["quantity"] == "1"


def _recommendation(browser: Chrome) -> str:
    """The ID of the recommendations on a product's page, once they are asked for."""
    script = "return document.getElementById('pairs').dataset.pzRec"
    recommendation: str = eventually(lambda: browser.execute_script(script), "they are there")
    assert recommendation.startswith("RID-")
    return recommendation


def test_recommendations_are_asked_for_by_session_until_a_log_in(
    demo: str, browser: Chrome
) -> None:
    shop, sandbox = _addresses(demo)
    _visit(browser, shop)
    find(browser, "add-mug").click()
    [event] = _arrive(sandbox, ["add_to_cart"])
    find(browser, "open-kettle").click()

    def asked_for(who: str) -> list[str]:
        """The items in the order that they are recommended to this visitor."""
        ranked = find(browser, "ranked")
        eventually(lambda: ranked.get_attribute("title") == who, f"asked for {who}")
        script = "return [...document.querySelectorAll('#pairs > *')].map(e => e.dataset.pzItem)"
        items: list[str] = browser.execute_script(script)
        return items

    editors = ["dripper", "beans", "mug"]
    assert asked_for(event["sessionId"]) == ["mug", "dripper", "beans"]
    find(browser, "login-chie").click()
    asked_for("chie")
    find(browser, "detail-add").click()  # which joins the session to her
    _arrive(sandbox, ["add_to_cart"] * 2)
    find(browser, "back").click()
    find(browser, "open-kettle").click()
    eventually(lambda: asked_for("chie")[0] == "mug", "what she did before is hers")
    find(browser, "logout").click()
    find(browser, "detail-add").click()
    after = _arrive(sandbox, ["add_to_cart"] * 3)[-1]
    assert after["sessionId"] != event["sessionId"]
    assert asked_for(after["sessionId"]) == editors


def test_listening_is_tracked(demo: str, browser: Chrome) -> None:
    shop, sandbox = _addresses(demo)
    _visit(browser, shop)
    find(browser, "open-mug").click()  # a page that nobody has touched may not play
    browser.execute_script(
        "const audio = document.querySelector('audio');"
        "audio.muted = true; audio.playbackRate = 8; audio.play();"
    )
    wanted = ["play", *["progress"] * 3, "ended"]
    events = _arrive(sandbox, wanted)
    assert [event["eventType"] for event in events] == wanted
    assert [event["eventValue"] for event in events] == [0, 25, 50, 75, 100]
    assert {event["itemId"] for event in events} == {"slow-morning"}


def test_no_fault_that_the_demo_can_cause_loses_an_event(demo: str, browser: Chrome) -> None:
    shop, sandbox = _addresses(demo)
    _visit(browser, shop)
    tracked, waiting = find(browser, "tracked-list"), find(browser, "waiting")
    find(browser, "console").click()
    find(browser, "offline").click()
    find(browser, "add-kettle").click()
    is_held = (
        "return [...arguments[0].querySelectorAll('.event')]"
        ".some(event => /add_to_cart[^]*held/.test(event.innerText))"
    )
    eventually(lambda: browser.execute_script(is_held, tracked), "nobody answers")
    time.sleep(1)
    find(browser, "offline").click()
    _arrive(sandbox, ["add_to_cart"])
    tries = tracked.find_elements("css selector", ".event:first-child [data-step=sent]")
    assert len(tries) < 5, "it is patient"
    said = " ".join(entry["message"] for entry in browser.get_log("browser"))
    steps = re.findall(r'"pz: (\w+)" "add_to_cart" "kettle"', said)
    assert [steps[0], steps[1], steps[2], steps[-1]] == ["queued", "sent", "held", "accepted"]
    find(browser, "shut").click()
    find(browser, "add-mug").click()
    eventually(lambda: "1 waiting" in waiting.text and "held" in tracked.text, "a 503")
    find(browser, "second-tab").click()
    browser.switch_to.window(browser.window_handles[1])
    assert find(browser, "shut").is_selected()
    find(browser, "shut").click()
    find(browser, "add-press").click()
    events = _arrive(sandbox, ["add_to_cart"] * 3)
    browser.close()
    browser.switch_to.window(browser.window_handles[0])
    assert {event["itemId"] for event in events} == {"kettle", "mug", "press"}
    assert len({event["sessionId"] for event in events}) == 1
    everything = Counter(event["eventId"] for event in _received(sandbox))
    assert set(everything.values()) == {1}


def test_without_consent_the_demo_keeps_everything_to_itself(demo: str, browser: Chrome) -> None:
    shop, sandbox = _addresses(demo)
    _visit(browser, shop)
    Select(find(browser, "consent-choice")).select_by_visible_text("pending")
    _visit(browser, browser.current_url)
    requests.delete(f"{sandbox}requests", timeout=5)
    browser.delete_all_cookies()
    find(browser, "add-kettle").click()
    find(browser, "flush").click()
    find(browser, "decline").click()
    eventually(lambda: "erased" in find(browser, "tracked-list").text, "it is erased")
    _visit(browser, browser.current_url)
    Select(find(browser, "consent-choice")).select_by_visible_text("granted")
    find(browser, "add-mug").click()
    [event] = _arrive(sandbox, ["add_to_cart"])
    assert event["itemId"] == "mug"


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


def _refusal(port: int, folder: str, environ: dict[str, str]) -> str:
    """The one line with which `run` ends at once."""
    run = subprocess.run(
        [*RUN, str(port)], cwd=folder, env=environ, timeout=30, capture_output=True, text=True
    )
    assert (run.returncode, run.stdout) == (1, "")
    assert len(run.stderr.splitlines()) == 1
    return run.stderr


def test_run_says_in_one_line_why_it_cannot(tmp_path: Path) -> None:
    environ = _environ(tmp_path)
    said = _refusal(free_port(), "/proc", environ)  # which is read-only for root, too
    assert said.startswith("personalize-gateway: GATEWAY_QUEUE: the queue can't be kept here: ")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = _refusal(port, str(tmp_path), environ)
    assert said == f"personalize-gateway: PORT: {port}: Address already in use\n"
    said = _refusal(65536, str(tmp_path), environ)
    assert said == "personalize-gateway: PORT: 65536: not from 0 to 65535\n"


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


@pytest.mark.parametrize("how", ["closed", "Ctrl-C"])
def test_run_ends_with_its_terminal_and_at_ctrl_c(tmp_path: Path, how: str) -> None:
    port, (terminal, its_end) = free_port(), os.openpty()
    with subprocess.Popen(
        # Also where the suite runs under nohup, or in the background.
        ["setsid", "--ctty", "env", "--default-signal=HUP,INT", *RUN, str(port)],
        cwd=tmp_path,
        env=_environ(tmp_path),
        stdin=its_end,
        stdout=its_end,
        stderr=its_end,
    ) as running:
        os.close(its_end)
        said = b""
        while b"Ctrl-C ends it" not in said:
            said += os.read(terminal, 4096)
        family = [running.pid, *children(running.pid)]
        family += [grandchild for child in family[1:] for grandchild in children(child)]
        assert len(family) >= 4  # run, gunicorn, its worker and its forwarder
        if how == "Ctrl-C":
            os.write(terminal, b"\x03")
            assert running.wait(30) == 0
        os.close(terminal)
    eventually(lambda: not any(map(alive, family)), "all of it ends", 8)


def test_the_printed_tag_works_on_a_page_of_another_origin(
    gateway: Gateway, tmp_path: Path, browser: Chrome
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
    browser.get(origin)
    find(browser, "buy").click()
    eventually(gateway.sandbox.events, "the click arrives")
    assert browser.get_cookies() == [] or all(c["httpOnly"] for c in browser.get_cookies())
    page.shutdown()
    page.server_close()
    gateway.stop(signal.SIGINT)  # at once: the browser keeps its connection
    [event] = gateway.sandbox.events()
    assert (event["eventType"], event["itemId"]) == ("click", "i-1")


def test_a_click_in_the_shop_shows_in_the_inspector(demo: str, tmp_path: Path) -> None:
    shop, _ = _addresses(demo)
    inspector = re.search(r"Inspector +(\S+)", demo)
    assert inspector
    with chromium(tmp_path / "profile") as browser:
        browser.get(inspector[1])
        find(browser, "pulse")
        stream = browser.current_window_handle
        browser.switch_to.new_window("window")
        _visit(browser, shop)
        find(browser, "add-mug").click()
        browser.switch_to.window(stream)
        seen = '[data-state="delivered"] .item'
        eventually(
            lambda: "mug" in [item.text for item in browser.find_elements("css selector", seen)],
            "the click shows",
        )
