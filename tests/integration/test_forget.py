"""`forget` removes what the gateway has of a user, and of nobody else, and tells AWS's line."""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.observability.history.reader import EventFilter, HistoryReader
from gateway.queues import ForwarderStatus
from gateway.queues.registry import find_queue
from gateway.queues.sqlite.schema import COLUMNS
from gateway.settings import Settings
from tests.helpers.support import (
    ADMIN,
    ADMIN_TOKEN,
    ROOT,
    Gateway,
    Start,
    Stored,
    beacon,
    event,
    eventually,
    post,
)

USER = 'o\'neil, "ann" $(id)'


@pytest.fixture
def filled(start: Start, tmp_path: Path) -> Path:
    """Tables and trail hold events of the user, of another, of the same name on another site."""
    client = start(GATEWAY_ADMIN_TOKEN="token-of-the-suite")
    for site, user, origin in (
        ("shop", USER, "https://shop.example.com"),
        ("shop", "bob", "https://shop.example.com"),
        ("media", USER, "https://media.example.com"),
    ):
        body = beacon(event(itemId=f"item-of-{site}-{user}"), trackingId=site, userId=user)
        assert post(client, body, Origin=origin).status_code == 204
    path = tmp_path / "queue.db"
    trail = HistoryReader(Path(f"{path}-trail"))
    eventually(lambda: len(trail.lives(EventFilter(), 0)[1]) == 3, "the trail is written")
    with closing(sqlite3.connect(path)) as db:
        db.execute(
            f"INSERT INTO dead ({COLUMNS}, reason, message, attempts, died_at)"
            f" SELECT {COLUMNS}, 'refused', 'm', 1, 1.0 FROM queue"
        )
        db.commit()
    return path


def test_it_removes_the_users_events_and_nobody_elses(
    filled: Path,
    stored: Stored,
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert main(["forget", "--site", "shop", "--user", USER]) == 0
    told = capsys.readouterr()
    assert "1 queued events, 1 dead letters, " in told.err
    _, lives = HistoryReader(Path(f"{filled}-trail")).lives(EventFilter(), 0)
    assert [(life["site"], life["userId"]) for life in lives] == [("shop", "bob"), ("media", USER)]
    assert [(row["site"], row["user_id"]) for row in stored()] == [("shop", "bob"), ("media", USER)]
    with closing(sqlite3.connect(filled)) as db:
        dead = db.execute("SELECT site, user_id FROM dead ORDER BY id").fetchall()
    assert dead == [("shop", "bob"), ("media", USER)]
    left = b"".join(path.read_bytes() for path in filled.parent.glob("queue.db*"))
    assert b"item-of-media-" in left
    assert b"item-of-shop-bob" in left
    assert b"item-of-shop-o'neil" not in left
    command = told.out.partition(" | ")[0]
    printed = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert printed.stdout == 'USER_ID\n"o\'neil, ""ann"" $(id)"\n'
    words = shlex.split(told.out)
    assert words[words.index("create-data-deletion-job") - 1] == "personalize"
    assert "us-east-1" in words


def test_it_removes_the_users_rejected_events_whose_site_nobody_knows(
    start: Start, tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = start(GATEWAY_ADMIN_TOKEN=ADMIN_TOKEN)
    for user in (USER, "bob"):
        assert post(client, beacon(trackingId="shopp", userId=user)).status_code == 404
    trail = HistoryReader(tmp_path / "queue.db-trail")
    eventually(lambda: len(trail.lives(EventFilter(), 0)[1]) == 2, "the trail is written")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert main(["forget", "--site", "shop", "--user", USER]) == 0
    assert [life["userId"] for life in trail.lives(EventFilter(), 0)[1]] == ["bob"]


@pytest.fixture
def forget(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., int]:
    """Run `forget` for the site `shop`; users are written to a file."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    def run(users: bytes, *options: str) -> int:
        (tmp_path / "users.txt").write_bytes(users)
        file = str(tmp_path / "users.txt")
        return main(["forget", "--site", "shop", "--users-file", file, *options])

    return run


def test_a_file_of_users_is_forgotten_at_once_and_makes_one_csv(
    start: Start,
    forget: Callable[..., int],
    stored: Stored,
    capsys: pytest.CaptureFixture[str],
) -> None:
    users = ["ann", USER, *(f"u-{number}" for number in range(500))]
    client = start()
    for user in (*users[:4], "bob"):
        assert post(client, beacon(userId=user)).status_code == 204
    assert forget("\r\n".join([*users, "", "ann"]).encode("utf-8-sig")) == 0
    told = capsys.readouterr()
    assert told.err.startswith("Forgotten: 4 queued events, ")
    assert "aws personalize create-data-deletion-job --region us-east-1 " in told.err
    rows = [*csv.reader(io.StringIO(told.out))]
    assert rows == [["USER_ID"], *([user] for user in users)]
    assert [row["user_id"] for row in stored()] == ["bob"]


@pytest.mark.parametrize(
    ("users", "problem"),
    [
        (b"", "no userId in it"),
        (b" \n\n", "no userId in it"),
        (b"ann\n" + b"x" * 257, "line 2: a userId has at most 256 characters"),
        (b"ann\n\xff", "can't decode"),
    ],
)
def test_an_empty_list_of_users_forgets_no_user(
    start: Start,
    forget: Callable[..., int],
    stored: Stored,
    capsys: pytest.CaptureFixture[str],
    users: bytes,
    problem: str,
) -> None:
    assert post(start(), beacon(userId="ann")).status_code == 204
    assert forget(users) == 1
    told = capsys.readouterr().err
    assert problem in told
    assert told.count("\n") == 1
    assert len(stored()) == 1


def test_users_on_hold_are_refused_and_nothing_of_them_is_recorded(
    start: Start, forget: Callable[..., int], stored: Stored, tmp_path: Path
) -> None:
    client = start(GATEWAY_ADMIN_TOKEN=ADMIN_TOKEN)
    trail = HistoryReader(tmp_path / "queue.db-trail")
    assert post(client, beacon(userId="ann")).status_code == 204
    eventually(lambda: len(trail.lives(EventFilter(), 0)[1]) == 1, "the trail is written")
    assert forget(b"ann\nben\n", "--hold", "30") == 0
    for user in ("ann", "ben"):
        answer = post(client, beacon(event(itemId="i-1"), event(itemId="i-2"), userId=user))
        assert answer.status_code == 400
        assert answer.headers["X-Gateway-Reason"] == "forgotten"
        assert answer.json
        assert answer.json["errors"]["eventList"]  # the snippet then drops the events
        assert "Set-Cookie" not in answer.headers
    for user_id in ("bob", None):
        assert post(client, beacon(userId=user_id)).status_code == 204
    assert [row["user_id"] for row in stored()] == ["bob", None]
    text = client.get("/metrics", headers=ADMIN).text
    assert 'gateway_events_refused_total{reason="forgotten",site="shop"} 4.0' in text
    eventually(lambda: len(trail.lives(EventFilter(), 0)[1]) == 4, "the trail is written")
    _, lives = trail.lives(EventFilter(), 0)
    assert sorted(life["userId"] or "" for life in lives) == ["", "", "", "bob"]
    refused = [life for life in lives if life["reason"] == "forgotten"]
    assert len(refused) == 2
    assert "(2 events)" in refused[0]["message"]
    assert "i-1" not in json.dumps(lives)


def test_a_hold_ends_with_0_days_and_binds_put_events_too(
    start: Start, forget: Callable[..., int], stored: Stored, capsys: pytest.CaptureFixture[str]
) -> None:
    client = start()
    assert forget(b"ann", "--hold", "1") == 0
    enqueue = ["put-events", "--enqueue", "--tracking-id", "shop", "--session-id", "s-1"]
    events = ["--event-list", "eventType=view,sentAt=1763880000,itemId=i-9"]
    assert main([*enqueue, *events, "--user-id", "ann"]) != 0
    assert "are refused since `forget --hold`" in capsys.readouterr().err
    assert stored() == []
    assert forget(b"ann", "--hold", "0") == 0
    assert post(client, beacon(userId="ann")).status_code == 204


def test_nothing_of_a_user_on_hold_is_stored_once_forget_returns(
    gateway: Gateway, tmp_path: Path
) -> None:
    """Two workers store the user's events all the time."""
    gateway.start(GATEWAY_FORWARDER="off")
    answers: list[tuple[float, int]] = []
    stop = threading.Event()

    def send() -> None:
        while not stop.is_set():
            asked_at = time.monotonic()
            answers.append((asked_at, gateway.post(beacon(userId="ann")).status_code))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: len(answers) > 20, "events are stored")
        run = gateway.operate("forget", "--site", "shop", "--user", "ann", "--hold", "30")
        ended_at, seen = time.monotonic(), len(answers)
        eventually(lambda: len(answers) > seen + 20, "events are refused")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert run.returncode == 0
    assert not run.stderr.startswith("Forgotten: 0 queued events")
    assert {status for _, status in answers} == {204, 400}
    assert {status for asked_at, status in answers if asked_at > ended_at} == {400}
    with closing(sqlite3.connect(tmp_path / "queue.db")) as db:
        assert db.execute("SELECT count(*) FROM queue").fetchone() == (0,)


@pytest.mark.parametrize("days", ["-1", "4000", "soon"])
def test_a_hold_has_a_number_of_days(forget: Callable[..., int], days: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        forget(b"ann", f"--hold={days}")
    assert exit_.value.code == 2


def test_a_missing_site_is_reported(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert main(["forget", "--site", "shopp", "--user", "ann"]) == 1
    assert "no [sites.shopp]" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["forget --site shop --user", "trace"])
def test_an_undecodable_argument_gives_a_one_line_error(
    environ: dict[str, str], command: str
) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "gateway", *command.split(), b"\xff"],
        cwd=ROOT, env={**os.environ, **environ}, capture_output=True, text=True,
    )  # fmt: skip
    said = "personalize-gateway: an argument is no text: \\udcff\n"
    assert (run.returncode, run.stdout, run.stderr) == (1, "", said)


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o640), (0o007, 0o660), (0o077, 0o600)])
def test_the_queue_and_its_files_are_never_world_readable(
    start: Start, settings: Settings, tmp_path: Path, umask: int, mode: int
) -> None:
    before = os.umask(umask)
    try:
        assert post(start(GATEWAY_ADMIN_TOKEN="token-of-the-suite")).status_code == 204
        lease, outbox = find_queue(settings).open_outbox()
        assert lease.acquire()
        lease.report(ForwarderStatus(0, 0, {}))
        outbox.tidy()
        eventually(lambda: list(tmp_path.glob("queue.db-trail*")), "the trail is begun")
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("queue.db*")}
        outbox.close()
        lease.release()
    finally:
        os.umask(before)
    beside = {"-wal", "-shm", "-trail", "-gate.lock", "-write.lock", "-forwarder.lock"}
    beside |= {"-forwarder.json"}
    assert {"queue.db", *(f"queue.db{suffix}" for suffix in beside)} <= set(modes)
    assert set(modes.values()) == {mode}, modes
