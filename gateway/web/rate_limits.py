"""Limit the events, rejected requests and wrong admin tokens of each address per minute.

Each worker counts for itself, or all of them in Redis. Addresses are stored as keyed hashes only.
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
REDIS_SECONDS = 0.25  # timeout
REDIS_PAUSE = 10.0  # seconds for which a worker counts for itself after Redis failed

log = logging.getLogger(__name__)
_per_minute = cache(RateLimitItemPerMinute)


class RateLimiter:
    """Count what each address sends."""

    def __init__(self, url: str, key: str, clock: Callable[[], float] = time.time) -> None:
        """Count at `url`, in memory or in Redis; hash addresses with `key`."""
        self._key = hashlib.blake2b(key.encode(), digest_size=32).digest()
        self._clock = clock
        self._local = FixedWindowRateLimiter(FixedWindowStorage(clock=clock))
        self._shared = None if url == MEMORY else FixedWindowRateLimiter(_redis(url))
        self._shared_from = 0.0
        self._logger = logs.RateLimitedLogger(log)

    def wait(self, site: Site, address: str, events: int) -> int:
        """Count events; return the seconds until this address may send more, 0 if it may now.

        A request larger than the whole limit is allowed if the address has sent nothing yet.
        """
        limit = site.events_per_minute
        return self.count(site.key, address, min(events, limit), limit)

    def count(self, counter: str, address: str, cost: int, limit: int) -> int:
        """Add to a counter (0 only reads it); return the seconds to wait past the limit."""
        item = _per_minute(limit)
        key = counter, self._hash(address)
        if self._shared and self._clock() >= self._shared_from:
            try:
                return self._wait(self._shared, item, key, cost)
            except StorageError as error:  # never a reason to reject events
                self._shared_from = self._clock() + REDIS_PAUSE
                self._logger.warning(Reason.RATE_LIMIT_STORAGE, str(error.storage_error))
        return self._wait(self._local, item, key, cost)

    def _wait(
        self,
        limiter: FixedWindowRateLimiter,
        item: RateLimitItemPerMinute,
        key: tuple[str, str],
        cost: int,
    ) -> int:
        if limiter.hit(item, *key, cost=cost):
            return 0
        left = limiter.get_window_stats(item, *key).reset_time - self._clock()
        return min(max(1, math.ceil(left)), MINUTE)

    def _hash(self, address: str) -> str:
        return hashlib.blake2b(network(address).encode(), key=self._key, digest_size=12).hexdigest()


class FixedWindowStorage(Storage):
    """Keep the counts of the present minute, and forget all of them at its end.

    limits' own MemoryStorage searches all keys for expired ones a hundred times a second, which
    takes 15 ms each time with 100,000 addresses.
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
    """Return the network that counts as one client: an IPv4 address, or an IPv6 /64 network."""
    host, colon, _port = address.partition(":")
    if "." in host or not colon:  # some proxies add the port
        return host
    if address.startswith("["):
        address = address[1:].partition("]")[0]
    try:
        parsed = ip_address(address)
    except ValueError:  # a trusted proxy may send `unknown`
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
