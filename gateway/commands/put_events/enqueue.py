"""Put a request's events into the queue without HTTP, for `put-events --enqueue`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from uuid import uuid4

from gateway.commands import progress
from gateway.events import schemas
from gateway.queues import Record
from gateway.queues.registry import find_queue
from gateway.settings import load
from gateway.sites import Site, find_site
from gateway.strict_schema import SettingsError


def enqueue(request: schemas.Request, environ: Mapping[str, str]) -> None:
    """Store the events durably; raise SettingsError, InvalidRequest or QueueError."""
    settings = load(environ)
    site = find_site(settings.sites, request.tracking_id)
    if site is None:
        raise SettingsError(f"no site has the trackingId {request.tracking_id!r}")
    assert request.session_id is not None  # noqa: S101 - the command requires it
    now = time.time()
    accepted = _accepted(request, site, now)
    inbox = find_queue(settings).open_inbox()
    owner = site.key, request.session_id, request.user_id
    inbox.put(
        [Record(*owner, event.event_id, event.text, event.received, now) for event in accepted]
    )


def _accepted(request: schemas.Request, site: Site, now: float) -> list[schemas.Event]:
    """Return all events validated; raise InvalidRequest if one is invalid."""
    accepted: list[schemas.Event] = []
    errors: dict[int, schemas.Errors] = {}
    with progress.bar("Checking", len(request.event_list)) as bar:
        for start in range(0, len(request.event_list), schemas.EVENTS_A_REQUEST):
            part = request.event_list[start : start + schemas.EVENTS_A_REQUEST]
            fit, wrong = schemas.accept_events(
                replace(request, event_list=part),
                event_types=site.event_types,
                now=now,
                new_id=lambda: str(uuid4()),
            )
            accepted += fit
            errors |= {start + index: why for index, why in wrong.items()}
            bar.update(len(part))
    if errors:
        raise schemas.InvalidRequest("not every event is valid", {"eventList": errors})
    return accepted
