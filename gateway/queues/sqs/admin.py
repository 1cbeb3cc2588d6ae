"""What operators ask of the queue itself: what waits, is it there, and make it."""

from __future__ import annotations

import json

from gateway.queues import QueueError, QueueUnavailable, Status
from gateway.queues.sqs.client import Queue
from gateway.queues.sqs.receiver import redrive_target

DEAD_SUFFIX = "-dead"
ATTRIBUTES = {
    "VisibilityTimeout": "60",
    "MessageRetentionPeriod": str(14 * 24 * 60 * 60),  # SQS's maximum
    "ReceiveMessageWaitTimeSeconds": "20",
    "SqsManagedSseEnabled": "true",
}
RECEIVES = 1000  # before SQS itself moves a message to the dead letters: none of ours gets there


def status(url: str, dead_letters: str | None) -> Status:
    """What waits, in messages, and about: SQS knows no better, and not how old the oldest is."""
    names = [
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesDelayed",
        "ApproximateNumberOfMessagesNotVisible",
        "RedrivePolicy",
    ]
    found = Queue(url).call("get_queue_attributes", AttributeNames=names)["Attributes"]
    counts = {name: int(found.get(name, 0)) for name in names[:3]}
    dead = dead_letters or redrive_target(url, found)
    return Status(
        counts["ApproximateNumberOfMessages"] + counts["ApproximateNumberOfMessagesDelayed"],
        counts["ApproximateNumberOfMessagesNotVisible"],
        None if dead is None else _count(dead),
        None,
    )


def dead_letter_url(url: str, dead_letters: str | None) -> str:
    """Where the dead letters are. Raises QueueError where that is nowhere."""
    if dead_letters is None:
        answer = Queue(url).call("get_queue_attributes", AttributeNames=["RedrivePolicy"])
        dead_letters = redrive_target(url, answer.get("Attributes", {}))
    if dead_letters is None:
        raise QueueUnavailable(
            "sqs_no_dead_letters",
            "GATEWAY_DEAD_LETTER_QUEUE is not set, and the queue has no redrive target",
        )
    return dead_letters


def create(url: str, dead_letters: str | None) -> list[str]:
    """Make the queue and its dead-letter queue; their URLs. Again does no harm."""
    queue = Queue(url)
    dead_url = dead_letters or url + DEAD_SUFFIX
    made_dead = _create(queue, dead_url, ATTRIBUTES)
    answer = Queue(made_dead).call("get_queue_attributes", AttributeNames=["QueueArn"])
    policy = {
        "deadLetterTargetArn": answer["Attributes"]["QueueArn"],
        "maxReceiveCount": str(RECEIVES),
    }
    made = _create(queue, url, {**ATTRIBUTES, "RedrivePolicy": json.dumps(policy)})
    return [made, made_dead]


def _create(queue: Queue, url: str, attributes: dict[str, str]) -> str:
    made = queue.call_service(
        "create_queue", QueueName=url.rsplit("/", 1)[1], Attributes=attributes
    )
    return str(made["QueueUrl"])


def problems(url: str, dead_letters: str | None) -> list[str]:
    """What is wrong with the queue or its dead-letter queue, as far as these rights can tell."""
    found = []
    try:
        dead = dead_letter_url(url, dead_letters)
    except QueueError as error:
        return [_explained(url, error)]
    try:
        _count(dead)
    except QueueError as error:
        found.append(_explained(dead, error))
    return found


def _count(url: str) -> int:
    name = "ApproximateNumberOfMessages"
    answer = Queue(url).call("get_queue_attributes", AttributeNames=[name])
    return int(answer["Attributes"].get(name, 0))


def _explained(url: str, error: QueueError) -> str:
    what = {
        "sqs_missing": "the queue does not exist",
        "sqs_denied": "no permission",
        "sqs_unreachable": "unreachable",
        "sqs_timeout": "unreachable: no answer in time",
    }.get(error.reason, error.reason)
    return f"{url}: {what} ({error})"
