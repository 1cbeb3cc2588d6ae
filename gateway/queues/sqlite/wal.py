"""How much of SQLite's write-ahead log is in use, which may be less than its file.

After a checkpoint SQLite writes it from its beginning again: to overwrite takes a disk half as long
as to append. The frames of the present turn bear the salts of
its header (https://www.sqlite.org/fileformat2.html#walformat). SQLite's own index of the log must
not be opened for this: to close it drops all locks that the process has on it.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_left
from pathlib import Path

HEADER = struct.Struct(">8xI4x8s8x")  # page size and salts
FRAME_HEADER = 24  # bytes
FRAME_SALTS = slice(8, 16)


def file_size(path: Path) -> int:
    """Return the size of this database's WAL file in bytes."""
    try:
        return os.stat(f"{path}-wal").st_size
    except FileNotFoundError:
        return 0


def bytes_used(path: Path) -> int:
    """Return the bytes of the WAL that are in use."""
    try:
        log = os.open(f"{path}-wal", os.O_RDONLY)
    except OSError:  # there is none; or SQLite will say what is wrong
        return 0
    try:
        return _bytes_used(log)
    finally:
        os.close(log)


def _bytes_used(log: int) -> int:
    header = os.pread(log, HEADER.size, 0)
    if len(header) < HEADER.size:
        return 0
    page_size: int
    salts: bytes
    page_size, salts = HEADER.unpack(header)
    frame = FRAME_HEADER + page_size

    def is_old(number: int) -> bool:
        # Nothing is found where somebody has just cut the log off.
        found = os.pread(log, FRAME_HEADER, HEADER.size + number * frame)
        return found[FRAME_SALTS] != salts

    frames = range((os.fstat(log).st_size - HEADER.size) // frame)
    return HEADER.size + frame * bisect_left(frames, True, key=is_old)
