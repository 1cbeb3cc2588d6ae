"""Few files to open: connections are bounded by the limit, and visitors are served meanwhile."""

from __future__ import annotations

import os
import resource
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.helpers.support import Gateway, event, eventually

FEW = 256  # macOS' default
HALF_OPEN = 712


def limit_files(monkeypatch: pytest.MonkeyPatch, folder: Path, command: str) -> None:
    """Let Python start under these limits."""
    python = folder / "python"
    python.write_text(f'#!/bin/sh\n{command}\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))


def soft_limit(pid: int) -> int:
    return resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]


def test_the_soft_limit_is_raised_to_the_hard_one(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_files(monkeypatch, tmp_path, "ulimit -Sn 256; ulimit -Hn 600")
    gateway.start(WEB_CONCURRENCY="1")
    assert [soft_limit(pid) for pid in gateway.workers()] == [600]


def test_more_half_open_connections_than_files_leave_visitors_served(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_files(monkeypatch, tmp_path, f"ulimit -n {FEW}")
    gateway.start(WEB_CONCURRENCY="1")
    [worker] = gateway.workers()
    assert soft_limit(worker) == FEW
    with ExitStack() as stack:
        for number in range(HALF_OPEN):
            half = stack.enter_context(
                socket.create_connection(("127.0.0.1", gateway.port), timeout=20)
            )
            half.sendall(b"POST /events HTTP/1.1\r\n")
            if number % 100 == 0:
                gateway.assert_accepted(event())
        gateway.assert_delivered(gateway.assert_accepted(event()))
    assert gateway.workers() == [worker]
    assert "Traceback" not in (log := gateway.log.read_text()), log


def test_a_worker_out_of_file_descriptors_logs_it_once_and_goes_on(
    gateway: Gateway,
) -> None:
    gateway.start(WEB_CONCURRENCY="1")
    [worker] = gateway.workers()
    address = ("127.0.0.1", gateway.port)
    with ExitStack() as stack:
        idle = stack.enter_context(socket.create_connection(address, timeout=20))
        idle.sendall(b"POST /events HTTP/1.1\r\n")
        gateway.assert_accepted(event())
        hard = resource.prlimit(worker, resource.RLIMIT_NOFILE)[1]
        open_files = len(os.listdir(f"/proc/{worker}/fd"))
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (0, hard))
        waiting = stack.enter_context(socket.create_connection(address, timeout=20))
        assert idle.recv(1) == b"", f"it makes room, of {open_files}"
        eventually(lambda: "could not be accepted" in gateway.log.read_text(), "it is logged")
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (hard, hard))
        waiting.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert waiting.recv(12) == b"HTTP/1.1 200"
    log = gateway.log.read_text()
    assert log.count("could not be accepted") == 1
    assert "Traceback" not in log
