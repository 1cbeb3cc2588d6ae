"""Create files that other users of the machine can't read.

The owner may read and write; so may the group, unless the umask takes that away.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

MODE = 0o660


def opener(path: str, flags: int) -> int:
    """Open a file with these permissions; an `opener` for `open`."""
    return os.open(path, flags, MODE)


def create(path: Path) -> None:
    """Create an empty database file if there is none; SQLite gives its WAL the same permissions.

    An existing file is not opened: closing it would drop all locks that SQLite holds on it in this
    process.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, MODE))
