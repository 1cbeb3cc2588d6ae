"""What PutEvents refuses stands in the dead letters, whole, and can be looked at and replayed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import product

import pytest

from gateway.sandbox import Faults
from tests.helpers.support import (
    ROOT,
    SITES,
    TRACKING_ID,
    Gateway,
    event,
    eventually,
    write_sites,
)

POISON = "poison"
HUGE = {"text": "ä€𝄞 \u2028 \" \\ ' <b>" * 45}  # nearly all of the 1024 characters there may be


@pytest.fixture
def gateway(running_gateway: Gateway) -> Iterator[Gateway]:
    """A gateway that delivers to a PutEvents that refuses one item; no dead letters yet."""
    running_gateway.sandbox.faults = Faults(refuse_item_ids=(POISON,))
    running_gateway.sandbox.clear()
    yield running_gateway
    output(running_gateway, "dead-letters", "purge")


def output(gateway: Gateway, *command: str) -> str:
    """What a command prints that has nothing to complain about."""
    run = gateway.operate(*command)
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout


def letters(gateway: Gateway) -> list[dict]:
    listing = output(gateway, "dead-letters", "list", "--json")
    return [json.loads(line) for line in listing.splitlines()]


def bury(gateway: Gateway, count: int = 1, **members) -> list[dict]:
    """Post events that are refused, among one of each session that passes; the refused ones."""
    refused = [event(**{"itemId": POISON, **members}) for _ in range(count)]
    for one in refused:
        passing = gateway.assert_accepted(event(), one, userId="u-17 ☃")[0]
        gateway.assert_delivered([passing])
    eventually(lambda: len(letters(gateway)) == count, "they are dead letters")
    return refused


def assert_empty(gateway: Gateway) -> None:
    status = json.loads(output(gateway, "queue", "status", "--json"))
    assert (status["queued"], status["dead"]) == (0, 0)


def test_lists_show_dead_letters_with_their_reasons(gateway):
    [one, two] = bury(gateway, 2)
    text = output(gateway, "dead-letters", "list").splitlines()
    listed = letters(gateway)
    assert [letter["event"]["eventId"] for letter in listed] == [one["eventId"], two["eventId"]]
    for letter, line, sent in zip(listed, text, (one, two), strict=True):
        assert set(letter) == {"id", "site", "reason", "message", "event"}
        assert (letter["site"], letter["reason"]) == ("shop", "refused")
        assert "Invalid item ID: poison" in letter["message"]
        for part in (letter["id"], "shop", sent["eventId"], "refused", "Invalid item ID: poison"):
            assert part in line


def test_what_visitors_send_can_write_nothing_into_the_operators_terminal(gateway):
    bury(gateway, eventId="a\n\x1b[2Jb\u2028c")
    listing = output(gateway, "dead-letters", "list")
    assert listing.rstrip("\n").isprintable()
    assert "a\\n\\x1b[2Jb" in listing


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_characters_that_the_output_cannot_encode_are_escaped(gateway, encoding, monkeypatch):
    bury(gateway, eventId=f"日本 {encoding}")
    monkeypatch.setitem(gateway.environ, "PYTHONIOENCODING", encoding)
    assert f"  \\u65e5\\u672c {encoding}  refused: " in output(gateway, "dead-letters", "list")
    forgotten = gateway.operate("forget", "--site", "shop", "--user", "u-17 ☃")
    assert forgotten.returncode == 0
    assert "u-17 \\u2603" in forgotten.stdout


def test_show_prints_the_whole_event_as_it_was_received_and_as_it_was_sent(gateway):
    before = time.time()
    [sent] = bury(gateway, properties=HUGE, sentAt="2026-01-01T00:00:00Z")
    [letter] = letters(gateway)
    shown = json.loads(output(gateway, "dead-letters", "show", letter["id"]))
    assert shown | letter == shown
    assert shown["received"] == sent
    assert json.loads(shown["event"]["properties"]) == HUGE
    assert shown["event"]["sentAt"] == 1767225600
    assert shown["userId"] == "u-17 ☃"
    assert shown["sessionId"]
    assert shown["attempts"] >= 2  # with its neighbour, and alone
    assert before <= shown["receivedAt"] <= shown["diedAt"] <= time.time()


def test_each_line_of_cli_input_json_is_taken_by_put_events(gateway):
    [one, two] = bury(gateway, 2, properties=HUGE)
    gateway.sandbox.faults = Faults()
    lines = output(gateway, "dead-letters", "list", "--format", "cli-input-json").splitlines()
    for line in lines:
        operate = ("put-events", "--region", "us-east-1", "--endpoint-url", gateway.sandbox.url)
        output(gateway, *operate, "--cli-input-json", line)
    arrived = gateway.sandbox.events()[-2:]
    assert [item["eventId"] for item in arrived] == [one["eventId"], two["eventId"]]
    for item in arrived:
        assert (item["trackingId"], item["userId"]) == (TRACKING_ID, "u-17 ☃")
        assert json.loads(item["properties"]) == HUGE


def test_replay_delivers_those_named_or_all_under_the_same_event_id(gateway):
    [one, two, three] = bury(gateway, 3, properties=HUGE)
    gateway.sandbox.faults = Faults()
    second = letters(gateway)[1]
    assert output(gateway, "dead-letters", "replay", second["id"]).startswith("1 in the queue")
    gateway.assert_delivered([two["eventId"]])
    assert [letter["event"]["eventId"] for letter in letters(gateway)] == [
        one["eventId"],
        three["eventId"],
    ]
    assert output(gateway, "dead-letters", "replay").startswith("2 in the queue")
    gateway.assert_delivered([one["eventId"], three["eventId"]])
    eventually(
        lambda: json.loads(output(gateway, "queue", "status", "--json"))["queued"] == 0, "drained"
    )
    assert_empty(gateway)
    for sent in (one, two, three):
        [arrived] = [item for item in gateway.sandbox.events() if item["itemId"] == POISON
                     and item["eventId"] == sent["eventId"]]  # fmt: skip
        assert json.loads(arrived["properties"]) == HUGE


def test_a_letter_that_is_refused_again_is_a_dead_letter_again(gateway):
    [sent] = bury(gateway)
    [first] = letters(gateway)
    output(gateway, "dead-letters", "replay")
    gateway.assert_accepted(event())  # so that the site accepts others
    [again] = eventually(
        lambda: [one for one in letters(gateway) if one["id"] != first["id"]], "it is back"
    )
    assert again["event"]["eventId"] == sent["eventId"]


def test_a_dead_letter_that_is_no_longer_valid_is_reported_and_stays(
    gateway, tmp_path, monkeypatch
):
    [view, buy] = [*bury(gateway, 1), event(itemId=POISON, eventType="purchase")]
    gateway.assert_accepted(event(), buy)
    eventually(lambda: len(letters(gateway)) == 2, "both are dead letters")
    gateway.sandbox.faults = Faults()
    only_purchases = 'event_types = ["purchase"]\n\n[sites.media]'
    sites = write_sites(tmp_path / "sites.toml", SITES.replace("[sites.media]", only_purchases))
    monkeypatch.setitem(gateway.environ, "GATEWAY_SITES", str(sites))

    run = gateway.operate("dead-letters", "replay")
    assert run.returncode == 1
    assert "1 in the queue again, 1 still not valid" in run.stdout
    [left] = letters(gateway)
    assert left["event"]["eventId"] == view["eventId"]
    assert left["id"] in run.stderr
    assert "event_types" in run.stderr
    gateway.assert_delivered([buy["eventId"]])


def test_purge_forgets_those_named_or_all(gateway):
    [_, two, _] = bury(gateway, 3)
    first, _, third = letters(gateway)
    assert output(gateway, "dead-letters", "purge", first["id"], third["id"]) == "2 forgotten\n"
    assert [letter["event"]["eventId"] for letter in letters(gateway)] == [two["eventId"]]
    assert output(gateway, "dead-letters", "purge") == "1 forgotten\n"
    assert_empty(gateway)


def test_an_unknown_id_is_reported_and_changes_nothing_else(gateway):
    bury(gateway)
    for command, name in product(("show", "replay", "purge"), ("4711", "nonsense", "-1")):
        run = gateway.operate("dead-letters", command, "--", name)
        assert run.returncode == 1
        assert f"There is no dead letter {name}" in run.stderr
    assert len(letters(gateway)) == 1


def test_queue_status_counts_events(gateway):
    bury(gateway, 2)
    began = time.time()
    gateway.sandbox.faults = Faults(latency=60)
    gateway.assert_accepted(event(), event(), event(), sessionId="s-1")
    gateway.assert_accepted(event(), event(), sessionId="s-2")

    def status() -> dict:
        return json.loads(output(gateway, "queue", "status", "--json"))

    eventually(lambda: status()["in_flight"] == 5, f"all are in flight: {status()}")
    counted = status()
    oldest = counted.pop("oldest_seconds")
    assert 0 < oldest <= time.time() - began
    assert counted == {"queued": 5, "in_flight": 5, "dead": 2}
    text = output(gateway, "queue", "status")
    assert text.startswith("5 queued, the oldest for ")
    assert text.endswith(" s; 5 in flight; 2 dead\n")

    gateway.sandbox.stop()  # cuts what is under way
    gateway.sandbox.faults = Faults()
    gateway.sandbox.start()
    eventually(
        lambda: status() == {"queued": 0, "in_flight": 0, "dead": 2, "oldest_seconds": None},
        "nothing waits",
    )


def test_a_closed_output_pipe_ends_a_command_quietly(environ):
    enough, output = os.pipe()
    os.close(enough)
    command = [sys.executable, "-m", "gateway", "queue", "status"]
    run = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environ}, stdout=output, stderr=subprocess.PIPE
    )
    os.close(output)
    assert (run.returncode, run.stderr) == (141, b"")


def test_a_full_disk_under_standard_output_gives_a_one_line_error(environ):
    with open("/dev/full", "wb") as full:
        run = subprocess.run(
            [sys.executable, "-m", "gateway", "queue", "status"],
            cwd=ROOT, env={**os.environ, **environ}, stdout=full, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    said = "personalize-gateway: [Errno 28] No space left on device\n"
    assert (run.returncode, run.stderr) == (1, said)


def test_a_command_without_standard_output_or_error_ends_well(environ):
    run = subprocess.run(
        ["sh", "-c", '"$0" -m gateway queue status >&- && "$0" -m gateway queue 2>&-; echo $?',
         sys.executable],
        cwd=ROOT, env={**os.environ, **environ}, capture_output=True, text=True,
    )  # fmt: skip
    assert (run.stdout, run.stderr) == ("2\n", "")
