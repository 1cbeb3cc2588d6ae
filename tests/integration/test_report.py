"""`report` tells the truth about what was delivered, whatever happened on the way."""

from __future__ import annotations

import json
import os
import random
import signal
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

import pytest

from gateway.cli import main
from gateway.sandbox import Faults
from tests.helpers.support import Gateway, beacon, event, eventually

DAYS = 30
A_DAY = 86_400
START = 1_763_880_000.0  # epoch seconds
USERS = 60
POISON = "poison"  # an item that PutEvents refuses
REPORT = [
    "site", "since", "interactions", "with_item", "with_user", "with_recommendation",
    "with_source", "users", "users_with_2", "users_capped", "event_types", "purchases", "refused",
    "advice",
]  # fmt: skip


class Month:
    """A month of visits, as a seed says: requests, and the truth about their events."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self.events: dict[str, tuple[dict[str, Any], str | None]] = {}  # by eventId, with its user

    def visits(self, day: int) -> Iterator[dict[str, Any]]:
        """Yield the requests of a day, some of them twice."""
        for _ in range(self._dice.randrange(4, 9)):
            yield (body := self.visit(day))
            if self._dice.random() < 0.2:
                yield body

    def visit(self, day: int = DAYS) -> dict[str, Any]:
        """Return the request of one visit."""
        user = f"u-{self._dice.randrange(USERS)}" if self._dice.random() < 0.6 else None
        events = [self._event(day) for _ in range(self._dice.randrange(1, 8))]
        self.events.update((one["eventId"], (one, user)) for one in events)
        return beacon(*events, userId=user, sessionId=f"s-{self._dice.randrange(300)}")

    def _event(self, day: int) -> dict[str, Any]:
        dice = self._dice
        members: dict[str, Any] = {
            "eventType": dice.choice(["View", "View", "Click", "Purchase", "search"]),
            "sentAt": START + day * A_DAY + dice.randrange(A_DAY),
            "itemId": f"i-{dice.randrange(40)}" if day % 7 or dice.random() < 0.9 else POISON,
        }
        if members["eventType"] == "search":
            members["itemId"] = None
        if dice.random() < 0.3:
            members["recommendationId"] = f"r-{dice.randrange(9)}"
        if dice.random() < 0.2:
            members["metricAttribution"] = {"eventAttributionSource": "home"}
        return event(**members)


def truth(month: Month, delivered: Collection[str]) -> dict[str, Any]:
    """Return what the report must say of these events."""
    found = [month.events[event_id] for event_id in delivered]
    users = Counter(user for _, user in found if user)
    types = Counter(one["eventType"] for one, _ in found)
    purchases = [one for one, _ in found if one["eventType"] == "Purchase"]

    def having(member: str, events: list[dict[str, Any]]) -> int:
        return sum(bool(one.get(member)) for one in events)

    events = [one for one, _ in found]
    dead = len(month.events) - len(delivered)
    return {
        "interactions": len(events),
        "with_item": having("itemId", events),
        "with_user": users.total(),
        "with_recommendation": having("recommendationId", events),
        "with_source": having("metricAttribution", events),
        "users": len(users),
        "users_with_2": sum(count > 1 for count in users.values()),
        "users_capped": False,
        "event_types": dict(types),
        "purchases": {
            "interactions": len(purchases),
            "attributed": sum(
                bool(one.get("recommendationId") or one.get("metricAttribution"))
                for one in purchases
            ),
        },
        "refused": {"refused": {"events": dead, "share": dead / len(month.events)}},
    }


def report(gateway: Gateway, *options: str) -> list[dict[str, Any]]:
    run = gateway.operate("report", "--json", *options)
    assert (run.returncode, run.stderr) == (0, "")
    return [json.loads(line) for line in run.stdout.splitlines()]


def test_a_month_of_visits_with_dying_forwarders_is_reported_as_it_was(gateway: Gateway) -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")  # shown if it fails
    month = Month(seed)
    gateway.start()
    gateway.sandbox.faults = Faults(cut_rate=1.0, seed=seed)
    for body in month.visits(0):
        assert gateway.post(body).status_code == 204
    eventually(gateway.delivered, "PutEvents takes a call that is not answered")
    gateway.sandbox.faults = Faults(refuse_item_ids=(POISON,))
    for day in range(1, DAYS):
        for body in month.visits(day):
            assert gateway.post(body).status_code == 204
        if day % 8 == 7:
            [forwarder] = gateway.forwarders()
            os.kill(forwarder, signal.SIGKILL)
            eventually(
                lambda dead=forwarder: gateway.forwarders() not in ([], [dead]), "another begins"
            )
    # PutEvents' refusals are final once it accepts other events of the site.
    eventually(lambda: is_settled(gateway) or gateway.post(month.visit()) is None, "all is settled")
    poison = {name for name, (one, _) in month.events.items() if one["itemId"] == POISON}
    good = month.events.keys() - poison
    delivered = gateway.delivered()
    assert {*delivered} >= good
    assert len(delivered) > len({*delivered}), "no event was sent twice"
    [shop] = report(gateway, "shop")
    assert list(shop) == REPORT
    assert {**shop, **truth(month, good)} == shop
    assert [line.partition(":")[0] for line in shop["advice"][:2]] == [
        "Too few interactions to train",
        "AWS recommends 1,000 users with two or more interactions",
    ]


def is_settled(gateway: Gateway) -> bool:
    return json.loads(gateway.operate("queue", "status", "--json").stdout)["queued"] == 0


def test_each_site_has_a_line_and_people_read_it(gateway: Gateway) -> None:
    gateway.start()
    accepted = gateway.assert_accepted(event(), event(eventType="Purchase"), userId="ann")
    gateway.assert_delivered(accepted)
    eventually(lambda: report(gateway, "shop")[0]["interactions"] == 2, "it is counted")
    assert [found["site"] for found in report(gateway)] == ["shop", "media", "servers"]
    run = gateway.operate("report", "shop")
    first, *rest = run.stdout.splitlines()
    assert first.startswith("shop: 2 interactions delivered since 20")
    assert "  with an item                     2  100%" in rest
    assert "  → Too few interactions to train: 2 of the 1,000 needed." in rest
    assert gateway.operate("report", "shopp").returncode == 1


def test_sqs_says_what_is_not_known(
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    queue = "https://sqs.us-east-1.amazonaws.com/123456789012/events"
    for name, value in {**environ, "GATEWAY_QUEUE": queue}.items():
        monkeypatch.setenv(name, value)
    assert main(["report"]) == 2
    assert "add up gateway_events_delivered_total" in capsys.readouterr().err
