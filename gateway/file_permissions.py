"""Files that are no business of the machine's other users.

Each is its owner's; and its group's, where the umask says so. The usual umask lets everybody read,
and others who may write have it let the group.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

MODE = 0o660


def opener(path: str, flags: int) -> int:
    """For `open`."""
    return os.open(path, flags, MODE)


def create(path: Path) -> None:
    """Make a database where there is none; SQLite gives the log beside it the same mode.

    One that is there is not opened: to close it would drop all locks that SQLite has on it in this
    process.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, MODE))
