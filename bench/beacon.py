"""A beacon of two events as a browser posts it: 420 bytes of JSON."""

from __future__ import annotations

import json

from bench.servers import BROWSER, SITE
from tests.helpers.support import ORIGIN


def events(run: str, number: int) -> list[dict[str, object]]:
    """Two events that nobody has sent before."""
    return [
        {
            "eventId": f"{run}-{half:04}-4000-8000-{number:012}",
            "eventType": "view",
            "itemId": f"i-{number % 1000}",
            "sentAt": 1763880000.25,
            "properties": {"price": "19.90", "currency": "EUR", "category": "mugs"},
        }
        for half in (1, 2)
    ]


def request(cookie: str, event_list: list[dict[str, object]]) -> bytes:
    """Return a whole request, head and body."""
    body = json.dumps({"trackingId": SITE, "eventList": event_list}, separators=(",", ":"))
    head = {
        "Host": "127.0.0.1",
        "Origin": ORIGIN,
        "User-Agent": BROWSER,
        "Cookie": cookie,
        "Content-Type": "text/plain;charset=UTF-8",
        "Content-Length": str(len(body)),
    }
    lines = [f"{name}: {value}" for name, value in head.items()]
    return "\r\n".join(["POST /events HTTP/1.1", *lines, "", body]).encode()
