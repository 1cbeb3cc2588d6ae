"""What a 204 acknowledges survives the loss of power at that instant: it is fsynced before."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.helpers.support import Gateway, event, eventually

# strace's lines: `[pid 7] fdatasync(5</queue.db-wal>) = 0`, and a call that another thread
# interrupts is cut into `… <unfinished ...>` and `<... fdatasync resumed>) = 0`.
CALL = re.compile(r"(?P<pid>\d+) +(?P<name>\w+)\((?P<rest>.*)")
RESUMED = re.compile(r"(?P<pid>\d+) +<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)")


def test_the_files_as_they_are_when_the_answer_comes_hold_the_event(gateway, tmp_path):
    gateway.start(GATEWAY_FORWARDER="off")
    acknowledged = []
    for number in range(30):
        acknowledged += gateway.assert_accepted(event(), event(), sessionId=f"s-{number % 3}")
        crashed = tmp_path / f"crash-{number}"
        crashed.mkdir()
        for name in ("queue.db", "queue.db-wal"):  # not -shm, which is memory
            shutil.copyfile(tmp_path / name, crashed / name)
        with closing(sqlite3.connect(crashed / "queue.db")) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            found = [row[0] for row in db.execute("SELECT event_id FROM queue ORDER BY id")]
        assert found == acknowledged


def test_a_copy_taken_at_the_answer_is_delivered_elsewhere(gateway, tmp_path):
    gateway.start(GATEWAY_FORWARDER="off")
    ids = gateway.assert_accepted(*[event() for _ in range(25)])
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for name in ("queue.db", "queue.db-wal"):
        shutil.copyfile(tmp_path / name, crashed / name)
    gateway.stop()
    gateway.start(GATEWAY_QUEUE=f"sqlite:///{crashed}/queue.db")
    gateway.assert_delivered(ids)
    assert gateway.delivered() == ids


@pytest.mark.parametrize("worker_class", ["gevent", "gthread"])
def test_the_log_is_fsynced_between_the_request_and_its_answer(gateway, tmp_path, worker_class):
    options = "--worker-class", worker_class, "--threads", "2"
    gateway.start(*options, GATEWAY_FORWARDER="off", WEB_CONCURRENCY="1")
    gateway.assert_accepted(event())  # so that the file is open
    with traced(gateway, tmp_path / "trace") as trace:
        for _ in range(10):
            gateway.assert_accepted(event())
    assert syncs_before_answers(trace, tmp_path / "queue.db-wal") == [True] * 10


@contextmanager
def traced(gateway: Gateway, trace: Path) -> Iterator[Path]:
    """strace on the worker, all threads of it, while the block runs."""
    [worker] = gateway.workers()
    calls = "fdatasync,fsync,pwrite64,recvfrom,read,sendto,sendmsg,write"
    command = ["strace", "-f", "-y", "-s", "40", "-e", f"trace={calls}", "-o", trace, "-p"]
    with subprocess.Popen([*command, str(worker)], stderr=subprocess.PIPE, text=True) as strace:
        assert strace.stderr is not None
        said = strace.stderr.readline()
        assert "attached" in said, said
        threads = Path(f"/proc/{worker}/task").glob("*/status")
        tracer = f"TracerPid:\t{strace.pid}"
        eventually(lambda: all(tracer in one.read_text() for one in threads), "all are traced")
        yield trace
        strace.terminate()
        strace.communicate(timeout=30)


def syncs_before_answers(trace: Path, log: Path) -> list[bool]:
    """For each 204: whether the log was written and then synced between its request and it."""
    found, is_synced = [], False
    syncing: set[str] = set()  # threads in the midst of one
    for line in trace.read_text(errors="replace").splitlines():
        if "POST /events" in line:
            is_synced, syncing = False, set()
        elif "HTTP/1.1 204" in line:
            found.append(is_synced)
        elif (call := CALL.match(line)) and f"<{log}>" in line:
            if "write" in call["name"]:
                is_synced = False
            elif "unfinished" in line:
                syncing.add(call["pid"])
            else:
                is_synced = call["rest"].endswith("= 0")
        elif (call := RESUMED.match(line)) and call["pid"] in syncing and "sync" in call["name"]:
            syncing.discard(call["pid"])
            is_synced = call["rest"].endswith("= 0")
    return found
