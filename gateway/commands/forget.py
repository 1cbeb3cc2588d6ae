"""`forget`: remove what the gateway has of users, and tell how AWS is to remove the rest."""

from __future__ import annotations

import argparse
import csv
import io
import os
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from gateway.observability.history import history_file
from gateway.queues.registry import find_queue
from gateway.settings import load
from gateway.strict_schema import SettingsError

NOT_SEARCHABLE = (
    "What waits in this queue can't be searched: it is delivered within seconds. "
    "Start the job once it has been."
)
DAY = 86_400  # seconds
MOST_DAYS = 3650
LONGEST = 256  # characters of a userId
MOST_BYTES = 50_000_000  # of the file that a job takes


def add_command(commands: Any) -> None:
    """Declare the command."""
    forget = commands.add_parser("forget", help="remove users' events, and tell AWS's job")
    forget.add_argument("--site", required=True, help="the site's key in the sites file")
    users = forget.add_mutually_exclusive_group(required=True)
    users.add_argument("--user", help="the userId")
    users.add_argument("--users-file", metavar="F", type=Path, help="a file of userIds, one a line")
    forget.add_argument(
        "--hold", metavar="DAYS", type=_days, help="refuse these users' later events for so long"
    )
    forget.set_defaults(run=_run)


def _days(text: str) -> int:
    days = int(text)
    if not 0 <= days <= MOST_DAYS:
        raise argparse.ArgumentTypeError(f"{days} is not between 0 and {MOST_DAYS}")
    return days


def _run(options: argparse.Namespace) -> int:
    settings = load(os.environ)
    site = settings.site(options.site)
    users = [options.user] if options.users_file is None else _read_users(options.users_file)
    queue = find_queue(settings)
    hold_until = None if options.hold is None else time.time() + options.hold * DAY
    queued, dead = queue.forget(options.site, users, hold_until)
    steps = history_file.forget(queue.history_path, options.site, users)
    waiting = "" if queued is None else f"{queued} queued events, "
    print(
        f"Forgotten: {waiting}{dead} dead letters, {steps} steps of the event history.",
        file=sys.stderr,
    )
    if hold_until is not None:
        end = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(hold_until))
        print(f"Later events of these {len(users)} users are refused until {end}.", file=sys.stderr)
    if queued is None:
        print(NOT_SEARCHABLE, file=sys.stderr)
    _tell_job(options, users, site.region)
    return 0


def _read_users(path: Path) -> list[str]:
    """Return the users of a file, each once."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeError) as error:
        raise SettingsError(f"{path}: {error}") from None
    users = [line.strip() for line in lines]
    for number, user in enumerate(users, 1):
        if len(user) > LONGEST:
            raise SettingsError(f"{path}: line {number}: a userId has at most {LONGEST} characters")
    if not any(users):
        raise SettingsError(f"{path}: no userId in it")
    return [*dict.fromkeys(filter(None, users))]


def _tell_job(options: argparse.Namespace, users: list[str], region: str | None) -> None:
    """Print what AWS's job takes: for one user a line for a shell, for a file's users the CSV."""
    now = int(time.time())
    address = f"s3://BUCKET/forget-{now}.csv"
    job = _aws_job(address, region, now)
    if options.users_file is None:
        print("For what Personalize has, in each dataset group:", file=sys.stderr)
        row = shlex.quote(_csv(users).rstrip("\n"))
        print(f"printf '%s\\n' USER_ID {row} | aws s3 cp - {address} && {job}")
        return
    text = "USER_ID\n" + _csv(users)
    print("For what Personalize has, in each dataset group, with this CSV:", file=sys.stderr)
    print(f"aws s3 cp - {address} && {job}", file=sys.stderr)
    if len(text.encode()) > MOST_BYTES:
        print("A job takes at most 50 MB: split the file.", file=sys.stderr)
    print(text, end="")


def _csv(users: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([user] for user in users)
    return text.getvalue()


def _aws_job(address: str, region: str | None, now: int) -> str:
    region_option = f" --region {region}" if region else ""
    return (
        f"aws personalize create-data-deletion-job{region_option} --job-name forget-{now}"
        f" --dataset-group-arn DATASET_GROUP_ARN --data-source dataLocation={address}"
        " --role-arn ROLE_ARN"
    )
