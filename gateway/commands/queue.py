"""`queue`: what waits, whether its file is in order, and how it is made."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from gateway.queues.registry import find_queue
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
    backup = queue.add_parser("backup", help="copy the queue to a new file while it is in use")
    backup.add_argument("file", metavar="FILE", type=Path, help="a file that does not exist yet")
    backup.set_defaults(run=_backup)
    create = queue.add_parser("create", help="with SQS: make the queue and its dead-letter queue")
    create.set_defaults(run=_create)


def _status(options: argparse.Namespace) -> int:
    status = find_queue(load(os.environ)).status()
    if options.json:
        print(json.dumps(status._asdict()))
    else:
        oldest = status.oldest_seconds
        age = "" if oldest is None else f", the oldest for {oldest:.0f} s"
        dead = "?" if status.dead is None else status.dead
        print(f"{status.queued} queued{age}; {status.in_flight} in flight; {dead} dead")
    return 0


def _create(_options: argparse.Namespace) -> int:
    made = find_queue(load(os.environ)).create()
    for url in made:
        print(url)
    if not made:
        print("Nothing to create: this queue is created when it is first used")
    return 0


def _backup(options: argparse.Namespace) -> int:
    queue = find_queue(load(os.environ))
    queue.backup(options.file)
    print(f"{queue} is backed up in {options.file}")
    return 0


def _verify(_options: argparse.Namespace) -> int:
    queue = find_queue(load(os.environ))
    if not queue.capabilities.verifiable:
        print(f"queue verify: {queue} is not stored on this machine; see `check`", file=sys.stderr)
        return 2
    problems = queue.find_problems()
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print(f"{queue} is {'in order' if queue.exists() else 'not there yet'}")
    return 1 if problems else 0
