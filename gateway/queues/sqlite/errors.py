"""What SQLite and the file system say, as the reason codes of the queue."""

from __future__ import annotations

import errno

from gateway.queues import QueueUnavailable

# SQLite's extended error names, by their beginnings → our reason codes.
REASONS = {
    "SQLITE_FULL": "disk_full",
    "SQLITE_READONLY": "read_only",
    "SQLITE_BUSY": "busy",
    "SQLITE_CORRUPT": "damaged",
    "SQLITE_NOTADB": "damaged",
    "SQLITE_CANTOPEN": "cannot_open",
}
# The same for what the operating system says of the folder, by errno.
OS_REASONS = {
    errno.ENOSPC: "disk_full",
    errno.EDQUOT: "disk_full",
    errno.EROFS: "read_only",
    errno.EACCES: "read_only",
    errno.EPERM: "read_only",
    errno.ENOENT: "cannot_open",
    errno.ENOTDIR: "cannot_open",
    errno.EISDIR: "cannot_open",
    errno.EEXIST: "cannot_open",
}


def unavailable(error: Exception) -> QueueUnavailable:
    """A failure of SQLite or of the file system, with its reason code."""
    if isinstance(error, OSError):
        return QueueUnavailable(OS_REASONS.get(error.errno or 0, "io_error"), str(error))
    name = getattr(error, "sqlite_errorname", "")
    reason = next((code for start, code in REASONS.items() if name.startswith(start)), "io_error")
    return QueueUnavailable(reason, f"SQLite: {error}")
