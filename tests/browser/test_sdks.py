"""AWS's SDKs, unmodified but for the endpoint: each records a batch and gets typed errors.

boto3, and the JavaScript SDK under Node and bundled into a page of another origin. What else npm
is good for, too: the snippet's types.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from selenium.webdriver import Chrome

from tests.helpers.browsers import chromium
from tests.helpers.support import ORIGIN, ROOT, SITES, Gateway, event, write_sites

SOURCES = ROOT / "tests/sdk"
CACHE = ROOT / ".cache/js-sdk"
Outcome = dict[str, Any]

# Every member, text from far away, and as many as one call of AWS's holds.
BATCH = [
    event(
        eventType="purchase",
        eventValue=24.5,
        itemId=f"größe-{number}-日本-🫖",
        properties=json.dumps({"colour": "blue", "size": str(number)}),
        sentAt=1_763_880_000 + number,
        recommendationId="RID-1",
        impression=["i-1", "i-2"],
        metricAttribution={"eventAttributionSource": "spring mailing"},
    )
    for number in range(10)
]
TOO_LONG = [event(sentAt=1_763_880_000, impression=[f"i-{n}" for n in range(26)])]
PLAIN = [event(sentAt=1_763_880_000)]


def calls(site: str) -> list[dict[str, Any]]:
    """PutEvents calls: a good one, a bad one, and one for a site that doesn't exist."""
    who = {"sessionId": "s-1", "userId": "u-17"}
    return [
        {"trackingId": site, **who, "eventList": BATCH},
        {"trackingId": site, **who, "eventList": TOO_LONG},
        {"trackingId": "nowhere", **who, "eventList": PLAIN},
    ]


def assert_recorded_and_refused(gateway: Gateway, outcomes: list[Outcome]) -> None:
    """The good batch arrives as it was sent; the other calls' errors are the SDK's own."""
    recorded, bad, unknown = outcomes
    assert recorded == {"status": 204}  # AWS answers 200
    assert bad == {
        "status": 400,
        "error": "InvalidInputException",
        "message": "No event of the list is valid",
        "typed": True,
    }
    assert unknown == {
        "status": 404,
        "error": "ResourceNotFoundException",
        "message": "No site has this trackingId",
        "typed": False,  # PutEvents' model has no such error: SDKs know it by name
    }
    gateway.assert_delivered(sent["eventId"] for sent in BATCH)
    [call] = gateway.sandbox.requests()
    assert (call["sessionId"], call["userId"]) == ("s-1", "u-17")
    assert call["eventList"] == BATCH


def with_boto3(endpoint: str, calls: list[dict[str, Any]]) -> list[Outcome]:
    client = boto3.client(
        "personalize-events",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    outcomes: list[Outcome] = []
    for call in calls:
        try:
            answer = client.put_events(**call)
            outcomes.append({"status": answer["ResponseMetadata"]["HTTPStatusCode"]})
        except ClientError as error:
            outcomes.append(
                {
                    "status": error.response["ResponseMetadata"]["HTTPStatusCode"],
                    "error": error.response["Error"]["Code"],
                    "message": error.response["Error"]["Message"],
                    "typed": isinstance(error, client.exceptions.InvalidInputException),
                }
            )
    return outcomes


@pytest.fixture(scope="module")
def javascript() -> Path:
    """A folder with our scripts and what they need of npm, which is installed once."""
    CACHE.mkdir(parents=True, exist_ok=True)
    lock, installed = SOURCES / "package-lock.json", CACHE / "installed.json"
    for source in SOURCES.iterdir():
        shutil.copy(source, CACHE)
    if not installed.exists() or installed.read_text() != lock.read_text():
        run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=CACHE)
        shutil.copy(lock, installed)
    return CACHE


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def page_with(script: Path) -> Iterator[str]:
    """The address of a page that loads this script, on an origin of its own."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_script = self.path == "/page.js"
            page = b"<!doctype html><title>Shop</title><script src=/page.js></script>"
            self.send_response(200)
            self.send_header("Content-Type", "text/javascript" if is_script else "text/html")
            self.end_headers()
            self.wfile.write(script.read_bytes() if is_script else page)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def in_page(browser: Chrome, endpoint: str, calls: list[dict[str, Any]]) -> list[Outcome]:
    code = "const [endpoint, calls, done] = arguments; putEvents(endpoint, calls).then(done)"
    outcomes: list[Outcome] = browser.execute_async_script(code, endpoint, calls)
    return outcomes


def test_boto3_records_a_batch_and_gets_typed_errors(gateway: Gateway) -> None:
    gateway.start()
    assert_recorded_and_refused(gateway, with_boto3(gateway.url, calls("servers")))


def test_the_javascript_sdk_under_node_records_a_batch_and_gets_typed_errors(
    gateway: Gateway, javascript: Path
) -> None:
    gateway.start()
    said = run("node", "node.mjs", gateway.url, json.dumps(calls("servers")), cwd=javascript)
    assert_recorded_and_refused(gateway, json.loads(said))


def test_the_javascript_sdk_in_a_page_records_a_batch_and_gets_typed_errors(
    gateway: Gateway, javascript: Path, tmp_path: Path
) -> None:
    esbuild = javascript / "node_modules/.bin/esbuild"
    bundle = tmp_path / "page.js"
    run(
        esbuild, "page.mjs", "--bundle", "--platform=browser", f"--outfile={bundle}", cwd=javascript
    )
    with page_with(bundle) as origin, chromium(tmp_path / "profile") as browser:
        write_sites(tmp_path / "sites.toml", SITES.replace(ORIGIN, origin))
        gateway.start()
        browser.get(origin)
        assert_recorded_and_refused(gateway, in_page(browser, gateway.url, calls("shop")))


def test_typescript_takes_the_snippets_calls_and_no_others(javascript: Path) -> None:
    options = ["--noEmit", "--strict", "--target", "es2020", "--lib", "es2020,dom", "--types"]
    types = ROOT / "static/pz.d.ts"
    run(javascript / "node_modules/.bin/tsc", *options, "", types, "snippet.ts", cwd=javascript)
