"""What operators ask of an SQS queue: its status, its problems, and to create it."""

from __future__ import annotations

import json

from gateway.queues import QueueError, QueueUnavailable, Status
from gateway.queues.sqs.client import Queue
from gateway.queues.sqs.receiver import redrive_target
from gateway.reasons import Reason

DEAD_SUFFIX = "-dead"
ATTRIBUTES = {
    "VisibilityTimeout": "60",
    "MessageRetentionPeriod": str(14 * 24 * 60 * 60),  # SQS's maximum
    "ReceiveMessageWaitTimeSeconds": "20",
    "SqsManagedSseEnabled": "true",
}
RECEIVES = 1000  # before SQS moves a message to the dead letters; the forwarder acts long before


def status(url: str, dead_letters: str | None) -> Status:
    """Return approximate counts of messages. SQS does not tell the age of the oldest."""
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
    """Return the URL of the dead-letter queue. Raises QueueError if there is none."""
    if dead_letters is None:
        answer = Queue(url).call("get_queue_attributes", AttributeNames=["RedrivePolicy"])
        dead_letters = redrive_target(url, answer.get("Attributes", {}))
    if dead_letters is None:
        raise QueueUnavailable(
            Reason.SQS_NO_DEAD_LETTERS,
            "GATEWAY_DEAD_LETTER_QUEUE is not set, and the queue has no redrive target",
        )
    return dead_letters


def create(url: str, dead_letters: str | None) -> list[str]:
    """Create the queue and its dead-letter queue; return their URLs. Safe to repeat."""
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
    """Return what is wrong with the queue or its dead-letter queue, as far as we may read them."""
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
    explanation = {
        "sqs_missing": "the queue does not exist",
        "sqs_denied": "no permission",
        "sqs_unreachable": "unreachable",
        "sqs_timeout": "unreachable: no answer in time",
    }.get(error.reason, error.reason)
    return f"{url}: {explanation} ({error})"
