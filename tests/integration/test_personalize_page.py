"""The timeline of docs/personalize.md: each request, and what PutEvents gets of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import requests

from tests.helpers.support import ORIGIN, ROOT, SITES, TRACKING_ID, Gateway, eventually, write_sites

TEXT = (ROOT / "docs/personalize.md").read_text()
SESSION_ID = "5f0c2d9e7b1a4c68a3e1d0f9b8c7a6e5"  # in the document
OWN = {"eventId", "sentAt"}  # that the gateway fills in


def test_the_timeline_is_what_happens(gateway: Gateway) -> None:
    blocks = [json.loads(text) for text in re.findall(r"^```json\n(.*?)^```", TEXT, re.M | re.S)]
    requests_sent, calls = blocks[::2], blocks[1::2]
    assert len(requests_sent) == len(calls) == 4
    line = "visitor_days = 30"
    assert f"`{line}`" in TEXT
    sites = Path(gateway.environ["GATEWAY_SITES"])
    write_sites(sites, SITES.replace("[sites.media]", f"{line}\n\n[sites.media]"))
    gateway.start()
    browser = requests.Session()
    browser.headers["Origin"] = ORIGIN
    tag = ""
    for number, body in enumerate(requests_sent, 1):
        text = json.dumps(body).replace(f"{SESSION_ID}.\\u2026", tag)
        answer = browser.post(f"{gateway.url}/events", data=text)
        assert answer.status_code == 204, answer.text
        tag = answer.headers["X-Gateway-Session"]
        eventually(lambda n=number: len(gateway.sandbox.requests()) == n, "it is delivered")
    actual_id = tag.split(".")[0]
    for call, received in zip(calls, gateway.sandbox.requests(), strict=True):
        expected = json.loads(
            json.dumps(call).replace("8f3b1c5e-\\u2026", TRACKING_ID).replace(SESSION_ID, actual_id)
        )
        events = [_without_own(event) for event in received["eventList"]]
        names = ("trackingId", "sessionId", "userId")
        assert {name: received[name] for name in names} | {"eventList": events} == {
            "userId": None
        } | expected


def _without_own(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in OWN}
