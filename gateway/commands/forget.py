"""`forget`: removes what the gateway has of a user, and tells how AWS is to remove the rest."""

from __future__ import annotations

import argparse
import csv
import io
import os
import shlex
import sys
import time
from typing import Any

from gateway.observability.history import history_file
from gateway.queues.registry import find_queue
from gateway.settings import load
from gateway.strict_schema import SettingsError

NOT_SEARCHABLE = (
    "What waits in this queue can't be searched: it is delivered within seconds. "
    "Start the job once it has been."
)


def add_command(commands: Any) -> None:
    """Declare it."""
    forget = commands.add_parser("forget", help="remove a user's events, and tell AWS's job")
    forget.add_argument("--site", required=True, help="the site's key in the sites file")
    forget.add_argument("--user", required=True, help="the userId")
    forget.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    settings = load(os.environ)
    if options.site not in settings.sites:
        raise SettingsError(f"no [sites.{options.site}] in the sites file")
    user = options.site, options.user
    queue = find_queue(settings)
    queued, dead = queue.forget(*user)
    steps = history_file.forget(queue.history_path, *user)
    waiting = "" if queued is None else f"{queued} queued events, "
    print(
        f"Forgotten: {waiting}{dead} dead letters, {steps} steps of the event history.",
        file=sys.stderr,
    )
    if queued is None:
        print(NOT_SEARCHABLE, file=sys.stderr)
    print("For what Personalize has, in each dataset group:", file=sys.stderr)
    print(_aws_job(options.user, settings.sites[options.site].region, int(time.time())))
    return 0


def _aws_job(user: str, region: str | None, now: int) -> str:
    """One line for a shell: a CSV file of one USER_ID, and the job that reads it."""
    row = io.StringIO()
    csv.writer(row, lineterminator="").writerow([user])
    region_option = f" --region {region}" if region else ""
    address = f"s3://BUCKET/forget-{now}.csv"
    return (
        f"printf '%s\\n' USER_ID {shlex.quote(row.getvalue())} | aws s3 cp - {address} &&"
        f" aws personalize create-data-deletion-job{region_option} --job-name forget-{now}"
        f" --dataset-group-arn DATASET_GROUP_ARN --data-source dataLocation={address}"
        " --role-arn ROLE_ARN"
    )
