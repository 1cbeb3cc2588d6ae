"""A web worker has no AWS credentials and no way to use any, and its answers give little away."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from gateway.sandbox import Sandbox
from tests.helpers.support import ADMIN_TOKEN, Gateway, environment, event

CREDENTIALS = {"AWS_SECRET_ACCESS_KEY": "AWS-KEY-OF-THE-TEST", "AWS_REGION": "us-east-1"}


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["usual", "preload"])
def test_a_worker_has_dropped_what_the_forwarder_delivers_with(
    gateway: Gateway, options: tuple[str, ...]
) -> None:
    gateway.app = "tests.helpers.probe:app"
    gateway.start(*options, **CREDENTIALS)
    for _ in range(4):  # of either worker, before and after its first event
        found = requests.get(f"{gateway.url}/probe", timeout=10).json()
        for names in found["environ"], found["started_with"]:
            assert "GATEWAY_QUEUE" in names
            assert [name for name in names if name.startswith("AWS")] == []
        assert not found["knows_the_key"]
        assert [name for name in found["modules"] if name.startswith("boto")] == []
        gateway.assert_delivered(gateway.assert_accepted(event()))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("served")
    with Sandbox(port=0) as sandbox:
        gateway = Gateway(folder, environment(folder), sandbox)
        yield gateway.start(GATEWAY_DEMO=sandbox.url, GATEWAY_ADMIN_TOKEN=ADMIN_TOKEN)
        gateway.stop()


@pytest.mark.parametrize(
    ("path", "corp"),
    [
        ("/demo/", "same-origin"),
        ("/healthz", "same-origin"),
        ("/readyz", "same-origin"),
        ("/metrics", "same-origin"),
        ("/events", "same-origin"),
        ("/nope", "same-origin"),
        ("/static/pz.js", "cross-origin"),
        ("/static/demo/index.html", "cross-origin"),
        ("/static/nope.js", "cross-origin"),
    ],
)
def test_every_answer_says_how_it_is_to_be_taken(served: Gateway, path: str, corp: str) -> None:
    answer = requests.get(served.url + path, timeout=10)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cross-Origin-Resource-Policy"] == corp
    assert answer.headers["Server"] == "gunicorn"  # of which version is nobody's business
    assert "X-Powered-By" not in answer.headers
    policy = answer.headers.get("Content-Security-Policy", "")
    if answer.headers["Content-Type"].startswith("text/html"):
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
