"""The shop's pages: plain ones, and such as make a script's life hard."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from gateway.web.snippet import STUB
from tests.helpers.support import ROOT

if TYPE_CHECKING:
    from tests.browser.visits.shop import Lane

# The page's clock may be ahead, so that a lease of half a minute is over at once, or behind.
SETUP = """
window.errors = [];
addEventListener('error', (event) => errors.push(String(event.message)));
addEventListener('unhandledrejection', (event) => errors.push(String(event.reason)));
window.left = false;
addEventListener('pageshow', (event) => { left = false; window.persisted = event.persisted; });
window.ahead = +new URLSearchParams(location.search).get('ahead') || 0;
const clock = Date.now;
Date.now = () => clock() + ahead;
const wakes = +new URLSearchParams(location.search).get('wakes');
if (wakes) setTimeout(() => { ahead += 40000; pz('flush'); }, wakes);
window.trackAll = (labels, text) => {
  const properties = text ? { text } : undefined;
  for (const itemId of labels) pz('track', 'view', { itemId, properties });
};
window.outbox = () => Object.keys(localStorage).filter((key) => key.startsWith('pz:shop:')).length;
"""

BLOCKED_STORAGE = """
Object.defineProperty(window, 'localStorage', {
  get() { throw new DOMException('The operation is insecure.', 'SecurityError'); },
});
"""

KEPT = {"ahead", "auto", "blocked", "elsewhere", "policy", "tags"}  # from page to page
NONCE = "c2hvcA"


def integrity() -> str:
    """What a page pins the built snippet with."""
    digest = hashlib.sha384((ROOT / "static/pz.js").read_bytes()).digest()
    return f"sha384-{base64.b64encode(digest).decode()}"


def html(lane: Lane, path: str, options: Mapping[str, str]) -> tuple[dict[str, str], bytes]:
    """A page's headers and text.

    Options: `ahead` (ms that its clock is ahead), `wakes` (ms after which it jumps ahead), `tags`
    (how many), `policy` (CSP, Trusted Types, SRI), `blocked` (storage), `frame` (the shop is in a
    sandboxed frame), `elsewhere` (the gateway is a third party), `auto` (data-auto), `before` (a
    script that runs first), `body` (HTML).
    """
    headers = {"Cache-Control": "max-age=0"}
    events = lane.events("elsewhere" in options)
    if "frame" in options:
        inner = escape(lane.page("/framed", {}))
        sandbox = "allow-scripts allow-same-origin"
        body = f'<iframe sandbox="{sandbox}" src="{inner}"></iframe>'
        return headers, _document(f"<script>{SETUP}</script>", body, "")
    attributes = f' data-auto="{escape(options["auto"])}"' if "auto" in options else ""
    if "policy" in options:
        headers["Content-Security-Policy"] = (
            f"default-src 'none'; script-src 'nonce-{NONCE}' {events}; connect-src {events}; "
            "require-trusted-types-for 'script'; trusted-types 'none'; base-uri 'none'"
        )
        attributes += f' integrity="{integrity()}" crossorigin="anonymous"'
    script = f"{SETUP}{options.get('before', '')}{BLOCKED_STORAGE * ('blocked' in options)}\n{STUB}"
    tag = f'<script async src="{events}/static/pz.js" data-site="shop"{attributes}></script>'
    head = f'<script nonce="{NONCE}">{script}</script>' + tag * int(options.get("tags", 1))
    query = urlencode({name: options[name] for name in KEPT & set(options)})
    links = (f'<a id="{name}" href="/{name}?{query}">{name}</a> ' for name in ("next", "away"))
    item = f"{lane.name}-page-{path.strip('/')}"
    return headers, _document(head, options.get("body", "") + "".join(links), item)


def _document(head: str, body: str, item: str) -> bytes:
    title = "<!doctype html><meta charset=utf-8><title>Shop</title>"
    return f'{title}{head}<body data-pz-item="{item}">{body}</body>'.encode()
