"""`check`: are settings, sites and queue in order? A line for each; exit status 0 or 1."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from typing import Any

from gateway.queues import QueueError
from gateway.queues.urls import open_inbox, queue_problems
from gateway.settings import Settings, load
from gateway.strict_schema import SettingsError


def add_command(commands: Any) -> None:
    """Declare the command."""
    check = commands.add_parser("check", help="settings, sites and queue; exit status 0 or 1")
    check.set_defaults(run=_check)


def _check(_options: argparse.Namespace) -> int:
    try:
        settings = load(os.environ)
    except SettingsError as error:
        print(f"FAIL  settings: {error}")
        return 1
    print("ok    settings")
    print(f"ok    sites: {', '.join(settings.sites)}")
    problems = list(_queue_problems(settings))
    for problem in problems:
        print(f"FAIL  queue: {problem}")
    if not problems:
        print(f"ok    queue: {settings.queue}")
    return 1 if problems else 0


def _queue_problems(settings: Settings) -> Iterator[str]:
    yield from queue_problems(settings)
    try:
        open_inbox(settings).check()
    except QueueError as error:
        yield f"{error.reason}: {error}"
