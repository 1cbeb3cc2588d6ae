"""PutEvents through boto3 itself, over HTTP: what is sent, and what each answer means."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import pytest
from botocore.config import Config
from botocore.utils import parse_to_aware_datetime
from hypothesis import given
from hypothesis import strategies as st

from gateway.events.fields import LAST_SECOND
from gateway.forwarder import personalize
from gateway.forwarder.batching import Call, CallFailed, CallRejected, Misconfigured, Retry
from gateway.forwarder.personalize import Personalize
from gateway.queues import Delivery
from gateway.sandbox import Faults, Sandbox
from gateway.sites import Site, read_sites
from tests.helpers.queue_contract import record
from tests.helpers.secrecy import MARK
from tests.helpers.support import ROOT, TRACKING_ID, eventually, free_port, write_sites

ROLE = "arn:aws:iam::123456789012:role/events"
MORE_SITES = f"""
[sites.homeless]
tracking_id = "8f3b1c5e-0000-4000-8000-000000000004"
origins = []

[sites.rented]
tracking_id = "8f3b1c5e-0000-4000-8000-000000000005"
origins = []
region = "eu-central-1"
role_arn = "{ROLE}"
"""


class Request(NamedTuple):
    """An HTTP request as a stub received it."""

    headers: dict[str, str]
    body: bytes


class Stub:
    """An HTTP server that gives one answer to everything."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self.body = b""
        self.mode = "answer"  # or "cut", "hang", "drip"
        self.requests: list[Request] = []
        self._end = threading.Event()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                stub.requests.append(Request(dict(self.headers), body))
                if stub.mode == "hang":
                    stub._end.wait(30)
                if stub.mode == "drip":
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                    while not stub._end.wait(0.05):
                        try:
                            self.wfile.write(b" ")
                        except OSError:  # the client has given up
                            return
                if stub.mode != "answer":
                    return
                self.send_response(stub.status)
                for name, value in {**stub.headers, "Content-Length": len(stub.body)}.items():
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(stub.body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def answers(self, status: int, name: str = "", message: str = "", **headers: str) -> None:
        self.status = status
        self.headers = {"x-amzn-ErrorType": name, **headers} if name else headers
        self.body = json.dumps({"message": message}).encode() if message else b""

    def close(self) -> None:
        self._end.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def stub() -> Iterator[Stub]:
    stub = Stub()
    yield stub
    stub.close()


@pytest.fixture
def sts() -> Iterator[Stub]:
    stub = Stub()
    yield stub
    stub.close()


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Credentials by environment, and nothing of the machine's own."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDSOURCE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"aws-{MARK}")
    return monkeypatch


@pytest.fixture
def sites(tmp_path: Path) -> dict[str, Site]:
    path = write_sites(tmp_path / "sites.toml")
    path.write_text(path.read_text() + MORE_SITES)
    return dict(read_sites(path))


@pytest.fixture
def sender(sites: dict[str, Site]) -> Personalize:
    return Personalize(SimpleNamespace(sites=sites))


def call(site: str = "shop", user_id: str | None = None, *events: dict[str, Any]) -> Call:
    """A call of these events, or of one."""
    given = events or ({"eventId": "e-1", "eventType": "view", "sentAt": 1763880000.0},)
    taken = [
        Delivery(n, record(site, "s-1", user_id=user_id, event=json.dumps(event)), 0)
        for n, event in enumerate(given)
    ]
    return Call(site, "s-1", user_id, taken)


def to(aws: pytest.MonkeyPatch, url: str) -> None:
    aws.setenv("AWS_ENDPOINT_URL_PERSONALIZE_EVENTS", url)


def failure(sender: Personalize, what: Call) -> CallFailed:
    with pytest.raises(CallFailed) as raised:
        sender.send(what)
    assert raised.value.reason
    assert str(raised.value)
    return raised.value


# --- what is sent ---


def test_a_call_bears_the_sites_tracking_id_and_the_events_as_they_are(aws, sandbox, sender):
    to(aws, sandbox.url)
    full = {
        "eventId": "e-1",
        "eventType": "purchase",
        "eventValue": 9.5,
        "itemId": "i-é",
        "properties": '{"quantity": 2}',
        "sentAt": 1763880000.0,
        "recommendationId": "r-1",
        "impression": ["i-1", "i-2"],
        "metricAttribution": {"eventAttributionSource": "mail"},
    }
    least = {"eventId": "e-2", "eventType": "view", "sentAt": 1763880001.0}
    sender.send(call("shop", "u-17", full, least))
    [received] = sandbox.requests()
    assert received["trackingId"] == TRACKING_ID
    assert received["sessionId"] == "s-1"
    assert received["userId"] == "u-17"
    assert received["eventList"] == [full, least]
    assert received["ignored"] == []


def test_an_anonymous_call_has_no_user_id_at_all(aws, stub, sender):
    to(aws, stub.url)
    sender.send(call())
    assert "userId" not in json.loads(stub.requests[0].body)


@pytest.mark.parametrize(
    ("site", "region"), [("shop", "us-east-1"), ("media", "eu-west-1"), ("homeless", "ap-south-1")]
)
def test_a_call_goes_to_the_sites_region_or_else_to_the_environments(
    aws, sandbox, sender, sites, site, region
):
    to(aws, sandbox.url)
    aws.setenv("AWS_DEFAULT_REGION", "ap-south-1")
    sender.send(call(site))
    [received] = sandbox.requests()
    assert (received["region"], received["trackingId"]) == (region, sites[site].tracking_id)


def test_many_threads_may_send(aws, sandbox, sender):
    to(aws, sandbox.url)
    errors: list[BaseException] = []

    def send(site: str) -> None:
        try:
            for _ in range(10):
                sender.send(call(site))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=send, args=[s]) for s in ["shop", "media", "servers"] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(sandbox.events()) == 120


# --- what the answers mean ---

EXPIRED = "The security token included in the request is expired"
PASSING = [
    (400, "ThrottlingException", "throttled"),
    (429, "TooManyRequestsException", "throttled"),
    (429, "", "throttled"),
    (500, "InternalServerException", "aws_error"),
    (502, "", "aws_error"),
    (503, "ServiceUnavailable", "aws_error"),
    (504, "", "aws_error"),
    (409, "ResourceInUseException", "aws_error"),
    (408, "RequestTimeout", "aws_error"),
]
TO_BE_MENDED = [
    (403, "AccessDeniedException", "not authorized", "access_denied"),
    (403, "UnrecognizedClientException", "The security token is invalid", "access_denied"),
    (403, "ExpiredTokenException", EXPIRED, "access_denied"),
    (403, "InvalidSignatureException", "Signature expired", "access_denied"),
    (401, "", "", "access_denied"),
    (404, "ResourceNotFoundException", "No such tracker", "not_found"),
    (400, "InvalidInputException", "Invalid tracking ID: x", "tracking_id"),
    (400, "InvalidInputException", "No such trackingId", "tracking_id"),
    (400, "InvalidInputException", "The event tracker is being deleted", "tracking_id"),
    (400, "ExpiredTokenException", EXPIRED, "unknown_error"),
    (400, "ResourceNotFoundException", "No such dataset", "unknown_error"),
    (400, "", "", "unknown_error"),  # of some proxy
    (418, "Teapot", "Short and stout", "unknown_error"),
]
REFUSED = [
    (400, "InvalidInputException", "Invalid item ID"),
    (400, "ValidationException", "1 validation error detected"),
    (400, "SerializationException", "STRING_VALUE can not be converted to a Float"),
    (413, "RequestEntityTooLargeException", "Too large"),
    (413, "", ""),
]


@pytest.mark.parametrize(("status", "name", "reason"), PASSING)
def test_faults_that_pass_are_to_be_retried(aws, stub, sender, status, name, reason):
    to(aws, stub.url)
    stub.answers(status, name, "Try again")
    error = failure(sender, call())
    assert (type(error), error.reason) == (Retry, reason)
    assert len(stub.requests) == 1  # boto3 does not try again by itself


@pytest.mark.parametrize(("status", "name", "message", "reason"), TO_BE_MENDED)
def test_configuration_errors_reject_no_event(aws, stub, sender, status, name, message, reason):
    to(aws, stub.url)
    stub.answers(status, name, message)
    error = failure(sender, call())
    assert (type(error), error.reason) == (Misconfigured, reason)
    assert message in str(error)
    assert len(stub.requests) == 1


@pytest.mark.parametrize(("status", "name", "message"), REFUSED)
def test_a_refused_value_is_reported_with_the_reason(aws, stub, sender, status, name, message):
    to(aws, stub.url)
    stub.answers(status, name, message)
    error = failure(sender, call())
    assert (type(error), error.reason) == (CallRejected, "refused")
    assert message in str(error)
    assert len(stub.requests) == 1


QUOTED = [
    ({"itemId": "tracking-id-5"}, "tracking-id-5"),
    ({"impression": ["i-1", "Event Tracker"]}, "Event Tracker"),
    ({"metricAttribution": {"eventAttributionSource": "trackingId"}}, "trackingId"),
    ({"properties": '{"trackingId": "x"}'}, "trackingId"),
    ({"properties": r'{"how": "event\u0022tracker"}'}, 'event"tracker'),
]


@pytest.mark.parametrize(("members", "quoted"), QUOTED)
def test_a_refusal_that_quotes_an_event_is_not_taken_for_the_sites_fault(
    aws, stub, sender, members, quoted
):
    to(aws, stub.url)
    event = {"eventId": "e-1", "eventType": "view", "sentAt": 1763880000.0, **members}
    stub.answers(400, "InvalidInputException", f"Invalid value: {quoted}")
    assert type(failure(sender, call("shop", None, event))) is CallRejected
    stub.answers(400, "InvalidInputException", "Invalid tracking ID: x")
    assert type(failure(sender, call("shop", None, event))) is Misconfigured


def test_a_refusal_that_quotes_a_visitor_is_not_taken_for_the_sites_fault(aws, stub, sender):
    to(aws, stub.url)
    stub.answers(400, "InvalidInputException", "Invalid value: tracking-id-5")
    assert type(failure(sender, call("shop", "tracking-id-5"))) is CallRejected
    assert type(failure(sender, call()._replace(session_id="tracking-id-5"))) is CallRejected
    assert type(failure(sender, call("shop", "u-17"))) is Misconfigured


@pytest.mark.parametrize("status", [400, 403, 500])
def test_a_message_can_be_stored_whatever_is_in_it(aws, stub, sender, status):
    to(aws, stub.url)
    stub.answers(status, "InvalidInputException", "Value \ud83d is not é")
    assert str(failure(sender, call())).endswith("Value ? is not é")


@pytest.mark.parametrize("body", [b"<html>Bad gateway</html>", b"", b"{", b"{}", b'{"message": 1}'])
def test_an_answer_that_is_not_awss_is_sorted_by_its_status(aws, stub, sender, body):
    to(aws, stub.url)
    stub.answers(502)
    stub.body = body
    assert type(failure(sender, call())) is Retry


@given(st.floats(0, LAST_SECOND))
def test_a_time_is_sent_as_boto3_sends_the_number(seconds):
    ours = personalize._event(json.dumps({"sentAt": seconds}))["sentAt"]
    assert parse_to_aware_datetime(ours) == parse_to_aware_datetime(seconds)


@pytest.mark.parametrize(
    ("faults", "kind", "reason"),
    [
        (Faults(throttle_rate=1.0), Retry, "throttled"),
        (Faults(error_rate=1.0), Retry, "aws_error"),
        (Faults(cut_rate=1.0), Retry, "unreachable"),
        (Faults(access_denied_tracking_ids=(TRACKING_ID,)), Misconfigured, "access_denied"),
        (Faults(refuse_tracking_ids=(TRACKING_ID,)), Misconfigured, "tracking_id"),
        (Faults(refuse_item_ids=("i-9",)), CallRejected, "refused"),
    ],
)
def test_the_sandboxs_faults_are_sorted_like_awss(aws, sandbox, sender, faults, kind, reason):
    to(aws, sandbox.url)
    sandbox.faults = faults
    event = {"eventId": "e", "eventType": "view", "itemId": "i-9", "sentAt": 1763880000.0}
    error = failure(sender, call("shop", None, event))
    assert (type(error), error.reason) == (kind, reason)
    sandbox.faults = Faults()
    sender.send(call("shop", None, event))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("0", 0.0), (None, 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0), ("-1", 0.0),
     ("²", 0.0)],
)  # fmt: skip
@pytest.mark.parametrize(
    ("status", "name"), [(429, "ThrottlingException"), (503, "ServiceUnavailable")]
)
def test_retry_after_is_read_where_it_is_seconds(aws, stub, sender, status, name, header, seconds):
    to(aws, stub.url)
    stub.answers(status, name, "Later", **({} if header is None else {"Retry-After": header}))
    error = failure(sender, call())
    assert isinstance(error, Retry)
    assert error.retry_after == seconds


# --- when nothing answers ---


def test_a_refused_connection_is_retried(aws, sender):
    to(aws, f"http://127.0.0.1:{free_port()}")
    error = failure(sender, call())
    assert (type(error), error.reason) == (Retry, "unreachable")


def test_a_name_that_does_not_resolve_is_retried(aws, sender):
    to(aws, "http://nowhere.invalid")
    assert type(failure(sender, call())) is Retry


@pytest.mark.parametrize("mode", ["cut", "hang"])
def test_a_connection_that_is_cut_or_hangs_is_retried_and_used_once(aws, stub, sites, mode):
    to(aws, stub.url)
    aws.setattr(personalize, "CONFIG", personalize.CONFIG.merge(_short()))
    stub.mode = mode
    sender = Personalize(SimpleNamespace(sites=sites))
    error = failure(sender, call())
    assert (type(error), error.reason) == (Retry, "unreachable")
    assert len(stub.requests) == 1
    stub.mode = "answer"
    sender.send(call())


def _short() -> Any:

    return Config(read_timeout=0.2)


def test_an_answer_cut_short_is_retried(aws, stub, sender):
    to(aws, stub.url)
    stub.answers(503, "ServiceUnavailable", "Later")
    stub.headers["Content-Length"] = "1000"
    stub_body = stub.body

    class Longer(bytes):
        def __len__(self) -> int:
            return 1000

    stub.body = Longer(stub_body)
    assert type(failure(sender, call())) is Retry


DRIPPED = """
from gevent import monkey
monkey.patch_all(select=False)
import sys
from pathlib import Path
from types import SimpleNamespace
from gateway.forwarder import personalize
from gateway.forwarder.batching import Call, Retry
from gateway.sites import read_sites

personalize.CALL_SECONDS = 1.0
sender = personalize.Personalize(SimpleNamespace(sites=read_sites(Path(sys.argv[1]))))
try:
    sender.send(Call("shop", "s-1", None, []))
except Retry as error:
    print(error.reason, error)
"""


def test_an_answer_that_drips_is_given_up(aws, stub, tmp_path):
    to(aws, stub.url)
    stub.mode = "drip"
    sites = write_sites(tmp_path / "sites.toml")
    command = [sys.executable, "-c", DRIPPED, str(sites)]
    run = subprocess.run(command, cwd=ROOT, timeout=60, capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("unreachable no complete answer within 1 s\n", "")
    assert len(stub.requests) == 1


# --- set-up ---


def test_sites_with_regions_or_roles_of_their_own_share_what_boto3_knows_of_aws():
    """Each had its own copy of AWS's descriptions: 7 MiB."""
    script = """
import sys, types
from gateway.forwarder.personalize import session
def memory():
    return int(open("/proc/self/statm").read().split()[1]) * 4 / 1024
def client(region):
    site = types.SimpleNamespace(region=region, role_arn=sys.argv[1] or None)
    return session(site).create_client("personalize-events", region_name=region)
clients = [client("us-east-1")]
before = memory()
clients += [client(f"us-east-{number}") for number in range(2, 12)]
print((memory() - before) / 10)
"""
    for role in ("", ROLE):
        command = [sys.executable, "-c", script, role]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert float(run.stdout) < 2  # MiB for each


def test_a_site_that_is_not_in_the_sites_file_waits(sender):
    error = failure(sender, call("removed"))
    assert (type(error), error.reason) == (Misconfigured, "unknown_site")
    assert "sites.removed" in str(error)


def test_a_sites_own_endpoint_takes_its_calls_and_no_others(aws, stub, sandbox, sites):
    to(aws, stub.url)
    aws.setenv("AWS_DEFAULT_REGION", "us-east-1")
    apart = replace(sites["homeless"], region="us-east-1", endpoint_url=sandbox.url)
    sender = Personalize(SimpleNamespace(sites={**sites, "homeless": apart}))
    for site in "shop", "homeless":
        sender.send(call(site))
    [elsewhere] = stub.requests
    assert json.loads(elsewhere.body)["trackingId"] == TRACKING_ID
    assert [received["trackingId"] for received in sandbox.requests()] == [apart.tracking_id]


def test_without_a_region_a_site_waits(aws, stub, sender):
    to(aws, stub.url)
    error = failure(sender, call("homeless"))
    assert (type(error), error.reason) == (Misconfigured, "aws_setup")
    assert "region" in str(error)


def test_without_credentials_a_site_waits_until_there_are_some(aws, sandbox, sender, tmp_path):
    to(aws, sandbox.url)
    aws.delenv("AWS_ACCESS_KEY_ID")
    aws.delenv("AWS_SECRET_ACCESS_KEY")
    error = failure(sender, call())
    assert (type(error), error.reason) == (Misconfigured, "aws_setup")
    assert "credentials" in str(error)
    _write_credentials(tmp_path, "AKIDLATE")
    sender.send(call())
    assert sandbox.requests()[-1]["accessKeyId"] == "AKIDLATE"


def test_credentials_that_are_replaced_after_a_denial_are_used(aws, stub, sender, tmp_path):
    to(aws, stub.url)
    aws.delenv("AWS_ACCESS_KEY_ID")
    aws.delenv("AWS_SECRET_ACCESS_KEY")
    _write_credentials(tmp_path, "AKIDOLD")
    stub.answers(403, "ExpiredTokenException", EXPIRED)
    failure(sender, call())
    _write_credentials(tmp_path, "AKIDNEW")
    stub.answers(200)
    sender.send(call())
    assert [_key(request) for request in stub.requests] == ["AKIDOLD", "AKIDNEW"]


@pytest.mark.parametrize("other", ["media", "servers"])  # in another region, and in the same
def test_a_slow_look_up_of_credentials_holds_up_no_other_site(
    aws, sandbox, sender, sites, tmp_path, other
):
    to(aws, sandbox.url)
    aws.delenv("AWS_ACCESS_KEY_ID")
    aws.delenv("AWS_SECRET_ACCESS_KEY")
    gate, looked_up = tmp_path / "gate", tmp_path / "looked-up"
    gate.touch()
    program = tmp_path / "program"
    program.write_text(
        f"echo x >> {looked_up}; until [ -e {gate} ]; do sleep 0.02; done; echo"
        """ '{"Version": 1, "AccessKeyId": "AKIDSLOW", "SecretAccessKey": "s"}'\n"""
    )
    (tmp_path / "config").write_text(f"[default]\ncredential_process = sh {program}\n")
    sender.send(call("shop"))
    sandbox.faults = Faults(access_denied_tracking_ids=(sites[other].tracking_id,))
    failure(sender, call(other))
    before = len(looked_up.read_text())
    gate.unlink()
    again = threading.Thread(target=failure, args=[sender, call(other)], daemon=True)
    again.start()
    eventually(lambda: len(looked_up.read_text()) > before, "credentials are looked up anew")
    healthy = threading.Thread(target=sender.send, args=[call("shop")], daemon=True)
    healthy.start()
    healthy.join(5)
    held_up = healthy.is_alive()
    gate.touch()
    again.join()
    healthy.join()
    assert not held_up


def _write_credentials(folder: Path, key: str) -> None:
    (folder / "credentials").write_text(
        f"[default]\naws_access_key_id = {key}\naws_secret_access_key = s\n"
    )


def test_a_profile_that_is_not_there_makes_the_site_wait(aws, stub, sender):
    to(aws, stub.url)
    aws.setenv("AWS_PROFILE", "nobody")
    error = failure(sender, call())
    assert (type(error), error.reason) == (Misconfigured, "aws_setup")
    assert "nobody" in str(error)


def _key(request: Request) -> str:
    """The access key that a request is signed with."""
    found = re.search(r"Credential=(\w+)/", request.headers["Authorization"])
    assert found
    return found[1]


# --- roles ---


def _assume(sts: Stub, key: str) -> None:
    expiry = datetime.now(UTC) + timedelta(hours=1)
    sts.answers(200, **{"Content-Type": "text/xml"})
    sts.body = f"""\
<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
<AssumedRoleUser><Arn>{ROLE}/x</Arn><AssumedRoleId>A:x</AssumedRoleId></AssumedRoleUser>
<Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>
<SessionToken>the-token</SessionToken><Expiration>{expiry:%Y-%m-%dT%H:%M:%SZ}</Expiration>
</Credentials></AssumeRoleResult></AssumeRoleResponse>""".encode()


def _deny(sts: Stub, status: int, code: str, message: str) -> None:
    sts.answers(status, **{"Content-Type": "text/xml"})
    sts.body = f"""\
<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>
<Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>""".encode()


@pytest.fixture
def rented(aws: pytest.MonkeyPatch, stub: Stub, sts: Stub, sites: dict[str, Site]) -> Personalize:
    """The sender of a site with a role, whose STS and PutEvents are stubs."""
    to(aws, stub.url)
    aws.setenv("AWS_ENDPOINT_URL_STS", sts.url)
    return Personalize(SimpleNamespace(sites=sites))


def test_a_sites_role_is_assumed_once_and_signs_its_calls(rented, stub, sts):
    _assume(sts, "ASIAASSUMED")
    rented.send(call("rented"))
    rented.send(call("rented"))
    [asked] = sts.requests
    query = parse_qs(asked.body.decode())
    assert (query["Action"], query["RoleArn"]) == (["AssumeRole"], [ROLE])
    assert _key(asked) == "AKIDSOURCE"
    for request in stub.requests:
        assert _key(request) == "ASIAASSUMED"
        assert request.headers["X-Amz-Security-Token"] == "the-token"
        assert "/eu-central-1/personalize/" in request.headers["Authorization"]


def test_a_site_without_a_role_beside_it_signs_with_its_own_credentials(rented, stub, sts):
    _assume(sts, "ASIAASSUMED")
    rented.send(call("rented"))
    rented.send(call("shop"))
    assert [_key(request) for request in stub.requests] == ["ASIAASSUMED", "AKIDSOURCE"]


@pytest.mark.parametrize(
    ("status", "code", "kind", "reason"),
    [
        (403, "AccessDenied", Misconfigured, "access_denied"),
        (403, "ExpiredToken", Misconfigured, "access_denied"),
        (400, "ValidationError", Misconfigured, "unknown_error"),
        (400, "ValidationException", Misconfigured, "unknown_error"),  # of an event, it would be
        (400, "Throttling", Retry, "throttled"),
        (503, "ServiceUnavailable", Retry, "aws_error"),
    ],
)
def test_a_role_that_cannot_be_assumed_is_no_events_fault(
    rented, stub, sts, status, code, kind, reason
):
    _deny(sts, status, code, "is not authorized to perform: sts:AssumeRole")
    error = failure(rented, call("rented"))
    assert (type(error), error.reason) == (kind, reason)
    assert len(sts.requests) == 1
    assert stub.requests == []
    _assume(sts, "ASIAASSUMED")
    rented.send(call("rented"))
    assert _key(stub.requests[-1]) == "ASIAASSUMED"


def test_an_sts_that_hangs_is_not_waited_for_long(aws, rented, sts):
    aws.setattr(personalize, "CONFIG", personalize.CONFIG.merge(_short()))
    sts.mode = "hang"
    started = time.monotonic()
    error = failure(rented, call("rented"))
    assert type(error) is Retry
    assert time.monotonic() - started < 10  # botocore's own would be five times a minute
    assert len(sts.requests) == 1
    sts.mode = "answer"
    _assume(sts, "ASIAASSUMED")
    rented.send(call("rented"))


def test_a_role_without_credentials_to_assume_it_with_waits(aws, rented, tmp_path, sts):
    aws.delenv("AWS_ACCESS_KEY_ID")
    aws.delenv("AWS_SECRET_ACCESS_KEY")
    error = failure(rented, call("rented"))
    assert (type(error), error.reason) == (Misconfigured, "aws_setup")
    _write_credentials(tmp_path, "AKIDLATE")
    _assume(sts, "ASIAASSUMED")
    rented.send(call("rented"))
    assert _key(sts.requests[0]) == "AKIDLATE"


def test_the_sandbox_takes_what_is_sent_through_a_role(aws, sandbox: Sandbox, sts, sites):
    to(aws, sandbox.url)
    aws.setenv("AWS_ENDPOINT_URL_STS", sts.url)
    _assume(sts, "ASIAASSUMED")
    Personalize(SimpleNamespace(sites=sites)).send(call("rented", "u-1"))
    assert sandbox.requests()[0]["accessKeyId"] == "ASIAASSUMED"
