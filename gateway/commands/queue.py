"""`queue`: what waits, whether its file is in order, and how it is made."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from gateway.queues.urls import create_queue, queue_problems, queue_status, sqlite_path
from gateway.settings import load


def add_command(commands: Any) -> None:
    """Declare the command and its own."""
    queue = commands.add_parser("queue", help="what waits in the queue").add_subparsers(
        required=True, metavar="COMMAND"
    )
    status = queue.add_parser("status", help="how many events wait, and how long")
    status.add_argument("--json", action="store_true")
    status.set_defaults(run=_status)
    verify = queue.add_parser("verify", help="check the queue's file; exit status 1 if damaged")
    verify.set_defaults(run=_verify)
    create = queue.add_parser("create", help="with SQS: make the queue and its dead-letter queue")
    create.set_defaults(run=_create)


def _status(options: argparse.Namespace) -> int:
    status = queue_status(load(os.environ))
    if options.json:
        print(json.dumps(status._asdict()))
    else:
        oldest = status.oldest_seconds
        age = "" if oldest is None else f", the oldest for {oldest:.0f} s"
        dead = "?" if status.dead is None else status.dead
        print(f"{status.queued} queued{age}; {status.in_flight} in flight; {dead} dead")
    return 0


def _create(_options: argparse.Namespace) -> int:
    made = create_queue(load(os.environ))
    for url in made:
        print(url)
    if not made:
        print("Nothing to create: a SQLite queue makes its file itself")
    return 0


def _verify(_options: argparse.Namespace) -> int:
    settings = load(os.environ)
    if settings.on_sqs:
        print("queue verify: not with SQS, whose storage is AWS's; see `check`", file=sys.stderr)
        return 2
    problems = queue_problems(settings)
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        path = sqlite_path(settings.queue)
        print(f"{path} is {'in order' if path.exists() else 'not there yet'}")
    return 1 if problems else 0
