"""PutEvents without HTTP: take a signed request, return an answer, and record the call."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

from gateway.sandbox import signature, validation
from gateway.sandbox.errors import ApiError
from gateway.sandbox.faults import Fate, Faults

Call = dict[str, Any]
"""A recorded call: the body's members and the answer."""

MEMBERS = ("trackingId", "userId", "sessionId", "eventList")

_SERVER_FAULTS = {
    Fate.THROTTLE: ("ThrottlingException", "Rate exceeded"),
    Fate.INTERNAL_ERROR: ("InternalServerException", "An internal error occurred"),
    Fate.UNAVAILABLE: ("ServiceUnavailable", "The service is temporarily unavailable"),
}


@dataclass(frozen=True)
class Answer:
    """An HTTP response."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class NoAnswer(Exception):
    """Close the connection without an answer, at once or when the client gives up."""

    def __init__(self, *, hang: bool = False) -> None:
        super().__init__()
        self.hang = hang


class Calls:
    """The latest calls, oldest first. Safe to use from any thread."""

    def __init__(self, keep: int) -> None:
        self._calls: deque[Call] = deque(maxlen=keep)
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def add(self, call: Call) -> None:
        """Record one call and number it."""
        with self._lock:
            self._calls.append({"id": next(self._numbers), **call})

    def since(self, number: int = 0) -> list[Call]:
        """Return the recorded calls whose ID is higher than a number."""
        with self._lock:
            if not self._calls:
                return []
            known = number - self._calls[0]["id"] + 1
            return list(itertools.islice(self._calls, max(known, 0), None))

    def clear(self) -> None:
        """Delete all calls; IDs continue, so that clients who poll still get later calls."""
        with self._lock:
            self._calls.clear()


class PutEvents:
    """Answer PutEvents as AWS would, or as the faults in force say."""

    def __init__(
        self,
        faults: Faults,
        tracking_ids: Collection[str],
        keep: int,
        pause: Callable[[float], bool],
    ) -> None:
        """Record the last `keep` calls; `pause(seconds)` returns whether the server ends."""
        validation.put_events()  # compiled now, not during the first call
        self.calls = Calls(keep)
        self._tracking_ids = frozenset(tracking_ids)
        self._pause = pause
        self._lock = threading.Lock()
        self.faults = faults

    @property
    def faults(self) -> Faults:
        """Return the faults in force; setting them restarts their random sequence."""
        return self._faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        with self._lock:
            self._faults = faults
            self._dice = random.Random(faults.seed)  # noqa: S311 - not for secrets

    def answer(self, headers: Message[str, str], body: bytes) -> Answer:
        """Answer one call and record it; raise NoAnswer if a fault leaves it unanswered."""
        call = _new_call(time.time())
        with self._lock:
            faults, fate = self._faults, self._faults.fate(self._dice)
        if faults.latency and self._pause(faults.latency):
            raise NoAnswer
        if fate in (Fate.HANG, Fate.CUT_BEFORE):
            raise NoAnswer(hang=fate is Fate.HANG)
        try:
            self._accept(call, headers, body, faults, fate)
        except ApiError as refusal:
            call |= {"status": refusal.status, "error": refusal.name, "message": refusal.message}
        # The caller of a call that was cut off does not learn this.
        self.calls.add(call | {"answered": fate is not Fate.CUT_AFTER})
        if fate is Fate.CUT_AFTER:
            raise NoAnswer
        return _answer(call, faults)

    def _accept(
        self, call: Call, headers: Message[str, str], body: bytes, faults: Faults, fate: Fate
    ) -> None:
        """Fill in the call as far as it can be read; raise ApiError if it is rejected."""
        signer = signature.check(headers)
        call |= signer.to_json()
        members = validation.read(body)
        if isinstance(members, dict):
            call |= {name: members.get(name) for name in MEMBERS}
        if fate in _SERVER_FAULTS:
            raise ApiError(*_SERVER_FAULTS[fate])
        request = validation.validate(members)
        self._check_tracker(request.members["trackingId"], signer, faults)
        _check_items(request.members["eventList"], faults)
        call |= {**request.members, "ignored": request.ignored}

    def _check_tracker(self, tracking_id: str, signer: signature.Signer, faults: Faults) -> None:
        if tracking_id in faults.access_denied_tracking_ids:
            raise ApiError(
                "AccessDeniedException",
                f"User: {signer.access_key_id} is not authorized to perform: personalize:PutEvents",
            )
        unknown = self._tracking_ids and tracking_id not in self._tracking_ids
        if unknown or tracking_id in faults.refuse_tracking_ids:
            # Unconfirmed: AWS's answer to an unknown tracking ID has not been reported.
            raise ApiError("InvalidInputException", f"Invalid tracking ID: {tracking_id}")


def _check_items(events: list[dict[str, Any]], faults: Faults) -> None:
    for event in events:
        if event.get("itemId") in faults.refuse_item_ids:
            raise ApiError("InvalidInputException", f"Invalid item ID: {event['itemId']}")


def _new_call(now: float) -> Call:
    return {
        "receivedAt": now,
        "requestId": str(uuid.uuid4()),
        "status": 200,
        "error": None,
        "message": None,
        "answered": True,
        "region": None,
        "accessKeyId": None,
        **dict.fromkeys(MEMBERS),
        "ignored": [],
    }


def _answer(call: Call, faults: Faults) -> Answer:
    headers = {"Content-Type": "application/json", "x-amzn-RequestId": call["requestId"]}
    if call["error"] is None:
        return Answer(200, headers=headers)
    headers["x-amzn-ErrorType"] = call["error"]
    is_passing = call["error"] == "ThrottlingException" or call["status"] >= 500
    if is_passing and faults.retry_after is not None:
        headers["Retry-After"] = str(faults.retry_after)
    return Answer(call["status"], json.dumps({"message": call["message"]}).encode(), headers)
