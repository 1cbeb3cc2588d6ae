"""The sandbox is asked by boto3 itself, over HTTP; what boto3 would not send goes by `requests`."""

from __future__ import annotations

import argparse
import copy
import http.client
import json
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from typing import Any

import boto3
import pytest
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError
from botocore.loaders import Loader
from botocore.model import ServiceModel
from selenium import webdriver
from selenium.webdriver.common.by import By

from gateway.sandbox import Faults, Sandbox, add_arguments, run, validation
from gateway.sandbox.calls import PutEvents
from gateway.sandbox.faults import Fate

KEY_ID = "AKIDEXAMPLE"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@contextmanager
def aws(sandbox: Sandbox, **config: Any) -> Iterator[Any]:
    """boto3, without retries and without its own validation."""
    settings = {"parameter_validation": False, "retries": {"total_max_attempts": 1}} | config
    client = boto3.client(
        "personalize-events",
        region_name="eu-west-1",
        endpoint_url=sandbox.url,
        aws_access_key_id=KEY_ID,
        aws_secret_access_key="not looked at",
        config=Config(**settings),
    )
    try:
        yield client
    finally:
        client.close()


def an_event(**members: Any) -> dict[str, Any]:
    return {"eventType": "view", "sentAt": 1763880000, **members}


def a_call(*events: dict[str, Any], **members: Any) -> dict[str, Any]:
    call = {"trackingId": "t-1", "sessionId": "s-1", "eventList": list(events) or [an_event()]}
    return call | members


def signed(url: str, body: bytes) -> dict[str, str]:
    request = AWSRequest("POST", url, data=body, headers={"Content-Type": "application/json"})
    SigV4Auth(Credentials(KEY_ID, "any"), "personalize", "eu-west-1").add_auth(request)
    return dict(request.headers.items())


def post(sandbox: Sandbox, value: Any, **headers: str | None) -> requests.Response:
    """Send a body as it is, or anything else as JSON; headers may be replaced or left out."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    url = f"{sandbox.url}/events"
    given = signed(url, body) | {name.replace("_", "-"): text for name, text in headers.items()}
    return requests.post(url, data=body, headers=given, timeout=30)


def assert_refused(response: requests.Response, status: int, error: str, message: str = "") -> None:
    assert (response.status_code, response.headers["x-amzn-ErrorType"]) == (status, error)
    assert message in response.json()["message"]


def assert_accepted(response: requests.Response) -> None:
    assert (response.status_code, response.content) == (200, b""), response.text


# A round trip


def test_what_boto3_sends_is_kept_as_it_was_sent(sandbox: Sandbox) -> None:
    sent = an_event(
        eventId="e-1",
        eventValue=1.5,
        itemId="i-1",
        properties='{"colour": "rot"}',
        recommendationId="r-1",
        impression=["i-1", "i-2"],
        metricAttribution={"eventAttributionSource": "newsletter"},
    )
    with aws(sandbox, parameter_validation=True) as client:
        answer = client.put_events(**a_call(sent, userId="u-1"))
    [call] = sandbox.requests()
    metadata = answer["ResponseMetadata"]
    assert (metadata["HTTPStatusCode"], metadata["RequestId"]) == (200, call["requestId"])
    assert (call["id"], call["status"], call["error"], call["answered"]) == (1, 200, None, True)
    assert (call["region"], call["accessKeyId"]) == ("eu-west-1", KEY_ID)
    assert sandbox.events() == [{"trackingId": "t-1", "sessionId": "s-1", "userId": "u-1"} | sent]


def test_boto3_reads_a_refusal_as_aws_own_exception(sandbox: Sandbox) -> None:
    with aws(sandbox) as client, pytest.raises(client.exceptions.InvalidInputException) as refusal:
        client.put_events(**a_call(an_event(itemId="i" * 257)))
    assert refusal.value.response["Error"]["Message"] == (
        "1 validation error detected: Value at 'eventList.1.member.itemId' failed to satisfy "
        "constraint: Member must have length less than or equal to 256"
    )


def test_boto3_s_connection_is_kept(sandbox: Sandbox) -> None:
    url = sandbox.url.removeprefix("http://")
    connection = http.client.HTTPConnection(url)
    body = json.dumps(a_call()).encode()
    ports = set()
    for headers in [
        signed(f"{sandbox.url}/events", body),
        {},
        signed(f"{sandbox.url}/events", body),
    ]:
        connection.request("POST", "/events", body, headers)
        response = connection.getresponse()
        response.read()
        ports.add(connection.sock.getsockname()[1])
    connection.close()
    assert len(ports) == 1
    assert [call["status"] for call in sandbox.requests()] == [200, 403, 200]


def test_calls_at_the_same_time_are_all_kept(sandbox: Sandbox) -> None:
    def send(session: str) -> None:
        with aws(sandbox) as client:
            for number in range(20):
                client.put_events(**a_call(an_event(itemId=str(number)), sessionId=session))

    senders = [threading.Thread(target=send, args=(f"s-{n}",)) for n in range(8)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert [call["id"] for call in sandbox.requests()] == list(range(1, 161))
    for n in range(8):
        items = [e["itemId"] for e in sandbox.events() if e["sessionId"] == f"s-{n}"]
        assert items == [str(number) for number in range(20)]


# The model's constraints, each as the model has it

MODEL = ServiceModel(Loader().load_service_model("personalize-events", "service-2"))
Path = tuple[str | int, ...]


def members(shape: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every member under a shape with its path, in a request with one of each."""
    if path:
        yield path, shape
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            yield from members(member, (*path, name))
    if shape.type_name == "list":
        yield from members(shape.member, (*path, 0))


MEMBERS = dict(members(MODEL.operation_model("PutEvents").input_shape))


def constrained(trait: str) -> pytest.MarkDecorator:
    """Parameters: the paths of all members whose shape has this trait."""
    paths = [path for path, shape in MEMBERS.items() if trait in shape.metadata]
    return pytest.mark.parametrize("path", paths, ids=lambda path: ".".join(map(str, path)))


def whole() -> dict[str, Any]:
    """A request that has every member."""
    return a_call(
        an_event(
            eventId="e-1",
            eventValue=0.5,
            itemId="i-1",
            properties="{}",
            recommendationId="r-1",
            impression=["i-1"],
            metricAttribution={"eventAttributionSource": "newsletter"},
        ),
        userId="u-1",
    )


def holder(request: Any, path: Path) -> Any:
    for step in path[:-1]:
        request = request[step]
    return request


def whole_with(path: Path, value: Any) -> dict[str, Any]:
    request = whole()
    holder(request, path)[path[-1]] = value
    return request


def whole_without(path: Path) -> dict[str, Any]:
    request = whole()
    del holder(request, path)[path[-1]]
    return request


def of_length(path: Path, length: int) -> Any:
    """A value for a member that has this length, and is valid in every other way."""
    shape = MEMBERS[path]
    if shape.type_name == "list":
        return [copy.deepcopy(holder(whole(), (*path, 0))[0])] * length
    if shape.serialization.get("jsonvalue") and length >= 7:
        return json.dumps({"k": "ü" * (length - 9)}, ensure_ascii=False).ljust(length)
    return "x" * length


def aws_path(path: Path) -> str:
    return ".".join(f"{step + 1}.member" if isinstance(step, int) else step for step in path)


def test_a_request_with_every_member_of_the_model_is_accepted(sandbox: Sandbox) -> None:
    for path in MEMBERS:
        assert holder(whole(), path)[path[-1]]
    assert_accepted(post(sandbox, whole()))


@constrained("max")
def test_a_maximum_is_enforced_exactly(sandbox: Sandbox, path: Path) -> None:
    largest = MEMBERS[path].metadata["max"]
    assert_accepted(post(sandbox, whole_with(path, of_length(path, largest))))
    refusal = post(sandbox, whole_with(path, of_length(path, largest + 1)))
    limit = f"at '{aws_path(path)}' failed to satisfy constraint: Member must have length "
    assert_refused(refusal, 400, "InvalidInputException", f"{limit}less than or equal to {largest}")


@constrained("min")
def test_a_minimum_is_enforced_exactly(sandbox: Sandbox, path: Path) -> None:
    smallest = MEMBERS[path].metadata["min"]
    if not MEMBERS[path].serialization.get("jsonvalue"):  # no JSON object is that short
        assert_accepted(post(sandbox, whole_with(path, of_length(path, smallest))))
    refusal = post(sandbox, whole_with(path, of_length(path, smallest - 1)))
    limit = f"at '{aws_path(path)}' failed to satisfy constraint: Member must have length "
    assert_refused(
        refusal, 400, "InvalidInputException", f"{limit}greater than or equal to {smallest}"
    )


@constrained("pattern")
def test_a_pattern_is_enforced(sandbox: Sandbox, path: Path) -> None:
    refusal = post(sandbox, whole_with(path, "\x7f"))
    wanted = f"Member must satisfy regular expression pattern: {MEMBERS[path].metadata['pattern']}"
    assert_refused(refusal, 400, "InvalidInputException", wanted)


@constrained("pattern")
def test_every_pattern_has_a_linear_form(path: Path) -> None:
    assert MEMBERS[path].metadata["pattern"] in validation.LINEAR


@pytest.mark.parametrize("pattern", validation.LINEAR)
def test_a_linear_form_matches_the_same_texts(pattern: str) -> None:
    dice = random.Random(1)
    texts = {
        "".join(dice.choices(" ~a!\x1f\x7f\né", weights=[9, 3, 3, 3, 1, 1, 1, 1], k=length))
        for length in range(12)
        for _ in range(300)
    }
    linear = re.compile(validation.LINEAR[pattern])
    # AWS matches whole texts; Python's $ alone would let a last newline pass.
    assert {t for t in texts if linear.fullmatch(t)} == {
        t for t in texts if re.fullmatch(pattern, t)
    }


@pytest.mark.parametrize("text", ["a" * 1023 + "\n", " " * 1024, " " * 1023 + "é"])
def test_what_makes_the_model_s_pattern_backtrack_is_refused_all_the_same(
    sandbox: Sandbox, text: str
) -> None:
    event = an_event(metricAttribution={"eventAttributionSource": text})
    assert_refused(post(sandbox, a_call(event)), 400, "InvalidInputException", "pattern")
    event = an_event(metricAttribution={"eventAttributionSource": text[:-1] + "!"})
    assert_accepted(post(sandbox, a_call(event)))


REQUIRED = [
    (*path, name)
    for path, shape in [((), MODEL.operation_model("PutEvents").input_shape), *MEMBERS.items()]
    if shape.type_name == "structure"
    for name in shape.required_members
]


@pytest.mark.parametrize("path", REQUIRED, ids=aws_path)
def test_a_required_member_is_required(sandbox: Sandbox, path: Path) -> None:
    wanted = (
        f"Value null at '{aws_path(path)}' failed to satisfy constraint: Member must not be null"
    )
    for request in (whole_without(path), whole_with(path, None)):
        assert_refused(post(sandbox, request), 400, "InvalidInputException", wanted)


@pytest.mark.parametrize(
    "path",
    [p for p in MEMBERS if p not in REQUIRED and isinstance(p[-1], str)],
    ids=aws_path,
)
def test_an_optional_member_may_be_left_out_or_null(sandbox: Sandbox, path: Path) -> None:
    assert_accepted(post(sandbox, whole_without(path)))
    assert_accepted(post(sandbox, whole_with(path, None)))


@pytest.mark.parametrize("path", MEMBERS, ids=aws_path)
@pytest.mark.parametrize("value", [True, 17, "text", [], {}], ids=repr)
def test_a_value_of_another_type_is_refused(sandbox: Sandbox, path: Path, value: Any) -> None:
    types = {"string": str, "list": list, "structure": dict, "float": int, "timestamp": int}
    if type(value) is types[MEMBERS[path].type_name]:
        return
    refusal = post(sandbox, whole_with(path, value))
    assert_refused(refusal, 400, "SerializationException", f"at '{aws_path(path)}'")


@pytest.mark.parametrize(
    "path", [("eventList", 0), ("eventList", 0, "impression", 0)], ids=aws_path
)
def test_a_list_has_no_null(sandbox: Sandbox, path: Path) -> None:
    wanted = f"Value null at '{aws_path(path)}'"
    assert_refused(post(sandbox, whole_with(path, None)), 400, "InvalidInputException", wanted)


def test_lengths_count_characters_not_bytes(sandbox: Sandbox) -> None:
    assert_accepted(post(sandbox, a_call(an_event(itemId="😀" * 256))))


def test_several_problems_are_told_at_once(sandbox: Sandbox) -> None:
    refusal = post(sandbox, {"trackingId": "t" * 257, "eventList": [an_event(), {"sentAt": 1}]})
    assert refusal.json()["message"] == (
        "3 validation errors detected: "
        "Value null at 'sessionId' failed to satisfy constraint: Member must not be null; "
        f"Value '{'t' * 257}' at 'trackingId' failed to satisfy constraint: "
        "Member must have length less than or equal to 256; "
        "Value null at 'eventList.2.member.eventType' failed to satisfy constraint: "
        "Member must not be null"
    )


def test_members_that_the_model_does_not_know_are_dropped_and_named(sandbox: Sandbox) -> None:
    assert_accepted(post(sandbox, a_call(an_event(itemID="i-1"), clientTime=1)))
    [call] = sandbox.requests()
    assert sorted(call["ignored"]) == ["clientTime", "eventList.1.member.itemID"]
    assert call["eventList"] == [an_event()]


# Beyond the model


@pytest.mark.parametrize("text", ["x", "[]", '"{}"', "1", "null", '{"a": NaN}', "[" * 1000])
def test_properties_that_are_no_json_object_s_text_are_refused(sandbox: Sandbox, text: str) -> None:
    refusal = post(sandbox, a_call(an_event(properties=text)))
    assert_refused(refusal, 400, "InvalidInputException", "Error parsing properties json")


@pytest.mark.parametrize("key", ["userId", "SESSIONID", "eventType", "timestamp", "Impression"])
def test_reserved_keys_of_properties_are_refused(sandbox: Sandbox, key: str) -> None:
    refusal = post(sandbox, a_call(an_event(properties=json.dumps({key: "x"}))))
    assert_refused(refusal, 400, "InvalidInputException", f"The key '{key}' is reserved")


@pytest.mark.parametrize(
    "body",
    [b"{", b"\xff", b"nonsense", b'{"trackingId": NaN}', b"[" * 100_000, b"1" * 5000, b"[]", b"7"],
    ids=lambda body: repr(body[:8]),
)
def test_a_body_that_is_no_json_object_is_refused(sandbox: Sandbox, body: bytes) -> None:
    assert_refused(post(sandbox, body), 400, "SerializationException")


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"1" * 400, b'"NaN"', b'"2026-01-01"'])
@pytest.mark.parametrize("name", [b"sentAt", b"eventValue"])
def test_a_number_is_a_finite_json_number(sandbox: Sandbox, name: bytes, number: bytes) -> None:
    body = json.dumps(a_call(an_event())).encode()
    body = body.replace(b'"sentAt": 1763880000', b'"sentAt": 1, "%s": %s' % (name, number))
    assert_refused(post(sandbox, body), 400, "SerializationException")


def test_an_empty_body_lacks_all_that_is_required(sandbox: Sandbox) -> None:
    assert_refused(post(sandbox, b""), 400, "InvalidInputException", "3 validation errors")


def test_a_body_beyond_all_limits_is_not_read(sandbox: Sandbox) -> None:
    connection = http.client.HTTPConnection(sandbox.url.removeprefix("http://"))
    connection.putrequest("POST", "/events")
    connection.putheader("Content-Length", str(10**12))
    connection.endheaders()
    response = connection.getresponse()
    assert (response.status, response.getheader("Connection")) == (413, "close")
    connection.close()


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("Content-Length", "-1", 400),
        ("Content-Length", "9" * 5000, 413),
        ("Transfer-Encoding", "chunked", 411),
    ],
)
def test_a_body_without_a_readable_length_is_refused(
    sandbox: Sandbox, name: str, value: str, status: int
) -> None:
    connection = http.client.HTTPConnection(sandbox.url.removeprefix("http://"))
    connection.putrequest("POST", "/events")
    connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    response.read()
    connection.close()
    assert response.status == status


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/"), ("POST", "/items"), ("GET", "//["), ("GET", "/events"), ("PATCH", "/x")],
)
def test_unknown_operations_are_not_found(sandbox: Sandbox, method: str, path: str) -> None:
    response = requests.request(method, sandbox.url + path, timeout=30)
    assert_refused(response, 404, "UnknownOperationException")


# The signature

AUTHORIZATION = (
    f"AWS4-HMAC-SHA256 Credential={KEY_ID}/20261123/eu-west-1/personalize/aws4_request, "
    f"SignedHeaders=content-type;host;x-amz-date, Signature={'0' * 64}"
)
DATE = "20261123T110000Z"


def test_a_well_formed_signature_passes_unchecked(sandbox: Sandbox) -> None:
    assert_accepted(post(sandbox, a_call(), Authorization=AUTHORIZATION, X_Amz_Date=DATE))


def test_a_call_without_a_signature_is_refused(sandbox: Sandbox) -> None:
    refusal = post(sandbox, a_call(), Authorization=None)
    assert_refused(refusal, 403, "MissingAuthenticationTokenException")


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        ("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1", "Unsupported AWS 'algorithm'"),
        ("AWS4-HMAC-SHA256", "Basic", "Unsupported AWS 'algorithm'"),
        ("Credential=", "Credentials=", "requires 'Credential' parameter"),
        ("SignedHeaders=", "Signed=", "requires 'SignedHeaders' parameter"),
        (", Signature=", ", Sig=", "requires 'Signature' parameter"),
        (", Signature=", ", Signature ", "missing equal-sign"),
        ("0" * 64, "0" * 63, "64 hexadecimal digits"),
        ("0" * 64, "g" * 64, "64 hexadecimal digits"),
        ("/eu-west-1/", "/", "exactly 5 slash-delimited elements"),
        ("/eu-west-1/", "//", "exactly 5 slash-delimited elements"),
    ],
)
def test_a_malformed_signature_is_incomplete(
    sandbox: Sandbox, wrong: str, right: str, message: str
) -> None:
    authorization = AUTHORIZATION.replace(wrong, right)
    refusal = post(sandbox, a_call(), Authorization=authorization, X_Amz_Date=DATE)
    assert_refused(refusal, 403, "IncompleteSignatureException", message)


@pytest.mark.parametrize("date", [None, "2026-11-23T11:00:00Z", "yesterday"])
def test_a_missing_or_malformed_date_is_incomplete(sandbox: Sandbox, date: str | None) -> None:
    refusal = post(sandbox, a_call(), Authorization=AUTHORIZATION, X_Amz_Date=date)
    assert_refused(refusal, 403, "IncompleteSignatureException", "ate")


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("/personalize/", "/personalize-events/", "correct service: 'personalize'"),
        ("/20261123/", "/20261122/", "'20261122' != '20261123'"),
        ("aws4_request", "aws5_request", "valid terminator: 'aws4_request'"),
        ("host;", "", "'host' must be a 'SignedHeader'"),
        (";x-amz-date", "", "'x-amz-date' must be a 'SignedHeader'"),
    ],
)
def test_a_signature_for_something_else_is_invalid(
    sandbox: Sandbox, right: str, wrong: str, message: str
) -> None:
    authorization = AUTHORIZATION.replace(right, wrong)
    refusal = post(sandbox, a_call(), Authorization=authorization, X_Amz_Date=DATE)
    assert_refused(refusal, 403, "InvalidSignatureException", message)


# Tracking IDs


def test_without_a_list_every_tracking_id_is_known(sandbox: Sandbox) -> None:
    assert_accepted(post(sandbox, a_call(trackingId="anything")))


def test_with_a_list_only_its_tracking_ids_are_known() -> None:
    with Sandbox(tracking_ids=["t-1", "t-2"]) as sandbox:
        assert_accepted(post(sandbox, a_call(trackingId="t-2")))
        refusal = post(sandbox, a_call(trackingId="t-3"))
    assert_refused(refusal, 400, "InvalidInputException", "tracking ID: t-3")


# Faults


def outcome(client: Any, **members: Any) -> str:
    try:
        client.put_events(**a_call(**members))
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return f"{status} {error.response['Error']['Code']}"
    except ConnectionClosedError:
        return "closed"
    return "accepted"


def test_throttled_calls_are_answered_as_aws_does_and_kept(sandbox: Sandbox) -> None:
    sandbox.faults = Faults(throttle_rate=1, retry_after=7)
    with aws(sandbox) as client, pytest.raises(ClientError) as refusal:
        client.put_events(**a_call())
    response = refusal.value.response
    assert response["Error"]["Code"] == "ThrottlingException"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "7"
    [call] = sandbox.requests()
    assert (call["status"], call["error"]) == (400, "ThrottlingException")
    assert call["eventList"] == [an_event()]
    assert sandbox.events() == []


def test_server_errors_are_of_both_kinds(sandbox: Sandbox) -> None:
    sandbox.faults = Faults(error_rate=1, seed=1)
    with aws(sandbox) as client:
        outcomes = {outcome(client) for _ in range(20)}
    assert outcomes == {"500 InternalServerException", "503 ServiceUnavailable"}


def test_cut_calls_are_recorded_or_not_and_never_answered(sandbox: Sandbox) -> None:
    sandbox.faults = Faults(cut_rate=1, seed=1)
    with aws(sandbox) as client:
        assert {outcome(client) for _ in range(20)} == {"closed"}
    assert 0 < len(sandbox.events()) < 20
    assert {call["answered"] for call in sandbox.requests()} == {False}


def test_a_hanging_call_is_neither_answered_nor_recorded(sandbox: Sandbox) -> None:
    sandbox.faults = Faults(hang_rate=1)
    with aws(sandbox, read_timeout=0.3) as client, pytest.raises(ReadTimeoutError):
        client.put_events(**a_call())
    assert sandbox.requests() == []


def test_latency_delays_the_answer_but_not_the_record(sandbox: Sandbox) -> None:
    sandbox.faults = Faults(latency=0.5)
    with aws(sandbox, read_timeout=0.1) as client, pytest.raises(ReadTimeoutError):
        client.put_events(**a_call())
    sandbox.faults = Faults()
    wait_for(lambda: len(sandbox.events()) == 1)


def test_a_waiting_call_holds_up_no_others() -> None:
    headers = Message()
    headers["Authorization"], headers["X-Amz-Date"] = AUTHORIZATION, DATE

    def pause(_seconds: float) -> bool:
        put_events.faults = Faults()
        put_events.answer(headers, json.dumps(a_call(sessionId="second")).encode())
        return False

    put_events = PutEvents(Faults(latency=1), (), 10, pause)
    put_events.answer(headers, json.dumps(a_call(sessionId="first")).encode())
    assert [call["sessionId"] for call in put_events.calls.since()] == ["second", "first"]


@pytest.mark.parametrize("faults", [Faults(latency=3600), Faults(hang_rate=1)])
def test_the_sandbox_s_end_is_the_end_of_waiting_calls(sandbox: Sandbox, faults: Faults) -> None:
    sandbox.faults = faults
    waiting = threading.Thread(target=post_in_vain, args=(sandbox,))
    waiting.start()
    sandbox.stop()
    waiting.join(30)
    assert not waiting.is_alive()
    assert sandbox.requests() == []


def post_in_vain(sandbox: Sandbox) -> None:
    try:
        post(sandbox, a_call())
    except requests.ConnectionError:
        return


def test_a_poisonous_item_refuses_its_whole_call(sandbox: Sandbox) -> None:
    sandbox.faults = Faults(refuse_item_ids=("bad",))
    refusal = post(sandbox, a_call(an_event(itemId="good"), an_event(itemId="bad")))
    assert_refused(refusal, 400, "InvalidInputException", "item ID: bad")
    assert_accepted(post(sandbox, a_call(an_event(itemId="good"), an_event())))


def test_tracking_ids_can_be_refused_or_denied(sandbox: Sandbox) -> None:
    sandbox.faults = Faults(refuse_tracking_ids=("gone",), access_denied_tracking_ids=("secret",))
    with aws(sandbox) as client:
        assert outcome(client, trackingId="gone") == "400 InvalidInputException"
        assert outcome(client, trackingId="secret") == "403 AccessDeniedException"
        assert outcome(client) == "accepted"


def test_the_same_seed_gives_the_same_faults_in_the_same_order(sandbox: Sandbox) -> None:
    faults = Faults(cut_rate=0.3, throttle_rate=0.3, error_rate=0.3, seed=42)

    def course() -> list[str]:
        sandbox.faults = faults
        with aws(sandbox) as client:
            return [outcome(client) for _ in range(30)]

    first = course()
    assert len(set(first)) > 3
    assert course() == first


def test_rates_are_kept_to() -> None:
    dice = random.Random(1)
    fates = [Faults(throttle_rate=0.25).fate(dice) for _ in range(10_000)]
    assert 2300 < fates.count(Fate.THROTTLE) < 2700
    assert fates.count(Fate.NONE) == 10_000 - fates.count(Fate.THROTTLE)


def test_faults_are_read_and_changed_over_http(sandbox: Sandbox) -> None:
    url = f"{sandbox.url}/faults"
    assert requests.get(url, timeout=30).json() == Faults().to_json()
    wanted = {"throttle_rate": 1, "refuse_item_ids": ["a"], "retry_after": 3, "seed": 9}
    changed = requests.put(url, json=wanted, timeout=30)
    assert changed.json() == requests.get(url, timeout=30).json() == Faults().to_json() | wanted
    assert sandbox.faults == Faults(throttle_rate=1, refuse_item_ids=("a",), retry_after=3, seed=9)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("latency", -1),
        ("latency", "1"),
        ("latency", 1e300),
        ("latency", True),
        ("throttle_rate", 1.1),
        ("error_rate", None),
        ("hang_rate", -0.1),
        ("cut_rate", [0.5]),
        ("refuse_item_ids", "i-1"),
        ("refuse_tracking_ids", [1]),
        ("access_denied_tracking_ids", None),
        ("retry_after", 1.5),
        ("retry_after", -1),
        ("seed", "x"),
        ("throtle_rate", 1),
    ],
)
def test_a_malformed_or_unknown_fault_is_named(sandbox: Sandbox, name: str, value: Any) -> None:
    refusal = requests.put(f"{sandbox.url}/faults", json={name: value}, timeout=30)
    assert_refused(refusal, 400, "InvalidInputException", name)
    assert sandbox.faults == Faults()


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"latency": NaN}', b"[" * 100_000])
def test_faults_that_are_no_json_object_are_refused(sandbox: Sandbox, body: bytes) -> None:
    refusal = requests.put(f"{sandbox.url}/faults", data=body, timeout=30)
    assert_refused(refusal, 400, "InvalidInputException")


# What is kept


def test_requests_are_listed_oldest_first_and_since_any_one_of_them(sandbox: Sandbox) -> None:
    for session in ("a", "b", "c"):
        post(sandbox, a_call(sessionId=session))
    url = f"{sandbox.url}/requests"

    def sessions(query: str = "") -> list[str]:
        return [call["sessionId"] for call in requests.get(url + query, timeout=30).json()]

    assert sessions() == ["a", "b", "c"]
    assert sessions("?since=1") == ["b", "c"]
    assert sessions("?since=3") == sessions("?since=99") == []
    assert sessions("?since=1&limit=1") == ["c"]
    assert requests.get(url, timeout=30).json() == sandbox.requests()
    assert requests.get(f"{url}?since=x", timeout=30).status_code == 400


def test_refused_calls_are_kept_with_their_error(sandbox: Sandbox) -> None:
    post(sandbox, a_call(sessionId=""))
    post(sandbox, b"{")
    post(sandbox, a_call(), Authorization=None)
    kept = [(call["status"], call["error"], call["sessionId"]) for call in sandbox.requests()]
    assert kept == [
        (400, "InvalidInputException", ""),
        (400, "SerializationException", None),
        (403, "MissingAuthenticationTokenException", None),
    ]
    assert sandbox.events() == []


def test_only_the_last_calls_are_kept() -> None:
    with Sandbox(keep=3) as sandbox:
        for number in range(5):
            post(sandbox, a_call(sessionId=str(number)))
        assert [call["id"] for call in sandbox.requests()] == [3, 4, 5]
        assert [call["id"] for call in sandbox.requests(since=4)] == [5]
        assert [call["id"] for call in sandbox.requests(since=1)] == [3, 4, 5]


def test_clearing_forgets_the_calls_and_goes_on_counting(sandbox: Sandbox) -> None:
    post(sandbox, a_call())
    assert requests.delete(f"{sandbox.url}/requests", timeout=30).status_code == 204
    assert sandbox.requests() == []
    post(sandbox, a_call())
    assert [call["id"] for call in sandbox.requests(since=1)] == [2]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # a program
        ({"Origin": "http://{own}"}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),  # its address was typed
        ({"Host": "localhost:8001"}, 200),
        ({"Host": "[::1]:8001"}, 200),
        ({"Host": "sandbox:8001"}, 200),  # a container's
        ({"Host": "host.docker.internal:8001"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://localhost:1"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Host": "evil.example"}, 403),  # whose address is ours by now
        ({"Host": "127.0.0.1.evil.example:8001"}, 403),
        ({"Host": "evil.example:8001", "Origin": "http://evil.example:8001"}, 403),
    ],
)
def test_received_calls_are_shown_to_the_own_page_and_to_programs_only(
    sandbox: Sandbox, headers: dict[str, str], status: int
) -> None:
    own = sandbox.url.removeprefix("http://")
    headers = {name: value.format(own=own) for name, value in headers.items()}
    ways = [("GET", "/requests", b""), ("GET", "/faults", b""), ("PUT", "/faults", b"{}"),
            ("DELETE", "/requests", b"")]  # fmt: skip
    for method, path, body in ways:
        response = requests.request(
            method, sandbox.url + path, data=body, headers=headers, timeout=30
        )
        assert response.status_code in ((200, 204) if status == 200 else (status,)), (method, path)
        assert "Access-Control-Allow-Origin" not in response.headers


def test_aws_sdks_in_browsers_may_call(sandbox: Sandbox) -> None:
    preflight = requests.options(f"{sandbox.url}/events", timeout=30)
    assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
    refusal = post(sandbox, {})
    assert refusal.headers["Access-Control-Allow-Origin"] == "*"
    assert "x-amzn-ErrorType" in refusal.headers["Access-Control-Expose-Headers"]


def test_no_other_page_may_change_anything(sandbox: Sandbox) -> None:
    for path in ("/requests", "/faults"):
        preflight = requests.options(sandbox.url + path, timeout=30)
        assert "Access-Control-Allow-Methods" not in preflight.headers


# Its life


def test_an_outage_ends_kept_connections_and_keeps_address_and_calls(sandbox: Sandbox) -> None:
    with aws(sandbox) as client:
        assert outcome(client) == "accepted"
        url = sandbox.url
        sandbox.stop()
        with pytest.raises(Exception, match=r"Could not connect|Connection was closed"):
            client.put_events(**a_call())
        sandbox.start()
        assert sandbox.url == url
        assert outcome(client) == "accepted"
    assert [call["id"] for call in sandbox.requests()] == [1, 2]


def test_nothing_is_printed_for_a_request(
    sandbox: Sandbox, capfd: pytest.CaptureFixture[str]
) -> None:
    post(sandbox, a_call())
    post(sandbox, b"{")
    requests.get(f"{sandbox.url}/nothing", timeout=30)
    sandbox.faults = Faults(cut_rate=1)
    post_in_vain(sandbox)
    assert capfd.readouterr() == ("", "")


COMMAND = """
import argparse, sys
from gateway import sandbox
parser = argparse.ArgumentParser()
sandbox.add_arguments(parser)
sys.exit(sandbox.run(parser.parse_args()))
"""


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_the_command_says_where_it_is_and_ends_when_told(end: signal.Signals) -> None:
    command = [
        sys.executable,
        "-c",
        COMMAND,
        "--port",
        "0",
        "--tracking-id",
        "t-1",
        "--latency",
        "0.01",
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        line = child.stdout.readline()
        url = line.strip().partition("AWS_ENDPOINT_URL_PERSONALIZE_EVENTS=")[2]
        assert requests.get(f"{url}/faults", timeout=30).json()["latency"] == 0.01
        child.send_signal(end)
        assert child.wait(30) == 0
        assert child.communicate() == ("", "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--throttle-rate", "2"], "throttle_rate must be a number from 0 to 1"),
        (["--port", "99999"], "port must be 0-65535"),
    ],
)
def test_a_wrong_option_is_named(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert run(parser.parse_args(options)) == 1
    assert message in capsys.readouterr().err


def test_a_port_in_use_is_reported(sandbox: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert run(parser.parse_args(["--port", sandbox.url.rpartition(":")[2]])) == 1
    assert "in use" in capsys.readouterr().err


# The page


@pytest.fixture
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    for option in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options)
    try:
        yield browser
    finally:
        browser.quit()


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_page_shows_calls_as_they_come(sandbox: Sandbox, browser: webdriver.Chrome) -> None:
    post(sandbox, a_call(an_event(itemId="before")))
    browser.get(sandbox.url)

    def cards() -> list[str]:
        script = "return [...document.querySelectorAll('.call')].map(card => card.innerText)"
        return list(browser.execute_script(script))

    wait_for(lambda: len(cards()) == 1)
    hostile = "<img src=x onerror=alert(1)>"
    post(sandbox, a_call(an_event(itemId=hostile)))
    post(sandbox, a_call(an_event(itemId="i" * 257), sessionId="refused"))
    wait_for(lambda: len(cards()) == 3)
    newest, middle, oldest = cards()
    assert "400 InvalidInputException" in newest
    assert "length less than or equal to 256" in newest
    assert hostile in middle
    assert "before" in oldest
    browser.find_element(By.ID, "clear").click()
    wait_for(lambda: not cards())
    assert sandbox.requests() == []
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]


def test_the_page_shows_and_sets_faults(sandbox: Sandbox, browser: webdriver.Chrome) -> None:
    sandbox.faults = Faults(refuse_item_ids=("bad",))
    browser.get(sandbox.url)
    mood = browser.find_element(By.ID, "mood")
    wait_for(lambda: mood.text == "Misbehaving: refuse_item_ids bad")
    mood.click()
    rate = browser.find_element(By.NAME, "throttle_rate")
    rate.clear()
    rate.send_keys("0.5\n")
    wait_for(lambda: sandbox.faults == Faults(throttle_rate=0.5, refuse_item_ids=("bad",)))
    browser.find_element(By.ID, "behave").click()
    wait_for(lambda: sandbox.faults == Faults())
    wait_for(lambda: mood.text == "Well-behaved")


def test_the_page_fits_a_phone(sandbox: Sandbox, browser: webdriver.Chrome) -> None:
    phone = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    post(sandbox, a_call(an_event(itemId="i" * 256, properties=json.dumps({"k": "v" * 900}))))
    browser.get(sandbox.url)
    wait_for(lambda: len(browser.find_elements(By.CLASS_NAME, "call")) == 1)
    browser.execute_script("document.getElementById('panel').open = true")
    assert browser.execute_script("return document.documentElement.scrollWidth") == 360
