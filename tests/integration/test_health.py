"""`/healthz` and `/readyz` in the process itself: they say what `POST /events` would."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from gateway.app import create_app
from gateway.settings import load
from tests.helpers.support import ORIGIN, beacon, event

Start = Callable[..., FlaskClient]


@pytest.fixture
def start(environ: dict[str, str]) -> Start:
    return lambda **changes: create_app(load({**environ, **changes})).test_client()


def post(client: FlaskClient, events: int = 1) -> TestResponse:
    body = json.dumps(beacon(*(event() for _ in range(events))))
    return client.post("/events", data=body, headers={"Origin": ORIGIN})


def assert_ready(client: FlaskClient) -> None:
    """It says that it can store events, and it can."""
    response = client.get("/readyz")
    assert response.status_code == 200, response.text
    assert response.get_json()["status"] in ("ok", "degraded")
    assert "Retry-After" not in response.headers
    assert post(client).status_code == 204


def assert_not_ready(client: FlaskClient, reason: str) -> None:
    """It says why it can't store events, the same as it tells who tries; and it lives."""
    response = client.get("/readyz")
    assert response.status_code == 503
    answer = response.get_json()
    assert answer["status"] == "unavailable"
    assert answer["reason"] == reason
    assert answer["message"]
    assert int(response.headers["Retry-After"]) > 0
    refusal = post(client)
    assert (refusal.status_code, refusal.headers["X-Gateway-Reason"]) == (503, reason)
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_load_balancer_may_ask_without_an_origin_and_by_head(
    client: FlaskClient, path: str
) -> None:
    for response in client.get(path), client.head(path):
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "application/json"
        assert response.headers.getlist("Vary") == ["Origin"]


def test_healthz_says_that_the_process_lives(client: FlaskClient) -> None:
    assert client.get("/healthz").get_json() == {"status": "ok"}


def test_healthz_asks_nothing_of_the_storage(client: FlaskClient, tmp_path: Path) -> None:
    assert client.get("/healthz").status_code == 200
    assert not (tmp_path / "queue.db").exists()


def test_a_fresh_gateway_is_ready_before_a_forwarder_runs(client: FlaskClient) -> None:
    answer = client.get("/readyz").get_json()
    assert answer["status"] == "degraded"
    assert [complaint["reason"] for complaint in answer["degraded"]] == ["forwarder_silent"]
    assert_ready(client)


def test_asking_stores_nothing(client: FlaskClient, tmp_path: Path) -> None:
    assert_ready(client)
    for _ in range(5):
        client.get("/readyz")
    with closing(sqlite3.connect(tmp_path / "queue.db")) as db:
        assert db.execute("SELECT count(*) FROM queue").fetchone() == (1,)


def test_a_full_queue_is_not_ready_until_it_is_emptied(start: Start, tmp_path: Path) -> None:
    client = start(GATEWAY_QUEUE_MAX_BYTES=str(256 * 1024))
    assert_ready(client)
    for _ in range(100):
        if post(client, 100).status_code == 503:
            break
    assert_not_ready(client, "queue_full")
    with closing(sqlite3.connect(tmp_path / "queue.db")) as db:  # as the forwarder does
        db.execute("DELETE FROM queue")
        db.commit()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert_ready(client)


def in_a_folder_of_that_name(path: Path) -> Callable[[], None]:
    path.mkdir()
    return path.rmdir


def in_a_file_for_a_folder(path: Path) -> Callable[[], None]:
    path.parent.write_text("not a folder")
    return path.parent.unlink


def in_a_file_that_is_no_database(path: Path) -> Callable[[], None]:
    path.write_bytes(b"no database at all " * 1000)
    return path.unlink


@pytest.mark.parametrize(
    ("spoil", "place", "reason"),
    [
        (in_a_folder_of_that_name, "queue.db", "cannot_open"),
        (in_a_file_for_a_folder, "data/queue.db", "cannot_open"),
        (in_a_file_that_is_no_database, "queue.db", "damaged"),
    ],
    ids=["folder", "parent is a file", "no database"],
)
def test_a_path_without_a_queue_is_not_ready_until_it_is_repaired(
    start: Start,
    tmp_path: Path,
    spoil: Callable[[Path], Callable[[], None]],
    place: str,
    reason: str,
) -> None:
    mend = spoil(tmp_path / place)
    client = start(GATEWAY_QUEUE=f"sqlite:///{tmp_path / place}")
    assert_not_ready(client, reason)
    mend()
    assert_ready(client)


def test_a_queue_that_was_deleted_is_made_anew(client: FlaskClient, tmp_path: Path) -> None:
    assert_ready(client)
    for path in tmp_path.glob("queue.db*"):
        path.unlink()
    assert_ready(client)


def test_a_disk_without_its_reserve_is_not_ready(start: Start) -> None:
    assert_not_ready(start(GATEWAY_MIN_FREE_BYTES=str(1 << 60)), "disk_reserve")


def test_a_disk_that_fills_up_is_not_ready_until_it_is_freed(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = start(GATEWAY_MIN_FREE_BYTES="1000000")
    assert_ready(client)
    nearly_full = os.statvfs_result((4096, 4096, 1000, 300, 244, 10, 10, 10, 0, 255))
    with monkeypatch.context() as patched:
        patched.setattr(os, "statvfs", lambda _path: nearly_full)  # 999,424 bytes
        assert_not_ready(client, "disk_reserve")
    assert_ready(client)


def test_a_file_in_which_nothing_can_be_stored_is_not_ready(client, environ):
    assert client.get("/readyz").status_code == 200
    path = environ["GATEWAY_QUEUE"].removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE seen0")
        db.execute("DROP TABLE seen1")
        db.execute("DROP TABLE seen2")
    assert client.get("/readyz").status_code == 503


def test_asking_for_readiness_stores_nothing(client, environ):
    for _ in range(3):
        assert client.get("/readyz").status_code == 200
    path = environ["GATEWAY_QUEUE"].removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as db:
        for table in ("queue", "seen0", "seen1", "seen2"):
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
