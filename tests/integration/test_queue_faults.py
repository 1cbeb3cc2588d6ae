"""What the SQLite queue keeps where disks fail, files are damaged, cut or replaced, clocks jump."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.queues import QueueError, QueueUnavailable, Rejection, UserForgotten
from gateway.queues.sqlite import schema
from gateway.queues.sqlite.dead_letters import SqliteDeadLetters, find, forget, status
from gateway.queues.sqlite.locks import ForwarderLock, QueueLocks
from gateway.queues.sqlite.outbox import SqliteOutbox
from gateway.queues.sqlite.recovery import damaged_rows, problems
from tests.helpers.disk_replay import crashes
from tests.helpers.queue_contract import SqliteBackend, drain, ids, receive, receive_all, record
from tests.helpers.support import ROOT

LATE = 4e9  # epoch seconds, of a hold that does not end here

DAMAGES = int(os.environ.get("SOAK_DAMAGES", "8"))
PAGE = 4096


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[SqliteBackend]:
    backend = SqliteBackend(tmp_path)
    yield backend
    for outbox in backend._outboxes:
        outbox.close()


def fill(backend: SqliteBackend, count: int) -> list[str]:
    """Store events, all of them in the file itself; their eventIds."""
    names = [f"event-{number:04}" for number in range(count)]
    inbox = backend.inbox()
    inbox.put(
        [
            record(session_id=f"s-{n % 7}", event_id=name, event=f'{{"eventId": "{name}"}}')
            for n, name in enumerate(names)
        ]
    )
    inbox._database.require_truncated_wal("in use")
    inbox._database.close()
    return names


def alter(path: Path, old: bytes, new: bytes) -> None:
    """Change what stands in the file as if the disk had."""
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))


def deliver(outbox: SqliteOutbox) -> list:
    """Take and settle as the forwarder does, repairs included, until nothing is left."""
    delivered, idle = [], 0
    while idle < 3:
        try:
            taken = receive(outbox)
            sound = [item for item in taken if not item.is_damaged]
            letters = [Rejection(item, "damaged", "", 0) for item in taken if item.is_damaged]
            outbox.settle(sound, letters, [])
            delivered += [item.record for item in sound]
            idle += not taken
        except QueueUnavailable:
            outbox.repair(thorough=True)
            idle += 1
    return delivered


# --- rows ---


def test_a_row_whose_text_is_no_utf8_costs_only_itself(backend):
    names = fill(backend, 40)
    alter(backend.path, b'{"eventId": "event-0007"}', b'{"eventId": "event-\xff007"}')
    assert status(backend.path).queued == 40
    assert damaged_rows(backend.path) == [f"{backend.path}: 1 row is damaged in the table queue"]
    delivered = deliver(backend.outbox())
    assert sorted(item.event_id for item in delivered) == [n for n in names if n != "event-0007"]
    [letter] = backend.dead()
    assert (letter.reason, letter.record.event_id) == ("damaged", "event-0007")
    assert "event-\\\\xff007" in letter.record.event


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'{"eventId": "event-0007"}', b'{"eventId": "event-9007"}'),
        (b'{"eventId": "event-0007"}', b'{"eventId": "event-0007 }'),
    ],
)
def test_altered_content_is_never_delivered(backend, old, new):
    names = fill(backend, 40)
    alter(backend.path, old, new)
    delivered = deliver(backend.outbox())
    assert sorted(item.event_id for item in delivered) == [n for n in names if n != "event-0007"]
    assert [letter.reason for letter in backend.dead()] == ["damaged"]


def test_a_damaged_dead_letter_is_listed_as_such(backend):
    fill(backend, 3)
    outbox = backend.outbox()
    outbox.settle([], [Rejection(item, "refused", "m", 1) for item in receive(outbox)], [])
    outbox._database.require_truncated_wal("in use")
    outbox.close()
    alter(backend.path, b'{"eventId": "event-0001"}', b'{"eventId": "event-\xff001"}')
    reasons = {letter.record.event_id: letter.reason for letter in backend.dead()}
    assert reasons == {"event-0000": "refused", "event-0001": "damaged", "event-0002": "refused"}
    assert find(backend.path, "event-0001") == []


def _schema_of_version(version: int) -> str:
    text = schema.SCHEMA.replace(schema.HOLDS + schema.TOTALS, "")
    if version == 1:
        lines = [line for line in text.splitlines() if "checksum" not in line]
        text = "\n".join(lines).replace("DEFAULT 0,\n)", "DEFAULT 0\n)")
        text = text.replace("died_at REAL NOT NULL,\n)", "died_at REAL NOT NULL\n)")
    return text


@pytest.mark.parametrize("version", [1, 2])
def test_a_file_of_an_older_version_is_brought_up_to_date_in_place(backend, version):
    with closing(sqlite3.connect(backend.path)) as db:
        db.executescript(_schema_of_version(version))
        db.execute(f"PRAGMA user_version = {version}")
        values = ", ".join("?" * 7)
        rows = [record(event_id="old"), record(event_id="broken", event="no JSON")]
        db.executemany(f"INSERT INTO queue ({schema.COLUMNS}) VALUES ({values})", rows)
        db.commit()
    assert problems(backend.path, thorough=False) == []
    backend.inbox().put([record(event_id="new")])
    assert [item.event_id for item in deliver(backend.outbox())] == ["old", "new"]
    assert [letter.record.event_id for letter in backend.dead()] == ["broken"]
    forget(backend.path, "shop", ["u-1"], LATE)
    with pytest.raises(UserForgotten):
        backend.inbox().put([record(user_id="u-1")])


def test_a_repair_keeps_the_users_that_are_held(backend):
    fill(backend, 300)
    forget(backend.path, "shop", ["u-1", "u-2"], LATE)
    content = bytearray(backend.path.read_bytes())
    content[-2 * 4096 :] = b"\xff" * 2 * 4096
    backend.path.write_bytes(content)
    assert backend.outbox().repair() is not None
    for user_id in ("u-1", "u-2"):
        with pytest.raises(UserForgotten):
            backend.inbox().put([record(user_id=user_id)])
    assert backend.inbox().put([record(user_id="u-3")]) == [True]


# --- the file ---


def test_random_damage_brings_back_nothing_altered_and_ends(tmp_path):
    pristine = SqliteBackend(tmp_path)
    names = fill(pristine, 300)
    wanted = {name: f'{{"eventId": "{name}"}}' for name in names}
    content = pristine.path.read_bytes()
    seed = int(os.environ.get("SOAK_SEED", random.randrange(1_000_000)))
    for number in range(seed, seed + DAMAGES):
        print(f"seed {number}")  # shown where it fails
        folder = tmp_path / str(number)
        folder.mkdir()
        backend = SqliteBackend(folder)
        backend.path.write_bytes(damaged(content, random.Random(number)))
        for ask in (status, lambda path: problems(path, thorough=True)):
            with suppress(QueueError):
                ask(backend.path)
        with suppress(QueueError):
            backend.dead()
        outbox = backend.outbox()
        with suppress(QueueError):
            outbox.repair()
        for item in deliver(outbox):
            assert wanted.get(item.event_id) == item.event
        backend.dead()
        assert backend.inbox().put([record(event_id="after")]) == [True]
        assert [item.event_id for item in deliver(outbox)] == ["after"]
        outbox.close()
        shutil.rmtree(folder)


def damaged(content: bytes, dice: random.Random) -> bytes:
    """Return the file with a few bytes, or pages, overwritten, swapped or cut off."""
    data, pages = bytearray(content), len(content) // PAGE
    for _ in range(dice.randint(1, 5)):
        kind, page = dice.choice(("bytes", "zeros", "page", "copy", "cut")), dice.randrange(pages)
        if kind == "bytes":
            at, length = dice.randrange(len(data)), dice.randint(1, 16)
            data[at : at + length] = dice.randbytes(length)
        elif kind == "cut":
            del data[dice.randrange(PAGE, len(content)) :]
        else:
            other = dice.randrange(pages) * PAGE
            source = {"zeros": bytes(PAGE), "page": dice.randbytes(PAGE)}
            data[page * PAGE : (page + 1) * PAGE] = source.get(kind, data[other : other + PAGE])
    return bytes(data)


def _pages_above_leaves(path: Path, table: str) -> list[int]:
    """Return the numbers of a table's pages that have no rows."""
    with closing(sqlite3.connect(path)) as db:
        query = "SELECT rootpage FROM sqlite_schema WHERE name = ?"
        pages = [number for (number,) in db.execute(query, (table,))]
    content = path.read_bytes()
    for number in pages:
        page = content[(number - 1) * PAGE : number * PAGE]
        if page[0] == 5:  # its header of 12 bytes, and the offsets of cells with a page number each
            cells = int.from_bytes(page[3:5], "big")
            offsets = [int.from_bytes(page[12 + 2 * n :][:2], "big") for n in range(cells)]
            children = [page[8:12], *(page[offset : offset + 4] for offset in offsets)]
            pages += [int.from_bytes(child, "big") for child in children]
    return [number for number in pages if content[(number - 1) * PAGE] == 5]


@pytest.mark.parametrize("content", [bytes(PAGE), b"\xff" * PAGE])
@pytest.mark.parametrize("table", ["queue", "dead"])
def test_all_rows_are_recovered_where_the_pages_above_them_are_lost(backend, table, content):
    texts = {f"big-{n:04}": json.dumps([n] * (3000 if n < 20 else 200)) for n in range(2000)}
    inbox, outbox = backend.inbox(), backend.outbox()
    inbox.put([record(event_id=name, event=text) for name, text in texts.items()])
    inbox.put([record("media", str(n), event=json.dumps([0] * 500)) for n in range(100)])
    outbox.settle([item for item in receive_all(outbox) if item.record.site == "media"], [], [])
    outbox.close()  # so the file has free pages, with rows on them
    outbox = backend.outbox()
    while table == "dead" and (batch := receive(outbox)):
        outbox.settle([], [Rejection(item, "refused", "m", 1) for item in batch], [])
    outbox._database.require_truncated_wal("in use")
    outbox.close()
    lost = _pages_above_leaves(backend.path, table)
    assert len(lost) > 1
    with backend.path.open("r+b") as file:
        for number in lost:
            file.seek((number - 1) * PAGE)
            file.write(content)
    outbox = backend.outbox()
    assert outbox.repair(thorough=True) is not None
    with closing(sqlite3.connect(backend.path)) as db:
        rows = db.execute(f"SELECT event_id, event FROM {table} ORDER BY id").fetchall()
    assert rows == [*texts.items()]


def test_a_first_page_with_text_that_is_no_utf8_is_recovered_from(backend):
    names = fill(backend, 40)
    alter(backend.path, b"CREATE TABLE queue", b"CREATE \xffABLE que\xffe")
    with pytest.raises(QueueUnavailable) as failure:
        backend.inbox().put([record()])
    assert failure.value.reason == "damaged"
    assert sorted(item.event_id for item in deliver(backend.outbox())) == names


@pytest.mark.parametrize("note", [b"", b"\xff\xfe", b"../elsewhere", b"\0" * 30])
def test_a_repair_that_was_cut_short_with_a_useless_note_is_taken_up_again(backend, note):
    names = fill(backend, 20)
    QueueLocks(backend.path).repair_note.write_bytes(note)
    outbox = backend.outbox()
    assert "20 queued events" in (outbox.repair() or "")
    assert sorted(item.event_id for item in deliver(outbox)) == names
    assert backend.inbox().put([record()]) == [True]


def test_two_repairs_within_a_second_keep_the_remains_of_both(backend):
    for _ in range(2):
        with suppress(FileNotFoundError):
            backend.path.unlink()
        backend.path.write_bytes(b"no database " * 1000)
        assert backend.outbox(now=lambda: 1_763_880_000.0).repair()
    assert len(list(backend.path.parent.glob("queue.db.damaged-*"))) == 2


def test_a_repair_gets_its_turn_while_others_never_stop_using_the_file(backend):
    fill(backend, 20)
    backend.path.write_bytes(b"no database " * 1000)
    stop, in_use = threading.Event(), threading.Event()

    def use() -> None:
        """Keep the lock without a gap: take it again before giving it back, unless refused."""
        held = ExitStack()
        while not stop.wait(0.01):
            following = ExitStack()
            with suppress(QueueUnavailable):
                following.enter_context(QueueLocks(backend.path).using())
                in_use.set()
            held.close()
            held = following
        held.close()

    user = threading.Thread(target=use)
    user.start()
    in_use.wait(30)
    try:
        assert backend.outbox().repair()
    finally:
        stop.set()
        user.join()


def test_a_backup_that_is_restored_is_written_with_a_log_again(backend, tmp_path):
    fill(backend, 5)
    with closing(sqlite3.connect(backend.path)) as db:
        db.execute("VACUUM INTO ?", [str(tmp_path / "backup.db")])
    shutil.move(tmp_path / "backup.db", backend.path)
    inbox = backend.inbox()
    inbox.put([record()])
    db = inbox._database.connection()
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("suffixes", [["-wal"], ["-shm"]], ids=str)
def test_files_deleted_in_use_cost_nothing_that_was_acknowledged(tmp_path, suffixes):
    script = """
import sys
from pathlib import Path
from gateway.queues import Record
from gateway.queues.sqlite.inbox import SqliteInbox
path = Path(sys.argv[1])
inbox = SqliteInbox(path, max_bytes=1 << 40, min_free_bytes=0, dedupe_seconds=3600)
for line in sys.stdin:
    inbox.put([Record("shop", "s", None, line.strip(), "{}", None, 1.0)])
    print(flush=True)
"""
    backend = SqliteBackend(tmp_path)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(backend.path)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    for n in range(40):
        if n in (10, 25):
            for suffix in suffixes:
                Path(f"{backend.path}{suffix}").unlink()
        worker = workers[n % 2]
        assert worker.stdin
        assert worker.stdout
        worker.stdin.write(f"e-{n}\n")
        worker.stdin.flush()
        assert worker.stdout.readline() == "\n"
    for worker in workers:
        worker.kill()
        worker.communicate()
    assert ids(drain(backend.outbox())) == [f"e-{n}" for n in range(40)]


@pytest.mark.parametrize("garble", ["cut", "garbage", "another"])
def test_a_file_cut_garbled_or_replaced_in_use_ends_in_no_exception(backend, tmp_path, garble):
    fill(backend, 100)
    inbox, outbox = backend.inbox(), backend.outbox()
    inbox.put([record(event_id="before")])
    receive(outbox, 1)
    if garble == "cut":
        os.truncate(backend.path, 3 * PAGE)
    elif garble == "garbage":
        backend.path.write_bytes(random.Random(1).randbytes(backend.path.stat().st_size))
    else:
        other = SqliteBackend(tmp_path / "other")
        other.path.parent.mkdir()
        fill(other, 5)
        other.path.replace(backend.path)
    with suppress(QueueError):
        inbox.put([record(event_id="meanwhile")])
    deliver(outbox)
    assert inbox.put([record(event_id="after")]) == [True]
    assert "after" in [item.event_id for item in deliver(outbox)]


# --- the disk ---


@pytest.mark.parametrize("fault", ["fdatasync:error=EIO", "pwrite64:error=EIO", "none"])
def test_what_is_acknowledged_survives_a_loss_of_power_after_disk_errors(tmp_path, fault):
    seed = int(os.environ.get("SOAK_SEED", random.randrange(1_000_000)))
    print(f"seed {seed}")  # shown where it fails
    dice = random.Random(seed)
    for turn in range(int(os.environ.get("SOAK_CRASHES", "1"))):
        folder = tmp_path / str(turn)
        for crash in crashes(folder, fault, dice):
            with closing(sqlite3.connect(crash.path)) as db:
                assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                found = {row[0] for row in db.execute("SELECT event_id FROM queue")}
            assert crash.acknowledged <= found | crash.settled


def test_a_read_error_is_answered_and_passes(tmp_path):
    script = """
from pathlib import Path
import sys
from gateway.queues import QueueError, Record
from gateway.queues.sqlite.inbox import SqliteInbox
path = Path(sys.argv[1])
for n in range(12):
    inbox = SqliteInbox(path, max_bytes=1 << 40, min_free_bytes=0, dedupe_seconds=3600)
    try:
        inbox.put([Record("shop", "s", None, f"e-{n}", "{}", None, 1.0)])
        print(f"e-{n}", flush=True)
    except QueueError:
        pass
"""
    backend = SqliteBackend(tmp_path)
    fill(backend, 5)
    trace = tmp_path / "trace"
    inject = ["strace", "-f", "-qq", "-o", str(trace), "-e", "trace=pread64",
              "-P", str(backend.path), "-e", "inject=pread64:error=EIO:when=20..60+9"]  # fmt: skip
    run = subprocess.run(
        [*inject, sys.executable, "-c", script, str(backend.path)],
        cwd=ROOT, timeout=100, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stderr == ""
    assert "EIO (Input/output error) (INJECTED)" in trace.read_text()
    assert set(run.stdout.split()) <= set(ids(drain(backend.outbox())))


def test_the_entry_of_a_new_folder_is_synced(tmp_path):
    trace = tmp_path / "trace"
    script = """
from pathlib import Path
import sys
from gateway.queues import Record
from gateway.queues.sqlite.inbox import SqliteInbox
inbox = SqliteInbox(Path(sys.argv[1]), max_bytes=1 << 40, min_free_bytes=0, dedupe_seconds=3600)
inbox.put([Record("shop", "s", None, "e", "{}", None, 1.0)])
"""
    subprocess.run(
        ["strace", "-f", "-qq", "-y", "-e", "trace=fsync,fdatasync", "-o", str(trace),
         sys.executable, "-c", script, str(tmp_path / "data" / "queue.db")],
        cwd=ROOT, timeout=60, check=True,
    )  # fmt: skip
    assert f"<{tmp_path}>)" in trace.read_text()


def test_a_file_system_without_locks_ends_in_one_line(backend, monkeypatch):
    def flock(_file: object, _how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(QueueUnavailable, match="No locks available"):
        ForwarderLock(backend.path).acquire()


# --- operators beside each other ---


def test_dead_letters_deleted_meanwhile_are_not_replayed(backend):
    fill(backend, 3)
    outbox = backend.outbox()
    outbox.settle([], [Rejection(item, "refused", "m", 1) for item in receive(outbox)], [])
    letters = [(letter, letter.record) for letter in backend.dead()]
    dead = SqliteDeadLetters(backend.path)
    assert dead.replay(letters[:2]) == 2
    assert dead.replay(letters[:2]) == 0  # another terminal's
    assert status(backend.path).queued == 2
    with dead._database.transaction() as db:
        db.execute("UPDATE dead SET user_id = 'u-1'")
    assert forget(backend.path, "shop", ["u-1"]) == (0, 1)
    assert dead.replay(letters[2:]) == 0
    assert status(backend.path)[:3] == (2, 0, 0)


@pytest.mark.parametrize(
    ("command", "output"),
    [
        ("replay", "2 in the queue again, 0 still not valid, 1 no longer there\n"),
        ("purge", "2 forgotten, 1 no longer there\n"),
    ],
)
def test_a_command_counts_only_the_letters_that_no_other_has_taken(
    backend, environ, monkeypatch, capsys, command, output
):
    backend.inbox().put([record() for _ in range(3)])
    outbox = backend.outbox()
    outbox.settle([], [Rejection(item, "refused", "m", 1) for item in receive(outbox)], [])
    for name, value in {**environ, "GATEWAY_QUEUE": f"sqlite:///{backend.path}"}.items():
        monkeypatch.setenv(name, value)
    listed = backend.dead()
    backend.dead_letters().purge(listed[:1])
    monkeypatch.setattr(SqliteDeadLetters, "list", lambda _letters: iter(listed))
    assert main(["dead-letters", command]) == 0
    assert capsys.readouterr().out == output


# --- the clock ---


def test_a_clock_that_jumps_loses_and_doubles_nothing(backend):
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")  # shown where it fails
    dice = random.Random(seed)
    inbox, outbox, delivered = backend.inbox(), backend.outbox(), []
    for number in range(200):
        backend.clock.now = max(0.0, backend.clock.now + dice.choice((0, 1, -60, 7300, -9000)))
        item = record(event_id=f"e-{number}", session_id=f"s-{number % 5}")
        assert inbox.put([item]) == [True]
        assert inbox.put([item]) == [False]
        if number % 10 == 0:
            outbox.tidy()
            delivered += ids(drain(outbox))
    backend.pass_time(10_000)
    delivered += ids(drain(outbox))
    assert sorted(delivered) == sorted(f"e-{number}" for number in range(200))
