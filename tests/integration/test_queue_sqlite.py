"""The queue on one machine: the contract of every queue, and what SQLite alone promises."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gateway.queues import (
    Delivery,
    ForwarderStatus,
    QueueError,
    QueueFull,
    QueueUnavailable,
    Rejection,
)
from gateway.queues.registry import find_queue
from gateway.queues.session_scheduler import SessionScheduler
from gateway.queues.sqlite import connection, wal
from gateway.queues.sqlite.database import Database
from gateway.queues.sqlite.dead_letters import find, forget, status
from gateway.queues.sqlite.locks import ForwarderLock, read_status
from gateway.queues.sqlite.outbox import CHECKPOINT_BYTES
from gateway.settings import Settings, load
from tests.helpers import queue_contract as contract
from tests.helpers.queue_contract import SqliteBackend, drain, ids, receive, receive_all, record
from tests.helpers.support import ROOT

KILOBYTE = '{"eventType": "' + "x" * 1000 + '"}'


@pytest.fixture
def backend(tmp_path: Path) -> SqliteBackend:
    return SqliteBackend(tmp_path)


class TestSqlite(
    contract.QueueContract,
    contract.HoldsUsers,
    contract.SettlesForGood,
    contract.DropsDuplicates,
    contract.OrderInSessions,
    contract.OneBatchOfASession,
    contract.SitesApart,
    contract.BoundedMemory,
):
    """The whole contract."""


@pytest.mark.parametrize("windows", [0, 1])
def test_marks_of_delivered_events_never_fill_the_queue(backend, windows):
    inbox, outbox = backend.inbox(max_bytes=500_000), backend.outbox()
    for start in range(0, 30_000, 1000):
        inbox.put(
            [record(event_id=f"e-{n}", session_id=f"s-{n}") for n in range(start, start + 1000)]
        )
        drain(outbox)
    backend.pass_time(3600 * windows)
    inbox.check()
    assert inbox.put([record(event_id="one more")]) == [True]


def test_many_sites_share_the_memory_for_what_waits(backend, monkeypatch):
    monkeypatch.setattr("gateway.queues.sqlite.outbox.AHEAD", 60)
    monkeypatch.setattr("gateway.queues.sqlite.outbox.LEAST_AHEAD", 10)
    sites = [f"site-{number}" for number in range(20)]
    for site in sites:
        backend.inbox().put([record(site, f"s-{number}") for number in range(40)])
    outbox = backend.outbox()
    outbox.settle(receive(outbox, 1), [], [])
    assert max(outbox._scheduler.known(site)[1] for site in sites) <= 10
    assert len(drain(outbox)) == 20 * 39


# --- processes of their own ---

PRELUDE = """\
import os, signal, sys
from pathlib import Path
from gateway.queues import QueueError, Record
from gateway.queues.sqlite.inbox import SqliteInbox
from gateway.queues.sqlite.outbox import SqliteOutbox
from gateway.queues.sqlite.outbox import CHECKPOINT_BYTES
from gateway.queues.sqlite.locks import ForwarderLock
path = Path(sys.argv[1])
inbox = SqliteInbox(path, max_bytes=1 << 40, min_free_bytes=0, dedupe_seconds=3600)
def put(name, event="{}", session="s"):
    inbox.put([Record("shop", session, None, name, event, None, 1.0)])
def tell(text):
    os.write(1, f"{text}\\n".encode())
def attempt(name, event="{}"):
    try:
        put(name, event)
    except QueueError as error:
        tell(error.reason)
        return False
    tell(f"stored {name}")
    return True
"""


class Process:
    """A process that runs a script on a queue's file, one line of talk at a time."""

    def __init__(self, script: str, path: Path, *before: str) -> None:
        self.popen = subprocess.Popen(
            [*before, sys.executable, "-c", PRELUDE + script, str(path)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def hear(self) -> str:
        assert self.popen.stdout is not None
        return self.popen.stdout.readline().rstrip("\n")

    def say(self, line: str = "") -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write(f"{line}\n")
        self.popen.stdin.flush()

    def end(self) -> str:
        """Its last words; it must have ended well."""
        last, _ = self.popen.communicate(timeout=60)
        assert self.popen.returncode == 0
        return last

    def kill(self) -> None:
        self.popen.kill()
        self.popen.communicate(timeout=60)


@pytest.fixture
def start() -> Iterator[Any]:
    started: list[Process] = []

    def start(script: str, path: Path, *before: str) -> Process:
        started.append(Process(script, path, *before))
        return started[-1]

    yield start
    for process in started:
        process.kill()


# --- durability ---


def test_the_inbox_writes_a_log_and_syncs_it_at_each_commit(backend):
    inbox = backend.inbox()
    inbox.put([record()])
    db = inbox._database.connection()
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_the_event_is_in_the_files_the_moment_put_returns(backend, tmp_path):
    inbox, copies = backend.inbox(), tmp_path / "copies"
    for count in range(1, 4):
        inbox.put([record(event_id=f"e-{count}")])
        copy = copies / str(count)
        copy.mkdir(parents=True)
        # By another process: one that closes a copy of the file loses its locks on the file. Not
        # the index in shared memory, which a power cut leaves behind for nobody.
        subprocess.run(["cp", backend.path, f"{backend.path}-wal", copy], check=True)
        found = receive_all(SqliteBackend(copy).outbox())
        assert ids(found) == [f"e-{n}" for n in range(1, count + 1)]


def test_put_returns_only_after_the_sync(backend, tmp_path):
    log, names = tmp_path / "strace.log", ["first", "second", "third"]
    script = f"for name in {names!r}:\n    attempt(name)\n"
    calls = "trace=write,pwrite64,fsync,fdatasync"
    traced = [sys.executable, "-c", PRELUDE + script, str(backend.path)]
    subprocess.run(
        ["strace", "-f", "-qq", "-y", "-s", "4200", "-e", calls, "-o", log, *traced],
        cwd=ROOT, check=True, stdout=subprocess.DEVNULL, timeout=60,
    )  # fmt: skip
    lines = log.read_text().splitlines()
    returned = -1
    for name in names:
        before, returned = returned, _line(lines, rf'write\(1\D.*"stored {name}\\n"', returned)
        written = _line(lines, rf"pwrite64\(\d+<.*-wal>, .*{name}", before)
        last_write = max(n for n in range(returned) if re.search(r"pwrite64\(.*-wal>", lines[n]))
        synced = _line(lines, r"f(data)?sync\(\d+<.*-wal>\)\s+= 0", last_write)
        assert before < written <= last_write < synced < returned


def _line(lines: list[str], pattern: str, after: int) -> int:
    """The number of the first line that matches, after a line."""
    for number in range(after + 1, len(lines)):
        if re.search(pattern, lines[number]):
            return number
    raise AssertionError(f"{pattern} is not after line {after}")


def test_records_put_by_a_killed_process_are_stored(backend, start):
    process = start("for n in range(10): put(f'e-{n}')\ntell('done'); signal.pause()", backend.path)
    assert process.hear() == "done"
    process.popen.send_signal(signal.SIGKILL)
    process.popen.wait(timeout=60)
    assert ids(drain(backend.outbox())) == [f"e-{n}" for n in range(10)]


def test_processes_that_put_at_the_same_time_lose_nothing(backend, start):
    script = """
tell("ready"); me = sys.stdin.readline().strip()
for n in range(150): put(f"{me}-{n}", session=me)
"""
    processes = {me: start(script, backend.path) for me in "abc"}
    for process in processes.values():
        assert process.hear() == "ready"
    for me, process in processes.items():
        process.say(me)
    outbox, taken = backend.outbox(), []
    while any(process.popen.poll() is None for process in processes.values()):
        taken += drain(outbox)  # while they put
    taken += drain(outbox)
    assert [process.popen.returncode for process in processes.values()] == [0, 0, 0]
    for me in processes:
        mine = [name for name in ids(taken) if name.startswith(me)]
        assert mine == [f"{me}-{n}" for n in range(150)]


def test_several_processes_may_create_the_same_queue_file(tmp_path, start):
    script = """
tell("ready")
for n, _ in enumerate(sys.stdin):
    inbox = SqliteInbox(path / str(n), max_bytes=1 << 40, min_free_bytes=0, dedupe_seconds=3600)
    attempt(f"{os.getpid()}-{n}")
"""
    processes = [start(script, tmp_path) for _ in range(5)]
    assert {process.hear() for process in processes} == {"ready"}
    for n in range(150):  # two got into each other's way once in fifty
        for process in processes:
            process.say()
        heard = [process.hear() for process in processes]
        assert heard == [f"stored {process.popen.pid}-{n}" for process in processes]


def test_threads_that_put_at_the_same_time_lose_nothing(backend):
    inbox = backend.inbox()

    def put_fifty(session_id: str) -> None:
        for _ in range(50):
            inbox.put([record(session_id=session_id)])

    threads = [threading.Thread(target=put_fifty, args=[session]) for session in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(drain(backend.outbox())) == 400


# --- space ---


@pytest.mark.parametrize(
    ("limits", "reason"),
    [({"max_bytes": 300_000}, "queue_full"), ({"min_free_bytes": 1 << 60}, "disk_reserve")],
)
def test_past_a_limit_put_is_refused_and_delivery_goes_on(backend, limits, reason):
    unlimited, limited = backend.inbox(), backend.inbox(**limits)
    unlimited.put([record(session_id=f"s-{n}", event=KILOBYTE) for n in range(400)])
    for attempt in (limited.check, lambda: limited.put([record(event_id="refused")])):
        with pytest.raises(QueueFull) as refusal:
            attempt()
        assert refusal.value.reason == reason
    outbox = backend.outbox()
    first = receive(outbox)
    outbox.settle(first[1:], [Rejection(first[0], "refused", "", 1)], [])
    delivered = drain(outbox)
    assert len(first) + len(delivered) == 400
    assert "refused" not in ids(delivered)


def test_a_queue_that_was_full_takes_events_again_once_they_are_delivered(backend):
    inbox, outbox, stored = backend.inbox(max_bytes=1_000_000), backend.outbox(), 0
    for _ in range(3):
        full = False
        while not full:
            try:
                stored += sum(
                    inbox.put([record(session_id=f"s-{n}", event=KILOBYTE) for n in range(50)])
                )
            except QueueFull:
                full = True
        assert stored >= 500
        stored -= len(drain(outbox))
        assert stored == 0
        for _ in range(20):
            outbox.tidy()


def test_a_disk_that_is_full_loses_nothing_and_is_tried_again(backend, start):
    process = start(
        """
import resource
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
n = 0
while attempt(f"e-{n}", "x" * 1000): n += 1
attempt("too-large-still", "x" * 500_000)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
attempt("freed")
""",
        backend.path,
    )
    said = process.end().splitlines()
    stored = [line.removeprefix("stored ") for line in said if line.startswith("stored")]
    assert len(stored) > 10
    assert said[-3] == said[-2]
    assert said[-3] in ("disk_full", "io_error")
    assert stored[-1] == "freed"
    assert ids(drain(backend.outbox())) == stored


def test_freed_space_goes_back_to_the_file_system_over_time(backend):
    inbox, outbox = backend.inbox(), backend.outbox()
    for start in range(0, 12_000, 2000):
        inbox.put([record(session_id=f"s-{start + n}", event=KILOBYTE) for n in range(2000)])
    outbox.tidy()
    largest = _bytes_on_disk(backend)
    drain(outbox)
    for _ in range(60):
        outbox.tidy()
    assert largest > 12_000_000
    assert _bytes_on_disk(backend) < largest / 2


@pytest.mark.parametrize("events_a_session", [1, 10, 100])
def test_the_last_thousand_of_a_backlog_cost_no_more_than_the_first(backend, events_a_session):
    sessions = 30_000 // events_a_session
    inbox = backend.inbox()
    for _ in range(events_a_session):
        inbox.put([record(session_id=f"s-{number}") for number in range(sessions)])
    outbox, costs = backend.outbox(), []
    receive(outbox, 0)  # opens the file
    steps = [0]

    def step() -> None:
        steps[0] += 1

    outbox._database.connection().set_progress_handler(step, 10)  # of SQLite's own instructions
    for _ in range(30):
        steps[0] = done = 0
        while done < 1000:
            taken = receive(outbox)
            outbox.settle(taken, [], [])
            done += len(taken)
        costs.append(steps[0])
    assert costs[-1] <= 1.05 * costs[1], costs  # from the second on, settled ones are seen off


def test_more_sessions_than_are_known_at_a_time_are_all_delivered_in_order(backend, monkeypatch):
    monkeypatch.setattr("gateway.queues.sqlite.outbox.AHEAD", 3)
    monkeypatch.setattr("gateway.queues.sqlite.outbox.PAGE", 2)
    names = [(f"s-{n % 20}", f"e-{n:03}") for n in range(500)]
    backend.inbox().put([record(event_id=name, session_id=session) for session, name in names])
    outbox, came = backend.outbox(), defaultdict(list)
    while taken := receive(outbox, 2):
        assert len(taken) <= 20
        for item in taken:
            came[item.record.session_id].append(item.record.event_id)
        outbox.settle(taken, [], [])
    wanted = defaultdict(list)
    for session, name in names:
        wanted[session].append(name)
    assert came == wanted


def test_events_that_are_forgotten_while_they_wait_hold_up_none_of_the_others(backend):
    users = ["u-1"] * 25 + [None] * 25
    backend.inbox().put([record(user_id=user, session_id="s") for user in users])
    outbox = backend.outbox()
    first = receive(outbox)
    assert forget(backend.path, "shop", ["u-1"]) == (25, 0)
    outbox.settle(first, [], [])
    rest = drain(outbox)
    assert [item.record.user_id for item in rest] == [None] * 25


def test_expired_holds_are_deleted(backend):
    end = backend.clock.now + 60
    forget(backend.path, "shop", ["ann", "ben"], end)
    forget(backend.path, "shop", ["cleo"], end + 60)
    counts, outbox = [], backend.outbox()
    for seconds in (0, 61, 61):
        backend.pass_time(seconds)
        outbox.tidy()
        with closing(sqlite3.connect(backend.path)) as db:
            counts += db.execute("SELECT count(*) FROM held_users").fetchone()
    assert counts == [3, 1, 0]


def test_no_file_holds_a_user_by_name_or_by_a_hash_that_another_file_has(tmp_path):
    hashes = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        path = tmp_path / name / "queue.db"
        forget(path, "shop", ["ann@example.com"], 4e9)
        with closing(sqlite3.connect(path)) as db:
            hashes |= set(db.execute("SELECT user FROM held_users"))
        content = b"".join(file.read_bytes() for file in path.parent.iterdir())
        assert b"ann@example.com" not in content
    assert len(hashes) == 2


def _bytes_on_disk(backend: SqliteBackend) -> int:
    return sum(path.stat().st_size for path in backend.path.parent.iterdir())


def test_a_long_log_is_folded_into_the_file_and_written_anew(backend):
    inbox, outbox = backend.inbox(), backend.outbox()
    inbox.put([record(event=KILOBYTE) for _ in range(3000)])
    assert (longest := wal.bytes_used(backend.path)) > CHECKPOINT_BYTES
    outbox.tidy()
    inbox.put([record(event_id="last")])
    assert wal.bytes_used(backend.path) < CHECKPOINT_BYTES / 10
    assert wal.file_size(backend.path) == longest  # it is written over
    outbox.tidy()
    outbox.tidy()  # nothing has been written since
    assert wal.file_size(backend.path) == 0
    assert ids(drain(outbox))[-1] == "last"


def test_a_log_that_no_forwarder_folds_does_not_grow_for_ever(backend, monkeypatch):
    monkeypatch.setattr("gateway.queues.sqlite.inbox.NEGLECTED_LOG_BYTES", 500_000)
    inbox, sizes = backend.inbox(), []
    for _ in range(20):
        inbox.put([record(event=KILOBYTE) for _ in range(100)])
        sizes.append(wal.bytes_used(backend.path))
    assert max(sizes) < 1_000_000
    assert wal.file_size(backend.path) < 1_000_000
    assert sum(after < before for before, after in pairwise(sizes)) >= 2


def test_the_measured_wal_length_is_sqlites(backend):
    inbox, counts = backend.inbox(), []
    for size in (500, 100, 3, 1):
        inbox.put([record(event=KILOBYTE) for _ in range(size)])
        used = wal.bytes_used(backend.path)
        inbox._database._checkpoint("RESTART")
        with closing(sqlite3.connect(backend.path)) as db:
            _, frames, _ = db.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
        assert used == wal.HEADER.size + frames * (4096 + wal.FRAME_HEADER)
        counts.append(frames)
    assert counts == sorted(counts, reverse=True)


@pytest.mark.parametrize("content", [b"", b"\0" * 31, b"\0" * 500, b"\xff" * 500])
def test_a_malformed_wal_has_a_length_too(backend, content):
    Path(f"{backend.path}-wal").write_bytes(content)
    assert 0 <= wal.bytes_used(backend.path) <= 500


def test_a_wal_truncated_while_it_is_measured_counts_as_short(backend, monkeypatch):
    backend.inbox().put([record()])
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, n, at: pread(fd, n, at) if at == 0 else b"")
    assert wal.bytes_used(backend.path) == wal.HEADER.size


def test_a_writer_in_the_way_of_folding_fails_nothing(backend, monkeypatch):
    monkeypatch.setattr("gateway.queues.sqlite.inbox.NEGLECTED_LOG_BYTES", 1)
    inbox = backend.inbox()
    inbox.put([record()])
    fold = inbox._database.checkpoint
    with closing(sqlite3.connect(backend.path, isolation_level=None)) as writer:

        def meet_a_writer(from_bytes: int) -> None:
            writer.execute("BEGIN IMMEDIATE")
            fold(from_bytes)
            writer.execute("ROLLBACK")

        monkeypatch.setattr(inbox._database, "checkpoint", meet_a_writer)
        inbox._looked_at = 0.0
        assert inbox.put([record()]) == [True]
    assert inbox._database.openings == 1


def test_a_log_that_is_folded_does_not_make_the_queue_full(backend, monkeypatch):
    monkeypatch.setattr("gateway.queues.sqlite.inbox.NEGLECTED_LOG_BYTES", 1 << 20)
    inbox, refusals = backend.inbox(max_bytes=3 << 20), 0
    while refusals < 2:
        try:
            inbox.put([record(event=KILOBYTE) for _ in range(40)])
            refusals = 0
        except QueueFull:
            refusals += 1
    assert wal.file_size(backend.path) == 0
    assert inbox._database.bytes_used() >= 3 << 20


def test_a_log_that_is_to_go_but_can_not_is_no_success(backend, monkeypatch):
    monkeypatch.setattr("gateway.queues.sqlite.connection.BUSY_SECONDS", 0.05)
    backend.inbox().put([record()])
    database = Database(backend.path, "FULL")
    with closing(sqlite3.connect(backend.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM queue").fetchone()
        with pytest.raises(QueueUnavailable, match="still holds what was deleted"):
            database.require_truncated_wal("it still holds what was deleted")
    database.require_truncated_wal("in use")
    assert wal.file_size(backend.path) == 0
    database.close()


def test_what_is_given_back_after_its_file_was_replaced_does_not_come_first(backend):
    scheduler = SessionScheduler(backend.clock)
    scheduler.add("shop", [(5, "s")])
    scheduler.hand_out("shop", "s", 1)
    scheduler.restart()
    scheduler.release(Delivery(5, record(session_id="s"), 0), 0.0)
    scheduler.add("shop", [(1, "s"), (5, "s")])
    scheduler.wake()
    assert scheduler.next("shop") == ("s", [1, 5])


def test_a_checkpoint_never_runs_beside_a_writer(backend):
    backend.inbox().put([record()])
    writer, folder = Database(backend.path, "FULL"), Database(backend.path, "FULL")
    seen: list[str] = []

    def fold() -> None:
        folder.require_truncated_wal("in use")
        seen.append("folded")

    with writer.transaction() as db:
        db.execute("UPDATE queue SET attempts = 1")
        thread = threading.Thread(target=fold)
        thread.start()
        time.sleep(0.2)
        seen.append("written")
    thread.join(10)
    assert seen == ["written", "folded"]
    assert wal.file_size(backend.path) == 0
    writer.close()
    folder.close()


def test_tidying_waits_for_a_writer(backend):
    inbox, outbox = backend.inbox(), backend.outbox()
    inbox.put([record(event=KILOBYTE) for _ in range(2000)])
    drain(outbox)  # so there are pages to be given back
    backend.pass_time(2 * 3600)  # and marks to be forgotten
    writer = sqlite3.connect(backend.path, isolation_level=None, check_same_thread=False)
    writer.execute("BEGIN IMMEDIATE")
    done = threading.Timer(0.2, writer.execute, ["COMMIT"])
    done.start()
    outbox.tidy()
    done.join()
    assert outbox._database.openings == 1  # nothing failed on the way
    writer.close()


def test_a_writer_waits_for_the_recovery_of_the_wal(backend):
    inbox = backend.inbox()
    inbox.put([record()])
    real = inbox._database.connection()
    refusals = iter([sqlite3.SQLITE_BUSY_RECOVERY, sqlite3.SQLITE_BUSY])

    class Recovering:
        """SQLite's answers while somebody rebuilds the index of the log."""

        def execute(self, statement: str) -> sqlite3.Cursor:
            if statement.startswith("BEGIN") and (code := next(refusals, None)):
                error = sqlite3.OperationalError("database is locked")
                error.sqlite_errorcode = code
                raise error
            return real.execute(statement)

    connection.begin(Recovering(), time.monotonic() + 5)
    assert real.in_transaction
    real.execute("ROLLBACK")


def test_a_reader_in_the_way_of_folding_fails_nothing(backend, monkeypatch):
    monkeypatch.setattr("gateway.queues.sqlite.database.BUSY_SECONDS", 0.05)
    inbox, outbox = backend.inbox(), backend.outbox()
    inbox.put([record(event_id="first")])
    with closing(sqlite3.connect(backend.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM queue").fetchone()
        inbox.put([record(event=KILOBYTE) for _ in range(3000)])
        outbox.tidy()
        inbox.put([record(event_id="last")])
    outbox.tidy()  # notes that nothing was written since
    outbox.tidy()
    assert wal.file_size(backend.path) == 0
    taken = ids(drain(outbox))
    assert (taken[0], taken[-1], len(taken)) == ("first", "last", 3002)


# --- a link in place of the file ---


@pytest.fixture
def by_link(environ: dict[str, str], tmp_path: Path) -> Settings:
    """Settings whose queue is named by a link, to a file that is not there yet."""
    (tmp_path / "large-disk").mkdir()
    (tmp_path / "queue.db").symlink_to("large-disk/queue.db")
    return load({**environ, "GATEWAY_QUEUE_MAX_BYTES": "500000"})


def test_a_queue_behind_a_link_keeps_to_its_limit(by_link, tmp_path):
    inbox, stored = find_queue(by_link).open_inbox(), 0
    with suppress(QueueFull):
        while stored < 2000:
            stored += sum(inbox.put([record(event=KILOBYTE) for _ in range(50)]))
    assert 200 <= stored < 500
    log_bytes = (tmp_path / "large-disk" / "queue.db-wal").stat().st_size
    assert log_bytes < 500_000  # it was cut to see how much of it counts


def test_a_queue_behind_a_link_has_one_forwarder_under_either_name(by_link, tmp_path):
    url = f"sqlite:///{tmp_path}/large-disk/queue.db"
    (one, _), (other, _) = (
        find_queue(by_link).open_outbox(),
        find_queue(replace(by_link, queue=url)).open_outbox(),
    )
    assert one.acquire()
    refused = not other.acquire()
    one.release()
    other.release()
    assert refused


def test_what_is_forgotten_behind_a_link_is_in_no_file_any_more(by_link, tmp_path):
    find_queue(by_link).open_inbox().put([record(user_id="u-1", event='{"itemId": "of-the-user"}')])
    assert find_queue(by_link).forget("shop", ["u-1"]) == (1, 0)
    files = [path for path in tmp_path.rglob("queue.db*") if not path.is_symlink()]
    assert b"of-the-user" not in b"".join(path.read_bytes() for path in files)


def test_links_in_a_circle_have_a_reason(environ, tmp_path):
    (tmp_path / "queue.db").symlink_to("queue.db")
    with pytest.raises(QueueUnavailable):
        find_queue(load(environ)).open_inbox().check()


# --- trouble with the file ---


def _not_a_database(path: Path) -> None:
    path.write_bytes(b"These are not the bytes of a database. " * 300)


def _newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")


TROUBLES = [
    pytest.param(_not_a_database, "damaged", id="not a database"),
    pytest.param(_newer, "newer_version", id="of a newer version"),
    pytest.param(Path.mkdir, "cannot_open", id="a folder in its place"),
]


@pytest.mark.parametrize(("break_it", "reason"), TROUBLES)
def test_a_failure_has_a_reason_until_its_cause_is_gone(backend, break_it, reason):
    inbox, outbox = backend.inbox(), backend.outbox()
    break_it(backend.path)
    for attempt in (
        inbox.check,
        lambda: inbox.put([record()]),
        lambda: receive(outbox),
        lambda: outbox.settle([Delivery(1, record(), 0)], [], []),
        outbox.tidy,
    ):
        with pytest.raises(QueueUnavailable) as trouble:
            attempt()
        assert trouble.value.reason == reason
        assert str(trouble.value)
    if backend.path.is_dir():
        backend.path.rmdir()
    else:
        backend.path.unlink()
    inbox.check()
    inbox.put([record(event_id="x")])
    assert ids(drain(outbox)) == ["x"]


@pytest.mark.parametrize("folder", ["file/beneath", "file/beneath/deeper", "dangling"])
def test_a_folder_that_cannot_be_has_a_reason_too(tmp_path, folder):
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "at-all")
    backend = SqliteBackend(tmp_path / folder)
    inbox = backend.inbox()
    for attempt in (inbox.check, lambda: inbox.put([record()])):
        with pytest.raises(QueueUnavailable) as trouble:
            attempt()
        assert trouble.value.reason == "cannot_open"
    (tmp_path / "file").unlink()
    (tmp_path / "dangling").unlink()
    inbox.put([record(event_id="x")])
    assert ids(drain(backend.outbox())) == ["x"]


def test_a_newer_format_is_left_as_it_is(backend):
    backend.inbox().put([record()])
    _newer(backend.path)
    before = _dump(backend.path)
    with pytest.raises(QueueError):
        backend.inbox().put([record()])
    assert _dump(backend.path) == before


def _dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        return [*db.iterdump(), str(db.execute("PRAGMA user_version").fetchone())]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may reach, as pytest's are its own user's alone."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    folder.chmod(0o777)
    shutil.rmtree(folder)


def test_a_folder_that_is_read_only_has_a_reason_until_it_is_not(open_folder, start):
    backend = SqliteBackend(open_folder)
    process = start(
        """
if os.getuid() == 0:  # permissions bind nobody else
    os.setgid(65534); os.setuid(65534)
while sys.stdin.readline(): attempt("x")
""",
        backend.path,
    )
    open_folder.chmod(0o555)
    process.say()
    assert process.hear() == "read_only"
    open_folder.chmod(0o777)
    process.say()
    assert process.hear() == "stored x"


def test_a_file_that_is_read_only_has_a_reason_until_it_is_not(open_folder, start):
    backend = SqliteBackend(open_folder)
    backend.inbox().put([record()])
    files = [path for path in open_folder.iterdir() if path.suffix != ".lock"]
    for path in open_folder.iterdir():
        path.chmod(0o666)
    process = start(
        """
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
while sys.stdin.readline(): attempt("x")
""",
        backend.path,
    )
    for path in files:
        path.chmod(0o444)
    process.say()
    assert process.hear() == "read_only"
    for path in files:
        if path.exists():
            path.chmod(0o666)
    process.say()
    assert process.hear() == "stored x"


@pytest.mark.parametrize("leave_the_log", [False, True])
def test_a_file_that_is_removed_under_a_running_queue_is_begun_anew(backend, leave_the_log):
    inbox, outbox = backend.inbox(), backend.outbox()
    inbox.put([record(session_id=f"s-{n}") for n in range(50)])
    assert len(drain(outbox)) == 50
    for path in backend.path.parent.glob("queue.db*"):
        if path == backend.path or not leave_the_log:
            path.unlink()
    inbox.put([record(event_id="new", session_id="s-0")])
    assert ids(receive_all(backend.outbox())) == ["new"]
    assert ids(drain(outbox)) == ["new"]


def test_a_file_that_is_replaced_under_a_running_queue_is_noticed(backend, tmp_path):
    inbox, outbox = backend.inbox(), backend.outbox()
    inbox.put([record(event_id="old")])
    (tmp_path / "elsewhere").mkdir()
    other = SqliteBackend(tmp_path / "elsewhere", backend.clock)
    other.inbox().put([record(event_id="restored")])
    with closing(sqlite3.connect(other.path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.path.replace(backend.path)
    inbox.put([record(event_id="new")])
    assert ids(drain(outbox)) == ["restored", "new"]


def test_what_was_in_hand_of_a_removed_file_takes_nothing_with_it_from_the_new_one(backend):
    inbox, outbox = backend.inbox(), backend.outbox()
    inbox.put([record(event_id=f"old-{n}", session_id=str(n)) for n in range(3)])
    old = receive_all(outbox)
    for path in backend.path.parent.glob("queue.db*"):
        path.unlink()
    inbox.put([record(event_id=f"new-{n}", session_id=f"new-{n}") for n in range(3)])
    outbox.settle(old[:1], [Rejection(old[1], "refused", "", 1)], contract.released(old[2:]))
    assert sorted(ids(drain(outbox))) == ["new-0", "new-1", "new-2"]
    assert backend.dead() == []


def test_a_file_that_is_not_there_yet_has_nothing_in_it_and_is_not_made(backend):
    assert status(backend.path) == (0, 0, 0, None)
    assert find(backend.path, "e-1") == []
    assert forget(backend.path, "shop", ["u-1"]) == (0, 0)
    assert backend.dead() == []
    assert list(backend.path.parent.iterdir()) == []


def test_a_file_under_repair_is_not_taken_for_missing(backend):
    Path(f"{backend.path}-repair").touch()
    for look in (lambda: status(backend.path), lambda: forget(backend.path, "shop", ["u-1"])):
        with pytest.raises(QueueUnavailable) as trouble:
            look()
        assert trouble.value.reason == "repairing"


def test_a_path_that_cannot_exist_is_not_taken_for_a_missing_queue(backend):
    backend.path.parent.joinpath("file").touch()
    with pytest.raises(QueueUnavailable) as trouble:
        status(backend.path.parent / "file" / "queue.db")
    assert trouble.value.reason == "cannot_open"


def test_a_writer_that_never_ends_is_waited_for_and_then_named(backend, monkeypatch):
    monkeypatch.setattr("gateway.queues.sqlite.database.BUSY_SECONDS", 0.05)
    inbox = backend.inbox()
    inbox.put([record()])
    with closing(sqlite3.connect(backend.path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        fresh = backend.inbox()
        with pytest.raises(QueueUnavailable) as trouble:
            fresh.put([record()])
        assert trouble.value.reason == "busy"
        writer.execute("ROLLBACK")
    fresh.put([record()])


# --- the forwarder's lock ---


def test_one_forwarder_at_a_time_and_the_next_when_it_is_killed(backend, start):
    backend.path.parent.mkdir(exist_ok=True)
    process = start(
        "lock = ForwarderLock(path); tell(lock.acquire()); signal.pause()", backend.path
    )
    assert process.hear() == "True"
    mine = ForwarderLock(backend.path)
    assert not mine.acquire()
    assert not mine.acquire()
    process.popen.send_signal(signal.SIGKILL)
    process.popen.wait(timeout=60)
    assert mine.acquire()
    mine.release()


def test_the_lock_is_free_once_released_and_another_files_lock_is_another(backend, tmp_path):
    first, second = ForwarderLock(backend.path), ForwarderLock(backend.path)
    other = ForwarderLock(tmp_path / "other.db")
    assert first.acquire()
    assert not second.acquire()
    assert other.acquire()
    first.release()
    assert second.acquire()
    second.release()
    other.release()


def test_a_lock_whose_file_was_deleted_is_taken_again_if_it_is_free(backend):
    first, second = ForwarderLock(backend.path), ForwarderLock(backend.path)
    file = Path(f"{backend.path}-forwarder.lock")
    assert first.acquire()
    file.unlink()
    assert first.acquire()
    assert not second.acquire()
    file.unlink()
    assert second.acquire()
    assert not first.acquire()
    second.release()
    assert first.acquire()
    first.release()


def test_in_flight_records_of_a_dead_forwarder_are_not_counted(backend):
    backend.inbox().put([record()])
    path = backend.path
    lock = ForwarderLock(path)
    lock.acquire()
    for age, in_flight in ((0.0, 7), (60.0, 0)):
        lock.report(ForwarderStatus(time.time() - age, 7, {}))
        assert status(path).in_flight == in_flight
    lock.release()


def test_a_forwarders_status_is_never_read_half_written(tmp_path):
    path = SqliteBackend(tmp_path).path
    lock = ForwarderLock(path)
    lock.acquire()
    lock.report(ForwarderStatus(1.0, 0, {}))
    heard: list[ForwarderStatus | None] = []
    done = threading.Event()

    def listen() -> None:
        while not done.is_set():
            heard.append(read_status(path))

    listener = threading.Thread(target=listen)
    listener.start()
    for number in range(1000):
        lock.report(ForwarderStatus(1.0, number, {"shop": "why" * (number % 50)}))
    done.set()
    listener.join()
    lock.release()
    assert len(heard) > 100
    assert None not in heard


def test_a_forwarders_children_do_not_hold_its_lock(backend):
    lock, next_one = ForwarderLock(backend.path), ForwarderLock(backend.path)
    assert lock.acquire()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    lock.release()
    assert next_one.acquire()
    next_one.release()
    child.communicate(b"\n", timeout=60)
    assert os.waitstatus_to_exitcode(0) == child.returncode


def test_inspecting_the_queue_file_takes_no_lock_from_its_users(backend):
    """Whoever closes a file drops the locks that its whole process has on it; SQLite's too."""
    inbox = backend.inbox()
    names = [f"e-{number}" for number in range(3)]
    for name in names:
        inbox.put([record(event_id=name)])
        inbox.check()
        assert _stored_elsewhere(backend.path)[-1] == name  # and its end leaves us the log


def _stored_elsewhere(path: Path) -> list[str]:
    """What another process finds, which thinks itself the last one when nobody has a lock."""
    look = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]);"
        "found = db.execute('SELECT event_id FROM queue ORDER BY id').fetchall();"
        "db.close(); print(*(name for name, in found))"
    )
    command = [sys.executable, "-c", look, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
