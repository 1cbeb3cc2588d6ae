"""What strangers send can't blind the trail: it stays written and readable."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from gateway.app import create_app
from gateway.observability.history.reader import EventFilter, HistoryReader
from gateway.settings import load
from tests.helpers.support import ADMIN_TOKEN, ORIGIN, beacon, event, eventually, post

ODD = {
    "a type that is no text": rb'{"eventType": "\ud800"}',
    "a name that is no text": rb'{"eventType": "view", "\ud800": 1}',
    "an infinity": b'{"eventType": 1e999}',
    "an infinity, nested": b'{"eventType": "view", "properties": {"a": [1e999]}}',
    "a number of 400 digits": b'{"eventType": 1%s}' % (b"0" * 400),
    "an eventId that is no text": rb'{"eventId": "\ud800", "itemId": ""}',
    "no object": b"[1e999]",
    "nothing": b"null",
    "deep": b'{"eventType": %s1%s}' % (b"[" * 60, b"]" * 60),
    "NUL": rb'{"eventType": "\u0000"}',
}


@pytest.fixture
def client(environ: dict[str, str]) -> FlaskClient:
    return create_app(load({**environ, "GATEWAY_ADMIN_TOKEN": ADMIN_TOKEN})).test_client()


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_an_odd_event_hides_no_other_from_the_trail(
    client: FlaskClient, tmp_path: Path, odd: bytes
) -> None:
    body = b'{"trackingId": "shop", "eventList": [%s]}' % odd
    good = event()
    answer = client.post("/events", data=body, headers={"Origin": ORIGIN})
    assert answer.status_code == 400
    assert post(client, beacon(good)).status_code == 204
    reader = HistoryReader(tmp_path / "queue.db-trail")

    def told() -> set[tuple[str | None, str]]:
        _, lives = reader.lives(EventFilter(), 0)
        return {(life["eventId"], life["state"]) for life in lives}

    eventually(lambda: (good["eventId"], "queued") in told(), "the good event is told", 5)
    assert "refused" in {state for _, state in told()}
