"""How many events an address may send to a site in a minute, and how often guess the admin token.

Counted in each worker by itself, or in Redis for all of them. Neither learns an address: what is
counted is a keyed hash of it.
"""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections import Counter
from collections.abc import Callable
from functools import cache
from ipaddress import ip_address

from limits import RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import Storage, storage_from_string
from limits.strategies import FixedWindowRateLimiter

from gateway.observability import logs
from gateway.reasons import Reason
from gateway.sites import Site

MEMORY = "memory://"
MINUTE = 60
REDIS_SECONDS = 0.25  # to answer
REDIS_PAUSE = 10.0  # seconds for which each worker counts by itself after Redis failed

log = logging.getLogger(__name__)
_a_minute = cache(RateLimitItemPerMinute)  # of so many


class RateLimiter:
    """What each address has sent."""

    def __init__(self, url: str, key: str, clock: Callable[[], float] = time.time) -> None:
        """`url`: where to count; `key`: what the addresses are hashed with."""
        self._key = hashlib.blake2b(key.encode(), digest_size=32).digest()
        self._clock = clock
        self._own = FixedWindowRateLimiter(FixedWindowStorage(clock=clock))
        self._shared = None if url == MEMORY else FixedWindowRateLimiter(_redis(url))
        self._shared_from = 0.0
        self._repeats = logs.RateLimitedLogger(log)

    def wait(self, site: Site, address: str, events: int) -> int:
        """Count events; the seconds until this address may send on, 0 for now.

        A request that is larger than the whole limit is taken by whoever has sent nothing yet.
        """
        limit = site.events_per_minute
        return self.count(site.key, address, min(events, limit), limit)

    def count(self, what: str, address: str, cost: int, limit: int) -> int:
        """Count something, or with a cost of 0 only look; the seconds to wait past the limit."""
        item = _a_minute(limit)
        whose = what, self._hashed(address)
        if self._shared and self._clock() >= self._shared_from:
            try:
                return self._wait(self._shared, item, whose, cost)
            except StorageError as error:  # never a reason to refuse events
                self._shared_from = self._clock() + REDIS_PAUSE
                self._repeats.say(Reason.RATE_LIMIT_STORAGE, str(error.storage_error))
        return self._wait(self._own, item, whose, cost)

    def _wait(
        self,
        limiter: FixedWindowRateLimiter,
        item: RateLimitItemPerMinute,
        whose: tuple[str, str],
        cost: int,
    ) -> int:
        if limiter.hit(item, *whose, cost=cost):
            return 0
        left = limiter.get_window_stats(item, *whose).reset_time - self._clock()
        return min(max(1, math.ceil(left)), MINUTE)

    def _hashed(self, address: str) -> str:
        return hashlib.blake2b(network(address).encode(), key=self._key, digest_size=12).hexdigest()


class FixedWindowStorage(Storage):
    """Counts of the present minute, all forgotten with it.

    limits' own MemoryStorage looks for what has expired a hundred times a second, through every
    key: 15 ms each time for 100,000 addresses.
    """

    STORAGE_SCHEME = None
    base_exceptions = ()

    def __init__(self, *, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._minute = 0
        self._counts: Counter[str] = Counter()

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        self._turn()
        self._counts[key] += amount
        return self._counts[key]

    def get(self, key: str) -> int:
        self._turn()
        return self._counts[key]

    def get_expiry(self, key: str) -> float:
        return (self._minute + 1) * MINUTE

    def check(self) -> bool:
        return True

    def reset(self) -> int:
        count = len(self._counts)
        self._counts.clear()
        return count

    def clear(self, key: str) -> None:
        self._counts.pop(key, None)

    def _turn(self) -> None:
        minute = int(self._clock() // MINUTE)
        if minute != self._minute:
            self._minute, self._counts = minute, Counter()


def network(address: str) -> str:
    """Whom an address stands for: in IPv6 a host has a whole /64 to choose from."""
    host, colon, _port = address.partition(":")
    if "." in host or not colon:  # some proxies add the port
        return host
    if address.startswith("["):
        address = address[1:].partition("]")[0]
    try:
        parsed = ip_address(address)
    except ValueError:  # what a trusted proxy said: `unknown`, say
        return address
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(mapped) if mapped else f"{int(parsed) >> 64:x}::/64"


def _redis(url: str) -> Storage:
    storage = storage_from_string(
        url,
        wrap_exceptions=True,
        socket_timeout=REDIS_SECONDS,
        socket_connect_timeout=REDIS_SECONDS,
    )
    assert isinstance(storage, Storage)  # noqa: S101 - an async one has another scheme
    return storage
