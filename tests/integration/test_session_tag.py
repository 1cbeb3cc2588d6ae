"""The session tag: what a page gets in `X-Gateway-Session`, and how its events use it."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from gateway.app import create_app
from gateway.settings import Settings
from gateway.web.session_lifetime import Lifetime, Session
from gateway.web.sessions import Sessions
from tests.helpers.support import SITES, USER_SECRET, Start, Stored, beacon, event, post

COOKIE = "pz_sid_shop"
HOUR = 3600.0


@pytest.fixture
def client(settings: Settings) -> FlaskClient:
    """A browser that blocks cookies."""
    return create_app(settings).test_client(use_cookies=False)


@pytest.fixture
def browser(settings: Settings) -> FlaskClient:
    """A browser that keeps cookies."""
    return create_app(settings).test_client()


def tag(response: TestResponse) -> str:
    assert response.status_code in (200, 204), response.text
    return response.headers["X-Gateway-Session"]


def sets_cookie(response: TestResponse) -> bool:
    return "Set-Cookie" in response.headers


def ids(stored: Stored) -> list[str]:
    return [record["session_id"] for record in stored()]


def test_one_session_without_any_cookie(client: FlaskClient, stored: Stored) -> None:
    first = tag(post(client))
    for _ in range(3):
        assert tag(post(client, beacon(session=first))) == first
    assert len(set(ids(stored))) == 1


def test_the_cookie_and_the_tag_are_the_same_token(browser: FlaskClient) -> None:
    response = post(browser)
    assert response.headers["Set-Cookie"].startswith(f"{COOKIE}={tag(response)};")
    again = post(browser)
    assert tag(again) == tag(response)
    assert not sets_cookie(again)


def test_delayed_events_join_the_session_they_happened_in(
    client: FlaskClient, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    first = tag(post(client))
    monkeypatch.setattr("gateway.web.collect.time.time", lambda: now + 5 * HOUR)
    late = post(client, beacon(event(sentAt=now + 60), session=first))
    assert late.status_code == 204
    assert "X-Gateway-Session" not in late.headers
    assert not sets_cookie(late)
    new = tag(post(client, beacon(event(sentAt=now + 5 * HOUR), session=first)))
    one, two, three = ids(stored)
    assert one == two != three
    assert tag(post(client, beacon(session=new))) == new


def test_a_wrong_clock_does_not_take_events_out_of_their_session(
    client: FlaskClient, stored: Stored
) -> None:
    now, fast = time.time(), 2 * HOUR
    first = tag(post(client, beacon(event(sentAt=now + fast), clientTime=now + fast)))
    for age in 0, 60:
        body = beacon(event(sentAt=now + fast - age), clientTime=now + fast, session=first)
        assert tag(post(client, body)) == first
    assert len(set(ids(stored))) == 1


def test_a_lost_response_neither_doubles_events_nor_splits_the_visit(
    client: FlaskClient, stored: Stored
) -> None:
    body = beacon(event(sentAt=time.time()))
    assert post(client, body).status_code == 204  # and nobody hears of it
    again = post(client, body)
    assert again.headers["X-Gateway-Reason"] == "duplicate"
    post(client, beacon(session=tag(again)))
    assert len(set(ids(stored))) == 1
    assert len(stored()) == 2


def test_events_without_id_or_time_share_no_session(client: FlaskClient, stored: Stored) -> None:
    for one in event(), {"eventType": "view"}, {"eventType": "view", "sentAt": 1.0}:
        for _ in range(2):
            tag(post(client, beacon({**one, "itemId": "i"})))
    assert len(set(ids(stored))) == len(stored()) == 6


WHOLE_SECOND = {"eventType": "view", "eventId": "1", "sentAt": 1_763_880_000, "itemId": "i-9"}
PHONE = {"User-Agent": "Phone/1", "X-Forwarded-For": "192.0.2.7"}


@pytest.mark.parametrize(
    ("event", "members", "headers"),
    [
        ({}, {}, {"X-Forwarded-For": "192.0.2.8"}),
        ({}, {}, {"User-Agent": "Phone/2"}),
        ({}, {"userId": "bob"}, {}),
        ({"itemId": "i-10"}, {}, {}),
        ({"sentAt": 1_763_880_001}, {}, {}),
        ({"eventId": "2"}, {}, {}),
    ],
)
def test_counters_as_event_ids_join_no_other_visitors(
    start: Start,
    stored: Stored,
    event: dict[str, Any],
    members: dict[str, Any],
    headers: dict[str, str],
) -> None:
    first, other = (start(GATEWAY_TRUSTED_PROXIES="1") for _ in range(2))
    post(first, beacon(WHOLE_SECOND), **PHONE)
    answer = post(other, beacon(WHOLE_SECOND | event, **members), **PHONE | headers)
    assert "X-Gateway-Reason" not in answer.headers
    assert len(set(ids(stored))) == 2


@pytest.mark.parametrize(
    ("event_id", "network"),
    [("1", "192.0.2.7"), (str(uuid4()), "192.0.2.7"), (str(uuid4()), "198.51.100.1")],
    ids=["counter", "random", "random from another network"],
)
def test_a_repeated_request_joins_the_session_it_started(
    start: Start, stored: Stored, event_id: str, network: str
) -> None:
    body = beacon(WHOLE_SECOND | {"eventId": event_id})
    first, other = (start(GATEWAY_TRUSTED_PROXIES="1") for _ in range(2))
    post(first, body, **PHONE)
    again = post(other, body, **PHONE | {"X-Forwarded-For": network})
    assert again.headers["X-Gateway-Reason"] == "duplicate"
    assert len(stored()) == 1


def test_of_two_cookies_the_one_named_by_the_tag_counts_then_an_unexpired_one(
    settings: Settings,
) -> None:
    app = create_app(settings)
    own, planted = (tag(post(app.test_client(use_cookies=False))) for _ in range(2))
    sessions = Sessions("shop", settings.secret_keys, Lifetime(30))
    over = sessions.sign(Session("over", 1_000_000_000, 1_000_000_000))
    bare = app.test_client(use_cookies=False)
    for first, tagged in ((planted, own), (over, None), ("forged", None)):
        cookies = f"{COOKIE}={first}; {COOKIE}={own}"
        answer = post(bare, beacon(session=tagged), Cookie=cookies)
        assert tag(answer) == own
        assert not sets_cookie(answer)


def test_a_tag_sets_a_missing_cookie(browser: FlaskClient, stored: Stored) -> None:
    first = post(browser)
    browser.delete_cookie(COOKIE)
    again = post(browser, beacon(session=tag(first)))
    assert sets_cookie(again)
    assert not sets_cookie(post(browser))
    assert len(set(ids(stored))) == 1


def test_reset_starts_a_session_with_a_new_cookie_and_tag(
    browser: FlaskClient, stored: Stored
) -> None:
    before = tag(post(browser))
    response = post(browser, beacon(reset=True, session=before))
    assert tag(response) != before
    assert sets_cookie(response)
    late = post(browser, beacon(session=before))  # from before the log-out
    assert tag(late) == tag(response)
    assert not sets_cookie(late)
    one, two, three = ids(stored)
    assert one == three != two


def test_a_log_in_keeps_the_session_and_another_person_starts_one(
    browser: FlaskClient, stored: Stored
) -> None:
    anonymous = post(browser)
    ann = post(browser, beacon(userId="ann", session=tag(anonymous)))
    bob = post(browser, beacon(userId="bob", session=tag(ann)))
    assert sets_cookie(bob)
    post(browser, beacon(userId="bob", session=tag(ann)))  # tracked before the answer came
    post(browser, beacon(userId="bob"))
    one, two, *others = ids(stored)
    assert one == two
    assert len(set(others)) == 1
    assert others[0] != one


def test_an_unproven_user_id_starts_no_session(start: Start, stored: Stored) -> None:
    client = start(
        SITES.replace("[sites.media]", f'user_secret = "{USER_SECRET}"\n\n[sites.media]')
    )
    for user in "ann", "bob":
        post(client, beacon(userId=user, signature="made up"))
    assert len(set(ids(stored))) == 1


@pytest.mark.parametrize(
    "forged",
    [
        "",
        " ",
        "x",
        "a.b.c.d.e",
        "x" * 4096,
        "\0",
        "\ud800",
        "\u00fc",
        None,
        17,
        True,
        [],
        {"a": []},
    ],
    ids=repr,
)
def test_an_invalid_tag_is_ignored(browser: FlaskClient, stored: Stored, forged: Any) -> None:
    first = tag(post(browser))
    assert tag(post(browser, beacon(session=forged))) == first
    assert len(set(ids(stored))) == 1


def test_another_sites_tag_is_ignored(client: FlaskClient, stored: Stored) -> None:
    media = beacon(trackingId="media")
    foreign = tag(post(client, media, Origin="https://media.example.com"))
    assert tag(post(client, beacon(session=foreign))) != foreign
    assert len(set(ids(stored))) == 2


def test_a_callers_own_session_id_is_not_returned(client: FlaskClient) -> None:
    first = tag(post(client))
    response = post(client, beacon(sessionId="given", session=first))
    assert response.status_code == 204
    assert "X-Gateway-Session" not in response.headers
    assert not sets_cookie(response)


def test_a_rejected_request_gets_no_token(client: FlaskClient) -> None:
    for body in beacon({}), beacon(trackingId="nobody"), b"{":
        response = post(client, body)
        assert response.status_code >= 400
        assert "X-Gateway-Session" not in response.headers


def test_requests_with_the_same_new_session_name_share_it(
    client: FlaskClient, stored: Stored
) -> None:
    names = [str(uuid4()), str(uuid4())]
    for name in [names[0], names[0], names[1]]:
        tag(post(client, beacon(newSession=name)))
    first, second, other = ids(stored)
    assert first == second != other


@pytest.mark.parametrize("name", ["1", "", "67a60e82-ea74-11f1-8ef7-02fc00000001", None, 7])
def test_a_session_name_that_is_not_random_is_ignored(
    client: FlaskClient, stored: Stored, name: Any
) -> None:
    for _ in range(2):
        tag(post(client, beacon(newSession=name)))
    assert len(set(ids(stored))) == 2


def test_a_cookie_wins_over_a_name_for_a_new_session(browser: FlaskClient, stored: Stored) -> None:
    tag(post(browser))
    tag(post(browser, beacon(newSession=str(uuid4()))))
    assert len(set(ids(stored))) == 1
    tag(post(browser, beacon(newSession=str(uuid4()), reset=True)))
    assert len(set(ids(stored))) == 2
