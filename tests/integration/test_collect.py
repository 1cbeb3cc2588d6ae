"""`POST /events`: its statuses, its responses, and what is stored."""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
import time
from collections.abc import Callable, Iterator
from http.cookies import Morsel, SimpleCookie
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from gateway.queues.sqlite.backend import SqliteQueue
from gateway.web.session_lifetime import Lifetime, Session
from gateway.web.sessions import Sessions
from tests.helpers.support import (
    ORIGIN,
    SECRET_KEY,
    SITES,
    TRACKING_ID,
    USER_SECRET,
    Start,
    Stored,
    beacon,
    event,
    post,
)

COOKIE = "pz_sid_shop"
SHOP = Sessions("shop", [SECRET_KEY], Lifetime(30))
TYPES = {
    400: "InvalidInputException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    405: "InvalidInputException",
    413: "RequestEntityTooLargeException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}

Json = dict[str, Any]


@pytest.fixture
def nothing_stored(stored: Stored) -> Iterator[None]:
    yield
    assert stored() == []


def assert_stored_durably(response: TestResponse) -> None:
    """The answer that promises it: 204, and nothing besides."""
    assert response.status_code == 204, response.text
    assert response.data == b""
    assert "Content-Type" not in response.headers
    assert "X-Gateway-Reason" not in response.headers
    assert response.headers.getlist("Vary") == ["Origin"]


def assert_refused(response: TestResponse, status: int, reason: str) -> Json:
    """An error as AWS's SDKs read it; the body."""
    assert response.status_code == status, response.text
    assert response.headers["x-amzn-ErrorType"] == TYPES[status]
    assert response.headers["X-Gateway-Reason"] == reason
    assert response.headers.getlist("Vary") == ["Origin"]
    assert response.headers["Content-Type"] == "application/json"
    assert "Set-Cookie" not in response.headers
    assert ("Retry-After" in response.headers) == (status == 503)
    body: Json = response.get_json()
    assert set(body) <= {"__type", "message", "errors"}
    assert body["__type"] == TYPES[status]
    assert body["message"]
    return body


def cookie(response: TestResponse) -> Morsel[str] | None:
    """The session cookie that an answer sets."""
    headers = response.headers.getlist("Set-Cookie")
    if not headers:
        return None
    [header] = headers
    [morsel] = SimpleCookie(header).values()
    return morsel


def session_of(response: TestResponse, sessions: Sessions = SHOP) -> Session:
    morsel = cookie(response)
    assert morsel is not None
    session = sessions.read(morsel.value)
    assert session is not None
    return session


# What is accepted


def test_an_accepted_event_is_in_the_file_before_the_answer(
    client: FlaskClient, stored: Stored
) -> None:
    before = time.time()
    given = event(sentAt=1763880000.25, properties={"colour": "red"})
    response = post(client, beacon(given, userId="u-17"))
    assert_stored_durably(response)
    [record] = stored()
    assert record["site"] == "shop"
    assert record["user_id"] == "u-17"
    assert record["session_id"] == session_of(response).id
    assert record["event_id"] == given["eventId"]
    assert json.loads(record["event"]) == {**given, "properties": '{"colour":"red"}'}
    assert json.loads(record["received"]) == given
    assert before <= record["received_at"] <= time.time()


def test_events_that_need_no_change_are_stored_once(client: FlaskClient, stored: Stored) -> None:
    assert_stored_durably(post(client, beacon(event(sentAt=1763880000.25))))
    [record] = stored()
    assert record["received"] is None
    assert record["user_id"] is None


@pytest.mark.parametrize("name", ["shop", TRACKING_ID])
def test_a_site_is_found_by_its_key_and_its_tracking_id(
    client: FlaskClient, stored: Stored, name: str
) -> None:
    assert_stored_durably(post(client, beacon(trackingId=name)))
    assert [record["site"] for record in stored()] == ["shop"]


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "text/plain;charset=UTF-8",
        "application/json",
        "application/x-amz-json-1.1",
        "application/x-www-form-urlencoded",
        None,
    ],
)
def test_the_content_type_does_not_matter(
    client: FlaskClient, stored: Stored, content_type: str | None
) -> None:
    assert_stored_durably(post(client, Content_Type=content_type))
    assert len(stored()) == 1


def test_up_to_100_events_are_stored_in_their_order(client: FlaskClient, stored: Stored) -> None:
    events = [event() for _ in range(100)]
    assert_stored_durably(post(client, beacon(*events)))
    assert [record["event_id"] for record in stored()] == [one["eventId"] for one in events]


def test_servers_may_omit_the_origin_if_the_site_allows_it(
    client: FlaskClient, stored: Stored
) -> None:
    body = beacon(trackingId="servers", sessionId="s-1")
    assert_stored_durably(post(client, body, Origin=None))
    assert [record["site"] for record in stored()] == ["servers"]


def test_subdomains_may_send_if_the_site_has_a_wildcard(client: FlaskClient) -> None:
    assert_stored_durably(post(client, Origin="https://a.b.shop.example.org"))


def test_text_reaches_the_file_unchanged(client: FlaskClient, stored: Stored) -> None:
    letters = [chr(code) for code in (*range(1, 0x300), *range(0x2000, 0x2070))]
    letters += ["\ud7ff", "\ue000", "\ufeff", "\ufffd", "\uffff", "\U0001f6d2", "\U0010ffff"]
    texts = ["".join(letters[at : at + 100]) for at in range(0, len(letters), 100)]
    body = beacon(*(event(itemId=text) for text in texts), userId=texts[2], sessionId=texts[5])
    assert_stored_durably(post(client, json.dumps(body, ensure_ascii=False).encode()))
    records = stored()
    assert [json.loads(record["event"])["itemId"] for record in records] == texts
    assert {(record["user_id"], record["session_id"]) for record in records} == {
        (texts[2], texts[5])
    }


def test_valid_events_are_stored_and_invalid_ones_reported(
    client: FlaskClient, stored: Stored
) -> None:
    good, late = event(), event()
    response = post(client, beacon(good, event(itemId=""), event(itemid="x"), None, late))
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers.getlist("Vary") == ["Origin"]
    assert "X-Gateway-Reason" not in response.headers
    assert "x-amzn-ErrorType" not in response.headers
    answer = response.get_json()
    assert set(answer) == {"accepted", "rejected"}
    assert answer["accepted"] == 2
    assert [
        (rejected["index"], set(rejected), set(rejected["errors"]))
        for rejected in answer["rejected"]
    ] == [
        (1, {"index", "errors"}, {"itemId"}),
        (2, {"index", "errors"}, {"itemid"}),
        (3, {"index", "errors"}, {"_schema"}),
    ]
    assert session_of(response)
    assert [record["event_id"] for record in stored()] == [good["eventId"], late["eventId"]]


def test_a_duplicate_gets_its_reason_and_is_not_stored_again(
    client: FlaskClient, stored: Stored
) -> None:
    body = beacon(event())
    assert_stored_durably(post(client, body))
    again = post(client, body)
    assert (again.status_code, again.data) == (204, b"")
    assert again.headers["X-Gateway-Reason"] == "duplicate"
    assert len(stored()) == 1


def test_only_the_sites_event_types_are_accepted(start: Start, stored: Stored) -> None:
    client = start(SITES.replace("[sites.media]", 'event_types = ["view"]\n\n[sites.media]'))
    assert_stored_durably(post(client, beacon(event(eventType="view"))))
    body = assert_refused(post(client, beacon(event(eventType="click"))), 400, "invalid_event")
    assert set(body["errors"]["eventList"]["0"]) == {"eventType"}
    assert len(stored()) == 1


# What is refused

REFUSALS: dict[str, tuple[Json | bytes, str | None, int, str]] = {
    "no body": (b"", ORIGIN, 400, "invalid_request"),
    "no JSON": (b"trackingId=shop", ORIGIN, 400, "invalid_request"),
    "no UTF-8": (b'{"trackingId": "\xff"}', ORIGIN, 400, "invalid_request"),
    "a BOM": (b"\xef\xbb\xbf" + json.dumps(beacon()).encode(), ORIGIN, 400, "invalid_request"),
    "trailing data": (json.dumps(beacon()).encode() + b"{}", ORIGIN, 400, "invalid_request"),
    "NaN": (b'{"clientTime": NaN}', ORIGIN, 400, "invalid_request"),
    "a key twice": (b'{"reset": true, "reset": true}', ORIGIN, 400, "invalid_request"),
    "deep nesting": (b"[" * 200_000, ORIGIN, 400, "invalid_request"),
    "a huge number": (b"9" * 200_000, ORIGIN, 400, "invalid_request"),
    "a list": (b"[]", ORIGIN, 400, "invalid_request"),
    "null": (b"null", ORIGIN, 400, "invalid_request"),
    "no site": ({"eventList": [{}]}, ORIGIN, 400, "invalid_request"),
    "no events": (beacon(eventList=[]), ORIGIN, 400, "invalid_request"),
    "101 events": (beacon(*[event()] * 101), ORIGIN, 400, "invalid_request"),
    "a member of a wrong type": (beacon(userId=17), ORIGIN, 400, "invalid_request"),
    "an unknown member": (beacon(sesionId="s"), ORIGIN, 400, "invalid_request"),
    "an unspeakable member": (beacon(**{"\ud800": 1}), ORIGIN, 400, "invalid_request"),
    "U+0000": (beacon(userId="a\0"), ORIGIN, 400, "invalid_request"),
    "a lone surrogate": (beacon(sessionId="\ud800"), ORIGIN, 400, "invalid_request"),
    "no valid event": (beacon({}, 1, None, []), ORIGIN, 400, "invalid_event"),
    "unstorable text": (beacon(event(itemId="\0")), ORIGIN, 400, "invalid_event"),
    "an event too long": (
        beacon(event(impression=["\U0001f6d2" * 256] * 25)),
        ORIGIN,
        400,
        "invalid_event",
    ),
    "an unknown site": (beacon(trackingId="shopp"), ORIGIN, 404, "unknown_site"),
    "a site in capitals": (beacon(trackingId="SHOP"), ORIGIN, 404, "unknown_site"),
    "an unknown site from nowhere": (beacon(trackingId="x"), None, 404, "unknown_site"),
    "no origin": (beacon(), None, 403, "foreign_origin"),
    "an opaque origin": (beacon(), "null", 403, "foreign_origin"),
    "an empty origin": (beacon(), "", 403, "foreign_origin"),
    "a foreign origin": (beacon(), "https://evil.example", 403, "foreign_origin"),
    "another site's origin": (beacon(), "https://media.example.com", 403, "foreign_origin"),
    "an origin where none is expected": (
        beacon(trackingId="servers"),
        ORIGIN,
        403,
        "foreign_origin",
    ),
    "a long origin": (beacon(), "https://" + "e" * 5000, 403, "foreign_origin"),
    "a foreign origin's bad events": (beacon({}), "https://evil.example", 403, "foreign_origin"),
}


@pytest.mark.usefixtures("nothing_stored")
@pytest.mark.parametrize(("body", "origin", "status", "reason"), REFUSALS.values(), ids=REFUSALS)
def test_invalid_requests_are_rejected_with_a_reason(
    client: FlaskClient, body: Json | bytes, origin: str | None, status: int, reason: str
) -> None:
    answer = assert_refused(post(client, body, Origin=origin), status, reason)
    assert len(answer["message"]) < 600


@pytest.mark.usefixtures("nothing_stored")
def test_a_400_names_the_invalid_members(client: FlaskClient) -> None:
    answer = assert_refused(post(client, {"eventList": [{}], "userId": 1}), 400, "invalid_request")
    assert set(answer["errors"]) == {"trackingId", "userId"}
    answer = assert_refused(
        post(client, beacon({"eventType": 1}, event(sentAt="soon"))), 400, "invalid_event"
    )
    assert answer["errors"] == {
        "eventList": {
            "0": {"eventType": ["Not a valid string."]},
            "1": {"sentAt": ["Not a time: give seconds or milliseconds since 1970, or ISO 8601."]},
        }
    }


def padded(size: int) -> bytes:
    """A valid body of so many bytes."""
    return json.dumps(beacon()).encode().ljust(size)


def test_a_body_at_the_limit_is_accepted_and_one_byte_more_is_not(
    start: Start, stored: Stored
) -> None:
    client = start(GATEWAY_MAX_BODY_BYTES="1000")
    assert_stored_durably(post(client, padded(1000)))
    assert_refused(post(client, padded(1001)), 413, "request_entity_too_large")
    assert len(stored()) == 1


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_a_body_over_the_limit_is_rejected_whatever_its_content_type(
    start: Start, content_type: str
) -> None:
    client = start(GATEWAY_MAX_BODY_BYTES="1000")
    response = post(client, padded(1001), Content_Type=content_type)
    assert_refused(response, 413, "request_entity_too_large")


@pytest.mark.parametrize(("size", "taken"), [(1000, True), (1001, False), (100_000, False)])
def test_a_chunked_body_is_measured_as_it_is_read(
    start: Start, stored: Stored, size: int, taken: bool
) -> None:
    client = start(GATEWAY_MAX_BODY_BYTES="1000")
    response = client.post(
        "/events",
        input_stream=BytesIO(padded(size)),
        headers={"Origin": ORIGIN, "Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
    )
    if taken:
        assert_stored_durably(response)
    else:
        assert_refused(response, 413, "request_entity_too_large")
    assert len(stored()) == int(taken)


def test_a_full_queue_answers_503_and_keeps_its_events(start: Start, stored: Stored) -> None:
    client = start(GATEWAY_QUEUE_MAX_BYTES=str(256 * 1024))
    accepted = 0
    while (response := post(client, beacon(*(event() for _ in range(100))))).status_code == 204:
        accepted += 100
        assert accepted < 10_000
    assert_refused(response, 503, "queue_full")
    assert int(response.headers["Retry-After"]) > 0
    assert accepted > 0
    assert len(stored()) == accepted


@pytest.mark.usefixtures("nothing_stored")
def test_a_disk_without_its_reserve_answers_503(start: Start) -> None:
    response = post(start(GATEWAY_MIN_FREE_BYTES=str(1 << 60)))
    assert_refused(response, 503, "disk_reserve")


def is_a_folder(path: Path) -> None:
    path.mkdir()


def is_in_a_file(path: Path) -> None:
    path.parent.write_text("not a folder")


def is_no_database(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be looked at " * 100)


@pytest.mark.parametrize(
    ("spoil", "place", "reasons"),
    [
        (is_a_folder, "queue.db", {"cannot_open"}),
        (is_in_a_file, "data/queue.db", {"cannot_open"}),
        (is_no_database, "queue.db", {"damaged"}),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_storage_that_fails_answers_503_and_recovers_without_a_restart(
    start: Start,
    tmp_path: Path,
    spoil: Callable[[Path], None],
    place: str,
    reasons: set[str],
) -> None:
    path = tmp_path / place
    spoil(path)
    client = start(GATEWAY_QUEUE=f"sqlite:///{path}")
    response = post(client)
    assert response.headers["X-Gateway-Reason"] in reasons
    answer = assert_refused(response, 503, response.headers["X-Gateway-Reason"])
    assert str(tmp_path) not in answer["message"]
    spoilt = path if path.exists() else path.parent
    if spoilt.is_dir():
        shutil.rmtree(spoilt)
    else:
        spoilt.unlink()
    assert_stored_durably(post(client))


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        ("GET", "/events", 405, "method_not_allowed"),
        ("PUT", "/events", 405, "method_not_allowed"),
        ("DELETE", "/events", 405, "method_not_allowed"),
        ("POST", "/healthz", 405, "method_not_allowed"),
        ("POST", "/events/", 404, "not_found"),
        ("POST", "/", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
        ("GET", "/nope", 404, "not_found"),
        ("GET", "/demo/", 404, "not_found"),
        ("GET", "/static/nope.js", 404, "not_found"),
        ("GET", "/static/../wsgi.py", 404, "not_found"),
        ("GET", "/%00", 404, "not_found"),
    ],
)
def test_unknown_paths_and_methods_get_errors_in_the_same_shape(
    client: FlaskClient, method: str, path: str, status: int, reason: str
) -> None:
    response = client.open(path, method=method, headers={"Origin": ORIGIN})
    assert_refused(response, status, reason)
    if status == 405:
        assert response.headers["Allow"]


class Faulty:
    """A queue with a fault that nobody foresaw."""

    def put(self, records: Any) -> list[bool]:
        raise RuntimeError("the innermost secret")

    def check(self) -> None:
        raise RuntimeError("the innermost secret")


@pytest.mark.usefixtures("nothing_stored")
def test_an_unexpected_error_is_a_500_without_details(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(SqliteQueue, "open_inbox", lambda *_: Faulty())
    client = start()
    for response in post(client), client.get("/readyz"):
        assert_refused(response, 500, "internal_error")
        for inside in "Traceback", "secret", "RuntimeError", "gateway/":
            assert inside not in response.text
    assert "the innermost secret" in caplog.text


# Sessions and users


def test_a_new_visitor_gets_a_cookie_for_that_site_only(client: FlaskClient) -> None:
    morsel = cookie(post(client))
    assert morsel is not None
    assert morsel.key == COOKIE
    assert morsel["httponly"]
    assert morsel["samesite"] == "Lax"
    assert morsel["path"] == "/"
    assert int(morsel["max-age"]) == Lifetime(30).timeout >= 30 * 60
    assert not morsel["secure"]
    assert not morsel["domain"]


def test_a_fresh_cookie_continues_its_session_and_is_not_set_again(
    client: FlaskClient, stored: Stored
) -> None:
    first = session_of(post(client))
    for _ in range(3):
        response = post(client)
        assert_stored_durably(response)
        assert cookie(response) is None
    assert {record["session_id"] for record in stored()} == {first.id}


def token(age: float, sessions: Sessions = SHOP) -> str:
    """The cookie of a session whose last renewal was so many seconds ago."""
    moment = int(time.time() - age)
    return sessions.sign(Session("known", moment, moment))


def test_a_cookie_is_renewed_after_a_tenth_of_its_time(client: FlaskClient, stored: Stored) -> None:
    client.set_cookie(COOKIE, token(30 * 6 + 1))
    session = session_of(post(client))
    assert session.id == "known"
    assert time.time() - session.renewed < 60
    assert [record["session_id"] for record in stored()] == ["known"]


def test_an_expired_cookie_starts_a_new_session(client: FlaskClient) -> None:
    client.set_cookie(COOKIE, token(30 * 60 + 30 * 6 + 2))
    assert session_of(post(client)).id != "known"


def test_each_site_has_its_own_session_minutes(start: Start) -> None:
    client = start(SITES.replace("[sites.media]", "session_minutes = 1\n\n[sites.media]"))
    sessions = Sessions("shop", [SECRET_KEY], Lifetime(1))
    client.set_cookie(COOKIE, token(5, sessions))
    assert cookie(post(client)) is None
    client.set_cookie(COOKIE, token(8, sessions))
    assert session_of(post(client), sessions).id == "known"
    client.set_cookie(COOKIE, token(70, sessions))
    assert session_of(post(client), sessions).id != "known"


def test_a_cookie_signed_with_an_older_key_is_valid(start: Start) -> None:
    client = start(GATEWAY_SECRET_KEY=f"newest-{SECRET_KEY},{SECRET_KEY}")
    client.set_cookie(COOKIE, token(400))
    assert (
        session_of(post(client), Sessions("shop", [f"newest-{SECRET_KEY}"], Lifetime(30))).id
        == "known"
    )


def test_sites_never_share_a_session(client: FlaskClient, stored: Stored) -> None:
    foreign = Sessions("media", [SECRET_KEY], Lifetime(30))
    client.set_cookie(COOKIE, token(1, foreign))
    client.set_cookie("pz_sid_media", token(1, foreign))
    response = post(client)
    assert session_of(response).id != "known"
    media = {"body": beacon(trackingId="media"), "Origin": "https://media.example.com"}
    assert cookie(post(client, **media)) is None
    assert [record["session_id"] for record in stored()] == [session_of(response).id, "known"]


def post_with_cookies(app: Flask, header: str) -> TestResponse:
    """With this very header, which a client that keeps cookies would replace by its own."""
    return app.test_client(use_cookies=False).post(
        "/events",
        data=json.dumps(beacon()),
        headers={"Origin": ORIGIN},
        environ_overrides={"HTTP_COOKIE": header},
    )


@pytest.mark.parametrize(
    "header",
    [
        COOKIE,
        f"{COOKIE}=",
        f"{COOKIE}=a.b.c.d",
        f"{COOKIE}={'x' * 4096}",
        f'{COOKIE}="\\777\\"; ;;==',
        f"{COOKIE}=\u00fc\u00e4; other=\u00f6",
        f"{COOKIE}=a; {COOKIE}=b",
        f"\u00fc=1; {COOKIE}\t=; =; \x01",
        "=" * 4096,
    ],
    ids=repr,
)
def test_a_malformed_cookie_starts_a_new_session(app: Flask, header: str) -> None:
    response = post_with_cookies(app, header)
    assert_stored_durably(response)
    assert session_of(response)


@pytest.mark.parametrize("planted", ["", "a.b.c.d", "x" * 4096])
def test_a_valid_cookie_is_found_beside_invalid_ones(
    app: Flask, stored: Stored, planted: str
) -> None:
    """Browsers send both: one may come from a longer path, or a sibling's domain."""
    header = f"{COOKIE}={planted}; {COOKIE}={token(1)}"
    assert_stored_durably(post_with_cookies(app, header))
    assert [record["session_id"] for record in stored()] == ["known"]


def test_an_empty_content_encoding_is_ignored(client: FlaskClient) -> None:
    headers = {"Origin": ORIGIN, "Content-Encoding": ""}
    assert_stored_durably(client.post("/events", data=json.dumps(beacon()), headers=headers))


def test_a_session_id_is_stored_unchanged_and_sets_no_cookie(
    client: FlaskClient, stored: Stored
) -> None:
    client.set_cookie(COOKIE, token(400))
    response = post(client, beacon(sessionId="given"))
    assert_stored_durably(response)
    assert cookie(response) is None
    assert [record["session_id"] for record in stored()] == ["given"]


@pytest.mark.parametrize("placeholder", ["null", "undefined", "", " "])
def test_a_placeholder_session_id_is_ignored(
    client: FlaskClient, stored: Stored, placeholder: str
) -> None:
    client.set_cookie(COOKIE, token(1))
    assert_stored_durably(post(client, beacon(sessionId=placeholder)))
    assert [record["session_id"] for record in stored()] == ["known"]


def test_visitors_with_the_same_placeholder_share_no_session(
    client: FlaskClient, stored: Stored
) -> None:
    for _ in range(2):
        client.delete_cookie(COOKIE)
        assert_stored_durably(post(client, beacon(event(eventId="undefined"))))
    assert len({record["session_id"] for record in stored()}) == 2


@pytest.mark.parametrize("placeholder", ["null", "undefined", "NaN", "[object Object]", "", " "])
def test_a_placeholder_user_id_is_ignored(
    client: FlaskClient, stored: Stored, placeholder: str
) -> None:
    assert_stored_durably(post(client, beacon(userId=placeholder)))
    assert [record["user_id"] for record in stored()] == [None]


def test_reset_starts_a_new_session_for_its_events(client: FlaskClient, stored: Stored) -> None:
    before = session_of(post(client))
    after = session_of(post(client, beacon(reset=True)))
    assert cookie(post(client, beacon(reset=False))) is None
    assert [record["session_id"] for record in stored()] == [before.id, after.id, after.id]
    assert before.id != after.id


def test_a_rejected_request_does_not_end_the_session(client: FlaskClient) -> None:
    client.set_cookie(COOKIE, token(400))
    assert_refused(post(client, beacon({}, reset=True)), 400, "invalid_event")
    assert session_of(post(client)).id == "known"


def test_with_a_user_secret_only_signed_user_ids_count(start: Start, stored: Stored) -> None:
    client = start(
        SITES.replace("[sites.media]", f'user_secret = "{USER_SECRET}"\n\n[sites.media]')
    )
    proof = hmac.new(USER_SECRET.encode(), "u-\u00fc".encode(), hashlib.sha256).hexdigest()
    for members in (
        {"userId": "u-\u00fc", "signature": proof},
        {"userId": "u-\u00fc", "signature": proof[:-1] + "x"},
        {"userId": "u-\u00fc", "signature": "\u00fc"},
        {"userId": "u-\u00fc"},
        {"userId": "someone else", "signature": proof},
        {"signature": proof},
    ):
        assert_stored_durably(post(client, beacon(**members)))
    assert [record["user_id"] for record in stored()] == ["u-\u00fc", *[None] * 5]


# HTTPS, and who is believed about it


def is_secure(client: FlaskClient, scheme: str = "http", **headers: str) -> bool:
    response = client.post(
        "/events",
        data=json.dumps(beacon()),
        base_url=f"{scheme}://events.example.com",
        headers={"Origin": ORIGIN, **headers},
    )
    morsel = cookie(response)
    assert morsel is not None
    return bool(morsel["secure"])


def test_the_cookie_is_secure_if_the_request_used_https(start: Start) -> None:
    assert is_secure(start(), "https")
    assert not is_secure(start(), "http")


@pytest.mark.parametrize(
    ("proxies", "protocols", "secure"),
    [
        ("0", "https", False),
        ("1", "https", True),
        ("1", "http", False),
        ("1", "https, http", False),
        ("1", "http, https", True),
        ("2", "https, http", True),
        ("2", "http, https", False),
        ("2", "https", False),
    ],
)
def test_only_the_trusted_number_of_proxies_is_believed(
    start: Start, proxies: str, protocols: str, secure: bool
) -> None:
    client = start(GATEWAY_TRUSTED_PROXIES=proxies)
    assert is_secure(client, **{"X-Forwarded-Proto": protocols}) is secure


COOKIES = """
[sites.shop]
tracking_id = "t-1"
origins = ["https://shop.example.com"]
"""


def test_a_cookie_for_cross_site_use_is_always_secure_and_partitioned(start: Start) -> None:
    [header] = post(start(COOKIES + 'cookie_samesite = "None"')).headers.getlist("Set-Cookie")
    assert {"Secure", "HttpOnly", "SameSite=None", "Partitioned"} <= set(header.split("; "))


def test_the_cookie_has_the_sites_domain(start: Start) -> None:
    morsel = cookie(post(start(COOKIES + 'cookie_domain = "example.com"')))
    assert morsel is not None
    assert morsel["domain"] == "example.com"
