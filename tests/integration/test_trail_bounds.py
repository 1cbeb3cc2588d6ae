"""The trail and its WAL stay within their limit, however fast and by however many written."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

import pytest

from gateway.observability.history import history_file, steps, writer
from gateway.observability.history.reader import LIVES, EventFilter, HistoryReader
from gateway.observability.redaction import Redactor

EVENT = {"eventType": "view", "itemId": "x" * 15_000}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db-trail"


@pytest.fixture(autouse=True)
def quarter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of each limit, for a quick test."""
    for name in ("LIMIT_BYTES", "FILE_BYTES", "WAL_BYTES", "KEEP_BYTES", "SPARE_PAGES", "PIECE"):
        monkeypatch.setattr(history_file, name, getattr(history_file, name) // 4)
    monkeypatch.setattr(history_file, "BUSY_SECONDS", 0.1)
    monkeypatch.setattr(writer, "BATCH_BYTES", writer.BATCH_BYTES // 4)


@pytest.fixture
def largest(path: Path) -> Iterator[list[int]]:
    """The most bytes that the file and its WAL took together so far."""
    seen, ended = [0], Event()

    def watch() -> None:
        while not ended.wait(0.005):
            seen[0] = max(seen[0], size(path))

    thread = Thread(target=watch)
    thread.start()
    yield seen
    ended.set()
    thread.join()


def size(path: Path) -> int:
    names = [Path(f"{path}{suffix}") for suffix in ("", "-wal")]
    return sum(one.stat().st_size for one in names if one.exists())


def write(trail: writer.HistoryWriter, notes: int) -> int:
    """Write so many notes of 375 KB each; return how many steps are lost."""
    lost = 0
    for _ in range(notes):
        said = [({**EVENT, "eventId": f"e-{time.time_ns()}-{n}"}, "no") for n in range(25)]
        trail._notes.append((steps.refused, ("shop", None, said, "invalid_event", time.time())))
        lost += trail._write()[0]
    return lost


def test_several_writers_and_a_reader_that_stays_keep_it_within_its_limit(
    path: Path, largest: list[int]
) -> None:
    trails = [writer.HistoryWriter(path, Redactor([]), 0) for _ in range(3)]
    assert write(trails[0], 1) == 0
    with closing(sqlite3.connect(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM steps").fetchone()
        threads = [Thread(target=write, args=(trail, 6)) for trail in trails]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert write(trails[0], 40) == 0
    assert 8 << 20 < largest[0] < history_file.LIMIT_BYTES
    _, lives = HistoryReader(path).lives(EventFilter(), 0)
    assert len(lives) == LIVES


def test_what_is_too_old_is_deleted_and_its_room_given_back_without_anything_new(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trail = writer.HistoryWriter(path, Redactor([]), 0)
    assert write(trail, 15) == 0
    assert size(path) > 5 << 20
    now = time.time() + history_file.KEEP_SECONDS + 60
    monkeypatch.setattr(writer.time, "time", lambda: now)
    assert trail._write() == (0, None)
    assert size(path) < 2 << 20


def test_on_a_disk_that_gets_full_it_gives_way_before_the_queue_has_to(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trail = writer.HistoryWriter(path, Redactor([]), 1000)
    assert write(trail, 15) == 0
    monkeypatch.setattr(trail, "_free_bytes", lambda: 1000 + writer.RESERVE_BYTES - 1)
    assert write(trail, 1) == 25
    assert size(path) < 4 << 20
    monkeypatch.undo()
    assert write(trail, 1) == 0


def test_a_file_of_an_older_version_is_begun_anew(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE steps (n)")
        db.execute("PRAGMA user_version = 1")
    trail = writer.HistoryWriter(path, Redactor([]), 0)
    assert write(trail, 2) == 25
    assert len(HistoryReader(path).lives(EventFilter(), 0)[1]) == 25
