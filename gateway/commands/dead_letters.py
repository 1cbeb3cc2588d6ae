"""`dead-letters`: what could not be delivered, and what to do about it."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from gateway.commands import progress
from gateway.events import schemas
from gateway.observability.logs import printable
from gateway.queues import DeadLetter, DeadLetters, Record
from gateway.queues.registry import find_queue
from gateway.settings import Settings, load
from gateway.sites import Site

BATCH = 100  # dead letters replayed or purged in one transaction


def add_command(commands: Any) -> None:
    """Declare the command and its own."""
    dead = commands.add_parser("dead-letters", help="what could not be delivered").add_subparsers(
        required=True, metavar="COMMAND"
    )
    listing = dead.add_parser("list", help="a line each")
    form = listing.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_const", const="json", dest="format")
    form.add_argument("--format", choices=["text", "json", "cli-input-json"], default="text")
    listing.set_defaults(run=_list)
    show = dead.add_parser("show", help="one, whole")
    show.add_argument("ids", metavar="ID", nargs=1)
    show.set_defaults(run=_show)
    for name, run, text in (
        ("replay", _replay, "put into the queue again, after validation; all, or those named"),
        ("purge", _purge, "forget for good; all, or those named"),
    ):
        command = dead.add_parser(name, help=text)
        command.add_argument("ids", metavar="ID", nargs="*")
        command.set_defaults(run=run)


def _list(options: argparse.Namespace) -> int:
    settings = load(os.environ)
    with closing(find_queue(settings).open_dead_letters()) as letters:
        for letter in letters.list():
            print(_line(options.format, letter, settings.sites.get(letter.record.site)))
    return 0


def _line(form: str | None, letter: DeadLetter, site: Site | None) -> str:
    if form == "json":  # ASCII, since some readers end a line at U+2028
        return json.dumps(_brief(letter))
    if form == "cli-input-json":
        return json.dumps(_request(letter, site))
    died = datetime.fromtimestamp(letter.died_at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    event = f"{letter.record.site}  {letter.record.event_id}"
    return printable(f"{letter.id}  {died}  {event}  {letter.reason}: {letter.message}")


def _brief(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "site": letter.record.site,
        "reason": letter.reason,
        "message": letter.message,
        "event": json.loads(letter.record.event),
    }


def _request(letter: DeadLetter, site: Site | None) -> dict[str, Any]:
    """Return a letter's event as input for `put-events --cli-input-json`."""
    record = letter.record
    user = {} if record.user_id is None else {"userId": record.user_id}
    return {
        "trackingId": site.tracking_id if site else record.site,
        **user,
        "sessionId": record.session_id,
        "eventList": [json.loads(record.event)],
    }


def _show(options: argparse.Namespace) -> int:
    with closing(find_queue(load(os.environ)).open_dead_letters()) as letters:
        letter = next(_chosen(letters, options.ids), None)
    if letter is None:
        return 1
    record = letter.record
    whole = {
        **_brief(letter),
        "attempts": letter.attempts,
        "diedAt": letter.died_at,
        "receivedAt": record.received_at,
        "sessionId": record.session_id,
        "userId": record.user_id,
        "received": None if record.received is None else json.loads(record.received),
    }
    print(json.dumps(whole, indent=2, ensure_ascii=False))
    return 0


def _replay(options: argparse.Namespace) -> int:
    settings = load(os.environ)
    queue = find_queue(settings)
    replayed = invalid = gone = 0
    with (
        closing(queue.open_dead_letters()) as letters,
        progress.bar("Replaying", len(options.ids) or queue.status().dead) as bar,
    ):
        for batch in _batches(_chosen(letters, options.ids)):
            valid = [
                (letter, record) for letter in batch if (record := _validated(letter, settings))
            ]
            count = letters.replay(valid)
            replayed += count
            gone += len(valid) - count
            invalid += len(batch) - len(valid)
            bar.update(len(batch))
    print(f"{replayed} in the queue again, {invalid} still not valid{_gone(gone)}")
    return int(invalid > 0 or replayed + gone < len(options.ids))


def _gone(count: int) -> str:
    """Return the words for letters that another command replayed or deleted meanwhile."""
    return f", {count} no longer there" if count else ""


def _validated(letter: DeadLetter, settings: Settings) -> Record | None:
    """Return the record to queue again, with the same eventId; None if it is not valid now."""
    record, now = letter.record, time.time()
    site = settings.sites.get(record.site)
    types = site.event_types if site else frozenset[str]()
    event = json.loads(record.event)
    try:
        valid_event = schemas.accept_event(
            event, types, now=now, shift=0.0, new_id=lambda: record.event_id
        )
    except schemas.InvalidRequest as error:
        print(f"{letter.id}: {json.dumps(error.errors)}", file=sys.stderr)
        return None
    return record._replace(event=valid_event.text, received_at=now)


def _purge(options: argparse.Namespace) -> int:
    purged = gone = 0
    with closing(find_queue(load(os.environ)).open_dead_letters()) as letters:
        for batch in _batches(_chosen(letters, options.ids)):
            count = letters.purge(batch)
            purged += count
            gone += len(batch) - count
    print(f"{purged} forgotten{_gone(gone)}")
    return int(purged + gone < len(options.ids))


def _chosen(letters: DeadLetters, ids: Sequence[str]) -> Iterator[DeadLetter]:
    """Return the letters with these IDs, or all; report IDs that do not exist."""
    unknown = set(ids)
    for letter in letters.list():
        if not ids or letter.id in ids:
            unknown.discard(letter.id)
            yield letter
    for name in sorted(unknown):
        print(f"There is no dead letter {name}", file=sys.stderr)


def _batches(letters: Iterator[DeadLetter]) -> Iterator[list[DeadLetter]]:
    while batch := list(islice(letters, BATCH)):
        yield batch
