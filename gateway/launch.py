"""`make run`: everything at once on this machine, with a demo shop and, without AWS, a sandbox."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from gateway.sandbox import Sandbox

DEMO_SITES = """\
[sites.demo]
tracking_id = "00000000-0000-4000-8000-demo00000000"
origins = ["http://127.0.0.1:{port}", "http://localhost:{port}"]
region = "us-east-1"
"""
SANDBOX_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "sandbox", "AWS_SECRET_ACCESS_KEY": "sandbox"}
START_SECONDS = 30.0


def launch(port: int) -> int:
    """Run gunicorn, and a sandbox where there is no AWS to deliver to, until stopped."""
    environ = {"GATEWAY_SECRET_KEY": secrets.token_hex(), **os.environ, "PORT": str(port)}
    environ["WEB_CONCURRENCY"] = "1"  # the demo shows what its one worker stored
    with ExitStack() as cleanup:
        if "GATEWAY_SITES" not in environ and not Path("sites.toml").exists():
            environ["GATEWAY_SITES"] = _demo_sites(port)
        elif _has_aws(environ):
            environ.setdefault("GATEWAY_DEMO", "aws")
        if "GATEWAY_DEMO" not in environ:
            sandbox = _sandbox(port + 1)
            cleanup.callback(sandbox.stop)
            environ.update(SANDBOX_CREDENTIALS)
            environ["AWS_ENDPOINT_URL_PERSONALIZE_EVENTS"] = sandbox.url
            environ["GATEWAY_DEMO"] = sandbox.url
        return _serve(port, environ)


def _demo_sites(port: int) -> str:
    path = Path("data/demo-sites.toml")
    path.parent.mkdir(exist_ok=True)
    path.write_text(DEMO_SITES.format(port=port), encoding="utf-8")
    return str(path)


def _has_aws(environ: Mapping[str, str]) -> bool:
    import boto3

    return (
        "AWS_ENDPOINT_URL_PERSONALIZE_EVENTS" in environ
        or boto3.Session().get_credentials() is not None
    )


def _sandbox(port: int) -> Sandbox:
    sandbox = Sandbox(port=port)
    try:
        sandbox.start()
    except OSError:  # something else has that port
        sandbox = Sandbox(port=0)
        sandbox.start()
    return sandbox


def _serve(port: int, environ: Mapping[str, str]) -> int:
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}"]
    server = subprocess.Popen(command, env=environ)
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to gunicorn as well
    if _answers(f"http://127.0.0.1:{port}/healthz", server):
        print(_welcome(port, environ["GATEWAY_DEMO"]), flush=True)
    return server.wait()


def _answers(url: str, server: subprocess.Popen[bytes]) -> bool:
    """Whether the server is up, once it is or has ended."""
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urlopen(url, timeout=1):  # noqa: S310 - our own address
                return True
        except (URLError, TimeoutError, ConnectionError):
            time.sleep(0.1)
    return False


def _welcome(port: int, delivery: str) -> str:
    where = (
        "Delivering to Amazon Personalize with your AWS set-up."
        if delivery == "aws"
        else "No AWS set-up: delivering to the local PutEvents sandbox."
    )
    lines = [
        "",
        f"Personalize Gateway is running. {where}",
        f"  Demo shop  http://127.0.0.1:{port}/demo/",
        *([f"  Sandbox    {delivery}/"] if delivery != "aws" else []),
        "Ctrl-C ends it.",
        "",
    ]
    return "\n".join(lines)
