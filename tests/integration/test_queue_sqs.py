"""The queue on SQS: the contract of every queue, and what SQS's end of it alone promises."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from gateway.cli import main
from gateway.forwarder.metrics_server import health
from gateway.queues import ForwarderStatus, QueueUnavailable, Rejection, Status
from gateway.queues.sqs import admin, message_format
from gateway.queues.sqs.client import Queue
from gateway.queues.sqs.dead_letters import SqsDeadLetters
from gateway.queues.sqs.in_flight import Message
from gateway.queues.sqs.receiver import redrive_target
from gateway.settings import load
from gateway.strict_schema import SettingsError
from tests.helpers import queue_contract as contract
from tests.helpers.queue_contract import drain, ids, receive, receive_all, record
from tests.helpers.sqs_backend import SqsBackend, moto_server
from tests.helpers.sqs_proxy import SqsProxy
from tests.helpers.support import eventually


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture
def backend(server: str, monkeypatch: pytest.MonkeyPatch) -> SqsBackend:
    return SqsBackend(server, monkeypatch)


@pytest.fixture
def proxied(server: str, backend: SqsBackend) -> Iterator[SqsProxy]:
    """Something between the queue and all that is opened from now on."""
    with SqsProxy(server) as proxy:
        backend.url = backend.url.replace(server, proxy.url)
        yield proxy


class TestSqs(contract.QueueContract, contract.SitesApart):
    """What holds for every queue."""


KILOBYTE = '{"eventType": "' + "x" * 1000 + '"}'


# --- the web end ---


def test_callers_that_wait_together_share_calls_and_each_hears_of_its_own(backend, proxied):
    proxied.refuse_entries = lambda entry: "doomed" in entry["MessageBody"]
    inbox, verdicts = backend.inbox(), {}

    def put(name: str) -> None:
        try:
            verdicts[name] = inbox.put([record(site=name, event_id=name)])
        except QueueUnavailable as error:
            verdicts[name] = error.reason

    names = [f"doomed-{n}" if n % 3 == 0 else f"fine-{n}" for n in range(24)]
    proxied.hold("SendMessageBatch")
    threads = [threading.Thread(target=put, args=[name]) for name in names]
    for thread in threads:
        thread.start()
    eventually(lambda: len(proxied.waiting) == 1 and len(inbox._group._waiting) >= 22, "all wait")
    proxied.release()
    for thread in threads:
        thread.join()
    assert {name for name, verdict in verdicts.items() if verdict == [True]} == {
        name for name in names if "fine" in name
    }
    assert {verdicts[name] for name in names if "doomed" in name} == {"sqs_failed"}
    assert sorted(ids(drain(backend.outbox()))) == sorted(n for n in names if "fine" in n)
    assert len(proxied.actions("SendMessageBatch")) <= 8  # 4 calls, each tried twice


def test_an_entry_that_failed_once_is_retried_and_acknowledged(backend, proxied):
    seen: Counter[str] = Counter()

    def first_time(entry: dict[str, Any]) -> bool:
        seen[entry["MessageBody"]] += 1
        return seen[entry["MessageBody"]] == 1

    proxied.refuse_entries = first_time
    assert backend.inbox().put([record("shop"), record("media")]) == [True, True]
    assert len(proxied.actions("SendMessageBatch")) == 2
    assert backend.messages() == 2


def test_many_callers_of_a_site_are_packed_only_as_far_as_it_saves_calls():
    few = message_format.chunks([record(session_id="a")]) * 10
    assert [len(message.chunks) for message in message_format.pack(few)] == [1] * 10
    many = message_format.pack(message_format.chunks([record()]) * 101)
    assert len(many) <= 10
    assert sorted(number for message in many for number in message.chunks) == [*range(101)]
    sites = message_format.pack(
        [chunk for n in range(40) for chunk in message_format.chunks([record(f"site-{n}")])]
    )
    assert len(sites) == 40  # one site's trouble never drags another's events along
    assert [len(call) for call in message_format.calls(sites)] == [10] * 4


def test_what_is_too_long_for_a_message_is_split_and_for_a_call_too(backend):
    records = [record(session_id=f"s-{n}", event="x" * 20_000 + "ä€𝄞") for n in range(60)]
    assert len(backend.inbox().put(records)) == 60
    assert {item.record for item in drain(backend.outbox())} == set(records)
    for call in message_format.calls(message_format.pack(message_format.chunks(records))):
        assert sum(len(message.body) for message in call) <= message_format.BATCH_BYTES


@pytest.mark.parametrize("original", ["x" * 300_000, "\t" * 130_000])
def test_an_original_that_no_message_could_hold_is_left_out_and_its_event_is_not(backend, original):
    short, long = record(event_id="short", received="{}"), record(received=original)
    assert backend.inbox().put([short, long]) == [True, True]
    taken = {item.record for item in drain(backend.outbox())}
    assert taken == {short, long._replace(received=None)}


def test_an_event_that_no_message_could_hold_is_refused_with_a_reason(backend):
    with pytest.raises(QueueUnavailable) as refusal:
        backend.inbox().put([record(event="x" * 300_000)])
    assert refusal.value.reason == "sqs_too_large"


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("throttle", "sqs_throttled"),
        ("denied", "sqs_denied"),
        ("missing", "sqs_missing"),
        ("error", "sqs_failed"),
        ("cut", "sqs_unreachable"),
        ("garbage", "sqs_failed"),
    ],
)
def test_a_failure_has_a_reason_and_readiness_shows_it_for_a_while(backend, proxied, fault, reason):
    inbox = backend.inbox()
    inbox.check()
    proxied.fault = fault
    for attempt in (lambda: inbox.put([record()]), inbox.check):
        with pytest.raises(QueueUnavailable) as trouble:
            attempt()
        assert trouble.value.reason == reason
    backend.pass_time(16)
    inbox.check()  # it may be tried again
    proxied.fault = None
    inbox.put([record(event_id="x")])
    inbox.check()
    assert "x" in ids(drain(backend.outbox()))


# --- the forwarder end ---


def test_the_lease_is_renewed_while_the_work_lasts_and_ends_with_a_crash(backend):
    backend.inbox().put([record(event_id="x")])
    mine, other = backend.outbox(), backend.outbox()
    assert ids(receive(mine)) == ["x"]
    for _ in range(20):
        backend.pass_time(20)
        mine.tidy()
        assert receive(other) == []
    backend.pass_time(61)  # it has crashed
    assert ids(receive(other)) == ["x"]


@pytest.mark.parametrize("seconds", [1, 5, 300])
def test_the_lease_is_the_queues_own_whatever_it_is(backend, seconds):
    Queue(backend.url).call("set_queue_attributes", Attributes={"VisibilityTimeout": str(seconds)})
    backend.inbox().put([record(event_id="x")])
    assert ids(receive(backend.outbox())) == ["x"]
    other, lease = backend.outbox(), max(3, seconds)
    backend.pass_time(lease - 0.5)
    assert receive(other) == []
    backend.pass_time(1)
    assert ids(receive(other)) == ["x"]


def test_a_message_that_lapsed_under_way_is_still_deleted_once_it_is_done(backend):
    backend.inbox().put([record(event_id="x")])
    outbox = backend.outbox()
    taken = receive(outbox)
    backend.pass_time(61)
    assert receive(outbox) == []  # received again, and known
    outbox.settle(taken, [], [])
    assert backend.messages() == 0


def test_a_message_is_deleted_only_when_each_of_its_records_is_settled(backend):
    backend.inbox().put([record(session_id=f"s-{n}", event_id=f"e-{n}") for n in range(3)])
    outbox = backend.outbox()
    first, second, third = receive(outbox)
    outbox.settle([first], [Rejection(second, "refused", "", 1)], [])
    assert backend.messages() == 1
    outbox.settle([], [], contract.released([third], delay=30))
    assert backend.messages() == 1
    backend.pass_time(31)
    [again] = receive(outbox)  # of the three, this alone
    assert again.record == third.record
    outbox.settle([again], [], [])
    assert backend.messages() == 0


def test_deletes_are_batched(backend, proxied):
    inbox = backend.inbox()
    for number in range(30):
        inbox.put([record(session_id=str(number))])
    outbox = backend.outbox()
    outbox.settle(receive_all(outbox), [], [])
    assert len(proxied.actions("DeleteMessageBatch")) == 3
    assert backend.messages() == 0


def test_what_can_not_be_deleted_now_is_deleted_later_and_not_sent_again(backend, proxied):
    backend.inbox().put([record()])
    outbox = backend.outbox()
    taken = receive(outbox)
    proxied.fault = "error"
    outbox.settle(taken, [], [])  # raises nothing
    with pytest.raises(QueueUnavailable):
        outbox.tidy()
    proxied.fault = None
    outbox.tidy()
    assert receive(outbox) == []
    assert backend.messages() == 0


def test_a_site_without_capacity_gives_its_messages_back_and_others_pass(backend):
    inbox = backend.inbox()
    for number in range(30):
        inbox.put([record("broken", str(number), event=KILOBYTE, received_at=backend.clock())])
    outbox = backend.outbox()

    assert receive(outbox, {"fine": 16}) == []
    backend.pass_time(6)
    outbox.tidy()
    assert outbox._in_flight.messages == {}
    assert int(backend.attributes()["ApproximateNumberOfMessagesNotVisible"]) == 30
    inbox.put([record("fine", event_id="fine")])
    assert ids(receive(outbox, {"fine": 16})) == ["fine"]
    backend.pass_time(11)
    assert len(drain(outbox)) == 30  # mended


def test_an_outage_of_twelve_days_stays_below_the_redrive_count(backend):
    outbox, age, receipts = backend.outbox(), 0.0, 0
    born = backend.clock()
    message = Message("m", "r", 0.0, [record(received_at=born)], {0: 0})
    while age < 12 * 86_400:
        age += outbox._delay(message) + 6
        backend.clock.now = born + age
        receipts += 1
    assert 100 < receipts < admin.RECEIVES / 2


def test_what_is_past_its_age_is_received_whatever_capacity_there_is(backend):
    backend.inbox().put([record(event_id="old", received_at=backend.clock() - 100), record()])
    outbox = backend.outbox(max_age=99)
    assert ids(receive(outbox, 0)) == ["old"]


def test_unsettled_records_are_released_at_once_on_shutdown(backend):
    inbox = backend.inbox()
    for number in range(15):
        inbox.put([record(session_id=str(number))])
    outbox = backend.outbox()
    taken = receive(outbox, 5)
    outbox.settle(taken[:2], [], [])
    outbox.close()
    assert len(receive_all(backend.outbox())) == 13


def test_an_end_without_sqs_raises_nothing(backend, proxied):
    backend.inbox().put([record()])
    outbox = backend.outbox()
    receive(outbox)
    proxied.fault = "cut"
    outbox.close()


def test_only_so_much_is_received_ahead(backend):
    inbox = backend.inbox()
    for _ in range(30):
        inbox.put([record(session_id=f"s-{n}") for n in range(100)])
    outbox = backend.outbox()
    receive(outbox, 0)
    assert 1000 <= outbox._in_flight.waiting <= 2000


FOREIGN = [
    "not JSON", "[]", "{}", '{"v": 2, "site": "shop", "records": []}', "[" * 100_000,
    '{"v": 1, "site": 7, "records": []}', '{"v": 1, "site": "shop", "records": [[1]]}',
]  # fmt: skip


def test_messages_that_are_not_ours_are_counted_and_left_to_the_redrive_policy(backend):
    for body in FOREIGN:
        Queue(backend.url).call("send_message", MessageBody=body)
    backend.inbox().put([record(event_id="ours")])
    outbox = backend.outbox()
    assert ids(drain(outbox)) == ["ours"]
    assert outbox.unknown_messages == len(FOREIGN)
    with pytest.raises(QueueUnavailable, match=r"not a message of ours|not JSON"):
        outbox.tidy()
    assert backend.messages() == len(FOREIGN)


# --- dead letters ---


def test_a_dead_letter_bears_its_reason_as_attributes(backend):
    backend.inbox().put([record()])
    outbox = backend.outbox()
    [item] = receive(outbox)
    outbox.settle([], [Rejection(item, "refused", "Invalid \u0000 item", 3)], [])
    [message] = Queue(backend.dead_url).call("receive_message", MessageAttributeNames=["All"])[
        "Messages"
    ]
    facts = {name: one["StringValue"] for name, one in message["MessageAttributes"].items()}
    assert facts == {
        "reason": "refused", "message": "Invalid ? item", "site": "shop", "attempts": "3"
    }  # fmt: skip


def test_an_event_that_can_not_be_rejected_is_kept_and_tried_again(backend):
    Queue(backend.url).call("set_queue_attributes", Attributes={"RedrivePolicy": ""})
    backend.inbox().put([record(event_id="poison"), record(session_id="s-2")])
    outbox = backend.outbox()
    poison, other = receive(outbox)
    outbox.settle([other], [Rejection(poison, "refused", "no", 1)], [])
    with pytest.raises(QueueUnavailable) as trouble:
        outbox.tidy()
    assert trouble.value.reason == "sqs_no_dead_letters"
    backend.pass_time(61)
    assert ids(receive(outbox)) == ["poison"]


def _reject(backend: SqsBackend, count: int) -> None:
    backend.inbox().put([record(session_id=f"s-{n}", event_id=f"e-{n}") for n in range(count)])
    outbox = backend.outbox()
    rejections = [Rejection(item, "refused", "no", 1) for item in receive_all(outbox)]
    outbox.settle([], rejections, [])


def test_dead_letters_are_listed_again_and_again(backend):
    _reject(backend, 25)
    for _ in range(3):
        assert sorted(ids(one.record for one in backend.dead())) == sorted(
            f"e-{n}" for n in range(25)
        )


def test_replayed_letters_are_in_the_queue_and_purged_ones_nowhere(backend):
    _reject(backend, 25)
    letters = backend.dead_letters()
    for number, letter in enumerate(letters.list()):
        if number % 2:
            letters.purge([letter])
        else:
            letters.replay([(letter, letter.record)])
    assert backend.dead() == []
    assert len(drain(backend.outbox())) == 13


@pytest.mark.parametrize(
    ("command", "output"),
    [("purge", "27 forgotten\n"), ("replay", "27 in the queue again, 0 still not valid\n")],
)
def test_letters_are_deleted_before_others_are_given_back(
    backend, proxied, environ, monkeypatch, capsys, command, output
):
    """Some servers take a receipt for void once its message may be received again."""
    _reject(backend, 27)
    for name, value in {**environ, "GATEWAY_QUEUE": backend.url}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GATEWAY_DEAD_LETTER_QUEUE", f"{backend.url}-dead")
    assert main(["dead-letters", command]) == 0
    assert capsys.readouterr().out == output
    assert backend.dead() == []
    deletions = proxied.actions("DeleteMessageBatch", "ChangeMessageVisibilityBatch")[-3:]
    assert deletions == ["DeleteMessageBatch"] * 3


def test_letters_that_are_not_deleted_are_given_back(backend):
    _reject(backend, 27)
    with closing(backend.dead_letters()) as letters:
        for letter in letters.list():
            if letter.record.event_id != "e-3":
                letters.purge([letter])
    assert ids(letter.record for letter in backend.dead()) == ["e-3"]


def test_a_letter_that_sqs_delivers_twice_is_listed_once(backend, proxied):
    _reject(backend, 3)
    proxied.repeat_messages = True
    letters = SqsDeadLetters(Queue(backend.url), Queue(f"{backend.url}-dead"))
    listed = [letter.record.event_id for letter in letters.list()]
    assert sorted(listed) == ["e-0", "e-1", "e-2"]


def test_what_is_rejected_again_during_a_replay_is_not_replayed_for_ever(backend):
    _reject(backend, 3)
    letters = backend.dead_letters()
    backend.pass_time(3)
    for count, letter in enumerate(letters.list()):
        assert count < 3
        letters.replay([(letter, letter.record)])
        backend.pass_time(10)
        outbox = backend.outbox()
        outbox.settle([], [Rejection(one, "refused", "no", 1) for one in receive_all(outbox)], [])
    letters.close()
    assert len(backend.dead()) == 3


def test_a_message_that_sqs_itself_moved_is_one_letter_for_each_record(backend):
    records = [record(event_id=f"e-{n}") for n in range(3)]
    [chunk] = message_format.chunks(records)
    dead = Queue(backend.dead_url)
    dead.call("send_message", MessageBody=message_format.body(chunk.site, chunk.rows))
    dead.call("send_message", MessageBody="not ours")
    letters = backend.dead_letters()
    assert [(one.reason, one.record) for one in letters.list()] == [
        ("redriven", one) for one in records
    ]
    for letter in letters.list():
        letters.replay([(letter, letter.record)])
    letters.close()
    assert backend.dead() == []
    assert ids(drain(backend.outbox())) == ["e-0", "e-1", "e-2"]
    assert int(backend.attributes(backend.dead_url)["ApproximateNumberOfMessages"]) == 1


# --- what operators ask ---


def test_forget_and_trace_know_the_dead_letters_and_say_that_the_rest_can_not_be_searched(
    backend, environ, monkeypatch, capsys, tmp_path
):
    for number, user in enumerate(("ann", "bob")):
        sent = json.dumps({"eventType": "view", "eventId": f"e-{number}"})
        one = record(user_id=user, event_id=f"e-{number}", event=sent)
        backend.inbox().put([one])
    outbox = backend.outbox()
    outbox.settle([], [Rejection(item, "refused", "no", 1) for item in receive_all(outbox)], [])
    for name, value in {**environ, "GATEWAY_QUEUE": backend.url}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)  # the trail's place
    assert main(["forget", "--site", "shop", "--user", "ann", "--hold", "30"]) == 1
    assert "--hold needs a queue on SQLite" in capsys.readouterr().err
    assert main(["forget", "--site", "shop", "--user", "ann"]) == 0
    told = capsys.readouterr()
    assert "Forgotten: 1 dead letters, 0 steps" in told.err
    assert "What waits in this queue can't be searched" in told.err
    assert [one.record.user_id for one in backend.dead()] == ["bob"]
    assert main(["trace", "e-0"]) == 1
    assert "An SQS queue can't be searched" in capsys.readouterr().err
    assert main(["trace", "--json", "e-1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["queued"], found["lives"]) == (None, None)
    assert [letter["reason"] for letter in found["deadLetters"]] == ["refused"]


def test_the_queue_is_made_with_sane_settings_and_again_does_no_harm(backend):
    made = backend.attributes()
    assert (made["VisibilityTimeout"], made["MessageRetentionPeriod"]) == ("60", "1209600")
    assert made["SqsManagedSseEnabled"] == "true"
    assert json.loads(made["RedrivePolicy"])["maxReceiveCount"] in (1000, "1000")
    dead = backend.attributes(backend.dead_url)
    assert (dead["MessageRetentionPeriod"], dead["SqsManagedSseEnabled"]) == ("1209600", "true")
    assert admin.create(backend.url, None) == [backend.url, backend.dead_url]


def test_the_status_is_about_messages_and_null_where_sqs_does_not_say(backend):
    _reject(backend, 2)
    inbox = backend.inbox()
    for _ in range(3):
        inbox.put([record()])
    assert admin.status(backend.url, None) == Status(3, 0, 2, None)
    receive(backend.outbox())
    assert admin.status(backend.url, backend.dead_url) == Status(0, 3, 2, None)
    Queue(backend.url).call("set_queue_attributes", Attributes={"RedrivePolicy": ""})
    assert admin.status(backend.url, None).dead is None


def test_the_redrive_target_is_found_without_asking():
    policy = '{"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:210987654321:dead"}'
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/events"
    assert redrive_target(url, {"RedrivePolicy": policy}) == (
        "https://sqs.eu-west-1.amazonaws.com/210987654321/dead"
    )
    assert redrive_target(url, {}) is None


@pytest.mark.parametrize(
    ("url", "region", "endpoint"),
    [
        ("https://sqs.eu-west-1.amazonaws.com/1/q", "eu-west-1", "https://sqs.eu-west-1.amazonaws.com"),
        ("https://sqs.cn-north-1.amazonaws.com.cn/1/q", "cn-north-1", "https://sqs.cn-north-1.amazonaws.com.cn"),
        ("https://eu-west-1.queue.amazonaws.com/1/q", "eu-west-1", "https://sqs.eu-west-1.amazonaws.com"),
        ("http://localhost:4566/000000000000/q", "us-east-2", "http://localhost:4566"),
    ],
)  # fmt: skip
def test_region_and_endpoint_are_the_urls(monkeypatch, url, region, endpoint):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-2")
    client = Queue(url)._opened()
    assert (client.meta.region_name, client.meta.endpoint_url) == (region, endpoint)


# --- settings ---


SQS = "https://sqs.us-east-1.amazonaws.com/123456789012/events"


def test_with_sqs_the_age_is_twelve_days_at_most(environ):
    environ["GATEWAY_QUEUE"] = SQS
    assert load(environ).max_age == 12 * 86_400
    assert load({**environ, "GATEWAY_MAX_AGE": "60"}).max_age == 60
    with pytest.raises(SettingsError, match=r"^GATEWAY_MAX_AGE: at most 1036800 \(12 days\)"):
        load({**environ, "GATEWAY_MAX_AGE": "1036801"})


@pytest.mark.parametrize(
    "change",
    [
        {"GATEWAY_DEAD_LETTER_QUEUE": SQS},  # with SQLite
        {"GATEWAY_QUEUE": SQS, "GATEWAY_DEAD_LETTER_QUEUE": SQS},
        {"GATEWAY_QUEUE": SQS, "GATEWAY_DEAD_LETTER_QUEUE": "arn:aws:sqs:us-east-1:1:dead"},
        {"GATEWAY_QUEUE": f"{SQS}.fifo"},
        {"GATEWAY_QUEUE": "https://"},
    ],
)
def test_contradictions_stop_the_start(environ, change):
    with pytest.raises(SettingsError, match=r"^GATEWAY_(DEAD_LETTER_)?QUEUE: "):
        load({**environ, **change})


# --- a forwarder's own health ---


def test_a_loop_that_is_stuck_is_not_healthy():
    assert health(None, 0.0)[0] == 200  # it waits for its turn
    status = ForwarderStatus(0.0, 3, {"shop": "throttled"})
    assert health(status, 1.0)[0] == 200
    code, body = health(status, 11.0)
    assert (code, body["status"], body["in_flight"]) == (503, "stuck", 3)
