"""`queue backup` copies a queue that is in use; the copy is complete, and one file."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

from tests.helpers.support import Gateway, event
from tests.integration.test_reload import Load


def waiting(file: Path) -> set[str]:
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
        return {row[0] for row in db.execute("SELECT event_id FROM queue")}


def test_a_backup_beside_traffic_has_all_that_was_acknowledged_before(gateway: Gateway, tmp_path):
    gateway.start(GATEWAY_FORWARDER="off")
    gateway.assert_accepted(event())
    with Load(gateway) as load:
        before = [*load.accepted]
        while len(before) < 20:
            before = [*load.accepted]
        run = gateway.operate("queue", "backup", str(tmp_path / "copy.db"))
    assert (run.returncode, run.stderr) == (0, "")
    assert load.lost == []
    assert set(before) <= waiting(tmp_path / "copy.db") <= {*waiting(tmp_path / "queue.db")}
    assert list(tmp_path.glob("copy.db*")) == [tmp_path / "copy.db"]


def test_the_copy_is_one_private_file_without_a_wal_and_opens_as_a_queue(gateway, tmp_path):
    gateway.start(GATEWAY_FORWARDER="off")
    accepted = gateway.assert_accepted(event(), event())
    copy = tmp_path / "copy.db"
    gateway.operate("queue", "backup", str(copy))
    assert copy.read_bytes()[18:20] == b"\1\1"  # rollback journal: WAL would be 2
    assert stat.S_IMODE(copy.stat().st_mode) & 0o007 == 0
    with closing(sqlite3.connect(copy)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    gateway.environ["GATEWAY_QUEUE"] = f"sqlite:///{copy}"
    assert gateway.operate("queue", "verify").returncode == 0
    gateway.stop()
    gateway.start(GATEWAY_FORWARDER="auto")
    gateway.assert_delivered(accepted)


def test_a_backup_overwrites_nothing(gateway, tmp_path):
    gateway.start(GATEWAY_FORWARDER="off")
    gateway.assert_accepted(event())
    (tmp_path / "copy.db").write_text("precious")
    run = gateway.operate("queue", "backup", str(tmp_path / "copy.db"))
    assert run.returncode == 1
    assert run.stderr == (
        f"personalize-gateway: {tmp_path}/copy.db exists: name a new file, or move this one away\n"
    )
    assert (tmp_path / "copy.db").read_text() == "precious"


def test_a_backup_that_fails_says_so_in_one_line_and_leaves_nothing(gateway, tmp_path):
    run = gateway.operate("queue", "backup", str(tmp_path / "copy.db"))
    assert run.returncode == 1
    assert run.stderr.endswith(f"{tmp_path}/queue.db does not exist: nothing to back up\n")
    gateway.start(GATEWAY_FORWARDER="off")
    gateway.assert_accepted(event())
    run = gateway.operate("queue", "backup", str(tmp_path / "no/copy.db"))
    assert run.returncode == 1
    assert "No such file or directory" in run.stderr
    assert run.stderr.count("\n") == 1
    assert not list(tmp_path.glob("copy*"))


def test_sqs_has_no_file_to_back_up(gateway, tmp_path):
    gateway.environ["GATEWAY_QUEUE"] = "https://sqs.us-east-1.amazonaws.com/123456789012/events"
    run = gateway.operate("queue", "backup", str(tmp_path / "copy.db"))
    assert run.returncode == 1
    assert run.stderr == (
        "personalize-gateway: Amazon SQS keeps the queue: there is no file to back up\n"
    )
    assert not (tmp_path / "copy.db").exists()
