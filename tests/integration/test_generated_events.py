"""Generated requests: the gateway's schemas accept no event that the sandbox, or AWS, refuses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gateway.events.fields import is_placeholder
from gateway.events.schemas import InvalidRequest
from gateway.sandbox import validation
from gateway.sandbox.errors import ApiError
from tests.helpers.event_requests import (
    PLACEHOLDERS,
    RESERVED,
    UNSTORABLE,
    Json,
    accept,
    encode,
    is_accepted,
    read,
    request,
)

LETTERS = "abc\u00fc\U0001f6d2 -_.\"\\'\n\x7f\u2028"
SHORT = st.text(LETTERS, min_size=1, max_size=8).filter(str.strip)
EDGES = st.sampled_from([0, 1, 39, 40, 41, 255, 256, 257, 1013, 1014, 1015, 1023, 1024, 1025])
LONG = st.builds(
    lambda length, letter: letter * length, EDGES, st.sampled_from("x\u00fc\U0001f6d2 ")
)
ODD_NUMBERS = st.sampled_from([-1, 1e300, 10**400, 253_402_300_799, 1e11, 5e-324]) | st.floats()
JUNK = st.one_of(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    st.sampled_from([*PLACEHOLDERS, *UNSTORABLE, [], {}, [None], [[]], {"a": {}}]),
    LONG,
    ODD_NUMBERS,
)
NUMBERS = st.integers(0, 2_000_000_000) | st.floats(0, 2e9)
MAPS = st.dictionaries(SHORT, SHORT, max_size=4)
ODD_MAPS = st.dictionaries(
    SHORT | st.sampled_from([*RESERVED, "USERID", "u\u017ferId", "a\0"]) | LONG,
    SHORT | JUNK,
    max_size=3,
)
ODD_MAP_TEXTS = st.one_of(
    ODD_MAPS.map(json.dumps),
    LONG.map(lambda text: json.dumps({"k": text}, ensure_ascii=False)),
    st.sampled_from(["", "{", "[]", "null", "{} ", '{"a":1,"a":2}', '{"a":NaN}', '{"a":1e999}']),
)

VALID = {
    "eventId": SHORT,
    "eventType": SHORT,
    "eventValue": NUMBERS,
    "itemId": SHORT,
    "properties": MAPS.map(json.dumps),
    "sentAt": NUMBERS,
    "recommendationId": SHORT,
    "impression": st.lists(SHORT, min_size=1, max_size=3),
    "metricAttribution": st.fixed_dictionaries(
        {"eventAttributionSource": st.text("b ~!", max_size=6).map("a{}".format)}
    ),
}
ODD = {
    **dict.fromkeys(VALID, JUNK),
    "properties": ODD_MAP_TEXTS | JUNK,
    "impression": st.lists(SHORT | JUNK, max_size=3)
    | st.integers(0, 27).map(lambda length: ["i"] * length),
    "metricAttribution": JUNK
    | st.dictionaries(st.sampled_from(["eventAttributionSource", "x"]), SHORT | JUNK),
}
MEMBERS = sorted(VALID)


@st.composite
def slips(draw: st.DrawFn, valid: st.SearchStrategy[Json], odd: Mapping[str, Any]) -> Json:
    """A valid object, or one with a slip or two: a wrong value, a lost or an unknown member."""
    members = dict(draw(valid))
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 1, 2]))):
        kind = draw(st.sampled_from(["wrong", "wrong", "wrong", "lost", "unknown"]))
        if kind == "wrong":
            name = draw(st.sampled_from(sorted(odd)))
            members[name] = draw(odd[name])
        elif kind == "lost":
            members.pop(draw(st.sampled_from(sorted(odd))), None)
        else:
            members[draw(SHORT)] = draw(JUNK)
    return members


def with_members(required: list[str], strategies: Mapping[str, Any]) -> st.SearchStrategy[Json]:
    rest = {name: strategy for name, strategy in strategies.items() if name not in required}
    return st.fixed_dictionaries({name: strategies[name] for name in required}, optional=rest)


# As a page may send it: times and properties in every form, or no time at all.
EVENTS = slips(
    with_members(
        ["eventType"],
        {
            **VALID,
            "properties": MAPS | VALID["properties"],
            "sentAt": NUMBERS
            | st.integers(10**11, 2 * 10**12)
            | NUMBERS.map("{:.3f}".format)
            | st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 30)).map(datetime.isoformat),
        },
    ),
    {**ODD, "properties": ODD_MAPS | ODD["properties"]},
)


def is_text_of_texts(properties: Any) -> bool:
    """No map, nor a text of one that is mended, and perhaps shortened: by nulls and numbers."""
    try:
        members = json.loads(properties)
    except (TypeError, ValueError):
        return not isinstance(properties, dict)
    return not isinstance(members, dict) or all(isinstance(one, str) for one in members.values())


# As PutEvents itself has it: a time as a number is there, properties are a text. An eventId that
# is none is mended, too.
WIRE_EVENTS = slips(
    with_members(["eventType", "sentAt"], VALID),
    {
        **ODD,
        "eventId": JUNK.filter(
            lambda value: not isinstance(value, str) or not is_placeholder(value)
        ),
        "properties": ODD["properties"].filter(is_text_of_texts),
        "sentAt": JUNK.filter(lambda value: value is not None and not isinstance(value, str)),
    },
).filter(lambda event: "sentAt" in event)
REQUESTS = slips(
    with_members(
        ["trackingId", "eventList"],
        {
            "trackingId": SHORT,
            "eventList": st.lists(EVENTS, min_size=1, max_size=25),
            "userId": SHORT,
            "sessionId": SHORT,
            "clientTime": NUMBERS,
            "reset": st.booleans(),
        },
    ),
    {"trackingId": JUNK, "userId": JUNK, "sessionId": JUNK, "clientTime": JUNK, "reset": JUNK},
)
THOROUGHLY = settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def sandbox_accepts(body: Json) -> bool:
    try:
        validation.validate(validation.read(encode(body)))
    except ApiError:
        return False
    return True


@THOROUGHLY
@given(REQUESTS)
def test_what_the_schemas_accept_the_sandbox_accepts_after_splitting(body: Json) -> None:
    try:
        wanted = read(body)
    except InvalidRequest:
        return
    accepted, errors = accept(body)
    assert len(accepted) + len(errors) == len(body["eventList"])
    for start in range(0, len(accepted), 10):
        call = {
            "trackingId": wanted.tracking_id,
            "sessionId": wanted.session_id or "a-session-of-the-cookie",
            "eventList": [json.loads(event.text) for event in accepted[start : start + 10]],
        }
        if wanted.user_id is not None:
            call["userId"] = wanted.user_id
        request_at_aws = validation.validate(
            validation.read(json.dumps(call, ensure_ascii=False).encode())
        )
        assert request_at_aws.members == call
        assert request_at_aws.ignored == []


@THOROUGHLY
@given(WIRE_EVENTS)
def test_an_event_that_the_sandbox_refuses_the_schemas_refuse_first(event: Any) -> None:
    if not sandbox_accepts({"trackingId": "t", "sessionId": "s", "eventList": [event]}):
        assert not is_accepted(request(event))


@pytest.mark.parametrize("strategy", [EVENTS, WIRE_EVENTS], ids=["as pages send", "on the wire"])
def test_the_events_above_are_valid_as_often_as_not(strategy: st.SearchStrategy[Json]) -> None:
    verdicts: list[bool] = []

    @settings(THOROUGHLY, max_examples=100, database=None, phases=[Phase.generate])
    @given(strategy)
    def judge(event: Json) -> None:
        verdicts.append(is_accepted(request(event)))

    judge()
    assert 0.1 < sum(verdicts) / len(verdicts) < 0.9
