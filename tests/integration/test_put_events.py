"""The command put-events. That it does as AWS CLI does is shown in test_conformance.py."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.commands import put_events
from gateway.commands.put_events import options
from tests.helpers.support import TRACKING_ID

HERE = Path(__file__).parent
EVENT = "eventType=view,itemId=i1,sentAt=1700000000"
IDS = ["--tracking-id", "t", "--session-id", "s"]


@pytest.fixture
def called(monkeypatch):
    """What would have been sent, instead of sending it."""
    calls = []
    monkeypatch.setattr(
        put_events, "_call", lambda _options, parameters: calls.append(parameters) or 0
    )
    return calls


@pytest.fixture
def put(capsys):
    """Run the command; its exit status and what it wrote to stderr."""

    def run(*args):
        status = put_events.main(list(args))
        return status, capsys.readouterr().err

    return run


def test_the_yaml_skeleton_is_that_of_aws_cli_byte_for_byte(capsys):
    # skeleton.yaml is what AWS CLI 2.36.7 printed. Its comments are the service model's.
    assert put_events.main(["--generate-cli-skeleton", "yaml-input"]) == 0
    assert capsys.readouterr().out == (HERE / "conformance/skeleton.yaml").read_text()


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_a_skeleton_is_refused_until_it_is_filled_in(form, put, capsys, called):
    skeleton = "input" if form == "json" else "yaml-input"
    put_events.main(["--generate-cli-skeleton", skeleton])
    status, error = put(f"--cli-input-{form}", capsys.readouterr().out)
    assert (status, called) == (252, [])
    assert "Invalid length for parameter trackingId" in error


def test_a_yaml_skeleton_filled_in_is_sent(put, capsys, called):
    put_events.main(["--generate-cli-skeleton", "yaml-input"])
    filled_in = (
        capsys.readouterr().out.replace("''", "'x'").replace("properties: 'x'", "properties: '{}'")
    )
    assert put("--cli-input-yaml", filled_in) == (0, "")
    [event] = called[0]["eventList"]
    assert (event["sentAt"], event["eventValue"], event["impression"]) == (0, 0.0, ["x"])


@pytest.mark.parametrize(
    "args",
    [
        ["help"],
        ["--colour"],
        ["--generate-cli-skeleton"],
        ["--generate-cli-skeleton", "yaml-input"],
        [*IDS, "--event-list", "x"],
    ],
)
def test_commands_that_call_no_aws_do_not_import_boto3(args):
    script = (
        "import sys; from gateway.commands import put_events; put_events.main(sys.argv[1:]); "
        "assert not {'boto3', 'botocore.client', 'marshmallow', 'flask'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script, *args], check=True, capture_output=True)


def test_every_member_that_the_gateway_refuses_is_named(put, called):
    status, error = put(
        *IDS,
        "--user-id",
        "undefined",
        "--event-list",
        EVENT,
        f"{EVENT},impression={','.join('abcdefghijklmnopqrstuvwxyz')}",
        EVENT.replace("i1", "null") + ',properties=\'{"userId":"u"}\'',
    )
    assert (status, called) == (252, [])
    assert [line.partition(": ")[0] for line in error.splitlines()[2:]] == [
        "eventList[1].impression",
        "eventList[2].itemId",
        "eventList[2].properties.userId",
        "userId",
    ]


@pytest.mark.parametrize("option", options.UNSUPPORTED)
def test_options_that_would_mean_nothing_are_refused_with_the_reason(option, put, called):
    status, error = put(*IDS, "--event-list", EVENT, option)
    assert (status, called) == (252, [])
    assert f"{option} is not supported here: {options.UNSUPPORTED[option]}" in error


@pytest.fixture
def queue(environ, monkeypatch):
    """The gateway's set-up in the environment; what its queue holds."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    def rows():
        path = environ["GATEWAY_QUEUE"].removeprefix("sqlite:///")
        with closing(sqlite3.connect(path)) as db:
            return db.execute("SELECT site, session_id, user_id, event FROM queue").fetchall()

    return rows


@pytest.mark.parametrize("tracking_id", ["shop", TRACKING_ID])
def test_enqueue_hands_the_events_to_the_queue_instead(tracking_id, queue, put, called):
    options = ["--tracking-id", tracking_id, "--session-id", "s", "--user-id", "u"]
    assert put(*options, "--enqueue", "--event-list", EVENT, EVENT) == (0, "")
    assert called == []
    assert [row[:3] for row in queue()] == [("shop", "s", "u")] * 2
    first, second = (json.loads(row[3]) for row in queue())
    assert first.pop("eventId") != second.pop("eventId")
    assert first == second == {"eventType": "view", "itemId": "i1", "sentAt": 1700000000}


def test_the_queue_takes_a_file_of_more_events_than_a_request_may_have(queue, put, tmp_path):
    events = [{"eventType": "view", "sentAt": 1700000000 + n} for n in range(1234)]
    (tmp_path / "events.json").write_text(json.dumps(events))
    options = ["--tracking-id", "shop", "--session-id", "s", "--enqueue"]
    assert put(*options, "--event-list", f"file://{tmp_path}/events.json") == (0, "")
    assert [json.loads(row[3])["sentAt"] for row in queue()] == [e["sentAt"] for e in events]
    events[1000]["itemId"] = "null"
    (tmp_path / "events.json").write_text(json.dumps(events))
    status, error = put(*options, "--event-list", f"file://{tmp_path}/events.json")
    assert (status, "eventList[1000].itemId: " in error) == (252, True)
    assert len(queue()) == 1234  # all or none


@pytest.mark.parametrize(
    "option", ["--profile=x", "--region=eu-west-1", "--endpoint-url=http://x", "--no-sign-request"]
)
@pytest.mark.usefixtures("queue")
def test_what_has_no_effect_with_enqueue_is_not_ignored(option, put):
    options = ["--tracking-id", "shop", "--session-id", "s", "--event-list", EVENT]
    status, error = put(*options, "--enqueue", option)
    assert (status, f"{option.partition('=')[0]} has no effect" in error) == (252, True)


@pytest.mark.usefixtures("queue")
def test_enqueue_reports_a_wrong_set_up(put, monkeypatch):
    assert put(*IDS, "--enqueue", "--event-list", EVENT)[0] == 253  # no site `t`
    monkeypatch.setenv("GATEWAY_QUEUE_MAX_BYTES", "0")
    status, error = put("--tracking-id", "shop", *IDS[2:], "--enqueue", "--event-list", EVENT)
    assert (status, "the queue has reached 0 bytes" in error) == (255, True)


def test_an_interrupt_ends_quietly(put, monkeypatch):
    monkeypatch.setattr(put_events, "_call", mock.Mock(side_effect=KeyboardInterrupt))
    assert put(*IDS, "--event-list", EVENT) == (130, "")


def test_an_unexpected_error_is_reported_in_one_line(put, monkeypatch):
    monkeypatch.setattr(put_events, "_call", mock.Mock(side_effect=ValueError("odd")))
    assert put(*IDS, "--event-list", EVENT) == (255, f"\n{put_events.PROG}: [ERROR]: odd\n")


def test_help_names_every_option(capsys):
    assert put_events.main(["help"]) == 0
    shown = capsys.readouterr().out
    options = ["--tracking-id", "--user-id", "--session-id", "--event-list", "--cli-input-json"]
    options += ["--cli-input-yaml", "--generate-cli-skeleton", "--region", "--profile"]
    options += ["--endpoint-url", "--enqueue"]
    assert [option for option in options if option not in shown] == []


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


EVENTS = JSON.map(lambda value: [{"eventType": value, "sentAt": 1}]) | JSON.map(
    lambda value: [{"eventType": "view", "sentAt": value}]
)


@pytest.mark.filterwarnings("ignore::dateutil.parser.UnknownTimezoneWarning")
@settings(deadline=None)
@given(
    st.sampled_from(["--event-list", "--cli-input-json", "--cli-input-yaml", "--user-id"]),
    st.text() | (JSON | EVENTS).map(json.dumps),
)
def test_no_value_makes_it_stumble(option, value):
    with mock.patch.object(put_events, "_call", return_value=0):
        assert put_events.main([*IDS, "--event-list", EVENT, f"{option}={value}"]) in (0, 252)
