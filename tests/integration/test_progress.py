"""Long commands show a bar on a terminal, and nothing but their result elsewhere."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
import time
from contextlib import suppress

import pytest

from gateway.queues import Rejection
from gateway.queues.registry import find_queue
from gateway.settings import load
from tests.helpers.queue_contract import receive, record
from tests.helpers.support import ROOT

EVENT = '{"eventId": "e", "eventType": "view", "sentAt": 1700000000}'


def run(environ: dict[str, str], *command: str, is_terminal: bool = True) -> tuple[str, str]:
    """What a command prints, and what it shows on its standard error."""
    ours, its = pty.openpty()
    termios.tcsetwinsize(its, (24, 80))  # into a window of no size nothing is drawn
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", *command],
        cwd=ROOT,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=its if is_terminal else subprocess.STDOUT,
        text=True,
    ) as process:
        os.close(its)
        shown = b""
        with suppress(OSError):  # nobody has the other end any more
            while some := os.read(ours, 4096):
                shown += some
        os.close(ours)
        return process.communicate()[0], shown.decode()


@pytest.mark.parametrize("is_terminal", [True, False])
def test_forward_once_shows_how_far_it_is_on_a_terminal_alone(environ, sandbox, is_terminal):
    sandbox.faults = type(sandbox.faults)(latency=0.2)
    now = time.time()
    waiting = [
        record("shop", f"s-{n % 16}", event_id=f"e-{n}", event=EVENT, received_at=now)
        for n in range(1600)
    ]
    find_queue(load(environ)).open_inbox().put(waiting)
    environ |= {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_ENDPOINT_URL_PERSONALIZE_EVENTS": sandbox.url,
    }
    printed, shown = run(environ, "forward", "--once", is_terminal=is_terminal)
    assert printed == "1600 settled, 0 still queued\n"
    assert len(sandbox.events()) == 1600
    assert ("Delivering: " in shown, "/1600 [" in shown) == (is_terminal, is_terminal)


def test_replay_shows_how_far_it_is(environ):
    find_queue(load(environ)).open_inbox().put(
        [record("shop", f"s-{n}", event_id=f"e-{n}", event=EVENT) for n in range(20_000)]
    )
    lease, outbox = find_queue(load(environ)).open_outbox()
    assert lease.acquire()
    while taken := receive(outbox, 2000):
        outbox.settle([], [Rejection(one, "refused", "", 1) for one in taken], [])
    outbox.close()
    lease.release()
    printed, shown = run(environ, "dead-letters", "replay")
    assert printed == "20000 in the queue again, 0 still not valid\n"
    assert ("Replaying: " in shown, "/20000 [" in shown) == (True, True)
