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


def make_folder(path: Path) -> None:
    """Create a folder, and those above it, so that they survive a loss of power."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make durable which files a folder has, and under which names."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_durably(path: Path, text: str) -> None:
    """Write a small file: after a loss of power it is complete, or as it was before."""
    draft = path.with_name(f"{path.name}.new")
    with open(draft, "w", encoding="utf-8", opener=opener) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def create(path: Path) -> None:
    """Create an empty database file if there is none; SQLite gives its WAL the same permissions.

    An existing file is not opened: closing it would drop all locks that SQLite holds on it in this
    process.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, MODE))
