"""What docs/snippet.md and docs/migrate-from-amplify.md show works: taken from there and run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
import requests
from selenium.webdriver import Chrome

from gateway.sandbox import Sandbox
from gateway.web.snippet import tag
from tests.helpers.browsers import chromium, complaints
from tests.helpers.support import ROOT, Gateway, eventually, write_sites

BLOCK = re.compile(r"^ *```(\w+)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
PUBLIC = "https://events.example.com"


def block(document: str, heading: str, language: str) -> str:
    """The first code block in that language under that heading."""
    section = (ROOT / "docs" / document).read_text().split(f"# {heading}\n", 1)[1]
    section = re.split(r"^#+ ", section, maxsplit=1, flags=re.MULTILINE)[0]
    return next(code for named, code in BLOCK.findall(section) if named == language)


class Shop:
    """A site's own server: whatever page it is given, under whatever policy.

    What is under /e/ it hands on to the gateway, less that prefix: as the nginx of the documents.
    """

    def __init__(self) -> None:
        self.page = self.policy = self.gateway = ""
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.startswith("/e/"):
                    self.hand_on()
                    return
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                if shop.policy:
                    self.send_header("Content-Security-Policy", shop.policy)
                self.end_headers()
                self.wfile.write(shop.page.encode() if self.path == "/" else b"")

            def hand_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                answer = requests.request(
                    self.command,
                    shop.gateway + self.path.removeprefix("/e"),
                    headers={**self.headers, "Accept-Encoding": "identity"},
                    data=body,
                    timeout=30,
                )
                self.send_response(answer.status_code)
                for name, value in answer.headers.items():
                    if name not in ("Connection", "Date", "Server"):
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.content)

            do_POST = hand_on

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    shop = Shop()
    yield shop
    shop.server.shutdown()
    shop.server.server_close()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, shop: Shop) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("docs")
    text = f'[sites.shop]\ntracking_id = "t-1"\norigins = ["{shop.origin}"]\nregion = "us-east-1"\n'
    environ = {
        "GATEWAY_SITES": str(write_sites(folder / "sites.toml", text)),
        "GATEWAY_QUEUE": f"sqlite:///{folder}/queue.db",
        "GATEWAY_SECRET_KEY": "a-secret-of-the-suite-of-32-characters",
        "GATEWAY_MIN_FREE_BYTES": "0",
    }
    with Sandbox(port=0) as sandbox:
        served = Gateway(folder, environ, sandbox)
        yield served.start()
        served.stop()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def visit(shop: Shop, gateway: Gateway, browser: Chrome) -> Iterator[Callable[..., Chrome]]:
    """Opens a page that holds this, with the gateway's address in place of the documents'."""
    gateway.sandbox.clear()

    def opened(page: str, policy: str = "") -> Chrome:
        shop.page = "<!doctype html>" + page.replace(PUBLIC, gateway.url)
        shop.policy = policy.replace(PUBLIC, gateway.url)
        browser.get(shop.origin)
        return browser

    yield opened
    # While it lives, a page would bring back what it has stored.
    browser.execute_script("if (window.pz) pz('consent', 'denied'); localStorage.clear()")
    browser.delete_all_cookies()


def arrived(gateway: Gateway, count: int) -> list[dict[str, Any]]:
    events = eventually(
        lambda: found if len(found := gateway.sandbox.events()) >= count else [],
        f"{count} events arrive",
    )
    return sorted(events, key=lambda event: (event["sentAt"], event["eventType"]))


def test_the_calls_do_what_is_said(visit: Callable[..., Chrome], gateway: Gateway) -> None:
    visit(f"{tag('shop', PUBLIC)}<script>{block('snippet.md', 'Calls', 'js')}</script>")
    events = {(event["eventType"], event["itemId"]): event for event in arrived(gateway, 4)}
    assert events["add_to_cart", "mug"]["eventValue"] == 24
    assert events["purchase", "mug"]["eventValue"] == 24
    assert events["click", "mug"]["recommendationId"] == "RID-1"
    assert events["click", "kettle"]["impression"] == ["mug", "kettle"]
    source = events["click", "kettle"]["metricAttribution"]["eventAttributionSource"]
    assert source == "search"


def test_the_calls_in_place_of_amplifys_do_what_is_said(
    visit: Callable[..., Chrome], gateway: Gateway
) -> None:
    code = block("migrate-from-amplify.md", "Call by call", "js")
    visit(f"{tag('shop', PUBLIC)}<script>{code}</script>")
    [purchase] = arrived(gateway, 1)
    assert (purchase["userId"], purchase["itemId"]) == ("user-17", "mug")


def test_the_markup_is_tracked(visit: Callable[..., Chrome], gateway: Gateway) -> None:
    pinned = tag("shop", PUBLIC, ["click"])
    browser = visit(pinned + block("snippet.md", "Markup", "html"))
    browser.find_element("tag name", "a").click()
    browser.find_element("tag name", "button").click()
    events = arrived(gateway, 2)
    assert [event["eventType"] for event in events] == ["click", "add_to_cart"]
    assert {(event["itemId"], event["recommendationId"]) for event in events} == {("mug", "RID-1")}


@pytest.mark.parametrize(
    ("recipe", "types"),
    [
        ("A plain page", ["view", "add_to_cart"]),
        ("Google Tag Manager", ["view", "add_to_cart"]),
    ],
)
def test_a_recipe_works_as_it_is_printed(
    visit: Callable[..., Chrome], gateway: Gateway, recipe: str, types: list[str]
) -> None:
    page = block("snippet.md", recipe, "html")
    if "<button" not in page:
        button = '<button data-pz-event="add_to_cart">Add</button>'
        page = f'<body data-pz-item="mug">{page}{button}</body>'
    browser = visit(page)
    eventually(lambda: browser.execute_script("return pz.site"), "the snippet has loaded")
    browser.find_element("tag name", "button").click()
    assert [event["eventType"] for event in arrived(gateway, 2)] == types
    assert complaints(browser) == []


STRICT_DYNAMIC = (
    f"default-src 'none'; script-src 'nonce-n1' 'strict-dynamic'; connect-src {PUBLIC}; "
    "media-src 'self'"
)


@pytest.mark.parametrize("nonce", ["", "n1"], ids=["as printed", "strict-dynamic"])
def test_a_strict_policy_lets_the_pinned_snippet_and_its_media_file_run(
    visit: Callable[..., Chrome], gateway: Gateway, nonce: str
) -> None:
    printed = block("snippet.md", "A strict Content-Security-Policy", "http")
    name, _, policy = printed.partition(": ")
    assert name == "Content-Security-Policy"
    everything = tag("shop", PUBLIC, ["page", "click", "media"])
    if nonce:
        policy, everything = STRICT_DYNAMIC, everything.replace("<script", '<script nonce="n1"')
    browser = visit(
        everything + '<link rel="icon" href="data:,"><body data-pz-item="mug">'
        '<button data-pz-event="buy">Buy</button>'
        '<audio data-testid="audio"></audio>',
        policy.strip(),
    )
    eventually(lambda: browser.execute_script("return pz.site"), "the snippet has loaded")
    browser.find_element("tag name", "button").click()
    play = "document.querySelector('audio').dispatchEvent(new Event('play'))"
    browser.execute_script(f"window.playing = setInterval(() => {play}, 50)")  # once it listens
    events = {event["eventType"] for event in arrived(gateway, 3)}
    assert events == {"view", "buy", "play"}
    assert [line for line in complaints(browser) if "data:," not in line] == []


def test_under_a_path_of_the_shops_own_it_needs_nothing_else(
    visit: Callable[..., Chrome], shop: Shop, gateway: Gateway
) -> None:
    shop.gateway = gateway.url
    browser = visit(tag("shop", f"{shop.origin}/e") + "<script>pz('track', 'view')</script>")
    assert len(arrived(gateway, 1)) == 1
    [cookie] = browser.get_cookies()
    assert (cookie["name"], cookie["httpOnly"]) == ("pz_sid_shop", True)


def test_nothing_is_stored_or_sent_until_consent_is_given(
    visit: Callable[..., Chrome], gateway: Gateway
) -> None:
    browser = visit(block("snippet.md", "Consent", "html"))
    eventually(lambda: browser.execute_script("return window.pz && pz.site"), "it has loaded")
    browser.delete_all_cookies()
    browser.execute_script("pz('track', 'view', {itemId: 'mug'}); pz('flush')")
    assert browser.execute_script("return localStorage.length") == 0
    assert (
        browser.execute_script(
            "return performance.getEntriesByType('resource')"
            ".filter(one => one.name.endsWith('/events')).length"
        )
        == 0
    )
    browser.execute_script("pz('consent', 'granted')")
    [event] = arrived(gateway, 1)
    assert event["itemId"] == "mug"
