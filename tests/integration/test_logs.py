"""What is logged: each trouble once a minute, on one line, whatever visitors wrote into it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from gateway.observability.logs import RateLimitedLogger, formatter, printable
from gateway.observability.non_blocking_stream import BUFFERED_LINES
from gateway.sandbox.faults import Faults
from tests.helpers.support import ROOT, event, eventually


def test_the_same_reason_is_logged_once_a_minute_with_a_count_of_the_rest(caplog):
    now = [0.0]
    repeats = RateLimitedLogger(logging.getLogger("gateway.test"), clock=lambda: now[0])
    for moment in range(90):
        now[0] = float(moment)
        repeats.warning("foreign_origin", f"at {moment}")
    repeats.warning("unknown_site", "another reason")
    assert caplog.messages == [
        "foreign_origin: at 0",
        "foreign_origin: at 60 (59 more in the meantime)",
        "unknown_site: another reason",
    ]


def test_each_site_and_each_reason_of_it_is_logged_by_itself(caplog):
    repeats = RateLimitedLogger(logging.getLogger("gateway.test"), clock=lambda: 0.0)
    for who in ("shop", "media"):
        for reason in ("throttled", "unreachable", "throttled"):
            repeats.warning(reason, "why", who)
    assert caplog.messages == [
        "shop: throttled: why",
        "shop: unreachable: why",
        "media: throttled: why",
        "media: unreachable: why",
    ]


@pytest.mark.parametrize("text", ["a\nb", "\x1b[31mred", "\ud800", "a\u2028b", "a\rb", "\0"])
def test_what_visitors_write_stays_on_its_line(text, caplog):
    RateLimitedLogger(logging.getLogger("gateway.test")).warning(
        "invalid_request", f"Invalid: {text}"
    )
    [message] = caplog.messages
    assert message.isascii()
    assert message.isprintable()
    assert printable(text) == ascii(text)[1:-1]


def test_a_long_text_is_cut():
    assert printable("a" * 100_000) == "a" * 500 + "…"


def test_ordinary_text_is_logged_as_it_is():
    assert printable("Käse ☃ 𝄞") == "Käse ☃ 𝄞"


def test_a_line_is_json_for_programs_and_text_on_a_terminal(monkeypatch):
    record = logging.LogRecord("gateway.app", 30, "", 0, "disk_full: %s", ("a\u2028b",), None)
    vars(record).update(reason="disk_full", who="", left_out=7)
    line = formatter().format(record)
    assert line.isascii()
    members = json.loads(line)
    assert members.pop("time").endswith("+00:00")
    assert members.pop("pid") == os.getpid()
    assert members == {
        "level": "WARNING",
        "logger": "gateway.app",
        "message": "disk_full: a\u2028b",
        "reason": "disk_full",
        "left_out": 7,
    }
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert formatter().format(record).endswith(" WARNING gateway.app: disk_full: a\u2028b")


def test_each_line_of_a_server_is_json_and_none_is_about_a_request(gateway):
    gateway.start()
    gateway.assert_delivered(gateway.assert_accepted(event()))
    assert gateway.post("{").status_code == 400
    gateway.stop()
    lines = [json.loads(line) for line in gateway.log.read_text().splitlines()]
    assert {"gunicorn.error", "gateway.app"} <= {line["logger"] for line in lines}
    assert [line["reason"] for line in lines if "reason" in line] == ["invalid_request"]
    assert not any("POST" in line["message"] for line in lines)


class Pipe:
    """Where a process writes its log, for somebody who doesn't read it until told to."""

    def __init__(self) -> None:
        self._exit, self.entry = os.pipe()
        os.set_blocking(self._exit, False)

    def fill(self) -> None:
        """Until it takes no more, by a descriptor that alone never waits."""
        own = os.open(f"/proc/self/fd/{self.entry}", os.O_WRONLY | os.O_NONBLOCK)
        with suppress(BlockingIOError):
            while True:
                os.write(own, b"\n" * 4096)
        os.close(own)

    def read_until(self, text: str) -> list[str]:
        """The lines that came by when this text does."""
        said = b""

        def heard() -> bool:
            nonlocal said
            with suppress(BlockingIOError):
                said += os.read(self._exit, 1 << 16)
            return text.encode() in said

        eventually(heard, f"{text} is in the log")
        return said.decode().splitlines()

    def close(self) -> None:
        os.close(self._exit)
        os.close(self.entry)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    with closing(Pipe()) as pipe:
        yield pipe


def test_logging_never_blocks_a_request_or_a_delivery(gateway, pipe):
    gateway.start_with(pipe.entry, "--access-logfile", "-", WEB_CONCURRENCY="1")
    eventually(gateway.forwarders, "the forwarder runs")
    gateway.sandbox.faults = Faults(error_rate=1.0)
    pipe.fill()
    for _ in range(BUFFERED_LINES + 50):  # each has a line in the access log
        assert gateway.post("{").status_code == 400
    accepted = gateway.assert_accepted(event())
    eventually(lambda: len(gateway.sandbox.requests()) > 1, "the forwarder tries again")
    gateway.sandbox.faults = Faults()
    gateway.assert_delivered(accepted)
    said = pipe.read_until("left out")
    assert sum("POST /events" in line for line in said) >= BUFFERED_LINES
    assert [line for line in said if '"reason": "invalid_request"' in line]
    assert [line for line in said if '"who": "shop"' in line]  # the forwarder's
    pipe.fill()
    gateway.stop()  # asserts that every process has ended


TALKATIVE = """
import logging
from gateway.observability import logs
logs.configure()
for number in range(500): logging.getLogger("gateway.test").info("line %d", number)
"""


@pytest.mark.parametrize("threads", ["", "from gevent import monkey; monkey.patch_all()"])
def test_a_process_that_ends_leaves_no_line_unwritten(threads):
    script = f"from gateway.observability import logs\n{threads}\n{TALKATIVE}"
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, timeout=60, capture_output=True, text=True
    )
    said = [json.loads(line)["message"] for line in run.stderr.splitlines()]
    assert said == [f"line {number}" for number in range(500)]


def test_a_non_blocking_log_pipe_gets_every_line_whole(pipe):
    os.set_blocking(pipe.entry, False)  # for all who have it
    pipe.fill()
    with subprocess.Popen(
        [sys.executable, "-c", f"{TALKATIVE}\nprint('Told', flush=True); input()"],
        cwd=ROOT, stderr=pipe.entry, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout
        assert process.stdin
        assert process.stdout.readline() == b"Told\n"
        said = pipe.read_until("line 499")
        process.stdin.write(b"\n")
    assert [json.loads(line)["message"] for line in said if line] == [
        f"line {number}" for number in range(500)
    ]


def test_an_unread_log_pipe_keeps_no_process_from_ending(pipe):
    pipe.fill()
    subprocess.run([sys.executable, "-c", TALKATIVE], cwd=ROOT, stderr=pipe.entry, timeout=30)
