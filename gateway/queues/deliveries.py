"""Count what delivered events carry. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from gateway.queues import Record
from gateway.queues.duplicates import event_members

PURCHASE = "purchase"  # in any case, since sites may rename it


class EventCounts(NamedTuple):
    """Counts of events, and of those among them that carry something."""

    events: int = 0
    with_item: int = 0
    with_user: int = 0
    with_recommendation: int = 0
    with_source: int = 0
    attributed: int = 0  # with a recommendation or a source, or both

    def members(self) -> dict[str, int]:
        """Return how many have each member, by PutEvents' name of it."""
        return {
            "itemId": self.with_item,
            "userId": self.with_user,
            "recommendationId": self.with_recommendation,
            "eventAttributionSource": self.with_source,
        }


class SiteDeliveries(NamedTuple):
    """What was delivered of a site, or became a dead letter. Each userId is counted once."""

    site: str
    since: float | None  # epoch seconds; None if there is nothing yet
    types: Mapping[str, EventCounts]
    users: int
    users_with_2: int  # with two or more events
    is_capped: bool  # there were more users than are counted
    dead: Mapping[str, int]  # events that became dead letters, by reason


def count_by_type(records: Iterable[Record]) -> dict[tuple[str, str], EventCounts]:
    """Return the counts by site and event type."""
    sums: dict[tuple[str, str], list[int]] = {}
    for record in records:
        event = event_members(record)
        key = record.site, str(event.get("eventType"))
        if key not in sums:
            sums[key] = [0] * len(EventCounts._fields)
        _add(sums[key], event.get, record.user_id)
    return {key: EventCounts(*counts) for key, counts in sums.items()}


def sum_counts(counts: Iterable[EventCounts]) -> EventCounts:
    """Return the sums of counts."""
    return EventCounts(*map(sum, zip(*counts, strict=True)))


def is_purchase(event_type: str) -> bool:
    """Return whether events of this type are purchases."""
    return event_type.lower() == PURCHASE


def _add(sums: list[int], get: Callable[[str], Any], user_id: str | None) -> None:
    """Add an event to the sums, in the order of EventCounts."""
    attribution = get("metricAttribution")
    has_recommendation = bool(get("recommendationId"))
    has_source = isinstance(attribution, dict) and bool(attribution.get("eventAttributionSource"))
    sums[0] += 1
    sums[1] += bool(get("itemId"))
    sums[2] += user_id is not None
    sums[3] += has_recommendation
    sums[4] += has_source
    sums[5] += has_recommendation or has_source
