"""`GET /pixel.gif`: events of pages without scripts and of e-mails."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlencode

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.helpers.support import SITES, TRACKING_ID, Start, Stored

ALLOWED = SITES.replace('region = "us-east-1"', 'region = "us-east-1"\npixel = true', 1)
VIEW = {"trackingId": "shop", "eventType": "view", "itemId": "mug"}


@pytest.fixture
def client(start: Start) -> FlaskClient:
    return start(ALLOWED)


def fetch(client: FlaskClient, *address: Any, **headers: str) -> TestResponse:
    """As an image is fetched: without an Origin."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.get(f"/pixel.gif?{urlencode(*address or [VIEW])}", headers=named)


def assert_pixel(response: TestResponse, reason: str | None = None) -> None:
    assert response.status_code == 200, response.text
    assert response.data.startswith(b"GIF89a\x01\x00\x01\x00")
    assert response.headers["Content-Type"] == "image/gif"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert response.headers.get("X-Gateway-Reason") == reason


def assert_refused(response: TestResponse, status: int, reason: str) -> dict[str, Any]:
    assert (response.status_code, response.headers["X-Gateway-Reason"]) == (status, reason)
    errors: dict[str, Any] = response.get_json().get("errors", {})
    return errors


def test_a_view_is_stored_and_answered_with_a_pixel(client: FlaskClient, stored: Stored) -> None:
    assert_pixel(fetch(client, VIEW | {"trackingId": TRACKING_ID, "recommendationId": "RID-1"}))
    [record] = stored()
    event = json.loads(record["event"])
    assert (record["site"], record["user_id"]) == ("shop", None)
    told = {name: event[name] for name in ("eventType", "itemId", "recommendationId")}
    assert told == {"eventType": "view", "itemId": "mug", "recommendationId": "RID-1"}


def test_an_email_reports_its_impressions_once(client: FlaskClient, stored: Stored) -> None:
    mail = VIEW | {"eventId": "mail-7-of-u-17", "impression": "mug,kettle"}
    assert_pixel(fetch(client, mail))
    assert_pixel(fetch(client, mail), "duplicate")
    [record] = stored()
    assert json.loads(record["event"])["impression"] == ["mug", "kettle"]


def test_a_visitor_without_scripts_has_one_session(client: FlaskClient, stored: Stored) -> None:
    for item in "mug", "kettle":
        assert_pixel(fetch(client, VIEW | {"itemId": item}))
    assert len({record["session_id"] for record in stored()}) == 1


def test_a_head_request_stores_nothing(client: FlaskClient, stored: Stored) -> None:
    assert client.head(f"/pixel.gif?{urlencode(VIEW)}").status_code == 200
    assert stored() == []


@pytest.mark.parametrize(
    ("address", "status", "reason", "named"),
    [
        ({"eventType": "view"}, 400, "invalid_request", "trackingId"),
        ({"trackingId": "shop"}, 400, "invalid_event", "eventList"),
        (VIEW | {"eventType": ""}, 400, "invalid_event", "eventList"),
        (VIEW | {"itemId": "i" * 257}, 400, "invalid_event", "eventList"),
        (VIEW | {"itemId": "\0"}, 400, "invalid_event", "eventList"),
        (VIEW | {"userId": "u-17"}, 400, "invalid_request", "userId"),
        (VIEW | {"properties": "{}"}, 400, "invalid_request", "properties"),
        (VIEW | {"eventValue": "5"}, 400, "invalid_request", "eventValue"),
        (VIEW | {"sessionId": "s"}, 400, "invalid_request", "sessionId"),
        (VIEW | {"eventType": "Purchase"}, 400, "invalid_request", "eventType"),
        (VIEW | {"eventType": " purchase "}, 400, "invalid_request", "eventType"),
        ([*VIEW.items(), ("itemId", "kettle")], 400, "invalid_request", "itemId"),
        (VIEW | {"trackingId": "nobody"}, 404, "unknown_site", None),
        (VIEW | {"trackingId": "media"}, 403, "pixel_off", None),
    ],
)
def test_unknown_and_missing_parameters_are_rejected(
    client: FlaskClient, stored: Stored, address: Any, status: int, reason: str, named: str | None
) -> None:
    errors = assert_refused(fetch(client, address), status, reason)
    assert set(errors) == ({named} if named else set())
    assert stored() == []


def test_the_sites_event_types_apply_to_pixels(start: Start, stored: Stored) -> None:
    client = start(ALLOWED.replace("pixel = true", 'pixel = true\nevent_types = ["open"]', 1))
    assert_refused(fetch(client), 400, "invalid_event")
    assert_pixel(fetch(client, VIEW | {"eventType": "open"}))
    assert len(stored()) == 1


def test_pixels_are_rejected_unless_the_site_allows_them(start: Start, stored: Stored) -> None:
    assert_refused(fetch(start(SITES)), 403, "pixel_off")
    assert stored() == []


@pytest.mark.parametrize(
    ("setting", "headers", "reason"),
    [
        ("", {"Sec_GPC": "1"}, "gpc"),
        ("", {"DNT": "1"}, "dnt"),
        ("drop_bots = true", {"User_Agent": "Googlebot/2.1"}, "bot"),
    ],
)
def test_opt_outs_and_bots_get_the_pixel_and_nothing_is_stored(
    start: Start, stored: Stored, setting: str, headers: dict[str, str], reason: str
) -> None:
    client = start(ALLOWED.replace("pixel = true", f"pixel = true\n{setting}", 1))
    assert_pixel(fetch(client, **headers), reason)
    assert stored() == []


def test_pixels_count_towards_the_rate_limit(start: Start) -> None:
    client = start(re.sub("events_per_minute = .*", "events_per_minute = 1", ALLOWED))
    assert_pixel(fetch(client))
    response = fetch(client, VIEW | {"itemId": "kettle"})
    assert_refused(response, 429, "rate_limit")
    assert int(response.headers["Retry-After"]) > 0


def test_a_full_queue_answers_a_pixel_with_503(start: Start) -> None:
    client = start(ALLOWED, GATEWAY_QUEUE_MAX_BYTES="0")
    assert_refused(fetch(client), 503, "queue_full")
