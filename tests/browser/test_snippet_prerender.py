"""A page that a browser prepares in case somebody wants it: nothing until somebody does.

A page with a debugger at it is not prerendered, so nobody drives Chromium here.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.browser.visits import matrix
from tests.browser.visits.shop import Lane
from tests.helpers.browsers import CHROMIUM
from tests.helpers.support import Gateway, eventually

TELL = "fetch('/seen?' + document.prerendering + document.visibilityState);"
FLUSHED = 3.0  # seconds after which a page's first events have gone


def views(gateway: Gateway) -> list[str]:
    return [event["itemId"] for event in gateway.sandbox.events()]


def start_page(lane: Lane, product: str) -> str:
    """The address of a page that has the product's prerendered, and goes there after a while."""
    rules = '{"prerender": [{"source": "list", "urls": ["%s"], "eagerness": "immediate"}]}'
    body = f'<script type="speculationrules">{rules % product}</script>'
    go = f"setTimeout(() => {{ location.href = '{product}'; }}, 8000);"
    return lane.page("/start", {"auto": "page", "body": body, "before": go})


@contextmanager
def undriven(profile: Path, url: str) -> Iterator[None]:
    command = ["/usr/bin/chromium", *CHROMIUM, f"--user-data-dir={profile}", url]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as browser:
        try:
            yield
        finally:
            os.killpg(browser.pid, signal.SIGKILL)


def test_a_prerendered_page_sends_nothing_until_it_is_shown(tmp_path: Path) -> None:
    with matrix.street(tmp_path / "street") as (shop, gateway):
        lane = shop.lane("prerender")
        product = lane.page("/product", {"auto": "page", "before": TELL})
        with undriven(tmp_path / "profile", start_page(lane, product)):
            eventually(lambda: lane.seen, "the product's page is prerendered")
            assert lane.seen == ["truehidden"]
            time.sleep(FLUSHED)
            eventually(lambda: views(gateway), "the first page's view is delivered")
            assert views(gateway) == ["prerender-page-start"]
            eventually(lambda: len(views(gateway)) > 1, "the product's page is shown")
        assert views(gateway) == ["prerender-page-start", "prerender-page-product"]
        assert lane.seen == ["truehidden"], "it was loaded anew"
