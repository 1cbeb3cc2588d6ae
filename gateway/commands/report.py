"""`report`: show what was delivered of each site, against what training needs."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from gateway.observability.logs import printable
from gateway.observability.training import Report, report_sites
from gateway.queues.registry import find_queue
from gateway.settings import load

NOT_COUNTED = (
    "With a queue on SQS each forwarder counts what it delivers by itself: add up "
    "gateway_events_delivered_total, gateway_events_delivered_with_total and "
    "gateway_purchases_delivered_total of all forwarders' /metrics. Distinct users and event types "
    "are not known there."
)
MEMBERS = {
    "with_item": "an item",
    "with_user": "a userId",
    "with_recommendation": "a recommendationId",
    "with_source": "a source",
}


def add_command(commands: Any) -> None:
    """Declare the command."""
    report = commands.add_parser(
        "report", help="show what was delivered, against what training needs"
    )
    report.add_argument("site", metavar="SITE", nargs="?", help="its key; all sites by default")
    report.add_argument("--json", action="store_true", help="print one JSON object a line")
    report.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    settings = load(os.environ)
    sites = [settings.site(options.site).key] if options.site else [*settings.sites]
    deliveries = find_queue(settings).deliveries()
    if deliveries is None:
        print(NOT_COUNTED, file=sys.stderr)
        return 2
    for report in report_sites(deliveries, sites):
        for line in [json.dumps(report)] if options.json else map(printable, _lines(report)):
            print(line)
    return 0


def _lines(report: Report) -> Iterator[str]:
    """Yield a site's report for people."""
    total, since = report["interactions"], report["since"]
    when = f" since {datetime.fromtimestamp(since, UTC):%Y-%m-%d %H:%M} UTC" if since else ""
    yield f"{report['site']}: {total:,} interactions delivered{when}"
    if total:
        for name, member in MEMBERS.items():
            yield f"  with {member:<18} {report[name]:>10,}  {report[name] / total:4.0%}"
        yield f"  {'users':<23} {report['users']:>10,}"
        yield f"  {'  with two or more':<23} {report['users_with_2']:>10,}"
        for name, count in report["event_types"].items():
            yield f"  {name:<23} {count:>10,}"
        purchases = report["purchases"]
        if bought := purchases["interactions"]:
            share = purchases["attributed"] / bought
            yield f"  {'purchases attributed':<23} {purchases['attributed']:>10,}  {share:4.0%}"
    for reason, refused in report["refused"].items():
        yield f"  {'refused: ' + reason:<23} {refused['events']:>10,}  {refused['share']:4.0%}"
    yield from (f"  → {line}" for line in report["advice"])
