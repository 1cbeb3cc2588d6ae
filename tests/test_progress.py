"""Long commands show a bar on a terminal, and nothing but their result elsewhere."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from gateway.queues.urls import open_inbox
from gateway.settings import load

from .queue_contract import record
from .support import ROOT


@pytest.mark.parametrize("is_terminal", [True, False])
def test_forward_once_shows_how_far_it_is_on_a_terminal_alone(environ, sandbox, is_terminal):
    sandbox.faults = type(sandbox.faults)(latency=0.1)
    inbox = open_inbox(load(environ))
    inbox.put([record("shop", f"s-{n % 16}", event_id=f"e-{n}") for n in range(1600)])
    ours, its = pty.openpty()
    run = subprocess.run(
        [sys.executable, "-m", "gateway", "forward", "--once"],
        cwd=ROOT,
        env={
            **os.environ, **environ, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_ENDPOINT_URL_PERSONALIZE_EVENTS": sandbox.url,
        },
        stdout=subprocess.PIPE, stderr=its if is_terminal else subprocess.STDOUT, text=True,
    )  # fmt: skip
    shown = os.read(ours, 100_000).decode() if is_terminal else ""  # while there are two ends
    os.close(its)
    os.close(ours)
    assert run.stdout == "1600 settled, 0 still queued\n"
    assert ("Delivering: " in shown, "/1600 [" in shown) == (is_terminal, is_terminal)
