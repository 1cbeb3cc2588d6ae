"""Read what can still be read of a damaged SQLite file."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from heapq import merge
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gateway.queues.sqlite.errors import UNREADABLE
from gateway.queues.sqlite.leaf_pages import LeafPages
from gateway.queues.sqlite.rows import UNCHECKED, decode

HOPS = 10_000  # ids after the last readable one, of which none can be read
GREATEST = 1 << 48  # id; more were not given in all the time that a queue may live


def connect(path: Path) -> sqlite3.Connection:
    """Open a file whose texts may not be UTF-8 any more."""
    db = sqlite3.connect(path)
    db.text_factory = decode
    return db


def copy_file(path: Path, folder: Path) -> Path:
    """Copy a file that nobody writes to, with its WAL; return the copy."""
    copy = folder / "copy"
    for suffix in ("-wal", ""):
        if (source := Path(f"{path}{suffix}")).exists():
            shutil.copyfile(source, f"{copy}{suffix}")
    return copy


def readable(path: Path, table: str, columns: str) -> Iterator[tuple[Any, ...]]:
    """Yield every row that can still be read, in the order of IDs."""
    with closing(connect(path)) as db:
        db.execute("PRAGMA writable_schema = ON")  # else a file that was cut short is unreadable
        if not _has_checksums(db, table):
            columns = columns.replace("checksum", str(UNCHECKED))
        ids = sorted(_ids(db, table))
        rows = _rows_by_id(db, table, columns, ids)
        if not all(_is_readable(db, table, row_id) for row_id in ids):
            rows = merge(rows, _leaf_rows(path, table, columns), key=itemgetter(0))
        last_id, found = _last_id(db, table), set[int]()
        for row_id, *values in rows:
            if 0 < row_id <= last_id and row_id not in found:
                found.add(row_id)
                yield tuple(values)


def _rows_by_id(
    db: sqlite3.Connection, table: str, columns: str, ids: Iterable[int]
) -> Iterator[tuple[Any, ...]]:
    for row_id in ids:
        with suppress(*UNREADABLE):
            query = f"SELECT id, {columns} FROM {table} WHERE id = ?"
            yield from db.execute(query, (row_id,)).fetchall()


def _is_readable(db: sqlite3.Connection, table: str, row_id: int) -> bool:
    """Return whether the pages above a row can be read, if there is such a row."""
    with suppress(*UNREADABLE):
        db.execute(f"SELECT 1 FROM {table} WHERE id = ?", (row_id,)).fetchall()
        return True
    return False


def _leaf_rows(path: Path, table: str, columns: str) -> Iterator[tuple[Any, ...]]:
    """Yield the ID and columns of the rows on a table's leaf pages, wherever these are."""
    with TemporaryDirectory(dir=path.parent, prefix=f"{path.name}-") as folder:
        copy = copy_file(path, Path(folder))
        with suppress(*UNREADABLE), closing(connect(copy)) as db:
            db.execute("PRAGMA writable_schema = ON")
            with copy.open("r+b", buffering=0) as file:
                yield from LeafPages(db, file, table).rows(columns)


def _ids(db: sqlite3.Connection, table: str) -> set[int]:
    """Return the IDs that table and indexes still name: from both ends, as each stops at damage."""
    found = set(_hops(db, table))
    for query in (
        f"SELECT id FROM {table} NOT INDEXED ORDER BY id DESC",
        f"SELECT id FROM {table} INDEXED BY {table}_by_site",
    ):
        with suppress(*UNREADABLE):
            for (row_id,) in db.execute(query):
                found.add(row_id)
    return {row_id for row_id in found if 0 < row_id <= _last_id(db, table)}


def _last_id(db: sqlite3.Connection, table: str) -> int:
    """Return the last ID that was assigned, if it can be read: a greater one is garbage."""
    with suppress(*UNREADABLE):
        query = "SELECT seq FROM sqlite_sequence WHERE name = ?"
        for (found,) in db.execute(query, (table,)):
            return found if isinstance(found, int) and 0 < found < GREATEST else GREATEST
    return GREATEST


def _has_checksums(db: sqlite3.Connection, table: str) -> bool:
    with suppress(*UNREADABLE):
        return any(row[1] == "checksum" for row in db.execute(f"PRAGMA table_info({table})"))
    return False


def _hops(db: sqlite3.Connection, table: str) -> Iterator[int]:
    """Yield a table's IDs in order; where a page is damaged, all IDs that may be on it."""
    query = f"SELECT id FROM {table} NOT INDEXED WHERE id > ? ORDER BY id"
    at = misses = 0
    last = _last_id(db, table)
    while misses < HOPS and at < last:
        with suppress(*UNREADABLE):
            for (found,) in db.execute(query, (at,)):
                if not at < found <= last:  # garbage, from which nothing follows
                    break
                at, misses = found, 0
                yield at
            else:
                return
        at, misses = at + 1, misses + 1
        yield at
