"""A forwarder over any outbox and sender, as the command `forward` builds it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from gateway.forwarder.batching import Call
from gateway.forwarder.delivery_recorder import DeliveryRecorder
from gateway.forwarder.forwarder import Forwarder
from gateway.forwarder.sender_pool import Clock, Sender
from gateway.observability.history import EventHistory
from gateway.observability.redaction import Redactor
from gateway.queues import Outbox
from gateway.queues.memory import MemoryQueue
from gateway.reload import ReloadableSettings

SECRET = "0123456789abcdef" * 4


class FakeClock(NamedTuple):
    """Two clocks that tests set."""

    monotonic: Callable[[], float]
    time: Callable[[], float]


class Accepting:
    """A sender whose every call is accepted."""

    def send(self, _call: Call) -> None:
        """Do nothing."""


def forwarder_of(
    outbox: Outbox,
    sender: Sender,
    folder: Path,
    clock: Clock = time,
    calls_per_second: float | None = None,
) -> Forwarder:
    """Return a forwarder with the default settings, but for the rate of the site `shop`."""
    sites = folder / "forwarder-sites.toml"
    sites.write_text('[sites.shop]\ntracking_id = "t"\norigins = ["https://shop.example"]\n')
    settings = ReloadableSettings({"GATEWAY_SITES": str(sites), "GATEWAY_SECRET_KEY": SECRET})
    if calls_per_second is not None:  # one that no sites file may ask for
        site = replace(settings.sites["shop"], calls_per_second=calls_per_second)
        settings.settings = replace(settings.settings, sites={"shop": site})
    queue = MemoryQueue()
    recorder = DeliveryRecorder(queue, EventHistory(), Redactor(()))
    return Forwarder(outbox, queue, sender, settings, recorder, clock)
