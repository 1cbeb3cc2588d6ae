"""Disk space kept for the moment when others have filled the disk: to delete takes some first."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from gateway import file_permissions
from gateway.queues.sqlite.database import Database

BYTES = 4 << 20  # the log of a few settlements
LOW = BYTES // 8  # bytes of free disk below which it is thrown


class Ballast:
    """A file beside the database, there while the disk has room for it. No fault is raised."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._path = Path(f"{database.path}-ballast")

    def hold(self) -> None:
        """Take it on board, where the disk has twice as much room."""
        with suppress(OSError):
            if not self._path.exists() and self._database.free_bytes() >= 2 * BYTES:
                with open(self._path, "wb", opener=file_permissions.opener) as file:
                    file.write(os.urandom(BYTES))  # what no file system can compress

    def throw(self) -> None:
        """Give its space to the database, where there is hardly any left."""
        with suppress(OSError):
            if self._database.free_bytes() < LOW:
                self._path.unlink(missing_ok=True)
