"""A damaged queue file is set aside, what can be read of it delivered, and a new one started."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
import requests

from gateway.queues import QueueUnavailable
from gateway.queues.sqlite.inbox import SqliteInbox
from gateway.queues.sqlite.outbox import SqliteOutbox
from gateway.queues.sqlite.schema import seen_tables
from gateway.sandbox import Faults, Sandbox
from tests.helpers.forwarders import Accepting, forwarder_of
from tests.helpers.queue_contract import record
from tests.helpers.support import ADMIN_TOKEN, ROOT, Gateway, beacon, environment, event, eventually

PROPERTIES = {"text": "x" * 300}
PAGE = 4096
POISON = "poison"
ASIDE = "queue.db.damaged-20??????-??????"  # with date and time


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Path:
    """A folder with a queue of 400 events and 3 dead letters, all of it in the file itself."""
    folder = tmp_path_factory.mktemp("pristine")
    with Sandbox(faults=Faults(refuse_item_ids=(POISON,))) as sandbox:
        made = Gateway(folder, environment(folder), sandbox).start()
        try:
            for _ in range(3):
                made.assert_accepted(event(), event(itemId=POISON))
            eventually(lambda: len(dead_letters(made)) == 3, "three are dead")
            made.stop()
            made.start(GATEWAY_FORWARDER="off")
            for number in range(100):
                events = [event(properties=PROPERTIES) for _ in range(4)]
                made.assert_accepted(*events, sessionId=f"s-{number % 20}")
        finally:
            made.stop()
    assert not (folder / "queue.db-wal").exists()
    return folder


@pytest.fixture
def file(pristine: Path, tmp_path: Path) -> Path:
    """The queue's file, for the test to damage."""
    return Path(shutil.copyfile(pristine / "queue.db", tmp_path / "queue.db"))


def dead_letters(gateway: Gateway) -> list[str]:
    """Their eventIds."""
    listing = gateway.operate("dead-letters", "list", "--json").stdout.splitlines()
    return [json.loads(line)["event"]["eventId"] for line in listing]


def event_ids(file: Path, table: str = "queue") -> list[str]:
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
        return [row[0] for row in db.execute(f"SELECT event_id FROM {table} ORDER BY id")]


def pages_with(file: Path, ids: list[str]) -> dict[str, set[int]]:
    """For each eventId, every page of the file that it stands on."""
    content = file.read_bytes()
    pages = [content[start : start + PAGE] for start in range(0, len(content), PAGE)]
    return {one: {n for n, data in enumerate(pages) if one.encode() in data} for one in ids}


def spoil(file: Path, pages: list[int], dice: random.Random) -> None:
    """Garbage in place of these pages, in the file as it is."""
    with file.open("r+b") as damaged:
        for page in pages:
            damaged.seek(page * PAGE)
            damaged.write(dice.randbytes(PAGE))


def assert_told_before(gateway: Gateway, file: Path) -> None:
    """`queue verify` names the problem."""
    run = gateway.operate("queue", "verify")
    assert run.returncode == 1
    assert str(file) in run.stderr


def assert_mended(gateway: Gateway, file: Path) -> None:
    """It was set aside, once; the gateway serves; the log and `queue verify` say so."""
    eventually(lambda: readiness(gateway) == {"status": "ok"}, "it is ready")
    gateway.assert_delivered(gateway.assert_accepted(event()))
    assert len(list(file.parent.glob(ASIDE))) == 1
    assert len([line for line in said(gateway) if "was damaged" in line]) == 1, said(gateway)
    run = gateway.operate("queue", "verify")
    assert (run.returncode, run.stderr, run.stdout) == (0, "", f"{file} is in order\n")


def readiness(gateway: Gateway) -> dict:
    return requests.get(f"{gateway.url}/readyz", timeout=10).json()


def said(gateway: Gateway) -> list[str]:
    """What the forwarder had to say."""
    lines = gateway.log.read_text().splitlines()
    return [line for line in lines if "gateway.forwarder.forwarder" in line]


@pytest.mark.parametrize("_round", range(2))
def test_garbage_in_the_middle_loses_only_the_overwritten_records(gateway, file, _round):
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")  # shown where it fails
    dice = random.Random(seed)
    queued, dead = event_ids(file), event_ids(file, "dead")
    where = pages_with(file, queued)
    leaves = sorted({page for pages in where.values() for page in pages})
    hit = dice.sample(leaves[len(leaves) // 8 :], 5)  # the first pages hold the schema
    spoil(file, hit, dice)
    unhurt = [one for one in queued if not where[one] & set(hit)]
    assert len(unhurt) > 300

    assert_told_before(gateway, file)
    gateway.start()
    gateway.assert_delivered(unhurt, 30)
    assert_mended(gateway, file)
    assert set(dead_letters(gateway)) == set(dead)


def test_half_a_file_loses_only_the_records_of_the_other_half(gateway, file):
    queued, dead = event_ids(file), event_ids(file, "dead")
    where = pages_with(file, queued)
    half = file.stat().st_size // PAGE // 2
    with file.open("r+b") as damaged:
        damaged.truncate(half * PAGE)
    unhurt = [one for one in queued if max(where[one]) < half]
    assert len(unhurt) > 100

    assert_told_before(gateway, file)
    gateway.start()
    gateway.assert_delivered(unhurt, 30)
    assert_mended(gateway, file)
    assert set(dead_letters(gateway)) == set(dead)


def test_garbage_in_place_of_the_first_page_costs_nothing(gateway, file):
    queued, dead = event_ids(file), event_ids(file, "dead")
    spoil(file, [0], random.Random(1))
    assert_told_before(gateway, file)
    gateway.start(GATEWAY_ADMIN_TOKEN=ADMIN_TOKEN)
    gateway.assert_delivered(queued, 30)
    assert_mended(gateway, file)
    assert set(dead_letters(gateway)) == set(dead)
    assert gateway.metric("gateway_queue_repairs_total") == 1


def test_a_resend_after_the_repair_is_still_known(gateway, file):
    queued = event_ids(file)
    spoil(file, [0], random.Random(1))
    gateway.start()
    gateway.assert_delivered(queued, 30)
    repeat = event(eventId=queued[0], properties=PROPERTIES)
    answer = gateway.post(beacon(repeat, sessionId="s-0"))
    assert answer.headers["X-Gateway-Reason"] == "duplicate"


def test_an_index_entry_without_its_row_stops_no_delivery(gateway, file):
    gone = event_ids(file)[::2]
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute("PRAGMA writable_schema = ON")
        index = "FROM sqlite_schema WHERE name = 'queue_by_site'"
        [row] = db.execute(f"SELECT * {index}").fetchall()
        db.execute(f"DELETE {index}")
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.executemany("DELETE FROM queue WHERE event_id = ?", [(one,) for one in gone])
        db.execute("PRAGMA writable_schema = ON")
        db.execute("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", row)
    left = event_ids(file)
    assert_told_before(gateway, file)
    gateway.start()
    gateway.assert_delivered(left, 30)
    assert_mended(gateway, file)


def test_damage_found_only_by_the_web_end_is_repaired_too(tmp_path):
    path = tmp_path / "queue.db"
    outbox = SqliteOutbox(path, dedupe_seconds=3600)
    forwarder = forwarder_of(outbox, Accepting(), tmp_path)

    def put() -> None:
        inbox = SqliteInbox(path, max_bytes=1 << 30, min_free_bytes=0, dedupe_seconds=3600)
        inbox.put([record(received_at=time.time())])

    put()
    forwarder.step()
    outbox.tidy()
    with closing(sqlite3.connect(path)) as db:
        marks = "SELECT rootpage FROM sqlite_schema WHERE name = ?"
        table, *_others = seen_tables(time.time(), 3600)
        [(page,)] = db.execute(marks, [table]).fetchall()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    spoil(path, [page - 1], random.Random(1))
    with pytest.raises(QueueUnavailable, match="malformed"):
        put()
    forwarder._tidied_at = 0.0
    forwarder.step()
    put()
    assert len(list(tmp_path.glob(ASIDE))) == 1


def test_a_file_that_is_no_database_any_more_is_replaced(gateway, file):
    spoil(file, list(range(file.stat().st_size // PAGE)), random.Random(1))
    content = file.read_bytes()
    assert_told_before(gateway, file)
    gateway.start()
    eventually(lambda: list(file.parent.glob(ASIDE)), "it is set aside")
    assert_mended(gateway, file)
    [aside] = file.parent.glob(ASIDE)
    assert aside.read_bytes() == content  # for whoever knows how to read it


def test_a_wal_of_garbage_loses_nothing_in_the_file(gateway, file):
    queued = event_ids(file)
    Path(f"{file}-wal").write_bytes(random.Random(1).randbytes(100 * PAGE))
    gateway.start()
    gateway.assert_delivered(queued, 30)
    gateway.assert_delivered(gateway.assert_accepted(event()))
    assert gateway.operate("queue", "verify").returncode == 0


def test_a_missing_queue_file_is_reported_by_verify(gateway, tmp_path):
    run = gateway.operate("queue", "verify")
    said = f"{tmp_path}/queue.db is not there yet\n"
    assert (run.returncode, run.stderr, run.stdout) == (0, "", said)


def test_no_event_is_written_to_a_damaged_file_after_it_is_set_aside(gateway, file):
    gateway.start(GATEWAY_FORWARDER="off")
    before = [gateway.assert_accepted(event())[0] for _ in range(20)]  # both workers have it open
    acknowledged: list[str] = []
    stop = threading.Event()

    def visit() -> None:
        while not stop.is_set():
            one = event()
            if gateway.post(beacon(one)).status_code == 204:
                acknowledged.append(one["eventId"])

    visitors = [threading.Thread(target=visit) for _ in range(4)]
    for visitor in visitors:
        visitor.start()
    where = pages_with(file, event_ids(file)[:200])
    spoil(file, sorted(set.union(*where.values()))[-8:], random.Random(2))
    command = [sys.executable, "-m", "gateway", "forward"]
    with subprocess.Popen(command, cwd=ROOT, env=gateway.environ) as forwarder:
        try:
            [aside] = eventually(lambda: list(file.parent.glob(ASIDE)), "it is set aside", 30)
            eventually(file.exists, "there is a new one")
            at_repair = len(acknowledged)
            eventually(lambda: len(acknowledged) > at_repair + 200, "events are accepted", 30)
            stop.set()
            for visitor in visitors:
                visitor.join(30)
            gateway.assert_delivered([*before, *acknowledged], 30)
            old = b"".join(one.read_bytes() for one in file.parent.glob(f"{aside.name}*"))
            assert before[0].encode() in old
            assert not any(one.encode() in old for one in acknowledged[-200:])
        finally:
            stop.set()
            forwarder.terminate()


@pytest.mark.parametrize("change", ["", "ALTER TABLE queue RENAME TO letters"])
def test_a_newer_version_of_the_format_is_refused_and_never_touched(gateway, file, change):
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA user_version = 99")
        db.execute(change)
        db.commit()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    content = file.read_bytes()
    gateway.start()
    assert gateway.post(beacon()).headers["X-Gateway-Reason"] == "newer_version"
    assert gateway.post(beacon()).status_code == 503
    answer = readiness(gateway)
    assert (answer["status"], answer["reason"]) == ("unavailable", "newer_version")
    assert "version 99" in answer["message"]
    assert "Traceback" not in gateway.log.read_text()
    eventually(lambda: said(gateway), "the forwarder says so")
    assert "newer_version" in said(gateway)[0]
    status = gateway.operate("queue", "status")
    assert status.returncode == 1
    assert "version 99" in status.stderr
    gateway.stop()
    assert file.read_bytes() == content
    assert list(file.parent.glob(ASIDE)) == []
