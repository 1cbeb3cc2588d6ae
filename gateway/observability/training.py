"""Judge what was delivered by what training needs: the report, and one line of advice each. Pure.

The minimums and recommendations are those of AWS's developer guide, "Interactions datasets".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from gateway.queues.deliveries import SiteDeliveries, is_purchase, sum_counts

LEAST_INTERACTIONS, GOOD_INTERACTIONS = 1_000, 50_000
LEAST_USERS, GOOD_USERS = 25, 1_000  # with two or more interactions
MOST_TYPES = 10  # with the schema's optional columns
# Shares of the events that are worth a line.
NOTEWORTHY, MOSTLY, NOTEWORTHY_REFUSED = 0.1, 0.9, 0.01

Report = dict[str, Any]


def report_sites(deliveries: Sequence[SiteDeliveries], sites: Sequence[str]) -> list[Report]:
    """Return the report of each of these sites."""
    known = {found.site: found for found in deliveries}
    empty = (SiteDeliveries(site, None, {}, 0, 0, False, {}) for site in sites)
    return [_report(known.get(nothing.site, nothing)) for nothing in empty]


def _report(found: SiteDeliveries) -> Report:
    """Return a site's report, as JSON; `since` in epoch seconds."""
    total = sum_counts(found.types.values())
    purchases = sum_counts(of for name, of in found.types.items() if is_purchase(name))
    settled = total.events + sum(found.dead.values())
    report = {
        "site": found.site,
        "since": found.since,
        "interactions": total.events,
        "with_item": total.with_item,
        "with_user": total.with_user,
        "with_recommendation": total.with_recommendation,
        "with_source": total.with_source,
        "users": found.users,
        "users_with_2": found.users_with_2,
        "users_capped": found.is_capped,
        "event_types": {name: of.events for name, of in found.types.items()},
        "purchases": {"interactions": purchases.events, "attributed": purchases.attributed},
        "refused": {
            reason: {"events": events, "share": events / settled}
            for reason, events in found.dead.items()
        },
    }
    return {**report, "advice": [*_advise(report)]}


def _advise(report: Report) -> Iterator[str]:
    """Yield a line for each thing that is short or odd."""
    if report["interactions"]:
        for rule in (_interactions, _users, _items, _anonymous, _types, _attribution):
            yield from rule(report)
    else:
        yield "Nothing was delivered yet: try `personalize-gateway check --send-test`."
    yield from _refused(report)


def _interactions(report: Report) -> Iterator[str]:
    count = report["with_item"]
    if count < LEAST_INTERACTIONS:
        yield f"Too few interactions to train: {count:,} of the {LEAST_INTERACTIONS:,} needed."
    elif count < GOOD_INTERACTIONS:
        yield f"AWS recommends {GOOD_INTERACTIONS:,} interactions to train on: there are {count:,}."


def _users(report: Report) -> Iterator[str]:
    count = report["users_with_2"]
    if count < LEAST_USERS:
        yield (
            f"Too few users to train: {count:,} of the {LEAST_USERS:,} needed have two or more"
            " interactions."
        )
    elif count < GOOD_USERS:
        yield (
            f"AWS recommends {GOOD_USERS:,} users with two or more interactions:"
            f" there are {count:,}."
        )
    if report["users_capped"]:
        yield f"There are more users than the {report['users']:,} that are counted."


def _items(report: Report) -> Iterator[str]:
    missing = _missing(report, "with_item")
    if missing >= NOTEWORTHY:
        yield f"{missing:.0%} of the events name no item, so training ignores them: send an itemId."


def _anonymous(report: Report) -> Iterator[str]:
    missing = _missing(report, "with_user")
    if missing >= MOSTLY:
        yield (
            f"{missing:.0%} of the events have no userId. Training uses a session only after an"
            " event with a userId: call pz('identify', …) at log-in."
        )


def _types(report: Report) -> Iterator[str]:
    types = report["event_types"]
    if len(types) > MOST_TYPES:
        yield (
            f"There are {len(types)} event types. AWS takes {MOST_TYPES}, optional columns of the"
            " schema included: set `event_types` for the site."
        )
    spellings = Counter(name.casefold() for name in types)
    for twice in (name for name, count in spellings.items() if count > 1):
        names = sorted(name for name in types if name.casefold() == twice)
        yield f"One event type has several spellings, which count apart: {', '.join(names)}."


def _attribution(report: Report) -> Iterator[str]:
    bought, attributed = report["purchases"]["interactions"], report["purchases"]["attributed"]
    if not report["with_recommendation"]:
        yield (
            "No event has a recommendationId: put data-pz-rec on what GetRecommendations returned,"
            " and clicks tell which recommendations work."
        )
    elif bought and not attributed:
        yield f"None of the {bought:,} purchases has a recommendationId or a source."


def _refused(report: Report) -> Iterator[str]:
    for reason, refused in report["refused"].items():
        if refused["share"] >= NOTEWORTHY_REFUSED:
            yield (
                f"{refused['share']:.1%} of the events became dead letters, reason {reason}:"
                " see `personalize-gateway dead-letters list`."
            )


def _missing(report: Report, member: str) -> float:
    """Return the share of the interactions without a member."""
    share: float = (report["interactions"] - report[member]) / report["interactions"]
    return share
