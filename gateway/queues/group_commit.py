"""Group commit: callers that wait at the same moment share one transaction and one fsync."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from gateway.threadpool import run_in_threadpool

Item = TypeVar("Item")
Result = TypeVar("Result")


def unheard(_items: int, _seconds: float) -> None:
    """Ignore a commit: the default when nobody measures."""


class _Entry(Generic[Item, Result]):
    """One caller's items, their results, and the lock on which it waits for them."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items
        self.results: Sequence[Result] = ()
        self.error: BaseException | None = None
        self.leads = False
        self._settled = threading.Lock()
        self._settled.acquire()

    def wait(self) -> None:
        self._settled.acquire()

    def wake(self) -> None:
        self._settled.release()


class GroupCommit(Generic[Item, Result]):
    """Call `store(items)` once for all items that arrived while the last call was in progress.

    `store` returns a result for each item; each caller gets its own.

    There is no background thread: the first caller leads, commits for all that wait, and hands the
    lead to a caller that arrived meanwhile. So the same code serves workers with threads, with
    greenlets, and with neither.
    """

    def __init__(
        self,
        store: Callable[[Sequence[Item]], Sequence[Result]],
        call: Callable[..., Sequence[Result]] | None = None,
        committed: Callable[[int, float], None] = unheard,
    ) -> None:
        """Use `call(store, items)` to make the call, by default `run_in_threadpool`.

        `committed(items, seconds)` is called after each success.
        """
        self._store = store
        self._committed = committed
        self._call = call or run_in_threadpool
        self._mutex = threading.Lock()
        self._waiting: list[_Entry[Item, Result]] = []
        self._busy = False

    def commit(self, items: Sequence[Item]) -> Sequence[Result]:
        """Return when the items are stored; raise what `store` raised."""
        entry: _Entry[Item, Result] = _Entry(items)
        with self._mutex:
            self._waiting.append(entry)
            entry.leads, self._busy = not self._busy, True
        if not entry.leads:
            entry.wait()
        if entry.leads:
            self._lead()
        if entry.error:
            raise entry.error
        return entry.results

    def _lead(self) -> None:
        with self._mutex:
            group, self._waiting = self._waiting, []
        items = [item for entry in group for item in entry.items]
        started = time.monotonic()
        try:
            results = self._call(self._store, items)
            self._committed(len(items), time.monotonic() - started)
            for entry in group:
                entry.results, results = results[: len(entry.items)], results[len(entry.items) :]
        except BaseException as error:  # whatever it is, every waiting caller must get it
            for entry in group:
                entry.error = error
        for entry in group:
            entry.leads = False
            entry.wake()
        self._hand_over()

    def _hand_over(self) -> None:
        with self._mutex:
            self._busy = bool(self._waiting)
            if self._busy:
                self._waiting[0].leads = True
                self._waiting[0].wake()
