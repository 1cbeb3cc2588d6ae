"""The processes that are measured, and what they use of the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from tests.helpers.support import ORIGIN, ROOT, Gateway, beacon, event, eventually, free_port

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
SITE = "shop"
NOWHERE = "http://127.0.0.1:9"  # nobody listens there
# One address sends it all, so its limit is checked but set out of reach; all else is the default.
SITES = f"""\
[sites.{SITE}]
tracking_id = "8f3b1c5e-0000-4000-8000-000000000001"
origins = ["{ORIGIN}"]
region = "us-east-1"
calls_per_second = 100000
events_per_minute = 100000000
"""


class Empty(Gateway):
    """The ceiling: an empty Flask route under the same gunicorn settings."""

    app = "bench.empty:app"


class Sink:
    """PutEvents at the cost of next to nothing: see bench/sink.py."""

    def __init__(self, url: str) -> None:
        self.url = url

    def arrivals(self) -> dict[str, Any]:
        """Return what arrived since the last call."""
        with urlopen(f"{self.url}/arrivals", timeout=10) as answer:
            return json.load(answer)


@contextmanager
def sink(delay_ms: int = 0) -> Iterator[Sink]:
    """Run a sink that answers PutEvents after so many milliseconds."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.sink", str(port), str(delay_ms)], cwd=ROOT
    )
    try:
        found = Sink(f"http://127.0.0.1:{port}")
        eventually(lambda: answers(found), "the sink answers")
        yield found
    finally:
        process.terminate()
        process.wait()


def answers(found: Sink) -> bool:
    try:
        found.arrivals()
    except OSError:
        return False
    return True


def environ(folder: Path, **more: str) -> dict[str, str]:
    """Return the configuration as shipped, with a limit above all that is sent."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sites.toml").write_text(SITES)
    return {
        "GATEWAY_SITES": str(folder / "sites.toml"),
        "GATEWAY_QUEUE": f"sqlite:///{folder}/queue.db",
        "GATEWAY_SECRET_KEY": "the-key-of-the-bench-of-32-characters",
        "GATEWAY_QUEUE_MAX_BYTES": str(1 << 36),
        "GATEWAY_MIN_FREE_BYTES": "0",
        "GATEWAY_FORWARDER": "off",
        **more,
    }


def cookies(gateway: Gateway, visitors: int) -> list[str]:
    """Session cookies as the gateway hands them out to visitors who come for the first time."""
    found = []
    for _ in range(visitors):
        answer = gateway.post(beacon(event()), **{"User-Agent": BROWSER})
        assert answer.status_code == 204, answer.text
        found.append("; ".join(f"{name}={value}" for name, value in answer.cookies.items()))
    return found


def aws_environ(url: str) -> dict[str, str]:
    """For a process that is to call the sink as if it were AWS."""
    return {
        **os.environ,
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL_PERSONALIZE_EVENTS": url,
    }


def cpu_seconds(pids: list[int]) -> float:
    """CPU time that these processes have used, in user mode and in the kernel."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int | str = "self") -> float:
    """Memory that a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
