"""The trail may be lost at any moment, and nothing of the events with it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.observability import metrics
from gateway.observability.history import history_file, steps, writer
from gateway.observability.history.reader import EventFilter, HistoryReader
from gateway.observability.redaction import MASK, Redactor
from gateway.queues import Record
from tests.helpers.support import eventually

EVENT = '{"eventId": "%s", "eventType": "view", "properties": "{\\"email\\": \\"ada@b.cd\\"}"}'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db-trail"


@pytest.fixture
def trail(path: Path) -> writer.HistoryWriter:
    return writer.HistoryWriter(path, Redactor(["EMAIL"]), 0)


def note(
    trail: writer.HistoryWriter, name: str, user: str | None = None, session: str = "s"
) -> None:
    record = Record("shop", session, user, name, EVENT % name, None, time.time())
    trail.record(steps.stored, [record], [True], time.time())


def names(path: Path) -> list[str]:
    return [life["eventId"] for life in HistoryReader(path).lives(EventFilter(), 0)[1]]


def lost() -> float:
    [family] = metrics.HISTORY_LOST.collect()
    return family.samples[0].value


def test_a_damaged_file_is_begun_anew_and_a_deleted_one_too(
    path: Path, trail: writer.HistoryWriter
) -> None:
    path.write_bytes(b"no database" * 1000)
    before = lost()
    note(trail, "lost")
    eventually(lambda: lost() > before, "what could not be written is counted")
    note(trail, "a")
    eventually(lambda: names(path) == ["a"], "the next is there")
    history_file.delete(path)
    note(trail, "b")
    eventually(lambda: names(path) == ["b"], "the next is there")


@pytest.mark.parametrize("trouble", ["no_folder", "disk_reserve", "odd_note"])
def test_a_failing_history_disturbs_no_request(
    tmp_path: Path, path: Path, trail: writer.HistoryWriter, trouble: str
) -> None:
    before = lost()
    if trouble == "no_folder":
        (tmp_path / "file").touch()
        trail = writer.HistoryWriter(tmp_path / "file/trail", Redactor([]), 0)
    if trouble == "disk_reserve":
        trail = writer.HistoryWriter(path, Redactor([]), 1 << 62)
    if trouble == "odd_note":
        trail.record(lambda: 1 / 0)
    note(trail, "a")
    eventually(lambda: lost() == before + 1, "it is counted, and nothing else happens")


def test_more_than_can_be_written_is_lost_and_not_waited_for(
    trail: writer.HistoryWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trail, "_start", lambda: None)
    before = lost()
    for number in range(writer.WAITING + 7):
        note(trail, str(number))
    assert lost() == before + 7


def test_it_keeps_an_hour_and_no_more_than_its_bytes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_file, "KEEP_BYTES", 400_000)
    trail = writer.HistoryWriter(path, Redactor([]), 0)
    old = time.time() - history_file.KEEP_SECONDS - 9
    record = Record("shop", "s", None, "old", EVENT % "old", None, old)
    trail._notes.append((steps.stored, ([record], [True], old)))
    for start in range(0, 4000, 1000):
        for number in range(start, start + 1000):
            one = record._replace(event_id=f"e-{number}")
            trail._notes.append((steps.stored, ([one], [True], time.time())))
        trail._trimmed = 0.0
        assert trail._write() == (0, None)
    with history_file.opened(path) as db:
        assert db.execute(history_file.USED_BYTES).fetchone()[0] < 500_000
        kept = [name for (name,) in db.execute("SELECT event_id FROM steps ORDER BY n")]
    assert kept[-1] == "e-3999"
    assert "old" not in kept
    assert 500 < len(kept) < 4000


@pytest.fixture
def remembered(path: Path, trail: writer.HistoryWriter) -> Path:
    for name, user, session in (("a", None, "s-1"), ("b", "ada", "s-1"), ("c", "ben", "s-2")):
        note(trail, name, user, session)
    eventually(lambda: path.exists() and len(names(path)) == 3, "all are remembered")
    return path


def test_a_forgotten_user_leaves_nothing_of_the_sessions_either(remembered: Path) -> None:
    assert history_file.forget(remembered, "shop", ["ada"]) == 2
    assert names(remembered) == ["c"]


def test_what_is_masked_is_masked_at_any_depth_and_in_messages(remembered: Path) -> None:
    [life] = HistoryReader(remembered).find("a")
    assert life["event"]["properties"] == {"email": MASK}
    mask = Redactor(["email"])
    assert mask.message("Value 'ada@b.cd' failed", [EVENT % "a"]) == f"Value '{MASK}' failed"
    assert Redactor([]).message("Value 'ada@b.cd' failed", [EVENT % "a"]) == (
        "Value 'ada@b.cd' failed"
    )


EMAIL = '{"email": "ada@b.cd", "list": "home"}'


@pytest.mark.parametrize(
    "event",
    [
        {"properties": EMAIL},
        {"properties": json.dumps(EMAIL)},
        {"Properties": EMAIL},
        {"properties": [EMAIL, 7]},
        {"properties": json.dumps({"user": EMAIL})},
        {"properties": f" {EMAIL[:-1]}"},
        {"itemId": "[" * 100_000 + EMAIL},
        {"email": [EMAIL]},
        {"properties": {"a": "[" * 505 + "{}" + "]" * 505, "email": "ada@b.cd"}},
    ],
)
def test_what_is_masked_is_masked_in_texts_that_hold_json_too(event: dict[str, Any]) -> None:
    masked = Redactor(["Email"]).event(json.dumps(event))
    assert "ada@b.cd" not in masked
    assert MASK in json.dumps(json.loads(masked), ensure_ascii=False)


@pytest.mark.parametrize(
    "text", ["plain", "Hello {name}", '{"list": "home"}', "[1, 2", '"a"', "{}"]
)
def test_a_text_without_any_of_the_names_stays_as_it_is(text: str) -> None:
    event = {"itemId": text, "properties": '{"list": "home"}'}
    assert json.loads(Redactor(["email"]).event(json.dumps(event))) == event


@pytest.mark.parametrize(
    ("properties", "quoted"),
    [
        ({"email": "{x} ada@b.cd"}, "{x} ada@b.cd"),
        ({"email": '{"n": 42}'}, '{"n": 42}'),
        ({"email": "[ada@b.cd {"}, "[ada@b.cd {"),
        (EMAIL[:-1], EMAIL[:-1]),
    ],
)
def test_a_value_that_looks_like_json_is_masked_in_messages(properties: Any, quoted: str) -> None:
    event = json.dumps({"properties": properties})
    assert Redactor(["email"]).message(f"'{quoted}' is no item", [event]) == f"'{MASK}' is no item"


def test_a_value_in_a_text_in_a_text_is_masked_in_messages() -> None:
    event = json.dumps({"properties": json.dumps({"user": EMAIL})})
    assert Redactor(["email"]).message("'ada@b.cd' is no item", [event]) == f"'{MASK}' is no item"
