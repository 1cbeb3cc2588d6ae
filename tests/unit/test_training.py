"""The report tells what is short or odd for training, one line each, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.observability.training import report_sites
from gateway.queues import Record
from gateway.queues.deliveries import EventCounts, SiteDeliveries, count_by_type, sum_counts

TYPES = {
    "View": EventCounts(60_000, 60_000, 30_000, 10_000, 0, 10_000),
    "Purchase": EventCounts(500, 500, 500, 100, 50, 120),
}
PLENTY = {"types": TYPES, "users": 2_000, "users_with_2": 1_500}


def advice(**changes: Any) -> list[str]:
    members = {"is_capped": False, "dead": {}, **PLENTY, **changes}
    [report] = report_sites([SiteDeliveries("shop", 1.5, **members)], ["shop"])
    assert list(report)[-1] == "advice"
    return report["advice"]


def counts(events: int, **members: int) -> dict[str, EventCounts]:
    """The types of a site of which all is well, but for these."""
    well = {"with_item": events, "with_user": events, "with_recommendation": events}
    return {"View": EventCounts(events, **{**well, **members})}


BOUGHT = {"View": TYPES["View"], "Purchase": EventCounts(40, 40, 40)}
SPELT_TWICE = {**TYPES, "view": EventCounts(1, 1, 1)}
ELEVEN = counts(60_000) | {f"t{number}": EventCounts(1, 1, 1) for number in range(10)}


def test_a_site_with_plenty_of_good_events_needs_no_advice() -> None:
    assert advice() == []


@pytest.mark.parametrize(
    ("changes", "beginning"),
    [
        ({"types": counts(999)}, "Too few interactions to train: 999 of the 1,000 needed."),
        (
            {"types": counts(1_000)},
            "AWS recommends 50,000 interactions to train on: there are 1,000",
        ),
        ({"types": counts(49_999)}, "AWS recommends 50,000 interactions"),
        ({"users_with_2": 24}, "Too few users to train: 24 of the 25 needed have two or more"),
        ({"users_with_2": 25}, "AWS recommends 1,000 users with two or more interactions"),
        ({"users_with_2": 999}, "AWS recommends 1,000 users with two or more interactions"),
        ({"is_capped": True}, "There are more users than the 2,000 that are counted."),
        ({"types": counts(100_000, with_item=90_000)}, "10% of the events name no item"),
        ({"types": counts(100_000, with_user=9_000)}, "91% of the events have no userId."),
        ({"types": counts(100_000, with_recommendation=0)}, "No event has a recommendationId"),
        ({"types": BOUGHT}, "None of the 40 purchases has a recommendationId or a source."),
        ({"types": SPELT_TWICE}, "One event type has several spellings"),
        ({"types": ELEVEN}, "There are 11 event types. AWS takes 10"),
        ({"dead": {"expired": 700, "refused": 7}}, "1.1% of the events became dead letters"),
    ],
)
def test_each_thing_that_is_short_or_odd_has_a_line(
    changes: dict[str, Any], beginning: str
) -> None:
    [line] = advice(**changes)
    assert line.startswith(beginning)


@pytest.mark.parametrize(
    "changes",
    [
        {"types": counts(50_000)},
        {"users_with_2": 1_000},
        {"types": counts(100_000, with_item=90_001)},
        {"types": counts(100_000, with_user=10_001)},
        {"types": dict([*ELEVEN.items()][:10])},
        {"dead": {"expired": 600}},
    ],
)
def test_a_barely_sufficient_value_has_no_warning(changes: dict[str, Any]) -> None:
    assert advice(**changes) == []


def test_a_site_of_which_nothing_was_delivered_has_a_report_too() -> None:
    [report] = report_sites([], ["shop"])
    assert report["since"] is None
    assert (report["interactions"], report["users"], report["event_types"]) == (0, 0, {})
    assert report["advice"] == [
        "Nothing was delivered yet: try `personalize-gateway check --send-test`."
    ]


TEXTS = st.none() | st.sampled_from(["", "x", "ann"])
EVENTS = st.fixed_dictionaries(
    {"eventType": st.sampled_from(["View", "Purchase"])},
    optional={
        "itemId": TEXTS,
        "recommendationId": TEXTS,
        "metricAttribution": st.none() | st.just("odd") | st.just({"eventAttributionSource": "x"}),
    },
)


@given(st.lists(st.tuples(st.sampled_from(["shop", "media"]), TEXTS, EVENTS)))
def test_counts_are_those_of_a_plain_count(events: list[tuple[str, str | None, Any]]) -> None:
    records = [
        Record(site, "s", user, "e", json.dumps(event), None, 1.0) for site, user, event in events
    ]
    found = count_by_type(records)
    assert {key[0] for key in found} == {site for site, _, _ in events}
    total = sum_counts(found.values())
    sources = [isinstance(event.get("metricAttribution"), dict) for _, _, event in events]
    recommended = [bool(event.get("recommendationId")) for _, _, event in events]
    assert total == (
        len(events),
        sum(bool(event.get("itemId")) for _, _, event in events),
        sum(user is not None for _, user, _ in events),
        sum(recommended),
        sum(sources),
        sum(map(max, sources, recommended)),
    )
