"""What the snippet costs a page: bytes beside the others', and time on 1,000 tracked elements.

Measured in each engine: the page's hooks are wrapped before the snippet comes, so that every call
into it is timed, its own evaluation, timers and observers too. Nothing else runs in the page.
"""

from __future__ import annotations

import gzip
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from selenium.webdriver.remote.webdriver import WebDriver

from bench.report import Figure
from tests.browser.visits.engines import ENGINES

ROOT = Path(__file__).parent.parent
BUDGET = 4096
ROUNDS = 3
ELEMENTS = 1000
SETTLED = 3  # seconds after the load until impressions have been counted

# gzip -9, what a page loads; measured in November 2026.
OTHERS = {
    "plausible-tracker (old)": 1_150,
    "GoatCounter": 2_199,
    "Umami": 2_273,
    "@plausible-analytics/tracker": 2_589,
    "Snowplow lite": 18_190,
    "Matomo": 21_998,
    "Jitsu": 29_971,
    "Segment standalone": 31_322,
    "RudderStack": 34_414,
    "AWS SDK client-personalize-events": 54_872,
    "Amplify's Personalize record": 84_457,
    "posthog-js": 122_168,
}

HOOKS = """
window.calls = [];
const timed = (action) => function (...rest) {
  const began = performance.now();
  try { return action.apply(this, rest); } finally { calls.push(performance.now() - began); }
};
const setTimer = window.setTimeout;
for (const name of ['setTimeout', 'setInterval']) {
  const original = window[name];
  window[name] = (action, ...rest) => original(timed(action), ...rest);
}
const listen = EventTarget.prototype.addEventListener;
EventTarget.prototype.addEventListener = function (type, action, ...rest) {
  return listen.call(this, type, timed(action), ...rest);
};
for (const name of ['IntersectionObserver', 'MutationObserver']) {
  const Original = window[name];
  window[name] = function (action, ...rest) { return new Original(timed(action), ...rest); };
}
window.clickAll = async (pause, done) => {
  const spent = [];
  for (const element of document.querySelectorAll('button')) {
    calls.length = 0;
    element.click();
    spent.push(calls.reduce((sum, one) => sum + one, 0));
    await new Promise((go) => setTimer(go, pause));
  }
  done(spent);
};
"""
WRAPPED = "timed(() => {%s\n})();"


class _Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if "pz" in self.path:
            snippet = (ROOT / "static" / self.path.rpartition("/")[2]).read_text()
            return self._answer(200, "text/javascript", WRAPPED % snippet)
        buttons = "".join(
            f'<button data-pz-event="click" data-pz-item="i-{n}" data-pz-rec="r">{n}</button>'
            for n in range(ELEMENTS)
        )
        tag = '<script src="/static/pz.js" data-site="shop" data-auto="page click impression">'
        page = f"<!doctype html><script>{HOOKS}</script>{buttons}{tag}</script>"
        return self._answer(200, "text/html", page)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(204, "text/plain", "")

    def _answer(self, status: int, kind: str, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if status != 204:
            self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        pass


def size(path: Path) -> int:
    """Bytes that a page loads."""
    return len(gzip.compress(path.read_bytes(), 9, mtime=0))


def sizes() -> list[Figure]:
    """Ours among the others', by size."""
    ours = {
        f"static/{path.name}": size(path)
        for path in (ROOT / "static").glob("pz*.js")
        if ".src." not in path.name
    }
    rows = sorted([*ours.items(), *OTHERS.items()], key=lambda row: row[1])
    return [
        Figure(name, "B, gzip -9", [count], at_most=BUDGET if name == "static/pz.js" else None)
        for name, count in rows
    ]


def costs(driver: WebDriver, url: str) -> dict[str, float]:
    """Milliseconds in the snippet: at load, and for a click."""
    driver.get(url)
    time.sleep(SETTLED)
    calls = driver.execute_script("return calls")
    spent = driver.execute_async_script("clickAll(5, arguments[0])")
    return {
        "load": sum(calls),
        "load, the longest call": max(calls),
        "a click, on average": statistics.mean(spent),
        "a click, 99 % of them": statistics.quantiles(spent, n=100)[-1],
    }


@contextmanager
def page() -> Iterator[str]:
    """Serve the page; yield its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def measure(*, quick: bool) -> list[Figure]:
    """Bytes, then milliseconds in each engine."""
    figures = sizes()
    for engine in ENGINES:
        found: dict[str, list[float]] = defaultdict(list)
        with (
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
            engine.start(Path(folder) / "profile") as driver,
            page() as url,
        ):
            for _ in range(1 if quick else ROUNDS):
                for what, spent in costs(driver, url).items():
                    found[what].append(spent)
        figures += [
            Figure(f"{engine.name}, {ELEMENTS:,} elements: {what}", "ms", values)
            for what, values in found.items()
        ]
    return figures
