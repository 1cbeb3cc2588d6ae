"""The demo shop at `/demo/`, which shows what the gateway stored and PutEvents received.

For trying out, not for production: what was stored is shown from this process's memory.
"""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Sequence
from io import BytesIO
from threading import Lock
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen
from uuid import uuid4

from flask import Blueprint, Response, jsonify, request, send_file, send_from_directory

from gateway.demo.sound import morning
from gateway.queues import Inbox, QueueError, Record
from gateway.sites import Site
from gateway.web import snippet

KEPT = 1000  # records
SANDBOX_SECONDS = 2.0  # to answer

SHOP = snippet.STATIC / "demo"
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; connect-src 'self'; img-src 'self' data:; "
    f"media-src 'self'; script-src 'self' '{snippet.stub_hash()}'; style-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Window:
    """An inbox that remembers the demo shop's records, and can refuse them on request."""

    def __init__(self, inbox: Inbox, site: str) -> None:
        self._inbox = inbox
        self._site = site
        self._lock = Lock()
        self._count = 0
        self._seen: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self.shut = False

    def put(self, records: Sequence[Record]) -> Sequence[bool]:
        """Store the records, and remember the demo shop's."""
        if self.shut and any(record.site == self._site for record in records):
            raise QueueError("demo_outage", "the demo shop's switch says so")
        new = self._inbox.put(records)
        with self._lock:
            for record, first in zip(records, new, strict=True):
                if record.site == self._site:
                    self._count += 1
                    self._seen.append(_shown(self._count, record, first))
        return new

    def check(self) -> None:
        """Raise QueueError if the inbox could not store an event now."""
        self._inbox.check()

    def since(self, number: int) -> dict[str, Any]:
        """Return what was stored after a number, and the number to ask with next."""
        with self._lock:
            records = [shown for shown in self._seen if shown["n"] > number]
            return {"next": self._count, "records": records}

    def interactions(self, user_id: str) -> Counter[str]:
        """Count a user's remembered events by item; an anonymous session's ID counts as a userId.

        As in Personalize, all events of a session belong to the user of any of them.
        """
        with self._lock:
            sessions = {
                shown["sessionId"]
                for shown in self._seen
                if user_id in (shown["sessionId"], shown["userId"])
            }
            return Counter(
                shown["event"].get("itemId", "")
                for shown in self._seen
                if shown["sessionId"] in sessions
            )


def _shown(number: int, record: Record, first: bool) -> dict[str, Any]:
    return {
        "n": number,
        "duplicate": not first,
        "site": record.site,
        "sessionId": record.session_id,
        "userId": record.user_id,
        "storedAt": time.time(),
        "event": json.loads(record.event),
    }


def blueprint(site: Site, window: Window, sandbox: str) -> Blueprint:
    """Return the routes of the shop, a page of `site`, whose events go to that sandbox."""
    routes = Blueprint("demo", __name__, url_prefix="/demo")

    @routes.get("/")
    def shop() -> Response:
        page = send_from_directory(SHOP, "index.html")
        page.headers.update(PAGE_HEADERS)
        return page

    @routes.get("/config.json")
    def config() -> Response:
        return jsonify({"site": site.key, "sandboxUrl": sandbox, "shut": window.shut})

    @routes.get("/morning.wav")
    def sound() -> Response:
        return send_file(BytesIO(morning()), "audio/wav", conditional=True, max_age=3600)

    @routes.post("/shut")
    def shut() -> Response:
        """Make the gateway answer the shop's events with 503, or stop that."""
        window.shut = request.get_json() is True
        return jsonify(window.shut)

    @routes.get("/stored")
    def stored() -> Response:
        return jsonify(window.since(request.args.get("since", 0, type=int)))

    @routes.get("/ranking")
    def ranking() -> Response:
        """Answer as GetPersonalizedRanking does, with what the user knows best first."""
        items = request.args.get("inputList", "").split(",")
        known = window.interactions(request.args.get("userId", ""))
        ranked = sorted(items, key=lambda item: -known[item])
        return jsonify(
            {
                "personalizedRanking": [{"itemId": item} for item in ranked],
                "recommendationId": f"RID-{uuid4()}"[:40],
            }
        )

    @routes.get("/received")
    def received() -> Response:
        since = request.args.get("since", 0, type=int)
        calls = _sandbox_calls(sandbox.rstrip("/"), site.tracking_id, since)
        return jsonify({"next": calls[-1]["id"] if calls else since, "calls": calls})

    return routes


def _sandbox_calls(sandbox: str, tracking_id: str, since: int) -> list[dict[str, Any]]:
    """Return the site's PutEvents calls that the sandbox received; none if it can't be reached."""
    try:
        with urlopen(f"{sandbox}/requests?since={since}", timeout=SANDBOX_SECONDS) as answer:  # noqa: S310
            calls: list[dict[str, Any]] = json.load(answer)
    except (URLError, TimeoutError, ValueError):
        return []
    return [call for call in calls if call["trackingId"] == tracking_id]
