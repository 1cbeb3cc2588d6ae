"""`check`: each wrong set-up gets a cross, and a remedy that a person can follow."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from gateway.cli import main
from gateway.commands.check import aws
from gateway.sandbox import Sandbox
from tests.helpers.support import ROOT, TRACKING_ID, write_sites

SITE = f"""\
[sites.shop]
tracking_id = "{TRACKING_ID}"
origins = ["https://shop.example.com"]
region = "us-east-1"
"""
Findings = dict[str, dict[str, str | bool | None]]
Check = Callable[..., tuple[int, Findings]]


@pytest.fixture
def surroundings(environ: dict[str, str], sandbox: Sandbox, tmp_path: Path) -> dict[str, str]:
    """A set-up in order."""
    write_sites(Path(environ["GATEWAY_SITES"]), SITE)
    return {
        **environ,
        "HOME": str(tmp_path),
        "PATH": os.environ["PATH"],
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_ENDPOINT_URL_PERSONALIZE_EVENTS": sandbox.url,
    }


@pytest.fixture
def check(
    surroundings: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> Check:
    """Run it in this process: the exit status, and the findings by what they are about."""

    def run(*options: str, site: str = SITE, **changes: str | None) -> tuple[int, Findings]:
        write_sites(Path(surroundings["GATEWAY_SITES"]), site)
        merged = {**surroundings, **changes}
        monkeypatch.setattr(os, "environ", {k: v for k, v in merged.items() if v is not None})
        status = main(["check", "--json", *options])
        answer = json.loads(capsys.readouterr().out)
        assert answer["ok"] == (status == 0)
        for one in answer["checks"]:
            assert one["ok"] or one["remedy"], one
        return status, {one["what"]: one for one in answer["checks"]}

    return run


def assert_cross(result: tuple[int, Findings], what: str, text: str, remedy: str) -> None:
    status, findings = result
    assert status == 1
    [cross] = [one for one in findings.values() if not one["ok"]]
    assert cross["what"] == what
    assert text in str(cross["text"])
    assert remedy in str(cross["remedy"])


def test_a_valid_set_up_passes_every_check_and_sends_no_event(check, sandbox):
    status, findings = check()
    assert status == 0
    assert {"GATEWAY_QUEUE", "sites file", "queue", "clock", "site shop: credentials"} <= set(
        findings
    )
    assert "secret" not in json.dumps(findings).replace("GATEWAY_SECRET_KEY", "")
    assert sandbox.requests() == []


def test_a_test_event_goes_out_for_each_site_and_is_marked_as_one(check, sandbox):
    status, findings = check("--send-test")
    assert status == 0
    [call] = sandbox.requests()
    assert call["trackingId"] == TRACKING_ID
    assert [event["eventType"] for event in call["eventList"]] == ["personalize-gateway-check"]
    assert call["eventList"][0]["eventId"] in findings["site shop: test event"]["text"]


@pytest.mark.parametrize(
    ("changes", "what", "text", "remedy"),
    [
        ({"GATEWAY_QUEU": "x"}, "GATEWAY_QUEU", "did you mean GATEWAY_QUEUE?", "docs/settings.md"),
        ({"GATEWAY_SECRET_KEY": "change-me"}, "GATEWAY_SECRET_KEY", "placeholder", "token_hex"),
        ({"GATEWAY_ADMIN_TOKEN": "admin"}, "GATEWAY_ADMIN_TOKEN", "5 characters", "token_hex"),
        ({"GATEWAY_MAX_AGE": "x"}, "GATEWAY_MAX_AGE", "Not a valid integer", "docs/settings.md"),
        ({"WEB_CONCURRENCY": "two"}, "WEB_CONCURRENCY", "Not a valid integer", "docs/settings.md"),
        ({"GATEWAY_QUEUE": "mysql://x"}, "GATEWAY_QUEUE", "Write sqlite:///", "docs/settings.md"),
        ({"site": SITE.replace("region", "regoin")}, "sites file", "mean region?", "settings.md"),
        ({"site": SITE.replace(TRACKING_ID, "arn:aws:personalize:us-east-1:1:event-tracker/x")},
         "site shop: tracking ID", "an ARN", "describe-event-tracker"),
        ({"site": SITE.replace(TRACKING_ID, "8f3b1c5e-…")},
         "site shop: tracking ID", "cut short", "describe-event-tracker"),
        ({"site": SITE.replace('"https://shop.example.com"', "")},
         "site shop: origins", "nobody may send", "allow_missing_origin"),
        ({"site": SITE + 'cookie_domain = "example.org"', "GATEWAY_PUBLIC_URL": "https://e.example.com"},
         "site shop: cookie", "does not cover e.example.com", "Leave cookie_domain out"),
        ({"site": SITE + 'cookie_samesite = "None"', "GATEWAY_PUBLIC_URL": "http://e.example.com"},
         "site shop: cookie", "without https", "Serve the gateway on https"),
        ({"site": SITE.replace('region = "us-east-1"', "")},
         "site shop: region", "none", "AWS_DEFAULT_REGION"),
        ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
         "site shop: credentials", "none", "AWS_PROFILE"),
        ({"GATEWAY_MIN_FREE_BYTES": str(1 << 60)}, "queue", "disk_reserve", "Make room"),
        ({"GATEWAY_QUEUE": "sqlite:////proc/no/queue.db"}, "queue", "cannot_open", "a folder that"),
    ],
)  # fmt: skip
def test_a_failed_check_gets_a_cross_and_a_remedy(check, changes, what, text, remedy):
    assert_cross(check(**changes), what, text, remedy)


def test_a_missing_queue_is_reported_and_not_created(check, tmp_path):
    _, findings = check()
    assert "not there yet" in findings["queue"]["text"]
    assert not list(tmp_path.glob("queue.db*"))
    check(GATEWAY_MIN_FREE_BYTES=str(1 << 60))
    assert not list(tmp_path.glob("queue.db*"))


@pytest.mark.parametrize(("mode", "place"), [(0o555, "data/queue.db"), (0o600, "queue.db")])
def test_an_unwritable_folder_for_the_queue_is_reported(environ, mode, place):
    """By another process, as permissions do not bind root."""
    script = """
import os
from gateway.commands.check import queue
from gateway.queues.registry import find_queue
from gateway.settings import load
settings = load(os.environ)
find_queue(settings)  # all is imported while this user may read it
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
print(*queue.findings(settings))
"""
    with TemporaryDirectory() as folder:
        os.chmod(folder, mode)
        run = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True,
            env={**environ, "GATEWAY_QUEUE": f"sqlite:///{folder}/{place}"},
        )  # fmt: skip
    assert "read_only" in run.stdout, run.stderr
    assert "Let this user write the file and its folder" in run.stdout


def test_a_region_without_personalize_is_reported_before_a_call(check):
    changes = {"site": SITE.replace("us-east-1", "us-eat-1")}
    _, findings = check(AWS_ENDPOINT_URL_PERSONALIZE_EVENTS=None, **changes)
    assert "us-east-1" in findings["site shop: region"]["remedy"]


@pytest.mark.parametrize(
    ("changes", "what", "remedy"),
    [
        ({"site": SITE.replace(TRACKING_ID, "00000000-0000-0000-0000-000000000000")},
         "site shop: tracking ID", "A placeholder? Get yours with: aws personalize"),
        ({"site": SITE.replace(TRACKING_ID, "YOUR-TRACKING-ID")},
         "site shop: tracking ID", "A placeholder?"),
        ({"site": SITE.replace("us-east-1", "us-eat-1")},
         "site shop: region", "Update boto3"),
        ({"site": SITE + "anonymous_user_id = true\nvisitor_days = 30\n"},
         "site shop: anonymous users", "Leave anonymous_user_id out if visitors can ever log in"),
        ({"site": SITE + "anonymous_user_id = true\n"},
         "site shop: anonymous users", "set visitor_days, or each visit counts as another user"),
        ({"GATEWAY_PUBLIC_URL": "https://events.example.net"},
         "site shop: cookie", "https://shop.example.com is another site than events.example.net"),
        ({"GATEWAY_PUBLIC_URL": "https://events.other.co.uk",
          "site": SITE.replace("shop.example.com", "*.shop.co.uk")},
         "site shop: cookie", 'set cookie_samesite = "None"'),
        ({"GATEWAY_SECRET_KEY": None}, "GATEWAY_SECRET_KEY", "token_hex"),
    ],
)  # fmt: skip
def test_a_doubtful_setting_gets_a_tick_with_a_warning(check, changes, what, remedy):
    status, findings = check(**changes)
    assert status == 0, findings
    assert remedy in findings[what]["remedy"]


@pytest.mark.parametrize("public", ["https://events.example.com", "https://example.com/g"])
def test_a_gateway_on_the_shops_own_domain_gets_no_warning(check, public):
    _, findings = check(
        site=SITE.replace(TRACKING_ID, "5c1b8a52-1b7c-4e0e-9d61-3f0d6a2e7b94"),
        GATEWAY_PUBLIC_URL=public,
    )
    assert {one["what"]: one["remedy"] for one in findings.values() if one["remedy"]} == {}


class Aws(HTTPServer):
    """Answers everything with the same error, at a time of its own."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.error: tuple[int, str, str] = (404, "ResourceNotFoundException", "")
        self.ahead = timedelta()


class _Answer(BaseHTTPRequestHandler):
    server: Aws

    def do_POST(self) -> None:
        status, code, message = self.server.error
        asked = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.dumps({"__type": code, "message": message}).encode()
        if asked.startswith(b"Action="):  # STS
            error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
            body = f"<ErrorResponse>{error}</ErrorResponse>".encode()
        self.send_response(status)
        self.send_header("x-amzn-ErrorType", code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_POST

    def date_time_string(self, timestamp: float | None = None) -> str:
        return format_datetime(datetime.now(UTC) + self.server.ahead, usegmt=True)

    def log_message(self, *_what: object) -> None:
        """Nothing."""


@pytest.fixture
def other_aws() -> Iterator[Aws]:
    with Aws() as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "code", "message", "remedy"),
    [
        (400, "InvalidInputException", "Invalid tracking ID", "active event tracker"),
        (404, "ResourceNotFoundException", "no such thing", "the dataset group's own"),
        (409, "ResourceInUseException", "being created", "wait a minute"),
        (400, "ThrottlingException", "Rate exceeded", "quota"),
        (403, "AccessDeniedException", "not authorized", "docs/iam/forwarder.json"),
        (403, "UnrecognizedClientException", "the token is invalid", "access key is unknown"),
        (403, "InvalidSignatureException", "does not match", "access key is unknown"),
        (403, "InvalidSignatureException", "Signature expired: …", "clock"),
        (403, "ExpiredTokenException", "expired", "sign in again"),
        (403, "MissingAuthenticationTokenException", "missing", "Give the forwarder credentials"),
        (400, "InvalidInputException", "properties: price is required", "schema asks for more"),
        (500, "InternalServerException", "sorry", "try again"),
    ],
)
def test_each_of_awss_errors_gets_a_remedy_of_its_own(
    check, other_aws, status, code, message, remedy
):
    other_aws.error = status, code, message
    result = check("--send-test", AWS_ENDPOINT_URL_PERSONALIZE_EVENTS=other_aws.url)
    assert_cross(result, "site shop: test event", code, remedy)


def test_an_unreachable_endpoint_is_reported_by_the_event_and_clock_checks(check):
    nowhere = "http://127.0.0.1:9"
    _, findings = check("--send-test", AWS_ENDPOINT_URL_PERSONALIZE_EVENTS=nowhere)
    for what in ("site shop: test event", "clock"):
        assert "firewall" in findings[what]["remedy"]


@pytest.mark.parametrize(("ahead", "text"), [(-400, "ahead of AWS's"), (400, "behind AWS's")])
def test_a_wrong_clock_is_reported(check, other_aws, ahead, text):
    other_aws.ahead = timedelta(seconds=ahead)
    result = check(AWS_ENDPOINT_URL_PERSONALIZE_EVENTS=other_aws.url)
    assert_cross(result, "clock", text, "NTP")


def test_a_role_that_may_not_be_assumed_is_reported(check, other_aws):
    other_aws.error = 403, "AccessDenied", "not authorized to perform: sts:AssumeRole"
    site = SITE + 'role_arn = "arn:aws:iam::123456789012:role/x"'
    result = check(site=site, AWS_ENDPOINT_URL_STS=other_aws.url)
    assert_cross(result, "site shop: credentials", "AssumeRole", "trust policy")


def test_a_missing_aws_profile_is_reported(check):
    status, findings = check(AWS_PROFILE="nobody")
    assert status == 1
    assert "AWS_PROFILE" in findings["site shop: credentials"]["remedy"]


def test_every_remedy_names_a_document_that_exists():
    for text in aws.REMEDIES.values():
        for word in text.split():
            if word.startswith("docs/"):
                assert (ROOT / word).exists()


@pytest.mark.parametrize(("no_color", "colourful"), [("", True), ("1", False)])
def test_it_is_in_colour_on_a_terminal_unless_that_is_not_wanted(surroundings, no_color, colourful):
    terminal, its_end = pty.openpty()
    subprocess.run(
        [sys.executable, "-m", "gateway", "check"],
        cwd=ROOT, env={**surroundings, "NO_COLOR": no_color, "TERM": "xterm"}, stdout=its_end,
    )  # fmt: skip
    os.close(its_end)
    out = os.read(terminal, 100_000).decode()
    os.close(terminal)
    assert ("\x1b[32m✓" in out) == colourful
    assert "✓" in out
