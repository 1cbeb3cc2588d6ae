"""Schedule sessions: which records wait, by site and session, in order, in the forwarder's memory.

Only handles are kept: 8 bytes a record and about 250 a session. An index by session in the file
would do the same, but writing it would cost each stored event a page of the WAL.
"""

from __future__ import annotations

import heapq
from array import array
from bisect import insort
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from gateway.queues import BATCH_RECORDS, Delivery


@dataclass
class _SiteSchedule:
    """The sessions of one site."""

    cursor: int = 0  # the last handle that was added
    handles: dict[str, array[int]] = field(default_factory=dict)  # by session
    ready: deque[str] = field(default_factory=deque)  # sessions that may be received, in order


class SessionScheduler:
    """The sessions of all sites. A session with records in flight, or delayed, is not ready."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._schedules: defaultdict[str, _SiteSchedule] = defaultdict(_SiteSchedule)
        # Sessions in flight: how many records are outstanding, and the longest delay asked for.
        self._outstanding: dict[tuple[str, str], tuple[int, float]] = {}
        self._delayed: list[tuple[float, str, str]] = []  # heap: due, site, session

    def known(self, site: str) -> tuple[int, int]:
        """Return the last handle that was added, and the number of sessions."""
        return self._schedules[site].cursor, len(self._schedules[site].handles)

    def add(self, site: str, found: Iterable[tuple[int, str]]) -> None:
        """Add records that were stored after those known: their handles and sessions."""
        schedule = self._schedules[site]
        for handle, session_id in found:
            if session_id not in schedule.handles:
                schedule.handles[session_id] = array("q")
                schedule.ready.append(session_id)
            schedule.handles[session_id].append(handle)
            schedule.cursor = handle

    def next(self, site: str, *, newest: bool = False) -> tuple[str, Sequence[int]] | None:
        """Return the next ready session and its oldest handles.

        It is the one that waits longest, or with `newest` the one with the latest record.
        """
        schedule = self._schedules[site]
        if not schedule.ready:
            return None
        session_id = schedule.ready[0]
        if newest:
            session_id = max(schedule.ready, key=lambda name: schedule.handles[name][-1])
        return session_id, schedule.handles[session_id][:BATCH_RECORDS].tolist()

    def hand_out(self, site: str, session_id: str, count: int) -> None:
        """Mark a ready session as in flight, with the number of its records that still exist."""
        schedule = self._schedules[site]
        schedule.ready.remove(session_id)  # quick: mostly the first one
        del schedule.handles[session_id][:BATCH_RECORDS]
        if count:
            self._outstanding[site, session_id] = count, 0.0
        else:
            self._rejoin(site, session_id)

    def settle(self, delivery: Delivery) -> None:
        """Mark a record in flight as delivered or dead."""
        self._return(delivery, 0.0)

    def release(self, delivery: Delivery, delay: float) -> None:
        """Let a record in flight wait again, and its session for at least `delay` seconds."""
        schedule = self._schedules[delivery.record.site]
        if delivery.handle <= schedule.cursor:  # later ones will be added anyway
            insort(schedule.handles[delivery.record.session_id], delivery.handle)
        self._return(delivery, delay)

    def wake(self) -> None:
        """Make sessions ready whose delay is over."""
        while self._delayed and self._delayed[0][0] <= self._clock():
            _, site, session_id = heapq.heappop(self._delayed)
            self._rejoin(site, session_id)

    def restart(self) -> None:
        """Forget what waits: the file may have been replaced, with other handles in it."""
        self._schedules.clear()
        busy = [*self._outstanding, *((site, session_id) for _, site, session_id in self._delayed)]
        for site, session_id in busy:
            self._schedules[site].handles[session_id] = array("q")

    def _return(self, delivery: Delivery, delay: float) -> None:
        """Count a record as no longer outstanding; schedule its session after the last one."""
        session = delivery.record.site, delivery.record.session_id
        left, longest = self._outstanding.pop(session)
        if left > 1:
            self._outstanding[session] = left - 1, max(longest, delay)
        else:
            due = self._clock() + max(longest, delay)
            heapq.heappush(self._delayed, (due, *session))

    def _rejoin(self, site: str, session_id: str) -> None:
        schedule = self._schedules[site]
        if schedule.handles[session_id]:
            schedule.ready.append(session_id)
        else:
            del schedule.handles[session_id]
