"""Which records of a file wait, in the forwarder's memory: by site and session, in order.

Of each there is the handle alone: 8 bytes, and some 250 for each session. An index by session in
the file would do as well, and cost every visitor's events a page of the log when they are stored.
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
    """One site's."""

    cursor: int = 0  # the last handle that is known
    handles: dict[str, array[int]] = field(default_factory=dict)  # of all sessions that are known
    ready: deque[str] = field(default_factory=deque)  # those sessions whose turn comes, in order


class SessionScheduler:
    """All sites'. A session of which anything is in flight, or put off, is not ready."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lines: defaultdict[str, _SiteSchedule] = defaultdict(_SiteSchedule)
        # Sessions in flight: how many records are outstanding, and the delay then asked for.
        self._outstanding: dict[tuple[str, str], tuple[int, float]] = {}
        self._delayed: list[tuple[float, str, str]] = []  # heap: due, site, session

    def known(self, site: str) -> tuple[int, int]:
        """The last handle that was added, and how many sessions there are."""
        return self._lines[site].cursor, len(self._lines[site].handles)

    def add(self, site: str, found: Iterable[tuple[int, str]]) -> None:
        """Records that came after those known: their handles and sessions."""
        line = self._lines[site]
        for handle, session_id in found:
            if session_id not in line.handles:
                line.handles[session_id] = array("q")
                line.ready.append(session_id)
            line.handles[session_id].append(handle)
            line.cursor = handle

    def next(self, site: str) -> tuple[str, Sequence[int]] | None:
        """The session whose turn it is, and the oldest of its handles."""
        line = self._lines[site]
        if not line.ready:
            return None
        return line.ready[0], line.handles[line.ready[0]][:BATCH_RECORDS].tolist()

    def take(self, site: str, count: int) -> None:
        """The next ones are taken, of which so many are still there."""
        line = self._lines[site]
        session_id = line.ready.popleft()
        del line.handles[session_id][:BATCH_RECORDS]
        if count:
            self._outstanding[site, session_id] = count, 0.0
        else:
            self._rejoin(site, session_id)

    def settle(self, item: Delivery) -> None:
        """What was taken is gone."""
        self._return(item, 0.0)

    def give_back(self, item: Delivery, delay: float) -> None:
        """What was taken waits again, and its session so many seconds at least."""
        line = self._lines[item.record.site]
        if item.handle <= line.cursor:  # else it will be found
            insort(line.handles[item.record.session_id], item.handle)
        self._return(item, delay)

    def wake(self) -> None:
        """Let the sessions whose delay is over wait in their lines again."""
        while self._delayed and self._delayed[0][0] <= self._clock():
            _, site, session_id = heapq.heappop(self._delayed)
            self._rejoin(site, session_id)

    def restart(self) -> None:
        """Know of nothing that waits: the file may be another one, with other handles."""
        self._lines.clear()
        busy = [*self._outstanding, *((site, session_id) for _, site, session_id in self._delayed)]
        for site, session_id in busy:
            self._lines[site].handles[session_id] = array("q")

    def _return(self, item: Delivery, delay: float) -> None:
        """A session of which nothing is outstanding any more may have more that waits."""
        session = item.record.site, item.record.session_id
        left, longest = self._outstanding.pop(session)
        if left > 1:
            self._outstanding[session] = left - 1, max(longest, delay)
        else:
            due = self._clock() + max(longest, delay)
            heapq.heappush(self._delayed, (due, *session))

    def _rejoin(self, site: str, session_id: str) -> None:
        line = self._lines[site]
        if line.handles[session_id]:
            line.ready.append(session_id)
        else:
            del line.handles[session_id]
