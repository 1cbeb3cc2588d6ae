"""`check`: is the set-up in order? A tick or a cross for each part, and what to do about it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from gateway.commands.check import environment, queue, sites
from gateway.commands.check.finding import Finding
from gateway.settings import load
from gateway.strict_schema import SettingsError

QUEUE_SETTINGS = {"GATEWAY_QUEUE", "GATEWAY_DEAD_LETTER_QUEUE"}
GREEN, RED, DIM, PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[2m", "\x1b[0m"


def add_command(commands: Any) -> None:
    """Declare the command."""
    check = commands.add_parser("check", help="settings, sites, queue, AWS; exit status 0 or 1")
    check.add_argument(
        "--send-test", action="store_true", help="send AWS a marked test event for each site"
    )
    check.add_argument("--json", action="store_true", help="one JSON object")
    check.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Look into everything; exit status 1 where there is a cross."""
    findings = list(findings_of(dict(os.environ), send_test=options.send_test))
    is_well = all(finding.ok for finding in findings)
    if options.json:
        print(
            json.dumps(
                {"ok": is_well, "checks": [finding._asdict() for finding in findings]}, indent=2
            )
        )
    else:
        _show(findings, sys.stdout)
    return 0 if is_well else 1


def findings_of(environ: dict[str, str], *, send_test: bool) -> Iterator[Finding]:
    """Everything that can be looked into, also where a setting is wrong."""
    from gateway.commands.check import aws, clock  # boto3, which no other command is to wait for

    of_environment = list(environment.findings(environ))
    yield from of_environment
    wrong = {finding.what for finding in of_environment if not finding.ok}
    try:
        settings = load({name: value for name, value in environ.items() if name not in wrong})
    except SettingsError as error:
        yield sites.of_file(error)
        return
    yield from sites.findings(settings)
    yield from aws.findings(settings, send_test=send_test)
    if not wrong & QUEUE_SETTINGS:
        yield from queue.findings(settings)
    yield from clock.findings(settings)


def _show(findings: Iterable[Finding], out: TextIO) -> None:
    """Print a line for each finding and its remedy below, in colour on a terminal."""
    colourful = out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    tick, cross = _marks(out.encoding)
    for finding in findings:
        mark, colour = (tick, GREEN) if finding.ok else (cross, RED)
        print(
            f"{colour}{mark}{PLAIN}" if colourful else mark,
            f"{finding.what}: {finding.text}",
            file=out,
        )
        if finding.remedy:
            print(
                f"  {DIM}{finding.remedy}{PLAIN}" if colourful else f"  {finding.remedy}", file=out
            )


def _marks(encoding: str) -> tuple[str, str]:
    try:
        "✓✗".encode(encoding)
    except UnicodeEncodeError:
        return "ok  ", "FAIL"
    return "✓", "✗"
