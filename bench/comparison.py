"""Comparison: nginx that answers 204, a Flask route that calls PutEvents, and the gateway.

PutEvents takes 20 ms to answer. The Flask route runs as Flask's documentation deploys it, with
`gunicorn -w 4`. The gateway stores each beacon durably, and its forwarder delivers meanwhile.
"""

from __future__ import annotations

import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench.chart import NGINX, OURS, TUTORIAL
from bench.load import Saturation, install, saturate
from bench.report import Figure
from bench.servers import Sink, cookies, environ, sink
from tests.helpers.support import Gateway, children, eventually, free_port

PUT_EVENTS_MS = 20
CONNECTIONS = 32
CONFIGURATION = """\
worker_processes 2;
daemon off;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder};
    proxy_temp_path {folder};
    fastcgi_temp_path {folder};
    uwsgi_temp_path {folder};
    scgi_temp_path {folder};
    server {{ listen 127.0.0.1:{port}; location / {{ return 204; }} }}
}}
"""


class Nginx(Gateway):
    """nginx that answers every request with 204."""

    def start(self, *_options: str, **_environ: str) -> Gateway:
        folder = self.log.parent
        configuration = folder / "nginx.conf"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        configuration.write_text(CONFIGURATION.format(folder=folder, port=self.port))
        command = ["nginx", "-e", "stderr", "-c", str(configuration), "-p", str(folder)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        eventually(self._answers, "nginx answers")
        return self

    def workers(self) -> list[int]:
        return children(self.master)


class Tutorial(Gateway):
    """The Flask route, with gunicorn's defaults and four workers."""

    app = "bench.tutorial:app"

    def start(self, *_options: str, **_environ: str) -> Gateway:
        return super().start("--config", "/dev/null", "--workers", "4")


def measure(*, quick: bool) -> list[Figure]:
    """Beacons per second and latency of each at 32 connections, in rounds side by side."""
    install()
    rounds, seconds, visitors = (1, 1, 5) if quick else (5, 5, 500)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = _servers(folder, stack.enter_context(sink(PUT_EVENTS_MS)))
        for server in servers.values():
            stack.callback(server.stop)
            server.start()
        jar = folder / "cookies"
        jar.write_text("\n".join(cookies(servers[OURS], visitors)) + "\n")
        runs: dict[str, list[Saturation]] = {name: [] for name in servers}
        for number in range(rounds + 1):
            for name, server in servers.items():
                run = saturate(server, jar, CONNECTIONS, seconds)
                if number:  # the first round only warms up
                    runs[name].append(run)
    ratio = [
        ours.rate / theirs.rate for ours, theirs in zip(runs[OURS], runs[TUTORIAL], strict=True)
    ]
    figures = [figure for name, found in runs.items() for figure in _figures(name, found)]
    return [*figures, Figure(f"{OURS}, of {TUTORIAL}", "times", ratio)]


def _servers(folder: Path, aws: Sink) -> dict[str, Gateway]:
    settings = environ(folder / "ours", GATEWAY_FORWARDER="auto")
    for name in ("nginx", "tutorial"):
        (folder / name).mkdir()
    return {
        NGINX: Nginx(folder / "nginx", settings, aws),  # type: ignore[arg-type]
        TUTORIAL: Tutorial(folder / "tutorial", settings, aws),  # type: ignore[arg-type]
        OURS: Gateway(folder / "ours", settings, aws),  # type: ignore[arg-type]
    }


def _figures(name: str, found: list[Saturation]) -> list[Figure]:
    return [
        Figure(name, "beacons/s", [run.rate for run in found]),
        Figure(f"{name}, p99", "ms", [run.p99 for run in found]),
    ]
