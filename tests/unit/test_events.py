"""PutEvents' wire format: what is taken, what is refused and why, and that AWS's model agrees."""

from __future__ import annotations

import copy
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.utils import parse_to_aware_datetime
from hypothesis import example, given, settings
from hypothesis import strategies as st
from marshmallow import Schema, ValidationError

from gateway.events import schemas, strict_json
from gateway.events.fields import is_placeholder
from gateway.events.schemas import (
    EventSchema,
    InvalidRequest,
    MetricAttributionSchema,
    RequestSchema,
)
from tests.helpers.event_requests import (
    NOW,
    PLACEHOLDERS,
    RESERVED,
    UNSTORABLE,
    Json,
    accept,
    an_event,
    encode,
    is_accepted,
    read,
    request,
)


def sent(event: Json, **members: Any) -> Json:
    """What PutEvents would be sent of an event that is taken."""
    accepted, errors = accept(request(event, **members))
    assert errors == {}
    [taken] = accepted
    return json.loads(taken.text)


def refused(event: Any) -> Json:
    """Why an event is refused: messages by member."""
    accepted, errors = accept(request(event))
    assert accepted == []
    return errors[0]


def request_refused(body: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        read(body)
    return caught.value


# Requests


def test_a_request_is_read_whole() -> None:
    body = request(
        {"any": "thing"},
        userId="u-17",
        sessionId="s-1",
        signature="00ff",
        clientTime=1763880000250,
        session="tag",
        newSession="name",
        reset=True,
    )
    assert read(body) == schemas.Request(
        tracking_id="shop",
        user_id="u-17",
        session_id="s-1",
        event_list=[{"any": "thing"}],
        signature="00ff",
        client_time=1763880000.25,
        session="tag",
        new_session="name",
        reset=True,
        anonymised=False,
    )


@pytest.mark.parametrize("members", [{}, dict.fromkeys(["userId", "sessionId", "clientTime"])])
def test_what_a_request_may_leave_out_may_also_be_null(members: Json) -> None:
    wanted = read(request(an_event(), **members))
    assert (wanted.user_id, wanted.session_id, wanted.client_time) == (None, None, None)
    assert not wanted.reset
    assert not wanted.anonymised


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "unreadable: not JSON"),
        (b"trackingId=shop", "unreadable: not JSON"),
        (b"\xff", "unreadable: not UTF-8"),
        (b"\xef\xbb\xbf" + encode(request(an_event())), "unreadable: not JSON"),
        (encode(request(an_event())) + b"x", "unreadable: not JSON"),
        (b'{"trackingId": NaN}', "unreadable: NaN is not JSON"),
        (b'{"trackingId": "a", "trackingId": "b"}', "unreadable: has the key 'trackingId' twice"),
        (b'{"eventList": ' + b"[" * 100_000, "unreadable: nested too deeply"),
        (b'{"clientTime": ' + b"1" * 5000 + b"}", "unreadable: holds a number that is too long"),
        (b"null", "Not a JSON object"),
        (b"[]", "Not a JSON object"),
        (b'"text"', "Not a JSON object"),
        (b"1", "Not a JSON object"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused_with_the_reason(body: bytes, says: str) -> None:
    assert says in str(request_refused(body))


@pytest.mark.parametrize(
    ("members", "member", "says"),
    [
        ({"trackingId": None}, "trackingId", "Missing data"),
        ({"trackingId": ""}, "trackingId", "between 1 and 256"),
        ({"trackingId": "t" * 257}, "trackingId", "between 1 and 256"),
        ({"trackingId": 1}, "trackingId", "Not a valid string"),
        ({"userId": "u" * 257}, "userId", "between 1 and 256"),
        ({"userId": 17}, "userId", "Not a valid string"),
        ({"userId": ["u"]}, "userId", "Not a valid string"),
        ({"userId": "\0"}, "userId", "U+0000"),
        ({"sessionId": "s" * 257}, "sessionId", "between 1 and 256"),
        ({"sessionId": {}}, "sessionId", "Not a valid string"),
        ({"sessionId": "\ud800"}, "sessionId", "lone surrogate"),
        ({"eventList": None}, "eventList", "Missing data"),
        ({"eventList": []}, "eventList", "between 1 and 100"),
        ({"eventList": [an_event()] * 101}, "eventList", "between 1 and 100"),
        ({"eventList": an_event()}, "eventList", "Not a valid list"),
        ({"eventList": "[]"}, "eventList", "Not a valid list"),
        ({"signature": 1}, "signature", "Not a valid string"),
        ({"clientTime": "now"}, "clientTime", "Not a time"),
        ({"clientTime": True}, "clientTime", "Not a time"),
        ({"clientTime": -1}, "clientTime", "between the years"),
        ({"reset": "true"}, "reset", "Not a valid boolean"),
        ({"reset": 1}, "reset", "Not a valid boolean"),
        ({"reset": 0.0}, "reset", "Not a valid boolean"),
        ({"userid": "u"}, "userid", "did you mean userId?"),
        ({"trackingID": "t"}, "trackingID", "did you mean trackingId?"),
        ({"events": []}, "events", "did you mean eventList?"),
        ({"sesionId": None}, "sesionId", "did you mean sessionId?"),
        ({"zzz": 1}, "zzz", "Unknown field."),
        ({"\ud800": 1}, "\ud800", "Unknown field."),
    ],
)
def test_a_wrong_member_of_a_request_is_named(members: Json, member: str, says: str) -> None:
    error = request_refused({**request(an_event()), **members})
    assert list(error.errors) == [member]
    assert says in json.dumps(error.errors[member])
    assert member in str(error)


def test_all_that_is_wrong_with_a_request_is_named() -> None:
    error = request_refused({"userId": 1, "zzz": 1})
    assert set(error.errors) == {"trackingId", "eventList", "userId", "zzz"}


@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
def test_a_placeholder_as_user_makes_the_events_anonymous(placeholder: str) -> None:
    wanted = read(request(an_event(), userId=placeholder))
    assert wanted.user_id is None
    assert wanted.anonymised


@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
def test_a_placeholder_as_session_is_none(placeholder: str) -> None:
    wanted = read(request(an_event(), sessionId=placeholder))
    assert wanted.session_id is None
    assert not wanted.anonymised


# Events


@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
def test_a_placeholder_as_event_id_is_none(placeholder: str) -> None:
    """All events of a broken template would be duplicates of its first."""
    assert sent(an_event(eventId=placeholder))["eventId"] not in PLACEHOLDERS


def test_an_event_with_every_member_is_sent_as_it_came() -> None:
    event = {
        "eventId": "e-1",
        "eventType": "view",
        "eventValue": 1.5,
        "itemId": "i-9",
        "properties": '{"list": "new"}',
        "sentAt": 1763879999.5,
        "recommendationId": "r-1",
        "impression": ["i-9", "i-8"],
        "metricAttribution": {"eventAttributionSource": "mail"},
    }
    accepted, errors = accept(request(event))
    assert errors == {}
    assert accepted[0].event_id == "e-1"
    assert accepted[0].received is None
    assert json.loads(accepted[0].text) == event


def test_an_id_and_a_time_are_filled_in_and_what_came_is_kept() -> None:
    [accepted], _ = accept(request({"eventType": "view"}))
    assert accepted.event_id == "id-1"
    assert json.loads(accepted.text) == {"eventId": "id-1", "eventType": "view", "sentAt": NOW}
    assert json.loads(accepted.received or "") == {"eventType": "view"}


def test_each_event_gets_an_id_of_its_own() -> None:
    accepted, _ = accept(request(*[an_event()] * 100))
    assert len({event.event_id for event in accepted}) == 100


def test_each_event_is_judged_by_itself() -> None:
    accepted, errors = accept(request(an_event(eventId="a"), {}, 1, an_event(eventId="b")))
    assert [event.event_id for event in accepted] == ["a", "b"]
    assert errors == {
        1: {"eventType": ["Missing data for required field."]},
        2: {"_schema": ["Not a JSON object."]},
    }


@pytest.mark.parametrize(
    ("member", "longest"),
    [
        ("eventId", 256),
        ("eventType", 256),
        ("itemId", 256),
        ("recommendationId", 40),
    ],
)
def test_a_text_may_be_as_long_as_aws_takes_it_and_no_longer(member: str, longest: int) -> None:
    for character in "x", "\u00fc", "\U0001f6d2":
        assert sent(an_event(**{member: character * longest}))[member] == character * longest
        assert list(refused(an_event(**{member: character * (longest + 1)}))) == [member]


@pytest.mark.parametrize("member", ["eventType", "itemId", "recommendationId"])
def test_a_text_is_not_empty(member: str) -> None:
    assert list(refused(an_event(**{member: ""}))) == [member]


@pytest.mark.parametrize("value", [1, 1.5, True, [], ["x"], {}, {"a": "b"}])
@pytest.mark.parametrize("member", ["eventId", "eventType", "itemId", "recommendationId"])
def test_a_value_that_is_not_a_text_is_refused_where_a_text_belongs(
    member: str, value: Any
) -> None:
    assert refused(an_event(**{member: value})) == {member: ["Not a valid string."]}


@pytest.mark.parametrize("text", UNSTORABLE)
@pytest.mark.parametrize("member", ["eventId", "eventType", "itemId", "recommendationId"])
def test_a_text_that_cannot_be_stored_is_refused(member: str, text: str) -> None:
    assert refused(an_event(**{member: text})) == {member: ["Holds U+0000 or a lone surrogate."]}


@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
@pytest.mark.parametrize("member", ["eventType", "itemId"])
def test_a_placeholder_as_item_or_type_is_refused(member: str, placeholder: str) -> None:
    assert list(refused(an_event(**{member: placeholder}))) == [member]


@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
def test_a_placeholder_among_the_items_shown_is_refused(placeholder: str) -> None:
    assert list(refused(an_event(impression=["a", placeholder]))["impression"]) == [1]


@pytest.mark.parametrize("text", ["null-7", "nullify", "undefined.html", "NaNcy", "0", "false"])
def test_a_name_that_only_begins_like_a_placeholder_is_a_name(text: str) -> None:
    assert sent(an_event(itemId=text))["itemId"] == text
    assert read(request(an_event(), userId=text)).user_id == text


@pytest.mark.parametrize(
    "member",
    [
        "eventId",
        "eventValue",
        "itemId",
        "properties",
        "sentAt",
        "recommendationId",
        "impression",
        "metricAttribution",
    ],
)
def test_null_is_a_member_not_set(member: str) -> None:
    assert sent({"eventId": "e", **an_event(), member: None}) == sent(
        {name: value for name, value in {"eventId": "e", **an_event()}.items() if name != member}
    )


def test_a_null_event_type_is_a_missing_one() -> None:
    assert refused({"eventType": None}) == {"eventType": ["Missing data for required field."]}


@pytest.mark.parametrize("event", [None, 1, "view", [], [an_event()], True])
def test_an_event_that_is_not_an_object_is_refused(event: Any) -> None:
    assert refused(event) == {"_schema": ["Not a JSON object."]}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("itemid", "itemId"),
        ("item", "itemId"),
        ("item_id", "itemId"),
        ("event_type", "eventType"),
        ("eventvalue", "eventValue"),
        ("property", "properties"),
        ("sentat", "sentAt"),
        ("impressions", "impression"),
        ("recommendationID", "recommendationId"),
    ],
)
@pytest.mark.parametrize("value", ["x", None])
def test_an_unknown_member_is_refused_with_the_nearest_name(
    name: str, meant: str, value: str | None
) -> None:
    assert refused(an_event(**{name: value})) == {name: [f"Unknown field: did you mean {meant}?"]}


def test_an_unknown_member_like_no_other_is_refused_too() -> None:
    assert refused(an_event(zzz=1)) == {"zzz": ["Unknown field."]}


def test_only_a_sites_own_event_types_are_taken() -> None:
    accepted, errors = accept(
        request(an_event(), an_event(eventType="click")), frozenset({"view", "buy"})
    )
    assert [json.loads(event.text)["eventType"] for event in accepted] == ["view"]
    assert errors == {1: {"eventType": ["Not among the site's event_types."]}}


@pytest.mark.parametrize("value", [0, 1, -1, 2.5, 1e300, 5e-324, 2**53])
def test_an_event_value_is_any_finite_number(value: float) -> None:
    assert sent(an_event(eventValue=value))["eventValue"] == value


@pytest.mark.parametrize("value", ["1", "", "abc", True, False, [], [1], {}])
def test_an_event_value_that_is_no_number_is_refused(value: Any) -> None:
    assert list(refused(an_event(eventValue=value))) == ["eventValue"]


@pytest.mark.parametrize("number", ["1e309", "-1e309", "1" * 400])
def test_an_event_value_beyond_every_float_is_refused(number: str) -> None:
    body = encode(request(an_event(eventValue=0.5))).replace(b"0.5", number.encode())
    assert list(accept(body)[1][0]) == ["eventValue"]


def test_up_to_25_items_may_be_shown() -> None:
    for length in 1, 25:
        items = [f"i-{number}" for number in range(length)]
        assert sent(an_event(impression=items))["impression"] == items
    for length in 0, 26:
        assert list(refused(an_event(impression=["i"] * length))) == ["impression"]


@pytest.mark.parametrize(
    "value", ["i-1", 1, {}, {"0": "a"}, True, [1], [None], [["a"]], ["\0"], ["x" * 257]]
)
def test_a_wrong_list_of_items_is_refused(value: Any) -> None:
    assert list(refused(an_event(impression=value))) == ["impression"]


@pytest.mark.parametrize("source", ["a", " a ", "~!", "x" * 1024, " " * 1023 + "x"])
def test_an_attribution_source_is_printable_ascii(source: str) -> None:
    attribution = {"eventAttributionSource": source}
    assert sent(an_event(metricAttribution=attribution))["metricAttribution"] == attribution


@pytest.mark.parametrize(
    "value",
    [
        "mail",
        1,
        [],
        {},
        {"eventAttributionSource": None},
        {"eventAttributionSource": 1},
        {"eventAttributionSource": ""},
        {"eventAttributionSource": " "},
        {"eventAttributionSource": "x" * 1025},
        {"eventAttributionSource": "\u00fc"},
        {"eventAttributionSource": "a\n"},
        {"eventAttributionSource": "a\tb"},
        {"eventAttributionSource": "\x7f"},
        {"eventAttributionSource": "a", "more": 1},
    ],
)
def test_any_other_metric_attribution_is_refused(value: Any) -> None:
    assert list(refused(an_event(metricAttribution=value))) == ["metricAttribution"]


# Properties


@pytest.mark.parametrize(
    ("given_as", "sent_as"),
    [
        ({}, "{}"),
        ({"a": "b"}, '{"a":"b"}'),
        ({"a": 1, "b": 1.5, "c": True, "d": False}, '{"a":"1","b":"1.5","c":"true","d":"false"}'),
        ({"a": None, "b": "c"}, '{"b":"c"}'),
        ({"\u00fc": "\U0001f6d2"}, '{"\u00fc":"\U0001f6d2"}'),
        ('{"a":"b"}', '{"a":"b"}'),
        (' { "a" : "b" } ', ' { "a" : "b" } '),
        (r'{"a":"\u00fc"}', r'{"a":"\u00fc"}'),
        ('{"a": 1, "b": null}', '{"a":"1"}'),
        ({"a": '{"b": 1}'}, r'{"a":"{\"b\": 1}"}'),
        ({"userIdentity": "a", "type": "b"}, '{"userIdentity":"a","type":"b"}'),
    ],
)
def test_properties_are_sent_as_a_text_that_holds_a_map_of_texts(
    given_as: Any, sent_as: str
) -> None:
    assert sent(an_event(properties=given_as))["properties"] == sent_as


@pytest.mark.parametrize(
    "value",
    [
        1,
        True,
        [],
        [{"a": "b"}],
        "",
        "a",
        "[]",
        "null",
        '"{}"',
        "{} {}",
        '{"a": NaN}',
        '{"a": 1, "a": 2}',
        "\ufeff{}",
        '{"a":' * 10_000,
    ],
)
def test_what_holds_no_object_is_refused_as_properties(value: Any) -> None:
    assert list(refused(an_event(properties=value))) == ["properties"]


@pytest.mark.parametrize("wrap", [lambda value: value, json.dumps], ids=["object", "text"])
class TestRefusedProperties:
    """The key that is to blame is named, in an object as in a text that holds one."""

    @pytest.mark.parametrize("value", [{}, [], {"b": "c"}, [1], ["a", "b"], [[]]])
    def test_a_nested_value(self, wrap: Callable[[Any], Any], value: Any) -> None:
        [(key, [why])] = refused(an_event(properties=wrap({"ok": "1", "a": value})))[
            "properties"
        ].items()
        assert key == "a"
        assert "Nested" in why

    @pytest.mark.parametrize("case", [str, str.upper, str.lower, str.title, str.swapcase])
    @pytest.mark.parametrize("key", RESERVED)
    def test_a_reserved_key_in_any_case(
        self, wrap: Callable[[Any], Any], key: str, case: Callable[[str], str]
    ) -> None:
        errors = refused(an_event(properties=wrap({"ok": "1", case(key): "x"})))
        assert errors == {"properties": {case(key): ["Reserved by PutEvents."]}}

    def test_a_reserved_key_that_is_null(self, wrap: Callable[[Any], Any]) -> None:
        assert list(refused(an_event(properties=wrap({"userId": None})))) == ["properties"]

    @pytest.mark.parametrize("text", UNSTORABLE)
    def test_a_text_that_cannot_be_stored(self, wrap: Callable[[Any], Any], text: str) -> None:
        for properties in {"a": text}, {text: "a"}:
            [key] = properties
            assert list(refused(an_event(properties=wrap(properties)))["properties"]) == [key]

    def test_every_key_that_is_to_blame(self, wrap: Callable[[Any], Any]) -> None:
        errors = refused(an_event(properties=wrap({"userId": "u", "a": [], "b": "\0", "c": "d"})))
        assert set(errors["properties"]) == {"userId", "a", "b"}


def test_a_number_beyond_every_float_is_refused_in_properties() -> None:
    body = encode(request(an_event(properties={"a": 0.5}))).replace(b"0.5", b"1e309")
    assert accept(body)[1] == {0: {"properties": {"a": ["Not a finite number."]}}}


@pytest.mark.parametrize(
    ("shape", "overhead"),
    [
        (lambda length: {"k": "x" * length}, len('{"k":""}')),
        (lambda length: {"k": "x" * length, "n": 1}, len('{"k":"","n":"1"}')),
        (lambda length: {"k": '"' + "x" * length}, len(r'{"k":"\""}')),
        (lambda length: {"k": "\u00fc" * length}, len('{"k":""}')),
        (lambda length: {"k": "x" * length, "n": None}, len('{"k":""}')),
        (lambda length: json.dumps({"k": "x" * length}), len('{"k": ""}')),
        ("{}".ljust, 0),
    ],
    ids=["text", "number", "escape", "umlaut", "null", "as text", "blanks"],
)
def test_properties_may_have_1024_characters_as_they_are_sent(
    shape: Callable[[int], Any], overhead: int
) -> None:
    properties = sent(an_event(properties=shape(1024 - overhead)))["properties"]
    assert len(properties) == 1024
    errors = refused(an_event(properties=shape(1025 - overhead)))
    assert errors == {"properties": ["Longer than 1024 characters as JSON."]}


# Size and time


def test_an_event_may_have_10_kilobytes_as_it_is_sent() -> None:
    event = {"eventId": "e", "eventType": "view", "itemId": "", "sentAt": 1.5}
    event["impression"] = ["\U0001f6d2" * 256] * 9 + ["x" * 256] * 3
    room = 10_240 - len(strict_json.dumps(event).encode())
    event["itemId"] = "\u00fc" + "x" * (room - 2)
    [accepted], _ = accept(request(event))
    assert len(accepted.text.encode()) == 10_240
    event["itemId"] += "x"
    assert refused(event) == {"_schema": ["Longer than 10240 bytes as JSON."]}


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (1763880000, NOW),
        (1763880000.25, NOW + 0.25),
        (1763880000250, NOW + 0.25),
        (1763880000250.0, NOW + 0.25),
        ("1763880000", NOW),
        ("1763880000.25", NOW + 0.25),
        ("1763880000250", NOW + 0.25),
        ("2025-11-23T06:40:00Z", NOW),
        ("2025-11-23T06:40:00.250Z", NOW + 0.25),
        ("2025-11-23T06:40:00", NOW),
        ("2025-11-23 06:40:00+00:00", NOW),
        ("2025-11-23T07:40:00+01:00", NOW),
        ("2025-11-22T22:40:00-08:00", NOW),
        ("2025-11-23T06:40Z", NOW),
        ("2025-11-23", NOW - 6 * 3600 - 40 * 60),
        (0, 0.0),
        ("0", 0.0),
        ("1970-01-01T00:00:00Z", 0.0),
        (99_999_999_999, 99_999_999_999.0),
        (100_000_000_000, 100_000_000.0),
        ("9999-12-30T23:59:59Z", 253_402_214_399.0),
        (253_402_214_399_000, 253_402_214_399.0),
    ],
)
def test_a_time_is_read_in_every_spelling(written: Any, seconds: float) -> None:
    assert sent(an_event(sentAt=written))["sentAt"] == seconds
    assert read(request(an_event(), clientTime=written)).client_time == seconds


@pytest.mark.parametrize(
    "value",
    [
        True,
        [],
        {},
        "",
        " ",
        "now",
        "NaN",
        "1e9",
        "0x10",
        "1_763_880_000",
        " 1763880000",
        "1763880000\n",
        "\u0661",
        "-1",
        "1763880000,25",
        "9" * 400,
        "2025-13-01",
        "2025-11-23T25:00:00Z",
        "23.11.2025",
        "Sun, 23 Nov 2025 06:40:00 GMT",
        -1,
        -0.5,
        1e300,
        10**400,
        253_402_300_800_000,
        "0001-01-01T00:00:00+01:00",
        "1969-12-31T23:59:59Z",
        "9999-12-31T23:59:59-12:00",
    ],
)
def test_a_malformed_time_is_refused(value: Any) -> None:
    assert list(refused(an_event(sentAt=value))) == ["sentAt"]
    assert list(request_refused(request(an_event(), clientTime=value)).errors) == ["clientTime"]


@pytest.fixture(params=["UTC", "Asia/Tokyo", "Pacific/Kiritimati", "America/Los_Angeles"])
def time_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine is set to a time zone."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("time_zone")
def test_times_do_not_depend_on_the_machines_time_zone() -> None:
    assert sent(an_event(sentAt="2025-11-23T06:40:00"))["sentAt"] == NOW
    for extreme in "1970-01-01", "9999-12-30T23:59:59":
        seconds = sent(an_event(sentAt=extreme))["sentAt"]
        assert parse_to_aware_datetime(seconds).timestamp() == seconds  # as boto3 sends it


@pytest.mark.parametrize("off", [0, 1, -1, 4.75, -4.75, 5, -5])
def test_a_clock_that_is_off_by_up_to_5_seconds_is_believed(off: float) -> None:
    event = an_event(sentAt=NOW - 60)
    assert sent(event, clientTime=NOW + off)["sentAt"] == NOW - 60


@pytest.mark.parametrize("off", [5.25, -5.25, 3600, -86400, 1e9])
def test_a_clock_that_is_off_by_more_is_corrected_by_the_difference(off: float) -> None:
    client_now = NOW + off
    event = an_event(sentAt=client_now - 60)
    assert sent(event, clientTime=client_now)["sentAt"] == NOW - 60
    [accepted], _ = accept(request(event, clientTime=client_now))
    assert json.loads(accepted.received or "") == event


def test_a_time_that_the_gateway_filled_in_is_not_corrected() -> None:
    assert sent(an_event(), clientTime=NOW - 3600)["sentAt"] == NOW


@pytest.mark.parametrize(
    ("sent_at", "client_time", "corrected"),
    [(0, 2 * NOW, 0.0), (1000, 2 * NOW, 0.0), (253_402_214_399_000, 0, 253_402_214_399.0)],
)
def test_a_corrected_time_stays_one_that_boto3_can_send(
    sent_at: int, client_time: float, corrected: float
) -> None:
    assert sent(an_event(sentAt=sent_at), clientTime=client_time)["sentAt"] == corrected


# AWS's own model

SHAPES: dict[str, Json] = Loader().load_service_model("personalize-events", "service-2")["shapes"]
INPUT = "PutEventsRequest"

FULL = request(
    {
        "eventId": "e",
        "eventType": "view",
        "eventValue": 1.5,
        "itemId": "i",
        "properties": "{}",
        "sentAt": 1763880000,
        "recommendationId": "r",
        "impression": ["i"],
        "metricAttribution": {"eventAttributionSource": "a"},
    },
    sessionId="s",
    userId="u",
)

# Where we differ from the model, and mean to. (A sentAt may also be a text, which the walk below
# leaves alone: it tries texts that are no times.)
DIFFERENCES: dict[tuple[str, str], Any] = {
    ("eventList", "max"): 100,  # the forwarder splits to AWS's 10
    ("sessionId", "required"): False,  # the cookie's
    ("eventList[].sentAt", "required"): False,  # the time of arrival
    ("eventList[].properties", "min"): 2,  # a text of one character holds no JSON object
    ("eventList[].properties", "also"): [{}],  # an object itself
    ("userId", "empty"): True,  # a blank stands for none, as other placeholders do
    ("sessionId", "empty"): True,
    ("eventList[].eventId", "empty"): True,
}
# Members beside PutEvents' that are our own.
OURS = {"signature", "clientTime", "session", "newSession", "reset"}

KEYWORDS = {"type", "documentation", "sensitive", "members", "required", "member"} | {
    "min",
    "max",
    "pattern",
}
MEMBER_KEYWORDS = {"shape", "documentation", "jsonvalue"}
WRONG: dict[str, list[Any]] = {
    "structure": ["x", 1, True, [], [{}]],
    "list": ["x", 1, True, {}, [None]],
    "string": [1, 1.5, True, [], ["x"], {}],
    "float": ["1.5", "NaN", True, [], {}],
    "timestamp": ["soon", True, [], {}],
}
PATTERN_SAMPLES = ["", "ab", " a ", "a\n", "\na", "a\tb", "\u00fca", "  "] + [
    chr(code) for code in range(0x180)
]
ABSENT = object()
Path = tuple[str | int, ...]


def with_value(path: Path, value: Any) -> Any:
    """A valid request but for the value at one place."""
    if not path:
        return value
    body = copy.deepcopy(FULL)
    place: Any = body
    for step in path[:-1]:
        place = place[step]
    if value is ABSENT:
        place.pop(path[-1], None)
    else:
        place[path[-1]] = value
    return body


def in_full(path: Path) -> Any:
    """What the valid request has at a place."""
    place: Any = FULL
    for step in path:
        if isinstance(step, str) and step not in place:
            return ABSENT
        place = place[step]
    return place


def named(path: Path) -> str:
    return ".".join(map(str, path)).replace(".0", "[]")


def of_length(shape: Json, path: Path, length: int) -> Any:
    """A value as long as that, and right but for its length."""
    if shape["type"] == "list":
        return [in_full(path)[0]] * length
    if path[-1] == "properties" and length > 1:
        return '{"k":"' + "x" * (length - 8) + '"}' if length >= 8 else "{}".ljust(length)
    return "x" * length


def claims(shape: Json, path: Path, place: str) -> Iterator[tuple[str, Any, bool]]:
    """What the model says of values at a place: what is tried, the value, whether it is taken."""
    also = DIFFERENCES.get((place, "also"), [])
    for value in WRONG[shape["type"]]:
        yield f"type: {value!r}", value, value in also and type(value) in map(type, also)
    if "min" in shape:
        shortest = DIFFERENCES.get((place, "min"), shape["min"])
        yield "min", of_length(shape, path, shortest), True
        blank = shortest == 1 and DIFFERENCES.get((place, "empty"), False)
        yield "below min", of_length(shape, path, shortest - 1), blank
    if "max" in shape:
        longest = DIFFERENCES.get((place, "max"), shape["max"])
        yield "max", of_length(shape, path, longest), True
        yield "over max", of_length(shape, path, longest + 1), False
    if "pattern" in shape:
        for text in PATTERN_SAMPLES:
            yield f"pattern: {text!r}", text, bool(re.fullmatch(shape["pattern"], text))


def disagreements(shapes: Mapping[str, Json], name: str = INPUT, path: Path = ()) -> Iterator[str]:
    """Walk the model: every place where our schema does not do as it says."""
    shape = shapes[name]
    place = named(path)
    if shape["type"] not in WRONG or not shape.keys() <= KEYWORDS:
        yield f"{place}: the model says what this walk does not know: {shape}"
        return
    for what, value, taken in claims(shape, path, place):
        if is_accepted(with_value(path, value)) != taken:
            yield f"{place}: {what}"
    if shape["type"] == "list":
        yield from disagreements(shapes, shape["member"]["shape"], (*path, 0))
    for member, reference in shape.get("members", {}).items():
        yield from member_disagreements(shapes, shape, (*path, member), reference)


def member_disagreements(
    shapes: Mapping[str, Json], parent: Json, path: Path, reference: Json
) -> Iterator[str]:
    place = named(path)
    if not reference.keys() <= MEMBER_KEYWORDS:
        yield f"{place}: the model says what this walk does not know: {reference}"
    required = DIFFERENCES.get((place, "required"), path[-1] in parent.get("required", ()))
    for nothing in ABSENT, None:
        if is_accepted(with_value(path, nothing)) == required:
            yield f"{place}: required is {required}"
    if in_full(path) is ABSENT:
        yield f"{place}: not a member of ours"
    else:
        yield from disagreements(shapes, reference["shape"], path)


def test_the_schemas_enforce_all_that_botocores_model_says() -> None:
    assert is_accepted(FULL)
    assert list(disagreements(SHAPES)) == []


def members_of(name: str) -> set[str]:
    return set(SHAPES[name]["members"])


@pytest.mark.parametrize(
    ("schema", "shape", "ours"),
    [
        (RequestSchema(), INPUT, OURS),
        (EventSchema(), "Event", set()),
        (MetricAttributionSchema(), "MetricAttribution", set()),
    ],
    ids=["request", "event", "attribution"],
)
def test_the_schemas_have_the_models_members_and_those_that_are_ours(
    schema: Schema, shape: str, ours: set[str]
) -> None:
    assert set(schema.fields) == members_of(shape) | ours


def set_keyword(shape: str, **keywords: Any) -> Callable[[dict[str, Json]], None]:
    return lambda shapes: shapes[shape].update(keywords)


def add_member(shape: str, **member: Any) -> Callable[[dict[str, Json]], None]:
    return lambda shapes: shapes[shape]["members"].update(member)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (add_member(INPUT, deviceId={"shape": "StringType"}), "deviceId"),
        (add_member("Event", actionId={"shape": "StringType"}), "eventList[].actionId"),
        (
            add_member("MetricAttribution", weight={"shape": "FloatType"}),
            "eventList[].metricAttribution.weight",
        ),
        (set_keyword("RecommendationId", max=41), "eventList[].recommendationId: max"),
        (set_keyword("RecommendationId", max=39), "eventList[].recommendationId: over max"),
        (set_keyword("UserId", min=2), "userId: below min"),
        (set_keyword("RecommendationId", min=0), "eventList[].recommendationId: min"),
        (set_keyword("Impression", max=26), "eventList[].impression: max"),
        (set_keyword("EventPropertiesJSON", max=2048), "eventList[].properties: max"),
        (set_keyword("ItemId", pattern="[a-z]*"), "eventList[].itemId: pattern"),
        (set_keyword("EventAttributionSource", pattern=".+"), "eventAttributionSource: pattern"),
        (set_keyword(INPUT, required=["userId"]), "userId: required"),
        (set_keyword("Event", required=["sentAt"]), "eventList[].eventType: required"),
        (set_keyword("MetricAttribution", required=[]), "eventAttributionSource: required"),
        (set_keyword("FloatType", type="integer"), "eventList[].eventValue: the model says"),
        (set_keyword("FloatType", type="string"), "eventList[].eventValue: type"),
        (set_keyword("StringType", enum=["a"]), "trackingId: the model says"),
    ],
)
def test_a_change_of_the_model_would_be_noticed(
    change: Callable[[dict[str, Json]], None], place: str
) -> None:
    shapes = copy.deepcopy(SHAPES)
    change(shapes)
    found = list(disagreements(shapes))
    assert any(place in disagreement for disagreement in found), found


SOURCE = SHAPES["EventAttributionSource"]["pattern"]


@given(st.text(alphabet=" a~!\x1f\x7f\n\t\u00fc0\u2028", max_size=8) | st.text(max_size=8))
@settings(max_examples=100)
@example("a\n")
@example("")
def test_an_attribution_source_is_what_the_models_pattern_matches(source: str) -> None:
    event = an_event(metricAttribution={"eventAttributionSource": source})
    assert is_accepted(request(event)) == bool(re.fullmatch(SOURCE, source))


@pytest.mark.parametrize("source", [" " * 1024, "x" * 1023 + "\n", " x" * 511 + "\x7f"])
def test_an_attribution_source_that_makes_the_models_pattern_backtrack_is_quickly_refused(
    source: str,
) -> None:
    # The model's own expression takes up to seconds for each: a few hundred would be minutes.
    for _ in range(300):
        refused(an_event(metricAttribution={"eventAttributionSource": source}))


# Any text, any request

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
NAMES = TEXTS.filter(lambda text: not is_placeholder(text))


@given(user=NAMES, session=NAMES, name=NAMES, any_text=TEXTS, escaped=st.booleans())
def test_every_text_that_can_be_stored_arrives_unchanged(
    user: str, session: str, name: str, any_text: str, escaped: bool
) -> None:
    properties = {f"k{any_text}": any_text, "name": name}
    event = {
        "eventId": name,
        "eventType": name,
        "itemId": name,
        "recommendationId": any_text[:40],
        "impression": [name, name],
        "properties": properties,
    }
    body = json.dumps(request(event, userId=user, sessionId=session), ensure_ascii=escaped)
    wanted = read(body.encode())
    assert (wanted.user_id, wanted.session_id) == (user, session)
    [accepted], errors = accept(body.encode())
    assert errors == {}
    assert accepted.event_id == name
    arrived = json.loads(accepted.text)
    assert json.loads(arrived.pop("properties")) == properties
    del event["properties"], arrived["sentAt"]
    assert arrived == event
    assert json.loads(accepted.received or "") == {**event, "properties": properties}


@given(
    st.dictionaries(TEXTS.map("k{}".format), TEXTS), st.sampled_from([None, 0, 2]), st.booleans()
)
def test_properties_that_come_as_text_are_sent_as_they_came(
    properties: dict[str, str], indent: int | None, escaped: bool
) -> None:
    text = json.dumps(properties, indent=indent, ensure_ascii=escaped)
    if len(text) <= 1024:
        assert sent(an_event(properties=text))["properties"] == text


# Floods


def test_of_many_unknown_members_none_is_taken_for_a_slip() -> None:
    """To look for what each might mean takes time: some 0.1 s for 100 events of 20 such."""
    slips = {f"itemIds{number}": "a" for number in range(20)}
    assert refused({**an_event(), **slips}) == {name: ["Unknown field."] for name in slips}


def test_of_many_errors_in_one_object_only_some_are_named() -> None:
    many = {f"a{number}": [] for number in range(1000)}
    assert len(request_refused({**request(an_event()), **many}).errors) == 20
    assert len(refused({**an_event(), **many})) == 20
    assert len(refused(an_event(properties=many))["properties"]) == 20


@pytest.mark.parametrize("items", [[""] * 10_000, ["a"] * 26, [], [1] * 10_000])
def test_the_items_of_a_list_that_is_too_long_are_not_looked_at(items: list[Any]) -> None:
    assert refused(an_event(impression=items)) == {
        "impression": ["Length must be between 1 and 25."]
    }


# --- the short way through a schema ---

VALUES = st.sampled_from(
    [
        "view", "", "null", "\0", "x" * 300, 1, 1.5, True, False, [], ["i-1"], [""], {}, {"a": 1},
        "{}", '{"a": "b"}', {"eventAttributionSource": "a"}, {"eventAttributionSource": 1},
        "2025-11-23", 1763880000, -1, 1e300, [{}], [None],
    ]
)  # fmt: skip


@pytest.mark.parametrize("schema", [EventSchema(), RequestSchema()])
@settings(max_examples=200)
@given(data=st.data())
def test_the_fields_alone_say_what_the_schema_says(schema: Schema, data: st.DataObject) -> None:
    names = st.sampled_from([*schema.fields, "unknown"])
    likely = {name: st.just("view") for name, field in schema.fields.items() if field.required}
    members = data.draw(st.fixed_dictionaries(likely)) | data.draw(st.dictionaries(names, VALUES))
    try:
        whole = schema.load(members)
    except ValidationError:
        whole = None
    else:
        whole = {name: value for name, value in whole.items() if name in members}
    assert schemas._fields_alone(schema, members) == whole
