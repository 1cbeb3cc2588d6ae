"""Two sites on one gateway, in a browser: cookies, sessions and CORS stay apart."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from selenium.webdriver import Chrome

from tests.helpers.browsers import chromium, find
from tests.helpers.support import Gateway, eventually, write_sites

GATEWAY = "events.brand.localhost"  # of the same site, to a browser, as the pages of both
TRACKED = {"shop": "8f3b1c5e-0000-4000-8000-000000000001", "media": "the-media-tracker"}
PAGE = """\
<!doctype html><title>{site}</title>
<script async src="http://{gateway}/static/pz.js" data-site="{site}"></script>
<button data-testid="buy" data-pz-event="click" data-pz-item="of-{site}">Buy</button>
"""
POST = """
const [url, body, options, done] = arguments;
fetch(url, {method: 'POST', credentials: 'include', body: JSON.stringify(body), ...options})
  .then(answer => done([answer.status, answer.headers.get('X-Gateway-Session')]))
  .catch(error => done([error.name, null]));
"""


@pytest.fixture
def pages(gateway: Gateway, tmp_path: Path) -> Iterator[int]:
    """The port of the sites' pages: http://SITE.brand.localhost, and of everybody else's."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site = self.headers["Host"].partition(".")[0]
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            here = f"{GATEWAY}:{gateway.port}"
            self.wfile.write(PAGE.format(site=site, gateway=here).encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    Thread(target=server.serve_forever, daemon=True).start()
    tables = [
        f'[sites.{site}]\ntracking_id = "{tracking_id}"\nregion = "us-east-1"\n'
        f'origins = ["http://{site}.brand.localhost:{server.server_port}"]\n'
        for site, tracking_id in TRACKED.items()
    ]
    write_sites(tmp_path / "sites.toml", "\n".join(tables))
    gateway.start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def sessions(gateway: Gateway, site: str) -> list[str]:
    """The sessions of a site's clicks that PutEvents has got, in their order."""
    tracking_id = TRACKED[site]
    return [e["sessionId"] for e in gateway.sandbox.events() if e["trackingId"] == tracking_id]


def click(browser: Chrome, gateway: Gateway, pages: int, site: str) -> str:
    """Click on a site's page; the session that the click arrives in."""
    before = len(sessions(gateway, site))
    browser.get(f"http://{site}.brand.localhost:{pages}/")
    find(browser, "buy").click()
    arrived = eventually(lambda: sessions(gateway, site)[before:], "the click arrives")
    assert len(arrived) == 1
    return arrived[0]


def post(browser: Chrome, gateway: Gateway, site: str, **more: Any) -> tuple[Any, str | None]:
    """What the page at hand sees of a beacon that it sends for this site: status or error, tag."""
    options = {"headers": more.pop("headers", {"Content-Type": "text/plain"})}
    body = {"trackingId": site, "eventList": [{"eventType": "forged"}], **more}
    url = f"http://{GATEWAY}:{gateway.port}/events"
    status, tag = browser.execute_async_script(POST, url, body, options)
    return status, tag


def test_two_sites_in_one_browser_stay_apart(gateway: Gateway, pages: int, tmp_path: Path) -> None:
    with chromium(tmp_path / "profile") as browser:
        shop, media = (click(browser, gateway, pages, site) for site in TRACKED)
        assert shop != media
        assert click(browser, gateway, pages, "shop") == shop
        assert click(browser, gateway, pages, "media") == media

        cookies = {
            c["name"]: c for c in browser.execute_cdp_cmd("Network.getAllCookies", {})["cookies"]
        }
        assert set(cookies) == {"pz_sid_shop", "pz_sid_media"}
        assert {(c["domain"], c["httpOnly"], c["sameSite"]) for c in cookies.values()} == {
            (GATEWAY, True, "Lax")
        }
        assert browser.execute_script("return document.cookie") == ""

        # On the page of media, whose requests bear both cookies:
        assert post(browser, gateway, "shop") == ("TypeError", None)  # it may not even read the 403
        status, tag = post(browser, gateway, "media", session=cookies["pz_sid_shop"]["value"])
        assert status == 204
        assert tag == cookies["pz_sid_media"]["value"]

        browser.get(f"http://evil.localhost:{pages}/")
        for site in TRACKED:
            assert post(browser, gateway, site) == ("TypeError", None)
            preflighted = {"headers": {"Content-Type": "application/json"}}
            assert post(browser, gateway, site, **preflighted) == ("TypeError", None)
        assert "foreign_origin" in gateway.log.read_text()
    eventually(lambda: len(sessions(gateway, "media")) == 3, "media's own forged event arrives")
    assert set(sessions(gateway, "media")) == {media}, "the other site's tag counts for nothing"
    assert sessions(gateway, "shop") == [shop, shop]
