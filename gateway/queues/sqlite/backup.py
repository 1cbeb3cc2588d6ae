"""Copy the queue's file while other processes use it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from gateway import file_permissions
from gateway.queues import QueueUnavailable
from gateway.queues.sqlite.database import Database
from gateway.queues.sqlite.errors import unavailable
from gateway.reasons import Reason


def backup(source: Path, target: Path) -> None:
    """Copy the queue as it is now to `target`, durably; an existing file is never overwritten.

    The copy is one file that needs no WAL: it can be copied and moved by any means. It gets its
    name when it is complete. Raises QueueUnavailable.
    """
    database = Database(source, "FULL")
    if not database.exists():
        raise QueueUnavailable(Reason.CANNOT_OPEN, f"{source} does not exist: nothing to back up")
    if target.exists():
        raise _exists(target)
    try:
        # In a folder of its own, since SQLite puts its journal beside the copy.
        with TemporaryDirectory(dir=target.parent, prefix=f"{target.name}-") as folder:
            draft = Path(folder, target.name)
            file_permissions.create(draft)
            with database.reading() as db, closing(sqlite3.connect(draft)) as copy:
                _copy(db, copy)
            _sync(draft)
            os.link(draft, target)  # unlike a rename, fails if the name is taken meanwhile
        file_permissions.sync_folder(target.parent)
    except FileExistsError as error:
        raise _exists(target) from error
    except OSError as error:
        raise unavailable(error) from error
    finally:
        database.close()


def _copy(db: sqlite3.Connection, copy: sqlite3.Connection) -> None:
    """Copy all pages in one step, which other processes' commits can't restart."""
    try:
        db.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CORRUPT:
            raise  # the queue's own fault, which Database notes for its repair
        raise QueueUnavailable(unavailable(error).reason, f"backup failed: {error}") from error


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _exists(target: Path) -> QueueUnavailable:
    return QueueUnavailable(
        Reason.CANNOT_OPEN, f"{target} exists: name a new file, or move this one away"
    )
