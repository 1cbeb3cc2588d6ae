"""Read a table's rows from its leaf pages, if pages above them in the B-tree are lost.

Each leaf page takes the place of the table's root page by turns, so that SQLite itself reads the
rows on it. See https://www.sqlite.org/fileformat2.html.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, BinaryIO

from gateway.queues.sqlite.errors import UNREADABLE

PAGE_BYTES = 4096  # SQLite's default
TABLE_LEAF = 0x0D  # the first byte of such a page
CHANGE_COUNTER, FIRST_FREE = 24, 32  # offsets in the file's header, each of a big-endian integer
# What tells a table's rows from those of other tables, whose columns have other types.
SHAPES = {
    "queue": "typeof(event) = 'text' AND typeof(attempts) = 'integer'",
    "dead": "typeof(event) = 'text' AND typeof(reason) = 'text'",
}


class LeafPages:
    """The leaf pages of one table in a copy of the file, which is altered."""

    def __init__(self, db: sqlite3.Connection, file: BinaryIO, table: str) -> None:
        """`db` is open on the same copy as `file`, which is unbuffered."""
        self._db = db
        self._file = file
        self._selection = f"FROM {table} NOT INDEXED WHERE {SHAPES[table]}"
        db.execute("PRAGMA journal_mode = DELETE")  # writes the WAL into the file
        query = "SELECT rootpage FROM sqlite_schema WHERE name = ? AND typeof(rootpage) = 'integer'"
        roots = [root for (root,) in db.execute(query, (table,))]
        self._size = file.seek(0, 2) // PAGE_BYTES
        self._root = roots[0] if roots and 1 < roots[0] <= self._size else 0
        self._root_page = self._read(self._root) if self._root else b""

    def rows(self, columns: str) -> Iterator[tuple[Any, ...]]:
        """Yield each row's ID and columns, in the order of IDs if no page is damaged.

        Deleted rows are not read: their pages are free, or no longer point to them.
        """
        if not self._root:
            return
        free, first_ids = self._free_pages(), []
        for number in range(2, self._size + 1):
            if number not in free and self._read(number)[0] == TABLE_LEAF:
                first_ids += [(row[0], number) for row in self._select(number, "id", "LIMIT 1")]
        for _, number in sorted(first_ids):
            yield from self._select(number, f"id, {columns}")

    def _select(self, number: int, columns: str, limit: str = "") -> list[tuple[Any, ...]]:
        """Return rows of a page, up to the first one that can't be read."""
        rows: list[tuple[Any, ...]] = []
        page = self._root_page if number == self._root else self._read(number)
        self._write((self._root - 1) * PAGE_BYTES, page)
        counter = self._integer(CHANGE_COUNTER) + 1  # SQLite then reads the page again
        self._write(CHANGE_COUNTER, (counter % (1 << 32)).to_bytes(4, "big"))
        with suppress(*UNREADABLE):
            rows += self._db.execute(f"SELECT {columns} {self._selection} {limit}")
        return rows

    def _free_pages(self) -> set[int]:
        """Return the pages on the file's list of free pages, which are linked in trunks."""
        free: set[int] = set()
        trunk = self._integer(FIRST_FREE)
        while trunk and trunk not in free:
            page = self._read(trunk)
            numbers = [int.from_bytes(page[at : at + 4], "big") for at in range(0, len(page), 4)]
            free.add(trunk)
            trunk, length, *leaves = numbers or (0, 0)
            free.update(leaves[:length])
        return free

    def _integer(self, offset: int) -> int:
        self._file.seek(offset)
        return int.from_bytes(self._file.read(4), "big")

    def _read(self, number: int) -> bytes:
        self._file.seek((number - 1) * PAGE_BYTES)
        return self._file.read(PAGE_BYTES)

    def _write(self, offset: int, content: bytes) -> None:
        self._file.seek(offset)
        self._file.write(content)
