"""Start-up: how long web takes to answer, and each command to do next to nothing."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

from bench.report import Figure
from bench.servers import NOWHERE, SITE, aws_environ, environ
from tests.helpers.support import ROOT, Gateway

COMMANDS = {
    "python -c pass (the ceiling)": ["-c", "pass"],
    "import boto3, and a client": [
        "-c",
        "import boto3; boto3.client('personalize-events', region_name='us-east-1')",
    ],
    "--version": ["-m", "gateway", "--version"],
    "queue status": ["-m", "gateway", "queue", "status"],
    "dead-letters list": ["-m", "gateway", "dead-letters", "list"],
    "snippet": ["-m", "gateway", "snippet", SITE],
    "forward --once": ["-m", "gateway", "forward", "--once"],
    "put-events --generate-cli-skeleton": [
        "-m",
        "gateway",
        "put-events",
        "--generate-cli-skeleton",
    ],
    "sandbox --help": ["-m", "gateway", "sandbox", "--help"],
}


def measure(*, quick: bool) -> list[Figure]:
    """Each in turn, so many rounds."""
    took: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        settings = environ(Path(folder))
        for _ in range(1 if quick else 7):
            for name, arguments in COMMANDS.items():
                started = time.perf_counter()
                _command(arguments, aws_environ(NOWHERE) | settings)
                took[name].append((time.perf_counter() - started) * 1000)
            took["web, until it answers"].append(_web(Path(folder), settings) * 1000)
    return [Figure(f"start-up: {name}", "ms", values) for name, values in took.items()]


def _command(arguments: list[str], environment: dict[str, str]) -> None:
    subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        check=True,
    )


def _web(folder: Path, settings: dict[str, str]) -> float:
    gateway = Gateway(folder, settings, SimpleNamespace(url=NOWHERE))
    started = time.perf_counter()
    try:
        gateway.start()
        return time.perf_counter() - started
    finally:
        gateway.stop()
