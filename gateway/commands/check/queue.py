"""Whether the queue can be stored into and read, and what waits in it."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.commands.check.finding import Finding
from gateway.queues import QueueBackend, QueueError
from gateway.queues.registry import find_queue
from gateway.settings import Settings

REMEDIES = {
    "no permission": "Give this user the rights of docs/iam/operator-sqs.json; where only web "
    "runs, sqs:SendMessage is all that it needs, and only one who has more can check the queue",
    "does not exist": "personalize-gateway queue create, or mend the URL in GATEWAY_QUEUE",
    "unreachable": "Look into DNS, firewall, proxy, the VPC endpoint of SQS, AWS_ENDPOINT_URL_SQS",
    "sqs_no_dead_letters": "personalize-gateway queue create makes one and names it",
    "queue_full": "Deliver what waits, or raise GATEWAY_QUEUE_MAX_BYTES",
    "disk_reserve": "Make room on the disk, or lower GATEWAY_MIN_FREE_BYTES",
    "disk_full": "Make room on the disk",
    "read_only": "Let this user write the file and its folder; or is the disk read-only?",
    "cannot_open": "Give this user a folder that it may write to, or mend GATEWAY_QUEUE",
    "damaged": "The forwarder repairs it when it starts: docs/operations.md",
    "repairing": "The forwarder is at work on it: check again in a minute",
    "newer_version": "A newer gateway has used this file: install that one again",
    "aws_setup": "Look into AWS_PROFILE, region and credentials of this process",
}


def findings(settings: Settings) -> Iterator[Finding]:
    """Yield what is wrong with the queue, or else what waits in it."""
    queue = find_queue(settings)
    problems = list(_problems(queue))
    for problem in problems:
        remedy = next((text for sign, text in REMEDIES.items() if sign in problem), None)
        yield Finding("queue", False, problem, remedy or "docs/operations.md says more of it")
    if not problems:
        status = queue.status()
        waits = f"{status.queued} queued" if queue.exists() else "not there yet"
        text = f"{settings.queue}: {waits}"
        has_dead = bool(status.dead)
        yield Finding(
            "queue", True, text, f"{status.dead} are dead: dead-letters list" if has_dead else None
        )


def _problems(queue: QueueBackend) -> Iterator[str]:
    try:
        yield from queue.find_problems()
        queue.require_storage()
        queue.status()
    except QueueError as error:
        yield f"{error.reason}: {error}"
