"""The queue in a SQLite file: `sqlite:///relative.db` or `sqlite:////absolute.db`."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path
from tempfile import TemporaryDirectory

from gateway.queues import Capabilities, ForwarderStatus, Lease, Outbox, Record, Status
from gateway.queues.deliveries import SiteDeliveries
from gateway.queues.group_commit import unheard
from gateway.queues.sqlite import totals
from gateway.queues.sqlite.backup import backup
from gateway.queues.sqlite.database import Database
from gateway.queues.sqlite.dead_letters import SqliteDeadLetters, find, forget, status
from gateway.queues.sqlite.errors import unavailable
from gateway.queues.sqlite.inbox import SqliteInbox
from gateway.queues.sqlite.locks import ForwarderLock, read_status
from gateway.queues.sqlite.outbox import SqliteOutbox
from gateway.queues.sqlite.recovery import damaged_rows, problems
from gateway.settings import Settings


class SqliteQueue:
    """One file. Sizes in bytes; `dedupe_seconds` is the window in which duplicates are dropped."""

    capabilities = Capabilities(local=True, searchable=True, verifiable=True)

    def __init__(
        self, path: Path, *, max_bytes: int, min_free_bytes: int, dedupe_seconds: int
    ) -> None:
        self.path = path
        self.history_path = Path(f"{path}-trail")
        self._max_bytes = max_bytes
        self._min_free_bytes = min_free_bytes
        self._dedupe_seconds = dedupe_seconds

    def open_inbox(self, committed: Callable[[int, float], None] = unheard) -> SqliteInbox:
        return self._inbox(self.path, committed)

    def open_outbox(self, *, once: bool = False) -> tuple[Lease, Outbox]:
        outbox = SqliteOutbox(self.path, dedupe_seconds=self._dedupe_seconds)
        return ForwarderLock(self.path), outbox

    def open_dead_letters(self) -> SqliteDeadLetters:
        return SqliteDeadLetters(self.path)

    def status(self) -> Status:
        return status(self.path)

    def count_unsettled(self) -> int:
        return status(self.path).queued  # in flight or not, they stay queued until settled

    def forwarder_status(self) -> ForwarderStatus | None:
        return read_status(self.path)

    def bytes_used(self) -> int:
        return Database(self.path, "FULL").bytes_used()

    def find(self, event_id: str) -> list[tuple[Record, int]]:
        return find(self.path, event_id)

    def forget(
        self, site: str, user_ids: Collection[str], hold_until: float | None = None
    ) -> tuple[int, int]:
        return forget(self.path, site, user_ids, hold_until)

    def deliveries(self) -> list[SiteDeliveries]:
        return totals.read(self.path)

    def exists(self) -> bool:
        return Database(self.path, "FULL").exists()

    def create(self) -> list[str]:
        return []

    def find_problems(self) -> list[str]:
        return problems(self.path, thorough=True) or damaged_rows(self.path)

    def require_storage(self) -> None:
        """Raise QueueError if an event could not be stored now.

        A file that does not exist yet is not created: a temporary one is tried in its place.
        """
        if self.exists():
            self.open_inbox().check()
            return
        folder = next(parent for parent in self.path.parents if parent.exists())
        try:
            with TemporaryDirectory(dir=folder, prefix=f"{self.path.name}-check-") as place:
                self._inbox(Path(place, self.path.name)).check()
        except OSError as error:
            raise unavailable(error) from error

    def backup(self, target: Path) -> None:
        backup(self.path, target)

    def _inbox(self, path: Path, committed: Callable[[int, float], None] = unheard) -> SqliteInbox:
        return SqliteInbox(
            path,
            max_bytes=self._max_bytes,
            min_free_bytes=self._min_free_bytes,
            dedupe_seconds=self._dedupe_seconds,
            committed=committed,
        )

    def __str__(self) -> str:
        return str(self.path)


def create_backend(settings: Settings) -> SqliteQueue:
    """Return the queue in the file that the URL names."""
    # Links followed, as SQLite does: its log, and so what we keep, is beside the file itself.
    path = Path(os.path.realpath(settings.queue.removeprefix("sqlite:///")))
    return SqliteQueue(
        path,
        max_bytes=settings.queue_max_bytes,
        min_free_bytes=settings.min_free_bytes,
        dedupe_seconds=settings.dedupe_seconds,
    )
