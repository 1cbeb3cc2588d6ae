"""What SQLite and the file system say, as the reason codes of the queue."""

from __future__ import annotations

import errno
import sqlite3

from gateway.queues import QueueUnavailable
from gateway.reasons import Reason

UNREADABLE = (sqlite3.DatabaseError, UnicodeError)  # SQLite may quote garbage
# SQLite's extended error names, by their beginnings → our reason codes.
REASONS = {
    "SQLITE_FULL": Reason.DISK_FULL,
    "SQLITE_READONLY": Reason.READ_ONLY,
    "SQLITE_BUSY": Reason.BUSY,
    "SQLITE_CORRUPT": Reason.DAMAGED,
    "SQLITE_NOTADB": Reason.DAMAGED,
    "SQLITE_CANTOPEN": Reason.CANNOT_OPEN,
}
# The same for what the operating system says of the folder, by errno.
OS_REASONS = {
    errno.ENOSPC: Reason.DISK_FULL,
    errno.EDQUOT: Reason.DISK_FULL,
    errno.EROFS: Reason.READ_ONLY,
    errno.EACCES: Reason.READ_ONLY,
    errno.EPERM: Reason.READ_ONLY,
    errno.ENOENT: Reason.CANNOT_OPEN,
    errno.ENOTDIR: Reason.CANNOT_OPEN,
    errno.EISDIR: Reason.CANNOT_OPEN,
    errno.EEXIST: Reason.CANNOT_OPEN,
}


def unavailable(error: Exception) -> QueueUnavailable:
    """Return a failure of SQLite or of the file system with its reason code."""
    if isinstance(error, OSError):
        return QueueUnavailable(OS_REASONS.get(error.errno or 0, Reason.IO_ERROR), str(error))
    if isinstance(error, UnicodeError):  # SQLite quotes what it finds in the file
        return QueueUnavailable(Reason.DAMAGED, "SQLite: text in the file is not UTF-8")
    name = getattr(error, "sqlite_errorname", "")
    reason = next(
        (code for start, code in REASONS.items() if name.startswith(start)), Reason.IO_ERROR
    )
    return QueueUnavailable(reason, f"SQLite: {error}")
