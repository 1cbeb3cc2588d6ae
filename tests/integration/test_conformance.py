"""The real `aws personalize-events put-events` and ours, given the same, send the same.

AWS CLI v2 is not on PyPI: v1 stands in for it, and what v1 lacks is written out in the table.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.commands.put_events import shorthand
from tests.helpers.secrecy import MARK
from tests.integration.conformance import events, grammar, options
from tests.integration.conformance.case import FILES, USAGE, Case

ROOT = Path(__file__).resolve().parents[2]
AWS_VENV = ROOT / ".venv-awscli"
UV = [Path(sys.executable).with_name("uv"), "--quiet"]
OURS = [sys.executable, "-m", "gateway", "put-events"]

TABLE = [
    *events.SHORTHAND,
    *events.JSON_EVENTS,
    *events.FILE_EVENTS,
    *events.TIMES,
    *options.PLAIN,
    *options.INPUT,
    *options.YAML_INPUT,
    *options.SKELETONS,
    *options.GLOBAL,
    *options.ANSWERS,
    *options.DIFFERENCES,
]


class Sent(NamedTuple):
    body: object
    credential: str  # key and scope of the signature, without the date


class Outcome(NamedTuple):
    status: int
    output: str
    errors: str
    sent: list[Sent]


class Service(ThreadingHTTPServer):
    """Records what it gets by the path before `/events`, and answers as the case says."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Recorder)
        self.sent: dict[str, list[Sent]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Recorder(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        scope = self.headers.get("Authorization", "").partition("Credential=")[2].split(",")[0]
        credential = "/".join(scope.split("/")[:1] + scope.split("/")[2:])
        path, _, operation = self.path.rpartition("/")
        assert operation == "events"
        self.server.sent.setdefault(path, []).append(Sent(body, credential))
        answer = b"" if "/200/" in path else b'{"message": "no"}'
        self.send_response(int(path.split("/")[1]))
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture(scope="session")
def aws() -> list[str]:
    """AWS CLI v1 in its own virtual environment (it pins botocore), made once and kept."""
    done = AWS_VENV / ".installed"
    if not done.exists():
        python = AWS_VENV / "bin/python"
        subprocess.run([*UV, "venv", "--clear", "--python", sys.executable, AWS_VENV], check=True)
        pip = [*UV, "pip", "install", "--compile-bytecode", "--python", python, "awscli"]
        subprocess.run(pip, check=True)
        done.touch()
    return [str(AWS_VENV / "bin/aws"), "personalize-events", "put-events"]


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    with Service() as server:
        threading.Thread(target=server.serve_forever).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="session")
def outcomes(
    request: pytest.FixtureRequest,
    aws: list[str],
    service: Service,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[tuple[str, str], Future[Outcome]]]:
    """What both commands do with every case selected, run side by side."""
    home = tmp_path_factory.mktemp("home")
    for name, content in FILES.items():
        (home / name).write_bytes(content)
    selected = [
        item.callspec.params.get("case")
        for item in request.session.items
        if hasattr(item, "callspec")
    ]
    cases = [case for case in selected if isinstance(case, Case)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {
            (who, case.name): pool.submit(_run, who, command, case, service, home)
            for case in cases
            for who, command in (("aws", aws), ("ours", OURS))
            if not (who == "aws" and case.v1_lacks)
        }


def _run(who: str, command: list[str], case: Case, service: Service, home: Path) -> Outcome:
    path = f"/{case.answer}/{who}/{TABLE.index(case)}"
    args, env = list(case.args), _environment(case, home)
    if not any("{url}" in text for text in [*args, *env.values()]):
        args = ["--endpoint-url", "{url}", *args]
    url = service.url + path
    done = subprocess.run(
        [*command, *(arg.replace("{url}", url) for arg in args)],
        env={name: text.replace("{url}", url) for name, text in env.items()},
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return Outcome(done.returncode, done.stdout, done.stderr, service.sent.get(path, []))


def _environment(case: Case, home: Path) -> dict[str, str]:
    """Nothing of this machine's own set-up, and no second attempts."""
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "AWS_ACCESS_KEY_ID": "EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": f"aws-{MARK}",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
        **case.env,
    }
    return {name: text for name, text in env.items() if text is not None}


PARSE = """
import json, sys
from awscli.shorthand import ShorthandParseError, ShorthandParser

def parse(text):
    try:
        return ShorthandParser().parse(text)
    except ShorthandParseError:
        return None

print(json.dumps([parse(text) for text in json.load(sys.stdin)]))
"""


@pytest.mark.usefixtures("aws")
def test_shorthand_reads_as_with_aws_cli() -> None:
    texts = [*grammar.WRITTEN, *grammar.random_texts(seed=1, count=20_000)]
    theirs = subprocess.run(
        [AWS_VENV / "bin/python", "-c", PARSE],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=True,
    )
    expected = dict(zip(texts, json.loads(theirs.stdout), strict=True))
    assert {text: _parsed(text) for text in texts} == expected
    assert sum(value is not None for value in expected.values()) > len(texts) / 10


def _parsed(text: str) -> dict[str, object] | None:
    try:
        return shorthand.parse(text)
    except shorthand.ShorthandError:
        return None


def test_the_table_names_each_case_once_and_has_at_least_sixty() -> None:
    names = [case.name for case in TABLE]
    assert len(names) == len(set(names)) >= 60


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)
def test_both_send_the_same(case: Case, outcomes: dict[tuple[str, str], Future[Outcome]]) -> None:
    ours = outcomes["ours", case.name].result()
    assert ours.status == case.status, ours.errors
    assert "Traceback" not in ours.errors
    assert bool(ours.errors) == bool(ours.status) or "Warning" in ours.errors
    if case.v1_lacks:
        assert [sent.body for sent in ours.sent] == ([] if case.sent is None else [case.sent])
        return
    theirs = outcomes["aws", case.name].result()
    if case.differs:
        assert (theirs.status, ours.status, ours.sent) == (0, USAGE, []), theirs.errors
        assert theirs.sent
        return
    assert (ours.status == 0) == (theirs.status == 0), theirs.errors
    assert (ours.sent, ours.output) == (theirs.sent, theirs.output)
