"""A shop's pages with the snippet, one browser that visits them, and what the gateway delivered."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qs, urlsplit

from selenium.webdriver.remote.webdriver import WebDriver

from gateway.sandbox import Sandbox
from tests.helpers.support import ORIGIN, SITES, Gateway, eventually, write_sites

Event = dict[str, Any]
SECRET_KEY = "a-secret-of-the-suite-of-32-characters"
# What a browser does that blocks a third party's cookies.
NO_COOKIES = """<script>
const go = fetch;
fetch = (url, options) => go(url, {...options, credentials: 'omit'});
</script>"""
Driver = TypeVar("Driver", bound=WebDriver)
FRAMED = """
[sites.framed]
tracking_id = "framed"
origins = []
allow_null_origin = true
region = "us-east-1"
"""
STUB = "<script>window.pz=window.pz||function(){(pz.q=pz.q||[]).push(arguments)}</script>"


def silence(seconds: float) -> bytes:
    """An audio file."""
    with io.BytesIO() as file:
        with wave.open(file, "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(1)
            sound.setframerate(8000)
            sound.writeframes(b"\x80" * int(8000 * seconds))
        return file.getvalue()


class Shop(Generic[Driver]):
    """Pages of a site, seen by one browser, and what the gateway delivered of them."""

    def __init__(self, gateway: Gateway, browser: Driver, origin: str) -> None:
        self.gateway = gateway
        self.browser = browser
        self.origin = origin
        self.pages = {"/": ("<!doctype html>", "")}  # path → HTML, content security policy
        self.asked: list[str] = []  # the userIds that recommendations were asked for
        self._seen = 0

    def page(
        self, body: str, *, auto: str = "", tag: str = "", policy: str = "", before: str = ""
    ) -> str:
        """A new page with the snippet and the attributes given; its address."""
        path = f"/page-{len(self.pages)}"
        script = (
            f'<script async src="{self.gateway.url}/static/pz.js" data-site="shop"'
            f' data-auto="{auto}" {tag}></script>'
        )
        html = f"<!doctype html><meta charset=utf-8><title>Shop</title>{STUB}{before}{script}{body}"
        self.pages[path] = (html, policy)
        return self.origin + path

    def visit(self, address: str) -> None:
        """Open a page, and return once the snippet is there."""
        self.browser.get(address)
        eventually(lambda: self.run("return pz.site"), "the snippet has loaded")

    def open(self, body: str, **attributes: str) -> str:
        address = self.page(body, **attributes)
        self.visit(address)
        return address

    def run(self, script: str) -> Any:
        return self.browser.execute_script(script)

    def click(self, selector: str) -> None:
        self.run(f"document.querySelector('{selector}').click()")

    def told(self, at_least: int = 0) -> list[Event]:
        """The events that were delivered since the last time, up to one of now.

        Those of one session come in order; where there are several, say how many events.
        """
        self.run("pz('track', 'last'); pz('flush')")

        def whole() -> list[Event]:
            events = self.gateway.sandbox.events()[self._seen :]
            return events if "last" in types(events) and len(events) > at_least else []

        events = eventually(whole, "the last event arrives")
        self._seen += len(events)
        assert len({event["eventId"] for event in events}) == len(events)
        return [event for event in events if event["eventType"] != "last"]

    def forget(self) -> None:
        """The next visitor was never here."""
        self.run("if (window.pz) pz('consent', 'denied')")
        self.browser.get(self.origin)
        self.run("localStorage.clear()")
        self.browser.delete_all_cookies()

    def stored(self) -> list[str]:
        """The keys that the page's storage has."""
        keys: list[str] = self.run("return Object.keys(localStorage)")
        return keys


def types(events: list[Event]) -> list[str]:
    return [event["eventType"] for event in events]


class _Pages(BaseHTTPRequestHandler):
    shop: Shop[Any]

    def do_GET(self) -> None:
        if self.path.startswith("/recommendations?"):  # a stand-in for GetRecommendations
            self.shop.asked.append(parse_qs(urlsplit(self.path).query)["userId"][0])
        sound = self.path == "/sound.wav"
        html, policy = self.shop.pages.get(self.path, ("", ""))
        content = silence(2) if sound else html.encode()
        self.send_response(200 if content else 404)
        self.send_header("Content-Type", "audio/wav" if sound else "text/html")
        self.send_header("Content-Length", str(len(content)))
        if policy:
            self.send_header("Content-Security-Policy", policy)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def opened(folder: Path, browser: Driver) -> Iterator[Shop[Driver]]:
    """A shop, its gateway and a stand-in for PutEvents."""
    with (
        Sandbox(port=0) as sandbox,
        ThreadingHTTPServer(("127.0.0.1", 0), type("Pages", (_Pages,), {})) as server,
    ):
        origin = f"http://127.0.0.1:{server.server_port}"
        environ = {
            "GATEWAY_SITES": str(
                write_sites(folder / "sites.toml", SITES.replace(ORIGIN, origin) + FRAMED)
            ),
            "GATEWAY_QUEUE": f"sqlite:///{folder}/queue.db",
            "GATEWAY_SECRET_KEY": SECRET_KEY,
            "GATEWAY_MIN_FREE_BYTES": "0",
        }
        gateway = Gateway(folder, environ, sandbox)
        shop = Shop(gateway, browser, origin)
        server.RequestHandlerClass.shop = shop  # type: ignore[attr-defined]
        Thread(target=server.serve_forever, daemon=True).start()
        gateway.start()
        yield shop
        gateway.stop()
        server.shutdown()
