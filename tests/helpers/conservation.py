"""The conservation run: load, faults and killings at random, and an oracle over what came of it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

import requests

from gateway.sandbox import Faults
from tests.helpers.support import ORIGIN, ROOT, Gateway

VISITORS = 8
POISON = "poison"
TROUBLE = Faults(
    latency=0.005, throttle_rate=0.05, error_rate=0.05, hang_rate=0.002, cut_rate=0.05,
    refuse_item_ids=(POISON,),
)  # fmt: skip
CALM = Faults(refuse_item_ids=(POISON,))


class Visitor(threading.Thread):
    """Posts beacons of one session after another; each until it is acknowledged, as browsers do."""

    def __init__(self, gateway: Gateway, seed: int, stop: threading.Event) -> None:
        super().__init__(name=f"visitor-{seed}", daemon=True)
        self._gateway = gateway
        self._random = random.Random(seed)
        self._stop_asked = stop
        self.acknowledged: dict[str, dict[str, Any]] = {}  # eventId → what was sent
        self.failure: str | None = None

    def run(self) -> None:
        for session in range(1_000_000):
            number = 0
            for _ in range(self._random.randint(1, 12)):
                if self._stop_asked.is_set():
                    return
                body, events = self._beacon(f"{self.name}-{session}", number)
                number += len(events)
                if not self._post(body):
                    return
                self.acknowledged.update((event["eventId"], event) for event in events)

    def _beacon(self, session: str, number: int) -> tuple[str, list[dict[str, Any]]]:
        """A request's body, and its events with the call that each belongs into."""
        site = "shop" if hash_of(session) % 3 else "servers"
        who = {"trackingId": site, "sessionId": session}
        if self._random.random() < 0.5:
            who["userId"] = f"user of {session}"
        events = [self._event(number + i) for i in range(self._random.randint(1, 5))]
        body = json.dumps({**who, "eventList": events})
        return body, [{**event, "call": who} for event in events]

    def _event(self, number: int) -> dict[str, Any]:
        poison = self._random.random() < 0.005
        return {
            "eventId": str(UUID(int=self._random.getrandbits(128), version=4)),
            "eventType": "view",
            "itemId": POISON if poison else f"i-{self._random.randint(1, 99)} ☃",
            "properties": json.dumps({"number": str(number), "text": "ä€𝄞 \u2028"}),
            "sentAt": 1_763_880_000 + number,
        }

    def _post(self, body: str) -> bool:
        """Whether it was acknowledged before the end of the run."""
        while not self._stop_asked.is_set():
            with suppress(requests.RequestException):
                answer = requests.post(
                    f"{self._gateway.url}/events",
                    data=body.encode(),
                    headers={"Origin": ORIGIN} if '"shop"' in body else {},
                    timeout=10,
                )
                if answer.status_code == 204:
                    return True
                if answer.status_code not in (429, 503):
                    self.failure = f"{answer.status_code}: {answer.text}"
                    return False
            time.sleep(0.05)
        return False


def hash_of(text: str) -> int:
    """The same in every run, as the built-in one is not."""
    return sum(map(ord, text))


class Killer(threading.Thread):
    """Ends processes of the gateway at random, and starts it again when its master was hit."""

    def __init__(self, gateway: Gateway, seed: int, stop: threading.Event) -> None:
        super().__init__(name="killer", daemon=True)
        self._gateway = gateway
        self._random = random.Random(seed)
        self._stop_asked = stop
        self.killed: dict[str, int] = defaultdict(int)
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            while not self._stop_asked.wait(self._random.uniform(0.5, 3.0)):
                self._strike()
        except Exception as error:  # the run itself must fail then, not only this thread
            self.error = error

    def _strike(self) -> None:
        how = self._random.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
        what = self._random.choice(["worker", "worker", "forwarder", "forwarder", "master"])
        self.killed[f"{what} {how.name}"] += 1
        if what == "master":
            self._gateway.stop(how)
            self._gateway.start()
            return
        victims = self._gateway.workers() if what == "worker" else self._gateway.forwarders()
        for pid in self._random.sample(victims, k=min(1, len(victims))):
            with suppress(ProcessLookupError):
                os.kill(pid, how)


def run(gateway: Gateway, seconds: float, seed: int, *, ordered: bool = True) -> str:
    """Load, kill, calm down; assert that nothing was lost. A summary.

    `ordered`: the queue promises the order within a session.
    """
    stop = threading.Event()
    gateway.sandbox.faults = TROUBLE
    gateway.start()
    visitors = [Visitor(gateway, seed * 1000 + number, stop) for number in range(VISITORS)]
    killer = Killer(gateway, seed, stop)
    for thread in [*visitors, killer]:
        thread.start()
    time.sleep(seconds)
    stop.set()
    for thread in [*visitors, killer]:
        thread.join(120)
        assert not thread.is_alive(), thread.name
    assert killer.error is None, killer.error
    assert [visitor.failure for visitor in visitors if visitor.failure] == []
    gateway.sandbox.faults = CALM
    acknowledged = {key: value for v in visitors for key, value in v.acknowledged.items()}
    dead = _settled(gateway, acknowledged)
    _check(gateway, acknowledged, dead, ordered)
    calls = len(gateway.sandbox.requests())
    return (
        f"{len(acknowledged)} events acknowledged, {len(dead)} dead letters, {calls} calls, "
        f"killed: {dict(sorted(killer.killed.items()))}"
    )


def _settled(gateway: Gateway, acknowledged: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Wait until everything is delivered or dead; the dead letters by eventId."""

    def missing() -> set[str]:
        return set(acknowledged) - set(gateway.delivered()) - set(dead_letters(gateway))

    deadline = time.monotonic() + 120
    while (left := missing()) and time.monotonic() < deadline:
        for site in ("shop", "servers"):
            _post_good_one(gateway, site)
        time.sleep(0.5)  # this process is the sandbox's too, which has calls to answer
    assert not left, [acknowledged[name] for name in left]
    return dead_letters(gateway)


def _post_good_one(gateway: Gateway, site: str) -> None:
    """Without one, a site's last bad event isn't told from a site that refuses everything."""
    good = {"eventType": "view", "itemId": "i-1", "properties": {"number": "0"}}
    body = {"trackingId": site, "sessionId": str(uuid4()), "eventList": [good]}
    headers = {"Origin": ORIGIN} if site == "shop" else {}
    with suppress(requests.RequestException):
        requests.post(f"{gateway.url}/events", json=body, headers=headers, timeout=10)


def dead_letters(gateway: Gateway) -> dict[str, dict[str, Any]]:
    """What `dead-letters list --json` prints, by eventId."""
    command = [sys.executable, "-m", "gateway", "dead-letters", "list", "--json"]
    listing = subprocess.run(
        command, cwd=ROOT, env=gateway.environ, capture_output=True, text=True, check=True
    )
    letters = map(json.loads, listing.stdout.splitlines())
    return {letter["event"]["eventId"]: letter for letter in letters}


def _check(
    gateway: Gateway,
    acknowledged: dict[str, dict[str, Any]],
    dead: dict[str, dict[str, Any]],
    ordered: bool,
) -> None:
    for letter in dead.values():
        assert letter["reason"] == "refused", letter
        assert letter["event"]["itemId"] == POISON
    orders: dict[str, list[int]] = defaultdict(list)
    seen: dict[str, Any] = {}
    for event in gateway.sandbox.events():
        payload = {name: event[name] for name in ("eventType", "itemId", "properties", "sentAt")}
        payload |= {"sessionId": event["sessionId"], "userId": event["userId"]}
        assert seen.setdefault(event["eventId"], payload) == payload, "two payloads"
        if event["eventId"] in acknowledged:
            assert payload == _expected(acknowledged[event["eventId"]])
    for payload in seen.values():  # in the order of first arrival
        orders[payload["sessionId"]].append(int(json.loads(payload["properties"])["number"]))
    for session, numbers in orders.items():
        assert not ordered or numbers == sorted(numbers), (session, numbers)
    assert requests.get(f"{gateway.url}/readyz", timeout=10).status_code == 200
    gateway.assert_delivered(gateway.assert_accepted(*_healthy()))


def _expected(sent: dict[str, Any]) -> dict[str, Any]:
    payload = {name: sent[name] for name in ("eventType", "itemId", "properties", "sentAt")}
    who = sent["call"]
    return payload | {"sessionId": who["sessionId"], "userId": who.get("userId")}


def _healthy() -> Iterator[dict[str, Any]]:
    yield {"eventId": "afterwards", "eventType": "view"}
